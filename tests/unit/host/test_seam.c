// SPDX-License-Identifier: Apache-2.0
/* libbpf, unchanged, on the engine of this thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>

#include "base/base.h"
#include "host/seam.h"

static struct skep_engine *engine;

static int setup(void **state)
{
	(void)state;
	if (skep_engine_open(&engine, NULL))
		return -1;
	host_use(engine);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_use(NULL);
	skep_engine_free(engine);
	return 0;
}

static int array(const char *name)
{
	return bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, 8, 4, NULL);
}

static uint32_t id_of(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void the_engine_answers_where_it_was_chosen(void **state)
{
	uint32_t key = 1, next;
	uint64_t value = 77, got = 0;
	int fd = array("mine");

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(id_of(fd), 1); /* a new engine */
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &got), 0);
	assert_int_equal(got, 77);
	assert_int_equal(bpf_map_get_next_id(0, &next), 0);
	assert_int_equal(next, 1);
	assert_int_equal(bpf_map_get_next_id(1, &next), -ENOENT);
	close(fd);
}

static void the_kernel_does_not_know_its_descriptors(void **state)
{
	uint32_t key = 0;
	uint64_t value;
	int fd = array("mine");

	(void)state;
	assert_ptr_equal(host_use(NULL), engine);
	assert_null(host_used());
	assert_true(bpf_map_lookup_elem(fd, &key, &value) < 0);
	assert_null(host_use(engine));
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &value), 0);
	close(fd);
}

static void *ask_used(void *arg)
{
	(void)arg;
	return host_used();
}

static void another_thread_asks_the_kernel(void **state)
{
	pthread_t other;
	void *used;

	(void)state;
	assert_int_equal(pthread_create(&other, NULL, ask_used, NULL), 0);
	assert_int_equal(pthread_join(other, &used), 0);
	assert_null(used);
}

static int on_record(void *arg, void *data, size_t size)
{
	assert_int_equal(size, 8);
	*(uint64_t *)arg += *(uint64_t *)data;
	return 0;
}

/* Stores 5 on the stack and gives it to @helper; @insns ends before what differs. */
static int load_output(int map, int helper)
{
	bool perf = helper == BPF_FUNC_perf_event_output;
	const struct bpf_insn ring[] =
		{
			{BPF_ST | BPF_DW | BPF_MEM, 10, 0, -8, 5},
			{BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map},
			{0},
			{BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0},
			{BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8},
			{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 8},
			{BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0},
			{BPF_JMP | BPF_CALL, 0, 0, 0, helper},
			{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
		},
			      event[] = {
				      {BPF_ST | BPF_DW | BPF_MEM, 10, 0, -8, 5},
				      {BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD, 0, map},
				      {0},
				      {BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0},
				      {BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0},
				      {BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -8},
				      {BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, 8},
				      {BPF_JMP | BPF_CALL, 0, 0, 0, helper},
				      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
			      };

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "output", "GPL", perf ? event : ring,
			     array_size(ring), NULL);
}

static void run(int prog)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));

	assert_int_equal(bpf_prog_test_run_opts(prog, &opts), 0);
	assert_int_equal(opts.retval, 0);
}

static void a_ring_wakes_who_polls_it_and_only_then(void **state)
{
	int map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 4096, NULL);
	int prog = load_output(map, BPF_FUNC_ringbuf_output);
	uint64_t sum = 0;
	struct ring_buffer *rb = ring_buffer__new(map, on_record, &sum, NULL);

	(void)state;
	assert_non_null(rb);
	assert_int_equal(ring_buffer__poll(rb, 0), 0);
	run(prog);
	assert_int_equal(ring_buffer__poll(rb, 1000), 1);
	assert_int_equal(sum, 5);
	assert_int_equal(ring_buffer__poll(rb, 0), 0);
	run(prog);
	run(prog);
	assert_int_equal(ring_buffer__poll(rb, 1000), 2);
	assert_int_equal(sum, 15);
	ring_buffer__free(rb);
	close(prog);
	close(map);
}

static void on_sample(void *arg, int cpu, void *data, uint32_t size)
{
	uint64_t n;

	(void)cpu;
	assert_true(size >= 8);
	memcpy(&n, data, sizeof(n)); /* samples are aligned to 4 */
	*(uint64_t *)arg += n;
}

static void a_perf_buffer_is_mapped_polled_and_written(void **state)
{
	int map = bpf_map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf", 4, 4, 1, NULL);
	int prog = load_output(map, BPF_FUNC_perf_event_output), i;
	uint64_t sum = 0;
	struct perf_buffer *pb = perf_buffer__new(map, 1, on_sample, NULL, &sum, NULL);

	(void)state;
	assert_non_null(pb);
	for (i = 0; i < 1000; i++) { /* several times around */
		run(prog);
		assert_true(perf_buffer__poll(pb, 1000) >= 0);
	}
	assert_int_equal(sum, 5000);
	perf_buffer__free(pb);
	close(prog);
	close(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_engine_answers_where_it_was_chosen, setup,
						teardown),
		cmocka_unit_test_setup_teardown(the_kernel_does_not_know_its_descriptors, setup,
						teardown),
		cmocka_unit_test_setup_teardown(another_thread_asks_the_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_wakes_who_polls_it_and_only_then, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_perf_buffer_is_mapped_polled_and_written, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
