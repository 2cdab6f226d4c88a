// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tcp.bpf.c: every TCP connection of the host, from connect or accept to close, and the owner of
 * each socket.
 *
 *	inet_sock_set_state -----> tcps: a mark for each connection; at its close --> ring
 *	sock_{send,recv}_length -> owner of the mark, at first use only
 *	sample, run by the agent -> samples, once a second: counters of all marked sockets
 *
 * A connection shorter than a second is one record; a longer one is met by sample().
 *
 * maps in: none. maps out: ring, count, marks (socket.h), tcps, listeners.
 *
 * T1  A connection is keyed by its socket's cookie; addresses only find the other end.
 * T2  Each connection that was opened is closed once: the one transition to TCP_CLOSE.
 * T3  The owner is a process that used the socket; until one did, it is who connected or listened
 *     on its port.
 *     State changes that an application causes (connect, listen, shutdown, close) run in its
 *     context; the others run wherever a packet came in and never name an owner.
 * T4  Bytes are payload: counters of the kernel less retransmissions, SYN and FIN.
 * T5  A connect(2) that fails before a packet leaves (no route, no port) is told when it returns,
 *     because only then its error is known; on its way out it may change states or not.
 * T6  A mark lies in a preallocated map by the address of its socket, from SYN_SENT or ESTABLISHED
 *     to TCP_CLOSE: storage beside the socket (BPF_MAP_TYPE_SK_STORAGE) takes two allocations and
 *     two RCU frees an end, several times the cost of everything else here. The address is that of
 *     a living socket as long as the mark is there; only sample() must look twice.
 * T7  sample() is attached nowhere: the agent reads the addresses of marked sockets in batches and runs it
 *     (BPF_PROG_TEST_RUN) on each. An iterator over tcps would do as well where the kernel lets one
 *     load; not all do.
 */
#include "bpf.h"
#include "socket.h"

LICENSE;

#define IPPROTO_TCP 6

#define LISTENERS 4096

const volatile __u32 sees_connect; /* hooks that see every connect return are attached: T5 */

/* T6. The agent sets max_entries. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct sock *);
	__type(value, struct trace_mark);
} tcps SEC(".maps");

struct listener {
	__u32 netns; /* inode number */
	__u32 port;
};

/* Who listens (T3). Nothing is removed: a port that is accepted on has been listened on since. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LISTENERS);
	__type(key, struct listener);
	__type(value, struct trace_owner);
} listeners SEC(".maps");

static __always_inline int is_inet(struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET || sk->__sk_common.skc_family == AF_INET6;
}

static __always_inline struct trace_mark *mark_find(struct sock *sk)
{
	return bpf_map_lookup_elem(&tcps, &sk);
}

static __always_inline void mark_put(struct sock *sk, const struct trace_mark *m)
{
	struct trace_count *c;

	bpf_get_socket_cookie(sk); /* makes one */
	if (!bpf_map_update_elem(&tcps, &sk, m, BPF_ANY))
		return;
	c = counts();
	if (c)
		c->marks_lost++;
}

static __always_inline void listens(struct sock *sk, struct task_struct *task)
{
	struct listener key = {
		.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum),
		.port = BPF_CORE_READ(sk, __sk_common.skc_num),
	};
	struct trace_owner o = {};

	own(&o, task);
	bpf_map_update_elem(&listeners, &key, &o, BPF_ANY);
}

/* T3: no process has used the socket yet, or none ever did. */
static __always_inline void guess(struct trace_tcp *t)
{
	struct listener key = {.netns = t->ends.netns, .port = t->ends.local_port};
	struct trace_owner *o;

	if (t->mark.owner.pid)
		return;
	o = bpf_map_lookup_elem(&listeners, &key);
	if (o)
		t->mark.owner = *o;
}

static __always_inline struct trace_tcp *event(struct sock *sk, struct trace_mark *mark, int state,
					       __u64 now)
{
	struct trace_tcp *e = reserve(TRACE_CLOSE, sizeof(*e));

	if (!e)
		return 0;
	e->head.time = now;
	e->head.kind = TRACE_CLOSE;
	e->head.pad = 0;
	e->mark = *mark;
	e->state = state;
	if (read_tcp(e, sk))
		e->cookie = 0; /* cannot be: it is a TCP socket; the agent refuses it */
	else
		guess(e);
	return e;
}

