/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h: for tests: what SQL says, as one string: ',' between cells, '-' for NULL, a newline behind
 * each row.
 */
#ifndef SKEP_TESTS_ROWS_H
#define SKEP_TESTS_ROWS_H

#include "store/store.h"

#define ROWS_MAX 8192

static int on_columns(void *arg maybe_unused, unsigned n maybe_unused,
		      const char *const *names maybe_unused)
{
	return 0;
}

static int on_row(void *arg, unsigned n, const struct store_value *v)
{
	char *text = arg;
	unsigned i;

	for (i = 0; i < n; i++) {
		size_t at = strlen(text);
		const char *end = i + 1 < n ? "," : "\n";

		if (v[i].type == STORE_VALUE_TEXT)
			snprintf(text + at, ROWS_MAX - at, "%.*s%s", (int)v[i].len, v[i].str, end);
		else if (v[i].type == STORE_VALUE_INT)
			snprintf(text + at, ROWS_MAX - at, "%lld%s", (long long)v[i].num, end);
		else
			snprintf(text + at, ROWS_MAX - at, "-%s", end);
	}
	return 0;
}

static const char *rows(struct store *store, const char *sql)
{
	static char text[ROWS_MAX];
	struct store_sink sink = {.columns = on_columns, .row = on_row, .arg = text};
	struct store_sql_limits limits = {0};
	struct skep_err err = {0};
	bool truncated;

	text[0] = '\0';
	if (store_sql(store, sql, NULL, 0, &limits, &sink, &truncated, &err))
		fail_msg("%s", err.text);
	return text;
}

#endif
