/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * unpack.bpf.h: what a balancer put on a packet is taken off at its backend, wherever packets pass: the
 * hook's own half (unpack_xdp.bpf.h, unpack_tc.bpf.h) includes this and says what its context is and how
 * a packet is changed there. U1 and U2 of backend.bpf.h are upheld here.
 *
 * Who includes those has `gue_port` and says with wrap_ours() which addresses are this host's.
 */
#ifndef SKEP_BALANCE_UNPACK_BPF_H
#define SKEP_BALANCE_UNPACK_BPF_H

#include "balance/balance.h"
#include "packet.h"

#define AF_INET	   2
#define AF_INET6   10
#define TCP_LISTEN 10

enum unpacked { /* the rest as enum balance_did has it */
		NOT_PACKED,
		UNPACKED,
		HANDED_ON, /* U2 */
		CUT_SHORT, /* to be dropped */
};

struct address {
	union {
		__be32 word[4]; /* IPv4 in the first, the rest 0 */
		__u64 pair[2];
	};
};

/* Whether it is an address of this host. */
static __always_inline int wrap_ours(const struct address *a, __u8 family);

struct gue {
	__u8 words, proto; /* words: version 0, no control message, length of the private data */
	__be16 flags;
};

/* What stands around a packet. */
struct wrap {
	struct address to, second, inner; /* hand_on6(): in this order */
	__u32 head;			  /* bytes from Ethernet to the inner packet */
	__u32 seconds;			  /* words of `second` */
	__u8 family, proto;		  /* of the outer header; proto: PROTO_IPIP, PROTO_IPV6 */
};

/* ---- of the hook's own half ------------------------------------------------------------------ */

/* Takes @n bytes off behind the link's header; what follows is of @proto. Return: 0, or it is cut short. */
static __always_inline int shorten(struct UNPACK_CTX *ctx, __u32 n, __be16 proto);

/* The link's header, or @n bytes @at behind its end, anew. Return: 0, or it is cut short. */
static __always_inline int link_put(struct UNPACK_CTX *ctx, const struct eth *eth);
static __always_inline int head_put(struct UNPACK_CTX *ctx, __u32 at, const void *from, __u32 n);

/* Sends the frame. Return: the verdict. */
static __always_inline int send_by(struct UNPACK_CTX *ctx, __u32 ifindex);

/* ---- encapsulation --------------------------------------------------------------------------- */

/* Behind UDP: variant 1 is the packet itself, variant 0 a header. */
static __always_inline int wrap_gue(struct wrap *w, struct udp *udp, void *end)
{
	struct gue *g = (void *)(udp + 1);
	__be32 *data = (void *)(g + 1);

	if ((void *)(data + 4) > end || udp->dst != bpf_htons(gue_port))
		return -1;
	w->head += sizeof(*udp);
	if (g->words >> 6 == 1) {
		w->proto = g->words >> 4 == 4 ? PROTO_IPIP : PROTO_IPV6;
		return 0;
	}
	if (g->words > 31 || g->flags)
		return -1;
	w->proto = g->proto;
	w->head += sizeof(*g) + g->words * 4;
	if (g->words == 1 || g->words == 4) {
		w->seconds = g->words;
		w->second.word[0] = data[0];
	}
	if (g->words == 4)
		__builtin_memcpy(w->second.word, data, 16);
	return 0;
}

