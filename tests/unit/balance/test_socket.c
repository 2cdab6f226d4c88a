// SPDX-License-Identifier: Apache-2.0
/*
 * Services at sockets, by real sockets of this process in a cgroup and a network namespace of the
 * test's own. BPF_PROG_TEST_RUN does not run these programs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "balance/fleet.h"
#include "balance/socket.h"
#include "host/host.h"
#include "host/seam.h"

#define ENDS 3 /* servers, on ports 8001.. of 127.0.0.1 */

struct world {
	char top[256], cgroup[300];
	struct maps maps;
	struct sockets *sockets;
	struct fleet *fleet;
	int servers[ENDS + 1];
};

static struct world *open_one; /* for teardown, when a test fails */
static const char VIP[] = "10.96.0.1";

static void join(const char *cgroup)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, "0", 1), 1);
	close(fd);
}

static void lo_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static struct sockaddr_in address(const char *ip, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

/* Backends are 127.0.0.1, .2, .3, each with its port, so that who was reached can be told. */
static void listen_up(struct world *w)
{
	char ip[24];

	for (int i = 1; i <= ENDS; i++) {
		struct sockaddr_in a;

		snprintf(ip, sizeof(ip), "127.0.0.%d", i);
		a = address(ip, 8000 + (unsigned)i);
		w->servers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		setsockopt(w->servers[i], SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
		assert_int_equal(bind(w->servers[i], (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(listen(w->servers[i], 4096), 0);
	}
}

static void tables_open(struct world *w)
{
	static const struct maps_size size = {64, 64, 1 << 16, 256, 9};
	struct fleet_way way = {.flow_s = 3600};
	struct skep_err err = {""};

	if (maps_open(&w->maps, &size, NULL, false, &err) ||
	    sockets_open(&w->sockets, &w->maps, NULL, &err) ||
	    fleet_open(&w->fleet, &w->maps, &way, &err))
		fail_msg("%s", err.text);
}

static void tables_close(struct world *w)
{
	fleet_free(w->fleet);
	sockets_free(w->sockets);
	maps_done(&w->maps);
}

/* Once a process: a namespace cannot be left again. */
static void own_namespace(void)
{
	static bool done;

	if (done)
		return;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	lo_up();
	done = true;
}

static struct world *world_open(void)
{
	struct world *w;
	struct skep_err err = {""};
	struct host *host;

	if (geteuid() || host_open(&host, &err))
		skip();
	if (!*host_cgroup2(host)) {
		host_free(host);
		skip();
	}
	w = calloc(1, sizeof(*w));
	snprintf(w->top, sizeof(w->top), "%.250s", host_cgroup2(host));
	host_free(host);
	snprintf(w->cgroup, sizeof(w->cgroup), "%s/skep-test-%d", w->top, getpid());
	own_namespace();
	assert_int_equal(mkdir(w->cgroup, 0755), 0);
	open_one = w;
	join(w->cgroup);
	tables_open(w);
	if (sockets_attach(w->sockets, w->cgroup, &err))
		fail_msg("%s", err.text);
	listen_up(w);
	return w;
}

static void world_close(struct world *w)
{
	open_one = NULL;
	join(w->top);
	tables_close(w);
	rmdir(w->cgroup);
	for (int i = 1; i <= ENDS; i++)
		close(w->servers[i]);
	free(w);
}

static int teardown(void **state maybe_unused)
{
	if (open_one)
		world_close(open_one);
	return 0;
}

static void apply(struct world *w, const char *spec)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_fmt(&text,
		"apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\n"
		"spec: {socket: true, vips: ['%s:80/tcp'], drainSeconds: 0, %s}\n",
		VIP, spec);
	if (config_read("test", text.data, text.len, &set, NULL, &err) ||
	    fleet_apply(w->fleet, &set, host_boot_now(), false, NULL, NULL, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

/* Return: the socket; @end: which backend, by what the other end's name is; 0: none. */
static int reach(struct world *w, int *end)
{
	struct sockaddr_in a = address(VIP, 80), peer;
	socklen_t size = sizeof(peer);
	int fd = socket(AF_INET, SOCK_STREAM, 0), got = -1;

	*end = 0;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &size), 0);
	assert_int_equal(peer.sin_addr.s_addr, a.sin_addr.s_addr); /* K2 */
	assert_int_equal(peer.sin_port, a.sin_port);
	for (int i = 1; i <= ENDS && got < 0; i++) {
		got = accept4(w->servers[i], NULL, NULL, SOCK_NONBLOCK);
		*end = i;
	}
	assert_true(got >= 0);
	close(got);
	return fd;
}

static void spread(struct world *w, unsigned n, unsigned got[ENDS + 1])
{
	int end, fd;

	memset(got, 0, (ENDS + 1) * sizeof(*got));
	for (unsigned i = 0; i < n; i++) {
		fd = reach(w, &end);
		got[end]++;
		close(fd);
	}
}

#define B(n, more) "{address: 127.0.0." #n ", port: 800" #n more "}"

static void backends_get_connects_by_weight(void **state maybe_unused)
{
	struct world *w = world_open();
	unsigned got[ENDS + 1];

	apply(w, "backends: [" B(1, ) ", " B(2, ) ", " B(3, ) "]");
	spread(w, 600, got);
	for (int i = 1; i <= ENDS; i++)
		assert_in_range(got[i], 140, 260);
	apply(w, "backends: [" B(1, ", weight: 8") ", " B(2, ) ", " B(3, ) "]");
	spread(w, 600, got);
	assert_in_range(got[1], 420, 540);
	apply(w, "backends: [" B(1, ", weight: 0") ", " B(2, ) "]");
	spread(w, 50, got);
	assert_int_equal(got[2], 50);
	apply(w, "backends: []");
	spread(w, 5, got);
	assert_int_equal(got[0], 5);
	world_close(w);
}

static unsigned shown(struct world *w, const char *key)
{
	struct fleet_service *s = fleet_find(w->fleet, "web");
	cleanup(buf_done) struct buf b = {0};
	unsigned sum = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		buf_clear(&b);
		sockets_show(w->sockets, s->backends[i].id, &b);
		sum += (unsigned)atoi(strstr(b.data, key) + strlen(key));
	}
	return sum;
}

static void open_sockets_are_counted_until_they_close(void **state maybe_unused)
{
	struct world *w = world_open();
	int fds[40], end;

	apply(w, "backends: [" B(1, ) ", " B(2, ) "]");
	for (int i = 0; i < 40; i++)
		fds[i] = reach(w, &end);
	assert_int_equal(shown(w, "\"sockets\":"), 40);
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	assert_int_equal(shown(w, "\"sockets\":"), 0);
	assert_int_equal(shown(w, "\"connects\":"), 40);
	world_close(w);
}

/* By the better of two: a few apart, where chance alone is a few times as many. */
static void least_connections_keeps_open_sockets_level(void **state maybe_unused)
{
	struct world *w = world_open();
	unsigned got[ENDS + 1] = {0};
	int fds[300], end;

	apply(w, "algorithm: leastConnections, backends: [" B(1, ) ", " B(2, ) ", " B(3, ) "]");
	for (int i = 0; i < 300; i++) {
		fds[i] = reach(w, &end);
		got[end]++;
	}
	for (int i = 1; i <= ENDS; i++)
		assert_in_range(got[i], 94, 106);
	for (int i = 0; i < 300; i++)
		close(fds[i]);
	world_close(w);
}

static void a_change_is_seen_whole(void **state maybe_unused)
{
	struct world *w = world_open();
	unsigned got[ENDS + 1];

	for (int i = 0; i < 60; i++) {
		apply(w, i & 1 ? "backends: [" B(1, ) "]" : "backends: [" B(2, ) ", " B(3, ) "]");
		spread(w, 10, got);
		assert_int_equal(got[0], 0);
		assert_int_equal(i & 1 ? got[1] : got[2] + got[3], 10);
	}
	world_close(w);
}

static void a_backend_on_another_port_is_reached_there(void **state maybe_unused)
{
	struct world *w = world_open();
	unsigned got[ENDS + 1];

	apply(w, "backends: [{address: 127.0.0.1, port: 9}]");
	spread(w, 3, got);
	assert_int_equal(got[0], 3);
	apply(w, "backends: [{address: 127.0.0.1, port: 8001}]");
	spread(w, 3, got);
	assert_int_equal(got[1], 3);
	world_close(w);
}

static void what_is_outside_of_the_cgroup_is_left_alone(void **state maybe_unused)
{
	struct world *w = world_open();
	unsigned got[ENDS + 1];

	apply(w, "backends: [" B(1, ) "]");
	spread(w, 3, got);
	assert_int_equal(got[1], 3);
	join(w->top);
	spread(w, 3, got);
	assert_int_equal(got[0], 3);
	world_close(w);
}

#define TEST(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(backends_get_connects_by_weight),
		TEST(open_sockets_are_counted_until_they_close),
		TEST(least_connections_keeps_open_sockets_level),
		TEST(a_change_is_seen_whole),
		TEST(a_backend_on_another_port_is_reached_there),
		TEST(what_is_outside_of_the_cgroup_is_left_alone),
	};

	host_bpf_keep();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
