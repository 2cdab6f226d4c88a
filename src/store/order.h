/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h: rows brought together by the values of some columns, for GROUP BY, DISTINCT and ORDER BY.
 * Private to the store.
 *
 * Each combination of values gets a number when first met (a string is hashed once a block, not once
 * a row); a counting sort by that number then puts equal rows beside each other. Only the distinct
 * combinations are ever compared with each other, and only where a true order is asked for.
 */
#ifndef SKEP_STORE_ORDER_H
#define SKEP_STORE_ORDER_H

#include "store/scan.h"

struct store_term {
	unsigned column;
	bool descending; /* NULL is the least value */
};

struct store_order {
	const struct store_table *t;
	uint32_t *rows; /* place of the block in the ring << STORE_ROW_BITS | row */
	uint32_t n, next;
	struct store_place at;
};

/**
 * store_order_build() - run @scan to its end and arrange what it gives.
 * @sorted: in the terms' order; else equal rows only stand together
 * @unique: one row of each combination
 *
 * Return: 0, -ENOMEM, -ETIME.
 */
int store_order_build(struct store_order *o, struct store_scan *scan,
		      const struct store_term *terms, unsigned n_terms, bool sorted, bool unique);
void store_order_done(struct store_order *o);

static inline struct store_place store_place_of(const struct store_table *t, uint32_t ref)
{
	uint32_t row = ref & STORE_ROW_MASK;
	struct store_place at;

	at.block =
		(struct store_block *)(t->mem + (size_t)(ref >> STORE_ROW_BITS) * t->block_bytes);
	at.group = store_group_at(t, at.block, row / STORE_GROUP);
	at.lane = row % STORE_GROUP;
	return at;
}

/** store_order_row() - go to the next row. Return: false at the end. */
static inline bool store_order_row(struct store_order *o)
{
	if (o->next == o->n)
		return false;
	o->at = store_place_of(o->t, o->rows[o->next++]);
	return true;
}

#endif
