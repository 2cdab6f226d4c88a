// SPDX-License-Identifier: Apache-2.0
/* Programs: what is refused and why, what ends a run, what runs say and show. */
#include "vm/engine.h"

#include <fcntl.h>
#include <linux/btf.h>
#include <sys/mman.h>
#include <sys/pidfd.h>

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

/* Types: int, struct bpf_spin_lock { int val; }, struct { int a; struct bpf_spin_lock lock; } */
static int lock_types(struct skep_engine *e)
{
	static const char names[] = "\0int\0bpf_spin_lock\0val\0v\0a\0lock";
	static const uint32_t types[] = {1,  1 << 24, 4,  1 << 24 | 32, 5, 4 << 24 | 1, 4, 19,
					 1,  0,	      23, 4 << 24 | 2,	8, 25,		1, 0,
					 27, 2,	      32};
	struct {
		struct btf_header h;
		uint32_t types[sizeof(types) / 4];
		char names[sizeof(names)];
	} btf = {.h = {.magic = BTF_MAGIC,
		       .version = BTF_VERSION,
		       .hdr_len = sizeof(btf.h),
		       .type_len = sizeof(types),
		       .str_off = sizeof(types),
		       .str_len = sizeof(names)}};
	union bpf_attr a;

	memcpy(btf.types, types, sizeof(types));
	memcpy(btf.names, names, sizeof(names));
	zeroed(a);
	a.btf = (uintptr_t)&btf;
	a.btf_size = offsetof(__typeof__(btf), names) + sizeof(names);
	return (int)skep_bpf(e, BPF_BTF_LOAD, &a, sizeof(a));
}

static int lock_map(struct skep_engine *e)
{
	int btf = lock_types(e), fd;
	union bpf_attr a;

	assert_true(btf >= 0);
	zeroed(a);
	a.map_type = BPF_MAP_TYPE_ARRAY;
	a.key_size = 4;
	a.value_size = 8;
	a.max_entries = 1;
	a.btf_fd = (uint32_t)btf;
	a.btf_key_type_id = 1;
	a.btf_value_type_id = 3;
	fd = (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(fd >= 0);
	close(btf);
	return fd;
}

#define VALUE(d, map, off) \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_VALUE, 0, map), INSN(0, 0, 0, 0, off)

#define ENDS(rc, why, ...)                                             \
	{                                                              \
		fd = prog_new(e, BPF_PROG_TYPE_XDP, __VA_ARGS__);      \
		said[0] = 0;                                           \
		assert_int_equal(run(e, fd, &retval), rc);             \
		assert_true(!*(why) == !*said && !!strstr(said, why)); \
		close(fd);                                             \
	}

static void a_lock_is_given_back_whatever_happens(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int map = lock_map(e), fd;
	uint64_t value = 0;
	uint32_t retval, key = 0;

	ENDS(-EDEADLK, "bpf_spin_lock while", VALUE(6, map, 4), MOVR(1, 6), CALL(93), MOVR(1, 6),
	     CALL(93), MOV(0, 0), EXIT());
	ENDS(-EDEADLK, "bpf_ktime_get_ns while", VALUE(1, map, 4), CALL(93), CALL(5), EXIT());
	ENDS(-EDEADLK, "held", VALUE(1, map, 4), CALL(93), MOV(0, 0), EXIT());
	ENDS(-EFAULT, "insn 4", VALUE(1, map, 4), CALL(93), MOV(1, 0), LDX(BPF_DW, 0, 1, 0),
	     EXIT());
	ENDS(-EINVAL, "not held", VALUE(1, map, 4), CALL(94), MOV(0, 0), EXIT());
	ENDS(-EFAULT, "insn 2", VALUE(1, map, 0), ST(BPF_DW, 1, 0, -1), MOV(0, 0), EXIT());
	ENDS(-EFAULT, "argument 1", ST(BPF_W, 10, -4, 1), MOVR(1, 10), ADD(1, -4), CALL(93),
	     MOV(0, 0), EXIT());
	ENDS(0, "", VALUE(6, map, 4), MOVR(1, 6), CALL(93), ST(BPF_W, 6, -4, 7), MOVR(1, 6),
	     CALL(94), MOV(0, 0), EXIT());
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, map, &key, &value, BPF_F_LOCK), 0);
	assert_int_equal(value, 7);
	close(map);
	skep_engine_free(e);
}

