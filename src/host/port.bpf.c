// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * port.bpf.c: in the kernel, beside an AF_XDP socket: all frames of its queue go to user space.
 *
 *	xdp --> sockets[queue] --> port_xdp.c
 *	          '-- none there: XDP_PASS
 *
 * maps in: sockets, by queue. maps out: none.
 *
 * Q1  Frames of queues without a socket go to the stack, as without this program.
 */
#include "bpf.h"

LICENSE;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1); /* more by port_xdp.c */
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	return (int)bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS); /* Q1 */
}
