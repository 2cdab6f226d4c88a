/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h: the agent's side of bpf/ring.h: the size of a ring, and the counters beside it.
 */
#ifndef SKEP_CAP_RING_H
#define SKEP_CAP_RING_H

#include "cap/cap.h"

struct bpf_program;

/** cap_ring_bytes() - a configured size as the kernel wants it: a power of two, 4 KiB to 1 GiB. */
uint32_t cap_ring_bytes(int64_t kib);

/* The counters of one object: a struct of u64, one a CPU in the kernel. */
struct cap_counts {
	unsigned cpus;
	size_t n; /* numbers in the struct */
	uint64_t *each;
};

/** cap_counts_init() - @bytes: size of the struct. Return: 0 or -ENOMEM. */
int cap_counts_init(struct cap_counts *c, size_t bytes);
void cap_counts_done(struct cap_counts *c);

/** cap_counts_sum() - of all CPUs, into @out of that size; 0 where @map_fd is -1. */
void cap_counts_sum(const struct cap_counts *c, int map_fd, void *out);

/**
 * cap_misses() - how often @p's hook passed without it, because it ran on that CPU already.
 *
 * The kernel lets no tracing program interrupt itself: what it would have told is lost.
 */
uint64_t cap_misses(const struct bpf_program *p);

/* What became of events, by kind. */
struct cap_kinds {
	const char *cap;	   /* "guard" */
	const char *const *labels; /* "kind=\"exec\"" */
	unsigned n;
	const uint64_t *sent, *reported, *lost;
};

/** cap_kinds_count() - skep_<cap>_sent_total, _events_total and _lost_total, each by kind. */
void cap_kinds_count(const struct cap_kinds *k, cap_count_fn fn, void *arg);

#endif
