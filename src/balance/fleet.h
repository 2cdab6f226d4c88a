/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet.h: wanted services in, maps out: all at once or not at all, and no live connection moved.
 *
 * Not its business: YAML (config.h), loading (maps.h), interfaces.
 */
#ifndef SKEP_BALANCE_FLEET_H
#define SKEP_BALANCE_FLEET_H

#include "balance/config.h"
#include "balance/maps.h"

#include <uthash.h>

/* What all backends have in common: where outer packets come from and how they leave. */
struct fleet_way {
	struct config_addr source4, source6;
	uint8_t hop_flags; /* BALANCE_HOP_FIXED, BALANCE_HOP_REFLECT, 0: the routing table */
	uint8_t gateway[6];
	uint16_t mtu;
	uint32_t flow_s; /* a flow silent for so long is forgotten */
};

struct fleet_backend {
	struct config_addr addr;
	uint32_t id, weight;
	uint8_t state;	   /* BALANCE_LIVE ... */
	uint8_t mode;	   /* BALANCE_IPIP ... */
	uint16_t port;	   /* mode nat; 0: the one that the client spoke to */
	bool listed;	   /* stands in the wanted state */
	uint64_t leave_at; /* boot ns at which an unlisted one is gone */
};

struct fleet_service {
	UT_hash_handle hh;
	struct config_service want; /* vips and backends as they were applied */
	uint32_t stat, instance, ring;
	uint8_t log;
	bool look;   /* some slots ask for entries */
	bool merged; /* `was` has followed `now` */
	uint64_t changed_at;
	uint32_t seen; /* number of the apply that wanted it last */
	struct fleet_backend *backends;
	uint32_t n;
};

struct fleet;

int fleet_open(struct fleet **out, struct maps *maps, const struct fleet_way *way,
	       struct skep_err *err);
void fleet_free(struct fleet *t);

struct fleet_diff {
	uint32_t added, changed, removed, same;
};

/**
 * fleet_apply() - make the maps show @set.
 * @boot_now: ns
 * @dry:      only say what would change
 * @said:     a line for each service added, changed or removed; may be NULL
 *
 * Return: 0; -ENOSPC where a map is too small (nothing has changed then), -ENOMEM, -EINVAL.
 */
int fleet_apply(struct fleet *t, const struct config_set *set, uint64_t boot_now, bool dry,
		struct fleet_diff *diff, struct buf *said, struct skep_err *err);

/** fleet_drain() - the backend keeps its flows and gets none, until the next fleet_apply(). */
int fleet_drain(struct fleet *t, const char *service, const struct config_addr *backend,
		uint64_t boot_now, struct skep_err *err);

/** fleet_tick() - about once a second: drained backends go, flows' entries are looked through. */
void fleet_tick(struct fleet *t, uint64_t boot_now);

/** fleet_sweep() - forget entries that are old; fleet_flows() then has a count. */
void fleet_sweep(struct fleet *t, uint64_t boot_now);

struct fleet_service *fleet_first(const struct fleet *t); /* uthash list, by hh.next */
struct fleet_service *fleet_find(const struct fleet *t, const char *name);
/** fleet_flows() - entries of a backend as of the last sweep. */
uint32_t fleet_flows(const struct fleet *t, uint32_t backend);
/** fleet_translated() - connections of mode nat, as of the last sweep. */
uint32_t fleet_translated(const struct fleet *t);
/** fleet_name() - of the service that counts at @stat, NULL: none. */
const struct fleet_service *fleet_by_stat(const struct fleet *t, uint32_t stat);

#endif
