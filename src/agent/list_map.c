// SPDX-License-Identifier: Apache-2.0
/*
 * The service map. Each connection between two processes of this host has a row for either end; it
 * is counted at the end that asked. A row of the other end counts only where nobody here asked. Who
 * talks to nobody is not on it, nor is what ended without anybody being known to have owned it:
 * sockets that their processes had left before the agent came.
 */
#include "agent/lists.h"

#include <inttypes.h>
#include <time.h>
#include <uthash.h>

#define LIVE "(ended is null or (comm is not null and ended >= %1$" PRId64 "))"

/*
 * "raw" is one line for each asker, answerer and address. The answerer of a connection that nobody
 * accepted yet is an address; where the same asker reached a service there, it is that service.
 */
#define EDGES_SQL                                                                                   \
	"with raw as materialized (select f, t, proto, port, t_addr, f_addr, known,"                \
	" count(*) as n, sum(ended is null) as open, sum(state = 'failed') as failed,"              \
	" sum(sent) as sent, sum(received) as received, sum(rtt) as rtt, count(rtt) as rtts,"       \
	" sum(again) as again from (select coalesce(service, comm, '?') as f,"                      \
	" coalesce(remote_service, remote_name, remote_addr) as t, proto, remote_port as port,"     \
	" ended, state, bytes_sent as sent, bytes_received as received, rtt_us as rtt,"             \
	" retransmits as again, null as f_addr, remote_addr as t_addr,"                             \
	" remote_pid is not null as known"                                                          \
	" from connection where direction = 'out' and " LIVE                                        \
	" union all select coalesce(remote_service, remote_name, remote_addr),"                     \
	" coalesce(service, comm, '?'), proto, local_port, ended, state, bytes_received,"           \
	" bytes_sent, rtt_us, retransmits, remote_addr, null, 1"                                    \
	" from connection where direction = 'in' and remote_pid is null"                            \
	" and " LIVE ") group by 1, 2, 3, 4, 5, 6, 7)"                                              \
	" select raw.f, coalesce(k.t, raw.t), raw.proto, raw.port, sum(n), sum(open), sum(failed)," \
	" sum(sent), sum(received), sum(rtt) / nullif(sum(rtts), 0), sum(again), max(f_addr),"      \
	" max(case when not known and k.t is null then raw.t_addr end)"                             \
	" from raw left join (select f, t_addr, proto, port, max(t) as t from raw where known"      \
	" group by 1, 2, 3, 4) k on not raw.known and k.f = raw.f and k.t_addr = raw.t_addr"        \
	" and k.proto = raw.proto and k.port = raw.port group by 1, 2, 3, 4"

#define PROCESSES_SQL                                         \
	"select service, max(runtime), count(*) from process" \
	" where ended is null and service is not null and exe is not null group by 1"

enum edge_column {
	FROM,
	TO,
	PROTO,
	PORT,
	CONNECTIONS,
	OPEN,
	FAILED,
	SENT,
	RECEIVED,
	RTT,
	RETRANSMITS,
	FROM_ADDR,
	TO_ADDR,
};

struct node {
	UT_hash_handle hh;
	char addr[64]; /* "": on this host */
	char runtime[16];
	int64_t processes;
	char id[];
};

struct map {
	struct query_out *out;
	struct node *nodes; /* by id */
	uint64_t edges;
};

static void nodes_free(struct map *m)
{
	struct node *n, *next;

	HASH_ITER (hh, m->nodes, n, next) {
		HASH_DEL(m->nodes, n);
		free(n);
	}
}

static struct node *node_get(struct map *m, const struct store_value *id)
{
	struct node *n;

	HASH_FIND(hh, m->nodes, id->str, id->len, n);
	if (n)
		return n;
	n = calloc(1, sizeof(*n) + id->len + 1);
	if (!n)
		return NULL;
	memcpy(n->id, id->str, id->len);
	HASH_ADD_KEYPTR(hh, m->nodes, n->id, id->len, n);
	return n;
}

static void text_copy(char *dst, size_t cap, const struct store_value *v)
{
	snprintf(dst, cap, "%.*s", v->type == STORE_VALUE_TEXT ? (int)v->len : 0,
		 v->type == STORE_VALUE_TEXT ? v->str : "");
}

