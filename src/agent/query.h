/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h: SQL that cannot hold up or harm the agent.
 *
 * Each query runs in a forked child, which sees the tables as they were at the fork and writes its
 * answer to a pipe; the parent relays it as fast as the client takes it. The child has limits on
 * time, memory and output, and dies with its parent, its client or its time.
 */
#ifndef SKEP_AGENT_QUERY_H
#define SKEP_AGENT_QUERY_H

#include "agent/events.h"
#include "agent/http.h"
#include "base/buf.h"
#include "store/store.h"

#define QUERY_WAITING_MAX 32
#define QUERY_OUTPUT_MAX  (64U << 20)
#define QUERY_MEMORY_MAX  (512U << 20) /* beside what the agent holds already */

/* The child's end. Nothing is sent before 64 KiB are together, so an early error has its own status. */
struct query_out {
	int fd;
	struct buf b;
	uint64_t sent;
	bool began;	   /* the status has been sent: 200 */
	unsigned millisec; /* limit for store_sql() */
};

/** query_out_more() - after each row. Return: 0, or -E2BIG once the answer is too long. */
int query_out_more(struct query_out *o);

struct query_job {
	/* In the child. On an error before o->began what stands in o->b is thrown away. */
	int (*run)(const struct query_job *job, struct store *s, struct query_out *o,
		   struct skep_err *err);
	uint64_t limit;
	uint64_t seconds;
	bool all;
	struct event_filter filter;
	const char *sql; /* borrowed from the same allocation, or static */
};

struct queries;

/**
 * queries_open() - @max: children at once; @millisec: for each.
 */
int queries_open(struct queries **out, struct event_base *base, struct store *s, unsigned max,
		 unsigned millisec);
/** queries_free() - kills and reaps what runs. */
void queries_free(struct queries *q);

/** queries_start() - answer @c by @job, now or when another is done; takes both (free(job)). */
void queries_start(struct queries *q, struct http_conn *c, struct query_job *job);

struct queries_stat {
	unsigned running, waiting;
	uint64_t started, killed, refused;
};
const struct queries_stat *queries_stat(const struct queries *q);

#endif
