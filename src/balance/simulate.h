/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate.h: single packets through the balancer's program and tables of their own, attached nowhere
 * (BPF_PROG_TEST_RUN). In the kernel it needs CAP_BPF and CAP_NET_ADMIN; in the engine nothing.
 */
#ifndef SKEP_BALANCE_SIMULATE_H
#define SKEP_BALANCE_SIMULATE_H

#include "balance/fleet.h"

#define SIMULATE_FRAME_MAX 4096

struct simulate;

struct simulate_result {
	const char *verdict; /* pass, drop, tx, redirect, aborted */
	const char *reason;
	const char *service; /* "" none */
	char backend[64];    /* "" none */
	uint8_t mode;	     /* of the backend */
	bool entry;	     /* an entry of the flow table decided */
	uint32_t ns;
	size_t size;
	uint8_t frame[SIMULATE_FRAME_MAX];
};

/**
 * simulate_open() - tables of these services.
 * @mtu: of the way to backends
 *
 * Outer packets come from 192.0.2.1 and 2001:db8::1 and leave for the gateway 02:00:00:00:00:02.
 */
int simulate_open(struct simulate **out, const struct config_set *set, unsigned mtu,
		  struct skep_err *err);
void simulate_free(struct simulate *s);

/** simulate_apply() - another wanted state, as the agent would apply it. */
int simulate_apply(struct simulate *s, const struct config_set *set, struct skep_err *err);

struct fleet *simulate_fleet(struct simulate *s);
struct maps *simulate_maps(struct simulate *s);

/** simulate_packet() - one frame in. Return: 0, -EMSGSIZE (below 14 or too long), -errno. */
int simulate_packet(struct simulate *s, const void *frame, size_t size, struct simulate_result *out,
		    struct skep_err *err);

struct simulate_file {
	const char *name, *services; /* for messages; resources as text, */
	size_t size;		     /* its length */
	const char *in, *out;	     /* captures; @out: NULL for none */
	bool json;
};

/** simulate_pcap() - a capture through, a line for each packet into @b. */
int simulate_pcap(const struct simulate_file *f, struct buf *b, struct skep_err *err);

#endif
