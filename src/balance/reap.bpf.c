// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * reap.bpf.c: sockets that socket.bpf.c connected to a backend that is gone are told (ECONNABORTED),
 * instead of waiting for answers that nobody sends.
 *
 *	read(2) of an iterator -> each socket of the reader's network namespace
 *	    -> a peer remembered, and gone by K6 of socket.bpf.c?  no: left alone
 *	    -> ended here (Linux 6.5), or reported, for reap.c to end
 *
 * hooks: iter/tcp, iter/udp. maps in: peers, ends, backends. maps out: peers, ends.
 *
 * U1  Only sockets that socket.bpf.c itself connected are ended: one that connected to the backend's
 *     own address has no peer. Only those of the namespace that the iterator was made in are met.
 * U2  A socket that was ended is connected to nothing: it is not met again.
 */
#include "bpf.h"

#include "packet.h"

#include "balance/balance.h"

LICENSE;

#define AF_INET6 10

const volatile __u32 can_end; /* the kernel has bpf_sock_destroy() */

extern int bpf_sock_destroy(struct sock_common *sk) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct balance_peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_backend);
} backends SEC(".maps");

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct sock_common *udp_sk; /* what a udp_sock begins with */
};

static __always_inline int is_gone(const struct balance_peer *p, struct balance_end **end)
{
	__u32 id = p->backend;
	struct balance_backend *b = id ? bpf_map_lookup_elem(&backends, &id) : 0;
	struct balance_end *e = b ? bpf_map_lookup_elem(&ends, &id) : 0;

	*end = e;
	return e && (e->generation != p->generation || b->state == BALANCE_GONE);
}

static __always_inline void describe(struct balance_stale *r, struct sock_common *sk)
{
	r->local_port = bpf_htons(sk->skc_num);
	r->remote_port = sk->skc_dport;
	if (sk->skc_family == AF_INET6) {
		r->family = 6;
		bpf_core_read(r->local, 16, &sk->skc_v6_rcv_saddr);
		bpf_core_read(r->remote, 16, &sk->skc_v6_daddr);
	} else {
		r->family = 4;
		r->local[0] = sk->skc_rcv_saddr;
		r->remote[0] = sk->skc_daddr;
	}
}

static __always_inline int look(struct seq_file *seq, struct sock_common *sk)
{
	struct balance_peer *p = bpf_sk_storage_get(&peers, sk, 0, 0);
	struct balance_stale r;
	struct balance_end *e;

	if (!p || !sk->skc_dport || !is_gone(p, &e)) /* U2 */
		return 0;
	__builtin_memset(&r, 0, sizeof(r));
	r.cookie = p->cookie;
	r.stat = p->stat;
	r.proto = p->proto;
	describe(&r, sk);
	if (can_end) {
		bpf_sock_destroy(sk);
		r.ended = 1;
		p->backend = 0; /* U2 */
		if (e->generation == p->generation)
			__sync_fetch_and_add(&e->live, -1);
	}
	bpf_seq_write(seq, &r, sizeof(r));
	return 0;
}

SEC("iter/tcp")
int tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	return sk ? look(ctx->meta->seq, sk) : 0;
}

SEC("iter/udp")
int udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = ctx->udp_sk;

	return sk ? look(ctx->meta->seq, sk) : 0;
}
