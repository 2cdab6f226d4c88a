/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * table.bpf.h: the tables of balance.bpf.c, the packet as it is known so far, and how its way ends.
 */
#ifndef SKEP_BALANCE_TABLE_BPF_H
#define SKEP_BALANCE_TABLE_BPF_H

#include "packet.h"

#include "balance/balance.h"

const volatile __u32 telling; /* fill `told` */
/*
 * Only ask: nothing that another packet would meet is written, but for the cache of next hops. Set in
 * the copy that `skep balance why` runs on the live tables, with counters of its own (why.c).
 */
const volatile __u32 asking;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_key4);
	__type(value, struct balance_vip);
} vip4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_key6);
	__type(value, struct balance_vip);
} vip6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct balance_ranges);
} ranges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 << 20);
	__type(key, __u32);
	__type(value, struct balance_slot);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_backend);
} backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_counts);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_counts);
} totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_sent);
} sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BALANCE_SYNS);
	__type(key, __u32);
	__type(value, struct balance_syn);
} syns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct balance_again);
} again SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct balance_told);
} told SEC(".maps");

enum kind {
	KIND_FLOW,  /* of a flow, its first packet cannot be told */
	KIND_FIRST, /* of TCP: a SYN */
	KIND_MORE,  /* of TCP: any other */
	KIND_ABOUT, /* an ICMP error about a flow: leaves no entry */
};

/* Destination and source as in a frame. */
struct macs {
	union {
		__u32 word[3];
		__u16 half[6];
	};
};

/* Where a packet goes next. */
struct hop {
	struct macs macs;
	__u32 ifindex;
	__u16 mtu;
};

struct packet {
	__u64 hash, source; /* of the flow; of the client's address */
	__u64 flow[4];	    /* addresses as in the packet, source first; IPv4 in one word each */
	__u32 ports, size;
	__u32 affinity, service, backend;
	__u16 changed;
	__u8 l2, entry;
	struct macs macs;
	__be32 tags[2];
	__u8 family, proto, kind, tos, fragment; /* fragment: 1 the first, 2 a later one */
	__u8 df;
	__u16 l4; /* where it begins; of an ICMP error its own */
	__be32 fragment_id;
	__u32 place;  /* NAT_SEND: of the connection */
	__u8 flags;   /* of TCP */
	__u8 back;    /* and whether the packet is an answer */
	__u8 reason;  /* BALANCE_FORWARDED until done() */
	__u32 second; /* the backend that may know the flow instead, 0: none */
	struct hop hop;
};

/*
 * Functions that are not static are checked by the verifier once, whatever they are called with; what
 * it has to look at is then a sum and not a product. Their callers' pointers come as "maybe NULL".
 */

static __always_inline struct balance_state *state_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&state, &zero);
}

static __always_inline struct balance_told *told_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&told, &zero);
}

static __always_inline int done(struct packet *p, __u32 reason, int verdict)
{
	__u32 service = p->service, zero = 0;
	struct balance_counts *c;

	p->reason = reason;
	if (telling) {
		struct balance_told *t = told_get();

		if (t) {
			t->service = service;
			t->backend = p->backend;
			t->reason = reason;
			t->entry = p->entry;
		}
	}
	if (service) {
		c = bpf_map_lookup_elem(&counts, &service);
		if (c)
			__sync_fetch_and_add(&c->packets[reason & (BALANCE_COUNTS - 1)], 1);
	} else {
		c = bpf_map_lookup_elem(&totals, &zero);
		if (c)
			c->packets[reason & (BALANCE_COUNTS - 1)]++;
	}
	return verdict;
}

#endif
