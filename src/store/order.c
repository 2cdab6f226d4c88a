// SPDX-License-Identifier: Apache-2.0
#include "store/order.h"

#include "store/sql.h"

#define UNKNOWN UINT32_MAX

static bool grow(void *array, uint32_t *cap, size_t size)
{
	uint32_t more = *cap ? *cap * 2 : 1024;
	void *p;

	memcpy(&p, array, sizeof(p));
	p = sqlite3_realloc64(p, more * size);
	if (!p)
		return false;
	memcpy(array, &p, sizeof(p));
	*cap = more;
	return true;
}

/* ---- numbers: 64-bit keys to 0, 1, 2 ... in the order they are first met -------------------- */

struct slot {
	uint64_t key;
	uint32_t id; /* + 1; 0: free */
};

struct numbers {
	struct slot *slots;
	uint32_t cap, n;
};

static struct slot *numbers_slot(const struct numbers *m, uint64_t key)
{
	uint32_t i = (uint32_t)((key * 0x9e3779b97f4a7c15ULL) >> 32) & (m->cap - 1);

	while (m->slots[i].id && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

static bool numbers_grow(struct numbers *m)
{
	struct numbers bigger = {.cap = m->cap ? m->cap * 4 : 1024, .n = m->n};
	uint32_t i;

	bigger.slots = sqlite3_malloc64(bigger.cap * sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	memset(bigger.slots, 0, bigger.cap * sizeof(*bigger.slots));
	for (i = 0; i < m->cap; i++) {
		if (m->slots[i].id)
			*numbers_slot(&bigger, m->slots[i].key) = m->slots[i];
	}
	sqlite3_free(m->slots);
	*m = bigger;
	return true;
}

/* UNKNOWN: out of memory. So for all that follow. */
static uint32_t numbers_id(struct numbers *m, uint64_t key)
{
	struct slot *slot;

	if (m->n >= m->cap / 2 && !numbers_grow(m))
		return UNKNOWN;
	slot = numbers_slot(m, key);
	if (!slot->id)
		*slot = (struct slot){.key = key, .id = ++m->n};
	return slot->id - 1;
}

/* ---- texts: the same for strings, which lie in different blocks ------------------------------ */

struct texts {
	const struct store_string **first; /* by id: one string with that text; NULL: for NULL */
	uint32_t cap, n;
	uint32_t *slots; /* id + 1; 0: free */
	uint32_t n_slots;
	uint32_t null_id;
	uint32_t *of_code; /* code of the block at hand -> id, UNKNOWN where not yet met */
};

static uint32_t *texts_slot(const struct texts *m, const struct store_string *str)
{
	uint32_t i = str->hash & (m->n_slots - 1);
	const struct store_string *at;

	for (; m->slots[i]; i = (i + 1) & (m->n_slots - 1)) {
		at = m->first[m->slots[i] - 1];
		if (at->hash == str->hash && at->len == str->len &&
		    !memcmp(at->text, str->text, str->len))
			break;
	}
	return &m->slots[i];
}

static bool texts_grow(struct texts *m)
{
	uint32_t i;

	if (!grow(&m->first, &m->cap, sizeof(*m->first)))
		return false;
	sqlite3_free(m->slots);
	m->n_slots = m->cap * 2;
	m->slots = sqlite3_malloc64(m->n_slots * sizeof(*m->slots));
	if (!m->slots)
		return false;
	memset(m->slots, 0, m->n_slots * sizeof(*m->slots));
	for (i = 0; i < m->n; i++) {
		if (m->first[i])
			*texts_slot(m, m->first[i]) = i + 1;
	}
	return true;
}

static uint32_t texts_id(struct texts *m, const struct store_block *b, uint16_t code)
{
	const struct store_string *str = code ? store_string_at(b, code) : NULL;
	uint32_t *slot = &m->null_id;

	if (m->n == m->cap && !texts_grow(m))
		return UNKNOWN;
	if (str)
		slot = texts_slot(m, str);
	if (!*slot) {
		m->first[m->n] = str;
		*slot = ++m->n;
	}
	m->of_code[code] = *slot - 1;
	return *slot - 1;
}

/* ---- keys: a row's combination of values to its number --------------------------------------- */

struct key {
	struct store_term term;
	enum store_type type;
	struct numbers values; /* of a column of integers */
	struct texts texts;    /* of a column of strings */
	struct numbers pairs;  /* number of the terms before, number of this value */
};

static bool key_open(struct key *k, const struct store_table *t, const struct store_term *term)
{
	k->term = *term;
	k->type = t->def->columns[term->column].type;
	if (k->type == STORE_INT)
		return true;
	k->texts.of_code = sqlite3_malloc64(STORE_CODES * sizeof(uint32_t));
	return k->texts.of_code;
}

static void key_done(struct key *k)
{
	sqlite3_free(k->values.slots);
	sqlite3_free(k->pairs.slots);
	sqlite3_free(k->texts.first);
	sqlite3_free(k->texts.slots);
	sqlite3_free(k->texts.of_code);
}

static void key_block(struct key *k, const struct store_block *b)
{
	uint32_t from = b->arena / STORE_CODE_UNIT;

	if (k->type == STORE_INT)
		return;
	k->texts.of_code[0] = UNKNOWN;
	memset(k->texts.of_code + from, 0xff, (STORE_CODES - from) * sizeof(uint32_t));
}

static uint32_t key_value(struct key *k, const struct store_scan *s, unsigned lane)
{
	uint16_t code;
	uint32_t id;

	if (k->type == STORE_INT)
		return numbers_id(&k->values,
				  (uint64_t)store_ints(s->t, s->at.group, k->term.column)[lane]);
	code = store_codes(s->t, s->at.group, k->term.column)[lane];
	id = k->texts.of_code[code];
	return id != UNKNOWN ? id : texts_id(&k->texts, s->at.block, code);
}

/* ---- the walk ------------------------------------------------------------------------------- */

struct build {
	struct store_scan *scan;
	struct key *keys;
	unsigned n_keys;
	const struct store_block *block; /* that the keys' codes hold for */
	bool unique;
	uint32_t *ids;	/* by row met: number of its combination */
	uint32_t *rows; /* by row met: where it is */
	uint32_t n;
	uint32_t *firsts; /* by combination: the first row with it */
	uint32_t n_firsts, cap_firsts;
};

static bool combination(struct build *b, unsigned lane, uint32_t *id)
{
	struct key *k;
	uint32_t value;

	*id = 0;
	for (k = b->keys; k < b->keys + b->n_keys; k++) {
		value = key_value(k, b->scan, lane);
		if (value == UNKNOWN)
			return false;
		*id = k == b->keys ? value : numbers_id(&k->pairs, (uint64_t)*id << 32 | value);
		if (*id == UNKNOWN)
			return false;
	}
	return true;
}

static bool take_row(struct build *b)
{
	const struct store_scan *s = b->scan;
	uint32_t row = (s->index - 1) * STORE_GROUP + s->at.lane;
	uint32_t ref = (uint32_t)(s->seq % s->t->n_blocks) << STORE_ROW_BITS | row, id;

	if (!combination(b, s->at.lane, &id))
		return false;
	if (id == b->n_firsts) {
		if (b->n_firsts == b->cap_firsts &&
		    !grow(&b->firsts, &b->cap_firsts, sizeof(*b->firsts)))
			return false;
		b->firsts[b->n_firsts++] = ref;
	}
	if (b->unique)
		return true;
	b->ids[b->n] = id;
	b->rows[b->n++] = ref;
	return true;
}

static int take_rows(struct build *b)
{
	const struct store_table *t = b->scan->t;
	uint64_t most = t->appended - t->dropped;
	unsigned i;

	if (!b->unique) {
		b->ids = sqlite3_malloc64((most + 1) * sizeof(*b->ids));
		b->rows = sqlite3_malloc64((most + 1) * sizeof(*b->rows));
		if (!b->ids || !b->rows)
			return -ENOMEM;
	}
	while (store_scan_row(b->scan)) {
		if (b->block != b->scan->at.block) {
			b->block = b->scan->at.block;
			for (i = 0; i < b->n_keys; i++)
				key_block(&b->keys[i], b->block);
		}
		if (!take_row(b))
			return -ENOMEM;
	}
	return b->scan->expired ? -ETIME : 0;
}

/* ---- arranging ------------------------------------------------------------------------------ */

static int compare_text(const struct store_table *t, const struct store_place *a,
			const struct store_place *b, unsigned column)
{
	uint16_t ca = store_codes(t, a->group, column)[a->lane];
	uint16_t cb = store_codes(t, b->group, column)[b->lane];
	const struct store_string *sa, *sb;

	if (!ca || !cb)
		return !!ca - !!cb;
	sa = store_string_at(a->block, ca);
	sb = store_string_at(b->block, cb);
	return store_text_compare(sa->text, sa->len, sb->text, sb->len);
}

static int compare_int(const struct store_table *t, const struct store_place *a,
		       const struct store_place *b, unsigned column)
{
	int64_t va = store_ints(t, a->group, column)[a->lane];
	int64_t vb = store_ints(t, b->group, column)[b->lane];

	return (va > vb) - (va < vb);
}

static int compare_combinations(const void *pa, const void *pb, void *arg)
{
	const struct build *b = arg;
	const struct store_table *t = b->scan->t;
	struct store_place x = store_place_of(t, b->firsts[*(const uint32_t *)pa]);
	struct store_place y = store_place_of(t, b->firsts[*(const uint32_t *)pb]);
	const struct key *k;
	int rc = 0;

	for (k = b->keys; k < b->keys + b->n_keys && !rc; k++) {
		rc = k->type == STORE_INT ? compare_int(t, &x, &y, k->term.column)
					  : compare_text(t, &x, &y, k->term.column);
		if (k->term.descending)
			rc = -rc;
	}
	return rc;
}

/* Counting sort: starts[] is by combination, in the order that @sequence gives. */
static void scatter(const struct build *b, const uint32_t *sequence, uint32_t *starts,
		    uint32_t *out)
{
	uint32_t i, count, at = 0;

	memset(starts, 0, b->n_firsts * sizeof(*starts));
	for (i = 0; i < b->n; i++)
		starts[b->ids[i]]++;
	for (i = 0; i < b->n_firsts; i++) {
		count = starts[sequence[i]];
		starts[sequence[i]] = at;
		at += count;
	}
	for (i = 0; i < b->n; i++)
		out[starts[b->ids[i]]++] = b->rows[i];
}

static int arrange(struct build *b, bool sorted, struct store_order *o)
{
	uint32_t n = b->unique ? b->n_firsts : b->n, i;
	cleanup(store_sqlite_free) uint32_t *sequence = NULL;
	cleanup(store_sqlite_free) uint32_t *starts = NULL;

	sequence = sqlite3_malloc64((b->n_firsts + 1) * sizeof(*sequence));
	starts = sqlite3_malloc64((b->n_firsts + 1) * sizeof(*starts));
	o->rows = sqlite3_malloc64((n + 1) * sizeof(*o->rows));
	if (!sequence || !starts || !o->rows)
		return -ENOMEM;
	for (i = 0; i < b->n_firsts; i++)
		sequence[i] = i;
	if (sorted)
		qsort_r(sequence, b->n_firsts, sizeof(*sequence), compare_combinations, b);
	if (b->unique)
		for (i = 0; i < n; i++)
			o->rows[i] = b->firsts[sequence[i]];
	else
		scatter(b, sequence, starts, o->rows);
	o->n = n;
	return 0;
}

static void build_done(struct build *b)
{
	unsigned i;

	for (i = 0; i < b->n_keys; i++)
		key_done(&b->keys[i]);
	sqlite3_free(b->keys);
	sqlite3_free(b->ids);
	sqlite3_free(b->rows);
	sqlite3_free(b->firsts);
}

int store_order_build(struct store_order *o, struct store_scan *scan,
		      const struct store_term *terms, unsigned n_terms, bool sorted, bool unique)
{
	cleanup(build_done) struct build b = {.scan = scan, .unique = unique};
	int rc;

	*o = (struct store_order){.t = scan->t};
	b.keys = sqlite3_malloc64(n_terms * sizeof(*b.keys));
	if (!b.keys)
		return -ENOMEM;
	memset(b.keys, 0, n_terms * sizeof(*b.keys));
	for (; b.n_keys < n_terms; b.n_keys++) {
		if (!key_open(&b.keys[b.n_keys], scan->t, &terms[b.n_keys]))
			return -ENOMEM;
	}
	rc = take_rows(&b);
	if (!rc)
		rc = arrange(&b, sorted, o);
	if (rc)
		store_order_done(o);
	return rc;
}

void store_order_done(struct store_order *o)
{
	sqlite3_free(o->rows);
	*o = (struct store_order){0};
}
