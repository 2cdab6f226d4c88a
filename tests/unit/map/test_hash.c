// SPDX-License-Identifier: Apache-2.0
#include "maps.h"

#define HASH	    BPF_MAP_TYPE_HASH
#define PERCPU_HASH BPF_MAP_TYPE_PERCPU_HASH
#define LRU	    BPF_MAP_TYPE_LRU_HASH
#define LRU_PERCPU  BPF_MAP_TYPE_LRU_PERCPU_HASH

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	assert_int_equal(tried(def_of(HASH, 0, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 0, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 8, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 8, 4, BPF_F_MMAPABLE)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 8, 4, BPF_F_NO_COMMON_LRU)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 8, 4, BPF_F_RDONLY | BPF_F_WRONLY)), -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 8, 4, BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)),
			 -EINVAL);
	assert_int_equal(tried(def_of(HASH, 4, 4 << 20, 4, 0)), -E2BIG);
	assert_int_equal(tried(def_of(HASH, 4, 8, 1U << 30, BPF_F_NO_PREALLOC)), -E2BIG);
	assert_int_equal(tried(def_of(PERCPU_HASH, 4, (32 << 10) + 1, 4, 0)), -E2BIG);
	assert_int_equal(tried(def_of(PERCPU_HASH, 4, 8, 4, BPF_F_NUMA_NODE)), -EINVAL);
	assert_int_equal(tried(def_of(LRU, 4, 8, 4, BPF_F_NO_PREALLOC)), -ENOTSUPP);
	assert_int_equal(tried(def_of(LRU, 4, 8, 4, BPF_F_NO_COMMON_LRU)), 0);
}

static void flags_of_updates_are_kept(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 2, 0));

	assert_int_equal(put32(m, 1, 10, BPF_EXIST), -ENOENT);
	assert_int_equal(put32(m, 1, 10, BPF_NOEXIST), 0);
	assert_int_equal(put32(m, 1, 11, BPF_NOEXIST), -EEXIST);
	assert_int_equal(put32(m, 1, 12, BPF_EXIST), 0);
	assert_int_equal(get32(m, 1), 12);
	assert_int_equal(put32(m, 1, 12, 3), -EINVAL);
	assert_int_equal(put32(m, 1, 12, BPF_F_LOCK), -EINVAL);
	assert_int_equal(del32(m, 2), -ENOENT);
	assert_int_equal(del32(m, 1), 0);
	assert_int_equal(get32(m, 1), UINT64_MAX);
}

static void a_full_map_takes_updates_but_no_keys(void **state maybe_unused)
{
	const uint32_t flags[] = {0, BPF_F_NO_PREALLOC};
	uint32_t i, k;

	for (i = 0; i < array_size(flags); i++) {
		owned_map *m = made(def_of(HASH, 4, 8, 100, flags[i]));

		for (k = 0; k < 100; k++)
			assert_int_equal(put32(m, k, k, BPF_ANY), 0);
		assert_int_equal(put32(m, 100, 1, BPF_ANY), -E2BIG);
		for (k = 0; k < 100; k++)
			assert_int_equal(put32(m, k, k + 1, BPF_ANY), 0);
		assert_int_equal(del32(m, 7), 0);
		assert_int_equal(put32(m, 100, 1, BPF_ANY), 0);
		assert_int_equal(put32(m, 7, 1, BPF_ANY), -E2BIG);
	}
}

static void a_pointer_to_a_replaced_value_still_shows_it(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 4, 0));
	uint32_t key = 1;
	uint64_t *old;

	put32(m, 1, 10, BPF_ANY);
	old = map_lookup(m, &key);
	put32(m, 1, 11, BPF_ANY);
	assert_int_equal(*old, 10);
	assert_int_equal(get32(m, 1), 11);
}

static void keys_of_all_lengths_are_told_apart(void **state maybe_unused)
{
	char key[70];
	uint32_t n, i;

	for (n = 1; n <= sizeof(key); n++) {
		owned_map *m = made(def_of(HASH, n, 4, 80, 0));

		for (i = 0; i < n; i++) {
			memset(key, 0, sizeof(key));
			key[i] = 1;
			assert_int_equal(map_update(m, key, &i, BPF_NOEXIST), 0);
		}
		for (i = 0; i < n; i++) {
			memset(key, 0, sizeof(key));
			key[i] = 1;
			assert_int_equal(*(uint32_t *)map_lookup(m, key), i);
		}
		memset(key, 0, sizeof(key));
		assert_null(map_lookup(m, key));
	}
}

