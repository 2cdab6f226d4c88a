// SPDX-License-Identifier: Apache-2.0
/* Rings as the paper promises them: shares, disruption, the same on every balancer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/ring.h"

#define MOST 1200

static uint32_t ring[1 << RING_LOG_MAX], other[1 << RING_LOG_MAX];
static struct ring_member members[MOST];

static uint64_t seed = 1;

static uint64_t random_next(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return seed >> 17;
}

static void fleet(unsigned n, unsigned most_weight)
{
	for (unsigned i = 0; i < n; i++)
		members[i] = (struct ring_member){
			.identity = 0x0a000001 + i,
			.weight = most_weight > 1 ? 1 + random_next() % most_weight : 1,
			.value = i + 1,
		};
}

static void shares(unsigned log, uint32_t *out)
{
	memset(out, 0, (MOST + 1) * sizeof(*out));
	for (uint32_t i = 0; i < 1U << log; i++) {
		assert_in_range(ring[i], 0, MOST);
		out[ring[i]]++;
	}
}

static void no_member_has_2_percent_more_than_the_average(void **state maybe_unused)
{
	static const unsigned sizes[] = {1, 2, 3, 7, 10, 33, 100, 333, 1000};
	uint32_t share[MOST + 1];

	for (unsigned s = 0; s < array_size(sizes); s++) {
		unsigned n = sizes[s], log;

		fleet(n, 1);
		log = ring_log(members, n);
		assert_int_equal(ring_fill(ring, log, members, n, 0), 0);
		shares(log, share);
		for (unsigned i = 1; i <= n; i++)
			assert_true(share[i] * (uint64_t)n * 100 <= (102ULL << log));
	}
}

static void shares_are_the_weights_within_1_percent(void **state maybe_unused)
{
	uint32_t share[MOST + 1];

	for (unsigned round = 0; round < 60; round++) {
		unsigned n = 1 + random_next() % 60, log;
		uint64_t sum = 0;

		fleet(n, 1 + random_next() % 40);
		for (unsigned i = 0; i < n; i++)
			sum += members[i].weight;
		log = ring_log(members, n);
		assert_int_equal(ring_fill(ring, log, members, n, 0), 0);
		shares(log, share);
		for (unsigned i = 0; i < n; i++) {
			double exact = (double)(1U << log) * members[i].weight / (double)sum;
			double error = share[i + 1] / exact - 1;

			assert_true(error < 0.01 && error > -0.01);
		}
	}
}

static void the_order_of_members_means_nothing(void **state maybe_unused)
{
	fleet(50, 9);
	assert_int_equal(ring_fill(ring, 14, members, 50, 0), 0);
	for (unsigned i = 49; i > 0; i--) {
		unsigned j = random_next() % (i + 1);
		struct ring_member m = members[i];

		members[i] = members[j];
		members[j] = m;
	}
	assert_int_equal(ring_fill(other, 14, members, 50, 0), 0);
	assert_memory_equal(ring, other, sizeof(uint32_t) << 14);
}

/* Slots that neither were nor are the changed member's, and yet changed, per 10,000. */
static unsigned disruption(unsigned n, unsigned gone)
{
	unsigned log = ring_log(members, n), moved = 0;
	struct ring_member last = members[n - 1], out = members[gone];

	assert_int_equal(ring_fill(ring, log, members, n, 0), 0);
	members[gone] = last;
	assert_int_equal(ring_fill(other, log, members, n - 1, 0), 0);
	members[gone] = out;
	members[n - 1] = last;
	for (uint32_t i = 0; i < 1U << log; i++)
		moved += ring[i] != other[i] && ring[i] != out.value;
	return (unsigned)((uint64_t)moved * 10000 >> log);
}

static void a_member_that_goes_disturbs_few_of_the_others(void **state maybe_unused)
{
	unsigned worst = 0;

	fleet(100, 1);
	for (unsigned gone = 0; gone < 100; gone++)
		worst = max(worst, disruption(100, gone));
	assert_in_range(worst, 0, 250);
	print_message("# 100 members, one gone: %u of 10,000 slots of others change at worst\n",
		      worst);
}

static void a_member_without_weight_has_no_slot(void **state maybe_unused)
{
	fleet(5, 1);
	members[2].weight = 0;
	assert_int_equal(ring_fill(ring, 10, members, 5, 0), 0);
	for (uint32_t i = 0; i < 1U << 10; i++)
		assert_int_not_equal(ring[i], members[2].value);
}

static void nobody_means_none(void **state maybe_unused)
{
	fleet(1, 1);
	members[0].weight = 0;
	assert_int_equal(ring_fill(ring, 7, members, 1, 77), 0);
	assert_int_equal(ring_fill(other, 7, members, 0, 77), 0);
	for (uint32_t i = 0; i < 1U << 7; i++) {
		assert_int_equal(ring[i], 77);
		assert_int_equal(other[i], 77);
	}
}

static void more_members_than_slots_is_no_harm(void **state maybe_unused)
{
	uint32_t share[MOST + 1];

	fleet(1000, 1);
	assert_int_equal(ring_fill(ring, 7, members, 1000, 0), 0);
	shares(7, share);
	for (unsigned i = 0; i <= 1000; i++)
		assert_in_range(share[i], 0, 1);
	assert_int_equal(share[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_member_has_2_percent_more_than_the_average),
		cmocka_unit_test(shares_are_the_weights_within_1_percent),
		cmocka_unit_test(the_order_of_members_means_nothing),
		cmocka_unit_test(a_member_that_goes_disturbs_few_of_the_others),
		cmocka_unit_test(a_member_without_weight_has_no_slot),
		cmocka_unit_test(nobody_means_none),
		cmocka_unit_test(more_members_than_slots_is_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
