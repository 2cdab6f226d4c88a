// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/why.h"

static uint8_t frame[2048];

static uint32_t sum(const uint8_t *p, size_t n, uint32_t s)
{
	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static size_t built(const char *text)
{
	struct skep_err err = {""};
	struct why_packet p;

	assert_int_equal(why_read(text, &p, &err), 0);
	return why_frame(&p, frame);
}

static void packets_in_words_have_right_checksums(void **state)
{
	size_t n;

	(void)state;
	n = built("tcp 198.51.100.7:40000 > 203.0.113.10:443 ack bytes=3");
	assert_int_equal(n, 14 + 20 + 20 + 3);
	assert_int_equal(sum(frame + 14, 20, 0), 0xffff);
	assert_int_equal(sum(frame + 34, 23, sum(frame + 26, 8, 0) + 6 + 23), 0xffff);
	assert_int_equal(frame[47], 16);
	n = built("udp [2001:db8:9::7]:40000 > [2001:db8:f::10]:53");
	assert_int_equal(n, 14 + 40 + 8);
	assert_int_equal(sum(frame + 54, 8, sum(frame + 22, 32, 0) + 17 + 8), 0xffff);
	n = built("icmp echo 198.51.100.7 > 203.0.113.10");
	assert_int_equal(sum(frame + 34, n - 34, 0), 0xffff);
	n = built("icmp about tcp [2001:db8:9::7]:40000 > [2001:db8:f::10]:443");
	assert_int_equal(sum(frame + 54, n - 54, sum(frame + 22, 32, 0) + 58 + (uint32_t)(n - 54)),
			 0xffff);
	assert_int_equal(frame[54 + 8 + 40] << 8 | frame[54 + 8 + 41], 443);
}

static void what_is_no_packet_is_refused_with_what_was_expected(void **state)
{
	static const char *const bad[] = {
		"",
		"tcp",
		"tcp 1.2.3.4 > 1.2.3.5:80",
		"tcp 1.2.3.4:99999 > 1.2.3.5:80",
		"tcp 1.2.3.4:1 > [::1]:80",
		"udp 1.2.3.4:1 > 1.2.3.5:80 syn",
		"tcp 1.2.3.4:1 > 1.2.3.5:80 bytes=70000",
		"icmp 1.2.3.4 > 1.2.3.5",
		"icmp echo 1.2.3.4 1.2.3.5",
		"tcp 1.2.3.4:1 > 1.2.3.5:80 and more",
	};
	struct why_packet p;

	(void)state;
	for (size_t i = 0; i < array_size(bad); i++) {
		struct skep_err err = {""};

		assert_int_equal(why_read(bad[i], &p, &err), -EINVAL);
		assert_non_null(strstr(err.text, "expected 'tcp ADDR:PORT > ADDR:PORT"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_in_words_have_right_checksums),
		cmocka_unit_test(what_is_no_packet_is_refused_with_what_was_expected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
