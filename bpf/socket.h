/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.h: the maps that trace's objects share, and reading a socket. Each object declares the
 * maps; trace.c makes them one with bpf_map__reuse_fd().
 */
#ifndef SKEP_BPF_SOCKET_H
#define SKEP_BPF_SOCKET_H

#include "trace/trace.h"

#define RING_COUNT struct trace_count
#include "ring.h"

#define AF_INET	 2
#define AF_INET6 10

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT	2
#define TCP_SYN_RECV	3
#define TCP_FIN_WAIT1	4
#define TCP_CLOSE	7
#define TCP_LAST_ACK	9
#define TCP_LISTEN	10

#define SOCK_DONE 1 /* bit of sk_flags: a FIN has come */

/* Beside each UDP socket; TCP's are in tcp.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct trace_mark);
} marks SEC(".maps");

static __always_inline void own(struct trace_owner *o, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	o->start = leader->start_boottime;
	o->pid = task->tgid;
	o->pad = 0;
	BPF_CORE_READ_STR_INTO(&o->comm, leader, comm);
}

/*
 * A field of the kernel. Through a BTF pointer (direct) it is one load, which reads as 0 where the
 * pointer is NULL or gone; a bare address needs a helper. @direct is a constant.
 */
#define LOAD(direct, from, field) ((direct) ? (from)->field : BPF_CORE_READ(from, field))

static __always_inline void read_ends(struct trace_ends *e, struct sock *sk, struct tcp_sock *tp,
				      const int direct)
{
	struct sock_common *c = &sk->__sk_common;
	struct inet_sock *inet = (struct inet_sock *)tp;

	__builtin_memset(e, 0, sizeof(*e));
	e->family = LOAD(direct, c, skc_family);
	/* not skc_num: a close gives the port back before it is told */
	e->local_port = __builtin_bswap16(LOAD(direct, inet, inet_sport));
	e->remote_port = __builtin_bswap16(LOAD(direct, c, skc_dport));
	e->netns = direct ? c->skc_net.net->ns.inum : BPF_CORE_READ(c, skc_net.net, ns.inum);
	if (e->family == AF_INET) {
		*(__u32 *)e->local = LOAD(direct, c, skc_rcv_saddr);
		*(__u32 *)e->remote = LOAD(direct, c, skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&e->local, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&e->remote, c, skc_v6_daddr);
	}
}

/* A FIN stands in bytes_received as one byte; a SYN stands nowhere. */
static __always_inline void read_fields(struct trace_tcp *t, struct sock *sk, struct tcp_sock *tp,
					const int direct)
{
	__u64 received = LOAD(direct, tp, bytes_received);
	__u64 done = LOAD(direct, sk, __sk_common.skc_flags) >> SOCK_DONE & 1;

	read_ends(&t->ends, sk, tp, direct);
	t->cookie = LOAD(direct, sk, __sk_common.skc_cookie.counter);
	t->bytes_sent = LOAD(direct, tp, bytes_sent) - LOAD(direct, tp, bytes_retrans);
	t->bytes_received = received ? received - done : 0;
	t->packets_sent = LOAD(direct, tp, segs_out);
	t->packets_received = LOAD(direct, tp, segs_in);
	t->rtt_us = LOAD(direct, tp, srtt_us) >> 3;
	t->retransmits = LOAD(direct, tp, total_retrans);
	t->error = LOAD(direct, sk, sk_err);
	__builtin_memset(t->pad, 0, sizeof(t->pad));
}

static __always_inline int read_tcp(struct trace_tcp *t, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

	if (tp)
		read_fields(t, sk, tp, 1);
	return tp ? 0 : -1;
}

/* The same of a bare address, known to be a TCP socket's. */
static __always_inline void read_tcp_at(struct trace_tcp *t, struct sock *sk)
{
	read_fields(t, sk, (struct tcp_sock *)sk, 0);
}

#endif
