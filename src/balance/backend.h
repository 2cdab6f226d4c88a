/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h: a host that is a backend: it unpacks what balancers send.
 */
#ifndef SKEP_BALANCE_BACKEND_H
#define SKEP_BALANCE_BACKEND_H

#include "base/base.h"
#include "base/err.h"

/**
 * backend_run() - unpack on an interface until SIGTERM or SIGINT.
 * @gue_port: UDP port of mode gue; 0: the usual one
 *
 * This host's addresses are read at the start and every second.
 */
int backend_run(const char *interface, uint16_t gue_port, struct skep_err *err);

#endif
