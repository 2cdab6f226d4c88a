/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h: query results as text, for tests: a row a line, '|' between cells, '-' for NULL.
 */
#ifndef SKEP_TESTS_STORE_ROWS_H
#define SKEP_TESTS_STORE_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/store.h"

struct rows {
	struct buf text;
	struct skep_err err;
	unsigned n;
	bool truncated;
	int rc;
};

static int rows_columns(void *arg maybe_unused, unsigned n maybe_unused,
			const char *const *names maybe_unused)
{
	return 0;
}

static int rows_row(void *arg, unsigned n, const struct store_value *v)
{
	struct rows *r = arg;
	unsigned i;

	r->n++;
	for (i = 0; i < n; i++) {
		if (i)
			buf_chr(&r->text, '|');
		if (v[i].type == STORE_VALUE_INT)
			buf_i64(&r->text, v[i].num);
		else if (v[i].type == STORE_VALUE_REAL)
			buf_fmt(&r->text, "%.10g", v[i].real);
		else if (v[i].type == STORE_VALUE_TEXT)
			buf_add(&r->text, v[i].str, v[i].len);
		else
			buf_chr(&r->text, '-');
	}
	buf_chr(&r->text, '\n');
	return 0;
}

static void rows_done(struct rows *r)
{
	buf_done(&r->text);
}

static struct rows rows_limited(struct store *s, const char *sql, uint64_t rows, unsigned millisec)
{
	struct store_sql_limits limits = {.rows = rows, .millisec = millisec};
	struct rows r = {.n = 0};
	struct store_sink sink = {rows_columns, rows_row, &r};

	buf_str(&r.text, "");
	r.rc = store_sql(s, sql, NULL, 0, &limits, &sink, &r.truncated, &r.err);
	return r;
}

static inline struct rows rows_of(struct store *s, const char *sql)
{
	return rows_limited(s, sql, 0, 0);
}

/* The query gives exactly these lines. */
static inline void assert_rows(struct store *s, const char *sql, const char *lines)
{
	cleanup(rows_done) struct rows r = rows_of(s, sql);

	if (r.rc)
		fail_msg("%s: %s", sql, r.err.text);
	assert_string_equal(r.text.data, lines);
}

/* The query fails with this errno and these words in its reason. */
static inline void assert_refused(struct store *s, const char *sql, int rc, const char *words)
{
	cleanup(rows_done) struct rows r = rows_of(s, sql);

	assert_int_equal(r.rc, rc);
	if (!strstr(r.err.text, words))
		fail_msg("%s: \"%s\" lacks \"%s\"", sql, r.err.text, words);
}

#endif
