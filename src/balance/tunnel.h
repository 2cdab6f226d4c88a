/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tunnel.h: the way by which health probes reach backends as packets of a service do: tunnel.bpf.c on the
 * balancer's interfaces, and the table in which the prober says what its probes are.
 *
 * Not its business: when who is asked (health.h), and asking (prober.h).
 */
#ifndef SKEP_BALANCE_TUNNEL_H
#define SKEP_BALANCE_TUNNEL_H

#include "balance/attach.h"
#include "balance/balance.h"
#include "balance/config.h"

struct tunnel;

/** tunnel_open() - on @n interfaces, until tunnel_free(). @gue_port: 0: the usual one */
int tunnel_open(struct tunnel **out, const char (*interfaces)[ATTACH_NAME], uint32_t n,
		uint16_t gue_port, struct skep_err *err);
void tunnel_free(struct tunnel *t);

/** tunnel_forget() - what of an earlier one is still there: filters, of kernels without links at tc. */
void tunnel_forget(const char (*interfaces)[ATTACH_NAME], uint32_t n);

/** tunnel_table() - BALANCE_PROBES places, shared with children; NULL without a tunnel. */
struct balance_probe *tunnel_table(const struct tunnel *t);

/* What a probe is, for its place. */
struct tunnel_way {
	const struct config_addr *backend, *vip; /* of one family */
	uint16_t port;
	uint8_t mode, proto;
	uint64_t ns; /* it may take */
};

/**
 * tunnel_socket() - a socket whose packets to way->backend go through the tunnel.
 * @table: of tunnel_table()
 * @place: what tunnel_end() ends
 *
 * Return: a descriptor, not connected and not blocking, or -errno.
 */
int tunnel_socket(struct balance_probe *table, const struct tunnel_way *way,
		  struct balance_probe **place);
/** tunnel_end() - nothing more but the connection's end goes through it; @place: NULL: nothing. */
void tunnel_end(struct balance_probe *place);

#endif
