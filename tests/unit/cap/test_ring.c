// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cap/ring.h"

static void a_ring_is_a_power_of_two_of_at_least_a_page(void **state maybe_unused)
{
	assert_int_equal(cap_ring_bytes(1), 4096);
	assert_int_equal(cap_ring_bytes(4), 4096);
	assert_int_equal(cap_ring_bytes(5), 8192);
	assert_int_equal(cap_ring_bytes(2048), 2 << 20);
	assert_int_equal(cap_ring_bytes(2049), 4 << 20);
	assert_int_equal(cap_ring_bytes(INT64_MAX / 1024), 1 << 30);
}

static void counters_without_a_map_are_zero(void **state maybe_unused)
{
	struct cap_counts c;
	uint64_t sum[3] = {7, 7, 7};

	assert_int_equal(cap_counts_init(&c, sizeof(sum)), 0);
	cap_counts_sum(&c, -1, sum);
	assert_int_equal(sum[0] | sum[1] | sum[2], 0);
	cap_counts_done(&c);
}

static void on_count(void *arg, const char *name, enum cap_metric_type type,
		     const char *help maybe_unused, const char *labels, double value)
{
	char *text = arg;

	assert_int_equal(type, CAP_COUNTER);
	sprintf(text + strlen(text), "%s{%s} %.0f\n", name, labels, value);
}

static void each_kind_has_what_was_sent_taken_and_lost(void **state maybe_unused)
{
	static const char *const labels[] = {"a", "b"};
	const uint64_t sent[] = {5, 6}, reported[] = {4, 6}, lost[] = {1, 0};
	const struct cap_kinds k = {.cap = "guard",
				    .labels = labels,
				    .n = 2,
				    .sent = sent,
				    .reported = reported,
				    .lost = lost};
	char text[512] = "";

	cap_kinds_count(&k, on_count, text);
	assert_string_equal(text, "skep_guard_sent_total{a} 5\nskep_guard_sent_total{b} 6\n"
				  "skep_guard_events_total{a} 4\nskep_guard_events_total{b} 6\n"
				  "skep_guard_lost_total{a} 1\nskep_guard_lost_total{b} 0\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_is_a_power_of_two_of_at_least_a_page),
		cmocka_unit_test(counters_without_a_map_are_zero),
		cmocka_unit_test(each_kind_has_what_was_sent_taken_and_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
