// SPDX-License-Identifier: Apache-2.0
/*
 * sql.c: what SQL over the store's tables costs, beside the same rows in a plain SQLite table (in
 * memory, without an index). One run measures both, in turn; the figures are medians.
 */
#include <sqlite3.h>
#include <time.h>

#include "store/store.h"

#define ROWS	1000000
#define ROUNDS	7
#define T0	1760000000000000000LL
#define STEP_NS 1000000LL
#define COMMS	200
#define NAMES	2000

static const struct store_column columns[] = {
	{"time", STORE_INT, ""},	{"ended", STORE_INT, ""},
	{"pid", STORE_INT, ""},		{"started", STORE_INT, ""},
	{"comm", STORE_STR, ""},	{"service", STORE_STR, ""},
	{"state", STORE_STR, ""},	{"remote_addr", STORE_STR, ""},
	{"remote_port", STORE_INT, ""}, {"remote_name", STORE_STR, ""},
	{"bytes_sent", STORE_INT, ""},	{"bytes_received", STORE_INT, ""},
};
#define N_COLUMNS array_size(columns)

static const struct store_def def = {"t", "", columns, N_COLUMNS};

static const struct {
	const char *what, *sql;
	double target_ms;
} queries[] = {
	{"group by comm", "select comm, sum(bytes_sent) from t group by comm", 150},
	{"group by comm, remote_name",
	 "select comm, remote_name, sum(bytes_sent) from t group by 1, 2", 150},
	{"group by service, order by sum",
	 "select service, count(*), sum(bytes_sent), max(bytes_received) from t"
	 " group by service order by 3 desc limit 10",
	 150},
	{"group by comm in a time range",
	 "select comm, sum(bytes_sent) from t where time >= 1760000500000000000 group by comm",
	 150},
	{"distinct comm, state", "select distinct comm, state from t", 0},
	{"time range, 1,000 rows",
	 "select time, comm, remote_name, bytes_sent from t"
	 " where time >= 1760000700000000000 and time < 1760000701000000000",
	 10},
	{"string equality, some 500 rows",
	 "select time, comm, bytes_sent from t where remote_name = 'host-1234.example.org'", 0},
	{"string in, integer equality",
	 "select count(*) from t where comm in ('prog-7', 'prog-8') and remote_port = 443", 0},
	{"ended is null", "select count(*), sum(bytes_sent) from t where ended is null", 0},
	{"like '%word%'", "select count(*) from t where remote_name like '%-77.example%'", 0},
	{"order by time desc limit 50", "select * from t order by time desc limit 50", 0},
	{"count(*)", "select count(*) from t", 0},
};

/* ---- rows ----------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Small values are frequent, large ones rare. */
static unsigned skewed(unsigned n)
{
	double x = (double)(rnd() >> 11) / (double)(1ULL << 53);

	return (unsigned)(x * x * n);
}

struct text {
	char s[64];
};

static struct store_cell text_cell(struct text *t, const char *fmt, unsigned v)
{
	int n = snprintf(t->s, sizeof(t->s), fmt, v);

	return STORE_TEXT(t->s, n);
}

static void make_row(unsigned i, struct store_cell *c, struct text *t)
{
	static const char *const states[] = {"established", "closed", "failed", "open"};
	static const unsigned ports[] = {443, 80, 5432, 6379, 53, 8080};
	unsigned comm = skewed(COMMS), host = (comm * 37 + skewed(20)) % NAMES;
	int64_t time = T0 + i * STEP_NS;

	c[0] = STORE_NUM(time);
	c[1] = rnd() % 50 ? STORE_NUM(time + (int64_t)(rnd() % 1000000000)) : STORE_NONE;
	c[2] = STORE_NUM(1000 + rnd() % 30000);
	c[3] = STORE_NUM(rnd() % 100000000000);
	c[4] = text_cell(&t[0], "prog-%u", comm);
	c[5] = text_cell(&t[1], "service-%u.service", comm / 4);
	c[6] = STORE_STRZ(states[rnd() % 4]);
	c[7] = text_cell(&t[2], "10.20.%u.17", host);
	c[8] = STORE_NUM(ports[rnd() % 6]);
	c[9] = text_cell(&t[3], "host-%u.example.org", host);
	c[10] = STORE_NUM(rnd() % 65536);
	c[11] = STORE_NUM(rnd() % 1048576);
}

