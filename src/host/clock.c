/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot time to wall time.
 *
 * The distance between the two clocks is looked at no more than once a second, and the one in use
 * is replaced only when it is off by more than STEP: a settimeofday(2) or an NTP step is followed
 * within a second, while slewing and the jitter of the measurement do not make two conversions of
 * one time differ.
 */
#include <time.h>

#include "host/host.h"

#define SECOND 1000000000LL
#define STEP   1000000LL

static int64_t now(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

/* The tightest of three readings: a preemption between two clocks would spoil one. */
static int64_t measure(void)
{
	int64_t best = INT64_MAX, distance = 0;

	for (int i = 0; i < 3; i++) {
		int64_t before = now(CLOCK_BOOTTIME);
		int64_t wall = now(CLOCK_REALTIME);
		int64_t after = now(CLOCK_BOOTTIME);

		if (after - before < best) {
			best = after - before;
			distance = wall - (before + after) / 2;
		}
	}
	return distance;
}

uint64_t host_boot_now(void)
{
	return now(CLOCK_BOOTTIME);
}

int64_t host_wall(uint64_t boot_ns)
{
	static _Atomic int64_t distance, looked = -SECOND;
	int64_t time = now(CLOCK_MONOTONIC_COARSE); /* reads no counter: this is called per event */

	if (time - looked >= SECOND) {
		int64_t fresh = measure();

		if (llabs(fresh - distance) > STEP)
			distance = fresh;
		looked = time;
	}
	return (int64_t)boot_ns + distance;
}
