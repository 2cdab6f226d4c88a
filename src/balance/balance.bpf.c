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
 * maps in: state, vip4, vip6, ranges, services, rings, backends. maps out: flows, counts, totals,
 * sent, told; backends' hops.
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

#include "flows.h"
#include "packet.h"

#include "balance/balance.h"

LICENSE;

#define AF_INET	 2
#define AF_INET6 10

#define EXT_MAX 6

#define HOP_JIFFIES 250
#define UDP_UNITS   8
#define OUTER_TTL   64
#define QUOTE4	    68
#define QUOTE6	    192

const volatile __u32 telling; /* fill `told` */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_key4);
	__type(value, struct balance_vip);
} vip4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_key6);
	__type(value, struct balance_vip);
} vip6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct balance_ranges);
} ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 20);
	__type(key, __u32);
	__type(value, struct balance_slot);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_counts);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_counts);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_sent);
} sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_told);
} told SEC(".maps");

enum kind {
	KIND_FLOW,  /* of a flow, its first packet cannot be told */
	KIND_FIRST, /* of TCP: a SYN */
	KIND_MORE,  /* of TCP: any other */
	KIND_ABOUT, /* an ICMP error about a flow: leaves no entry */
};

/* Destination and source as in a frame. */
struct macs {
	union {
		__u32 word[3];
		__u16 half[6];
	};
};

struct packet {
	__u64 hash, source; /* of the flow; of the client's address */
	__u64 flow[4];	    /* addresses as in the packet, source first; IPv4 in one word each */
	__u32 ports, l2, size;
	__u32 slot_hash, service, backend, entry;
	__u16 changed;
	__be16 l2_proto;
	struct macs macs;
	__be32 tags[2];
	__u8 family, proto, kind, tos, fragment; /* fragment: 1 the first, 2 a later one */
	__u8 df;
	__be32 fragment_id;
};

/*
 * Functions that are not static are checked by the verifier once, whatever they are called with; what
 * it has to look at is then a sum and not a product. Their callers' pointers come as "maybe NULL".
 */

static __always_inline struct balance_state *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

static __always_inline int done(struct packet *p, __u32 reason, int verdict)
{
	__u32 service = p->service, zero = 0;
	struct balance_counts *c;

	if (telling) {
		struct balance_told t = {service, p->backend, reason, p->entry};

		bpf_map_update_elem(&told, &zero, &t, BPF_ANY);
	}
	if (service) {
		c = bpf_map_lookup_elem(&counts, &service);
		if (c)
			__sync_fetch_and_add(&c->packets[reason & (BALANCE_COUNTS - 1)], 1);
	} else {
		c = bpf_map_lookup_elem(&totals, &zero);
		if (c)
			c->packets[reason & (BALANCE_COUNTS - 1)]++;
	}
	return verdict;
}

/* ---- choice ---------------------------------------------------------------------------------- */

