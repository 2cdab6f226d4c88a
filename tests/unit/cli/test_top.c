// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/term.h"
#include "cli/top_model.h"
#include "cli/tree.h"

#define S 1000000000LL

static void parse(struct rows *out, const char *columns, const char *rows)
{
	struct buf b = {0};

	buf_fmt(&b, "{\"columns\":[%s],\"rows\":[%s]}", columns, rows);
	assert_int_equal(rows_parse(&b, out, NULL), 0);
	buf_done(&b);
}

/* One process per pid 1..3; connections as given. */
static int update(struct top_model *m, const char *connections, int64_t now)
{
	struct rows rows[TOP_PANES] = {0};

	parse(&rows[TOP_PROCESSES],
	      "\"pid\",\"started\",\"time\",\"service\",\"uid\",\"comm\",\"command\"",
	      "[1,10,1000,\"init\",0,\"init\",\"/sbin/init\"],"
	      "[2,20,2000,\"web\",0,\"nginx\",\"nginx -g\"],"
	      "[3,30,3000,\"db\",0,\"redis\",\"redis-server\"]");
	parse(&rows[TOP_CONNECTIONS],
	      "\"p\",\"s\",\"t\",\"v\",\"d\",\"r\",\"o\",\"z\",\"b\",\"c\",\"u\",\"k\"",
	      connections);
	return top_model_update(m, rows, now);
}

static void page(const struct top_model *m, struct buf *b)
{
	struct table *t = NULL;

	assert_int_equal(top_model_table(m, 0, 20, &t), 0);
	assert_int_equal(table_print(t, 0, false, b), 0);
	table_free(t);
}

/* The first word of line @n of the pane in front, head not counted. */
static void assert_pid(const struct top_model *m, unsigned n, const char *pid)
{
	struct buf b = {0};
	char word[32];
	char *at;

	page(m, &b);
	for (at = b.data; n-- + 1; at++)
		at = strchr(at, '\n');
	assert_int_equal(sscanf(at, "%31s", word), 1);
	assert_string_equal(word, pid);
	buf_done(&b);
}

static void assert_shows(const struct top_model *m, const char *text)
{
	struct buf b = {0};

	page(m, &b);
	if (!strstr(b.data, text))
		fail_msg("no '%s' in:\n%s", text, b.data);
	buf_done(&b);
}

#define CONN(pid, started, time, peer, sent, received, cookie) \
	"[" #pid "," #started "," #time ",\"x\",\"→\",\"" peer \
	"\",\"80/tcp\",\"established\"," #sent "," #received ",41," #cookie "]"

static void rates_are_what_changed_over_the_time_between(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 1000, 0, 7), 10 * S), 0);
	assert_true(m.rate < 0.5);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 5096, 0, 7), 12 * S), 0);
	assert_true(m.rate > 2047 && m.rate < 2049);
	m.pane = TOP_PROCESSES;
	assert_pid(&m, 0, "2");
	assert_shows(&m, "2.0 KiB");
	top_model_done(&m);
}

static void
a_connection_that_is_new_counts_from_nothing_an_old_one_first_seen_does_not(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, "", 10 * S), 0);
	assert_int_equal(update(&m,
				CONN(2, 20, 10500000000, "a", 3000, 0, 7) "," CONN(3, 30, 5, "b",
										   9000, 0, 8),
				11 * S),
			 0);
	assert_true(m.rate > 2999 && m.rate < 3001);
	top_model_done(&m);
}

static void a_counter_that_went_back_is_no_rate(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 5000, 0, 7), 10 * S), 0);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 10, 0, 7), 11 * S), 0);
	assert_true(m.rate < 0.5);
	top_model_done(&m);
}

static void a_pid_used_again_gets_nothing_of_the_old_ones_connections(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, CONN(2, 19, 5, "a", 0, 0, 7), 10 * S), 0);
	assert_int_equal(update(&m, CONN(2, 19, 5, "a", 5000, 0, 7), 11 * S), 0);
	assert_pid(&m, 0, "1");
	top_model_done(&m);
}

static void the_selected_line_stays_selected_where_it_goes(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 0, 0, 7), 10 * S), 0);
	top_model_key(&m, TOP_KEY_DOWN, 10);
	assert_int_equal(m.state[TOP_PROCESSES].selected, 1);
	assert_int_equal(update(&m, CONN(2, 20, 5, "a", 5000, 0, 7), 11 * S), 0);
	assert_int_equal(m.state[TOP_PROCESSES].selected, 0);
	top_model_done(&m);
}

static void keys_never_leave_the_list(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	top_model_key(&m, TOP_KEY_DOWN, 10);
	top_model_key(&m, TOP_KEY_END, 10);
	assert_int_equal(update(&m, "", 10 * S), 0);
	top_model_key(&m, TOP_KEY_PAGE_DOWN, 10);
	assert_int_equal(m.state[TOP_PROCESSES].selected, 2);
	top_model_key(&m, TOP_KEY_PAGE_UP, 10);
	top_model_key(&m, TOP_KEY_UP, 10);
	assert_int_equal(m.state[TOP_PROCESSES].selected, 0);
	top_model_key(&m, TOP_KEY_PANE, 10);
	top_model_key(&m, TOP_KEY_END, 10);
	assert_int_equal(m.state[TOP_CONNECTIONS].selected, 0);
	top_model_done(&m);
}

