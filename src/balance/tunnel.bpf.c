// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tunnel.bpf.c: at tc of the balancer's interfaces: health probes take the way of a service's packets.
 *
 *	probe --> backend's address --- out: to the service's address, behind the outer header ----> backend
 *	probe <-- backend's address --- in:  from the service's address <--------------------------- server
 *
 * The prober connects to the backend, so routes and neighbours are those that outer headers meet; only
 * the packets' other address is another on the wire. It cannot be told by the server from a client.
 *
 * maps in: probes.
 *
 * Q1  A place in `probes` is chosen by the probe's own port; all of protocol, ports and addresses must be
 *     as it says, and its time not over: whoever died leaves nothing that holds.
 * Q2  Each place is written by the prober alone, `until` last.
 */
#include "bpf.h"

#include <linux/pkt_cls.h>

#include "balance/balance.h"
#include "packet.h"

LICENSE;

const volatile __u16 gue_port = BALANCE_GUE_PORT;

#define L2	  sizeof(struct eth)
#define OUTER_TTL 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BALANCE_PROBES);
	__type(key, __u32);
	__type(value, struct balance_probe);
} probes SEC(".maps");

/* A packet of ports; IPv4 addresses in the first word. */
struct seen {
	__u32 src[4], dst[4];
	struct {
		__be16 src, dst;
	} port;
	__u8 family, proto;
	__u32 l4; /* where ports stand */
};

static __always_inline int see4(struct __sk_buff *ctx, struct seen *s)
{
	struct ip4 ip;

	if (bpf_skb_load_bytes(ctx, L2, &ip, sizeof(ip)) || ip.words != 5 ||
	    ip.fragment & bpf_htons(IP4_MF | IP4_OFFSET))
		return -1;
	s->family = 4;
	s->proto = ip.proto;
	s->src[0] = ip.src;
	s->dst[0] = ip.dst;
	s->l4 = L2 + sizeof(ip);
	return 0;
}

static __always_inline int see6(struct __sk_buff *ctx, struct seen *s)
{
	struct ip6 ip;

	if (bpf_skb_load_bytes(ctx, L2, &ip, sizeof(ip)))
		return -1;
	s->family = 6;
	s->proto = ip.proto;
	__builtin_memcpy(s->src, ip.src, 16);
	__builtin_memcpy(s->dst, ip.dst, 16);
	s->l4 = L2 + sizeof(ip);
	return 0;
}

static __always_inline int see(struct __sk_buff *ctx, struct seen *s)
{
	if (ctx->vlan_present)
		return -1;
	if (ctx->protocol == bpf_htons(ETH_IP)
		    ? see4(ctx, s)
		    : ctx->protocol != bpf_htons(ETH_IPV6) || see6(ctx, s))
		return -1;
	if (s->proto != PROTO_TCP && s->proto != PROTO_UDP)
		return -1;
	return bpf_skb_load_bytes(ctx, s->l4, &s->port, sizeof(s->port));
}

