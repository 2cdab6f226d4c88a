// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>
#include <xxhash.h>

#include "store/table.h"

static_assert(STORE_BLOCK_MAX / (sizeof(uint64_t *) + sizeof(uint16_t)) <= STORE_ROW_MASK,
	      "a row's place in its block fits STORE_ROW_BITS");

static uint64_t bit(unsigned lane)
{
	return 1ULL << lane;
}

/* ---- layout -------------------------------------------------------------------------------- */

static size_t cell_bytes(enum store_type type)
{
	return type == STORE_INT ? sizeof(int64_t) : sizeof(uint16_t);
}

static uint32_t columns_place(struct store_table *t, enum store_type type, uint32_t at)
{
	unsigned c;

	for (c = 0; c < t->def->n_columns; c++) {
		if (t->def->columns[c].type != type)
			continue;
		t->offset[c] = at;
		at += (uint32_t)(STORE_GROUP * cell_bytes(type));
	}
	return at;
}

/* Small tables have smaller blocks, lest the free one (T1) be a large part of them. */
static uint32_t block_size(size_t bytes)
{
	size_t n = bytes / 16;

	n = max(n, (size_t)STORE_BLOCK_MIN);
	n = min(n, (size_t)STORE_BLOCK_MAX);
	return (uint32_t)(n & ~(size_t)4095);
}

static void layout(struct store_table *t, size_t bytes)
{
	uint32_t at = sizeof(struct store_block);

	t->block_bytes = block_size(bytes);
	t->n_blocks = (uint32_t)(bytes / t->block_bytes);
	t->bytes = (size_t)t->n_blocks * t->block_bytes;
	t->n_buckets = STORE_BLOCK_MIN / 256;
	while (t->n_buckets * 2 <= t->block_bytes / 256)
		t->n_buckets *= 2;
	at += t->def->n_columns * (uint32_t)sizeof(struct store_zone);
	t->buckets_at = at;
	at += t->n_buckets * (uint32_t)sizeof(uint16_t);
	t->groups_at = (at + 63) & ~63U;
	at = columns_place(t, STORE_INT, sizeof(struct store_group));
	t->group_bytes = (columns_place(t, STORE_STR, at) + 63) & ~63U;
	t->strings_max = (t->block_bytes - t->groups_at) / 2 - 2 * t->group_bytes; /* T2 */
}

static uint16_t *buckets(const struct store_table *t, const struct store_block *b)
{
	return (uint16_t *)((char *)b + t->buckets_at);
}

static void block_reset(const struct store_table *t, struct store_block *b)
{
	unsigned c;

	b->rows = 0;
	b->arena = t->block_bytes;
	for (c = 0; c < t->def->n_columns; c++)
		b->zones[c] = (struct store_zone){.lo = INT64_MAX, .hi = INT64_MIN};
	memset(buckets(t, b), 0, t->n_buckets * sizeof(uint16_t));
}

void store_table_free(struct store_table *t)
{
	if (!t)
		return;
	if (t->mem)
		munmap(t->mem, t->bytes);
	free(t);
}

static void table_done(struct store_table **t)
{
	store_table_free(*t);
}

int store_table_make(struct store_table **out, const struct store_def *def, size_t bytes,
		     struct skep_err *err)
{
	cleanup(table_done) struct store_table *t = calloc(1, sizeof(*t));
	void *mem;