static void records_of_a_run_that_ends_badly_are_discarded(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int ring = map_new(e, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), fd;
	uint32_t retval, *data;
	unsigned i;

	ENDS(-EBUSY, "record", MAP_FD(1, ring), MOV(2, 8), MOV(3, 0),
	     CALL(BPF_FUNC_ringbuf_reserve), MOV(0, 0), EXIT());
	ENDS(-EFAULT, "insn 6", MAP_FD(1, ring), MOV(2, 8), MOV(3, 0),
	     CALL(BPF_FUNC_ringbuf_reserve), MOV(1, 0), LDX(BPF_DW, 0, 1, 0), EXIT());
	ENDS(-EBUSY, "record", MAP_FD(1, ring), MOV(2, 8), MOV(3, 0), MOVR(4, 10), ADD(4, -16),
	     CALL(BPF_FUNC_ringbuf_reserve_dynptr), MOV(0, 0), EXIT());
	data = mmap(NULL, 4096, PROT_READ, MAP_SHARED, ring, 2 * 4096);
	assert_ptr_not_equal(data, MAP_FAILED);
	for (i = 0; i < 3; i++)
		assert_int_equal(data[i * 4], 8 | BPF_RINGBUF_DISCARD_BIT);
	munmap(data, 4096);
	close(ring);
	skep_engine_free(e);
}

/* Types: int, struct bpf_timer of 16 bytes, struct { struct bpf_timer t; int a } of 24 */
static int timer_map(struct skep_engine *e, uint32_t type)
{
	static const char names[] = "\0int\0bpf_timer\0v\0t\0a";
	static const uint32_t types[] = {1,  1 << 24, 4,	   1 << 24 | 32, 5,  4 << 24,
					 16, 15,      4 << 24 | 2, 24,		 17, 2,
					 0,  19,      1,	   128};
	struct {
		struct btf_header h;
		uint32_t types[sizeof(types) / 4];
		char names[sizeof(names)];
	} btf = {.h = {.magic = BTF_MAGIC,
		       .version = BTF_VERSION,
		       .hdr_len = sizeof(btf.h),
		       .type_len = sizeof(types),
		       .str_off = sizeof(types),
		       .str_len = sizeof(names)}};
	union bpf_attr a;
	int fd;

	memcpy(btf.types, types, sizeof(types));
	memcpy(btf.names, names, sizeof(names));
	zeroed(a);
	a.btf = (uintptr_t)&btf;
	a.btf_size = offsetof(__typeof__(btf), names) + sizeof(names);
	fd = (int)skep_bpf(e, BPF_BTF_LOAD, &a, sizeof(a));
	assert_true(fd >= 0);
	zeroed(a);
	a.map_type = type;
	a.key_size = 4;
	a.value_size = 24;
	a.max_entries = 3;
	a.btf_fd = (uint32_t)fd;
	a.btf_key_type_id = 1;
	a.btf_value_type_id = 3;
	fd = (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(fd >= 0);
	close((int)a.btf_fd);
	return fd;
}

/*
 * Of value 1: init with @clock, set the callback, start in a millisecond with @flags. Returns the errors,
 * each in its byte, or what bpf_timer_cancel() says then. The callback stores its key + 100.
 */
static int timer_prog(struct skep_engine *e, int map, int clock, int flags, int cancel)
{
	const struct bpf_insn insns[] = {ST(BPF_W, 10, -4, 1),
					 MAP_FD(1, map),
					 MOVR(2, 10),
					 ADD(2, -4),
					 CALL(1),
					 JEQ(0, 0, 26),
					 MOVR(6, 0),
					 MOV(7, 0),
					 MOVR(1, 6),
					 MAP_FD(2, map),
					 MOV(3, clock),
					 CALL(BPF_FUNC_timer_init),
					 INSN(BPF_ALU64 | BPF_SUB | BPF_X, 7, 0, 0, 0),
					 MOVR(1, 6),
					 FUNC(2, 18),
					 CALL(BPF_FUNC_timer_set_callback),
					 INSN(BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 8),
					 INSN(BPF_ALU64 | BPF_SUB | BPF_X, 7, 0, 0, 0),
					 MOVR(1, 6),
					 MOV(2, 1000000),
					 MOV(3, flags),
					 CALL(BPF_FUNC_timer_start),
					 INSN(BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 8),
					 INSN(BPF_ALU64 | BPF_SUB | BPF_X, 7, 0, 0, 0),
					 MOVR(1, 6),
					 MOVR(0, 7),
					 MOV(8, cancel),
					 JEQ(8, 0, 1),
					 CALL(BPF_FUNC_timer_cancel),
					 EXIT(),
					 MOV(0, -1),
					 EXIT(),
					 /* the callback */ LDX(BPF_W, 2, 2, 0),
					 ADD(2, 100),
					 STX(BPF_W, 3, 2, 16),
					 MOV(0, 0),
					 EXIT()};
	int fd, i, n = sizeof(insns) / sizeof(insns[0]);
	char log[1024] = "";
	struct bpf_insn fixed[sizeof(insns) / sizeof(insns[0])];

	memcpy(fixed, insns, sizeof(insns));
	for (i = 0; i < n; i++) {
		if (insns[i].src_reg == BPF_PSEUDO_FUNC &&
		    insns[i].code == (BPF_LD | BPF_DW | BPF_IMM))
			fixed[i].imm = n - 5 - i - 1;
		if (insns[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && insns[i].dst_reg == 0)
			fixed[i].off = (int16_t)(n - 7 - i - 1);
	}
	fd = prog_log(e, BPF_PROG_TYPE_XDP, fixed, (unsigned)n, log, sizeof(log));
	if (fd < 0)
		print_error("%s\n", log);
	assert_true(fd >= 0);
	return fd;
}

static uint32_t stored_after(struct skep_engine *e, int map, unsigned ms)
{
	uint32_t key = 1, value[6] = {0};

	for (; ms && !value[4]; ms--) {
		usleep(1000);
		assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, map, &key, value, 0), 0);
	}
	return value[4];
}

