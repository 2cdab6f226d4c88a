// SPDX-License-Identifier: Apache-2.0
/* What of a server's answer is enough to know that it is well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/prober.h"

static int http(const char *text, int64_t want)
{
	const char *reason = NULL;
	int rc = probe_http_read(text, strlen(text), want, &reason);

	assert_true(rc >= 0 || reason);
	return rc;
}

static void http_is_well_by_its_status(void **state maybe_unused)
{
	assert_int_equal(http("HTTP/1.1 200 OK\r\n", 0), 1);
	assert_int_equal(http("HTTP/1.0 302 Found\r\n", 0), 1);
	assert_int_equal(http("HTTP/1.1 404 Not Found\r\n", 0), -1);
	assert_int_equal(http("HTTP/1.1 404 Not Found\r\n", 404), 1);
	assert_int_equal(http("HTTP/1.1 200 OK\r\n", 204), -1);
	assert_int_equal(http("HTTP/1.1 20", 0), 0);
	assert_int_equal(http("SSH-2.0-OpenSSH_9", 0), -1);
	assert_int_equal(http("HTTP/1.1 2x0 OK\r\n", 0), -1);
}

static void dns_is_well_when_it_answers_our_question(void **state maybe_unused)
{
	const uint8_t id[2] = {7, 9}, other[2] = {7, 8};
	uint8_t answer[16] = {7, 9, 0x81, 0x80};
	const char *reason = NULL;

	assert_int_equal(probe_dns_read(answer, sizeof(answer), id, &reason), 1);
	assert_int_equal(probe_dns_read(answer, sizeof(answer), other, &reason), 0);
	assert_int_equal(probe_dns_read(answer, 11, id, &reason), 0);
	answer[3] = 0x82; /* SERVFAIL */
	assert_int_equal(probe_dns_read(answer, sizeof(answer), id, &reason), -1);
	answer[2] = 1; /* a question */
	assert_int_equal(probe_dns_read(answer, sizeof(answer), id, &reason), 0);
}

static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
static const uint8_t headers[] = {0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88};
static const uint8_t serving[] = {0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 8, 1};
static const uint8_t trailers[] = {0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88};

static void grpc_is_well_when_it_is_serving(void **state maybe_unused)
{
	uint8_t all[64];
	const char *reason = NULL;
	size_t n = 0, i;

	memcpy(all, settings, sizeof(settings));
	memcpy(all + sizeof(settings), headers, sizeof(headers));
	n = sizeof(settings) + sizeof(headers);
	memcpy(all + n, serving, sizeof(serving));
	for (i = 0; i < n + sizeof(serving); i++)
		assert_int_equal(probe_grpc_read(all, i, &reason), 0);
	assert_int_equal(probe_grpc_read(all, i, &reason), 1);
	all[i - 1] = 2; /* NOT_SERVING */
	assert_int_equal(probe_grpc_read(all, i, &reason), -1);
	memcpy(all + n, trailers, sizeof(trailers));
	assert_int_equal(probe_grpc_read(all, n + sizeof(trailers), &reason), -1);
	assert_int_equal(probe_grpc_read((const uint8_t *)"HTTP/1.1 400 ", 13, &reason), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_is_well_by_its_status),
		cmocka_unit_test(dns_is_well_when_it_answers_our_question),
		cmocka_unit_test(grpc_is_well_when_it_is_serving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
