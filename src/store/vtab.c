// SPDX-License-Identifier: Apache-2.0
/*
 * vtab.c: the virtual table module.
 *
 * xBestIndex writes its plan into idxStr, one item after the other, and xFilter reads it back:
 *
 *	12=  12<  12[  12>  12]	column 12 compared with the next argument ('[' is <=, ']' is >=)
 *	12i			column 12 is in the list that the next argument stands for
 *	12n  12v		column 12 is NULL, is not NULL
 *	12a  12d		rows stand together by column 12, ascending or descending
 *	12r			column 12 will be read
 *
 * Comparisons of integer columns are exact for any type of argument (bounds_of() follows SQLite's
 * numeric affinity), so SQLite need not check them again. Those of string columns are exact for
 * text only; other arguments pass every row and SQLite checks.
 */
#include <math.h>

#include "store/order.h"
#include "store/sql.h"

#define FILTERS_MAX 32

/* idxNum */
#define PLAN_GROUP  1 /* bring rows with equal terms together */
#define PLAN_SORTED 2 /* and the groups in order */
#define PLAN_UNIQUE 4 /* and give one row of each */
#define PLAN_SORT   8 /* sort rows by the one term, a column of integers */

struct vtab {
	sqlite3_vtab base;
	struct store_table *t;
};

struct cursor {
	sqlite3_vtab_cursor base;
	const struct store_table *t;
	struct store_filter filters[FILTERS_MAX];
	unsigned n_filters;
	struct store_term terms[STORE_COLS_MAX];
	unsigned n_terms;
	int term_of[STORE_COLS_MAX];	 /* by column: its term, or -1 */
	unsigned wanted[STORE_COLS_MAX]; /* columns to be read that are no terms */
	unsigned n_wanted;
	struct store_scan scan;
	struct store_order order;
	const struct store_place *at; /* in scan or in order */
	bool end;
};

/* ---- connect --------------------------------------------------------------------------------- */

static char *declaration(const struct store_def *def)
{
	sqlite3_str *s = sqlite3_str_new(NULL);
	unsigned c;

	for (c = 0; c < def->n_columns; c++)
		sqlite3_str_appendf(s, "%s\"%w\" %s", c ? "," : "create table t(",
				    def->columns[c].name,
				    def->columns[c].type == STORE_INT ? "integer" : "text");
	sqlite3_str_appendall(s, ")");
	return sqlite3_str_finish(s);
}

static int vtab_connect(sqlite3 *db, void *aux, int argc maybe_unused, const char *const *argv,
			sqlite3_vtab **out, char **err maybe_unused)
{
	struct store_table *t = store_table_find(aux, argv[2]);
	cleanup(store_sqlite_free) char *sql = declaration(t->def);
	struct vtab *v = sqlite3_malloc(sizeof(*v));
	int rc = sql && v ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;

	if (rc) {
		sqlite3_free(v);
		return rc;
	}
	*v = (struct vtab){.t = t};
	*out = &v->base;
	return sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
}

static int vtab_disconnect(sqlite3_vtab *base)
{
	sqlite3_free(base);
	return SQLITE_OK;
}

/* ---- plan ------------------------------------------------------------------------------------ */

static char operator_of(unsigned char op)
{
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_EQ:
		return '=';
	case SQLITE_INDEX_CONSTRAINT_LT:
		return '<';
	case SQLITE_INDEX_CONSTRAINT_LE:
		return '[';
	case SQLITE_INDEX_CONSTRAINT_GT:
		return '>';
	case SQLITE_INDEX_CONSTRAINT_GE:
		return ']';
	case SQLITE_INDEX_CONSTRAINT_ISNULL:
		return 'n';
	case SQLITE_INDEX_CONSTRAINT_ISNOTNULL:
		return 'v';
	default:
		return 0;
	}
}

/* What part of the rows a condition is taken to leave. */
static double share(char op, enum store_type type)
{
	switch (op) {
	case '=':
		return type == STORE_INT ? 0.001 : 0.01;
	case 'i':
		return 0.05;
	case 'v':
		return 0.9;
	default:
		return 0.25;
	}
}

