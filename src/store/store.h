/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h: event tables in memory, SQL over them, wanted state on disk.
 *
 * A table is a ring of blocks of one size; a block holds its rows column by column and the distinct
 * strings of its rows once. When the ring is full the oldest block goes. Memory is taken when the
 * table is added; appending allocates nothing.
 *
 * A row is open while it may still change. The owner of an open row keeps a handle (the row's
 * number) and the store keeps the address of that handle: when a block goes, its open rows move to
 * the newest block and the handles are rewritten, so what still lives is never forgotten. Should
 * more than half a block be open rows, the oldest of that block are dropped and their handles
 * become 0.
 *
 * Threads: none; one thread owns a store. Long queries run in a forked child (agent/query.c), which
 * sees the tables as they were at the fork, without a copy and without a lock.
 */
#ifndef SKEP_STORE_STORE_H
#define SKEP_STORE_STORE_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

enum store_type {
	STORE_INT, /* signed 64 bit; INT64_MIN is stored as NULL */
	STORE_STR, /* UTF-8, at most STORE_STR_MAX bytes, all of a row at most not quite half a block
		      (128 KiB to 512 KiB by the table's size); longer is cut at a character */
};

#define STORE_STR_MAX  32768
#define STORE_COLS_MAX 64

struct store_column {
	const char *name;
	enum store_type type;
	const char *doc; /* one phrase with the unit */
};

struct store_def {
	const char *name;
	const char *doc;
	const struct store_column *columns;
	unsigned n_columns;
};

/* One cell. A default-initialized cell is NULL. */
struct store_cell {
	bool set;
	uint32_t len;	 /* of str */
	int64_t num;	 /* STORE_INT */
	const char *str; /* STORE_STR; copied by the store */
};

#define STORE_NUM(v)	 ((struct store_cell){.set = true, .num = (int64_t)(v)})
#define STORE_TEXT(s, n) ((struct store_cell){.set = true, .str = (s), .len = (uint32_t)(n)})
#define STORE_NONE	 ((struct store_cell){.set = false})
/* A C string; NULL and "" become NULL. */
#define STORE_STRZ(s)                                               \
	({                                                          \
		const char *s_ = (s);                               \
		s_ &&*s_ ? STORE_TEXT(s_, strlen(s_)) : STORE_NONE; \
	})

struct store;
struct store_table;

int store_open(struct store **out, struct skep_err *err);
void store_free(struct store *s);

/**
 * store_table_add() - make a table.
 * @def:   static; borrowed
 * @bytes: memory for its blocks, 1 MiB to 32 GiB (raised or lowered to that); taken now,
 *         though a page becomes resident only when first written to
 *
 * Return: 0, -EEXIST for a second table of the name, -ENOMEM.
 */
int store_table_add(struct store *s, const struct store_def *def, size_t bytes,
		    struct store_table **out, struct skep_err *err);

struct store_table *store_table_find(struct store *s, const char *name);

/**
 * store_append() - add a row.
 * @cells:  one for each column, in their order
 * @handle: NULL for a row that is complete; else the row is open, *@handle becomes its number (from
 *          1) and stays true until store_close() or store_table/store_free
 */
void store_append(struct store_table *t, const struct store_cell *cells, uint64_t *handle);

/** store_set() - change one cell of an open row. Does nothing where *@handle is 0. */
void store_set(struct store_table *t, const uint64_t *handle, unsigned column,
	       struct store_cell cell);

/** store_get() - read one cell of an open row; strings are borrowed until the next store call. */
struct store_cell store_get(const struct store_table *t, const uint64_t *handle, unsigned column);

/** store_close() - the row is complete; *@handle becomes 0 and may be freed. */
void store_close(struct store_table *t, uint64_t *handle);

/** store_row_json() - add an open row as a JSON object, NULL cells left out. */
void store_row_json(const struct store_table *t, const uint64_t *handle, struct buf *b);

struct store_stat {
	const char *name;
	uint64_t rows;	   /* held now */
	uint64_t open;	   /* of these, open */
	uint64_t appended; /* since the start */
	uint64_t dropped;  /* fallen out, oldest first */
	uint64_t dropped_open;
	size_t bytes; /* memory taken */
};

/** store_each() - call @fn for each table in the order they were added. */
void store_each(struct store *s,
		void (*fn)(void *arg, const struct store_def *def, const struct store_stat *stat),
		void *arg);

/* ---- SQL ---------------------------------------------------------------------------------- */

enum store_value_type { STORE_VALUE_NULL, STORE_VALUE_INT, STORE_VALUE_REAL, STORE_VALUE_TEXT };

struct store_value {
	enum store_value_type type;
	uint32_t len;
	int64_t num;
	double real;
	const char *str; /* borrowed for the call */
};

/* Where results go. Each may be called from store_sql() only; non-zero from row() stops. */
struct store_sink {
	int (*columns)(void *arg, unsigned n, const char *const *names);
	int (*row)(void *arg, unsigned n, const struct store_value *values);
	void *arg;
};

struct store_sql_limits {
	uint64_t rows;	   /* 0: no limit; more rows end the query, *truncated is set */
	unsigned millisec; /* 0: no limit; then -ETIME */
};

/**
 * store_sql() - run one SELECT over the tables (and the views added with store_view()).
 * @params: text bound to ?1, ?2 ...; NULL for none
 *
 * Read only: everything but SELECT is refused by SQLite's authorizer. Time range, equality and IN on any
 * column are pushed down to the blocks.
 *
 * ts(time) gives ISO 8601 text, ago(seconds) a time before the query began.
 *
 * Return: 0; -EINVAL with SQLite's message for bad SQL; -ETIME; -ENOMEM where it needs more than
 * 256 MiB to sort and group; what the sink returned.
 */
int store_sql(struct store *s, const char *sql, const char *const *params, unsigned n_params,
	      const struct store_sql_limits *limits, const struct store_sink *sink, bool *truncated,
	      struct skep_err *err);

/** store_view() - a named SELECT, for use in store_sql(); static strings. */
int store_view(struct store *s, const char *name, const char *sql, struct skep_err *err);

/** store_schema_json() - all tables and views with their columns, types and docs, as JSON. */
void store_schema_json(struct store *s, struct buf *b);

/* ---- wanted state -------------------------------------------------------------------------- */

struct state;

/**
 * state_open() - the SQLite file that holds resources and small secrets, mode 0600.
 * @dir: made (0700) where it does not exist
 *
 * A damaged file is set aside as state.db.bad-<time> and a new one begun: @err then says so while
 * the return value is 0. Return: 0 or -errno with a reason (full disk, read-only, not permitted).
 */
int state_open(struct state **out, const char *dir, struct skep_err *err);
void state_free(struct state *st);

/** state_put() - store one resource (JSON text); NULL @json removes it. Durable on return. */
int state_put(struct state *st, const char *kind, const char *name, const char *json,
	      struct skep_err *err);
/** state_get() - *@json is allocated, the caller frees it. Return: 0 or -ENOENT. */
int state_get(struct state *st, const char *kind, const char *name, char **json,
	      struct skep_err *err);
int state_each(struct state *st, const char *kind,
	       int (*fn)(void *arg, const char *name, const char *json), void *arg,
	       struct skep_err *err);

#endif
