// SPDX-License-Identifier: Apache-2.0
/*
 * live send IFACE MAC COUNT FLOWS SERVICES FIRST DST SINK: COUNT frames out of IFACE; prints nanoseconds
 *	of CPU a frame, with what follows it in this thread's softirqs, how many did not reach SINK (the
 *	id of a sink's map), and COUNT. FLOWS 0: each frame begins a flow, from number FIRST on.
 * live sink IFACE | live reflect IFACE TO MAC: hold such a program there.
 * live skep IFACE SERVICES MODE SOURCE: hold the balancer there with so many services 10.96.0.0+i:53/udp.
 * The held ones print "ready" and end with SIGTERM; sink prints the id of its map too.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "balance/attach.h"
#include "balance/fleet.h"
#include "bench/live.skel.h"
#include "bench_live.h"
#include "host/host.h"

static struct live_bench_bpf *bpf;
static struct bench_live *live;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void load(void)
{
	bpf = live_bench_bpf__open_and_load();
	if (!bpf)
		die("load live.bpf.o");
	live = mmap(NULL, sizeof(*live), PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(bpf->maps.live), 0);
	if (live == MAP_FAILED)
		die("map");
}

static void mac_read(const char *text, uint8_t *m)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4],
		   &m[5]) != 6)
		die("link address");
}

static double cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const volatile uint64_t *sink_open(const char *id)
{
	int fd = bpf_map_get_fd_by_id((uint32_t)atoi(id));
	struct bench_live *l = mmap(NULL, sizeof(*l), PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || l == MAP_FAILED)
		die("the sink's map");
	return (const volatile uint64_t *)&l->arrived;
}

static int send_frames(char **v)
{
	static uint8_t frame[60];
	struct xdp_md ctx = {.ingress_ifindex = if_nametoindex(v[0]), .data_end = sizeof(frame)};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = atoi(v[2]),
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	const volatile uint64_t *arrived = sink_open(v[7]);
	uint64_t want = *arrived + (uint64_t)atoi(v[2]);
	double took;
	int i;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	load();
	*live = (struct bench_live){.flows = (uint32_t)atoi(v[3]),
				    .services = (uint32_t)atoi(v[4]),
				    .at = (uint32_t)atoi(v[5]),
				    .src = 0xc6120000,
				    .dst = ntohl(inet_addr(v[6]))};
	mac_read(v[1], live->mac);
	took = cpu_ns();
	if (bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.send), &o))
		die("send");
	took = cpu_ns() - took;
	for (i = 0; i < 100 && *arrived < want; i++)
		usleep(5000);
	printf("%.1f %lld %s\n", took / atoi(v[2]), (long long)(want - *arrived), v[2]);
	return 0;
}

static void hold(void)
{
	sigset_t set;
	int got;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	printf("ready\n");
	fflush(stdout);
	sigwait(&set, &got);
}

static void hold_at(const char *name, int prog)
{
	const struct attach_wish wish = {.name = name, .hook = ATTACH_XDP, .prog = prog};
	struct attach a;
	struct skep_err err = {""};

	if (attach_open(&a, &wish, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	hold();
	attach_done(&a);
}

static int sink(char **v)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	load();
	if (bpf_obj_get_info_by_fd(bpf_map__fd(bpf->maps.live), &info, &size))
		die("the map's id");
	printf("%u\n", info.id);
	hold_at(v[0], bpf_program__fd(bpf->progs.sink));
	return 0;
}

static int reflect(char **v)
{
	load();
	live->to = if_nametoindex(v[1]);
	mac_read(v[2], live->mac);
	hold_at(v[0], bpf_program__fd(bpf->progs.reflect));
	return 0;
}

static void services(struct buf *b, unsigned n, const char *mode)
{
	for (unsigned i = 0; i < n; i++)
		buf_fmt(b,
			"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: s%u}\nspec:\n"
			"  mode: %s\n  vips: [\"10.%u.%u.%u:53/udp\"]\n"
			"  backends: [{address: 10.9.0.1}, {address: 10.9.0.2}]\n",
			i, mode, 96 + (i >> 16), i >> 8 & 255, i & 255);
}

static int skep(char **v)
{
	unsigned n = (unsigned)atoi(v[1]);
	struct maps_size size = {.services = 2 * n + 64,
				 .backends = 2 * n + 64,
				 .slots = 256 * n + 4096,
				 .vips = 2 * n + 64,
				 .bucket_log = 16};
	struct fleet_way way = {.flow_s = 3600};
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};
	struct fleet *fleet;
	struct maps maps;

	size.backends = min(size.backends, (uint32_t)BALANCE_BACKEND_MAX);
	services(&text, n, v[2]);
	config_addr_read(v[3], strlen(v[3]), &way.source4);
	if (maps_open(&maps, &size, NULL, false, &err) || fleet_open(&fleet, &maps, &way, &err) ||
	    config_read("bench", text.data, text.len, &set, NULL, &err) ||
	    fleet_apply(fleet, &set, host_boot_now(), false, NULL, NULL, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	config_done(&set);
	hold_at(v[0], maps.prog);
	fleet_free(fleet);
	maps_done(&maps);
	return 0;
}

int main(int argc, char **argv)
{
	host_bpf_keep();
	if (argc == 10 && !strcmp(argv[1], "send"))
		return send_frames(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "sink"))
		return sink(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "reflect"))
		return reflect(argv + 2);
	if (argc == 6 && !strcmp(argv[1], "skep"))
		return skep(argv + 2);
	fprintf(stderr, "live send|sink|reflect|skep ...: see bench/live.c\n");
	return 2;
}
