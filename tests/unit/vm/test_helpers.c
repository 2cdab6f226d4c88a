// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers beside the kernel's: each program runs in the kernel, interpreted and compiled; what it
 * returns and what becomes of the packet must be the same.
 */
#include "vm/sides.h"

#include <linux/btf.h>

static const int32_t deltas[] = {0,  1,	  2,   4,   8,	 14,   20,   34,   40,
				 64, 216, 220, 256, 300, 1000, 3000, 4000, -1,
				 -4, -14, -32, -40, -64, -100, -256, -300, -3000};
#define DELTAS (sizeof(deltas) / sizeof(deltas[0]))

static void simple(const char *what, uint32_t type, int32_t helper, int32_t r2, int32_t r3,
		   int32_t r4, int32_t r5)
{
	struct code c = {.n = 0};
	char name[96];

	snprintf(name, sizeof(name), "%s(%d, %d, %d, %d)", what, r2, r3, r4, r5);
	add(&c, MOVR(6, 1), MOV(2, r2), MOV(3, r3), MOV(4, r4), MOV(5, r5), CALL(helper), EXIT());
	compare(name, type, &c, 100);
}

static void frames_are_moved_alike(void **state maybe_unused)
{
	unsigned i;

	for (i = 0; i < DELTAS; i++) {
		simple("xdp_adjust_head", BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_adjust_head, deltas[i], 0,
		       0, 0);
		simple("xdp_adjust_tail", BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_adjust_tail, deltas[i], 0,
		       0, 0);
		simple("xdp_adjust_meta", BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_adjust_meta, deltas[i], 0,
		       0, 0);
	}
	simple("xdp_get_buff_len", BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_get_buff_len, 0, 0, 0, 0);
	assert_int_equal(differ, 0);
}

/* helper(ctx, offset, memory on the stack, length, r5); returns its result or a byte that it read. */
static void bytes(const char *what, uint32_t type, int32_t helper, int32_t off, int32_t len,
		  int32_t r5, bool peek)
{
	struct code c = {.n = 0};
	char name[96];
	int i;

	snprintf(name, sizeof(name), "%s(%d, %d bytes, %d)%s", what, off, len, r5,
		 peek ? " byte" : "");
	for (i = 0; i < 8; i++)
		add(&c, ST(BPF_DW, 10, -64 + i * 8, 0x01020304 + i));
	add(&c, MOV(2, off), MOVR(3, 10), ADD(3, -64), MOV(4, len), MOV(5, r5), CALL(helper));
	if (peek)
		add(&c, LDX(BPF_W, 0, 10, -64));
	add(&c, EXIT());
	compare(name, type, &c, 100);
}

static void bytes_of_packets_are_read_and_written_alike(void **state maybe_unused)
{
	static const int32_t lens[] = {1, 2, 4, 20, 64};
	unsigned i, l, p;

	for (i = 0; i < DELTAS; i++)
		for (l = 0; l < 5; l++)
			for (p = 0; p < 2; p++) {
				bytes("xdp_load_bytes", BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes,
				      deltas[i], lens[l], 0, p);
				bytes("xdp_store_bytes", BPF_PROG_TYPE_XDP,
				      BPF_FUNC_xdp_store_bytes, deltas[i], lens[l], 0, p);
				bytes("skb_load_bytes", BPF_PROG_TYPE_SCHED_CLS,
				      BPF_FUNC_skb_load_bytes, deltas[i], lens[l], 0, p);
				bytes("skb_load_bytes of a filter", BPF_PROG_TYPE_SOCKET_FILTER,
				      BPF_FUNC_skb_load_bytes, deltas[i], lens[l], 0, p);
				bytes("skb_load_bytes_relative", BPF_PROG_TYPE_SCHED_CLS,
				      BPF_FUNC_skb_load_bytes_relative, deltas[i], lens[l],
				      (int)l % 3, p);
				bytes("skb_load_bytes_relative of a filter",
				      BPF_PROG_TYPE_SOCKET_FILTER, BPF_FUNC_skb_load_bytes_relative,
				      deltas[i], lens[l], (int)l % 3, p);
				bytes("skb_store_bytes", BPF_PROG_TYPE_SCHED_CLS,
				      BPF_FUNC_skb_store_bytes, deltas[i], lens[l], (int)l, p);
			}
	assert_int_equal(differ, 0);
}

