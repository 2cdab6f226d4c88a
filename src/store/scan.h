/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.h: the rows of a table that pass some filters, 64 at a time. Private to the store.
 *
 * A filter on integers is compared with a block's zone first; one on strings is turned into the
 * block's codes first. Either may say that the block holds nothing. What is left costs a few
 * instructions a row.
 */
#ifndef SKEP_STORE_SCAN_H
#define SKEP_STORE_SCAN_H

#include "store/table.h"

struct store_text {
	const char *s;
	uint32_t len;
	uint32_t hash;
};

enum store_filter_kind {
	STORE_RANGE,	/* lo <= number <= hi; STORE_NULL..STORE_NULL is "is null" */
	STORE_NUMBERS,	/* number is one of a list that spans lo..hi */
	STORE_TEXTS,	/* string is one of a list */
	STORE_UPTO,	/* string <= texts[0], by bytes */
	STORE_FROM,	/* string >= texts[0] */
	STORE_NO_TEXT,	/* string is NULL */
	STORE_ANY_TEXT, /* string is not NULL */
};

struct store_filter {
	enum store_filter_kind kind;
	unsigned column;
	int64_t lo, hi;
	unsigned n;
	int64_t *numbers;	  /* STORE_NUMBERS: n of them */
	struct store_text *texts; /* STORE_TEXTS: n; STORE_UPTO, STORE_FROM: 1 */
	/* of the block at hand, strings only */
	uint64_t *codes; /* a bit per code; NULL for a list of one */
	int only;	 /* the code where there is just one, else -1 */
};

struct store_scan {
	const struct store_table *t;
	struct store_filter *filters;
	unsigned n_filters;
	struct store_place at;
	uint64_t seq;	 /* of the block */
	uint32_t index;	 /* of the group that follows */
	uint32_t groups; /* in the block */
	uint64_t mask;	 /* lanes of the group that pass and are still to come */
	bool expired;	 /* ended early: the query's time is over */
};

/** store_scan_start() - stand before the first row. @filters are borrowed and used as scratch. */
void store_scan_start(struct store_scan *s, const struct store_table *t,
		      struct store_filter *filters, unsigned n);

/* Goes to the next group with a row that passes; false at the end. */
bool store_scan_group(struct store_scan *s);

/** store_scan_row() - go to the next row that passes. Return: false at the end. */
static inline bool store_scan_row(struct store_scan *s)
{
	if (!s->mask && !store_scan_group(s))
		return false;
	s->at.lane = (unsigned)__builtin_ctzll(s->mask);
	s->mask &= s->mask - 1;
	return true;
}

/** store_text_compare() - by bytes, as SQLite's BINARY collation does. */
int store_text_compare(const char *a, uint32_t a_len, const char *b, uint32_t b_len);

#endif
