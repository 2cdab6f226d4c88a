// SPDX-License-Identifier: Apache-2.0
/*
 * hash_free.c: elements that are in no chain, and how they get there when a map is full (LRU).
 *
 * Eviction is a clock: a hand goes round the zone's elements; one that was looked up since the hand came
 * by is passed over (its mark is cleared), the first that was not goes. A CPU takes the hand's next
 * HASH_RUN places at once, so that CPUs that evict at the same time touch other elements.
 */
#include "map/hash.h"

static struct hash_free *list_of(struct hash *h, unsigned cpu)
{
	return h->free + cpu;
}

/* Elements [lo, hi) are CPU @cpu's, never used. */
static void list_init(struct hash *h, unsigned cpu, uint32_t lo, uint32_t hi, bool extra)
{
	struct hash_free *f = list_of(h, cpu);

	if (extra)
		f->extra = lo++;
	f->fresh = lo;
	f->fresh_end = hi;
}

void hash_free_init(struct hash *h)
{
	unsigned cpus = h->b.m.def.cpus, c;
	bool extra = !h->percpu;
	uint32_t lo = 1, part;

	for (c = 0; c < cpus; c++) {
		part = (h->n - (lo - 1)) / (cpus - c);
		list_init(h, c, lo, lo + part, extra);
		lo += part;
	}
}

static uint32_t list_pop(struct hash *h, struct hash_free *f)
{
	uint32_t i, fresh;

	if (!atomic_load_explicit(&f->head, memory_order_relaxed) &&
	    atomic_load_explicit(&f->fresh, memory_order_relaxed) >= f->fresh_end)
		return 0;
	spin_lock(&f->lock);
	i = atomic_load_explicit(&f->head, memory_order_relaxed);
	fresh = atomic_load_explicit(&f->fresh, memory_order_relaxed);
	if (i)
		atomic_store_explicit(&f->head, hash_of_elem(h, i), memory_order_relaxed);
	else if (fresh < f->fresh_end)
		atomic_store_explicit(&f->fresh, (i = fresh) + 1, memory_order_relaxed);
	spin_unlock(&f->lock);
	return i;
}

uint32_t hash_pop(struct hash *h)
{
	unsigned cpus = h->zones == 1 ? h->b.m.def.cpus : 1, c;
	uint32_t i = 0;

	for (c = 0; !i && c < cpus; c++)
		i = list_pop(h, list_of(h, (map_cpu + c) % h->b.m.def.cpus));
	return i;
}

void hash_push(struct hash *h, uint32_t i)
{
	struct hash_free *f = list_of(h, h->zones == 1 ? map_cpu : hash_zone(h, i));

	if (h->lru)
		atomic_store_explicit(&hash_elem(h, i)->live, 0, memory_order_relaxed);
	spin_lock(&f->lock);
	atomic_store_explicit(&hash_elem(h, i)->hash,
			      atomic_load_explicit(&f->head, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&f->head, i, memory_order_relaxed);
	spin_unlock(&f->lock);
}

/* ---- extras ---------------------------------------------------------------------------------- */

/* Threads may share a CPU's number: then one finds the slot empty, or full, and looks further. */
uint32_t hash_extra_take(struct hash *h, uint32_t old)
{
	unsigned cpus = h->b.m.def.cpus, c = h->zones == 1 ? map_cpu : hash_zone(h, old), n = 0;
	uint32_t i;

	for (;;) {
		_Atomic uint32_t *slot = &list_of(h, c)->extra;

		i = atomic_load_explicit(slot, memory_order_relaxed);
		if (likely(i) && atomic_compare_exchange_strong_explicit(
					 slot, &i, 0, memory_order_acquire, memory_order_relaxed))
			return i;
		if (h->zones == 1)
			c = c + 1 < cpus ? c + 1 : 0;
		spin_wait(&n);
	}
}

void hash_extra_put(struct hash *h, uint32_t i)
{
	unsigned cpus = h->b.m.def.cpus, c = h->zones == 1 ? map_cpu : hash_zone(h, i);
	uint32_t none = 0;

	if (h->lru)
		atomic_store_explicit(&hash_elem(h, i)->live, 0, memory_order_relaxed);
	while (!atomic_compare_exchange_strong_explicit(
		&list_of(h, c)->extra, &none, i, memory_order_release, memory_order_relaxed)) {
		none = 0;
		c = c + 1 < cpus ? c + 1 : 0;
	}
}

/* ---- eviction -------------------------------------------------------------------------------- */

uint32_t hash_unlink(struct hash *h, uint32_t bucket, uint32_t head, uint32_t i)
{
	uint32_t next = atomic_load_explicit(&hash_elem(h, i)->next, memory_order_relaxed);
	uint32_t at = head;

	if (head == i) {
		atomic_store_explicit(h->heads + bucket, next | HASH_LOCKED, memory_order_release);
		return next;
	}
	for (;;) {
		struct hash_elem *e = hash_elem(h, at);

		at = atomic_load_explicit(&e->next, memory_order_relaxed);
		if (at == i) {
			atomic_store_explicit(&e->next, next, memory_order_release);
			return head;
		}
	}
}

/* Takes @i out of its chain, if it still is where its hash says. */
static bool unhook(struct hash *h, uint32_t i)
{
	uint32_t bucket = hash_of_elem(h, i) & h->mask;
	uint32_t head = hash_lock(h, bucket), at = head;
	bool found;

	while (!hash_is_end(at) && at != i)
		at = atomic_load_explicit(&hash_elem(h, at)->next, memory_order_relaxed);
	found = at == i;
	if (found) {
		head = hash_unlink(h, bucket, head, i);
		atomic_store_explicit(&hash_elem(h, i)->live, 0, memory_order_relaxed);
	}
	hash_unlock(h, bucket, head);
	return found;
}

/* Threads that share a CPU's number may run into each other: they look at what they need not, no more. */
static uint32_t next_place(struct hash *h, unsigned zone)
{
	struct hash_free *f = list_of(h, map_cpu);
	uint32_t at = atomic_load_explicit(&f->at, memory_order_relaxed);

	if (at % HASH_RUN == 0)
		at = atomic_fetch_add_explicit(&list_of(h, zone)->hand, HASH_RUN,
					       memory_order_relaxed);
	atomic_store_explicit(&f->at, at + 1, memory_order_relaxed);
	return at % h->n_zone;
}

uint32_t hash_evict(struct hash *h)
{
	unsigned zone = h->zones == 1 ? 0 : map_cpu, passed = 0;
	uint64_t steps = 4ULL * h->n_zone + HASH_SWEEP;
	struct hash_elem *e;
	uint32_t i;

	while (steps--) {
		i = zone * h->n_zone + next_place(h, zone) + 1;
		e = hash_elem(h, i);
		if (!atomic_load_explicit(&e->live, memory_order_relaxed))
			continue;
		if (atomic_load_explicit(&e->used, memory_order_relaxed) && passed++ < HASH_SWEEP)
			atomic_store_explicit(&e->used, 0, memory_order_relaxed);
		else if (unhook(h, i))
			return i;
	}
	return 0;
}
