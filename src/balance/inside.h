/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what a table is made of, for fleet.c, slots.c, vips.c and adopt.c.
 */
#ifndef SKEP_BALANCE_INSIDE_H
#define SKEP_BALANCE_INSIDE_H

#include "balance/ids.h"
#include "balance/fleet.h"

/* Port ranges of one address and protocol: one entry of map "ranges". */
struct group {
	struct config_addr addr;
	uint8_t proto;
	uint32_t index;
	struct balance_ranges ranges;
};

struct groups {
	struct group *list;
	size_t n, room;
};

struct address {
	UT_hash_handle hh;
	struct config_addr addr;
	uint32_t refs;
};

/* A ring and an instance that packets may still be reading for some microseconds. */
struct old {
	uint32_t instance, ring;
	uint8_t log;
};

/* The services in the order of the file that was applied last. */
struct order {
	uint64_t digest;
	struct fleet_service *service;
	bool seen; /* wanted by the apply at work */
};

struct fleet {
	struct order *order;
	size_t n_order;
	uint32_t applies;
	struct maps *maps;
	struct fleet_way way;
	struct fleet_service *services;
	struct address *addresses;
	struct groups groups;
	struct ids instances, stats, backends, ranges;
	struct extents rings;
	struct old *olds;
	size_t n_olds, room_olds;
	uint32_t *orphans; /* backends of removed services, until no entry names them */
	uint32_t n_orphans;
	uint32_t *flows;     /* entries by backend, of the last sweep */
	uint32_t translated; /* connections of mode nat, of the last sweep */
	uint32_t *busy;	     /* of these, flows that sent something in the last minute */
	bool stale;	     /* a service is */
	uint32_t here;	     /* backends that are this host */
	uint64_t looked_at;  /* at loads */
	uint64_t swept_at;
	bool quic;	    /* map "quic" may have entries */
	uint64_t full_seen; /* how often there was no room for an entry, until full_at */
	uint64_t full_at;
	bool unsettled;		    /* the `was` of some slot is to follow `now` */
	struct sources **sources;   /* by instance, of protect.c */
	struct config_cidr *denied; /* sorted */
	size_t n_denied;
	uint64_t gone;			     /* backends that went so far */
	struct {			     /* the ring that was filled last (slots.c) */
		struct ring_member *members; /* NULL: none */
		uint32_t n;
		uint8_t log;
		size_t room;
		uint32_t *slots; /* places among members, from 1; 0: none */
	} last;
	struct buf *imagine; /* a dry apply is told in full there (plan.c) */
};

/* One service's step from what holds to what is wanted. Either may be NULL, not both. */
struct change {
	struct fleet_service *old, *next;
};

/* A flow that sent something in the last minute is busy; in BALANCE_UNIT. */
#define BUSY_UNITS 14

struct changes {
	struct change *list;
	size_t n, room;
};

/* CLOCK_MONOTONIC in BALANCE_UNIT, as the kernel half tells time. */
uint32_t fleet_units(void);

/* fleet.c */
/** renew() - the ring of @s anew, by what its backends are now. @s is not valid after success. */
int renew(struct fleet *t, struct fleet_service *s, uint64_t boot_now);

/* live.c */
/** live_decide() - states and weights of @s's listed backends, by what is known of each. */
void live_decide(struct fleet_service *s);
/** live_tick() - drains whose time is over, slow starts, loads; renews what changed. */
void live_tick(struct fleet *t, uint64_t boot_now);
/** live_stale() - the ring of @s is no longer as its backends are; live_settle() renews all such. */
void live_stale(struct fleet *t, struct fleet_service *s);
void live_settle(struct fleet *t, uint64_t boot_now);
/** live_counts() - whether counts of entries are wanted sooner than usual. */
bool live_counts(const struct fleet *t);

/* slots.c */
/**
 * slots_fill() - the ring of @next in map "rings", by B2 of balance.bpf.c: @old's `was` stays.
 *
 * next->ring and next->log are set; next->look becomes whether a slot asks for entries.
 */
int slots_fill(struct fleet *t, struct fleet_service *next, const struct fleet_service *old);
/** slots_forget() - what was kept to fill the next ring sooner. */
void slots_forget(struct fleet *t);
/** slots_merge() - `was` follows `now` everywhere; flows that matter have entries by now. */
void slots_merge(struct fleet *t, struct fleet_service *s);
/** slots_leave() - as slots_merge(), of the slots whose `was` is @backend. */
void slots_leave(struct fleet *t, struct fleet_service *s, uint32_t backend);
/** slots_rest() - no slot asks for entries any more: there are none. */
void slots_rest(struct fleet *t, struct fleet_service *s);

/* vips.c */
/** vips_stage() - the spare sides of all entries that @c touches. On failure vips_undo() is due. */
int vips_stage(struct fleet *t, const struct changes *c, struct groups *groups,
	       struct skep_err *err);
void vips_undo(struct fleet *t, const struct changes *c, struct groups *groups);
/** vips_settle() - after the commit: both sides are one, what is gone is removed. */
void vips_settle(struct fleet *t, const struct changes *c, struct groups *groups);

/** vips_adopt() - addresses of @s stand in the maps already. */
int vips_adopt(struct fleet *t, const struct fleet_service *s);

/* plan.c */
/** plan_tell() - what these changes would do to slots and to flows with entries, as a JSON object. */
void plan_tell(const struct fleet *t, const struct change *list, size_t n, struct buf *out);
/* nat.c */
/** nat_open() - the pinned connections are ours, unless our addresses have changed. */
void nat_open(struct fleet *t);
/** nat_some() - whether some backend is of mode nat. */
bool nat_some(const struct fleet_service *s);
/** nat_before() - what @c brings will find answers looked for; nat_after(): only if somebody needs it. */
void nat_before(struct fleet *t, const struct changes *c);
void nat_after(struct fleet *t);
/** nat_filter() - the bits of our addresses towards backends. */
void nat_filter(const struct fleet *t, uint64_t *bits);
/** nat_sweep() - forget what is silent, or of a backend that is gone; count the rest in t->flows. */
void nat_sweep(struct fleet *t, uint32_t units);
/** nat_each() - the backend of each connection. Return: what @fn returned, 0 to go on. */
int nat_each(const struct fleet *t, int (*fn)(struct fleet *, uint32_t backend), struct fleet *arg);

/* protect.c */
/** protect_open() - what an earlier agent left. */
int protect_open(struct fleet *t);
void protect_done(struct fleet *t);
/** protect_wanted() - whether packets of such a service are to be looked at. */
bool protect_wanted(const struct config_options *o);
/** protect_write() - under the service's new index. Return: 0, -ENOMEM, -ENOSPC. */
int protect_write(struct fleet *t, const struct fleet_service *s);
/** protect_clear() - the index is free again. */
void protect_clear(struct fleet *t, uint32_t instance);
/** protect_denied() - t->denied as the maps have it. */
int protect_denied(struct fleet *t);

/* quic.c */
/** quic_stage() - server ids of the backends of services that ask for them. Return: 0, -ENOSPC. */
int quic_stage(struct fleet *t, const struct changes *c, struct skep_err *err);
/** quic_forget() - a backend that is gone. */
void quic_forget(struct fleet *t, uint32_t id);

/* adopt.c */
/** adopt() - services as they stand in pinned maps, under names "#<instance>". */
int adopt(struct fleet *t, struct skep_err *err);

#endif
