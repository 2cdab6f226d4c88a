// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

#include <jansson.h>
#include <time.h>

static const struct store_column columns[] = {
	{"time", STORE_INT, "when; ns since the epoch"},
	{"pid", STORE_INT, "process"},
	{"comm", STORE_STR, "its \"name\""},
	{"note", STORE_STR, "a remark"},
};
static const struct store_def def = {"event", "what happened", columns, array_size(columns)};

struct fixture {
	struct store *store;
	struct store_table *t;
};

static void append(struct store_table *t, int64_t time, int64_t pid, const char *comm)
{
	struct store_cell cells[] = {STORE_NUM(time), STORE_NUM(pid), STORE_STRZ(comm), STORE_NONE};

	store_append(t, cells, NULL);
}

static int setup(void **state)
{
	static const char *const comms[] = {"nginx", "curl", "Redis", NULL};
	static struct fixture f;
	unsigned i;

	*state = &f;
	if (store_open(&f.store, NULL) || store_table_add(f.store, &def, 0, &f.t, NULL))
		return -1;
	for (i = 0; i < 1000; i++)
		append(f.t, 1000 * (int64_t)i, 100 + i % 10, comms[i % 4]);
	return 0;
}

static int teardown(void **state)
{
	store_free(((struct fixture *)*state)->store);
	return 0;
}

static struct store *store_of(void **state)
{
	return ((struct fixture *)*state)->store;
}

/* What EXPLAIN QUERY PLAN says of a query. */
static void assert_plan(struct store *s, const char *sql, const char *words)
{
	cleanup(buf_done) struct buf explain = {0};
	cleanup(rows_done) struct rows r = {0};

	buf_fmt(&explain, "explain query plan %s", sql);
	r = rows_of(s, explain.data);
	assert_int_equal(r.rc, 0);
	if (!strstr(r.text.data, words))
		fail_msg("%s: \"%s\" lacks \"%s\"", sql, r.text.data, words);
}

static void selects_filter_group_and_order(void **state)
{
	struct store *s = store_of(state);

	assert_rows(s, "select count(*) from event", "1000\n");
	assert_rows(s, "select comm, count(*) from event group by comm order by comm",
		    "-|250\nRedis|250\ncurl|250\nnginx|250\n");
	assert_rows(s, "select distinct pid from event where comm = 'curl' order by 1 desc limit 2",
		    "109\n107\n");
	assert_rows(s, "select time from event where time > 3000 and time <= 5000", "4000\n5000\n");
	assert_rows(s, "select count(*) from event where comm is null and note is null", "250\n");
	assert_rows(s, "select count(*) from event where comm in ('curl', 'Redis', 'x')", "500\n");
	assert_rows(s, "select value from json_each('[1, 2]')", "1\n2\n");
	assert_rows(s, "with x as (select pid p from event) select max(p) from x", "109\n");
}

static void conditions_are_pushed_down_to_the_table(void **state)
{
	struct store *s = store_of(state);

	assert_plan(s, "select * from event where time > 5 and time < 9", "0>0<");
	assert_plan(s, "select * from event where comm = 'x' and pid is null", "2=1n");
	assert_plan(s, "select * from event where comm in ('x', 'y')", "2i");
	assert_plan(s, "select * from event where time > ago(60)", "0>");
	assert_plan(s, "select comm, note, count(*) from event group by 1, 2", "2a3a");
}

static void a_condition_with_another_collation_is_left_to_sqlite(void **state)
{
	struct store *s = store_of(state);

	assert_rows(s, "select count(*) from event where comm = 'NGINX' collate nocase", "250\n");
	assert_rows(s, "select count(*) from event where comm = 'NGINX'", "0\n");
	assert_rows(s, "select count(*) from event where comm = 'redis' collate nocase and pid > 0",
		    "250\n");
}

static void anything_but_select_is_refused_by_name(void **state)
{
	struct store *s = store_of(state);

	assert_refused(s, "pragma user_version = 5", -EINVAL, "only SELECT is allowed: not PRAGMA");
	assert_refused(s, "pragma table_info(event)", -EINVAL, "PRAGMA");
	assert_refused(s, "select * from pragma_database_list", -EINVAL, "PRAGMA");
	assert_refused(s, "update sqlite_master set sql = ''", -EINVAL, "");
	assert_refused(s, "delete from sqlite_master", -EINVAL, "");
	assert_refused(s, "attach '/tmp/x.db' as x", -EINVAL, "ATTACH");
	assert_refused(s, "detach x", -EINVAL, "DETACH");
	assert_refused(s, "insert into event(pid) values (1)", -EINVAL, "");
	assert_refused(s, "delete from event", -EINVAL, "");
	assert_refused(s, "create table x(y)", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "create temp table x(y)", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "drop table event", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "alter table event rename to e", -EINVAL, "");
	assert_refused(s, "vacuum into '/tmp/x.db'", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "begin", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "savepoint x", -EINVAL, "only SELECT is allowed: not SAVEPOINT");
	assert_refused(s, "reindex", -EINVAL, "only SELECT is allowed");
	assert_refused(s, "select load_extension('/tmp/x.so')", -EINVAL, "");
	assert_refused(s, "select fts3_tokenizer('simple', x'00')", -EINVAL, "that function");
	assert_rows(s, "select count(*) from event", "1000\n");
}

