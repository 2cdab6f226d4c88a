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

/* ---- terms: a row's values to the number of its group ---------------------------------------- */

struct term {
	struct store_term is;
	enum store_type type;
	struct numbers values; /* of a column of integers */
	struct texts texts;    /* of a column of strings */
	struct numbers pairs;  /* number by the terms before << 32 | number of this value */
};

static bool term_open(struct term *m, const struct store_table *t, const struct store_term *is)
{
	m->is = *is;
	m->type = t->def->columns[is->column].type;
	if (m->type == STORE_INT)
		return true;
	m->texts.of_code = sqlite3_malloc64(STORE_CODES * sizeof(uint32_t));
	return m->texts.of_code;
}

static void term_done(struct term *m)
{
	sqlite3_free(m->values.slots);
	sqlite3_free(m->pairs.slots);
	sqlite3_free(m->texts.first);
	sqlite3_free(m->texts.slots);
	sqlite3_free(m->texts.of_code);
}

static void term_block(struct term *m, const struct store_block *b)
{
	uint32_t from = b->arena / STORE_CODE_UNIT;

	if (m->type == STORE_INT)
		return;
	m->texts.of_code[0] = UNKNOWN;
	memset(m->texts.of_code + from, 0xff, (STORE_CODES - from) * sizeof(uint32_t));
}

static uint32_t term_id(struct term *m, const struct store_scan *s, union store_key *key)
{
	uint16_t code;
	uint32_t id;

	if (m->type == STORE_INT) {
		key->num = store_ints(s->t, s->at.group, m->is.column)[s->at.lane];
		return numbers_id(&m->values, (uint64_t)key->num);
	}
	code = store_codes(s->t, s->at.group, m->is.column)[s->at.lane];
	id = m->texts.of_code[code];
	if (id == UNKNOWN)
		id = texts_id(&m->texts, s->at.block, code);
	if (id != UNKNOWN)
		key->str = m->texts.first[id];
	return id;
}

/* ---- the walk ------------------------------------------------------------------------------- */

struct build {
	struct store_scan *scan;
	struct store_order *order;
	struct term *terms;
	unsigned n_terms;
	const struct store_block *block; /* that the terms' codes hold for */
	uint32_t cap_groups;
	uint32_t *groups; /* by row met: its group; NULL where one row of each is wanted */
	uint32_t *rows;	  /* by row met: place of the block in the ring and row in the block */
	uint32_t n;
};

/* The group of the row that the scan stands at; UNKNOWN: out of memory. */
static uint32_t group_id(struct build *b, union store_key *key)
{
	uint32_t id = 0, value;
	struct term *m;

	for (m = b->terms; m < b->terms + b->n_terms; m++) {
		value = term_id(m, b->scan, key++);
		if (value == UNKNOWN)
			return UNKNOWN;
		id = m == b->terms ? value : numbers_id(&m->pairs, (uint64_t)id << 32 | value);
		if (id == UNKNOWN)
			return UNKNOWN;
	}
	return id;
}

static uint32_t row_ref(const struct store_scan *s)
{
	return (uint32_t)(s->seq % s->t->n_blocks) << STORE_ROW_BITS |
	       ((s->index - 1) * STORE_GROUP + s->at.lane);
}

static bool take_row(struct build *b)
{
	struct store_order *o = b->order;
	uint32_t id;

	if (o->n_groups == b->cap_groups &&
	    !grow(&o->keys, &b->cap_groups, b->n_terms * sizeof(*o->keys)))
		return false;
	/* a new group's key comes to stand where it belongs, another's is written over */
	id = group_id(b, &o->keys[(size_t)o->n_groups * b->n_terms]);
	if (id == UNKNOWN)
		return false;
	o->n_groups += id == o->n_groups;
	if (!b->groups)
		return true;
	b->groups[b->n] = id;
	b->rows[b->n++] = row_ref(b->scan);
	return true;
}

static int take_rows(struct build *b)
{
	struct term *m;

	while (store_scan_row(b->scan)) {
		if (b->block != b->scan->at.block) {
			b->block = b->scan->at.block;
			for (m = b->terms; m < b->terms + b->n_terms; m++)
				term_block(m, b->block);
		}
		if (!take_row(b))
			return -ENOMEM;
	}
	return b->scan->expired ? -ETIME : 0;
}

