/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * balance.h: what balance's BPF half and user half share: the layout of each map, and the hashes
 * that both must compute alike. Included by both.
 */
#ifndef SKEP_BALANCE_BALANCE_H
#define SKEP_BALANCE_BALANCE_H

#include <linux/types.h>

enum balance_reason {
#define REASON(id, name, doc) BALANCE_##id,
#include "balance/reason.def"
#undef REASON
	BALANCE_REASONS
};

#define BALANCE_FILTER_BITS 20

/* One more whenever what stands in a pinned table changes its meaning or place. */
#define BALANCE_LAYOUT 2

/* Map "state", one entry. */
struct balance_state {
	__u32 active;	  /* side of struct balance_vip that holds: 0 or 1 */
	__u32 flow_units; /* a flow silent for so long is forgotten, in BALANCE_UNIT */
	__u64 inserted;	  /* flows recorded */
	__u64 full;	  /* flows that found no room and went to the older backend */
	__u32 layout;	  /* BALANCE_LAYOUT of who made the tables */
	__u32 use;	  /* BALANCE_USE_NAT ... */
	__u64 us6[2];	  /* our addresses towards backends of mode nat; they have filter bits */
	__be32 us4;
	__u32 pad[3];
	__u64 filter[(1 << BALANCE_FILTER_BITS) / 64]; /* a bit for each address of ours */
	__u64 nat_made;				       /* translated connections */
	__u64 nat_full;				       /* refused: no room, or no port of ours */
	__u64 secret[2];			       /* of cookies */
	__u64 lost; /* unconfirmed entries that others took the place of */
	__u64 more[3];
};

#define BALANCE_USE_NAT	 1U /* some service has backends of mode nat */
#define BALANCE_USE_DENY 2U /* some sources are denied */
#define BALANCE_USE_HERE 4U /* some backend is this host */

/* Maps "vip4" and "vip6". Port 0: the value is an index of "ranges"; protocol 0: the bare address. */
struct balance_key4 {
	__be32 addr;
	__be16 port;
	__u8 proto, pad;
};

struct balance_key6 {
	__u64 addr[2];
	__be16 port;
	__u8 proto, pad[5];
};

/* Values of bare addresses. What is for the host's own and for no service is left to it. */
#define BALANCE_OURS  1U
#define BALANCE_HOSTS 2U

/* Two sides; balance_state.active tells which holds, so that all entries change in one store. */
struct balance_vip {
	__u32 service[2]; /* index of "services" or of "ranges"; 0: none */
};

#define BALANCE_RANGES 15

/* Map "ranges": port ranges of one address and protocol. */
struct balance_ranges {
	__u32 n, pad;
	struct {
		__u16 first, last;
		__u32 service;
	} range[BALANCE_RANGES];
};

#define BALANCE_BY_SOURCE 1U   /* the client's address alone chooses the slot */
#define BALANCE_SOME_NAT  128U /* some backend is of mode nat */
#define BALANCE_PROTECTED 64U  /* "protect" has to be looked at */
#define BALANCE_COUNTED	  2U   /* every flow has an entry, so that they can be counted */

#define BALANCE_QUIC 16U /* of UDP: the connection id names the backend (quic.bpf.h) */

/* Map "quic": id of a backend, by service (index of "counts") and server id as in the packet. */
struct balance_quic {
	__u32 service;
	__be32 server;
};

/* Map "services"; 0 is none. Never written while a VIP points to it. */
struct balance_service {
	__u32 ring;	/* first slot in "rings" */
	__u8 ring_log;	/* 2^n slots */
	__u8 flags;	/* BALANCE_BY_SOURCE */
	__u16 changed;	/* time of the last change of the ring, in BALANCE_UNIT */
	__u32 stat;	/* index of "counts" */
	__u32 affinity; /* a client keeps its backend for so long, in BALANCE_UNIT; 0: no */
};

/* Map "rings". Backend 0 is none. */
struct balance_slot {
	__u32 now; /* for flows that begin */
	__u32 was; /* for flows that have no entry; BALANCE_LOOK: others may have one */
};

#define BALANCE_LOOK	    (1U << 31)
#define BALANCE_BACKEND_MAX ((1U << 18) - 1)

#define BALANCE_LIVE	 1
#define BALANCE_DRAINING 2 /* keeps its flows, gets none */
#define BALANCE_GONE	 3 /* its flows go elsewhere */

