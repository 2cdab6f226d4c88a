// SPDX-License-Identifier: Apache-2.0
/*
 * live.c: what changes between two applies: drains, health, slow start, load. Each sets something of a
 * backend and makes its service stale; the ring is renewed by the rules of any change (T1 to T4), so
 * nobody's flows move but those of a backend that is gone.
 */
#include "balance/inside.h"

#include <math.h>

#define SECOND 1000000000ULL
#define LOAD_S 2 /* between two looks at loads */
#define LEAST  4 /* of FLEET_FACTOR_ONE: a backend never gets less of its weight */
#define STEP   8 /* a change of a factor by less than a part in so many is left alone */

struct fleet_backend *fleet_backend_find(const struct fleet_service *s, const struct config_addr *a)
{
	uint32_t i;

	for (i = 0; i < s->n; i++)
		if (!memcmp(&s->backends[i].addr, a, sizeof(*a)))
			return &s->backends[i];
	return NULL;
}

const char *fleet_was(const struct fleet_service *s, const struct fleet_backend *b)
{
	bool kin = !b->listed && fleet_backend_find(s, &b->addr) != b;

	return kin ? config_mode_text(b->mode) : NULL;
}

void fleet_labels(const struct fleet_service *s, const struct fleet_backend *b, char *out,
		  size_t size)
{
	const char *was = fleet_was(s, b);
	char addr[64];

	snprintf(out, size, "service=\"%s\",backend=\"%s\"%s%s%s", s->want->name,
		 config_addr_text(&b->addr, addr), was ? ",was=\"" : "", was ?: "",
		 was ? "\"" : "");
}

void live_stale(struct fleet *t, struct fleet_service *s)
{
	s->stale = true;
	t->stale = true;
}

/* ---- state and weight ------------------------------------------------------------------------ */

static bool in_panic(const struct fleet_service *s)
{
	uint64_t all = 0, up = 0;
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		const struct fleet_backend *b = &s->backends[i];

		if (!b->listed || !b->wanted || b->drained)
			continue;
		all++;
		up += !b->down && !b->passive.until;
	}
	return up * 100 < (uint64_t)s->want->opt->health.panic * all;
}

void live_decide(struct fleet_service *s)
{
	uint32_t i;

	s->panic = in_panic(s);
	for (i = 0; i < s->n; i++) {
		struct fleet_backend *b = &s->backends[i];

		if (!b->listed)
			continue;
		if (b->released || (b->down && !s->panic))
			b->state = BALANCE_GONE;
		else if (!b->wanted || b->drained || (b->passive.until && !s->panic))
			b->state = BALANCE_DRAINING;
		else
			b->state = BALANCE_LIVE;
		b->weight = b->state == BALANCE_LIVE ? b->wanted * b->factor : 0;
	}
}

/* What cannot be renewed now, for want of room, stays stale until the next tick. */
void live_settle(struct fleet *t, uint64_t now)
{
	struct fleet_service *s, *next;

	if (!t->stale)
		return;
	t->stale = false;
	for (s = t->services; s; s = next) {
		next = s->hh.next;
		if (s->stale && renew(t, s, now))
			t->stale = true;
	}
}

int fleet_drain(struct fleet *t, const char *service, const struct config_addr *backend, bool on,
		uint64_t release, uint64_t boot_now, struct skep_err *err)
{
	struct fleet_service *s = fleet_find(t, service);
	struct fleet_backend *b = s ? fleet_backend_find(s, backend) : NULL, before;
	int rc;

	if (!s)
		return skep_fail(err, -ENOENT, "no service '%s'", service);
	if (!b || !b->listed)
		return skep_fail(err, -ENOENT, "service '%s' has no such backend", service);
	before = *b;
	b->drained = on;
	b->leave_at = on ? release : 0;
	b->released = on && release && release <= boot_now;
	b->up_at = before.drained && !on ? boot_now : b->up_at;
	if (before.drained == b->drained && before.released == b->released)
		return 0;
	rc = renew(t, s, boot_now);
	if (rc)
		*b = before;
	return rc ? skep_fail(err, rc, "drain: %s", strerror(-rc)) : 0;
}

void fleet_health(struct fleet *t, const char *service, const struct config_addr *backend, bool up,
		  uint64_t boot_now)
{
	struct fleet_service *s = fleet_find(t, service);
	struct fleet_backend *b = s ? fleet_backend_find(s, backend) : NULL;

	if (!b || !b->listed || b->down == !up)
		return;
	b->down = !up;
	b->up_at = up ? boot_now : b->up_at;
	live_stale(t, s);
	live_settle(t, boot_now);
}

