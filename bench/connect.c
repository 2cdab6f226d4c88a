// SPDX-License-Identifier: Apache-2.0
/*
 * connect [CONNECTS]: microseconds of connect(2) through a service at the socket, by number of services,
 * against connect(2) to the backend itself outside of the cgroup that is served, and against iptables
 * DNAT with as many services. In a network namespace and a cgroup of its own.
 *
 * The three take turns, BATCH connects each; a figure is the median of all. What is compared was measured
 * within the same milliseconds.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "balance/balance.skel.h"
#include "balance/fleet.h"
#include "balance/socket.h"
#include "host/host.h"

#define BATCH 50
#define PORT  8080

static struct host *host;
static char cgroup[512], top[512];
static unsigned connects = 4000;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put(const char *path, const char *file, const char *text)
{
	char name[600];
	int fd;

	snprintf(name, sizeof(name), "%s/%s", path, file);
	fd = open(name, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(name);
	close(fd);
}

static void leave(void)
{
	put(top, "cgroup.procs", "0");
	rmdir(cgroup);
}

static void lo_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (ioctl(fd, SIOCSIFFLAGS, &r))
		die("lo");
	close(fd);
}

static void *serve(void *arg)
{
	int fd;

	while ((fd = accept(*(int *)arg, NULL, NULL)) >= 0)
		close(fd);
	return NULL;
}

static struct sockaddr_in address(uint32_t ip, uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip), .sin_port = htons(port)};
}

static void listen_up(void)
{
	static int fd;
	struct sockaddr_in a = address(INADDR_LOOPBACK, PORT);
	pthread_t thread;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1024) ||
	    pthread_create(&thread, NULL, serve, &fd))
		die("listen");
}

/* ---- connects -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double connect_us(uint32_t ip, uint16_t port)
{
	struct sockaddr_in a = address(ip, port);
	struct linger off = {1, 0};
	struct timespec t0, t1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	clock_gettime(CLOCK_MONOTONIC, &t1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	close(fd);
	return (double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3;
}

struct way {
	uint32_t first, n; /* addresses, one after the other */
	uint16_t port;
	bool inside; /* the cgroup */
	double *us, p50;
	unsigned done;
};

static void batch(struct way *w)
{
	unsigned i;

	put(w->inside ? cgroup : top, "cgroup.procs", "0");
	for (i = 0; i < BATCH; i++)
		w->us[w->done++] =
			connect_us(w->first + (w->n > 1 ? (uint32_t)random() % w->n : 0), w->port);
}

static void measure(struct way *w, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		w[i].us = calloc(connects, sizeof(double));
		w[i].done = 0;
	}
	while (w[0].done + BATCH <= connects)
		for (i = 0; i < n; i++)
			batch(&w[i]);
	for (i = 0; i < n; i++) {
		qsort(w[i].us, w[i].done, sizeof(double), by_value);
		w[i].p50 = w[i].us[w[i].done / 2];
		free(w[i].us);
	}
	put(top, "cgroup.procs", "0");
}

/* ---- services -------------------------------------------------------------------------------- */

#define SERVICE_NET 0x0a600000U /* 10.96.0.0 */

static struct config_set services(uint32_t n)
{
	struct config_set set = {.services = calloc(n, sizeof(*set.services)), .n = n};
	const struct config_options o = {.socket = true};
	uint32_t i, ip;
	char name[16];

	for (i = 0; i < n; i++) {
		struct config_service *s;

		snprintf(name, sizeof(name), "s%u", i);
		s = config_service_new(name, &o, i ? set.services[i - 1] : NULL);
		set.services[i] = s;
		s->n_vips = s->n_backends = 1;
		s->vips = calloc(2, sizeof(*s->vips));
		s->backends = calloc(2, sizeof(*s->backends));
		ip = htonl(SERVICE_NET + i);
		s->vips[0] = (struct config_vip){
			.addr.family = 4, .proto = IPPROTO_TCP, .first = 80, .last = 80};
		memcpy(s->vips[0].addr.bytes, &ip, 4);
		ip = htonl(INADDR_LOOPBACK);
		s->backends[0] =
			(struct config_backend){.addr.family = 4, .weight = 1, .port = PORT};
		memcpy(s->backends[0].addr.bytes, &ip, 4);
	}
	return set;
}

/* What the kernel keeps for a map, by its own account. */
static double map_mb(int fd)
{
	char path[64], line[128];
	double bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %lf", &bytes);
	if (f)
		fclose(f);
	return bytes / 1e6;
}