/* Whether rows that pass need no second look (see the head of this file). */
static bool exact(sqlite3_index_info *info, int i, char op, enum store_type type)
{
	sqlite3_value *v;

	if (op == 'i')
		return false;
	if (type == STORE_INT || op == 'n' || op == 'v')
		return true;
	return op == '=' && sqlite3_vtab_rhs_value(info, i, &v) == SQLITE_OK &&
	       sqlite3_value_type(v) == SQLITE_TEXT;
}

static double plan_filters(const struct store_table *t, sqlite3_index_info *info, sqlite3_str *plan)
{
	const struct sqlite3_index_constraint *c = info->aConstraint;
	enum store_type type;
	double rest = 1;
	int i, n = 0;
	char op;

	for (i = 0; i < info->nConstraint && n < FILTERS_MAX; i++, c++) {
		op = operator_of(c->op);
		if (!c->usable || !op || c->iColumn < 0)
			continue;
		type = t->def->columns[c->iColumn].type;
		if (type == STORE_STR && sqlite3_stricmp(sqlite3_vtab_collation(info, i), "BINARY"))
			continue;
		if (op == '=' && sqlite3_vtab_in(info, i, 1))
			op = 'i';
		info->aConstraintUsage[i].argvIndex = ++n;
		info->aConstraintUsage[i].omit = exact(info, i, op, type);
		sqlite3_str_appendf(plan, "%d%c", c->iColumn, op);
		rest *= share(op, type);
	}
	return rest;
}

/*
 * Whether to arrange the rows for the query, and how. Where a true order by numbers first is asked
 * for, most values are taken to differ: groups would not help, and but one column is sorted by.
 */
static int arrangement(const struct store_table *t, const sqlite3_index_info *info, int distinct)
{
	int i;

	for (i = 0; i < info->nOrderBy; i++) {
		if (info->aOrderBy[i].iColumn < 0)
			return 0;
	}
	if (!info->nOrderBy || info->nOrderBy > STORE_COLS_MAX)
		return 0;
	if (distinct == 1 || distinct == 2 ||
	    t->def->columns[info->aOrderBy[0].iColumn].type == STORE_STR)
		return PLAN_GROUP;
	return info->nOrderBy == 1 ? PLAN_SORT : 0;
}

/*
 * One row of each combination is enough for DISTINCT, but only where no other column is looked at:
 * a condition that SQLite checks itself may hold for one of two rows with equal terms.
 */
static bool enough_unique(const sqlite3_index_info *info, int distinct)
{
	uint64_t terms = 0;
	int i;

	for (i = 0; i < info->nOrderBy; i++)
		terms |= 1ULL << min(info->aOrderBy[i].iColumn, 63);
	return distinct >= 2 && !(info->colUsed & ~terms) && !(terms >> 63);
}

/*
 * A GROUP BY would do without a true order, but SQLite 3.40 drops an ORDER BY of the same columns in
 * its belief that the groups come sorted. So they do.
 */
static void plan_order(const struct store_table *t, sqlite3_index_info *info, sqlite3_str *plan)
{
	int distinct = sqlite3_vtab_distinct(info), i;

	info->idxNum = arrangement(t, info, distinct);
	if (!info->idxNum)
		return;
	for (i = 0; i < info->nOrderBy; i++)
		sqlite3_str_appendf(plan, "%d%c", info->aOrderBy[i].iColumn,
				    info->aOrderBy[i].desc ? 'd' : 'a');
	for (i = 0; i < (int)t->def->n_columns; i++) {
		if (info->colUsed >> i & 1)
			sqlite3_str_appendf(plan, "%dr", i);
	}
	if (distinct != 2)
		info->idxNum |= PLAN_SORTED;
	if (info->idxNum & PLAN_GROUP && enough_unique(info, distinct))
		info->idxNum |= PLAN_UNIQUE;
	info->orderByConsumed = 1;
}

