// SPDX-License-Identifier: Apache-2.0
/*
 * Maglev hashing (Eisenbud et al., NSDI 2016) with two differences:
 *
 * R1  A ring has 2^n slots, and a member's permutation is offset + i * skip with an odd skip, so a
 *     ring that grows by a factor of two refines the old one: slot s came of slot s / 2, and what
 *     was known of a slot's flows stays true of both halves.
 * R2  Shares are counted before the ring is filled (largest remainder), and a member that has its
 *     share takes no more. The paper's turns alone give each about its share; weights need exactly.
 *
 * Members take turns in order of identity; in each round a member may take as many slots as its
 * weight is of the largest, so the light are spread over the whole of the filling, as the heavy are.
 */
#include "balance/ring.h"

/* What is touched for each slot stands in 16 bytes, so that a thousand members stay in the nearest cache. */
struct seat {
	uint32_t at, skip; /* of its permutation */
	uint32_t share;	   /* slots that it is still to take */
	uint32_t value;
};

struct member {
	const struct ring_member *given;
	uint32_t share, remainder;
	uint32_t credit; /* in parts of the largest weight */
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint64_t weights(const struct ring_member *members, size_t n)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < n; i++)
		sum += members[i].weight;
	return sum;
}

unsigned ring_log(const struct ring_member *members, size_t n)
{
	uint64_t sum = weights(members, n), least = UINT32_MAX;
	unsigned log = RING_LOG_MIN;
	size_t i;

	for (i = 0; i < n; i++)
		if (members[i].weight)
			least = min(least, (uint64_t)members[i].weight);
	while (log < RING_LOG_MAX && least << log < 100 * sum)
		log++;
	return log;
}

static int by_identity(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return x->given->identity < y->given->identity ? -1
						       : x->given->identity > y->given->identity;
}

static int by_remainder(const void *a, const void *b)
{
	const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;

	if (x->remainder != y->remainder)
		return x->remainder > y->remainder ? -1 : 1;
	return by_identity(x, y);
}

/* R2: the slots that rounding down left over go to the largest remainders. */
static int share_out(struct member *m, size_t n, uint32_t slots, uint64_t sum)
{
	cleanup(mem_free) struct member **order = calloc(n, sizeof(struct member *));
	uint32_t left = slots;
	size_t i;

	if (!order)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		uint64_t exact = (uint64_t)slots * m[i].given->weight;

		m[i].share = (uint32_t)(exact / sum);
		m[i].remainder = (uint32_t)(((exact % sum) << 32) / (sum << 1));
		left -= m[i].share;
		order[i] = &m[i];
	}
	qsort(order, n, sizeof(struct member *), by_remainder);
	for (i = 0; i < left; i++)
		order[i]->share++;
	return 0;
}

/* Those that have a weight, in order of identity. */
static size_t members_sort(struct member *m, const struct ring_member *given, size_t n)
{
	size_t i, used = 0;

	for (i = 0; i < n; i++)
		if (given[i].weight)
			m[used++].given = &given[i];
	qsort(m, used, sizeof(*m), by_identity);
	return used;
}

static void seats_take(struct seat *seats, const struct member *m, size_t n, uint32_t mask)
{
	size_t i;

	for (i = 0; i < n; i++) {
		uint64_t identity = m[i].given->identity;

		seats[i] = (struct seat){
			.at = (uint32_t)mix(identity) & mask,
			.skip = ((uint32_t)mix(identity ^ 0x736b6970) | 1) & mask,
			.share = m[i].share,
			.value = m[i].given->value,
		};
	}
}

#define LOOKS 4

/*
 * A bit for each of the next places of a permutation that is taken. When most are, whether one is free
 * cannot be foretold; to look at some at once costs less than to be wrong about each.
 */
static uint32_t looks(const uint64_t *taken, uint32_t at, uint32_t skip, uint32_t mask)
{
	uint32_t bits = 0, k;

#pragma GCC unroll 4
	for (k = 0; k < LOOKS; k++, at = (at + skip) & mask)
		bits |= (uint32_t)(taken[at / 64] >> (at & 63) & 1) << k;
	return bits;
}

