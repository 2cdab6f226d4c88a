// SPDX-License-Identifier: Apache-2.0
/* Maps of targets, stack traces, storage. */
#include "maps.h"

#define DEVMAP	    BPF_MAP_TYPE_DEVMAP
#define DEVMAP_HASH BPF_MAP_TYPE_DEVMAP_HASH
#define CPUMAP	    BPF_MAP_TYPE_CPUMAP
#define XSKMAP	    BPF_MAP_TYPE_XSKMAP
#define STACKS	    BPF_MAP_TYPE_STACK_TRACE
#define TASKS	    BPF_MAP_TYPE_TASK_STORAGE
#define CGROUPS	    BPF_MAP_TYPE_CGROUP_STORAGE

static int refs[100];

static void *get_object(void *arg maybe_unused, struct map *map maybe_unused, int fd, int *rc)
{
	*rc = fd < 1 || fd >= 100 ? -EBADF : 0;
	if (*rc)
		return NULL;
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

static struct map *made_with_objects(struct map_def def)
{
	def.objects = &objects;
	return made(def);
}

static int set(struct map *m, uint32_t key, uint32_t number, int fd, uint64_t flags)
{
	uint32_t v[2] = {number, (uint32_t)fd};

	return map_sys_update(m, &key, v, flags);
}

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	assert_int_equal(tried(def_of(DEVMAP, 8, 4, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(DEVMAP, 4, 6, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(DEVMAP, 4, 8, 4, BPF_F_RDONLY_PROG)), -EINVAL);
	assert_int_equal(tried(def_of(DEVMAP_HASH, 4, 8, (1U << 31) + 1, 0)), -EINVAL);
	assert_int_equal(tried(def_of(CPUMAP, 4, 8, 4, BPF_F_RDONLY)), -EINVAL);
	assert_int_equal(tried(def_of(CPUMAP, 4, 8, 1000, 0)), -E2BIG);
	assert_int_equal(tried(def_of(XSKMAP, 4, 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(XSKMAP, 4, 4, 4, BPF_F_RDONLY)), 0);
	assert_int_equal(tried(def_of(STACKS, 4, 12, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(STACKS, 4, 127 * 8, 4, 0)), 0);
	assert_int_equal(tried(def_of(STACKS, 4, 128 * 8, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(TASKS, 4, 8, 4, BPF_F_NO_PREALLOC)), -EINVAL);
	assert_int_equal(tried(def_of(TASKS, 4, 8, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(TASKS, 4, 1 << 16, 0, BPF_F_NO_PREALLOC)), -E2BIG);
	assert_int_equal(tried(def_of(CGROUPS, 12, 8, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(CGROUPS, 16, 8, 1, 0)), -EINVAL);
}

static void a_device_is_a_number_and_perhaps_a_program(void **state maybe_unused)
{
	struct map *m = made_with_objects(def_of(DEVMAP, 4, 8, 4, 0));
	uint32_t key = 1, v[2];

	assert_true(m->def.flags & BPF_F_RDONLY_PROG);
	assert_null(map_lookup(m, &key));
	assert_int_equal(set(m, 4, 1, 0, 0), -E2BIG);
	assert_int_equal(set(m, 1, 1, 0, BPF_NOEXIST), -EEXIST);
	assert_int_equal(set(m, 1, 1, 0, 3), -EINVAL);
	assert_int_equal(set(m, 1, 0, 5, 0), -EINVAL);
	assert_int_equal(set(m, 1, 1, 200, 0), -EINVAL);
	assert_int_equal(set(m, 1, 7, 5, 0), 0);
	assert_int_equal(map_sys_lookup(m, &key, v, 0), 0);
	assert_int_equal(v[0], 7);
	assert_int_equal(v[1], 1005);
	assert_int_equal(*(uint32_t *)map_lookup(m, &key), 7);
	assert_int_equal(set(m, 1, 8, 0, BPF_EXIST), 0);
	assert_int_equal(refs[5], 0);
	assert_int_equal(set(m, 1, 0, 0, 0), 0);
	assert_int_equal(map_sys_lookup(m, &key, v, 0), -ENOENT);
	assert_int_equal(map_sys_delete(m, &key), 0);
	key = 4;
	assert_int_equal(map_sys_delete(m, &key), -EINVAL);
	assert_int_equal(set(m, 2, 7, 6, 0), 0);
	map_free(m);
	assert_int_equal(refs[6], 0);
}

static void devices_may_have_any_key(void **state maybe_unused)
{
	struct map *m = made_with_objects(def_of(DEVMAP_HASH, 4, 8, 2, 0));
	uint32_t key = 1000, v[2];

	assert_int_equal(set(m, 1000, 0, 0, 0), -EINVAL);
	assert_int_equal(set(m, 1000, 7, 5, BPF_EXIST), 0);
	assert_int_equal(set(m, 1000, 7, 6, BPF_NOEXIST), -EEXIST);
	assert_int_equal(map_sys_lookup(m, &key, v, 0), 0);
	assert_int_equal(v[1], 1005);
	assert_int_equal(set(m, 1000, 8, 6, 0), 0);
	assert_int_equal(refs[5], 0);
	assert_int_equal(set(m, 2000, 8, 6, 0), 0);
	assert_int_equal(set(m, 3000, 8, 6, 0), -E2BIG);
	assert_int_equal(refs[6], 2);
	assert_int_equal(map_sys_delete(m, &key), 0);
	assert_int_equal(map_sys_delete(m, &key), -ENOENT);
	assert_int_equal(map_sys_next_key(m, NULL, &key), 0);
	assert_int_equal(key, 2000);
	map_free(m);
	assert_int_equal(refs[6], 0);
}

static void a_cpu_is_a_queue(void **state maybe_unused)
{
	owned_map *m = made_with_objects(def_of(CPUMAP, 4, 8, 4, 0));
	uint32_t key = 1, v[2];

	assert_int_equal(set(m, 1, 16385, 0, 0), -EOVERFLOW);
	assert_int_equal(set(m, 2, 100, 0, 0), -ENODEV);
	assert_int_equal(set(m, 4, 100, 0, 0), -E2BIG);
	assert_int_equal(set(m, 1, 100, 200, 0), -ENOMEM);
	assert_int_equal(set(m, 1, 100, 0, 0), 0);
	assert_int_equal(map_sys_lookup(m, &key, v, 0), 0);
	assert_int_equal(v[0], 100);
	assert_int_equal(set(m, 1, 0, 0, 0), 0);
	assert_null(map_lookup(m, &key));
}

static void sockets_are_objects(void **state maybe_unused)
{
	struct map *m = made_with_objects(def_of(XSKMAP, 4, 4, 4, 0));
	uint32_t key = 1, v;
	int fd = 5;

	assert_int_equal(map_sys_update(m, &key, &fd, BPF_EXIST), -ENOENT);
	assert_int_equal(map_sys_update(m, &key, &fd, BPF_NOEXIST), 0);
	assert_int_equal(map_sys_update(m, &key, &fd, BPF_ANY), 0);
	assert_int_equal(refs[5], 1);
	assert_int_equal(map_sys_update(m, &key, &fd, BPF_NOEXIST), -EEXIST);
	assert_int_equal(refs[5], 1);
	assert_ptr_equal(map_lookup(m, &key), refs + 5);
	assert_int_equal(map_sys_lookup(m, &key, &v, 0), -EOPNOTSUPP);
	map_free(m);
	assert_int_equal(refs[5], 0);
}

static void there_are_no_stack_traces(void **state maybe_unused)
{
	owned_map *m = made(def_of(STACKS, 4, 8, 5, 0));
	uint32_t key = 7;
	uint64_t v;

	assert_int_equal(map_sys_lookup(m, &key, &v, 0), -ENOENT);
	assert_int_equal(map_sys_update(m, &key, &v, 0), -EINVAL);
	assert_int_equal(map_sys_delete(m, &key), -ENOENT);
	assert_int_equal(map_sys_lookup_delete(m, &key, &v, 0), -ENOENT);
	assert_int_equal(map_sys_next_key(m, NULL, &key), -ENOENT);
	key = 8;
	assert_int_equal(map_sys_delete(m, &key), -E2BIG);
}

static void storage_is_keyed_by_object(void **state maybe_unused)
{
	owned_map *m = made_with_objects(def_of(TASKS, 4, 8, 0, BPF_F_NO_PREALLOC));
	void *object = refs + 5;
	uint64_t v = 9;
	int fd = 5;

	assert_int_equal(map_sys_lookup(m, &fd, &v, 0), -ENOENT);
	assert_int_equal(map_sys_update(m, &fd, &v, BPF_EXIST), -ENOENT);
	assert_int_equal(map_sys_update(m, &fd, &v, BPF_NOEXIST), 0);
	assert_int_equal(*(uint64_t *)map_lookup(m, &object), 9);
	*(uint64_t *)map_lookup(m, &object) = 10;
	assert_int_equal(map_sys_lookup(m, &fd, &v, 0), 0);
	assert_int_equal(v, 10);
	assert_int_equal(map_sys_next_key(m, NULL, &fd), -ENOTSUPP);
	assert_int_equal(map_sys_delete(m, &fd), 0);
	assert_int_equal(map_sys_delete(m, &fd), -ENOENT);
	assert_int_equal(refs[5], 0);
	fd = 200;
	assert_int_equal(map_sys_lookup(m, &fd, &v, 0), -EBADF);
}

static void callers_change_cgroup_storage_but_do_not_make_it(void **state maybe_unused)
{
	owned_map *m = made(def_of(CGROUPS, 8, 8, 0, 0));
	uint64_t key = 5, v = 9;

	assert_int_equal(map_sys_update(m, &key, &v, 0), -ENOENT);
	assert_int_equal(map_update(m, &key, &v, BPF_NOEXIST), 0);
	v = 11;
	assert_int_equal(map_sys_update(m, &key, &v, BPF_NOEXIST), -EINVAL);
	assert_int_equal(map_sys_update(m, &key, &v, 0), 0);
	assert_int_equal(*(uint64_t *)map_lookup(m, &key), 11);
	assert_int_equal(map_sys_delete(m, &key), -EINVAL);
	assert_int_equal(map_sys_next_key(m, NULL, &key), 0);
	assert_int_equal(map_sys_next_key(m, &key, &v), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(a_device_is_a_number_and_perhaps_a_program),
		cmocka_unit_test(devices_may_have_any_key),
		cmocka_unit_test(a_cpu_is_a_queue),
		cmocka_unit_test(sockets_are_objects),
		cmocka_unit_test(there_are_no_stack_traces),
		cmocka_unit_test(storage_is_keyed_by_object),
		cmocka_unit_test(callers_change_cgroup_storage_but_do_not_make_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