	assert(def->n_columns && def->n_columns <= STORE_COLS_MAX);
	if (!t)
		return skep_fail(err, -ENOMEM, "table %s: out of memory", def->name);
	t->def = def;
	bytes = max(bytes, (size_t)4 * STORE_BLOCK_MIN);
	layout(t, min(bytes, STORE_TABLE_MAX));
	mem = mmap(NULL, t->bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return skep_fail(err, -ENOMEM, "table %s: no memory for %zu MiB", def->name,
				 t->bytes >> 20);
	t->mem = mem;
	t->first = t->head = 1;
	block_reset(t, store_block_at(t, t->head));
	*out = take(t);
	return 0;
}

void store_table_count(const struct store_table *t, struct store_stat *out)
{
	*out = (struct store_stat){.name = t->def->name,
				   .rows = t->appended - t->dropped,
				   .open = t->open,
				   .appended = t->appended,
				   .dropped = t->dropped,
				   .dropped_open = t->dropped_open,
				   .bytes = t->bytes};
}

/* ---- strings ------------------------------------------------------------------------------- */

uint32_t store_hash(const char *s, uint32_t len)
{
	return (uint32_t)XXH3_64bits(s, len);
}

uint16_t store_code_find(const struct store_table *t, const struct store_block *b, uint32_t hash,
			 const char *s, uint32_t len)
{
	uint16_t code = buckets(t, b)[hash & (t->n_buckets - 1)];
	const struct store_string *str;

	for (; code; code = str->next) {
		str = store_string_at(b, code);
		if (str->hash == hash && str->len == len && !memcmp(str->text, s, len))
			break;
	}
	return code;
}

/* The code of a string, new or not; 0 where it would reach below @floor. */
static uint16_t intern(const struct store_table *t, struct store_block *b, uint32_t floor,
		       const char *s, uint32_t len)
{
	uint32_t hash = store_hash(s, len), size = store_string_bytes(len);
	uint16_t *bucket = &buckets(t, b)[hash & (t->n_buckets - 1)];
	uint16_t code = store_code_find(t, b, hash, s, len);
	struct store_string *str;

	if (code)
		return code;
	if (b->arena < floor + size)
		return 0;
	b->arena -= size;
	code = (uint16_t)(b->arena / STORE_CODE_UNIT);
	str = store_string_at(b, code);
	str->hash = hash;
	str->next = *bucket;
	str->len = (uint16_t)len;
	memcpy(str->text, s, len);
	*bucket = code;
	return code;
}

/* How much of a string is kept where @room bytes of arena are left to its row: whole characters. */
static uint32_t keep(const struct store_cell *cell, uint32_t room)
{
	uint32_t most = room / STORE_CODE_UNIT * STORE_CODE_UNIT - sizeof(struct store_string);

	most = min(most, (uint32_t)STORE_STR_MAX);
	if (cell->len <= most)
		return cell->len;
	while (most && ((unsigned char)cell->str[most] & 0xc0) == 0x80)
		most--;
	return most;
}

/* ---- rows ---------------------------------------------------------------------------------- */

struct row {
	struct store_block *block;
	struct store_group *group;
	unsigned lane;
};

static struct row row_at(const struct store_table *t, struct store_block *b, uint32_t index)
{
	return (struct row){.block = b,
			    .group = store_group_at(t, b, index / STORE_GROUP),
			    .lane = index % STORE_GROUP};
}

static struct row row_of(const struct store_table *t, uint64_t number)
{
	return row_at(t, store_block_at(t, number >> STORE_ROW_BITS), number & STORE_ROW_MASK);
}

static uint32_t groups_end(const struct store_table *t, uint32_t rows)
{
	return t->groups_at + (rows + STORE_GROUP - 1) / STORE_GROUP * t->group_bytes;
}

static void put_int(const struct store_table *t, const struct row *r, unsigned c,
		    const struct store_cell *cell)
{
	struct store_zone *z = &r->block->zones[c];
	int64_t v = cell->set ? cell->num : STORE_NULL;

	store_ints(t, r->group, c)[r->lane] = v;
	if (v == STORE_NULL)
		return;
	z->lo = min(z->lo, v); /* T4 */
	z->hi = max(z->hi, v);
}

static struct store_cell read_cell(const struct store_table *t, const struct row *r, unsigned c)
{
	const struct store_string *str;
	uint16_t code;
	int64_t v;

