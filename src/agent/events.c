// SPDX-License-Identifier: Apache-2.0
#include "agent/events.h"

#include <inttypes.h>
#include <sys/queue.h>

#define HEARTBEAT_S 15
#define TABLES	    5

#define REMOTE "coalesce(remote_service, remote_addr) || ':' || remote_port"

const struct event_kind event_kinds[EVENT_KINDS] = {
	{"process.fork", "process", "time", "origin = 'fork'", "exe", false, false},
	{"process.exec", "process", "time", "origin = 'exec'", "argv", false, false},
	{"process.exit", "process", "ended",
	 "ended is not null and "
	 "(exit_code is not null or signal is not null)",
	 "coalesce('signal ' || signal, 'exit ' || exit_code)", false, true},
	{"connection.open", "connection", "time", "origin = 'event' and state is not 'failed'",
	 "direction || ' ' || " REMOTE, false, false},
	{"connection.close", "connection", "ended", "ended is not null",
	 "direction || ' ' || " REMOTE " || coalesce(' ' || error, '')", false, true},
	{"dns", "dns", "coalesce(ended, time)", "1",
	 "name || ' ' || type || coalesce(' ' || rcode, '')", false, true},
	{"balance.backend", "backend", "time", "1",
	 "backend || ' ' || state || coalesce(': ' || reason, '')", true, false},
	{"balance.packet", "packet", "time", "1",
	 "reason || ' ' || source || ' > ' || destination || coalesce(' to ' || backend, '')", true,
	 false},
};

struct client {
	LIST_ENTRY(client) link;
	struct events *events;
	struct http_conn *conn;
	struct event_filter filter;
	uint64_t lost; /* since the last word of it */
};

/* Where the columns stand that filters and times need; -1: the table has none. */
struct binding {
	const struct store_table *table;
	int time, ended, pid, comm, service, container;
};

struct events {
	LIST_HEAD(, client) clients;
	struct binding bindings[TABLES];
	unsigned n_bindings;
	unsigned seconds;
	struct events_stat stat;
	struct buf row;
};

/* The bits of one kind, or of all kinds before whose dot it stands. */
static unsigned kind_bits(const char *token, size_t n)
{
	unsigned i, bits = 0;

	for (i = 0; i < EVENT_KINDS; i++) {
		const char *name = event_kinds[i].name;

		if (n && !strncmp(name, token, n) && (!name[n] || name[n] == '.'))
			bits |= 1U << i;
	}
	return bits;
}

int event_kinds_parse(const char *list, unsigned *out)
{
	unsigned bits, mask = *list ? 0 : (1U << EVENT_KINDS) - 1;
	const char *p;
	size_t n;

	for (p = list; *p; p += n + (p[n] == ',')) {
		n = strcspn(p, ",");
		bits = kind_bits(p, n);
		if (!bits)
			return -EINVAL;
		mask |= bits;
	}
	*out = mask;
	return 0;
}

void event_view_sql(struct store *s, struct buf *sql)
{
	const struct event_kind *k;

	for (k = event_kinds; k < event_kinds + EVENT_KINDS; k++) {
		if (!store_table_find(s, k->table))
			continue;
		buf_fmt(sql, "%sselect %s as at, '%s' as event, %s, %s as detail from %s where %s",
			sql->len ? " union all " : "", k->at, k->name,
			k->no_process ? "null as pid, null as started, null as comm, service, "
					"null as container"
				      : "pid, started, comm, service, container",
			k->detail, k->table, k->where);
	}
}

/* ---- subscribers --------------------------------------------------------------------------- */