static uint32_t place_find(const uint64_t *taken, uint32_t at, uint32_t skip, uint32_t mask)
{
	uint32_t bits;

	if (!(taken[at / 64] >> (at & 63) & 1))
		return at;
	for (;; at = (at + LOOKS * skip) & mask) {
		bits = ~looks(taken, at, skip, mask) & ((1U << LOOKS) - 1);
		if (bits)
			return (at + (uint32_t)__builtin_ctz(bits) * skip) & mask;
	}
}

/* Of an odd number, modulo 2^32: each step doubles the bits that are right. */
static uint32_t inverse(uint32_t odd)
{
	uint32_t x = odd; /* three bits are */

	x *= 2 - odd * x;
	x *= 2 - odd * x;
	x *= 2 - odd * x;
	return x * (2 - odd * x);
}

/* The same when few are free: which of them comes first in the permutation from @at on. */
static uint32_t place_among(const uint32_t *left, uint32_t n, const struct seat *s, uint32_t mask)
{
	uint32_t back = inverse(s->skip), best = UINT32_MAX, steps, place = 0, i;

	for (i = 0; i < n; i++) {
		steps = (left[i] - s->at) * back & mask;
		place = steps < best ? i : place;
		best = steps < best ? steps : best;
	}
	return place;
}

/* A ring while it is filled. */
struct filling {
	uint32_t *out, mask;
	uint64_t *taken; /* a bit for each slot */
	uint32_t left;	 /* slots that nobody has */
	uint32_t *few;	 /* which, from FEW on */
};

#define FEW(mask) ((mask) >> 9) /* what costs as much to go through as to look for */

static void few_collect(struct filling *f)
{
	uint32_t i, n = 0;

	for (i = 0; i <= f->mask; i++)
		if (!(f->taken[i / 64] >> (i & 63) & 1))
			f->few[n++] = i;
}

static void take_slot(struct filling *f, struct seat *s)
{
	uint32_t place;

	if (f->left <= FEW(f->mask)) {
		if (f->left == FEW(f->mask))
			few_collect(f);
		place = place_among(f->few, f->left, s, f->mask);
		s->at = f->few[place];
		f->few[place] = f->few[f->left - 1];
	} else {
		s->at = place_find(f->taken, s->at, s->skip, f->mask);
		f->taken[s->at / 64] |= 1ULL << (s->at & 63);
	}
	f->out[s->at] = s->value;
	s->share--;
	f->left--;
}

/* Whether it is @m's turn in this round. */
static bool turn(struct member *m, uint32_t heaviest)
{
	m->credit += m->given->weight;
	if (m->credit < heaviest)
		return false;
	m->credit -= heaviest;
	return true;
}

static void fill(struct filling *f, struct seat *seats, struct member *m, size_t n)
{
	uint32_t heaviest = 0;
	bool alike = true;
	size_t i;

	for (i = 0; i < n; i++) {
		alike &= m[i].given->weight == m[0].given->weight;
		heaviest = max(heaviest, m[i].given->weight);
	}
	while (f->left) {
		for (i = 0; i < n && f->left; i++)
			if (seats[i].share && (alike || turn(&m[i], heaviest)))
				take_slot(f, &seats[i]);
	}
}

int ring_fill(uint32_t *out, unsigned log, const struct ring_member *members, size_t n,
	      uint32_t none)
{
	cleanup(mem_free) struct member *m = calloc(n ? n : 1, sizeof(*m));
	cleanup(mem_free) struct seat *seats = calloc(n ? n : 1, sizeof(*seats));
	cleanup(mem_free) uint64_t *taken = calloc((1UL << log) / 64 + 1, sizeof(*taken));
	uint32_t slots = 1U << log, i;
	cleanup(mem_free) uint32_t *few = calloc(FEW(slots - 1) + 1, sizeof(*few));
	struct filling f = {out, slots - 1, taken, slots, few};
	size_t used;
	int rc;

	if (!m || !seats || !taken || !few)
		return -ENOMEM;
	used = members_sort(m, members, n);
	if (!used) {
		for (i = 0; i < slots; i++)
			out[i] = none;
		return 0;
	}
	rc = share_out(m, used, slots, weights(members, n));
	if (rc)
		return rc;
	seats_take(seats, m, used, slots - 1);
	fill(&f, seats, m, used);
	return 0;
}