	if (t->def->columns[c].type == STORE_INT) {
		v = store_ints(t, r->group, c)[r->lane];
		return v == STORE_NULL ? STORE_NONE : STORE_NUM(v);
	}
	code = store_codes(t, r->group, c)[r->lane];
	if (!code)
		return STORE_NONE;
	str = store_string_at(r->block, code);
	return STORE_TEXT(str->text, str->len);
}

static void read_row(const struct store_table *t, const struct row *r, struct store_cell *cells)
{
	unsigned c;

	for (c = 0; c < t->def->n_columns; c++)
		cells[c] = read_cell(t, r, c);
}

/* Codes for the strings of a row; false where the block has no room for them. */
static bool intern_row(const struct store_table *t, struct store_block *b, uint32_t floor,
		       const struct store_cell *cells, uint16_t *codes)
{
	uint32_t room = t->strings_max, len;
	unsigned c;

	for (c = 0; c < t->def->n_columns; c++) {
		codes[c] = 0;
		if (t->def->columns[c].type != STORE_STR || !cells[c].set || room < STORE_CODE_UNIT)
			continue;
		len = keep(&cells[c], room);
		room -= store_string_bytes(len);
		codes[c] = intern(t, b, floor, cells[c].str, len);
		if (!codes[c])
			return false;
	}
	return true;
}

static void hold(struct store_table *t, const struct row *r, uint64_t number, uint64_t *handle)
{
	r->group->open |= bit(r->lane);
	r->group->handles[r->lane] = handle;
	*handle = number;
	t->open++;
}

static void release(struct store_table *t, const struct row *r)
{
	r->group->open &= ~bit(r->lane);
	t->open--;
}

/* Adds a row to the newest block; false where that is full. */
static bool place(struct store_table *t, const struct store_cell *cells, uint64_t *handle)
{
	struct store_block *b = store_block_at(t, t->head);
	uint32_t floor = groups_end(t, b->rows + 1);
	struct row r = row_at(t, b, b->rows);
	uint16_t codes[STORE_COLS_MAX];
	unsigned c;

	if (floor > b->arena || !intern_row(t, b, floor, cells, codes))
		return false;
	if (!r.lane)
		r.group->live = r.group->open = 0;
	for (c = 0; c < t->def->n_columns; c++) {
		if (t->def->columns[c].type == STORE_INT)
			put_int(t, &r, c, &cells[c]);
		else
			store_codes(t, r.group, c)[r.lane] = codes[c];
	}
	r.group->live |= bit(r.lane);
	if (handle)
		hold(t, &r, t->head << STORE_ROW_BITS | b->rows, handle);
	b->rows++;
	return true;
}

/* ---- eviction ------------------------------------------------------------------------------ */

/* What moving a row would take, strings counted when first met. */
static uint32_t row_cost(struct store_table *t, const struct row *r)
{
	uint32_t cost = t->group_bytes / STORE_GROUP;
	uint16_t code;
	unsigned c;

	for (c = 0; c < t->def->n_columns; c++) {
		if (t->def->columns[c].type != STORE_STR)
			continue;
		code = store_codes(t, r->group, c)[r->lane];
		if (!code || t->seen[code / 64] & bit(code % 64))
			continue;
		t->seen[code / 64] |= bit(code % 64);
		cost += store_string_bytes(store_string_at(r->block, code)->len);
	}
	return cost;
}

/* The oldest open row that still fits when all behind it move too (T2). */
static uint32_t first_to_move(struct store_table *t, struct store_block *b)
{
	uint32_t most = (t->block_bytes - t->groups_at) / 2, used = 0, i, first = b->rows;
	struct row r;

	memset(t->seen, 0, sizeof(t->seen));
	for (i = b->rows; i-- > 0;) {
		r = row_at(t, b, i);
		if (!(r.group->open & bit(r.lane)))
			continue;
		used += row_cost(t, &r);
		if (used > most)
			break;
		first = i;
	}
	return first;
}

static void row_drop(struct store_table *t, const struct row *r)
{
	t->dropped++;
	if (!(r->group->open & bit(r->lane)))
		return;
	*r->group->handles[r->lane] = 0;
	t->dropped_open++;
	release(t, r);
}

static void row_move(struct store_table *t, const struct row *r)
{
	struct store_cell cells[STORE_COLS_MAX];

	read_row(t, r, cells);
	release(t, r);
	if (!place(t, cells, r->group->handles[r->lane]))
		assert(!"T2: what an eviction moves fits an empty block");
}

static void evict(struct store_table *t)
{
	struct store_block *b = store_block_at(t, t->first);
	uint32_t first = first_to_move(t, b), i;
	struct row r;

	for (i = 0; i < b->rows; i++) {
		r = row_at(t, b, i);
		if (!(r.group->live & bit(r.lane)))
			continue;
		if (i >= first && r.group->open & bit(r.lane))
			row_move(t, &r);
		else
			row_drop(t, &r);
	}
	t->first++;
}

/* Steps the ring: afterwards the newest block is at least half empty. */
static void advance(struct store_table *t)
{
	t->head++;
	block_reset(t, store_block_at(t, t->head));
	if (t->head - t->first + 1 == t->n_blocks)
		evict(t); /* T1 */
}

static void add(struct store_table *t, const struct store_cell *cells, uint64_t *handle)
{
	if (place(t, cells, handle))
		return;
	advance(t);
	if (!place(t, cells, handle))
		assert(!"T2: one step of the ring makes room for a row");
}

/* ---- what owners of rows call -------------------------------------------------------------- */

void store_append(struct store_table *t, const struct store_cell *cells, uint64_t *handle)
{
	add(t, cells, handle);
	t->appended++;
}

/* Room that the other strings of a row leave to the one in @column. */
static uint32_t room_for(const struct store_table *t, const struct row *r, unsigned column)
{
	uint32_t used = 0;
	uint16_t code;
	unsigned c;

	for (c = 0; c < t->def->n_columns; c++) {
		if (t->def->columns[c].type != STORE_STR || c == column)
			continue;
		code = store_codes(t, r->group, c)[r->lane];
		if (code)
			used += store_string_bytes(store_string_at(r->block, code)->len);
	}
	return t->strings_max - used;
}

/* The row's block has no room for a new string: the row goes to the newest (T3). */
static void put_elsewhere(struct store_table *t, const struct row *r, unsigned column,
			  const struct store_cell *cell)
{
	struct store_cell cells[STORE_COLS_MAX];

	read_row(t, r, cells);
	cells[column] = *cell;
	release(t, r);
	r->group->live &= ~bit(r->lane);
	add(t, cells, r->group->handles[r->lane]);
}

static void put_str(struct store_table *t, const struct row *r, unsigned column,
		    struct store_cell cell)
{
	uint32_t room = room_for(t, r, column);
	uint16_t code = 0;