static int vtab_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	const struct store_table *t = container_of(base, struct vtab, base)->t;
	sqlite3_str *plan = sqlite3_str_new(NULL);
	double rows = (double)(t->appended - t->dropped) + 1, found;
	int rc;

	found = max(rows * plan_filters(t, info, plan), 1.0);
	plan_order(t, info, plan);
	info->estimatedRows = (sqlite3_int64)found;
	info->estimatedCost = rows / STORE_GROUP + found;
	rc = sqlite3_str_errcode(plan);
	info->idxStr = sqlite3_str_finish(plan);
	info->needToFreeIdxStr = 1;
	return rc;
}

/* ---- filter ---------------------------------------------------------------------------------- */

static int cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **out)
{
	struct cursor *c = sqlite3_malloc(sizeof(*c));

	if (!c)
		return SQLITE_NOMEM;
	memset(c, 0, sizeof(*c));
	c->t = container_of(base, struct vtab, base)->t;
	*out = &c->base;
	return SQLITE_OK;
}

static void cursor_clear(struct cursor *c)
{
	struct store_filter *f;
	unsigned i;

	for (f = c->filters; f < c->filters + c->n_filters; f++) {
		for (i = 0; f->texts && i < f->n; i++)
			sqlite3_free((char *)f->texts[i].s);
		sqlite3_free(f->texts);
		sqlite3_free(f->numbers);
		sqlite3_free(f->codes);
	}
	c->n_filters = c->n_terms = c->n_wanted = 0;
	memset(c->term_of, 0xff, sizeof(c->term_of));
	store_order_done(&c->order);
	c->end = false;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
	struct cursor *c = container_of(base, struct cursor, base);

	cursor_clear(c);
	sqlite3_free(c);
	return SQLITE_OK;
}

struct bounds {
	int64_t lo, hi; /* lo > hi: nothing */
};

static const struct bounds nothing = {.lo = 1, .hi = 0};
static const struct bounds everything = {.lo = STORE_NULL + 1, .hi = INT64_MAX};

/* The numbers x with "x op v". */
static struct bounds bounds_of_int(char op, int64_t v)
{
	struct bounds b = everything;

	if (op == '=' || op == ']')
		b.lo = max(v, b.lo);
	if (op == '=' || op == '[')
		b.hi = v;
	if ((op == '>' && v == INT64_MAX) || (op == '<' && v == INT64_MIN))
		return nothing;
	if (op == '>')
		b.lo = v + 1;
	if (op == '<')
		b.hi = v - 1;
	return b;
}

static struct bounds bounds_of_real(char op, double v)
{
	int64_t below;

	if (v >= 0x1p63)
		return op == '<' || op == '[' ? everything : nothing;
	if (v <= -0x1p63)
		return op == '>' || op == ']' ? everything : nothing;
	below = (int64_t)floor(v);
	if (floor(v) == v)
		return bounds_of_int(op, below);
	/* between two integers */
	return op == '=' ? nothing : bounds_of_int(op == '<' || op == '[' ? '[' : '>', below);
}

static struct bounds bounds_of(char op, sqlite3_value *v)
{
	switch (sqlite3_value_numeric_type(v)) {
	case SQLITE_INTEGER:
		return bounds_of_int(op, sqlite3_value_int64(v));
	case SQLITE_FLOAT:
		return bounds_of_real(op, sqlite3_value_double(v));
	case SQLITE_NULL:
		return nothing;
	default: /* every number is less than text */
		return op == '<' || op == '[' ? everything : nothing;
	}
}

/* ---- filters: each takes its argument and sets c->end where no row can pass ------------------ */

static int filter_range(struct cursor *c, struct store_filter *f, char op, sqlite3_value *v)
{
	struct bounds b = {.lo = STORE_NULL, .hi = STORE_NULL};

	if (op == 'v')
		b = everything;
	else if (op != 'n')
		b = bounds_of(op, v);
	f->kind = STORE_RANGE;
	f->lo = b.lo;
	f->hi = b.hi;
	c->end |= b.lo > b.hi;
	return SQLITE_OK;
}

