// SPDX-License-Identifier: Apache-2.0
/* Kernel functions beside the kernel's own. */
#include "vm/sides.h"

#include <bpf/btf.h>

#define LSH(d, i)	INSN(BPF_ALU64 | BPF_LSH | BPF_K, d, 0, 0, i)
#define OR(d, s)	INSN(BPF_ALU64 | BPF_OR | BPF_X, d, s, 0, 0)
#define ADDR(d, s)	INSN(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define TRUTH()		INSN(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 255) /* what C says of a bool */
#define JNE(d, i, o)	INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define JA(o)		INSN(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL_KERNEL(id) INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, id)
#define KFUNC(name)	CALL_KERNEL(kfunc("bpf_" #name))
#define AT(reg, off)	MOVR(reg, 10), ADD(reg, off)

static struct btf *kernel;

/* 0: this kernel has none of that name. */
static int kfunc(const char *name)
{
	int id = kernel ? btf__find_by_name_kind(kernel, name, BTF_KIND_FUNC) : -1;

	return id > 0 ? id : 0;
}

static bool has(const char *name)
{
	if (kfunc(name))
		return true;
	print_message("this kernel has no %s\n", name);
	return false;
}

/* A dynptr of the packet at fp-16; the context in r6. */
static void begin_packet(struct code *c, uint32_t type)
{
	add(c, MOVR(6, 1), MOV(2, 0), AT(3, -16));
	if (type == BPF_PROG_TYPE_XDP)
		add(c, KFUNC(dynptr_from_xdp));
	else
		add(c, KFUNC(dynptr_from_skb));
}

static const uint32_t packet_types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS,
					BPF_PROG_TYPE_SOCKET_FILTER};
static const int32_t offsets[] = {0, 1, 13, 40, 60, 84, 86, 92, 99, 100, 101, 5000, -1};
#define OFFSETS (int)(sizeof(offsets) / sizeof(offsets[0]))

/* Slices at all offsets, into the packet or a copy; what is read and, where allowed, written. */
static void slice(uint32_t type, int32_t off, bool rdwr, bool room)
{
	struct code c = {.n = 0};
	char name[64];

	snprintf(name, sizeof(name), "slice%s at %d of type %u", rdwr ? "_rdwr" : "", off, type);
	begin_packet(&c, type);
	add(&c, ST(BPF_DW, 10, -32, 0), ST(BPF_DW, 10, -24, 0), AT(1, -16), MOV(2, off),
	    AT(3, -32));
	if (!room)
		add(&c, MOV(3, 0));
	add(&c, MOV(4, 16));
	if (rdwr)
		add(&c, KFUNC(dynptr_slice_rdwr));
	else
		add(&c, KFUNC(dynptr_slice));
	add(&c, JNE(0, 0, 2), MOV(0, 77), EXIT());
	if (rdwr)
		add(&c, ST(BPF_W, 0, 4, 0x12345678));
	add(&c, LDX(BPF_W, 0, 0, 4), EXIT());
	compare(name, type, &c, 100);
}

static void slices_of_packets_are_alike(void **state maybe_unused)
{
	int t, i, k;

	for (t = 0; t < 3; t++)
		for (i = 0; i < OFFSETS; i++)
			for (k = 0; k < 4; k++)
				if (t < 2 || !(k & 1)) /* filters may not write */
					slice(packet_types[t], offsets[i], k & 1, k & 2);
	assert_int_equal(differ, 0);
}

static void bytes(uint32_t type, int32_t off, int32_t n, bool write, int32_t flags)
{
	struct code c = {.n = 0};
	char name[64];

	snprintf(name, sizeof(name), "dynptr %s %d at %d of type %u", write ? "write" : "read", n,
		 off, type);
	begin_packet(&c, type);
	add(&c, ST(BPF_DW, 10, -32, 0x11223344), ST(BPF_DW, 10, -24, 0x55667788));
	if (write)
		add(&c, AT(1, -16), MOV(2, off), AT(3, -32), MOV(4, n), MOV(5, flags),
		    CALL(BPF_FUNC_dynptr_write));
	else
		add(&c, AT(1, -32), MOV(2, n), AT(3, -16), MOV(4, off), MOV(5, flags),
		    CALL(BPF_FUNC_dynptr_read));
	add(&c, LDX(BPF_W, 1, 10, -32), LSH(0, 8), ADDR(0, 1), EXIT());
	compare(name, type, &c, 100);
}

