/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * modes.bpf.h: the other ways to a backend than IP in IP (out.bpf.h), each a call of its own.
 *
 *	GUE     IP, UDP from a port of the flow's hash, then the packet: variant 1 of GUE. Where a second
 *	        backend may know the flow, variant 0, and its address as the header's private data.
 *	L2      as it came, to the link address of the backend.
 *	OPTION  destination and one option, which holds the address it was for: of IPv4 as the first
 *	        option, of IPv6 as the first extension header. Checksums of L4 stay the client's: the
 *	        backend puts the address back (backend.bpf.c).
 *
 * M1  The checksum of UDP is made of headers alone: what a sum over TCP, UDP or ICMP is follows from its
 *     own checksum. Where that says nothing (fragments, extension headers, UDP without) it is 0.
 */
#ifndef SKEP_BALANCE_MODES_BPF_H
#define SKEP_BALANCE_MODES_BPF_H

#include "balance/out.bpf.h"

const volatile __u16 gue_port = BALANCE_GUE_PORT;

static __always_inline __u32 fold1(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

#define NO_SUM (~0U)

/* The sum over the packet as it came (M1). */
static __always_inline __u32 inner_sum4(struct ip4 *ip, void *end)
{
	struct udp *udp = (void *)ip + ip->words * 4;
	__u64 sum;

	if (ip->fragment & bpf_htons(IP4_MF | IP4_OFFSET) || (void *)(udp + 1) > end)
		return NO_SUM;
	if (ip->proto == PROTO_ICMP)
		return 0;
	if (ip->proto == PROTO_UDP && !udp->sum)
		return NO_SUM;
	sum = (__u64)ip->src + ip->dst + bpf_htons(ip->proto) +
	      bpf_htons(bpf_ntohs(ip->size) - ip->words * 4);
	return (__u16)~fold1(sum);
}

static __always_inline __u32 inner_sum6(struct ip6 *ip, void *end)
{
	struct udp *udp = (void *)(ip + 1);
	__u32 proto = ip->proto;

	if ((void *)(udp + 1) > end ||
	    (proto != PROTO_TCP && proto != PROTO_UDP && proto != PROTO_ICMPV6))
		return NO_SUM;
	if (proto == PROTO_UDP && !udp->sum)
		return NO_SUM;
	return fold1((__u64) * (__u32 *)ip + *(__be16 *)&ip->proto + (__u16)~bpf_htons(proto));
}

static __always_inline __u32 inner_sum(struct xdp_md *ctx, const struct packet *p)
{
	void *at = (void *)(long)ctx->data + (p->l2 & 31), *end = (void *)(long)ctx->data_end;

	if (p->family == 4)
		return at + sizeof(struct ip4) > end ? NO_SUM : inner_sum4(at, end);
	return at + sizeof(struct ip6) > end ? NO_SUM : inner_sum6(at, end);
}

/* @sum: of the inner packet, of the addresses, and of what stands between. */
static __always_inline void udp_put(struct udp *udp, const struct packet *p, __u32 inner, __u64 sum,
				    __u32 size)
{
	__u16 folded;

	udp->src = bpf_htons(0xc000 | ((__u32)p->hash & 0x3fff));
	udp->dst = bpf_htons(gue_port);
	udp->size = bpf_htons(size);
	udp->sum = 0;
	if (inner == NO_SUM)
		return;
	folded = ~fold1(sum + inner + bpf_htons(PROTO_UDP) + 2 * (__u32)udp->size + udp->src +
			udp->dst);
	udp->sum = folded ? folded : 0xffff;
}

static __always_inline __u8 inner_proto(const struct packet *p)
{
	return p->family == 4 ? PROTO_IPIP : PROTO_IPV6;
}

/* GUE, variant 0: length of the private data in words, protocol, no flags. */
static __always_inline __be32 gue_head(const struct packet *p, __u32 words)
{
	return bpf_htonl(words << 24 | (__u32)inner_proto(p) << 16);
}

static __always_inline int gue4(struct xdp_md *ctx, const struct packet *p,
				const struct balance_backend *b,
				const struct balance_backend *second)
{
	const __u32 more = second ? 8 : 0;
	__u32 inner = inner_sum(ctx, p);
	__u64 sum;
	struct ip4 *ip;
	__be32 *gue;

	if (bpf_xdp_adjust_head(ctx, -(int)(28 + more)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IP), 28 + more);
	if (!ip)
		return -1;
	ip4_put(ip, p, b, p->size + 28 + more, PROTO_UDP);
	sum = (__u64)b->src[0] + b->dst[0];
	if (second) {
		gue = (void *)ip + 28;
		gue[0] = gue_head(p, 1);
		gue[1] = second->dst[0];
		sum += (__u64)gue[0] + gue[1];
	}
	udp_put((void *)(ip + 1), p, inner, sum, p->size + 8 + more);
	return 0;
}

static __always_inline int gue6(struct xdp_md *ctx, const struct packet *p,
				const struct balance_backend *b,
				const struct balance_backend *second)
{
	const __u32 more = second ? 20 : 0;
	__u32 inner = inner_sum(ctx, p);
	struct ip6 *ip;
	__be32 *gue;
	__u64 sum;

	if (bpf_xdp_adjust_head(ctx, -(int)(48 + more)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IPV6), 48 + more);
	if (!ip)
		return -1;
	ip6_put(ip, p, b, p->size + 8 + more, PROTO_UDP);
	sum = sum_words(b->src) + sum_words(b->dst);
	if (second) {
		gue = (void *)ip + 48;
		gue[0] = gue_head(p, 4);
		__builtin_memcpy(gue + 1, second->dst, 16);
		sum += gue[0] + sum_words(second->dst);
	}
	udp_put((void *)(ip + 1), p, inner, sum, p->size + 8 + more);
	return 0;
}

/* The other backend that may know the flow, of the same family. */
static __always_inline struct balance_backend *second_get(const struct packet *p, __u8 family)
{
	struct balance_backend *b = p->second ? backend_get(p->second) : 0;

	return b && b->family == family && b->state != BALANCE_GONE ? b : 0;
}

__noinline int out_gue(struct xdp_md *ctx, struct packet *p, __u32 id)
{
	struct balance_backend *b = backend_get(id), *second;

	if (!p || !b)
		return -1;
	second = second_get(p, b->family);
	if (second)
		return b->family == 4 ? gue4(ctx, p, b, second) : gue6(ctx, p, b, second);
	return b->family == 4 ? gue4(ctx, p, b, 0) : gue6(ctx, p, b, 0);
}

/* ---- options --------------------------------------------------------------------------------- */

static __always_inline int option4(struct xdp_md *ctx, const struct packet *p,
				   const struct balance_backend *b)
{
	struct balance_option4 *o;
	struct ip4 *ip = (void *)(long)ctx->data + (p->l2 & 31), head;
	__be32 vip;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end || ip->words > 13)
		return -1;
	head = *ip;
	vip = head.dst;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*o)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IP), sizeof(*ip) + sizeof(*o));
	if (!ip)
		return -1;
	o = (void *)(ip + 1);
	o->type = BALANCE_OPTION4;
	o->size = sizeof(*o);
	o->port = p->ports >> 16;
	o->addr = vip;
	head.words += sizeof(*o) / 4;
	head.size = bpf_htons(p->size + sizeof(*o));
	head.dst = b->dst[0];
	/* + words and the option; the address is in it before and after, but for the backend's */
	head.sum = fold((__u16)~head.sum + bpf_htons(0x0200) + (__u16)~bpf_htons(p->size) +
			head.size + *(__be16 *)o + o->port + fold1((__u64)b->dst[0]));
	*ip = head;
	return 0;
}

