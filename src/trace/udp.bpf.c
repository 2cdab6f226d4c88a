// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * udp.bpf.c: UDP flows and DNS of the whole host, at the root cgroup, so in every network namespace.
 *
 *	cgroup/sock_create -> mark beside the socket: who created it
 *	cgroup_skb/egress, /ingress -> flows (read and emptied by trace.c once a second)
 *	                       \-----> ring: DNS messages, questions out and answers in
 *
 * maps in: marks (owners, also written by tcp.bpf.c). maps out: flows, ring, count.
 *
 * U1  The verdict is always 1: nothing is ever dropped.
 * U2  Any packet that is not UDP over plain IPv4 or IPv6 leaves at the first look.
 * U3  A flow that found the map full is counted, not half kept.
 */
#include "bpf.h"
#include "socket.h"

LICENSE;

#define IPPROTO_UDP 17
#define ETH_P_IP    0x0800
#define ETH_P_IPV6  0x86dd
#define SOCK_DGRAM  2
#define DNS_PORT    53
#define IP_OFFSET   0x1fff

struct iphdr {
	__u8 ihl_version, tos;
	__u16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__u16 check;
	__u32 saddr, daddr;
};

struct ipv6hdr {
	__u32 flow;
	__u16 payload_len;
	__u8 nexthdr, hop_limit;
	__u8 saddr[16], daddr[16];
};

struct udphdr {
	__u16 source, dest, len, check;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct trace_flow_key);
	__type(value, struct trace_flow);
} flows SEC(".maps");

SEC("cgroup/sock_create")
int on_create(struct bpf_sock *ctx)
{
	struct trace_mark *m;

	if (ctx->type != SOCK_DGRAM || (ctx->family != AF_INET && ctx->family != AF_INET6))
		return 1;
	m = bpf_sk_storage_get(&marks, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!m)
		return 1;
	own(&m->owner, bpf_get_current_task_btf());
	m->opened = bpf_ktime_get_boot_ns();
	m->flags = 0;
	m->netns = bpf_get_current_task_btf()->nsproxy->net_ns->ns.inum;
	return 1;
}

/* Ends as this host sees them; returns the offset of the UDP header, 0 where it is no UDP. */
static __always_inline __u32 parse(struct __sk_buff *skb, struct trace_ends *e, int egress)
{
	struct udphdr udp;
	struct ipv6hdr ip6;
	struct iphdr ip;
	__u32 off;

	if (skb->protocol == __builtin_bswap16(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.protocol != IPPROTO_UDP ||
		    ip.frag_off & __builtin_bswap16(IP_OFFSET))
			return 0;
		e->family = AF_INET;
		*(__u32 *)e->local = egress ? ip.saddr : ip.daddr;
		*(__u32 *)e->remote = egress ? ip.daddr : ip.saddr;
		off = (ip.ihl_version & 15) * 4;
	} else if (skb->protocol == __builtin_bswap16(ETH_P_IPV6)) {
		if (bpf_skb_load_bytes(skb, 0, &ip6, sizeof(ip6)) || ip6.nexthdr != IPPROTO_UDP)
			return 0;
		e->family = AF_INET6;
		__builtin_memcpy(e->local, egress ? ip6.saddr : ip6.daddr, 16);
		__builtin_memcpy(e->remote, egress ? ip6.daddr : ip6.saddr, 16);
		off = sizeof(ip6);
	} else {
		return 0;
	}
	if (bpf_skb_load_bytes(skb, off, &udp, sizeof(udp)))
		return 0;
	e->local_port = __builtin_bswap16(egress ? udp.source : udp.dest);
	e->remote_port = __builtin_bswap16(egress ? udp.dest : udp.source);
	return off;
}

