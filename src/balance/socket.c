// SPDX-License-Identifier: Apache-2.0
#include "balance/socket.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "balance/balance.skel.h"
#include "balance/inside.h"
#include "balance/socket.skel.h"
#include "host/host.h"

#define LINK "at-"

#define HELD_PORTS 65536 /* of TCP, then of UDP, a bit each */
#define HELD_BYTES (2 * HELD_PORTS / 8)

struct sockets {
	struct socket_bpf *bpf;
	struct maps *maps;
	struct balance_door *doors;
	struct balance_end *ends;
	uint64_t *held;	     /* a bit each: ports that no process of the cgroup may take */
	struct ifaddrs *own; /* this host's addresses as of the start */
	char pins[256];
	bool pinned;
	int links[16];
	unsigned n_links;
};

/* ---- load ------------------------------------------------------------------------------------ */

/* Tables of balance.bpf.o are shared, by name; the others are this object's own. */
static int maps_share(struct sockets *s, struct skep_err *err)
{
	struct bpf_map *map, *theirs;
	char path[512];
	int rc = 0;

	bpf_object__for_each_map(map, s->bpf->obj)
	{
		if (rc || bpf_map__is_internal(map))
			continue;
		theirs = bpf_object__find_map_by_name(s->maps->bpf->obj, bpf_map__name(map));
		snprintf(path, sizeof(path), "%s/%s", s->pins, bpf_map__name(map));
		if (theirs)
			rc = bpf_map__reuse_fd(map, bpf_map__fd(theirs));
		else if (s->pinned)
			rc = bpf_map__set_pin_path(map, path);
	}
	return rc ? skep_fail(err, rc, "share balance's tables: %s", strerror(-rc)) : 0;
}

/* Cookie of the network namespace of this process. */
static uint64_t home(void)
{
	cleanup(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size))
		return 0;
	return cookie;
}

static int load(struct sockets *s, struct skep_err *err)
{
	const struct maps_size *size = &s->maps->size;
	int rc;

	s->bpf = socket_bpf__open();
	if (!s->bpf)
		return skep_fail(err, -errno, "open socket.bpf.o: %s", strerror(errno));
	bpf_map__set_max_entries(s->bpf->maps.doors, size->services);
	bpf_map__set_max_entries(s->bpf->maps.asked, size->services);
	bpf_map__set_max_entries(s->bpf->maps.ends, size->backends);
	s->bpf->rodata->home = home();
	rc = maps_share(s, err);
	if (rc)
		return rc;
	rc = socket_bpf__load(s->bpf);
	return rc ? maps_load_fail(rc, "socket.bpf.o", err) : 0;
}

static size_t whole_pages(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) & ~(page - 1);
}

static size_t doors_bytes(const struct sockets *s)
{
	return whole_pages(s->maps->size.services * sizeof(*s->doors));
}

static size_t ends_bytes(const struct sockets *s)
{
	return whole_pages(s->maps->size.backends * sizeof(*s->ends));
}

static void *memory(const struct bpf_map *map, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

int sockets_open(struct sockets **out, struct maps *maps, const char *pins, struct skep_err *err)
{
	struct sockets *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->maps = maps;
	s->pinned = pins;
	snprintf(s->pins, sizeof(s->pins), "%s", pins ?: "");
	rc = load(s, err);
	if (rc == -EEXIST && pins) { /* of another shape */
		socket_bpf__destroy(s->bpf);
		sockets_forget(pins);
		rc = load(s, err);
	}
	if (!rc) {
		s->doors = memory(s->bpf->maps.doors, doors_bytes(s));
		s->ends = memory(s->bpf->maps.ends, ends_bytes(s));
		s->held = memory(s->bpf->maps.held, whole_pages(HELD_BYTES));
		if (!s->doors || !s->ends || !s->held)
			rc = skep_fail(err, -errno, "map doors: %s", strerror(errno));
	}
	if (!rc && getifaddrs(&s->own))
		s->own = NULL;
	if (rc) {
		sockets_free(s);
		return rc;
	}
	maps->sockets = *out = s;
	return 0;
}

void sockets_free(struct sockets *s)
{
	unsigned i;

	if (!s)
		return;
	for (i = 0; i < s->n_links; i++)
		fd_close(&s->links[i]);
	if (s->doors)
		munmap(s->doors, doors_bytes(s));
	if (s->ends)
		munmap(s->ends, ends_bytes(s));
	if (s->held)
		munmap(s->held, whole_pages(HELD_BYTES));
	if (s->own)
		freeifaddrs(s->own);
	s->maps->sockets = NULL;
	socket_bpf__destroy(s->bpf);
	free(s);
}

int sockets_map(const struct sockets *s, const char *name)
{
	return bpf_object__find_map_fd_by_name(s->bpf->obj, name);
}

/* ---- attach ---------------------------------------------------------------------------------- */

/* A pinned link that holds this very cgroup; -1 where there is none. */
static int link_found(const char *path, uint64_t cgroup)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return -1;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_LINK_TYPE_CGROUP &&
	    info.cgroup.cgroup_id == cgroup)
		return fd;
	unlink(path);
	fd_close(&fd);
	return -1;
}

