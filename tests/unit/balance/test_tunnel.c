// SPDX-License-Identifier: Apache-2.0
/*
 * What a probe sends reaches the service's address of the backend as a client's packet does: out through
 * the tunnel's program, then through the backend's; and the answer back. In the kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <sys/mman.h>

#include "balance/backend.skel.h"
#include "balance/tunnel.skel.h"
#include "balance/tunnel.h"
#include "frame.h"

#define SUM_COMPLETE 4 /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE, of newer headers */

static struct tunnel_bpf *tunnel;
static struct backend_bpf *role;
static struct balance_probe *table;
static struct frame frame;

static struct {
	uint8_t frame[4096];
	uint32_t size, verdict;
} got;

static void build(const char *text)
{
	struct words words = {.n = 0};
	char line[256], *save, *t;

	snprintf(line, sizeof(line), "%s", text);
	for (t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		words.list[words.n++] = t;
	assert_true(frame_build(&frame, &words));
}

/* A sum that the device made of all bytes: the kernel compares it afterwards. Older ones cannot (EINVAL). */
static void keeps_sum(const struct bpf_program *prog, const void *data, size_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)size,
		    .flags = SUM_COMPLETE);
	int rc = bpf_prog_test_run_opts(bpf_program__fd(prog), &o);

	assert_true(!rc || rc == -EINVAL);
}

static void run(const struct bpf_program *prog, const void *data, size_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)size,
		    .data_out = got.frame, .data_size_out = sizeof(got.frame));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &o), 0);
	got.size = o.data_size_out;
	got.verdict = o.retval;
	keeps_sum(prog, data, size);
}

static void is(const char *text)
{
	build(text);
	assert_int_equal(got.size, frame.size);
	assert_memory_equal(got.frame + 12, frame.data + 12, frame.size - 12);
}

static void addr(const char *text, uint32_t *out)
{
	memset(out, 0, 16);
	inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, out);
}

/* One of our port 40000, to port 443. */
static void probing(uint8_t mode, uint8_t proto, const char *backend, const char *vip)
{
	struct balance_probe *p = &table[40000];

	*p = (struct balance_probe){
		.until = UINT64_MAX,
		.ours = htons(40000),
		.theirs = htons(443),
		.family = strchr(vip, ':') ? 6 : 4,
		.proto = proto,
		.mode = mode,
	};
	addr(backend, p->backend);
	addr(vip, p->vip);
}

static void unpacked(void)
{
	static uint8_t packed[sizeof(got.frame)];
	uint32_t n = got.size;

	assert_int_equal(got.verdict, (uint32_t)TC_ACT_UNSPEC);
	memcpy(packed, got.frame, n);
	run(role->progs.unpack, packed, n);
	assert_int_equal(got.verdict, XDP_PASS);
	assert_int_not_equal(got.size, n);
}

static const uint8_t modes[] = {BALANCE_IPIP, BALANCE_GUE};

#define US4	 "4 192.0.2.9 > "
#define US6	 "6 2001:db8:9::9 > "
#define TCP	 " tcp 40000 > 443 flags=A len=77"
#define UDP	 " udp 40000 > 443 len=9"
#define BACKEND4 "10.0.0.1"
#define BACKEND6 "fd00::1"
#define VIP4	 "203.0.113.10"
#define VIP6	 "2001:db8:f::10"

static void sent(uint8_t proto, const char *backend, const char *vip, const char *text,
		 const char *there)
{
	for (size_t i = 0; i < array_size(modes); i++) {
		probing(modes[i], proto, backend, vip);
		build(text);
		run(tunnel->progs.probe_out, frame.data, frame.size);
		unpacked();
		is(there);
	}
}

static void a_probe_arrives_as_a_packet_for_the_service(void **state maybe_unused)
{
	sent(IPPROTO_TCP, BACKEND4, VIP4, US4 BACKEND4 TCP, US4 VIP4 TCP);
	sent(IPPROTO_UDP, BACKEND4, VIP4, US4 BACKEND4 UDP, US4 VIP4 UDP);
	sent(IPPROTO_UDP, BACKEND4, VIP4, US4 BACKEND4 UDP " nosum", US4 VIP4 UDP " nosum");
	sent(IPPROTO_TCP, BACKEND6, VIP6, US6 BACKEND6 TCP, US6 VIP6 TCP);
	sent(IPPROTO_UDP, BACKEND6, VIP6, US6 BACKEND6 UDP, US6 VIP6 UDP);
}

