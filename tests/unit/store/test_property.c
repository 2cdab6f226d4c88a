// SPDX-License-Identifier: Apache-2.0
/*
 * Random SELECTs over a table of the store and over a plain SQLite table with the same rows must
 * agree. SKEP_SEED and SKEP_QUERIES choose others and more.
 */
#include "rows.h"

#include "store/sql.h"

#define ROWS 6000

static const struct store_column columns[] = {
	{"n", STORE_INT, ""}, {"i", STORE_INT, ""}, {"j", STORE_INT, ""},
	{"a", STORE_STR, ""}, {"b", STORE_STR, ""}, {"c", STORE_STR, ""},
};
static const struct store_def def = {"t", "", columns, array_size(columns)};

static const char *const words[] = {"",	   "a",	 "A",	   "ab",  "b", "5",   "5.0",   "-3",
				    "1e1", "zz", "\u00e9", "x y", "0", "007", "nginx", "curl"};

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)((seed >> 20) % n);
}

static const char *pick(const char *const *list, unsigned n)
{
	return list[rnd(n)];
}
#define PICK(...)                                                 \
	({                                                        \
		static const char *const list_[] = {__VA_ARGS__}; \
		pick(list_, array_size(list_));                   \
	})

/* ---- rows ----------------------------------------------------------------------------------- */

static int64_t odd_number(void)
{
	static const int64_t list[] = {INT64_MAX,	INT64_MIN + 1, 0,  -1, 1, 5, 1LL << 53,
				       (1LL << 53) + 1, INT64_MAX - 1, -3, 10};

	return list[rnd(array_size(list))];
}

static void fill(struct store_table *t, uint64_t *handles)
{
	struct store_cell cells[array_size(columns)];
	char text[32];
	unsigned k;

	for (k = 0; k < ROWS; k++) {
		cells[0] = STORE_NUM(k);
		cells[1] = rnd(8) ? STORE_NUM(rnd(12)) : STORE_NONE;
		cells[2] = rnd(3) ? STORE_NUM(rnd(100000)) : STORE_NUM(odd_number());
		cells[3] = rnd(9) ? STORE_TEXT(words[k % 16], strlen(words[k % 16])) : STORE_NONE;
		snprintf(text, sizeof(text), "w%u", rnd(300));
		cells[4] = STORE_STRZ(text);
		snprintf(text, sizeof(text), "unique text number %u", k);
		cells[5] = rnd(20) ? STORE_TEXT(text, strlen(text)) : STORE_NONE;
		cells[4] = rnd(50) ? STORE_TEXT("same", 4) : cells[3];
		store_append(t, cells, rnd(40) ? NULL : &handles[k]);
	}
}

static void change_some(struct store_table *t, uint64_t *handles)
{
	unsigned k;

	for (k = 0; k < ROWS; k++) {
		if (rnd(2))
			store_set(t, &handles[k], 3, STORE_STRZ("changed"));
		if (rnd(2))
			store_set(t, &handles[k], 2, STORE_NUM(7));
		if (rnd(2))
			store_close(t, &handles[k]);
	}
}

/* ---- random SQL ----------------------------------------------------------------------------- */

static void number_literal(struct buf *b)
{
	switch (rnd(6)) {
	case 0:
		buf_fmt(b, "%lld", (long long)odd_number());
		break;
	case 1:
		buf_fmt(b, "%u.5", rnd(12));
		break;
	case 2:
		buf_str(b, PICK("9.3e18", "-9.3e18", "9007199254740992.0", "5.0", "'5'", "' 7 '",
				"'abc'", "null", "x'35'", "''", "'1e1'", "cast('3' as text)",
				"(select 4)", "-9223372036854775808"));
		break;
	default:
		buf_fmt(b, "%u", rnd(12));
	}
}

static void text_literal(struct buf *b)
{
	switch (rnd(5)) {
	case 0:
		buf_str(b, PICK("5", "5.0", "null", "x'61'", "-3", "lower('AB')", "10",
				"'unique text number 77'", "'same'"));
		break;
	default:
		buf_fmt(b, "'%s'", words[rnd(array_size(words))]);
	}
}

static bool is_text(const char *column)
{
	return *column >= 'a' && *column <= 'c';
}

static void literal(struct buf *b, const char *column)
{
	if (rnd(20) == 0)
		buf_str(b, PICK("i", "j", "a", "b", "n"));
	else if (is_text(column))
		text_literal(b);
	else
		number_literal(b);
}

static const char *column(void)
{
	return PICK("n", "i", "i", "j", "a", "a", "b", "c");
}

