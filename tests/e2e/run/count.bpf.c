// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* For run.bats: counts frames by EtherType; drops one type; cuts IPv6 frames to 40 bytes and sends them back. */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct stat {
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct stat);
} types SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} total SEC(".maps");

const volatile __u32 drop;
int seen;

SEC("xdp")
int count(struct xdp_md *x)
{
	void *end = (void *)(long)x->data_end;
	struct ethhdr *e = (void *)(long)x->data;
	struct stat *s, first = {1, end - (void *)e};
	__u32 type, zero = 0;
	__u64 *t = bpf_map_lookup_elem(&total, &zero);

	if ((void *)(e + 1) > end)
		return XDP_ABORTED;
	if (t)
		(*t)++;
	seen++;
	type = bpf_ntohs(e->h_proto);
	s = bpf_map_lookup_elem(&types, &type);
	if (s) {
		s->packets++;
		s->bytes += first.bytes;
	} else {
		bpf_map_update_elem(&types, &type, &first, BPF_ANY);
	}
	if (type == drop)
		return XDP_DROP;
	if (type != ETH_P_IPV6)
		return XDP_PASS;
	return bpf_xdp_adjust_tail(x, 40 - (int)first.bytes) ? XDP_ABORTED : XDP_TX;
}

SEC("tc")
int big(struct __sk_buff *skb)
{
	return skb->len > 100 ? 2 : 0;
}

SEC("syscall")
int alone(void *ctx)
{
	return 42;
}

char license_text[] SEC("license") = "GPL";
