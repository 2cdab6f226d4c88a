// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The server, asked over socket pairs, with limits of a second. */
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "agent/http.h"

struct seen {
	struct event_base *base;
	struct http *http;
	struct http_conn *held; /* of /hold */
	unsigned served, drained, gone;
};

static struct seen seen;

static int admit(maybe_unused void *arg, maybe_unused const struct http_conn *c,
		 const struct http_request *r, const char **why)
{
	*why = "not for you";
	return strcmp(r->path, "/no") ? 0 : 403;
}

static void on_drained(maybe_unused void *arg)
{
	seen.drained++;
}

static void on_gone(maybe_unused void *arg)
{
	seen.gone++;
	seen.held = NULL;
}

static void serve(maybe_unused void *arg, struct http_conn *c, const struct http_request *r)
{
	seen.served++;
	if (!strcmp(r->path, "/hold")) {
		seen.held = c;
		http_watch(c, on_drained, on_gone, NULL);
	} else if (!strcmp(r->path, "/stream")) {
		http_stream(c, 200, "text/plain");
		http_chunk(c, "ab", 2);
		http_chunk(c, "c", 1);
		http_end(c, true);
	} else if (!strcmp(r->path, "/cut")) {
		http_stream(c, 200, "text/plain");
		http_chunk(c, "ab", 2);
		http_end(c, false);
	} else {
		http_reply(c, 200, "text/plain", r->body, r->length);
	}
}

static int begin(maybe_unused void **state)
{
	const struct http_ops ops = {admit, serve, NULL};
	const struct http_times times = {.request = 1, .idle = 3, .stall = 1};

	memset(&seen, 0, sizeof(seen));
	seen.base = event_base_new();
	return http_open(&seen.http, seen.base, &ops, &times);
}

static int end(maybe_unused void **state)
{
	http_free(seen.http);
	event_base_free(seen.base);
	return 0;
}

static int dial(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http_take(seen.http, bufferevent_socket_new(seen.base, fds[1], BEV_OPT_CLOSE_ON_FREE),
		  true);
	return fds[0];
}

static void spin(void)
{
	unsigned i;

	for (i = 0; i < 20; i++)
		event_base_loop(seen.base, EVLOOP_NONBLOCK);
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	spin();
}

/* What came. *@closed: the server has ended its half. */
static const char *receive(int fd, bool *closed)
{
	static char text[1 << 21];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0) {
		len += (size_t)n;
		spin();
	}
	text[len] = '\0';
	*closed = !n;
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

#define HOST "Host: localhost\r\n"

static void requests_in_one_packet_are_answered_in_turn(maybe_unused void **state)
{
	int fd = dial();
	const char *text;
	bool closed;

	send_text(fd, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\noneGET / HTTP/1.1\r\n\r\n"
		      "POST / HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree");
	text = receive(fd, &closed);
	assert_int_equal(count(text, "HTTP/1.1 200 OK"), 3);
	assert_non_null(strstr(text, "\r\n\r\noneHTTP/1.1"));
	assert_non_null(strstr(text, "\r\n\r\nthree"));
	assert_true(closed);
	close(fd);
}

static void a_request_may_come_byte_by_byte(maybe_unused void **state)
{
	const char *text = "POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
	int fd = dial();
	bool closed;

	for (; *text; text++) {
		assert_int_equal(write(fd, text, 1), 1);
		spin();
	}
	assert_non_null(strstr(receive(fd, &closed), "\r\n\r\nhi"));
	assert_false(closed);
	close(fd);
}

static void every_answer_carries_the_headers_that_protect(maybe_unused void **state)
{
	int fd = dial();
	const char *text;
	bool closed;

	send_text(fd, "GET / HTTP/1.1\r\n\r\n");
	text = receive(fd, &closed);
	assert_non_null(strstr(text, "\r\nX-Content-Type-Options: nosniff\r\n"));
	assert_non_null(strstr(text, "frame-ancestors 'none'"));
	assert_non_null(strstr(text, "\r\nCache-Control: no-store\r\n"));
	close(fd);
}

