/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h: the table "connection": sockets as the kernel tells of them in, rows with both ends out.
 *
 * Not its business: hooks, rings and iterators (trace.c), names of addresses (names.h).
 */
#ifndef SKEP_TRACE_CONN_H
#define SKEP_TRACE_CONN_H

#include "cap/cap.h"
#include "store/store.h"
#include "trace/names.h"
#include "trace/trace.h"

enum conn_column {
#define COLUMN(id, name, type, doc) CONN_##id,
#include "trace/connection.def"
#undef COLUMN
	CONN_COLUMNS
};

struct conn_table;

/**
 * conn_open() - @names is borrowed; @most bounds the connections known at once, open and just ended.
 */
int conn_open(struct conn_table **out, const struct cap_env *env, struct names *names, size_t bytes,
	      unsigned most, struct skep_err *err);
void conn_free(struct conn_table *t);

/**
 * conn_close() - a TCP socket's last record; often the first that is heard of it.
 *
 * One without a cookie is left out.
 */
void conn_close(struct conn_table *t, const struct trace_tcp *e);

/**
 * conn_scan() - a TCP socket older than the agent; listeners tell which side asked, so all listeners
 * are given before conn_scan_end() makes rows of the rest.
 */
void conn_scan(struct conn_table *t, const struct trace_tcp *e);
void conn_scan_end(struct conn_table *t);

/**
 * conn_sample_begin() - once a second: conn_sample() for each living socket, conn_flow() for each UDP
 * flow; conn_sample_end() ends what was missing twice (its close was lost), where @all were read, and
 * forgets what ended a while ago.
 */
void conn_sample_begin(struct conn_table *t, uint64_t boot_now);
void conn_sample(struct conn_table *t, const struct trace_tcp *e);
void conn_flow(struct conn_table *t, const struct trace_flow_key *key, const struct trace_flow *f,
	       bool is_over);
void conn_sample_end(struct conn_table *t, bool all);

struct conn_stat {
	uint64_t open, known; /* now */
	uint64_t refused;     /* connections that found conn_open()'s bound reached */
	uint64_t vanished;    /* ended without a close event */
};
void conn_count(const struct conn_table *t, struct conn_stat *out);

/** conn_addr() - address as text; IPv4-mapped IPv6 as IPv4. Returns @out. */
const char *conn_addr(uint16_t family, const uint8_t addr[16], char out[46]);

#endif
