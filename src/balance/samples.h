/* SPDX-License-Identifier: Apache-2.0 */
/*
 * samples.h: samples of packets: the table "packet" and the event balance.packet. They are taken for as
 * long as somebody asks for them, and of each reason and CPU at most so many a second.
 */
#ifndef SKEP_BALANCE_SAMPLES_H
#define SKEP_BALANCE_SAMPLES_H

#include "balance/attach.h"
#include "balance/fleet.h"
#include "cap/cap.h"

struct samples;

#define SAMPLES_RATE_MAX    250 /* the program's clock has steps of some milliseconds */
#define SAMPLES_SECONDS_MAX 3600

/** samples_table() - add the table. *@out is the store's. Nothing where there is no store. */
int samples_table(struct store_table **out, const struct cap_env *env, struct skep_err *err);

/** samples_open() - all but @out is borrowed; @links: where packets come in. None are taken yet. */
int samples_open(struct samples **out, struct maps *m, const struct fleet *t,
		 const struct attach *links, unsigned n_links, struct store_table *table,
		 const struct cap_env *env, struct skep_err *err);
void samples_free(struct samples *s);

/**
 * samples_want() - take them from now on. Of several who ask, the highest rate and the longest time hold.
 * @rate:    a second, of each reason and CPU: 1 to SAMPLES_RATE_MAX; 0: none, whoever asked
 * @seconds: and for so long, 1 to SAMPLES_SECONDS_MAX
 */
int samples_want(struct samples *s, int64_t rate, int64_t seconds, uint64_t boot_now,
		 struct skep_err *err);

/** samples_poll() - into the table. Return: how many. */
unsigned samples_poll(struct samples *s);
/** samples_tick() - whoever asked may be gone. */
void samples_tick(struct samples *s, uint64_t boot_now);
/** samples_lost() - that found no room. */
uint64_t samples_lost(const struct samples *s);

#endif
