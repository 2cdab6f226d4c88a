/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quic.bpf.h: the backend that a QUIC connection id names. Ids of connections are the servers'
 * (draft-ietf-quic-load-balancers, in plain text): one byte, of which the first three bits are not all
 * ones, then the server's id, then at least three bytes of the server's own choice.
 *
 * Q1  An id that names nobody, as a client's first ones, is no id: the flow decides.
 * Q2  An id names a backend of the packet's own service, or nobody.
 */
#ifndef SKEP_BALANCE_QUIC_BPF_H
#define SKEP_BALANCE_QUIC_BPF_H

#include "balance/choice.bpf.h"

#define QUIC_LONG	0x80
#define QUIC_UNROUTABLE 7 /* of the first three bits of an id */
#define QUIC_CID_LEAST	8

struct quic_long {
	__u8 first, version[4], size;
	__u8 cid[QUIC_CID_LEAST];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct balance_quic);
	__type(value, __u32);
} quic SEC(".maps");

static __always_inline __u8 *quic_cid(struct quic_long *q, void *end)
{
	__u8 *cid = &q->version[0];

	if ((void *)(cid + QUIC_CID_LEAST) > end)
		return 0;
	if (!(q->first & QUIC_LONG))
		return cid;
	if ((void *)(q + 1) > end || q->size < QUIC_CID_LEAST)
		return 0;
	return q->cid;
}

/* 0: the id names nobody. */
__noinline __u32 quic_backend(struct xdp_md *ctx, __u32 l4, __u32 stat)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct balance_backend *b;
	__u64 key; /* struct balance_quic, in one word (choice.bpf.h) */
	__u32 *id;
	__u8 *cid;

	if (l4 > 1000)
		return 0;
	cid = quic_cid(data + l4 + 8, end);
	if (!cid || cid[0] >> 5 == QUIC_UNROUTABLE)
		return 0;
	key = stat | (__u64) * (__be32 *)(cid + 1) << 32;
	id = bpf_map_lookup_elem(&quic, &key);
	b = id ? backend_get(*id) : 0;
	return b && b->stat == stat && b->state != BALANCE_GONE ? *id : 0; /* Q2 */
}

#endif
