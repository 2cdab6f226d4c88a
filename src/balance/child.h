/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.h: a process for what the agent may not do once its sandbox holds: open sockets, start programs.
 * It is nobody (65534), with no capabilities, and ends when the agent does.
 */
#ifndef SKEP_BALANCE_CHILD_H
#define SKEP_BALANCE_CHILD_H

#include "base/base.h"

/**
 * child_start() - fork.
 * @name: as ps shows it
 * @run:  in the child, until it returns; @fd: its end of the socket, @nobody: whether it is
 * @arg:  for @run
 * @fd:   a socket of packets; the child is to end when it is closed
 *
 * Return: 0 or -errno.
 */
int child_start(const char *name, void (*run)(int fd, bool nobody, void *arg), void *arg, int *fd);

#endif
