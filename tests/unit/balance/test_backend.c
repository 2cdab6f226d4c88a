// SPDX-License-Identifier: Apache-2.0
/*
 * What a balancer packs a backend unpacks: the two programs in the kernel, one behind the other. The
 * backend's runs at XDP and at tc, which must do the same with every frame.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <sys/socket.h>
#include <unistd.h>

#include "balance/backend.skel.h"
#include "balance/backend_tc.skel.h"
#include "balance/maps.h"
#include "balance/simulate.h"
#include "frame.h"

#define VIPS "203.0.113.10:443/tcp', '203.0.113.10:443/udp', '[2001:db8:f::10]:443/tcp"

#define SUM_COMPLETE 4	/* BPF_F_TEST_SKB_CHECKSUM_COMPLETE, of newer headers */
#define TC_SHORTEST  34 /* that the kernel makes an skb of for a test run */

static struct backend_bpf *role;
static struct backend_tc_bpf *role_tc;
static struct simulate *sim;
static struct frame frame;
static struct simulate_result packed;

static struct {
	uint8_t frame[4096];
	uint32_t size, verdict;
} got;

static void local_at(int map, const char *addr, bool yes)
{
	bool six = strchr(addr, ':') != NULL;
	uint32_t key[4] = {0}, one = 1;

	inet_pton(six ? AF_INET6 : AF_INET, addr, key);
	if (yes)
		assert_int_equal(bpf_map_update_elem(map, key, &one, BPF_ANY), 0);
	else
		bpf_map_delete_elem(map, key);
}

static void local(const char *addr, bool yes)
{
	local_at(bpf_map__fd(role->maps.local), addr, yes);
	local_at(bpf_map__fd(role_tc->maps.local), addr, yes);
}

static void services(const char *mode, const char *vips, const char *backend)
{
	struct config_set set = {0};
	struct skep_err err = {""};
	char text[512];

	snprintf(
		text, sizeof(text),
		"apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  vips: ['%s']\n  "
		"mode: %s\n  backends: [{address: '%s'}]\n",
		vips, mode, backend);
	assert_int_equal(config_read("test", text, strlen(text), &set, NULL, &err), 0);
	if (sim ? simulate_apply(sim, &set, &err) : simulate_open(&sim, &set, 0, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

static void anew(void)
{
	simulate_free(sim);
	sim = NULL;
}

static void build(const char *text)
{
	struct words words = {.n = 0};
	char line[256], *save, *t;

	snprintf(line, sizeof(line), "%s", text);
	for (t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		words.list[words.n++] = t;
	assert_true(frame_build(&frame, &words));
}

static void pack(const char *text)
{
	struct skep_err err = {""};

	build(text);
	if (simulate_packet(sim, frame.data, frame.size, &packed, &err))
		fail_msg("%s", err.text);
	assert_string_equal(packed.reason, "forwarded");
}

static void run(int prog, const void *data, size_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)size,
		    .data_out = got.frame, .data_size_out = sizeof(got.frame));

	assert_int_equal(bpf_prog_test_run_opts(prog, &o), 0);
	got.size = o.data_size_out;
	got.verdict = o.retval;
}

/* A sum that the device made of all bytes: the kernel compares it afterwards. Older ones cannot (EINVAL). */
static void keeps_sum(int prog, const void *data, size_t size)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = (uint32_t)size,
		    .flags = SUM_COMPLETE);
	int rc = bpf_prog_test_run_opts(prog, &o);

	assert_true(!rc || rc == -EINVAL);
}

static void unpack(const void *data, size_t size)
{
	static uint8_t at_tc[sizeof(got.frame)];
	uint32_t n, verdict;

	if (size < TC_SHORTEST) {
		run(bpf_program__fd(role->progs.unpack), data, size);
		return;
	}
	run(bpf_program__fd(role_tc->progs.unpack), data, size);
	memcpy(at_tc, got.frame, n = got.size);
	verdict = got.verdict;
	run(bpf_program__fd(role->progs.unpack), data, size);
	keeps_sum(bpf_program__fd(role_tc->progs.unpack), data, size);
	run(bpf_program__fd(role->progs.unpack), data, size); /* as often, for the counters */
	assert_int_equal(verdict,
			 got.verdict == XDP_TX ? TC_ACT_REDIRECT : (uint32_t)TC_ACT_UNSPEC);
	assert_int_equal(n, got.size);
	assert_memory_equal(at_tc, got.frame, n);
	for (uint32_t what = 0; what < BALANCE_DID; what++)
		assert_int_equal(maps_sum(bpf_map__fd(role_tc->maps.did), what),
				 maps_sum(bpf_map__fd(role->maps.did), what));
}

static void is_as_it_was_sent(void)
{
	unpack(packed.frame, packed.size);
	assert_int_equal(got.verdict, XDP_PASS);
	assert_int_equal(got.size, frame.size);
	assert_memory_equal(got.frame, packed.frame, 12);
	assert_memory_equal(got.frame + 12, frame.data + 12, frame.size - 12);
}

