// SPDX-License-Identifier: Apache-2.0
/*
 * One pool; a hash chain and a place in the list by last use for every used slot. Slots are numbered
 * from 1, slot 0 is the anchor of the list: its next is the last used, its prev the least recently
 * used. The hash is seeded, because answers come from strangers.
 */
#include "trace/names.h"

#include <arpa/inet.h>
#include <sys/random.h>
#include <xxhash.h>

struct key {
	uint32_t netns;
	uint8_t addr[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct slot {
	struct key key;
	uint32_t chain;
	uint32_t prev, next;
	uint64_t until;
	char name[NAMES_TEXT_MAX];
};

struct names {
	struct slot *slots;
	uint32_t *heads;
	uint32_t mask;
	uint32_t max;
	uint32_t used;
	uint64_t seed;
};

int names_open(struct names **out, unsigned max)
{
	struct names *n;
	uint32_t size = 64;

	if (!max || max > 1U << 24)
		return -EINVAL;
	while (size < max)
		size *= 2;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->max = max;
	n->mask = size - 1;
	n->heads = calloc(size, sizeof(*n->heads));
	n->slots = calloc((size_t)max + 1, sizeof(*n->slots));
	if (!n->heads || !n->slots) {
		names_free(n);
		return -ENOMEM;
	}
	if (getrandom(&n->seed, sizeof(n->seed), GRND_NONBLOCK) < 0)
		n->seed = (uintptr_t)n;
	*out = n;
	return 0;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	free(n->slots);
	free(n->heads);
	free(n);
}

static bool key_make(struct key *k, uint32_t netns, uint8_t family, const void *addr)
{
	*k = (struct key){.netns = netns, .addr = {[10] = 0xff, [11] = 0xff}};
	if (family == AF_INET)
		memcpy(k->addr + 12, addr, 4);
	else if (family == AF_INET6)
		memcpy(k->addr, addr, 16);
	return family == AF_INET || family == AF_INET6;
}

static uint32_t *head_of(struct names *n, const struct key *k)
{
	return &n->heads[XXH3_64bits_withSeed(k, sizeof(*k), n->seed) & n->mask];
}

static uint32_t find(struct names *n, const struct key *k)
{
	uint32_t i = *head_of(n, k);

	while (i && memcmp(&n->slots[i].key, k, sizeof(*k)))
		i = n->slots[i].chain;
	return i;
}

static void list_remove(struct names *n, uint32_t i)
{
	struct slot *s = &n->slots[i];

	n->slots[s->prev].next = s->next;
	n->slots[s->next].prev = s->prev;
}

static void list_add(struct names *n, uint32_t i)
{
	struct slot *s = &n->slots[i], *anchor = n->slots;

	s->prev = 0;
	s->next = anchor->next;
	n->slots[s->next].prev = i;
	anchor->next = i;
}

static void chain_remove(struct names *n, uint32_t i)
{
	uint32_t *link = head_of(n, &n->slots[i].key);

	while (*link != i)
		link = &n->slots[*link].chain;
	*link = n->slots[i].chain;
}

static uint32_t slot_take(struct names *n)
{
	uint32_t i;

	if (n->used < n->max)
		return ++n->used;
	i = n->slots[0].prev;
	chain_remove(n, i);
	list_remove(n, i);
	return i;
}

static uint32_t slot_add(struct names *n, const struct key *k)
{
	uint32_t i = slot_take(n), *head = head_of(n, k);

	n->slots[i].key = *k;
	n->slots[i].chain = *head;
	*head = i;
	list_add(n, i);
	return i;
}

static void touch(struct names *n, uint32_t i)
{
	list_remove(n, i);
	list_add(n, i);
}

void names_put(struct names *n, uint32_t netns, uint8_t family, const void *addr, const char *name,
	       uint32_t ttl, uint64_t now)
{
	uint64_t ttl_ns = ttl * 1000000000ULL;
	struct key k;
	uint32_t i;

	if (!key_make(&k, netns, family, addr))
		return;
	i = find(n, &k);
	if (i)
		touch(n, i);
	else
		i = slot_add(n, &k);
	n->slots[i].until = now + max(ttl_ns, NAMES_LEAST_NS);
	snprintf(n->slots[i].name, sizeof(n->slots[i].name), "%s", name);
}

const char *names_find(struct names *n, uint32_t netns, uint8_t family, const void *addr,
		       uint64_t now)
{
	struct key k;
	uint32_t i;

	if (!key_make(&k, netns, family, addr))
		return NULL;
	i = find(n, &k);
	if (!i || n->slots[i].until < now)
		return NULL;
	touch(n, i);
	return n->slots[i].name;
}

unsigned names_count(const struct names *n)
{
	return n->used;
}
