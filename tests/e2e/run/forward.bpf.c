// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* For ports.bats and bench/ports: what a program on live frames may decide. */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* By the ifindex that a frame came from. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} to SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} all SEC(".maps");

const volatile __u32 target;
__u64 seen;

static int is_test(struct xdp_md *x)
{
	void *end = (void *)(long)x->data_end;
	struct ethhdr *e = (void *)(long)x->data;

	return (void *)(e + 1) <= end && e->h_proto == bpf_htons(0x88b5);
}

SEC("xdp")
int reflect(struct xdp_md *x)
{
	void *end = (void *)(long)x->data_end;
	struct ethhdr *e = (void *)(long)x->data;
	__u8 mac[ETH_ALEN];

	if ((void *)(e + 1) > end || e->h_proto != bpf_htons(0x88b5))
		return XDP_DROP;
	__builtin_memcpy(mac, e->h_dest, ETH_ALEN);
	__builtin_memcpy(e->h_dest, e->h_source, ETH_ALEN);
	__builtin_memcpy(e->h_source, mac, ETH_ALEN);
	seen++;
	return XDP_TX;
}

SEC("xdp")
int forward(struct xdp_md *x)
{
	seen++;
	return (int)bpf_redirect_map(&to, x->ingress_ifindex, XDP_DROP);
}

SEC("xdp")
int direct(struct xdp_md *x)
{
	return is_test(x) ? (int)bpf_redirect(target, 0) : XDP_DROP;
}

SEC("xdp")
int broadcast(struct xdp_md *x)
{
	if (!is_test(x))
		return XDP_DROP;
	return (int)bpf_redirect_map(&all, 0, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
}

SEC("xdp")
int pass(struct xdp_md *x)
{
	seen++;
	return XDP_PASS;
}

SEC("socket")
int filter(struct __sk_buff *skb)
{
	return 0;
}

char license_text[] SEC("license") = "GPL";