static void list(struct buf *b, const char *col)
{
	unsigned k, n = rnd(5);

	if (rnd(6) == 0) {
		buf_fmt(b, "(select %s from T where n %% 97 = %u)", col, rnd(97));
		return;
	}
	buf_chr(b, '(');
	for (k = 0; k < n; k++) {
		buf_str(b, k ? ", " : "");
		literal(b, col);
	}
	buf_chr(b, ')');
}

/* SQLite 3.40 makes an IN of an OR and forgets explicit collations: none within @either. */
static void term(struct buf *b, bool either)
{
	const char *col = column();

	switch (rnd(14)) {
	case 0:
		buf_fmt(b, "%s is null", col);
		break;
	case 1:
		buf_fmt(b, "%s is not null", col);
		break;
	case 2:
		buf_fmt(b, "%s %s ", col, PICK("in", "not in"));
		list(b, col);
		break;
	case 3:
		buf_fmt(b, "%s between ", col);
		literal(b, col);
		buf_str(b, " and ");
		literal(b, col);
		break;
	case 4:
		buf_fmt(b, "%s %% 3 = %u", PICK("n", "i", "j"), rnd(3));
		break;
	case 5:
		buf_fmt(b, "%s like '%s'", PICK("a", "b", "c"), PICK("a%", "%7%", "A", "%"));
		break;
	case 6:
		buf_fmt(b, "%s = ", col);
		literal(b, col);
		if (!either)
			buf_str(b, PICK(" collate nocase", " collate rtrim", ""));
		break;
	case 7:
		buf_fmt(b, "n >= %u and n < %u", rnd(ROWS), rnd(ROWS * 2));
		break;
	default:
		buf_fmt(b, "%s %s ", col, PICK("=", "=", "=", "<", "<=", ">", ">=", "<>", "is"));
		literal(b, col);
	}
}

static void where(struct buf *b)
{
	unsigned k, n = rnd(4);

	for (k = 0; k < n; k++) {
		buf_str(b, k ? " and " : " where ");
		if (rnd(6) == 0) {
			buf_chr(b, '(');
			term(b, true);
			buf_str(b, " or ");
			term(b, true);
			buf_chr(b, ')');
		} else {
			term(b, false);
		}
	}
}

/* One to three columns, a comma between them. */
static void some_columns(struct buf *b, const char *suffixes[3])
{
	unsigned k, n = 1 + rnd(3);

	for (k = 0; k < n; k++)
		buf_fmt(b, "%s%s%s", k ? ", " : "", column(), suffixes[rnd(3)]);
}

static const char *plain[3] = {"", "", ""}, *directed[3] = {"", " desc", " asc"};

enum compare { AS_SET, AS_SEQUENCE, AS_COUNT };

static enum compare random_rows(struct buf *b)
{
	bool order = rnd(3) == 0, limit = rnd(3) == 0;

	buf_str(b, "select ");
	buf_str(b, PICK("*", "n, a", "i, j, n", "c", "rowid is not null, b", "a, a, upper(b)"));
	buf_str(b, " from T");
	where(b);
	if (order) {
		buf_str(b, " order by ");
		some_columns(b, directed);
		buf_str(b, ", n");
	}
	if (limit)
		buf_fmt(b, " limit %u offset %u", rnd(50), rnd(3) ? 0 : rnd(20));
	return order ? AS_SEQUENCE : limit ? AS_COUNT : AS_SET;
}

static enum compare random_groups(struct buf *b)
{
	cleanup(buf_done) struct buf by = {0};

	some_columns(&by, plain);
	buf_fmt(b, "select %s, %s from T", by.data,
		PICK("count(*)", "sum(i), count(j)", "min(c), max(c), total(j)",
		     "count(distinct b), max(n)", "avg(i), group_concat(distinct i) is null",
		     "count(*) filter (where i > 3)"));
	where(b);
	buf_fmt(b, " group by %s", by.data);
	if (rnd(4) == 0)
		buf_str(b, PICK(" having count(*) > 2", " having max(i) < 9"));
	if (rnd(2))
		return AS_SET;
	buf_fmt(b, " order by %s", by.data);
	buf_str(b, PICK("", " desc"));
	if (rnd(3) == 0)
		buf_fmt(b, " limit %u", rnd(20));
	return AS_SEQUENCE;
}

static enum compare random_distinct(struct buf *b)
{
	cleanup(buf_done) struct buf cols = {0};

	some_columns(&cols, plain);
	buf_fmt(b, "select distinct %s from T", cols.data);
	where(b);
	switch (rnd(4)) {
	case 0:
		buf_fmt(b, " order by %s", cols.data);
		return AS_SEQUENCE;
	case 1:
		buf_fmt(b, " limit %u", rnd(30));
		return AS_COUNT;
	default:
		return AS_SET;
	}
}

