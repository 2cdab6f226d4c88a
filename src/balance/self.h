/* SPDX-License-Identifier: Apache-2.0 */
/*
 * self.h: the balancer as one thing, for the files that are its life (balance.c), its settings
 * (settings.c) and what it shows (seen.c).
 *
 * Not its business: tables and services (inside.h).
 */
#ifndef SKEP_BALANCE_SELF_H
#define SKEP_BALANCE_SELF_H

#include "balance/attach.h"
#include "balance/fleet.h"
#include "balance/happened.h"
#include "balance/health.h"
#include "balance/node_health.h"
#include "balance/reap.h"
#include "balance/samples.h"
#include "balance/socket.h"
#include "balance/tunnel.h"
#include "balance/wanted.h"
#include "balance/why.h"
#include "cap/cap.h"

#define DENY_MAX 256

struct balance_spec {
	char interfaces[ATTACH_MAX][ATTACH_NAME];
	uint32_t n_interfaces;
	int next_hop; /* index into route, gateway, reflect */
	uint8_t gateway[6];
	struct config_addr source4, source6;
	int64_t mtu, gue_port, services, backends, slots, vips, flows, flow_s, nat_flows;
	uint16_t nat_ports[2];
	uint32_t n_deny;
	struct config_cidr deny[DENY_MAX];
	char deny_file[256];
	char pins[256], cgroup[256];
	bool tunnel; /* for health probes */
};

struct balance {
	struct cap_env env;
	struct balance_spec spec;
	bool loaded;
	struct maps maps;
	struct fleet *fleet;
	struct config_set wanted;
	struct health *health;
	struct tunnel *tunnel; /* NULL: probes go straight */
	char untunneled[160];  /* why, where tunnelProbes is on */
	struct node_health *node_health;
	struct store_table *table;   /* of what happened to backends */
	struct store_table *packets; /* samples of packets */
	struct samples *samples;
	struct why *why;
	struct attach links[ATTACH_MAX];
	unsigned n_links;
	struct sockets *sockets; /* NULL: no cgroup is served */
	struct reap *reap;	 /* NULL: sockets to gone backends are left alone */
	char unreaped[160];	 /* why */
	bool pinned;
	char unpinned[160]; /* why not */
	char anew[160];	    /* why what was pinned was not taken over */
	int probe4, probe6; /* sockets that make the kernel ask for neighbours */
	struct fleet_way way;
	struct timespec deny_read; /* when the file of denied ranges had changed last */
};

/* settings.c */
#define SETTINGS_N 20
extern const struct conf_field settings_fields[SETTINGS_N];

/* seen.c: as cap_ops has them */
void seen_show(void *cap, struct buf *out);
void seen_count(void *cap, cap_count_fn fn, void *arg);
void seen_report(void *cap, void (*fn)(void *, const struct cap_report *), void *arg);

#endif