/* ---- weights that move ----------------------------------------------------------------------- */

bool live_counts(const struct fleet *t)
{
	const struct fleet_service *s;
	uint32_t i;

	for (s = t->services; s; s = s->hh.next) {
		if (s->want->opt->algorithm == CONFIG_LEAST_CONNECTIONS)
			return true;
		for (i = 0; i < s->n; i++)
			if (s->backends[i].state == BALANCE_DRAINING && s->backends[i].drained)
				return true;
	}
	return false;
}

/* What a backend bears now, of whatever the service's algorithm looks at. */
static uint64_t load_of(struct fleet *t, const struct fleet_service *s, struct fleet_backend *b)
{
	uint64_t sent, load;

	if (s->want->opt->algorithm == CONFIG_LEAST_CONNECTIONS)
		return t->busy[b->id];
	sent = maps_sent(t->maps, b->id).bytes;
	load = sent - b->load_seen;
	b->load_seen = sent;
	return load;
}

/*
 * A backend's share after a look at its load. Connections stay, so their number follows the share slowly:
 * the share is a steep function of the load, and where some connections last longer than others the
 * numbers still come near each other. Traffic follows at once: each look corrects the last share by the
 * square root of the error, so that loads meet whatever makes them differ, and noise moves little.
 */
static double share_next(const struct fleet_service *s, const struct fleet_backend *b, double mean)
{
	double soft = mean / 8 + 1, off = (mean + soft) / ((double)b->load + soft);

	if (s->want->opt->algorithm == CONFIG_LEAST_CONNECTIONS)
		return off * off * off * off;
	return b->share * sqrt(off);
}

static void loads_weigh(struct fleet *t, struct fleet_service *s)
{
	uint64_t sum = 0, weights = 0, most = 1;
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		struct fleet_backend *b = &s->backends[i];

		b->load = b->state == BALANCE_LIVE ? load_of(t, s, b) : 0;
		sum += b->load;
		weights += b->state == BALANCE_LIVE ? b->wanted : 0;
	}
	for (i = 0; i < s->n && sum; i++) {
		struct fleet_backend *b = &s->backends[i];
		double mean = (double)sum * b->wanted / (double)weights;

		if (b->state != BALANCE_LIVE)
			continue;
		b->share = share_next(s, b, mean);
		b->share = b->share > 1e6 ? 1e6 : b->share < 1e-6 ? 1e-6 : b->share;
		most = max(most, (uint64_t)(b->share * 1e6));
	}
	for (i = 0; i < s->n && sum; i++)
		if (s->backends[i].state == BALANCE_LIVE)
			s->backends[i].share *= 1e6 / (double)most;
}

/* Of FLEET_FACTOR_ONE. */
static uint8_t factor_of(const struct fleet_service *s, const struct fleet_backend *b, uint64_t now)
{
	uint64_t slow = (uint64_t)s->want->opt->slow_start_s * SECOND;
	double f = s->want->opt->algorithm ? b->share * FLEET_FACTOR_ONE : FLEET_FACTOR_ONE;

	if (b->up_at && now < b->up_at + slow)
		f *= (double)(now - b->up_at) / (double)slow;
	return (uint8_t)(f < LEAST ? LEAST : f > FLEET_FACTOR_ONE ? FLEET_FACTOR_ONE : f + 0.5);
}

static bool far_enough(uint8_t from, uint8_t to)
{
	int apart = abs(from - to);

	return apart * STEP > from || (apart && to == FLEET_FACTOR_ONE && apart > 1);
}

static void service_tick(struct fleet *t, struct fleet_service *s, bool look, uint64_t now)
{
	bool moved = false;
	uint32_t i;

	if (look && s->want->opt->algorithm)
		loads_weigh(t, s);
	for (i = 0; i < s->n; i++) {
		struct fleet_backend *b = &s->backends[i];

		if (b->drained && !b->released && b->leave_at && b->leave_at <= now) {
			b->released = true;
			live_stale(t, s);
		}
		moved |= b->state == BALANCE_LIVE && far_enough(b->factor, factor_of(s, b, now));
	}
	for (i = 0; moved && i < s->n; i++)
		s->backends[i].factor = factor_of(s, &s->backends[i], now);
	if (moved)
		live_stale(t, s);
}

void live_tick(struct fleet *t, uint64_t now)
{
	bool look = now >= t->looked_at + LOAD_S * SECOND;
	struct fleet_service *s;

	if (look)
		t->looked_at = now;
	for (s = t->services; s; s = s->hh.next)
		service_tick(t, s, look, now);
	live_settle(t, now);
}
