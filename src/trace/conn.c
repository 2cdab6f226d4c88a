// SPDX-License-Identifier: Apache-2.0
/*
 * conn.c: who talks to whom.
 *
 *	event / sample --> conn by cookie --> row
 *	                     |  ^
 *	                     v  |           the other end's conn, found by its swapped addresses;
 *	                   peer conn        each writes the remote_* cells of the other's row
 *
 * C1  One conn is one end on this host. Both ends of a local connection are two rows, each with
 *     the other's process.
 * C2  Ends meet by address. Addresses of loopback are of one network namespace; others are taken
 *     to be unique on the host (a veth pair has one end in each namespace).
 * C3  A row stays open LINGER_NS after its end, because the other end may become known later; the
 *     last LINGER_MAX only. Two that have met and ended go at once, so that a storm of short
 *     connections stays within the caches.
 * C4  Only cells that changed are written; a connection first heard of at its close is one append
 *     with all that is known of it.
 */
#include "trace/conn.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <xxhash.h>

#define HASH_FUNCTION(key, len, hash) ((hash) = (unsigned)XXH3_64bits(key, len))
#include <uthash.h>
#include <utlist.h>

#include "base/text.h"
#include "host/host.h"
#include "who/who.h"

#define LINGER_NS  2000000000ULL
#define LINGER_MAX 2048

/* Both ends, local first, as C2 compares them. */
struct tuple {
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
	uint32_t netns; /* 0 unless loopback */
	uint32_t proto;
};

struct conn {
	struct trace_flow_key key; /* TCP: ends zero */
	struct tuple tuple;
	struct trace_owner owner;
	struct conn *peer, *next_free;
	struct conn *prev, *next; /* among the ended, oldest first */
	uint64_t row;
	uint64_t ended; /* boot ns, 0 while it lives */
	uint64_t sent, received;
	uint32_t packets_sent, packets_received, rtt_us, retransmits;
	uint32_t generation;
	uint8_t state, missed;
	bool in, established, indexed, told;
	UT_hash_handle hh, by_tuple;
};

struct conn_table {
	struct cap_env env;
	struct store_table *rows;
	struct names *names;
	struct conn *pool, *free, *by_key, *by_tuple, *ended;
	unsigned n_ended;
	unsigned most, used;	 /* pool entries from used on were never touched */
	struct trace_tcp *found; /* of a scan, until its end */
	size_t n_found, cap_found;
	uint64_t now;
	uint32_t generation;
	uint64_t refused, vanished;
};

static const struct store_column columns[] = {
#define COLUMN(id, col, kind, text) {#col, STORE_##kind, text},
#include "trace/connection.def"
#undef COLUMN
};

static const struct store_def def = {
	.name = "connection",
	.doc = "TCP connections and UDP flows: a row for each end on this host",
	.columns = columns,
	.n_columns = CONN_COLUMNS,
};

