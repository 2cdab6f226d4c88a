// SPDX-License-Identifier: Apache-2.0
/*
 * balance [ROUNDS [tables]]: nanoseconds a packet in the balancer's program, by BPF_PROG_TEST_RUN, frames of
 * 64 bytes, 100 backends. The loop's own cost is measured in the same run and taken off; each figure
 * is the least of ROUNDS (default 7).
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/mman.h>
#include <time.h>

#include "balance/balance.skel.h"
#include "bench/balance.skel.h"
#include "bench_balance.h"
#include "balance/fleet.h"
#include "host/host.h"

#define TURNS 1000000

static struct {
	struct bench_loop *loop;
	int turn, target;
	int nothing, longer; /* programs */
} b;

static struct maps maps;
static struct fleet *fleet;
static int rounds = 7;
static double loop_plain, loop_longer; /* least of the loop, beside the figure measured last */
static double pass;

static const uint8_t eth4[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0};
static const uint8_t eth6[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static size_t frame4(uint8_t *p, const char *dst, uint8_t proto, uint8_t flags)
{
	memset(p, 0, 64);
	memcpy(p, eth4, 14);
	p[14] = 0x45;
	p[17] = 50;
	p[22] = 64;
	p[23] = proto;
	inet_pton(AF_INET, dst, p + 30);
	p[36] = 443 >> 8;
	p[37] = 443 & 255;
	p[46] = 0x50;
	p[47] = flags;
	return 64;
}

static size_t frame6(uint8_t *p, const char *dst, uint8_t flags)
{
	memset(p, 0, 80);
	memcpy(p, eth6, 14);
	p[14] = 0x60;
	p[19] = 26;
	p[20] = 6;
	inet_pton(AF_INET6, dst, p + 38);
	p[56] = 443 >> 8;
	p[57] = 443 & 255;
	p[66] = 0x50;
	p[67] = flags;
	return 80;
}

static double once(int target, const uint8_t *frame, size_t size, uint32_t flows, uint32_t first,
		   uint32_t turns)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (uint32_t)size,
		    .repeat = (int)turns);
	uint32_t zero = 0;

	*b.loop = (struct bench_loop){.flows = flows,
				      .first = first,
				      .size = (uint32_t)size,
				      .family = frame[12] == 8 ? 4 : 6};
	memcpy(b.loop->head, frame, 34);
	if (bpf_map_update_elem(b.target, &zero, &target, BPF_ANY) ||
	    bpf_prog_test_run_opts(b.turn, &o))
		die("test run");
	if (o.retval < 2)
		fprintf(stderr, "verdict %u\n", o.retval);
	return o.duration;
}

/* The loop alone, with what forwarding cannot do without. */
static void loop_measure(const uint8_t *frame, size_t size)
{
	double plain = once(b.nothing, frame, size, 1, 0, TURNS);
	double longer = (plain + once(b.longer, frame, size, 1, 0, TURNS)) / 2;

	loop_plain = plain < loop_plain ? plain : loop_plain;
	loop_longer = longer < loop_longer ? longer : loop_longer;
}

static double least(int target, const uint8_t *frame, size_t size, uint32_t flows)
{
	double best = 1e9, ns;

	loop_plain = loop_longer = 1e9;
	once(target, frame, size, flows, 0, flows < TURNS ? TURNS : flows);
	for (int i = 0; i < rounds; i++) {
		loop_measure(frame, size);
		ns = once(target, frame, size, flows, 0, TURNS);
		best = ns < best ? ns : best;
	}
	return best;
}

static void row(const char *what, double ns, double loop, double goal, double peer)
{
	printf("%8.2f  %-44s %5.0f ns; goal %.0f, Katran %.0f where parsing costs 54\n",
	       goal > 0 ? (ns - loop) / goal : 0, what, ns - loop, goal, peer);
	fflush(stdout);
}