static __always_inline int option6(struct xdp_md *ctx, const struct packet *p,
				   const struct balance_backend *b)
{
	struct balance_option6 *o;
	struct ip6 *ip = (void *)(long)ctx->data + (p->l2 & 31), head;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	head = *ip;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*o)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IPV6), sizeof(*ip) + sizeof(*o));
	if (!ip)
		return -1;
	o = (void *)(ip + 1);
	o->next = head.proto;
	o->words = sizeof(*o) / 8 - 1;
	o->type = BALANCE_OPTION6;
	o->size = sizeof(*o) - 4;
	__builtin_memcpy(o->addr, head.dst, 16);
	o->port = p->ports >> 16;
	o->pad = 0;
	head.proto = IP6_DST;
	head.payload = bpf_htons(p->size - sizeof(*ip) + sizeof(*o));
	__builtin_memcpy(head.dst, b->dst, 16);
	*ip = head;
	return 0;
}

__noinline int out_option(struct xdp_md *ctx, struct packet *p, __u32 id)
{
	struct balance_backend *b = backend_get(id);

	if (!p || !b || b->family != p->family)
		return -1;
	return p->family == 4 ? option4(ctx, p, b) : option6(ctx, p, b);
}

static __always_inline int out_l2(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data;

	if (data + 12 > (void *)(long)ctx->data_end)
		return -1;
	macs_put(data, &p->hop.macs);
	return 0;
}

/* What a mode puts before the packet, in bytes. */
static __always_inline __u32 head_size(const struct packet *p, const struct balance_backend *b)
{
	__u32 four = b->family == 4;

	if (b->mode == BALANCE_IPIP)
		return four ? sizeof(struct ip4) : sizeof(struct ip6);
	if (b->mode == BALANCE_GUE)
		return (four ? 28 : 48) + (second_get(p, b->family) ? four ? 8 : 20 : 0);
	if (b->mode == BALANCE_OPTION)
		return four ? sizeof(struct balance_option4) : sizeof(struct balance_option6);
	return 0;
}

static __always_inline int out(struct xdp_md *ctx, struct packet *p,
			       const struct balance_backend *b, __u32 id)
{
	if (b->mode == BALANCE_IPIP)
		return b->family == 4 ? outer4(ctx, p, b) : outer6(ctx, p, b);
	if (b->mode == BALANCE_GUE)
		return out_gue(ctx, p, id);
	if (b->mode == BALANCE_OPTION)
		return out_option(ctx, p, id);
	return b->mode == BALANCE_L2 ? out_l2(ctx, p) : -1;
}

#endif