static void dynptrs_of_packets_are_read_and_written_alike(void **state maybe_unused)
{
	int t, i, k;

	for (t = 0; t < 3; t++)
		for (i = 0; i < OFFSETS; i++)
			for (k = 0; k < 4; k++) {
				bytes(packet_types[t], offsets[i], 16, k & 1, k & 2);
				bytes(packet_types[t], offsets[i], 4, k & 1, k & 2);
			}
	assert_int_equal(differ, 0);
}

static void dynptrs_are_cut_alike(void **state maybe_unused)
{
	int t, i, k;

	for (t = 0; t < 3; t++)
		for (i = 0; i < OFFSETS; i++)
			for (k = 0; k < OFFSETS; k++) {
				struct code c = {.n = 0};

				begin_packet(&c, packet_types[t]);
				add(&c, AT(1, -16), MOV(2, offsets[i]), MOV(3, offsets[k]),
				    KFUNC(dynptr_adjust), MOVR(7, 0), AT(1, -16),
				    KFUNC(dynptr_size), LSH(0, 8), ADDR(7, 0), AT(1, -16),
				    AT(2, -32), KFUNC(dynptr_clone), ADDR(7, 0), AT(1, -32),
				    MOV(2, 1), MOV(3, 3), KFUNC(dynptr_adjust), ADDR(7, 0),
				    AT(1, -32), KFUNC(dynptr_is_rdonly), TRUTH(), LSH(7, 1),
				    ADDR(7, 0), AT(1, -16), KFUNC(dynptr_is_null), TRUTH(),
				    LSH(7, 1), ADDR(7, 0), ST(BPF_DW, 10, -40, 0), AT(1, -40),
				    MOV(2, 2), AT(3, -32), MOV(4, 0), MOV(5, 0),
				    CALL(BPF_FUNC_dynptr_read), LDX(BPF_DW, 0, 10, -40), LSH(7, 16),
				    ADDR(0, 7), EXIT());
				compare("dynptr_adjust", packet_types[t], &c, 100);
			}
	assert_int_equal(differ, 0);
}

/* BPF_PROG_TYPE_NETFILTER: its context points to the hook and the packet. */
static void packets_of_netfilter_are_alike(void **state maybe_unused)
{
	int i;

	for (i = 0; i < OFFSETS; i++) {
		struct code c = {.n = 0};

		add(&c, MOVR(6, 1), LDX(BPF_DW, 7, 6, 0), LDX(BPF_B, 8, 7, 0), LDX(BPF_B, 9, 7, 1),
		    LSH(8, 4), ADDR(8, 9), LDX(BPF_DW, 1, 6, 8), MOV(2, 0), AT(3, -16),
		    KFUNC(dynptr_from_skb), ADDR(8, 0), ST(BPF_DW, 10, -32, 0),
		    ST(BPF_DW, 10, -24, 0), AT(1, -32), MOV(2, 16), AT(3, -16), MOV(4, offsets[i]),
		    MOV(5, 0), CALL(BPF_FUNC_dynptr_read), LSH(8, 8), ADDR(8, 0),
		    LDX(BPF_W, 0, 10, -32), ADDR(0, 8), AT(1, -16), KFUNC(dynptr_is_rdonly),
		    TRUTH(), ADDR(0, 8), INSN(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1), EXIT());
		compare("netfilter", 32, &c, 100);
	}
	assert_int_equal(differ, 0);
}

static void wrong_flags_make_null_dynptrs(void **state maybe_unused)
{
	int t;

	for (t = 0; t < 3; t++) {
		struct code c = {.n = 0};

		begin_packet(&c, packet_types[t]);
		c.insns[1].imm = 1;
		add(&c, MOVR(7, 0), AT(1, -16), KFUNC(dynptr_is_null), TRUTH(), LSH(7, 4),
		    ADDR(7, 0), AT(1, -16), KFUNC(dynptr_size), LSH(7, 4), ADDR(7, 0), AT(1, -16),
		    KFUNC(dynptr_is_rdonly), TRUTH(), LSH(7, 1), ADDR(0, 7), EXIT());
		compare("null dynptr", packet_types[t], &c, 100);
	}
	assert_int_equal(differ, 0);
}

static void dynptrs_are_copied_and_filled_alike(void **state maybe_unused)
{
	int t, i, k;

	if (!has("bpf_dynptr_copy") || !has("bpf_dynptr_memset"))
		skip();
	for (t = 0; t < 3; t++)
		for (i = 0; i < OFFSETS; i++)
			for (k = 0; k < OFFSETS; k++) {
				struct code c = {.n = 0};

				begin_packet(&c, packet_types[t]);
				add(&c, AT(1, -16), MOV(2, offsets[i]), AT(3, -16),
				    MOV(4, offsets[k]), MOV(5, 9), KFUNC(dynptr_copy), MOVR(7, 0),
				    AT(1, -16), MOV(2, offsets[k]), MOV(3, i), MOV(4, 0xab),
				    KFUNC(dynptr_memset), LSH(7, 8), ADDR(0, 7), EXIT());
				compare("dynptr_copy", packet_types[t], &c, 100);
			}
	assert_int_equal(differ, 0);
}