static const char *const packets[] = {
	"4 198.51.100.7 > 203.0.113.10 tcp 40000 > 443 flags=S",
	"4 198.51.100.7 > 203.0.113.10 tos=0xb8 id=9 df tcp 40001 > 443 flags=A len=77",
	"4 198.51.100.7 > 203.0.113.10 opts=3 tcp 40002 > 443 flags=A len=5",
	"4 198.51.100.7 > 203.0.113.10 udp 40003 > 443 len=1",
	"4 198.51.100.7 > 203.0.113.10 udp 40003 > 443 len=1000 nosum",
	"4 198.51.100.7 > 203.0.113.10 frag=0+ id=8 udp 40004 > 443 len=16",
	"4 192.0.2.7 > 203.0.113.10 icmp=3/4 about 4 203.0.113.10 > 198.51.100.7 tcp 443 > 40000",
	"6 2001:db8:c::7 > 2001:db8:f::10 tcp 40000 > 443 flags=S",
	"6 2001:db8:c::7 > 2001:db8:f::10 tos=3 tcp 40001 > 443 flags=A len=777",
	"6 2001:db8:c::7 > 2001:db8:f::10 ext=h ext=d tcp 40001 > 443 flags=A len=9",
};

static void what_was_packed_is_unpacked_to_the_byte(void **state maybe_unused)
{
	static const char *const modes[] = {"ipip", "gue", "l2"}, *const to[] = {"10.0.0.1",
										 "fd00::1"};

	for (size_t m = 0; m < array_size(modes); m++)
		for (size_t b = 0; b < array_size(to); b++) {
			services(modes[m], VIPS, to[b]);
			for (size_t i = 0; i < array_size(packets); i++) {
				pack(packets[i]);
				is_as_it_was_sent();
			}
			anew();
		}
}

static void an_option_is_taken_out_and_its_address_put_back(void **state maybe_unused)
{
	services("option", "203.0.113.10:443/tcp', '203.0.113.10:443/udp", "10.0.0.1");
	for (size_t i = 0; i < 7; i++) {
		pack(packets[i]);
		is_as_it_was_sent();
	}
	anew();
	services("option", "[2001:db8:f::10]:443/tcp", "fd00::1");
	for (size_t i = 7; i < array_size(packets); i++) {
		pack(packets[i]);
		is_as_it_was_sent();
	}
	anew();
}

static void what_is_not_for_this_host_passes_as_it_came(void **state maybe_unused)
{
	static const char *const modes[] = {"ipip", "gue", "option"};
	static const char *const strange[] = {"10.0.0.1", "203.0.113.10"};

	for (size_t m = 0; m < array_size(modes); m++) {
		services(modes[m], "203.0.113.10:443/tcp", "10.0.0.1");
		pack(packets[1]);
		for (size_t i = 0; i < array_size(strange); i++) {
			local(strange[i], false);
			unpack(packed.frame, packed.size);
			local(strange[i], true);
			assert_int_equal(got.verdict, XDP_PASS);
			assert_int_equal(got.size, packed.size);
			assert_memory_equal(got.frame, packed.frame, packed.size);
		}
		anew();
	}
	for (size_t i = 0; i < array_size(packets); i++) {
		build(packets[i]);
		unpack(frame.data, frame.size);
		assert_int_equal(got.size, frame.size);
	}
}

/* Headers cut at each byte: nothing is read past the end, nothing but a whole packet is let in. */
static void a_packet_that_ends_early_is_let_pass(void **state maybe_unused)
{
	services("gue", VIPS, "10.0.0.1");
	pack(packets[0]);
	for (size_t n = 14; n < 14 + 28 + 20; n++) {
		unpack(packed.frame, n);
		assert_int_equal(got.verdict, XDP_PASS);
		assert_int_equal(got.size, n);
	}
	anew();
}

/* ---- second chance --------------------------------------------------------------------------- */

/* From one backend to another: what is sent now may be known to either. */
static void changed(const char *vips, const char *first, const char *then)
{
	anew();
	services("gue", vips, first);
	services("gue", vips, then);
}

static void sums_are_right4(const uint8_t *ip)
{
	uint32_t size = get16(ip + 24);

	assert_int_equal(sum16(ip, 20, 0), 0xffff);
	assert_int_equal(sum16(ip + 20, size, sum16(ip + 12, 8, 0) + size + 17), 0xffff);
}

