// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int plain(struct xdp_md *x)
{
	return XDP_PASS;
}

char license_text[] SEC("license") = "GPL";
