/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * protect.h: what both halves of balance share about who may send what to a service. The design stands
 * in protect.bpf.h. Included by both halves.
 */
#ifndef SKEP_BALANCE_PROTECT_H
#define SKEP_BALANCE_PROTECT_H

#include "balance/balance.h"

#define BALANCE_PROTECT_SOURCES 1U /* only sources in allow4 and allow6 */
#define BALANCE_PROTECT_COOKIES 2U /* unknown sources of SYNs are challenged */

/* Map "protect", by index of "services". The times are the BPF half's. */
struct balance_protect {
	__u32 flags;
	__u32 source_gap;  /* between two flows of one source, in BALANCE_TICK; 0: no limit */
	__u64 service_gap; /* between two flows, ns; 0: no limit */
	__u64 syn_gap;	   /* SYNs that come faster are challenged, ns; 0: all are */
	__u64 service_at, syn_at;
	__u64 pad[3];
};

#define BALANCE_TICK   8 /* ktime >> 8: 256 ns */
#define BALANCE_SECOND 1000000000ULL

/* Lines of the maps "limited" and "trusted": eight words of tag:16 | time:48. */
#define BALANCE_LINES 4096

/* Keys of allow4, allow6 (which begin with the service), deny4 and deny6. @bits of what follows. */
struct balance_allow4 {
	__u32 bits, service;
	__be32 addr;
};

struct balance_allow6 {
	__u32 bits, service;
	__be32 addr[4];
};

struct balance_deny4 {
	__u32 bits;
	__be32 addr;
};

struct balance_deny6 {
	__u32 bits;
	__be32 addr[4];
};

#ifndef __bpf__
_Static_assert(sizeof(struct balance_protect) == 64, "balance_protect is a cache line");
#endif

#endif
