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
 *     last LINGER_MAX only, so that a storm of short connections stays within the caches.
 * C4  Only cells that changed are written.
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
	if (is_mapped(family, addr))
		return inet_ntop(AF_INET, addr + 12, out, 46);
	return inet_ntop(family == AF_INET ? AF_INET : AF_INET6, addr, out, 46);
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

static const char *comm_of(const struct conn *c, char out[WHO_COMM_MAX])
{
	text_escape(out, WHO_COMM_MAX, c->owner.comm, strnlen(c->owner.comm, TRACE_COMM));
	return out;
}

/* The five cells that name a process, on its own row or on the other end's. */
struct process_cells {
	struct store_cell pid, started, comm, service, container, pod;
};

static void fill_process(struct conn_table *t, const struct conn *c, struct process_cells *out,
			 char comm[WHO_COMM_MAX])
{
	const struct who_process *p = process_of(t, c);

	memset(out, 0, sizeof(*out));
	if (!c->owner.pid)
		return;
	out->pid = STORE_NUM(c->owner.pid);
	out->started = STORE_NUM(c->owner.start);
	out->comm = STORE_STRZ(comm_of(c, comm));
	out->service = out->comm;
	if (!p)
		return;
	if (p->cgroup->label[0])
		out->service = STORE_STRZ(p->cgroup->label);
	out->container = STORE_STRZ(p->cgroup->container);
	out->pod = STORE_STRZ(p->cgroup->pod);
}

static void write_owner(struct conn_table *t, struct conn *c)
{
	char comm[WHO_COMM_MAX];
	struct process_cells p;

	fill_process(t, c, &p, comm);
	set(t, c, CONN_PID, p.pid);
	set(t, c, CONN_STARTED, p.started);
	set(t, c, CONN_COMM, p.comm);
	set(t, c, CONN_SERVICE, p.service);
	set(t, c, CONN_CONTAINER, p.container);
	set(t, c, CONN_POD, p.pod);
}

static void write_peer(struct conn_table *t, struct conn *c, const struct conn *peer)
{
	char comm[WHO_COMM_MAX];
	struct process_cells p;

	if (!peer->owner.pid)
		return;
	fill_process(t, peer, &p, comm);
	set(t, c, CONN_REMOTE_PID, p.pid);
	set(t, c, CONN_REMOTE_STARTED, p.started);
	set(t, c, CONN_REMOTE_COMM, p.comm);
	set(t, c, CONN_REMOTE_SERVICE, p.service);
	set(t, c, CONN_REMOTE_CONTAINER, p.container);
}

/* C1, C2 */
static void meet(struct conn_table *t, struct conn *c)
{
	struct tuple other = c->tuple;
	struct conn *peer;

	memcpy(other.local, c->tuple.remote, 16);
	memcpy(other.remote, c->tuple.local, 16);
	other.local_port = c->tuple.remote_port;
	other.remote_port = c->tuple.local_port;
	HASH_FIND(by_tuple, t->by_tuple, &other, sizeof(other), peer);
	if (!peer || peer == c || (peer->peer && peer->peer->indexed))
		return;
	if (peer->peer) /* of an older user of the same ports */
		peer->peer->peer = NULL;
	c->peer = peer;
	peer->peer = c;
	write_peer(t, c, peer);
	write_peer(t, peer, c);
}