static void walking_meets_every_key_once(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 1000, 0));
	uint32_t key, next, n = 0, seen[1000] = {0}, absent = 5000;
	int rc;

	assert_int_equal(map_sys_next_key(m, NULL, &next), -ENOENT);
	for (key = 0; key < 1000; key++)
		put32(m, key, key, BPF_ANY);
	for (rc = map_sys_next_key(m, NULL, &key); !rc; rc = map_sys_next_key(m, &key, &key))
		seen[key]++, n++;
	assert_int_equal(rc, -ENOENT);
	assert_int_equal(n, 1000);
	for (key = 0; key < 1000; key++)
		assert_int_equal(seen[key], 1);
	assert_int_equal(map_sys_next_key(m, NULL, &key), 0);
	assert_int_equal(map_sys_next_key(m, &absent, &next), 0);
	assert_int_equal(key, next);
}

static int delete_it(void *arg, const void *key, void *value maybe_unused)
{
	return map_delete(arg, key);
}

static void each_may_be_deleted_in_its_callback(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 1000, 0));
	uint32_t key;

	for (key = 0; key < 1000; key++)
		put32(m, key, key, BPF_ANY);
	assert_int_equal(map_for_each(m, delete_it, m), 1000);
	assert_int_equal(map_sys_next_key(m, NULL, &key), -ENOENT);
}

static void batches_hold_whole_buckets(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 1000, 0));
	uint32_t keys[64], key, count, sum = 0, cursor, *in = NULL;
	uint64_t values[64];
	int rc;

	for (key = 0; key < 1000; key++)
		put32(m, key, key, BPF_ANY);
	count = 0;
	assert_int_equal(map_sys_lookup_batch(m, NULL, &cursor, keys, values, &count, 0, false), 0);
	do {
		count = 64;
		rc = map_sys_lookup_batch(m, in, &cursor, keys, values, &count, 0, true);
		assert_true(!rc || rc == -ENOENT);
		sum += count;
		in = &cursor;
	} while (!rc);
	assert_int_equal(sum, 1000);
	assert_int_equal(map_sys_next_key(m, NULL, &key), -ENOENT);
	cursor = 1 << 20;
	count = 1;
	assert_int_equal(map_sys_lookup_batch(m, &cursor, &cursor, keys, values, &count, 0, false),
			 -ENOENT);
	assert_int_equal(count, 0);
}

static void a_bucket_that_does_not_fit_is_no_space(void **state maybe_unused)
{
	owned_map *m = made(def_of(HASH, 4, 8, 4, 0));
	uint32_t key, count, keys[4], cursor = 0;
	uint64_t values[4];
	bool full = false;
	int rc;

	for (key = 0; !full; key++) {
		assert_true(key < 1000);
		while (!map_sys_next_key(m, NULL, &count))
			map_delete(m, &count);
		for (count = 0; count < 4; count++)
			put32(m, key * 4 + count, 0, BPF_ANY);
		cursor = 0;
		do {
			count = 1;
			rc = map_sys_lookup_batch(m, &cursor, &cursor, keys, values, &count, 0,
						  false);
		} while (!rc);
		full = rc == -ENOSPC;
	}
	assert_int_equal(count, 0);
	count = 4;
	assert_int_equal(map_sys_lookup_batch(m, &cursor, &cursor, keys, values, &count, 0, false),
			 -ENOENT);
	assert_true(count > 1);
}

static void per_cpu_values_are_apart(void **state maybe_unused)
{
	owned_map *m = made(def_of(PERCPU_HASH, 4, 4, 8, 0));
	uint64_t all[2];
	uint32_t key = 3, v = 7;

	assert_int_equal(map_sys_value_size(m), 16);
	map_cpu = 1;
	assert_int_equal(map_update(m, &key, &v, BPF_ANY), 0);
	map_cpu = 0;
	assert_int_equal(map_sys_lookup(m, &key, all, 0), 0);
	assert_int_equal(all[0], 0);
	assert_int_equal(all[1], 7);
	all[0] = 5;
	all[1] = 6;
	assert_int_equal(map_sys_update(m, &key, all, BPF_EXIST), 0);
	assert_int_equal(*(uint32_t *)map_lookup(m, &key), 5);
	assert_int_equal(*(uint32_t *)map_lookup_percpu(m, &key, 1), 6);
	assert_null(map_lookup_percpu(m, &key, 2));
	memset(all, 0, sizeof(all));
	assert_int_equal(map_sys_lookup_delete(m, &key, all, 0), 0);
	assert_int_equal(all[0], 5);
	assert_int_equal(all[1], 6);
	assert_int_equal(map_sys_lookup_delete(m, &key, all, 0), -ENOENT);
}

