/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h: whether this host can balance, or be a backend: what interfaces, settings and the way to
 * each backend are like, seen from the network namespace of the caller. Changes nothing; the probe
 * sends each backend two pings to a service's address, wrapped as the balancer wraps packets.
 */
#ifndef SKEP_BALANCE_DOCTOR_H
#define SKEP_BALANCE_DOCTOR_H

#include "balance/config.h"

#define DOCTOR_FRAME_MOST 9400 /* a longer ping is not tried */

enum doctor_result { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_check {
	const char *what; /* "forwarding", "backend" ... */
	char who[80];	  /* interface or backend it is about, "" the host */
	enum doctor_result result;
	char why[240];
	const char *fix; /* NULL where there is nothing to do */
};

typedef void (*doctor_fn)(void *arg, const struct doctor_check *c);

/* What to look at; strings are borrowed. */
struct doctor_backend {
	struct config_addr addr, vip; /* one of the service's addresses */
	const char *mode;	      /* "ipip" ... */
};

struct doctor_wish {
	const char *const *interfaces;
	unsigned n_interfaces;
	const char *pins; /* NULL: do not look */
	bool routed;	  /* next hops come from the host's routes */
	struct config_addr source4, source6;
	const struct doctor_backend *backends;
	unsigned n_backends;
};

/** doctor_balancer() - Return: how many checks failed. */
unsigned doctor_balancer(const struct doctor_wish *w, doctor_fn fn, void *arg);
/** doctor_backend() - of a backend, where packets of balancers arrive at w->interfaces. */
unsigned doctor_backend(const struct doctor_wish *w, doctor_fn fn, void *arg);

/* doctor_probe.c */
/**
 * doctor_probe() - a ping in an outer header to @b; its answer comes from the service's address.
 * @source: of the address's family, ours
 * @size:   bytes of the inner packet
 *
 * Return: 0 answered; -ETIMEDOUT; -EOPNOTSUPP (no probe for this mode or family); -errno.
 */
int doctor_probe(const struct doctor_backend *b, const struct config_addr *source, unsigned size);
/** doctor_mtu() - of the route to @a, 0: no route. */
unsigned doctor_mtu(const struct config_addr *a);

#endif