static double memory_mb(const struct maps *maps, const struct sockets *sockets)
{
	static const char *const own[] = {"doors", "ends", "talks", "friends", "asked"};
	const struct bpf_map *map;
	double mb = 0;
	unsigned i;

	bpf_object__for_each_map(map, maps->bpf->obj) mb += map_mb(bpf_map__fd(map));
	for (i = 0; i < array_size(own); i++)
		mb += map_mb(sockets_map(sockets, own[i]));
	return mb;
}

/* p50 of (direct, an address that is no service's, service) */
static void at_sockets(uint32_t n, struct way w[3])
{
	struct maps_size size = {.services = n * 2 + 16,
				 .backends = n + 16,
				 .slots = (n + 16) * 128,
				 .vips = n * 2 + 64,
				 .bucket_log = 9};
	struct fleet_way way = {.flow_s = 3600};
	struct config_set set = services(n);
	struct sockets *sockets;
	struct skep_err err = {""};
	struct fleet *fleet;
	struct maps maps;

	if (maps_open(&maps, &size, NULL, false, &err) ||
	    sockets_open(&sockets, &maps, NULL, &err) || fleet_open(&fleet, &maps, &way, &err) ||
	    fleet_apply(fleet, &set, host_boot_now(), false, NULL, NULL, &err) ||
	    sockets_attach(sockets, cgroup, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	w[0] = (struct way){.first = INADDR_LOOPBACK, .n = 1, .port = PORT};
	w[1] = (struct way){.first = INADDR_LOOPBACK, .n = 1, .port = PORT, .inside = true};
	w[2] = (struct way){.first = SERVICE_NET, .n = n, .port = 80, .inside = true};
	measure(w, 3);
	printf("%8.2f  service at the socket / direct, %6u services      %.1f / %.1f us: +%.2f us "
	       "(target +3); any other address +%.2f us; tables %.0f MB\n",
	       w[2].p50 / w[0].p50, n, w[2].p50, w[0].p50, w[2].p50 - w[0].p50, w[1].p50 - w[0].p50,
	       memory_mb(&maps, sockets));
	fflush(stdout);
	sockets_free(sockets);
	fleet_free(fleet);
	maps_done(&maps);
	config_done(&set);
}

/* Every first packet of a connection walks the rules: who connects directly is measured without them. */
static void by_iptables(uint32_t n)
{
	struct way direct = {.first = INADDR_LOOPBACK, .n = 1, .port = PORT};
	struct way w = {.first = SERVICE_NET, .n = n, .port = 80};
	FILE *f;
	uint32_t i;

	measure(&direct, 1);
	f = popen("iptables-restore -w 2>/dev/null", "w");
	if (!f)
		return;
	fprintf(f, "*nat\n");
	for (i = 0; i < n; i++)
		fprintf(f,
			"-A OUTPUT -d 10.%u.%u.%u/32 -p tcp --dport 80 -j DNAT --to-destination "
			"127.0.0.1:%d\n",
			96 + (i >> 16), i >> 8 & 255, i & 255, PORT);
	fprintf(f, "COMMIT\n");
	if (pclose(f)) {
		printf("          iptables DNAT: not here\n");
		return;
	}
	measure(&w, 1);
	printf("%8.2f  iptables DNAT / direct, %6u services              %.1f / %.1f us: +%.2f us\n",
	       w.p50 / direct.p50, n, w.p50, direct.p50, w.p50 - direct.p50);
	fflush(stdout);
	if (system("iptables -w -t nat -F"))
		die("iptables");
}

int main(int argc, char **argv)
{
	struct skep_err err = {""};
	struct way w[3];

	if (argc > 1)
		connects = (unsigned)atoi(argv[1]);
	if (host_open(&host, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	snprintf(top, sizeof(top), "%s", host_cgroup2(host));
	snprintf(cgroup, sizeof(cgroup), "%.400s/skep-bench-%d", top, getpid());
	if (unshare(CLONE_NEWNET) || mkdir(cgroup, 0755))
		die("namespace and cgroup");
	atexit(leave);
	lo_up();
	if (system("ip addr add 10.88.0.1/32 dev lo && ip route add 10.96.0.0/11 dev lo"))
		die("route");
	listen_up();
	for (uint32_t n = 1; n <= 100000; n *= n == 1 ? 1000 : 10)
		at_sockets(n, w);
	for (uint32_t n = 1; n <= 10000; n *= n == 1 ? 1000 : 10)
		by_iptables(n);
	host_free(host);
	return 0;
}
