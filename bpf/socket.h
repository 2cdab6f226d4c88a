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
	o->start = BPF_CORE_READ(task, group_leader, start_boottime);
	o->pid = BPF_CORE_READ(task, tgid);
	o->pad = 0;
	BPF_CORE_READ_STR_INTO(&o->comm, task, group_leader, comm);
}

static __always_inline void read_ends(struct trace_ends *e, struct sock *sk)
{
	struct sock_common *c = &sk->__sk_common;

	__builtin_memset(e, 0, sizeof(*e));
	e->family = BPF_CORE_READ(c, skc_family);
	e->local_port = __builtin_bswap16(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	e->remote_port = __builtin_bswap16(BPF_CORE_READ(c, skc_dport));
	e->netns = BPF_CORE_READ(c, skc_net.net, ns.inum);
	if (e->family == AF_INET) {
		BPF_CORE_READ_INTO((__u32 *)e->local, c, skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32 *)e->remote, c, skc_daddr);
	} else {
		BPF_CORE_READ_INTO(&e->local, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&e->remote, c, skc_v6_daddr);
	}
}

/* A FIN stands in bytes_received as one byte; a SYN stands nowhere. */
static __always_inline void read_tcp(struct trace_tcp *t, struct sock *sk)
{
	struct tcp_sock *tp = (void *)sk;
	__u64 fin = BPF_CORE_READ(sk, __sk_common.skc_flags) >> SOCK_DONE & 1;
	__u64 received = BPF_CORE_READ(tp, bytes_received);

	read_ends(&t->ends, sk);
	t->cookie = BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
	t->bytes_sent = BPF_CORE_READ(tp, bytes_sent) - BPF_CORE_READ(tp, bytes_retrans);
	t->bytes_received = received ? received - fin : 0;
	t->packets_sent = BPF_CORE_READ(tp, segs_out);
	t->packets_received = BPF_CORE_READ(tp, segs_in);
	t->rtt_us = BPF_CORE_READ(tp, srtt_us) >> 3;
	t->retransmits = BPF_CORE_READ(tp, total_retrans);
	t->error = BPF_CORE_READ(sk, sk_err);
	__builtin_memset(t->pad, 0, sizeof(t->pad));
}

#endif
