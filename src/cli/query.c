// SPDX-License-Identifier: Apache-2.0
/* query.c: the verb query: anybody's SQL over the agent's tables. */
#include "cli/cli.h"

#include "cli/human.h"
#include "cli/rows.h"
#include "cli/term.h"
#include "cli/verb.h"
#include "cli/view.h"

#define SQL_MAX 65536

static int read_stdin(struct buf *b, struct skep_err *err)
{
	char part[4096];
	size_t n;

	while ((n = fread(part, 1, sizeof(part), stdin))) {
		buf_add(b, part, n);
		if (b->len > SQL_MAX)
			return skep_fail(err, -E2BIG, "the SQL is longer than %d bytes", SQL_MAX);
	}
	if (ferror(stdin))
		return skep_fail(err, -EIO, "cannot read standard input");
	return buf_ok(b) ? 0 : -ENOMEM;
}

static int fill(const struct rows *r, const struct view_column *columns, struct table *t)
{
	int64_t now = human_now();
	const json_t *row, *cell;
	size_t i, c;

	json_array_foreach(r->rows, i, row) json_array_foreach(row, c, cell)
		view_cell(t, &columns[c], cell, "", now);
	return 0;
}

static int print_table(const struct rows *r, const struct term *term, struct buf *b,
		       struct skep_err *err)
{
	size_t n = json_array_size(r->columns), c;
	cleanup(table_done) struct table *t = NULL;
	struct table_column layout[TABLE_COLUMNS_MAX];
	struct view_column columns[TABLE_COLUMNS_MAX];
	int rc;

	if (n > TABLE_COLUMNS_MAX)
		return skep_fail(err, -E2BIG, "%zu columns are too many for a table: use --json",
				 n);
	for (c = 0; c < n; c++) {
		columns[c] = view_plain(json_string_value(json_array_get(r->columns, c)));
		layout[c] = view_table_column(&columns[c], rows_numbers(r, c));
	}
	rc = table_open(&t, layout, (unsigned)n);
	if (!rc)
		rc = fill(r, columns, t);
	return rc ? rc : table_print(t, term->width, term->colour, b);
}

static int print(const struct args *a, const struct rows *r, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};
	struct term term = term_look();
	size_t i;
	int rc = 0;

	if (a->set[OPTION_WIDE])
		term.width = 0;
	if (a->set[OPTION_CSV])
		rows_csv(r, &b);
	else if (!a->set[OPTION_JSON])
		rc = print_table(r, &term, &b, err);
	else
		for (i = 0; i < rows_count(r); i++)
			rows_json(r, i, &b);
	return rc ? rc : term_flush(&b);
}

static void print_schema_table(const json_t *table, const struct term *term, struct buf *b)
{
	static const struct table_column layout[] = {
		{"  COLUMN"}, {"TYPE"}, {"WHAT", .flex = true}};
	static const char *const keys[] = {"name", "type", "doc"};
	cleanup(table_done) struct table *t = NULL;
	const json_t *column;
	const char *s;
	char name[128];
	size_t i, k;

	if (table_open(&t, layout, array_size(layout)))
		return;
	json_array_foreach(json_object_get(table, "columns"), i, column)
	{
		for (k = 0; k < array_size(keys); k++) {
			s = json_string_value(json_object_get(column, keys[k]));
			snprintf(name, sizeof(name), "%s%s", k ? "" : "  ", s ? s : "");
			s = k == 2 && s ? s : name;
			table_cell(t, TERM_PLAIN, s, strlen(s));
		}
	}
	table_print(t, term->width, term->colour, b);
}

static int print_schema(const json_t *root, struct skep_err *err)
{
	const json_t *tables = json_object_get(root, "tables"), *table;
	cleanup(buf_done) struct buf b = {0};
	struct term term = term_look();
	const char *name, *doc;
	size_t i;

	if (!json_is_array(tables))
		return skep_fail(err, -EPROTO, "the agent's answer is no schema");
	json_array_foreach(tables, i, table)
	{
		name = json_string_value(json_object_get(table, "name"));
		doc = json_string_value(json_object_get(table, "doc"));
		buf_fmt(&b, "%s%s: %s\n", i ? "\n" : "", name ? name : "", doc ? doc : "");
		print_schema_table(table, &term, &b);
	}
	return term_flush(&b);
}

static int schema(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	struct client c = cli_client(a);
	int rc = client_call(&c, "GET", "/v1/schema", NULL, &answer, err);
	json_t *root;

	if (rc)
		return rc;
	if (a->set[OPTION_JSON]) {
		buf_chr(&answer, '\n');
		return term_flush(&answer);
	}
	root = json_loadb(answer.data, answer.len, 0, NULL);
	rc = print_schema(root, err);
	json_decref(root);
	return rc;
}

static int query(const struct args *a, struct skep_err *err)
{
	cleanup(rows_done) struct rows r = {0};
	cleanup(buf_done) struct buf sql = {0};
	struct client c = cli_client(a);
	const char *word = a->n_operands ? a->operands[0] : "-";
	int rc = 0;

	if (a->set[OPTION_SCHEMA])
		return schema(a, err);
	if (!a->n_operands && isatty(STDIN_FILENO)) {
		skep_fail(err, 0, "SQL is missing: skep query 'select comm, argv from process'");
		return CLI_USAGE;
	}
	if (strcmp(word, "-"))
		buf_str(&sql, word);
	else
		rc = read_stdin(&sql, err);
	if (!rc)
		rc = rows_query(&c, sql.data ? sql.data : "",
				a->set[OPTION_LIMIT] ? a->num[OPTION_LIMIT] : a->verb->limit, &r,
				err);
	if (!rc)
		rc = print(a, &r, err);
	if (!rc && r.truncated)
		fprintf(stderr, "skep: there is more: cut at %zu rows, see --limit\n",
			rows_count(&r));
	return rc;
}

const struct verb verb_query = {
	.name = "query",
	.doc = "ask in SQL: any SELECT over the agent's tables",
	.text = "The tables are live: process, connection, dns, as `skep query --schema` describes "
		"them. The SQL is SQLite's, read only. Columns named time and ended show as local "
		"time in tables, as nanoseconds since the epoch in JSON and CSV.",
	.operand = {.name = "SQL", .doc = "the question; `-` or nothing reads standard input"},
	.options = {OPTION_SCHEMA, OPTION_LIMIT, OPTION_WIDE, OPTION_CSV, OPTION_JSON,
		    OPTION_SOCKET},
	.limit = 10000,
	.examples =
		{
			{"skep query \"select comm, remote_name, sum(bytes_sent) b from connection group by 1, 2 order by b desc\"",
			 "who sent how much where"},
			{"skep query \"select time, comm, argv from process where exit_code > 0\"",
			 "what failed"},
			{"skep query --csv - < question.sql > answer.csv", "for a spreadsheet"},
		},
	.run = query,
};
