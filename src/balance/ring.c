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

struct seat {
	const struct ring_member *member;
	uint32_t at, skip; /* of its permutation */
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
	const struct seat *x = a, *y = b;

	return x->member->identity < y->member->identity
		       ? -1
		       : x->member->identity > y->member->identity;
}

static int by_remainder(const void *a, const void *b)
{
	const struct seat *x = *(struct seat *const *)a, *y = *(struct seat *const *)b;

	if (x->remainder != y->remainder)
		return x->remainder > y->remainder ? -1 : 1;
	return by_identity(x, y);
}

/* R2: the slots that rounding down left over go to the largest remainders. */
static int share_out(struct seat *seats, size_t n, uint32_t slots, uint64_t sum)
{
	cleanup(mem_free) struct seat **order = calloc(n, sizeof(struct seat *));
	uint32_t left = slots;
	size_t i;

	if (!order)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		uint64_t exact = (uint64_t)slots * seats[i].member->weight;

		seats[i].share = (uint32_t)(exact / sum);
		seats[i].remainder = (uint32_t)(((exact % sum) << 32) / (sum << 1));
		left -= seats[i].share;
		order[i] = &seats[i];
	}
	qsort(order, n, sizeof(struct seat *), by_remainder);
	for (i = 0; i < left; i++)
		order[i]->share++;
	return 0;
}

static void take_slot(struct seat *s, uint32_t *out, uint64_t *taken, uint32_t mask)
{
	while (taken[s->at / 64] >> (s->at & 63) & 1)
		s->at = (s->at + s->skip) & mask;
	taken[s->at / 64] |= 1ULL << (s->at & 63);
	out[s->at] = s->member->value;
	s->share--;
}

static void fill(struct seat *seats, size_t n, uint32_t *out, uint64_t *taken, uint32_t slots,
		 uint32_t heaviest)
{
	uint32_t left = slots;
	size_t i;

	while (left) {
		for (i = 0; i < n && left; i++) {
			struct seat *s = &seats[i];

			if (!s->share)
				continue;
			s->credit += s->member->weight;
			if (s->credit < heaviest)
				continue;
			s->credit -= heaviest;
			take_slot(s, out, taken, slots - 1);
			left--;
		}
	}
}

static size_t seat_all(struct seat *seats, const struct ring_member *members, size_t n,
		       uint32_t mask, uint32_t *heaviest)
{
	size_t i, used = 0;

	*heaviest = 0;
	for (i = 0; i < n; i++) {
		if (!members[i].weight)
			continue;
		seats[used++] = (struct seat){
			.member = &members[i],
			.at = (uint32_t)mix(members[i].identity) & mask,
			.skip = ((uint32_t)mix(members[i].identity ^ 0x736b6970) | 1) & mask,
		};
		*heaviest = max(*heaviest, members[i].weight);
	}
	qsort(seats, used, sizeof(*seats), by_identity);
	return used;
}

int ring_fill(uint32_t *out, unsigned log, const struct ring_member *members, size_t n,
	      uint32_t none)
{
	cleanup(mem_free) struct seat *seats = calloc(n ? n : 1, sizeof(*seats));
	cleanup(mem_free) uint64_t *taken = calloc((1UL << log) / 64 + 1, sizeof(*taken));
	uint32_t slots = 1U << log, heaviest, i;
	size_t used;
	int rc;

	if (!seats || !taken)
		return -ENOMEM;
	used = seat_all(seats, members, n, slots - 1, &heaviest);
	if (!used) {
		for (i = 0; i < slots; i++)
			out[i] = none;
		return 0;
	}
	rc = share_out(seats, used, slots, weights(members, n));
	if (!rc)
		fill(seats, used, out, taken, slots, heaviest);
	return rc;
}
