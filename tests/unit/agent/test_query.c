// SPDX-License-Identifier: Apache-2.0
/* Queries in children, asked over socket pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/lists.h"
#include "fake.h"

static struct event_base *base;
static struct http *http;
static struct queries *queries;
static struct store *store;
static void *cap;
static struct query_job job; /* what the next request runs */
static char text[80 << 20];

static int admit(maybe_unused void *arg, maybe_unused const struct http_conn *c,
		 maybe_unused const struct http_request *r, maybe_unused const char **why)
{
	return 0;
}

static void serve(maybe_unused void *arg, struct http_conn *c,
		  maybe_unused const struct http_request *r)
{
	struct query_job *copy = malloc(sizeof(*copy));

	*copy = job;
	queries_start(queries, c, copy);
}

static int begin_with(unsigned milliseconds)
{
	const struct http_ops ops = {admit, serve, NULL};
	struct cap_env env = {0};

	job = (struct query_job){.run = list_query, .limit = 100000};
	base = event_base_new();
	if (http_open(&http, base, &ops, NULL) || store_open(&store, NULL) ||
	    queries_open(&queries, base, store, 2, milliseconds))
		return -1;
	env.store = store;
	return fake_ops.open(&cap, &env, NULL);
}

static int begin(maybe_unused void **state)
{
	return begin_with(1000);
}

/* For what takes long on a slow machine and is not about time. */
static int begin_patient(maybe_unused void **state)
{
	return begin_with(60000);
}

static int end(maybe_unused void **state)
{
	queries_free(queries);
	http_free(http);
	event_base_free(base);
	store_free(store);
	return waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD ? 0 : -1;
}

static int ask(void)
{
	static const char line[] = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http_take(http, bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE), true);
	assert_int_equal(write(fds[0], line, sizeof(line) - 1), sizeof(line) - 1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	return fds[0];
}

static const char *receive(int fd)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len))) {
		if (n > 0)
			len += (size_t)n;
		else
			event_base_loop(base, EVLOOP_ONCE);
	}
	text[len] = '\0';
	close(fd);
	return text;
}

static const char *query(const char *sql)
{
	job.sql = sql;
	return receive(ask());
}

#define FOREVER                                                            \
	"with recursive n(i) as (select 1 union all select i + 1 from n) " \
	"select count(*) from n"

static void rows_come_as_arrays(maybe_unused void **state)
{
	query("select 1 as a, null, 'x\"y', 1.5");
	assert_non_null(strstr(text, "HTTP/1.1 200 "));
	assert_non_null(strstr(text, "\"rows\":[\n[1,null,\"x\\\"y\",1.5]],\"truncated\":false,"));
}

static void more_rows_than_the_limit_are_cut_and_it_is_said(maybe_unused void **state)
{
	job.limit = 2;
	query("select 1 union all select 2 union all select 3");
	assert_non_null(strstr(text, "\n[1],\n[2]],\"truncated\":true,"));
}

static void an_answer_too_long_is_cut_and_it_is_said(maybe_unused void **state)
{
	query("with recursive n(i) as (select 1 union all select i + 1 from n limit 5000) "
	      "select i, hex(zeroblob(8192)) from n");
	assert_true(strlen(text) > QUERY_OUTPUT_MAX);
	assert_true(strlen(text) < QUERY_OUTPUT_MAX + (1 << 20));
	assert_non_null(strstr(text + strlen(text) - 100, "],\"truncated\":true,"));
	assert_non_null(strstr(text + strlen(text) - 100, "}\n\r\n0\r\n\r\n"));
}

static void bad_sql_is_the_callers_fault(maybe_unused void **state)
{
	assert_non_null(strstr(query("selec 1"), "HTTP/1.1 400 "));
	assert_non_null(strstr(text, "syntax error"));
	assert_non_null(strstr(query("attach 'x' as y"), "HTTP/1.1 400 "));
}

static void a_query_without_end_is_ended_in_time(maybe_unused void **state)
{
	uint64_t begun = host_boot_now();

	assert_non_null(strstr(query(FOREVER), "HTTP/1.1 503 "));
	assert_true(host_boot_now() - begun < 3500000000);
}

static int stubborn(maybe_unused const struct query_job *j, maybe_unused struct store *s,
		    maybe_unused struct query_out *o, maybe_unused struct skep_err *err)
{
	while (getppid() > 1)
		pause();
	return 0;
}

static int crash(maybe_unused const struct query_job *j, maybe_unused struct store *s,
		 maybe_unused struct query_out *o, maybe_unused struct skep_err *err)
{
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
	return 0;
}

static int crash_later(const struct query_job *j, struct store *s, struct query_out *o,
		       struct skep_err *err)
{
	while (!o->began) {
		buf_str(&o->b, "some text ");
		query_out_more(o);
	}
	return crash(j, s, o, err);
}

static void a_child_that_does_not_look_at_the_clock_is_killed(maybe_unused void **state)
{
	job.run = stubborn;
	assert_non_null(strstr(query(""), "HTTP/1.1 503 "));
	assert_int_equal(queries_stat(queries)->killed, 1);
}

static void a_child_that_crashes_harms_nobody(maybe_unused void **state)
{
	job.run = crash;
	assert_non_null(strstr(query(""), "HTTP/1.1 500 "));
	job.run = crash_later;
	assert_non_null(strstr(query(""), "HTTP/1.1 200 "));
	assert_null(strstr(text, "\r\n0\r\n\r\n"));
	job.run = list_query;
	assert_non_null(strstr(query("select 1"), "HTTP/1.1 200 "));
}