/* Modes: how a packet goes to a backend. 0 must stay what it is: tables of old have it. */
#define BALANCE_IPIP   0 /* behind another IP header */
#define BALANCE_GUE    1 /* behind IP, UDP and a GUE header */
#define BALANCE_L2     2 /* as it came, to the backend's link address */
#define BALANCE_OPTION 3 /* to the backend's address; an IP option holds the address it was for */
#define BALANCE_NAT    4 /* to the backend's address, and back through us */
#define BALANCE_MODES  5

#define BALANCE_GUE_PORT 6080

#define BALANCE_PROBES 65536

/* Map "probes", by `ours` in host order: health probes that go through the tunnel. */
struct balance_probe {
	__u64 until; /* CLOCK_MONOTONIC ns; 0: none */
	__be16 ours, theirs;
	__u8 family, proto, mode, pad;
	__u32 backend[4], vip[4]; /* IPv4 in the first word */
};

/* Map "did" of a backend: packets. */
enum balance_did { BALANCE_DID_UNPACK, BALANCE_DID_HAND_ON, BALANCE_DID_DROP, BALANCE_DID };

/* DSR by IP option: the address that the packet was for, as Cilium has it. */
#define BALANCE_OPTION4 0x9a
#define BALANCE_OPTION6 0x1b

struct balance_option4 {
	__u8 type, size; /* 8 */
	__be16 port;
	__be32 addr;
};

struct balance_option6 {
	__u8 next, words; /* of the destination options header: 24 bytes */
	__u8 type, size;  /* 20 */
	__u32 addr[4];
	__be16 port, pad;
};

#define BALANCE_HOP_FIXED   1U /* hop is given, not asked of the routing table */
#define BALANCE_HOP_REFLECT 2U /* back to the link address that the packet came from */
#define BALANCE_HOP_UNKNOWN 4U /* BPF: the neighbour is not known, somebody should ask */
#define BALANCE_HOP_HERE    8U /* an address of this host */

/* Map "backends", a cache line each; 0 is none. The hop is a cache that BPF fills. */
struct balance_backend {
	__u32 dst[4], src[4]; /* of the outer header; IPv4 in the first word */
	__u8 hop_dst[6], hop_src[6];
	__u32 hop_ifindex; /* 0: the interface of arrival */
	__u32 hop_until;   /* jiffies */
	__u16 hop_mtu;	   /* 0: any */
	union {
		__u16 sum;   /* of the constant words of an outer IPv4 header */
		__be16 port; /* mode nat; 0: the one that the client spoke to */
	};
	__u8 family; /* 4 or 6 */
	__u8 state;
	__u8 hop_flags;
	__u8 mode;  /* BALANCE_IPIP ... */
	__u32 stat; /* of its service */
};

/* Map "flows": a bucket is one cache line. An entry is 0 or what balance_entry() makes. */
#define BALANCE_WAYS 8

struct balance_bucket {
	__u64 entry[BALANCE_WAYS];
};

#define BALANCE_UNIT	  32 /* ktime >> 32: 4.3 s */
#define BALANCE_TIME_MASK 0xfffU

/* tag:32 | backend:18 | time:12 | confirmed:1 | kind:1 (1: of a fragment or a client) */
static inline __u64 balance_entry(__u32 tag, __u32 backend, __u32 time, __u32 confirmed, __u32 kind)
{
	return (__u64)tag << 32 | (__u64)backend << 14 | (time & BALANCE_TIME_MASK) << 2 |
	       confirmed << 1 | kind;
}

#define BALANCE_ENTRY_TAG(e)	   ((__u32)((e) >> 32))
#define BALANCE_ENTRY_BACKEND(e)   ((__u32)(e) >> 14)
#define BALANCE_ENTRY_TIME(e)	   ((__u32)(e) >> 2 & BALANCE_TIME_MASK)
#define BALANCE_ENTRY_CONFIRMED(e) ((e)&2)

/* Where an entry was, in a bucket that was full. */
#define BALANCE_SWEPT 1ULL

#define BALANCE_AHEAD 16

/*
 * Units from @then to @time, both of as many bits as @mask has. What is a little ahead is of now: whoever
 * asks read the clock before another CPU did, and may have been kept from its work since.
 */
static inline __u32 balance_since(__u32 then, __u32 time, __u32 mask)
{
	__u32 age = (time - then) & mask;

	return age > mask - BALANCE_AHEAD ? 0 : age;
}

/* Units since the entry was last used. */
static inline __u32 balance_entry_age(__u64 e, __u32 time)
{
	return balance_since(BALANCE_ENTRY_TIME(e), time, BALANCE_TIME_MASK);
}

/* An unconfirmed entry (one packet seen) may be overwritten after so many units. */
#define BALANCE_UNCONFIRMED_UNITS 2

