// SPDX-License-Identifier: Apache-2.0
#include "store/sql.h"

#include <time.h>

#include "base/text.h"

#define SQL_HEAP_MAX (256LL << 20) /* of one query, for sorting and grouping */
#define SQL_COLUMNS  256
#define PROGRESS_OPS 5000
#define NS_PER_MS    1000000ULL

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

bool store_expired(const struct store *s)
{
	return s->deadline && clock_ns(CLOCK_MONOTONIC) >= s->deadline;
}

/* SQLite's message, safe to print: it may quote the statement. */
static int sql_fail(struct store *s, int rc, struct skep_err *err)
{
	const char *message = sqlite3_errmsg(s->db);
	char text[400];

	text_escape(text, sizeof(text), message, strlen(message));
	return skep_fail(err, rc, "%s", text);
}

/* ---- what a statement may do ---------------------------------------------------------------- */

static const char *action_name(int action)
{
	static const struct {
		int action;
		const char *name;
	} names[] = {
		{SQLITE_INSERT, "INSERT"},
		{SQLITE_UPDATE, "UPDATE"},
		{SQLITE_DELETE, "DELETE"},
		{SQLITE_PRAGMA, "PRAGMA"},
		{SQLITE_ATTACH, "ATTACH"},
		{SQLITE_DETACH, "DETACH"},
		{SQLITE_TRANSACTION, "BEGIN, COMMIT and ROLLBACK"},
		{SQLITE_SAVEPOINT, "SAVEPOINT"},
		{SQLITE_ALTER_TABLE, "ALTER"},
		{SQLITE_REINDEX, "REINDEX"},
		{SQLITE_ANALYZE, "ANALYZE"},
		{SQLITE_FUNCTION, "that function"},
	};
	unsigned i;

	for (i = 0; i < array_size(names); i++) {
		if (names[i].action == action)
			return names[i].name;
	}
	return "CREATE and DROP";
}

static bool function_allowed(const char *name)
{
	return sqlite3_stricmp(name, "load_extension") && sqlite3_stricmp(name, "fts3_tokenizer");
}

/*
 * To connect a table-valued function such as json_each() SQLite asks whether it may update
 * sqlite_master, and then does not. Statements that would are refused by query_prepare().
 */
static bool connects_function(int action, const char *table)
{
	return action == SQLITE_UPDATE && !sqlite3_stricmp(table, "sqlite_master");
}

static int authorize(void *arg, int action, const char *a, const char *b,
		     const char *c maybe_unused, const char *d maybe_unused)
{
	struct store *s = arg;

	if (s->building || action == SQLITE_SELECT || action == SQLITE_READ ||
	    action == SQLITE_RECURSIVE || (action == SQLITE_FUNCTION && function_allowed(b)) ||
	    connects_function(action, a))
		return SQLITE_OK;
	s->refused = action_name(action);
	return SQLITE_DENY;
}

static void set_limits(sqlite3 *db)
{
	static const struct {
		int id, value;
	} limits[] = {
		{SQLITE_LIMIT_LENGTH, 16 << 20},     {SQLITE_LIMIT_SQL_LENGTH, 1 << 20},
		{SQLITE_LIMIT_COLUMN, SQL_COLUMNS},  {SQLITE_LIMIT_EXPR_DEPTH, 200},
		{SQLITE_LIMIT_COMPOUND_SELECT, 50},  {SQLITE_LIMIT_VDBE_OP, 250000},
		{SQLITE_LIMIT_FUNCTION_ARG, 64},     {SQLITE_LIMIT_ATTACHED, 0},
		{SQLITE_LIMIT_VARIABLE_NUMBER, 999}, {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
		{SQLITE_LIMIT_WORKER_THREADS, 0},    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000},
	};
	unsigned i;

	for (i = 0; i < array_size(limits); i++)
		sqlite3_limit(db, limits[i].id, limits[i].value);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
}

static int progress(void *arg)
{
	return store_expired(arg);
}

/* ---- the store ------------------------------------------------------------------------------ */

