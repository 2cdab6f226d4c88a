// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * socket.bpf.c: the balancer at sockets: who connects to a service's address is connected to one of
 * its backends. Packets then go there by themselves; none of them costs anything.
 *
 *	connect()            address ours? -> service -> door open? -> backend -> the socket's destination
 *	sendto(), UDP             the same, once for each address that a socket sends to
 *	getpeername(), recvfrom()    backend's address -> the one that was asked for
 *	bind()                       a port of the host that is a service's: EADDRINUSE
 *	close()                      one live socket less
 *
 * hooks: cgroup/connect4,6 sendmsg4,6 recvmsg4,6 getpeername4,6 post_bind4,6 sock_release.
 * maps in: state, vip4, vip6, ranges, rings, backends of balance.bpf.c,
 * doors, held. maps out: ends, peers (in each socket), talks, friends, asked.
 *
 * K1  A backend is chosen when a socket connects, or sends to an address for the first time; never
 *     again for that socket and address while the backend lives. Drained backends keep their sockets.
 * K2  Who asked for a service's address is told that address. Of a connected socket it is remembered
 *     in the socket itself: nothing can evict it and it goes with the socket. Sockets that send without
 *     being connected may talk with many; theirs stand in an LRU table.
 * K3  The tables are the ones that packets use (B6, B7): one word turns both, pinned links go on
 *     when the agent is gone.
 * K4  A service without a backend refuses at once (ECONNREFUSED; EPERM before Linux 5.18). Nothing
 *     leaves for an address that nobody has.
 * K5  An address of the loopback interface is the service's only in the agent's network namespace:
 *     elsewhere it is somebody else's.
 * K6  An index of "backends" and its generation name one backend for ever. A socket whose backend's
 *     generation is another, or whose backend is gone, is connected to a backend that is gone.
 * K7  What connects to no address of ours pays one look at the filter, and one at the socket.
 */
#include "bpf.h"

#include "balance/choice.bpf.h"

LICENSE;

const volatile __u64 home; /* cookie of the agent's network namespace */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct balance_door);
} doors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct balance_peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct balance_talk_key);
	__type(value, struct balance_talk);
} talks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct balance_friend_key);
	__type(value, struct balance_friend);
} friends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct balance_asked);
} asked SEC(".maps");

/* A bit for each port, of TCP, then of UDP: node ports, which no process is to take. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2 * 65536 / 64);
	__type(key, __u32);
	__type(value, __u64);
} held SEC(".maps");

#define EADDRINUSE   98
#define ECONNREFUSED 111

#define REFUSE 0
#define ALLOW  1

/* What a socket asks for, and what it gets. */
struct ask {
	__u64 addr[2], to[2]; /* IPv4 in one word */
	__u64 netns;
	__be16 port, to_port;
	__u8 family, proto;
	__u16 generation;
	__u32 backend, stat;
};

enum answer {
	NOT_OURS,
	NOBODY, /* ours, without a backend */
	FOUND,
};

enum bpf_func_id___set_retval {
	BPF_FUNC_set_retval___here = 187,
};

static __always_inline int refuse(int error)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___set_retval, BPF_FUNC_set_retval___here))
		bpf_set_retval(-error);
	return REFUSE;
}

/* ---- which service --------------------------------------------------------------------------- */

static __always_inline int in_filter(const struct balance_state *s, const struct ask *a)
{
	__u32 bit = a->family == 4 ? balance_filter4(a->addr[0]) : balance_filter6(a->addr);

	return s->filter[bit / 64] >> (bit & 63) & 1;
}

static __always_inline int loopback(const struct ask *a)
{
	if (a->family == 4)
		return (a->addr[0] & 0xff) == 127;
	return !a->addr[0] && a->addr[1] == bpf_cpu_to_be64(1);
}

/* The service's door, where it is open to sockets. */
static __always_inline struct balance_door *door_of(struct ask *a)
{
	struct balance_state *s = state_get();
	struct balance_door *d;
	__u32 id;

	if (!s || !in_filter(s, a) || (a->proto != PROTO_TCP && a->proto != PROTO_UDP))
		return 0;
	if (loopback(a) && a->netns != home) /* K5 */
		return 0;
	id = service_find(s, a->addr, a->family, a->port, a->proto);
	d = id ? bpf_map_lookup_elem(&doors, &id) : 0;
	return d && d->flags & BALANCE_DOOR_OPEN ? d : 0;
}