static void timers_of(struct skep_engine *e, uint32_t type)
{
	int map = timer_map(e, type), fd;
	uint32_t key = 1, value[6] = {0}, retval;

	elem(e, BPF_MAP_UPDATE_ELEM, map, &key, value, 0);
	fd = timer_prog(e, map, 5, 0, 0); /* no such clock, so there is no timer */
	assert_int_equal(run(e, fd, &retval), 0);
	assert_int_equal(retval, EINVAL << 16 | EINVAL << 8 | EINVAL);
	close(fd);
	fd = timer_prog(e, map, 1, 4, 0); /* no such flag */
	assert_int_equal(run(e, fd, &retval), 0);
	assert_int_equal(retval, EINVAL);
	close(fd);
	fd = timer_prog(e, map, 1, 0, 1); /* is there already; cancelled before it is due */
	assert_int_equal(run(e, fd, &retval), 0);
	assert_int_equal(retval, 1);
	assert_int_equal(stored_after(e, map, 20), 0);
	close(fd);
	fd = timer_prog(e, map, 1, 0, 0);
	assert_int_equal(run(e, fd, &retval), 0);
	assert_int_equal(retval, EBUSY << 16);
	close(fd); /* the timer holds it */
	assert_int_equal(stored_after(e, map, 2000), 101);
	close(map); /* and goes with the map */
	vm_sweep(e);
	usleep(10000);
	assert_int_equal(next_id(e, BPF_MAP_GET_NEXT_ID, 0), -ENOENT);
	assert_int_equal(next_id(e, BPF_PROG_GET_NEXT_ID, 0), -ENOENT);
}

static void timers_call_back_and_go_with_their_map(void **state maybe_unused)
{
	const struct skep_engine_options unsafe = {.unsafe = true};
	struct skep_engine *e;
	unsigned i;

	for (i = 0; i < 4; i++) {
		if (i & 1)
			e = careful();
		else
			assert_int_equal(skep_engine_open(&e, &unsafe), 0);
		timers_of(e, i & 2 ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY);
		skep_engine_free(e);
	}
}

