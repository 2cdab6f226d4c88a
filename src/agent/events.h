/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h: what happened, as it happens (server-sent events) and as it stands in the tables.
 *
 * An event is a row of a table plus its kind and its time. Where nobody listens nothing is built;
 * where many do, a row's JSON is built once.
 */
#ifndef SKEP_AGENT_EVENTS_H
#define SKEP_AGENT_EVENTS_H

#include "agent/http.h"
#include "base/buf.h"
#include "store/store.h"

#define EVENT_KINDS	  8
#define EVENT_CLIENTS_MAX 64
#define EVENT_PENDING_MAX (1U << 20) /* bytes a reader may be behind before it loses events */

/* The one list of kinds: live events, history and the SQL view "event" are made from it. */
struct event_kind {
	const char *name;
	const char *table;
	const char *at;	    /* SQL: its time */
	const char *where;  /* SQL: which rows */
	const char *detail; /* SQL: the event in a few words */
	bool no_process;    /* the table has no pid, started, comm and container */
	bool at_end;	    /* its time is column "ended", else "time" */
};

extern const struct event_kind event_kinds[EVENT_KINDS];

struct event_filter {
	unsigned kinds; /* bit i: event_kinds[i] */
	int64_t pid;	/* -1: any */
	char comm[64];	/* "": any */
	char service[256];
	char container[128]; /* a prefix of its id */
};

/** event_kinds_parse() - "process,dns,connection.close" into bits; "" is all. -EINVAL: unknown. */
int event_kinds_parse(const char *list, unsigned *out);

/** event_view_sql() - the SELECT of the view "event", over the tables that @s has; "" without any. */
void event_view_sql(struct store *s, struct buf *sql);

struct events;

int events_open(struct events **out);
void events_free(struct events *e);
/** events_bind() - look at the tables; after all capabilities are open. */
void events_bind(struct events *e, struct store *s);

/** events_subscribe() - answer @c with a stream; takes @c. Answers 429 when too many listen. */
void events_subscribe(struct events *e, struct http_conn *c, const struct event_filter *f);

/** events_emit() - for cap_env. @arg: struct events. */
void events_emit(void *arg, const char *event, const struct store_table *t, const uint64_t *row);

/** events_tick() - once a second: heartbeats, and word of lost events. */
void events_tick(struct events *e);

struct events_stat {
	unsigned clients;
	uint64_t sent, lost;
};
const struct events_stat *events_stat(const struct events *e);

#endif
