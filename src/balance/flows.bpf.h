/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows.bpf.h: the flow table of balance.bpf.c: buckets of one cache line in an array, two for a flow,
 * entries of 8 bytes that are changed by compare and swap. B4 and B5 of balance.bpf.c are upheld here.
 *
 * F1  A place that ever had an entry is not empty again while any ring asks for entries: what is swept
 *     out leaves BALANCE_SWEPT. So a bucket with an empty place never sent a flow on to the next one,
 *     and most flows cost one cache line, also those that have no entry.
 */
#ifndef SKEP_BALANCE_FLOWS_BPF_H
#define SKEP_BALANCE_FLOWS_BPF_H

#include "balance/table.bpf.h"

const volatile __u32 bucket_log = 18;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 18);
	__type(key, __u32);
	__type(value, struct balance_bucket);
} flows SEC(".maps");

static __always_inline __u32 now(void)
{
	return bpf_ktime_get_coarse_ns() >> BALANCE_UNIT;
}

/* What a datagram's fragments have in common. */
static __always_inline __u64 fragment_hash(const struct packet *p)
{
	__u64 h = balance_mix(BALANCE_SEED, p->flow[0] ^ p->flow[1] * 3);

	h = balance_mix(h, p->flow[2] ^ p->flow[3] * 3);
	return balance_mix_end(balance_mix(h, (__u64)p->fragment_id << 8 | p->proto));
}

#define FLOWS_NO_MORE BALANCE_LOOK /* not in this bucket, and not in the next */

/*
 * Backend of the flow's entry in this bucket; 0: perhaps in the next. A use renews it, a second one
 * confirms it. An empty place says that it is not (F1).
 */
__noinline __u32 find_in(__u32 at, __u32 tag, __u32 kind, __u32 time, __u32 renew)
{
	struct balance_bucket *b = bpf_map_lookup_elem(&flows, &at);
	__u32 missing = 0;
	__u64 e, fresh;
	int i;

	if (!b)
		return 0;
#pragma unroll
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&b->entry[i];
		if (!e)
			missing = FLOWS_NO_MORE;
		if (BALANCE_ENTRY_TAG(e) != tag || !BALANCE_ENTRY_BACKEND(e) || (e & 1) != kind)
			continue;
		fresh = balance_entry(tag, BALANCE_ENTRY_BACKEND(e), time, 1, kind);
		if (renew && !asking && fresh != e)
			__sync_val_compare_and_swap(&b->entry[i], e, fresh);
		return BALANCE_ENTRY_BACKEND(e);
	}
	return missing;
}

static __always_inline __u32 find(__u64 hash, __u32 kind, __u32 time, __u32 renew)
{
	__u32 backend = find_in(balance_bucket1(hash, bucket_log), hash, kind, time, renew);

	if (!backend)
		backend = find_in(balance_bucket2(hash, bucket_log), hash, kind, time, renew);
	return backend == FLOWS_NO_MORE ? 0 : backend;
}

/* 1: @a > @b, both below 2^31. Without a branch: eight entries would be the verifier's 2^16 ways. */
static __always_inline __u64 above(__u64 a, __u64 b)
{
	__u64 d = b - a;

	barrier_var(d);
	return d >> 63;
}

#define ROOM_NONE 0
#define ROOM_LOST 1 /* an unconfirmed flow may live there */
#define ROOM_FREE 2

/* B5: what a place holds for a flow that begins. */
static __always_inline __u64 room_in(__u64 e, __u32 time, __u32 most)
{
	/* balance_entry_age() + BALANCE_AHEAD, without a branch */
	__u64 age = (time + BALANCE_AHEAD - BALANCE_ENTRY_TIME(e)) & BALANCE_TIME_MASK;
	__u64 over = above(age, most + BALANCE_AHEAD) | above(1, BALANCE_ENTRY_BACKEND(e));
	__u64 lost = ~e >> 1 & above(age, BALANCE_UNCONFIRMED_UNITS + BALANCE_AHEAD);

	return over << 1 | (lost & ~over);
}

/*
 * B5. 1: recorded; 2: and an unconfirmed entry is lost for it; 0: the bucket is full, try the next; -1:
 * there is room, but not for this one.
 */
__noinline int insert_in(__u32 at, __u64 entry, __u32 time, __u32 most)
{
	struct balance_bucket *b = bpf_map_lookup_elem(&flows, &at);
	__u64 best = 0, young = 0, empty = 0, room, e, d;
	int i;

	if (!b)
		return -1;
#pragma clang loop unroll(disable)
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&b->entry[i];
		room = room_in(e, time, most);
		young += ~e >> 1 & above(1, room);
		empty |= above(1, e >> 32 | (__u32)e);
		d = best - (room << 3 | i);
		barrier_var(d);
		best -= d & (__u64)((__s64)d >> 63);
	}
	i = best & (BALANCE_WAYS - 1);
	room = best >> 3;
	e = *(volatile __u64 *)&b->entry[i];
	if (room == ROOM_NONE || young >= BALANCE_WAYS / 2)
		return empty ? -1 : 0;
	if (room_in(e, time, most) < room)
		return -1;
	if (asking)
		return 1;
	return __sync_val_compare_and_swap(&b->entry[i], e, entry) == e ? 1 + (room == ROOM_LOST)
									: -1;
}

static __always_inline int insert(struct balance_state *s, __u64 hash, __u32 backend, __u32 kind,
				  __u32 time)
{
	__u64 entry = balance_entry(hash, backend, time, 0, kind);

	int done = insert_in(balance_bucket1(hash, bucket_log), entry, time, s->flow_units);

	if (!done)
		done = insert_in(balance_bucket2(hash, bucket_log), entry, time, s->flow_units);
	if (telling) {
		struct balance_told *t = told_get();

		if (t)
			t->record = done > 0 ? BALANCE_RECORDED : BALANCE_FULL;
	}
	if (asking)
		return done > 0;
	if (done > 1)
		__sync_fetch_and_add(&s->lost, 1);
	if (done > 0) {
		__sync_fetch_and_add(&s->inserted, 1);
		return 1;
	}
	__sync_fetch_and_add(&s->full, 1);
	return 0;
}

/* A fragment's later ones have no ports: they find its backend by what it has in common with them. */
__noinline int fragment_note(const struct packet *p, __u32 backend)
{
	struct balance_state *s = state_get();

	return p && s ? insert(s, fragment_hash(p), backend, 1, now()) : 0;
}

#endif