/* Counts in what is stored for the task; returns the count. */
static void a_task_keeps_what_is_stored_and_its_pidfd_finds_it(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int btf = lock_types(e), map, fd, task = pidfd_open(getpid(), 0);
	uint32_t retval = 0, value[2] = {0};
	union bpf_attr a;
	unsigned i;

	zeroed(a);
	a.map_type = BPF_MAP_TYPE_TASK_STORAGE;
	a.key_size = 4;
	a.value_size = 4;
	a.map_flags = BPF_F_NO_PREALLOC;
	a.btf_fd = (uint32_t)btf;
	a.btf_key_type_id = a.btf_value_type_id = 1;
	map = (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(map >= 0);
	fd = prog_new(e, BPF_PROG_TYPE_RAW_TRACEPOINT, CALL(BPF_FUNC_get_current_task_btf),
		      MOVR(2, 0), MAP_FD(1, map), MOV(3, 0), MOV(4, BPF_LOCAL_STORAGE_GET_F_CREATE),
		      CALL(BPF_FUNC_task_storage_get), JEQ(0, 0, 4), LDX(BPF_W, 1, 0, 0), ADD(1, 1),
		      STX(BPF_W, 0, 1, 0), MOVR(0, 1), EXIT());
	for (i = 1; i < 4; i++) {
		zeroed(a);
		a.test.prog_fd = (uint32_t)fd;
		assert_int_equal(skep_bpf(e, BPF_PROG_TEST_RUN, &a, sizeof(a)), 0);
		retval = a.test.retval;
		assert_int_equal(retval, i);
	}
	assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, map, &task, value, 0), 0);
	assert_int_equal(value[0], 3);
	close(fd);
	fd = prog_new(e, BPF_PROG_TYPE_RAW_TRACEPOINT, CALL(BPF_FUNC_get_current_task_btf),
		      MOVR(2, 0), MAP_FD(1, map), CALL(BPF_FUNC_task_storage_delete), EXIT());
	for (i = 0; i < 2; i++) {
		zeroed(a);
		a.test.prog_fd = (uint32_t)fd;
		assert_int_equal(skep_bpf(e, BPF_PROG_TEST_RUN, &a, sizeof(a)), 0);
		assert_int_equal(a.test.retval, i ? (uint32_t)-ENOENT : 0);
	}
	close(fd);
	close(map);
	close(btf);
	close(task);
	skep_engine_free(e);
}

/* What one run stores for its packet's socket the next does not see. */
static void what_is_stored_for_a_socket_ends_with_the_run(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	int btf = lock_types(e), map, fd;
	uint32_t retval = 0;
	union bpf_attr a;
	unsigned i;

	zeroed(a);
	a.map_type = BPF_MAP_TYPE_SK_STORAGE;
	a.key_size = 4;
	a.value_size = 4;
	a.map_flags = BPF_F_NO_PREALLOC;
	a.btf_fd = (uint32_t)btf;
	a.btf_key_type_id = a.btf_value_type_id = 1;
	map = (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(map >= 0);
	fd = prog_new(e, BPF_PROG_TYPE_SCHED_CLS, LDX(BPF_DW, 2, 1, offsetof(struct __sk_buff, sk)),
		      MAP_FD(1, map), MOV(3, 0), MOV(4, BPF_LOCAL_STORAGE_GET_F_CREATE),
		      CALL(BPF_FUNC_sk_storage_get), JEQ(0, 0, 4), LDX(BPF_W, 1, 0, 0), ADD(1, 1),
		      STX(BPF_W, 0, 1, 0), MOVR(0, 1), EXIT());
	for (i = 0; i < 3; i++) {
		assert_int_equal(run(e, fd, &retval), 0);
		assert_int_equal(retval, 1);
	}
	close(fd);
	close(map);
	close(btf);
	skep_engine_free(e);
}

/* What libbpf writes where the kernel lacks what a program asks for. */
static void poison_is_loaded_and_ends_who_gets_there(void **state maybe_unused)
{
	static const int32_t poisons[] = {0xbad2310, 2001000000, 2001000007, 2002000003};
	const struct skep_engine_options unsafe = {.unsafe = true};
	struct skep_engine *e;
	unsigned i, compiled;
	uint32_t retval;
	int fd;

	for (compiled = 0; compiled < 2; compiled++) {
		e = careful();
		if (compiled) {
			skep_engine_free(e);
			assert_int_equal(skep_engine_open(&e, &unsafe), 0);
			vm_set_hooks(e, &hooks);
		}
		for (i = 0; i < 4; i++) {
			fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 2), JEQ(0, 2, 1),
				      CALL(poisons[i]), EXIT());
			assert_int_equal(run(e, fd, &retval), 0);
			assert_int_equal(retval, 2);
			close(fd);
			fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 2), CALL(poisons[i]), EXIT());
			said[0] = 0;
			assert_int_equal(run(e, fd, &retval), -EINVAL);
			assert_non_null(strstr(said, "insn 1"));
			close(fd);
		}
		skep_engine_free(e);
	}
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