static void a_client_that_leaves_ends_its_query(maybe_unused void **state)
{
	uint64_t begun = host_boot_now();
	int fd;

	job.run = stubborn;
	fd = ask();
	assert_int_equal(queries_stat(queries)->running, 1);
	close(fd);
	while (queries_stat(queries)->running)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(queries_stat(queries)->killed, 1);
	assert_true(host_boot_now() - begun < 1000000000);
}

static void the_rest_waits_and_too_many_are_refused(maybe_unused void **state)
{
	int fds[2 + QUERY_WAITING_MAX];
	unsigned i;

	job.run = stubborn;
	for (i = 0; i < array_size(fds); i++)
		fds[i] = ask();
	assert_int_equal(queries_stat(queries)->running, 2);
	assert_int_equal(queries_stat(queries)->waiting, QUERY_WAITING_MAX);
	assert_non_null(strstr(receive(ask()), "HTTP/1.1 429 "));
	close(fds[10]); /* waits */
	close(fds[0]);	/* runs */
	while (queries_stat(queries)->waiting > QUERY_WAITING_MAX - 2)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(queries_stat(queries)->running, 2);
	for (i = 1; i < array_size(fds); i++)
		if (i != 10)
			close(fds[i]);
	while (queries_stat(queries)->running)
		event_base_loop(base, EVLOOP_ONCE);
}

static void lists_leave_out_null_and_what_has_ended(maybe_unused void **state)
{
	fake_process("gone", 1, 10, 0);
	fake_process("here", 2, 20, -1);
	job.run = list_processes;
	query(NULL);
	assert_null(strstr(text, "gone"));
	assert_non_null(strstr(text, "{\"time\":20,\"pid\":2,\"started\":20,\"comm\":\"here\","));
	job.all = true;
	assert_non_null(strstr(query(NULL), "\"exit_code\":0"));
}

static void the_map_counts_a_connection_within_the_host_once(maybe_unused void **state)
{
	fake_process("web", 1, 10, -1);
	fake_process("hermit", 2, 20, -1);
	fake_connection("out", "client", "web", 1, 100, 2000);
	fake_connection("in", "web", "client", 2, 2000, 100);
	fake_connection("in", "web", "192.0.2.1", 0, 7, 9);
	job.run = list_map;
	job.seconds = 300;
	query(NULL);
	assert_non_null(strstr(text, "{\"from\":\"192.0.2.1\",\"to\":\"web\",\"proto\":\"tcp\","
				     "\"port\":80,\"connections\":1,\"open\":1,\"failed\":0,"
				     "\"bytes_sent\":9,\"bytes_received\":7,"));
	assert_non_null(strstr(text, "{\"from\":\"client\",\"to\":\"web\",\"proto\":\"tcp\","
				     "\"port\":80,\"connections\":1,\"open\":1,\"failed\":0,"
				     "\"bytes_sent\":100,\"bytes_received\":2000,\"rtt_us\":41}"));
	assert_non_null(strstr(text, "{\"id\":\"192.0.2.1\",\"kind\":\"remote\",\"addr\":"));
	assert_non_null(strstr(text, "{\"id\":\"web\",\"kind\":\"service\",\"processes\":1}"));
	assert_null(strstr(text, "hermit"));
}

static void
a_connection_nobody_accepted_yet_goes_to_the_service_at_that_address(maybe_unused void **s)
{
	fake_connection("out", "client", "web", 1, 100, 2000);
	fake_connection("out", "client", "192.0.2.1", 0, 1, 2);
	fake_connection("out", "stranger", "192.0.2.1", 0, 3, 4);
	job.run = list_map;
	job.seconds = 300;
	query(NULL);
	assert_non_null(strstr(text, "{\"from\":\"client\",\"to\":\"web\",\"proto\":\"tcp\","
				     "\"port\":80,\"connections\":2,\"open\":2,\"failed\":0,"
				     "\"bytes_sent\":101,\"bytes_received\":2002,\"rtt_us\":41}"));
	assert_non_null(strstr(text, "{\"from\":\"stranger\",\"to\":\"192.0.2.1\","));
	assert_null(strstr(text, "{\"from\":\"client\",\"to\":\"192.0.2.1\","));
}

static void the_newest_events_come_last(maybe_unused void **state)
{
	job.run = list_events;
	job.limit = 2;
	job.filter = (struct event_filter){.kinds = 63, .pid = -1};
	fake_process("a", 1, 10, 0);
	fake_process("b", 2, 12, 0);
	query(NULL);
	assert_non_null(strstr(text, "{\"events\":[{\"event\":\"process.exit\",\"at\":15,"));
	assert_non_null(strstr(text, ",\n{\"event\":\"process.exit\",\"at\":17,"));
	strcpy(job.filter.comm, "a");
	query(NULL);
	assert_non_null(strstr(text, "{\"events\":[{\"event\":\"process.exec\",\"at\":10,"));
	assert_null(strstr(text, "\"at\":17,"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rows_come_as_arrays),
		TEST(more_rows_than_the_limit_are_cut_and_it_is_said),
		cmocka_unit_test_setup_teardown(an_answer_too_long_is_cut_and_it_is_said,
						begin_patient, end),
		TEST(bad_sql_is_the_callers_fault),
		TEST(a_query_without_end_is_ended_in_time),
		TEST(a_child_that_does_not_look_at_the_clock_is_killed),
		TEST(a_child_that_crashes_harms_nobody),
		TEST(a_client_that_leaves_ends_its_query),
		TEST(the_rest_waits_and_too_many_are_refused),
		TEST(lists_leave_out_null_and_what_has_ended),
		TEST(the_map_counts_a_connection_within_the_host_once),
		TEST(a_connection_nobody_accepted_yet_goes_to_the_service_at_that_address),
		TEST(the_newest_events_come_last),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
