/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.h: the table "process": kernel events in, rows out.
 *
 * Not its business: where events come from (guard.c owns ring and iterator).
 */
#ifndef SKEP_GUARD_PROCESS_H
#define SKEP_GUARD_PROCESS_H

#include "cap/cap.h"
#include "guard/guard.h"
#include "store/store.h"

enum process_column {
#define COLUMN(id, name, type, doc) PROCESS_##id,
#include "guard/process.def"
#undef COLUMN
	PROCESS_COLUMNS
};

struct process_table;

int process_open(struct process_table **out, const struct cap_env *env, size_t bytes,
		 struct skep_err *err);
void process_free(struct process_table *t);

/**
 * process_event() - one record of the ring.
 * @data: untrusted in size: a record that is too short for its kind is refused
 *
 * Return: 0 or -EBADMSG.
 */
int process_event(struct process_table *t, const void *data, size_t size);

/**
 * process_scan_begin() - what follows is the whole list of living processes.
 *
 * process_scan_task() for each; process_scan_end() then ends those that were missing: their exit was lost.
 */
void process_scan_begin(struct process_table *t);
void process_scan_task(struct process_table *t, const struct guard_task *task);
void process_scan_end(struct process_table *t);

/**
 * process_scan_proc() - after process_scan_task() and before process_scan_end(): the processes of
 * /proc that were not given. Kernels are met whose iterator leaves out pid 1.
 * @cgroup2: mount point of cgroup2, "" where there is none
 */
void process_scan_proc(struct process_table *t, const char *cgroup2);

/** process_reported() - events taken, by kind. */
const uint64_t *process_reported(const struct process_table *t);

#endif