static void sorting_goes_round_the_columns_and_turns(void **state)
{
	struct top_model m;
	unsigned i, first;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, "", 10 * S), 0);
	first = m.state[TOP_PROCESSES].sort;
	top_model_key(&m, TOP_KEY_SORT, 10);
	assert_pid(&m, 0, "1"); /* the oldest first */
	top_model_key(&m, TOP_KEY_REVERSE, 10);
	assert_pid(&m, 0, "3");
	top_model_key(&m, TOP_KEY_SORT, 10); /* by command */
	assert_pid(&m, 0, "1");
	assert_pid(&m, 1, "2");
	assert_shows(&m, "COMMAND▲");
	for (i = 0; i < 2; i++)
		top_model_key(&m, TOP_KEY_SORT_BACK, 10);
	assert_int_equal(m.state[TOP_PROCESSES].sort, first);
	for (i = 0; i < 8; i++)
		top_model_key(&m, TOP_KEY_SORT, 10);
	assert_int_equal(m.state[TOP_PROCESSES].sort, first);
	top_model_done(&m);
}

static void the_filter_holds_in_any_column_and_across_samples(void **state)
{
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, "", 10 * S), 0);
	top_model_filter(&m, "REDIS-s");
	assert_int_equal(m.state[TOP_PROCESSES].shown, 1);
	assert_pid(&m, 0, "3");
	assert_int_equal(update(&m, "", 11 * S), 0);
	assert_int_equal(m.state[TOP_PROCESSES].shown, 1);
	top_model_filter(&m, "");
	assert_int_equal(m.state[TOP_PROCESSES].shown, 3);
	top_model_done(&m);
}

static void an_answer_of_other_columns_is_refused_and_the_old_stays(void **state)
{
	struct rows rows[TOP_PANES] = {0};
	struct top_model m;

	(void)state;
	top_model_init(&m);
	assert_int_equal(update(&m, "", 10 * S), 0);
	parse(&rows[TOP_PROCESSES], "\"pid\"", "[1]");
	parse(&rows[TOP_CONNECTIONS], "\"pid\"", "[1]");
	assert_int_equal(top_model_update(&m, rows, 11 * S), -EPROTO);
	assert_int_equal(m.n[TOP_PROCESSES], 3);
	top_model_done(&m);
}

static void a_tree_draws_children_below_their_parents(void **state)
{
	const struct tree_node nodes[] = {
		{1, 1, 0, 0}, {2, 1, 1, 1}, {3, 1, 2, 1}, {4, 1, 1, 1}, {5, 1, 99, 1},
	};
	static const char *const leads[] = {"", "├─ ", "│  └─ ", "└─ ", ""};
	struct tree_line out[array_size(nodes)];
	size_t i;

	(void)state;
	assert_int_equal(tree_order(nodes, array_size(nodes), out), 0);
	for (i = 0; i < array_size(nodes); i++) {
		assert_int_equal(out[i].row, i);
		assert_string_equal(out[i].lead, leads[i]);
	}
}

static void a_parent_with_the_pid_but_not_the_start_is_no_parent(void **state)
{
	const struct tree_node nodes[] = {{1, 5, 0, 0}, {2, 1, 1, 4}};
	struct tree_line out[array_size(nodes)];

	(void)state;
	assert_int_equal(tree_order(nodes, array_size(nodes), out), 0);
	assert_string_equal(out[1].lead, "");
}

static void rings_and_deep_chains_show_every_row_once(void **state)
{
	static struct tree_node nodes[1000];
	static struct tree_line out[1000];
	bool seen[1000] = {0};
	size_t i;

	(void)state;
	for (i = 0; i < 990; i++)
		nodes[i] = (struct tree_node){(int64_t)i + 1, 1, (int64_t)i, 1};
	for (; i < 1000; i++) /* a ring of ten, and each its own parent's sibling */
		nodes[i] =
			(struct tree_node){(int64_t)i + 1, 1, i == 999 ? 991 : (int64_t)i + 2, 1};
	assert_int_equal(tree_order(nodes, 1000, out), 0);
	for (i = 0; i < 1000; i++) {
		assert_false(seen[out[i].row]);
		seen[out[i].row] = true;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_what_changed_over_the_time_between),
		cmocka_unit_test(
			a_connection_that_is_new_counts_from_nothing_an_old_one_first_seen_does_not),
		cmocka_unit_test(a_counter_that_went_back_is_no_rate),
		cmocka_unit_test(a_pid_used_again_gets_nothing_of_the_old_ones_connections),
		cmocka_unit_test(the_selected_line_stays_selected_where_it_goes),
		cmocka_unit_test(keys_never_leave_the_list),
		cmocka_unit_test(sorting_goes_round_the_columns_and_turns),
		cmocka_unit_test(the_filter_holds_in_any_column_and_across_samples),
		cmocka_unit_test(an_answer_of_other_columns_is_refused_and_the_old_stays),
		cmocka_unit_test(a_tree_draws_children_below_their_parents),
		cmocka_unit_test(a_parent_with_the_pid_but_not_the_start_is_no_parent),
		cmocka_unit_test(rings_and_deep_chains_show_every_row_once),
	};

	term_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
