// SPDX-License-Identifier: Apache-2.0
#include "store/scan.h"

#include "store/sql.h"

int store_text_compare(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	int rc = memcmp(a, b, min(a_len, b_len));

	return rc ? rc : (a_len > b_len) - (a_len < b_len);
}

/* ---- a block: can it hold anything that passes? --------------------------------------------- */

static bool zone_meets(const struct store_filter *f, const struct store_block *b)
{
	const struct store_zone *z = &b->zones[f->column];

	return f->hi == STORE_NULL || (f->lo <= z->hi && f->hi >= z->lo);
}

static void code_add(struct store_filter *f, uint16_t code, unsigned *found)
{
	f->codes[code / 64] |= 1ULL << code % 64;
	f->only = ++*found == 1 ? code : -1;
}

static void codes_of_list(struct store_filter *f, const struct store_table *t,
			  const struct store_block *b, unsigned *found)
{
	unsigned i;
	uint16_t code;

	for (i = 0; i < f->n; i++) {
		code = store_code_find(t, b, f->texts[i].hash, f->texts[i].s, f->texts[i].len);
		if (code)
			code_add(f, code, found);
	}
}

static bool text_meets(const struct store_filter *f, const struct store_string *str)
{
	int rc = store_text_compare(str->text, str->len, f->texts[0].s, f->texts[0].len);

	return f->kind == STORE_UPTO ? rc <= 0 : rc >= 0;
}

static void codes_of_range(struct store_filter *f, const struct store_table *t,
			   const struct store_block *b, unsigned *found)
{
	const struct store_string *str;
	uint32_t at = b->arena;

	for (; at < t->block_bytes; at += store_string_bytes(str->len)) {
		str = store_string_at(b, (uint16_t)(at / STORE_CODE_UNIT));
		if (text_meets(f, str))
			code_add(f, (uint16_t)(at / STORE_CODE_UNIT), found);
	}
}

static bool codes_find(struct store_filter *f, const struct store_table *t,
		       const struct store_block *b)
{
	const struct store_text *x = f->texts;
	unsigned found = 0;

	if (f->kind == STORE_NO_TEXT || f->kind == STORE_ANY_TEXT)
		return true;
	if (!f->codes) {
		f->only = store_code_find(t, b, x->hash, x->s, x->len);
		return f->only;
	}
	memset(f->codes, 0, STORE_CODES / 8);
	if (f->kind == STORE_TEXTS)
		codes_of_list(f, t, b, &found);
	else
		codes_of_range(f, t, b, &found);
	return found;
}

static bool block_meets(struct store_scan *s)
{
	struct store_filter *f;

	for (f = s->filters; f < s->filters + s->n_filters; f++) {
		if (f->kind == STORE_RANGE || f->kind == STORE_NUMBERS
			    ? !zone_meets(f, s->at.block)
			    : !codes_find(f, s->t, s->at.block))
			return false;
	}
	return true;
}

/* ---- a group: which lanes pass? -------------------------------------------------------------- */

static uint64_t lanes_range(const int64_t *v, int64_t lo, int64_t hi)
{
	uint64_t span = (uint64_t)hi - (uint64_t)lo, mask = 0;
	unsigned i;

	for (i = 0; i < STORE_GROUP; i++)
		mask |= (uint64_t)((uint64_t)v[i] - (uint64_t)lo <= span) << i;
	return mask;
}

static uint64_t lanes_numbers(const int64_t *v, const struct store_filter *f)
{
	uint64_t mask = 0;
	unsigned i;

	for (i = 0; i < f->n; i++)
		mask |= lanes_range(v, f->numbers[i], f->numbers[i]);
	return mask;
}

static uint64_t lanes_code(const uint16_t *v, uint16_t code)
{
	uint64_t mask = 0;
	unsigned i;

	for (i = 0; i < STORE_GROUP; i++)
		mask |= (uint64_t)(v[i] == code) << i;
	return mask;
}

static uint64_t lanes_codes(const uint16_t *v, const uint64_t *codes)
{
	uint64_t mask = 0;
	unsigned i;

	for (i = 0; i < STORE_GROUP; i++)
		mask |= (codes[v[i] / 64] >> v[i] % 64 & 1) << i;
	return mask;
}

static uint64_t lanes(const struct store_scan *s, const struct store_filter *f)
{
	const int64_t *ints = store_ints(s->t, s->at.group, f->column);
	const uint16_t *codes = store_codes(s->t, s->at.group, f->column);

	switch (f->kind) {
	case STORE_RANGE:
		return lanes_range(ints, f->lo, f->hi);
	case STORE_NUMBERS:
		return lanes_numbers(ints, f);
	case STORE_NO_TEXT:
		return lanes_code(codes, 0);
	case STORE_ANY_TEXT:
		return ~lanes_code(codes, 0);
	default:
		return f->only >= 0 ? lanes_code(codes, (uint16_t)f->only)
				    : lanes_codes(codes, f->codes);
	}
}

/* ---- the walk -------------------------------------------------------------------------------- */

void store_scan_start(struct store_scan *s, const struct store_table *t,
		      struct store_filter *filters, unsigned n)
{
	*s = (struct store_scan){.t = t, .filters = filters, .n_filters = n, .seq = t->first - 1};
}

static bool next_block(struct store_scan *s)
{
	do {
		if (s->seq == s->t->head)
			return false;
		s->expired = store_expired(s->t->store);
		if (s->expired)
			return false;
		s->at.block = store_block_at(s->t, ++s->seq);
	} while (!block_meets(s));
	s->groups = (s->at.block->rows + STORE_GROUP - 1) / STORE_GROUP;
	s->index = 0;
	return true;
}

bool store_scan_group(struct store_scan *s)
{
	unsigned i;

	do {
		while (s->index == s->groups) {
			if (!next_block(s))
				return false;
		}
		s->at.group = store_group_at(s->t, s->at.block, s->index++);
		s->mask = s->at.group->live;
		for (i = 0; i < s->n_filters && s->mask; i++)
			s->mask &= lanes(s, &s->filters[i]);
	} while (!s->mask);
	return true;
}