static int add_number(struct store_filter *f, sqlite3_value *v)
{
	struct bounds b = bounds_of('=', v);
	int64_t *more;

	if (b.lo > b.hi)
		return SQLITE_OK;
	more = sqlite3_realloc64(f->numbers, (f->n + 1) * sizeof(*more));
	if (!more)
		return SQLITE_NOMEM;
	f->numbers = more;
	f->numbers[f->n++] = b.lo;
	f->lo = min(f->lo, b.lo);
	f->hi = max(f->hi, b.lo);
	return SQLITE_OK;
}

static int filter_numbers(struct cursor *c, struct store_filter *f, sqlite3_value *list)
{
	sqlite3_value *v;
	int rc;

	f->kind = STORE_NUMBERS;
	f->lo = INT64_MAX;
	f->hi = STORE_NULL + 1;
	for (rc = sqlite3_vtab_in_first(list, &v); rc == SQLITE_OK && v;
	     rc = sqlite3_vtab_in_next(list, &v)) {
		rc = add_number(f, v);
		if (rc)
			return rc;
	}
	c->end |= !f->n;
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int add_text(struct store_filter *f, sqlite3_value *v)
{
	struct store_text *more = sqlite3_realloc64(f->texts, (f->n + 1) * sizeof(*more));
	const char *s = (const char *)sqlite3_value_text(v);
	uint32_t len = (uint32_t)sqlite3_value_bytes(v);
	char *copy = sqlite3_malloc64(len + 1);

	f->texts = more ? more : f->texts;
	if (!more || !s || !copy) {
		sqlite3_free(copy);
		return SQLITE_NOMEM;
	}
	memcpy(copy, s, len);
	f->texts[f->n++] =
		(struct store_text){.s = copy, .len = len, .hash = store_hash(copy, len)};
	return SQLITE_OK;
}

static int need_codes(struct store_filter *f)
{
	f->codes = sqlite3_malloc(STORE_CODES / 8);
	return f->codes ? SQLITE_OK : SQLITE_NOMEM;
}

static int filter_text(struct cursor *c, struct store_filter *f, char op, sqlite3_value *v)
{
	int rc;

	f->kind = op == 'n' ? STORE_NO_TEXT : STORE_ANY_TEXT;
	if (op == 'n' || op == 'v')
		return SQLITE_OK;
	c->end |= sqlite3_value_type(v) == SQLITE_NULL;
	if (sqlite3_value_type(v) != SQLITE_TEXT)
		return SQLITE_OK;
	rc = add_text(f, v);
	f->kind = op == '=' ? STORE_TEXTS : op == '<' || op == '[' ? STORE_UPTO : STORE_FROM;
	return rc || op == '=' ? rc : need_codes(f);
}

static int filter_texts(struct cursor *c, struct store_filter *f, sqlite3_value *list)
{
	bool other = false;
	sqlite3_value *v;
	int rc;

	f->kind = STORE_TEXTS;
	for (rc = sqlite3_vtab_in_first(list, &v); rc == SQLITE_OK && v;
	     rc = sqlite3_vtab_in_next(list, &v)) {
		if (sqlite3_value_type(v) == SQLITE_NULL)
			continue;
		other |= sqlite3_value_type(v) != SQLITE_TEXT;
		rc = add_text(f, v);
		if (rc)
			return rc;
	}
	c->end |= !f->n && !other;
	if (other)
		f->kind = STORE_ANY_TEXT;
	if (rc != SQLITE_DONE && rc != SQLITE_OK)
		return rc;
	return need_codes(f);
}

static int filter_read(struct cursor *c, unsigned column, char op, sqlite3_value *v)
{
	struct store_filter *f = &c->filters[c->n_filters++];

	*f = (struct store_filter){.column = column};
	if (c->t->def->columns[column].type == STORE_INT)
		return op == 'i' ? filter_numbers(c, f, v) : filter_range(c, f, op, v);
	return op == 'i' ? filter_texts(c, f, v) : filter_text(c, f, op, v);
}

static void term_read(struct cursor *c, unsigned column, char op)
{
	c->term_of[column] = (int)c->n_terms;
	c->terms[c->n_terms++] = (struct store_term){column, op == 'd'};
}

static int plan_read(struct cursor *c, const char *plan, sqlite3_value **argv)
{
	unsigned column;
	int rc = SQLITE_OK;
	char op, *end;

	while (plan && *plan && !rc) {
		column = (unsigned)strtoul(plan, &end, 10);
		op = *end;
		plan = end + 1;
		if (op == 'a' || op == 'd')
			term_read(c, column, op);
		else if (op == 'r' && c->term_of[column] < 0)
			c->wanted[c->n_wanted++] = column;
		else if (op != 'r')
			rc = filter_read(c, column, op, *argv++);
	}
	return rc;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int cursor_next(sqlite3_vtab_cursor *base)
{
	struct cursor *c = container_of(base, struct cursor, base);

	if (c->at == &c->order.at) {
		c->end = !store_order_row(&c->order);
		return SQLITE_OK;
	}
	c->end = !store_scan_row(&c->scan);
	return c->scan.expired ? SQLITE_INTERRUPT : SQLITE_OK;
}

static int cursor_arrange(struct cursor *c, int flags)
{
	int rc;

	if (flags & PLAN_SORT) {
		c->term_of[c->terms[0].column] = -1;
		rc = store_order_sort(&c->order, &c->scan, c->terms);
	} else {
		rc = store_order_build(&c->order, &c->scan, c->terms, c->n_terms,
				       flags & PLAN_SORTED, flags & PLAN_UNIQUE);
	}
	if (rc)
		return rc == -ETIME ? SQLITE_INTERRUPT : SQLITE_NOMEM;
	c->order.wanted = c->wanted;
	c->order.n_wanted = c->n_wanted;
	c->at = &c->order.at;
	return SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int flags, const char *plan,
			 int argc maybe_unused, sqlite3_value **argv)
{
	struct cursor *c = container_of(base, struct cursor, base);
	int rc;

	cursor_clear(c);
	rc = plan_read(c, plan, argv);
	if (rc || c->end)
		return rc;
	store_scan_start(&c->scan, c->t, c->filters, c->n_filters);
	c->at = &c->scan.at;
	if (flags) {
		rc = cursor_arrange(c, flags);
		if (rc)
			return rc;
	}
	return cursor_next(base);
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
	return container_of(base, struct cursor, base)->end;
}

static void give_int(sqlite3_context *ctx, int64_t v)
{
	if (v != STORE_NULL)
		sqlite3_result_int64(ctx, v);
}

static void give_text(sqlite3_context *ctx, const struct store_string *str)
{
	if (str)
		sqlite3_result_text(ctx, str->text, str->len, SQLITE_STATIC);
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *ctx, int column)
{
	const struct cursor *c = container_of(base, struct cursor, base);
	enum store_type type = c->t->def->columns[column].type;
	const struct store_place *at = c->at;
	const union store_key *key;
	uint16_t code;

	if (c->term_of[column] >= 0) {
		key = &c->order.key[c->term_of[column]];
		if (type == STORE_INT)
			give_int(ctx, key->num);
		else
			give_text(ctx, key->str);
	} else if (type == STORE_INT) {
		give_int(ctx, store_ints(c->t, at->group, (unsigned)column)[at->lane]);
	} else {
		code = store_codes(c->t, at->group, (unsigned)column)[at->lane];
		give_text(ctx, code ? store_string_at(at->block, code) : NULL);
	}
	return SQLITE_OK;
}

/* Unique among the rows of a query, no more. */
static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
	const struct cursor *c = container_of(base, struct cursor, base);
	const char *group = (const char *)c->at->group;

	*out = (group - c->t->mem) + c->at->lane;
	return SQLITE_OK;
}

static const sqlite3_module module = {
	.iVersion = 2,
	.xCreate = vtab_connect,
	.xConnect = vtab_connect,
	.xBestIndex = vtab_best_index,
	.xDisconnect = vtab_disconnect,
	.xDestroy = vtab_disconnect,
	.xOpen = cursor_open,
	.xClose = cursor_close,
	.xFilter = cursor_filter,
	.xNext = cursor_next,
	.xEof = cursor_eof,
	.xColumn = cursor_column,
	.xRowid = cursor_rowid,
};

int store_vtab_register(struct store *s)
{
	return sqlite3_create_module_v2(s->db, "skep", &module, s, NULL);
}
