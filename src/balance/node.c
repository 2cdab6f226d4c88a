// SPDX-License-Identifier: Apache-2.0
/*
 * Node ports: a service at a port of each of this host's addresses. They become VIPs like others where a
 * service is read; who asks for backends of this host only gets the others without weight.
 */
#include "balance/fields.h"

#include <netinet/in.h>

#include "balance/balance.h"

static struct config_addr node[CONFIG_NODE_MAX];
static uint32_t n_node;

void config_node_set(const struct config_addr *list, uint32_t n)
{
	n_node = min(n, (uint32_t)CONFIG_NODE_MAX);
	memcpy(node, list, n_node * sizeof(*list));
}

bool config_node_is(const struct config_addr *a)
{
	uint32_t i;

	for (i = 0; i < n_node; i++)
		if (!memcmp(&node[i], a, sizeof(*a)))
			return true;
	return false;
}

static bool sockets;

void config_sockets_set(bool on)
{
	sockets = on;
}

bool config_sockets(void)
{
	return sockets;
}

static bool no_packets;

void config_packets_set(bool on)
{
	no_packets = !on;
}

bool config_packets(void)
{
	return !no_packets;
}

/* The service's own addresses tell its families; translation leads to backends of the same only. */
static bool leads(const struct config_service *s, uint8_t family)
{
	bool has = !s->n_vips && (!s->opt->node_family || s->opt->node_family == family);
	uint32_t i;

	for (i = 0; i < s->n_vips; i++)
		has |= s->vips[i].addr.family == family;
	if (!has)
		return false;

	for (i = 0; i < s->n_backends; i++)
		if (s->backends[i].mode == BALANCE_NAT && s->backends[i].addr.family != family)
			return false;
	return true;
}

static bool has_proto(const struct config_service *s, uint8_t proto)
{
	uint32_t i;

	for (i = 0; i < s->n_vips; i++)
		if (s->vips[i].proto == proto)
			return true;
	return !s->n_vips && proto == (s->opt->node_proto ?: IPPROTO_TCP);
}

/* A backend that has no port of its own has the service's, whatever port the node has for it. */
static void ports_fix(struct config_service *s)
{
	uint32_t i;

	for (i = 0; s->n_vips && i < s->n_backends; i++)
		if (!s->backends[i].port && config_exact(&s->vips[0]))
			s->backends[i].port = s->vips[0].first;
}

static int vips_add(struct config_service *s)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP};
	uint16_t port = (uint16_t)s->opt->node_port;
	uint32_t i, k, n = s->n_vips;
	struct config_vip *more = calloc(n + 2 * n_node + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	memcpy(more, s->vips, n * sizeof(*more));
	for (k = 0; k < array_size(protos); k++)
		for (i = 0; has_proto(s, protos[k]) && i < n_node; i++) {
			if (!leads(s, node[i].family))
				continue;
			more[n].addr = node[i];
			more[n].proto = protos[k];
			more[n].first = more[n].last = port;
			n++;
		}
	free(s->vips);
	s->vips = more;
	s->n_vips = n;
	return 0;
}

int config_node_ports(struct config_service *s, struct skep_err *err)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; s->opt->external && i < s->n_backends; i++)
		if (!s->backends[i].local && !config_node_is(&s->backends[i].addr))
			s->backends[i].weight = 0;
	if (s->opt->node_port) {
		ports_fix(s);
		rc = vips_add(s);
	}
	if (!rc && !s->n_vips && !n_node && s->opt->node_port)
		return 0; /* nobody's addresses: read somewhere else than on the node */
	return rc || s->n_vips ? rc
			       : skep_fail(err, -EINVAL,
					   "service '%s' has neither vips nor nodePort", s->name);
}