/* An end of an edge; @addr is NULL where it is on this host. */
static int end_add(struct map *m, const struct store_value *id, const struct store_value *addr)
{
	struct node *n = id->type == STORE_VALUE_TEXT ? node_get(m, id) : NULL;

	if (!n)
		return -ENOMEM;
	if (addr->type == STORE_VALUE_TEXT)
		text_copy(n->addr, sizeof(n->addr), addr);
	else
		n->processes = max(n->processes, (int64_t)1);
	return 0;
}

static int no_columns(maybe_unused void *arg, maybe_unused unsigned n,
		      maybe_unused const char *const *names)
{
	return 0;
}

static int edge_row(void *arg, maybe_unused unsigned n, const struct store_value *v)
{
	static const char *const keys[] = {
		[CONNECTIONS] = "connections", [OPEN] = "open",
		[FAILED] = "failed",	       [SENT] = "bytes_sent",
		[RECEIVED] = "bytes_received", [RTT] = "rtt_us",
		[RETRANSMITS] = "retransmits",
	};
	struct map *m = arg;
	struct buf *b = &m->out->b;
	unsigned i;

	if (end_add(m, &v[FROM], &v[FROM_ADDR]) || end_add(m, &v[TO], &v[TO_ADDR]))
		return 0;
	buf_str(b, m->edges++ ? ",\n{\"from\":" : "{\"from\":");
	buf_json(b, v[FROM].str, v[FROM].len);
	buf_str(b, ",\"to\":");
	buf_json(b, v[TO].str, v[TO].len);
	if (v[PROTO].type == STORE_VALUE_TEXT)
		buf_fmt(b, ",\"proto\":\"%.*s\"", (int)v[PROTO].len, v[PROTO].str);
	buf_fmt(b, ",\"port\":%" PRId64, v[PORT].num);
	for (i = CONNECTIONS; i <= RETRANSMITS; i++)
		if (v[i].type == STORE_VALUE_INT)
			buf_fmt(b, ",\"%s\":%" PRId64, keys[i], v[i].num);
	buf_chr(b, '}');
	return query_out_more(m->out);
}

static int process_row(void *arg, maybe_unused unsigned n, const struct store_value *v)
{
	struct map *m = arg;
	struct node *node;

	HASH_FIND(hh, m->nodes, v[0].str, v[0].len, node);
	if (!node)
		return 0;
	text_copy(node->runtime, sizeof(node->runtime), &v[1]);
	node->processes = v[2].num;
	return 0;
}

static int by_id(const struct node *a, const struct node *b)
{
	return strcmp(a->id, b->id);
}

static void nodes_add(struct map *m, struct buf *b)
{
	struct node *n;

	HASH_SORT(m->nodes, by_id);
	buf_str(b, "],\"nodes\":[");
	for (n = m->nodes; n; n = n->hh.next) {
		bool remote = n->addr[0] && !n->processes;

		buf_str(b, n == m->nodes ? "{\"id\":" : ",\n{\"id\":");
		buf_json(b, n->id, strlen(n->id));
		buf_fmt(b, ",\"kind\":\"%s\"", remote ? "remote" : "service");
		if (remote)
			buf_fmt(b, ",\"addr\":\"%s\"", n->addr);
		else
			buf_fmt(b, ",\"processes\":%" PRId64, n->processes);
		if (n->runtime[0])
			buf_fmt(b, ",\"runtime\":\"%s\"", n->runtime);
		buf_chr(b, '}');
	}
}

int list_map(const struct query_job *job, struct store *s, struct query_out *o,
	     struct skep_err *err)
{
	cleanup(nodes_free) struct map m = {.out = o};
	struct store_sql_limits limits = {.millisec = o->millisec};
	struct store_sink edges = {no_columns, edge_row, &m};
	struct store_sink processes = {no_columns, process_row, &m};
	struct timespec ts;
	bool truncated;
	char sql[3072];
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &ts);
	snprintf(sql, sizeof(sql), EDGES_SQL,
		 (ts.tv_sec - (int64_t)job->seconds) * INT64_C(1000000000));
	buf_str(&o->b, "{\"edges\":[");
	if (store_table_find(s, "connection"))
		rc = store_sql(s, sql, NULL, 0, &limits, &edges, &truncated, err);
	if (!rc && store_table_find(s, "process"))
		rc = store_sql(s, PROCESSES_SQL, NULL, 0, &limits, &processes, &truncated, err);
	if (rc)
		return rc;
	nodes_add(&m, &o->b);
	buf_str(&o->b, "]}\n");
	return 0;
}
