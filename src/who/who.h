/* SPDX-License-Identifier: Apache-2.0 */
/*
 * who.h: pid -> process -> cgroup -> container -> pod and labels.
 *
 * A process is (pid, start): start is the kernel's start_boottime in ns, so a reused pid is another
 * process. guard says who lives (who_process_add, who_process_end), everybody may ask. An ended
 * process is remembered for WHO_GRACE_NS, because what it did may be reported after its exit.
 *
 * Not its business: what a process ran or did (the store's tables hold that).
 */
#ifndef SKEP_WHO_WHO_H
#define SKEP_WHO_WHO_H

#include "base/base.h"
#include "base/err.h"

#define WHO_GRACE_NS 10000000000ULL
#define WHO_COMM_MAX 64 /* 15 bytes, each escaped, and a NUL */

struct who_id {
	uint32_t pid; /* tgid in the host's pid namespace; 0: nobody */
	uint32_t pad;
	uint64_t start; /* ns of CLOCK_BOOTTIME */
};

/*
 * One cgroup; strings "" where unknown. It stays while a process of the table points to it; others
 * borrow it, and its strings, until the next who_expire().
 */
struct who_cgroup {
	uint64_t id;	       /* kernfs id in the cgroup2 hierarchy */
	const char *path;      /* from the hierarchy's root, begins with '/' */
	const char *runtime;   /* docker containerd cri-o podman lxc systemd cgroup, or "" */
	const char *container; /* full container id, or LXC name */
	const char *name;      /* container's name */
	const char *image;
	const char *pod;    /* namespace/name */
	const char *labels; /* k=v,k=v */
	const char *unit;   /* innermost systemd unit: nginx.service, session-3.scope */
	const char *
		label; /* what a person calls it: pod, container name, service, leaf; "" where none */
};

struct who_process {
	struct who_id id;
	struct who_id parent;
	uint64_t ended;	      /* ns of CLOCK_BOOTTIME, 0 while it lives */
	uint64_t row;	      /* guard's handle of its row in the table "process" */
	uint64_t cgroup_pids; /* guard's: kernfs id in the hierarchy of the pids controller */
	uint32_t netns;	      /* inode number */
	uint32_t flags;	      /* guard's */
	bool kernel;	      /* a kernel thread; set by guard */
	const struct who_cgroup *cgroup; /* never NULL; set by guard from who_cgroup_get() */
	char comm[WHO_COMM_MAX];	 /* escaped */
};

struct who;

/**
 * who_open() - find the cgroup2 mount (also in a hybrid layout) and start empty.
 * @max_processes: bound on processes remembered, living and ended
 */
int who_open(struct who **out, unsigned max_processes, struct skep_err *err);
void who_free(struct who *w);

/**
 * who_process_add() - a process was born or found; finds it where it is known already.
 *
 * A living process of the same pid with an older start is ended (its exit was lost); one with a
 * younger start makes the added one an ended one. When the table is full the process that ended
 * first makes room, before its grace is over.
 *
 * Return: borrowed while it lives, and from its end on until the next who_expire() or
 * who_process_add(); NULL when max_processes live (counted).
 */
struct who_process *who_process_add(struct who *w, struct who_id id);
struct who_process *who_process_find(struct who *w, struct who_id id);
/**
 * who_source() - who tells of processes: @news takes what waits in its ring (guard's, at guard_apply).
 * who_process_ask() - as who_process_find(), but a process not known yet may still wait in the source's
 * ring, for two rings have no common order: it is emptied first. Not for the source itself.
 */
void who_source(struct who *w, void (*news)(void *arg), void *arg);
struct who_process *who_process_ask(struct who *w, struct who_id id);
/** who_process_alive() - the living process of that pid, or NULL. */
struct who_process *who_process_alive(struct who *w, uint32_t pid);
void who_process_end(struct who *w, struct who_process *p, uint64_t boot_ns);
/**
 * who_expire() - forget what ended before @boot_ns - WHO_GRACE_NS, and cgroups nobody is in; look
 * again for names of containers that were not on disk yet. Call about once a second.
 */
void who_expire(struct who *w, uint64_t boot_ns);
void who_each(struct who *w, void (*fn)(void *arg, struct who_process *p), void *arg);

/* The label that service maps group by: "kernel" for kernel threads, the cgroup's, else comm. */
const char *who_service(const struct who_process *p);

/**
 * who_cgroup_get() - the cgroup of that kernfs id, resolved on first use.
 * @id:  as bpf_get_current_cgroup_id() gives it
 * @pid: a process in it, for hosts whose containers live in cgroup v1 hierarchies; 0: none at hand.
 *       Where it is gone already and known here, it is taken to be where it last was, or its parent
 *
 * Needs CAP_DAC_READ_SEARCH; without it (and with @pid) /proc/<pid>/cgroup is read instead.
 *
 * Return: never NULL; one with path "" where it cannot be told.
 */
const struct who_cgroup *who_cgroup_get(struct who *w, uint64_t id, uint32_t pid);

struct who_stat {
	uint64_t living, ended, refused, cgroups;
};
void who_count(const struct who *w, struct who_stat *out);

#endif