static __always_inline struct balance_backend *backend_get(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

static __always_inline int usable(__u32 id)
{
	struct balance_backend *b = id ? backend_get(id) : 0;

	return b && b->state != BALANCE_GONE;
}

/* Whether a flow without an entry begins with this packet, as far as can be told. */
static __always_inline int begins(const struct packet *p, __u32 time)
{
	if (p->kind == KIND_FLOW) /* B8 */
		return ((time - p->changed) & BALANCE_TIME_MASK) > UDP_UNITS;
	return p->kind == KIND_FIRST;
}

/* B2 to B5, at a slot with BALANCE_LOOK. */
__noinline __u32 choose_stateful(struct packet *p, __u32 first, __u32 was)
{
	struct balance_state *s = state_get();
	__u32 time = now(), backend;

	if (!p || !s)
		return 0;
	backend = find(p->hash, 0, time, p->kind != KIND_ABOUT && first != was);
	if (backend && usable(backend)) {
		p->entry = 1;
		if (first == was && backend != was)
			find(p->hash, 0, time, 1);
		return backend;
	}
	if (!usable(was))
		was = first;
	if (p->kind == KIND_ABOUT || first == was)
		return was;
	backend = begins(p, time) ? first : was;
	if (backend && !insert(s, p->hash, backend, 0, time)) /* B4 */
		backend = was;				      /* B3 */
	return backend;
}

static __always_inline __u32 choose(struct packet *p, const struct balance_service *v)
{
	__u32 hash = v->flags & BALANCE_BY_SOURCE ? p->source : p->hash >> 32;
	__u32 at = v->ring + (hash >> (32 - (v->ring_log & 31)));
	struct balance_slot *slot = bpf_map_lookup_elem(&rings, &at);
	__u32 first, was;

	if (!slot)
		return 0;
	was = slot->was;
	first = slot->now;
	if (!(was & BALANCE_LOOK))
		return first; /* B1 */
	p->changed = v->changed;
	return choose_stateful(p, first, was & ~BALANCE_LOOK);
}

/* ---- services -------------------------------------------------------------------------------- */

static __always_inline struct balance_vip *vip_get(const __u64 addr[2], __u8 family, __be16 port,
						   __u8 proto)
{
	struct balance_key4 k4 = {.addr = addr[0], .port = port, .proto = proto};
	struct balance_key6 k6 = {.addr = {addr[0], addr[1]}, .port = port, .proto = proto};

	return family == 4 ? bpf_map_lookup_elem(&vip4, &k4) : bpf_map_lookup_elem(&vip6, &k6);
}

__noinline __u32 range_find(__u32 at, __u32 port)
{
	struct balance_ranges *r = bpf_map_lookup_elem(&ranges, &at);
	__u16 p = bpf_ntohs((__be16)port);
	int i;

	if (!r)
		return 0;
	for (i = 0; i < BALANCE_RANGES; i++)
		if ((__u32)i < r->n && p >= r->range[i].first && p <= r->range[i].last)
			return r->range[i].service;
	return 0;
}

/* Index of "services", 0: none. */
static __always_inline __u32 service_find(struct balance_state *s, const __u64 addr[2], __u8 family,
					  __be16 port, __u8 proto)
{
	__u32 side = s->active & 1, id = 0;
	struct balance_vip *v = vip_get(addr, family, port, proto);

	if (v)
		id = v->service[side];
	if (id)
		return id;
	v = vip_get(addr, family, 0, proto);
	return v && v->service[side] ? range_find(v->service[side], port) : 0;
}

static __always_inline int ours(struct balance_state *s, const __u64 addr[2], __u8 family)
{
	struct balance_vip *v = vip_get(addr, family, 0, 0);

	return v && v->service[s->active & 1];
}

/* ---- out ------------------------------------------------------------------------------------- */

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

struct hop {
	struct macs macs;
	__u32 ifindex;
	__u16 mtu;
};

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
	if (rc != BPF_FIB_LKUP_RET_SUCCESS)
		return BALANCE_NO_ROUTE;
	__builtin_memcpy(b->hop_dst, f.dmac, 6);
	__builtin_memcpy(b->hop_src, f.smac, 6);
	b->hop_ifindex = f.ifindex;
	b->hop_mtu = f.mtu_result;
	b->hop_until = jiffies + HOP_JIFFIES;
	return 0;
}