static void the_outer_header_has_its_sums(void **state maybe_unused)
{
	uint32_t size;

	probing(BALANCE_GUE, IPPROTO_TCP, BACKEND4, VIP4);
	build(US4 BACKEND4 TCP);
	run(tunnel->progs.probe_out, frame.data, frame.size);
	assert_int_equal(got.size, frame.size + 28);
	assert_int_equal(sum16(got.frame + 14, 20, 0), 0xffff);
	assert_int_equal(get16(got.frame + 16), got.size - 14);

	probing(BALANCE_GUE, IPPROTO_TCP, BACKEND6, VIP6);
	build(US6 BACKEND6 TCP);
	run(tunnel->progs.probe_out, frame.data, frame.size);
	assert_int_equal(got.size, frame.size + 48);
	size = get16(got.frame + 18);
	assert_int_equal(size, got.size - 54);
	assert_int_equal(sum16(got.frame + 54, size, sum16(got.frame + 22, 32, 0) + size + 17),
			 0xffff);
}

static void by_link_address_only_the_address_is_another(void **state maybe_unused)
{
	probing(BALANCE_L2, IPPROTO_TCP, BACKEND4, VIP4);
	build(US4 BACKEND4 TCP);
	run(tunnel->progs.probe_out, frame.data, frame.size);
	is(US4 VIP4 TCP);
}

static void the_answer_comes_from_the_backend(void **state maybe_unused)
{
	probing(BALANCE_IPIP, IPPROTO_TCP, BACKEND4, VIP4);
	build("4 " VIP4 " > 192.0.2.9 tcp 443 > 40000 flags=SA");
	run(tunnel->progs.probe_in, frame.data, frame.size);
	is("4 " BACKEND4 " > 192.0.2.9 tcp 443 > 40000 flags=SA");
	probing(BALANCE_GUE, IPPROTO_UDP, BACKEND6, VIP6);
	build("6 " VIP6 " > 2001:db8:9::9 udp 443 > 40000 len=9");
	run(tunnel->progs.probe_in, frame.data, frame.size);
	is("6 " BACKEND6 " > 2001:db8:9::9 udp 443 > 40000 len=9");
}

static void is_left_alone(const struct bpf_program *prog, const char *text)
{
	build(text);
	run(prog, frame.data, frame.size);
	assert_int_equal(got.verdict, (uint32_t)TC_ACT_UNSPEC);
	is(text);
}

static void what_is_no_probe_stays_as_it_is(void **state maybe_unused)
{
	probing(BALANCE_IPIP, IPPROTO_TCP, BACKEND4, VIP4);
	is_left_alone(tunnel->progs.probe_out, US4 "10.0.0.2" TCP);
	is_left_alone(tunnel->progs.probe_out, US4 BACKEND4 UDP);
	is_left_alone(tunnel->progs.probe_out, US4 BACKEND4 " tcp 40001 > 443 flags=A");
	is_left_alone(tunnel->progs.probe_out, US4 BACKEND4 " tcp 40000 > 444 flags=A");
	is_left_alone(tunnel->progs.probe_out, US4 BACKEND4 " proto=99 len=40");
	is_left_alone(tunnel->progs.probe_out, US6 BACKEND6 TCP);
	is_left_alone(tunnel->progs.probe_in, "4 10.0.0.2 > 192.0.2.9 tcp 443 > 40000 flags=A");
	is_left_alone(tunnel->progs.probe_in, "4 " BACKEND4 " > 192.0.2.9 tcp 443 > 40000 flags=A");
	table[40000].until = 1; /* Q1: its time is over */
	is_left_alone(tunnel->progs.probe_out, US4 BACKEND4 TCP);
}

static int begin(void **state maybe_unused)
{
	static const char *const mine[] = {VIP4, VIP6, BACKEND4, BACKEND6};
	uint32_t key[4], one = 1;

	role = backend_bpf__open_and_load();
	tunnel = tunnel_bpf__open_and_load();
	if (!role || !tunnel)
		return -1;
	for (size_t i = 0; i < array_size(mine); i++) {
		addr(mine[i], key);
		bpf_map_update_elem(bpf_map__fd(role->maps.local), key, &one, BPF_ANY);
	}
	table = mmap(NULL, BALANCE_PROBES * sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(tunnel->maps.probes), 0);
	return table == MAP_FAILED ? -1 : 0;
}

static int end(void **state maybe_unused)
{
	munmap(table, BALANCE_PROBES * sizeof(*table));
	tunnel_bpf__destroy(tunnel);
	backend_bpf__destroy(role);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_probe_arrives_as_a_packet_for_the_service),
		cmocka_unit_test(the_outer_header_has_its_sums),
		cmocka_unit_test(by_link_address_only_the_address_is_another),
		cmocka_unit_test(the_answer_comes_from_the_backend),
		cmocka_unit_test(what_is_no_probe_stays_as_it_is),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
