// SPDX-License-Identifier: Apache-2.0
#include "balance/tunnel.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#include "balance/tunnel.skel.h"
#include "host/host.h"

#define TRIES	8
#define SEGMENT 1200	   /* with any outer header it fits any way */
#define LINGER	3000000000 /* ns, for FINs and what is sent again */
#define SIZE	(BALANCE_PROBES * sizeof(struct balance_probe))

struct tunnel {
	struct tunnel_bpf *bpf;
	struct balance_probe *table;
	struct attach in[ATTACH_MAX], out[ATTACH_MAX];
	uint32_t n;
};

static int attach_both(struct tunnel *t, const char *name, struct skep_err *err)
{
	struct attach_wish in = {.name = name,
				 .hook = ATTACH_PROBES_IN,
				 .prog = bpf_program__fd(t->bpf->progs.probe_in)};
	struct attach_wish out = {.name = name,
				  .hook = ATTACH_PROBES_OUT,
				  .prog = bpf_program__fd(t->bpf->progs.probe_out)};
	struct attach *a = &t->in[t->n], *b = &t->out[t->n];
	int rc = attach_open(a, &in, err);

	b->fd = -1;
	t->n++;
	return rc ? rc : attach_open(b, &out, err);
}

int tunnel_open(struct tunnel **out, const char (*interfaces)[ATTACH_NAME], uint32_t n,
		uint16_t gue_port, struct skep_err *err)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	uint32_t i;
	int rc;

	if (!t)
		return -ENOMEM;
	t->bpf = tunnel_bpf__open();
	if (t->bpf && gue_port)
		t->bpf->rodata->gue_port = gue_port;
	rc = t->bpf ? tunnel_bpf__load(t->bpf) : -errno;
	if (rc)
		skep_fail(err, rc, "load tunnel.bpf.o: %s: %s", strerror(-rc), host_bpf_log());
	t->table = rc ? MAP_FAILED
		      : mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			     bpf_map__fd(t->bpf->maps.probes), 0);
	if (t->table == MAP_FAILED) {
		t->table = NULL;
		rc = rc ? rc : skep_fail(err, -errno, "map probes: %s", strerror(errno));
	}
	for (i = 0; i < min(n, (uint32_t)ATTACH_MAX) && !rc; i++)
		rc = attach_both(t, interfaces[i], err);
	if (rc) {
		tunnel_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void tunnel_free(struct tunnel *t)
{
	uint32_t i;

	if (!t)
		return;
	for (i = 0; i < t->n; i++) {
		attach_done(&t->in[i]);
		attach_done(&t->out[i]);
	}
	if (t->table)
		munmap(t->table, SIZE);
	tunnel_bpf__destroy(t->bpf);
	free(t);
}

void tunnel_forget(const char (*interfaces)[ATTACH_NAME], uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		attach_end(&(struct attach_wish){.name = interfaces[i], .hook = ATTACH_PROBES_IN},
			   0);
		attach_end(&(struct attach_wish){.name = interfaces[i], .hook = ATTACH_PROBES_OUT},
			   0);
	}
}

struct balance_probe *tunnel_table(const struct tunnel *t)
{
	return t ? t->table : NULL;
}

/* ---- in the prober --------------------------------------------------------------------------- */

static uint64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A socket with a port of its own, in network order. */
static int bound(const struct tunnel_way *way, uint16_t *port)
{
	bool six = way->backend->family == 6;
	struct sockaddr_in6 sa = {.sin6_family =
					  six ? AF_INET6 : AF_INET}; /* any address, any port */
	socklen_t len = six ? sizeof(sa) : sizeof(struct sockaddr_in);
	int type = way->proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM, segment = SEGMENT;
	int fd = socket(sa.sin6_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
	if (bind(fd, (void *)&sa, len) || getsockname(fd, (void *)&sa, &len)) {
		len = (socklen_t)errno;
		close(fd);
		return -(int)len;
	}
	*port = sa.sin6_port; /* of either family at the same place */
	return fd;
}

static void fill(struct balance_probe *p, const struct tunnel_way *way, uint16_t ours)
{
	struct balance_probe now = {
		.ours = ours,
		.theirs = htons(way->port),
		.family = way->backend->family,
		.proto = way->proto,
		.mode = way->mode,
	};

	memcpy(now.backend, way->backend->bytes, now.family == 4 ? 4 : 16);
	memcpy(now.vip, way->vip->bytes, now.family == 4 ? 4 : 16);
	*p = now;
	__atomic_store_n(&p->until, monotonic() + way->ns, __ATOMIC_RELEASE); /* Q2 */
}

int tunnel_socket(struct balance_probe *table, const struct tunnel_way *way,
		  struct balance_probe **place)
{
	struct balance_probe *p;
	uint16_t port = 0;
	int i, fd;

	for (i = 0; i < TRIES; i++) {
		fd = bound(way, &port);
		if (fd < 0)
			return fd;
		p = &table[ntohs(port)];
		if (p->until < monotonic()) {
			fill(p, way, port);
			*place = p;
			return fd;
		}
		close(fd); /* a probe of the other protocol has it, or had it just now */
	}
	return -EADDRINUSE;
}

void tunnel_end(struct balance_probe *place)
{
	if (place)
		__atomic_store_n(&place->until, monotonic() + LINGER, __ATOMIC_RELEASE);
}
