/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * backend.bpf.h: a backend: what a balancer put on is taken off, and the packet goes on into the host as
 * the client sent it. What backend.bpf.c (XDP) and backend_tc.bpf.c (tc) share; each includes its half of
 * unpack.bpf.h before.
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
#ifndef SKEP_BALANCE_BACKEND_BPF_H
#define SKEP_BALANCE_BACKEND_BPF_H

#include "balance/balance.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u32);
} local SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BALANCE_DID);
	__type(key, __u32); /* enum balance_did */
	__type(value, __u64);
} did SEC(".maps");

static __always_inline int wrap_ours(const struct address *a, __u8 family)
{
	return bpf_map_lookup_elem(&local, a) != 0;
}

static __always_inline void count(enum unpacked what)
{
	__u32 key = what - UNPACKED; /* in the order of enum balance_did */
	__u64 *n = what == NOT_PACKED ? 0 : bpf_map_lookup_elem(&did, &key);

	if (n)
		++*n;
}

#endif
