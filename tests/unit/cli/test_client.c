// SPDX-License-Identifier: Apache-2.0
/* The client against a peer that says exactly what a test wants, then hangs up or stalls. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cli/client.h"
#include "cli/rows.h"

struct peer {
	char dir[64], path[96];
	struct client client;
	struct buf answer;
	struct skep_err err;
	pid_t pid;
};

static void serve(int listener, const char *text, size_t n, unsigned stall_ms)
{
	char request[4096];
	int fd = accept(listener, NULL, NULL);

	if (fd < 0 || read(fd, request, sizeof(request)) <= 0)
		_exit(1);
	while (n) {
		ssize_t done = write(fd, text, n);

		if (done <= 0)
			_exit(0);
		text += done;
		n -= (size_t)done;
	}
	usleep(stall_ms * 1000);
	_exit(0);
}

static void answer_with(struct peer *p, const char *text, size_t n, unsigned stall_ms)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", p->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	p->pid = fork();
	if (!p->pid)
		serve(fd, text, n, stall_ms);
	close(fd);
}

static int setup(void **state)
{
	struct peer *p = calloc(1, sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "/tmp/skep-client-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/s", p->dir);
	p->client = (struct client){p->path, 300, 1 << 20};
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct peer *p = *state;

	if (p->pid > 0) {
		kill(p->pid, SIGTERM);
		waitpid(p->pid, NULL, 0);
	}
	unlink(p->path);
	rmdir(p->dir);
	buf_done(&p->answer);
	free(p);
	return 0;
}

static int get(struct peer *p)
{
	return client_call(&p->client, "GET", "/v1/status", NULL, &p->answer, &p->err);
}

static int get_from(struct peer *p, const char *text)
{
	answer_with(p, text, strlen(text), 0);
	return get(p);
}

static void a_body_ends_with_the_connection(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get_from(p, "HTTP/1.0 200 OK\r\nX: y\r\n\r\n{\"a\":1}"), 0);
	assert_string_equal(p->answer.data, "{\"a\":1}");
}

static void a_bad_status_line_is_no_agent(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get_from(p, "SSH-2.0-OpenSSH\r\n\r\n"), -EPROTO);
}

static void silence_and_hanging_up_is_no_agent(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get_from(p, ""), -EPROTO);
}

static void a_truncated_body_is_noticed(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get_from(p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\""),
			 -EPROTO);
	assert_string_equal(p->err.text, "the answer ended after 4 of 10 bytes");
}

static void an_oversized_body_is_refused(void **state)
{
	struct peer *p = *state;
	struct buf b = {0};

	p->client.most = 1000;
	buf_str(&b, "HTTP/1.0 200 OK\r\n\r\n");
	while (b.len < 200000)
		buf_str(&b, "xxxxxxxxxxxxxxxxxxxxxxxxx");
	answer_with(p, b.data, b.len, 0);
	assert_int_equal(get(p), -EMSGSIZE);
	buf_done(&b);
}

static void a_promise_of_too_much_is_refused_at_once(void **state)
{
	struct peer *p = *state;
	const char *text = "HTTP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n";

	answer_with(p, text, strlen(text), 2000);
	assert_int_equal(get(p), -EMSGSIZE);
}

static void an_endless_head_is_refused(void **state)
{
	struct peer *p = *state;
	struct buf b = {0};

	buf_str(&b, "HTTP/1.0 200 OK\r\n");
	while (b.len < 300000)
		buf_str(&b, "X: aaaaaaaaaaaaaaaaaaaa\r\n");
	answer_with(p, b.data, b.len, 0);
	assert_int_equal(get(p), -EPROTO);
	buf_done(&b);
}

static void a_stalled_peer_times_out(void **state)
{
	struct peer *p = *state;
	const char *text = "HTTP/1.0 200 OK\r\n";

	answer_with(p, text, strlen(text), 5000);
	assert_int_equal(get(p), -ETIMEDOUT);
}

static void nobody_there_tells_how_to_start_one(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get(p), -ENOTCONN);
	assert_non_null(strstr(p->err.text, "sudo skep up"));
	assert_non_null(strstr(p->err.text, p->path));
}

static void a_path_too_long_for_a_socket_is_said(void **state)
{
	struct peer *p = *state;
	char path[300];

	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	p->client.path = path;
	assert_int_equal(get(p), -ENAMETOOLONG);
}

static void a_closed_socket_file_names_the_group(void **state)
{
	struct peer *p = *state;
	pid_t child;
	int status;

	answer_with(p, "", 0, 1000);
	assert_int_equal(chmod(p->path, 0), 0);
	assert_int_equal(chmod(p->dir, 0755), 0);
	child = fork();
	if (!child) {
		if (!geteuid() && (setgid(65534) || setuid(65534)))
			_exit(2);
		_exit(get(p) == -EACCES && strstr(p->err.text, "group skep") ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void the_agents_own_words_are_the_reason(void **state)
{
	struct peer *p = *state;

	assert_int_equal(
		get_from(p, "HTTP/1.0 400 Bad Request\r\n\r\n{\"error\":\"no such table: x\"}"),
		-EINVAL);
	assert_string_equal(p->err.text, "no such table: x");
}

static void a_refusal_without_words_gives_its_status(void **state)
{
	struct peer *p = *state;

	assert_int_equal(get_from(p, "HTTP/1.0 403 Forbidden\r\n\r\n<html>"), -EACCES);
	assert_non_null(strstr(p->err.text, "403"));
}

static void an_answer_of_the_wrong_shape_is_no_table(void **state)
{
	static const char *const bad[] = {"", "[]", "{\"columns\":[\"a\"],\"rows\":[[1,2]]}",
					  "{\"columns\":[1],\"rows\":[]}", "{\"columns\":[\"a\"]}"};
	struct rows r = {0};
	struct buf b = {0};
	size_t i;

	(void)state;
	for (i = 0; i < array_size(bad); i++) {
		buf_clear(&b);
		buf_str(&b, bad[i]);
		assert_int_equal(rows_parse(&b, &r, NULL), -EPROTO);
	}
	buf_done(&b);
}

static void csv_quotes_and_json_leaves_null_out(void **state)
{
	struct rows r = {0};
	struct buf b = {0}, out = {0};

	(void)state;
	buf_str(&b,
		"{\"columns\":[\"a\",\"b\"],\"rows\":[[\"x,\\\"y\",null],[1,2.5]],\"truncated\":true}");
	assert_int_equal(rows_parse(&b, &r, NULL), 0);
	assert_true(r.truncated);
	rows_csv(&r, &out);
	assert_string_equal(out.data, "a,b\r\n\"x,\"\"y\",\r\n1,2.5\r\n");
	buf_clear(&out);
	rows_json(&r, 0, &out);
	rows_json(&r, 1, &out);
	assert_string_equal(out.data, "{\"a\":\"x,\\\"y\"}\n{\"a\":1,\"b\":2.5}\n");
	rows_done(&r);
	buf_done(&b);
	buf_done(&out);
}

static int collect(void *arg, const char *line, size_t n)
{
	struct buf *b = arg;

	buf_add(b, line, n);
	buf_chr(b, '|');
	return memmem(line, n, "stop", 4) ? -ECANCELED : 0;
}

static void a_stream_comes_line_by_line_until_it_ends(void **state)
{
	struct peer *p = *state;
	const char *text = "HTTP/1.0 200 OK\r\n\r\nevent: a\r\ndata: {}\n\nevent: b\npart";

	answer_with(p, text, strlen(text), 0);
	assert_int_equal(client_stream(&p->client, "/v1/events", collect, &p->answer, &p->err), 0);
	assert_string_equal(p->answer.data, "event: a|data: {}||event: b|");
}

static void a_stream_may_be_quiet_for_longer_than_an_answer(void **state)
{
	struct peer *p = *state;
	const char *text = "HTTP/1.0 200 OK\r\n\r\none\n";

	answer_with(p, text, strlen(text), 600);
	assert_int_equal(client_stream(&p->client, "/v1/events", collect, &p->answer, &p->err), 0);
}

static void the_reader_ends_a_stream(void **state)
{
	struct peer *p = *state;
	const char *text = "HTTP/1.0 200 OK\r\n\r\none\nstop\nnever\n";

	answer_with(p, text, strlen(text), 5000);
	assert_int_equal(client_stream(&p->client, "/v1/events", collect, &p->answer, &p->err),
			 -ECANCELED);
	assert_string_equal(p->answer.data, "one|stop|");
}

static void a_line_without_end_is_refused(void **state)
{
	struct peer *p = *state;
	struct buf b = {0};

	buf_str(&b, "HTTP/1.0 200 OK\r\n\r\n");
	while (b.len < 2 * CLIENT_LINE_MAX)
		buf_str(&b, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	answer_with(p, b.data, b.len, 0);
	assert_int_equal(client_stream(&p->client, "/v1/events", collect, &p->answer, &p->err),
			 -EMSGSIZE);
	buf_done(&b);
}

static void what_stands_in_a_query_string_is_escaped(void **state)
{
	struct buf b = {0};

	(void)state;
	client_escape(&b, "a b&c=é");
	assert_string_equal(b.data, "a%20b%26c%3D%C3%A9");
	buf_done(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_body_ends_with_the_connection),
		TEST(a_bad_status_line_is_no_agent),
		TEST(silence_and_hanging_up_is_no_agent),
		TEST(a_truncated_body_is_noticed),
		TEST(an_oversized_body_is_refused),
		TEST(a_promise_of_too_much_is_refused_at_once),
		TEST(an_endless_head_is_refused),
		TEST(a_stalled_peer_times_out),
		TEST(nobody_there_tells_how_to_start_one),
		TEST(a_path_too_long_for_a_socket_is_said),
		TEST(a_closed_socket_file_names_the_group),
		TEST(the_agents_own_words_are_the_reason),
		TEST(a_refusal_without_words_gives_its_status),
		TEST(a_stream_comes_line_by_line_until_it_ends),
		TEST(a_stream_may_be_quiet_for_longer_than_an_answer),
		TEST(the_reader_ends_a_stream),
		TEST(a_line_without_end_is_refused),
		cmocka_unit_test(an_answer_of_the_wrong_shape_is_no_table),
		cmocka_unit_test(csv_quotes_and_json_leaves_null_out),
		cmocka_unit_test(what_stands_in_a_query_string_is_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
