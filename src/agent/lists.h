/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lists.h: the answers that are SQL: what query.h runs in a child for each route.
 */
#ifndef SKEP_AGENT_LISTS_H
#define SKEP_AGENT_LISTS_H

#include "agent/query.h"

/* Each is a query_job's run(). */
typedef int list_run(const struct query_job *job, struct store *s, struct query_out *o,
		     struct skep_err *err);

list_run list_query;	   /* job->sql, rows as arrays */
list_run list_processes;   /* all, limit */
list_run list_connections; /* all, limit */
list_run list_dns;	   /* limit */
list_run list_events;	   /* filter, limit */
list_run list_map;	   /* seconds */

#endif
