/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf.h: first include of every BPF program.
 */
#ifndef SKEP_BPF_BPF_H
#define SKEP_BPF_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"

#define LICENSE char skep_license[] SEC("license") = "Dual BSD/GPL"

#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * Rings are polled; a wake-up costs ten times the program. One is forced only when a ring is a
 * quarter full, and then once a millisecond at most: @last is a global of the object.
 */
static __always_inline __u64 ring_flags(void *ring, __u64 quarter, __u64 now, __u64 *last)
{
	if (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) < quarter || now - *last < 1000000)
		return BPF_RB_NO_WAKEUP;
	*last = now;
	return BPF_RB_FORCE_WAKEUP;
}

#endif
