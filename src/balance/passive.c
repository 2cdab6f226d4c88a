// SPDX-License-Identifier: Apache-2.0
/*
 * passive.c: backends that do not answer, seen in the clients' own packets: of the SYNs that a backend was
 * sent some came again, or it refused them (mode nat). No probe is needed, and what a probe would not
 * see is seen: a server that answers probes and no longer accepts.
 *
 * P1  Such a backend is ejected for a time: it gets no new connections and keeps those it has. Then it is
 *     tried again.
 * P2  At most half of a service's backends are ejected at once: who sends SYNs twice and never more
 *     cannot empty a service.
 */
#include "balance/inside.h"

#include <inttypes.h>

#define SECOND	 1000000000ULL
#define SYNS_MIN 10 /* fewer say nothing */
#define LOOKS	 12 /* intervals after which a look that saw too few begins anew */

static void look_begin(struct fleet_backend *b, uint64_t syns, uint64_t failed, uint64_t now)
{
	b->passive.syns = syns;
	b->passive.failed = failed;
	b->passive.since = now;
}

/* P2 */
static bool may_eject(const struct fleet_service *s)
{
	uint32_t listed = 0, ejected = 1, i;

	for (i = 0; i < s->n; i++) {
		listed += s->backends[i].listed;
		ejected += s->backends[i].listed && s->backends[i].passive.until;
	}
	return ejected * 2 <= listed;
}

/* Return: whether it does not answer; @reason then says so. */
static bool fails(struct fleet *t, const struct fleet_service *s, struct fleet_backend *b,
		  uint64_t now, char reason[64])
{
	const struct config_health *h = &s->want->opt->health;
	uint64_t length = (uint64_t)h->interval_s * SECOND, syns;
	uint32_t failed; /* its counters wrap */
	struct maps_again again;

	if (now < b->passive.since + length)
		return false;
	again = maps_again(t->maps, b->id);
	syns = maps_sent(t->maps, b->id).flows - b->passive.syns;
	failed = (uint32_t)(again.syns + again.resets - b->passive.failed);
	if (b->passive.since && syns < SYNS_MIN && now < b->passive.since + LOOKS * length)
		return false;
	if (b->passive.since && syns >= SYNS_MIN &&
	    failed * 100ULL >= (uint64_t)h->passive * syns) {
		snprintf(reason, 64, "%u of %" PRIu64 " SYNs were not answered", failed, syns);
		return true;
	}
	look_begin(b, b->passive.syns + syns, b->passive.failed + failed, now);
	return false;
}

static void look(struct fleet *t, struct fleet_service *s, struct fleet_backend *b, uint64_t now,
		 fleet_fn fn, void *arg)
{
	char reason[64] = "";

	if (b->passive.until && now < b->passive.until)
		return;
	if (b->passive.until) {
		b->passive.until = b->passive.since = 0;
		b->up_at = now;
		fn(arg, s->want->name, &b->addr, true, NULL);
	} else if (b->state == BALANCE_LIVE && may_eject(s) && fails(t, s, b, now, reason)) {
		b->passive.until = now + (uint64_t)s->want->opt->health.passive_s * SECOND;
		fn(arg, s->want->name, &b->addr, false, reason);
	} else {
		return;
	}
	live_stale(t, s);
}

void fleet_passive(struct fleet *t, uint64_t boot_now, fleet_fn fn, void *arg)
{
	struct fleet_service *s;
	uint32_t i;

	for (s = t->services; s; s = s->hh.next)
		for (i = 0; s->want->opt->health.passive && i < s->n; i++)
			if (s->backends[i].listed)
				look(t, s, &s->backends[i], boot_now, fn, arg);
	live_settle(t, boot_now);
}