static void packets_change_their_size_alike(void **state maybe_unused)
{
	unsigned i, f;

	for (i = 0; i < DELTAS; i++) {
		for (f = 0; f < 2; f++) {
			if (deltas[i] <= 256)
				simple("skb_change_head", BPF_PROG_TYPE_SCHED_CLS,
				       BPF_FUNC_skb_change_head, deltas[i], (int)f, 0, 0);
			simple("skb_change_tail", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_change_tail,
			       deltas[i], (int)f, 0, 0);
			simple("skb_adjust_room", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_adjust_room,
			       deltas[i], (int)f, 0, 0);
		}
		simple("skb_pull_data", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_pull_data, deltas[i],
		       0, 0, 0);
		simple("skb_change_type", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_change_type,
		       deltas[i], 0, 0, 0);
		simple("redirect", BPF_PROG_TYPE_XDP, BPF_FUNC_get_smp_processor_id, 0, 0, 0, 0);
	}
	assert_int_equal(differ, 0);
}

static void checksums_are_replaced_alike(void **state maybe_unused)
{
	static const int32_t flags[] = {0, 1, 2, 4, 0x12, 0x14, 0x22, 0x24, 0x62, 0x200};
	unsigned i, f;

	for (i = 0; i < DELTAS; i++)
		for (f = 0; f < 10; f++) {
			simple("l3_csum_replace", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_l3_csum_replace,
			       deltas[i], f % 2 ? 0x1234 : 0, 0x4321 + (int)i, flags[f]);
			simple("l4_csum_replace", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_l4_csum_replace,
			       deltas[i], f % 2 ? 0x1234 : 0, 0x4321 + (int)i, flags[f]);
		}
	assert_int_equal(differ, 0);
}

static void sums_of_memory_are_alike(void **state maybe_unused)
{
	static const int32_t sizes[] = {0, 4, 8, 20, 64, 3};
	unsigned f, t, i;

	for (f = 0; f < 6; f++)
		for (t = 0; t < 6; t++)
			for (i = 0; i < 3; i++) {
				struct code c = {.n = 0};
				char name[64];
				int k;

				snprintf(name, sizeof(name), "csum_diff(%d, %d, %u)", sizes[f],
					 sizes[t], i);
				for (k = 0; k < 16; k++)
					add(&c,
					    ST(BPF_DW, 10, -128 + k * 8, k * 0x1234567 + (int)i));
				add(&c, MOVR(1, 10), ADD(1, -128), MOV(2, sizes[f]), MOVR(3, 10),
				    ADD(3, -64), MOV(4, sizes[t]), MOV(5, (int)i * 77777),
				    CALL(BPF_FUNC_csum_diff), EXIT());
				compare(name, BPF_PROG_TYPE_XDP, &c, 64);
			}
	assert_int_equal(differ, 0);
}

static void tags_are_pushed_and_popped_alike(void **state maybe_unused)
{
	int n, m;

	for (n = 0; n < 4; n++)
		for (m = 0; m < 5; m++) {
			struct code c = {.n = 0};
			char name[64];
			int i;

			snprintf(name, sizeof(name), "%d tags pushed, %d popped", n, m);
			add(&c, MOVR(6, 1), MOV(0, 0));
			for (i = 0; i < n; i++)
				add(&c, MOVR(1, 6), MOV(2, i & 1 ? 0x0081 : 0xa888),
				    MOV(3, 100 + i), CALL(BPF_FUNC_skb_vlan_push));
			for (i = 0; i < m; i++)
				add(&c, MOVR(1, 6), CALL(BPF_FUNC_skb_vlan_pop));
			add(&c, LDX(BPF_W, 0, 6, offsetof(struct __sk_buff, vlan_tci)),
			    LDX(BPF_W, 1, 6, offsetof(struct __sk_buff, len)),
			    INSN(BPF_ALU64 | BPF_LSH | BPF_K, 1, 0, 0, 16),
			    INSN(BPF_ALU64 | BPF_OR | BPF_X, 0, 1, 0, 0), EXIT());
			compare(name, BPF_PROG_TYPE_SCHED_CLS, &c, 100);
		}
	assert_int_equal(differ, 0);
}

