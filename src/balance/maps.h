/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maps.h: balance.bpf.o loaded, its maps in this process's memory.
 *
 * Not its business: what stands in them (fleet.h).
 */
#ifndef SKEP_BALANCE_MAPS_H
#define SKEP_BALANCE_MAPS_H

#include "balance/nat.h"
#include "balance/protect.h"
#include "base/base.h"
#include "base/err.h"

struct balance_bpf;
struct sockets;

struct maps_size {
	uint32_t services, backends, slots, vips;
	uint32_t bucket_log;	      /* 2^n buckets of 8 flows */
	uint16_t gue_port;	      /* 0: the usual one */
	uint16_t nat_first, nat_last; /* our ports towards backends; 0: the usual ones */
	uint32_t nat_log;	      /* 2^n buckets of 8 translated connections; 0: few */
};

struct maps {
	struct balance_bpf *bpf;
	struct maps_size size;
	struct balance_state *state;
	struct balance_ranges *ranges;
	struct balance_service *services;
	struct balance_slot *rings;
	struct balance_backend *backends;
	struct sockets *sockets; /* NULL: nothing is served at sockets */
	struct balance_bucket *flows;
	struct balance_counts *counts;
	struct balance_bucket *nat_forth, *nat_back;
	struct balance_nat *nat;
	struct balance_protect *protect;
	struct balance_stranger *nat_strangers;
	int vip4, vip6, quic, sent, again, totals, told, prog; /* borrowed */
	int allow4, allow6, deny4, deny6;
	bool adopted; /* pinned maps were found and taken over */
};

#define MAPS_RANGES 1024

/**
 * maps_open() - load.
 * @pins:    folder on a bpffs where maps are pinned, or found pinned; NULL: they die with the process
 * @telling: fill "told", for simulation
 *
 * Pinned maps of another size or shape are not taken over: -EEXIST.
 *
 * Return: 0 or -errno with libbpf's words.
 */
int maps_open(struct maps *m, const struct maps_size *size, const char *pins, bool telling,
	      struct skep_err *err);
void maps_done(struct maps *m);

/** maps_load_fail() - what libbpf says of a load. Return: @rc; -EEXIST where a pinned map is of another shape. */
int maps_load_fail(int rc, const char *object, struct skep_err *err);

/* Key of an address, protocol and port; @port in host order. */
struct maps_key {
	struct balance_key4 k4;
	struct balance_key6 k6;
	bool v6;
};

struct maps_key maps_key(uint8_t family, const uint8_t *addr, uint8_t proto, uint16_t port);

/** maps_vip_get() - zeroes where there is none. */
struct balance_vip maps_vip_get(const struct maps *m, const struct maps_key *k);
/** maps_vip_set() - both sides zero: removed. Return: 0 or -errno. */
int maps_vip_set(struct maps *m, const struct maps_key *k, struct balance_vip v);

/* VIPs to be set together: thousands take a system call or two. */
struct maps_vips {
	struct balance_key4 *k4;
	struct balance_key6 *k6;
	struct balance_vip *v4, *v6;
	uint32_t n4, n6, room4, room6;
	int rc; /* of what could not be added, or removed */
};

/** maps_vips_add() - as maps_vip_set(), at maps_vips_set(); of one key the last holds. */
void maps_vips_add(struct maps *m, struct maps_vips *b, const struct maps_key *k,
		   struct balance_vip v);
/** maps_vips_set() - all that can be; @b is empty afterwards. Return: 0 or the first -errno. */
int maps_vips_set(struct maps *m, struct maps_vips *b);
/** maps_vips_drop() - none of them. */
void maps_vips_drop(struct maps_vips *b);

/** maps_filter_bit() - of an address. */
uint32_t maps_filter_bit(uint8_t family, const uint8_t *addr);

/** maps_sent() - a backend's counters over all CPUs. */
struct balance_sent maps_sent(const struct maps *m, uint32_t backend);
/* Connections that did not begin, over all CPUs. */
struct maps_again {
	uint64_t syns, resets; /* as in struct balance_again */
};

struct maps_again maps_again(const struct maps *m, uint32_t backend);
/** maps_sum() - of one counter over all CPUs; @map: fd of a per-CPU array of 64 bits each. */
uint64_t maps_sum(int map, uint32_t key);
/** maps_totals() - counters of packets of no service. */
struct balance_counts maps_totals(const struct maps *m);

#endif
