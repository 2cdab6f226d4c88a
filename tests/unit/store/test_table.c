// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

static const struct store_column columns[] = {
	{"id", STORE_INT, ""},
	{"v", STORE_INT, ""},
	{"s", STORE_STR, ""},
	{"long", STORE_STR, ""},
};
enum { ID, V, S, LONG };
static const struct store_def def = {"t", "a table", columns, array_size(columns)};

struct fixture {
	struct store *store;
	struct store_table *t;
};

static int setup(void **state)
{
	static struct fixture f;

	*state = &f;
	return store_open(&f.store, NULL) || store_table_add(f.store, &def, 0, &f.t, NULL);
}

static int teardown(void **state)
{
	store_free(((struct fixture *)*state)->store);
	return 0;
}

static void append(struct store_table *t, int64_t id, const char *s, uint64_t *handle)
{
	struct store_cell cells[] = {STORE_NUM(id), STORE_NUM(id * 2), STORE_STRZ(s), STORE_NONE};

	store_append(t, cells, handle);
}

static void take_stat(void *arg, const struct store_def *d maybe_unused,
		      const struct store_stat *stat)
{
	*(struct store_stat *)arg = *stat;
}

static struct store_stat stat_of(struct fixture *f)
{
	struct store_stat stat = {0};

	store_each(f->store, take_stat, &stat);
	return stat;
}

static void assert_cell(const struct store_table *t, const uint64_t *h, unsigned c,
			const char *want)
{
	struct store_cell cell = store_get(t, h, c);

	assert_true(cell.set);
	assert_int_equal(cell.len, strlen(want));
	assert_memory_equal(cell.str, want, cell.len);
}

static void an_open_row_reads_back_what_was_stored_and_set(void **state)
{
	struct fixture *f = *state;
	uint64_t h;

	append(f->t, 7, "abc", &h);
	assert_true(h >= 1);
	assert_int_equal(store_get(f->t, &h, ID).num, 7);
	assert_cell(f->t, &h, S, "abc");
	assert_false(store_get(f->t, &h, LONG).set);
	store_set(f->t, &h, S, STORE_STRZ("other"));
	store_set(f->t, &h, V, STORE_NONE);
	assert_cell(f->t, &h, S, "other");
	assert_false(store_get(f->t, &h, V).set);
	store_set(f->t, &h, S, STORE_NONE);
	assert_false(store_get(f->t, &h, S).set);
}

static void a_closed_row_keeps_its_values_and_loses_its_handle(void **state)
{
	struct fixture *f = *state;
	uint64_t h;

	append(f->t, 7, "abc", &h);
	store_close(f->t, &h);
	assert_int_equal(h, 0);
	store_set(f->t, &h, V, STORE_NUM(99));
	store_close(f->t, &h);
	assert_false(store_get(f->t, &h, V).set);
	assert_rows(f->store, "select id, v, s from t", "7|14|abc\n");
	assert_int_equal(stat_of(f).open, 0);
}

static void an_empty_string_is_not_null(void **state)
{
	struct fixture *f = *state;
	struct store_cell cells[] = {STORE_NUM(1), STORE_NONE, STORE_TEXT("", 0), STORE_NONE};

	store_append(f->t, cells, NULL);
	assert_rows(f->store, "select id, s is null, long is null, s = '' from t", "1|0|1|1\n");
}

static void a_row_as_json_leaves_out_null_and_escapes(void **state)
{
	cleanup(buf_done) struct buf b = {0};
	struct fixture *f = *state;
	uint64_t h;

	append(f->t, -5, "say \"hi\"\n", &h);
	store_set(f->t, &h, V, STORE_NONE);
	store_row_json(f->t, &h, &b);
	assert_string_equal(b.data, "{\"id\":-5,\"s\":\"say \\\"hi\\\"\\u000a\"}");
}

static void long_text_is_cut_at_a_character(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(STORE_STR_MAX + 100);
	struct store_cell cell;
	unsigned i;
	uint64_t h;

	for (i = 0; i < (STORE_STR_MAX + 100) / 3; i++)
		memcpy(text + 3 * i, "\xe2\x82\xac", 3); /* the euro sign */
	append(f->t, 1, NULL, &h);
	store_set(f->t, &h, LONG, STORE_TEXT(text, STORE_STR_MAX + 100));
	cell = store_get(f->t, &h, LONG);
	assert_int_equal(cell.len, STORE_STR_MAX / 3 * 3);
	assert_memory_equal(cell.str, text, cell.len);
	free(text);
}

