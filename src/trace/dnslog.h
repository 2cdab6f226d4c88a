/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dnslog.h: the table "dns": questions matched with their answers; and names learned from them.
 *
 * Not its business: the message format (dns.h), the cache of names (names.h).
 */
#ifndef SKEP_TRACE_DNSLOG_H
#define SKEP_TRACE_DNSLOG_H

#include "cap/cap.h"
#include "trace/names.h"
#include "trace/trace.h"

struct dnslog;

int dnslog_open(struct dnslog **out, const struct cap_env *env, struct names *names, size_t bytes,
		struct skep_err *err);
void dnslog_free(struct dnslog *l);

/** dnslog_event() - a message to or from port 53; what is no DNS is counted and left. */
void dnslog_event(struct dnslog *l, const struct trace_dns *e);

/** dnslog_tick() - questions without an answer for ten seconds are closed without one. */
void dnslog_tick(struct dnslog *l, uint64_t boot_now);

struct dnslog_stat {
	uint64_t malformed; /* messages on port 53 that are no DNS */
	uint64_t unanswered;
	uint64_t crowded; /* questions closed early because too many were waiting */
};
void dnslog_count(const struct dnslog *l, struct dnslog_stat *out);

#endif
