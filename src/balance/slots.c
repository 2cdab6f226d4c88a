// SPDX-License-Identifier: Apache-2.0
/* Rings in map "rings": B2 and B4 of balance.bpf.c, as far as user space upholds them. */
#include "balance/inside.h"
#include "balance/ring.h"

static struct balance_slot *slots_of(const struct fleet *t, const struct fleet_service *s)
{
	return t->maps->rings + s->ring;
}

static uint64_t identity(const struct config_addr *a)
{
	uint64_t half[2];

	memcpy(half, a->bytes, 16);
	return balance_mix_end(balance_mix(balance_mix(a->family, half[0]), half[1]));
}

static int fill_now(const struct fleet_service *s, uint32_t *now)
{
	cleanup(mem_free) struct ring_member *m = calloc(s->n + 1, sizeof(*m));
	uint32_t i;

	if (!m)
		return -ENOMEM;
	for (i = 0; i < s->n; i++)
		m[i] = (struct ring_member){identity(&s->backends[i].addr), s->backends[i].weight,
					    s->backends[i].id};
	return ring_fill(now, s->log, m, s->n, 0);
}

/* A bit for each backend of @next that is not gone; of backend 0, which is none, never. */
static uint64_t *staying(const struct fleet *t, const struct fleet_service *next)
{
	uint64_t *bits = calloc(t->maps->size.backends / 64 + 1, sizeof(*bits));
	uint32_t i;

	for (i = 0; bits && i < next->n; i++)
		if (next->backends[i].state != BALANCE_GONE)
			bits[next->backends[i].id / 64] |= 1ULL << (next->backends[i].id & 63);
	return bits;
}

static struct balance_slot slot_next(const uint64_t *stays, uint32_t now,
				     const struct balance_slot *old)
{
	uint32_t was = old->was & ~BALANCE_LOOK, look = old->was & BALANCE_LOOK;

	if (!(stays[was / 64] >> (was & 63) & 1))
		was = now;
	if (was != now)
		look = BALANCE_LOOK;
	return (struct balance_slot){now, was | look};
}

int slots_fill(struct fleet *t, struct fleet_service *next, const struct fleet_service *old)
{
	cleanup(mem_free) uint32_t *now = calloc((size_t)1 << next->log, sizeof(*now));
	struct balance_slot *to = slots_of(t, next), *from = old ? slots_of(t, old) : NULL;
	unsigned shift = old ? next->log - old->log : 0;
	cleanup(mem_free) uint64_t *stays = old ? staying(t, next) : NULL;
	const struct config_options *o = &next->want.opt;
	bool always = o->algorithm == CONFIG_LEAST_CONNECTIONS || o->affinity_s;
	uint32_t i;
	int rc = now && (stays || !old) ? fill_now(next, now) : -ENOMEM;

	if (rc)
		return rc;
	next->look = false;
	for (i = 0; i < 1U << next->log; i++) {
		to[i] = from ? slot_next(stays, now[i], &from[i >> shift])
			     : (struct balance_slot){now[i], now[i]};
		to[i].was |= always ? BALANCE_LOOK : 0;
		next->look |= to[i].was >> 31;
	}
	return 0;
}

void slots_merge(struct fleet *t, struct fleet_service *s)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		__atomic_store_n(&slot[i].was, slot[i].now | (slot[i].was & BALANCE_LOOK),
				 __ATOMIC_RELEASE);
}

void slots_leave(struct fleet *t, struct fleet_service *s, uint32_t backend)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		if ((slot[i].was & ~BALANCE_LOOK) == backend)
			__atomic_store_n(&slot[i].was, slot[i].now | (slot[i].was & BALANCE_LOOK),
					 __ATOMIC_RELEASE);
}

void slots_rest(struct fleet *t, struct fleet_service *s)
{
	struct balance_slot *slot = slots_of(t, s);
	uint32_t i;

	for (i = 0; i < 1U << s->log; i++)
		__atomic_store_n(&slot[i].was, slot[i].was & ~BALANCE_LOOK, __ATOMIC_RELEASE);
	s->look = false;
}
