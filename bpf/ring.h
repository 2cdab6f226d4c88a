/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ring.h: the ring to the agent, and what went into it or found it full, by kind. An object that
 * includes it says first what it counts in:
 *
 *	#define RING_COUNT struct guard_count	// sent[KINDS], lost[KINDS], further counters
 *
 * sent == what the agent takes + lost, for each kind and exactly: sent is counted when room is asked
 * for, lost when there is none.
 */
#ifndef SKEP_BPF_RING_H
#define SKEP_BPF_RING_H

#include "bpf.h"

const volatile __u64 ring_quarter; /* bytes; set by the agent, as is max_entries */

__u64 last_wake;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, RING_COUNT);
} count SEC(".maps");

static __always_inline RING_COUNT *counts(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&count, &zero);
}

/*
 * Rings are polled; a wake-up costs ten times the program. One is forced only when a ring is a
 * quarter full, and then once a millisecond at most.
 */
static __always_inline __u64 ring_flags(__u64 now)
{
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < ring_quarter || now - last_wake < 1000000)
		return BPF_RB_NO_WAKEUP;
	last_wake = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* Room for an event, which submit() gives to the agent; NULL where there is none. */
static __always_inline void *reserve(__u32 kind, __u64 size)
{
	RING_COUNT *c = counts();
	void *e = bpf_ringbuf_reserve(&ring, size, 0);

	if (!c)
		return e;
	c->sent[kind]++;
	if (!e)
		c->lost[kind]++;
	return e;
}

static __always_inline void submit(void *e, __u64 now)
{
	bpf_ringbuf_submit(e, ring_flags(now));
}

/* The same with a copy, for events whose size is not known beforehand. */
static __always_inline void send(__u32 kind, void *event, __u64 size, __u64 now)
{
	RING_COUNT *c = counts();

	if (!c)
		return;
	c->sent[kind]++;
	if (bpf_ringbuf_output(&ring, event, size, ring_flags(now)))
		c->lost[kind]++;
}

#endif
