// SPDX-License-Identifier: Apache-2.0
/*
 * A whole wanted state becomes the state of the maps:
 *
 *	plan     each service that differs gets a successor: ids, a ring, an instance, all unused places
 *	stage    the spare side of each VIP's entry points to the successor (vips.c)
 *	commit   one store turns all entries
 *	settle   sides made alike, predecessors freed
 *
 * T1  Up to the commit packets see nothing; whatever fails is undone and the old state stays whole.
 * T2  A backend keeps its id as long as its service lists it or it has flows; the id is given to
 *     another only when no entry of the flow table names it.
 * T3  A ring and an instance that held are free again at the next apply or tick at the earliest:
 *     a packet reads them for microseconds.
 * T4  A backend that is no longer listed drains: it keeps its flows for drainSeconds. Then it is
 *     gone: its slots' `was` follows `now`, its flows choose anew.
 * T5  With and without translation an address is two backends: a connection that began the one way
 *     cannot go on the other. Where the mode changes so the old one is no longer listed (T4).
 */
#include "balance/inside.h"

#include <netinet/in.h>
#include <time.h>

#include "balance/ring.h"
#include "balance/socket.h"

#define SECOND	     1000000000ULL
#define SWEEP_S	     30
#define SWEEP_SOON_S 2

uint32_t fleet_units(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint32_t)(((uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec) >> BALANCE_UNIT);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void service_free(struct fleet_service *s)
{
	if (!s)
		return;
	config_service_drop(s->want);
	free(s->backends);
	free(s);
}

void fleet_free(struct fleet *t)
{
	struct fleet_service *s, *next;
	struct address *a, *after;

	if (!t)
		return;
	HASH_ITER (hh, t->services, s, next) {
		HASH_DEL(t->services, s);
		service_free(s);
	}
	HASH_ITER (hh, t->addresses, a, after) {
		HASH_DEL(t->addresses, a);
		free(a);
	}
	slots_forget(t);
	ids_done(&t->instances);
	ids_done(&t->stats);
	ids_done(&t->backends);
	ids_done(&t->ranges);
	extents_done(&t->rings);
	free(t->groups.list);
	free(t->olds);
	free(t->orphans);
	free(t->order);
	free(t->flows);
	free(t->busy);
	protect_done(t);
	free(t);
}

struct fleet_service *fleet_first(const struct fleet *t)
{
	return t->services;
}

struct fleet_service *fleet_find(const struct fleet *t, const char *name)
{
	struct fleet_service *s;

	HASH_FIND_STR(t->services, name, s);
	return s;
}

const struct fleet_service *fleet_by_stat(const struct fleet *t, uint32_t stat)
{
	struct fleet_service *s;

	for (s = t->services; s; s = s->hh.next)
		if (s->stat == stat)
			return s;
	return NULL;
}

uint64_t fleet_gone(const struct fleet *t)
{
	return t->gone;
}

uint32_t fleet_flows(const struct fleet *t, uint32_t backend)
{
	return backend < t->maps->size.backends ? t->flows[backend] : 0;
}

uint32_t fleet_busy(const struct fleet *t, uint32_t backend)
{
	return backend < t->maps->size.backends ? t->busy[backend] : 0;
}

/* ---- backends -------------------------------------------------------------------------------- */

static uint16_t sum_add(uint32_t sum, uint16_t word)
{
	sum += word;
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* The sum of an outer IPv4 header's words that are the same for every packet. */
static uint16_t sum_constant(const struct balance_backend *b, uint16_t *head)
{
	uint16_t sum = 0;
	unsigned i;

	memset(head, 0, 20);
	head[0] = htons(0x4500);
	head[3] = htons(0x4000);
	memcpy(head + 6, b->src, 4);
	memcpy(head + 8, b->dst, 4);
	for (i = 0; i < 10; i++)
		sum = sum_add(sum, head[i]);
	return sum;
}

/* Translated packets do not come back by way of the host's own stack. */
static bool is_here(const struct fleet_backend *b)
{
	return b->mode != BALANCE_NAT && config_node_is(&b->addr);
}

static void backend_write(struct fleet *t, const struct fleet_backend *b, uint32_t stat)
{
	const struct config_addr *src = b->addr.family == 4 ? &t->way.source4 : &t->way.source6;
	struct balance_backend r = {
		.family = b->addr.family,
		.state = b->state,
		.hop_flags = t->way.hop_flags | (is_here(b) ? BALANCE_HOP_HERE : 0),
		.mode = b->mode,
		.hop_mtu = t->way.mtu,
		.stat = stat,
	};
	uint16_t head[10];

	memcpy(r.dst, b->addr.bytes, 16);
	memcpy(r.src, src->bytes, 16);
	memcpy(r.hop_dst, t->way.gateway, 6);
	if (b->mode == BALANCE_NAT)
		r.port = htons(b->port);
	else if (r.family == 4)
		r.sum = sum_constant(&r, head);
	t->maps->backends[b->id] = r;
}

/* Backends that were adopted leave as this agent's configuration has it. */
static void ways_renew(struct fleet *t)
{
	const uint8_t ways = BALANCE_HOP_FIXED | BALANCE_HOP_REFLECT;
	struct fleet_service *s;
	uint32_t i;

	for (s = t->services; s; s = s->hh.next)
		for (i = 0; i < s->n; i++) {
			const struct balance_backend *r = &t->maps->backends[s->backends[i].id];
			const struct config_addr *src =
				r->family == 4 ? &t->way.source4 : &t->way.source6;
			bool given = t->way.hop_flags & ways;

			if ((r->hop_flags & ways) != t->way.hop_flags ||
			    is_here(&s->backends[i]) != !!(r->hop_flags & BALANCE_HOP_HERE) ||
			    memcmp(r->src, src->bytes, r->family == 4 ? 4 : 16) ||
			    (given && r->hop_mtu != t->way.mtu) ||
			    (t->way.hop_flags & BALANCE_HOP_FIXED &&
			     memcmp(r->hop_dst, t->way.gateway, 6)))
				backend_write(t, &s->backends[i], s->stat);
		}
}

int fleet_open(struct fleet **out, struct maps *maps, const struct fleet_way *way,
	       struct skep_err *err)
{
	struct fleet *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->maps = maps;
	t->way = *way;
	t->full_seen = UINT64_MAX; /* who begins knows nothing of what was before */
	rc = ids_open(&t->instances, maps->size.services);
	if (!rc)
		rc = ids_open(&t->stats, maps->size.services);
	if (!rc)
		rc = ids_open(&t->backends, min(maps->size.backends, BALANCE_BACKEND_MAX));
	if (!rc)
		rc = ids_open(&t->ranges, MAPS_RANGES);
	if (!rc)
		rc = extents_open(&t->rings, maps->size.slots);
	t->flows = calloc(maps->size.backends, sizeof(*t->flows));
	t->busy = calloc(maps->size.backends, sizeof(*t->busy));
	t->orphans = calloc(maps->size.backends, sizeof(*t->orphans));
	if (!rc && (!t->flows || !t->busy || !t->orphans))
		rc = -ENOMEM;
	maps->state->flow_units = (uint32_t)(((uint64_t)way->flow_s * SECOND >> BALANCE_UNIT) + 1);
	if (!rc && maps->adopted)
		rc = adopt(t, err);
	if (!rc)
		rc = protect_open(t);
	if (!rc)
		nat_open(t);
	if (!rc)
		ways_renew(t);
	if (rc)
		fleet_free(t);
	else
		*out = t;
	return rc;
}

/* T5 */
static bool is(const struct fleet_backend *b, const struct config_addr *a, int mode)
{
	return !memcmp(&b->addr, a, sizeof(*a)) &&
	       (b->mode == BALANCE_NAT) == (mode == BALANCE_NAT);
}

/* @hint: where it most likely is */
static struct fleet_backend *backend_find(const struct fleet_service *s,
					  const struct config_addr *a, int mode, uint32_t hint)
{
	uint32_t i;

	if (s && hint < s->n && is(&s->backends[hint], a, mode))
		return &s->backends[hint];
	for (i = 0; s && i < s->n; i++)
		if (is(&s->backends[i], a, mode))
			return &s->backends[i];
	return NULL;
}

/* ---- plan ------------------------------------------------------------------------------------ */

static bool same_backends(const struct fleet_service *s, const struct config_service *want)
{
	uint32_t i, listed = 0;

	for (i = 0; i < s->n; i++)
		listed += s->backends[i].listed;
	if (listed != want->n_backends)
		return false;
	for (i = 0; i < want->n_backends; i++) {
		const struct config_backend *w = &want->backends[i];
		const struct fleet_backend *b = backend_find(s, &w->addr, w->mode, i);

		if (!b || !b->listed || b->wanted != w->weight || b->mode != w->mode ||
		    b->port != w->port || !sockets_same(s, want, i))
			return false;
	}
	return true;
}

static bool same(const struct fleet_service *s, const struct config_service *want)
{
	return s->want->n_vips == want->n_vips &&
	       (s->want->opt == want->opt ||
		!memcmp(s->want->opt, want->opt, sizeof(*want->opt))) &&
	       !memcmp(s->want->vips, want->vips, want->n_vips * sizeof(*want->vips)) &&
	       same_backends(s, want);
}

/*
 * One that was not listed, @was or new: what is known of its address stands with the one of the other
 * mode, if that is listed (T5).
 */
static struct fleet_backend backend_begin(struct fleet *t, const struct fleet_service *old,
					  const struct fleet_backend *was,
					  const struct config_addr *a, uint64_t now)
{
	const struct fleet_backend *kin = old ? fleet_backend_find(old, a) : NULL;
	struct fleet_backend b = {
		.addr = *a, .factor = FLEET_FACTOR_ONE, .share = 1, .up_at = old ? now : 0};

	if (kin && kin->listed) {
		b = *kin;
		b.load_seen = was ? maps_sent(t->maps, was->id).bytes : 0;
	} else if (was) {
		b = *was;
	}
	b.id = was ? was->id : ids_get(&t->backends);
	return b;
}

static int backends_listed(struct fleet *t, struct fleet_service *next,
			   const struct fleet_service *old, uint64_t now)
{
	uint32_t i, at = 0;

	for (i = 0; i < next->want->n_backends; i++) {
		const struct config_backend *w = &next->want->backends[i];
		const struct fleet_backend *was = backend_find(old, &w->addr, w->mode, at);
		struct fleet_backend *b = &next->backends[next->n];

		at = was ? (uint32_t)(was - old->backends) + 1 : at;
		*b = was && was->listed ? *was : backend_begin(t, old, was, &w->addr, now);
		if (!b->id)
			return -ENOSPC;
		b->leave_at = b->drained ? b->leave_at : 0;
		b->released = b->drained && b->released;
		b->down = b->down && next->want->opt->health.type;
		b->passive.until = next->want->opt->health.passive ? b->passive.until : 0;
		b->wanted = (uint32_t)w->weight;
		b->mode = (uint8_t)w->mode;
		b->port = (uint16_t)w->port;
		b->listed = true;
		next->n++;
		if (!was)
			backend_write(t, b, next->stat);
		sockets_end(t, b->id, w, !was);
	}
	live_decide(next);
	return 0;
}

/* Whether it is wanted in any mode. */
static bool wants(const struct config_service *want, const struct config_addr *a)
{
	uint32_t i;

	for (i = 0; i < want->n_backends; i++)
		if (!memcmp(&want->backends[i].addr, a, sizeof(*a)))
			return true;
	return false;
}

/* T4; what drained in another mode (T5) has no longer than what is taken out of the list now. */
static void backends_leaving(struct fleet_service *next, const struct fleet_service *old,
			     uint64_t now)
{
	uint64_t leave_at = now + (uint64_t)next->want->opt->drain_s * SECOND;
	uint32_t i;

	for (i = 0; old && i < old->n; i++) {
		struct fleet_backend b = old->backends[i];

		if (backend_find(next, &b.addr, b.mode, i))
			continue;
		if (b.listed || (b.leave_at > leave_at && !wants(next->want, &b.addr)))
			b.leave_at = leave_at;
		b.listed = b.drained = b.down = false;
		b.weight = 0;
		b.state = b.leave_at <= now ? BALANCE_GONE : BALANCE_DRAINING;
		next->backends[next->n++] = b;
	}
}

static unsigned log_of(const struct fleet_service *s)
{
	cleanup(mem_free) struct ring_member *m = calloc(s->n + 1, sizeof(*m));
	uint32_t i;

	for (i = 0; m && i < s->n; i++)
		m[i].weight = s->backends[i].listed ? s->backends[i].wanted : 0;
	return m ? ring_log(m, s->n) : RING_LOG_MAX;
}

static int places_get(struct fleet *t, struct fleet_service *next, const struct fleet_service *old)
{
	unsigned log = log_of(next);

	next->log = old ? max(old->log, (uint8_t)log) : (uint8_t)log;
	next->ring = extents_get(&t->rings, next->log);
	next->instance = ids_get(&t->instances);
	return next->ring == EXTENT_NONE || !next->instance ? -ENOSPC : 0;
}

static void instance_write(struct fleet *t, const struct fleet_service *s)
{
	bool counted = s->want->opt->algorithm == CONFIG_LEAST_CONNECTIONS;
	int64_t keep = min(s->want->opt->affinity_s, (int64_t)t->way.flow_s);

	t->maps->services[s->instance] = (struct balance_service){
		.ring = s->ring,
		.ring_log = s->log,
		.flags = (uint8_t)((s->want->opt->hash || keep ? BALANCE_BY_SOURCE : 0) |
				   (counted ? BALANCE_COUNTED : 0) |
				   (s->want->opt->quic ? BALANCE_QUIC : 0) |
				   (nat_some(s) ? BALANCE_SOME_NAT : 0) |
				   (protect_wanted(s->want->opt) ? BALANCE_PROTECTED : 0)),
		.changed = (uint16_t)(fleet_units() & BALANCE_TIME_MASK),
		.stat = s->stat,
		.affinity = keep ? (uint32_t)((uint64_t)keep * SECOND >> BALANCE_UNIT) + 1 : 0,
	};
	sockets_door(t, s);
}

/* What @next has and @old has not. */
static void next_free(struct fleet *t, struct fleet_service *next, const struct fleet_service *old)
{
	uint32_t i;

	for (i = 0; i < next->n; i++)
		if (!backend_find(old, &next->backends[i].addr, next->backends[i].mode, i))
			ids_put(&t->backends, next->backends[i].id);
	if (next->ring != EXTENT_NONE)
		extents_put(&t->rings, next->ring, next->log);
	protect_clear(t, next->instance);
	ids_put(&t->instances, next->instance);
	if (!old)
		ids_put(&t->stats, next->stat);
	service_free(next);
}

static int next_build(struct fleet *t, struct fleet_service *next, const struct fleet_service *old,
		      struct config_service *want, uint64_t now)
{
	int rc;

	next->want = config_service_hold(want);
	next->backends = calloc(want->n_backends + (old ? old->n : 0) + 1, sizeof(*next->backends));
	if (!next->backends)
		return -ENOMEM;
	next->stat = old ? old->stat : ids_get(&t->stats);
	if (!next->stat)
		return -ENOSPC;
	if (!old)
		memset(&t->maps->counts[next->stat], 0, sizeof(*t->maps->counts));
	rc = backends_listed(t, next, old, now);
	if (rc)
		return rc;
	backends_leaving(next, old, now);
	rc = places_get(t, next, old);
	if (!rc)
		rc = slots_fill(t, next, old);
	next->changed_at = now;
	if (!rc)
		rc = protect_write(t, next);
	if (!rc)
		instance_write(t, next);
	return rc;
}

static int changes_add(struct changes *c, struct fleet_service *old, struct fleet_service *next)
{
	void *more;

	if (c->n == c->room) {
		more = reallocarray(c->list, c->room * 2 + 16, sizeof(*c->list));
		if (!more)
			return -ENOMEM;
		c->list = more;
		c->room = c->room * 2 + 16;
	}
	c->list[c->n++] = (struct change){old, next};
	return 0;
}

/*
 * One that was adopted has no name yet: it is known by its first address and port, to who comes first, if it
 * was split.
 */
static struct fleet_service *adopted_find(const struct fleet *t, const struct config_service *want)
{
	struct fleet_service *s;
	uint32_t i;

	for (s = t->services; s; s = s->hh.next) {
		if (s->want->name[0] != '#' || s->seen == t->applies)
			continue;
		for (i = 0; i < s->want->n_vips; i++)
			if (!memcmp(&s->want->vips[i], &want->vips[0], sizeof(want->vips[0])))
				return s;
	}
	return NULL;
}

/* *@out: the service as it will be, whether it changes or not. */
static int plan_one(struct fleet *t, struct config_service *want, uint64_t now, struct changes *c,
		    struct fleet_service **out)
{
	struct fleet_service *old = fleet_find(t, want->name), *next;
	int rc;

	if (!old && t->services && t->services->want->name[0] == '#')
		old = adopted_find(t, want);
	if (old)
		old->seen = t->applies;
	*out = old;
	if (old && same(old, want))
		return 0;
	next = calloc(1, sizeof(*next));
	if (!next)
		return -ENOMEM;
	next->ring = EXTENT_NONE;
	rc = next_build(t, next, old, want, now);
	if (!rc)
		rc = changes_add(c, old, next);
	if (rc)
		next_free(t, next, old);
	*out = next;
	return rc;
}

/* Services that nobody wants any more. */
static int plan_removed(struct fleet *t, struct changes *c)
{
	size_t i;
	int rc = 0;

	for (i = 0; i < t->n_order && !rc; i++)
		if (!t->order[i].seen && t->order[i].service->seen != t->applies)
			rc = changes_add(c, t->order[i].service, NULL);
	return rc;
}

/* Behind @s in the order, where it stands near @at; else @at. */
static size_t order_after(const struct fleet *t, const struct fleet_service *s, size_t at)
{
	size_t i;

	for (i = at; i < t->n_order && i < at + 64; i++)
		if (t->order[i].service == s)
			return i + 1;
	return at;
}

/*
 * Most of a large file is as it was and where it was: a digest tells, and neither is looked up nor
 * compared. @order: the new one, of set->n places.
 */
static int plan(struct fleet *t, const struct config_set *set, uint64_t now, struct changes *c,
		struct order *order, struct skep_err *err)
{
	size_t i, at = 0;
	int rc = 0;

	t->applies++;
	for (i = 0; i < t->n_order; i++)
		t->order[i].seen = false;
	for (i = 0; i < set->n && !rc; i++) {
		struct config_service *w = set->services[i];

		order[i].digest = w->digest;
		if (at < t->n_order && w->digest && t->order[at].digest == w->digest) {
			t->order[at].seen = true;
			order[i].service = t->order[at++].service;
			continue;
		}
		rc = plan_one(t, w, now, c, &order[i].service);
		if (rc)
			skep_fail(err, rc, "service '%s': %s", w->name,
				  rc == -ENOSPC ? "no room: the agent's balance.services, backends "
						  "or slots must be larger"
						: strerror(-rc));
		else if (!c->n || c->list[c->n - 1].next != order[i].service)
			at = order_after(t, order[i].service, at);
		else if (c->list[c->n - 1].old)
			at = order_after(t, c->list[c->n - 1].old, at);
	}
	return rc ? rc : plan_removed(t, c);
}

/* ---- commit ---------------------------------------------------------------------------------- */

static void olds_free(struct fleet *t)
{
	size_t i;

	for (i = 0; i < t->n_olds; i++) {
		protect_clear(t, t->olds[i].instance);
		ids_put(&t->instances, t->olds[i].instance);
		extents_put(&t->rings, t->olds[i].ring, t->olds[i].log);
	}
	t->n_olds = 0;
}

static int olds_room(struct fleet *t, size_t n)
{
	void *more;

	if (t->n_olds + n <= t->room_olds)
		return 0;
	more = reallocarray(t->olds, t->n_olds + n + 64, sizeof(*t->olds));
	if (!more)
		return -ENOMEM;
	t->olds = more;
	t->room_olds = t->n_olds + n + 64;
	return 0;
}

/* T2: an id is free when the sweep finds no entry of it. */
static void backend_gone(struct fleet *t, uint32_t id)
{
	t->maps->backends[id].state = BALANCE_GONE;
	quic_forget(t, id);
	t->swept_at = 0;
	t->gone++;
}

static void change_finish(struct fleet *t, struct change *c)
{
	const struct fleet_backend *b;
	uint32_t i;

	for (i = 0; c->next && i < c->next->n; i++) {
		b = &c->next->backends[i];
		if (b->state == BALANCE_GONE && t->maps->backends[b->id].state != BALANCE_GONE)
			backend_gone(t, b->id);
		t->maps->backends[b->id].state = b->state;
		if (t->maps->backends[b->id].mode != b->mode ||
		    (b->mode == BALANCE_NAT && t->maps->backends[b->id].port != htons(b->port)))
			backend_write(t, b, c->next->stat);
	}
	for (i = 0; !c->next && i < c->old->n; i++) {
		backend_gone(t, c->old->backends[i].id);
		t->orphans[t->n_orphans++] = c->old->backends[i].id;
	}
	if (c->old) {
		t->olds[t->n_olds++] = (struct old){c->old->instance, c->old->ring, c->old->log};
		HASH_DEL(t->services, c->old);
		if (!c->next)
			ids_put(&t->stats, c->old->stat);
		service_free(c->old);
	}
	if (!c->next)
		return;
	sockets_ends(t, c->next);
	HASH_ADD_KEYPTR(hh, t->services, c->next->want->name, strlen(c->next->want->name), c->next);
}

/* T2 of one that was gone and is back: flows that left it since have no entry that names it. */
static void revived_sweep(struct fleet *t, const struct changes *c, uint64_t now)
{
	const struct fleet_backend *b;
	size_t i;
	uint32_t k;

	for (i = 0; i < c->n; i++)
		for (k = 0; c->list[i].old && c->list[i].next && k < c->list[i].next->n; k++) {
			b = &c->list[i].next->backends[k];
			if (b->state != BALANCE_GONE && !t->swept_at &&
			    t->maps->backends[b->id].state == BALANCE_GONE)
				fleet_sweep(t, now);
		}
}

/* Whether node ports may come or go; of what was adopted it is not known. */
static bool ports_change(const struct fleet *t, const struct changes *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if ((c->list[i].old && c->list[i].old->want->opt->node_port) ||
		    (c->list[i].next && c->list[i].next->want->opt->node_port))
			return true;
	return t->applies == 1;
}

static int commit(struct fleet *t, struct changes *c, uint64_t now, struct skep_err *err)
{
	struct groups groups = {0};
	bool ports = ports_change(t, c);
	size_t i;
	int rc = olds_room(t, c->n);

	if (!rc)
		rc = quic_stage(t, c, err);
	if (!rc)
		rc = vips_stage(t, c, &groups, err);
	if (rc) {
		vips_undo(t, c, &groups);
		return rc;
	}
	revived_sweep(t, c, now);
	/* backends come alive before packets may choose them */
	for (i = 0; i < c->n; i++)
		for (uint32_t b = 0; c->list[i].next && b < c->list[i].next->n; b++)
			if (c->list[i].next->backends[b].state == BALANCE_LIVE)
				t->maps->backends[c->list[i].next->backends[b].id].state =
					BALANCE_LIVE;
	nat_before(t, c);
	__atomic_store_n(&t->maps->state->active, !t->maps->state->active, __ATOMIC_SEQ_CST);
	vips_settle(t, c, &groups);
	for (i = 0; i < c->n; i++)
		change_finish(t, &c->list[i]);
	if (ports)
		sockets_hold(t);
	nat_after(t);
	return 0;
}

static void changes_drop(struct fleet *t, struct changes *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (c->list[i].next)
			next_free(t, c->list[i].next, c->list[i].old);
}

static void tell(const struct changes *c, const struct config_set *set, struct fleet_diff *d,
		 struct buf *said)
{
	const char *what;
	size_t i;

	*d = (struct fleet_diff){0};
	for (i = 0; i < c->n; i++) {
		const struct change *x = &c->list[i];

		what = !x->old ? "added" : x->next ? "changed" : "removed";
		d->added += !x->old;
		d->removed += !x->next;
		d->changed += x->old && x->next;
		if (said)
			buf_fmt(said, "%s %s\n", what, (x->next ?: x->old)->want->name);
		if (said && x->old && x->next)
			config_diff(x->old->want, x->next->want, said);
	}
	d->same = (uint32_t)set->n - d->added - d->changed;
}

int fleet_apply(struct fleet *t, const struct config_set *set, uint64_t boot_now, bool dry,
		struct fleet_diff *diff, struct buf *said, struct skep_err *err)
{
	cleanup(mem_free) struct order *order = calloc(set->n + 1, sizeof(*order));
	struct changes c = {0};
	struct fleet_diff own;
	int rc;

	olds_free(t); /* T3 */
	rc = order ? plan(t, set, boot_now, &c, order, err) : -ENOMEM;
	if (!rc)
		tell(&c, set, diff ? diff : &own, said);
	if (!rc && t->imagine)
		plan_tell(t, c.list, c.n, t->imagine);
	if (!rc && !dry && c.n)
		rc = commit(t, &c, boot_now, err);
	if (rc || dry) {
		changes_drop(t, &c);
	} else {
		free(t->order);
		t->order = take(order);
		t->n_order = set->n;
	}
	free(c.list);
	return rc;
}

int renew(struct fleet *t, struct fleet_service *s, uint64_t now)
{
	struct fleet_service *next = calloc(1, sizeof(*next));
	struct changes c = {0};
	size_t i;
	int rc;

	if (!next)
		return -ENOMEM;
	next->ring = EXTENT_NONE;
	next->seen = s->seen;
	rc = next_build(t, next, s, s->want, now);
	if (!rc)
		rc = changes_add(&c, s, next);
	if (rc)
		next_free(t, next, s);
	else
		rc = commit(t, &c, now, NULL);
	if (rc)
		changes_drop(t, &c);
	for (i = 0; !rc && i < t->n_order; i++)
		if (t->order[i].service == s)
			t->order[i].service = next;
	free(c.list);
	return rc;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* What is swept out leaves BALANCE_SWEPT (F1 of flows.bpf.h); when nobody looks, nothing. */
static void entry_sweep(struct fleet *t, __u64 *at, uint32_t units, bool looked)
{
	__u64 e = __atomic_load_n(at, __ATOMIC_RELAXED);
	uint32_t most = BALANCE_ENTRY_CONFIRMED(e) || t->unsettled ? t->maps->state->flow_units
								   : 4 * BALANCE_UNCONFIRMED_UNITS;
	uint32_t id = BALANCE_ENTRY_BACKEND(e);
	bool lives = id && id < t->maps->size.backends &&
		     t->maps->backends[id].state != BALANCE_GONE &&
		     balance_entry_age(e, units) <= most;

	if (lives) {
		t->flows[id]++;
		t->busy[id] +=
			BALANCE_ENTRY_CONFIRMED(e) && balance_entry_age(e, units) <= BUSY_UNITS;
	} else if (e && (id || !looked))
		__atomic_compare_exchange_n(at, &e, looked ? BALANCE_SWEPT : 0, false,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static bool any_look(struct fleet *t)
{
	const struct fleet_service *s;
	bool look = false;

	t->unsettled = false;
	for (s = t->services; s; s = s->hh.next) {
		look |= s->look;
		t->unsettled |= s->look && !s->merged;
	}
	return look;
}

void fleet_sweep(struct fleet *t, uint64_t boot_now)
{
	size_t buckets = (size_t)1 << t->maps->size.bucket_log, i;
	uint32_t units = fleet_units(), w;
	bool looked = any_look(t);

	memset(t->flows, 0, t->maps->size.backends * sizeof(*t->flows));
	memset(t->busy, 0, t->maps->size.backends * sizeof(*t->busy));
	for (i = 0; i < buckets; i++)
		for (w = 0; w < BALANCE_WAYS; w++)
			entry_sweep(t, &t->maps->flows[i].entry[w], units, looked);
	nat_sweep(t, units);
	t->swept_at = boot_now;
}

/* T4: those whose time has come, and T2: those that no entry names any more. */
static void leaving_tick(struct fleet *t, struct fleet_service *s, uint64_t now)
{
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		struct fleet_backend *b = &s->backends[i];

		if (b->listed)
			continue;
		if (b->state == BALANCE_DRAINING && b->leave_at <= now) {
			b->state = BALANCE_GONE;
			backend_gone(t, b->id);
			slots_leave(t, s, b->id);
		} else if (b->state == BALANCE_GONE && t->swept_at && !t->flows[b->id]) {
			ids_put(&t->backends, b->id);
			*b = s->backends[--s->n];
			i--;
		}
	}
}

static void orphans_tick(struct fleet *t)
{
	uint32_t i;

	for (i = 0; t->swept_at && i < t->n_orphans; i++) {
		if (t->flows[t->orphans[i]])
			continue;
		ids_put(&t->backends, t->orphans[i]);
		t->orphans[i--] = t->orphans[--t->n_orphans];
	}
}

/* B4: when an entry found no room, or was given up for another, that some `was` may need. */
static void full_tick(struct fleet *t, uint64_t now)
{
	uint64_t full = t->maps->state->full + t->maps->state->lost;

	if (full != t->full_seen)
		t->full_at = now;
	t->full_seen = full;
}

static void look_tick(struct fleet *t, struct fleet_service *s, uint64_t now)
{
	uint64_t flow_ns = t->way.flow_s * SECOND;
	uint32_t i, entries = 0;

	if (!s->look || s->want->opt->algorithm == CONFIG_LEAST_CONNECTIONS)
		return;
	for (i = 0; i < s->n; i++)
		entries += t->flows[s->backends[i].id];
	if (!s->merged && now > max(s->changed_at, t->full_at) + flow_ns) {
		slots_merge(t, s);
		s->merged = true;
		s->changed_at = now;
	} else if (s->merged && !entries && !s->want->opt->affinity_s &&
		   t->swept_at > s->changed_at) {
		slots_rest(t, s);
	}
}

void fleet_tick(struct fleet *t, uint64_t boot_now)
{
	struct fleet_service *s;

	olds_free(t);
	full_tick(t, boot_now);
	if (!t->swept_at ||
	    boot_now > t->swept_at + (live_counts(t) ? SWEEP_SOON_S : SWEEP_S) * SECOND)
		fleet_sweep(t, boot_now);
	orphans_tick(t);
	for (s = t->services; s; s = s->hh.next) {
		leaving_tick(t, s, boot_now);
		look_tick(t, s, boot_now);
	}
	live_tick(t, boot_now);
}
