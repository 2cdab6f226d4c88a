// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

static __attribute__((noinline)) __u64 count(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&calls, &zero);

	return n ? __sync_fetch_and_add(n, 1) : 0;
}

SEC("freplace/first")
int instead(struct xdp_md *ctx)
{
	count();
	return (int)(ctx->data_end - ctx->data) * 1000;
}

SEC("freplace/second")
int other(struct xdp_md *ctx, int n)
{
	count();
	return n * 7;
}

SEC("freplace/target")
int all(struct xdp_md *ctx)
{
	return 77 + (int)count() * 0;
}

char license_text[] SEC("license") = "GPL";
