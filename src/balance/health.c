// SPDX-License-Identifier: Apache-2.0
#include "balance/health.h"

#include <sys/socket.h>

#include "balance/prober.h"

struct key {
	char service[CONFIG_NAME_MAX];
	struct config_addr addr;
	uint8_t pad[7];
};

struct target {
	UT_hash_handle hh;    /* by key */
	UT_hash_handle by_id; /* by order.id */
	struct key key;
	struct prober_order order;
	struct health_state state;
	unsigned in_a_row; /* answers unlike the state */
	uint32_t seen;	   /* number of the sync that wanted it */
	bool unsent;	   /* the order as it is now */
};

struct health {
	int fd;
	fleet_fn fn;
	void *arg;
	struct target *targets, *ids;
	uint32_t next_id, syncs;
	bool late;   /* an order could not be sent */
	bool dead;   /* the prober is */
	bool tunnel; /* probes may go by it */
};

int health_open(struct health **out, struct balance_probe *table, fleet_fn fn, void *arg,
		struct skep_err *err)
{
	struct health *h = calloc(1, sizeof(*h));
	int room = 4 << 20, rc;

	if (!h)
		return -ENOMEM;
	h->fn = fn;
	h->arg = arg;
	h->tunnel = table;
	rc = prober_start(&h->fd, table);
	if (rc) {
		free(h);
		return skep_fail(err, rc, "start the prober: %s", strerror(-rc));
	}
	setsockopt(h->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	*out = h;
	return 0;
}

static void target_drop(struct health *h, struct target *x)
{
	HASH_DELETE(hh, h->targets, x);
	HASH_DELETE(by_id, h->ids, x);
	free(x);
}

void health_free(struct health *h)
{
	struct target *x, *next;

	if (!h)
		return;
	HASH_ITER (hh, h->targets, x, next)
		target_drop(h, x);
	fd_close(&h->fd);
	free(h);
}

/* The agent waits for nobody: when the prober is behind, the rest is ordered at the next poll. */
static bool send_order(struct health *h, const struct prober_order *o)
{
	if (!h->late)
		h->late = send(h->fd, o, sizeof(*o), MSG_NOSIGNAL | MSG_DONTWAIT) !=
			  (ssize_t)sizeof(*o);
	return !h->late;
}

static struct target *find(const struct health *h, const char *service, const struct config_addr *a)
{
	struct target *x;
	struct key k;