static void numbers_are_gone_through_alike(void **state maybe_unused)
{
	static const int32_t ends[] = {0,	1,	5, 100, -1, -7, 2147483647, -2147483647 - 1,
				       8388608, 8388609};
	int i, k, n = sizeof(ends) / sizeof(ends[0]);

	for (i = 0; i < n; i++)
		for (k = 0; k < n; k++) {
			struct code c = {.n = 0};

			if ((int64_t)ends[k] - ends[i] > 1000 &&
			    (int64_t)ends[k] - ends[i] < 8388609)
				continue;
			add(&c, AT(1, -8), MOV(2, ends[i]), MOV(3, ends[k]), KFUNC(iter_num_new),
			    MOVR(6, 0), MOV(7, 0), AT(1, -8), KFUNC(iter_num_next), JEQ(0, 0, 3),
			    LDX(BPF_W, 0, 0, 0), INSN(BPF_ALU | BPF_ADD | BPF_X, 7, 0, 0, 0),
			    JA(-7), AT(1, -8), KFUNC(iter_num_destroy), MOVR(0, 6), LSH(0, 8),
			    INSN(BPF_ALU | BPF_XOR | BPF_X, 0, 7, 0, 0), EXIT());
			compare("iter_num", BPF_PROG_TYPE_XDP, &c, 64);
		}
	assert_int_equal(differ, 0);
}

/* @n words of bits at fp-64, of which the first are zero; the sum and the last of the bits. */
static void bits_are_gone_through_alike(void **state maybe_unused)
{
	int n, kind;

	for (n = 0; n < 10; n++)
		for (kind = 0; kind < 4; kind++) {
			struct code c = {.n = 0};
			int i;

			for (i = 0; i < 4; i++)
				add(&c,
				    ST(BPF_DW, 10, -64 + i * 8, i ? kind * 0x1234567 : kind >> 1));
			add(&c, AT(1, -16), AT(2, -64), MOV(3, n < 5 ? n : n == 9 ? -1 : n * 100));
			if (kind == 3)
				add(&c, MOV(2, 0));
			add(&c, KFUNC(iter_bits_new), MOVR(6, 0), MOV(7, 0), AT(1, -16),
			    KFUNC(iter_bits_next), JEQ(0, 0, 3), LDX(BPF_W, 0, 0, 0),
			    INSN(BPF_ALU | BPF_ADD | BPF_X, 7, 0, 0, 0), JA(-7), AT(1, -16),
			    KFUNC(iter_bits_destroy), MOVR(0, 6), LSH(0, 8),
			    INSN(BPF_ALU | BPF_XOR | BPF_X, 0, 7, 0, 0), EXIT());
			if (n < 5 ||
			    n > 5) /* 500 words of the kernel's stack are no one's to compare */
				compare("iter_bits", BPF_PROG_TYPE_XDP, &c, 64);
		}
	assert_int_equal(differ, 0);
}

static void sections_and_metadata_are_alike(void **state maybe_unused)
{
	struct code c = {.n = 0};

	add(&c, MOVR(6, 1), KFUNC(rcu_read_lock), KFUNC(rcu_read_unlock), KFUNC(preempt_disable),
	    KFUNC(preempt_enable), MOV(0, 5), EXIT());
	compare("sections", BPF_PROG_TYPE_XDP, &c, 64);
	assert_int_equal(differ, 0);
}

static void a_throw_ends_all_frames(void **state maybe_unused)
{
	struct code c = {.n = 0};

	add(&c, MOV(1, 1), INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 2), MOV(0, 3), EXIT());
	add(&c, MOV(1, 42), KFUNC(throw), MOV(0, 7), EXIT());
	compare("throw", BPF_PROG_TYPE_XDP, &c, 64);
	assert_int_equal(differ, 0);
}