/* ---- which backend --------------------------------------------------------------------------- */

static __always_inline __u32 in_ring(const struct balance_door *d, __u32 at)
{
	struct balance_slot *slot;

	at = d->ring + (at >> (32 - (d->ring_log & 31)));
	slot = bpf_map_lookup_elem(&rings, &at);
	return slot ? slot->now : 0;
}

static __always_inline __u32 in_few(const struct balance_door *d, __u32 at)
{
	at = (__u64)at * d->n >> 32;
	barrier_var(at);
	return at < BALANCE_FEW && d->n ? d->few[at] : 0;
}

static __always_inline __u32 one_of(const struct balance_door *d)
{
	__u32 at = bpf_get_prandom_u32();

	return d->flags & BALANCE_DOOR_FEW ? in_few(d, at) : in_ring(d, at);
}

static __always_inline __u32 live(__u32 id)
{
	struct balance_end *e = bpf_map_lookup_elem(&ends, &id);

	return e ? e->live : ~0U;
}

static __always_inline __u32 by_chance(const struct ask *a, const struct balance_door *d)
{
	__u32 one, other;

	if (d->by_source && !(d->flags & BALANCE_DOOR_FEW))
		return in_ring(d, balance_hash_source(a->netns, 0));
	one = one_of(d);
	if (!(d->flags & BALANCE_DOOR_LEAST))
		return one;
	other = one_of(d);
	return live(other) < live(one) ? other : one;
}

/* The backend as a destination. */
static __always_inline int use(struct ask *a, __u32 id)
{
	struct balance_end *e = id ? bpf_map_lookup_elem(&ends, &id) : 0;

	if (!e || !e->generation)
		return 0;
	a->backend = id;
	a->generation = e->generation;
	if (a->family == 4) {
		a->to[0] = e->addr[0];
		a->to[1] = 0;
	} else {
		__builtin_memcpy(a->to, e->addr, 16);
	}
	a->to_port = e->port ?: a->port;
	return 1;
}

/* One that was chosen before, if it is still the same and its state not worse than @state. */
static __always_inline int use_same(struct ask *a, __u32 id, __u32 generation, __u32 state)
{
	struct balance_backend *b = backend_get(id);

	return b && b->state <= state && use(a, id) && a->generation == (__u16)generation; /* K6 */
}

static __always_inline int choose_friend(struct ask *a, const struct balance_door *d)
{
	struct balance_friend_key key = {.client = a->netns, .stat = d->stat};
	struct balance_friend *f = bpf_map_lookup_elem(&friends, &key), next;
	__u64 time = bpf_ktime_get_coarse_ns();

	if (f && time - f->at < d->affinity * 1000000000ULL &&
	    use_same(a, f->backend, f->generation, BALANCE_LIVE)) {
		f->at = time;
		return 1;
	}
	if (!use(a, by_chance(a, d)))
		return 0;
	next = (struct balance_friend){time, a->backend, a->generation};
	bpf_map_update_elem(&friends, &key, &next, BPF_ANY);
	return 1;
}

static __always_inline void count_refused(__u32 stat)
{
	struct balance_asked *c = bpf_map_lookup_elem(&asked, &stat);

	if (c)
		c->refused++;
}

static __always_inline enum answer choose_at(struct ask *a, const struct balance_door *d)
{
	struct balance_end *e;
	__u32 id;

	a->stat = d->stat;
	if (!(d->affinity ? choose_friend(a, d) : use(a, by_chance(a, d)))) {
		count_refused(d->stat);
		return NOBODY; /* K4 */
	}
	id = a->backend;
	e = bpf_map_lookup_elem(&ends, &id);
	if (e)
		__sync_fetch_and_add(&e->connects, 1);
	return FOUND;
}

/* ---- what a socket remembers ----------------------------------------------------------------- */

static __always_inline void leave(struct balance_peer *p)
{
	struct balance_end *e;
	__u32 id = p->backend;

	if (!id)
		return;
	p->backend = 0;
	e = bpf_map_lookup_elem(&ends, &id);
	if (e && e->generation == p->generation)
		__sync_fetch_and_add(&e->live, -1);
}

