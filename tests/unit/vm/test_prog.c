// SPDX-License-Identifier: Apache-2.0
/* Programs: what is refused and why, what ends a run, what runs say and show. */
#include "vm/engine.h"

static char said[4096];

static void hear(void *arg maybe_unused, const char *line, size_t len)
{
	size_t n = strlen(said);

	if (n + len < sizeof(said))
		memcpy(said + n, line, len);
	said[n + len] = 0;
}

static const struct vm_hooks hooks = {.trace = hear};

static struct skep_engine *careful(void)
{
	const struct skep_engine_options o = {.interpret = true};
	struct skep_engine *e;

	assert_int_equal(skep_engine_open(&e, &o), 0);
	vm_set_hooks(e, &hooks);
	said[0] = 0;
	return e;
}

static long run(struct skep_engine *e, int fd, uint32_t *retval)
{
	static uint8_t packet[64];
	union bpf_attr a;
	long rc;

	zeroed(a);
	a.test.prog_fd = (uint32_t)fd;
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = sizeof(packet);
	rc = skep_bpf(e, BPF_PROG_TEST_RUN, &a, sizeof(a));
	*retval = a.test.retval;
	return rc;
}

static void refused(uint32_t type, const struct bpf_insn *insns, unsigned n, const char *why)
{
	struct skep_engine *e = careful();
	char log[1024] = "";

	assert_true(prog_log(e, type, insns, n, log, sizeof(log)) < 0);
	assert_non_null(strstr(log, why));
	skep_engine_free(e);
}

#define REFUSED(type, why, ...)                               \
	refused(type, (const struct bpf_insn[]){__VA_ARGS__}, \
		sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn), why)

static void a_refusal_says_why(void **state maybe_unused)
{
	REFUSED(BPF_PROG_TYPE_XDP, "invalid func unknown#100000", CALL(100000), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "unknown func bpf_skb_load_bytes#26",
		CALL(BPF_FUNC_skb_load_bytes), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "unknown func bpf_override_return#58",
		CALL(BPF_FUNC_override_return), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "invalid func unknown#2003000000", CALL(2003000000), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "kernel function btf_id 7",
		INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, 7), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "variable btf_id 9",
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_BTF_ID, 0, 9), INSN(0, 0, 0, 0, 0),
		MOV(0, 0), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "fd 77 is not pointing to valid bpf_map", MAP_FD(1, 77),
		MOV(0, 0), EXIT());
	REFUSED(BPF_PROG_TYPE_TRACING, "must provide btf_id", MOV(0, 0), EXIT());
	REFUSED(BPF_PROG_TYPE_XDP, "insn 0", INSN(0xff, 0, 0, 0, 0), EXIT());
}

static void what_is_not_the_programs_ends_its_run(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	uint32_t retval;
	int fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(1, 4096), LDX(BPF_DW, 0, 1, 0), EXIT());

	assert_int_equal(run(e, fd, &retval), -EFAULT);
	assert_non_null(strstr(said, "insn 1"));
	close(fd);
	skep_engine_free(e);
}

static void a_helper_takes_nothing_that_is_not_the_programs(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int map = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), fd;
	uint32_t retval;

	fd = prog_new(e, BPF_PROG_TYPE_XDP, MAP_FD(1, map), MOV(2, 64),
		      CALL(BPF_FUNC_map_lookup_elem), MOV(0, 1), EXIT());
	assert_int_equal(run(e, fd, &retval), -EFAULT);
	assert_non_null(strstr(said, "bpf_map_lookup_elem: argument 2"));
	close(fd);
	fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(1, 64), MOVR(2, 10), ADD(2, -4),
		      CALL(BPF_FUNC_map_lookup_elem), MOV(0, 1), EXIT());
	assert_int_equal(run(e, fd, &retval), -EFAULT);
	assert_non_null(strstr(said, "bpf_map_lookup_elem: argument 1"));
	close(fd);
	fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(1, 64), MOV(2, 0), CALL(BPF_FUNC_ringbuf_submit),
		      MOV(0, 1), EXIT());
	assert_int_equal(run(e, fd, &retval), -EFAULT);
	close(fd);
	close(map);
	skep_engine_free(e);
}

static void a_map_of_read_only_values_is_not_written(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int map = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY_PROG), fd;
	uint32_t retval;

	fd = prog_new(e, BPF_PROG_TYPE_XDP,
		      INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		      INSN(0, 0, 0, 0, 0), ST(BPF_DW, 1, 0, 5), MOV(0, 1), EXIT());
	assert_int_equal(run(e, fd, &retval), -EFAULT);
	close(fd);
	close(map);
	skep_engine_free(e);
}