static __always_inline int wrap_outer(struct wrap *w, void *data, void *end)
{
	struct eth *eth = data;
	struct ip4 *ip4 = data + sizeof(*eth);
	struct ip6 *ip6 = data + sizeof(*eth);

	if ((void *)(ip4 + 1) > end)
		return -1;
	if (eth->proto == bpf_htons(ETH_IP)) {
		w->family = 4;
		w->proto = ip4->proto;
		w->to.word[0] = ip4->dst;
		w->head = sizeof(*ip4);
		if (ip4->words != 5 || ip4->fragment & bpf_htons(IP4_MF | IP4_OFFSET))
			return -1;
		return ip4->proto == PROTO_UDP ? wrap_gue(w, (void *)(ip4 + 1), end) : 0;
	}
	if (eth->proto != bpf_htons(ETH_IPV6) || (void *)(ip6 + 1) > end)
		return -1;
	w->family = 6;
	w->proto = ip6->proto;
	__builtin_memcpy(w->to.word, ip6->dst, 16);
	w->head = sizeof(*ip6);
	return ip6->proto == PROTO_UDP ? wrap_gue(w, (void *)(ip6 + 1), end) : 0;
}

static __always_inline int wrap_inner(struct wrap *w, void *at, void *end)
{
	struct ip4 *ip4 = at;
	struct ip6 *ip6 = at;

	if ((void *)(ip4 + 1) > end)
		return -1;
	if (w->proto == PROTO_IPIP && ip4->version == 4) {
		w->inner.word[0] = ip4->dst;
		return 0;
	}
	if (w->proto != PROTO_IPV6 || (void *)(ip6 + 1) > end || ip6->version != 6)
		return -1;
	__builtin_memcpy(w->inner.word, ip6->dst, 16);
	return 0;
}

/* ---- second chance --------------------------------------------------------------------------- */

/* Whether the host knows the connection; also one whose only trace is a SYN cookie. */
static __always_inline int known(struct UNPACK_CTX *ctx, struct bpf_sock_tuple *t, __u32 size,
				 void *ip, __u32 ip_size, struct tcp *tcp)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(ctx, t, size, BPF_F_CURRENT_NETNS, 0);
	int yes;

	if (!sk)
		return 0;
	yes = sk->state != TCP_LISTEN ||
	      !bpf_tcp_check_syncookie(sk, ip, ip_size, (void *)tcp, sizeof(*tcp));
	bpf_sk_release(sk);
	return yes;
}

