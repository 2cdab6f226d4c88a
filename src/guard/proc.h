/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc.h: a process as /proc tells of it, for those that the kernel's iterator leaves out.
 *
 * Not its business: exe, cwd and argv of scanned processes (process.c reads them for all).
 */
#ifndef SKEP_GUARD_PROC_H
#define SKEP_GUARD_PROC_H

#include "base/base.h"
#include "guard/guard.h"

/**
 * proc_task() - what /proc/<pid> has of a task; what cannot be read stays 0.
 * @cgroup2: mount point of cgroup2, "" where there is none
 *
 * The start is whole clock ticks, up to PROC_TICK_NS before the true one; the parent's stays 0.
 *
 * Return: 0, or -ESRCH where it is gone or a zombie.
 */
int proc_task(struct guard_task *out, uint32_t pid, const char *cgroup2);

#define PROC_TICK_NS 10000000ULL /* USER_HZ is 100 */

/** proc_lives() - whether that very process runs: pid and start, ns of CLOCK_BOOTTIME. */
bool proc_lives(uint32_t pid, uint64_t start);

#endif
