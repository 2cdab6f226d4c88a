/* SPDX-License-Identifier: Apache-2.0 */
#include "../vm/engine.h"
#include "host/capture.h"
#include "host/port.h"

static struct port_spec spec(const char *text)
{
	struct port_spec s = {.queue = 0};

	assert_int_equal(port_parse(&s, text, NULL), 0);
	return s;
}

static void test_each_kind_of_spec_is_understood(void **state maybe_unused)
{
	struct port_spec s = spec("eth0=xdp:veth0/3,stack=tap7");

	assert_int_equal(s.kind, PORT_XDP);
	assert_string_equal(s.name, "eth0");
	assert_string_equal(s.device, "veth0");
	assert_string_equal(s.second, "tap7");
	assert_int_equal(s.queue, 3);
	s = spec("a=pcap:/tmp/in.pcap,/tmp/out.pcap");
	assert_int_equal(s.kind, PORT_PCAP);
	assert_string_equal(s.device, "/tmp/in.pcap");
	assert_string_equal(s.second, "/tmp/out.pcap");
	s = spec("a=pcap:,/tmp/out.pcap");
	assert_string_equal(s.device, "");
	assert_int_equal(spec("a=packet:eth0").kind, PORT_PACKET);
	assert_int_equal(spec("a=tap:tap0").kind, PORT_TAP);
}

static void test_what_is_no_spec_is_refused(void **state maybe_unused)
{
	static const char *const wrong[] = {
		"",
		"a",
		"a=",
		"a=eth0",
		"=xdp:eth0",
		"a=xdp:",
		"a=pcap:",
		"a=pcap:x,",
		"a=xdp:e/",
		"a=xdp:e/x",
		"a=xdp:e/-1",
		"a=xdp:e,tap0",
		"a=tap:t,u",
		"a=xdp:an-interface-name-that-is-too-long",
		"a=xdp:e/9999",
		"a=xdpp:e",
	};
	struct port_spec s;
	unsigned i;

	for (i = 0; i < array_size(wrong); i++)
		assert_int_equal(port_parse(&s, wrong[i], NULL), -EINVAL);
}

/* ---- captures ----------------------------------------------------------------------------------- */

static char in_path[] = "/tmp/skep-port-in.XXXXXX", out_path[] = "/tmp/skep-port-out.XXXXXX";

#define FRAMES 150U

static int begin(void **state maybe_unused)
{
	uint8_t data[64] = {0};
	struct capture_packet p = {.data = data, .len = 64, .wire_len = 64};
	struct capture *c;
	unsigned i;

	close(mkstemp(in_path));
	close(mkstemp(out_path));
	if (capture_create(&c, in_path, NULL))
		return -1;
	for (i = 0; i < FRAMES; i++) {
		data[0] = (uint8_t)i;
		p.time = (struct timespec){.tv_sec = 1000 + i, .tv_nsec = i};
		capture_write(c, &p);
	}
	return capture_close(c);
}

static int end(void **state maybe_unused)
{
	return unlink(in_path) | unlink(out_path);
}

static int program(struct skep_engine *e, const struct bpf_insn *insns, unsigned n, uint32_t attach)
{
	union bpf_attr a;

	zeroed(a);
	a.prog_type = BPF_PROG_TYPE_XDP;
	a.expected_attach_type = attach;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	return (int)skep_bpf(e, BPF_PROG_LOAD, &a, sizeof(a));
}

static int link_to(struct skep_engine *e, int prog, uint32_t ifindex)
{
	union bpf_attr a;

	zeroed(a);
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.target_ifindex = ifindex;
	a.link_create.attach_type = BPF_XDP;
	return (int)skep_bpf(e, BPF_LINK_CREATE, &a, sizeof(a));
}

/* The two ports of every test here: one reads, one writes. */
struct pair {
	struct skep_engine *e;
	struct ports *ports;
	struct port_view in, out;
};

static struct pair pair_open(void)
{
	char in[64], out[64];
	const char *const specs[] = {in, out};
	struct pair p = {.e = engine()};

	snprintf(in, sizeof(in), "in=pcap:%s", in_path);
	snprintf(out, sizeof(out), "out=pcap:,%s", out_path);
	assert_int_equal(ports_open(&p.ports, p.e, specs, 2, NULL), 0);
	assert_true(ports_view(p.ports, 0, &p.in));
	assert_true(ports_view(p.ports, 1, &p.out));
	return p;
}