int conn_open(struct conn_table **out, const struct cap_env *env, struct names *names, size_t bytes,
	      unsigned most, struct skep_err *err)
{
	struct conn_table *t = calloc(1, sizeof(*t));
	int rc;

	if (t)
		t->pool = calloc(most, sizeof(*t->pool));
	if (!t || !t->pool) {
		conn_free(t);
		return skep_fail(err, -ENOMEM, "no memory for %u connections", most);
	}
	t->env = *env;
	t->names = names;
	t->most = most;
	rc = store_table_add(env->store, &def, bytes, &t->rows, err);
	if (rc) {
		conn_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void conn_free(struct conn_table *t)
{
	if (!t)
		return;
	HASH_CLEAR(hh, t->by_key);
	HASH_CLEAR(by_tuple, t->by_tuple);
	free(t->pool);
	free(t->found);
	free(t);
}

/* ---- addresses ------------------------------------------------------------------------------ */

static bool is_mapped(uint16_t family, const uint8_t addr[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return family == AF_INET6 && !memcmp(addr, prefix, sizeof(prefix));
}

const char *conn_addr(uint16_t family, const uint8_t addr[16], char out[46])
{
	if (family == AF_INET || is_mapped(family, addr))
		text_ipv4(out, family == AF_INET ? addr : addr + 12);
	else
		inet_ntop(AF_INET6, addr, out, 46);
	return out;
}

/* IPv4 is compared as mapped IPv6, so that an IPv6 socket meets its IPv4 peer. */
static void widen(uint8_t out[16], uint16_t family, const uint8_t addr[16])
{
	memset(out, 0, 16);
	if (family != AF_INET) {
		memcpy(out, addr, 16);
		return;
	}
	out[10] = out[11] = 0xff;
	memcpy(out + 12, addr, 4);
}

static bool is_loopback(const uint8_t a[16])
{
	static const uint8_t one[16] = {[15] = 1};

	return is_mapped(AF_INET6, a) ? a[12] == 127 : !memcmp(a, one, 16);
}

static void tuple_of(struct tuple *out, const struct trace_ends *e, unsigned proto)
{
	memset(out, 0, sizeof(*out));
	widen(out->local, e->family, e->local);
	widen(out->remote, e->family, e->remote);
	out->local_port = e->local_port;
	out->remote_port = e->remote_port;
	out->proto = proto;
	if (is_loopback(out->local) || is_loopback(out->remote)) /* C2 */
		out->netns = e->netns;
}

/* ---- the pool ------------------------------------------------------------------------------- */

static struct conn *conn_find(struct conn_table *t, const struct trace_flow_key *key)
{
	struct conn *c;

	HASH_FIND(hh, t->by_key, key, sizeof(*key), c);
	return c;
}

static struct conn *conn_new(struct conn_table *t, const struct trace_flow_key *key)
{
	struct conn *c = t->free;

	if (c) {
		t->free = c->next_free;
		memset(c, 0, sizeof(*c));
	} else if (t->used < t->most) {
		c = &t->pool[t->used++];
	} else {
		t->refused++;
		return NULL;
	}
	c->key = *key;
	c->generation = t->generation;
	HASH_ADD(hh, t->by_key, key, sizeof(c->key), c);
	return c;
}

static void leave_index(struct conn_table *t, struct conn *c)
{
	if (c->indexed)
		HASH_DELETE(by_tuple, t->by_tuple, c);
	c->indexed = false;
}

/* The newest of a tuple is found: ports are used again while the last user still lingers (C3). */
static void enter_index(struct conn_table *t, struct conn *c)
{
	struct conn *older;

	HASH_FIND(by_tuple, t->by_tuple, &c->tuple, sizeof(c->tuple), older);
	if (older)
		leave_index(t, older);
	HASH_ADD(by_tuple, t->by_tuple, tuple, sizeof(c->tuple), c);
	c->indexed = true;
}

static void forget(struct conn_table *t, struct conn *c)
{
	if (c->peer)
		c->peer->peer = NULL;
	if (c->ended) {
		DL_DELETE(t->ended, c);
		t->n_ended--;
	}
	store_close(t->rows, &c->row);
	HASH_DELETE(hh, t->by_key, c);
	leave_index(t, c);
	c->next_free = t->free;
	t->free = c;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void set(struct conn_table *t, struct conn *c, unsigned column, struct store_cell cell)
{
	store_set(t->rows, &c->row, column, cell);
}

static const struct who_process *process_of(struct conn_table *t, const struct conn *c)
{
	struct who_id id = {.pid = c->owner.pid, .start = c->owner.start};

	return c->owner.pid ? who_process_ask(t->env.who, id) : NULL;
}

/* What names a process on its own row or on the other end's; its strings live as long as it. */
struct process_cells {
	struct store_cell pid, started, comm, service, container, pod;
	char text[WHO_COMM_MAX];
};

static void fill_process(struct conn_table *t, const struct conn *c, struct process_cells *out)
{
	const struct who_process *p = process_of(t, c);
	const struct trace_owner *o = &c->owner;
	size_t n;

	memset(out, 0, offsetof(struct process_cells, text));
	if (!o->pid)
		return;
	n = text_escape(out->text, sizeof(out->text), o->comm, strnlen(o->comm, TRACE_COMM));
	out->pid = STORE_NUM(o->pid);
	out->started = STORE_NUM(o->start);
	out->comm = n ? STORE_TEXT(out->text, n) : STORE_NONE;
	out->service = out->comm;
	if (!p)
		return;
	if (p->kernel || p->cgroup->label[0])
		out->service = STORE_STRZ(who_service(p));
	out->container = STORE_STRZ(p->cgroup->container);
	out->pod = STORE_STRZ(p->cgroup->pod);
}

static void fill_owner(struct store_cell *cells, const struct process_cells *p)
{
	cells[CONN_PID] = p->pid;
	cells[CONN_STARTED] = p->started;
	cells[CONN_COMM] = p->comm;
	cells[CONN_SERVICE] = p->service;
	cells[CONN_CONTAINER] = p->container;
	cells[CONN_POD] = p->pod;
}

static void fill_remote(struct store_cell *cells, const struct process_cells *p)
{
	cells[CONN_REMOTE_PID] = p->pid;
	cells[CONN_REMOTE_STARTED] = p->started;
	cells[CONN_REMOTE_COMM] = p->comm;
	cells[CONN_REMOTE_SERVICE] = p->service;
	cells[CONN_REMOTE_CONTAINER] = p->container;
}

static void write_owner(struct conn_table *t, struct conn *c, const struct process_cells *p)
{
	set(t, c, CONN_PID, p->pid);
	set(t, c, CONN_STARTED, p->started);
	set(t, c, CONN_COMM, p->comm);
	set(t, c, CONN_SERVICE, p->service);
	set(t, c, CONN_CONTAINER, p->container);
	set(t, c, CONN_POD, p->pod);
}

static void write_remote(struct conn_table *t, struct conn *c, const struct process_cells *p)
{
	if (!p->pid.set)
		return;
	set(t, c, CONN_REMOTE_PID, p->pid);
	set(t, c, CONN_REMOTE_STARTED, p->started);
	set(t, c, CONN_REMOTE_COMM, p->comm);
	set(t, c, CONN_REMOTE_SERVICE, p->service);
	set(t, c, CONN_REMOTE_CONTAINER, p->container);
}

/* C1, C2: the other end, now its peer; NULL where it is not known. */
static struct conn *find_peer(struct conn_table *t, struct conn *c)
{
	struct tuple other = c->tuple;
	struct conn *peer;

	memcpy(other.local, c->tuple.remote, 16);
	memcpy(other.remote, c->tuple.local, 16);
	other.local_port = c->tuple.remote_port;
	other.remote_port = c->tuple.local_port;
	HASH_FIND(by_tuple, t->by_tuple, &other, sizeof(other), peer);
	if (!peer || peer == c || (peer->peer && peer->peer->indexed))
		return NULL;
	if (peer->peer) /* of an older user of the same ports */
		peer->peer->peer = NULL;
	c->peer = peer;
	peer->peer = c;
	return peer;
}

static void meet(struct conn_table *t, struct conn *c)
{
	struct conn *peer = find_peer(t, c);
	struct process_cells p;

	if (!peer)
		return;
	fill_process(t, peer, &p);
	write_remote(t, c, &p);
	fill_process(t, c, &p);
	write_remote(t, peer, &p);
}

static void write_owners(struct conn_table *t, struct conn *c, const struct trace_owner *owner)
{
	struct process_cells p;

	if (!owner->pid || !memcmp(&c->owner, owner, sizeof(*owner)))
		return; /* C4 */
	c->owner = *owner;
	fill_process(t, c, &p);
	write_owner(t, c, &p);
	if (c->peer)
		write_remote(t, c->peer, &p);
}

static const char *state_name(unsigned state)
{
	static const char *const names[] = {
		[TCP_ESTABLISHED] = "established",
		[TCP_SYN_SENT] = "syn-sent",
		[TCP_SYN_RECV] = "syn-received",
		[TCP_FIN_WAIT1] = "fin-wait-1",
		[TCP_FIN_WAIT2] = "fin-wait-2",
		[TCP_TIME_WAIT] = "time-wait",
		[TCP_CLOSE] = "closed",
		[TCP_CLOSE_WAIT] = "close-wait",
		[TCP_LAST_ACK] = "last-ack",
		[TCP_LISTEN] = "listen",
		[TCP_CLOSING] = "closing",
	};

	return state < array_size(names) && names[state] ? names[state] : "open";
}

/* How a connection ended, where that is known when its row is made. */
struct ending {
	uint64_t time;	   /* ns of CLOCK_BOOTTIME; 0: it lives */
	const char *state; /* closed or failed */
	const char *error; /* errno's name, or NULL */
};

static void fill_counters(struct store_cell *cells, const struct conn *c)
{
	cells[CONN_BYTES_SENT] = STORE_NUM(c->sent);
	cells[CONN_BYTES_RECEIVED] = STORE_NUM(c->received);
	cells[CONN_PACKETS_SENT] = STORE_NUM(c->packets_sent);
	cells[CONN_PACKETS_RECEIVED] = STORE_NUM(c->packets_received);
	if (c->tuple.proto != IPPROTO_TCP)
		return;
	cells[CONN_RETRANSMITS] = STORE_NUM(c->retransmits);
	if (c->rtt_us)
		cells[CONN_RTT_US] = STORE_NUM(c->rtt_us);
}

static void fill_life(struct store_cell *cells, const struct conn *c, uint64_t opened,
		      const struct ending *end)
{
	cells[CONN_TIME] = STORE_NUM(host_wall(opened));
	cells[CONN_STATE] = STORE_STRZ(end->time ? end->state : state_name(c->state));
	if (end->time)
		cells[CONN_ENDED] = STORE_NUM(host_wall(end->time));
	cells[CONN_ERROR] = STORE_STRZ(end->error);
}

/* What is known of both processes goes into @cells, and this end's into its peer's row. */
static void fill_both(struct conn_table *t, struct conn *c, struct store_cell *cells,
		      struct process_cells *own, struct process_cells *other)
{
	struct conn *peer;

	fill_process(t, c, own);
	fill_owner(cells, own);
	enter_index(t, c);
	peer = find_peer(t, c);
	if (!peer)
		return;
	write_remote(t, peer, own);
	fill_process(t, peer, other);
	if (other->pid.set)
		fill_remote(cells, other);
}

static void begin_row(struct conn_table *t, struct conn *c, const struct trace_ends *e,
		      uint64_t opened, const char *origin, const struct ending *end)
{
	struct store_cell cells[CONN_COLUMNS] = {0};
	struct process_cells own, other;
	char local[46], remote[46];
	const char *name = names_find(t->names, e->netns, e->family, e->remote, t->now);

	cells[CONN_PROTO] = STORE_STRZ(c->tuple.proto == IPPROTO_TCP ? "tcp" : "udp");
	cells[CONN_DIRECTION] = STORE_STRZ(c->in ? "in" : "out");
	cells[CONN_LOCAL_ADDR] = STORE_STRZ(conn_addr(e->family, e->local, local));
	cells[CONN_LOCAL_PORT] = STORE_NUM(e->local_port);
	cells[CONN_REMOTE_ADDR] = STORE_STRZ(conn_addr(e->family, e->remote, remote));
	cells[CONN_REMOTE_PORT] = STORE_NUM(e->remote_port);
	cells[CONN_REMOTE_NAME] = STORE_STRZ(name);
	cells[CONN_REMOTE_SERVICE] = STORE_STRZ(name ? name : remote);
	cells[CONN_NETNS] = STORE_NUM(e->netns);
	cells[CONN_COOKIE] = STORE_NUM(c->key.cookie);
	cells[CONN_ORIGIN] = STORE_STRZ(origin);
	fill_life(cells, c, opened, end);
	fill_counters(cells, c);
	fill_both(t, c, cells, &own, &other);
	store_append(t->rows, cells, &c->row);
}

#define update(t, c, field, column, value)                   \
	do {                                                 \
		if ((c)->field != (value)) { /* C4 */        \
			(c)->field = (value);                \
			set(t, c, column, STORE_NUM(value)); \
		}                                            \
	} while (0)

static void emit(struct conn_table *t, const char *event, struct conn *c)
{
	if (c->row)
		t->env.emit(t->env.emit_arg, event, t->rows, &c->row);
}

static void tell_open(struct conn_table *t, struct conn *c)
{
	if (!c->told)
		emit(t, "connection.open", c);
	c->told = true;
}

/* Its row says already that it has ended. */
static void ended(struct conn_table *t, struct conn *c, uint64_t boot_ns)
{
	c->ended = boot_ns;
	emit(t, "connection.close", c);
	DL_APPEND(t->ended, c);
	t->n_ended++;
}

static void end(struct conn_table *t, struct conn *c, const struct ending *how)
{
	set(t, c, CONN_ENDED, STORE_NUM(host_wall(how->time)));
	set(t, c, CONN_STATE, STORE_STRZ(how->state));
	if (how->error)
		set(t, c, CONN_ERROR, STORE_STRZ(how->error));
	ended(t, c, how->time);
}

/* C3. Not within an iteration over the table: two may go. */
static void part(struct conn_table *t, struct conn *c)
{
	struct conn *peer = c->peer;

	if (!peer || !peer->ended)
		return;
	forget(t, peer);
	forget(t, c);
}

/* C3 */
static void trim(struct conn_table *t)
{
	while (t->ended && (t->n_ended > LINGER_MAX || t->ended->ended + LINGER_NS < t->now))
		forget(t, t->ended);
}

/* ---- TCP ------------------------------------------------------------------------------------ */

static bool was_established(const struct trace_tcp *e)
{
	return e->state != TCP_SYN_SENT && e->state != TCP_SYN_RECV;
}

static void update_tcp(struct conn_table *t, struct conn *c, const struct trace_tcp *e)
{
	update(t, c, sent, CONN_BYTES_SENT, e->bytes_sent);
	update(t, c, received, CONN_BYTES_RECEIVED, e->bytes_received);
	update(t, c, packets_sent, CONN_PACKETS_SENT, e->packets_sent);
	update(t, c, packets_received, CONN_PACKETS_RECEIVED, e->packets_received);
	update(t, c, rtt_us, CONN_RTT_US, e->rtt_us);
	update(t, c, retransmits, CONN_RETRANSMITS, e->retransmits);
	if (c->state != e->state) {
		c->state = e->state;
		set(t, c, CONN_STATE, STORE_STRZ(state_name(e->state)));
	}
	c->established |= was_established(e);
	c->generation = t->generation;
	c->missed = 0;
	write_owners(t, c, &e->mark.owner);
}

static struct conn *tcp_begin(struct conn_table *t, const struct trace_tcp *e, const char *origin,
			      const struct ending *end)
{
	struct trace_flow_key key = {.cookie = e->cookie};
	struct conn *c = conn_new(t, &key);

	if (!c)
		return NULL;
	tuple_of(&c->tuple, &e->ends, IPPROTO_TCP);
	c->owner = e->mark.owner;
	c->in = e->mark.flags & TRACE_IN;
	c->state = e->state;
	c->established = was_established(e);
	c->sent = e->bytes_sent;
	c->received = e->bytes_received;
	c->packets_sent = e->packets_sent;
	c->packets_received = e->packets_received;
	c->rtt_us = e->rtt_us;
	c->retransmits = e->retransmits;
	begin_row(t, c, &e->ends, e->mark.opened ? e->mark.opened : t->now, origin, end);
	return c;
}

/* NULL: not known yet. */
static struct conn *tcp_find(struct conn_table *t, const struct trace_tcp *e)
{
	struct trace_flow_key key = {.cookie = e->cookie};
	struct conn *c = conn_find(t, &key);

	/* A socket may connect again after a failure: the same cookie, another connection. */
	if (c && c->ended && e->mark.opened > c->ended) {
		forget(t, c);
		c = NULL;
	}
	return c;
}

static const char *origin_of(const struct trace_tcp *e)
{
	return e->mark.flags & TRACE_OLD ? "scan" : "event";
}

static void tcp_close(struct conn_table *t, struct conn *c, const struct trace_tcp *e,
		      const struct ending *how)
{
	update_tcp(t, c, e);
	if (c->ended) { /* without a close; now there is one */
		if (how->error)
			set(t, c, CONN_ERROR, STORE_STRZ(how->error));
		return;
	}
	if (!c->peer)
		meet(t, c);
	end(t, c, how);
}

void conn_close(struct conn_table *t, const struct trace_tcp *e)
{
	struct ending how = {.time = e->head.time};
	struct conn *c;

	t->now = e->head.time;
	if (!e->cookie)
		return;
	c = tcp_find(t, e);
	how.state = (c && c->established) || was_established(e) ? "closed" : "failed";
	how.error = e->error > 0 ? strerrorname_np(e->error) : NULL;
	if (c) {
		tcp_close(t, c, e, &how);
	} else {
		c = tcp_begin(t, e, origin_of(e), &how);
		if (c)
			ended(t, c, how.time);
	}
	if (c)
		part(t, c);
	trim(t);
}

/* ---- scan ----------------------------------------------------------------------------------- */

void conn_scan(struct conn_table *t, const struct trace_tcp *e)
{
	size_t cap = t->cap_found ? t->cap_found * 2 : 256;
	struct trace_tcp *more;

	if (t->n_found == t->cap_found) {
		more = reallocarray(t->found, cap, sizeof(*more));
		if (!more)
			return; /* the next sample finds it */
		t->found = more;
		t->cap_found = cap;
	}
	t->found[t->n_found++] = *e;
}

/* Brings the listeners to the front of what was found. Returns their number. */
static size_t sort_listeners(struct conn_table *t)
{
	struct trace_tcp swap;
	size_t i, n = 0;

	for (i = 0; i < t->n_found; i++) {
		if (t->found[i].state != TCP_LISTEN)
			continue;
		swap = t->found[n];
		t->found[n++] = t->found[i];
		t->found[i] = swap;
	}
	return n;
}

static bool listened(const struct conn_table *t, size_t listeners, const struct trace_tcp *e)
{
	const struct trace_tcp *l;

	for (l = t->found; l < t->found + listeners; l++)
		if (l->ends.local_port == e->ends.local_port && l->ends.netns == e->ends.netns)
			return true;
	return false;
}

void conn_scan_end(struct conn_table *t)
{
	struct trace_flow_key key = {0};
	size_t listeners = sort_listeners(t);
	struct trace_tcp *e;

	t->now = host_boot_now();
	for (e = t->found + listeners; e < t->found + t->n_found; e++) {
		key.cookie = e->cookie;
		if (e->state == TCP_CLOSE || conn_find(t, &key))
			continue;
		if (listened(t, listeners, e))
			e->mark.flags |= TRACE_IN;
		tcp_begin(t, e, "scan", &(struct ending){0});
	}
	free(t->found);
	t->found = NULL;
	t->n_found = t->cap_found = 0;
}

/* ---- samples -------------------------------------------------------------------------------- */

void conn_sample_begin(struct conn_table *t, uint64_t boot_now)
{
	t->now = boot_now;
	t->generation++;
}

void conn_sample(struct conn_table *t, const struct trace_tcp *e)
{
	struct conn *c;

	c = tcp_find(t, e);
	if (c && c->ended)
		return;
	if (c)
		update_tcp(t, c, e);
	else
		c = tcp_begin(t, e, origin_of(e), &(struct ending){0});
	if (!c)
		return;
	if (c->state != TCP_SYN_SENT)
		tell_open(t, c);
}

static void update_flow(struct conn_table *t, struct conn *c, const struct trace_flow *f)
{
	update(t, c, sent, CONN_BYTES_SENT, f->bytes_sent);
	update(t, c, received, CONN_BYTES_RECEIVED, f->bytes_received);
	update(t, c, packets_sent, CONN_PACKETS_SENT, (uint32_t)f->packets_sent);
	update(t, c, packets_received, CONN_PACKETS_RECEIVED, (uint32_t)f->packets_received);
	c->generation = t->generation;
	c->missed = 0;
	write_owners(t, c, &f->owner);
}

static struct conn *flow_begin(struct conn_table *t, const struct trace_flow_key *key,
			       const struct trace_flow *f)
{
	struct conn *c = conn_new(t, key);
	struct trace_ends ends = key->ends;

	if (!c)
		return NULL;
	ends.netns = f->netns;
	tuple_of(&c->tuple, &ends, IPPROTO_UDP);
	c->owner = f->owner;
	c->in = f->flags & TRACE_IN;
	c->sent = f->bytes_sent;
	c->received = f->bytes_received;
	c->packets_sent = (uint32_t)f->packets_sent;
	c->packets_received = (uint32_t)f->packets_received;
	begin_row(t, c, &ends, f->opened, "event", &(struct ending){0});
	return c;
}

void conn_flow(struct conn_table *t, const struct trace_flow_key *key, const struct trace_flow *f,
	       bool is_over)
{
	struct conn *c = conn_find(t, key);

	if (c && c->ended) { /* the same ends talk again: another flow */
		forget(t, c);
		c = NULL;
	}
	if (c)
		update_flow(t, c, f);
	else
		c = flow_begin(t, key, f);
	if (!c)
		return;
	tell_open(t, c);
	if (!is_over)
		return;
	end(t, c, &(struct ending){.time = f->last, .state = "closed"});
	part(t, c);
}

void conn_sample_end(struct conn_table *t, bool all)
{
	struct conn *c, *next;

	HASH_ITER (hh, t->by_key, c, next) {
		if (all && !c->ended && c->generation != t->generation && ++c->missed >= 2) {
			t->vanished++;
			end(t, c, &(struct ending){.time = t->now, .state = "closed"});
		}
	}
	trim(t);
}

void conn_count(const struct conn_table *t, struct conn_stat *out)
{
	out->known = HASH_COUNT(t->by_key);
	out->open = out->known - t->n_ended;
	out->refused = t->refused;
	out->vanished = t->vanished;
}
