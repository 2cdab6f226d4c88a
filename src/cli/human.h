/* SPDX-License-Identifier: Apache-2.0 */
/*
 * human.h: numbers as people read them. Each writes into a caller's buffer and returns it, so that
 * it can stand in an argument list.
 */
#ifndef SKEP_CLI_HUMAN_H
#define SKEP_CLI_HUMAN_H

#include "base/base.h"

struct human {
	char text[40];
};

/** human_bytes() - "812 B", "14.5 KiB", "3.0 GiB". */
const char *human_bytes(struct human *h, int64_t bytes);
/** human_span() - nanoseconds as one or two units: "340µs", "12ms", "3.4s", "5m10s", "4d2h". */
const char *human_span(struct human *h, int64_t ns);
/** human_time() - ns since the epoch as local "2026-11-22 18:37:01.123". */
const char *human_time(struct human *h, int64_t ns);
/** human_clock() - the same without the date. */
const char *human_clock(struct human *h, int64_t ns);
/** human_user() - name of a user id, or the id; remembers names between calls. */
const char *human_user(struct human *h, int64_t uid);

/** human_now() - ns since the epoch. */
int64_t human_now(void);

#endif
