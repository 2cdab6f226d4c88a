/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * unpack_xdp.bpf.h: unpack.bpf.h at XDP: for backend.bpf.c, and for balance.bpf.c where the balancer is
 * a backend itself.
 */
#ifndef SKEP_BALANCE_UNPACK_XDP_BPF_H
#define SKEP_BALANCE_UNPACK_XDP_BPF_H

#define UNPACK_CTX  xdp_md
#define UNPACK_PASS XDP_PASS
#define UNPACK_DROP XDP_DROP

#include "balance/unpack.bpf.h"

static __always_inline int link_put(struct xdp_md *ctx, const struct eth *eth)
{
	void *data = (void *)(long)ctx->data;

	if (data + sizeof(*eth) > (void *)(long)ctx->data_end)
		return -1;
	*(struct eth *)data = *eth;
	return 0;
}

static __always_inline int head_put(struct xdp_md *ctx, __u32 at, const void *from, __u32 n)
{
	void *to = (void *)(long)ctx->data + sizeof(struct eth) + at;

	if (to + n > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(to, from, n);
	return 0;
}

static __always_inline int shorten(struct xdp_md *ctx, __u32 n, __be16 proto)
{
	void *data = (void *)(long)ctx->data;
	struct eth link;

	if (data + sizeof(link) > (void *)(long)ctx->data_end)
		return -1;
	link = *(struct eth *)data;
	link.proto = proto;
	return bpf_xdp_adjust_head(ctx, n) ?: link_put(ctx, &link);
}

static __always_inline int send_by(struct xdp_md *ctx, __u32 ifindex)
{
	return ifindex == ctx->ingress_ifindex ? XDP_TX : (int)bpf_redirect(ifindex, 0);
}

#endif
