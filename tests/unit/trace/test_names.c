// SPDX-License-Identifier: Apache-2.0
#include "trace/names.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND 1000000000ULL

static struct names *cache(unsigned max)
{
	struct names *n = NULL;

	assert_int_equal(names_open(&n, max), 0);
	return n;
}

static void put4(struct names *n, uint32_t netns, uint32_t addr, const char *name)
{
	names_put(n, netns, AF_INET, &addr, name, 60, SECOND);
}

static const char *find4(struct names *n, uint32_t netns, uint32_t addr)
{
	return names_find(n, netns, AF_INET, &addr, SECOND);
}

static void an_address_shows_the_last_name_it_was_looked_up_by(void **state maybe_unused)
{
	struct names *n = cache(4);

	assert_null(find4(n, 1, 7));
	put4(n, 1, 7, "a.example.org");
	assert_string_equal(find4(n, 1, 7), "a.example.org");
	put4(n, 1, 7, "b.example.org");
	assert_string_equal(find4(n, 1, 7), "b.example.org");
	assert_int_equal(names_count(n), 1);
	names_free(n);
}

static void network_namespaces_have_names_of_their_own(void **state maybe_unused)
{
	struct names *n = cache(4);

	put4(n, 1, 7, "a");
	put4(n, 2, 7, "b");
	assert_string_equal(find4(n, 1, 7), "a");
	assert_string_equal(find4(n, 2, 7), "b");
	assert_null(find4(n, 3, 7));
	names_free(n);
}

static void a_mapped_address_is_the_ipv4_one(void **state maybe_unused)
{
	struct names *n = cache(4);
	uint8_t v4[4] = {192, 0, 2, 1};
	uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1};
	uint8_t v6[16] = {192, 0, 2, 1};

	names_put(n, 1, AF_INET, v4, "a", 60, SECOND);
	assert_string_equal(names_find(n, 1, AF_INET6, mapped, SECOND), "a");
	assert_null(names_find(n, 1, AF_INET6, v6, SECOND));
	assert_null(names_find(n, 1, AF_UNIX, v4, SECOND));
	names_free(n);
}

static void a_name_lives_ten_minutes_or_its_ttl_whichever_is_longer(void **state maybe_unused)
{
	struct names *n = cache(4);
	uint32_t a = 1, b = 2;

	names_put(n, 1, AF_INET, &a, "short", 5, SECOND);
	names_put(n, 1, AF_INET, &b, "long", 3600, SECOND);
	assert_non_null(names_find(n, 1, AF_INET, &a, 601 * SECOND));
	assert_null(names_find(n, 1, AF_INET, &a, 601 * SECOND + 1));
	assert_non_null(names_find(n, 1, AF_INET, &b, 3601 * SECOND));
	assert_null(names_find(n, 1, AF_INET, &b, 3602 * SECOND));
	names_free(n);
}

static void a_full_cache_forgets_what_went_longest_without_use(void **state maybe_unused)
{
	struct names *n = cache(3);

	put4(n, 1, 1, "a");
	put4(n, 1, 2, "b");
	put4(n, 1, 3, "c");
	assert_non_null(find4(n, 1, 1));
	put4(n, 1, 2, "b");
	put4(n, 1, 4, "d");
	assert_null(find4(n, 1, 3));
	assert_string_equal(find4(n, 1, 1), "a");
	assert_string_equal(find4(n, 1, 2), "b");
	assert_string_equal(find4(n, 1, 4), "d");
	assert_int_equal(names_count(n), 3);
	names_free(n);
}

static void it_stays_right_when_far_more_is_put_than_fits(void **state maybe_unused)
{
	struct names *n = cache(100);
	char name[32];
	uint32_t i, j;

	for (i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "h%u", i);
		put4(n, i % 7, i, name);
		for (j = i < 99 ? 0 : i - 99; i % 500 == 0 && j <= i; j++) {
			snprintf(name, sizeof(name), "h%u", j);
			assert_string_equal(find4(n, j % 7, j), name);
		}
		assert_null(i < 100 ? NULL : find4(n, (i - 100) % 7, i - 100));
	}
	names_free(n);
}

static void a_long_name_is_cut(void **state maybe_unused)
{
	struct names *n = cache(1);
	char name[1000];

	memset(name, 'x', sizeof(name));
	name[999] = '\0';
	put4(n, 1, 1, name);
	assert_int_equal(strlen(find4(n, 1, 1)), NAMES_TEXT_MAX - 1);
	names_free(n);
}

static void a_cache_of_no_size_is_refused(void **state maybe_unused)
{
	struct names *n = NULL;

	assert_int_equal(names_open(&n, 0), -EINVAL);
	assert_null(n);
	names_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_shows_the_last_name_it_was_looked_up_by),
		cmocka_unit_test(network_namespaces_have_names_of_their_own),
		cmocka_unit_test(a_mapped_address_is_the_ipv4_one),
		cmocka_unit_test(a_name_lives_ten_minutes_or_its_ttl_whichever_is_longer),
		cmocka_unit_test(a_full_cache_forgets_what_went_longest_without_use),
		cmocka_unit_test(it_stays_right_when_far_more_is_put_than_fits),
		cmocka_unit_test(a_long_name_is_cut),
		cmocka_unit_test(a_cache_of_no_size_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
