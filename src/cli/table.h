/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: rows and columns of text, laid out for a terminal.
 *
 * Columns are as wide as their content. Where the sum is too wide, the widest flexible column gives
 * way first, down to its floor; then columns are left out, highest `drop` first; then flexible
 * columns shrink to nothing. Without a width nothing is cut.
 */
#ifndef SKEP_CLI_TABLE_H
#define SKEP_CLI_TABLE_H

#include "base/base.h"
#include "base/buf.h"
#include "cli/term.h"

#define TABLE_COLUMNS_MAX 512

struct table_column {
	const char *title; /* borrowed */
	bool right;	   /* numbers */
	bool flex;	   /* may be cut */
	uint8_t drop;	   /* 0: never left out */
	uint8_t least;	   /* columns it takes at least, so that a live view does not jump */
	uint8_t floor;	   /* flexible: cut to this before others are left out; 0: 10 */
};

struct table;

/** table_open() - @columns are copied. Return: 0, -ENOMEM, -E2BIG over TABLE_COLUMNS_MAX. */
int table_open(struct table **out, const struct table_column *columns, unsigned n);
void table_free(struct table *t);
static inline void table_done(struct table **t)
{
	table_free(*t);
}

/** table_cell() - the next cell, row by row; copied. Lack of memory shows in table_print(). */
void table_cell(struct table *t, enum term_style style, const char *text, size_t n);

/**
 * table_print() - add the head and all rows, a line each.
 * @width: columns of the terminal; 0: no limit
 *
 * Return: 0, -ENOMEM.
 */
int table_print(const struct table *t, unsigned width, bool colour, struct buf *out);

#endif