static void what_fell_out_is_the_oldest_and_is_counted(void **state)
{
	cleanup(buf_done) struct buf want = {0};
	struct fixture *f = *state;
	struct store_stat stat;
	unsigned i;

	for (i = 0; i < 100000; i++)
		append(f->t, i, "x", NULL);
	stat = stat_of(f);
	assert_int_equal(stat.appended, 100000);
	assert_int_equal(stat.rows + stat.dropped, 100000);
	assert_true(stat.dropped > 0 && stat.dropped_open == 0);
	assert_true(stat.rows * 40 > stat.bytes / 2);
	buf_fmt(&want, "%llu|%llu|99999\n", (unsigned long long)stat.rows,
		(unsigned long long)stat.dropped);
	assert_rows(f->store, "select count(*), min(id), max(id) from t", want.data);
}

static void an_open_row_outlives_the_blocks_it_was_in(void **state)
{
	struct fixture *f = *state;
	uint64_t h, first;
	unsigned i;

	append(f->t, -1, "survivor", &h);
	first = h;
	for (i = 0; i < 300000; i++)
		append(f->t, i, "x", NULL);
	assert_int_not_equal(h, first);
	assert_int_equal(store_get(f->t, &h, ID).num, -1);
	assert_cell(f->t, &h, S, "survivor");
	store_set(f->t, &h, V, STORE_NUM(5));
	assert_rows(f->store, "select id, v, s from t where s = 'survivor'", "-1|5|survivor\n");
	assert_rows(f->store, "select id, s from t where id < 0", "-1|survivor\n");
	store_close(f->t, &h);
	for (i = 0; i < 100000; i++)
		append(f->t, i, "x", NULL);
	assert_rows(f->store, "select id from t where id < 0", "");
}

static void too_many_open_rows_drop_old_ones_and_clear_their_handles(void **state)
{
	enum { N = 60000 };
	struct fixture *f = *state;
	uint64_t *h = calloc(N, sizeof(*h));
	struct store_stat stat;
	unsigned i, lost = 0;

	for (i = 0; i < N; i++)
		append(f->t, i, "x", &h[i]);
	for (i = 0; i < N; i++) {
		if (h[i])
			assert_int_equal(store_get(f->t, &h[i], ID).num, i);
		else
			lost++;
	}
	stat = stat_of(f);
	assert_true(lost > N / 2 && h[N - 1] && h[N - 2000] && !h[0]);
	assert_int_equal(stat.dropped_open, lost);
	assert_int_equal(stat.open, N - lost);
	assert_int_equal(stat.rows, N - lost);
	free(h);
}

static void a_row_with_too_much_text_is_cut_to_half_a_block(void **state)
{
	static struct store_column wide[STORE_COLS_MAX];
	static const struct store_def wide_def = {"wide", "", wide, STORE_COLS_MAX};
	static char names[STORE_COLS_MAX][8];
	struct store_cell cells[STORE_COLS_MAX];
	struct fixture *f = *state;
	char text[STORE_STR_MAX];
	struct store_table *t;
	unsigned i, k;
	uint64_t h = 0;

	for (i = 0; i < STORE_COLS_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "c%u", i);
		wide[i] = (struct store_column){names[i], i % 8 ? STORE_STR : STORE_INT, ""};
	}
	assert_int_equal(store_table_add(f->store, &wide_def, 0, &t, NULL), 0);
	memset(text, 'a', sizeof(text));
	for (k = 0; k < 40; k++) {
		text[0] = (char)('A' + k % 26);
		for (i = 0; i < STORE_COLS_MAX; i++)
			cells[i] = i % 8 ? STORE_TEXT(text, sizeof(text) - i) : STORE_NUM(k);
		store_append(t, cells, k ? NULL : &h);
		store_set(t, &h, 1, STORE_TEXT(text, 1000 + k));
	}
	assert_int_equal(store_get(t, &h, 1).len, 1039);
	assert_int_equal(store_get(t, &h, 8).num, 0);
}