static int set_up(struct store *s)
{
	int rc = sqlite3_exec(s->db, "pragma temp_store = memory", NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = store_vtab_register(s);
	if (rc == SQLITE_OK)
		rc = store_functions_register(s);
	if (rc == SQLITE_OK)
		rc = sqlite3_set_authorizer(s->db, authorize, s);
	sqlite3_progress_handler(s->db, PROGRESS_OPS, progress, s);
	set_limits(s->db);
	return rc;
}

static void store_done(struct store **s)
{
	store_free(*s);
}

int store_open(struct store **out, struct skep_err *err)
{
	cleanup(store_done) struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return skep_fail(err, -ENOMEM, "store: out of memory");
	rc = sqlite3_open_v2(":memory:", &s->db,
			     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			     NULL);
	if (rc == SQLITE_OK)
		rc = set_up(s);
	if (rc != SQLITE_OK)
		return skep_fail(err, -ENOMEM, "store: %s", sqlite3_errstr(rc));
	*out = take(s);
	return 0;
}

void store_free(struct store *s)
{
	struct store_named_view *v;
	struct store_table *t;

	if (!s)
		return;
	sqlite3_close(s->db);
	while ((t = s->tables)) {
		s->tables = t->next;
		store_table_free(t);
	}
	while ((v = s->views)) {
		s->views = v->next;
		free(v);
	}
	free(s);
}

struct store_table *store_table_find(struct store *s, const char *name)
{
	struct store_table *t = s->tables;

	while (t && sqlite3_stricmp(t->def->name, name))
		t = t->next;
	return t;
}

void store_each(struct store *s,
		void (*fn)(void *arg, const struct store_def *def, const struct store_stat *stat),
		void *arg)
{
	struct store_table *t;
	struct store_stat stat;

	for (t = s->tables; t; t = t->next) {
		store_table_count(t, &stat);
		fn(arg, t->def, &stat);
	}
}

/* Runs our own statement, a sqlite3_mprintf() format, past the authorizer. */
static int build(struct store *s, struct skep_err *err, const char *fmt, ...)
{
	cleanup(store_sqlite_free) char *sql = NULL;
	va_list ap;
	int rc;

	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	if (!sql)
		return skep_fail(err, -ENOMEM, "out of memory");
	s->building = true;
	rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
	s->building = false;
	if (rc == SQLITE_OK)
		return 0;
	return sql_fail(s, rc == SQLITE_NOMEM ? -ENOMEM : -EINVAL, err);
}

int store_table_add(struct store *s, const struct store_def *def, size_t bytes,
		    struct store_table **out, struct skep_err *err)
{
	struct store_table *t, **last = &s->tables;
	int rc;

	if (store_table_find(s, def->name))
		return skep_fail(err, -EEXIST, "there is a table %s already", def->name);
	rc = store_table_make(&t, def, bytes, err);
	if (rc)
		return rc;
	while (*last)
		last = &(*last)->next;
	t->store = s;
	*last = t;
	rc = build(s, err, "create virtual table \"%w\" using skep", def->name);
	if (rc) {
		*last = NULL;
		store_table_free(t);
		return skep_note(err, rc, "table %s", def->name);
	}
	*out = t;
	return 0;
}

static int view_check(struct store *s, const char *name, struct skep_err *err)
{
	cleanup(store_sqlite_free) char *sql = sqlite3_mprintf("select * from \"%w\"", name);
	sqlite3_stmt *st = NULL;
	int rc;

	if (!sql)
		return skep_fail(err, -ENOMEM, "out of memory");
	rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);
	sqlite3_finalize(st);
	return rc == SQLITE_OK ? 0 : sql_fail(s, rc == SQLITE_NOMEM ? -ENOMEM : -EINVAL, err);
}

int store_view(struct store *s, const char *name, const char *sql, struct skep_err *err)
{
	cleanup(mem_free) struct store_named_view *v = calloc(1, sizeof(*v));
	struct store_named_view **last = &s->views;
	int rc;

	if (!v)
		return skep_fail(err, -ENOMEM, "view %s: out of memory", name);
	v->name = name;
	rc = build(s, err, "create view \"%w\" as %s", name, sql);
	if (rc)
		return skep_note(err, rc, "view %s", name);
	rc = view_check(s, name, err);
	if (rc) {
		build(s, NULL, "drop view \"%w\"", name);
		return skep_note(err, rc, "view %s", name);
	}
	while (*last)
		last = &(*last)->next;
	*last = take(v);
	return 0;
}

/* ---- queries -------------------------------------------------------------------------------- */

struct query {
	struct store *s;
	sqlite3_stmt *stmt;
	const struct store_sql_limits *limits;
	const struct store_sink *sink;
	int64_t heap_before;
	bool truncated;
};

static void query_begin(struct query *q)
{
	struct store *s = q->s;

	q->heap_before = sqlite3_hard_heap_limit64(SQL_HEAP_MAX);
	s->refused = NULL;
	s->now = (int64_t)clock_ns(CLOCK_REALTIME);
	s->deadline = 0;
	if (q->limits->millisec)
		s->deadline = clock_ns(CLOCK_MONOTONIC) + q->limits->millisec * NS_PER_MS;
}

static void query_end(struct query *q)
{
	sqlite3_finalize(q->stmt);
	q->s->deadline = 0;
	sqlite3_hard_heap_limit64(q->heap_before);
}