	if (cell.set && room >= STORE_CODE_UNIT) {
		cell.len = keep(&cell, room);
		code = intern(t, r->block, groups_end(t, r->block->rows), cell.str, cell.len);
		if (!code) {
			put_elsewhere(t, r, column, &cell);
			return;
		}
	}
	store_codes(t, r->group, column)[r->lane] = code;
}

void store_set(struct store_table *t, const uint64_t *handle, unsigned column,
	       struct store_cell cell)
{
	struct row r;

	if (!*handle)
		return;
	r = row_of(t, *handle);
	if (t->def->columns[column].type == STORE_INT)
		put_int(t, &r, column, &cell);
	else
		put_str(t, &r, column, cell);
}

struct store_cell store_get(const struct store_table *t, const uint64_t *handle, unsigned column)
{
	struct row r;

	if (!*handle)
		return STORE_NONE;
	r = row_of(t, *handle);
	return read_cell(t, &r, column);
}

void store_close(struct store_table *t, uint64_t *handle)
{
	struct row r;

	if (!*handle)
		return;
	r = row_of(t, *handle);
	release(t, &r);
	*handle = 0;
}

void store_row_json(const struct store_table *t, const uint64_t *handle, struct buf *b)
{
	struct store_cell cell;
	const char *before = "";
	unsigned c;

	buf_chr(b, '{');
	for (c = 0; c < t->def->n_columns; c++) {
		cell = store_get(t, handle, c);
		if (!cell.set)
			continue;
		buf_str(b, before);
		before = ",";
		buf_json(b, t->def->columns[c].name, strlen(t->def->columns[c].name));
		buf_chr(b, ':');
		if (t->def->columns[c].type == STORE_INT)
			buf_i64(b, cell.num);
		else
			buf_json(b, cell.str, cell.len);
	}
	buf_chr(b, '}');
}
