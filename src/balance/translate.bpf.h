/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * translate.bpf.h: packets of translated connections rewritten and sent, both ways: TCP, UDP, fragments,
 * ICMP errors with what they quote. The time to live goes down by one, as at a router.
 */
#ifndef SKEP_BALANCE_TRANSLATE_BPF_H
#define SKEP_BALANCE_TRANSLATE_BPF_H

#include "balance/nat.bpf.h"

/* Instead of a verdict. The sending is nat_send(), called where the stack is still short. */
#define NAT_NONE   100	/* not to be translated */
#define NAT_SEND   101	/* p->place: the connection, 0: a later fragment to p->backend; p->back */
#define NAT_L4_MAX 2047 /* a mask */

struct turn {
	__u64 src[2], dst[2];
	__be16 sport, dport;
	__u16 l3, l4; /* what is added to sums */
	__u32 back;
};

static __always_inline void turn_set(const struct balance_state *s, const struct balance_nat *n,
				     const struct balance_backend *b, int back, struct turn *t)
{
	t->back = back;
	t->l3 = sum_turn(n->l3, back);
	t->l4 = sum_turn(n->l4, back);
	if (back) {
		__builtin_memcpy(t->src, n->vip, 16);
		__builtin_memcpy(t->dst, n->client, 16);
		t->sport = n->ports >> 16;
		t->dport = n->ports;
	} else {
		nat_us(s, n->family, t->src);
		__builtin_memcpy(t->dst, b->dst, 16);
		t->sport = n->port;
		t->dport = n->to;
	}
}

/* ---- headers --------------------------------------------------------------------------------- */

static __always_inline void ip4_turn(struct ip4 *ip, const struct turn *t, __u16 delta)
{
	ip->src = t->src[0];
	ip->dst = t->dst[0];
	ip->ttl--;
	sum_put(&ip->sum, fold16(delta + (__u16)~bpf_htons(0x100)));
}

static __always_inline void ip6_turn(struct ip6 *ip, const struct turn *t)
{
	__builtin_memcpy(ip->src, t->src, 16);
	__builtin_memcpy(ip->dst, t->dst, 16);
	ip->hops--;
}

static __always_inline void udp_sum_put(__u16 *sum, __u16 delta)
{
	if (!*sum)
		return; /* A5 */
	sum_put(sum, delta);
	if (!*sum)
		*sum = 0xffff;
}

/* Return: flags of TCP, 0 of UDP, or -reason. */
static __always_inline int l4_turn(struct packet *p, void *l4, void *end, const struct turn *t)
{
	__be16 *ports = l4;
	struct tcp *tcp = l4;

	if (l4 + 8 > end)
		return -BALANCE_MALFORMED;
	ports[0] = t->sport;
	ports[1] = t->dport;
	if (p->proto == PROTO_UDP) {
		udp_sum_put(&ports[3], t->l4);
		return 0;
	}
	if (l4 + sizeof(*tcp) > end)
		return -BALANCE_MALFORMED;
	sum_put(&tcp->sum, t->l4);
	return tcp->flags;
}

/* The packet becomes what @t says; of a later fragment only the addresses. Return: as l4_turn(). */
__noinline int turn_write(struct xdp_md *ctx, struct packet *p, struct turn *t)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ip4 *ip4;
	struct ip6 *ip6;

	if (!p || !t || p->l2 > 22 || p->l4 > NAT_L4_MAX)
		return -BALANCE_MALFORMED;
	ip4 = data + p->l2;
	ip6 = data + p->l2;
	if (p->family == 4) {
		if ((void *)(ip4 + 1) > end)
			return -BALANCE_MALFORMED;
		if (ip4->ttl < 2)
			return -BALANCE_EXPIRED;
		ip4_turn(ip4, t, t->l3);
	} else {
		if ((void *)(ip6 + 1) > end)
			return -BALANCE_MALFORMED;
		if (ip6->hops < 2)
			return -BALANCE_EXPIRED;
		ip6_turn(ip6, t);
	}
	return p->fragment == 2 ? 0 : l4_turn(p, data + (p->l4 & NAT_L4_MAX), end, t);
}

/*
 * Ports and sum of the packet that an ICMP error quotes, which went the other way. Return: what the
 * error's own sum gains by that.
 */
static __always_inline __u16 quoted_turn(struct packet *p, __be16 *ports, void *end,
					 const struct turn *t)
{
	__u32 delta = t->l4 + (__u16)~t->l3;
	__u16 *sum = ports + (p->proto == PROTO_UDP ? 3 : 8);

	ports[0] = t->dport;
	ports[1] = t->sport;
	if ((void *)(sum + 1) > end || (p->proto == PROTO_UDP && !*sum))
		return fold16(delta);
	sum_put(sum, t->l4);
	return fold16(delta + (__u16)~t->l4);
}