static void head_gives_the_head_alone(maybe_unused void **state)
{
	int fd = dial();
	const char *text;
	bool closed;

	send_text(fd, "HEAD /stream HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");
	text = receive(fd, &closed);
	assert_int_equal(count(text, "HTTP/1.1 200 OK"), 2);
	assert_int_equal(count(text, "\r\n\r\n"), 2);
	assert_true(closed);
	close(fd);
}

static void a_stream_is_chunked_and_a_cut_one_lacks_its_end(maybe_unused void **state)
{
	int fd = dial();
	const char *text;
	bool closed;

	send_text(fd, "GET /stream HTTP/1.1\r\n\r\n");
	text = receive(fd, &closed);
	assert_non_null(strstr(text, "\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"));
	assert_false(closed);
	send_text(fd, "GET /cut HTTP/1.1\r\n\r\n");
	text = receive(fd, &closed);
	assert_null(strstr(text, "0\r\n\r\n"));
	assert_true(closed);
	close(fd);
}

static void a_body_too_large_is_refused_before_it_is_read(maybe_unused void **state)
{
	int fd = dial();
	bool closed;

	send_text(fd, "POST / HTTP/1.1\r\nContent-Length: 67108865\r\n\r\n");
	assert_non_null(strstr(receive(fd, &closed), "HTTP/1.1 413 "));
	assert_true(closed);
	assert_int_equal(seen.served, 0);
	close(fd);
}

static void a_large_body_is_served(maybe_unused void **state)
{
	static char body[1 << 20];
	int fd = dial();
	size_t sent = 0;
	ssize_t n;
	bool closed;

	memset(body, 'x', sizeof(body));
	send_text(fd, "POST / HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n");
	while (sent < sizeof(body)) {
		n = write(fd, body + sent, sizeof(body) - sent);
		sent += n > 0 ? (size_t)n : 0;
		spin();
	}
	assert_true(strlen(receive(fd, &closed)) > sizeof(body));
	assert_int_equal(seen.served, 1);
	close(fd);
}

static void all_bodies_together_are_bounded(maybe_unused void **state)
{
	int fds[3];
	unsigned i;
	bool closed;

	for (i = 0; i < array_size(fds); i++) {
		fds[i] = dial();
		send_text(fds[i], "POST / HTTP/1.1\r\nContent-Length: 67108864\r\n\r\n");
	}
	assert_string_equal(receive(fds[1], &closed), "");
	assert_non_null(strstr(receive(fds[2], &closed), "HTTP/1.1 503 "));
	close(fds[0]);
	spin();
	close(fds[2]);
	fds[2] = dial();
	send_text(fds[2], "POST / HTTP/1.1\r\nContent-Length: 67108864\r\n\r\n");
	assert_string_equal(receive(fds[2], &closed), "");
	for (i = 1; i < array_size(fds); i++)
		close(fds[i]);
}

static void a_head_too_large_is_refused(maybe_unused void **state)
{
	static char text[HTTP_HEAD_MAX + 100];
	int fd = dial();
	bool closed;

	memset(text, 'a', sizeof(text) - 1);
	memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
	assert_true(write(fd, text, sizeof(text) - 1) > 0);
	spin();
	assert_non_null(strstr(receive(fd, &closed), "HTTP/1.1 431 "));
	assert_true(closed);
	close(fd);
}

