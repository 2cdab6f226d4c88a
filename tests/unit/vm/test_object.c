// SPDX-License-Identifier: Apache-2.0
#include "vm/engine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

static void a_map_takes_what_it_gives(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	uint32_t key = 7;
	uint64_t v = 42, got = 0;

	assert_true(fd >= 0);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, fd, &key, &got, 0), -ENOENT);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, fd, &key, &v, 0), 0);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, fd, &key, &got, 0), 0);
	assert_int_equal(got, 42);
	assert_int_equal(elem(e, BPF_MAP_DELETE_ELEM, fd, &key, NULL, 0), 0);
	assert_int_equal(elem(e, BPF_MAP_DELETE_ELEM, fd, &key, NULL, 0), -ENOENT);
	close(fd);
	skep_engine_free(e);
}

static void an_object_goes_with_its_last_descriptor(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), copy;

	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
	copy = dup(fd);
	close(fd);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
	close(copy);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

static void a_child_of_fork_holds_it_too(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), gate[2];
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	pid = fork();
	if (!pid) {
		char c;

		close(gate[1]);
		_exit(read(gate[0], &c, 1) != 0);
	}
	close(fd);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
	close(gate[0]);
	close(gate[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

/* A child's addresses are the child's, though the parent used the engine before. */
static void a_child_of_fork_reads_its_own_memory(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_HASH, 4, 8, 4, 0), status;
	uint64_t value = 1, got = 0;
	uint32_t key = 1;
	pid_t pid;

	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, fd, &key, &value, 0), 0);
	pid = fork();
	if (!pid) {
		value = 2;
		if (elem(e, BPF_MAP_UPDATE_ELEM, fd, &key, &value, 0) ||
		    elem(e, BPF_MAP_LOOKUP_ELEM, fd, &key, &got, 0))
			_exit(1);
		_exit(got == 2 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(got, 0);
	close(fd);
	skep_engine_free(e);
}

static void a_mapping_holds_what_no_descriptor_does(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_RINGBUF};
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct skep_engine *e = engine();
		bool array = types[i] == BPF_MAP_TYPE_ARRAY;
		int fd = map_new(e, types[i], array ? 4 : 0, array ? 4096 : 0, array ? 1 : 4096,
				 array ? BPF_F_MMAPABLE : 0);
		void *at;

		assert_true(fd >= 0);
		at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		assert_ptr_not_equal(at, MAP_FAILED);
		close(fd);
		assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
		munmap(at, 4096);
		assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
		skep_engine_free(e);
	}
}

/* Who could shorten a file that the engine has mapped would end it. */
static void a_file_keeps_its_size_and_has_the_kernels_name(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fds[4], i;
	char link[64], path[64];
	ssize_t n;

	fds[0] = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 4096, 1, BPF_F_MMAPABLE);
	fds[1] = map_new(e, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	fds[2] = map_new(e, BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	fds[3] = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 2), EXIT());
	for (i = 0; i < 4; i++) {
		assert_true(fds[i] >= 0);
		assert_int_equal(ftruncate(fds[i], 1 << 20), -1);
		assert_int_equal(errno, EPERM);
		if (i < 2)
			assert_int_equal(ftruncate(fds[i], 0), -1);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		n = readlink(path, link, sizeof(link) - 1);
		assert_true(n > 0);
		link[n] = 0;
		assert_non_null(strstr(link, i < 3 ? "bpf-map" : "bpf-prog"));
		close(fds[i]);
	}
	skep_engine_free(e);
}

static void ids_are_not_used_twice(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);

	close(fd);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 2);
	close(fd);
	skep_engine_free(e);
}

static void a_descriptor_says_what_its_holder_may(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int ro = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY);
	int wo = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_WRONLY);
	uint32_t key = 0;
	uint64_t v = 1;

	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, ro, &key, &v, 0), -EPERM);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, ro, &key, &v, 0), 0);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, wo, &key, &v, 0), 0);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, wo, &key, &v, 0), -EPERM);
	close(ro);
	close(wo);
	skep_engine_free(e);
}

static void a_pin_holds_and_gives_back(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	union bpf_attr a;

	zeroed(a);
	a.pathname = (uintptr_t) "/sys/fs/bpf/m";
	a.bpf_fd = (uint32_t)fd;
	assert_int_equal(skep_bpf(e, BPF_OBJ_PIN, &a, sizeof(a)), 0);
	assert_int_equal(skep_bpf(e, BPF_OBJ_PIN, &a, sizeof(a)), -EEXIST);
	close(fd);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
	a.bpf_fd = 0;
	fd = (int)skep_bpf(e, BPF_OBJ_GET, &a, sizeof(a));
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vm_unpin(e, "/sys/fs/bpf/m"), 0);
	assert_int_equal(vm_unpin(e, "/sys/fs/bpf/m"), -ENOENT);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

static void inner_maps_and_programs_are_held_by_their_slots(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int inner = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), outer;
	uint32_t key = 0, id = 0;
	union bpf_attr a;

	zeroed(a);
	a.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
	a.key_size = a.value_size = 4;
	a.max_entries = 2;
	a.inner_map_fd = (uint32_t)inner;
	outer = (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(outer >= 0);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, outer, &key, &inner, 0), 0);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, outer, &key, &id, 0), 0);
	assert_int_equal(id, 1);
	close(inner);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), 1);
	close(outer);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

static void a_program_that_holds_itself_through_an_array_goes(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int array = map_new(e, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0), p;
	uint32_t key = 0;

	p = prog_new(e, BPF_PROG_TYPE_XDP, MAP_FD(2, array), MOV(3, 0), CALL(BPF_FUNC_tail_call),
		     MOV(0, 2), EXIT());
	assert_true(p >= 0);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &p, 0), 0);
	close(p);
	assert_int_equal(next_id(e, BPF_PROG_GET_NEXT_ID, 0), 1);
	close(array);
	assert_int_equal(next_id(e, BPF_PROG_GET_NEXT_ID, 0), -ENOENT);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

static void a_wrong_address_is_an_error_and_no_crash(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int fd = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	uint32_t key = 0;

	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, fd, (void *)8, NULL, 0), -EFAULT);
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, fd, &key, (void *)8, 0), -EFAULT);
	assert_int_equal(skep_bpf(e, BPF_MAP_CREATE, (void *)8, 64), -EFAULT);
	close(fd);
	skep_engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_map_takes_what_it_gives),
		cmocka_unit_test(an_object_goes_with_its_last_descriptor),
		cmocka_unit_test(a_child_of_fork_holds_it_too),
		cmocka_unit_test(a_child_of_fork_reads_its_own_memory),
		cmocka_unit_test(a_mapping_holds_what_no_descriptor_does),
		cmocka_unit_test(a_file_keeps_its_size_and_has_the_kernels_name),
		cmocka_unit_test(ids_are_not_used_twice),
		cmocka_unit_test(a_descriptor_says_what_its_holder_may),
		cmocka_unit_test(a_pin_holds_and_gives_back),
		cmocka_unit_test(inner_maps_and_programs_are_held_by_their_slots),
		cmocka_unit_test(a_program_that_holds_itself_through_an_array_goes),
		cmocka_unit_test(a_wrong_address_is_an_error_and_no_crash),
	};

	return cmocka_run_group_tests_name("vm: objects", tests, NULL, NULL);
}
