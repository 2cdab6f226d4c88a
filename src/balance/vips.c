// SPDX-License-Identifier: Apache-2.0
/*
 * Entries of vip4 and vip6, two sides each: the spare side is written while the other holds, the
 * commit (fleet.c) turns them all, and then the sides are made alike again.
 *
 * The bare address (port 0, protocol 0) and the filter's bits need no sides: they come before the
 * commit and go after it, and tell no service.
 */
#include "balance/inside.h"

#include <netinet/in.h>

static bool exact(const struct config_vip *v)
{
	return v->first && v->first == v->last;
}

static uint32_t spare(const struct fleet *t)
{
	return !(t->maps->state->active & 1);
}

static int side_set(struct fleet *t, const struct maps_key *k, uint32_t value)
{
	struct balance_vip v = maps_vip_get(t->maps, k);

	v.service[spare(t)] = value;
	return maps_vip_set(t->maps, k, v);
}

static struct address *address_find(const struct fleet *t, const struct config_addr *a)
{
	struct address *x;

	HASH_FIND(hh, t->addresses, a, sizeof(*a), x);
	return x;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void filter_set(struct fleet *t, const struct config_addr *a)
{
	uint32_t bit = maps_filter_bit(a->family, a->bytes);

	__atomic_fetch_or(&t->maps->state->filter[bit / 64], 1ULL << (bit & 63), __ATOMIC_RELEASE);
}

static int address_get(struct fleet *t, const struct config_addr *a, struct maps_vips *b)
{
	struct maps_key k = maps_key(a->family, a->bytes, 0, 0);
	uint32_t kind = config_node_is(a) ? BALANCE_HOSTS : BALANCE_OURS;
	struct address *x = address_find(t, a);

	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return -ENOMEM;
		maps_vips_add(t->maps, b, &k, (struct balance_vip){{kind, kind}});
		x->addr = *a;
		HASH_ADD(hh, t->addresses, addr, sizeof(x->addr), x);
		filter_set(t, a);
	}
	x->refs++;
	return 0;
}

/* Return: whether it was the last. */
static bool address_put(struct fleet *t, const struct config_addr *a)
{
	struct maps_key k = maps_key(a->family, a->bytes, 0, 0);
	struct address *x = address_find(t, a);

	if (!x || --x->refs)
		return false;
	HASH_DEL(t->addresses, x);
	free(x);
	maps_vip_set(t->maps, &k, (struct balance_vip){{0, 0}});
	return true;
}

/* Bits of addresses that are gone. */
static void filter_clean(struct fleet *t)
{
	size_t words = array_size(t->maps->state->filter), i;
	cleanup(mem_free) uint64_t *bits = calloc(words, sizeof(*bits));
	struct address *a;

	if (!bits)
		return; /* a bit too many costs a lookup */
	for (a = t->addresses; a; a = a->hh.next) {
		uint32_t bit = maps_filter_bit(a->addr.family, a->addr.bytes);

		bits[bit / 64] |= 1ULL << (bit & 63);
	}
	if (t->maps->state->use & BALANCE_USE_NAT)
		nat_filter(t, bits);
	for (i = 0; i < words; i++)
		if (t->maps->state->filter[i] != bits[i])
			__atomic_store_n(&t->maps->state->filter[i], bits[i], __ATOMIC_RELEASE);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static struct group *group_find(struct groups *g, const struct config_addr *a, uint8_t proto)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		if (g->list[i].proto == proto && !memcmp(&g->list[i].addr, a, sizeof(*a)))
			return &g->list[i];
	return NULL;
}

static struct group *group_add(struct groups *g, const struct config_addr *a, uint8_t proto)
{
	void *more;

	if (g->n == g->room) {
		more = reallocarray(g->list, g->room * 2 + 8, sizeof(*g->list));
		if (!more)
			return NULL;
		g->list = more;
		g->room = g->room * 2 + 8;
	}
	g->list[g->n] = (struct group){.addr = *a, .proto = proto};
	return &g->list[g->n++];
}

static int groups_add(struct groups *g, const struct fleet_service *s, struct skep_err *err)
{
	const struct config_vip *v;
	struct group *x;
	char text[64];
	uint32_t i;

	for (i = 0; i < s->want->n_vips; i++) {
		v = &s->want->vips[i];
		if (exact(v))
			continue;
		x = group_find(g, &v->addr, v->proto);
		x = x ? x : group_add(g, &v->addr, v->proto);
		if (!x)
			return -ENOMEM;
		if (x->ranges.n == BALANCE_RANGES)
			return skep_fail(err, -ENOSPC,
					 "%s: an address and protocol have at most %d ranges",
					 config_vip_text(v, text), BALANCE_RANGES);
		x->ranges.range[x->ranges.n].first = v->first;
		x->ranges.range[x->ranges.n].last = v->last;
		x->ranges.range[x->ranges.n++].service = s->instance;
	}
	return 0;
}