static void who_may_not_is_refused_before_the_body(maybe_unused void **state)
{
	int fd = dial();
	bool closed;

	send_text(fd, "POST /no HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
	assert_non_null(strstr(receive(fd, &closed), "{\"error\":\"not for you\"}"));
	assert_true(closed);
	close(fd);
}

static void second(void)
{
	nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
}

static void a_slow_request_is_ended_though_it_keeps_sending(maybe_unused void **state)
{
	int slow = dial(), idle = dial();
	unsigned i;
	bool closed;

	send_text(slow, "GET / HT");
	for (i = 0; i < 4; i++) {
		second();
		if (i == 0)
			send_text(slow, "T");
		http_tick(seen.http);
		spin();
		if (i != 1)
			continue;
		assert_non_null(strstr(receive(slow, &closed), "HTTP/1.1 408 "));
		assert_true(closed);
	}
	receive(idle, &closed);
	assert_true(closed);
	close(slow);
	close(idle);
}

static void an_answer_that_nobody_takes_is_given_up(maybe_unused void **state)
{
	static char much[4 << 20];
	int fd = dial();

	send_text(fd, "GET /hold HTTP/1.1\r\n\r\n");
	http_stream(seen.held, 200, "text/plain");
	http_chunk(seen.held, much, sizeof(much));
	spin();
	assert_true(http_pending(seen.held) > (1 << 20));
	second();
	http_tick(seen.http);
	assert_int_equal(seen.gone, 1);
	close(fd);
}

static void a_client_that_goes_away_is_noticed_before_its_answer(maybe_unused void **state)
{
	int fd = dial();

	send_text(fd, "GET /hold HTTP/1.1\r\n\r\n");
	assert_non_null(seen.held);
	close(fd);
	spin();
	assert_int_equal(seen.gone, 1);
	assert_int_equal(http_stat(seen.http)->conns, 0);
}

static void a_client_that_asks_without_reading_is_not_served_on(maybe_unused void **state)
{
	static const char one[] = "POST / HTTP/1.1\r\nContent-Length: 10000\r\n\r\n";
	static char text[sizeof(one) - 1 + 10000];
	int fd = dial();
	unsigned i;

	memset(text, 'x', sizeof(text));
	memcpy(text, one, sizeof(one) - 1);
	for (i = 0; i < 2000; i++) {
		if (write(fd, text, sizeof(text)) != (ssize_t)sizeof(text))
			break;
		spin();
	}
	assert_true(i < 2000);
	assert_true(seen.served < 100);
	close(fd);
}

static void the_connection_idle_longest_makes_room(maybe_unused void **state)
{
	static int fds[HTTP_CONNS_MAX];
	unsigned i;
	bool closed;
	int more;

	for (i = 0; i < HTTP_CONNS_MAX; i++)
		fds[i] = dial();
	send_text(fds[0], "GET / HT"); /* at work, so not idle */
	more = dial();
	send_text(more, "GET / HTTP/1.1\r\n\r\n");
	assert_non_null(strstr(receive(more, &closed), "200 OK"));
	receive(fds[0], &closed);
	assert_false(closed);
	receive(fds[1], &closed);
	assert_true(closed);
	receive(fds[2], &closed);
	assert_false(closed);
	for (i = 0; i < HTTP_CONNS_MAX; i++)
		close(fds[i]);
	close(more);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_in_one_packet_are_answered_in_turn),
		TEST(a_request_may_come_byte_by_byte),
		TEST(every_answer_carries_the_headers_that_protect),
		TEST(head_gives_the_head_alone),
		TEST(a_stream_is_chunked_and_a_cut_one_lacks_its_end),
		TEST(a_body_too_large_is_refused_before_it_is_read),
		TEST(a_large_body_is_served),
		TEST(all_bodies_together_are_bounded),
		TEST(a_head_too_large_is_refused),
		TEST(who_may_not_is_refused_before_the_body),
		TEST(a_slow_request_is_ended_though_it_keeps_sending),
		TEST(an_answer_that_nobody_takes_is_given_up),
		TEST(a_client_that_goes_away_is_noticed_before_its_answer),
		TEST(a_client_that_asks_without_reading_is_not_served_on),
		TEST(the_connection_idle_longest_makes_room),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