static void an_lru_map_forgets_what_is_not_looked_up(void **state maybe_unused)
{
	const uint32_t types[] = {LRU, LRU_PERCPU};
	unsigned i;
	uint32_t k;

	for (i = 0; i < array_size(types); i++) {
		owned_map *m = made(def_of(types[i], 4, 8, 192, 0));

		for (k = 1; k <= 192; k++)
			assert_int_equal(put32(m, k, k, BPF_NOEXIST), 0);
		for (k = 1; k <= 64; k++)
			assert_int_equal(get32(m, k), k);
		for (k = 193; k <= 320; k++)
			assert_int_equal(put32(m, k, k, BPF_NOEXIST), 0);
		for (k = 1; k <= 320; k++)
			assert_int_equal(get32(m, k), k <= 64 || k > 192 ? k : UINT64_MAX);
	}
}

static void an_lru_map_never_holds_more_than_its_entries(void **state maybe_unused)
{
	const uint32_t flags[] = {0, BPF_F_NO_COMMON_LRU};
	uint32_t k, i, n, next;

	for (i = 0; i < array_size(flags); i++) {
		owned_map *m = made(def_of(LRU, 4, 8, 9, flags[i]));

		assert_int_equal(m->def.max_entries, flags[i] ? 10 : 9);
		for (k = 0; k < 1000; k++) {
			map_cpu = k / 3 % 2;
			assert_int_equal(put32(m, k, k, BPF_ANY), 0);
			assert_int_equal(get32(m, k), k);
			assert_int_equal(put32(m, k, k + 1, BPF_EXIST), 0);
			assert_int_equal(put32(m, k, k, BPF_NOEXIST), -EEXIST);
			assert_int_equal(put32(m, k + 1, k, BPF_EXIST), -ENOENT);
		}
		map_cpu = 0;
		n = 0;
		for (int rc = map_sys_next_key(m, NULL, &next); !rc;
		     rc = map_sys_next_key(m, &next, &next))
			n++;
		assert_int_equal(n, m->def.max_entries);
	}
}

static void an_update_under_the_spin_lock_leaves_it(void **state maybe_unused)
{
	struct map_def def = def_of(HASH, 4, 16, 4, 0);
	uint32_t key = 1, v[4] = {1, 2, 3, 4}, got[4], *p;

	def.fields.spin_lock = 4;
	owned_map *m = made(def);
	assert_int_equal(map_sys_update(m, &key, v, BPF_F_LOCK), 0);
	p = map_lookup(m, &key);
	assert_int_equal(p[1], 0);
	v[0] = 9;
	assert_int_equal(map_sys_update(m, &key, v, BPF_F_LOCK | BPF_EXIST), 0);
	assert_ptr_equal(map_lookup(m, &key), p);
	assert_int_equal(p[0], 9);
	memset(got, 0xff, sizeof(got));
	assert_int_equal(map_sys_lookup(m, &key, got, BPF_F_LOCK), 0);
	assert_int_equal(got[0], 9);
	assert_int_equal(got[1], 0);
	assert_int_equal(got[3], 4);
	assert_int_equal(map_sys_freeze(m), -ENOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(flags_of_updates_are_kept),
		cmocka_unit_test(a_full_map_takes_updates_but_no_keys),
		cmocka_unit_test(a_pointer_to_a_replaced_value_still_shows_it),
		cmocka_unit_test(keys_of_all_lengths_are_told_apart),
		cmocka_unit_test(walking_meets_every_key_once),
		cmocka_unit_test(each_may_be_deleted_in_its_callback),
		cmocka_unit_test(batches_hold_whole_buckets),
		cmocka_unit_test(a_bucket_that_does_not_fit_is_no_space),
		cmocka_unit_test(per_cpu_values_are_apart),
		cmocka_unit_test(an_lru_map_forgets_what_is_not_looked_up),
		cmocka_unit_test(an_lru_map_never_holds_more_than_its_entries),
		cmocka_unit_test(an_update_under_the_spin_lock_leaves_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