static bool has_ranges(const struct fleet_service *s)
{
	uint32_t i;

	for (i = 0; s && i < s->want->n_vips; i++)
		if (!exact(&s->want->vips[i]))
			return true;
	return false;
}

static bool replaced(const struct changes *c, const struct fleet_service *s)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->list[i].old == s)
			return true;
	return false;
}

/* The groups of all services as they will be. */
static int groups_build(struct fleet *t, const struct changes *c, struct groups *g,
			struct skep_err *err)
{
	struct fleet_service *s;
	size_t i;
	int rc = 0;

	for (s = t->services; s && !rc; s = s->hh.next)
		if (has_ranges(s) && !replaced(c, s))
			rc = groups_add(g, s, err);
	for (i = 0; i < c->n && !rc; i++)
		if (has_ranges(c->list[i].next))
			rc = groups_add(g, c->list[i].next, err);
	return rc;
}

static bool any_ranges(const struct changes *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (has_ranges(c->list[i].old) || has_ranges(c->list[i].next))
			return true;
	return false;
}

static int groups_stage(struct fleet *t, struct groups *g)
{
	struct maps_key k;
	struct group *x;
	size_t i;
	int rc = 0;

	for (i = 0; i < g->n && !rc; i++) {
		x = &g->list[i];
		x->index = ids_get(&t->ranges);
		if (!x->index)
			return -ENOSPC;
		t->maps->ranges[x->index] = x->ranges;
		k = maps_key(x->addr.family, x->addr.bytes, x->proto, 0);
		rc = side_set(t, &k, x->index);
	}
	for (i = 0; i < t->groups.n && !rc; i++) {
		x = &t->groups.list[i];
		k = maps_key(x->addr.family, x->addr.bytes, x->proto, 0);
		if (!group_find(g, &x->addr, x->proto))
			rc = side_set(t, &k, 0);
	}
	return rc;
}

static void groups_drop(struct fleet *t, struct groups *g)
{
	size_t i;

	for (i = 0; i < g->n; i++)
		ids_put(&t->ranges, g->list[i].index);
	free(g->list);
	*g = (struct groups){0};
}

/* ---- services -------------------------------------------------------------------------------- */

static struct maps_key vip_key(const struct config_vip *v)
{
	return maps_key(v->addr.family, v->addr.bytes, v->proto, v->first);
}

/* What stands there; nothing does at an address that is new. */
static struct balance_vip vip_now(const struct fleet *t, const struct config_vip *v,
				  const struct maps_key *k)
{
	return address_find(t, &v->addr) ? maps_vip_get(t->maps, k) : (struct balance_vip){{0, 0}};
}

/* Each exact VIP of @s: its spare side, or both. */
static void service_set(struct fleet *t, const struct fleet_service *s, uint32_t value, bool both,
			struct maps_vips *b)
{
	struct balance_vip v = {{value, value}};
	struct maps_key k;
	uint32_t i;

	for (i = 0; s && i < s->want->n_vips; i++) {
		if (!exact(&s->want->vips[i]))
			continue;
		k = vip_key(&s->want->vips[i]);
		if (!both) {
			v = vip_now(t, &s->want->vips[i], &k);
			v.service[spare(t)] = value;
		}
		maps_vips_add(t->maps, b, &k, v);
	}
}

/* Others may send packed what is for a backend that is this host: its address is looked at too. */
static bool backend_here(const struct config_backend *b)
{
	return b->mode != BALANCE_NAT && config_node_is(&b->addr);
}

static void here_add(struct fleet *t, int n)
{
	__u32 *use = &t->maps->state->use;

	t->here += (uint32_t)n;
	if (t->here)
		__atomic_fetch_or(use, BALANCE_USE_HERE, __ATOMIC_RELEASE);
	else
		__atomic_fetch_and(use, ~BALANCE_USE_HERE, __ATOMIC_RELEASE);
}

static bool heres_put(struct fleet *t, const struct fleet_service *s, uint32_t n)
{
	bool gone = false;
	uint32_t i;

	for (i = 0; s && i < n; i++) {
		if (!backend_here(&s->want->backends[i]))
			continue;
		gone |= address_put(t, &s->want->backends[i].addr);
		here_add(t, -1);
	}
	return gone;
}

static int heres_get(struct fleet *t, const struct fleet_service *s, struct maps_vips *b)
{
	uint32_t i;
	int rc;

	for (i = 0; s && i < s->want->n_backends; i++) {
		if (!backend_here(&s->want->backends[i]))
			continue;
		rc = address_get(t, &s->want->backends[i].addr, b);
		if (rc) {
			heres_put(t, s, i);
			return rc;
		}
		here_add(t, 1);
	}
	return 0;
}

static int addresses_get(struct fleet *t, const struct fleet_service *s, struct maps_vips *b)
{
	int rc = heres_get(t, s, b);
	uint32_t i;

	if (rc)
		return rc;
	for (i = 0; s && i < s->want->n_vips && !rc; i++)
		rc = address_get(t, &s->want->vips[i].addr, b);
	if (rc)
		heres_put(t, s, s->want->n_backends);
	while (rc && --i)
		address_put(t, &s->want->vips[i - 1].addr);
	return rc;
}

