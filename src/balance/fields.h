/* SPDX-License-Identifier: Apache-2.0 */
/* fields.h: a Service as its YAML is read, before it is checked. */
#ifndef SKEP_BALANCE_FIELDS_H
#define SKEP_BALANCE_FIELDS_H

#include "balance/config.h"
#include "cap/conf.h"

struct config_spec {
	struct config_options opt; /* first: offsets of the table's scalars are within it */
	uint32_t n_vips, n_backends;
	struct config_vip vips[CONFIG_VIPS_MAX];
	struct config_backend backends[CONFIG_BACKENDS_MAX];
	bool kube; /* of a Service of Kubernetes */
};

_Static_assert(offsetof(struct config_spec, opt) == 0, "scalars are within the options");

extern const struct conf_field config_fields[];
extern const unsigned config_fields_count;

/** config_node_ports() - VIPs of a service's node port, weights of its policy (node.c). */
int config_node_ports(struct config_service *s, struct skep_err *err);

/** config_exact() - whether a VIP is one port. */
static inline bool config_exact(const struct config_vip *v)
{
	return v->first && v->first == v->last;
}

#endif
