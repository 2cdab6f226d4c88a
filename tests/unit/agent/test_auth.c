// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/auth.h"

static struct auth auth = {.port = 7070};

static int check(const char *path, const char *host, const char *origin, const char *bearer,
		 const char *cookie)
{
	struct http_request r = {.path = path,
				 .query = "",
				 .host = host,
				 .origin = origin,
				 .authorization = bearer,
				 .cookie = cookie};
	const char *why = NULL;
	int status = auth_check(&auth, &r, &why);

	assert_true(!status == !why);
	return status;
}

static int begin(maybe_unused void **state)
{
	return auth_token_make(auth.token);
}

static void tokens_are_long_and_never_the_same(maybe_unused void **state)
{
	char a[AUTH_TOKEN_LEN + 1], b[AUTH_TOKEN_LEN + 1];

	assert_int_equal(auth_token_make(a), 0);
	assert_int_equal(auth_token_make(b), 0);
	assert_true(auth_token_valid(a));
	assert_string_not_equal(a, b);
	assert_false(auth_token_valid("short"));
	a[7] = '!';
	assert_false(auth_token_valid(a));
}

static void only_the_whole_token_is_the_token(maybe_unused void **state)
{
	char other[2 * AUTH_TOKEN_LEN + 1];

	assert_true(auth_token_equal(&auth, auth.token, AUTH_TOKEN_LEN));
	assert_false(auth_token_equal(&auth, auth.token, AUTH_TOKEN_LEN - 1));
	assert_false(auth_token_equal(&auth, "", 0));
	strcpy(other, auth.token);
	strcat(other, auth.token);
	assert_false(auth_token_equal(&auth, other, 2 * AUTH_TOKEN_LEN));
	other[AUTH_TOKEN_LEN - 1] ^= 1;
	assert_false(auth_token_equal(&auth, other, AUTH_TOKEN_LEN));
}

static void the_token_opens_as_bearer_or_as_cookie(maybe_unused void **state)
{
	char bearer[64], cookie[128];

	snprintf(bearer, sizeof(bearer), "bearer %s", auth.token);
	snprintf(cookie, sizeof(cookie), "a=b; skep=%s; c=d", auth.token);
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, NULL, NULL), 401);
	assert_int_equal(check("/metrics", "localhost:7070", NULL, NULL, NULL), 401);
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, bearer, NULL), 0);
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, NULL, cookie), 0);
	cookie[strlen("a=b; skep=")] ^= 1;
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, NULL, cookie), 401);
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, auth.token, NULL), 401);
	assert_int_equal(check("/v1/status", "localhost:7070", NULL, NULL, "skep="), 401);
}

static void the_page_and_healthz_need_no_token(maybe_unused void **state)
{
	assert_int_equal(check("/", "127.0.0.1:7070", NULL, NULL, NULL), 0);
	assert_int_equal(check("/healthz", "127.0.0.1:7070", NULL, NULL, NULL), 0);
}

static void a_foreign_host_name_is_refused_even_with_the_token(maybe_unused void **state)
{
	static const char *const bad[] = {
		"evil.example:7070",   "127.0.0.1", "127.0.0.1:7071", "localhost.evil.example:7070",
		"127.0.0.1:7070.evil", "",	    "[::1]",	      "127.0.0.1:07070"};
	static const char *const good[] = {"127.0.0.1:7070", "LocalHost:7070", "[::1]:7070"};
	char bearer[64];
	unsigned i;

	snprintf(bearer, sizeof(bearer), "Bearer %s", auth.token);
	for (i = 0; i < array_size(bad); i++)
		assert_int_equal(check("/v1/status", bad[i], NULL, bearer, NULL), 403);
	assert_int_equal(check("/healthz", "evil.example:7070", NULL, NULL, NULL), 403);
	assert_int_equal(check("/v1/status", NULL, NULL, bearer, NULL), 403);
	for (i = 0; i < array_size(good); i++)
		assert_int_equal(check("/v1/status", good[i], NULL, bearer, NULL), 0);
}

static void another_origin_is_refused_even_with_the_cookie(maybe_unused void **state)
{
	static const char *const bad[] = {"http://evil.example", "null", "https://localhost:7070",
					  "http://localhost:7071", "http://127.0.0.1:7070/x"};
	char cookie[64];
	unsigned i;

	snprintf(cookie, sizeof(cookie), "skep=%s", auth.token);
	for (i = 0; i < array_size(bad); i++)
		assert_int_equal(check("/v1/query", "localhost:7070", bad[i], NULL, cookie), 403);
	assert_int_equal(
		check("/v1/query", "localhost:7070", "http://localhost:7070", NULL, cookie), 0);
}

static void the_query_string_may_bring_the_token(maybe_unused void **state)
{
	char query[128];

	snprintf(query, sizeof(query), "a=b&token=%s", auth.token);
	assert_int_equal(auth_query(&auth, query), 1);
	assert_int_equal(auth_query(&auth, "token=wrong"), -1);
	assert_int_equal(auth_query(&auth, "a=b"), 0);
	assert_int_equal(auth_query(&auth, "%%"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_are_long_and_never_the_same),
		cmocka_unit_test(only_the_whole_token_is_the_token),
		cmocka_unit_test(the_token_opens_as_bearer_or_as_cookie),
		cmocka_unit_test(the_page_and_healthz_need_no_token),
		cmocka_unit_test(a_foreign_host_name_is_refused_even_with_the_token),
		cmocka_unit_test(another_origin_is_refused_even_with_the_cookie),
		cmocka_unit_test(the_query_string_may_bring_the_token),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