static __always_inline int known4(struct UNPACK_CTX *ctx, struct ip4 *ip, void *end)
{
	struct tcp *tcp = (void *)(ip + 1);
	struct bpf_sock_tuple t = {};

	if ((void *)(tcp + 1) > end || ip->words != 5 || ip->proto != PROTO_TCP ||
	    (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return 1;
	t.ipv4.saddr = ip->src;
	t.ipv4.daddr = ip->dst;
	t.ipv4.sport = tcp->src;
	t.ipv4.dport = tcp->dst;
	return known(ctx, &t, sizeof(t.ipv4), ip, sizeof(*ip), tcp);
}

static __always_inline int known6(struct UNPACK_CTX *ctx, struct ip6 *ip, void *end)
{
	struct tcp *tcp = (void *)(ip + 1);
	struct bpf_sock_tuple t = {};

	if ((void *)(tcp + 1) > end || ip->proto != PROTO_TCP ||
	    (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return 1;
	__builtin_memcpy(t.ipv6.saddr, ip->src, 16);
	__builtin_memcpy(t.ipv6.daddr, ip->dst, 16);
	t.ipv6.sport = tcp->src;
	t.ipv6.dport = tcp->dst;
	return known(ctx, &t, sizeof(t.ipv6), ip, sizeof(*ip), tcp);
}

/* By the routes, or where the host does not forward, back to whom it came from: that is a router. */
static __always_inline int next_hop(struct UNPACK_CTX *ctx, struct bpf_fib_lookup *f)
{
	struct eth *eth = (void *)(long)ctx->data, to;
	__u32 ifindex = ctx->ingress_ifindex;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return UNPACK_DROP;
	to = *eth;
	__builtin_memcpy(to.dst, eth->src, 6);
	__builtin_memcpy(to.src, eth->dst, 6);
	if (bpf_fib_lookup(ctx, f, sizeof(*f), 0) == BPF_FIB_LKUP_RET_SUCCESS) {
		__builtin_memcpy(to.dst, f->dmac, 6);
		__builtin_memcpy(to.src, f->smac, 6);
		ifindex = f->ifindex;
	}
	return link_put(ctx, &to) ? UNPACK_DROP : send_by(ctx, ifindex);
}

/* From us to the second. Of the sums only the balancer's address goes and the second's comes. */
static __always_inline int hand_on4(struct UNPACK_CTX *ctx, const struct wrap *w)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_fib_lookup f = {.family = AF_INET, .ifindex = ctx->ingress_ifindex};
	struct ip4 *ip = data + sizeof(struct eth);
	struct udp *udp = (void *)(ip + 1);
	__u16 sum, udp_sum;
	__u64 change;

	if ((void *)(udp + 1) > end)
		return UNPACK_DROP;
	change = (__u64)(__u32)~ip->src + w->second.word[0];
	sum = fold_long((__u16)~ip->sum + change);
	udp_sum = udp->sum ? fold_long((__u16)~udp->sum + change) ?: 0xffff : 0;
	f.ipv4_src = w->to.word[0];
	f.ipv4_dst = w->second.word[0];
	if (head_put(ctx, offsetof(struct ip4, sum), &sum, 2) ||
	    head_put(ctx, offsetof(struct ip4, src), w->to.word, 4) ||
	    head_put(ctx, offsetof(struct ip4, dst), w->second.word, 4) ||
	    head_put(ctx, sizeof(struct ip4) + offsetof(struct udp, sum), &udp_sum, 2))
		return UNPACK_DROP;
	return next_hop(ctx, &f);
}

static __always_inline int hand_on6(struct UNPACK_CTX *ctx, const struct wrap *w)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bpf_fib_lookup f = {.family = AF_INET6, .ifindex = ctx->ingress_ifindex};
	struct ip6 *ip = data + sizeof(struct eth);
	struct udp *udp = (void *)(ip + 1);
	__u64 change;
	__u16 sum;

	if ((void *)(udp + 1) > end)
		return UNPACK_DROP;
	change = (__u64)(__u16)fold_long(sum_words(ip->src)) + sum_words(w->second.word);
	sum = udp->sum ? fold_long((__u16)~udp->sum + change) ?: 0xffff : 0;
	__builtin_memcpy(f.ipv6_src, w->to.word, 16);
	__builtin_memcpy(f.ipv6_dst, w->second.word, 16);
	if (head_put(ctx, offsetof(struct ip6, src), &w->to, 32) ||
	    head_put(ctx, sizeof(struct ip6) + offsetof(struct udp, sum), &sum, 2))
		return UNPACK_DROP;
	return next_hop(ctx, &f);
}

/* U2 */
static __always_inline int for_second(struct UNPACK_CTX *ctx, const struct wrap *w)
{
	void *at = (void *)(long)ctx->data + sizeof(struct eth) + (w->head & 255);
	void *end = (void *)(long)ctx->data_end;

	if (w->seconds != (w->family == 4 ? 1 : 4) || wrap_ours(&w->second, w->family))
		return 0;
	if (w->proto == PROTO_IPIP)
		return at + sizeof(struct ip4) > end ? 0 : !known4(ctx, at, end);
	return at + sizeof(struct ip6) > end ? 0 : !known6(ctx, at, end);
}

/* ---- option ---------------------------------------------------------------------------------- */

static __always_inline int unwrap_option4(struct UNPACK_CTX *ctx, struct ip4 *ip, void *end,
					  __u32 *what)
{
	struct balance_option4 *o = (void *)(ip + 1);
	struct address to = {}, vip = {};
	struct ip4 head;

	if ((void *)(o + 1) > end || ip->words < 7 || o->type != BALANCE_OPTION4 ||
	    o->size != sizeof(*o))
		return UNPACK_PASS;
	to.word[0] = ip->dst;
	vip.word[0] = o->addr;
	if (!wrap_ours(&to, 4) || !wrap_ours(&vip, 4)) /* U1 */
		return UNPACK_PASS;
	head = *ip;
	head.words -= 2;
	head.size = bpf_htons(bpf_ntohs(ip->size) - sizeof(*o));
	head.dst = vip.word[0];
	head.sum =
		fold_long((__u64)(__u16)~ip->sum + (__u16)~bpf_htons(0x0200) + (__u16)~ip->size +
			  head.size + (__u16) ~*(__be16 *)o + (__u16)~o->port + (__u32)~to.word[0]);
	*what = CUT_SHORT;
	if (shorten(ctx, sizeof(*o), bpf_htons(ETH_IP)) || head_put(ctx, 0, &head, sizeof(head)))
		return UNPACK_DROP;
	*what = UNPACKED;
	return UNPACK_PASS;
}

static __always_inline int unwrap_option6(struct UNPACK_CTX *ctx, struct ip6 *ip, void *end,
					  __u32 *what)
{
	struct balance_option6 *o = (void *)(ip + 1);
	struct address to, vip;
	struct ip6 head;

	if ((void *)(o + 1) > end || o->words != sizeof(*o) / 8 - 1 || o->type != BALANCE_OPTION6 ||
	    o->size != sizeof(*o) - 4)
		return UNPACK_PASS;
	__builtin_memcpy(to.word, ip->dst, 16);
	__builtin_memcpy(vip.word, o->addr, 16);
	if (!wrap_ours(&to, 6) || !wrap_ours(&vip, 6)) /* U1 */
		return UNPACK_PASS;
	head = *ip;
	head.proto = o->next;
	head.payload = bpf_htons(bpf_ntohs(ip->payload) - sizeof(*o));
	__builtin_memcpy(head.dst, vip.word, 16);
	*what = CUT_SHORT;
	if (shorten(ctx, sizeof(*o), bpf_htons(ETH_IPV6)) || head_put(ctx, 0, &head, sizeof(head)))
		return UNPACK_DROP;
	*what = UNPACKED;
	return UNPACK_PASS;
}

/* ---- the frame ------------------------------------------------------------------------------- */

/* Without VLAN tags. Return: a verdict; @what: NOT_PACKED, and the frame is as it came, or what was done. */
static __always_inline int unpack_frame(struct UNPACK_CTX *ctx, __u32 *what)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ip6 *ip6 = data + sizeof(struct eth);
	struct ip4 *ip4 = (void *)ip6;
	struct eth *eth = data;
	struct wrap w = {};

	*what = NOT_PACKED;
	if ((void *)(ip4 + 1) > end)
		return UNPACK_PASS;
	if (eth->proto == bpf_htons(ETH_IP) && ip4->words > 5)
		return unwrap_option4(ctx, ip4, end, what);
	if (eth->proto == bpf_htons(ETH_IPV6) && (void *)(ip6 + 1) <= end && ip6->proto == IP6_DST)
		return unwrap_option6(ctx, ip6, end, what);
	if (wrap_outer(&w, data, end) || (w.proto != PROTO_IPIP && w.proto != PROTO_IPV6))
		return UNPACK_PASS;
	if (wrap_inner(&w, data + sizeof(*eth) + (w.head & 255), end) ||
	    !wrap_ours(&w.to, w.family) ||
	    !wrap_ours(&w.inner, w.proto == PROTO_IPIP ? 4 : 6)) /* U1 */
		return UNPACK_PASS;
	*what = HANDED_ON;
	if (w.seconds && for_second(ctx, &w))
		return w.family == 4 ? hand_on4(ctx, &w) : hand_on6(ctx, &w);
	*what = CUT_SHORT;
	if (shorten(ctx, w.head & 255, bpf_htons(w.proto == PROTO_IPIP ? ETH_IP : ETH_IPV6)))
		return UNPACK_DROP;
	*what = UNPACKED;
	return UNPACK_PASS;
}

#endif
