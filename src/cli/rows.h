/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h: a result of SQL as the agent gives it, and the forms in which it leaves: table, JSON
 * lines, CSV.
 */
#ifndef SKEP_CLI_ROWS_H
#define SKEP_CLI_ROWS_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/client.h"

#include <jansson.h>

#define ROWS_MAX 100000 /* what a view asks for at most; the agent gives no more */

struct rows {
	json_t *root;
	const json_t *columns; /* of strings */
	const json_t *rows;    /* of arrays */
	bool truncated;
};

void rows_done(struct rows *r);

/** rows_parse() - check the shape of an answer. Return: 0, -EPROTO. */
int rows_parse(const struct buf *text, struct rows *out, struct skep_err *err);

/** rows_query() - ask the agent; errors as client_call(). */
int rows_query(const struct client *c, const char *sql, int64_t limit, struct rows *out,
	       struct skep_err *err);

/** rows_numbers() - whether every value of a column that is not null is a number. */
bool rows_numbers(const struct rows *r, size_t column);

/** rows_json() - add row @i as an object, NULL left out, and a newline. */
void rows_json(const struct rows *r, size_t i, struct buf *b);

/** rows_csv() - add the head and all rows; NULL is empty. */
void rows_csv(const struct rows *r, struct buf *b);

/** rows_get() - a cell, NULL out of range. */
static inline const json_t *rows_get(const struct rows *r, size_t row, size_t column)
{
	return json_array_get(json_array_get(r->rows, row), column);
}

static inline size_t rows_count(const struct rows *r)
{
	return json_array_size(r->rows);
}

#endif
