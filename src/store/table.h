/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: how a table lies in memory. Private to the store.
 *
 * A table is a ring of blocks of one size, at most 1 MiB each:
 *
 *	block:  | head | zones | buckets | group 0 | group 1 | ...  ->     <- ... | string | string |
 *	group:  | live | open | handles[64] | column 0 [64] | column 1 [64] | ... |
 *
 * Rows come in groups of 64, each column an array in its group, so that a condition on a column
 * gives one 64-bit mask. Groups grow up and strings grow down until they meet; how much of a block
 * is rows and how much is text follows from what is stored. An integer is an int64_t; a string is a
 * 16-bit code: its offset in the block in units of 16 bytes, 0 for NULL. Equal strings of a block
 * share one code (buckets are the heads of hash chains).
 *
 * Invariants:
 *
 *	T1  Blocks with sequence numbers first..head hold rows, head is appended to, and at least
 *	    one further block is free: it receives the open rows of the oldest block when that goes.
 *	T2  A row and its strings take at most half a block (strings_max; longer ones are cut), and
 *	    an eviction moves at most half a block. So one step of the ring always makes room.
 *	T3  Evicted memory stays as it was until the ring steps again: strings borrowed from it may
 *	    be stored into the block that follows.
 *	T4  zones[c] spans every number ever stored in column c of the block (NULL aside).
 *	T5  Lanes beyond the last row hold anything; only lanes in `live` count.
 *	T6  A handle's value is the row's number; handles[] is meaningful for lanes in `open` only.
 */
#ifndef SKEP_STORE_TABLE_H
#define SKEP_STORE_TABLE_H

#include "store/store.h"

#define STORE_GROUP	64
#define STORE_CODES	65536
#define STORE_CODE_UNIT 16
#define STORE_BLOCK_MAX (STORE_CODES * STORE_CODE_UNIT)
#define STORE_BLOCK_MIN (STORE_BLOCK_MAX / 4)
#define STORE_ROW_BITS	17 /* a block of one string column holds about 100,000 rows */
#define STORE_ROW_MASK	((1U << STORE_ROW_BITS) - 1)
#define STORE_NULL	INT64_MIN
#define STORE_TABLE_MAX ((size_t)STORE_BLOCK_MAX << (32 - STORE_ROW_BITS)) /* 32 GiB */

struct store_string {
	uint32_t hash;
	uint16_t next; /* code of the next in its chain */
	uint16_t len;
	char text[];
};

struct store_zone {
	int64_t lo, hi; /* lo > hi: no number yet */
};

struct store_block {
	uint32_t rows;	/* appended, whatever became of them */
	uint32_t arena; /* offset of the lowest string */
	struct store_zone zones[];
};

struct store_group {
	uint64_t live, open; /* a bit per lane */
	uint64_t *handles[STORE_GROUP];
};

struct store_table {
	struct store *store;
	struct store_table *next;
	const struct store_def *def;
	char *mem;
	size_t bytes;
	uint64_t first, head;
	uint32_t n_blocks, block_bytes;
	uint32_t n_buckets, buckets_at;
	uint32_t groups_at, group_bytes;
	uint32_t strings_max;
	uint32_t offset[STORE_COLS_MAX]; /* of a column in its group */
	uint64_t appended, dropped, dropped_open, open;
	uint64_t seen[STORE_CODES / 64]; /* codes met while an eviction adds up */
};

/* Where a query stands. */
struct store_place {
	const struct store_block *block;
	const struct store_group *group;
	unsigned lane;
};

static inline struct store_block *store_block_at(const struct store_table *t, uint64_t seq)
{
	return (struct store_block *)(t->mem + seq % t->n_blocks * t->block_bytes);
}

static inline struct store_group *store_group_at(const struct store_table *t,
						 const struct store_block *b, uint32_t index)
{
	return (struct store_group *)((char *)b + t->groups_at + (size_t)index * t->group_bytes);
}

static inline int64_t *store_ints(const struct store_table *t, const struct store_group *g,
				  unsigned column)
{
	return (int64_t *)((char *)g + t->offset[column]);
}

static inline uint16_t *store_codes(const struct store_table *t, const struct store_group *g,
				    unsigned column)
{
	return (uint16_t *)((char *)g + t->offset[column]);
}

static inline struct store_string *store_string_at(const struct store_block *b, uint16_t code)
{
	return (struct store_string *)((char *)b + (size_t)code * STORE_CODE_UNIT);
}

/* What a string of @len bytes takes of the arena. */
static inline uint32_t store_string_bytes(uint32_t len)
{
	return (uint32_t)((sizeof(struct store_string) + len + STORE_CODE_UNIT - 1) /
			  STORE_CODE_UNIT * STORE_CODE_UNIT);
}

uint32_t store_hash(const char *s, uint32_t len);

/** store_code_find() - the code of that string in a block, 0 where the block does not hold it. */
uint16_t store_code_find(const struct store_table *t, const struct store_block *b, uint32_t hash,
			 const char *s, uint32_t len);

/** store_table_make() - lay out a table and map its memory; not yet known to a store. */
int store_table_make(struct store_table **out, const struct store_def *def, size_t bytes,
		     struct skep_err *err);
void store_table_free(struct store_table *t);
void store_table_count(const struct store_table *t, struct store_stat *out);

#endif