static __always_inline int same(const __u32 *a, const __u32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Q1, but for the other address. */
static __always_inline struct balance_probe *probe_of(const struct seen *s, __be16 ours,
						      __be16 theirs)
{
	__u32 at = bpf_ntohs(ours);
	struct balance_probe *p = bpf_map_lookup_elem(&probes, &at);

	if (!p || p->ours != ours || p->theirs != theirs || p->family != s->family ||
	    p->proto != s->proto || p->until < bpf_ktime_get_ns())
		return 0;
	return p;
}

/* One address for another, where L3 has it; sums follow, as far as they are made yet. */
static __always_inline int turn(struct __sk_buff *ctx, const struct seen *s, __u32 at, __u32 *old,
				__u32 *new)
{
	__u32 tcp = s->proto == PROTO_TCP;
	__u32 sum_at = s->l4 + (tcp ? offsetof(struct tcp, sum) : offsetof(struct udp, sum));
	__u64 flags = BPF_F_PSEUDO_HDR | (tcp ? 0 : BPF_F_MARK_MANGLED_0);
	__s64 change = bpf_csum_diff(old, 16, new, 16, 0);

	if (bpf_l4_csum_replace(ctx, sum_at, 0, change, flags))
		return -1;
	if (s->family == 6) {
		/* a sum that the device made of all stays: one change undoes the other */
		bpf_csum_update(ctx, change);
		return bpf_skb_store_bytes(ctx, at, new, 16, 0);
	}
	if (bpf_l3_csum_replace(ctx, L2 + offsetof(struct ip4, sum), old[0], new[0], 4))
		return -1;
	return bpf_skb_store_bytes(ctx, at, new, 4, 0);
}

/* ---- the outer header ------------------------------------------------------------------------ */

struct gue4 {
	struct ip4 ip;
	struct udp udp;
};

struct gue6 {
	struct ip6 ip;
	struct udp udp;
};

static __always_inline struct udp udp_of(const struct seen *s, __u32 size)
{
	return (struct udp){
		.src = s->port.src | bpf_htons(0xc000),
		.dst = bpf_htons(gue_port),
		.size = bpf_htons(size),
	};
}

static __always_inline int outer4(struct __sk_buff *ctx, const struct seen *s,
				  const struct balance_probe *p)
{
	__u32 gue = p->mode == BALANCE_GUE, n = gue ? sizeof(struct gue4) : sizeof(struct ip4);
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO |
		      (gue ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0);
	struct gue4 h = {.ip = {
				 .version = 4,
				 .words = 5,
				 .fragment = bpf_htons(IP4_DF),
				 .ttl = OUTER_TTL,
				 .proto = gue ? PROTO_UDP : PROTO_IPIP,
				 .src = s->src[0],
				 .dst = s->dst[0],
			 }};
	const __u16 *w = (const void *)&h.ip;
	__u64 sum = 0;
	int i;

	if (bpf_skb_adjust_room(ctx, n, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	h.ip.size = bpf_htons(ctx->len - L2);
	h.ip.id = bpf_get_prandom_u32();
	h.udp = udp_of(s, ctx->len - L2 - sizeof(h.ip));
	for (i = 0; i < 10; i++)
		sum += w[i];
	h.ip.sum = fold_long(sum);
	return gue ? bpf_skb_store_bytes(ctx, L2, &h, sizeof(h), BPF_F_RECOMPUTE_CSUM)
		   : bpf_skb_store_bytes(ctx, L2, &h, sizeof(h.ip), BPF_F_RECOMPUTE_CSUM);
}

/* Over a packet with a right sum of its own: what its header holds besides addresses and length. */
static __always_inline __u64 inner_sum6(struct __sk_buff *ctx)
{
	struct ip6 ip = {};
	__u32 proto;

	bpf_skb_load_bytes(ctx, L2, &ip, sizeof(ip));
	proto = ip.proto;
	return (__u64) * (__u32 *)&ip + *(__u16 *)&ip.proto + (__u16)~bpf_htons(proto);
}

static __always_inline int outer6(struct __sk_buff *ctx, const struct seen *s,
				  const struct balance_probe *p)
{
	__u32 gue = p->mode == BALANCE_GUE, n = gue ? sizeof(struct gue6) : sizeof(struct ip6);
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO |
		      (gue ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0);
	struct gue6 h = {.ip = {
				 .version = 6,
				 .proto = gue ? PROTO_UDP : PROTO_IPV6,
				 .hops = OUTER_TTL,
			 }};
	__u64 sum = inner_sum6(ctx);

	__builtin_memcpy(h.ip.src, s->src, 16);
	__builtin_memcpy(h.ip.dst, s->dst, 16);
	if (bpf_skb_adjust_room(ctx, n, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	h.ip.payload = bpf_htons(ctx->len - L2 - sizeof(h.ip));
	h.udp = udp_of(s, ctx->len - L2 - sizeof(h.ip));
	sum += sum_words(h.ip.src) + sum_words(h.ip.dst) + bpf_htons(PROTO_UDP) +
	       2 * (__u32)h.udp.size + h.udp.src + h.udp.dst;
	if (!ctx->gso_size)
		h.udp.sum = fold_long(sum) ?: 0xffff;
	return gue ? bpf_skb_store_bytes(ctx, L2, &h, sizeof(h), BPF_F_RECOMPUTE_CSUM)
		   : bpf_skb_store_bytes(ctx, L2, &h, sizeof(h.ip), BPF_F_RECOMPUTE_CSUM);
}

/* ---- programs -------------------------------------------------------------------------------- */

SEC("tc")
int probe_out(struct __sk_buff *ctx)
{
	struct balance_probe *found, p;
	struct seen s = {};
	__u32 at;

	if (see(ctx, &s))
		return TC_ACT_UNSPEC;
	found = probe_of(&s, s.port.src, s.port.dst);
	if (!found || !same(s.dst, found->backend))
		return TC_ACT_UNSPEC;
	p = *found;
	at = L2 + (s.family == 4 ? offsetof(struct ip4, dst) : offsetof(struct ip6, dst));
	if (turn(ctx, &s, at, p.backend, p.vip))
		return TC_ACT_SHOT;
	if (p.mode == BALANCE_L2)
		return TC_ACT_UNSPEC;
	return (s.family == 4 ? outer4(ctx, &s, &p) : outer6(ctx, &s, &p)) ? TC_ACT_SHOT
									   : TC_ACT_UNSPEC;
}

SEC("tc")
int probe_in(struct __sk_buff *ctx)
{
	struct balance_probe *found, p;
	struct seen s = {};
	__u32 at;

	if (see(ctx, &s))
		return TC_ACT_UNSPEC;
	found = probe_of(&s, s.port.dst, s.port.src);
	if (!found || !same(s.src, found->vip))
		return TC_ACT_UNSPEC;
	p = *found;
	at = L2 + (s.family == 4 ? offsetof(struct ip4, src) : offsetof(struct ip6, src));
	return turn(ctx, &s, at, p.vip, p.backend) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}
