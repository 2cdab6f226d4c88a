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

/* A backend's part of its weight, from FLEET_FACTOR_ONE down; what weights are counted in. */
#define FLEET_FACTOR_ONE 64

struct fleet_backend {
	struct config_addr addr;
	uint32_t id;
	uint32_t wanted;    /* weight as the resource has it */
	uint32_t weight;    /* in the ring, in parts of FLEET_FACTOR_ONE */
	uint8_t mode;	    /* BALANCE_IPIP ... */
	uint16_t port;	    /* mode nat; 0: the one that the client spoke to */
	uint8_t state;	    /* BALANCE_LIVE ... */
	bool listed;	    /* stands in the wanted state */
	bool drained;	    /* gets no new flows until it is told otherwise */
	bool released;	    /* drained, and its flows go elsewhere now */
	bool down;	    /* does not answer probes */
	uint8_t factor;	    /* of slow start and of load, 1 to FLEET_FACTOR_ONE */
	uint64_t leave_at;  /* boot ns at which an unlisted one is gone, a drained one; 0: never */
	uint64_t up_at;	    /* boot ns since when it is up again; 0: ever */
	uint64_t load_seen; /* bytes it had been sent at the last look */
	uint64_t load;
	double share; /* of its weight, as its load has it; the largest of a service is 1 */
	struct {      /* passive.c */
		uint64_t syns, failed; /* as counted when the look began, at @since */
		uint64_t since, until; /* boot ns; until: ejected till then, 0: it is not */
	} passive;
};

struct fleet_service {
	UT_hash_handle hh;
	struct config_service *want; /* vips and backends as they were applied */
	uint32_t stat, instance, ring;
	uint8_t log;
	bool look;   /* some slots ask for entries */
	bool merged; /* `was` has followed `now` */
	bool stale;  /* its ring is not yet as its backends are */
	bool panic;  /* so few are up that all are used */
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

/**
 * fleet_drain() - the backend keeps its flows and gets none, across any fleet_apply() that lists it.
 * @on:      false: it gets flows again
 * @release: boot ns at which it loses the flows that are left; 0: never
 *
 * Return: 0, -ENOENT, or as fleet_apply().
 */
int fleet_drain(struct fleet *t, const char *service, const struct config_addr *backend, bool on,
		uint64_t release, uint64_t boot_now, struct skep_err *err);

/** fleet_health() - a backend is up or down: what is down loses its flows and gets none. */
void fleet_health(struct fleet *t, const char *service, const struct config_addr *backend, bool up,
		  uint64_t boot_now);

/** fleet_backend_find() - the listed one, if there is; NULL where the service has none of that address. */
struct fleet_backend *fleet_backend_find(const struct fleet_service *s,
					 const struct config_addr *a);

/** fleet_was() - the mode of one that drains after a change of mode (T5), of others NULL. */
const char *fleet_was(const struct fleet_service *s, const struct fleet_backend *b);
/** fleet_labels() - of a backend's metrics. */
void fleet_labels(const struct fleet_service *s, const struct fleet_backend *b, char *out,
		  size_t size);

/**
 * fleet_plan() - fleet_apply() in imagination: slots and live flows that it would touch, as a JSON
 * object in @out.
 */
int fleet_plan(struct fleet *t, const struct config_set *set, uint64_t boot_now, struct buf *out,
	       struct skep_err *err);

/* A backend went up or down; @reason of going down. */
typedef void (*fleet_fn)(void *arg, const char *service, const struct config_addr *backend, bool up,
			 const char *reason);

/** fleet_passive() - once a second: who does not answer SYNs is ejected, whose time is over comes back. */
void fleet_passive(struct fleet *t, uint64_t boot_now, fleet_fn fn, void *arg);

/** fleet_tick() - about once a second: drained backends go, flows' entries are looked through. */
void fleet_tick(struct fleet *t, uint64_t boot_now);

/** fleet_sweep() - forget entries that are old; fleet_flows() then has a count. */
void fleet_sweep(struct fleet *t, uint64_t boot_now);

struct fleet_service *fleet_first(const struct fleet *t); /* uthash list, by hh.next */
struct fleet_service *fleet_find(const struct fleet *t, const char *name);
/** fleet_gone() - how many backends went so far. */
uint64_t fleet_gone(const struct fleet *t);
/** fleet_flows() - entries of a backend as of the last sweep. */
uint32_t fleet_flows(const struct fleet *t, uint32_t backend);
/**
 * fleet_deny() - whose packets to services are dropped, all of it.
 * @file: more of them, one a line; "" for none
 *
 * Return: 0, -ENOSPC (some found no room), -EINVAL with the line, -errno of the file.
 */
int fleet_deny(struct fleet *t, const struct config_cidr *list, size_t n, const char *file,
	       struct skep_err *err);
/** fleet_translated() - connections of mode nat, as of the last sweep. */
uint32_t fleet_translated(const struct fleet *t);
/** fleet_busy() - of these, flows that sent something in the last minute. */
uint32_t fleet_busy(const struct fleet *t, uint32_t backend);
/** fleet_name() - of the service that counts at @stat, NULL: none. */
const struct fleet_service *fleet_by_stat(const struct fleet *t, uint32_t stat);

#endif
