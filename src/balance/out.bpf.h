/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * out.bpf.h: the next hop of a backend, and the headers that lead a packet there.
 */
#ifndef SKEP_BALANCE_OUT_BPF_H
#define SKEP_BALANCE_OUT_BPF_H

#include "balance/choice.bpf.h"

#define AF_INET	 2
#define AF_INET6 10

#define HOP_JIFFIES 250
#define OUTER_TTL   64

static __always_inline struct macs turned(const struct macs *m)
{
	return (struct macs){
		.half = {m->half[3], m->half[4], m->half[5], m->half[0], m->half[1], m->half[2]}};
}

static __always_inline void macs_put(void *at, const struct macs *m)
{
	__u32 *to = at;

	to[0] = m->word[0];
	to[1] = m->word[1];
	to[2] = m->word[2];
}

/* Ethernet and tags at the packet's new beginning, and where what follows stands. */
static __always_inline void *l2_put(struct xdp_md *ctx, const struct packet *p,
				    const struct macs *m, __be16 proto, __u32 need)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 22 + need > end)
		return 0;
	macs_put(data, m);
	if (p->l2 > 14) {
		*(__be32 *)(data + 12) = p->tags[0];
		data += 4;
	}
	if (p->l2 > 18) {
		*(__be32 *)(data + 12) = p->tags[1];
		data += 4;
	}
	*(__be16 *)(data + 12) = proto;
	return data + 14;
}

/* The answer names the gateway where there is one. */
static __always_inline int behind_gateway(const struct balance_backend *b,
					  const struct bpf_fib_lookup *f)
{
	if (b->family == 4)
		return f->ipv4_dst != b->dst[0];
	return f->ipv6_dst[0] != b->dst[0] || f->ipv6_dst[1] != b->dst[1] ||
	       f->ipv6_dst[2] != b->dst[2] || f->ipv6_dst[3] != b->dst[3];
}

/* Fills the backend's hop. Return: 0 or an enum balance_reason. */
__noinline int hop_ask(struct xdp_md *ctx, __u32 id, __u32 jiffies)
{
	struct balance_backend *b = backend_get(id);
	struct bpf_fib_lookup f = {.ifindex = ctx->ingress_ifindex, .tot_len = 1};
	int rc;

	if (!b)
		return BALANCE_NO_BACKEND;
	if (b->family == 4) {
		f.family = AF_INET;
		f.ipv4_dst = b->dst[0];
		f.ipv4_src = b->src[0];
	} else {
		f.family = AF_INET6;
		__builtin_memcpy(f.ipv6_dst, b->dst, 16);
		__builtin_memcpy(f.ipv6_src, b->src, 16);
	}
	rc = bpf_fib_lookup(ctx, &f, sizeof(f), 0);
	if (rc == BPF_FIB_LKUP_RET_NO_NEIGH) {
		b->hop_flags |= BALANCE_HOP_UNKNOWN;
		return BALANCE_NO_NEIGHBOUR;
	}
	if (rc != BPF_FIB_LKUP_RET_SUCCESS || (b->mode == BALANCE_L2 && behind_gateway(b, &f)))
		return BALANCE_NO_ROUTE;
	__builtin_memcpy(b->hop_dst, f.dmac, 6);
	__builtin_memcpy(b->hop_src, f.smac, 6);
	b->hop_ifindex = f.ifindex;
	b->hop_mtu = f.mtu_result;
	b->hop_until = jiffies + HOP_JIFFIES;
	return 0;
}