static int query_fail(struct query *q, int rc, struct skep_err *err)
{
	switch (rc) {
	case SQLITE_INTERRUPT:
		return skep_fail(err, -ETIME, "the query took longer than %u ms",
				 q->limits->millisec);
	case SQLITE_NOMEM:
		return skep_fail(err, -ENOMEM, "the query needs more than %lld MiB of memory",
				 SQL_HEAP_MAX >> 20);
	default:
		if (q->s->refused)
			return skep_fail(err, -EINVAL, "only SELECT is allowed: not %s",
					 q->s->refused);
		return sql_fail(q->s, -EINVAL, err);
	}
}

static int query_prepare(struct query *q, const char *sql, struct skep_err *err)
{
	sqlite3_stmt *second = NULL;
	const char *tail;
	int rc = sqlite3_prepare_v2(q->s->db, sql, -1, &q->stmt, &tail);

	if (rc != SQLITE_OK)
		return query_fail(q, rc, err);
	if (!q->stmt)
		return skep_fail(err, -EINVAL, "there is no statement");
	if (!sqlite3_stmt_readonly(q->stmt) || !sqlite3_column_count(q->stmt))
		return skep_fail(err, -EINVAL, "only SELECT is allowed");
	rc = sqlite3_prepare_v2(q->s->db, tail, -1, &second, NULL);
	sqlite3_finalize(second);
	if (rc == SQLITE_NOMEM)
		return query_fail(q, rc, err);
	if (second || rc != SQLITE_OK)
		return skep_fail(err, -EINVAL, "only one statement is allowed");
	return 0;
}

static int query_bind(struct query *q, const char *const *params, unsigned n, struct skep_err *err)
{
	unsigned i;
	int rc;

	for (i = 0; i < n; i++) {
		rc = sqlite3_bind_text(q->stmt, (int)i + 1, params[i], -1, SQLITE_STATIC);
		if (rc == SQLITE_RANGE)
			return skep_fail(err, -EINVAL, "the statement has no parameter ?%u", i + 1);
		if (rc != SQLITE_OK)
			return query_fail(q, rc, err);
	}
	return 0;
}

static int send_columns(const struct query *q)
{
	const char *names[SQL_COLUMNS];
	int n = sqlite3_column_count(q->stmt), i;

	for (i = 0; i < n; i++) {
		names[i] = sqlite3_column_name(q->stmt, i);
		if (!names[i])
			return -ENOMEM;
	}
	return q->sink->columns(q->sink->arg, (unsigned)n, names);
}

static struct store_value value(sqlite3_stmt *st, int i)
{
	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		return (struct store_value){.type = STORE_VALUE_INT,
					    .num = sqlite3_column_int64(st, i)};
	case SQLITE_FLOAT:
		return (struct store_value){.type = STORE_VALUE_REAL,
					    .real = sqlite3_column_double(st, i)};
	case SQLITE_NULL:
		return (struct store_value){.type = STORE_VALUE_NULL};
	default: /* _blob: unlike _text it needs no copy to put a NUL behind */
		return (struct store_value){.type = STORE_VALUE_TEXT,
					    .str = sqlite3_column_blob(st, i) ?: "",
					    .len = (uint32_t)sqlite3_column_bytes(st, i)};
	}
}

static int send_row(const struct query *q)
{
	struct store_value values[SQL_COLUMNS];
	int n = sqlite3_column_count(q->stmt), i;

	for (i = 0; i < n; i++)
		values[i] = value(q->stmt, i);
	return q->sink->row(q->sink->arg, (unsigned)n, values);
}

static int query_run(struct query *q, struct skep_err *err)
{
	uint64_t rows = 0;
	int rc, sent = send_columns(q);

	while (!sent && (rc = sqlite3_step(q->stmt)) == SQLITE_ROW) {
		if (q->limits->rows && rows++ == q->limits->rows) {
			q->truncated = true;
			return 0;
		}
		sent = send_row(q);
	}
	if (sent)
		return sent;
	return rc == SQLITE_DONE ? 0 : query_fail(q, rc, err);
}

int store_sql(struct store *s, const char *sql, const char *const *params, unsigned n_params,
	      const struct store_sql_limits *limits, const struct store_sink *sink, bool *truncated,
	      struct skep_err *err)
{
	static const struct store_sql_limits none;
	cleanup(query_end) struct query q = {.s = s, .limits = limits ?: &none, .sink = sink};
	int rc;

	query_begin(&q);
	rc = query_prepare(&q, sql, err);
	if (!rc)
		rc = query_bind(&q, params, n_params, err);
	if (!rc)
		rc = query_run(&q, err);
	if (truncated)
		*truncated = q.truncated;
	return rc;
}
