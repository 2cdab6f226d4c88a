// SPDX-License-Identifier: Apache-2.0
/*
 * Two threads look up, update and delete the same keys; what is found was written by one of them, and
 * afterwards the map still has all its elements, each once.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "maps.h"

#define KEYS   64
#define ROUNDS 300000

struct work {
	struct map *m;
	unsigned cpu;
	uint32_t type;
	uint64_t wrong, found, refused;
};

typedef _Atomic uint64_t shared;

static uint64_t value_of(uint32_t key, uint32_t round)
{
	return (uint64_t)key << 32 | (round & 0xffff);
}

/* Full length for tries. */
static void key_make(const struct work *w, uint32_t n, uint32_t key[2])
{
	key[0] = w->type == BPF_MAP_TYPE_LPM_TRIE ? 32 : n;
	key[1] = n * 0x01010101;
}

/* Programs read values while others write them: that is not a race to report. */
__attribute__((no_sanitize("thread"))) static uint64_t peeked(const uint64_t *v)
{
	return *(const volatile uint64_t *)v;
}

/* An element that goes to another key while its value is looked at may show either's, but nothing else. */
static void look(struct work *w, const uint32_t *key)
{
	const uint64_t *v = map_lookup(w->m, key);

	w->found += !!v;
	w->wrong += v && peeked(v) >> 32 >= KEYS;
}

static void *run(void *arg)
{
	struct work *w = arg;
	uint32_t i, n, key[2];
	uint64_t v;

	map_cpu = w->cpu;
	for (i = 0; i < ROUNDS; i++) {
		n = (i * 7 + w->cpu * 13 + i / 64) % KEYS;
		key_make(w, n, key);
		v = value_of(n, i);
		look(w, key);
		if (i % 4 == 3)
			map_delete(w->m, key);
		else
			w->refused += !!map_update(w->m, key, &v, BPF_ANY);
	}
	return NULL;
}

static void both_run(struct map *m, struct work w[2])
{
	pthread_t t[2];
	unsigned i;

	for (i = 0; i < 2; i++) {
		w[i] = (struct work){m, i, m->def.type};
		assert_int_equal(pthread_create(t + i, NULL, run, w + i), 0);
	}
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

static unsigned count(struct map *m)
{
	uint64_t key;
	unsigned n = 0;
	int rc;

	for (rc = map_sys_next_key(m, NULL, &key); !rc; rc = map_sys_next_key(m, &key, &key))
		n++;
	return n;
}

/* No element is lost or in two places: the map can be emptied and filled to its size. */
static void is_whole(struct map *m, struct work *w)
{
	uint32_t n, key[2];
	uint64_t v = 1;

	for (n = 0; n < KEYS; n++) {
		key_make(w, n, key);
		map_delete(m, key);
	}
	assert_int_equal(count(m), 0);
	for (n = 0; n < m->def.max_entries; n++) {
		key_make(w, n, key);
		assert_int_equal(map_update(m, key, &v, BPF_NOEXIST), 0);
	}
	assert_int_equal(count(m), m->def.max_entries);
}

static void two_threads_on_one_map(void **state maybe_unused)
{
	const struct map_def defs[] = {
		def_of(BPF_MAP_TYPE_HASH, 4, 8, KEYS, 0),
		def_of(BPF_MAP_TYPE_HASH, 4, 8, KEYS, BPF_F_NO_PREALLOC),
		def_of(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, KEYS, 0),
		def_of(BPF_MAP_TYPE_LRU_HASH, 4, 8, KEYS / 2, 0),
		def_of(BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, KEYS / 2, 0),
		def_of(BPF_MAP_TYPE_LPM_TRIE, 8, 8, KEYS, BPF_F_NO_PREALLOC),
	};
	struct work w[2];
	unsigned i;

	for (i = 0; i < array_size(defs); i++) {
		owned_map *m = made(defs[i]);

		both_run(m, w);
		assert_int_equal(w[0].wrong + w[1].wrong, 0);
		assert_true(w[0].found && w[1].found);
		assert_int_equal(w[0].refused + w[1].refused, 0);
		is_whole(m, w);
	}
}

static void *produce(void *arg)
{
	struct work *w = arg;
	uint64_t *p;
	uint32_t i;

	for (i = 0; i < ROUNDS; i++) {
		while (!(p = map_ring_reserve(w->m, 8 + i % 5 * 8, 0)))
			sched_yield();
		*p = value_of(w->cpu, i);
		map_ring_commit(w->m, p, 0, false);
	}
	return NULL;
}

static void two_producers_keep_their_order(void **state maybe_unused)
{
	owned_map *ring = made(def_of(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	shared *consumer = (shared *)(ring->areas[0].base - 8192);
	shared *producer = (shared *)(ring->areas[0].base - 4096);
	struct work w[2] = {{ring, 0}, {ring, 1}};
	uint32_t next[2] = {0}, len;
	pthread_t t[2];
	uint64_t at = 0;
	unsigned i;

	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(t + i, NULL, produce, w + i), 0);
	while (next[0] < ROUNDS || next[1] < ROUNDS) {
		char *h = (char *)ring->areas[0].base + at % 4096;
		uint64_t v;

		if (atomic_load(producer) == at)
			continue;
		len = atomic_load((_Atomic uint32_t *)h);
		if (len & BPF_RINGBUF_BUSY_BIT)
			continue;
		memcpy(&v, h + 8, 8);
		assert_int_equal(v & 0xffff, next[v >> 32]++ & 0xffff);
		at += len + 8;
		atomic_store(consumer, at);
	}
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_threads_on_one_map),
		cmocka_unit_test(two_producers_keep_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
