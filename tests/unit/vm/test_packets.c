// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers on packets that ask the network around: sums, routes, sizes of devices, sockets, SYN cookies. In
 * a network of its own, where as little is as in the engine.
 */
#include "vm/sides.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#define SUB(d, i)   INSN(BPF_ALU64 | BPF_SUB | BPF_K, d, 0, 0, i)
#define BE(d, n)    INSN(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, n)
#define W_ADD(d, i) INSN(BPF_ALU | BPF_ADD | BPF_K, d, 0, 0, i)

static const uint32_t types[] = {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS};

static void sums_of_whole_packets_are_alike(void **state maybe_unused)
{
	int i;

	for (i = -1; i < 6; i++) {
		struct code update = {.n = 0}, level = {.n = 0};

		add(&update, MOV(2, i * 1000), CALL(BPF_FUNC_csum_update), EXIT());
		compare("csum_update", BPF_PROG_TYPE_SCHED_CLS, &update, 100);
		add(&level, MOV(2, i), CALL(BPF_FUNC_csum_level), EXIT());
		compare("csum_level", BPF_PROG_TYPE_SCHED_CLS, &level, 100);
	}
	assert_int_equal(differ, 0);
}

/* Its result, or the length that it gives. */
static void check_mtu(uint32_t type, int32_t ifindex, int32_t mtu, int32_t by, int32_t flags,
		      bool peek)
{
	struct code c = {.n = 0};
	char name[96];

	snprintf(name, sizeof(name), "check_mtu(type %u, %d, %d, %d, %d)%s", type, ifindex, mtu, by,
		 flags, peek ? " length" : "");
	add(&c, ST(BPF_W, 10, -4, mtu), MOV(2, ifindex), MOVR(3, 10), ADD(3, -4), MOV(4, by),
	    MOV(5, flags), CALL(BPF_FUNC_check_mtu));
	if (peek)
		add(&c, LDX(BPF_W, 0, 10, -4));
	add(&c, EXIT());
	compare(name, type, &c, 100);
}

static void lengths_are_held_against_a_device_alike(void **state maybe_unused)
{
	static const int32_t mtus[] = {0, 1, 100, 65535, 65536, 65537, 70000},
			     by[] = {0, -20, 20, 65000, 66000, -200};
	unsigned t, m, b;
	int i, f;

	for (t = 0; t < 2; t++)
		for (i = 0; i < 3; i++)
			for (m = 0; m < array_size(mtus); m++)
				for (b = 0; b < array_size(by); b++)
					for (f = 0; f < 3; f++) {
						check_mtu(types[t], i, mtus[m], by[b], f, false);
						check_mtu(types[t], i, mtus[m], by[b], f, true);
					}
	assert_int_equal(differ, 0);
}

static void fib_lookup(uint32_t type, int family, int ifindex, int size, int flags)
{
	struct code c = {.n = 0};
	char name[96];
	int i;

	snprintf(name, sizeof(name), "fib_lookup(type %u, family %d, device %d, %d bytes, %d)",
		 type, family, ifindex, size, flags);
	for (i = 1; i <= 8; i++)
		add(&c, ST(BPF_DW, 10, -8 * i, 0));
	add(&c, ST(BPF_B, 10, -64, family), ST(BPF_W, 10, -56, ifindex),
	    ST(BPF_W, 10, -44, 0x0100000a), ST(BPF_W, 10, -28, 0x0200000a), MOVR(2, 10),
	    ADD(2, -64), MOV(3, size), MOV(4, flags), CALL(BPF_FUNC_fib_lookup), EXIT());
	compare(name, type, &c, 100);
}

static void routes_lead_nowhere_alike(void **state maybe_unused)
{
	static const int families[] = {0, 2, 10, 11}, sizes[] = {64, 63, 1};
	unsigned t, f, s;
	int i, flags;

	for (t = 0; t < 2; t++)
		for (f = 0; f < 4; f++)
			for (s = 0; s < 3; s++)
				for (i = 0; i < 3; i++)
					for (flags = 0; flags < 130; flags += flags < 8 ? 1 : 40)
						fib_lookup(types[t], families[f], i, sizes[s],
							   flags);
	assert_int_equal(differ, 0);
}

/* Is @rc what it says? Such programs return 0 or 1. */
static void no_socket(int flags, int rc)
{
	struct code c = {.n = 0};
	char name[96];

	snprintf(name, sizeof(name), "sk_assign(NULL, %d) == %d", flags, rc);
	add(&c, MOV(2, 0), MOV(3, flags), CALL(BPF_FUNC_sk_assign), MOVR(6, 0), MOV(0, 1),
	    JEQ(6, rc, 1), MOV(0, 0), EXIT());
	compare(name, BPF_PROG_TYPE_SK_LOOKUP, &c, 0);
}

static void no_socket_is_taken_alike(void **state maybe_unused)
{
	int flags;

	for (flags = 0; flags < 9; flags++) {
		no_socket(flags, 0);
		no_socket(flags, -EINVAL);
	}
	assert_int_equal(differ, 0);
}

/*
 * A SYN over IPv6 that says a segment size, its cookie, and the ACK that brings it back, later by @late: r0
 * is the class of size where @gen, else what the check says.
 */