static __always_inline struct trace_flow *flow_of(struct trace_flow_key *key, int egress, __u64 now)
{
	struct trace_flow *f = bpf_map_lookup_elem(&flows, key), fresh = {};
	struct trace_count *c;

	if (f)
		return f;
	fresh.opened = now;
	fresh.flags = egress ? TRACE_OUT : TRACE_IN;
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	f = bpf_map_lookup_elem(&flows, key);
	c = counts();
	if (!f && c)
		c->flows_lost++; /* U3 */
	return f;
}

static __always_inline struct trace_mark *mark_of(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	sk = sk ? bpf_sk_fullsock(sk) : 0;
	return sk ? bpf_sk_storage_get(&marks, sk, 0, 0) : 0;
}

/* A datagram leaves in its sender's context: the first sender owns the socket. */
static __always_inline void owner_of(struct __sk_buff *skb, struct trace_flow *f, int egress)
{
	struct trace_mark *m = mark_of(skb);

	if (!m)
		return;
	if (egress && !(m->flags & TRACE_OWNED)) {
		own(&m->owner, bpf_get_current_task_btf());
		m->flags |= TRACE_OWNED;
	}
	f->owner = m->owner;
	f->netns = m->netns;
}

_Static_assert(!(TRACE_DNS_BYTES & (TRACE_DNS_BYTES - 1)), "TRACE_DNS_BYTES makes a mask");

static __always_inline void dns(struct __sk_buff *skb, struct trace_flow_key *key,
				struct trace_flow *f, __u32 off, __u64 now)
{
	struct trace_dns *e;
	__u32 len = skb->len - off, last = len - 1;

	if (len == 0 || len > 65535)
		return;
	e = reserve(TRACE_DNS, sizeof(*e));
	if (!e)
		return;
	e->head.time = now;
	e->head.kind = TRACE_DNS;
	e->head.pad = 0;
	e->cookie = key->cookie;
	e->ends = key->ends;
	e->ends.netns = f->netns;
	e->owner = f->owner;
	e->len = len;
	if (last >= TRACE_DNS_BYTES)
		last = TRACE_DNS_BYTES - 1;
	asm volatile("" : "+r"(last)); /* the mask is for verifiers: 1 to TRACE_DNS_BYTES */
	e->captured = (last & (TRACE_DNS_BYTES - 1)) + 1;
	if (bpf_skb_load_bytes(skb, off, e->data, e->captured))
		e->captured = 0;
	submit(e, now);
}

static __always_inline void datagram(struct __sk_buff *skb, int egress)
{
	struct trace_flow_key key = {};
	struct trace_flow *f;
	__u32 off = parse(skb, &key.ends, egress), packets = skb->gso_segs;
	__u64 now, bytes;

	if (!off || off + 8 > skb->len)
		return;
	off += sizeof(struct udphdr);
	bytes = skb->len - off;
	now = bpf_ktime_get_boot_ns();
	key.cookie = bpf_get_socket_cookie(skb);
	f = flow_of(&key, egress, now);
	if (!f)
		return;
	if (!f->owner.pid || !(f->flags & TRACE_OWNED)) {
		owner_of(skb, f, egress);
		if (egress)
			f->flags |= TRACE_OWNED;
	}
	f->last = now;
	packets = packets ? packets : 1;
	__sync_fetch_and_add(egress ? &f->bytes_sent : &f->bytes_received, bytes);
	__sync_fetch_and_add(egress ? &f->packets_sent : &f->packets_received, packets);
	if (key.ends.remote_port == DNS_PORT)
		dns(skb, &key, f, off, now);
}

static __always_inline int is_udp(struct __sk_buff *skb)
{
	__u8 *p = (void *)(long)skb->data;

	if ((void *)p + 20 > (void *)(long)skb->data_end)
		return 0;
	return (p[0] >> 4 == 4 ? p[9] : p[6]) == IPPROTO_UDP;
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	if (is_udp(skb)) /* U2 */
		datagram(skb, 1);
	return 1; /* U1 */
}

SEC("cgroup_skb/ingress")
int on_ingress(struct __sk_buff *skb)
{
	if (is_udp(skb))
		datagram(skb, 0);
	return 1;
}