/* @a and @b are of at most 7 characters and stand at fp-8 and fp-16. */
static void text(const char *name, const char *a, const char *b, int third)
{
	struct code c = {.n = 0};
	int64_t x = 0, y = 0;
	char what[64];
	int i;

	snprintf(what, sizeof(what), "%s(%s, %s, %d)", name, a, b, third);
	memcpy(&x, a, strlen(a));
	memcpy(&y, b, strlen(b));
	for (i = 0; i < 2; i++)
		add(&c, ST(BPF_W, 10, -8 + i * 4, (int32_t)(x >> (32 * i))),
		    ST(BPF_W, 10, -16 + i * 4, (int32_t)(y >> (32 * i))));
	add(&c, AT(1, -8), AT(2, -16), MOV(3, third));
	if (strstr(name, "chr"))
		add(&c, MOV(2, b[0]));
	if (strstr(name, "nchr"))
		add(&c, MOV(2, third), MOV(3, b[0]));
	if (strstr(name, "nlen"))
		add(&c, MOV(2, third));
	add(&c, CALL_KERNEL(kfunc(name)), EXIT());
	compare(what, BPF_PROG_TYPE_SCHED_CLS, &c, 64);
}

static void strings_are_compared_and_searched_alike(void **state maybe_unused)
{
	static const char *const names[] = {"bpf_strcmp",    "bpf_strcasecmp", "bpf_strchr",
					    "bpf_strchrnul", "bpf_strnchr",    "bpf_strrchr",
					    "bpf_strlen",    "bpf_strnlen",    "bpf_strspn",
					    "bpf_strcspn",   "bpf_strstr",     "bpf_strnstr"};
	static const char *const texts[] = {"",	  "a",	   "ab", "AB", "abab",
					    "ba", "hello", "lo", "xyz"};
	unsigned n, i, k;
	int third;

	for (n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		for (i = 0; has(names[n]) && i < 9; i++)
			for (k = 0; k < 9; k++)
				for (third = 0; third < 6; third++)
					text(names[n], texts[i], texts[k], third);
	assert_int_equal(differ, 0);
}

static void what_is_not_here_is_refused_by_name(void **state maybe_unused)
{
	struct bpf_insn insns[] = {MOV(1, 0), KFUNC(get_task_exe_file), MOV(0, 0), EXIT()};
	char log[512] = "";

	assert_int_equal(
		prog_log(engines[INTERPRETED], BPF_PROG_TYPE_XDP, insns, 4, log, sizeof(log)),
		-EINVAL);
	assert_non_null(strstr(log, "bpf_get_task_exe_file is not here"));
}

/* State that the program made up leads to nothing but a fault or an end. */
static void forged_iterators_hurt_nobody(void **state maybe_unused)
{
	struct code c = {.n = 0};
	struct outcome o;

	add(&c, ST(BPF_DW, 10, -16, 4096), ST(BPF_W, 10, -8, 128), ST(BPF_W, 10, -4, 0), AT(1, -16),
	    KFUNC(iter_bits_next), MOVR(6, 0), AT(1, -16), KFUNC(iter_bits_destroy), MOVR(0, 6),
	    EXIT());
	run(INTERPRETED, BPF_PROG_TYPE_XDP, &c, 64, &o);
	assert_int_equal(o.rc, 0);
	assert_int_equal(o.retval, 0);
	c.n = 0;
	add(&c, ST(BPF_DW, 10, -16, 4096), ST(BPF_W, 10, -8, 0x10000010), ST(BPF_W, 10, -4, 0),
	    AT(1, -16), MOV(2, 0), MOV(3, 0), MOV(4, 8), KFUNC(dynptr_slice), EXIT());
	run(INTERPRETED, BPF_PROG_TYPE_XDP, &c, 64, &o);
	assert_int_equal(o.rc, 0);
	assert_int_equal(o.retval, 0);
}

static int open_all(void **state)
{
	kernel = btf__load_vmlinux_btf();
	return open_engines(state);
}

static int close_all(void **state)
{
	btf__free(kernel);
	return close_engines(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(slices_of_packets_are_alike, begin),
		cmocka_unit_test_setup(dynptrs_of_packets_are_read_and_written_alike, begin),
		cmocka_unit_test_setup(dynptrs_are_cut_alike, begin),
		cmocka_unit_test_setup(packets_of_netfilter_are_alike, begin),
		cmocka_unit_test_setup(wrong_flags_make_null_dynptrs, begin),
		cmocka_unit_test_setup(dynptrs_are_copied_and_filled_alike, begin),
		cmocka_unit_test_setup(numbers_are_gone_through_alike, begin),
		cmocka_unit_test_setup(bits_are_gone_through_alike, begin),
		cmocka_unit_test_setup(sections_and_metadata_are_alike, begin),
		cmocka_unit_test_setup(a_throw_ends_all_frames, begin),
		cmocka_unit_test_setup(strings_are_compared_and_searched_alike, begin),
		cmocka_unit_test_setup(what_is_not_here_is_refused_by_name, begin),
		cmocka_unit_test_setup(forged_iterators_hurt_nobody, begin),
	};

	return cmocka_run_group_tests_name("vm: kfuncs beside the kernel's", tests, open_all,
					   close_all);
}
