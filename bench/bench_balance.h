/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bench_balance.h: what bench/balance.c tells its loop. */
#ifndef BENCH_BALANCE_H
#define BENCH_BALANCE_H

#include <linux/types.h>

struct bench_loop {
	__u32 flows; /* a power of two */
	__u32 first;
	__u32 size, family;
	__u64 n;
	__u8 head[40]; /* Ethernet and most of IP, as the frame has them again each turn */
};

struct bench_line {
	__u64 word[8];
};

#endif