/* ---- arranging ------------------------------------------------------------------------------ */

static int compare_texts(const struct store_string *a, const struct store_string *b)
{
	if (!a || !b)
		return !!a - !!b;
	return store_text_compare(a->text, a->len, b->text, b->len);
}

static int compare_groups(const void *pa, const void *pb, void *arg)
{
	const struct build *b = arg;
	const union store_key *x = b->order->keys + (size_t) * (const uint32_t *)pa * b->n_terms;
	const union store_key *y = b->order->keys + (size_t) * (const uint32_t *)pb * b->n_terms;
	const struct term *m;
	int rc;

	for (m = b->terms; m < b->terms + b->n_terms; m++, x++, y++) {
		rc = m->type == STORE_INT ? (x->num > y->num) - (x->num < y->num)
					  : compare_texts(x->str, y->str);
		if (rc)
			return m->is.descending ? -rc : rc;
	}
	return 0;
}

/* Counting sort. */
static void scatter(const struct build *b, struct store_order *o)
{
	uint32_t i, count, at = 0, *ends = o->ends;

	memset(ends, 0, o->n_groups * sizeof(*ends));
	for (i = 0; i < b->n; i++)
		ends[b->groups[i]]++;
	for (i = 0; i < o->n_groups; i++) {
		count = ends[o->sequence[i]];
		ends[o->sequence[i]] = at;
		at += count;
	}
	for (i = 0; i < b->n; i++)
		o->rows[ends[b->groups[i]]++] = b->rows[i];
	o->n_rows = b->n;
}

static int arrange(struct build *b, bool sorted)
{
	struct store_order *o = b->order;
	uint32_t i;

	o->sequence = sqlite3_malloc64((o->n_groups + 1ULL) * sizeof(*o->sequence));
	if (!o->sequence)
		return -ENOMEM;
	for (i = 0; i < o->n_groups; i++)
		o->sequence[i] = i;
	if (sorted)
		qsort_r(o->sequence, o->n_groups, sizeof(*o->sequence), compare_groups, b);
	if (!b->groups)
		return 0;
	o->ends = sqlite3_malloc64((o->n_groups + 1ULL) * sizeof(*o->ends));
	o->rows = sqlite3_malloc64((b->n + 1ULL) * sizeof(*o->rows));
	if (!o->ends || !o->rows)
		return -ENOMEM;
	scatter(b, o);
	return 0;
}

static void build_done(struct build *b)
{
	unsigned i;

	for (i = 0; i < b->n_terms; i++)
		term_done(&b->terms[i]);
	sqlite3_free(b->terms);
	sqlite3_free(b->groups);
	sqlite3_free(b->rows);
}

static int build_open(struct build *b, const struct store_term *terms, unsigned n, bool unique)
{
	const struct store_table *t = b->scan->t;
	uint64_t most = t->appended - t->dropped + 1;

	b->terms = sqlite3_malloc64(n * sizeof(*b->terms));
	if (!b->terms)
		return -ENOMEM;
	memset(b->terms, 0, n * sizeof(*b->terms));
	for (; b->n_terms < n; b->n_terms++) {
		if (!term_open(&b->terms[b->n_terms], t, &terms[b->n_terms]))
			return -ENOMEM;
	}
	if (unique)
		return 0;
	b->groups = sqlite3_malloc64(most * sizeof(*b->groups));
	b->rows = sqlite3_malloc64(most * sizeof(*b->rows));
	return b->groups && b->rows ? 0 : -ENOMEM;
}

int store_order_build(struct store_order *o, struct store_scan *scan,
		      const struct store_term *terms, unsigned n_terms, bool sorted, bool unique)
{
	cleanup(build_done) struct build b = {.scan = scan, .order = o};
	int rc;

	*o = (struct store_order){.t = scan->t, .n_terms = n_terms};
	rc = build_open(&b, terms, n_terms, unique);
	if (!rc)
		rc = take_rows(&b);
	if (!rc)
		rc = arrange(&b, sorted);
	if (rc)
		store_order_done(o);
	return rc;
}