static void write_owners(struct conn_table *t, struct conn *c, const struct trace_owner *owner)
{
	if (!owner->pid || !memcmp(&c->owner, owner, sizeof(*owner)))
		return; /* C4 */
	c->owner = *owner;
	write_owner(t, c);
	if (c->peer)
		write_peer(t, c->peer, c);
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

static void begin_row(struct conn_table *t, struct conn *c, const struct trace_ends *e,
		      uint64_t opened, const char *origin)
{
	struct store_cell cells[CONN_COLUMNS] = {0};
	char local[46], remote[46];
	const char *name = names_find(t->names, e->netns, e->family, e->remote, t->now);

	cells[CONN_TIME] = STORE_NUM(host_wall(opened));
	cells[CONN_PROTO] = STORE_STRZ(c->tuple.proto == IPPROTO_TCP ? "tcp" : "udp");
	cells[CONN_DIRECTION] = STORE_STRZ(c->in ? "in" : "out");
	cells[CONN_STATE] = STORE_STRZ(state_name(c->state));
	cells[CONN_LOCAL_ADDR] = STORE_STRZ(conn_addr(e->family, e->local, local));
	cells[CONN_LOCAL_PORT] = STORE_NUM(e->local_port);
	cells[CONN_REMOTE_ADDR] = STORE_STRZ(conn_addr(e->family, e->remote, remote));
	cells[CONN_REMOTE_PORT] = STORE_NUM(e->remote_port);
	cells[CONN_REMOTE_NAME] = STORE_STRZ(name);
	cells[CONN_REMOTE_SERVICE] = STORE_STRZ(name ? name : remote);
	cells[CONN_NETNS] = STORE_NUM(e->netns);
	cells[CONN_COOKIE] = STORE_NUM(c->key.cookie);
	cells[CONN_ORIGIN] = STORE_STRZ(origin);
	cells[CONN_BYTES_SENT] = cells[CONN_BYTES_RECEIVED] = STORE_NUM(0);
	cells[CONN_PACKETS_SENT] = cells[CONN_PACKETS_RECEIVED] = STORE_NUM(0);
	if (c->tuple.proto == IPPROTO_TCP)
		cells[CONN_RETRANSMITS] = STORE_NUM(0);
	store_append(t->rows, cells, &c->row);
	write_owner(t, c);
	enter_index(t, c);
	meet(t, c);
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

static void end(struct conn_table *t, struct conn *c, const char *state, uint64_t boot_ns)
{
	c->ended = boot_ns;
	set(t, c, CONN_ENDED, STORE_NUM(host_wall(boot_ns)));
	set(t, c, CONN_STATE, STORE_STRZ(state));
	emit(t, "connection.close", c);
	DL_APPEND(t->ended, c);
	t->n_ended++;
}

/* C3 */
static void trim(struct conn_table *t)
{
	while (t->ended && (t->n_ended > LINGER_MAX || t->ended->ended + LINGER_NS < t->now))
		forget(t, t->ended);
}

/* ---- TCP ------------------------------------------------------------------------------------ */

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
	c->established |= e->state != TCP_SYN_SENT && e->state != TCP_SYN_RECV;
	c->generation = t->generation;
	c->missed = 0;
	write_owners(t, c, &e->mark.owner);
}

static struct conn *tcp_begin(struct conn_table *t, const struct trace_tcp *e, const char *origin)
{
	struct trace_flow_key key = {.cookie = e->cookie};
	struct conn *c = conn_new(t, &key);

	if (!c)
		return NULL;
	tuple_of(&c->tuple, &e->ends, IPPROTO_TCP);
	c->owner = e->mark.owner;
	c->in = e->mark.flags & TRACE_IN;
	c->state = e->state;
	begin_row(t, c, &e->ends, e->mark.opened ? e->mark.opened : t->now, origin);
	return c;
}

static struct conn *tcp_of(struct conn_table *t, const struct trace_tcp *e)
{
	struct trace_flow_key key = {.cookie = e->cookie};
	struct conn *c = conn_find(t, &key);

	/* A socket may connect again after a failure: the same cookie, another connection. */
	if (c && c->ended && e->mark.opened > c->ended) {
		forget(t, c);
		c = NULL;
	}
	return c ? c : tcp_begin(t, e, e->mark.flags & TRACE_OLD ? "scan" : "event");
}

static void tcp_close(struct conn_table *t, struct conn *c, const struct trace_tcp *e)
{
	const char *name = e->error > 0 ? strerrorname_np(e->error) : NULL;

	if (name)
		set(t, c, CONN_ERROR, STORE_STRZ(name));
	if (c->ended)
		return;
	if (!c->peer)
		meet(t, c);
	end(t, c, c->established ? "closed" : "failed", e->head.time);
}

void conn_close(struct conn_table *t, const struct trace_tcp *e)
{
	struct conn *c;

	t->now = e->head.time;
	c = e->cookie ? tcp_of(t, e) : NULL;
	if (!c)
		return;
	update_tcp(t, c, e);
	tcp_close(t, c, e);
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
	struct conn *c;

	t->now = host_boot_now();
	for (e = t->found + listeners; e < t->found + t->n_found; e++) {
		key.cookie = e->cookie;
		if (e->state == TCP_CLOSE || conn_find(t, &key))
			continue;
		if (listened(t, listeners, e))
			e->mark.flags |= TRACE_IN;
		c = tcp_begin(t, e, "scan");
		if (c)
			update_tcp(t, c, e);
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

	c = tcp_of(t, e);
	if (!c || c->ended)
		return;
	update_tcp(t, c, e);
	if (c->state != TCP_SYN_SENT)
		tell_open(t, c);
}

void conn_flow(struct conn_table *t, const struct trace_flow_key *key, const struct trace_flow *f,
	       bool ended)
{
	struct trace_owner owner = f->owner;
	struct conn *c = conn_find(t, key);
	struct trace_ends ends = key->ends;

	if (c && c->ended) { /* the same ends talk again: another flow */
		forget(t, c);
		c = NULL;
	}
	if (!c) {
		c = conn_new(t, key);
		if (!c)
			return;
		c->owner = owner;
		c->in = f->flags & TRACE_IN;
		ends.netns = f->netns;
		tuple_of(&c->tuple, &ends, IPPROTO_UDP);
		begin_row(t, c, &ends, f->opened, "event");
	}
	update(t, c, sent, CONN_BYTES_SENT, f->bytes_sent);
	update(t, c, received, CONN_BYTES_RECEIVED, f->bytes_received);
	update(t, c, packets_sent, CONN_PACKETS_SENT, (uint32_t)f->packets_sent);
	update(t, c, packets_received, CONN_PACKETS_RECEIVED, (uint32_t)f->packets_received);
	c->generation = t->generation;
	c->missed = 0;
	write_owners(t, c, &owner);
	tell_open(t, c);
	if (ended && !c->ended)
		end(t, c, "closed", f->last);
}

void conn_sample_end(struct conn_table *t)
{
	struct conn *c, *next;

	HASH_ITER (hh, t->by_key, c, next) {
		if (!c->ended && c->generation != t->generation && ++c->missed >= 2) {
			t->vanished++;
			end(t, c, "closed", t->now);
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
