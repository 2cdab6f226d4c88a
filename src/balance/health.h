/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health.h: which backends are up: probes' answers counted, changes told to the fleet.
 *
 * H1  A backend is up until `fall` probes in a row failed, and then down until `rise` in a row did not:
 *     neither an apply nor a restart of the agent takes anything from a backend that lives.
 * H2  The prober is asked for exactly the backends that the fleet lists, with what their services say;
 *     answers to what is no longer asked mean nothing (generation).
 */
#ifndef SKEP_BALANCE_HEALTH_H
#define SKEP_BALANCE_HEALTH_H

#include "balance/fleet.h"

struct health;

/* What is known of a backend. */
struct health_state {
	bool up, asked;	 /* asked: at least once */
	uint32_t us;	 /* of the last probe */
	char reason[56]; /* of the last failure, "" after a success */
	uint64_t probes, failures;
};

/** health_open() - starts the prober; before the process is confined. @table: tunnel_table() */
int health_open(struct health **out, struct balance_probe *table, fleet_fn fn, void *arg,
		struct skep_err *err);
void health_free(struct health *h);

/** health_sync() - after each change of the fleet: ask for what it lists. */
void health_sync(struct health *h, const struct fleet *t);

/** health_dead() - whether the prober has ended: what is known stays as it is. */
bool health_dead(const struct health *h);

/** health_fd() - readable when answers wait; -1: there will be none. */
int health_fd(const struct health *h);
/** health_poll() - take answers. Return: how many. */
unsigned health_poll(struct health *h, struct fleet *t, uint64_t boot_now);

/** health_get() - NULL where the backend is not asked. */
const struct health_state *health_get(const struct health *h, const char *service,
				      const struct config_addr *backend);

#endif
