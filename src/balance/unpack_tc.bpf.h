/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * unpack_tc.bpf.h: unpack.bpf.h at tc.
 *
 * X1  The kernel's idea of a packet is kept true: its protocol (bpf_skb_change_proto(), which each kernel
 *     has, where the families differ), its sum where the device made one of all bytes (changes go
 *     through helpers that recompute it), the size of segments that were merged on arrival (what goes
 *     was none of theirs), its hash (of the outer header: forgotten).
 * X2  Nothing is written through packet pointers: a program that does so has each packet that somebody
 *     else looks at copied, foreign ones too.
 */
#ifndef SKEP_BALANCE_UNPACK_TC_BPF_H
#define SKEP_BALANCE_UNPACK_TC_BPF_H

#include <linux/pkt_cls.h>

#define UNPACK_CTX  __sk_buff
#define UNPACK_PASS TC_ACT_UNSPEC /* to the next program, if there is one */
#define UNPACK_DROP TC_ACT_SHOT

#include "balance/unpack.bpf.h"

#define HEADS_MOST 256 /* outer, UDP, GUE with all it may hold, inner, TCP */

static __always_inline int link_put(struct __sk_buff *ctx, const struct eth *eth)
{
	return bpf_skb_store_bytes(ctx, 0, eth, sizeof(*eth), 0);
}

static __always_inline int head_put(struct __sk_buff *ctx, __u32 at, const void *from, __u32 n)
{
	return bpf_skb_store_bytes(ctx, sizeof(struct eth) + at, from, n, BPF_F_RECOMPUTE_CSUM);
}

static __always_inline int shorten(struct __sk_buff *ctx, __u32 n, __be16 proto)
{
	const int longer = sizeof(struct ip6) - sizeof(struct ip4);
	int by = n;

	if (ctx->protocol != proto) {
		by += proto == bpf_htons(ETH_IPV6) ? longer : -longer;
		if (bpf_skb_change_proto(ctx, proto, 0))
			return -1;
	}
	if (bpf_skb_adjust_room(ctx, -by, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return -1;
	bpf_set_hash_invalid(ctx);
	return bpf_skb_store_bytes(ctx, offsetof(struct eth, proto), &proto, sizeof(proto), 0);
}

static __always_inline int send_by(struct __sk_buff *ctx, __u32 ifindex)
{
	return bpf_redirect(ifindex, 0);
}

/* Whether @n bytes, or the whole frame, can be looked at; they may stand in pages as yet. */
static __always_inline int heads_there(struct __sk_buff *ctx, __u32 n)
{
	__u32 want = ctx->len < n ? ctx->len : n;

	return (void *)(long)ctx->data + want <= (void *)(long)ctx->data_end ||
	       !bpf_skb_pull_data(ctx, want);
}

/* Whether it may be packed, by its first header: what cannot costs no more than this. */
static __always_inline int may_be_packed(struct __sk_buff *ctx)
{
	struct ip6 *ip6 = (void *)(long)ctx->data + sizeof(struct eth);
	struct ip4 *ip4 = (void *)ip6;
	__u8 proto;

	if ((void *)(ip4 + 1) > (void *)(long)ctx->data_end)
		return 0;
	proto = ip4->proto;
	if (ctx->protocol == bpf_htons(ETH_IPV6))
		proto = ip6->proto;
	else if (ctx->protocol != bpf_htons(ETH_IP) || ip4->words > 5)
		return ctx->protocol == bpf_htons(ETH_IP);
	return proto == PROTO_IPIP || proto == PROTO_IPV6 || proto == PROTO_UDP || proto == IP6_DST;
}

/* Without VLAN tags, as at XDP; there they stand in the frame, here beside it. */
static __always_inline int unpack_skb(struct __sk_buff *ctx, __u32 *what)
{
	*what = NOT_PACKED;
	if (ctx->vlan_present || !heads_there(ctx, sizeof(struct eth) + sizeof(struct ip6)) ||
	    !may_be_packed(ctx) || !heads_there(ctx, HEADS_MOST))
		return UNPACK_PASS;
	return unpack_frame(ctx, what);
}

#endif