static void plain_insert(sqlite3_stmt *st, const struct store_cell *c)
{
	unsigned i;

	for (i = 0; i < N_COLUMNS; i++) {
		if (!c[i].set)
			sqlite3_bind_null(st, (int)i + 1);
		else if (columns[i].type == STORE_INT)
			sqlite3_bind_int64(st, (int)i + 1, c[i].num);
		else
			sqlite3_bind_text(st, (int)i + 1, c[i].str, (int)c[i].len, SQLITE_STATIC);
	}
	sqlite3_step(st);
	sqlite3_reset(st);
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static size_t resident(void)
{
	cleanup(file_close) FILE *f = fopen("/proc/self/statm", "r");
	size_t pages = 0;

	if (!f || fscanf(f, "%*s %zu", &pages) != 1)
		return 0;
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void fill(struct store_table *t, double *store_ms)
{
	struct store_cell c[N_COLUMNS];
	struct text texts[4];
	double start = now_ms();
	unsigned i;

	for (i = 0; i < ROWS; i++) {
		make_row(i, c, texts);
		store_append(t, c, NULL);
	}
	*store_ms = now_ms() - start;
}

static void fill_plain(sqlite3 *db, double *ms)
{
	struct store_cell c[N_COLUMNS];
	struct text texts[4];
	double start = now_ms();
	sqlite3_stmt *st;
	unsigned i;

	sqlite3_exec(db,
		     "create table t(time integer, ended integer, pid integer, started integer,"
		     " comm text, service text, state text, remote_addr text, remote_port integer,"
		     " remote_name text, bytes_sent integer, bytes_received integer); begin",
		     NULL, NULL, NULL);
	sqlite3_prepare_v2(db, "insert into t values(?,?,?,?,?,?,?,?,?,?,?,?)", -1, &st, NULL);
	for (i = 0; i < ROWS; i++) {
		make_row(i, c, texts);
		plain_insert(st, c);
	}
	sqlite3_finalize(st);
	sqlite3_exec(db, "commit", NULL, NULL, NULL);
	*ms = now_ms() - start;
}

/* ---- runs: time and what came out, as a sum that does not depend on the order ---------------- */

struct result {
	double ms;
	uint64_t rows, sum;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *s, uint32_t len)
{
	while (len--)
		h = mix(h, (unsigned char)*s++);
	return h;
}

static int sink_columns(void *arg maybe_unused, unsigned n maybe_unused,
			const char *const *names maybe_unused)
{
	return 0;
}

static int sink_row(void *arg, unsigned n, const struct store_value *v)
{
	struct result *r = arg;
	uint64_t h = 1;
	unsigned i;

	for (i = 0; i < n; i++)
		h = v[i].type == STORE_VALUE_TEXT ? mix_text(h, v[i].str, v[i].len)
						  : mix(h, (uint64_t)v[i].num);
	r->rows++;
	r->sum += h;
	return 0;
}

static struct result run_store(struct store *s, const char *sql)
{
	struct result r = {0};
	struct store_sink sink = {sink_columns, sink_row, &r};
	struct skep_err err = {""};
	double start = now_ms();

	if (store_sql(s, sql, NULL, 0, NULL, &sink, NULL, &err)) {
		fprintf(stderr, "%s: %s\n", sql, err.text);
		exit(1);
	}
	r.ms = now_ms() - start;
	return r;
}

static struct result run_plain(sqlite3 *db, const char *sql)
{
	struct store_value v[N_COLUMNS];
	struct result r = {0};
	double start = now_ms();
	sqlite3_stmt *st;
	int i, n;

	sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	n = sqlite3_column_count(st);
	while (sqlite3_step(st) == SQLITE_ROW) {
		for (i = 0; i < n; i++) {
			v[i] = (struct store_value){.num = sqlite3_column_int64(st, i)};
			if (sqlite3_column_type(st, i) != SQLITE_TEXT)
				continue;
			v[i].type = STORE_VALUE_TEXT;
			v[i].str = (const char *)sqlite3_column_text(st, i);
			v[i].len = (uint32_t)sqlite3_column_bytes(st, i);
		}
		sink_row(&r, (unsigned)n, v);
	}
	sqlite3_finalize(st);
	r.ms = now_ms() - start;
	return r;
}

static int by_ms(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	return (x->ms > y->ms) - (x->ms < y->ms);
}

static bool measure(struct store *s, sqlite3 *db, unsigned q)
{
	struct result ours[ROUNDS], plain[ROUNDS], *o = &ours[ROUNDS / 2], *p = &plain[ROUNDS / 2];
	char target[16] = "";
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		ours[i] = run_store(s, queries[q].sql);
		plain[i] = run_plain(db, queries[q].sql);
	}
	qsort(ours, ROUNDS, sizeof(*ours), by_ms);
	qsort(plain, ROUNDS, sizeof(*plain), by_ms);
	if (queries[q].target_ms > 0)
		snprintf(target, sizeof(target), "%.0f", queries[q].target_ms);
	printf("%8.3f %10.2f %10.2f %7s %9llu  %s\n", o->ms / p->ms, o->ms, p->ms, target,
	       (unsigned long long)o->rows, queries[q].what);
	if (o->sum == p->sum && o->rows == p->rows)
		return true;
	fprintf(stderr, "different results: %s\n", queries[q].sql);
	return false;
}

static void report_fill(double ours, double plain, size_t ours_bytes, size_t plain_bytes)
{
	printf("%8s %10s %10s\n", "ratio", "skep", "SQLite");
	printf("%8.3f %10.0f %10.0f  ns to add a row (making the row included)\n", ours / plain,
	       ours * 1e6 / ROWS, plain * 1e6 / ROWS);
	printf("%8.3f %10.1f %10.1f  resident bytes per row\n\n",
	       (double)ours_bytes / (double)plain_bytes, (double)ours_bytes / ROWS,
	       (double)plain_bytes / ROWS);
	printf("%8s %10s %10s %7s %9s  median of %d, ms\n", "ratio", "skep", "SQLite", "target",
	       "rows", ROUNDS);
}

int main(void)
{
	struct skep_err err = {""};
	double ours_ms, plain_ms;
	size_t before, between;
	struct store_table *t;
	bool same = true;
	struct store *s;
	sqlite3 *db;
	unsigned q;

	if (store_open(&s, &err) || store_table_add(s, &def, 256 << 20, &t, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	sqlite3_open(":memory:", &db);
	before = resident();
	fill(t, &ours_ms);
	between = resident();
	seed = 88172645463325252ULL;
	fill_plain(db, &plain_ms);
	printf("SQL over %d rows of %zu columns; SQLite %s without an index\n\n", ROWS, N_COLUMNS,
	       sqlite3_libversion());
	report_fill(ours_ms, plain_ms, between - before, resident() - between);
	for (q = 0; q < array_size(queries); q++)
		same &= measure(s, db, q);
	sqlite3_close(db);
	store_free(s);
	return same ? 0 : 1;
}
