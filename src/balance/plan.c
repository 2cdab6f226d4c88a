// SPDX-License-Identifier: Apache-2.0
/*
 * plan.c: a wanted state applied in imagination: rings are built in places that nobody reads, compared
 * with those that hold, and the entries of the live flow table are asked for whose backend each is.
 *
 * What is counted of a service that changes:
 *
 *	slots     whose backend for flows that begin differs; of these, those that send flows without
 *		  an entry elsewhere too (only where their backend is gone)
 *	entries   of the flow table by backend: flows that are known. Flows on slots that never changed
 *		  have none; they stay where their slot's `was` stays
 */
#include "balance/inside.h"

#include <inttypes.h>

static const struct balance_slot *ring_of(const struct fleet *t, const struct fleet_service *s)
{
	return t->maps->rings + s->ring;
}

static uint32_t was_of(const struct balance_slot *s)
{
	return s->was & ~BALANCE_LOOK;
}

static const struct fleet_backend *by_id(const struct fleet_service *s, uint32_t id)
{
	uint32_t i;

	for (i = 0; s && i < s->n; i++)
		if (s->backends[i].id == id)
			return &s->backends[i];
	return NULL;
}

/* ---- slots ----------------------------------------------------------------------------------- */

struct slots_moved {
	uint32_t all, now; /* slots, and those with another backend for flows that begin */
	uint32_t was;	   /* ... for flows without an entry: their backend is gone */
	uint32_t wrong;	   /* ... though it is not: never, or the balancer is wrong */
	uint32_t look;	   /* in which flows that begin need an entry */
};

static void slots_compare(const struct fleet *t, const struct change *c, struct slots_moved *m)
{
	const struct balance_slot *next = ring_of(t, c->next), *old;
	unsigned shift = c->old ? c->next->log - c->old->log : 0;
	const struct fleet_backend *b;
	uint32_t i;

	m->all = 1U << c->next->log;
	for (i = 0; i < m->all; i++) {
		m->look += !!(next[i].was & BALANCE_LOOK);
		if (!c->old)
			continue;
		old = ring_of(t, c->old) + (i >> shift);
		m->now += old->now != next[i].now;
		if (!was_of(old) || was_of(old) == was_of(&next[i]))
			continue;
		b = by_id(c->next, was_of(old));
		m->was++;
		m->wrong += b && b->state != BALANCE_GONE;
	}
}

/* ---- flows ----------------------------------------------------------------------------------- */

/* Entries that live, by backend. */
static uint32_t *entries_count(const struct fleet *t, uint64_t *used)
{
	size_t buckets = (size_t)1 << t->maps->size.bucket_log, i;
	uint32_t *n = calloc(t->maps->size.backends, sizeof(*n)), units = fleet_units(), id, w;
	__u64 e;

	*used = 0;
	for (i = 0; n && i < buckets; i++)
		for (w = 0; w < BALANCE_WAYS; w++) {
			e = t->maps->flows[i].entry[w];
			id = BALANCE_ENTRY_BACKEND(e);
			if (!id || id >= t->maps->size.backends ||
			    balance_entry_age(e, units) > t->maps->state->flow_units)
				continue;
			n[id] += !(e & 1);
			++*used;
		}
	return n;
}

/* What becomes of a backend, as a word; @next NULL: its service goes. */
static const char *fate(const struct fleet_service *next, const struct fleet_backend *b)
{
	const struct fleet_backend *then = by_id(next, b->id);

	if (!then || then->state == BALANCE_GONE)
		return "gone";
	return then->state == BALANCE_DRAINING ? "draining" : "live";
}

static void backend_tell(struct buf *out, const struct fleet_backend *b, const char *will,
			 uint32_t entries, const char *comma)
{
	char text[64];

	buf_fmt(out, "%s{\"address\":\"%s\",\"then\":\"%s\",\"entries\":%u,\"touched\":%u}", comma,
		config_addr_text(&b->addr, text), will, entries,
		!strcmp(will, "gone") ? entries : 0);
}

struct sum {
	uint64_t touched, survivors;
	uint32_t moved;
};

static void backends_tell(struct buf *out, const struct change *c, const uint32_t *entries,
			  struct sum *sum)
{
	const char *comma = "", *will;
	uint32_t i;

	buf_str(out, ",\"backends\":[");
	for (i = 0; c->old && i < c->old->n; i++) {
		const struct fleet_backend *b = &c->old->backends[i];

		will = fate(c->next, b);
		backend_tell(out, b, will, entries[b->id], comma);
		sum->touched += strcmp(will, "gone") ? 0 : entries[b->id];
		comma = ",";
	}
	for (i = 0; c->next && i < c->next->n; i++)
		if (!by_id(c->old, c->next->backends[i].id)) {
			backend_tell(out, &c->next->backends[i], "new", 0, comma);
			comma = ",";
		}
	buf_chr(out, ']');
}

static void change_tell(struct buf *out, const struct fleet *t, const struct change *c,
			const uint32_t *entries, struct sum *sum)
{
	const char *name = (c->next ? c->next : c->old)->want->name;
	struct slots_moved m = {0};

	buf_str(out, "{\"name\":");
	buf_json(out, name, strlen(name));
	buf_fmt(out, ",\"change\":\"%s\"", !c->old ? "added" : c->next ? "changed" : "removed");
	if (c->next) {
		slots_compare(t, c, &m);
		buf_fmt(out,
			",\"slots\":%u,\"slots_changed\":%u,\"slots_of_gone\":%u,"
			"\"slots_of_survivors\":%u,\"slots_asking\":%u,\"drain_s\":%u",
			m.all, m.now, m.was, m.wrong, m.look,
			(uint32_t)c->next->want->opt->drain_s);
		if (c->old && config_rehashed(c->old->want, c->next->want))
			buf_str(out, ",\"rehashed\":true");
	}
	sum->moved += m.now;
	sum->survivors += m.wrong;
	backends_tell(out, c, entries, sum);
	buf_chr(out, '}');
}

void plan_tell(const struct fleet *t, const struct change *list, size_t n, struct buf *out)
{
	uint64_t used, room = (uint64_t)BALANCE_WAYS << t->maps->size.bucket_log;
	cleanup(mem_free) uint32_t *entries = entries_count(t, &used);
	struct sum sum = {0};
	size_t i;

	buf_str(out, "{\"services\":[");
	for (i = 0; entries && i < n; i++) {
		buf_str(out, i ? ",\n" : "");
		change_tell(out, t, &list[i], entries, &sum);
	}
	buf_fmt(out,
		"],\"slots_changed\":%u,\"touched\":%" PRIu64 ",\"touched_of_survivors\":%" PRIu64
		",\"entries\":%" PRIu64 ",\"room\":%" PRIu64 "}\n",
		sum.moved, sum.touched, sum.survivors, used, room);
	out->failed |= !entries;
}

int fleet_plan(struct fleet *t, const struct config_set *set, uint64_t boot_now, struct buf *out,
	       struct skep_err *err)
{
	int rc;

	t->imagine = out;
	rc = fleet_apply(t, set, boot_now, true, NULL, NULL, err);
	t->imagine = NULL;
	return rc || buf_ok(out) ? rc : -ENOMEM;
}
