/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * socket.h: the maps that trace's objects share, and reading a socket. Each object declares the
 * maps; trace.c makes them one with bpf_map__reuse_fd().
 */
#ifndef SKEP_BPF_SOCKET_H
#define SKEP_BPF_SOCKET_H

#include "trace/trace.h"

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

const volatile __u64 ring_quarter; /* bytes */

__u64 last_wake;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct trace_count);
} count SEC(".maps");

/* CLONE: an accepted socket inherits its listener's mark, and with it a first guess of the owner. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct trace_mark);
} marks SEC(".maps");

static __always_inline struct trace_count *counts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&count, &zero);
}

/* Sent is counted when room is asked for; lost when there is none. */
static __always_inline void *reserve(enum trace_kind kind, __u64 size)
{
	struct trace_count *c = counts();
	void *e = bpf_ringbuf_reserve(&ring, size, 0);

	if (!c)
		goto out;
	c->sent[kind]++;
	if (!e)
		c->lost[kind]++;
out:
	return e;
}

static __always_inline void submit(void *e, __u64 now)
{
	bpf_ringbuf_submit(e, ring_flags(&ring, ring_quarter, now, &last_wake));
}

static __always_inline void own(struct trace_owner *o, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	o->start = leader->start_boottime;
	o->pid = task->tgid;
	o->pad = 0;
	BPF_CORE_READ_STR_INTO(&o->comm, leader, comm);
}

/* Loads through BTF pointers, not through helpers: a pointer that is NULL or gone reads as 0. */
static __always_inline void read_ends(struct trace_ends *e, struct sock *sk, struct tcp_sock *tp)
{
	struct sock_common *c = &sk->__sk_common;

	__builtin_memset(e, 0, sizeof(*e));
	e->family = c->skc_family;
	/* not skc_num: a close gives the port back before it is told */
	e->local_port = __builtin_bswap16(((struct inet_sock *)tp)->inet_sport);
	e->remote_port = __builtin_bswap16(c->skc_dport);
	e->netns = c->skc_net.net->ns.inum;
	if (e->family == AF_INET) {
		*(__u32 *)e->local = c->skc_rcv_saddr;
		*(__u32 *)e->remote = c->skc_daddr;
	} else {
		BPF_CORE_READ_INTO(&e->local, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&e->remote, c, skc_v6_daddr);
	}
}

/* A FIN stands in bytes_received as one byte; a SYN stands nowhere. */
static __always_inline int read_tcp(struct trace_tcp *t, struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	__u64 received;

	if (!tp)
		return -1;
	received = tp->bytes_received;
	read_ends(&t->ends, sk, tp);
	t->cookie = sk->__sk_common.skc_cookie.counter;
	t->bytes_sent = tp->bytes_sent - tp->bytes_retrans;
	t->bytes_received = received ? received - (sk->__sk_common.skc_flags >> SOCK_DONE & 1) : 0;
	t->packets_sent = tp->segs_out;
	t->packets_received = tp->segs_in;
	t->rtt_us = tp->srtt_us >> 3;
	t->retransmits = tp->total_retrans;
	t->error = sk->sk_err;
	__builtin_memset(t->pad, 0, sizeof(t->pad));
	return 0;
}

#endif