	memset(&k, 0, sizeof(k));
	snprintf(k.service, sizeof(k.service), "%s", service);
	k.addr = *a;
	HASH_FIND(hh, h->targets, &k, sizeof(k), x);
	return x;
}

const struct health_state *health_get(const struct health *h, const char *service,
				      const struct config_addr *backend)
{
	const struct target *x = h ? find(h, service, backend) : NULL;

	return x ? &x->state : NULL;
}

/* ---- what is asked --------------------------------------------------------------------------- */

static uint16_t port_of(const struct fleet_service *s, const struct fleet_backend *b)
{
	uint32_t i;

	if (s->want->opt->health.port)
		return (uint16_t)s->want->opt->health.port;
	for (i = 0; i < s->want->n_backends; i++)
		if (s->want->backends[i].port &&
		    !memcmp(&s->want->backends[i].addr, &b->addr, sizeof(b->addr)))
			return (uint16_t)s->want->backends[i].port;
	return s->want->n_vips ? s->want->vips[0].first : 0;
}

static struct target *target_add(struct health *h, const struct fleet_service *s,
				 const struct fleet_backend *b)
{
	struct target *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	snprintf(x->key.service, sizeof(x->key.service), "%s", s->want->name);
	x->key.addr = b->addr;
	x->order.id = ++h->next_id;
	x->order.addr = b->addr;
	snprintf(x->order.service, sizeof(x->order.service), "%s", s->want->name);
	x->state.up = !b->down;
	HASH_ADD(hh, h->targets, key, sizeof(x->key), x);
	HASH_ADD(by_id, h->ids, order.id, sizeof(x->order.id), x);
	return x;
}

/* As it is asked for now; what is of the target itself stays. */
static struct prober_order order_of(const struct health *h, const struct target *x,
				    const struct fleet_service *s, const struct fleet_backend *b)
{
	const struct config_health *c = &s->want->opt->health;
	const struct config_addr *vip =
		c->via && h->tunnel ? config_vip_of(s->want, b->addr.family) : NULL;
	struct prober_order o;

	memcpy(&o, &x->order, sizeof(o));
	o.port = port_of(s, b);
	memset(&o.vip, 0, sizeof(o.vip));
	if (vip)
		o.vip = *vip;
	o.mode = vip ? b->mode : 0;
	memcpy(&o.health, c, sizeof(o.health));
	return o;
}

static void want(struct health *h, const struct fleet_service *s, const struct fleet_backend *b)
{
	struct target *x = find(h, s->want->name, &b->addr);
	struct prober_order o;

	x = x ? x : target_add(h, s, b);
	if (!x)
		return;
	x->seen = h->syncs;
	o = order_of(h, x, s, b);
	if (x->order.generation && !x->unsent && !memcmp(&x->order, &o, sizeof(o)))
		return;
	memcpy(&x->order, &o, sizeof(o));
	x->order.generation++;
	x->in_a_row = 0;
	x->unsent = !send_order(h, &x->order); /* then again at the next sync */
}

void health_sync(struct health *h, const struct fleet *t)
{
	const struct fleet_service *s;
	struct target *x, *next;
	uint32_t i;

	if (!h)
		return;
	h->syncs++;
	h->late = false;
	for (s = fleet_first(t); s; s = s->hh.next)
		for (i = 0; s->want->opt->health.type && i < s->n; i++)
			if (s->backends[i].listed)
				want(h, s, &s->backends[i]);
	HASH_ITER (hh, h->targets, x, next) {
		if (x->seen == h->syncs)
			continue;
		x->order.stop = true;
		if (send_order(h, &x->order))
			target_drop(h, x);
	}
}

/* ---- what is answered ------------------------------------------------------------------------ */

/* H1 */
static void count(struct health *h, struct target *x, const struct prober_answer *a,
		  struct fleet *t, uint64_t boot_now)
{
	const struct config_health *c = &x->order.health;

	x->state.asked = true;
	x->state.us = a->us;
	x->state.probes++;
	x->state.failures += !a->well;
	snprintf(x->state.reason, sizeof(x->state.reason), "%.55s", a->reason);
	x->in_a_row = a->well == x->state.up ? 0 : x->in_a_row + 1;
	if (x->in_a_row < (unsigned)(x->state.up ? c->fall : c->rise))
		return;
	x->in_a_row = 0;
	if (a->well == x->state.up)
		return;
	x->state.up = a->well;
	fleet_health(t, x->key.service, &x->key.addr, a->well, boot_now);
	h->fn(h->arg, x->key.service, &x->key.addr, a->well, x->state.reason);
}

bool health_dead(const struct health *h)
{
	return h && h->dead;
}

int health_fd(const struct health *h)
{
	return h && !h->dead ? h->fd : -1;
}

unsigned health_poll(struct health *h, struct fleet *t, uint64_t boot_now)
{
	struct prober_answer a;
	struct target *x;
	unsigned n = 0;
	ssize_t size;

	if (!h || !t || h->dead)
		return 0;
	while ((size = recv(h->fd, &a, sizeof(a), MSG_DONTWAIT)) == (ssize_t)sizeof(a)) {
		a.reason[sizeof(a.reason) - 1] = '\0';
		HASH_FIND(by_id, h->ids, &a.id, sizeof(a.id), x);
		if (x && x->order.generation == a.generation && !x->order.stop) /* H2 */
			count(h, x, &a, t, boot_now);
		n++;
	}
	h->dead = !size;
	if (h->late)
		health_sync(h, t);
	return n;
}
