/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cap.h: what a capability is. balance, net, guard and trace are four values of struct cap_ops.
 *
 * The agent drives it: open once; apply the whole wanted state, again whenever that changes; poll
 * every few milliseconds; tick once a second; close. A capability never learns which host it runs on,
 * never logs and never exits.
 */
#ifndef SKEP_CAP_CAP_H
#define SKEP_CAP_CAP_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "cap/conf.h"

struct host;
struct who;
struct store;
struct store_table;

struct cap_env {
	struct host *host;
	struct who *who;
	struct store *store;
	/*
	 * Something happened: @event is "process.exec", "connection.close", "dns" ...; the row is
	 * open for the duration of the call. Allocates nothing where nobody listens.
	 */
	void (*emit)(void *arg, const char *event, const struct store_table *t,
		     const uint64_t *row);
	void *emit_arg;
};

enum cap_metric_type { CAP_COUNTER, CAP_GAUGE };

/* One sample: name is "skep_guard_events_total", labels is "kind=\"exec\"" or "". */
typedef void (*cap_count_fn)(void *arg, const char *name, enum cap_metric_type type,
			     const char *help, const char *labels, double value);

/* What resources() does with those it is given. */
enum cap_change {
	CAP_WHOLE,  /* they are the whole wanted state */
	CAP_MERGE,  /* they are added, or replace those of their names */
	CAP_DELETE, /* they are wanted no more; the text may also be names, kind/name a line */
};

/* How a part of a capability does on this host, for `skep status`. */
struct cap_report {
	const char *what; /* "processes", "accepted connections' owner" ... */
	bool ready;
	char how[160];	 /* the hook in use, or the reason it is missing */
	const char *fix; /* NULL when ready */
};

struct cap_ops {
	const char *name;
	const char *doc;
	const struct conf_field *fields; /* its part of the Agent resource, spec.<name> */
	unsigned n_fields;
	size_t spec_size;
	const char *kind; /* of the resources it reads, NULL: none */

	/** open() - tables and state; loads nothing yet. */
	int (*open)(void **out, const struct cap_env *env, struct skep_err *err);
	/** apply() - make @spec (checked, defaults filled in) true, entirely or not at all. */
	int (*apply)(void *cap, const void *spec, struct skep_err *err);
	/**
	 * resources() - resources of its kind, as a file of YAML documents: the change takes hold
	 * entirely or not at all. NULL where kind is.
	 * @file: for messages
	 * @dry:  only say what would change
	 * @said: a line for each change
	 */
	int (*resources)(void *cap, enum cap_change change, const char *file, const char *text,
			 size_t len, bool dry, struct buf *said, struct skep_err *err);
	/** show() - what holds, as a JSON object. NULL where kind is. */
	void (*show)(void *cap, struct buf *b);
	/**
	 * drain() - a backend gets no new flows (@on), or gets them again. NULL but for balance.
	 * @seconds: after so long it loses the flows that are left; -1: never
	 */
	int (*drain)(void *cap, const char *service, const char *backend, bool on, int64_t seconds,
		     struct skep_err *err);
	/** drained() - whether a backend is there and drains. NULL where drain() is. */
	bool (*drained)(void *cap, const char *service, const char *backend);
	/**
	 * ask() - a question about what holds, answered as a JSON object. NULL but for balance.
	 * @question: "why" (@text: a packet in words), "plan" (@text: resources), "samples" (@text:
	 *            "RATE SECONDS": take them)
	 */
	int (*ask)(void *cap, const char *question, const char *text, size_t len, struct buf *out,
		   struct skep_err *err);
	/** poll() - take what the rings hold. Return: events taken. */
	unsigned (*poll)(void *cap);
	/** fd() - readable when a ring is filling faster than the poll; -1: none, or no more. */
	int (*fd)(void *cap);
	/** tick() - once a second: sample, expire. */
	void (*tick)(void *cap, uint64_t boot_now);
	void (*count)(void *cap, cap_count_fn fn, void *arg);
	/** lost() - events that did not reach the tables, for whatever reason, since the start. */
	uint64_t (*lost)(void *cap);
	void (*report)(void *cap, void (*fn)(void *arg, const struct cap_report *r), void *arg);
	void (*close)(void *cap);
};

extern const struct cap_ops balance_ops, guard_ops, trace_ops;

/* All capabilities of this build, NULL at the end; defined by the agent's caps.c. */
extern const struct cap_ops *const cap_all[];

#endif
