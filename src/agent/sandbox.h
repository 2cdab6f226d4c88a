/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h: what the agent gives up once its programs are loaded and its sockets are bound.
 */
#ifndef SKEP_AGENT_SANDBOX_H
#define SKEP_AGENT_SANDBOX_H

#include "base/base.h"
#include "base/err.h"

/** sandbox_drop() - keep only the capabilities of the table in sandbox.c; no new privileges. */
int sandbox_drop(struct skep_err *err);

/** sandbox_filter() - allow only the system calls that the loop, SQLite and libbpf's maps need. */
int sandbox_filter(struct skep_err *err);

#endif
