// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include "maps.h"

#define ARRAY  BPF_MAP_TYPE_ARRAY
#define PERCPU BPF_MAP_TYPE_PERCPU_ARRAY
#define PROGS  BPF_MAP_TYPE_PROG_ARRAY
#define MAPS   BPF_MAP_TYPE_ARRAY_OF_MAPS

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	assert_int_equal(tried(def_of(ARRAY, 8, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(ARRAY, 4, 0, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(ARRAY, 4, 8, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(ARRAY, 4, 8, 4, BPF_F_NO_PREALLOC)), -EINVAL);
	assert_int_equal(tried(def_of(ARRAY, 4, 8, 4, BPF_F_PRESERVE_ELEMS)), -EINVAL);
	assert_int_equal(tried(def_of(PERCPU, 4, 8, 4, BPF_F_MMAPABLE)), -EINVAL);
	assert_int_equal(tried(def_of(PERCPU, 4, 8, 4, BPF_F_NUMA_NODE)), -EINVAL);
	assert_int_equal(tried(def_of(PERCPU, 4, (32 << 10) + 1, 4, 0)), -E2BIG);
	assert_int_equal(tried(def_of(ARRAY, 4, 1U << 31, 4, 0)), -E2BIG);
	assert_int_equal(tried(def_of(PROGS, 4, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(PROGS, 4, 4, 4, BPF_F_RDONLY_PROG)), -EINVAL);
	assert_int_equal(tried(def_of(MAPS, 4, 4, 4, 0)), -EBADF);
	assert_int_equal(tried(def_of(BPF_MAP_TYPE_STRUCT_OPS, 4, 4, 4, 0)), -EOPNOTSUPP);
	assert_int_equal(tried(def_of(1000, 4, 4, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(0, 4, 4, 4, 0)), -EINVAL);
}

static void all_elements_exist_and_stay(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 8, 4, 0));
	uint32_t key = 4, next;
	uint64_t v = 1;

	assert_int_equal(get32(m, 3), 0);
	assert_int_equal(get32(m, 4), UINT64_MAX);
	assert_int_equal(put32(m, 3, 7, BPF_NOEXIST), -EEXIST);
	assert_int_equal(put32(m, 3, 7, BPF_EXIST), 0);
	assert_int_equal(put32(m, 3, 7, 3), -EINVAL);
	assert_int_equal(put32(m, 3, 7, BPF_F_LOCK), -EINVAL);
	assert_int_equal(put32(m, 4, 7, BPF_ANY), -E2BIG);
	assert_int_equal(get32(m, 3), 7);
	assert_int_equal(del32(m, 3), -EINVAL);
	assert_int_equal(map_sys_lookup(m, &key, &v, 0), -ENOENT);
	assert_int_equal(map_sys_lookup(m, &key, &v, 1), -EINVAL);
	assert_int_equal(map_sys_lookup_delete(m, &key, &v, 0), -ENOTSUPP);
	assert_int_equal(map_sys_next_key(m, &key, &next), 0);
	assert_int_equal(next, 0);
	key = 3;
	assert_int_equal(map_sys_next_key(m, &key, &next), -ENOENT);
}

static void values_of_odd_sizes_do_not_touch(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 13, 4, 0));
	char a[13], b[13];
	uint32_t key;

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	for (key = 0; key < 4; key++)
		map_update(m, &key, key % 2 ? b : a, 0);
	for (key = 0; key < 4; key++)
		assert_memory_equal(map_lookup(m, &key), key % 2 ? b : a, 13);
}

static void per_cpu_values_are_apart(void **state maybe_unused)
{
	owned_map *m = made(def_of(PERCPU, 4, 4, 3, 0));
	uint64_t all[2] = {1, 2};
	uint32_t key = 2;

	assert_int_equal(map_sys_update(m, &key, all, BPF_NOEXIST), -EEXIST);
	assert_int_equal(map_sys_update(m, &key, all, 0), 0);
	assert_int_equal(*(uint32_t *)map_lookup(m, &key), 1);
	map_cpu = 1;
	assert_int_equal(*(uint32_t *)map_lookup(m, &key), 2);
	assert_int_equal(put32(m, 2, 9, 0), 0);
	map_cpu = 0;
	assert_ptr_equal(map_lookup_percpu(m, &key, 1),
			 (char *)m->areas[0].base + m->areas[0].bytes / 2 + 2 * 8);
	assert_int_equal(m->areas[0].bytes / 2 % 64, 0);
	assert_int_equal(map_sys_lookup(m, &key, all, 0), 0);
	assert_int_equal(all[0], 1);
	assert_int_equal(all[1], 9);
}

