// SPDX-License-Identifier: Apache-2.0
#include "trace/dnslog.h"

#include "base/text.h"
#include "host/host.h"
#include "store/store.h"
#include "trace/conn.h"
#include "trace/dns.h"
#include "who/who.h"

#define WAITING_MAX 1024
#define WAIT_NS	    10000000000ULL

enum dns_column {
#define COLUMN(id, name, type, doc) DNS_##id,
#include "trace/dns.def"
#undef COLUMN
	DNS_COLUMNS
};

static const struct store_column columns[] = {
#define COLUMN(id, col, kind, text) {#col, STORE_##kind, text},
#include "trace/dns.def"
#undef COLUMN
};

static const struct store_def def = {
	.name = "dns",
	.doc = "DNS questions on port 53 over UDP, with their answers",
	.columns = columns,
	.n_columns = DNS_COLUMNS,
};

struct waiting {
	uint64_t cookie, asked; /* asked: boot ns */
	uint64_t row;		/* 0: the slot is free */
	uint16_t id, type;
};

struct dnslog {
	struct cap_env env;
	struct store_table *rows;
	struct names *names;
	struct dnslog_stat stat;
	struct dns_message message;
	char text[4096];
	struct waiting waiting[WAITING_MAX];
};

int dnslog_open(struct dnslog **out, const struct cap_env *env, struct names *names, size_t bytes,
		struct skep_err *err)
{
	struct dnslog *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return skep_fail(err, -ENOMEM, "no memory for DNS");
	l->env = *env;
	l->names = names;
	rc = store_table_add(env->store, &def, bytes, &l->rows, err);
	if (rc) {
		free(l);
		return rc;
	}
	*out = l;
	return 0;
}

void dnslog_free(struct dnslog *l)
{
	free(l);
}

void dnslog_count(const struct dnslog *l, struct dnslog_stat *out)
{
	*out = l->stat;
}

static void finish(struct dnslog *l, struct waiting *w)
{
	l->env.emit(l->env.emit_arg, "dns", l->rows, &w->row);
	store_close(l->rows, &w->row);
	w->row = 0;
}

/* A slot by socket and id; the question that stands in it already has waited longest: it goes. */
static struct waiting *slot(struct dnslog *l, uint64_t cookie, uint16_t id)
{
	uint64_t h = (cookie << 16 ^ id) * 0x9e3779b97f4a7c15ULL;

	return &l->waiting[h >> 54];
}

static void fill_owner(struct dnslog *l, struct store_cell *c, const struct trace_dns *e,
		       char *comm)
{
	struct who_id id = {.pid = e->owner.pid, .start = e->owner.start};
	const struct who_process *p = who_process_ask(l->env.who, id);

	if (!e->owner.pid)
		return;
	text_escape(comm, WHO_COMM_MAX, e->owner.comm, strnlen(e->owner.comm, TRACE_COMM));
	c[DNS_PID] = STORE_NUM(e->owner.pid);
	c[DNS_STARTED] = STORE_NUM(e->owner.start);
	c[DNS_COMM] = STORE_STRZ(comm);
	c[DNS_SERVICE] = p && p->cgroup->label[0] ? STORE_STRZ(p->cgroup->label) : c[DNS_COMM];
	if (p)
		c[DNS_CONTAINER] = STORE_STRZ(p->cgroup->container);
}

static void on_question(struct dnslog *l, const struct trace_dns *e)
{
	struct store_cell cells[DNS_COLUMNS] = {0};
	const struct dns_message *m = &l->message;
	struct waiting *w = slot(l, e->cookie, m->id);
	char comm[WHO_COMM_MAX], server[46], type[DNS_LABEL_MAX];

	if (w->row && w->cookie == e->cookie && w->id == m->id && w->type == m->type)
		return; /* asked again */
	if (w->row) {
		l->stat.crowded++;
		finish(l, w);
	}
	fill_owner(l, cells, e, comm);
	cells[DNS_TIME] = STORE_NUM(host_wall(e->head.time));
	cells[DNS_SERVER] = STORE_STRZ(conn_addr(e->ends.family, e->ends.remote, server));
	cells[DNS_NAME] = STORE_STRZ(m->name);
	cells[DNS_TYPE] = STORE_STRZ(dns_type_name(m->type, type));
	*w = (struct waiting){
		.cookie = e->cookie, .asked = e->head.time, .id = m->id, .type = m->type};
	store_append(l->rows, cells, &w->row);
}

static void learn(struct dnslog *l, const struct trace_dns *e)
{
	const struct dns_message *m = &l->message;
	unsigned i;

	for (i = 0; i < m->n_answers; i++)
		names_put(l->names, e->ends.netns, m->answers[i].family, m->answers[i].addr,
			  m->name, m->answers[i].ttl, e->head.time);
}

static void on_answer(struct dnslog *l, const struct trace_dns *e)
{
	const struct dns_message *m = &l->message;
	struct waiting *w = slot(l, e->cookie, m->id);
	char rcode[DNS_LABEL_MAX];
	size_t n;

	learn(l, e);
	if (!w->row || w->cookie != e->cookie || w->id != m->id || w->type != m->type)
		return;
	n = dns_answers_text(m, l->text, sizeof(l->text));
	store_set(l->rows, &w->row, DNS_ENDED, STORE_NUM(host_wall(e->head.time)));
	store_set(l->rows, &w->row, DNS_RCODE, STORE_STRZ(dns_rcode_name(m->rcode, rcode)));
	if (n)
		store_set(l->rows, &w->row, DNS_ANSWERS, STORE_TEXT(l->text, n));
	if (m->n_answers)
		store_set(l->rows, &w->row, DNS_TTL, STORE_NUM(m->min_ttl));
	store_set(l->rows, &w->row, DNS_LATENCY_US, STORE_NUM((e->head.time - w->asked) / 1000));
	finish(l, w);
}

void dnslog_event(struct dnslog *l, const struct trace_dns *e)
{
	size_t n = min(e->captured, (uint32_t)TRACE_DNS_BYTES);

	if (dns_parse(e->data, n, e->len, &l->message)) {
		l->stat.malformed++;
		return;
	}
	if (l->message.response)
		on_answer(l, e);
	else
		on_question(l, e);
}

void dnslog_tick(struct dnslog *l, uint64_t boot_now)
{
	struct waiting *w;

	for (w = l->waiting; w < l->waiting + WAITING_MAX; w++) {
		if (!w->row || w->asked + WAIT_NS > boot_now)
			continue;
		l->stat.unanswered++;
		finish(l, w);
	}
}