static void cookie6(int doff, int mss, int length, int late, bool gen)
{
	struct code c = {.n = 0};
	char name[96];
	int i;

	snprintf(name, sizeof(name), "syncookie_ipv6(doff %d, mss %d, %d bytes, %d)%s", doff, mss,
		 length, late, gen ? " size" : "");
	for (i = 1; i <= 8; i++) /* 24 bytes of TCP at fp-24, 40 of IPv6 before */
		add(&c, ST(BPF_DW, 10, -8 * i, 0x20010db8 + i));
	add(&c, ST(BPF_B, 10, -24 + 12, doff << 4), ST(BPF_B, 10, -4, 2), ST(BPF_B, 10, -3, 4),
	    ST(BPF_B, 10, -2, mss >> 8), ST(BPF_B, 10, -1, mss & 255), MOVR(1, 10), ADD(1, -64),
	    MOVR(2, 10), ADD(2, -24), MOV(3, length), CALL(BPF_FUNC_tcp_raw_gen_syncookie_ipv6),
	    MOVR(6, 0));
	if (gen) {
		add(&c, INSN(BPF_ALU64 | BPF_RSH | BPF_K, 0, 0, 0, 32), EXIT());
	} else {
		add(&c, W_ADD(6, 1 + late), BE(6, 32), STX(BPF_W, 10, 6, -16),
		    LDX(BPF_W, 1, 10, -20), BE(1, 32), W_ADD(1, 1), BE(1, 32),
		    STX(BPF_W, 10, 1, -20), MOVR(1, 10), ADD(1, -64), MOVR(2, 10), ADD(2, -24),
		    CALL(BPF_FUNC_tcp_raw_check_syncookie_ipv6), EXIT());
	}
	compare(name, BPF_PROG_TYPE_XDP, &c, 100);
}

static void cookies_over_ipv6_are_taken_back(void **state maybe_unused)
{
	static const int sizes[] = {0, 500, 1220, 1300, 1420, 1440, 8940, 65535};
	unsigned i;

	for (i = 0; i < array_size(sizes); i++) {
		cookie6(6, sizes[i], 24, 0, true);
		cookie6(6, sizes[i], 24, 0, false);
		cookie6(5, sizes[i], 20, 0, true);
		cookie6(6, sizes[i], 20, 0, true);
		cookie6(5, sizes[i], 24, 0, true);
		cookie6(6, sizes[i], 24, 70000000, false);
		cookie6(6, sizes[i], 24, -70000000, false);
	}
	assert_int_equal(differ, 0);
}

/* Of a socket that no lookup finds; programs have to look. */
static void cookies_of_listeners(int32_t helper, const char *name)
{
	struct code c = {.n = 0};
	int i;

	for (i = 1; i <= 8; i++)
		add(&c, ST(BPF_DW, 10, -8 * i, 0));
	add(&c, MOVR(6, 1), MOVR(2, 10), ADD(2, -16), MOV(3, 12), MOV(4, -1), MOV(5, 0),
	    CALL(BPF_FUNC_skc_lookup_tcp), JEQ(0, 0, 13), MOVR(7, 0), MOVR(1, 7), MOVR(2, 10),
	    ADD(2, -64), MOV(3, 20), MOVR(4, 10), ADD(4, -40), MOV(5, 20), CALL(helper), MOVR(8, 0),
	    MOVR(1, 7), CALL(BPF_FUNC_sk_release), MOVR(0, 8), EXIT(), MOV(0, 77), EXIT());
	c.insns[8 + 7].off = 14;
	compare(name, BPF_PROG_TYPE_SCHED_CLS, &c, 100);
}

static void listeners_are_not_found_alike(void **state maybe_unused)
{
	cookies_of_listeners(BPF_FUNC_tcp_gen_syncookie, "tcp_gen_syncookie");
	cookies_of_listeners(BPF_FUNC_tcp_check_syncookie, "tcp_check_syncookie");
	assert_int_equal(differ, 0);
}

/* The kernel's answer is another wherever the thread goes; the engine has one network. */
static int stays_at_home(void)
{
	static struct outcome first, then;
	struct code c = {.n = 0};

	add(&c, MOV(1, 0), CALL(BPF_FUNC_get_netns_cookie), EXIT());
	run(INTERPRETED, BPF_PROG_TYPE_SCHED_CLS, &c, 100, &first);
	if (first.rc || !first.retval || unshare(CLONE_NEWNET))
		return 1;
	run(INTERPRETED, BPF_PROG_TYPE_SCHED_CLS, &c, 100, &then);
	return then.rc || then.retval != first.retval;
}

static void the_network_is_asked_for_once(void **state maybe_unused)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		_exit(stays_at_home());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int forward(const char *family)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/all/forwarding", family);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	rc = write(fd, "1", 1) != 1;
	close(fd);
	return rc;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(sums_of_whole_packets_are_alike, begin),
		cmocka_unit_test_setup(lengths_are_held_against_a_device_alike, begin),
		cmocka_unit_test_setup(routes_lead_nowhere_alike, begin),
		cmocka_unit_test_setup(no_socket_is_taken_alike, begin),
		cmocka_unit_test_setup(cookies_over_ipv6_are_taken_back, begin),
		cmocka_unit_test_setup(listeners_are_not_found_alike, begin),
		cmocka_unit_test(the_network_is_asked_for_once),
	};

	if (unshare(CLONE_NEWNET) || forward("ipv4") || forward("ipv6"))
		return 1;
	return cmocka_run_group_tests_name("vm: helpers on packets beside the kernel's", tests,
					   open_engines, close_engines);
}
