/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * guard.h: what crosses from guard's BPF half to its user half. Included by both.
 */
#ifndef SKEP_GUARD_GUARD_H
#define SKEP_GUARD_GUARD_H

#include <linux/types.h>

#define GUARD_ARGV_MAX	 8192 /* bytes of argv that an event carries; the rest is cut and marked */
#define GUARD_PATHS_MAX	 8192 /* bytes of exe and cwd: components leaf first, each with its NUL */
#define GUARD_PATH_STEPS 80   /* components and mounts that a path walk passes at most */
#define GUARD_COMM	 16

enum guard_kind { GUARD_FORK, GUARD_EXEC, GUARD_EXIT, GUARD_KINDS };

#define GUARD_KERNEL 1U /* a kernel thread */

enum guard_ns {
	GUARD_NS_MNT,
	GUARD_NS_NET,
	GUARD_NS_PID,
	GUARD_NS_USER,
	GUARD_NS_UTS,
	GUARD_NS_IPC,
	GUARD_NS_CGROUP,
	GUARD_NS_COUNT
};

/* A process as the kernel sees it now. Times are ns of CLOCK_BOOTTIME. */
struct guard_task {
	__u64 start, parent_start;
	__u64 caps;	   /* effective */
	__u64 cgroup;	   /* kernfs id in cgroup2 */
	__u64 cgroup_pids; /* of the pids controller, which may stand in cgroup v1 */
	__u32 pid, ppid;
	__u32 uid, gid, euid, loginuid; /* loginuid ~0: never set */
	__u32 ns[GUARD_NS_COUNT];	/* inode numbers */
	__u32 flags;			/* GUARD_KERNEL */
	char comm[GUARD_COMM];
};

struct guard_head {
	__u64 time;
	__u32 kind; /* enum guard_kind */
	__u32 pad;
};

struct guard_fork {
	struct guard_head head;
	struct guard_task task;
};

#define GUARD_EXE_DELETED 1U /* the binary has no name any more */
#define GUARD_EXE_CUT	  2U /* deeper than GUARD_PATH_STEPS or longer than fits */
#define GUARD_CWD_CUT	  4U

/* Behind it: exe_len bytes of components, cwd_len of components, argv_len of arguments. */
struct guard_exec {
	struct guard_head head;
	struct guard_task task;
	__u32 flags;
	__u32 exe_len, cwd_len, argv_len;
	__u64 argv_total; /* length of the whole vector */
};

struct guard_exit {
	struct guard_head head;
	__u64 start;
	__u32 pid;
	__u32 status; /* as wait(2) gives it */
};

/* Per CPU, per kind. sent counts what was tried; lost is the part of it that found the ring full. */
struct guard_count {
	__u64 sent[GUARD_KINDS];
	__u64 lost[GUARD_KINDS];
};

#ifndef __bpf__
_Static_assert(sizeof(struct guard_task) == 112, "guard_task crosses to user space");
_Static_assert(sizeof(struct guard_exec) == 152, "guard_exec crosses to user space");
#endif

#endif
