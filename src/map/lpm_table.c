// SPDX-License-Identifier: Apache-2.0
/*
 * lpm_table.c: tables follow the trie (lpm.h). All under the lock.
 *
 * A prefix of 8d+1 to 8d+8 bits ends in a table of depth d, where it is the best of 2^(8d+8-bits) slots,
 * but of those that have a longer one. What has 8d+8 bits or more is one slot's next and below it: the
 * first node on the way of that length.
 */
#include "map/lpm.h"

struct place {
	struct lpm_table *table;
	uint32_t depth;
	struct lpm_slot *slot; /* the key's */
};

/* The deepest table on the way of a prefix, where it ends or is below a slot. */
static struct place place_of(struct lpm *t, const uint64_t *words, uint32_t bits)
{
	struct place p = {t->tables + 1};
	uint32_t next;

	for (;;) {
		p.slot = p.table->slots + lpm_byte(words, p.depth);
		next = lpm_get(&p.slot->next);
		if (bits <= 8 * p.depth + 8 || !(next & LPM_TABLE))
			return p;
		p.table = t->tables + (next & ~LPM_TABLE);
		p.depth++;
	}
}

/* In the slots of a prefix that ends in @table: @i instead of what is as short or shorter. */
static void best_set(struct lpm *t, struct lpm_table *table, uint32_t depth, uint32_t i)
{
	const struct lpm_node *n = lpm_node(t, i);
	uint32_t count = 1U << (8 * depth + 8 - n->bits), s, old;
	uint32_t first = lpm_byte(n->words, depth) & ~(count - 1);

	for (s = first; s < first + count; s++) {
		old = lpm_get(&table->slots[s].best);
		if (!old || lpm_node(t, old)->bits <= n->bits)
			lpm_set(&table->slots[s].best, i);
	}
}

/* The first node of @bits bits or more on the way of @words, 0 if there is none. */
static uint32_t first_of(const struct lpm *t, const uint64_t *words, uint32_t bits)
{
	uint32_t i = lpm_get(&t->root), limit;
	const struct lpm_node *n;

	while (i) {
		n = lpm_node(t, i);
		limit = min(n->bits, bits);
		if (lpm_common(n->words, words, limit) < limit)
			return 0;
		if (n->bits >= bits)
			return i;
		i = lpm_get(&n->child[lpm_bit(words, n->bits)]);
	}
	return 0;
}

/* ---- making a table -------------------------------------------------------------------------- */

/* What is below @i into a table: prefixes before longer ones. Its depth bounds the recursion: 9. */
static void table_fill(struct lpm *t, struct lpm_table *table, uint32_t depth, uint32_t i)
{
	const struct lpm_node *n = lpm_node(t, i);

	if (!i)
		return;
	if (!lpm_get(&n->branch) && n->bits > 8 * depth && n->bits <= 8 * depth + 8)
		best_set(t, table, depth, i);
	if (n->bits >= 8 * depth + 8) {
		lpm_set(&table->slots[lpm_byte(n->words, depth)].next, i);
		return;
	}
	table_fill(t, table, depth, lpm_get(&n->child[0]));
	table_fill(t, table, depth, lpm_get(&n->child[1]));
}

static unsigned steps_to(const struct lpm *t, uint32_t from, uint32_t to)
{
	const struct lpm_node *goal = lpm_node(t, to), *n;
	unsigned steps = 0;

	while (from && from != to) {
		n = lpm_node(t, from);
		if (n->bits >= goal->bits)
			break;
		from = lpm_get(&n->child[lpm_bit(goal->words, n->bits)]);
		steps++;
	}
	return steps;
}

/* Where the way of @i, which was added at the slot or below it, begins now. */
static void next_set(struct lpm *t, const struct place *p, uint32_t i)
{
	uint32_t next = first_of(t, lpm_node(t, i)->words, 8 * p->depth + 8);
	struct lpm_table *table;

	if (steps_to(t, next, i) > LPM_DEPTH && t->fresh_table <= t->n_tables) {
		table = t->tables + t->fresh_table;
		table_fill(t, table, p->depth + 1, next);
		next = LPM_TABLE | t->fresh_table++;
	}
	lpm_set(&p->slot->next, next);
}

/* ---- changes --------------------------------------------------------------------------------- */

void lpm_table_added(struct lpm *t, uint32_t i)
{
	const struct lpm_node *n = lpm_node(t, i);
	struct place p;

	if (!n->bits) {
		lpm_set(&t->any, i);
		return;
	}
	p = place_of(t, n->words, n->bits);
	if (n->bits <= 8 * p.depth + 8)
		best_set(t, p.table, p.depth, i);
	if (n->bits >= 8 * p.depth + 8 && !(lpm_get(&p.slot->next) & LPM_TABLE))
		next_set(t, &p, i);
}

/* The longest prefix that holds @key, is shorter, and ends in a table of @depth too. */
static uint32_t second_best(const struct lpm *t, const struct lpm_key *key, uint32_t depth)
{
	uint32_t i = lpm_get(&t->root), best = 0;
	const struct lpm_node *n;

	while (i) {
		n = lpm_node(t, i);
		if (n->bits >= key->bits || !lpm_holds(n->words, n->bits, key->words))
			break;
		if (!lpm_get(&n->branch) && n->bits > 8 * depth)
			best = i;
		i = lpm_get(&n->child[lpm_bit(key->words, n->bits)]);
	}
	return best;
}

static void best_remove(struct lpm *t, const struct place *p, const struct lpm_key *key, uint32_t i)
{
	uint32_t count = 1U << (8 * p->depth + 8 - key->bits), s;
	uint32_t first = lpm_byte(key->words, p->depth) & ~(count - 1);
	uint32_t instead = second_best(t, key, p->depth);

	for (s = first; s < first + count; s++) {
		if (lpm_get(&p->table->slots[s].best) == i)
			lpm_set(&p->table->slots[s].best, instead);
	}
}

void lpm_table_removed(struct lpm *t, const struct lpm_key *key, uint32_t i)
{
	struct place p;

	if (!key->bits) {
		lpm_set(&t->any, 0);
		return;
	}
	p = place_of(t, key->words, key->bits);
	if (key->bits <= 8 * p.depth + 8)
		best_remove(t, &p, key, i);
	if (key->bits >= 8 * p.depth + 8 && !(lpm_get(&p.slot->next) & LPM_TABLE))
		lpm_set(&p.slot->next, first_of(t, key->words, 8 * p.depth + 8));
}