static __always_inline void remember(struct bpf_sock_addr *ctx, const struct ask *a)
{
	struct balance_peer *p =
		bpf_sk_storage_get(&peers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 id = a->backend;
	struct balance_end *e;

	if (!p)
		return;
	leave(p);
	p->cookie = bpf_get_socket_cookie(ctx);
	p->stat = a->stat;
	__builtin_memcpy(p->asked, a->addr, 16);
	__builtin_memcpy(p->end, a->to, 16);
	p->asked_port = a->port;
	p->end_port = a->to_port;
	p->generation = a->generation;
	p->proto = a->proto;
	e = bpf_map_lookup_elem(&ends, &id);
	if (e && e->generation == a->generation)
		__sync_fetch_and_add(&e->live, 1);
	p->backend = id;
}

static __always_inline void forget(struct bpf_sock_addr *ctx)
{
	struct balance_peer *p = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);

	if (p)
		leave(p);
}

/* ---- connect --------------------------------------------------------------------------------- */

static __always_inline enum answer connect_to(struct bpf_sock_addr *ctx, struct ask *a)
{
	struct balance_door *d = door_of(a);
	enum answer answer = d ? choose_at(a, d) : NOT_OURS;

	if (answer == FOUND)
		remember(ctx, a);
	else
		forget(ctx);
	return answer;
}

/* ---- datagrams without connect --------------------------------------------------------------- */

static __always_inline struct balance_talk_key talk_key(__u64 cookie, const __u64 addr[2],
							__be16 port, __u8 family, __u8 back)
{
	return (struct balance_talk_key){
		.cookie = cookie,
		.addr = {addr[0], addr[1]},
		.port = port,
		.back = back,
		.family = family,
	};
}

/* The way back, unless it is known. */
static __always_inline void way_back(__u64 cookie, const struct ask *a)
{
	struct balance_talk_key key = talk_key(cookie, a->to, a->to_port, a->family, 1);
	struct balance_talk *t = bpf_map_lookup_elem(&talks, &key), next;

	if (t && t->addr[0] == a->addr[0] && t->addr[1] == a->addr[1] && t->port == a->port)
		return;
	next = (struct balance_talk){
		.addr = {a->addr[0], a->addr[1]},
		.backend = a->backend,
		.generation = a->generation,
		.port = a->port,
	};
	bpf_map_update_elem(&talks, &key, &next, BPF_ANY);
}

