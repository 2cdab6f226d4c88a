// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * balance.bpf.c: the balancer at XDP: a packet to one of our addresses leaves for one of the
 * service's backends, as it came, behind another IP header.
 *
 *	Ethernet, VLAN tags, IP
 *	   | destination in the filter?  no -> pass (all that a foreign packet pays)
 *	   | extension headers, fragments, ports
 *	   v
 *	vip4 | vip6 -> service -> slot of its ring -> now | was
 *	   |                        \-- BALANCE_LOOK: flows (one cache line, seldom two)
 *	   v
 *	backend -> next hop (its cache, else the routing table) -> outer header -> TX | redirect
 *
 * maps in: state, vip4, vip6, ranges, services, rings, backends, quic, protect, allow4, allow6, deny4,
 * deny6. maps out: flows, counts, totals, sent, syns, again, told; backends' hops; nat, nat_forth, nat_back,
 * nat_parts, nat_strangers; limited, trusted; samples, sampled.
 *
 * No live connection moves. A slot of a ring has two backends: flows that begin go to `now`, flows
 * that have no entry belong to `was`.
 *
 * B1  Where now == was and nothing was ever otherwise (no BALANCE_LOOK) the slot alone decides; no
 *     state is kept, nothing can be lost, no flood can fill anything.
 * B2  A flow whose backend is not its slot's `was` has an entry, from its first packet. When the
 *     ring changes only `now` changes; so flows on the first backend need nothing, flows on the
 *     second have entries, and a third change finds the same. `was` follows `now` when the old
 *     backend is gone, or after a time in which each flow that sent anything got an entry (B4).
 * B3  A flow that begins and finds no room for its entry goes to `was`, where it needs none. A full
 *     table thus costs a new flow its choice and a living one nothing.
 * B4  While now != was every flow of the slot gets an entry, also those of `was`, so that `was` may
 *     follow `now` later. From then on only flows of other backends renew theirs; when the service has
 *     no entries left the slot is B1's again.
 * B5  An entry begins unconfirmed and is confirmed by the flow's second packet. The unconfirmed take
 *     half of a bucket at most, for some seconds, and never the place of another that may still
 *     live: a flood of SYNs fills that half and then meets B3.
 * B6  Packets choose by tables that are never changed while they hold: a VIP's entry has two sides
 *     and one word tells which holds, for all VIPs at once.
 * B7  Entries, tables and counters are shared by all CPUs and live in pinned maps: it does not matter
 *     where a packet arrives, nor whether an agent runs.
 * B8  UDP has no first packet that could be told: an unknown flow belongs to `was` for
 *     UDP_UNITS after a change, to `now` from then on.
 * B9  Each packet moves one counter of packets: of its backend (sent), its service (counts), or of
 *     packets of no service (totals).
 */
#include "bpf.h"

#include "balance/protect.bpf.h"
#include "balance/quic.bpf.h"
#include "balance/sample.bpf.h"
#include "balance/translate.bpf.h"
#include "balance/unpack_xdp.bpf.h"

LICENSE;

#define EXT_MAX 6

