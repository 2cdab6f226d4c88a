// SPDX-License-Identifier: Apache-2.0
/*
 * The n-th allocation fails, for n = 1, 2, ... until all goes well: every failure is an error with a
 * reason, nothing leaks, and what comes out is right or nothing.
 */
#include "rows.h"

#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static bool no_map;

/* In the place of libc's. */
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	if (no_map) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

static sqlite3_mem_methods real;
static unsigned countdown; /* 0: none fails */
static bool for_good;	   /* all behind the n-th fail too */
static bool failed;
static long balance;

static bool fails(void)
{
	if (failed && for_good)
		return true;
	if (!countdown || --countdown)
		return false;
	failed = true;
	return true;
}

static void *faulty_malloc(int n)
{
	void *p = fails() ? NULL : real.xMalloc(n);

	balance += !!p;
	return p;
}

static void *faulty_realloc(void *p, int n)
{
	return fails() ? NULL : real.xRealloc(p, n);
}

static void faulty_free(void *p)
{
	balance--;
	real.xFree(p);
}

static const struct store_column columns[] = {
	{"n", STORE_INT, "number"},
	{"a", STORE_STR, "text"},
	{"b", STORE_STR, "text"},
};
static const struct store_def def = {"t", "a table", columns, array_size(columns)};

static void fill(struct store_table *t)
{
	struct store_cell cells[3];
	char a[16], b[16];
	unsigned i;

	for (i = 0; i < 5000; i++) {
		cells[0] = STORE_NUM(i);
		cells[1] = STORE_TEXT(a, snprintf(a, sizeof(a), "a%u", i % 1500));
		cells[2] = STORE_TEXT(b, snprintf(b, sizeof(b), "b%u", i % 7));
		store_append(t, cells, NULL);
	}
}

static int open_all(struct store **s, struct store_table **t, struct skep_err *err)
{
	int rc = store_open(s, err);

	if (!rc)
		rc = store_table_add(*s, &def, 0, t, err);
	if (!rc)
		rc = store_view(*s, "v", "select a, n from t where n < 4000", err);
	return rc;
}

/* Return: whether everything went well. */
static bool open_with_fault(unsigned n)
{
	struct skep_err err = {""};
	struct store *s = NULL;
	struct store_table *t;
	long before = balance;
	int rc;

	countdown = n;
	failed = false;
	rc = open_all(&s, &t, &err);
	countdown = 0;
	failed = false;
	if (rc && !err.text[0])
		fail_msg("fault %u: %d without a reason", n, rc);
	if (!rc) {
		fill(t);
		assert_rows(s, "select count(*) from v", "4000\n");
	}
	store_free(s);
	if (balance != before)
		fail_msg("fault %u: %ld allocations leaked", n, balance - before);
	return !rc;
}

static void opening_survives_any_failed_allocation(void **state maybe_unused)
{
	unsigned n, good = 0;

	/* SQLite gets along without some: several in a row must go well to be done */
	for (n = 1; good < 50; n++)
		good = open_with_fault(n) ? good + 1 : 0;
	assert_true(n > 100);
	for_good = true;
	for (n = 1; !open_with_fault(n); n++)
		;
	for_good = false;
	assert_true(n > 100);
}

static bool query_with_fault(struct store *s, const char *sql, const char *want, unsigned n)
{
	cleanup(rows_done) struct rows r = {0};

	countdown = n;
	failed = false;
	r = rows_of(s, sql);
	countdown = 0;
	if (!r.rc)
		assert_string_equal(r.text.data, want);
	else if (r.rc != -ENOMEM)
		fail_msg("fault %u: %d %s", n, r.rc, r.err.text);
	return !failed;
}

static void queries_survive_any_failed_allocation(void **state maybe_unused)
{
	static const char *const queries[][2] = {
		{"select sum(c), count(*) from (select a, b, count(*) c from t group by a, b)",
		 "5000|5000\n"},
		{"select count(*) from (select a, n, count(*) from t group by a, n)", "5000\n"},
		{"select count(distinct a), min(n) from t where b in ('b1', 'b2')", "1357|1\n"},
		{"select n from t where b = 'b3' and n in (3, 10, 11) and a < 'b'", "3\n10\n"},
		{"select distinct b from t order by b desc limit 2", "b6\nb5\n"},
		{"select a from v order by n desc limit 1", "a999\n"},
	};
	struct store_table *t;
	struct store *s;
	unsigned i, n;

	assert_int_equal(open_all(&s, &t, NULL), 0);
	fill(t);
	for (i = 0; i < array_size(queries); i++) {
		for (n = 1; !query_with_fault(s, queries[i][0], queries[i][1], n); n++)
			;
		assert_true(n > 10);
	}
	store_free(s);
}

static void a_table_that_memory_cannot_hold_is_refused(void **state maybe_unused)
{
	struct skep_err err = {""};
	struct store_table *t = NULL;
	struct store *s;

	assert_int_equal(store_open(&s, NULL), 0);
	no_map = true;
	assert_int_equal(store_table_add(s, &def, 64 << 20, &t, &err), -ENOMEM);
	no_map = false;
	assert_string_equal(err.text, "table t: no memory for 64 MiB");
	assert_null(t);
	assert_int_equal(store_table_add(s, &def, 0, &t, &err), 0);
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening_survives_any_failed_allocation),
		cmocka_unit_test(queries_survive_any_failed_allocation),
		cmocka_unit_test(a_table_that_memory_cannot_hold_is_refused),
	};
	sqlite3_mem_methods faulty;

	sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
	faulty = real;
	faulty.xMalloc = faulty_malloc;
	faulty.xRealloc = faulty_realloc;
	faulty.xFree = faulty_free;
	sqlite3_config(SQLITE_CONFIG_MALLOC, &faulty);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