static void a_mmapable_array_is_seen_through_its_memfd(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 4, 3, BPF_F_MMAPABLE));
	uint32_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	uint32_t key = 1, v = 42;

	assert_true(p != MAP_FAILED);
	map_update(m, &key, &v, 0);
	assert_int_equal(p[2], 42);
	p[4] = 43;
	key = 2;
	assert_int_equal(*(uint32_t *)map_lookup(m, &key), 43);
	munmap(p, 4096);
}

static void an_address_is_covered_inside_one_value(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 12, 4, 0));
	uint64_t base = m->areas[0].base;

	assert_true(map_covers(m, base, 12));
	assert_true(map_covers(m, base + 16 + 8, 4));
	assert_false(map_covers(m, base, 13));
	assert_false(map_covers(m, base + 8, 8));
	assert_false(map_covers(m, base + 12, 1));
	assert_false(map_covers(m, base - 1, 1));
	assert_false(map_covers(m, base + 4 * 16, 1));
}

static void a_frozen_map_takes_no_system_calls(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 8, 4, 0));
	uint32_t key = 1;
	uint64_t v = 1;

	m->writers++;
	assert_int_equal(map_sys_freeze(m), -EBUSY);
	m->writers--;
	assert_int_equal(map_sys_freeze(m), 0);
	assert_int_equal(map_sys_freeze(m), -EPERM);
	assert_int_equal(map_sys_update(m, &key, &v, 0), -EPERM);
	assert_int_equal(map_sys_delete(m, &key), -EPERM);
	assert_int_equal(map_sys_lookup(m, &key, &v, 0), 0);
	assert_int_equal(put32(m, 1, 5, 0), 0);
}

static void batches_go_on_where_they_ended(void **state maybe_unused)
{
	owned_map *m = made(def_of(ARRAY, 4, 8, 10, 0));
	uint32_t keys[4], cursor, count = 4, i;
	uint64_t values[4];

	for (i = 0; i < 10; i++)
		put32(m, i, i * i, 0);
	assert_int_equal(map_sys_cursor_size(m), 4);
	assert_int_equal(map_sys_lookup_batch(m, NULL, &cursor, keys, values, &count, 0, false), 0);
	assert_int_equal(count, 4);
	assert_int_equal(keys[3], 3);
	assert_int_equal(map_sys_lookup_batch(m, &cursor, &cursor, keys, values, &count, 0, false),
			 0);
	assert_int_equal(keys[0], 4);
	assert_int_equal(values[3], 49);
	assert_int_equal(map_sys_lookup_batch(m, &cursor, &cursor, keys, values, &count, 0, false),
			 -ENOENT);
	assert_int_equal(count, 2);
	assert_int_equal(map_sys_lookup_batch(m, NULL, &cursor, keys, values, &count, 0, true),
			 -ENOTSUPP);
}

/* ---- objects --------------------------------------------------------------------------------- */

static int refs[100];

static void *get_object(void *arg maybe_unused, struct map *map maybe_unused, int fd, int *rc)
{
	if (fd < 1 || fd >= 100) {
		*rc = -EBADF;
		return NULL;
	}
	refs[fd]++;
	return refs + fd;
}

static void put_object(void *arg maybe_unused, struct map *map maybe_unused, void *object)
{
	(*(int *)object)--;
}

static uint64_t object_id(void *arg maybe_unused, struct map *map maybe_unused, void *object)
{
	return 1000 + (uint32_t)((int *)object - refs);
}

static const struct map_objects objects = {get_object, put_object, object_id};