/* ---- one column of integers ------------------------------------------------------------------ */

struct numbered {
	int64_t number;
	uint32_t row;
};

static int ascending(const void *pa, const void *pb)
{
	const struct numbered *a = pa, *b = pb;

	return (a->number > b->number) - (a->number < b->number);
}

static int descending(const void *pa, const void *pb)
{
	return ascending(pb, pa);
}

int store_order_sort(struct store_order *o, struct store_scan *scan, const struct store_term *term)
{
	const struct store_table *t = scan->t;
	uint64_t most = t->appended - t->dropped + 1;
	cleanup(store_sqlite_free) struct numbered *all = sqlite3_malloc64(most * sizeof(*all));
	uint32_t n = 0, i;

	*o = (struct store_order){.t = t};
	if (!all)
		return -ENOMEM;
	while (store_scan_row(scan)) {
		all[n].row = row_ref(scan);
		all[n++].number = store_ints(t, scan->at.group, term->column)[scan->at.lane];
	}
	if (scan->expired)
		return -ETIME;
	qsort(all, n, sizeof(*all), term->descending ? descending : ascending);
	o->rows = sqlite3_malloc64((n + 1ULL) * sizeof(*o->rows));
	if (!o->rows)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		o->rows[i] = all[i].row;
	o->n_rows = n;
	return 0;
}

void store_order_done(struct store_order *o)
{
	sqlite3_free(o->keys);
	sqlite3_free(o->sequence);
	sqlite3_free(o->ends);
	sqlite3_free(o->rows);
	*o = (struct store_order){0};
}

/* ---- giving --------------------------------------------------------------------------------- */

static struct store_place place_of(const struct store_table *t, uint32_t ref)
{
	uint32_t row = ref & STORE_ROW_MASK;
	struct store_place at;

	at.block =
		(struct store_block *)(t->mem + (size_t)(ref >> STORE_ROW_BITS) * t->block_bytes);
	at.group = store_group_at(t, at.block, row / STORE_GROUP);
	at.lane = row % STORE_GROUP;
	return at;
}

/*
 * The rows of a group lie all over the table. Asking for a row's cells some rows ahead, and for the
 * strings that the cells stand for half as far ahead, hides most of the wait for memory.
 */
#define AHEAD 32

static void fetch_cells(const struct store_order *o, uint32_t ref)
{
	struct store_place at = place_of(o->t, ref);
	unsigned i, c;

	for (i = 0; i < o->n_wanted; i++) {
		c = o->wanted[i];
		if (o->t->def->columns[c].type == STORE_INT)
			__builtin_prefetch(&store_ints(o->t, at.group, c)[at.lane]);
		else
			__builtin_prefetch(&store_codes(o->t, at.group, c)[at.lane]);
	}
}

static void fetch_strings(const struct store_order *o, uint32_t ref)
{
	struct store_place at = place_of(o->t, ref);
	unsigned i, c;

	for (i = 0; i < o->n_wanted; i++) {
		c = o->wanted[i];
		if (o->t->def->columns[c].type == STORE_STR)
			__builtin_prefetch(
				store_string_at(at.block, store_codes(o->t, at.group, c)[at.lane]));
	}
}

static bool next_group(struct store_order *o)
{
	if (o->next_group == o->n_groups)
		return false;
	o->key = o->keys + (size_t)o->sequence[o->next_group++] * o->n_terms;
	return true;
}

bool store_order_row(struct store_order *o)
{
	uint32_t i = o->next_row;

	if (!o->rows)
		return next_group(o);
	if (i == o->n_rows)
		return false;
	if (o->ends && (!i || i == o->ends[o->sequence[o->next_group - 1]]))
		next_group(o);
	if (i + AHEAD < o->n_rows)
		fetch_cells(o, o->rows[i + AHEAD]);
	if (i + AHEAD / 2 < o->n_rows)
		fetch_strings(o, o->rows[i + AHEAD / 2]);
	o->at = place_of(o->t, o->rows[i]);
	o->next_row++;
	return true;
}
