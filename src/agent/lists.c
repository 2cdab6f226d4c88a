// SPDX-License-Identifier: Apache-2.0
#include "agent/lists.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void value_add(struct buf *b, const struct store_value *v)
{
	switch (v->type) {
	case STORE_VALUE_INT:
		buf_i64(b, v->num);
		break;
	case STORE_VALUE_REAL:
		if (isfinite(v->real))
			buf_fmt(b, "%.17g", v->real);
		else
			buf_str(b, "null");
		break;
	case STORE_VALUE_TEXT:
		buf_json(b, v->str, v->len);
		break;
	default:
		buf_str(b, "null");
	}
}

/* The end of every list: what came is valid JSON even where the query broke off. */
static int list_end(struct query_out *o, int rc, bool truncated, const struct skep_err *err)
{
	if (rc && rc != -E2BIG && !o->began)
		return rc;
	buf_fmt(&o->b, "],\"truncated\":%s", rc || truncated ? "true" : "false");
	if (rc && rc != -E2BIG) {
		buf_str(&o->b, ",\"error\":");
		buf_json(&o->b, err->text, strlen(err->text));
	}
	return 0;
}

/* ---- rows as arrays ------------------------------------------------------------------------ */

/* Copies of the columns' names: the sink's are gone after its call. */
struct names {
	char **list;
	unsigned n;
};

static void names_done(struct names *names)
{
	while (names->n)
		free(names->list[--names->n]);
	free(take(names->list));
}

static int names_take(struct names *names, unsigned n, const char *const *from)
{
	names_done(names);
	names->list = calloc(n, sizeof(*names->list));
	if (!names->list)
		return -ENOMEM;
	for (; names->n < n; names->n++) {
		names->list[names->n] = strdup(from[names->n]);
		if (!names->list[names->n])
			return -ENOMEM;
	}
	return 0;
}

struct rows {
	struct query_out *out;
	uint64_t n;
	struct names names; /* of list_objects() */
};

static int array_columns(void *arg, unsigned n, const char *const *names)
{
	struct rows *r = arg;
	unsigned i;

	buf_str(&r->out->b, "{\"columns\":[");
	for (i = 0; i < n; i++) {
		buf_str(&r->out->b, i ? "," : "");
		buf_json(&r->out->b, names[i], strlen(names[i]));
	}
	buf_str(&r->out->b, "],\"rows\":[");
	return 0;
}

static int array_row(void *arg, unsigned n, const struct store_value *values)
{
	struct rows *r = arg;
	unsigned i;

	buf_str(&r->out->b, r->n++ ? ",\n[" : "\n[");
	for (i = 0; i < n; i++) {
		buf_str(&r->out->b, i ? "," : "");
		value_add(&r->out->b, &values[i]);
	}
	buf_chr(&r->out->b, ']');
	return query_out_more(r->out);
}

int list_query(const struct query_job *job, struct store *s, struct query_out *o,
	       struct skep_err *err)
{
	struct store_sql_limits limits = {.rows = job->limit, .millisec = o->millisec};
	struct rows r = {.out = o};
	struct store_sink sink = {array_columns, array_row, &r};
	int64_t begin = clock_ns(CLOCK_MONOTONIC);
	bool truncated = false;
	int rc;

	rc = store_sql(s, job->sql, NULL, 0, &limits, &sink, &truncated, err);
	rc = list_end(o, rc, truncated, err);
	if (!rc)
		buf_fmt(&o->b, ",\"millisec\":%.3f}\n",
			(double)(clock_ns(CLOCK_MONOTONIC) - begin) / 1e6);
	return rc;
}

/* ---- rows as objects ----------------------------------------------------------------------- */

static int object_columns(void *arg, unsigned n, const char *const *names)
{
	struct rows *r = arg;

	return names_take(&r->names, n, names);
}

/* The members of an object, NULLs left out. */
static void members_add(struct buf *b, const struct names *names, const struct store_value *values)
{
	const char *comma = "";
	unsigned i;

	for (i = 0; i < names->n; i++) {
		if (values[i].type == STORE_VALUE_NULL)
			continue;
		buf_fmt(b, "%s\"%s\":", comma, names->list[i]);
		value_add(b, &values[i]);
		comma = ",";
	}
}

static int object_row(void *arg, maybe_unused unsigned n, const struct store_value *values)
{
	struct rows *r = arg;

	buf_str(&r->out->b, r->n++ ? ",\n{" : "\n{");
	members_add(&r->out->b, &r->names, values);
	buf_chr(&r->out->b, '}');
	return query_out_more(r->out);
}

static int list_objects(const char *key, const char *sql, const struct query_job *job,
			struct store *s, struct query_out *o, struct skep_err *err)
{
	struct store_sql_limits limits = {.rows = job->limit, .millisec = o->millisec};
	struct rows r = {.out = o};
	struct store_sink sink = {object_columns, object_row, &r};
	bool truncated = false;
	int rc;

	buf_fmt(&o->b, "{\"%s\":[", key);
	rc = store_sql(s, sql, NULL, 0, &limits, &sink, &truncated, err);
	names_done(&r.names);
	rc = list_end(o, rc, truncated, err);
	if (!rc)
		buf_str(&o->b, "}\n");
	return rc;
}