static int hook_attach(struct sockets *s, const struct bpf_program *p, int dir, uint64_t id,
		       struct skep_err *err)
{
	const char *name = bpf_program__name(p);
	int *fd = &s->links[s->n_links], rc = 0;
	char path[512];

	snprintf(path, sizeof(path), "%s/" LINK "%s", s->pins, name);
	*fd = s->pinned ? link_found(path, id) : -1;
	if (*fd >= 0) {
		s->n_links++;
		rc = bpf_link_update(*fd, bpf_program__fd(p), NULL);
		return rc ? skep_fail(err, rc, "replace %s: %s", name, strerror(-rc)) : 0;
	}
	*fd = bpf_link_create(bpf_program__fd(p), dir, bpf_program__expected_attach_type(p), NULL);
	if (*fd < 0)
		return skep_fail(err, *fd, "attach %s: %s", name, strerror(-*fd));
	s->n_links++;
	if (s->pinned && bpf_obj_pin(*fd, path))
		rc = skep_fail(err, -errno, "pin %s: %s", path, strerror(errno));
	return rc;
}

int sockets_attach(struct sockets *s, const char *cgroup, struct skep_err *err)
{
	cleanup(fd_close) int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_program *p;
	struct stat st;
	int rc = 0;

	if (dir < 0 || fstat(dir, &st))
		return skep_fail(err, -errno, "cgroup %s: %s", cgroup, strerror(errno));
	bpf_object__for_each_program(p, s->bpf->obj)
	{
		if (!rc)
			rc = hook_attach(s, p, dir, st.st_ino, err);
	}
	return rc;
}

void sockets_forget(const char *pins)
{
	struct socket_bpf *b = socket_bpf__open();
	struct bpf_program *p;
	char path[512];
	static const char *const own[] = {"doors", "peers", "talks", "friends",
					  "asked", "ends",  "held"};
	unsigned i;

	if (!b)
		return;
	bpf_object__for_each_program(p, b->obj)
	{
		snprintf(path, sizeof(path), "%s/" LINK "%s", pins, bpf_program__name(p));
		unlink(path);
	}
	for (i = 0; i < array_size(own); i++) {
		snprintf(path, sizeof(path), "%s/%s", pins, own[i]);
		unlink(path);
	}
	socket_bpf__destroy(b);
}

/* ---- counters -------------------------------------------------------------------------------- */

uint64_t sockets_refused(const struct sockets *s, uint32_t stat)
{
	return maps_sum(bpf_map__fd(s->bpf->maps.asked), stat);
}

void sockets_show(const struct sockets *s, uint32_t backend, struct buf *out)
{
	const struct balance_end *e = &s->ends[backend];

	buf_fmt(out, ",\"port\":%u,\"connects\":%" PRIu64 ",\"sockets\":%u", ntohs(e->port),
		(uint64_t)e->connects, e->live);
}

void sockets_count(const struct sockets *s, const struct fleet_service *f, cap_count_fn fn,
		   void *arg)
{
	char labels[320];
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		fleet_labels(f, &f->backends[i], labels, sizeof(labels));
		fn(arg, "skep_balance_socket_connects_total", CAP_COUNTER,
		   "Sockets connected to a backend", labels,
		   (double)s->ends[f->backends[i].id].connects);
		fn(arg, "skep_balance_socket_live", CAP_GAUGE,
		   "Open sockets connected to a backend", labels,
		   (double)s->ends[f->backends[i].id].live);
	}
	snprintf(labels, sizeof(labels), "service=\"%s\"", f->want->name);
	fn(arg, "skep_balance_socket_refused_total", CAP_COUNTER,
	   "Connects refused: the service had no backend", labels,
	   (double)sockets_refused(s, f->stat));
}

/* ---- tables, for fleet.c --------------------------------------------------------------------- */

static bool own_address(const struct ifaddrs *list, const struct config_addr *a)
{
	const struct ifaddrs *i;

	for (i = list; i; i = i->ifa_next) {
		const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
		const struct sockaddr_in *four = (const void *)i->ifa_addr;

		if (!i->ifa_addr)
			continue;
		if (a->family == 4 && four->sin_family == AF_INET &&
		    !memcmp(&four->sin_addr, a->bytes, 4))
			return true;
		if (a->family == 6 && six->sin6_family == AF_INET6 &&
		    !memcmp(&six->sin6_addr, a->bytes, 16))
			return true;
	}
	return false;
}

static bool node_is_here(const struct fleet_service *s, const struct config_addr *a)
{
	uint32_t i;

	for (i = 0; i < s->want->n_backends; i++)
		if (!memcmp(&s->want->backends[i].addr, a, sizeof(*a)))
			return s->want->backends[i].local;
	return false;
}