/* Poison keeps a program from being compiled, so that both kinds meet. */
/* What @value switches on calls a helper that nobody has. */
static long load_switched(struct skep_engine *e, int frozen, uint32_t flags, uint64_t value)
{
	int map = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 1, flags);
	uint32_t key = 0;
	union bpf_attr a;
	long fd;

	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, map, &key, &value, 0), 0);
	zeroed(a);
	a.map_fd = (uint32_t)map;
	if (frozen)
		assert_int_equal(skep_bpf(e, BPF_MAP_FREEZE, &a, sizeof(a)), 0);
	fd = prog_new(e, BPF_PROG_TYPE_XDP,
		      INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		      INSN(0, 0, 0, 0, 4), LDX(BPF_W, 1, 1, 0), MOV(0, 2), JEQ(1, 0, 1),
		      CALL(100000), EXIT());
	close(map);
	return fd;
}

static void what_switches_leave_out_need_not_be_here(void **state maybe_unused)
{
	struct skep_engine *e = careful();
	uint32_t retval;
	long fd = load_switched(e, true, BPF_F_RDONLY_PROG, 0xffffffff);

	assert_true(fd >= 0);
	assert_int_equal(run(e, (int)fd, &retval), 0);
	assert_int_equal(retval, 2);
	close((int)fd);
	assert_int_equal(load_switched(e, true, BPF_F_RDONLY_PROG, 1ULL << 32), -EINVAL);
	assert_int_equal(load_switched(e, false, BPF_F_RDONLY_PROG, 0), -EINVAL);
	assert_int_equal(load_switched(e, true, 0, 0), -EINVAL);
	fd = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 2), JEQ(0, 2, 1), CALL(BPF_FUNC_skb_load_bytes),
		      EXIT());
	assert_true(fd >= 0);
	close((int)fd);
	assert_int_equal(prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 2), JEQ(0, 3, 1),
				  CALL(BPF_FUNC_skb_load_bytes), EXIT()),
			 -EINVAL);
	skep_engine_free(e);
}

static void compiled_code_never_jumps_to_what_is_interpreted(void **state maybe_unused)
{
	const struct skep_engine_options unsafe = {.unsafe = true};
	int array, plain, poisoned, caller, other;
	uint32_t key = 0, retval = 0;
	struct skep_engine *e;

	assert_int_equal(skep_engine_open(&e, &unsafe), 0);
	poisoned = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 42), LDX(BPF_W, 2, 1, 0),
			    INSN(BPF_JMP | BPF_JNE | BPF_K, 2, 0, 1, 0), CALL(0xbad2310), EXIT());
	plain = prog_new(e, BPF_PROG_TYPE_XDP, MOV(0, 43), EXIT());
	other = prog_new(e, BPF_PROG_TYPE_SCHED_CLS, MOV(0, 1), EXIT());

	/* The caller came first: it is compiled, so the array takes no interpreted program. */
	array = map_new(e, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0);
	caller = prog_new(e, BPF_PROG_TYPE_XDP, MAP_FD(2, array), MOV(3, 0),
			  CALL(BPF_FUNC_tail_call), MOV(0, 7), EXIT());
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &poisoned, 0), -EINVAL);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &other, 0), -EINVAL);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &plain, 0), 0);
	assert_int_equal(run(e, caller, &retval), 0);
	assert_int_equal(retval, 43);
	close(caller);
	close(array);

	/* The interpreted program came first: whoever calls through the array is interpreted too. */
	array = map_new(e, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &poisoned, 0), 0);
	caller = prog_new(e, BPF_PROG_TYPE_XDP, MAP_FD(2, array), MOV(3, 0),
			  CALL(BPF_FUNC_tail_call), MOV(0, 7), EXIT());
	assert_int_equal(run(e, caller, &retval), 0);
	assert_int_equal(retval, 42);
	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, array, &key, &plain, 0), 0);
	assert_int_equal(run(e, caller, &retval), 0);
	assert_int_equal(retval, 43);
	assert_int_equal(prog_new(e, BPF_PROG_TYPE_SCHED_CLS, MAP_FD(2, array), MOV(3, 0),
				  CALL(BPF_FUNC_tail_call), MOV(0, 7), EXIT()),
			 -EINVAL);
	close(caller);
	close(array);
	close(poisoned);
	close(plain);
	close(other);
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

