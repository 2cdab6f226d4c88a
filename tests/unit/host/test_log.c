/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf's words are kept, bounded, and told once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <bpf/libbpf.h>
#include <cmocka.h>

#include "host/inside.h"

static void provoke(int n)
{
	char path[64];

	snprintf(path, sizeof(path), "/nonexistent/object-%d.o", n);
	assert_null(bpf_object__open_file(path, NULL));
}

static void test_words_are_told_once(void **state maybe_unused)
{
	host_bpf_keep();
	provoke(7);
	assert_non_null(strstr(host_bpf_log(), "/nonexistent/object-7.o"));
	assert_string_equal(host_bpf_log(), "");
}

static void test_the_last_16_kib_are_kept(void **state maybe_unused)
{
	const char *said;

	host_bpf_keep();
	for (int i = 0; i < 1000; i++)
		provoke(i);
	said = host_bpf_log();
	assert_int_equal(strlen(said), 16384);
	assert_non_null(strstr(said, "/nonexistent/object-999.o"));
	assert_null(strstr(said, "/nonexistent/object-1.o"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_are_told_once),
		cmocka_unit_test(test_the_last_16_kib_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
