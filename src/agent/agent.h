/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h: one process that holds the capabilities on a host and makes resources true.
 *
 * Not its business: the command line (cli), what a capability does (cap.h).
 */
#ifndef SKEP_AGENT_AGENT_H
#define SKEP_AGENT_AGENT_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

#define AGENT_CONFIG \
	"/etc/skep/skep.yaml" /* read where no other file is named and this one exists */

/* What the command line gives: options win over the file, the file over presets. */
struct agent_options {
	const char *config;    /* NULL: not given */
	const char *state_dir; /* NULL: not given */
	const char *socket;    /* NULL: not given */
	const char *listen;    /* NULL: not given; "" or "off": none */
	int log_json;	       /* -1: not given */
};

/**
 * agent_run() - be the agent until SIGTERM or SIGINT.
 *
 * SIGHUP reads the configuration again. Logs to standard error.
 *
 * Return: 0 after a signal, else -errno with one sentence: -EINVAL (configuration), -EBUSY (another
 * agent has the lock or the socket), -EADDRINUSE (the TCP port), -EPERM, -ENOENT, -ENOSYS (as
 * host_open() says; also when no capability can load).
 */
int agent_run(const struct agent_options *o, struct skep_err *err);

/** agent_config_print() - the reference of kind Agent, with all presets. Return: 0 or -ENOMEM. */
int agent_config_print(struct buf *b);

#endif
