/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answer.bpf.h: what we answer ourselves: echo, and packets too big for the way.
 */
#ifndef SKEP_BALANCE_ANSWER_BPF_H
#define SKEP_BALANCE_ANSWER_BPF_H

#include "balance/modes.bpf.h"

#define QUOTE4 68
#define QUOTE6 192

static __always_inline void swap_macs(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data;
	struct macs back = turned(&p->macs);

	if (data + 12 <= (void *)(long)ctx->data_end)
		macs_put(data, &back);
}

static __always_inline __u16 sum_of(void *from, __u32 size, __u32 seed)
{
	__s64 sum = bpf_csum_diff(0, 0, from, size, seed);

	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(__u16)sum;
}

/* "Fragmentation needed" (RFC 1191) from the address that the client spoke to. */
static __always_inline int told_too_big4(struct xdp_md *ctx, struct packet *p, __u32 mtu)
{
	struct macs back = turned(&p->macs);
	struct icmp *icmp;
	__u32 l2 = p->l2;
	struct ip4 *ip;

	if (l2 > 22 || bpf_xdp_adjust_tail(ctx, l2 + QUOTE4 - bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_adjust_head(ctx, -28))
		return -1;
	ip = l2_put(ctx, p, &back, bpf_htons(ETH_IP), 28 + QUOTE4 - 8);
	if (!ip || (void *)ip + 28 + QUOTE4 > (void *)(long)ctx->data_end)
		return -1;
	icmp = (void *)(ip + 1);
	*(__be32 *)ip = bpf_htonl(0x45c00000 | (28 + QUOTE4));
	((__be32 *)ip)[1] = 0;
	((__be32 *)ip)[2] = bpf_htonl(OUTER_TTL << 24 | PROTO_ICMP << 16);
	ip->src = p->flow[2];
	ip->dst = p->flow[0];
	ip->sum = sum_of(ip, sizeof(*ip), 0);
	icmp->type = ICMP4_UNREACHABLE;
	icmp->code = ICMP4_TOO_BIG;
	icmp->sum = 0;
	icmp->unused = 0;
	icmp->mtu4 = bpf_htons(mtu);
	icmp->sum = sum_of(icmp, 8 + QUOTE4, 0);
	return 0;
}

/* "Packet too big" (RFC 4443). */
static __always_inline int told_too_big6(struct xdp_md *ctx, struct packet *p, __u32 mtu)
{
	struct macs back = turned(&p->macs);
	__u32 l2 = p->l2, size = 8 + QUOTE6;
	struct icmp *icmp;
	struct ip6 *ip;

	if (l2 > 22 || bpf_xdp_adjust_tail(ctx, l2 + QUOTE6 - bpf_xdp_get_buff_len(ctx)) ||
	    bpf_xdp_adjust_head(ctx, -48))
		return -1;
	ip = l2_put(ctx, p, &back, bpf_htons(ETH_IPV6), 48 + QUOTE6 - 8);
	if (!ip || (void *)ip + 48 + QUOTE6 > (void *)(long)ctx->data_end)
		return -1;
	icmp = (void *)(ip + 1);
	*(__be32 *)ip = bpf_htonl(0x60000000);
	ip->payload = bpf_htons(size);
	ip->proto = PROTO_ICMPV6;
	ip->hops = OUTER_TTL;
	__builtin_memcpy(&ip->src, &p->flow[2], 16);
	__builtin_memcpy(&ip->dst, &p->flow[0], 16);
	*(__be32 *)icmp = bpf_htonl(ICMP6_TOO_BIG << 24);
	icmp->mtu6 = bpf_htonl(mtu);
	icmp->sum = sum_of(&ip->src, 32 + size, bpf_htons(size) + bpf_htons(PROTO_ICMPV6));
	return 0;
}

__noinline int too_big(struct xdp_md *ctx, struct packet *p, __u32 mtu)
{
	if (!p)
		return XDP_ABORTED;
	if (p->kind == KIND_ABOUT || p->fragment || (p->family == 4 && !p->df))
		return done(p, BALANCE_TOO_BIG, XDP_DROP);
	if (p->family == 4 ? told_too_big4(ctx, p, mtu) : told_too_big6(ctx, p, mtu))
		return done(p, BALANCE_TOO_BIG, XDP_DROP);
	return done(p, BALANCE_TOO_BIG_TOLD, XDP_TX);
}

static __always_inline int echo4(struct xdp_md *ctx, struct packet *p, struct ip4 *ip,
				 struct icmp *icmp)
{
	__be32 addr = ip->src;

	ip->src = ip->dst;
	ip->dst = addr;
	icmp->type = ICMP4_REPLY;
	icmp->sum = fold((__u16)~icmp->sum + (__u16)~bpf_htons(ICMP4_ECHO << 8));
	swap_macs(ctx, p);
	return done(p, BALANCE_ECHO, XDP_TX);
}

static __always_inline int echo6(struct xdp_md *ctx, struct packet *p, struct ip6 *ip,
				 struct icmp *icmp)
{
	__be32 addr[4];

	__builtin_memcpy(addr, ip->src, 16);
	__builtin_memcpy(ip->src, ip->dst, 16);
	__builtin_memcpy(ip->dst, addr, 16);
	icmp->type = ICMP6_REPLY;
	icmp->sum = fold((__u16)~icmp->sum + (__u16)~bpf_htons(ICMP6_ECHO << 8) +
			 bpf_htons(ICMP6_REPLY << 8));
	swap_macs(ctx, p);
	return done(p, BALANCE_ECHO, XDP_TX);
}

#endif
