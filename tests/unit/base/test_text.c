// SPDX-License-Identifier: Apache-2.0
/* Bytes of strangers as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "base/base.h"
#include "base/text.h"

#define escaped(cap, bytes) escape(cap, bytes, sizeof(bytes) - 1)

static const char *escape(size_t cap, const char *bytes, size_t n)
{
	static char out[64];
	size_t len;

	memset(out, '#', sizeof(out));
	len = text_escape(out, cap, bytes, n);
	assert_int_equal(len, strlen(out));
	assert_true(out[cap] == '#');
	return out;
}

static void plain_text_stays_as_it_is(void **state maybe_unused)
{
	assert_string_equal(escaped(40, "kworker/0:1-events ~\"it's\""),
			    "kworker/0:1-events ~\"it's\"");
	assert_string_equal(escaped(40, "na\xc3\xafve"), "na\xc3\xafve");
	assert_string_equal(escaped(40, ""), "");
}

static void what_is_no_printable_text_is_escaped_wherever_it_stands(void **state maybe_unused)
{
	assert_string_equal(escaped(40, "a\nb\x1b[c\\d\xff"), "a\\nb\\x1b[c\\\\d\\xff");
	assert_string_equal(escaped(40, "\0\x7f"), "\\x00\\x7f");
	assert_string_equal(escaped(40, "\xe2\x80\xae"), "\\xe2\\x80\\xae"); /* right to left */
}

static void text_that_does_not_fit_is_cut_at_a_whole_sequence(void **state maybe_unused)
{
	assert_string_equal(escaped(4, "abcdef"), "abc");
	assert_string_equal(escaped(4, "ab\ncd"), "ab");
	assert_string_equal(escaped(5, "ab\ncd"), "ab\\n");
	assert_string_equal(escaped(3, "a\xc3\xaf"), "a");
	assert_string_equal(escaped(1, "a"), "");
}

static void arguments_read_back_as_a_shell_would(void **state maybe_unused)
{
	char out[64];

	text_argv(out, sizeof(out), "a b\0c\0it's\0\0d\n", 15);
	assert_string_equal(out, "'a b' c $'it\\'s' '' $'d\\n'");
}

static void ipv4_addresses_are_what_inet_ntop_makes_of_them(void **state maybe_unused)
{
	static const uint8_t parts[] = {0, 1, 9, 10, 99, 100, 101, 199, 200, 255};
	const unsigned n = array_size(parts);
	char got[16], want[16];
	uint8_t addr[4];
	unsigned i;
	size_t len;

	for (i = 0; i < n * n * n * n; i++) {
		addr[0] = parts[i % n];
		addr[1] = parts[i / n % n];
		addr[2] = parts[i / n / n % n];
		addr[3] = parts[i / n / n / n];
		len = text_ipv4(got, addr);
		assert_int_equal(len, strlen(got));
		assert_string_equal(got, inet_ntop(AF_INET, addr, want, sizeof(want)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_stays_as_it_is),
		cmocka_unit_test(what_is_no_printable_text_is_escaped_wherever_it_stands),
		cmocka_unit_test(text_that_does_not_fit_is_cut_at_a_whole_sequence),
		cmocka_unit_test(arguments_read_back_as_a_shell_would),
		cmocka_unit_test(ipv4_addresses_are_what_inet_ntop_makes_of_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
