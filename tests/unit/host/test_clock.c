/* SPDX-License-Identifier: Apache-2.0 */
/* host_wall() on clocks that the test turns: this clock_gettime() takes the C library's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "host/host.h"

#define SECOND 1000000000LL

static int64_t boot = 100 * SECOND, wall = 1700000000 * SECOND;

int clock_gettime(clockid_t id, struct timespec *t)
{
	int64_t now = id == CLOCK_REALTIME ? wall : boot;

	t->tv_sec = now / SECOND;
	t->tv_nsec = now % SECOND;
	return 0;
}

static void pass(int64_t ns)
{
	boot += ns;
	wall += ns;
}

static void test_now_is_now(void **state maybe_unused)
{
	pass(2 * SECOND);
	assert_int_equal(host_boot_now(), boot);
	assert_int_equal(host_wall(boot), wall);
	assert_int_equal(host_wall(boot - SECOND), wall - SECOND);
}

static void test_a_step_of_the_wall_clock_is_followed_within_a_second(void **state maybe_unused)
{
	pass(2 * SECOND);
	host_wall(boot);
	wall -= 3600 * SECOND;
	pass(SECOND);
	assert_int_equal(host_wall(boot), wall);
}

static void test_slewing_does_not_move_a_time_already_told(void **state maybe_unused)
{
	int64_t started = boot, told;

	pass(2 * SECOND);
	told = host_wall(started);
	for (int i = 0; i < 5; i++) {
		pass(2 * SECOND);
		wall += SECOND / 10000;
		assert_int_equal(host_wall(started), told);
	}
}

static void test_slewing_that_adds_up_is_followed(void **state maybe_unused)
{
	for (int i = 0; i < 50; i++) {
		pass(2 * SECOND);
		wall += SECOND / 10000;
		assert_in_range(host_wall(boot) - wall + SECOND / 1000, 0, SECOND / 500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_now_is_now),
		cmocka_unit_test(test_a_step_of_the_wall_clock_is_followed_within_a_second),
		cmocka_unit_test(test_slewing_does_not_move_a_time_already_told),
		cmocka_unit_test(test_slewing_that_adds_up_is_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
