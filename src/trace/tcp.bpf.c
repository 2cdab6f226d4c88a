// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tcp.bpf.c: every TCP connection of the host, from connect or accept to close, and the owner of
 * each socket.
 *
 *	inet_sock_set_state -----> mark beside the socket; at its close --> ring
 *	sock_{send,recv}_length -> owner of the mark, at first use only
 *	iter/bpf_sk_storage_map -> read(2), once a second: all marked sockets with their counters
 *
 * A connection shorter than a second is one record; a longer one is met by the iterator.
 *
 * maps in: none. maps out: ring, count, marks (socket.h).
 *
 * T1  A connection is keyed by its socket's cookie; addresses only find the other end.
 * T2  Each connection that was opened is closed once: the one transition to TCP_CLOSE.
 * T3  The owner is a process that used the socket; until one did, it is who connected or listened.
 *     State changes that an application causes (connect, listen, shutdown, close) run in its
 *     context; the others run wherever a packet came in and never name an owner.
 * T4  Bytes are payload: counters of the kernel less retransmissions, SYN and FIN.
 * T5  A connect(2) that fails before a packet leaves (no route, no port) is told when it returns,
 *     because only then its error is known; on its way out it may change states or not.
 */
#include "bpf.h"
#include "socket.h"

LICENSE;

#define IPPROTO_TCP 6

const volatile __u32 sees_connect; /* hooks that see every connect return are attached: T5 */

static __always_inline int is_inet(struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_INET || sk->__sk_common.skc_family == AF_INET6;
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

/* connect(2) or listen(2): a fresh mark, in the caller's context (T3). */
static __always_inline void begin(struct sock *sk, __u32 flags, __u64 now)
{
	struct trace_mark *m;

	bpf_get_socket_cookie(sk); /* makes one */
	m = bpf_sk_storage_get(&marks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!m)
		return;
	m->opened = now;
	m->flags = flags;
	mark_owner(m, 0);
}

/* Of an accepted socket the mark is its listener's, cloned: another connection, no owner yet. */
static __always_inline void established(struct sock *sk, __u64 now)
{
	struct trace_mark *m = bpf_sk_storage_get(&marks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!m)
		return;
	if (!(m->flags & TRACE_OUT)) {
		m->flags = TRACE_IN;
		m->opened = now;
		bpf_get_socket_cookie(sk);
	}
}

/* The mark goes with the socket; a socket that connects again gets a fresh one. */
static __always_inline void closed(struct sock *sk, int old, __u64 now)
{
	struct trace_mark *m = bpf_sk_storage_get(&marks, sk, 0, 0), none = {.flags = TRACE_OLD};

	if (!m || !(m->flags & (TRACE_LISTEN | TRACE_CALLING))) /* T5 */
		report(sk, m ? m : &none, old, now);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old, int state)
{
	struct trace_mark *m;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	switch (state) {
	case TCP_SYN_SENT:
		begin(sk, TRACE_OUT | TRACE_OWNED | (sees_connect ? TRACE_CALLING : 0),
		      bpf_ktime_get_boot_ns());
		break;
	case TCP_LISTEN:
		begin(sk, TRACE_LISTEN, bpf_ktime_get_boot_ns());
		break;
	case TCP_ESTABLISHED:
		established(sk, bpf_ktime_get_boot_ns());
		break;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		m = bpf_sk_storage_get(&marks, sk, 0, 0);
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
	m = bpf_sk_storage_get(&marks, sk, 0, 0);
	if (!m || m->flags & (TRACE_OWNED | TRACE_LISTEN))
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

/* T5. A mark without CALLING is of an earlier connection of this socket. */
static __always_inline int returned(struct sock *sk, const void *addr, int ret)
{
	struct trace_mark *m = bpf_sk_storage_get(&marks, sk, 0, 0), fresh = {};

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

SEC("iter/bpf_sk_storage_map")
int sample(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct trace_mark *m = ctx->value;
	struct sock *sk = ctx->sk;
	struct trace_tcp t = {};

	if (!sk || !m || m->flags & TRACE_LISTEN || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	t.mark = *m;
	t.state = sk->__sk_common.skc_state;
	if (t.state != TCP_CLOSE && !read_tcp(&t, sk))
		bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
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
	struct trace_mark *m;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file || task->pid != task->tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket || !socket->sk || !is_inet(socket->sk))
		return 0;
	sk = socket->sk;
	m = bpf_sk_storage_get(&marks, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!m || m->owner.pid)
		return 0;
	own(&m->owner, task);
	m->opened = bpf_ktime_get_boot_ns();
	m->flags = TRACE_OLD;
	m->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	t.state = sk->__sk_common.skc_state;
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	m->flags |= t.state == TCP_LISTEN ? TRACE_LISTEN : TRACE_OWNED;
	bpf_get_socket_cookie(sk);
	t.mark = *m;
	if (!read_tcp(&t, sk))
		bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}