int vips_adopt(struct fleet *t, const struct fleet_service *s)
{
	struct maps_vips b = {0};
	int rc = addresses_get(t, s, &b), set = maps_vips_set(t->maps, &b);

	return rc ?: set;
}

static bool addresses_put(struct fleet *t, const struct fleet_service *s)
{
	bool gone = heres_put(t, s, s ? s->want->n_backends : 0);
	uint32_t i;

	for (i = 0; s && i < s->want->n_vips; i++)
		gone |= address_put(t, &s->want->vips[i].addr);
	return gone;
}

/* Addresses of all that is to come, or of none. */
static int all_addresses_get(struct fleet *t, const struct changes *c, struct maps_vips *b)
{
	size_t i;
	int rc;

	for (i = 0; i < c->n; i++) {
		rc = addresses_get(t, c->list[i].next, b);
		if (!rc)
			continue;
		while (i--)
			addresses_put(t, c->list[i].next);
		return rc;
	}
	return 0;
}

int vips_stage(struct fleet *t, const struct changes *c, struct groups *groups,
	       struct skep_err *err)
{
	struct maps_vips b = {0};
	size_t i;
	int rc;

	for (i = 0; i < c->n; i++)
		service_set(t, c->list[i].old, 0, false, &b);
	rc = maps_vips_set(t->maps, &b);
	for (i = 0; i < c->n && !rc; i++)
		if (c->list[i].next)
			service_set(t, c->list[i].next, c->list[i].next->instance, false, &b);
	if (!rc && any_ranges(c)) {
		rc = groups_build(t, c, groups, err);
		if (!rc)
			rc = groups_stage(t, groups);
	}
	if (!rc)
		rc = all_addresses_get(t, c, &b);
	if (rc) {
		maps_vips_drop(&b);
	} else {
		rc = maps_vips_set(t->maps, &b);
		for (i = 0; rc && i < c->n; i++)
			addresses_put(t, c->list[i].next);
	}
	if (rc && err && !err->text[0])
		skep_fail(err, rc == -E2BIG ? -ENOSPC : rc,
			  "no room for another address or port: %s",
			  strerror(rc == -E2BIG ? ENOSPC : -rc));
	return rc == -E2BIG ? -ENOSPC : rc;
}

/* Back to where both sides are what holds. */
void vips_undo(struct fleet *t, const struct changes *c, struct groups *groups)
{
	struct maps_vips b = {0};
	struct maps_key k;
	size_t i;

	for (i = 0; i < c->n; i++)
		service_set(t, c->list[i].next, 0, false, &b);
	maps_vips_set(t->maps, &b);
	for (i = 0; i < c->n; i++)
		if (c->list[i].old)
			service_set(t, c->list[i].old, c->list[i].old->instance, false, &b);
	maps_vips_set(t->maps, &b);
	for (i = 0; i < groups->n; i++) {
		k = maps_key(groups->list[i].addr.family, groups->list[i].addr.bytes,
			     groups->list[i].proto, 0);
		side_set(t, &k, 0);
	}
	for (i = 0; i < t->groups.n; i++) {
		struct group *x = &t->groups.list[i];

		k = maps_key(x->addr.family, x->addr.bytes, x->proto, 0);
		side_set(t, &k, x->index);
	}
	groups_drop(t, groups);
}

static void groups_settle(struct fleet *t, struct groups *g)
{
	struct maps_key k;
	struct group *x;
	size_t i;

	for (i = 0; i < t->groups.n; i++) {
		x = &t->groups.list[i];
		k = maps_key(x->addr.family, x->addr.bytes, x->proto, 0);
		if (!group_find(g, &x->addr, x->proto))
			maps_vip_set(t->maps, &k, (struct balance_vip){{0, 0}});
	}
	for (i = 0; i < g->n; i++) {
		x = &g->list[i];
		k = maps_key(x->addr.family, x->addr.bytes, x->proto, 0);
		maps_vip_set(t->maps, &k, (struct balance_vip){{x->index, x->index}});
	}
	groups_drop(t, &t->groups);
	t->groups = *g;
	*g = (struct groups){0};
}

void vips_settle(struct fleet *t, const struct changes *c, struct groups *groups)
{
	struct maps_vips b = {0};
	bool gone = false;
	size_t i;

	for (i = 0; i < c->n; i++)
		service_set(t, c->list[i].old, 0, false, &b);
	maps_vips_set(t->maps, &b);
	for (i = 0; i < c->n; i++)
		if (c->list[i].next)
			service_set(t, c->list[i].next, c->list[i].next->instance, true, &b);
	maps_vips_set(t->maps, &b);
	if (any_ranges(c))
		groups_settle(t, groups);
	for (i = 0; i < c->n; i++)
		gone |= addresses_put(t, c->list[i].old);
	if (gone)
		filter_clean(t);
}