static void exactly_one_statement_is_run(void **state)
{
	struct store *s = store_of(state);

	assert_refused(s, "select 1; select 2", -EINVAL, "only one statement");
	assert_refused(s, "select 1; drop table event", -EINVAL, "only one statement");
	assert_refused(s, "", -EINVAL, "no statement");
	assert_refused(s, "-- nothing", -EINVAL, "no statement");
	assert_rows(s, "select 1; -- and no more\n ;", "1\n");
}

static void bad_sql_says_what_is_wrong_on_one_line(void **state)
{
	struct store *s = store_of(state);
	cleanup(rows_done) struct rows r = rows_of(s, "select\n\"no\nsuch\" frm x");

	assert_refused(s, "selec 1", -EINVAL, "near \"selec\": syntax error");
	assert_refused(s, "select nope from event", -EINVAL, "no such column: nope");
	assert_refused(s, "select * from nope", -EINVAL, "no such table: nope");
	assert_int_equal(r.rc, -EINVAL);
	assert_null(strchr(r.err.text, '\n'));
}

static void limits_bound_length_depth_and_number(void **state)
{
	cleanup(buf_done) struct buf sql = {0};
	struct store *s = store_of(state);
	unsigned i;

	buf_str(&sql, "select 1");
	for (i = 0; i < 300; i++)
		buf_str(&sql, " union all select 1");
	assert_refused(s, sql.data, -EINVAL, "too many terms in compound SELECT");
	buf_clear(&sql);
	buf_str(&sql, "select ");
	for (i = 0; i < 1000; i++)
		buf_str(&sql, "-(");
	assert_refused(s, sql.data, -EINVAL, "");
	buf_clear(&sql);
	buf_str(&sql, "select '");
	while (sql.len < 1100000)
		buf_str(&sql, "0123456789");
	buf_str(&sql, "'");
	assert_refused(s, sql.data, -EINVAL, "too big");
}

