// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* backend.bpf.c: a backend at XDP; see backend.bpf.h. */
#include "bpf.h"

#include "balance/balance.h"

const volatile __u16 gue_port = BALANCE_GUE_PORT;

#include "balance/unpack_xdp.bpf.h"

#include "balance/backend.bpf.h"

LICENSE;

SEC("xdp")
int unpack(struct xdp_md *ctx)
{
	__u32 what;
	int verdict = unpack_frame(ctx, &what);

	count(what);
	return verdict;
}
