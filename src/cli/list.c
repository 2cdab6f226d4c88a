// SPDX-License-Identifier: Apache-2.0
#include "cli/list.h"

#include "cli/cli.h"
#include "cli/human.h"
#include "cli/rows.h"
#include "cli/term.h"
#include "cli/tree.h"
#include "cli/verb.h"

#define TREE_COLUMNS 4 /* behind the shown ones: who the row is, and whose child */

const char *list_columns(const struct args *a)
{
	const struct view *v = a->verb->view;

	if (a->text[OPTION_COLUMNS])
		return a->text[OPTION_COLUMNS];
	if (a->set[OPTION_WIDE])
		return v->wide;
	return a->set[OPTION_ALL] || a->set[OPTION_FAILED] ? v->ended : v->usual;
}

void list_quote(struct buf *b, const char *s)
{
	buf_chr(b, '\'');
	for (; *s; s++) {
		if (*s == '\'')
			buf_chr(b, '\'');
		buf_chr(b, *s);
	}
	buf_chr(b, '\'');
}

/* The next of "a,b,c"; false at the end. */
static bool next_column(const struct view *v, const char **names, struct view_column *out)
{
	size_t n = strcspn(*names, ",");
	bool known = n && view_column_get(v, *names, n, out);

	*names += n + ((*names)[n] == ',');
	return known;
}

static void select_columns(const struct args *a, struct buf *b)
{
	const char *names = list_columns(a);
	struct view_column c;
	bool first = true;

	while (next_column(a->verb->view, &names, &c)) {
		buf_fmt(b, "%s%s as \"%s\"", first ? "" : ", ", c.sql ? c.sql : c.key, c.key);
		first = false;
	}
	if (a->set[OPTION_TREE])
		buf_str(b, ", pid, started, ppid, parent_started");
}

static void where(struct buf *b, bool *any, const char *condition)
{
	buf_fmt(b, "%s%s", *any ? " and " : " where ", condition);
	*any = true;
}

static void where_text(const struct args *a, enum option_id id, const char *column, struct buf *b,
		       bool *any)
{
	if (!a->set[id])
		return;
	where(b, any, column);
	buf_str(b, " = ");
	list_quote(b, a->text[id]);
}

static void where_number(const struct args *a, enum option_id id, const char *column, struct buf *b,
			 bool *any)
{
	if (!a->set[id])
		return;
	where(b, any, column);
	buf_fmt(b, " = %lld", (long long)a->num[id]);
}

static void where_container(const struct args *a, struct buf *b, bool *any)
{
	if (!a->set[OPTION_CONTAINER])
		return;
	where(b, any, "substr(container, 1, ");
	buf_fmt(b, "%zu) = ", strlen(a->text[OPTION_CONTAINER]));
	list_quote(b, a->text[OPTION_CONTAINER]);
}

static void conditions(const struct args *a, struct buf *b)
{
	bool any = false, history = a->verb == &verb_dns || a->set[OPTION_FAILED];

	if (!history && !a->set[OPTION_ALL])
		where(b, &any, "ended is null");
	if (a->set[OPTION_FAILED])
		where(b, &any, "state = 'failed'");
	where_number(a, OPTION_PID, "pid", b, &any);
	where_text(a, OPTION_COMM, "comm", b, &any);
	where_text(a, OPTION_SERVICE, "service", b, &any);
	where_text(a, OPTION_PROTO, "proto", b, &any);
	where_container(a, b, &any);
	if (a->set[OPTION_PORT]) {
		where(b, &any, "(local_port = ");
		buf_fmt(b, "%lld or remote_port = %lld)", (long long)a->num[OPTION_PORT],
			(long long)a->num[OPTION_PORT]);
	}
}

static void order(const struct args *a, struct buf *b)
{
	const char *name = a->text[OPTION_SORT];
	bool largest = !name || *name == '-';
	struct view_column c = {.key = "time"};

	if (name) {
		name += largest;
		view_column_get(a->verb->view, name, strlen(name), &c);
	}
	buf_fmt(b, " order by %s%s%s",
		c.sort	? c.sort
		: c.sql ? c.sql
			: c.key,
		largest ? " desc" : "", name ? "" : ", pid desc");
}

