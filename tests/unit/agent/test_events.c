// SPDX-License-Identifier: Apache-2.0
/* The stream of events, taken through the server over socket pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <signal.h>
#include <sys/socket.h>

#include "agent/events.h"
#include "fake.h"

static struct event_base *base;
static struct http *http;
static struct events *events;
static struct store *store;
static void *cap;
static struct event_filter next; /* of the client that asks next */
static char text[8 << 20];

static int admit(maybe_unused void *arg, maybe_unused const struct http_conn *c,
		 maybe_unused const struct http_request *r, maybe_unused const char **why)
{
	return 0;
}

static void serve(maybe_unused void *arg, struct http_conn *c,
		  maybe_unused const struct http_request *r)
{
	events_subscribe(events, c, &next);
}

static int begin(maybe_unused void **state)
{
	const struct http_ops ops = {admit, serve, NULL};
	struct cap_env env = {.emit = events_emit};

	next = (struct event_filter){.kinds = ~0U, .pid = -1};
	base = event_base_new();
	if (http_open(&http, base, &ops, NULL) || events_open(&events) || store_open(&store, NULL))
		return -1;
	env.store = store;
	env.emit_arg = events;
	if (fake_ops.open(&cap, &env, NULL))
		return -1;
	events_bind(events, store);
	return 0;
}

static int end(maybe_unused void **state)
{
	events_free(events);
	http_free(http);
	event_base_free(base);
	store_free(store);
	return 0;
}

static void spin(void)
{
	unsigned i;

	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static int follow(void)
{
	static const char ask[] = "GET / HTTP/1.1\r\n\r\n";
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http_take(http, bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE), true);
	assert_int_equal(write(fds[0], ask, sizeof(ask) - 1), sizeof(ask) - 1);
	spin();
	return fds[0];
}

static const char *receive(int fd)
{
	size_t len = 0;
	ssize_t n;

	spin();
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)n;
		spin();
	}
	text[len] = '\0';
	return text;
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (; (in = strstr(in, what)); in++)
		n++;
	return n;
}

static void kinds_are_single_or_whole_families(maybe_unused void **state)
{
	unsigned bits;

	assert_int_equal(event_kinds_parse("", &bits), 0);
	assert_int_equal(bits, (1U << EVENT_KINDS) - 1);
	assert_int_equal(event_kinds_parse("process", &bits), 0);
	assert_int_equal(bits, 7);
	assert_int_equal(event_kinds_parse("dns,connection.close,dns", &bits), 0);
	assert_int_equal(bits, 48);
	assert_int_equal(event_kinds_parse("balance", &bits), 0);
	assert_int_equal(bits, 192);
	assert_int_equal(event_kinds_parse("proc", &bits), -EINVAL);
	assert_int_equal(event_kinds_parse("dns,,process", &bits), -EINVAL);
	assert_int_equal(event_kinds_parse("process.", &bits), -EINVAL);
}

static void an_event_is_its_row_with_kind_and_time(maybe_unused void **state)
{
	int fd = follow();

	fake_process("true", 7, 1000, 0);
	receive(fd);
	assert_non_null(strstr(text, "\r\nContent-Type: text/event-stream\r\n"));
	assert_non_null(strstr(text, "event: process.exec\ndata: {\"event\":\"process.exec\","
				     "\"at\":1000,\"time\":1000,\"pid\":7,"));
	assert_non_null(strstr(text, "event: process.exit\ndata: {\"event\":\"process.exit\","
				     "\"at\":1005,"));
	assert_non_null(strstr(text, "\"argv\":\"true 'a \\\"b'\""));
	assert_int_equal(events_stat(events)->sent, 2);
	close(fd);
}

static void a_filter_lets_through_what_it_names(maybe_unused void **state)
{
	int fd;

	next.kinds = 1 << 1;
	next.pid = 8;
	strcpy(next.comm, "yes");
	fd = follow();
	fake_process("yes", 7, 1, 0);
	fake_process("no", 8, 2, 0);
	fake_process("yes", 8, 3, 0);
	receive(fd);
	assert_int_equal(count(text, "\ndata:"), 1);
	assert_non_null(strstr(text, "\"at\":3,"));
	close(fd);
}

