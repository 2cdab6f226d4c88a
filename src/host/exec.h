/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h: run a program and its children with an engine as their bpf(2).
 *
 * Not its business: the engine (vm), the command line (cli).
 */
#ifndef SKEP_HOST_EXEC_H
#define SKEP_HOST_EXEC_H

#include "base/err.h"
#include "skep/engine.h"

/* Statuses of host_exec() that are not the command's own, as env(1) and timeout(1) have them. */
#define HOST_EXEC_FAILED    125
#define HOST_EXEC_CANNOT    126
#define HOST_EXEC_NOT_FOUND 127

struct host_exec {
	struct skep_engine_options engine;
	char *const *argv;	  /* the command, NULL at the end; looked up in PATH */
	const char *const *ports; /* NAME=SPEC (port.h), open while the command runs */
	unsigned n_ports;
	bool root; /* as root of a user namespace, with a /sys/fs/bpf of its own */
};

/**
 * host_exec() - run the command, answer its bpf(2) until it ends.
 *
 * For a process that does nothing else: it forks, so no thread may run; closes every descriptor but
 * the standard ones, which then lead nowhere except standard error; takes the signals, and the
 * orphans of the command.
 *
 * Return: the command's exit status; 128 and the signal that ended it; one of HOST_EXEC_* with @err.
 */
int host_exec(const struct host_exec *x, struct skep_err *err);

#endif