static __always_inline void report(struct sock *sk, struct trace_mark *mark, int state, __u64 now)
{
	struct trace_tcp *e = event(sk, mark, state, now);

	if (e)
		submit(e, now);
}

static __always_inline void mark_owner(struct trace_mark *m, __u32 flags)
{
	own(&m->owner, bpf_get_current_task_btf());
	m->flags |= flags;
}

/* connect(2), in the caller's context (T3). */
static __always_inline void connects(struct sock *sk, __u64 now)
{
	struct trace_mark m = {.opened = now};

	mark_owner(&m, TRACE_OUT | TRACE_OWNED | (sees_connect ? TRACE_CALLING : 0));
	mark_put(sk, &m);
}

/* Accepted, unless this end asked (both may have, in a simultaneous open). */
static __always_inline void established(struct sock *sk, int old, __u64 now)
{
	struct trace_mark fresh = {.opened = now, .flags = TRACE_IN}, *m;

	if (old == TCP_SYN_SENT)
		return;
	m = mark_find(sk);
	if (!m || !(m->flags & TRACE_OUT))
		mark_put(sk, &fresh);
}

/* The mark ends with the connection; a socket that connects again gets a fresh one. */
static __always_inline void closed(struct sock *sk, int old, __u64 now)
{
	struct trace_mark *m = mark_find(sk), none = {.flags = TRACE_OLD};

	if (!m && old == TCP_SYN_RECV)
		return;			       /* never was one */
	if (!m || !(m->flags & TRACE_CALLING)) /* T5 */
		report(sk, m ? m : &none, old, now);
	if (m)
		bpf_map_delete_elem(&tcps, &sk);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int state)
{
	struct trace_mark *m;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	switch (state) {
	case TCP_SYN_SENT:
		connects(sk, bpf_ktime_get_boot_ns());
		break;
	case TCP_LISTEN:
		listens(sk, bpf_get_current_task_btf());
		break;
	case TCP_ESTABLISHED:
		established(sk, old, bpf_ktime_get_boot_ns());
		break;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		m = mark_find(sk);
		if (m && !(m->flags & TRACE_OWNED))
			mark_owner(m, TRACE_OWNED);
		break;
	case TCP_CLOSE:
		if (old != TCP_LISTEN)
			closed(sk, old, bpf_ktime_get_boot_ns());
		break;
	}
	return 0;
}

/* First use of a socket: this process owns it. Every later use costs one lookup. */
static __always_inline int used(struct sock *sk)
{
	struct trace_mark *m;

	if (!is_inet(sk))
		return 0;
	m = sk->sk_protocol == IPPROTO_TCP ? mark_find(sk) : bpf_sk_storage_get(&marks, sk, 0, 0);
	if (!m || m->flags & TRACE_OWNED)
		return 0;
	mark_owner(m, TRACE_OWNED);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret, int flags)
{
	return used(sk);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_recv, struct sock *sk, int ret, int flags)
{
	return used(sk);
}

/* The same on kernels before 6.3, at accept(2) itself. */
SEC("fexit/inet_csk_accept")
int BPF_PROG(on_accept, struct sock *listener, int flags, int *err, int kern, struct sock *sk)
{
	return sk ? used(sk) : 0;
}

/* As struct sockaddr_in and sockaddr_in6 have it. */
struct target {
	__u16 family;
	__be16 port;
	__u32 addr4; /* IPv6: flow */
	__u8 addr6[16];
};

/* Where the connect was to go: the socket does not know it (any more). */
static __always_inline void aim(struct trace_ends *e, const void *addr)
{
	struct target to = {};

	if (bpf_probe_read_kernel(&to, sizeof(to), addr) || to.family != e->family)
		return;
	e->remote_port = __builtin_bswap16(to.port);
	if (e->family == AF_INET)
		*(__u32 *)e->remote = to.addr4;
	else
		__builtin_memcpy(e->remote, to.addr6, 16);
}

