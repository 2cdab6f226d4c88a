// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/socket.h>

#include "agent/page.h"

/* "hello\n", as gzip -9n writes it */
static const unsigned char hello[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
				      0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 0x02, 0x00,
				      0x20, 0x30, 0x3a, 0x36, 0x06, 0x00, 0x00, 0x00};

static const struct page_file files[] = {
	{"/index.html", hello, sizeof(hello)},
	{"/assets/index-4f2a.js", hello, sizeof(hello)},
	{"/broken.css", hello, sizeof(hello) - 1},
};

static const char *path_of(const char *path)
{
	const struct page_file *f = page_find(files, array_size(files), path);

	return f ? f->path : "none";
}

static void places_within_the_page_are_its_index(maybe_unused void **state)
{
	assert_string_equal(path_of("/"), "/index.html");
	assert_string_equal(path_of("/processes"), "/index.html");
	assert_string_equal(path_of("/a.b/processes"), "/index.html");
	assert_string_equal(path_of("/assets/index-4f2a.js"), "/assets/index-4f2a.js");
	assert_string_equal(path_of("/assets/gone.js"), "none");
	assert_string_equal(path_of("/../etc/passwd.txt"), "none");
	assert_null(page_find(NULL, 0, "/"));
}

static void types_follow_extensions(maybe_unused void **state)
{
	assert_string_equal(page_type("/index.html"), "text/html; charset=utf-8");
	assert_string_equal(page_type("/a/b.svg"), "image/svg+xml");
	assert_string_equal(page_type("/a/b"), "application/octet-stream");
}

static int admit(maybe_unused void *arg, maybe_unused const struct http_conn *c,
		 maybe_unused const struct http_request *r, maybe_unused const char **why)
{
	return 0;
}

static void serve(maybe_unused void *arg, struct http_conn *c, const struct http_request *r)
{
	page_reply(c, r, page_find(files, array_size(files), r->path));
}

static const char *get(const char *path, const char *header)
{
	const struct http_ops ops = {admit, serve, NULL};
	struct event_base *base = event_base_new();
	static char text[4096];
	struct http *http;
	unsigned i;
	ssize_t n;
	int fds[2];

	assert_int_equal(http_open(&http, base, &ops, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	http_take(http, bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE), true);
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n%s\r\n", path, header);
	assert_true(write(fds[0], text, strlen(text)) > 0);
	for (i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	close(fds[0]);
	http_free(http);
	event_base_free(base);
	return text;
}

static void files_go_out_as_gzip_or_plain_as_the_client_likes(maybe_unused void **state)
{
	const char *text = get("/", "Accept-Encoding: br, gzip\r\n");

	assert_non_null(strstr(text, "\r\nContent-Encoding: gzip\r\n"));
	assert_non_null(strstr(text, "\r\nContent-Length: 26\r\n"));
	assert_non_null(strstr(text, "\r\nCache-Control: no-cache\r\n"));
	text = get("/", "");
	assert_null(strstr(text, "Content-Encoding"));
	assert_non_null(strstr(text, "\r\n\r\nhello\n"));
}

static void hashed_files_may_be_kept_for_ever(maybe_unused void **state)
{
	assert_non_null(strstr(get("/assets/index-4f2a.js", ""),
			       "\r\nCache-Control: public, max-age=31536000, immutable\r\n"));
}

static void a_file_that_does_not_unpack_is_an_error(maybe_unused void **state)
{
	assert_non_null(strstr(get("/broken.css", ""), "HTTP/1.1 500 "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_within_the_page_are_its_index),
		cmocka_unit_test(types_follow_extensions),
		cmocka_unit_test(files_go_out_as_gzip_or_plain_as_the_client_likes),
		cmocka_unit_test(hashed_files_may_be_kept_for_ever),
		cmocka_unit_test(a_file_that_does_not_unpack_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