static __always_inline int send_to(struct xdp_md *ctx, struct packet *p, __u32 id)
{
	struct balance_backend *b = id ? backend_get(id) : 0;
	__u32 head;
	int reason;

	if (!b || !b->family)
		return done(p, BALANCE_NO_BACKEND, XDP_DROP);
	p->backend = id;
	if (b->hop_flags & BALANCE_HOP_HERE)
		return done(p, BALANCE_HERE, XDP_PASS);
	reason = hop_get(ctx, p, b, id);
	if (reason)
		return done(p, reason, XDP_DROP);
	head = head_size(p, b);
	if (p->hop.mtu && p->size + head > p->hop.mtu)
		return too_big(ctx, p, p->hop.mtu - head);
	if (out(ctx, p, b, id))
		return done(p, BALANCE_NO_ROOM, XDP_DROP);
	if (telling)
		done(p, BALANCE_FORWARDED, 0);
	count_sent(id, p);
	if (!p->hop.ifindex || p->hop.ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(p->hop.ifindex, 0);
}

/* ---- the packet ------------------------------------------------------------------------------ */

static __always_inline int is_nat(__u32 id)
{
	struct balance_backend *b = backend_get(id);

	return b && b->mode == BALANCE_NAT;
}

/* Backend of a fragment that has no ports. */
static __always_inline __u32 choose_later(struct packet *p)
{
	struct balance_backend *b;
	__u32 id;

	p->hash = fragment_hash(p);
	id = find(p->hash, 1, now(), 0);
	b = id ? backend_get(id) : 0;
	if (!b)
		return 0;
	p->service = b->stat;
	p->entry = 1;
	return id;
}

static __always_inline void hashes(struct packet *p, const struct balance_service *v)
{
	if (p->family == 4)
		p->hash = balance_hash4(p->flow[0], p->flow[2], p->ports, p->proto);
	else
		p->hash = balance_hash6(p->flow, p->flow + 2, p->ports, p->proto);
	if (v->flags & BALANCE_BY_SOURCE)
		p->source = balance_hash_source(p->flow[0], p->flow[1]);
}

__noinline int serve_later(struct xdp_md *ctx, struct packet *p)
{
	struct balance_state *s = state_get();
	int verdict, whose;
	__u32 id;

	if (!p || !s)
		return XDP_ABORTED;
	if (nat_to_us(s, p)) {
		verdict = nat_part_back(p);
		if (verdict != NAT_NONE)
			return verdict;
	}
	whose = ours(&p->flow[2], p->family);
	if (!whose)
		return done(p, BALANCE_FOREIGN, XDP_PASS);
	id = choose_later(p);
	if (!id && whose == BALANCE_HOSTS)
		return done(p, BALANCE_UNSERVED, XDP_PASS);
	if (!id)
		return done(p, BALANCE_FRAGMENT, XDP_DROP);
	return is_nat(id) ? nat_part(p, id) : send_to(ctx, p, id);
}

static __always_inline int wrap_ours(const struct address *a, __u8 family)
{
	return address_look(a->pair, family) != 0;
}

/* No service's: what another balancer packed for this host is unpacked, else left to the host. */
__noinline int unserved(struct xdp_md *ctx, struct packet *p)
{
	struct balance_state *s = state_get();
	int whose, verdict;
	__u32 what;

	if (!p || !s)
		return XDP_ABORTED;
	whose = address_look(&p->flow[2], p->family);
	if (!whose)
		return done(p, BALANCE_FOREIGN, XDP_PASS);
	if (whose != BALANCE_HOSTS || p->l2 > 14 || asking || !(s->use & BALANCE_USE_HERE))
		return done(p, BALANCE_UNSERVED, XDP_PASS);
	verdict = unpack_frame(ctx, &what);
	if (what == UNPACKED)
		return done(p, BALANCE_UNPACKED, verdict);
	if (what == HANDED_ON)
		return done(p, BALANCE_HANDED_ON, verdict);
	return done(p, what == CUT_SHORT ? BALANCE_MALFORMED : BALANCE_UNSERVED, verdict);
}

/* Backend that the packet itself names, 0: none. */
static __always_inline __u32 named_by(struct xdp_md *ctx, const struct packet *p,
				      const struct balance_service *v)
{
	if (!(v->flags & BALANCE_QUIC) || p->proto != PROTO_UDP || p->kind != KIND_FLOW)
		return 0;
	return quic_backend(ctx, p->l4, v->stat);
}

/* A packet whose protocol and ports are known. */
__noinline int serve(struct xdp_md *ctx, struct packet *p)
{
	struct balance_state *s = state_get();
	struct balance_service *v;
	int verdict;
	__u32 id, named;

	if (!p || !s)
		return XDP_ABORTED;
	if (nat_to_us(s, p)) {
		verdict = nat_answer(p);
		if (verdict != NAT_NONE)
			return verdict;
	}
	id = service_find(s, &p->flow[2], p->family, p->ports >> 16, p->proto);
	v = id ? bpf_map_lookup_elem(&services, &id) : 0;
	if (!v)
		return unserved(ctx, p);
	p->service = v->stat;
	if (v->flags & BALANCE_PROTECTED || s->use & BALANCE_USE_DENY) {
		verdict = protection(ctx, p, id);
		if (verdict != GO_ON)
			return verdict;
	}
	hashes(p, v);
	named = named_by(ctx, p, v);
	if (named && !is_nat(named)) {
		id = named;
	} else if (v->flags & BALANCE_SOME_NAT) {
		verdict = nat_serve(p, id);
		if (verdict != NAT_NONE)
			return verdict;
		id = p->backend;
	} else {
		id = choose(p, v, id);
	}
	if (p->fragment && id)
		fragment_note(p, id);
	return send_to(ctx, p, id);
}

/* What is wrong with a packet matters only where it is for us. */
__noinline int odd(struct packet *p, __u32 reason)
{
	struct balance_state *s = state_get();
	int whose;

	if (!p || !s)
		return XDP_ABORTED;
	whose = ours(&p->flow[2], p->family);
	if (!whose)
		return done(p, BALANCE_FOREIGN, XDP_PASS);
	if (reason == BALANCE_UNSERVED || whose == BALANCE_HOSTS)
		return done(p, reason, XDP_PASS);
	return done(p, reason, XDP_DROP);
}

/* Ports, and of TCP whether the flow begins. */
static __always_inline int ports_get(struct packet *p, void *l4, void *end)
{
	struct tcp *tcp = l4;

	if (l4 + 8 > end)
		return -1;
	p->ports = *(__u32 *)l4;
	p->kind = KIND_FLOW;
	if (p->proto == PROTO_UDP)
		return 0;
	if (l4 + sizeof(*tcp) > end)
		return -1;
	p->flags = tcp->flags;
	p->kind = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? KIND_FIRST : KIND_MORE;
	return 0;
}

/* An error about a packet that a backend sent from our address: as if the client had sent it. */
static __always_inline int about4(struct packet *p, struct ip4 *in, void *end)
{
	__u16 *ports;

	if ((void *)(in + 1) > end || in->version != 4 || in->words < 5 ||
	    in->fragment & bpf_htons(IP4_OFFSET))
		return odd(p, BALANCE_UNSERVED);
	ports = (void *)in + in->words * 4;
	if ((void *)(ports + 2) > end || (in->proto != PROTO_TCP && in->proto != PROTO_UDP))
		return odd(p, BALANCE_UNSERVED);
	p->proto = in->proto;
	p->flow[0] = in->dst;
	p->flow[2] = in->src;
	p->ports = ports[1] | (__u32)ports[0] << 16;
	p->kind = KIND_ABOUT;
	return 0;
}

static __always_inline int about6(struct packet *p, struct ip6 *in, void *end)
{
	__u16 *ports = (void *)(in + 1);

	if ((void *)(ports + 2) > end || in->version != 6 ||
	    (in->proto != PROTO_TCP && in->proto != PROTO_UDP))
		return odd(p, BALANCE_UNSERVED);
	p->proto = in->proto;
	__builtin_memcpy(&p->flow[0], &in->dst, 16);
	__builtin_memcpy(&p->flow[2], &in->src, 16);
	p->ports = ports[1] | (__u32)ports[0] << 16;
	p->kind = KIND_ABOUT;
	return 0;
}

static __always_inline int icmp4(struct xdp_md *ctx, struct packet *p, struct balance_state *s,
				 struct ip4 *ip, void *l4, void *end)
{
	struct icmp *icmp = l4;

	if ((void *)(icmp + 1) > end)
		return odd(p, BALANCE_MALFORMED);
	if (icmp->type == ICMP4_ECHO && !p->fragment && ours(&p->flow[2], 4))
		return echo4(ctx, p, ip, icmp);
	if (icmp->type == ICMP4_UNREACHABLE || icmp->type == ICMP4_TIME ||
	    icmp->type == ICMP4_PARAMETER)
		return about4(p, (void *)(icmp + 1), end);
	return odd(p, BALANCE_UNSERVED);
}

static __always_inline int icmp6(struct xdp_md *ctx, struct packet *p, struct balance_state *s,
				 struct ip6 *ip, void *l4, void *end)
{
	struct icmp *icmp = l4;

	if ((void *)(icmp + 1) > end)
		return odd(p, BALANCE_MALFORMED);
	if (icmp->type == ICMP6_ECHO && !p->fragment && ours(&p->flow[2], 6))
		return echo6(ctx, p, ip, icmp);
	if (icmp->type >= ICMP6_UNREACHABLE && icmp->type <= ICMP6_PARAMETER)
		return about6(p, (void *)(icmp + 1), end);
	return odd(p, BALANCE_UNSERVED);
}

/* in4(), in6(): 0 where serve() has to go on, else a verdict. XDP_ABORTED is 0 too: never meant here. */
static __always_inline int in4(struct xdp_md *ctx, struct packet *p, struct balance_state *s,
			       struct ip4 *ip, void *end)
{
	void *l4 = (void *)ip + ip->words * 4;
	__u16 frag = bpf_ntohs(ip->fragment);

	p->flow[0] = ip->src;
	p->flow[2] = ip->dst;
	p->proto = ip->proto;
	p->tos = ip->tos;
	p->size = bpf_ntohs(ip->size);
	p->df = !!(frag & IP4_DF);
	p->fragment_id = ip->id;
	if (ip->version != 4 || ip->words < 5 || p->size < ip->words * 4 ||
	    p->size > (__u64)(end - (void *)ip))
		return odd(p, BALANCE_MALFORMED);
	p->l4 = l4 - (void *)(long)ctx->data;
	if (frag & IP4_OFFSET)
		return serve_later(ctx, p);
	p->fragment = !!(frag & IP4_MF);
	if (p->proto == PROTO_ICMP)
		return icmp4(ctx, p, s, ip, l4, end);
	if (p->proto != PROTO_TCP && p->proto != PROTO_UDP)
		return unserved(ctx, p);
	if (ports_get(p, l4, end))
		return odd(p, BALANCE_MALFORMED);
	return 0;
}

/* Behind the extension headers, NULL where they end early. 2 in p->fragment: the end of the way. */
static __always_inline void *skip_extensions(struct packet *p, void *at, void *end)
{
	__u8 *ext;
	int i;

	for (i = 0; i < EXT_MAX; i++) {
		ext = at;
		if (p->proto != IP6_HOP && p->proto != IP6_ROUTING && p->proto != IP6_DST &&
		    p->proto != IP6_FRAGMENT && p->proto != IP6_AUTH)
			return at;
		if (at + 8 > end)
			return 0;
		if (p->proto == IP6_FRAGMENT) {
			p->fragment_id = *(__be32 *)(ext + 4);
			p->fragment = *(__be16 *)(ext + 2) & bpf_htons(0xfff8) ? 2 : ext[3] & 1;
			at += 8;
		} else {
			at += p->proto == IP6_AUTH ? (ext[1] + 2) * 4 : (ext[1] + 1) * 8;
		}
		p->proto = ext[0];
		if (p->fragment == 2)
			return at;
	}
	return 0;
}

static __always_inline int in6(struct xdp_md *ctx, struct packet *p, struct balance_state *s,
			       struct ip6 *ip, void *end)
{
	void *l4;

	__builtin_memcpy(p->flow, &ip->src, 32);
	p->proto = ip->proto;
	p->tos = bpf_ntohs(*(__be16 *)ip) >> 4;
	p->size = bpf_ntohs(ip->payload) + sizeof(*ip);
	if (ip->version != 6 || p->size > (__u64)(end - (void *)ip))
		return odd(p, BALANCE_MALFORMED);
	l4 = skip_extensions(p, ip + 1, end);
	if (!l4)
		return odd(p, BALANCE_MALFORMED);
	p->l4 = l4 - (void *)(long)ctx->data;
	if (p->fragment == 2)
		return serve_later(ctx, p);
	if (p->proto == PROTO_ICMPV6)
		return icmp6(ctx, p, s, ip, l4, end);
	if (p->proto != PROTO_TCP && p->proto != PROTO_UDP)
		return unserved(ctx, p);
	if (ports_get(p, l4, end))
		return odd(p, BALANCE_MALFORMED);
	return 0;
}

static __always_inline int finish(struct xdp_md *ctx, struct packet *p, int verdict)
{
	verdict = verdict ?: serve(ctx, p);
	verdict = verdict == NAT_SEND ? nat_send(ctx, p) : verdict;
	return sample_every ? sample(ctx, p, verdict) : verdict;
}

static __always_inline int passed(enum balance_reason reason)
{
	return done(&(struct packet){}, reason, XDP_PASS);
}

static __always_inline int filtered(struct balance_state *s, __u32 bit)
{
	return !(s->filter[bit / 64] >> (bit & 63) & 1);
}

static __always_inline int is_tag(__be16 proto)
{
	return proto == bpf_htons(ETH_VLAN) || proto == bpf_htons(ETH_QINQ);
}

static __always_inline void packet_init(struct packet *p, void *data, __u32 l2, __u8 family)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->l2 = l2;
	p->family = family;
	p->macs = *(struct macs *)data;
	if (l2 > 14)
		p->tags[0] = *(__be32 *)(data + 12);
	if (l2 > 18)
		p->tags[1] = *(__be32 *)(data + 16);
}

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, l2 = sizeof(struct eth);
	struct balance_state *s = bpf_map_lookup_elem(&state, &zero);
	struct eth *eth = data;
	struct packet p;
	__be16 proto;
	int verdict;

	if (!s || data + l2 > end)
		return passed(BALANCE_NOT_IP);
	proto = eth->proto;
	if (is_tag(proto) && data + 18 <= end) {
		proto = *(__be16 *)(data + 16);
		l2 = 18;
	}
	if (l2 == 18 && is_tag(proto) && data + 22 <= end) {
		proto = *(__be16 *)(data + 20);
		l2 = 22;
	}
	if (proto == bpf_htons(ETH_IP)) {
		struct ip4 *ip = data + l2;

		if ((void *)(ip + 1) > end || filtered(s, balance_filter4(ip->dst)))
			return passed(BALANCE_FOREIGN);
		packet_init(&p, data, l2, 4);
		verdict = in4(ctx, &p, s, ip, end);
	} else if (proto == bpf_htons(ETH_IPV6)) {
		struct ip6 *ip = data + l2;

		if ((void *)(ip + 1) > end || filtered(s, balance_filter6((void *)&ip->dst)))
			return passed(BALANCE_FOREIGN);
		packet_init(&p, data, l2, 6);
		verdict = in6(ctx, &p, s, ip, end);
	} else {
		return passed(BALANCE_NOT_IP);
	}
	return finish(ctx, &p, verdict);
}
