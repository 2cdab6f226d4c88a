/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h: rows brought together by the values of some columns, for GROUP BY, DISTINCT and ORDER BY.
 * Private to the store.
 *
 * Rows with equal values in those columns are a group. A group gets a number when first met (a
 * string is hashed once a block, not once a row); a counting sort by that number then puts its rows
 * beside each other. Only groups are ever compared, and only where a true order is asked for.
 */
#ifndef SKEP_STORE_ORDER_H
#define SKEP_STORE_ORDER_H

#include "store/scan.h"

struct store_term {
	unsigned column;
	bool descending; /* NULL is the least value */
};

/* A value that the rows of one group have in common. */
union store_key {
	int64_t num;
	const struct store_string *str; /* NULL for NULL */
};

struct store_order {
	const struct store_table *t;
	unsigned n_terms;
	union store_key *keys; /* n_terms of each group, by group number */
	uint32_t *sequence;    /* group numbers, in the order they are given */
	uint32_t *ends;	       /* by group number: behind its last row in rows[]; NULL: no groups */
	uint32_t *rows;	       /* NULL where one row of each group is wanted */
	uint32_t n_groups, n_rows;
	uint32_t next_group, next_row;
	const unsigned *wanted; /* columns that will be read beside the terms' */
	unsigned n_wanted;
	/* the row at hand */
	const union store_key *key;
	struct store_place at; /* only where rows[] is there */
};

/**
 * store_order_build() - run @scan to its end and arrange what it gives.
 * @sorted: in the terms' order; else rows of a group only stand together
 * @unique: one row of each group, of which only the keys can be read
 *
 * Return: 0, -ENOMEM, -ETIME.
 */
int store_order_build(struct store_order *o, struct store_scan *scan,
		      const struct store_term *terms, unsigned n_terms, bool sorted, bool unique);
/**
 * store_order_sort() - run @scan to its end and sort what it gives by one column of integers.
 *
 * For columns where most values differ, such as times: there are no groups, keys are not set.
 * Return: 0, -ENOMEM, -ETIME.
 */
int store_order_sort(struct store_order *o, struct store_scan *scan, const struct store_term *term);
void store_order_done(struct store_order *o);

/** store_order_row() - go to the next row. Return: false at the end. */
bool store_order_row(struct store_order *o);

#endif
