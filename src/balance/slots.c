// SPDX-License-Identifier: Apache-2.0
/* Rings in map "rings": B2 and B4 of balance.bpf.c, as far as user space upholds them. */
#include "balance/inside.h"
#include "balance/ring.h"

static struct balance_slot *slots_of(const struct fleet *t, const struct fleet_service *s)
{
	return t->maps->rings + s->ring;
}

static uint64_t identity(const struct config_addr *a)
{
	uint64_t half[2];

	memcpy(half, a->bytes, 16);
	return balance_mix_end(balance_mix(balance_mix(a->family, half[0]), half[1]));
}

void slots_forget(struct fleet *t)
{
	free(take(t->last.members));
	free(take(t->last.slots));
	t->last.room = 0;
}

/* Memory that was given back would have to be had page by page again. */
static uint32_t *ring_room(struct fleet *t, uint8_t log)
{
	size_t slots = (size_t)1 << log;

	if (slots <= t->last.room)
		return t->last.slots;
	slots_forget(t);
	t->last.slots = calloc(slots, sizeof(*t->last.slots));
	t->last.room = t->last.slots ? slots : 0;
	return t->last.slots;
}

static struct ring_member *members_of(const struct fleet_service *s)
{
	struct ring_member *m = calloc(s->n + 1, sizeof(*m));
	uint32_t i;

	for (i = 0; m && i < s->n; i++)
		m[i] = (struct ring_member){identity(&s->backends[i].addr), s->backends[i].weight,
					    i + 1};
	return m;
}

/* Services next to each other often have the same backends, and then the same ring but for their ids. */
static int ring_of(struct fleet *t, const struct fleet_service *s)
{
	cleanup(mem_free) struct ring_member *m = members_of(s);
	uint32_t *slots;
	int rc;

	if (m && t->last.members && t->last.n == s->n && t->last.log == s->log &&
	    !memcmp(t->last.members, m, s->n * sizeof(*m)))
		return 0;
	free(take(t->last.members));
	slots = ring_room(t, s->log);
	rc = m && slots ? ring_fill(slots, s->log, m, s->n, 0) : -ENOMEM;
	if (rc)
		return rc;
	t->last.members = take(m);
	t->last.n = s->n;
	t->last.log = s->log;
	return 0;
}

/* Backends of the members of a ring, 0 for none. */
static uint32_t *ids_of(const struct fleet_service *s)
{
	uint32_t *ids = calloc(s->n + 1, sizeof(*ids)), i;

	for (i = 0; ids && i < s->n; i++)
		ids[i + 1] = s->backends[i].id;
	return ids;
}

/* A bit for each backend of @next that is not gone; of backend 0, which is none, never. */
static uint64_t *staying(const struct fleet *t, const struct fleet_service *next)
{
	uint64_t *bits = calloc(t->maps->size.backends / 64 + 1, sizeof(*bits));
	uint32_t i;

	for (i = 0; bits && i < next->n; i++)
		if (next->backends[i].state != BALANCE_GONE)
			bits[next->backends[i].id / 64] |= 1ULL << (next->backends[i].id & 63);
	return bits;
}

static struct balance_slot slot_next(const uint64_t *stays, uint32_t now, uint32_t old)
{
	uint32_t was = old & ~BALANCE_LOOK, look = old & BALANCE_LOOK;

	if (was == now) /* most of them */
		return (struct balance_slot){now, old};
	if (!(stays[was / 64] >> (was & 63) & 1))
		was = now;
	if (was != now)
		look = BALANCE_LOOK;
	return (struct balance_slot){now, was | look};
}

int slots_fill(struct fleet *t, struct fleet_service *next, const struct fleet_service *old)
{
	cleanup(mem_free) uint32_t *ids = ids_of(next);
	struct balance_slot *to = slots_of(t, next), *from = old ? slots_of(t, old) : NULL;
	unsigned shift = old ? next->log - old->log : 0;
	cleanup(mem_free) uint64_t *stays = old ? staying(t, next) : NULL;
	const struct config_options *o = next->want->opt;
	bool counted = o->algorithm == CONFIG_LEAST_CONNECTIONS || o->affinity_s;
	uint32_t always = counted ? BALANCE_LOOK : 0, look = 0, i, now;
	int rc = ids && (stays || !old) ? ring_of(t, next) : -ENOMEM;

	if (rc)
		return rc;
	for (i = 0; i < 1U << next->log; i++) {
		struct balance_slot slot;

		now = ids[t->last.slots[i]];
		slot = from ? slot_next(stays, now, from[i >> shift].was)
			    : (struct balance_slot){now, now};
		slot.was |= always;
		look |= slot.was;
		to[i] = slot;
	}
	next->look = look >> 31;
	return 0;
}

void slots_merge(struct fleet *t, struct fleet_service *s)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		__atomic_store_n(&slot[i].was, slot[i].now | (slot[i].was & BALANCE_LOOK),
				 __ATOMIC_RELEASE);
}

void slots_leave(struct fleet *t, struct fleet_service *s, uint32_t backend)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		if ((slot[i].was & ~BALANCE_LOOK) == backend)
			__atomic_store_n(&slot[i].was, slot[i].now | (slot[i].was & BALANCE_LOOK),
					 __ATOMIC_RELEASE);
}

void slots_rest(struct fleet *t, struct fleet_service *s)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		__atomic_store_n(&slot[i].was, slot[i].was & ~BALANCE_LOOK, __ATOMIC_RELEASE);
	s->look = false;
}