static void pair_run(struct pair *p, int prog)
{
	int link = link_to(p->e, prog, p->in.ifindex);

	assert_true(link >= 0);
	assert_int_equal(ports_run(p->ports, -1, 5, NULL), 0);
	close(link);
}

static void pair_close(struct pair *p)
{
	ports_free(p->ports);
	skep_engine_free(p->e);
}

static void test_redirected_frames_are_written_in_order_with_their_times(void **state maybe_unused)
{
	struct pair p = pair_open();
	const struct bpf_insn insns[] = {MOV(1, (int)p.out.ifindex), MOV(2, 0),
					 CALL(BPF_FUNC_redirect), EXIT()};
	struct capture_packet packet;
	struct capture *c;
	unsigned i;

	pair_run(&p, program(p.e, insns, 4, BPF_XDP));
	assert_int_equal(p.in.count->received, FRAMES);
	assert_int_equal(p.in.count->redirect, FRAMES);
	assert_int_equal(p.out.count->sent, FRAMES);
	pair_close(&p);
	assert_int_equal(capture_open(&c, out_path, NULL), 0);
	for (i = 0; i < FRAMES; i++) {
		assert_int_equal(capture_next(c, &packet, NULL), 1);
		assert_int_equal(packet.data[0], (uint8_t)i);
		assert_int_equal(packet.time.tv_sec, 1000 + i);
		assert_int_equal(packet.time.tv_nsec, i);
	}
	assert_int_equal(capture_next(c, &packet, NULL), 0);
	capture_close(c);
}

static void
test_a_redirect_to_no_port_is_astray_and_a_tx_without_output_unsent(void **state maybe_unused)
{
	const struct bpf_insn nowhere[] = {MOV(1, 999999), MOV(2, 0), CALL(BPF_FUNC_redirect),
					   EXIT()};
	const struct bpf_insn tx[] = {MOV(0, XDP_TX), EXIT()};
	struct pair p = pair_open();

	pair_run(&p, program(p.e, nowhere, 4, BPF_XDP));
	assert_int_equal(p.in.count->astray, FRAMES);
	pair_close(&p);
	p = pair_open();
	pair_run(&p, program(p.e, tx, 2, BPF_XDP));
	assert_int_equal(p.in.count->unsent, FRAMES);
	pair_close(&p);
}

static void test_the_program_of_a_devmap_slot_decides_what_leaves(void **state maybe_unused)
{
	const struct bpf_insn drop[] = {MOV(0, XDP_DROP), EXIT()};
	struct bpf_devmap_val to;
	struct pair p = pair_open();
	int map = map_new(p.e, BPF_MAP_TYPE_DEVMAP, 4, 8, 1, 0);
	const struct bpf_insn insns[] = {MAP_FD(1, map), MOV(2, 0), MOV(3, 0),
					 CALL(BPF_FUNC_redirect_map), EXIT()};
	uint32_t key = 0;

	to.ifindex = p.out.ifindex;
	to.bpf_prog.fd = program(p.e, drop, 2, BPF_XDP_DEVMAP);
	assert_true(to.bpf_prog.fd >= 0);
	assert_int_equal(elem(p.e, BPF_MAP_UPDATE_ELEM, map, &key, &to, 0), 0);
	pair_run(&p, program(p.e, insns, 6, BPF_XDP));
	assert_int_equal(p.in.count->redirect, FRAMES);
	assert_int_equal(p.in.count->drop, FRAMES);
	assert_int_equal(p.out.count->sent, 0);
	pair_close(&p);
}

static void test_a_link_needs_a_port_or_an_interface(void **state maybe_unused)
{
	const struct bpf_insn pass[] = {MOV(0, XDP_PASS), EXIT()};
	struct pair p = pair_open();
	int prog = program(p.e, pass, 2, BPF_XDP), link;

	assert_int_equal(link_to(p.e, prog, 999999), -EINVAL);
	link = link_to(p.e, prog, p.in.ifindex);
	assert_true(link >= 0);
	assert_int_equal(link_to(p.e, prog, p.in.ifindex), -EBUSY);
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_kind_of_spec_is_understood),
		cmocka_unit_test(test_what_is_no_spec_is_refused),
		cmocka_unit_test(test_redirected_frames_are_written_in_order_with_their_times),
		cmocka_unit_test(
			test_a_redirect_to_no_port_is_astray_and_a_tx_without_output_unsent),
		cmocka_unit_test(test_the_program_of_a_devmap_slot_decides_what_leaves),
		cmocka_unit_test(test_a_link_needs_a_port_or_an_interface),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin, end);
}
