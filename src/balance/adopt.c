// SPDX-License-Identifier: Apache-2.0
/*
 * What an earlier agent left in pinned maps becomes a table again: VIPs lead to instances, these to
 * rings, these to backends. Weights and names are not in the maps; the next fleet_apply() brings
 * them, and finds each service by its first VIP.
 */
#include "balance/inside.h"

#include <bpf/bpf.h>

static struct fleet_service *by_instance(struct fleet *t, uint32_t instance)
{
	const struct balance_service *r = &t->maps->services[instance];
	static const struct config_options none;
	struct fleet_service *s;
	char name[CONFIG_NAME_MAX];

	snprintf(name, sizeof(name), "#%u", instance);
	s = fleet_find(t, name);
	if (s || !instance || instance >= t->maps->size.services || r->ring_log < EXTENT_LOG ||
	    r->ring_log > 20 || r->ring > t->maps->size.slots - (1U << r->ring_log))
		return s;
	s = calloc(1, sizeof(*s));
	if (s)
		s->want = config_service_new(name, &none, t->services ? t->services->want : NULL);
	if (!s || !s->want) {
		free(s);
		return NULL;
	}
	s->instance = instance;
	s->stat = r->stat;
	s->ring = r->ring;
	s->log = r->ring_log;
	ids_take(&t->instances, instance);
	ids_take(&t->stats, r->stat);
	extents_take(&t->rings, r->ring, r->ring_log);
	HASH_ADD_KEYPTR(hh, t->services, s->want->name, strlen(s->want->name), s);
	return s;
}

static int vip_add(struct fleet *t, uint32_t instance, const struct config_vip *v)
{
	struct fleet_service *s = by_instance(t, instance);
	void *more;

	if (!s)
		return 0;
	more = reallocarray(s->want->vips, s->want->n_vips + 1, sizeof(*v));
	if (!more)
		return -ENOMEM;
	s->want->vips = more;
	s->want->vips[s->want->n_vips++] = *v;
	return 0;
}

