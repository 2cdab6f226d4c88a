/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * trace.h: what crosses from trace's BPF half to its user half. Included by both.
 */
#ifndef SKEP_TRACE_TRACE_H
#define SKEP_TRACE_TRACE_H

#include <linux/types.h>

#define TRACE_COMM	16
#define TRACE_DNS_BYTES 512 /* of a DNS message that an event carries */

enum trace_kind {
	TRACE_CLOSE, /* a TCP connection ended, or never came to be */
	TRACE_DNS,
	TRACE_KINDS
};

#define TRACE_OUT     1U   /* this end asked */
#define TRACE_IN      2U   /* this end was asked */
#define TRACE_OWNED   8U   /* the owner has used it; before, it is who listened or created it */
#define TRACE_OLD     16U  /* found by the scan */
#define TRACE_CALLING 128U /* connect(2) has not returned */

struct trace_owner {
	__u64 start; /* start_boottime of the process; 0: not known */
	__u32 pid;
	__u32 pad;
	char comm[TRACE_COMM];
};

/* What is kept of each socket. */
struct trace_mark {
	struct trace_owner owner;
	__u64 opened; /* ns of CLOCK_BOOTTIME */
	__u32 flags;
	__u32 netns; /* UDP: inode number; TCP has it in its ends */
};

/* Both ends, in network byte order but for ports. IPv4 in the first four bytes. */
struct trace_ends {
	__u8 local[16], remote[16];
	__u16 local_port, remote_port;
	__u16 family; /* AF_INET or AF_INET6 */
	__u16 pad;
	__u32 netns; /* inode number */
	__u32 pad2;
};

struct trace_head {
	__u64 time;
	__u32 kind; /* enum trace_kind */
	__u32 pad;
};

/* One TCP socket as it is now: in the ring, and from the iterators. */
struct trace_tcp {
	struct trace_head head;
	__u64 cookie;
	struct trace_mark mark;
	struct trace_ends ends;
	__u64 bytes_sent, bytes_received;
	__u32 packets_sent, packets_received;
	__u32 rtt_us, retransmits;
	__s32 error; /* positive errno, 0 */
	__u8 state;  /* TCP_ESTABLISHED ... */
	__u8 pad[3];
};

#define TRACE_SAMPLES 1024 /* sockets that are read at one time */

/* UDP: a flow is a socket and one remote end. */
struct trace_flow_key {
	__u64 cookie;
	struct trace_ends ends;
};

struct trace_flow {
	struct trace_owner owner;
	__u64 opened, last; /* ns of CLOCK_BOOTTIME */
	__u64 bytes_sent, bytes_received;
	__u64 packets_sent, packets_received;
	__u32 flags; /* TRACE_OUT or TRACE_IN, by the first datagram */
	__u32 netns; /* inode number, 0: not known; the key's is 0 */
};

struct trace_dns {
	struct trace_head head;
	__u64 cookie;
	struct trace_owner owner;
	struct trace_ends ends;
	__u32 len;	/* of the message */
	__u32 captured; /* bytes in data */
	__u8 data[TRACE_DNS_BYTES];
};

struct trace_count {
	__u64 sent[TRACE_KINDS];
	__u64 lost[TRACE_KINDS];
	__u64 flows_lost; /* datagrams of flows that found the flow map full */
	__u64 marks_lost; /* TCP connections that found the map of marks full: their owner is lost */
};

#ifndef __bpf__
_Static_assert(sizeof(struct trace_tcp) == 160, "trace_tcp crosses to user space");
_Static_assert(sizeof(struct trace_flow_key) == 56, "trace_flow_key is a map key: no holes");
_Static_assert(sizeof(struct trace_flow) == 88, "trace_flow crosses to user space");
#endif

#endif