static void a_tail_call_continues_in_the_other_program(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int array = map_new(e, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0), to, from;
	uint32_t key = 1, retval = 0;

	to = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 42), EXIT());
	from = prog_new(e, BPF_PROG_TYPE_XDP, MAP_FD(2, array), MOV(3, 1), CALL(BPF_FUNC_tail_call),
			MOV(0, 7), EXIT());
	assert_int_equal(run(e, from, &retval), 0);
	assert_int_equal(retval, 7);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &to, 0), 0);
	assert_int_equal(run(e, from, &retval), 0);
	assert_int_equal(retval, 42);
	close(to);
	close(from);
	close(array);
	skep_engine_free(e);
}

static void runs_are_counted_while_somebody_wants_it(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 1), EXIT()), stats;
	struct bpf_prog_info info;
	union bpf_attr a;
	uint32_t retval;

	run(e, fd, &retval);
	zeroed(a);
	stats = (int)skep_bpf(e, BPF_ENABLE_STATS, &a, sizeof(a));
	assert_true(stats >= 0);
	run(e, fd, &retval);
	run(e, fd, &retval);
	close(stats);
	vm_sweep(e);
	run(e, fd, &retval);
	zeroed(a);
	zeroed(info);
	a.info.bpf_fd = (uint32_t)fd;
	a.info.info_len = sizeof(info);
	a.info.info = (uintptr_t)&info;
	assert_int_equal(skep_bpf(e, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)), 0);
	assert_int_equal(info.run_cnt, 2);
	assert_int_equal(info.type, BPF_PROG_TYPE_XDP);
	assert_int_equal(info.gpl_compatible, 1);
	close(fd);
	skep_engine_free(e);
}

/* SHA-1 of the 16 bytes of "r0 = 0; exit", as every kernel before 6.18 shows it. */
static void a_tag_is_a_digest_of_the_instructions(void **state maybe_unused)
{
	static const uint8_t want[] = {0xa0, 0x4f, 0x5e, 0xef, 0x06, 0xa7, 0xf5, 0x55};
	struct skep_engine *e = careful();
	int fd = prog_new(e, BPF_PROG_TYPE_SOCKET_FILTER, MOV(0, 0), EXIT());
	struct bpf_prog_info info;
	union bpf_attr a;

	zeroed(a);
	zeroed(info);
	a.info.bpf_fd = (uint32_t)fd;
	a.info.info_len = sizeof(info);
	a.info.info = (uintptr_t)&info;
	assert_int_equal(skep_bpf(e, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)), 0);
	assert_memory_equal(info.tag, want, sizeof(want));
	close(fd);
	skep_engine_free(e);
}

static void a_link_holds_its_program_and_its_place(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 1), EXIT()), link;
	struct bpf_link_info info;
	union bpf_attr a;

	zeroed(a);
	a.link_create.prog_fd = (uint32_t)fd;
	a.link_create.target_ifindex = 1;
	a.link_create.attach_type = BPF_XDP;
	link = (int)skep_bpf(e, BPF_LINK_CREATE, &a, sizeof(a));
	assert_true(link >= 0);
	assert_int_equal(skep_bpf(e, BPF_LINK_CREATE, &a, sizeof(a)), -EBUSY);
	close(fd);
	assert_int_equal(next_id(e, BPF_PROG_GET_NEXT_ID, 0), 1);
	zeroed(a);
	zeroed(info);
	a.info.bpf_fd = (uint32_t)link;
	a.info.info_len = sizeof(info);
	a.info.info = (uintptr_t)&info;
	assert_int_equal(skep_bpf(e, BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)), 0);
	assert_int_equal(info.type, BPF_LINK_TYPE_XDP);
	assert_int_equal(info.xdp.ifindex, 1);
	assert_int_equal(info.prog_id, 1);
	close(link);
	assert_int_equal(next_id(e, BPF_LINK_GET_NEXT_ID, 0), -ENOENT);
	assert_int_equal(next_id(e, BPF_PROG_GET_NEXT_ID, 0), -ENOENT);
	skep_engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_says_why),
		cmocka_unit_test(what_is_not_the_programs_ends_its_run),
		cmocka_unit_test(a_helper_takes_nothing_that_is_not_the_programs),
		cmocka_unit_test(a_map_of_read_only_values_is_not_written),
		cmocka_unit_test(a_tail_call_continues_in_the_other_program),
		cmocka_unit_test(runs_are_counted_while_somebody_wants_it),
		cmocka_unit_test(a_tag_is_a_digest_of_the_instructions),
		cmocka_unit_test(a_link_holds_its_program_and_its_place),
	};

	return cmocka_run_group_tests_name("vm: programs", tests, NULL, NULL);
}
