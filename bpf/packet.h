/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packet.h: headers as they stand in a packet. Ours, because linux/icmp.h brings the C library's
 * headers and linux/ipv6.h has a struct that kernel.h must define otherwise.
 */
#ifndef SKEP_BPF_PACKET_H
#define SKEP_BPF_PACKET_H

#include <linux/types.h>
#include <bpf/bpf_endian.h>

#define ETH_IP	 0x0800
#define ETH_VLAN 0x8100
#define ETH_IPV6 0x86dd
#define ETH_QINQ 0x88a8

#define PROTO_ICMP   1
#define PROTO_IPIP   4
#define PROTO_TCP    6
#define PROTO_UDP    17
#define PROTO_IPV6   41
#define PROTO_ICMPV6 58

struct eth {
	__u8 dst[6], src[6];
	__be16 proto;
};

#define IP4_MF	   0x2000
#define IP4_DF	   0x4000
#define IP4_OFFSET 0x1fff

struct ip4 {
	__u8 words : 4, version : 4;
	__u8 tos;
	__be16 size, id, fragment;
	__u8 ttl, proto;
	__u16 sum;
	__be32 src, dst;
};

struct ip6 {
	__u8 class_high : 4, version : 4;
	__u8 label[3];
	__be16 payload;
	__u8 proto, hops;
	__be32 src[4], dst[4];
};

#define IP6_HOP	     0
#define IP6_ROUTING  43
#define IP6_FRAGMENT 44
#define IP6_AUTH     51
#define IP6_DST	     60

#define ICMP4_REPLY	  0
#define ICMP4_UNREACHABLE 3
#define ICMP4_TOO_BIG	  4 /* code of UNREACHABLE */
#define ICMP4_ECHO	  8
#define ICMP4_TIME	  11
#define ICMP4_PARAMETER	  12

#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG	  2
#define ICMP6_PARAMETER	  4
#define ICMP6_ECHO	  128
#define ICMP6_REPLY	  129

struct icmp {
	__u8 type, code;
	__u16 sum;
	union {
		__be32 mtu6;
		struct {
			__be16 unused, mtu4;
		};
	};
};

struct tcp {
	__be16 src, dst;
	__be32 seq, ack;
	__u8 words, flags;
	__be16 window;
	__u16 sum;
	__be16 urgent;
};

struct udp {
	__be16 src, dst, size;
	__u16 sum;
};

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

/* A sum of words as a header has it. */
static __always_inline __u16 fold_long(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(__u16)sum;
}

/* Of an IPv6 address, for a checksum. */
static __always_inline __u64 sum_words(const __u32 *w)
{
	return (__u64)w[0] + w[1] + w[2] + w[3];
}

#endif