static __always_inline void refused(struct sock *sk, const void *addr, struct trace_mark *m,
				    int ret)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct trace_tcp *e;

	if (!m->opened) {
		m->opened = now;
		mark_owner(m, TRACE_OUT | TRACE_OWNED);
		bpf_get_socket_cookie(sk);
	}
	e = event(sk, m, TCP_SYN_SENT, now);
	if (!e)
		return;
	aim(&e->ends, addr);
	e->error = -ret;
	submit(e, now);
}

/* T5. Where the state was changed back already there is no mark any more. */
static __always_inline int returned(struct sock *sk, const void *addr, int ret)
{
	struct trace_mark *m = mark_find(sk), fresh = {};

	if (m && m->flags & TRACE_CALLING)
		m->flags &= ~TRACE_CALLING;
	else
		m = &fresh;
	if (ret < 0)
		refused(sk, addr, m, ret);
	return 0;
}

SEC("fexit/tcp_v4_connect")
int BPF_PROG(on_connect4, struct sock *sk, void *addr, int len, int ret)
{
	/* An IPv6 socket comes here for an IPv4 address, and returns through on_connect6. */
	return sk->__sk_common.skc_family == AF_INET ? returned(sk, addr, ret) : 0;
}

SEC("fexit/tcp_v6_connect")
int BPF_PROG(on_connect6, struct sock *sk, void *addr, int len, int ret)
{
	return returned(sk, addr, ret);
}

/* T7: a part of the marked sockets, by their addresses; their counters come back. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TRACE_SAMPLES);
	__type(key, __u32);
	__type(value, struct trace_tcp);
} samples SEC(".maps");

__u32 asked; /* of samples */

/* T6: the address may be of a socket that is gone; then it has no mark now, or another one. */
static long sample_one(void *map, __u32 *index, struct trace_tcp *t, void *ctx)
{
	struct sock *sk = (void *)t->cookie;
	struct trace_mark *m;

	if (*index >= asked)
		return 1;
	m = mark_find(sk);
	if (!m)
		return 0;
	t->mark = *m;
	t->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	read_tcp_at(t, sk);
	guess(t);
	m = mark_find(sk);
	if (!m || m->opened != t->mark.opened)
		t->state = TCP_CLOSE;
	return 0;
}

SEC("raw_tp/sys_enter")
int sample(void *ctx)
{
	bpf_for_each_map_elem(&samples, sample_one, 0, 0);
	return 0;
}

static __always_inline void found_udp(struct sock *sk, struct task_struct *task)
{
	struct trace_mark *m = bpf_sk_storage_get(&marks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!m || m->owner.pid)
		return;
	own(&m->owner, task);
	m->opened = bpf_ktime_get_boot_ns();
	m->flags = TRACE_OLD;
	m->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* Returns whether it is told: one that has a mark is known, from an event or another descriptor. */
static __always_inline int found_tcp(struct sock *sk, struct task_struct *task, struct trace_tcp *t)
{
	t->state = sk->__sk_common.skc_state;
	if (t->state == TCP_LISTEN)
		listens(sk, task);
	else if (t->state == TCP_CLOSE || mark_find(sk))
		return 0;
	own(&t->mark.owner, task);
	t->mark.opened = bpf_ktime_get_boot_ns();
	t->mark.flags = TRACE_OLD | TRACE_OWNED;
	if (t->state != TCP_LISTEN)
		mark_put(sk, &t->mark);
	return !read_tcp(t, sk);
}

/*
 * Sockets older than the agent, in all network namespaces: every file of every process. The first
 * process that holds a socket counts as its owner. TCP sockets, listeners too, go to read(2).
 */
SEC("iter/task_file")
int scan(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct trace_tcp t = {};
	struct socket *socket;

	if (!task || !file || task->pid != task->tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket || !socket->sk || !is_inet(socket->sk))
		return 0;
	if (socket->sk->sk_protocol != IPPROTO_TCP)
		found_udp(socket->sk, task);
	else if (found_tcp(socket->sk, task, &t))
		bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}