static void protocols_change_alike(void **state maybe_unused)
{
	static const int32_t to[] = {0x0008, 0xdd86, 0x0608, 0}; /* as they stand in a packet */
	unsigned i, k, flags;

	for (i = 0; i < 4; i++)
		for (k = 0; k < 4; k++)
			for (flags = 0; flags < 2; flags++) {
				struct code c = {.n = 0};

				add(&c, MOVR(6, 1), MOV(2, to[i]), MOV(3, (int)flags),
				    CALL(BPF_FUNC_skb_change_proto), MOVR(1, 6), MOV(2, to[k]),
				    MOVR(7, 0), MOV(3, 0), CALL(BPF_FUNC_skb_change_proto),
				    INSN(BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 16),
				    INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 7, 0, 0), EXIT());
				compare("skb_change_proto", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
			}
	assert_int_equal(differ, 0);
}

/* bpf_redirect_neigh(): @bytes of parameters, which are zero, or none. */
static void neighbours_are_asked_for_alike(void **state maybe_unused)
{
	static const int32_t sizes[] = {0, 4, 19, 20, 24, 40};
	unsigned i, flags;

	for (i = 0; i < 6; i++)
		for (flags = 0; flags < 2; flags++) {
			struct code c = {.n = 0};
			int k;

			for (k = 0; k < 5; k++)
				add(&c, ST(BPF_DW, 10, -40 + k * 8, 0));
			add(&c, MOV(1, 1), MOVR(2, 10), ADD(2, -40), MOV(3, sizes[i]),
			    MOV(4, (int)flags), CALL(BPF_FUNC_redirect_neigh), MOVR(0, 0));
			if (!flags && (!sizes[i] || sizes[i] >= 20)) /* the kernel would send it */
				c.insns[c.n - 1] = MOV(0, 0);
			add(&c, EXIT());
			compare("redirect_neigh", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
		}
	assert_int_equal(differ, 0);
}

/* A key of @size bytes is set with some flags, read back with others: both results, or a byte of it. */
static void tunnel(int32_t set, int32_t size, int32_t get, int32_t back, int peek)
{
	struct code c = {.n = 0};
	char name[96];
	int i;

	snprintf(name, sizeof(name), "tunnel key(%d bytes, 0x%x), (%d bytes, 0x%x) at %d", size,
		 set, back, get, peek);
	for (i = 0; i < 6; i++) {
		add(&c, ST(BPF_DW, 10, -48 + i * 8, 0), ST(BPF_DW, 10, -96 + i * 8, -1));
	}
	for (i = 0; i < 5; i++)
		add(&c, ST(BPF_W, 10, -48 + i * 4, 0x01020304 * (i + 1)));
	add(&c, ST(BPF_H, 10, -48 + 20, 0x0506), ST(BPF_W, 10, -48 + 28, 0x11223344), MOVR(6, 1),
	    MOVR(2, 10), ADD(2, -48), MOV(3, size), MOV(4, set), CALL(BPF_FUNC_skb_set_tunnel_key),
	    MOVR(7, 0), MOVR(1, 6), MOVR(2, 10), ADD(2, -96), MOV(3, back), MOV(4, get),
	    CALL(BPF_FUNC_skb_get_tunnel_key));
	if (peek >= 0)
		add(&c, LDX(BPF_W, 0, 10, (int16_t)(-96 + peek)));
	else
		add(&c, INSN(BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 16),
		    INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 7, 0, 0));
	add(&c, EXIT());
	compare(name, BPF_PROG_TYPE_SCHED_CLS, &c, 100);
}

