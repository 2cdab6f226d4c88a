/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what one agent is made of, for the agent's own files.
 */
#ifndef SKEP_AGENT_INSIDE_H
#define SKEP_AGENT_INSIDE_H

#include "agent/auth.h"
#include "agent/config.h"
#include "agent/events.h"
#include "agent/http.h"
#include "agent/query.h"
#include "cap/cap.h"
#include "host/host.h"
#include "who/who.h"

struct event_base;
struct event;
struct agent;

struct agent_cap {
	const struct cap_ops *ops;
	struct agent *agent;
	void *cap; /* NULL: it could not load, and why says so */
	struct skep_err why;
	struct event *ready;
};

struct agent_stat {
	uint64_t polls, events, reloads;
};

struct agent {
	struct event_base *base;
	struct agent_options options;
	struct agent_config *config;
	int lock;		      /* fd, -1: none */
	struct state *state;	      /* NULL: nothing outlives this agent */
	uint32_t generation, changes; /* of the wanted state that is kept */
	struct host *host;
	struct who *who;
	struct store *store;
	struct buf view; /* SQL of the view "event", borrowed by the store */
	struct agent_cap caps[AGENT_CAPS_MAX];
	unsigned n_caps;
	struct events *events;
	struct queries *queries;
	struct http *http;
	struct auth auth;
	char listen[64]; /* as bound; "" where there is none */
	char url[160];
	bool socket_bound;
	struct event *signals[3], *poll, *tick;
	unsigned poll_ms;
	int64_t started; /* ns since the epoch */
	struct agent_stat stat;
};

/* status.c: JSON into @b. */
void status_agent(struct agent *a, struct buf *b);
void status_cap(struct agent *a, unsigned i, struct buf *b);

/* resources.c */
/** resources_start() - what was wanted when the last agent ended, again. */
void resources_start(struct agent *a);
/** resources_apply() - as cap_ops.resources(), and kept for the next start unless @dry. */
int resources_apply(struct agent *a, enum cap_change change, const char *file, const char *text,
		    size_t len, bool dry, struct buf *said, struct skep_err *err);
/** resources_drain() - as cap_ops.drain(), and kept. */
int resources_drain(struct agent *a, const char *service, const char *backend, bool on,
		    int64_t seconds, struct skep_err *err);

/* metrics.c */
void metrics_print(struct agent *a, struct buf *b);

/* agent.c: takes what waits in the rings, so that an answer tells of all that was sent before it. */
unsigned agent_poll(struct agent *a);

/* Resident bytes of this process. */
uint64_t status_resident(void);
uint64_t status_lost(const struct agent *a);

#endif
