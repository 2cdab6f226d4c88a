// SPDX-License-Identifier: Apache-2.0
/*
 * schema.c: the functions that skep adds to SQL, and what tables, views and functions there are.
 */
#include <math.h>
#include <time.h>

#include "store/sql.h"

#define NS_PER_S 1000000000LL

static const char ts_doc[] = "ts(time): time in ns since the epoch as text, ISO 8601 in UTC";
static const char ago_doc[] = "ago(seconds): time so many seconds before the query began, in ns "
			      "since the epoch";

static void ts(sqlite3_context *ctx, int argc maybe_unused, sqlite3_value **argv)
{
	int64_t t = sqlite3_value_int64(argv[0]), ns = t % NS_PER_S;
	time_t s = t / NS_PER_S;
	char day[32], text[64];
	struct tm tm;

	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return;
	if (ns < 0) {
		ns += NS_PER_S;
		s--;
	}
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
	snprintf(text, sizeof(text), "%s.%09lldZ", day, (long long)ns);
	sqlite3_result_text(ctx, text, -1, SQLITE_TRANSIENT);
}

static void ago(sqlite3_context *ctx, int argc maybe_unused, sqlite3_value **argv)
{
	const struct store *s = sqlite3_user_data(ctx);
	double ns = sqlite3_value_double(argv[0]) * (double)NS_PER_S;

	if (sqlite3_value_type(argv[0]) == SQLITE_NULL)
		return;
	if (fabs(ns) < 0x1p62)
		sqlite3_result_int64(ctx, s->now - (int64_t)ns);
	else
		sqlite3_result_error(ctx, "ago(): that is more than a century", -1);
}

int store_functions_register(struct store *s)
{
	int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
	int rc = sqlite3_create_function(s->db, "ts", 1, flags, s, ts, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(s->db, "ago", 1, flags, s, ago, NULL, NULL);
	return rc;
}

static void member(struct buf *b, const char *before, const char *name, const char *value)
{
	buf_fmt(b, "%s\"%s\":", before, name);
	buf_json(b, value, strlen(value));
}

static void table_json(struct buf *b, const struct store_def *def)
{
	const struct store_column *c;

	member(b, "{", "name", def->name);
	member(b, ",", "doc", def->doc);
	buf_str(b, ",\"columns\":[");
	for (c = def->columns; c < def->columns + def->n_columns; c++) {
		member(b, c == def->columns ? "{" : ",{", "name", c->name);
		member(b, ",", "type", c->type == STORE_INT ? "integer" : "text");
		member(b, ",", "doc", c->doc);
		buf_chr(b, '}');
	}
	buf_str(b, "]}");
}

/* SQLite knows the type of a view's column where it is one of a table, and writes it large. */
static const char *view_type(const char *declared)
{
	if (declared && !sqlite3_stricmp(declared, "integer"))
		return "integer";
	return declared && !sqlite3_stricmp(declared, "text") ? "text" : "any";
}

static void view_json(struct store *s, struct buf *b, const char *name)
{
	cleanup(store_sqlite_free) char *sql = sqlite3_mprintf("select * from \"%w\"", name);
	sqlite3_stmt *st = NULL;
	int i;

	member(b, "{", "name", name);
	buf_str(b, ",\"columns\":[");
	if (!sql || sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
		b->failed = true;
	for (i = 0; i < sqlite3_column_count(st); i++) {
		member(b, i ? ",{" : "{", "name", sqlite3_column_name(st, i) ?: "");
		member(b, ",", "type", view_type(sqlite3_column_decltype(st, i)));
		buf_chr(b, '}');
	}
	buf_str(b, "]}");
	sqlite3_finalize(st);
}

static void function_json(struct buf *b, const char *name, const char *doc)
{
	member(b, "{", "name", name);
	member(b, ",", "doc", doc);
	buf_chr(b, '}');
}

void store_schema_json(struct store *s, struct buf *b)
{
	const struct store_named_view *v;
	const struct store_table *t;

	buf_str(b, "{\"tables\":[");
	for (t = s->tables; t; t = t->next) {
		buf_str(b, t == s->tables ? "" : ",");
		table_json(b, t->def);
	}
	buf_str(b, "],\"views\":[");
	for (v = s->views; v; v = v->next) {
		buf_str(b, v == s->views ? "" : ",");
		view_json(s, b, v->name);
	}
	buf_str(b, "],\"functions\":[");
	function_json(b, "ts", ts_doc);
	buf_chr(b, ',');
	function_json(b, "ago", ago_doc);
	buf_str(b, "]}");
}
