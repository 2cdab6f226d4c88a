// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/http.h"

static struct http_request request;
static const char *why;
static char head[4096];

static int parse(const char *text)
{
	strcpy(head, text);
	return http_parse(head, strlen(text), &request, &why);
}

#define LINE "GET / HTTP/1.1\r\n"

static void a_request_is_read_with_its_headers(maybe_unused void **state)
{
	assert_int_equal(parse("POST /v1/query?a=b HTTP/1.1\r\nhOsT:\t localhost:1 \r\n"
			       "Content-Length: 12\r\nX-Other: y\r\nAccept-Encoding: gzip\r\n"),
			 0);
	assert_int_equal(request.method, HTTP_POST);
	assert_string_equal(request.path, "/v1/query");
	assert_string_equal(request.query, "a=b");
	assert_string_equal(request.host, "localhost:1");
	assert_string_equal(request.accept_encoding, "gzip");
	assert_int_equal(request.length, 12);
	assert_true(request.keep);
	assert_null(request.origin);
}

static void a_connection_stays_unless_the_client_says_otherwise(maybe_unused void **state)
{
	assert_int_equal(parse(LINE), 0);
	assert_true(request.keep);
	assert_int_equal(parse(LINE "Connection: Close\r\n"), 0);
	assert_false(request.keep);
	assert_int_equal(parse("GET / HTTP/1.0\r\n"), 0);
	assert_false(request.keep);
}

static void escapes_in_the_path_are_decoded(maybe_unused void **state)
{
	assert_int_equal(parse("GET /a%2fb%20c?x=%2f HTTP/1.1\r\n"), 0);
	assert_string_equal(request.path, "/a/b c");
	assert_string_equal(request.query, "x=%2f");
	assert_int_equal(parse("GET /a%00b HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET /a%0ab HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET /a%2 HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET /a%zz HTTP/1.1\r\n"), 400);
}

static void what_is_no_request_is_refused(maybe_unused void **state)
{
	assert_int_equal(parse(""), 400);
	assert_int_equal(parse("\r\n"), 400);
	assert_int_equal(parse("GET\r\n"), 400);
	assert_int_equal(parse("GET /\r\n"), 400);
	assert_int_equal(parse(" / HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET / HTTP/2.0\r\n"), 505);
	assert_int_equal(parse("BREW / HTTP/1.1\r\n"), 405);
	assert_int_equal(parse("GET http://h/ HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET /\xc3\xa4 HTTP/1.1\r\n"), 400);
	assert_int_equal(parse("GET / HTTP/1.1\n"), 400);
	assert_int_equal(parse("GET / HTTP/1.1\r"), 400);
}

static void headers_that_could_smuggle_are_refused(maybe_unused void **state)
{
	assert_int_equal(parse(LINE " folded: x\r\n"), 400);
	assert_int_equal(parse(LINE "Host : x\r\n"), 400);
	assert_int_equal(parse(LINE "no colon\r\n"), 400);
	assert_int_equal(parse(LINE ": x\r\n"), 400);
	assert_int_equal(parse(LINE "A: b\nHost: x\r\n"), 400);
	assert_int_equal(parse(LINE "A: b\x01\r\n"), 400);
	assert_int_equal(parse(LINE "Host: a\r\nhost: b\r\n"), 400);
	assert_int_equal(parse(LINE "Content-Length: 1\r\nContent-Length: 1\r\n"), 400);
	assert_int_equal(parse(LINE "Transfer-Encoding: chunked\r\n"), 501);
	assert_int_equal(parse(LINE "Expect: 100-continue\r\n"), 0);
	assert_int_equal(parse(LINE "Expect: a miracle\r\n"), 417);
}

static void the_length_of_a_body_is_bounded(maybe_unused void **state)
{
	assert_int_equal(parse(LINE "Content-Length: 1048576\r\n"), 0);
	assert_int_equal(parse(LINE "Content-Length: 67108865\r\n"), 413);
	assert_int_equal(parse(LINE "Content-Length: 99999999999999999999999\r\n"), 413);
	assert_int_equal(parse(LINE "Content-Length: -1\r\n"), 400);
	assert_int_equal(parse(LINE "Content-Length: 1x\r\n"), 400);
	assert_int_equal(parse(LINE "Content-Length:\r\n"), 400);
}

static void more_than_a_hundred_headers_are_refused(maybe_unused void **state)
{
	char text[4096] = LINE;
	unsigned i;

	for (i = 0; i < 100; i++)
		strcat(text, "A: b\r\n");
	assert_int_equal(parse(text), 0);
	strcat(text, "A: b\r\n");
	assert_int_equal(parse(text), 431);
}

static void parameters_are_decoded_one_by_one(maybe_unused void **state)
{
	const char *query = "a=b+c&&d&e=%26=%3D";
	char name[8], value[8];

	assert_int_equal(http_param(&query, name, 8, value, 8), 1);
	assert_string_equal(name, "a");
	assert_string_equal(value, "b c");
	assert_int_equal(http_param(&query, name, 8, value, 8), 1);
	assert_string_equal(name, "d");
	assert_string_equal(value, "");
	assert_int_equal(http_param(&query, name, 8, value, 8), 1);
	assert_string_equal(value, "&==");
	assert_int_equal(http_param(&query, name, 8, value, 8), 0);
	query = "a=12345678";
	assert_int_equal(http_param(&query, name, 8, value, 8), -EINVAL);
	query = "a=%g0";
	assert_int_equal(http_param(&query, name, 8, value, 8), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_read_with_its_headers),
		cmocka_unit_test(a_connection_stays_unless_the_client_says_otherwise),
		cmocka_unit_test(escapes_in_the_path_are_decoded),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(headers_that_could_smuggle_are_refused),
		cmocka_unit_test(the_length_of_a_body_is_bounded),
		cmocka_unit_test(more_than_a_hundred_headers_are_refused),
		cmocka_unit_test(parameters_are_decoded_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
