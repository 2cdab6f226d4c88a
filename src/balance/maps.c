// SPDX-License-Identifier: Apache-2.0
#include "balance/maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

#include "balance/balance.skel.h"
#include "host/host.h"

static int pin_paths(struct balance_bpf *b, const char *pins, struct skep_err *err)
{
	struct bpf_map *map;
	char path[512];
	int rc;

	bpf_object__for_each_map(map, b->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "%s/%s", pins, bpf_map__name(map));
		rc = bpf_map__set_pin_path(map, path);
		if (rc)
			return skep_fail(err, rc, "pin %s: %s", path, strerror(-rc));
	}
	return 0;
}

static void configure(struct balance_bpf *b, const struct maps_size *s, bool telling)
{
	bpf_map__set_max_entries(b->maps.services, s->services);
	bpf_map__set_max_entries(b->maps.counts, s->services);
	bpf_map__set_max_entries(b->maps.protect, s->services);
	bpf_map__set_max_entries(b->maps.backends, s->backends);
	bpf_map__set_max_entries(b->maps.sent, s->backends);
	bpf_map__set_max_entries(b->maps.again, s->backends);
	bpf_map__set_max_entries(b->maps.rings, s->slots);
	bpf_map__set_max_entries(b->maps.flows, 1U << s->bucket_log);
	bpf_map__set_max_entries(b->maps.vip4, s->vips);
	bpf_map__set_max_entries(b->maps.quic, s->backends);
	bpf_map__set_max_entries(b->maps.vip6, s->vips);
	bpf_map__set_max_entries(b->maps.ranges, MAPS_RANGES);
	bpf_map__set_max_entries(b->maps.nat_forth, 1U << s->nat_log);
	bpf_map__set_max_entries(b->maps.nat_back, 1U << s->nat_log);
	bpf_map__set_max_entries(b->maps.nat, (uint32_t)BALANCE_WAYS << s->nat_log);
	b->rodata->nat_log = s->nat_log;
	b->rodata->nat_first = s->nat_first;
	b->rodata->nat_ports = s->nat_last - s->nat_first + 1U;
	b->rodata->telling = telling;
	b->rodata->can_sample =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes, NULL) == 1;
	b->rodata->bucket_log = s->bucket_log;
	if (s->gue_port)
		b->rodata->gue_port = s->gue_port;
}

/* Whole pages, as the kernel gives them. */
static size_t map_bytes(const struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t value = (bpf_map__value_size(map) + 7) & ~7U;

	return (value * bpf_map__max_entries(map) + page - 1) & ~(page - 1);
}

static void *map_memory(const struct bpf_map *map)
{
	void *p =
		mmap(NULL, map_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(const struct bpf_map *map, void *memory)
{
	if (memory)
		munmap(memory, map_bytes(map));
}

/*
 * Where page tables are shadowed (PVM, nested virtual machines) the first store to each page costs tens of
 * microseconds. Paid here, not by who applies services. Programs do not write what is touched so.
 */
static void touch(const struct bpf_map *map, void *memory)
{
	volatile uint8_t *p = memory;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), i;

	for (i = 0; i < map_bytes(map); i += page)
		p[i] = p[i];
}

static int memory_open(struct maps *m, struct skep_err *err)
{
	struct balance_bpf *b = m->bpf;

	m->state = map_memory(b->maps.state);
	m->ranges = map_memory(b->maps.ranges);
	m->services = map_memory(b->maps.services);
	m->rings = map_memory(b->maps.rings);
	m->backends = map_memory(b->maps.backends);
	m->flows = map_memory(b->maps.flows);
	m->counts = map_memory(b->maps.counts);
	m->nat_forth = map_memory(b->maps.nat_forth);
	m->nat_back = map_memory(b->maps.nat_back);
	m->nat = map_memory(b->maps.nat);
	m->protect = map_memory(b->maps.protect);
	m->nat_strangers = map_memory(b->maps.nat_strangers);
	if (!m->state || !m->ranges || !m->services || !m->rings || !m->backends || !m->flows ||
	    !m->counts || !m->nat_forth || !m->nat_back || !m->nat || !m->nat_strangers ||
	    !m->protect)
		return skep_fail(err, -errno, "map balance's tables: %s", strerror(errno));
	if (!m->adopted) {
		touch(b->maps.rings, m->rings);
		touch(b->maps.backends, m->backends);
		touch(b->maps.services, m->services);
		touch(b->maps.counts, m->counts);
	}
	return 0;
}

/* Tables that were made by another version are not read. */
static int layout_check(struct maps *m, struct skep_err *err)
{
	if (m->adopted && m->state->layout != BALANCE_LAYOUT)
		return skep_fail(err, -EEXIST, "the pinned tables have layout %u, not %u",
				 m->state->layout, BALANCE_LAYOUT);
	m->state->layout = BALANCE_LAYOUT;
	return 0;
}

static bool pinned(const char *pins)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/state", pins);
	return !access(path, F_OK);
}