static void objects_are_held_while_in_the_map(void **state maybe_unused)
{
	struct map_def def = def_of(PROGS, 4, 4, 3, 0);
	uint32_t key = 1, fd = 5, id;
	struct map *m;

	def.objects = &objects;
	m = made(def);
	assert_int_equal(map_sys_lookup(m, &key, &id, 0), -ENOENT);
	assert_int_equal(map_sys_update(m, &key, &fd, BPF_EXIST), -EINVAL);
	assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
	assert_ptr_equal(map_slots(m)[1], refs + 5);
	assert_int_equal(map_sys_lookup(m, &key, &id, 0), 0);
	assert_int_equal(id, 1005);
	fd = 6;
	assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
	assert_int_equal(refs[5], 0);
	fd = 200;
	assert_int_equal(map_sys_update(m, &key, &fd, 0), -EBADF);
	assert_int_equal(map_sys_delete(m, &key), 0);
	assert_int_equal(map_sys_delete(m, &key), -ENOENT);
	assert_int_equal(refs[6], 0);
	fd = 7;
	key = 3;
	assert_int_equal(map_sys_update(m, &key, &fd, 0), -E2BIG);
	assert_int_equal(map_sys_delete(m, &key), -E2BIG);
	key = 2;
	assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
	map_free(m);
	assert_int_equal(refs[7], 0);
}

static void maps_of_maps_show_ids_and_give_objects(void **state maybe_unused)
{
	const uint32_t types[] = {MAPS, BPF_MAP_TYPE_HASH_OF_MAPS};
	struct map_def inner = def_of(ARRAY, 4, 8, 4, 0);
	uint32_t key = 1, fd = 5, id;
	unsigned i;

	for (i = 0; i < array_size(types); i++) {
		struct map_def def = def_of(types[i], 4, 4, 3, 0);

		fd = 5;
		def.objects = &objects;
		def.inner = &inner;
		struct map *m = made(def);
		assert_null(map_lookup(m, &key));
		assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
		assert_ptr_equal(map_lookup(m, &key), refs + 5);
		fd = 6;
		assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
		assert_int_equal(refs[5], 0);
		assert_int_equal(refs[6], 1);
		assert_int_equal(map_sys_lookup(m, &key, &id, 0), 0);
		assert_int_equal(id, 1006);
		assert_int_equal(map_sys_lookup_delete(m, &key, &id, 0), -ENOTSUPP);
		assert_int_equal(map_sys_delete(m, &key), 0);
		assert_int_equal(refs[6], 0);
		assert_int_equal(map_sys_update(m, &key, &fd, 0), 0);
		map_free(m);
		assert_int_equal(refs[6], 0);
		def.inner = &def;
		assert_int_equal(tried(def), -EINVAL);
	}
}

static void an_inner_map_has_the_templates_shape(void **state maybe_unused)
{
	struct map_def want = def_of(ARRAY, 4, 8, 4, 0), def = want;
	owned_map *m = made(def);

	assert_true(map_same_shape(m, &want));
	want.max_entries = 5;
	assert_false(map_same_shape(m, &want));
	want = def_of(ARRAY, 4, 16, 4, 0);
	assert_false(map_same_shape(m, &want));
	want = def_of(ARRAY, 4, 8, 5, BPF_F_INNER_MAP);
	assert_false(map_same_shape(m, &want));
	owned_map *any = made(def_of(ARRAY, 4, 8, 4, BPF_F_INNER_MAP));
	assert_true(map_same_shape(any, &want));
	owned_map *hash = made(def_of(BPF_MAP_TYPE_HASH, 4, 8, 4, 0));
	want = def_of(BPF_MAP_TYPE_HASH, 4, 8, 99, 0);
	assert_true(map_same_shape(hash, &want));
	want.fields.spin_lock = 0;
	assert_false(map_same_shape(hash, &want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(all_elements_exist_and_stay),
		cmocka_unit_test(values_of_odd_sizes_do_not_touch),
		cmocka_unit_test(per_cpu_values_are_apart),
		cmocka_unit_test(a_mmapable_array_is_seen_through_its_memfd),
		cmocka_unit_test(an_address_is_covered_inside_one_value),
		cmocka_unit_test(a_frozen_map_takes_no_system_calls),
		cmocka_unit_test(batches_go_on_where_they_ended),
		cmocka_unit_test(objects_are_held_while_in_the_map),
		cmocka_unit_test(maps_of_maps_show_ids_and_give_objects),
		cmocka_unit_test(an_inner_map_has_the_templates_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
