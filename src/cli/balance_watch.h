/* SPDX-License-Identifier: Apache-2.0 */
/* balance_watch.h: `skep balance watch`. */
#ifndef SKEP_CLI_BALANCE_WATCH_H
#define SKEP_CLI_BALANCE_WATCH_H

#include "cli/cli.h"

/** balance_watch() - look each --interval seconds, print what differs, until --seconds have passed. */
int balance_watch(const struct args *a, struct skep_err *err);

#endif