static __always_inline int about_turn4(struct packet *p, void *data, void *end,
				       const struct turn *t)
{
	struct ip4 *ip = data + p->l2, *in = data + (p->l4 & NAT_L4_MAX) + 8;
	struct icmp *icmp = data + (p->l4 & NAT_L4_MAX);
	__be16 *ports;

	if ((void *)(ip + 1) > end || (void *)(in + 1) > end)
		return -BALANCE_MALFORMED;
	ports = (void *)in + in->words * 4;
	if ((void *)(ports + 2) > end)
		return -BALANCE_MALFORMED;
	if (ip->ttl < 2)
		return -BALANCE_EXPIRED;
	ip4_turn(ip, t,
		 sum_delta(sum_addr(t->src) + sum_addr(t->dst), sum32(ip->src) + sum32(ip->dst)));
	in->src = t->dst[0];
	in->dst = t->src[0];
	sum_put(&in->sum, t->l3); /* so the quoted header adds to the error's sum what it did */
	sum_put(&icmp->sum, quoted_turn(p, ports, end, t));
	return 0;
}

static __always_inline int about_turn6(struct packet *p, void *data, void *end,
				       const struct turn *t)
{
	struct ip6 *ip = data + p->l2, *in = data + (p->l4 & NAT_L4_MAX) + 8;
	struct icmp *icmp = data + (p->l4 & NAT_L4_MAX);
	__u64 old[4];
	__u32 delta;

	if ((void *)(ip + 1) > end || (void *)(in + 1) + 4 > end)
		return -BALANCE_MALFORMED;
	if (ip->hops < 2)
		return -BALANCE_EXPIRED;
	__builtin_memcpy(old, ip->src, 32);
	delta = sum_delta(sum_addr(t->src) + sum_addr(t->dst), sum_addr(old) + sum_addr(old + 2));
	ip6_turn(ip, t);
	__builtin_memcpy(in->src, t->dst, 16);
	__builtin_memcpy(in->dst, t->src, 16);
	delta += t->l3 + quoted_turn(p, (void *)(in + 1), end, t);
	sum_put(&icmp->sum, fold16(delta));
	return 0;
}

__noinline int turn_about(struct xdp_md *ctx, struct packet *p, struct turn *t)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (!p || !t || p->l2 > 22 || p->l4 > NAT_L4_MAX)
		return -BALANCE_MALFORMED;
	return p->family == 4 ? about_turn4(p, data, end, t) : about_turn6(p, data, end, t);
}

/* ---- way out --------------------------------------------------------------------------------- */

/* The agent makes the kernel ask who has the address. */
static __always_inline int hop_unknown(const __u64 addr[2], __u8 family)
{
	__u32 at = balance_hash_source(addr[0], addr[1]) & (BALANCE_STRANGERS - 1);
	struct balance_stranger *a = bpf_map_lookup_elem(&nat_strangers, &at);

	if (a && !asking) {
		a->addr[0] = addr[0];
		a->addr[1] = addr[1];
		a->family = family;
	}
	return BALANCE_NO_NEIGHBOUR;
}

/* The way to a client. Return: 0 or a reason. */
__noinline int hop_client(struct xdp_md *ctx, struct packet *p, struct turn *t)
{
	struct bpf_fib_lookup f = {.ifindex = ctx->ingress_ifindex, .tot_len = 1};
	int rc;

	if (!p || !t)
		return BALANCE_NO_ROUTE;
	if (p->family == 4) {
		f.family = AF_INET;
		f.ipv4_dst = t->dst[0];
		f.ipv4_src = t->src[0];
	} else {
		f.family = AF_INET6;
		__builtin_memcpy(f.ipv6_dst, t->dst, 16);
		__builtin_memcpy(f.ipv6_src, t->src, 16);
	}
	rc = bpf_fib_lookup(ctx, &f, sizeof(f), 0);
	if (rc == BPF_FIB_LKUP_RET_NO_NEIGH)
		return hop_unknown(t->dst, p->family);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return BALANCE_NO_ROUTE;
	__builtin_memcpy(&p->hop.macs, f.dmac, 6);
	__builtin_memcpy(&p->hop.macs.half[3], f.smac, 6);
	p->hop.ifindex = f.ifindex;
	p->hop.mtu = f.mtu_result;
	return 0;
}