static int64_t limit(const struct args *a)
{
	return a->set[OPTION_LIMIT] ? a->num[OPTION_LIMIT] : a->verb->limit;
}

void list_sql(const struct args *a, struct buf *b)
{
	buf_str(b, "select ");
	if (a->set[OPTION_JSON] && !a->set[OPTION_COLUMNS])
		buf_str(b, "*");
	else
		select_columns(a, b);
	buf_fmt(b, " from %s", a->verb->view->table);
	conditions(a, b);
	order(a, b);
	if (limit(a))
		buf_fmt(b, " limit %lld", (long long)limit(a));
}

/* Which row is printed as the @i-th: without --sort they come newest first and are shown last. */
static size_t row_at(const struct args *a, const struct rows *r, size_t i)
{
	return a->set[OPTION_SORT] ? i : rows_count(r) - 1 - i;
}

static int order_tree(const struct args *a, const struct rows *r, struct tree_line **out)
{
	size_t n = rows_count(r), base = json_array_size(r->columns) - TREE_COLUMNS, i;
	cleanup(mem_free) struct tree_node *nodes = calloc(n + 1, sizeof(*nodes));
	cleanup(mem_free) struct tree_line *lines = calloc(n + 1, sizeof(*lines));
	int rc;

	if (!nodes || !lines)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		nodes[i] = (struct tree_node){
			json_integer_value(rows_get(r, row_at(a, r, i), base)),
			json_integer_value(rows_get(r, row_at(a, r, i), base + 1)),
			json_integer_value(rows_get(r, row_at(a, r, i), base + 2)),
			json_integer_value(rows_get(r, row_at(a, r, i), base + 3)),
		};
	rc = tree_order(nodes, n, lines);
	for (i = 0; i < n; i++)
		lines[i].row = row_at(a, r, lines[i].row);
	if (!rc)
		*out = take(lines);
	return rc;
}

/* The columns shown, as views and as layout. */
struct shape {
	struct view_column view[TABLE_COLUMNS_MAX];
	struct table_column table[TABLE_COLUMNS_MAX];
	unsigned n;
};

static void shape_fill(const struct args *a, const struct rows *r, struct shape *s)
{
	const char *names = list_columns(a);

	s->n = 0;
	while (s->n < TABLE_COLUMNS_MAX && next_column(a->verb->view, &names, &s->view[s->n])) {
		s->table[s->n] = view_table_column(&s->view[s->n], rows_numbers(r, s->n));
		if (a->set[OPTION_COLUMNS])
			s->table[s->n].drop = 0;
		s->n++;
	}
}

static void fill(struct table *t, const struct shape *s, const struct rows *r, const struct args *a,
		 const struct tree_line *lines)
{
	const char *lead, *tree_column = "command";
	int64_t now = human_now();
	size_t i, row;
	unsigned c;

	for (i = 0; i < rows_count(r); i++) {
		row = lines ? lines[i].row : row_at(a, r, i);
		for (c = 0; c < s->n; c++) {
			lead = lines && (!strcmp(s->view[c].key, tree_column)) ? lines[i].lead : "";
			view_cell(t, &s->view[c], rows_get(r, row, c), lead, now);
		}
	}
}

static int print_table(const struct args *a, const struct rows *r)
{
	cleanup(table_done) struct table *t = NULL;
	cleanup(mem_free) struct tree_line *lines = NULL;
	cleanup(buf_done) struct buf b = {0};
	struct term term = term_look();
	struct shape s;
	int rc = a->set[OPTION_TREE] ? order_tree(a, r, &lines) : 0;

	shape_fill(a, r, &s);
	if (!rc)
		rc = table_open(&t, s.table, s.n);
	if (rc)
		return rc;
	fill(t, &s, r, a, lines);
	rc = table_print(t, a->set[OPTION_WIDE] ? 0 : term.width, term.colour, &b);
	return rc ? rc : term_flush(&b);
}