static __always_inline enum answer send_to(struct bpf_sock_addr *ctx, struct ask *a)
{
	struct balance_talk_key key;
	struct balance_talk *t, next;
	struct balance_peer *p;
	struct balance_door *d = door_of(a);

	if (!d)
		return NOT_OURS;
	key = talk_key(bpf_get_socket_cookie(ctx), a->addr, a->port, a->family, 0);
	t = bpf_map_lookup_elem(&talks, &key);
	if (!t || !use_same(a, t->backend, t->generation, BALANCE_DRAINING)) { /* K1 */
		if (choose_at(a, d) != FOUND)
			return NOBODY;
		next = (struct balance_talk){.backend = a->backend, .generation = a->generation};
		bpf_map_update_elem(&talks, &key, &next, BPF_ANY);
		p = bpf_sk_storage_get(&peers, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		if (p)
			p->talks = 1;
	}
	way_back(key.cookie, a);
	return FOUND;
}

/* ---- what was asked for ---------------------------------------------------------------------- */

/* @a->addr and port: where something came from; to and to_port: what the socket knows it as. */
static __always_inline int known_as(struct bpf_sock_addr *ctx, struct ask *a, int datagram)
{
	struct balance_peer *p = bpf_sk_storage_get(&peers, ctx->sk, 0, 0);
	struct balance_talk_key key;
	struct balance_talk *t;

	if (!p)
		return 0;
	if (p->backend && p->end_port == a->port && p->end[0] == a->addr[0] &&
	    p->end[1] == a->addr[1]) {
		__builtin_memcpy(a->to, p->asked, 16);
		a->to_port = p->asked_port;
		return 1;
	}
	if (!datagram || !p->talks)
		return 0;
	key = talk_key(bpf_get_socket_cookie(ctx), a->addr, a->port, a->family, 1);
	t = bpf_map_lookup_elem(&talks, &key);
	if (!t)
		return 0;
	__builtin_memcpy(a->to, t->addr, 16);
	a->to_port = t->port;
	return 1;
}

/* ---- addresses in and out of the context ----------------------------------------------------- */

static __always_inline struct ask ask4(struct bpf_sock_addr *ctx)
{
	return (struct ask){
		.addr = {ctx->user_ip4},
		.port = ctx->user_port,
		.family = 4,
		.proto = ctx->protocol,
		.netns = bpf_get_netns_cookie(ctx),
	};
}

static __always_inline void set4(struct bpf_sock_addr *ctx, const struct ask *a)
{
	ctx->user_ip4 = a->to[0];
	ctx->user_port = a->to_port;
}

/* ::ffff:a.b.c.d is asked for as a.b.c.d. */
static __always_inline struct ask ask6(struct bpf_sock_addr *ctx)
{
	__u32 w0 = ctx->user_ip6[0], w1 = ctx->user_ip6[1], w2 = ctx->user_ip6[2],
	      w3 = ctx->user_ip6[3];
	struct ask a = {
		.addr = {(__u64)w1 << 32 | w0, (__u64)w3 << 32 | w2},
		.port = ctx->user_port,
		.family = 6,
		.proto = ctx->protocol,
		.netns = bpf_get_netns_cookie(ctx),
	};

	if (!w0 && !w1 && w2 == bpf_htonl(0xffff)) {
		a.addr[0] = w3;
		a.addr[1] = 0;
		a.family = 4;
	}
	return a;
}

static __always_inline void set6(struct bpf_sock_addr *ctx, const struct ask *a)
{
	if (a->family == 6) {
		ctx->user_ip6[0] = a->to[0];
		ctx->user_ip6[1] = a->to[0] >> 32;
		ctx->user_ip6[2] = a->to[1];
		ctx->user_ip6[3] = a->to[1] >> 32;
	} else {
		ctx->user_ip6[3] = a->to[0];
	}
	ctx->user_port = a->to_port;
}

/* ---- programs -------------------------------------------------------------------------------- */

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct ask a = ask4(ctx);
	enum answer answer = connect_to(ctx, &a);

	if (answer == FOUND)
		set4(ctx, &a);
	return answer == NOBODY ? refuse(ECONNREFUSED) : ALLOW;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct ask a = ask6(ctx);
	enum answer answer = connect_to(ctx, &a);

	if (answer == FOUND)
		set6(ctx, &a);
	return answer == NOBODY ? refuse(ECONNREFUSED) : ALLOW;
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct ask a = ask4(ctx);
	enum answer answer = send_to(ctx, &a);

	if (answer == FOUND)
		set4(ctx, &a);
	return answer == NOBODY ? refuse(ECONNREFUSED) : ALLOW;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct ask a = ask6(ctx);
	enum answer answer = send_to(ctx, &a);

	if (answer == FOUND)
		set6(ctx, &a);
	return answer == NOBODY ? refuse(ECONNREFUSED) : ALLOW;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	struct ask a = ask4(ctx);

	if (known_as(ctx, &a, 1))
		set4(ctx, &a);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	struct ask a = ask6(ctx);

	if (known_as(ctx, &a, 1))
		set6(ctx, &a);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	struct ask a = ask4(ctx);

	if (known_as(ctx, &a, 0))
		set4(ctx, &a);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	struct ask a = ask6(ctx);

	if (known_as(ctx, &a, 0))
		set6(ctx, &a);
	return ALLOW;
}

static __always_inline int bind_to(struct bpf_sock *sk)
{
	__u32 port = sk->src_port & 0xffff, at = port / 64 + (sk->protocol == PROTO_UDP ? 1024 : 0);
	__u64 *bits = bpf_map_lookup_elem(&held, &at);

	if (!bits || !(*bits >> (port & 63) & 1) || bpf_get_netns_cookie(sk) != home)
		return ALLOW;
	return refuse(EADDRINUSE);
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *sk)
{
	return bind_to(sk);
}

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *sk)
{
	return bind_to(sk);
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	struct balance_peer *p = bpf_sk_storage_get(&peers, sk, 0, 0);

	if (p)
		leave(p);
	return ALLOW;
}
