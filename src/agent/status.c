// SPDX-License-Identifier: Apache-2.0
#include "agent/inside.h"

#include <inttypes.h>
#include <time.h>

static void text_add(struct buf *b, const char *key, const char *value)
{
	buf_fmt(b, ",\"%s\":", key);
	buf_json(b, value, strlen(value));
}

uint64_t status_resident(void)
{
	cleanup(file_close) FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, resident;

	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t status_lost(const struct agent *a)
{
	uint64_t lost = 0;
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap)
			lost += a->caps[i].ops->lost(a->caps[i].cap);
	return lost;
}

static void agent_add(struct agent *a, struct buf *b)
{
	const struct agent_spec *spec = agent_config_spec(a->config);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	buf_fmt(b,
		"{\"agent\":{\"version\":\"%s\",\"pid\":%d,\"started\":%" PRId64
		",\"uptime_s\":%" PRId64 ",\"resident_bytes\":%" PRIu64,
		SKEP_VERSION, getpid(), a->started, now.tv_sec - a->started / 1000000000,
		status_resident());
	text_add(b, "socket", spec->socket);
	text_add(b, "listen", a->listen);
	text_add(b, "state_dir", a->state ? spec->state_dir : "");
	buf_chr(b, '}');
}

static void host_add(struct agent *a, struct buf *b)
{
	char name[256] = "";

	gethostname(name, sizeof(name) - 1);
	buf_fmt(b, ",\n\"host\":{\"cpus\":%ld,\"boot\":%" PRId64, sysconf(_SC_NPROCESSORS_ONLN),
		host_wall(0));
	text_add(b, "name", name);
	text_add(b, "kernel", host_kernel(a->host));
	buf_chr(b, '}');
}

struct listing {
	struct buf *b;
	const char *comma;
};

static void report_add(void *arg, const struct cap_report *r)
{
	struct listing *l = arg;

	buf_fmt(l->b, "%s\n{\"ready\":%s", l->comma, r->ready ? "true" : "false");
	text_add(l->b, "what", r->what);
	text_add(l->b, "how", r->how);
	if (r->fix)
		text_add(l->b, "fix", r->fix);
	buf_chr(l->b, '}');
	l->comma = ",";
}

static void counter_add(void *arg, const char *name, maybe_unused enum cap_metric_type type,
			maybe_unused const char *help, const char *labels, double value)
{
	struct listing *l = arg;
	char full[256];

	snprintf(full, sizeof(full), labels[0] ? "%s{%s}" : "%s", name, labels);
	buf_str(l->b, l->comma);
	buf_json(l->b, full, strlen(full));
	buf_fmt(l->b, ":%.17g", value);
	l->comma = ",";
}

/* A capability that could not load has one report: the reason. */
static void reports_add(const struct agent_cap *c, struct buf *b)
{
	struct listing l = {b, ""};
	struct cap_report failed = {.what = c->ops->name, .fix = "see the agent's log"};

	buf_str(b, ",\"reports\":[");
	if (c->cap) {
		c->ops->report(c->cap, report_add, &l);
	} else {
		snprintf(failed.how, sizeof(failed.how), "%.159s", c->why.text);
		report_add(&l, &failed);
	}
	buf_chr(b, ']');
}

/* The members that the list in /v1/status and /v1/<name> have in common. */
static void cap_add(const struct agent_cap *c, struct buf *b)
{
	buf_fmt(b, "{\"name\":\"%s\",\"lost\":%" PRIu64, c->ops->name,
		c->cap ? c->ops->lost(c->cap) : 0);
	text_add(b, "doc", c->ops->doc);
	reports_add(c, b);
}

void status_cap(struct agent *a, unsigned i, struct buf *b)
{
	const struct agent_cap *c = &a->caps[i];
	struct listing l = {b, ""};

	agent_poll(a);
	cap_add(c, b);
	buf_str(b, ",\"counters\":{");
	if (c->cap)
		c->ops->count(c->cap, counter_add, &l);
	buf_str(b, "}}");
}

static void features_add(struct agent *a, struct buf *b)
{
	unsigned i;

	buf_str(b, ",\n\"features\":[");
	for (i = 0; i < HOST_FEATURE_COUNT; i++) {
		const struct host_feature *f = host_feature(a->host, (enum host_feature_id)i);

		buf_fmt(b, "%s\n{\"ready\":%s", i ? "," : "", f->ready ? "true" : "false");
		text_add(b, "name", f->name);
		text_add(b, "use", f->use);
		if (!f->ready) {
			text_add(b, "reason", f->reason);
			text_add(b, "fix", f->fix ? f->fix : "");
		}
		buf_chr(b, '}');
	}
	buf_chr(b, ']');
}

static void table_add(void *arg, const struct store_def *def, const struct store_stat *s)
{
	struct listing *l = arg;

	buf_fmt(l->b,
		"%s\n{\"name\":\"%s\",\"rows\":%" PRIu64 ",\"open\":%" PRIu64
		",\"appended\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"dropped_open\":%" PRIu64
		",\"bytes\":%zu}",
		l->comma, def->name, s->rows, s->open, s->appended, s->dropped, s->dropped_open,
		s->bytes);
	l->comma = ",";
}

void status_agent(struct agent *a, struct buf *b)
{
	struct listing tables = {b, ""};
	unsigned i;

	agent_poll(a);
	agent_add(a, b);
	host_add(a, b);
	buf_fmt(b, ",\n\"lost\":%" PRIu64 ",\n\"capabilities\":[", status_lost(a));
	for (i = 0; i < a->n_caps; i++) {
		buf_str(b, i ? ",\n" : "");
		cap_add(&a->caps[i], b);
		buf_chr(b, '}');
	}
	buf_chr(b, ']');
	features_add(a, b);
	buf_str(b, ",\n\"tables\":[");
	store_each(a->store, table_add, &tables);
	buf_str(b, "]}\n");
}
