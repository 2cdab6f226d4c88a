// SPDX-License-Identifier: Apache-2.0
/*
 * Translated connections as user space sees them: when the object looks for them at all, what is
 * forgotten, what is taken over. A1 to A5 of nat.bpf.h.
 */
#include "balance/inside.h"

#define CLAIM_UNITS 2 /* what is claimed for longer has no owner any more */

static size_t buckets(const struct fleet *t)
{
	return (size_t)1 << t->maps->size.nat_log;
}

/* As struct balance_state has our addresses. */
static void us_get(const struct fleet *t, uint32_t *us4, uint64_t us6[2])
{
	memcpy(us4, t->way.source4.bytes, sizeof(*us4));
	memcpy(us6, t->way.source6.bytes, 16);
}

static void forget_all(struct fleet *t)
{
	memset(t->maps->nat_forth, 0, buckets(t) * sizeof(*t->maps->nat_forth));
	memset(t->maps->nat_back, 0, buckets(t) * sizeof(*t->maps->nat_back));
}

bool nat_some(const struct fleet_service *s)
{
	uint32_t i;

	for (i = 0; s && i < s->n; i++)
		if (s->backends[i].mode == BALANCE_NAT)
			return true;
	return false;
}

void nat_filter(const struct fleet *t, uint64_t *bits)
{
	const struct config_addr *us[] = {&t->way.source4, &t->way.source6};
	uint32_t bit;
	size_t i;

	for (i = 0; i < array_size(us); i++) {
		if (!us[i]->family)
			continue;
		bit = maps_filter_bit(us[i]->family, us[i]->bytes);
		__atomic_fetch_or(&bits[bit / 64], 1ULL << (bit & 63), __ATOMIC_RELEASE);
	}
}

static void use(struct fleet *t)
{
	nat_filter(t, (uint64_t *)t->maps->state->filter);
	__atomic_fetch_or(&t->maps->state->use, BALANCE_USE_NAT, __ATOMIC_RELEASE);
}

void nat_before(struct fleet *t, const struct changes *c)
{
	size_t i;

	for (i = 0; i < c->n; i++)
		if (nat_some(c->list[i].next))
			use(t);
}

void nat_after(struct fleet *t)
{
	const struct fleet_service *s;

	if (!(t->maps->state->use & BALANCE_USE_NAT))
		return;
	for (s = t->services; s; s = s->hh.next)
		if (nat_some(s))
			return;
	__atomic_fetch_and(&t->maps->state->use, ~BALANCE_USE_NAT, __ATOMIC_RELEASE);
}

void nat_open(struct fleet *t)
{
	struct balance_state *s = t->maps->state;
	uint64_t us6[2];
	uint32_t us4;

	us_get(t, &us4, us6);
	if (s->us4 != us4 || memcmp(s->us6, us6, 16)) /* answers will not come to the old ones */
		forget_all(t);
	s->us4 = us4;
	memcpy(s->us6, us6, 16);
	if (s->use & BALANCE_USE_NAT)
		use(t);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

static bool lives(const struct fleet *t, const struct balance_nat *n, uint32_t units)
{
	uint32_t life = __atomic_load_n(&n->life, __ATOMIC_RELAXED);

	return n->backend < t->maps->size.backends &&
	       t->maps->backends[n->backend].state != BALANCE_GONE &&
	       balance_nat_age(life, units) <=
		       balance_nat_idle(life, n->proto, t->maps->state->flow_units);
}

static void unbind(struct fleet *t, struct balance_nat *n, uint32_t place)
{
	uint32_t at = n->back - 1;
	__u64 *word, e;

	if (!n->back || at >= buckets(t) * BALANCE_WAYS)
		return;
	word = &t->maps->nat_back[at / BALANCE_WAYS].entry[at % BALANCE_WAYS];
	e = __atomic_load_n(word, __ATOMIC_RELAXED);
	if ((uint32_t)e == place)
		__atomic_compare_exchange_n(word, &e, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	n->back = 0;
}

/* A4 */
static void forget(struct fleet *t, size_t at, __u64 *word, __u64 e, uint32_t units)
{
	__u64 mine = (e & ~0xffffffffULL) | (units << 2 & 0xffffffff) | BALANCE_NAT_CLAIMED;

	if (!__atomic_compare_exchange_n(word, &e, mine, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return;
	unbind(t, &t->maps->nat[at], (uint32_t)at + 1);
	__atomic_store_n(word, 0, __ATOMIC_SEQ_CST);
}

static bool abandoned(__u64 e, uint32_t units)
{
	return (e & 3) == BALANCE_NAT_CLAIMED &&
	       balance_since((uint32_t)e >> 2, units, 0x3fffffff) > CLAIM_UNITS;
}

void nat_sweep(struct fleet *t, uint32_t units)
{
	size_t n = buckets(t) * BALANCE_WAYS, i;

	t->translated = 0;
	for (i = 0; i < n; i++) {
		__u64 *word = &t->maps->nat_forth[i / BALANCE_WAYS].entry[i % BALANCE_WAYS];
		__u64 e = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		const struct balance_nat *x = &t->maps->nat[i];

		if ((uint32_t)e == BALANCE_NAT_READY && lives(t, x, units)) {
			t->flows[x->backend]++;
			t->busy[x->backend] += balance_nat_age(x->life, units) <= BUSY_UNITS;
			t->translated++;
		} else if ((uint32_t)e == BALANCE_NAT_READY || abandoned(e, units)) {
			forget(t, i, word, e, units);
		}
	}
}

int nat_each(const struct fleet *t, int (*fn)(struct fleet *, uint32_t backend), struct fleet *arg)
{
	size_t n = buckets(t) * BALANCE_WAYS, i;
	int rc = 0;

	for (i = 0; i < n && !rc; i++)
		if ((uint32_t)t->maps->nat_forth[i / BALANCE_WAYS].entry[i % BALANCE_WAYS] ==
		    BALANCE_NAT_READY)
			rc = fn(arg, t->maps->nat[i].backend);
	return rc;
}

uint32_t fleet_translated(const struct fleet *t)
{
	return t->translated;
}