static void tunnel_keys_are_alike(void **state maybe_unused)
{
	static const int32_t flags[] = {0, 1, 2, 4, 8, 16, 32, 3};
	static const int32_t sizes[] = {44, 28, 24, 20, 8, 40};
	unsigned f, s;
	int at;

	for (f = 0; f < 8; f++)
		for (s = 0; s < 6; s++) {
			tunnel(flags[f], 44, flags[f] & 1, sizes[s], -1);
			tunnel(flags[f] & 1, sizes[s], flags[f], 44, -1);
		}
	for (f = 0; f < 2; f++)
		for (at = 0; at < 44; at += 4)
			tunnel((int)f, 28, (int)f, 44, at);
	assert_int_equal(differ, 0);
}

static void tunnel_options_are_alike(void **state maybe_unused)
{
	static const int32_t sizes[] = {1, 4, 6, 8, 16, 32};
	unsigned s, t, set;

	for (set = 0; set < 2; set++)
		for (s = 0; s < 6; s++)
			for (t = 0; t < 6; t++) {
				struct code c = {.n = 0};
				int i;

				for (i = 0; i < 12; i++)
					add(&c, ST(BPF_DW, 10, -96 + i * 8, i + 1));
				add(&c, MOVR(6, 1), MOVR(2, 10), ADD(2, -48), MOV(3, 44),
				    MOV(4, set ? 0 : 64), CALL(BPF_FUNC_skb_set_tunnel_key),
				    MOVR(1, 6), MOVR(2, 10), ADD(2, -32), MOV(3, sizes[s]),
				    CALL(BPF_FUNC_skb_set_tunnel_opt), MOVR(7, 0), MOVR(1, 6),
				    MOVR(2, 10), ADD(2, -96), MOV(3, sizes[t]),
				    CALL(BPF_FUNC_skb_get_tunnel_opt),
				    INSN(BPF_ALU64 | BPF_LSH | BPF_K, 7, 0, 0, 16),
				    INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 7, 0, 0),
				    LDX(BPF_DW, 1, 10, -96),
				    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0), EXIT());
				compare("tunnel options", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
			}
	assert_int_equal(differ, 0);
}

/* A tracing program: helper(r1, 48 bytes of the stack, size, flags), then what stands there. */
static void stacks_cannot_be_had(void **state maybe_unused)
{
	static const int32_t flags[] = {0x100, 0x400, 0x800, 0x1000};
	static const uint32_t want[] = {(uint32_t)-EFAULT, (uint32_t)-EINVAL, (uint32_t)-EINVAL,
					(uint32_t)-EINVAL};
	static struct outcome o;
	unsigned i, s;

	for (i = 0; i < 4; i++) {
		struct code c = {.n = 0};

		add(&c, MOVR(2, 10), ADD(2, -48), MOV(3, 48), MOV(4, flags[i]),
		    CALL(BPF_FUNC_get_stack), LDX(BPF_DW, 1, 10, -48),
		    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0), EXIT());
		for (s = INTERPRETED; s < SIDES; s++) {
			run(s, BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0, &o);
			assert_int_equal(o.rc, 0);
			assert_int_equal(o.retval, want[i]);
		}
		if (i) { /* the kernel has a stack, but the same errors */
			run(KERNEL, BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0, &o);
			assert_int_equal(o.rc, 0);
			assert_int_equal(o.retval, want[i]);
		}
	}
}

/* The pointer of the task is one; what it points to is not there. */
static void the_task_is_a_number(void **state maybe_unused)
{
	static struct outcome o;
	unsigned s;

	for (s = INTERPRETED; s < SIDES; s++) {
		struct code c = {.n = 0};

		add(&c, CALL(BPF_FUNC_get_current_task), MOVR(6, 0),
		    CALL(BPF_FUNC_get_current_task), INSN(BPF_JMP | BPF_JNE | BPF_X, 6, 0, 6, 0),
		    MOVR(1, 10), ADD(1, -8), MOV(2, 8), MOVR(3, 6),
		    CALL(BPF_FUNC_probe_read_kernel), EXIT(), MOV(0, 1), EXIT());
		run(s, BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0, &o);
		assert_int_equal(o.rc, 0);
		assert_int_equal(o.retval, (uint32_t)-EFAULT);
		c.n = 0;
		add(&c, CALL(BPF_FUNC_get_current_task_btf), LDX(BPF_DW, 0, 0, 0), EXIT());
		run(s, BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0, &o);
		assert_int_equal(o.rc, -EFAULT);
	}
}