static int ranges_add(struct fleet *t, uint32_t index, struct config_vip v)
{
	const struct balance_ranges *r = &t->maps->ranges[index];
	struct group *more;
	uint32_t i;
	int rc = 0;

	if (index >= MAPS_RANGES || r->n > BALANCE_RANGES || !ids_take(&t->ranges, index))
		return 0;
	more = reallocarray(t->groups.list, t->groups.n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->groups.list = more;
	t->groups.room = t->groups.n + 1;
	t->groups.list[t->groups.n++] =
		(struct group){.addr = v.addr, .proto = v.proto, .index = index, .ranges = *r};
	for (i = 0; i < r->n && !rc; i++) {
		v.first = r->range[i].first;
		v.last = r->range[i].last;
		rc = vip_add(t, r->range[i].service, &v);
	}
	return rc;
}

static int entry_add(struct fleet *t, const struct config_addr *a, uint8_t proto, uint16_t port,
		     const struct balance_vip *v)
{
	uint32_t value = v->service[t->maps->state->active & 1];
	struct config_vip vip = {.addr = *a, .proto = proto, .first = port, .last = port};
	struct maps_key k = maps_key(a->family, a->bytes, proto, port);

	/* an apply that was cut off left its spare side */
	maps_vip_set(t->maps, &k, (struct balance_vip){{value, value}});
	if (!proto || !value)
		return 0;
	return port ? vip_add(t, value, &vip) : ranges_add(t, value, vip);
}

/* Keys first, then entries: these are set, and keys could come twice. */
static int map_read(struct fleet *t, int fd, size_t key_size, uint8_t family)
{
	cleanup(mem_free) char *keys = NULL;
	char key[sizeof(struct balance_key6)];
	size_t n = 0, i;
	int rc;

	for (rc = bpf_map_get_next_key(fd, NULL, key); !rc;
	     rc = bpf_map_get_next_key(fd, key, key)) {
		char *more = reallocarray(keys, n + 1, key_size);

		if (!more)
			return -ENOMEM;
		keys = more;
		memcpy(keys + n++ * key_size, key, key_size);
	}
	for (rc = 0, i = 0; i < n && !rc; i++) {
		const struct balance_key4 *k4 = (const void *)(keys + i * key_size);
		const struct balance_key6 *k6 = (const void *)(keys + i * key_size);
		struct config_addr a = {.family = family};
		struct balance_vip v;

		memcpy(a.bytes, k4, family == 4 ? 4 : 16);
		if (!bpf_map_lookup_elem(fd, k4, &v))
			rc = entry_add(t, &a, family == 4 ? k4->proto : k6->proto,
				       __builtin_bswap16(family == 4 ? k4->port : k6->port), &v);
	}
	return rc;
}

static int backend_add(struct fleet *t, struct fleet_service *s, uint32_t id)
{
	const struct balance_backend *r = &t->maps->backends[id];
	struct fleet_backend *b;
	void *more;

	if (id >= t->maps->size.backends || !r->family || !ids_take(&t->backends, id))
		return 0;
	more = reallocarray(s->backends, s->n + 1, sizeof(*s->backends));
	if (!more)
		return -ENOMEM;
	s->backends = more;
	b = &s->backends[s->n++];
	*b = (struct fleet_backend){.id = id,
				    .state = r->state,
				    .mode = r->mode,
				    .listed = true,
				    .factor = FLEET_FACTOR_ONE,
				    .share = 1};
	b->port = r->mode == BALANCE_NAT ? __builtin_bswap16(r->port) : 0;
	b->addr.family = r->family;
	memcpy(b->addr.bytes, r->dst, r->family == 4 ? 4 : 16);
	return 0;
}

static int ring_read(struct fleet *t, struct fleet_service *s)
{
	const struct balance_slot *slot = t->maps->rings + s->ring;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < 1U << s->log && !rc; i++) {
		s->look |= slot[i].was >> 31;
		rc = backend_add(t, s, slot[i].now);
		if (!rc)
			rc = backend_add(t, s, slot[i].was & ~BALANCE_LOOK);
	}
	return rc;
}

/* A backend that only entries name. */
static int named_read(struct fleet *t, uint32_t id)
{
	struct fleet_service *s;

	if (!id || id >= t->maps->size.backends || t->backends.used[id])
		return 0;
	for (s = t->services; s; s = s->hh.next)
		if (s->stat == t->maps->backends[id].stat)
			return backend_add(t, s, id);
	return 0;
}

/* An order without digests: each is looked at by the next apply. */
static int order_make(struct fleet *t)
{
	struct fleet_service *s;

	t->order = calloc(HASH_COUNT(t->services) + 1, sizeof(*t->order));
	if (!t->order)
		return -ENOMEM;
	for (s = t->services; s; s = s->hh.next)
		t->order[t->n_order++].service = s;
	return 0;
}

int adopt(struct fleet *t, struct skep_err *err)
{
	size_t buckets = (size_t)1 << t->maps->size.bucket_log, i;
	struct fleet_service *s;
	unsigned w;
	int rc = map_read(t, t->maps->vip4, sizeof(struct balance_key4), 4);

	t->quic = true;
	if (!rc)
		rc = map_read(t, t->maps->vip6, sizeof(struct balance_key6), 6);
	for (s = t->services; s && !rc; s = s->hh.next)
		rc = ring_read(t, s) ?: vips_adopt(t, s);
	for (i = 0; i < buckets && !rc; i++)
		for (w = 0; w < BALANCE_WAYS && !rc; w++)
			rc = named_read(t, BALANCE_ENTRY_BACKEND(t->maps->flows[i].entry[w]));
	if (!rc)
		rc = nat_each(t, named_read, t);
	if (!rc)
		rc = order_make(t);
	return rc ? skep_fail(err, rc, "read the pinned tables: %s", strerror(-rc)) : 0;
}
