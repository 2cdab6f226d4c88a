// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * live.bpf.c: frames for bench/balance_live. `send` makes each frame of a test run with live frames a
 * packet of another flow; `reflect` is the least that a forwarder in XDP can do; `sink` counts.
 */
#include "bpf.h"

#include "packet.h"

#include "bench_live.h"

LICENSE;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_live);
} live SEC(".maps");

static __always_inline struct bench_live *live_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&live, &zero);
}

SEC("xdp")
int send(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bench_live *l = live_get();
	struct eth *eth = data;
	struct ip4 *ip = (void *)(eth + 1);
	__be16 *udp = (void *)(ip + 1);
	__u32 flow, sum, src, dst;

	if (!l || (void *)(udp + 4) > end)
		return XDP_DROP;
	flow = l->at++;
	if (l->flows)
		flow %= l->flows;
	src = l->src + (flow >> 15);
	dst = l->dst + (l->services ? flow % l->services : 0);
	/* what a forwarder wrote into a page stands there when it comes again */
	__builtin_memcpy(eth->dst, l->mac, 6);
	__builtin_memcpy(eth->src, l->mac, 6);
	eth->proto = bpf_htons(ETH_IP);
	*(__be16 *)ip = bpf_htons(0x4500);
	ip->size = bpf_htons(46);
	ip->id = ip->fragment = 0;
	ip->ttl = 64;
	ip->proto = PROTO_UDP;
	udp[1] = bpf_htons(53);
	udp[2] = bpf_htons(26);
	udp[3] = 0;
	ip->src = bpf_htonl(src);
	ip->dst = bpf_htonl(dst);
	udp[0] = bpf_htons(1024 + (flow & 0x7fff));
	sum = 0x4500 + 46 + 0x4011 + (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->sum = bpf_htons(~(sum + (sum >> 16)) & 0xffff);
	return XDP_TX;
}

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct bench_live *l = live_get();
	struct eth *eth = data;

	if (!l || data + sizeof(*eth) > end)
		return XDP_DROP;
	__builtin_memcpy(eth->dst, l->mac, 6);
	return bpf_redirect(l->to, 0);
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	struct bench_live *l = live_get();

	if (l)
		__sync_fetch_and_add(&l->arrived, 1);
	return XDP_DROP;
}