static void signals_that_are_none_are_refused(void **state maybe_unused)
{
	static const int32_t calls[] = {BPF_FUNC_send_signal, BPF_FUNC_send_signal_thread};
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct code c = {.n = 0};

		add(&c, MOV(1, 65), CALL(calls[i]), EXIT());
		compare("send_signal(65)", BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0);
	}
	assert_int_equal(differ, 0);
}

/* strtol() and strtoul() of text on the stack; returns the result or the number's low half. */
static void numbers_are_read_alike(void **state maybe_unused)
{
	static const char *const texts[] = {"0",
					    "7 ",
					    "-12",
					    "  42x",
					    "0x1f",
					    "017",
					    "x",
					    "-",
					    " ",
					    "+5",
					    "99999999999999999999",
					    "0x",
					    "08",
					    "-0x8000000000000000",
					    "9223372036854775808",
					    "1234567890123456789",
					    "\t5",
					    "0X10",
					    "ff",
					    "-1"};
	static const int32_t bases[] = {0, 8, 10, 16, 7, 32};
	unsigned i, b, what;

	for (i = 0; i < 20; i++)
		for (b = 0; b < 6; b++)
			for (what = 0; what < 4; what++) {
				struct code c = {.n = 0};
				char name[64], text[24] = "";
				int32_t word;
				int k;

				memcpy(text, texts[i], strlen(texts[i]));
				snprintf(name, sizeof(name), "%s(\"%s\", %d)",
					 what & 1 ? "strtol" : "strtoul", text, bases[b]);
				for (k = 0; k < 6; k++) {
					memcpy(&word, text + k * 4, 4);
					add(&c, ST(BPF_W, 10, -32 + k * 4, word));
				}
				add(&c, ST(BPF_DW, 10, -8, 0), MOVR(1, 10), ADD(1, -32), MOV(2, 24),
				    MOV(3, bases[b]), MOVR(4, 10), ADD(4, -8),
				    CALL(what & 1 ? BPF_FUNC_strtol : BPF_FUNC_strtoul));
				if (what & 2)
					add(&c, LDX(BPF_W, 0, 10, -8));
				add(&c, EXIT());
				compare(name, BPF_PROG_TYPE_SCHED_CLS, &c, 64);
			}
	assert_int_equal(differ, 0);
}

/*
 * A loop whose callback adds its index to what its context points to, and ends at @stop. The kernel
 * takes callbacks with BTF only, so here it is known what they answer.
 */
static void loops_call_back_as_they_should(void **state maybe_unused)
{
	static const int32_t times[] = {0, 1, 5, 100, 8388608 + 1};
	static const uint32_t sums[] = {0, 1, 15, 5050, (uint32_t)-E2BIG};
	static const uint32_t stopped[] = {0, 1, 4 + 6, 4 + 6, (uint32_t)-E2BIG};
	static struct outcome o;
	unsigned s;
	unsigned i;
	int stop;

	for (i = 0; i < 5; i++)
		for (stop = 0; stop < 2; stop++) {
			struct code c = {.n = 0};

			add(&c, ST(BPF_DW, 10, -8, 0), MOV(1, times[i]), FUNC(2, 8), MOVR(3, 10),
			    ADD(3, -8), MOV(4, 0), CALL(BPF_FUNC_loop), LDX(BPF_DW, 1, 10, -8),
			    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0), EXIT(),
			    /* the callback */
			    LDX(BPF_DW, 3, 2, 0), INSN(BPF_ALU64 | BPF_ADD | BPF_X, 3, 1, 0, 0),
			    STX(BPF_DW, 2, 3, 0), MOV(0, 0),
			    INSN(BPF_JMP | BPF_JNE | BPF_K, 1, 0, 1, 3), MOV(0, stop), EXIT());
			for (s = INTERPRETED; s < SIDES; s++) {
				run(s, BPF_PROG_TYPE_SCHED_CLS, &c, 64, &o);
				assert_int_equal(o.rc, 0);
				assert_int_equal(o.retval, stop ? stopped[i] : sums[i]);
			}
		}
}

