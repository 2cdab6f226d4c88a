// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>

#include "agent/api.h"
#include "fake.h"

static struct skep_err err;
static struct api_value values[API_PARAMS_MAX];

static void every_route_stands_in_the_documentation(maybe_unused void **state)
{
	static char text[65536];
	FILE *f = fopen("docs/api.md", "r");
	char quoted[128];
	unsigned i;
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	for (i = 0; i < api_routes_count; i++) {
		const struct api_route *r = &api_routes[i];
		size_t j;

		snprintf(quoted, sizeof(quoted), "%s", r->path);
		if (!strstr(text, quoted))
			fail_msg("%s is not in docs/api.md", r->path);
		for (j = 0; j < API_PARAMS_MAX && r->params[j].name; j++) {
			snprintf(quoted, sizeof(quoted), "%s=", r->params[j].name);
			if (!strstr(text, quoted))
				fail_msg("%s?%s is not in docs/api.md", r->path, r->params[j].name);
		}
	}
}

static void the_openapi_document_has_every_route(maybe_unused void **state)
{
	cleanup(buf_done) struct buf b = {0};
	json_t *root, *paths;
	unsigned i;

	api_openapi(&b);
	root = json_loadb(b.data, b.len, 0, NULL);
	paths = json_object_get(root, "paths");
	assert_int_equal(json_object_size(paths), api_routes_count);
	for (i = 0; i < api_routes_count; i++)
		assert_non_null(json_object_get(paths, api_routes[i].path));
	assert_non_null(json_object_get(json_object_get(paths, "/v1/query"), "post"));
	json_decref(root);
}

static int args(const char *path, const char *query)
{
	memset(&err, 0, sizeof(err));
	return api_args(api_find(path), query, values, &err);
}

static void parameters_have_presets_and_bounds(maybe_unused void **state)
{
	assert_int_equal(args("/v1/guard/processes", ""), 0);
	assert_int_equal(values[0].num, 0);
	assert_int_equal(values[1].num, 100000);
	assert_int_equal(args("/v1/guard/processes", "limit=7&all=1"), 0);
	assert_int_equal(values[0].num, 1);
	assert_int_equal(values[1].num, 7);
	assert_int_equal(args("/v1/guard/processes", "limit=0"), -EINVAL);
	assert_string_equal(err.text, "limit: expected 1..100000, found '0'");
	assert_int_equal(args("/v1/guard/processes", "limit=99999999999999999999"), -EINVAL);
	assert_int_equal(args("/v1/guard/processes", "all=yes"), -EINVAL);
	assert_int_equal(args("/v1/guard/processes", "al=1"), -EINVAL);
	assert_string_equal(err.text, "unknown parameter 'al'");
	assert_int_equal(args("/v1/events", "comm=a%2"), -EINVAL);
	assert_int_equal(args("/v1/events", "comm=a%20b&pid=5"), 0);
	assert_int_equal(values[1].num, 5);
	assert_string_equal(values[2].text, "a b");
}

static int body(const char *text, int64_t *limit)
{
	cleanup(mem_free) char *sql = NULL;

	memset(&err, 0, sizeof(err));
	return api_query_body(text, strlen(text), &sql, limit, &err);
}

static void the_body_of_a_query_is_checked(maybe_unused void **state)
{
	int64_t limit;

	assert_int_equal(body("{\"sql\":\"select 1\"}", &limit), 0);
	assert_int_equal(limit, 10000);
	assert_int_equal(body("{\"sql\":\"select 1\",\"limit\":5}", &limit), 0);
	assert_int_equal(limit, 5);
	assert_int_equal(body("", &limit), -EINVAL);
	assert_int_equal(body("{\"sql\":1}", &limit), -EINVAL);
	assert_int_equal(body("{\"sql\":\"\",\"more\":1}", &limit), -EINVAL);
	assert_int_equal(body("{\"sql\":\"\",\"limit\":0}", &limit), -EINVAL);
	assert_string_equal(err.text, "limit: expected 1..100000, found 0");
	assert_int_equal(body("[\"sql\"]", &limit), -EINVAL);
	assert_int_equal(body("{\"sql\":\"\",\"sql\":\"\"}", &limit), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_stands_in_the_documentation),
		cmocka_unit_test(the_openapi_document_has_every_route),
		cmocka_unit_test(parameters_have_presets_and_bounds),
		cmocka_unit_test(the_body_of_a_query_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