static void a_container_is_named_by_a_prefix_of_its_id(maybe_unused void **state)
{
	int fd;

	strcpy(next.container, "c0ff");
	fd = follow();
	fake_process("none", 1, 1, -1);
	fake.container = "c0ffee0123";
	fake_process("in", 2, 2, -1);
	fake.container = "0c0ffee123";
	fake_process("other", 3, 3, -1);
	fake.container = "c0f";
	fake_process("short", 4, 4, -1);
	receive(fd);
	assert_int_equal(count(text, "event: process.exec"), 1);
	assert_non_null(strstr(text, "\"comm\":\"in\""));
	close(fd);
}

static void a_slow_reader_loses_events_and_is_told_how_many(maybe_unused void **state)
{
	const unsigned n = 20000;
	unsigned i, got, lost = 0;
	const char *word;
	int fd;

	next.kinds = 1 << 1;
	fd = follow();
	for (i = 0; i < n; i++) {
		fake_process("true", i, i, -1);
		if (i % 1000 == 0)
			spin();
	}
	assert_true(events_stat(events)->lost > 0);
	receive(fd);
	got = count(text, "event: process.exec\n");
	events_tick(events);
	receive(fd);
	for (word = text; (word = strstr(word, "event: lost\ndata: {\"events\":")); word++)
		lost += (unsigned)atoi(word + strlen("event: lost\ndata: {\"events\":"));
	assert_int_equal(got + lost, n);
	assert_int_equal(lost, events_stat(events)->lost);
	close(fd);
}

static void a_client_that_leaves_is_forgotten(maybe_unused void **state)
{
	int fd = follow();

	assert_int_equal(events_stat(events)->clients, 1);
	close(fd);
	spin();
	assert_int_equal(events_stat(events)->clients, 0);
	fake_process("true", 1, 1, 0);
	assert_int_equal(events_stat(events)->sent, 0);
}

static void more_clients_than_places_are_refused(maybe_unused void **state)
{
	int fds[EVENT_CLIENTS_MAX + 1];
	unsigned i;

	for (i = 0; i < array_size(fds); i++)
		fds[i] = follow();
	assert_non_null(strstr(receive(fds[EVENT_CLIENTS_MAX]), "HTTP/1.1 429 "));
	assert_non_null(strstr(receive(fds[0]), "HTTP/1.1 200 "));
	for (i = 0; i < array_size(fds); i++)
		close(fds[i]);
}

static void silence_is_filled_with_heartbeats(maybe_unused void **state)
{
	int fd = follow();
	unsigned i;

	for (i = 0; i < 30; i++)
		events_tick(events);
	assert_int_equal(count(receive(fd), "\n:\n\n"), 2);
	close(fd);
}

static int view_row(void *arg, unsigned n, const struct store_value *v)
{
	struct buf *b = arg;

	assert_int_equal(n, 3);
	buf_fmt(b, "%ld %.*s %.*s;", (long)v[0].num, (int)v[1].len, v[1].str, (int)v[2].len,
		v[2].str);
	return 0;
}

static int view_columns(maybe_unused void *arg, maybe_unused unsigned n,
			maybe_unused const char *const *names)
{
	return 0;
}

static void the_view_has_one_row_for_each_event(maybe_unused void **state)
{
	static const char sql[] = "select at, event, detail from event order by at";
	cleanup(buf_done) struct buf view = {0}, rows = {0};
	struct store_sink sink = {view_columns, view_row, &rows};
	struct skep_err err = {0};
	bool truncated;

	event_view_sql(store, &view);
	assert_int_equal(store_view(store, "event", view.data, &err), 0);
	fake_process("true", 7, 1000, 3);
	fake_connection("out", "a", "b", 5, 1, 2);
	if (store_sql(store, sql, NULL, 0, &(struct store_sql_limits){0}, &sink, &truncated, &err))
		fail_msg("%s", err.text);
	assert_string_equal(rows.data, "1 connection.open out b:80;"
				       "1000 process.exec true 'a \"b';1005 process.exit exit 3;");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_are_single_or_whole_families),
		TEST(an_event_is_its_row_with_kind_and_time),
		TEST(a_filter_lets_through_what_it_names),
		TEST(a_container_is_named_by_a_prefix_of_its_id),
		TEST(a_slow_reader_loses_events_and_is_told_how_many),
		TEST(a_client_that_leaves_is_forgotten),
		TEST(more_clients_than_places_are_refused),
		TEST(silence_is_filled_with_heartbeats),
		TEST(the_view_has_one_row_for_each_event),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
