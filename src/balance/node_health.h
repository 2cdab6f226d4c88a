/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_health.h: health check node ports: whoever spreads clients over nodes asks each by HTTP whether a
 * service with externalTrafficPolicy Local has backends there. Answers as kube-proxy's: 200 or 503, JSON
 * with localEndpoints.
 *
 * A child listens (child.h), the agent tells it how many there are; it answers on when the agent is busy.
 */
#ifndef SKEP_BALANCE_NODE_HEALTH_H
#define SKEP_BALANCE_NODE_HEALTH_H

#include "balance/fleet.h"

struct node_health;

/** node_health_open() - starts the child; before the process is confined. */
int node_health_open(struct node_health **out, struct skep_err *err);
void node_health_free(struct node_health *h);

/** node_health_sync() - what the fleet has now; tells the child what differs. */
void node_health_sync(struct node_health *h, const struct fleet *t);

/** node_health_trouble() - a port that could not be listened at, and why; NULL: all are. */
const char *node_health_trouble(struct node_health *h);

#endif
