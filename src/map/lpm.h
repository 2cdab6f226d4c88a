/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lpm.h: the inside of longest-prefix maps: a trie, and tables that skip most of it. Private to src/map.
 *
 *	tables[1]      by the key's first byte
 *	   |  slot: best, the longest prefix that ends within this byte;
 *	   |        next, where longer ones are: another table, a node of the trie, or nothing
 *	   +--> tables[n]   by the next byte
 *	   +--> node --> node --> node     one bit decides at each
 *
 * The trie is binary and path-compressed, of the shape the kernel's has: a node for each prefix, and one
 * without a value (branch) where two part. That gives the kernel's order of keys. Tables are only for
 * lookups: one is made below a slot when the way through the trie from there gets long.
 *
 * L1  Writers hold the lock and make seq odd while they change anything. Lookups take no lock: they
 *     throw away what they found when seq changed meanwhile.
 * L2  Numbers of nodes and tables are valid whenever read, nodes never leave the arena, and a walk has at
 *     most as many steps as a key has bits: what a lookup reads in the middle of a change is wrong, but
 *     it ends and touches nothing else.
 * L3  A node that went is used again only after LPM_QUARANTINE others, while there are fresh ones: a
 *     program's pointer to a value shows it for a while longer.
 */
#ifndef SKEP_MAP_LPM_H
#define SKEP_MAP_LPM_H

#include "map/impl.h"

#define LPM_BYTES_MAX  256
#define LPM_WORDS_MAX  (LPM_BYTES_MAX / 8)
#define LPM_TABLE      (1U << 31) /* in a slot's next: the rest is a table's number */
#define LPM_DEPTH      2	  /* nodes on the way from a slot; more make a table */
#define LPM_QUARANTINE 64
#define LPM_NODES_MAX  (1U << 30)

/* Words in the machine's order; the first bit of a key is the highest of the first word. */
struct lpm_key {
	uint32_t bits;
	uint64_t words[LPM_WORDS_MAX];
};

struct lpm_node {
	_Atomic uint32_t child[2]; /* of a free one, [0]: the next free one */
	uint32_t bits;
	_Atomic uint32_t branch; /* no value of its own */
	uint64_t words[];	 /* with the bits behind the prefix, as they were given */
};

struct lpm_slot {
	_Atomic uint32_t best, next;
};

struct lpm_table {
	struct lpm_slot slots[256];
};

struct lpm {
	struct map_base b;
	char *nodes;
	struct lpm_table *tables;
	uint32_t size;			 /* of a node */
	uint32_t value_at;		 /* in a node */
	uint32_t bytes, words, bits_max; /* of keys */
	uint32_t n_nodes, n_tables;	 /* there are */
	uint64_t nodes_bytes, tables_bytes;
	_Alignas(64) _Atomic uint32_t seq;
	_Atomic uint32_t root, any; /* the trie's; the prefix of no bits, or 0 */
	_Alignas(64) _Atomic uint32_t lock;
	uint32_t entries, fresh, fresh_table;
	uint32_t free_first, free_last, n_free;
};

static inline struct lpm *lpm_of(struct map *m)
{
	return container_of(m, struct lpm, b.m);
}

static hot_inline struct lpm_node *lpm_node(const struct lpm *t, uint32_t i)
{
	return (struct lpm_node *)(t->nodes + (uint64_t)i * t->size);
}

/* L1 without fences: what a lookup reads it has read before it looks at seq again; what a writer changes
 * it changes after seq became odd. */
static hot_inline uint32_t lpm_get(const _Atomic uint32_t *p)
{
	return atomic_load_explicit(p, memory_order_acquire);
}

static hot_inline void lpm_set(_Atomic uint32_t *p, uint32_t v)
{
	atomic_store_explicit(p, v, memory_order_release);
}

static hot_inline unsigned lpm_bit(const uint64_t *words, uint32_t i)
{
	return words[i / 64] >> (63 - i % 64) & 1;
}

static hot_inline uint8_t lpm_byte(const uint64_t *words, uint32_t i)
{
	return (uint8_t)(words[i / 8] >> (56 - i % 8 * 8));
}

/** lpm_common() - how many bits two keys have in common, at most @limit. */
static inline uint32_t lpm_common(const uint64_t *a, const uint64_t *b, uint32_t limit)
{
	uint32_t i, n;

	for (i = 0; i * 64 < limit; i++) {
		if (a[i] != b[i]) {
			n = i * 64 + (uint32_t)__builtin_clzll(a[i] ^ b[i]);
			return min(n, limit);
		}
	}
	return limit;
}

/* Does a node's prefix of @bits bits hold @key? */
static hot_inline bool lpm_holds(const uint64_t *prefix, uint32_t bits, const uint64_t *key)
{
	uint32_t i = 0;

	for (; bits > 63; bits -= 64, i++) {
		if (__atomic_load_n(prefix + i, __ATOMIC_ACQUIRE) != key[i])
			return false;
	}
	return !bits ||
	       !((__atomic_load_n(prefix + i, __ATOMIC_ACQUIRE) ^ key[i]) >> 1 >> (63 - bits));
}

/* ---- lpm_table.c: what changes in the tables when the trie did ------------------------------- */

/** lpm_table_added() - node @i is new, perhaps in place of one of the same prefix. */
void lpm_table_added(struct lpm *t, uint32_t i);

/** lpm_table_removed() - @key's node @i is gone from the trie or has no value any more. */
void lpm_table_removed(struct lpm *t, const struct lpm_key *key, uint32_t i);

#endif