int maps_load_fail(int rc, const char *object, struct skep_err *err)
{
	const char *log = host_bpf_log();

	return skep_fail(err, strstr(log, "couldn't reuse pinned map") ? -EEXIST : rc,
			 "load %s: %s: %s", object, strerror(-rc), log);
}

static int load(struct maps *m, struct skep_err *err)
{
	int rc = balance_bpf__load(m->bpf);

	if (rc)
		return maps_load_fail(rc, "balance.bpf.o", err);
	rc = memory_open(m, err);
	return rc ? rc : layout_check(m, err);
}

int maps_open(struct maps *m, const struct maps_size *size, const char *pins, bool telling,
	      struct skep_err *err)
{
	struct balance_bpf *b = balance_bpf__open();
	int rc;

	memset(m, 0, sizeof(*m));
	if (!b)
		return skep_fail(err, -errno, "open balance.bpf.o: %s", strerror(errno));
	m->bpf = b;
	m->size = *size;
	m->size.nat_log = size->nat_log ? size->nat_log : 6;
	m->size.nat_first = size->nat_first ? size->nat_first : 1024;
	m->size.nat_last = size->nat_last ? size->nat_last : 32767;
	m->adopted = pins && pinned(pins);
	configure(b, &m->size, telling);
	rc = pins ? pin_paths(b, pins, err) : 0;
	if (!rc)
		rc = load(m, err);
	if (rc) {
		maps_done(m);
		return rc;
	}
	m->vip4 = bpf_map__fd(b->maps.vip4);
	m->vip6 = bpf_map__fd(b->maps.vip6);
	m->quic = bpf_map__fd(b->maps.quic);
	m->sent = bpf_map__fd(b->maps.sent);
	m->again = bpf_map__fd(b->maps.again);
	m->allow4 = bpf_map__fd(b->maps.allow4);
	m->allow6 = bpf_map__fd(b->maps.allow6);
	m->deny4 = bpf_map__fd(b->maps.deny4);
	m->deny6 = bpf_map__fd(b->maps.deny6);
	m->totals = bpf_map__fd(b->maps.totals);
	m->told = bpf_map__fd(b->maps.told);
	m->prog = bpf_program__fd(b->progs.balance);
	return 0;
}

void maps_done(struct maps *m)
{
	if (!m->bpf)
		return;
	unmap(m->bpf->maps.state, m->state);
	unmap(m->bpf->maps.ranges, m->ranges);
	unmap(m->bpf->maps.services, m->services);
	unmap(m->bpf->maps.rings, m->rings);
	unmap(m->bpf->maps.backends, m->backends);
	unmap(m->bpf->maps.flows, m->flows);
	unmap(m->bpf->maps.counts, m->counts);
	unmap(m->bpf->maps.nat_forth, m->nat_forth);
	unmap(m->bpf->maps.nat_back, m->nat_back);
	unmap(m->bpf->maps.nat, m->nat);
	unmap(m->bpf->maps.protect, m->protect);
	unmap(m->bpf->maps.nat_strangers, m->nat_strangers);
	balance_bpf__destroy(m->bpf);
	memset(m, 0, sizeof(*m));
}

struct maps_key maps_key(uint8_t family, const uint8_t *addr, uint8_t proto, uint16_t port)
{
	struct maps_key k = {.v6 = family == 6};
	uint16_t be = __builtin_bswap16(port);

	if (k.v6) {
		memcpy(k.k6.addr, addr, 16);
		k.k6.port = be;
		k.k6.proto = proto;
	} else {
		memcpy(&k.k4.addr, addr, 4);
		k.k4.port = be;
		k.k4.proto = proto;
	}
	return k;
}

static int vip_fd(const struct maps *m, const struct maps_key *k, const void **key)
{
	*key = k->v6 ? (const void *)&k->k6 : (const void *)&k->k4;
	return k->v6 ? m->vip6 : m->vip4;
}

struct balance_vip maps_vip_get(const struct maps *m, const struct maps_key *k)
{
	struct balance_vip v = {{0, 0}};
	const void *key;
	int fd = vip_fd(m, k, &key);

	if (bpf_map_lookup_elem(fd, key, &v))
		return (struct balance_vip){{0, 0}};
	return v;
}

int maps_vip_set(struct maps *m, const struct maps_key *k, struct balance_vip v)
{
	const void *key;
	int fd = vip_fd(m, k, &key), rc;

	if (v.service[0] || v.service[1])
		return bpf_map_update_elem(fd, key, &v, BPF_ANY);
	rc = bpf_map_delete_elem(fd, key);
	return rc == -ENOENT ? 0 : rc;
}

