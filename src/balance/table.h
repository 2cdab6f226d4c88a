/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: wanted services in, maps out: all at once or not at all, and no live connection moved.
 *
 * Not its business: YAML (config.h), loading (maps.h), interfaces.
 */
#ifndef SKEP_BALANCE_TABLE_H
#define SKEP_BALANCE_TABLE_H

#include "balance/config.h"
#include "balance/maps.h"

#include <uthash.h>

/* What all backends have in common: where outer packets come from and how they leave. */
struct table_way {
	struct config_addr source4, source6;
	uint16_t hop_flags; /* BALANCE_HOP_FIXED, BALANCE_HOP_REFLECT, 0: the routing table */
	uint8_t gateway[6];
	uint16_t mtu;
	uint32_t flow_s; /* a flow silent for so long is forgotten */
};

struct table_backend {
	struct config_addr addr;
	uint32_t id, weight;
	uint8_t state;	   /* BALANCE_LIVE ... */
	bool listed;	   /* stands in the wanted state */
	uint64_t leave_at; /* boot ns at which an unlisted one is gone */
};

struct table_service {
	UT_hash_handle hh;
	struct config_service want; /* vips and backends as they were applied */
	uint32_t stat, instance, ring;
	uint8_t log;
	bool look;   /* some slots ask for entries */
	bool merged; /* `was` has followed `now` */
	uint64_t changed_at;
	struct table_backend *backends;
	uint32_t n;
};

struct table;

int table_open(struct table **out, struct maps *maps, const struct table_way *way,
	       struct skep_err *err);
void table_free(struct table *t);

struct table_diff {
	uint32_t added, changed, removed, same;
};

/**
 * table_apply() - make the maps show @set.
 * @boot_now: ns
 * @dry:      only say what would change
 * @said:     a line for each service added, changed or removed; may be NULL
 *
 * Return: 0; -ENOSPC where a map is too small (nothing has changed then), -ENOMEM, -EINVAL.
 */
int table_apply(struct table *t, const struct config_set *set, uint64_t boot_now, bool dry,
		struct table_diff *diff, struct buf *said, struct skep_err *err);

/** table_drain() - the backend keeps its flows and gets none, until the next table_apply(). */
int table_drain(struct table *t, const char *service, const struct config_addr *backend,
		uint64_t boot_now, struct skep_err *err);

/** table_tick() - about once a second: drained backends go, flows' entries are looked through. */
void table_tick(struct table *t, uint64_t boot_now);

/** table_sweep() - forget entries that are old; table_flows() then has a count. */
void table_sweep(struct table *t, uint64_t boot_now);

struct table_service *table_first(const struct table *t); /* uthash list, by hh.next */
struct table_service *table_find(const struct table *t, const char *name);
/** table_flows() - entries of a backend as of the last sweep. */
uint32_t table_flows(const struct table *t, uint32_t backend);
/** table_name() - of the service that counts at @stat, NULL: none. */
const struct table_service *table_by_stat(const struct table *t, uint32_t stat);

#endif
