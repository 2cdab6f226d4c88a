// SPDX-License-Identifier: Apache-2.0
/*
 * engine [ROUNDS]: the same XDP objects on the same packets in the engine and in the kernel, by
 * BPF_PROG_TEST_RUN through libbpf, alternating in one run: the balancer with 100 backends, and programs
 * of a few instructions. balance.bpf.c's loop makes of every turn a packet as from the wire; the ratio is of
 * whole turns. Medians of ROUNDS (default 9). First: starting an engine, and a map lookup of a command
 * below `skep exec`. Needs root.
 */
#include <bpf/bpf.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "bench/balance.skel.h"
#include "bench_balance.h"
#include "balance/fleet.h"
#include "host/exec.h"
#include "host/host.h"
#include "host/seam.h"
#include "skep/engine.h"

#define TURNS	   100000
#define ROUNDS_MAX 99

/* One host: the kernel, where there is no engine. */
struct side {
	struct skep_engine *engine;
	struct balance_bench_bpf *skel;
	struct bench_loop *loop;
	struct maps maps;
	struct fleet *fleet;
	double empty; /* ns of a turn that does nothing */
};

static struct side sides[2];
static int rounds = 9;

static void die(const char *what, const struct skep_err *err)
{
	fprintf(stderr, "bench: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- the balancer ------------------------------------------------------------------------------ */

static void services(struct fleet *fleet)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_str(&text,
		"apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n"
		"  vips: [\"203.0.113.10:443/tcp\", \"203.0.113.10:443/udp\"]\n  backends:\n");
	for (unsigned i = 1; i <= 100; i++)
		buf_fmt(&text, "    - {address: 10.0.0.%u}\n", i);
	if (config_read("bench", text.data, text.len, &set, NULL, &err) ||
	    fleet_apply(fleet, &set, host_boot_now(), false, NULL, NULL, &err))
		die("services", &err);
	config_done(&set);
}

static void side_open(struct side *s)
{
	static const struct maps_size size = {64, 256, 1 << 17, 1024, 15};
	struct fleet_way way = {
		.hop_flags = BALANCE_HOP_FIXED,
		.gateway = {2, 0, 0, 0, 0, 2},
		.mtu = 1500,
		.flow_s = 3600,
	};
	struct skep_err err = {""};

	host_use(s->engine);
	s->skel = balance_bench_bpf__open_and_load();
	if (!s->skel)
		die("load", NULL);
	s->loop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(s->skel->maps.loop), 0);
	if (s->loop == MAP_FAILED)
		die("mmap", NULL);
	config_addr_read("192.0.2.1", 9, &way.source4);
	if (maps_open(&s->maps, &size, NULL, false, &err) ||
	    fleet_open(&s->fleet, &s->maps, &way, &err))
		die("balance", &err);
	services(s->fleet);
}

static void side_close(struct side *s)
{
	host_use(s->engine);
	fleet_free(s->fleet);
	maps_done(&s->maps);
	munmap(s->loop, 4096);
	balance_bench_bpf__destroy(s->skel);
	host_use(NULL);
	skep_engine_free(s->engine);
}

/* ---- packets ----------------------------------------------------------------------------------- */

/* IPv4 to port 443 of @host in 203.0.113.0/24 */
static void frame(uint8_t p[64], uint8_t host, uint8_t proto, uint8_t flags)
{
	static const uint8_t eth[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 0};
	const uint8_t to[4] = {203, 0, 113, host};

	memset(p, 0, 64);
	memcpy(p, eth, sizeof(eth));
	p[14] = 0x45;
	p[17] = 50;
	p[22] = 64;
	p[23] = proto;
	memcpy(p + 30, to, sizeof(to));
	p[36] = 443 >> 8;
	p[37] = 443 & 255;
	p[46] = 0x50;
	p[47] = flags;
}

static double turn(struct side *s, int target, const uint8_t p[64], uint32_t flows,
		   uint32_t *verdict)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = p, .data_size_in = 64, .repeat = TURNS);
	uint32_t zero = 0;

	host_use(s->engine);
	*s->loop = (struct bench_loop){.flows = flows, .size = 64, .family = 4};
	memcpy(s->loop->head, p, 34);
	if (bpf_map_update_elem(bpf_map__fd(s->skel->maps.target), &zero, &target, BPF_ANY) ||
	    bpf_prog_test_run_opts(bpf_program__fd(s->skel->progs.turn), &o))
		die("test run", NULL);
	*verdict = o.retval;
	return o.duration;
}

/* ns a turn in the kernel and in the engine, medians of rounds that alternate. */
static void measure(const int target[2], const uint8_t p[64], uint32_t flows, double ns[2])
{
	double v[2][ROUNDS_MAX];
	uint32_t verdict[2];
	int i, k;

	for (i = -1; i < rounds; i++)
		for (k = 0; k < 2; k++)
			v[k][max(i, 0)] = turn(&sides[k], target[k], p, flows, &verdict[k]);
	if (verdict[0] != verdict[1])
		fprintf(stderr, "bench: the kernel says %u, the engine %u\n", verdict[0],
			verdict[1]);
	for (k = 0; k < 2; k++)
		ns[k] = median(v[k], rounds);
}