int events_open(struct events **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void events_free(struct events *e)
{
	struct client *c;

	if (!e)
		return;
	while ((c = LIST_FIRST(&e->clients))) {
		LIST_REMOVE(c, link);
		http_end(c->conn, true);
		free(c);
	}
	buf_done(&e->row);
	free(e);
}

static int column(const struct store_def *def, const char *name)
{
	unsigned i;

	for (i = 0; i < def->n_columns; i++)
		if (!strcmp(def->columns[i].name, name))
			return (int)i;
	return -1;
}

struct bind {
	struct events *events;
	struct store *store;
};

static void bind_table(void *arg, const struct store_def *def,
		       maybe_unused const struct store_stat *stat)
{
	struct bind *b = arg;
	struct events *e = b->events;

	if (e->n_bindings == TABLES)
		return;
	e->bindings[e->n_bindings++] = (struct binding){
		.table = store_table_find(b->store, def->name),
		.time = column(def, "time"),
		.ended = column(def, "ended"),
		.pid = column(def, "pid"),
		.comm = column(def, "comm"),
		.service = column(def, "service"),
		.container = column(def, "container"),
	};
}

void events_bind(struct events *e, struct store *s)
{
	struct bind b = {e, s};

	e->n_bindings = 0;
	store_each(s, bind_table, &b);
}

static void on_gone(void *arg)
{
	struct client *c = arg;

	c->events->stat.clients--;
	LIST_REMOVE(c, link);
	free(c);
}

void events_subscribe(struct events *e, struct http_conn *conn, const struct event_filter *f)
{
	struct client *c;

	if (e->stat.clients >= EVENT_CLIENTS_MAX) {
		http_error(conn, 429, "%u clients follow events already", EVENT_CLIENTS_MAX);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		http_error(conn, 503, "out of memory");
		return;
	}
	c->events = e;
	c->conn = conn;
	c->filter = *f;
	e->stat.clients++;
	LIST_INSERT_HEAD(&e->clients, c, link);
	http_watch(conn, NULL, on_gone, c);
	http_stream(conn, 200, "text/event-stream");
	http_chunk(conn, ": skep\n\n", 8);
}

static void lost_send(struct client *c)
{
	char text[64];
	int n;

	if (!c->lost || http_pending(c->conn) > EVENT_PENDING_MAX / 2)
		return;
	n = snprintf(text, sizeof(text), "event: lost\ndata: {\"events\":%" PRIu64 "}\n\n",
		     c->lost);
	http_chunk(c->conn, text, (size_t)n);
	c->lost = 0;
}

void events_tick(struct events *e)
{
	bool heartbeat = ++e->seconds % HEARTBEAT_S == 0;
	struct client *c;

	LIST_FOREACH(c, &e->clients, link)
	{
		lost_send(c);
		if (heartbeat && http_pending(c->conn) < EVENT_PENDING_MAX)
			http_chunk(c->conn, ":\n\n", 3);
	}
}

/* ---- events -------------------------------------------------------------------------------- */

static bool text_begins(const struct store_table *t, const uint64_t *row, int col, const char *want)
{
	size_t n = strlen(want);
	struct store_cell cell;

	if (!n)
		return true;
	if (col < 0)
		return false;
	cell = store_get(t, row, (unsigned)col);
	return cell.set && cell.len >= n && !memcmp(cell.str, want, n);
}

static bool text_is(const struct store_table *t, const uint64_t *row, int col, const char *want)
{
	return text_begins(t, row, col, want) &&
	       (!want[0] || store_get(t, row, (unsigned)col).len == strlen(want));
}

static bool wanted(const struct event_filter *f, unsigned kind, const struct binding *b,
		   const uint64_t *row)
{
	if (!(f->kinds >> kind & 1))
		return false;
	if (f->pid >= 0 && (b->pid < 0 || store_get(b->table, row, (unsigned)b->pid).num != f->pid))
		return false;
	return text_is(b->table, row, b->comm, f->comm) &&
	       text_is(b->table, row, b->service, f->service) &&
	       text_begins(b->table, row, b->container, f->container);
}

static int64_t at(const struct event_kind *k, const struct binding *b, const uint64_t *row)
{
	struct store_cell cell = {0};

	if (k->at_end && b->ended >= 0)
		cell = store_get(b->table, row, (unsigned)b->ended);
	if (!cell.set && b->time >= 0)
		cell = store_get(b->table, row, (unsigned)b->time);
	return cell.num;
}

/* The whole message: the row's object with "event" and "at" put before its members. */
static void message(struct buf *out, const struct event_kind *k, const struct binding *b,
		    const uint64_t *row)
{
	size_t brace;

	buf_clear(out);
	buf_fmt(out, "event: %s\ndata: {\"event\":\"%s\",\"at\":%" PRId64, k->name, k->name,
		at(k, b, row));
	brace = out->len;
	store_row_json(b->table, row, out);
	if (buf_ok(out))
		out->data[brace] = out->len > brace + 2 ? ',' : ' ';
	buf_str(out, "\n\n");
}

static const struct binding *binding_of(const struct events *e, const struct store_table *t)
{
	unsigned i;

	for (i = 0; i < e->n_bindings; i++)
		if (e->bindings[i].table == t)
			return &e->bindings[i];
	return NULL;
}

static unsigned kind_of(const char *event)
{
	unsigned i;

	for (i = 0; i < EVENT_KINDS; i++)
		if (!strcmp(event_kinds[i].name, event))
			break;
	return i;
}

void events_emit(void *arg, const char *event, const struct store_table *t, const uint64_t *row)
{
	const struct binding *b;
	struct events *e = arg;
	bool built = false;
	struct client *c;
	unsigned kind;

	if (LIST_EMPTY(&e->clients))
		return;
	b = binding_of(e, t);
	kind = kind_of(event);
	if (!b || kind == EVENT_KINDS)
		return;
	LIST_FOREACH(c, &e->clients, link)
	{
		if (!wanted(&c->filter, kind, b, row))
			continue;
		lost_send(c);
		if (c->lost || http_pending(c->conn) > EVENT_PENDING_MAX) {
			c->lost++;
			e->stat.lost++;
			continue;
		}
		if (!built)
			message(&e->row, &event_kinds[kind], b, row);
		built = true;
		if (buf_ok(&e->row))
			http_chunk(c->conn, e->row.data, e->row.len);
		e->stat.sent++;
	}
}

const struct events_stat *events_stat(const struct events *e)
{
	return &e->stat;
}