int list_processes(const struct query_job *job, struct store *s, struct query_out *o,
		   struct skep_err *err)
{
	return list_objects("processes",
			    job->all ? "select * from process order by time"
				     : "select * from process where ended is null order by time",
			    job, s, o, err);
}

int list_connections(const struct query_job *job, struct store *s, struct query_out *o,
		     struct skep_err *err)
{
	return list_objects("connections",
			    job->all ? "select * from connection order by time"
				     : "select * from connection where ended is null order by time",
			    job, s, o, err);
}

int list_dns(const struct query_job *job, struct store *s, struct query_out *o,
	     struct skep_err *err)
{
	return list_objects("dns", "select * from dns order by time desc", job, s, o, err);
}

/* ---- events -------------------------------------------------------------------------------- */

struct past_event {
	int64_t at;
	char *json;
	size_t len;
};

struct past {
	struct past_event *events;
	size_t n, cap;
	struct names names;
};

static void past_done(struct past *p)
{
	while (p->n)
		free(p->events[--p->n].json);
	free(p->events);
	names_done(&p->names);
}

static int past_columns(void *arg, unsigned n, const char *const *names)
{
	return names_take(&((struct past *)arg)->names, n, names);
}

/* Column 0 is event, column 1 is at. */
static int past_row(void *arg, maybe_unused unsigned n, const struct store_value *values)
{
	struct buf b = {0};
	struct past *p = arg;
	void *more;

	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 256;
		more = reallocarray(p->events, p->cap, sizeof(*p->events));
		if (!more)
			return -ENOMEM;
		p->events = more;
	}
	buf_chr(&b, '{');
	members_add(&b, &p->names, values);
	buf_chr(&b, '}');
	p->events[p->n++] = (struct past_event){values[1].num, b.data, b.len};
	return buf_ok(&b) ? 0 : -ENOMEM;
}

static int by_at(const void *a, const void *b)
{
	const struct past_event *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* " and column = ?N" where @want is set. */
static void equal_add(struct buf *sql, const char *column, const char *want, const char **params,
		      unsigned *n)
{
	if (!want[0])
		return;
	params[(*n)++] = want;
	buf_fmt(sql, " and %s = ?%u", column, *n);
}

/* " and column begins with ?N" where @want is set. */
static void prefix_add(struct buf *sql, const char *column, const char *want, const char **params,
		       unsigned *n)
{
	if (!want[0])
		return;
	params[(*n)++] = want;
	buf_fmt(sql, " and substr(%s, 1, length(?%u)) = ?%u", column, *n, *n);
}

/* The newest rows of one kind. */
static int past_kind(const struct query_job *job, const struct event_kind *k, struct store *s,
		     struct past *p, unsigned millisec, struct skep_err *err)
{
	const struct event_filter *f = &job->filter;
	struct store_sql_limits limits = {.rows = job->limit, .millisec = millisec};
	struct store_sink sink = {past_columns, past_row, p};
	cleanup(buf_done) struct buf sql = {0};
	const char *params[3];
	unsigned n = 0;
	bool truncated;

	buf_fmt(&sql, "select '%s' as event, %s as at, * from %s where (%s)", k->name, k->at,
		k->table, k->where);
	if (f->pid >= 0)
		buf_fmt(&sql, " and pid = %" PRId64, f->pid);
	equal_add(&sql, "comm", f->comm, params, &n);
	equal_add(&sql, "service", f->service, params, &n);
	prefix_add(&sql, "container", f->container, params, &n);
	buf_fmt(&sql, " order by 2 desc limit %" PRIu64, job->limit);
	if (!buf_ok(&sql))
		return -ENOMEM;
	return store_sql(s, sql.data, params, n, &limits, &sink, &truncated, err);
}

/* One that asks for a process means no kind without one. */
static bool kind_meant(const struct event_filter *f, unsigned i)
{
	bool process = f->pid >= 0 || f->comm[0] || f->container[0];

	return (f->kinds >> i & 1) && !(process && event_kinds[i].no_process);
}

int list_events(const struct query_job *job, struct store *s, struct query_out *o,
		struct skep_err *err)
{
	cleanup(past_done) struct past p = {0};
	size_t i;
	int rc = 0;

	for (i = 0; i < EVENT_KINDS && !rc; i++)
		if (kind_meant(&job->filter, (unsigned)i) &&
		    store_table_find(s, event_kinds[i].table))
			rc = past_kind(job, &event_kinds[i], s, &p, o->millisec, err);
	if (rc)
		return rc;
	if (p.n)
		qsort(p.events, p.n, sizeof(*p.events), by_at);
	buf_str(&o->b, "{\"events\":[");
	for (i = p.n > job->limit ? p.n - job->limit : 0; i < p.n && !rc; i++) {
		buf_add(&o->b, p.events[i].json, p.events[i].len);
		buf_str(&o->b, i + 1 < p.n ? ",\n" : "");
		rc = query_out_more(o);
	}
	buf_str(&o->b, "]}\n");
	return 0;
}
