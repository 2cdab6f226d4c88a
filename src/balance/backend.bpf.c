// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * backend.bpf.c: at XDP of a backend: the outer header that a balancer put on is taken off, and the
 * packet goes on into the host as the client sent it.
 *
 *	IP in IP, IPv6 in IP, IP in IPv6, IPv6 in IPv6 -> outer and inner destination ours? -> unpacked
 *	anything else -> as it came
 *
 * maps in: local. maps out: unpacked.
 *
 * U1  Both destinations must be addresses of this host: nothing is let in that could be forwarded.
 */
#include "bpf.h"

#include "packet.h"

LICENSE;

struct address {
	__be32 word[4]; /* IPv4 in the first */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u32);
} local SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} unpacked SEC(".maps");

/* Protocol of the outer header's payload and where that stands; 0: nothing to unpack. */
static __always_inline __u32 outer(void *data, void *end, __u8 *proto, struct address *to)
{
	struct eth *eth = data;
	struct ip4 *ip4 = data + sizeof(*eth);
	struct ip6 *ip6 = data + sizeof(*eth);

	if ((void *)(ip4 + 1) > end)
		return 0;
	if (eth->proto == bpf_htons(ETH_IP)) {
		*proto = ip4->proto;
		to->word[0] = ip4->dst;
		return ip4->words == 5 && !(ip4->fragment & bpf_htons(IP4_MF | IP4_OFFSET))
			       ? sizeof(*ip4)
			       : 0;
	}
	if (eth->proto != bpf_htons(ETH_IPV6) || (void *)(ip6 + 1) > end)
		return 0;
	*proto = ip6->proto;
	__builtin_memcpy(to->word, ip6->dst, 16);
	return sizeof(*ip6);
}

static __always_inline int inner(void *at, void *end, __u8 proto, struct address *to)
{
	struct ip4 *ip4 = at;
	struct ip6 *ip6 = at;

	if ((void *)(ip4 + 1) > end)
		return -1;
	if (proto == PROTO_IPIP && ip4->version == 4) {
		to->word[0] = ip4->dst;
		return 0;
	}
	if (proto != PROTO_IPV6 || (void *)(ip6 + 1) > end || ip6->version != 6)
		return -1;
	__builtin_memcpy(to->word, ip6->dst, 16);
	return 0;
}

SEC("xdp")
int unpack(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct address out = {}, in = {};
	__u32 head, zero = 0;
	struct eth link;
	__u8 proto;
	__u64 *n;

	if (data + sizeof(link) > end)
		return XDP_PASS;
	head = outer(data, end, &proto, &out);
	if (!head || (proto != PROTO_IPIP && proto != PROTO_IPV6))
		return XDP_PASS;
	link = *(struct eth *)data;
	if (inner(data + sizeof(link) + head, end, proto, &in) ||
	    !bpf_map_lookup_elem(&local, &out) || !bpf_map_lookup_elem(&local, &in)) /* U1 */
		return XDP_PASS;
	if (bpf_xdp_adjust_head(ctx, head))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	if (data + sizeof(link) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	link.proto = bpf_htons(proto == PROTO_IPIP ? ETH_IP : ETH_IPV6);
	*(struct eth *)data = link;
	n = bpf_map_lookup_elem(&unpacked, &zero);
	if (n)
		++*n;
	return XDP_PASS;
}