static void a_row_whose_block_is_full_moves_when_its_text_changes(void **state)
{
	struct fixture *f = *state;
	char text[64];
	uint64_t h;
	unsigned i;

	append(f->t, 1, "before", &h);
	for (i = 0; i < 9000; i++) {
		snprintf(text, sizeof(text), "text %u", i);
		append(f->t, 100 + i, text, NULL);
	}
	for (i = 0; i < 2000; i++) {
		snprintf(text, sizeof(text), "after %u", i);
		store_set(f->t, &h, S, STORE_STRZ(text));
		assert_cell(f->t, &h, S, text);
	}
	assert_rows(f->store, "select id, v, s from t where id < 100", "1|2|after 1999\n");
	assert_int_equal(stat_of(f).appended, 9001);
	assert_int_equal(stat_of(f).rows + stat_of(f).dropped, 9001);
}

static size_t resident(void)
{
	cleanup(file_close) FILE *file = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*s %zu", &pages), 1);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void an_empty_table_takes_no_memory_yet(void **state)
{
	struct fixture *f = *state;
	struct store_def big = def;
	struct store_table *t;
	size_t before;

	big.name = "big";
	before = resident();
	assert_int_equal(store_table_add(f->store, &big, 256 << 20, &t, NULL), 0);
	append(t, 1, "x", NULL);
	assert_true(resident() - before < 512 << 10);
}

/* ---- against a model ------------------------------------------------------------------------- */

struct model {
	uint64_t handle;
	bool open;
	int64_t id, v;
	char s[32];
};

static uint64_t seed = 42;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

static void model_change(struct store_table *t, struct model *m, int64_t id)
{
	if (!m->open) {
		*m = (struct model){.open = true, .id = id, .v = id * 2};
		snprintf(m->s, sizeof(m->s), "s%u", rnd(100000));
		append(t, id, m->s, &m->handle);
		return;
	}
	switch (rnd(4)) {
	case 0:
		store_close(t, &m->handle);
		m->open = false;
		break;
	case 1:
		m->v = rnd(1000);
		store_set(t, &m->handle, V, STORE_NUM(m->v));
		break;
	default:
		snprintf(m->s, sizeof(m->s), "changed to %u", rnd(100000));
		store_set(t, &m->handle, S, STORE_STRZ(m->s));
	}
}

static void open_rows_are_always_what_their_owners_made_them(void **state)
{
	enum { N = 500 };
	static struct model models[N];
	struct fixture *f = *state;
	unsigned i;

	for (i = 0; i < 200000; i++) {
		model_change(f->t, &models[rnd(N)], i);
		if (i % 1000)
			continue;
		for (struct model *m = models; m < models + N; m++) {
			if (!m->open)
				continue;
			assert_true(m->handle);
			assert_int_equal(store_get(f->t, &m->handle, ID).num, m->id);
			assert_int_equal(store_get(f->t, &m->handle, V).num, m->v);
			assert_cell(f->t, &m->handle, S, m->s);
		}
	}
	assert_int_equal(stat_of(f).dropped_open, 0);
	assert_true(stat_of(f).dropped > 0);
	assert_rows(f->store,
		    "select count(*) from (select id from t group by id having count(*) > 1)",
		    "0\n");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_open_row_reads_back_what_was_stored_and_set),
		TEST(a_closed_row_keeps_its_values_and_loses_its_handle),
		TEST(an_empty_string_is_not_null),
		TEST(a_row_as_json_leaves_out_null_and_escapes),
		TEST(long_text_is_cut_at_a_character),
		TEST(what_fell_out_is_the_oldest_and_is_counted),
		TEST(an_open_row_outlives_the_blocks_it_was_in),
		TEST(too_many_open_rows_drop_old_ones_and_clear_their_handles),
		TEST(a_row_with_too_much_text_is_cut_to_half_a_block),
		TEST(a_row_whose_block_is_full_moves_when_its_text_changes),
		TEST(an_empty_table_takes_no_memory_yet),
		TEST(open_rows_are_always_what_their_owners_made_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
