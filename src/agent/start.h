/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.h: what makes an agent the only one: its lock and its sockets.
 */
#ifndef SKEP_AGENT_START_H
#define SKEP_AGENT_START_H

#include "agent/config.h"

/**
 * start_lock() - hold <dir>/lock as long as this process lives.
 *
 * Return: 0; -EBUSY with who holds it; another -errno where @dir cannot be written.
 */
int start_lock(const char *dir, int *fd, struct skep_err *err);

/**
 * start_socket() - bind a unix socket, 0660 for root and group skep where there is one.
 *
 * A socket file that nobody listens on is replaced. Return: 0, -EBUSY where somebody does.
 */
int start_socket(const char *path, int *fd, struct skep_err *err);

/** start_tcp() - bind @addr; @addr->port becomes the one that was bound. */
int start_tcp(struct agent_addr *addr, int *fd, struct skep_err *err);

#endif