static int room_for(void **keys, size_t key_size, struct balance_vip **values, uint32_t n,
		    uint32_t *room)
{
	uint32_t more = *room * 2 + 64;
	void *k, *v;

	if (n < *room)
		return 0;
	k = reallocarray(*keys, more, key_size);
	if (!k)
		return -ENOMEM;
	*keys = k;
	v = reallocarray(*values, more, sizeof(**values));
	if (!v)
		return -ENOMEM;
	*values = v;
	*room = more;
	return 0;
}

void maps_vips_add(struct maps *m, struct maps_vips *b, const struct maps_key *k,
		   struct balance_vip v)
{
	int rc;

	if (!v.service[0] && !v.service[1]) { /* behind what is set before */
		rc = maps_vips_set(m, b) ?: maps_vip_set(m, k, v);
	} else if (k->v6) {
		rc = room_for((void **)&b->k6, sizeof(*b->k6), &b->v6, b->n6, &b->room6);
		if (!rc) {
			b->k6[b->n6] = k->k6;
			b->v6[b->n6++] = v;
		}
	} else {
		rc = room_for((void **)&b->k4, sizeof(*b->k4), &b->v4, b->n4, &b->room4);
		if (!rc) {
			b->k4[b->n4] = k->k4;
			b->v4[b->n4++] = v;
		}
	}
	b->rc = b->rc ?: rc;
}

void maps_vips_drop(struct maps_vips *b)
{
	free(b->k4);
	free(b->k6);
	free(b->v4);
	free(b->v6);
	*b = (struct maps_vips){0};
}

/* A batch ends at the first that fails; the others are set all the same. */
static int batch_set(int fd, const char *keys, size_t key_size, const struct balance_vip *values,
		     uint32_t n)
{
	uint32_t i = n;
	int rc = n ? bpf_map_update_batch(fd, keys, values, &i, NULL) : 0, first = 0;

	if (!rc)
		return 0;
	for (i = i < n ? i : 0; i < n; i++) {
		rc = bpf_map_update_elem(fd, keys + i * key_size, &values[i], BPF_ANY);
		first = first ?: rc;
	}
	return first;
}

int maps_vips_set(struct maps *m, struct maps_vips *b)
{
	int four = batch_set(m->vip4, (const char *)b->k4, sizeof(*b->k4), b->v4, b->n4);
	int six = batch_set(m->vip6, (const char *)b->k6, sizeof(*b->k6), b->v6, b->n6);
	int rc = b->rc ?: four ?: six;

	maps_vips_drop(b);
	return rc;
}

uint32_t maps_filter_bit(uint8_t family, const uint8_t *addr)
{
	uint64_t six[2];
	uint32_t four;

	if (family == 4) {
		memcpy(&four, addr, 4);
		return balance_filter4(four);
	}
	memcpy(six, addr, 16);
	return balance_filter6((const __u64 *)six);
}

struct balance_sent maps_sent(const struct maps *m, uint32_t backend)
{
	int cpus = libbpf_num_possible_cpus(), i;
	struct balance_sent *each, sum = {0};

	each = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*each));
	if (each && !bpf_map_lookup_elem(m->sent, &backend, each)) {
		for (i = 0; i < cpus; i++) {
			sum.packets += each[i].packets;
			sum.bytes += each[i].bytes;
			sum.flows += each[i].flows;
			sum.returned += each[i].returned;
			sum.returned_bytes += each[i].returned_bytes;
		}
	}
	free(each);
	return sum;
}

struct maps_again maps_again(const struct maps *m, uint32_t backend)
{
	int cpus = libbpf_num_possible_cpus(), i;
	struct maps_again sum = {0};
	struct balance_again *each;

	each = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*each));
	if (each && !bpf_map_lookup_elem(m->again, &backend, each))
		for (i = 0; i < cpus; i++) {
			sum.syns += each[i].syns;
			sum.resets += each[i].resets;
		}
	free(each);
	return sum;
}

uint64_t maps_sum(int map, uint32_t key)
{
	int cpus = libbpf_num_possible_cpus(), i;
	uint64_t *each = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*each)), sum = 0;

	if (each && !bpf_map_lookup_elem(map, &key, each))
		for (i = 0; i < cpus; i++)
			sum += each[i];
	free(each);
	return sum;
}

struct balance_counts maps_totals(const struct maps *m)
{
	struct balance_counts *each, sum = {{0}};
	int cpus = libbpf_num_possible_cpus(), i, r;
	uint32_t zero = 0;

	each = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*each));
	if (each && !bpf_map_lookup_elem(m->totals, &zero, each))
		for (i = 0; i < cpus; i++)
			for (r = 0; r < BALANCE_REASONS; r++)
				sum.packets[r] += each[i].packets[r];
	free(each);
	return sum;
}
