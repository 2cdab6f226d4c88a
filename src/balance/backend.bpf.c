// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * backend.bpf.c: at XDP of a backend: what a balancer put on is taken off, and the packet goes on into
 * the host as the client sent it.
 *
 *	IP in IP, IPv6 in IP, IP in IPv6, IPv6 in IPv6 --\
 *	IP, UDP to gue_port, GUE of variant 0 or 1 -------+- outer and inner destination ours? -> unpacked
 *	IP with the option of balance.h -> both destinations ours? -> the address it was for, no option
 *	anything else -> as it came
 *
 * maps in: local. maps out: did.
 *
 * U1  Both destinations must be addresses of this host: nothing is let in that could be forwarded.
 * U2  Second chance: a packet whose header names a second backend, and that belongs to no TCP connection
 *     of this host, goes on to that one, header and all. There the name is its own: nothing goes on twice.
 */
#include "bpf.h"

#include "balance/balance.h"

const volatile __u16 gue_port = BALANCE_GUE_PORT;

#include "balance/unpack.bpf.h"

LICENSE;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u32);
} local SEC(".maps");

enum did { DID_UNPACK, DID_HAND_ON, DID };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DID);
	__type(key, __u32);
	__type(value, __u64);
} did SEC(".maps");

static __always_inline int wrap_ours(const struct address *a, __u8 family)
{
	return bpf_map_lookup_elem(&local, a) != 0;
}

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&did, &what);

	if (n)
		++*n;
}

SEC("xdp")
int unpack(struct xdp_md *ctx)
{
	__u32 what;
	int verdict = unpack_frame(ctx, &what);

	if (what == UNPACKED)
		count(DID_UNPACK);
	if (what == HANDED_ON)
		count(DID_HAND_ON);
	return verdict;
}
