/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sql.h: the store's SQLite handle and what its halves share. Private to the store.
 */
#ifndef SKEP_STORE_SQL_H
#define SKEP_STORE_SQL_H

#include <sqlite3.h>

#include "store/table.h"

struct store_named_view {
	struct store_named_view *next;
	const char *name;
};

struct store {
	sqlite3 *db;
	struct store_table *tables; /* in the order they were added */
	struct store_named_view *views;
	bool building;	     /* our own CREATE runs: the authorizer lets it pass */
	const char *refused; /* what the authorizer said no to */
	uint64_t deadline;   /* of the running query, ns of CLOCK_MONOTONIC; 0: none */
	int64_t now;	     /* when it began, ns since the epoch */
};

/** store_expired() - whether the running query's time is over. */
bool store_expired(const struct store *s);

/* For cleanup(): memory of SQLite's. */
static inline void store_sqlite_free(void *p)
{
	void *q;

	memcpy(&q, p, sizeof(q));
	sqlite3_free(q);
}

/** store_vtab_register() - the module behind `create virtual table <name> using skep`. */
int store_vtab_register(struct store *s);

/** store_functions_register() - ts() and ago(). */
int store_functions_register(struct store *s);

#endif