static bool gets_flows(const struct fleet_backend *b)
{
	return b->listed && b->state == BALANCE_LIVE && b->weight;
}

static void few_local(struct balance_door *d, const struct fleet_service *s,
		      const struct ifaddrs *own)
{
	uint32_t i;

	d->flags |= BALANCE_DOOR_FEW;
	for (i = 0; i < s->n && d->n < BALANCE_FEW; i++) {
		const struct fleet_backend *b = &s->backends[i];

		if (gets_flows(b) && (node_is_here(s, &b->addr) || own_address(own, &b->addr)))
			d->few[d->n++] = b->id;
	}
}

/* Where all weigh the same and there is room the ring is not needed: a cache line less. */
static void few_alike(struct balance_door *d, const struct fleet_service *s)
{
	uint32_t weight = 0, i;

	for (i = 0; i < s->n; i++) {
		const struct fleet_backend *b = &s->backends[i];

		if (!gets_flows(b))
			continue;
		if (d->n == BALANCE_FEW || (weight && b->weight != weight))
			return;
		weight = b->weight;
		d->few[d->n++] = b->id;
	}
	d->flags |= BALANCE_DOOR_FEW;
}

void sockets_door(struct fleet *t, const struct fleet_service *s)
{
	const struct config_options *o = s->want->opt;
	struct balance_door d = {
		.affinity = (uint32_t)o->affinity_s,
		.stat = s->stat,
		.ring = s->ring,
		.ring_log = s->log,
		.by_source = (uint8_t)o->hash,
	};

	if (!t->maps->sockets)
		return;
	if (o->socket)
		d.flags = BALANCE_DOOR_OPEN;
	if (o->algorithm == CONFIG_LEAST_CONNECTIONS)
		d.flags |= BALANCE_DOOR_LEAST;
	if (o->internal == CONFIG_LOCAL)
		few_local(&d, s, t->maps->sockets->own);
	else if (!o->hash)
		few_alike(&d, s);
	t->maps->sockets->doors[s->instance] = d;
}

static void end_write(struct balance_end *e, const struct config_backend *w)
{
	memcpy(e->addr, w->addr.bytes, 16);
	__atomic_store_n(&e->port, htons((uint16_t)w->port), __ATOMIC_RELEASE);
}

void sockets_end(struct fleet *t, uint32_t backend, const struct config_backend *w, bool fresh)
{
	struct balance_end *e;
	uint16_t next;

	if (!t->maps->sockets)
		return;
	e = &t->maps->sockets->ends[backend];
	if (!fresh && e->generation)
		return;
	next = (uint16_t)(e->generation + 1);
	e->generation = 0; /* nobody is sent to half of it */
	e->live = 0;
	e->connects = 0;
	end_write(e, w);
	__atomic_store_n(&e->generation, next ?: 1, __ATOMIC_RELEASE);
}

void sockets_ends(struct fleet *t, const struct fleet_service *s)
{
	uint32_t i, k;

	for (i = 0; t->maps->sockets && i < s->want->n_backends; i++) {
		const struct config_backend *w = &s->want->backends[i];

		for (k = i; k < s->n && memcmp(&s->backends[k].addr, &w->addr, sizeof(w->addr));)
			k++;
		if (k < s->n)
			end_write(&t->maps->sockets->ends[s->backends[k].id], w);
	}
}

static void hold(uint64_t *bits, const struct config_service *s)
{
	uint32_t i, at;

	for (i = 0; s->opt->node_port && i < s->n_vips; i++) {
		at = (uint32_t)s->opt->node_port +
		     (s->vips[i].proto == IPPROTO_UDP ? HELD_PORTS : 0);
		bits[at / 64] |= 1ULL << (at & 63);
	}
}

void sockets_hold(struct fleet *t)
{
	cleanup(mem_free) uint64_t *bits = t->maps->sockets ? calloc(1, HELD_BYTES) : NULL;
	const struct fleet_service *s;
	size_t i;

	if (!bits)
		return;
	for (s = t->services; s; s = s->hh.next)
		hold(bits, s->want);
	for (i = 0; i < HELD_BYTES / sizeof(*bits); i++)
		if (t->maps->sockets->held[i] != bits[i])
			__atomic_store_n(&t->maps->sockets->held[i], bits[i], __ATOMIC_RELEASE);
}

bool sockets_same(const struct fleet_service *s, const struct config_service *want, uint32_t i)
{
	const struct config_backend *w = &want->backends[i], *is = s->want->backends;
	uint32_t n = s->want->n_backends, k;

	if (!want->opt->socket)
		return true;
	for (k = 0; k < n; k++) /* most stand where they stood */
		if (!memcmp(&is[(i + k) % n].addr, &w->addr, sizeof(w->addr)))
			return is[(i + k) % n].local == w->local;
	return false;
}