static int syscall_prog(struct skep_engine *e, const struct bpf_insn *insns, unsigned n)
{
	union bpf_attr a;

	zeroed(a);
	a.prog_type = BPF_PROG_TYPE_SYSCALL;
	a.prog_flags = BPF_F_SLEEPABLE;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	return (int)skep_bpf(e, BPF_PROG_LOAD, &a, sizeof(a));
}

static long run_as(struct skep_engine *e, const struct vm_caller *who, int fd, uint32_t *retval)
{
	union bpf_attr a;
	long rc;

	zeroed(a);
	a.test.prog_fd = (uint32_t)fd;
	rc = vm_bpf(e, who, BPF_PROG_TEST_RUN, (uintptr_t)&a, sizeof(a));
	*retval = a.test.retval;
	return rc;
}

static void an_address_that_a_program_gives_is_checked_whoever_runs_it(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	const struct bpf_insn insns[] = {MOVR(1, 10),	  ADD(1, -8), MOV(2, 8),
					 MOV(3, 0x10000), MOV(4, 0),  CALL(BPF_FUNC_copy_from_user),
					 EXIT()};
	int fd = syscall_prog(e, insns, array_size(insns));
	uint32_t retval = 0;

	assert_true(fd >= 0);
	assert_int_equal(run_as(e, &vm_own, fd, &retval), 0);
	assert_int_equal((int)retval, -EFAULT);
	close(fd);
	skep_engine_free(e);
}

static void a_program_closes_what_its_caller_opened(void **state maybe_unused)
{
	struct skep_engine *e = engine();
	int open = fcntl(0, F_DUPFD, 50);
	const struct bpf_insn insns[] = {MOV(1, open), CALL(BPF_FUNC_sys_close), EXIT()};
	int fd = syscall_prog(e, insns, array_size(insns));
	uint32_t retval = 1;

	assert_true(fd >= 0 && open >= 0);
	assert_int_equal(run_as(e, &vm_own, fd, &retval), 0);
	assert_int_equal(retval, 0);
	assert_int_equal(fcntl(open, F_GETFD), -1);
	close(fd);
	skep_engine_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_says_why),
		cmocka_unit_test(what_is_not_the_programs_ends_its_run),
		cmocka_unit_test(a_helper_takes_nothing_that_is_not_the_programs),
		cmocka_unit_test(a_lock_is_given_back_whatever_happens),
		cmocka_unit_test(records_of_a_run_that_ends_badly_are_discarded),
		cmocka_unit_test(timers_call_back_and_go_with_their_map),
		cmocka_unit_test(a_task_keeps_what_is_stored_and_its_pidfd_finds_it),
		cmocka_unit_test(what_is_stored_for_a_socket_ends_with_the_run),
		cmocka_unit_test(what_switches_leave_out_need_not_be_here),
		cmocka_unit_test(poison_is_loaded_and_ends_who_gets_there),
		cmocka_unit_test(a_map_of_read_only_values_is_not_written),
		cmocka_unit_test(a_tail_call_continues_in_the_other_program),
		cmocka_unit_test(compiled_code_never_jumps_to_what_is_interpreted),
		cmocka_unit_test(runs_are_counted_while_somebody_wants_it),
		cmocka_unit_test(a_tag_is_a_digest_of_the_instructions),
		cmocka_unit_test(a_link_holds_its_program_and_its_place),
		cmocka_unit_test(an_address_that_a_program_gives_is_checked_whoever_runs_it),
		cmocka_unit_test(a_program_closes_what_its_caller_opened),
	};

	return cmocka_run_group_tests_name("vm: programs", tests, NULL, NULL);
}
