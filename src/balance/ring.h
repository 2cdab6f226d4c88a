/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h: which backend each slot of a ring belongs to. Numbers in, numbers out: no maps, no packets.
 */
#ifndef SKEP_BALANCE_RING_H
#define SKEP_BALANCE_RING_H

#include "base/base.h"

#define RING_LOG_MIN 7
#define RING_LOG_MAX 20

struct ring_member {
	uint64_t identity; /* of the backend, the same on every balancer */
	uint32_t weight;   /* 0: gets no slots */
	uint32_t value;	   /* what to write into its slots */
};

/**
 * ring_log() - how large a ring must be for shares to be within 1 % of the weights.
 *
 * Return: n, of 2^n slots; RING_LOG_MAX where even that is not enough.
 */
unsigned ring_log(const struct ring_member *members, size_t n);

/**
 * ring_fill() - Maglev's permutations with exact shares.
 * @out: 2^@log values; all @none where no member has a weight
 *
 * Each member has its share of the slots by weight, rounded down or up; the same members in any
 * order give the same ring. With more members than slots some have none.
 *
 * Return: 0 or -ENOMEM.
 */
int ring_fill(uint32_t *out, unsigned log, const struct ring_member *members, size_t n,
	      uint32_t none);

#endif