static void services(unsigned backends, const char *more)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_fmt(&text,
		"apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  vips: "
		"['203.0.113.10:443/tcp', '203.0.113.10:443/udp'%s]\n%s  backends:\n",
		strstr(more, "option") || strstr(more, "nat") ? "" : ", '[2001:db8::10]:443/tcp'",
		more);
	for (unsigned i = 1; i <= backends; i++)
		buf_fmt(&text, "    - {address: 10.0.0.%u}\n", i);
	if (config_read("bench", text.data, text.len, &set, NULL, &err) ||
	    fleet_apply(fleet, &set, host_boot_now(), false, NULL, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	config_done(&set);
}

static void tables(void)
{
	static const struct maps_size size = {64,	    256, 1 << 17, 1024, .bucket_log = 18,
					      .nat_log = 14};
	struct fleet_way way = {
		.hop_flags = BALANCE_HOP_FIXED,
		.gateway = {2, 0, 0, 0, 0, 2},
		.mtu = 1500,
		.flow_s = 3600,
	};
	struct skep_err err = {""};

	config_addr_read("192.0.2.1", 9, &way.source4);
	if (maps_open(&maps, &size, NULL, false, &err) || fleet_open(&fleet, &maps, &way, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

/* A connection's packets on their way to its backend; each began with a SYN. */
static void translated(int prog)
{
	static const uint32_t flows[] = {1, 1 << 16};
	uint8_t f[128];
	char what[64];
	size_t n;

	services(100, "  mode: nat\n");
	for (size_t i = 0; i < array_size(flows); i++) {
		n = frame4(f, "203.0.113.10", 6, 2);
		once(prog, f, n, flows[i], 0, flows[i]);
		frame4(f, "203.0.113.10", 6, 16);
		snprintf(what, sizeof(what), "TCP v4, %u flows, translated", flows[i]);
		row(what, least(prog, f, n, flows[i]), loop_plain, 0, 0);
	}
	services(100, "");
}

static void modes(int prog)
{
	static const struct {
		const char *more, *name;
		double goal, katran;
	} all[] = {{"  mode: gue\n", "TCP v4, 64k flows, GUE with checksum", 130, 539},
		   {"  mode: option\n", "TCP v4, 64k flows, IP option", 130, 574},
		   {"  mode: l2\n", "TCP v4, 64k flows, by link address", 125, 313}};
	uint8_t f[128];
	size_t n;

	for (size_t i = 0; i < array_size(all); i++) {
		services(100, all[i].more);
		n = frame4(f, "203.0.113.10", 6, 16);
		row(all[i].name, least(prog, f, n, 1 << 16), loop_longer, all[i].goal,
		    all[i].katran);
	}
	services(100, "  quic: true\n");
	n = frame4(f, "203.0.113.10", 17, 0);
	f[42] = 0x41;
	inet_pton(AF_INET, "10.0.0.77", f + 44);
	row("QUIC v4 by connection id, 64k flows", least(prog, f, n, 1 << 16), loop_longer, 75,
	    145);
	services(100, "");
}

/* As after a change that concerned every slot: each flow needs an entry. */
static void all_slots_look(void)
{
	struct fleet_service *s = fleet_first(fleet);
	struct balance_slot *slot = maps.rings + s->ring;

	for (uint32_t i = 0; i < 1U << s->log; i++) {
		slot[i].was = slot[(i + 1) & ((1U << s->log) - 1)].now;
		if (slot[i].was == slot[i].now)
			slot[i].was = slot[(i + 7) & ((1U << s->log) - 1)].now;
		slot[i].was |= BALANCE_LOOK;
	}
}

static void flows_clear(void)
{
	memset(maps.flows, 0, sizeof(*maps.flows) << maps.size.bucket_log);
}

static double new_flows(int prog, const uint8_t *f, size_t n)
{
	double best = 1e9, ns;

	for (int i = 0; i < rounds; i++) {
		flows_clear();
		ns = once(prog, f, n, 1 << 20, 0, 1 << 20);
		best = ns < best ? ns : best;
	}
	return best;
}

static void hits(int prog)
{
	static const struct {
		uint32_t flows;
		const char *name;
		double goal, katran;
	} sizes[] = {{1, "1 flow", 66, 132},
		     {1 << 16, "64k flows", 125, 313},
		     {1 << 20, "1M flows", 150, 384}};
	uint8_t f[128];
	char what[64];
	size_t n;

	for (size_t i = 0; i < array_size(sizes); i++) {
		n = frame4(f, "203.0.113.10", 6, 16);
		snprintf(what, sizeof(what), "TCP v4, %s", sizes[i].name);
		row(what, least(prog, f, n, sizes[i].flows), loop_longer, sizes[i].goal,
		    sizes[i].katran);
	}
	n = frame4(f, "203.0.113.10", 6, 2);
	row("TCP v4, a SYN each", least(prog, f, n, 1 << 20), loop_longer, 250, 1004);
	n = frame4(f, "203.0.113.10", 17, 0);
	row("UDP v4, 64k flows", least(prog, f, n, 1 << 16), loop_longer, 125, 338);
	n = frame6(f, "2001:db8::10", 16);
	row("TCP v6 in 4, 64k flows", least(prog, f, n, 1 << 16), loop_longer, 125, 287);
}

static void hits_by_entry(int prog)
{
	static const uint32_t flows[] = {1, 1 << 16, 1 << 20};
	static const double goals[] = {66, 125, 150}, katran[] = {132, 313, 384};
	uint8_t f[128];
	char what[64];
	size_t n;

	all_slots_look();
	n = frame4(f, "203.0.113.10", 6, 2);
	row("TCP v4, a SYN each, entry inserted", new_flows(prog, f, n), loop_longer, 250, 1004);
	for (size_t i = 0; i < array_size(flows); i++) {
		flows_clear();
		frame4(f, "203.0.113.10", 6, 2);
		once(prog, f, n, flows[i], 0, flows[i]);
		frame4(f, "203.0.113.10", 6, 16);
		snprintf(what, sizeof(what), "TCP v4, %u flows, each by its entry", flows[i]);
		row(what, least(prog, f, n, flows[i]), loop_longer, goals[i], katran[i]);
	}
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void set_fill(struct config_set *set, unsigned services, unsigned backends)
{
	cleanup(buf_done) struct buf text = {0};
	struct skep_err err = {""};

	for (unsigned i = 0; i < services; i++) {
		buf_fmt(&text,
			"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: s%u}\nspec:\n  "
			"vips: ['10.9.%u.%u:80/tcp']\n  backends:\n",
			i, i >> 8, i & 255);
		for (unsigned k = 1; k <= backends; k++)
			buf_fmt(&text, "    - {address: 10.%u.%u.%u}\n", 100 + k % 8, k >> 8,
				k & 255);
	}
	if (config_read("bench", text.data, text.len, set, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

/* Of this thread's CPU time, which other processes on the machine do not add to. */
static double cpu_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static double apply_ms(struct fleet *f, const struct config_set *set)
{
	double begun = cpu_ms();
	struct skep_err err = {""};

	if (fleet_apply(f, set, host_boot_now(), false, NULL, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	return cpu_ms() - begun;
}

static void row_ms(const char *what, double ms, double goal)
{
	printf("%8.2f  %-44s %5.2f ms; goal %.1f\n", ms / goal, what, ms, goal);
}

static void changes(void)
{
	static const struct maps_size size = {32768, 1 << 17, 1 << 24, 32768, 12};
	struct fleet_way way = {.flow_s = 3600};
	struct config_set set = {0};
	struct maps m = {0};
	struct fleet *f = NULL;
	struct skep_err err = {""};
	double best = 1e9, ms;

	config_addr_read("192.0.2.1", 9, &way.source4);
	set_fill(&set, 10000, 10);
	if (maps_open(&m, &size, NULL, false, &err) || fleet_open(&f, &m, &way, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	set.n = 9999;
	row_ms("load 10,000 services of 10 backends", apply_ms(f, &set), 100);
	for (int i = 0; i < rounds; i++) {
		set.n = 10000;
		ms = apply_ms(f, &set);
		best = ms < best ? ms : best;
		set.n = 9999;
		apply_ms(f, &set);
	}
	row_ms("add one service among 10,000", best, 1);
	set.n = 10000;
	config_done(&set);
	set_fill(&set, 1, 1000);
	apply_ms(f, &set);
	best = 1e9;
	for (int i = 0; i < rounds; i++) {
		set.services[0]->backends[i].weight = 0;
		set.services[0]->digest = 0;
		ms = apply_ms(f, &set);
		best = ms < best ? ms : best;
	}
	row_ms("change one of 1,000 backends", best, 2);
	config_done(&set);
	fleet_free(f);
	maps_done(&m);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What the kernel has charged for a map, in MB. */
static double map_mb(int fd)
{
	unsigned long long bytes = 0;
	char path[64], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %llu", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return (double)bytes / 1e6;
}

/* Tables as an agent has them that is configured with nothing but an interface. */
static void memory(void)
{
	static const struct maps_size size = {4096, 16384, 1 << 20, 65536, 18};
	double flows, fixed = 0;
	struct maps m = {0};
	struct skep_err err = {""};
	struct bpf_map *map;

	if (maps_open(&m, &size, NULL, false, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	flows = map_mb(bpf_map__fd(m.bpf->maps.flows));
	bpf_object__for_each_map(map, m.bpf->obj) fixed +=
		bpf_map__is_internal(map) ? 0 : map_mb(bpf_map__fd(map));
	fixed -= flows;
	printf("%8.2f  %-44s %5.1f MB; goal 24\n", flows / 24, "1M flows", flows);
	printf("%8.2f  %-44s %5.1f MB; goal 16\n", fixed / 16, "all other tables, empty", fixed);
	maps_done(&m);
}

int main(int argc, char **argv)
{
	struct balance_bench_bpf *s;
	uint8_t f[128];
	size_t n;
	int prog;

	rounds = argc > 1 ? atoi(argv[1]) : rounds;
	if (argc > 2 && !strcmp(argv[2], "tables")) {
		changes();
		memory();
		return 0;
	}
	s = balance_bench_bpf__open_and_load();
	if (!s)
		die("load the loop");
	b.turn = bpf_program__fd(s->progs.turn);
	b.target = bpf_map__fd(s->maps.target);
	b.nothing = bpf_program__fd(s->progs.nothing);
	b.longer = bpf_program__fd(s->progs.longer);
	b.loop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(s->maps.loop), 0);
	if (b.loop == MAP_FAILED)
		die("mmap");
	tables();
	services(100, "");
	prog = maps.prog;
	n = frame4(f, "203.0.113.99", 6, 16);
	pass = least(bpf_program__fd(s->progs.parse), f, n, 1);
	printf("%8s  loop %.0f ns, with a longer frame %.0f; a program that parses and passes: %.0f "
	       "with, %.0f without the loop\n",
	       "", loop_plain, loop_longer, pass, pass - loop_plain);
	row("foreign packet passed", least(prog, f, n, 1 << 16), loop_plain, 27, 55);
	hits(prog);
	modes(prog);
	hits_by_entry(prog);
	translated(prog);
	n = frame4(f, "203.0.113.10", 6, 16);
	row("one line of 16 MB at random, 64k flows",
	    least(bpf_program__fd(s->progs.line), f, n, 1 << 16), loop_plain, 0, 0);
	row("one line of 16 MB at random, 1M flows",
	    least(bpf_program__fd(s->progs.line), f, n, 1 << 20), loop_plain, 0, 0);
	changes();
	memory();
	fleet_free(fleet);
	maps_done(&maps);
	balance_bench_bpf__destroy(s);
	return 0;
}
