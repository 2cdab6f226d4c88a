// SPDX-License-Identifier: Apache-2.0
#include "maps.h"

#define QUEUE BPF_MAP_TYPE_QUEUE
#define STACK BPF_MAP_TYPE_STACK
#define BLOOM BPF_MAP_TYPE_BLOOM_FILTER

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	struct map_def bloom = def_of(BLOOM, 0, 8, 4, 0);

	assert_int_equal(tried(def_of(QUEUE, 4, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(QUEUE, 0, 0, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(STACK, 0, 8, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(STACK, 0, 8, 4, BPF_F_NO_PREALLOC)), -EINVAL);
	assert_int_equal(tried(def_of(STACK, 0, (4 << 20) + 1, 4, 0)), -E2BIG);
	assert_int_equal(tried(def_of(BLOOM, 4, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(BLOOM, 0, (4 << 20) + 1, 0, 0)), -E2BIG);
	bloom.extra = 15;
	assert_int_equal(tried(bloom), 0);
	bloom.extra = 16;
	assert_int_equal(tried(bloom), -EINVAL);
	bloom.type = QUEUE;
	assert_int_equal(tried(bloom), -EINVAL);
}

static void the_first_in_is_the_first_out_of_a_queue(void **state maybe_unused)
{
	owned_map *m = made(def_of(QUEUE, 0, 4, 3, 0));
	uint32_t v, i, round;

	for (round = 0; round < 10; round++) {
		for (i = 1; i <= 3; i++)
			assert_int_equal(map_push(m, &i, BPF_ANY), 0);
		assert_int_equal(map_push(m, &i, BPF_ANY), -E2BIG);
		assert_int_equal(map_push(m, &i, BPF_NOEXIST), -EINVAL);
		assert_int_equal(map_push(m, &i, BPF_EXIST), 0);
		assert_int_equal(map_sys_lookup(m, NULL, &v, 0), 0);
		assert_int_equal(v, 2);
		for (i = 2; i <= 4; i++) {
			assert_int_equal(map_pop(m, &v), 0);
			assert_int_equal(v, i);
		}
		assert_int_equal(map_pop(m, &v), -ENOENT);
		assert_int_equal(v, 0);
	}
}

static void the_last_in_is_the_first_out_of_a_stack(void **state maybe_unused)
{
	owned_map *m = made(def_of(STACK, 0, 4, 3, 0));
	uint32_t v, i, round;

	for (round = 0; round < 10; round++) {
		for (i = 1; i <= 4; i++)
			assert_int_equal(map_sys_update(m, NULL, &i, BPF_EXIST), 0);
		assert_int_equal(map_peek(m, &v), 0);
		assert_int_equal(v, 4);
		for (i = 4; i >= 2; i--) {
			assert_int_equal(map_sys_lookup_delete(m, NULL, &v, 0), 0);
			assert_int_equal(v, i);
		}
		assert_int_equal(map_sys_lookup_delete(m, NULL, &v, 0), -ENOENT);
		assert_int_equal(map_sys_lookup_delete(m, NULL, &v, BPF_F_LOCK), -EINVAL);
	}
	assert_int_equal(map_sys_next_key(m, NULL, &v), -EINVAL);
	assert_int_equal(map_sys_delete(m, NULL), -EINVAL);
}

static void a_bloom_filter_knows_what_is_in_and_little_else(void **state maybe_unused)
{
	owned_map *m = made(def_of(BLOOM, 0, 8, 1000, 0));
	uint64_t v;
	unsigned wrong = 0;

	for (v = 0; v < 1000; v++)
		assert_int_equal(map_push(m, &v, BPF_ANY), 0);
	for (v = 0; v < 1000; v++)
		assert_int_equal(map_peek(m, &v), 0);
	for (v = 1000; v < 11000; v++)
		wrong += !map_sys_lookup(m, NULL, &v, 0);
	assert_true(wrong < 600);
	assert_int_equal(map_push(m, &v, BPF_EXIST), -EINVAL);
	assert_int_equal(map_pop(m, &v), -EOPNOTSUPP);
	assert_int_equal(map_sys_delete(m, NULL), -EOPNOTSUPP);
	assert_int_equal(map_sys_next_key(m, NULL, &v), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(the_first_in_is_the_first_out_of_a_queue),
		cmocka_unit_test(the_last_in_is_the_first_out_of_a_stack),
		cmocka_unit_test(a_bloom_filter_knows_what_is_in_and_little_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