static void an_unknown_connection_goes_on_to_the_second(void **state maybe_unused)
{
	uint8_t addr[4];

	changed("203.0.113.10:443/tcp", "10.0.0.1", "10.0.0.2");
	pack(packets[1]);
	assert_string_equal(packed.backend, "10.0.0.1");
	unpack(packed.frame, packed.size);
	assert_int_equal(got.verdict, XDP_TX);
	assert_int_equal(got.size, packed.size);
	sums_are_right4(got.frame + 14);
	inet_pton(AF_INET, "10.0.0.1", addr);
	assert_memory_equal(got.frame + 26, addr, 4);
	inet_pton(AF_INET, "10.0.0.2", addr);
	assert_memory_equal(got.frame + 30, addr, 4);
	assert_memory_equal(got.frame + 42, packed.frame + 42, packed.size - 42);

	/* there it is unpacked, known or not */
	local("10.0.0.2", true);
	memcpy(packed.frame, got.frame, got.size);
	is_as_it_was_sent();
	local("10.0.0.2", false);
	anew();
}

static void an_unknown_connection_goes_on_over_ipv6_too(void **state maybe_unused)
{
	uint32_t size;

	changed("[2001:db8:f::10]:443/tcp", "fd00::1", "fd00::2");
	pack(packets[8]);
	unpack(packed.frame, packed.size);
	assert_int_equal(got.verdict, XDP_TX);
	size = get16(got.frame + 14 + 44);
	assert_int_equal(got.frame[14 + 39], 2);
	assert_int_equal(got.frame[14 + 23], 1);
	assert_int_equal(sum16(got.frame + 54, size, sum16(got.frame + 22, 32, 0) + size + 17),
			 0xffff);
	anew();
}

static void what_begins_or_is_no_tcp_does_not_go_on(void **state maybe_unused)
{
	changed(VIPS, "10.0.0.1", "10.0.0.2");
	local("10.0.0.2", true); /* a SYN goes to the new one */
	pack(packets[0]);
	is_as_it_was_sent();
	pack(packets[3]);
	is_as_it_was_sent();
	local("10.0.0.2", false);
	anew();
}

static int address_of(struct sockaddr_in *sa, const char *addr, uint16_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*sa = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	inet_pton(AF_INET, addr, &sa->sin_addr);
	assert_true(fd >= 0);
	return fd;
}

static void a_known_connection_stays(void **state maybe_unused)
{
	struct sockaddr_in server, client = {0};
	socklen_t len = sizeof(server);
	int listener = address_of(&server, "127.0.0.9", 0), fd, one;
	char vip[64], text[128];

	assert_int_equal(bind(listener, (void *)&server, len), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(getsockname(listener, (void *)&server, &len), 0);
	fd = address_of(&client, "127.0.0.8", 0);
	assert_int_equal(bind(fd, (void *)&client, sizeof(client)), 0);
	assert_int_equal(connect(fd, (void *)&server, sizeof(server)), 0);
	assert_int_equal(getsockname(fd, (void *)&client, &len), 0);
	one = accept(listener, NULL, NULL);
	assert_true(one >= 0);

	local("127.0.0.9", true);
	snprintf(vip, sizeof(vip), "127.0.0.9:%u/tcp", ntohs(server.sin_port));
	changed(vip, "10.0.0.1", "10.0.0.2");
	snprintf(text, sizeof(text), "4 127.0.0.8 > 127.0.0.9 tcp %u > %u flags=A",
		 ntohs(client.sin_port), ntohs(server.sin_port));
	pack(text);
	assert_true(packed.size > frame.size + 28); /* it names the second */
	is_as_it_was_sent();
	snprintf(text, sizeof(text), "4 127.0.0.7 > 127.0.0.9 tcp 77 > %u flags=A",
		 ntohs(server.sin_port));
	pack(text); /* to the same listener, of no connection */
	unpack(packed.frame, packed.size);
	assert_int_equal(got.verdict, XDP_TX);
	local("127.0.0.9", false);
	anew();
	close(one);
	close(fd);
	close(listener);
}

static int begin(void **state maybe_unused)
{
	static const char *const mine[] = {"203.0.113.10", "2001:db8:f::10", "10.0.0.1", "fd00::1"};

	role = backend_bpf__open_and_load();
	role_tc = backend_tc_bpf__open_and_load();
	if (!role || !role_tc)
		return -1;
	for (size_t i = 0; i < array_size(mine); i++)
		local(mine[i], true);
	return 0;
}

static int end(void **state maybe_unused)
{
	backend_bpf__destroy(role);
	backend_tc_bpf__destroy(role_tc);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_packed_is_unpacked_to_the_byte),
		cmocka_unit_test(an_option_is_taken_out_and_its_address_put_back),
		cmocka_unit_test(what_is_not_for_this_host_passes_as_it_came),
		cmocka_unit_test(a_packet_that_ends_early_is_let_pass),
		cmocka_unit_test(an_unknown_connection_goes_on_to_the_second),
		cmocka_unit_test(an_unknown_connection_goes_on_over_ipv6_too),
		cmocka_unit_test(what_begins_or_is_no_tcp_does_not_go_on),
		cmocka_unit_test(a_known_connection_stays),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
