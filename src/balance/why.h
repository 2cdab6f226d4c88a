/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.h: what would become of a packet, and why: one run of the balancer's program on the tables that
 * hold, told in words.
 *
 * W1  Nothing that another packet would meet is written: the program is a second copy with `asking`
 *     set, and has counters of its own. Only the cache of next hops may be filled.
 * W2  The verdict is the program's; words are read from the tables that it read.
 */
#ifndef SKEP_BALANCE_WHY_H
#define SKEP_BALANCE_WHY_H

#include "balance/fleet.h"

struct why;

/** why_open() - load the asking copy on the tables of @m. Needs what loading needs. */
int why_open(struct why **out, const struct maps *m, struct skep_err *err);
void why_free(struct why *w);

/* A packet in words: see why_read(). */
struct why_packet {
	struct config_addr src, dst; /* as the client sends it */
	uint16_t sport, dport;	     /* of an echo: identifier and sequence number */
	uint8_t proto;	  /* IPPROTO_TCP, IPPROTO_UDP; with @echo IPPROTO_ICMP for both families */
	bool syn, ack;	  /* TCP */
	bool echo, about; /* ICMP: a request, an error about the flow */
	uint16_t payload; /* bytes behind the headers */
};

/**
 * why_read() - "tcp 198.51.100.7:40000 > 203.0.113.10:443 [syn|ack] [bytes=N]", "udp ...",
 * "icmp echo 198.51.100.7 > 203.0.113.10", "icmp about tcp 198.51.100.7:40000 > 203.0.113.10:443";
 * IPv6 in brackets where a port follows.
 *
 * Return: 0 or -EINVAL with what was expected.
 */
int why_read(const char *text, struct why_packet *p, struct skep_err *err);

/** why_frame() - its bytes behind Ethernet. @room: at least 128 + payload. Return: how many. */
size_t why_frame(const struct why_packet *p, uint8_t *out);

/**
 * why_tell() - run it, and a JSON object with verdict, reason, each decision and advice.
 * @ifindex: where it arrives
 */
int why_tell(struct why *w, struct fleet *t, const struct why_packet *p, int ifindex,
	     struct buf *out, struct skep_err *err);

#endif