/* helper(ctx, r2, r3) of a kind of program; its result. */
static void sockets_are_none_alike(void **state maybe_unused)
{
	static const int32_t casts[] = {
		BPF_FUNC_skc_to_tcp_sock,	   BPF_FUNC_skc_to_tcp6_sock,
		BPF_FUNC_skc_to_tcp_timewait_sock, BPF_FUNC_skc_to_tcp_request_sock,
		BPF_FUNC_skc_to_udp6_sock,	   BPF_FUNC_skc_to_unix_sock};
	unsigned i;

	for (i = 0; i < 6; i++) {
		struct code c = {.n = 0};

		add(&c, LDX(BPF_DW, 1, 1, offsetof(struct __sk_buff, sk)), MOV(0, 0), JEQ(1, 0, 3),
		    CALL(casts[i]), JEQ(0, 0, 1), MOV(0, 1), EXIT());
		compare("skc_to_...", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
	}
	for (i = 0; i < 3; i++) {
		static const int32_t finds[] = {BPF_FUNC_sk_lookup_tcp, BPF_FUNC_sk_lookup_udp,
						BPF_FUNC_skc_lookup_tcp};
		struct code c = {.n = 0};
		int k;

		for (k = 0; k < 2; k++)
			add(&c, ST(BPF_DW, 10, -16 + k * 8, 0x0100007f));
		add(&c, MOVR(2, 10), ADD(2, -16), MOV(3, 12), MOV(4, -1), MOV(5, 0), CALL(finds[i]),
		    MOV(6, 7), JEQ(0, 0, 3), MOVR(1, 0), CALL(BPF_FUNC_sk_release), MOV(6, 8),
		    MOVR(0, 6), EXIT());
		compare("sk_lookup_...", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
	}
	assert_int_equal(differ, 0);
}

static void cgroups_of_packets_are_alike(void **state maybe_unused)
{
	struct code c = {.n = 0};
	int i;

	maps_make(&c, BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 2);
	for (i = 0; i < 4; i++) {
		c.n = 0;
		add(&c, MAP_FD(2, -1), MOV(3, i), CALL(BPF_FUNC_skb_under_cgroup), EXIT());
		compare("skb_under_cgroup", BPF_PROG_TYPE_SCHED_CLS, &c, 100);
	}
	maps_close(&c);
	simple("skb_cgroup_classid", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_cgroup_classid, 0, 0, 0,
	       0);
	simple("skb_ancestor_cgroup_id", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_ancestor_cgroup_id,
	       5, 0, 0, 0);
	assert_int_equal(differ, 0);
}

static void networks_and_times_of_packets_are_alike(void **state maybe_unused)
{
	int type, t;

	simple("get_netns_cookie", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_get_netns_cookie, 0, 0, 0, 0);
	for (type = 0; type < 4; type++)
		for (t = 0; t < 2; t++)
			simple("skb_set_tstamp", BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_set_tstamp,
			       t * 1000, type, 0, 0);
	assert_int_equal(differ, 0);
}

static void storage_of_a_cgroup_begins_as_zeros(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_CGROUP_STORAGE,
					 BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE};
	int i;

	for (i = 0; i < 2; i++) {
		struct code c = {.n = 0};

		maps_make(&c, types[i], 16, 24, 0);
		add(&c, MAP_FD(1, -1), MOV(2, 0), CALL(BPF_FUNC_get_local_storage), MOVR(6, 0),
		    LDX(BPF_DW, 7, 6, 16), ST(BPF_DW, 6, 16, 5), MAP_FD(1, -1), MOV(2, 0),
		    CALL(BPF_FUNC_get_local_storage), LDX(BPF_DW, 0, 0, 16),
		    INSN(BPF_ALU64 | BPF_SUB | BPF_X, 0, 7, 0, 0),
		    INSN(BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1), EXIT());
		compare("get_local_storage", BPF_PROG_TYPE_CGROUP_SKB, &c, 100);
		maps_close(&c);
	}
	assert_int_equal(differ, 0);
}

/* A SYN's cookie is taken from its ACK, from another ACK it is not. */
static void cookies_of_connections_are_taken_back(void **state maybe_unused)
{
	int wrong;

	for (wrong = 0; wrong < 2; wrong++) {
		struct code c = {.n = 0};
		int i;

		for (i = 0; i < 5; i++)
			add(&c, ST(BPF_DW, 10, -40 + i * 8, 0x45000014));
		add(&c, ST(BPF_B, 10, -20 + 12, 0x50), MOVR(1, 10), ADD(1, -40), MOVR(2, 10),
		    ADD(2, -20), MOV(3, 20), CALL(BPF_FUNC_tcp_raw_gen_syncookie_ipv4), MOVR(6, 0),
		    INSN(BPF_ALU64 | BPF_RSH | BPF_K, 6, 0, 0, 32), JEQ(6, 536, 2), MOV(0, 9),
		    EXIT(), INSN(BPF_ALU | BPF_ADD | BPF_K, 0, 0, 0, 1 + wrong * 70000000),
		    INSN(BPF_ALU | BPF_END | BPF_TO_BE, 0, 0, 0, 32), STX(BPF_W, 10, 0, -12),
		    LDX(BPF_W, 1, 10, -16), INSN(BPF_ALU | BPF_END | BPF_TO_BE, 1, 0, 0, 32),
		    INSN(BPF_ALU | BPF_ADD | BPF_K, 1, 0, 0, 1),
		    INSN(BPF_ALU | BPF_END | BPF_TO_BE, 1, 0, 0, 32), STX(BPF_W, 10, 1, -16),
		    MOVR(1, 10), ADD(1, -40), MOVR(2, 10), ADD(2, -20),
		    CALL(BPF_FUNC_tcp_raw_check_syncookie_ipv4), EXIT());
		compare("syncookie", BPF_PROG_TYPE_XDP, &c, 100);
	}
	assert_int_equal(differ, 0);
}

/* helper(name at fp-16, n, r3, r4 or fp-32) of a system call's program. */
static void named(int32_t helper, const char *name, int32_t n, int32_t third, bool out)
{
	struct code c = {.n = 0};
	uint64_t words[2] = {0};
	int i;

	memcpy(words, name, strlen(name));
	for (i = 0; i < 4; i++)
		add(&c, ST(BPF_W, 10, -16 + i * 4, (int32_t)(words[i / 2] >> (i % 2 * 32))));
	add(&c, ST(BPF_DW, 10, -32, 0), MOVR(1, 10), ADD(1, -16), MOV(2, n), MOV(3, third),
	    MOV(4, 0));
	if (out)
		add(&c, MOVR(4, 10), ADD(4, -32));
	add(&c, CALL(helper), EXIT());
	compare(name, BPF_PROG_TYPE_SYSCALL, &c, 0);
}

static void names_of_the_kernel_are_found_alike(void **state maybe_unused)
{
	int n;

	for (n = 1; n < 14; n++) {
		named(BPF_FUNC_btf_find_by_name_kind, "task_struct", n, BTF_KIND_STRUCT, false);
		named(BPF_FUNC_kallsyms_lookup_name, "no_such_thing", n, 0, true);
	}
	named(BPF_FUNC_btf_find_by_name_kind, "task_struct", 12, BTF_KIND_FUNC, false);
	named(BPF_FUNC_btf_find_by_name_kind, "bpf_iter_task", 14, BTF_KIND_FUNC, false);
	named(BPF_FUNC_kallsyms_lookup_name, "no_such_thing", 14, 1, true);
	assert_int_equal(differ, 0);
}

/* A program makes a map, and closes it; both are done with the numbers of who runs it. */
static void programs_make_system_calls_alike(void **state maybe_unused)
{
	static const int32_t commands[] = {BPF_MAP_CREATE, BPF_PROG_QUERY, BPF_LINK_UPDATE, 1000};
	int i;

	for (i = 0; i < 4; i++) {
		struct code c = {.n = 0};
		int k;

		for (k = 0; k < 10; k++)
			add(&c, ST(BPF_DW, 10, -80 + k * 8, 0));
		add(&c, ST(BPF_W, 10, -80, BPF_MAP_TYPE_ARRAY), ST(BPF_W, 10, -76, 4),
		    ST(BPF_W, 10, -72, 8), ST(BPF_W, 10, -68, 3), MOV(1, commands[i]), MOVR(2, 10),
		    ADD(2, -80), MOV(3, 80), CALL(BPF_FUNC_sys_bpf), MOVR(6, 0),
		    INSN(BPF_JMP | BPF_JSLT | BPF_K, 0, 0, 3, 0), MOVR(1, 0),
		    CALL(BPF_FUNC_sys_close), MOVR(6, 0), MOVR(0, 6), EXIT());
		compare("sys_bpf", BPF_PROG_TYPE_SYSCALL, &c, 0);
	}
	assert_int_equal(differ, 0);
}

static void counters_that_are_not_there_are_refused_alike(void **state maybe_unused)
{
	static const int32_t indices[] = {0, 1, 2, -1};
	struct code c = {.n = 0};
	int i;

	maps_make(&c, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2);
	for (i = 0; i < 4; i++) {
		c.n = 0;
		add(&c, MAP_FD(1, -1), MOV(2, indices[i]), CALL(BPF_FUNC_perf_event_read), EXIT());
		compare("perf_event_read", BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0);
		c.n = 0;
		add(&c, ST(BPF_DW, 10, -24, 1), ST(BPF_DW, 10, -16, 2), ST(BPF_DW, 10, -8, 3),
		    MAP_FD(1, -1), MOV(2, indices[i]), MOVR(3, 10), ADD(3, -24), MOV(4, 24),
		    CALL(BPF_FUNC_perf_event_read_value), LDX(BPF_W, 1, 10, -8),
		    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0), EXIT());
		compare("perf_event_read_value", BPF_PROG_TYPE_RAW_TRACEPOINT, &c, 0);
	}
	maps_close(&c);
	assert_int_equal(differ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(frames_are_moved_alike, begin),
		cmocka_unit_test_setup(bytes_of_packets_are_read_and_written_alike, begin),
		cmocka_unit_test_setup(packets_change_their_size_alike, begin),
		cmocka_unit_test_setup(checksums_are_replaced_alike, begin),
		cmocka_unit_test_setup(sums_of_memory_are_alike, begin),
		cmocka_unit_test_setup(tags_are_pushed_and_popped_alike, begin),
		cmocka_unit_test_setup(protocols_change_alike, begin),
		cmocka_unit_test_setup(neighbours_are_asked_for_alike, begin),
		cmocka_unit_test_setup(tunnel_keys_are_alike, begin),
		cmocka_unit_test_setup(tunnel_options_are_alike, begin),
		cmocka_unit_test_setup(stacks_cannot_be_had, begin),
		cmocka_unit_test_setup(the_task_is_a_number, begin),
		cmocka_unit_test_setup(signals_that_are_none_are_refused, begin),
		cmocka_unit_test_setup(numbers_are_read_alike, begin),
		cmocka_unit_test_setup(loops_call_back_as_they_should, begin),
		cmocka_unit_test_setup(sockets_are_none_alike, begin),
		cmocka_unit_test_setup(cgroups_of_packets_are_alike, begin),
		cmocka_unit_test_setup(networks_and_times_of_packets_are_alike, begin),
		cmocka_unit_test_setup(storage_of_a_cgroup_begins_as_zeros, begin),
		cmocka_unit_test_setup(cookies_of_connections_are_taken_back, begin),
		cmocka_unit_test_setup(names_of_the_kernel_are_found_alike, begin),
		cmocka_unit_test_setup(programs_make_system_calls_alike, begin),
		cmocka_unit_test_setup(counters_that_are_not_there_are_refused_alike, begin),
	};

	return cmocka_run_group_tests_name("vm: helpers beside the kernel's", tests, open_engines,
					   close_engines);
}
