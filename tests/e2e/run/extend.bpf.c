// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program whose global functions others stand for, as libxdp's dispatcher is. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct pair {
	int a, b;
};

__attribute__((noinline)) int first(struct xdp_md *ctx)
{
	volatile int ret = 1;

	return ctx ? ret : 0;
}

__attribute__((noinline)) int second(struct xdp_md *ctx, int n)
{
	volatile int ret = 20;

	return ctx ? ret + n : 0;
}

static __attribute__((noinline)) int hidden(struct xdp_md *ctx)
{
	volatile int ret = 300;

	return ctx ? ret : 0;
}

SEC("xdp")
int target(struct xdp_md *ctx)
{
	return first(ctx) + second(ctx, 5) + hidden(ctx) + first(ctx);
}

char license_text[] SEC("license") = "GPL";
