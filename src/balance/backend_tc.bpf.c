// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * backend_tc.bpf.c: a backend at tc, on the way in; see backend.bpf.h. For devices whose drivers have no
 * XDP, whose frames are too long for it, or where another program has its place.
 */
#include "bpf.h"

#include "balance/balance.h"

const volatile __u16 gue_port = BALANCE_GUE_PORT;

#include "balance/unpack_tc.bpf.h"

#include "balance/backend.bpf.h"

LICENSE;

SEC("tc")
int unpack(struct __sk_buff *ctx)
{
	__u32 what;
	int verdict = unpack_skb(ctx, &what);

	count(what);
	return verdict;
}
