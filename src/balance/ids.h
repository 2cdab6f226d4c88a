/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids.h: places in maps, given and taken back: single indices, and rings of 2^n slots.
 */
#ifndef SKEP_BALANCE_IDS_H
#define SKEP_BALANCE_IDS_H

#include "base/base.h"

/* Indices 1 to max - 1; what came back last is given first. */
struct ids {
	uint32_t max, next, n_free;
	uint32_t *free;
	uint8_t *used;
};

int ids_open(struct ids *i, uint32_t max);
void ids_done(struct ids *i);
/** ids_get() - Return: an index, 0 where all are taken. */
uint32_t ids_get(struct ids *i);
void ids_put(struct ids *i, uint32_t id);
/** ids_take() - this one. Return: false where it is taken or out of range. */
bool ids_take(struct ids *i, uint32_t id);

#define EXTENT_LOG  7 /* of the smallest */
#define EXTENT_NONE UINT32_MAX

/* Runs of 2^log slots, each at a multiple of its length. */
struct extents {
	uint32_t units;
	uint32_t hint[32];
	uint8_t *used; /* by unit of 2^EXTENT_LOG */
};

int extents_open(struct extents *e, uint32_t slots);
void extents_done(struct extents *e);
/** extents_get() - Return: the first slot, EXTENT_NONE where no such run is free. */
uint32_t extents_get(struct extents *e, unsigned log);
void extents_put(struct extents *e, uint32_t first, unsigned log);
void extents_take(struct extents *e, uint32_t first, unsigned log);

#endif