/* Map "counts", by service; 0: packets of no service. */
#define BALANCE_COUNTS 32 /* room for every reason, a power of two */

struct balance_counts {
	__u64 packets[BALANCE_COUNTS];
};

/* Map "sent", by backend, per CPU: all packets of the reason "forwarded". */
struct balance_sent {
	__u64 packets, bytes;		/* bytes: of the packet as it came, from its IP header on */
	__u64 flows;			/* of TCP: SYNs */
	__u64 returned, returned_bytes; /* answers, mode nat */
};

/* Map "syns": the last SYN of a flow, by its hash; time in ktime >> BALANCE_SYN_UNIT (134 ms). */
#define BALANCE_SYNS	  8192
#define BALANCE_SYN_UNIT  27
#define BALANCE_SYN_AGAIN 64 /* 8.6 s: one that comes again sooner was not answered */

struct balance_syn {
	__u32 tag, time;
};

/* Map "again", by backend, per CPU: connections that did not begin. */
struct balance_again {
	__u32 syns;   /* that came again: nobody had answered */
	__u32 resets; /* mode nat: a RST was the answer */
};

/* Map "told": what became of the last packet, only where `telling` is set. */
struct balance_told {
	__u32 service; /* index of "counts" */
	__u32 backend;
	__u32 reason;
	__u32 entry; /* whether a flow's entry decided */
	__u32 instance,
		slot; /* indices of "services" and "rings"; instance 0: no slot was looked at */
	__u64 hash;   /* of the flow, as its entry has it */
	__u32 record; /* BALANCE_RECORDED: a new entry; BALANCE_FULL: there was no room */
	__u32 pad;
};

#define BALANCE_RECORDED 1
#define BALANCE_FULL	 2

#define BALANCE_SAMPLE_BYTES 128

/* Map "samples": a packet as it left or stayed, and what became of it. */
struct balance_sample {
	__u64 at;      /* CLOCK_BOOTTIME */
	__u64 flow[4]; /* as struct packet has them: addresses as it came, source first */
	__u32 ports, service, backend, ifindex;
	__u32 size; /* of the frame */
	__u8 family, proto, reason;
	__u8 action; /* XDP_PASS ... */
	__u8 data[BALANCE_SAMPLE_BYTES];
};

/* ---- at sockets: socket.bpf.c ---------------------------------------------------------------- */

#define BALANCE_DOOR_OPEN  1U /* its addresses are served at sockets */
#define BALANCE_DOOR_FEW   2U /* by the backends in `few`, with one chance each; else by the ring */
#define BALANCE_DOOR_LEAST 4U /* of two that chance chooses, by the one with fewer sockets */

#define BALANCE_FEW 11

/*
 * Map "doors", by index of "services": all that is asked of a service at sockets, in one cache line.
 * Never written while a VIP points to it.
 */
struct balance_door {
	__u32 flags;
	__u32 affinity; /* seconds, 0: none */
	__u32 stat;	/* index of "counts" */
	__u32 ring;	/* as in struct balance_service */
	__u8 ring_log, by_source;
	__u16 n; /* of few */
	__u32 few[BALANCE_FEW];
};

/* Map "ends", by backend: how sockets reach it, in half a cache line. */
struct balance_end {
	__u32 addr[4];
	__be16 port;	  /* 0: the one that was asked for */
	__u16 generation; /* another each time the index is given to a backend; 0: to none yet */
	__u32 live;	  /* sockets connected to it */
	__u64 connects; /* TCP and UDP; one that is not connected: once each address it sends to */
};

/* Map "peers", in the socket: what it is connected to, and what it asked for. */
struct balance_peer {
	__u64 cookie;
	__u32 backend; /* 0: not connected to one of ours */
	__u32 stat;    /* of its service */
	__u64 asked[2], end[2];
	__be16 asked_port, end_port;
	__u16 generation;
	__u8 proto, talks; /* talks: has entries in map "talks" */
};

/* Map "talks": datagrams of sockets that are not connected, both ways. */
struct balance_talk_key {
	__u64 cookie;
	__u64 addr[2];
	__be16 port;
	__u8 back, family; /* back: from the backend's address to the one asked for */
	__u32 pad;
};

struct balance_talk {
	__u64 addr[2];
	__u32 backend;
	__u16 generation;
	__be16 port;
};

/* Map "friends": whom a client (a network namespace) was sent to. */
struct balance_friend_key {
	__u64 client;
	__u32 stat, pad;
};

struct balance_friend {
	__u64 at; /* coarse ns */
	__u32 backend, generation;
};

/* Map "asked", by service, per CPU. */
struct balance_asked {
	__u64 refused; /* there was no backend */
};