static __always_inline int turn_hop(struct xdp_md *ctx, struct packet *p, struct turn *t,
				    struct balance_backend *b)
{
	if (!t->back || p->l2 > 14 || b->hop_flags & (BALANCE_HOP_FIXED | BALANCE_HOP_REFLECT))
		return hop_get(ctx, p, b, p->backend);
	return hop_client(ctx, p, t);
}

static __always_inline void count_returned(const struct packet *p)
{
	__u32 id = p->backend;
	struct balance_sent *c = bpf_map_lookup_elem(&sent, &id);

	if (!c)
		return;
	c->returned++;
	c->returned_bytes += p->size;
}

static __always_inline int turn_counted(struct packet *p, const struct turn *t)
{
	if (telling)
		done(p, t->back ? BALANCE_RETURNED : BALANCE_FORWARDED, 0);
	if (t->back)
		count_returned(p);
	else
		count_sent(p->backend, p);
	return 0;
}

/* p->backend is set. Return: a verdict; *flags: of TCP, where the packet has left. */
static __always_inline int turn_send(struct xdp_md *ctx, struct packet *p, struct turn *t,
				     struct balance_backend *b, int *flags)
{
	int reason = turn_hop(ctx, p, t, b);
	void *data;

	*flags = -1;
	if (reason)
		return done(p, reason, XDP_DROP);
	if (p->hop.mtu && p->size > p->hop.mtu)
		return too_big(ctx, p, p->hop.mtu);
	*flags = p->kind == KIND_ABOUT ? turn_about(ctx, p, t) : turn_write(ctx, p, t);
	if (*flags < 0)
		return done(p, -*flags, XDP_DROP);
	data = (void *)(long)ctx->data;
	if (data + 14 > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	macs_put(data, &p->hop.macs);
	turn_counted(p, t);
	if (!p->hop.ifindex || p->hop.ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(p->hop.ifindex, 0);
}

static __always_inline int nat_way(struct packet *p, __u32 place, int back)
{
	p->place = place;
	p->back = back;
	return NAT_SEND;
}

/* ---- fragments ------------------------------------------------------------------------------- */

static __always_inline void part_note(const struct packet *p, __u32 place)
{
	__u64 hash = fragment_hash(p), word = hash << 32 | place;
	__u32 at = hash >> 32 & (NAT_PARTS - 1);

	if (!asking)
		bpf_map_update_elem(&nat_parts, &at, &word, BPF_ANY);
}

static __always_inline void turn_addresses(struct turn *t, const struct packet *p)
{
	t->l3 = sum_delta(sum_addr(t->src) + sum_addr(t->dst),
			  sum_addr(p->flow) + sum_addr(p->flow + 2));
}

/* A later fragment from a backend. NAT_NONE: its first was not seen. */
__noinline int nat_part_back(struct packet *p)
{
	__u64 hash = p ? fragment_hash(p) : 0, *word;
	__u32 at = hash >> 32 & (NAT_PARTS - 1);
	struct balance_nat *n;

	word = bpf_map_lookup_elem(&nat_parts, &at);
	if (!p || !word || *word >> 32 != (hash & 0xffffffff))
		return NAT_NONE;
	n = nat_at((__u32)*word);
	if (!n || n->family != p->family)
		return NAT_NONE;
	p->fragment = 2;
	p->entry = 1;
	return nat_way(p, (__u32)*word, 1);
}

/* A later fragment from a client, to backend @id. */
static __always_inline int nat_part(struct packet *p, __u32 id)
{
	p->fragment = 2;
	p->backend = id;
	return nat_way(p, 0, 0);
}

/* ---- from either side ------------------------------------------------------------------------ */

/* To an address of ours towards backends. */
static __always_inline int nat_to_us(const struct balance_state *s, const struct packet *p)
{
	if (!(s->use & BALANCE_USE_NAT))
		return 0;
	return p->family == 4 ? (__u32)p->flow[2] == s->us4
			      : p->flow[2] == s->us6[0] && p->flow[3] == s->us6[1];
}

/* An answer of a backend, or an ICMP error about what we sent there. NAT_NONE: neither. */
__noinline int nat_answer(struct packet *p)
{
	__u32 place;

	if (!p)
		return XDP_ABORTED;
	p->hash = p->family == 4 ? balance_hash4(p->flow[0], p->flow[2], p->ports, p->proto)
				 : balance_hash6(p->flow, p->flow + 2, p->ports, p->proto);
	place = nat_find_back(p);
	if (!place)
		return NAT_NONE;
	p->entry = 1;
	if (p->fragment && p->kind != KIND_ABOUT)
		part_note(p, place);
	return nat_way(p, place, 1);
}

/* The place is nobody's any more. */
static __always_inline void nat_forget(struct balance_nat *n, __u32 place)
{
	__u32 at = (place - 1) / BALANCE_WAYS, way = (place - 1) & (BALANCE_WAYS - 1);
	struct balance_bucket *k = bpf_map_lookup_elem(&nat_forth, &at);
	__u64 e;

	if (!k || asking)
		return;
	e = *(volatile __u64 *)&k->entry[way];
	if ((__u32)e != BALANCE_NAT_READY ||
	    __sync_val_compare_and_swap(&k->entry[way], e,
					e + BALANCE_NAT_CLAIMED - BALANCE_NAT_READY) != e)
		return;
	nat_unbind(n, place);
	*(volatile __u64 *)&k->entry[way] = 0;
}

/*
 * A1, to the end: the entry of a backend that is gone is none, and one whose connection is over begins
 * anew elsewhere when its backend takes no new ones.
 */
static __always_inline __u32 nat_known(struct packet *p)
{
	__u32 place = nat_find(p);
	struct balance_nat *n = place ? nat_at(place) : 0;
	struct balance_backend *b = n ? backend_get(n->backend) : 0;

	if (!n || !b)
		return 0;
	if (b->state == BALANCE_GONE ||
	    (p->kind == KIND_FIRST && balance_nat_over(n->life) && b->state != BALANCE_LIVE)) {
		nat_forget(n, place);
		return 0;
	}
	p->entry = 1;
	return place;
}

/*
 * From a client, for service @id, which has backends of mode nat. NAT_NONE: to p->backend, which is of
 * another mode.
 */
__noinline int nat_serve(struct packet *p, __u32 id)
{
	struct balance_service *v = bpf_map_lookup_elem(&services, &id);
	struct balance_state *s = state_get();
	struct balance_backend *b;
	__u32 place, to;

	if (!p || !v || !s)
		return XDP_ABORTED;
	place = nat_known(p);
	if (!place) {
		to = choose(p, v, id);
		b = to ? backend_get(to) : 0;
		if (!b)
			return done(p, BALANCE_NO_BACKEND, XDP_DROP);
		p->backend = to;
		if (b->mode != BALANCE_NAT)
			return NAT_NONE;
		if (b->family != p->family)
			return done(p, BALANCE_NO_BACKEND, XDP_DROP);
		if (p->kind == KIND_ABOUT || p->kind == KIND_MORE)
			return done(p, BALANCE_NO_CONNECTION, XDP_DROP); /* A2 */
		if (asking)
			return done(p, BALANCE_FORWARDED, XDP_TX);
		place = nat_make(p, to);
		if (!place)
			return done(p, BALANCE_NAT_FULL, XDP_DROP);
	}
	if (p->fragment && p->kind != KIND_ABOUT) {
		struct balance_nat *n = nat_at(place);

		fragment_note(p, n ? n->backend : 0);
	}
	return nat_way(p, place, 0);
}

/* ---- sending --------------------------------------------------------------------------------- */

static __always_inline void count_reset(__u32 backend)
{
	struct balance_again *n = bpf_map_lookup_elem(&again, &backend);

	if (n && !asking)
		n->resets++;
}

static __always_inline int connection_send(struct xdp_md *ctx, struct packet *p,
					   struct balance_state *s, struct turn *t)
{
	struct balance_nat *n = nat_at(p->place);
	struct balance_backend *b = n ? backend_get(n->backend) : 0;
	int verdict, flags;

	if (!n || !b)
		return XDP_ABORTED;
	p->backend = n->backend;
	p->service = b->stat;
	turn_set(s, n, b, p->back, t);
	verdict = turn_send(ctx, p, t, b, &flags);
	if (flags < 0 || p->kind == KIND_ABOUT || p->fragment == 2)
		return verdict;
	if (p->back && flags & TCP_RST && !(n->life & BALANCE_NAT_REPLIED))
		count_reset(p->backend);
	nat_renew(n, flags, p->back);
	return verdict;
}

/* What NAT_SEND asks for. */
__noinline int nat_send(struct xdp_md *ctx, struct packet *p)
{
	struct balance_state *s = state_get();
	struct balance_backend *b;
	struct turn t = {};
	int flags;

	if (!s || !p)
		return XDP_ABORTED;
	if (p->place)
		return connection_send(ctx, p, s, &t);
	b = backend_get(p->backend);
	if (!b)
		return XDP_ABORTED;
	if (b->family != p->family)
		return done(p, BALANCE_NO_BACKEND, XDP_DROP);
	nat_us(s, p->family, t.src);
	__builtin_memcpy(t.dst, b->dst, 16);
	turn_addresses(&t, p);
	return turn_send(ctx, p, &t, b, &flags);
}

#endif