static int print_json(const struct args *a, const struct rows *r)
{
	cleanup(buf_done) struct buf b = {0};
	size_t i;
	int rc = 0;

	for (i = 0; !rc && i < rows_count(r); i++) {
		rows_json(r, row_at(a, r, i), &b);
		if (b.len > 65536)
			rc = term_flush(&b);
	}
	return rc ? rc : term_flush(&b);
}

static int list(const struct args *a, struct skep_err *err)
{
	cleanup(rows_done) struct rows r = {0};
	cleanup(buf_done) struct buf sql = {0};
	struct client c = cli_client(a);
	int rc;

	list_sql(a, &sql);
	if (!buf_ok(&sql))
		return -ENOMEM;
	rc = rows_query(&c, sql.data, ROWS_MAX, &r, err);
	if (rc)
		return rc;
	rc = a->set[OPTION_JSON] ? print_json(a, &r) : print_table(a, &r);
	if (!rc && r.truncated)
		fprintf(stderr, "skep: there is more: the answer was cut at %zu rows\n",
			rows_count(&r));
	return rc;
}

const struct verb verb_ps = {
	.name = "ps",
	.doc = "processes: what runs, and with --all what ran",
	.text = "One line per program run, from exec to exit, oldest first. A process is known by "
		"its pid and start time, so a pid used again is another process.\n\n"
		"On a narrow terminal the least important columns are left out; --wide shows all "
		"of the view, --columns any of the table.",
	.options = {OPTION_TREE, OPTION_ALL, OPTION_PID, OPTION_COMM, OPTION_SERVICE,
		    OPTION_CONTAINER, OPTION_SORT, OPTION_LIMIT, OPTION_COLUMNS, OPTION_WIDE,
		    OPTION_JSON, OPTION_SOCKET},
	.view = &view_process,
	.examples =
		{
			{"skep ps --tree", "who started whom"},
			{"skep ps --all --comm sh -n 20",
			 "the last twenty shells, also ended ones"},
			{"skep ps --columns pid,age,cwd,command --sort -age", "youngest last"},
			{"skep ps --json | jq -r .exe | sort | uniq -c", "count programs"},
		},
	.run = list,
};

const struct verb verb_conns = {
	.name = "conns",
	.doc = "connections: who talks to whom, how much, how fast",
	.text = "One line per end on this host: a connection between two local processes has two "
		"lines. An arrow shows who asked: → this end connected, ← this end was asked. The "
		"port is the one that was asked for.",
	.options = {OPTION_ALL, OPTION_FAILED, OPTION_PID, OPTION_COMM, OPTION_SERVICE,
		    OPTION_CONTAINER, OPTION_PROTO, OPTION_PORT, OPTION_SORT, OPTION_LIMIT,
		    OPTION_COLUMNS, OPTION_WIDE, OPTION_JSON, OPTION_SOCKET},
	.view = &view_connection,
	.examples =
		{
			{"skep conns --service nginx", "who talks to nginx"},
			{"skep conns --failed", "refused, timed out, unreachable"},
			{"skep conns --all --sort -received -n 10", "where the most came from"},
			{"skep conns --port 443 --json", "for other programs"},
		},
	.run = list,
};

const struct verb verb_dns = {
	.name = "dns",
	.doc = "DNS questions and answers seen on port 53, newest last",
	.options = {OPTION_PID, OPTION_COMM, OPTION_SERVICE, OPTION_CONTAINER, OPTION_SORT,
		    OPTION_LIMIT, OPTION_COLUMNS, OPTION_WIDE, OPTION_JSON, OPTION_SOCKET},
	.limit = 50,
	.view = &view_dns,
	.examples =
		{
			{"skep dns --comm curl", "what curl looked up"},
			{"skep dns --sort -took -n 10", "the slowest answers"},
		},
	.run = list,
};
