/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bench_live.h: what bench/live.bpf.c and bench/live.c share. */
#ifndef BENCH_LIVE_H
#define BENCH_LIVE_H

#include <linux/types.h>

struct bench_live {
	__u32 at, flows, services; /* flows 0: each packet begins one */
	__u32 src, dst;		   /* first of each, host order */
	__u32 to;		   /* interface */
	__u64 arrived;
	__u8 mac[8];
};

#endif
