// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * balance.bpf.c: the loop around a program under test: BPF_PROG_TEST_RUN repeats it, and each turn gives
 * the target a frame as from the wire, of another flow.
 *
 * maps in: loop, target. maps out: loop.n.
 */
#include "bpf.h"

#include "bench_balance.h"
#include "packet.h"

LICENSE;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_loop);
} loop SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} target SEC(".maps");

/* As large as a flow table for a million. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 18);
	__type(key, __u32);
	__type(value, struct bench_line);
} lines SEC(".maps");

static __always_inline void flow4(struct ip4 *ip, void *end, __u32 flow)
{
	struct tcp *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end)
		return;
	ip->src = bpf_htonl(0xc6120000 + (flow >> 16));
	tcp->src = (__be16)flow;
}

static __always_inline void flow6(struct ip6 *ip, void *end, __u32 flow)
{
	struct tcp *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end)
		return;
	ip->src[3] = flow >> 16;
	tcp->src = (__be16)flow;
}

SEC("xdp")
int turn(struct xdp_md *ctx)
{
	__u32 zero = 0, flow, more;
	struct bench_loop *l = bpf_map_lookup_elem(&loop, &zero);
	void *data, *end;

	if (!l)
		return XDP_ABORTED;
	more = bpf_xdp_get_buff_len(ctx) - l->size;
	if (more && bpf_xdp_adjust_head(ctx, more))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + 34 > end)
		return XDP_ABORTED;
	__builtin_memcpy(data, l->head, 34);
	flow = (__u32)(l->n++ * 0x9e3779b1U) & (l->flows - 1);
	if (l->family == 4)
		flow4(data + 14, end, l->first + flow);
	else
		flow6(data + 14, end, l->first + flow);
	bpf_tail_call(ctx, &target, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* What forwarding cannot do without, and the loop undoes. */
SEC("xdp")
int longer(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -20) ? XDP_ABORTED : XDP_TX;
}

/* Reads as far as the addresses and passes. */
SEC("xdp")
int parse(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eth *eth = data;
	struct ip4 *ip = data + 14;

	if ((void *)(ip + 1) > end)
		return XDP_DROP;
	if (eth->proto != bpf_htons(ETH_IP) || ip->version != 4 || ip->words < 5)
		return XDP_DROP;
	return ip->dst == 0 ? XDP_DROP : XDP_PASS;
}

__u64 line_last;

/*
 * What one line takes that only this flow has, and that has to be waited for: where the next one is depends
 * on it, as what becomes of a packet depends on its flow's entry.
 */
SEC("xdp")
int line(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ip4 *ip = data + 14;
	struct bench_line *l;
	__u64 hash;
	__u32 at;

	if ((void *)(ip + 1) + 4 > end)
		return XDP_ABORTED;
	hash = (((__u64)ip->src << 16 | *(__be16 *)(ip + 1)) + line_last) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
	at = hash >> 46;
	l = bpf_map_lookup_elem(&lines, &at);
	if (l)
		line_last = l->word[at & 7]; /* 0 */
	return XDP_TX;
}
