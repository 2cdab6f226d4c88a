/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reap.h: ends sockets that are connected to backends that are gone, in every network namespace.
 *
 * A child does it: entering a namespace needs CAP_SYS_ADMIN, which the agent gives up. The child can do
 * nothing else: it is told "look", and answers with two numbers.
 *
 * Not its business: which backends are gone (the tables tell).
 */
#ifndef SKEP_BALANCE_REAP_H
#define SKEP_BALANCE_REAP_H

#include "base/base.h"
#include "base/err.h"
#include "cap/cap.h"

struct host;
struct maps;
struct sockets;
struct reap;

/**
 * reap_open() - load reap.bpf.o and start the child, before capabilities are given up.
 *
 * Return: 0 or -errno; -EOPNOTSUPP where neither the kernel's bpf_sock_destroy() (6.5) nor
 * CONFIG_INET_DIAG_DESTROY is there.
 */
int reap_open(struct reap **out, struct host *host, const struct maps *maps,
	      const struct sockets *sockets, struct skep_err *err);
void reap_free(struct reap *r);

/** reap_how() - what ends sockets, in words. */
const char *reap_how(const struct reap *r);

/** reap_tick() - once a second. @gone: how many backends went so far. */
void reap_tick(struct reap *r, uint64_t gone);

/** reap_count() - metrics. */
void reap_count(const struct reap *r, cap_count_fn fn, void *arg);

#endif
