/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.h: what both halves of balance share about translated connections. The design and the invariants
 * stand in nat.bpf.h. Included by both halves.
 */
#ifndef SKEP_BALANCE_NAT_H
#define SKEP_BALANCE_NAT_H

#include "balance/balance.h"

/* Map "nat", a cache line a connection; its place is the place of its word in "nat_forth". */
struct balance_nat {
	__u64 client[2], vip[2]; /* IPv4 in one word each */
	__u32 ports;		 /* client's in the low half, the service's in the high one */
	__u32 backend;
	__be16 port, to; /* ours, which answers come to; the backend's */
	__u8 proto, family;
	__u8 pad[2];
	__u32 life;   /* time in BALANCE_UNIT << 8 | BALANCE_NAT_ACK ... */
	__u16 l3, l4; /* what translation adds to the sums of IP and of TCP or UDP */
	__u32 back;   /* its place in "nat_back", plus 1 */
	__u32 spare;
};

#define BALANCE_NAT_REPLIED  1U /* the backend has answered */
#define BALANCE_NAT_ACK	     2U /* and the client has gone on */
#define BALANCE_NAT_FIN	     4U /* of the client */
#define BALANCE_NAT_FIN_BACK 8U /* of the backend */
#define BALANCE_NAT_RST	     16U

/* Words of the buckets "nat_forth": tag:32 | age:30 | state:2, 0: empty. */
#define BALANCE_NAT_READY   1U
#define BALANCE_NAT_CLAIMED 2U /* somebody makes or removes it; the time stands beside it */

/* Units after which a connection that is silent is forgotten. */
static inline __u32 balance_nat_idle(__u32 life, __u8 proto, __u32 flow_units)
{
	const __u32 both = BALANCE_NAT_FIN | BALANCE_NAT_FIN_BACK;

	if (proto != 6)
		return life & BALANCE_NAT_REPLIED ? 42 : 7; /* 180 and 30 s */
	if (life & BALANCE_NAT_RST)
		return 7;
	if ((life & both) == both)
		return 28; /* 120 s */
	return life & BALANCE_NAT_ACK ? flow_units : 14;
}

static inline __u32 balance_nat_age(__u32 life, __u32 time)
{
	return balance_since(life >> 8, time, 0xffffff);
}

#define BALANCE_STRANGERS 64

/* Map "nat_strangers". */
struct balance_stranger {
	__u64 addr[2];
	__u32 family, pad; /* 0: nothing is asked */
};

/* Whether @life belongs to a connection of which nobody will send more. */
static inline int balance_nat_over(__u32 life)
{
	const __u32 both = BALANCE_NAT_FIN | BALANCE_NAT_FIN_BACK;

	return (life & BALANCE_NAT_RST) || (life & both) == both;
}

#ifndef __bpf__
_Static_assert(sizeof(struct balance_nat) == 64, "balance_nat is a cache line");
#endif

#endif