static __always_inline int hop_get(struct xdp_md *ctx, struct packet *p, struct balance_backend *b,
				   __u32 id, struct hop *h)
{
	const struct macs *hop = (const void *)b->hop_dst;
	__u32 jiffies;
	int reason;

	h->mtu = b->hop_mtu;
	h->ifindex = 0;
	if (p->l2 > 14 || b->hop_flags & BALANCE_HOP_REFLECT) {
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

static __always_inline int outer4(struct xdp_md *ctx, const struct packet *p,
				  const struct balance_backend *b, const struct hop *h)
{
	__u16 size = p->size + sizeof(struct ip4), id = (__u16)p->hash;
	struct ip4 *ip;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return -1;
	ip = l2_put(ctx, p, &h->macs, bpf_htons(ETH_IP), sizeof(*ip));
	if (!ip)
		return -1;
	*(__be16 *)ip = bpf_htons(0x4500 | p->tos);
	ip->size = bpf_htons(size);
	ip->id = id;
	ip->fragment = bpf_htons(IP4_DF);
	ip->ttl = OUTER_TTL;
	ip->proto = p->family == 4 ? PROTO_IPIP : PROTO_IPV6;
	ip->src = b->src[0];
	ip->dst = b->dst[0];
	ip->sum = fold((__u32)b->sum + bpf_htons(p->tos) + ip->size + id + *(__be16 *)&ip->ttl);
	return 0;
}

static __always_inline int outer6(struct xdp_md *ctx, const struct packet *p,
				  const struct balance_backend *b, const struct hop *h)
{
	struct ip6 *ip;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return -1;
	ip = l2_put(ctx, p, &h->macs, bpf_htons(ETH_IPV6), sizeof(*ip));
	if (!ip)
		return -1;
	/* the flow's label lets the backend's link spread flows over queues */
	*(__be32 *)ip = bpf_htonl(0x60000000 | p->tos << 20 | ((__u32)p->hash & 0xfffff));
	ip->payload = bpf_htons(p->size);
	ip->proto = p->family == 4 ? PROTO_IPIP : PROTO_IPV6;
	ip->hops = OUTER_TTL;
	__builtin_memcpy(&ip->src, b->src, 16);
	__builtin_memcpy(&ip->dst, b->dst, 16);
	return 0;
}

static __always_inline void count_sent(__u32 backend, const struct packet *p)
{
	struct balance_sent *c = bpf_map_lookup_elem(&sent, &backend);

	if (!c)
		return;
	c->packets++;
	c->bytes += p->size;
	c->flows += p->kind == KIND_FIRST;
}

/* ---- answers of our own ---------------------------------------------------------------------- */

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

static __always_inline int send_to(struct xdp_md *ctx, struct packet *p, __u32 id)
{
	struct balance_backend *b = id ? backend_get(id) : 0;
	__u32 head;
	int reason;
	struct hop h;

	if (!b || !b->family)
		return done(p, BALANCE_NO_BACKEND, XDP_DROP);
	p->backend = id;
	reason = hop_get(ctx, p, b, id, &h);
	if (reason)
		return done(p, reason, XDP_DROP);
	head = b->family == 4 ? sizeof(struct ip4) : sizeof(struct ip6);
	if (h.mtu && p->size + head > h.mtu)
		return too_big(ctx, p, h.mtu - head);
	if (b->family == 4 ? outer4(ctx, p, b, &h) : outer6(ctx, p, b, &h))
		return done(p, BALANCE_NO_ROOM, XDP_DROP);
	if (telling)
		done(p, BALANCE_FORWARDED, 0);
	count_sent(id, p);
	if (!h.ifindex || h.ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect(h.ifindex, 0);
}

/* ---- the packet ------------------------------------------------------------------------------ */

static __always_inline __u64 fragment_hash(const struct packet *p)
{
	__u64 h = balance_mix(BALANCE_SEED, p->flow[0] ^ p->flow[1] * 3);

	h = balance_mix(h, p->flow[2] ^ p->flow[3] * 3);
	return balance_mix_end(balance_mix(h, (__u64)p->fragment_id << 8 | p->proto));
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
	__u32 id;

	if (!p || !s)
		return XDP_ABORTED;
	if (!ours(s, &p->flow[2], p->family))
		return done(p, BALANCE_FOREIGN, XDP_PASS);
	id = choose_later(p);
	return id ? send_to(ctx, p, id) : done(p, BALANCE_FRAGMENT, XDP_DROP);
}

/* A packet whose protocol and ports are known. */
__noinline int serve(struct xdp_md *ctx, struct packet *p)
{
	struct balance_state *s = state_get();
	struct balance_service *v;
	__u32 id;

	if (!p || !s)
		return XDP_ABORTED;
	id = service_find(s, &p->flow[2], p->family, p->ports >> 16, p->proto);
	v = id ? bpf_map_lookup_elem(&services, &id) : 0;
	if (!v)
		return ours(s, &p->flow[2], p->family) ? done(p, BALANCE_UNSERVED, XDP_PASS)
						       : done(p, BALANCE_FOREIGN, XDP_PASS);
	p->service = v->stat;
	hashes(p, v);
	id = choose(p, v);
	if (p->fragment && id) /* its later fragments have no ports */
		insert(s, fragment_hash(p), id, 1, now());
	return send_to(ctx, p, id);
}

/* What is wrong with a packet matters only where it is for us. */
__noinline int odd(struct packet *p, __u32 reason)
{
	struct balance_state *s = state_get();

	if (!p || !s)
		return XDP_ABORTED;
	if (!ours(s, &p->flow[2], p->family))
		return done(p, BALANCE_FOREIGN, XDP_PASS);
	return done(p, reason, reason == BALANCE_UNSERVED ? XDP_PASS : XDP_DROP);
}

/* Ports, and of TCP whether the flow begins. @need: what must be there, less behind an ICMP error. */
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
	p->kind = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? KIND_FIRST : KIND_MORE;
	return 0;
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
	if (icmp->type == ICMP4_ECHO && !p->fragment && ours(s, &p->flow[2], 4))
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
	if (icmp->type == ICMP6_ECHO && !p->fragment && ours(s, &p->flow[2], 6))
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
	if (frag & IP4_OFFSET)
		return serve_later(ctx, p);
	p->fragment = !!(frag & IP4_MF);
	if (p->proto == PROTO_ICMP)
		return icmp4(ctx, p, s, ip, l4, end);
	if (p->proto != PROTO_TCP && p->proto != PROTO_UDP)
		return odd(p, BALANCE_UNSERVED);
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
	if (p->fragment == 2)
		return serve_later(ctx, p);
	if (p->proto == PROTO_ICMPV6)
		return icmp6(ctx, p, s, ip, l4, end);
	if (p->proto != PROTO_TCP && p->proto != PROTO_UDP)
		return odd(p, BALANCE_UNSERVED);
	if (ports_get(p, l4, end))
		return odd(p, BALANCE_MALFORMED);
	return 0;
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

SEC("xdp")
int balance(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, l2 = sizeof(struct eth);
	struct balance_state *s = bpf_map_lookup_elem(&state, &zero);
	struct eth *eth = data;
	struct packet p;
	__be16 proto;

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
		__builtin_memset(&p, 0, sizeof(p));
		p.l2 = l2;
		p.family = 4;
		p.macs = *(struct macs *)data;
		if (l2 > 14)
			p.tags[0] = *(__be32 *)(data + 12);
		if (l2 > 18)
			p.tags[1] = *(__be32 *)(data + 16);
		return in4(ctx, &p, s, ip, end) ?: serve(ctx, &p);
	}
	if (proto == bpf_htons(ETH_IPV6)) {
		struct ip6 *ip = data + l2;

		if ((void *)(ip + 1) > end || filtered(s, balance_filter6((void *)&ip->dst)))
			return passed(BALANCE_FOREIGN);
		__builtin_memset(&p, 0, sizeof(p));
		p.l2 = l2;
		p.family = 6;
		p.macs = *(struct macs *)data;
		if (l2 > 14)
			p.tags[0] = *(__be32 *)(data + 12);
		if (l2 > 18)
			p.tags[1] = *(__be32 *)(data + 16);
		return in6(ctx, &p, s, ip, end) ?: serve(ctx, &p);
	}
	return passed(BALANCE_NOT_IP);
}