/* What the iterators of reap.bpf.c tell: a socket that is connected to a backend that is gone. */
struct balance_stale {
	__u64 cookie;
	__u32 local[4], remote[4]; /* as in the socket */
	__be16 local_port, remote_port;
	__u8 family, proto; /* of the socket: 4 or 6 */
	__u8 ended, pad;    /* ended: by the program itself */
	__u32 stat, pad2;
};

/* ---- hashes ---------------------------------------------------------------------------------- */

static inline __u64 balance_mix(__u64 h, __u64 word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

static inline __u64 balance_mix_end(__u64 h)
{
	h *= 0xd6e8feb86659fd93ULL;
	return h ^ h >> 32;
}

#define BALANCE_SEED 0x2545f4914f6cdd1dULL

/* ports: source in the low half, both as they stand in the packet. */
static inline __u64 balance_hash4(__be32 src, __be32 dst, __u32 ports, __u8 proto)
{
	__u64 h = balance_mix(BALANCE_SEED, (__u64)dst << 32 | src);

	return balance_mix_end(balance_mix(h, (__u64)proto << 32 | ports));
}

static inline __u64 balance_hash6(const __u64 src[2], const __u64 dst[2], __u32 ports, __u8 proto)
{
	__u64 h = balance_mix(BALANCE_SEED, src[0]);

	h = balance_mix(balance_mix(h, src[1]), dst[0]);
	h = balance_mix(h, dst[1]);
	return balance_mix_end(balance_mix(h, (__u64)proto << 32 | ports));
}

static inline __u64 balance_hash_source(__u64 high, __u64 low)
{
	return balance_mix_end(balance_mix(balance_mix(BALANCE_SEED, high), low));
}

static inline __u32 balance_filter4(__be32 addr)
{
	return (__u32)(addr * 0x9e3779b1U) >> (32 - BALANCE_FILTER_BITS);
}

static inline __u32 balance_filter6(const __u64 addr[2])
{
	return (__u32)((addr[0] * 3 + addr[1]) * 0x9e3779b97f4a7c15ULL >>
		       (64 - BALANCE_FILTER_BITS));
}

/* The two buckets of a flow, among 2^log. */
static inline __u32 balance_bucket1(__u64 h, __u32 log)
{
	return (__u32)(h * 0xff51afd7ed558ccdULL >> (64 - log));
}

static inline __u32 balance_bucket2(__u64 h, __u32 log)
{
	return (__u32)((h ^ 0x5bf03635) * 0xc4ceb9fe1a85ec53ULL >> (64 - log));
}

#ifndef __bpf__
_Static_assert(sizeof(struct balance_option4) == 8, "balance_option4 stands in packets");
_Static_assert(sizeof(struct balance_option6) == 24, "balance_option6 stands in packets");
_Static_assert(sizeof(struct balance_key4) == 8, "balance_key4 is a map's key");
_Static_assert(sizeof(struct balance_key6) == 24, "balance_key6 is a map's key");
_Static_assert(sizeof(struct balance_ranges) == 128, "balance_ranges is two cache lines");
_Static_assert(sizeof(struct balance_service) == 16, "balance_service crosses to user space");
_Static_assert(sizeof(struct balance_slot) == 8, "balance_slot is written in one store");
_Static_assert(sizeof(struct balance_backend) == 64, "balance_backend is a cache line");
_Static_assert(BALANCE_REASONS <= BALANCE_COUNTS, "each reason has a counter");
_Static_assert(sizeof(struct balance_told) == 40, "balance_told crosses to user space");
_Static_assert(sizeof(struct balance_sample) == 192, "balance_sample crosses to user space");
_Static_assert(sizeof(struct balance_end) == 32, "balance_end is half a cache line");
_Static_assert(sizeof(struct balance_door) == 64, "balance_door is a cache line");
_Static_assert(sizeof(struct balance_peer) == 56, "balance_peer is a map's value");
_Static_assert(sizeof(struct balance_talk_key) == 32, "balance_talk_key is a map's key");
_Static_assert(sizeof(struct balance_friend_key) == 16, "balance_friend_key is a map's key");
_Static_assert(sizeof(struct balance_stale) == 56, "balance_stale crosses to user space");
_Static_assert(sizeof(struct balance_probe) == 48, "balance_probe crosses to user space");
_Static_assert(sizeof(struct balance_bucket) == 64, "balance_bucket is a cache line");
_Static_assert(sizeof(struct balance_state) == 128 + (1 << BALANCE_FILTER_BITS) / 8,
	       "balance_state crosses to user space");
#endif

#endif