static enum compare random_aggregate(struct buf *b)
{
	buf_fmt(b, "select %s from T",
		PICK("count(*)", "count(distinct a)", "max(n)", "min(j), max(j)", "min(a)",
		     "count(distinct i), sum(i)", "sum(distinct i)", "max(c), n >= 0"));
	where(b);
	return AS_SET;
}

static enum compare random_join(struct buf *b)
{
	buf_fmt(b,
		"select %s from (select * from T where n %% 31 = %u) x %s T y on x.%s = y.%s and"
		" y.n %s x.n%s",
		PICK("x.n, y.n", "distinct x.a, y.i", "count(*), sum(y.i)"), rnd(31),
		PICK("join", "left join"), PICK("i", "a"), PICK("i", "a"),
		PICK("<", ">=", "=", "between x.i and"), PICK("", " where y.i is null", ""));
	return AS_SET;
}

static enum compare random_nested(struct buf *b)
{
	buf_fmt(b,
		"select a, count(*) from (select distinct a, i from T where j %s %u) where a in"
		" (select a from T where i = %u) group by a%s",
		PICK("<", ">", "<>"), rnd(100000), rnd(12),
		PICK("", " union select b, 1 from T where n < 100",
		     " except select a, 3 from T group by a"));
	return AS_SET;
}

static enum compare random_query(struct buf *b)
{
	switch (rnd(12)) {
	case 0 ... 3:
		return random_rows(b);
	case 4 ... 6:
		return random_groups(b);
	case 7 ... 8:
		return random_distinct(b);
	case 9:
		return random_aggregate(b);
	case 10:
		return random_join(b);
	default:
		return random_nested(b);
	}
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* The query with table T named @name. */
static void name_table(struct buf *out, const char *sql, const char *name)
{
	const char *p;

	for (p = sql; *p; p++) {
		if (*p == 'T' && (p[1] == ' ' || !p[1] || p[1] == ')') && p[-1] == ' ')
			buf_str(out, name);
		else
			buf_chr(out, *p);
	}
}

static int by_line(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(struct rows *r)
{
	char **lines = calloc(r->n + 1, sizeof(*lines)), *p = r->text.data;
	struct buf sorted = {0};
	unsigned i;

	for (i = 0; i < r->n; i++)
		lines[i] = strsep(&p, "\n");
	qsort(lines, r->n, sizeof(*lines), by_line);
	buf_str(&sorted, "");
	for (i = 0; i < r->n; i++) {
		buf_str(&sorted, lines[i]);
		buf_chr(&sorted, '\n');
	}
	free(lines);
	buf_done(&r->text);
	r->text = sorted;
}

static void compare(struct store *s, const char *sql, enum compare how)
{
	cleanup(buf_done) struct buf ours = {0}, theirs = {0};
	cleanup(rows_done) struct rows a = {0}, b = {0};

	name_table(&ours, sql, "t");
	name_table(&theirs, sql, "plain");
	a = rows_of(s, ours.data);
	b = rows_of(s, theirs.data);
	if (a.rc != b.rc)
		fail_msg("%s: %d %s, plain %d %s", sql, a.rc, a.err.text, b.rc, b.err.text);
	if (how == AS_SET) {
		sort_lines(&a);
		sort_lines(&b);
	}
	if (a.n != b.n || (how != AS_COUNT && strcmp(a.text.data, b.text.data)))
		fail_msg("%s: %u rows, plain %u\n%.2000s\n--- plain\n%.2000s", sql, a.n, b.n,
			 a.text.data, b.text.data);
}

static void make_plain(struct store *s)
{
	s->building = true;
	assert_int_equal(sqlite3_exec(s->db,
				      "create table plain(n integer, i integer, j integer,"
				      " a text, b text, c text);"
				      "insert into plain select * from t",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	s->building = false;
}

static unsigned number_from_env(const char *name, unsigned otherwise)
{
	const char *s = getenv(name);

	return s ? (unsigned)strtoul(s, NULL, 10) : otherwise;
}

static void any_query_gives_what_a_plain_table_gives(void **state maybe_unused)
{
	unsigned queries = number_from_env("SKEP_QUERIES", 1500), k;
	uint64_t *handles = calloc(ROWS, sizeof(*handles));
	struct store_table *t;
	enum compare how;
	struct store *s;

	seed = 0x9e3779b97f4a7c15ULL + number_from_env("SKEP_SEED", 1);
	assert_int_equal(store_open(&s, NULL), 0);
	assert_int_equal(store_table_add(s, &def, 0, &t, NULL), 0);
	fill(t, handles);
	change_some(t, handles);
	make_plain(s);
	for (k = 0; k < queries; k++) {
		cleanup(buf_done) struct buf sql = {0};

		how = random_query(&sql);
		compare(s, sql.data, how);
	}
	store_free(s);
	free(handles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_query_gives_what_a_plain_table_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
