/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sample.bpf.h: samples of packets for the agent: of each reason and CPU at most one in so many ns, so that
 * the seldom are not drowned by the frequent, whatever comes.
 */
#ifndef SKEP_BALANCE_SAMPLE_BPF_H
#define SKEP_BALANCE_SAMPLE_BPF_H

#include "balance/table.bpf.h"

const volatile __u32 can_sample; /* the kernel has bpf_xdp_load_bytes(): 5.18 */

__u64 sample_every; /* ns; 0: none are taken */
__u64 unsampled;    /* found no room */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 15);
} samples SEC(".maps");

/* When the next one is due (coarse clock), by reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BALANCE_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} sampled SEC(".maps");

static __always_inline int sample_due(__u32 reason)
{
	__u64 time = bpf_ktime_get_coarse_ns();
	__u64 *next = bpf_map_lookup_elem(&sampled, &reason);

	if (!next || time < *next)
		return 0;
	*next = time + sample_every;
	return 1;
}

/* What became of the packet, on its way out. Return: @verdict. */
__noinline int sample(struct xdp_md *ctx, struct packet *p, int verdict)
{
	struct balance_sample *e;
	__u64 size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	barrier_var(size); /* what is compared is what is used */
	if (!can_sample || !p || size < sizeof(struct eth) || !sample_due(p->reason))
		return verdict;
	e = bpf_ringbuf_reserve(&samples, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&unsampled, 1);
		return verdict;
	}
	e->at = bpf_ktime_get_boot_ns();
	__builtin_memcpy(e->flow, p->flow, sizeof(e->flow));
	e->ports = p->ports;
	e->service = p->service;
	e->backend = p->backend;
	e->ifindex = ctx->ingress_ifindex;
	e->size = size;
	e->family = p->family;
	e->proto = p->proto;
	e->reason = p->reason;
	e->action = verdict;
	barrier_var(size);
	if (size > sizeof(e->data))
		size = sizeof(e->data);
	bpf_xdp_load_bytes(ctx, 0, e->data, size);
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
	return verdict;
}

#endif