static void row(const char *what, const int target[2], const uint8_t p[64], uint32_t flows)
{
	double ns[2];

	measure(target, p, flows, ns);
	printf("%8.3f  %-44s engine %.0f, kernel %.0f ns a packet; %.0f, %.0f without the loop\n",
	       ns[1] / ns[0], what, ns[1], ns[0], ns[1] - sides[1].empty, ns[0] - sides[0].empty);
	fflush(stdout);
}

#define BOTH(prog)                                                 \
	(const int[2])                                             \
	{                                                          \
		bpf_program__fd(sides[0].skel->progs.prog),        \
			bpf_program__fd(sides[1].skel->progs.prog) \
	}

static void packets(void)
{
	const int balance[2] = {sides[0].maps.prog, sides[1].maps.prog};
	double ns[2];
	uint8_t p[64];

	frame(p, 99, 6, 16);
	measure(BOTH(nothing), p, 1, ns);
	sides[0].empty = ns[0];
	sides[1].empty = ns[1];
	printf("%8.3f  %-44s engine %.1f, kernel %.1f ns\n", ns[1] / ns[0],
	       "XDP: the loop, which ends in a tail call", ns[1], ns[0]);
	row("XDP: a program that parses and passes", BOTH(parse), p, 1);
	row("XDP: a program that adds a header", BOTH(longer), p, 1);
	row("XDP: balance, foreign packet passed", balance, p, 1 << 16);
	frame(p, 10, 6, 16);
	row("XDP: balance, TCP, 1 flow", balance, p, 1);
	row("XDP: balance, TCP, 64k flows", balance, p, 1 << 16);
	frame(p, 10, 17, 0);
	row("XDP: balance, UDP, 64k flows", balance, p, 1 << 16);
}

static void start(void)
{
	double v[ROUNDS_MAX];
	struct skep_engine *e;
	int i;

	for (i = 0; i < rounds; i++) {
		v[i] = now_ms();
		if (skep_engine_open(&e, NULL))
			die("open", NULL);
		v[i] = now_ms() - v[i];
		skep_engine_free(e);
	}
	printf("%8.3f  %-44s %.3f ms\n", median(v, rounds) / 3, "engine: start / 3 ms",
	       median(v, rounds));
}

/* ---- a command below skep exec ----------------------------------------------------------------- */

#define LOOKUPS 5000

/* The command: writes the median, in ns. */
static int lookups(void)
{
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bench", 4, 8, 1, NULL), i;
	uint32_t key = 0;
	uint64_t value;
	double v[LOOKUPS], ns;

	for (i = 0; i < LOOKUPS; i++) {
		v[i] = now_ms();
		if (bpf_map_lookup_elem(map, &key, &value))
			die("lookup", NULL);
		v[i] = (now_ms() - v[i]) * 1e6;
	}
	ns = median(v, LOOKUPS);
	return write(STDOUT_FILENO, &ns, sizeof(ns)) != sizeof(ns);
}

/* In a child: host_exec() takes the whole process. */
static double command(bool trapped)
{
	char self[] = "/proc/self/exe", name[] = "lookups";
	const struct host_exec what = {.argv = (char *[]){self, name, NULL}};
	struct skep_err err = {""};
	int ends[2], status;
	double ns;
	pid_t pid;

	if (pipe(ends) || (pid = fork()) < 0)
		die("fork", NULL);
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		_exit(trapped ? host_exec(&what, &err) : lookups());
	}
	close(ends[1]);
	if (read(ends[0], &ns, sizeof(ns)) != sizeof(ns) || waitpid(pid, &status, 0) != pid ||
	    status)
		die("lookups", NULL);
	close(ends[0]);
	return ns;
}

static void trapped(void)
{
	double v[2][ROUNDS_MAX], ns[2];
	int i, k;

	for (i = 0; i < rounds; i++)
		for (k = 0; k < 2; k++)
			v[k][i] = command(k);
	for (k = 0; k < 2; k++)
		ns[k] = median(v[k], rounds);
	printf("%8.3f  %-44s engine %.1f, kernel %.1f us\n", ns[1] / ns[0],
	       "exec: a map lookup of a command", ns[1] / 1e3, ns[0] / 1e3);
}

int main(int argc, char **argv)
{
	const struct skep_engine_options options = {.unsafe = true};

	if (argc > 1 && !strcmp(argv[1], "lookups"))
		return lookups();
	rounds = argc > 1 ? max(atoi(argv[1]), 1) : rounds;
	rounds = min(rounds, ROUNDS_MAX);
	start();
	trapped();
	if (skep_engine_open(&sides[1].engine, &options))
		die("engine", NULL);
	side_open(&sides[0]);
	side_open(&sides[1]);
	packets();
	side_close(&sides[0]);
	side_close(&sides[1]);
	return 0;
}
