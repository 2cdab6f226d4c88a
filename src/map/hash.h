/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h: the inside of hash tables: elements, buckets, free elements, eviction. Private to src/map.
 *
 *	heads[hash & mask] --> element --> element --> END | bucket
 *
 * Elements are numbered from 1 and never leave their arena; a link is a number. The last link of a
 * chain names its bucket, so that a reader whose element moved to another chain notices (M2).
 *
 * H1  An element is in one place: a bucket's chain, a free list, an extra slot, or in the hands of one
 *     thread. Only the holder of a bucket's lock (bit LOCKED of its head) changes the chain.
 * H2  Replacing a value makes a new element before the old one in the chain, as the kernel does: a
 *     program's pointer to the old value keeps showing it. The element comes from an extra slot and the
 *     old one goes there, so that a full map can be updated. Per-CPU values are changed in place.
 * H3  With BPF_F_NO_COMMON_LRU each CPU has a zone of the elements and evicts only there. Otherwise
 *     there is one zone.
 * H4  A reader may meet an element that just went to another key. So keys are read and written in whole
 *     words, padded with zeros, and what was found is what the element held at some moment.
 * H5  A thread that holds a bucket's lock takes no other bucket's; a free list's is taken last.
 */
#ifndef SKEP_MAP_HASH_H
#define SKEP_MAP_HASH_H

#include "map/impl.h"

#define HASH_END     (1U << 30) /* in a link: the rest is the bucket's number */
#define HASH_LOCKED  (1U << 31) /* in a head */
#define HASH_RETRIES 16		/* lock-free searches led astray before taking the lock */
#define HASH_SWEEP   256	/* elements used lately that an eviction passes over */
#define HASH_RUN     16		/* elements that a CPU looks at in a row */

struct hash_elem {
	_Atomic uint32_t next;
	_Atomic uint32_t hash; /* of a free element: the next free one */
	/* LRU only: the key of others begins here. */
	_Atomic uint8_t used; /* looked up since an eviction came by */
	_Atomic uint8_t live; /* in a chain */
	uint16_t pad[3];
};

#define HASH_HEAD     8
#define HASH_HEAD_LRU 16

static_assert(sizeof(struct hash_elem) == HASH_HEAD_LRU, "keys are aligned");
static_assert(offsetof(struct hash_elem, used) == HASH_HEAD, "others have no marks");

struct hash_free {
	_Alignas(64) _Atomic uint32_t lock;
	_Atomic uint32_t head;
	_Atomic uint32_t fresh; /* elements from here to fresh_end were never used */
	uint32_t fresh_end;
	_Atomic uint32_t extra;		    /* H2; 0: taken */
	_Alignas(64) _Atomic uint32_t hand; /* where the zone's next run of elements begins */
	_Atomic uint32_t at; /* where the CPU's next eviction looks first, in a run of its own */
};

struct hash {
	struct map_base b;
	char *elems;
	_Atomic uint32_t *heads;
	uint32_t mask;
	uint32_t size;	   /* of an element */
	uint32_t key_at;   /* in an element */
	uint32_t value_at; /* in an element; not of per-CPU maps */
	uint32_t value_size;
	bool lru, percpu, maps;
	uint64_t seed;
	char *percpu_values;
	uint64_t cpu_stride;
	uint32_t value_stride;
	uint32_t n;	 /* elements, all */
	uint32_t n_zone; /* in a zone, extras too */
	uint32_t zones;
	uint32_t key_size;
	uint64_t elems_bytes, heads_bytes, percpu_bytes;
	struct hash_free *free; /* one a CPU */
};

static inline struct hash *hash_of(struct map *m)
{
	return container_of(m, struct hash, b.m);
}

static hot_inline struct hash_elem *hash_elem(const struct hash *h, uint32_t i)
{
	return (struct hash_elem *)(h->elems + (uint64_t)i * h->size);
}

static hot_inline uint32_t hash_of_elem(const struct hash *h, uint32_t i)
{
	return atomic_load_explicit(&hash_elem(h, i)->hash, memory_order_relaxed);
}

static hot_inline bool hash_is_end(uint32_t link)
{
	return link - 1 >= HASH_END - 1; /* 0 too: a bucket never used */
}

static inline char *hash_value(const struct hash *h, uint32_t i)
{
	return (char *)hash_elem(h, i) + h->value_at;
}

static inline char *hash_percpu(const struct hash *h, uint32_t i, uint32_t cpu)
{
	return h->percpu_values + cpu * h->cpu_stride + (uint64_t)i * h->value_stride;
}

static inline unsigned hash_zone(const struct hash *h, uint32_t i)
{
	return h->zones == 1 ? 0 : (i - 1) / h->n_zone;
}

/* ---- hash_free.c ----------------------------------------------------------------------------- */

/** hash_free_init() - all elements free but one extra a CPU where values are replaced. */
void hash_free_init(struct hash *h);

/** hash_pop() - a free element, 0 if there is none in reach of this CPU. */
uint32_t hash_pop(struct hash *h);
void hash_push(struct hash *h, uint32_t i);

/** hash_extra_take() - an element to replace @old by. */
uint32_t hash_extra_take(struct hash *h, uint32_t old);
void hash_extra_put(struct hash *h, uint32_t i);

/** hash_evict() - make room: an element out of its chain, 0 if all are in others' hands. */
uint32_t hash_evict(struct hash *h);

/* ---- buckets --------------------------------------------------------------------------------- */

static inline uint32_t hash_lock(struct hash *h, uint32_t bucket)
{
	_Atomic uint32_t *head = h->heads + bucket;
	unsigned n = 0;
	uint32_t old;

	for (;;) {
		old = atomic_load_explicit(head, memory_order_relaxed);
		if (likely(!(old & HASH_LOCKED)) &&
		    atomic_compare_exchange_weak_explicit(head, &old, old | HASH_LOCKED,
							  memory_order_acquire,
							  memory_order_relaxed))
			return old ? old : HASH_END | bucket;
		spin_wait(&n);
	}
}

static inline void hash_unlock(struct hash *h, uint32_t bucket, uint32_t head)
{
	atomic_store_explicit(h->heads + bucket, head, memory_order_release);
}

/** hash_unlink() - @i out of the locked chain that begins at @head; returns the chain's new head. */
uint32_t hash_unlink(struct hash *h, uint32_t bucket, uint32_t head, uint32_t i);

#endif
