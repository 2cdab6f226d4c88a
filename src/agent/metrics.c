// SPDX-License-Identifier: Apache-2.0
/*
 * Prometheus wants all samples of a name together under one HELP and TYPE; the parts report in the
 * order they like. So samples are gathered first and printed by name.
 */
#include "agent/inside.h"

#include <inttypes.h>

struct sample {
	char name[64];
	char labels[128];
	enum cap_metric_type type;
	const char *help;
	double value;
};

struct samples {
	struct sample *list;
	size_t n, cap;
};

static void sample_add(void *arg, const char *name, enum cap_metric_type type, const char *help,
		       const char *labels, double value)
{
	struct samples *s = arg;
	struct sample *x;
	void *more;

	if (s->n == s->cap) {
		more = reallocarray(s->list, s->cap * 2 + 64, sizeof(*s->list));
		if (!more)
			return;
		s->list = more;
		s->cap = s->cap * 2 + 64;
	}
	x = &s->list[s->n++];
	snprintf(x->name, sizeof(x->name), "%s", name);
	snprintf(x->labels, sizeof(x->labels), "%s", labels);
	x->type = type;
	x->help = help;
	x->value = value;
}

static void table_add(void *arg, const struct store_def *def, const struct store_stat *s)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "table=\"%s\"", def->name);
	sample_add(arg, "skep_store_rows", CAP_GAUGE, "Rows held.", labels, (double)s->rows);
	sample_add(arg, "skep_store_open_rows", CAP_GAUGE, "Rows that may still change.", labels,
		   (double)s->open);
	sample_add(arg, "skep_store_appended_total", CAP_COUNTER, "Rows added.", labels,
		   (double)s->appended);
	sample_add(arg, "skep_store_dropped_total", CAP_COUNTER, "Rows fallen out, oldest first.",
		   labels, (double)s->dropped);
	sample_add(arg, "skep_store_dropped_open_total", CAP_COUNTER,
		   "Rows fallen out while they could still change.", labels,
		   (double)s->dropped_open);
	sample_add(arg, "skep_store_bytes", CAP_GAUGE, "Memory taken.", labels, (double)s->bytes);
}

static void who_add(const struct agent *a, struct samples *s)
{
	struct who_stat w = {0};

	who_count(a->who, &w);
	sample_add(s, "skep_who_processes", CAP_GAUGE, "Processes remembered.", "state=\"living\"",
		   (double)w.living);
	sample_add(s, "skep_who_processes", CAP_GAUGE, "Processes remembered.", "state=\"ended\"",
		   (double)w.ended);
	sample_add(s, "skep_who_refused_total", CAP_COUNTER, "Processes beyond limits.processes.",
		   "", (double)w.refused);
	sample_add(s, "skep_who_cgroups", CAP_GAUGE, "Cgroups remembered.", "", (double)w.cgroups);
}

static void http_add(const struct agent *a, struct samples *s)
{
	const struct http_stat *h = http_stat(a->http);
	char labels[32];
	unsigned i;

	for (i = 0; i < array_size(h->by_status); i++) {
		if (!h->by_status[i])
			continue;
		snprintf(labels, sizeof(labels), "code=\"%u\"", i);
		sample_add(s, "skep_agent_http_requests_total", CAP_COUNTER, "Requests answered.",
			   labels, (double)h->by_status[i]);
	}
	sample_add(s, "skep_agent_http_connections", CAP_GAUGE, "Connections open.", "", h->conns);
	sample_add(s, "skep_agent_http_refused_total", CAP_COUNTER,
		   "Connections refused: all places were taken.", "", (double)h->refused);
	sample_add(s, "skep_agent_http_timed_out_total", CAP_COUNTER,
		   "Connections closed: too slow, or idle too long.", "", (double)h->timed_out);
}

static void own_add(const struct agent *a, struct samples *s)
{
	const struct queries_stat *q = queries_stat(a->queries);
	const struct events_stat *e = events_stat(a->events);

	sample_add(s, "skep_agent_info", CAP_GAUGE, "Version of the agent.",
		   "version=\"" SKEP_VERSION "\"", 1);
	sample_add(s, "skep_agent_start_time_seconds", CAP_GAUGE, "Start of the agent.", "",
		   (double)a->started / 1e9);
	sample_add(s, "skep_agent_resident_bytes", CAP_GAUGE, "Memory in use.", "",
		   (double)status_resident());
	sample_add(s, "skep_agent_lost_total", CAP_COUNTER, "Events that reached no table.", "",
		   (double)status_lost(a));
	sample_add(s, "skep_agent_polls_total", CAP_COUNTER, "Times the rings were looked at.", "",
		   (double)a->stat.polls);
	sample_add(s, "skep_agent_events_total", CAP_COUNTER, "Events taken from the rings.", "",
		   (double)a->stat.events);
	sample_add(s, "skep_agent_reloads_total", CAP_COUNTER, "Times SIGHUP was obeyed.", "",
		   (double)a->stat.reloads);
	sample_add(s, "skep_agent_queries", CAP_GAUGE, "Queries at work.", "", q->running);
	sample_add(s, "skep_agent_queries_waiting", CAP_GAUGE, "Queries that wait.", "",
		   q->waiting);
	sample_add(s, "skep_agent_queries_total", CAP_COUNTER, "Queries begun.", "",
		   (double)q->started);
	sample_add(s, "skep_agent_queries_killed_total", CAP_COUNTER,
		   "Queries ended: too long, or their client left.", "", (double)q->killed);
	sample_add(s, "skep_agent_queries_refused_total", CAP_COUNTER,
		   "Queries refused: too many waited.", "", (double)q->refused);
	sample_add(s, "skep_agent_sse_clients", CAP_GAUGE, "Clients that follow events.", "",
		   e->clients);
	sample_add(s, "skep_agent_sse_events_total", CAP_COUNTER, "Events sent to clients.", "",
		   (double)e->sent);
	sample_add(s, "skep_agent_sse_lost_total", CAP_COUNTER, "Events a client was too slow for.",
		   "", (double)e->lost);
}

static void sample_print(struct buf *b, const struct sample *x)
{
	if (x->labels[0])
		buf_fmt(b, "%s{%s} %.17g\n", x->name, x->labels, x->value);
	else
		buf_fmt(b, "%s %.17g\n", x->name, x->value);
}

static bool seen_before(const struct samples *s, size_t at)
{
	size_t i;

	for (i = 0; i < at; i++)
		if (!strcmp(s->list[i].name, s->list[at].name))
			return true;
	return false;
}

static void samples_print(const struct samples *s, struct buf *b)
{
	size_t i, j;

	for (i = 0; i < s->n; i++) {
		const struct sample *x = &s->list[i];

		if (seen_before(s, i))
			continue;
		buf_fmt(b, "# HELP %s %s\n# TYPE %s %s\n", x->name, x->help, x->name,
			x->type == CAP_COUNTER ? "counter" : "gauge");
		for (j = i; j < s->n; j++)
			if (!strcmp(s->list[j].name, x->name))
				sample_print(b, &s->list[j]);
	}
}

void metrics_print(struct agent *a, struct buf *b)
{
	struct samples s = {0};
	unsigned i;

	agent_poll(a);
	own_add(a, &s);
	http_add(a, &s);
	who_add(a, &s);
	store_each(a->store, table_add, &s);
	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap)
			a->caps[i].ops->count(a->caps[i].cap, sample_add, &s);
	samples_print(&s, b);
	free(s.list);
}