static void rows_beyond_the_limit_are_left_out_and_said(void **state)
{
	struct store *s = store_of(state);
	cleanup(rows_done) struct rows some = rows_limited(s, "select pid from event", 10, 0);
	cleanup(rows_done) struct rows all = rows_limited(s, "select pid from event", 1000, 0);

	assert_int_equal(some.n, 10);
	assert_true(some.truncated);
	assert_int_equal(all.n, 1000);
	assert_false(all.truncated);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void assert_ends_in_time(struct store *s, const char *sql)
{
	double start = now_ms();
	cleanup(rows_done) struct rows r = rows_limited(s, sql, 0, 50);

	assert_int_equal(r.rc, -ETIME);
	assert_non_null(strstr(r.err.text, "50 ms"));
	assert_true(now_ms() - start < 2000);
}

static void a_long_query_ends_at_its_time(void **state)
{
	struct store *s = store_of(state);
	unsigned i;

	assert_ends_in_time(s, "with recursive x(n) as (select 1 union all select n + 1 from x)"
			       " select count(*) from x");
	for (i = 0; i < 15000; i++)
		append(((struct fixture *)*state)->t, i, 1000 + 2 * i, "more");
	/* many scans, all blocks, no row */
	assert_ends_in_time(s,
			    "select count(*) from event a, event b, event c"
			    " where a.pid > 1000 and b.pid > 1000 and c.pid = a.pid + b.pid / 4 * 2"
			    " + 1");
	assert_rows(s, "select count(*) from event where comm = 'nginx'", "250\n");
}

static void a_query_that_needs_too_much_memory_is_refused(void **state)
{
	assert_refused(store_of(state),
		       "with recursive x(n) as (select 1 union all select n + 1 from x limit 100)"
		       " select group_concat(hex(zeroblob(4000000 + n)), n) from x",
		       -EINVAL, "too big");
	assert_refused(store_of(state),
		       "with recursive x(n) as (select 1 union all select n + 1 from x limit 100)"
		       " select hex(zeroblob(4000000 + n)) h from x order by h",
		       -ENOMEM, "256 MiB");
}

static int stop_at_third(void *arg, unsigned n maybe_unused,
			 const struct store_value *v maybe_unused)
{
	return ++*(unsigned *)arg == 3 ? -ECANCELED : 0;
}

static int two_names(void *arg maybe_unused, unsigned n, const char *const *names)
{
	assert_int_equal(n, 2);
	assert_string_equal(names[0], "pid");
	assert_string_equal(names[1], "sum");
	return 0;
}

static void the_sink_gets_names_and_may_stop(void **state)
{
	unsigned rows = 0;
	struct store_sink sink = {two_names, stop_at_third, &rows};

	assert_int_equal(store_sql(store_of(state), "select pid, 1 + 1 as sum from event", NULL, 0,
				   NULL, &sink, NULL, NULL),
			 -ECANCELED);
	assert_int_equal(rows, 3);
}

static void parameters_are_bound_and_compare_like_the_column(void **state)
{
	static const char *const params[] = {"103", "curl' or 1"};
	struct rows r = {0};
	struct store_sink sink = {rows_columns, rows_row, &r};
	struct skep_err err;

	assert_int_equal(store_sql(store_of(state),
				   "select count(*), ?2 from event where pid = ?1 and comm <> ?2",
				   params, 2, NULL, &sink, NULL, &err),
			 0);
	assert_string_equal(r.text.data, "50|curl' or 1\n");
	assert_int_equal(
		store_sql(store_of(state), "select ?1", params, 2, NULL, &sink, NULL, &err),
		-EINVAL);
	assert_string_equal(err.text, "the statement has no parameter ?2");
	rows_done(&r);
}

static void values_come_with_their_types(void **state)
{
	assert_rows(store_of(state),
		    "select 1, -9223372036854775807, 0.5, 'x', null, x'6162', '', 1e300",
		    "1|-9223372036854775807|0.5|x|-|ab||1e+300\n");
}

static void times_are_made_readable_and_relative(void **state)
{
	struct store *s = store_of(state);

	assert_rows(s, "select ts(1763836620123456789), ts(0), ts(-1), ts(null)",
		    "2025-11-22T18:37:00.123456789Z|1970-01-01T00:00:00.000000000Z|"
		    "1969-12-31T23:59:59.999999999Z|-\n");
	assert_rows(
		s,
		"select ago(0) - ago(1.5), ago(null), abs(ago(0) / 1000000000 - unixepoch()) < 3",
		"1500000000|-|1\n");
	append(((struct fixture *)*state)->t, (int64_t)time(NULL) * 1000000000 - 5, 9, "now");
	assert_rows(s, "select comm from event where time > ago(60)", "now\n");
}

static void a_view_can_be_queried_and_a_bad_one_is_refused(void **state)
{
	struct store *s = store_of(state);
	struct skep_err err;

	assert_int_equal(store_view(s, "web", "select * from event where comm = 'nginx'", &err), 0);
	assert_rows(s, "select count(*), min(pid) from web", "250|100\n");
	assert_int_equal(store_view(s, "bad", "select * from nowhere", &err), -EINVAL);
	assert_string_equal(err.text, "view bad: no such table: main.nowhere");
	assert_refused(s, "select * from bad", -EINVAL, "no such table");
	assert_int_equal(store_view(s, "web", "select 1", &err), -EINVAL);
}

static void a_second_table_of_a_name_is_refused(void **state)
{
	struct store_table *t = NULL;
	struct skep_err err;

	assert_int_equal(store_table_add(store_of(state), &def, 0, &t, &err), -EEXIST);
	assert_null(t);
	assert_ptr_equal(store_table_find(store_of(state), "EVENT"), ((struct fixture *)*state)->t);
	assert_null(store_table_find(store_of(state), "nope"));
}

static void the_schema_lists_tables_views_and_functions(void **state)
{
	struct store *s = store_of(state);
	struct buf b = {0};
	const char *table, *column, *doc, *view, *view_column, *type, *function;
	json_error_t err;
	json_t *root;

	assert_int_equal(store_view(s, "pids", "select distinct pid from event", NULL), 0);
	store_schema_json(s, &b);
	root = json_loads(b.data, 0, &err);
	assert_non_null(root);
	assert_int_equal(json_unpack(root,
				     "{s:[{s:s,s:[{},{},{s:s,s:s}]}],"
				     "s:[{s:s,s:[{s:s,s:s}]}],s:[{},{s:s}]}",
				     "tables", "name", &table, "columns", "name", &column, "doc",
				     &doc, "views", "name", &view, "columns", "name", &view_column,
				     "type", &type, "functions", "name", &function),
			 0);
	assert_string_equal(table, "event");
	assert_string_equal(column, "comm");
	assert_string_equal(doc, "its \"name\"");
	assert_string_equal(view, "pids");
	assert_string_equal(view_column, "pid");
	assert_string_equal(type, "integer");
	assert_string_equal(function, "ago");
	json_decref(root);
	buf_done(&b);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(selects_filter_group_and_order),
		TEST(conditions_are_pushed_down_to_the_table),
		TEST(a_condition_with_another_collation_is_left_to_sqlite),
		TEST(anything_but_select_is_refused_by_name),
		TEST(exactly_one_statement_is_run),
		TEST(bad_sql_says_what_is_wrong_on_one_line),
		TEST(limits_bound_length_depth_and_number),
		TEST(rows_beyond_the_limit_are_left_out_and_said),
		TEST(a_long_query_ends_at_its_time),
		TEST(a_query_that_needs_too_much_memory_is_refused),
		TEST(the_sink_gets_names_and_may_stop),
		TEST(parameters_are_bound_and_compare_like_the_column),
		TEST(values_come_with_their_types),
		TEST(times_are_made_readable_and_relative),
		TEST(a_view_can_be_queried_and_a_bad_one_is_refused),
		TEST(a_second_table_of_a_name_is_refused),
		TEST(the_schema_lists_tables_views_and_functions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