static __always_inline int hop_get(struct xdp_md *ctx, struct packet *p, struct balance_backend *b,
				   __u32 id)
{
	struct hop *h = &p->hop;
	const struct macs *hop = (const void *)b->hop_dst;
	__u32 jiffies;
	int reason;

	h->mtu = b->hop_mtu;
	h->ifindex = 0;
	if (p->l2 > 14 || b->hop_flags & BALANCE_HOP_REFLECT) {
		if (b->mode == BALANCE_L2)
			return BALANCE_NO_ROUTE;
		h->macs = turned(&p->macs);
		return 0;
	}
	if (b->hop_flags & BALANCE_HOP_FIXED) {
		h->macs =
			(struct macs){.half = {hop->half[0], hop->half[1], hop->half[2],
					       p->macs.half[0], p->macs.half[1], p->macs.half[2]}};
		return 0;
	}
	jiffies = bpf_jiffies64();
	if ((__s32)(b->hop_until - jiffies) <= 0) {
		reason = hop_ask(ctx, id, jiffies);
		if (reason)
			return reason;
		h->mtu = b->hop_mtu;
	}
	h->macs = *hop;
	h->ifindex = b->hop_ifindex;
	return 0;
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(__u16)((sum & 0xffff) + (sum >> 16));
}

static __always_inline void ip4_put(struct ip4 *ip, const struct packet *p,
				    const struct balance_backend *b, __u16 size, __u8 proto)
{
	__u32 id = (__u16)p->hash, tos = bpf_htons(p->tos), life = OUTER_TTL | proto << 8;
	__u32 sum = fold((__u32)b->sum + tos + bpf_htons(size) + id + life);
	__u64 *words = (__u64 *)ip; /* two, and the address that it is for */

	words[0] = (bpf_htons(0x4500) | tos | bpf_htons(size) << 16) |
		   (__u64)(id | bpf_htons(IP4_DF) << 16) << 32;
	words[1] = (life | sum << 16) | (__u64)b->src[0] << 32;
	ip->dst = b->dst[0];
}

static __always_inline void ip6_put(struct ip6 *ip, const struct packet *p,
				    const struct balance_backend *b, __u16 payload, __u8 proto)
{
	/* the flow's label lets the backend's link spread flows over queues */
	*(__be32 *)ip = bpf_htonl(0x60000000 | p->tos << 20 | ((__u32)p->hash & 0xfffff));
	ip->payload = bpf_htons(payload);
	ip->proto = proto;
	ip->hops = OUTER_TTL;
	__builtin_memcpy(&ip->src, b->src, 16);
	__builtin_memcpy(&ip->dst, b->dst, 16);
}

static __always_inline int outer4(struct xdp_md *ctx, const struct packet *p,
				  const struct balance_backend *b)
{
	struct ip4 *ip;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IP), sizeof(*ip));
	if (!ip)
		return -1;
	ip4_put(ip, p, b, p->size + sizeof(*ip), p->family == 4 ? PROTO_IPIP : PROTO_IPV6);
	return 0;
}

static __always_inline int outer6(struct xdp_md *ctx, const struct packet *p,
				  const struct balance_backend *b)
{
	struct ip6 *ip;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return -1;
	ip = l2_put(ctx, p, &p->hop.macs, bpf_htons(ETH_IPV6), sizeof(*ip));
	if (!ip)
		return -1;
	ip6_put(ip, p, b, p->size, p->family == 4 ? PROTO_IPIP : PROTO_IPV6);
	return 0;
}

/* A client whose SYN finds no answer sends it again. Two flows may share a place: then one is not seen. */
__noinline int syn_note(__u64 hash, __u32 backend)
{
	__u32 at = hash & (BALANCE_SYNS - 1);
	struct balance_syn *place = bpf_map_lookup_elem(&syns, &at), last;
	struct balance_syn syn = {hash >> 32, bpf_ktime_get_coarse_ns() >> BALANCE_SYN_UNIT};
	struct balance_again *n;

	if (!place || asking)
		return 0;
	last = *place;
	*place = syn;
	if (last.tag != syn.tag || syn.time - last.time > BALANCE_SYN_AGAIN)
		return 0;
	n = bpf_map_lookup_elem(&again, &backend);
	if (n)
		n->syns++;
	return 1;
}

static __always_inline void count_sent(__u32 backend, const struct packet *p)
{
	struct balance_sent *c = bpf_map_lookup_elem(&sent, &backend);

	if (!c)
		return;
	c->packets++;
	c->bytes += p->size;
	if (p->kind != KIND_FIRST)
		return;
	c->flows++;
	syn_note(p->hash, backend);
}

#endif
