/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what the files of host share, and tests of host.
 */
#ifndef SKEP_HOST_INSIDE_H
#define SKEP_HOST_INSIDE_H

#include <linux/limits.h>

#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "host/exec.h"
#include "host/host.h"

/* ---- names.c: the kernel's BTF, boiled down ---------------------------------------------------
 * Parsed BTF is 6 MiB and more. What host asks of it (is there a function or tracepoint of that
 * name, and its type id) is kept as one sorted array of 8 bytes a name.
 */
struct names {
	uint64_t *keys; /* high 44 bits: hash of the name; low 20 bits: BTF type id */
	size_t n;
	int f_path; /* offset of struct file.f_path in bytes; -1: not found */
};

/** host_names_load() - Return: 0, or what open, read or libbpf's parser said. */
int host_names_load(struct names *out, const char *path, struct skep_err *err);
void host_names_done(struct names *n);
/** host_names_find() - Return: BTF type id of the function, btf_trace_ typedef or struct; 0: none. */
unsigned host_names_find(const struct names *n, const char *name);

/* ---- mounts.c --------------------------------------------------------------------------------*/
/**
 * mounts_cgroup2() - find where cgroup2 is mounted.
 * @mountinfo: a file as described in proc_pid_mountinfo(5)
 * @dst: PATH_MAX bytes; a mount of the hierarchy's root wins over mounts of a part of it
 *
 * Return: 0, or -ENOENT with @dst "".
 */
int mounts_cgroup2(const char *mountinfo, char *dst);

/* ---- host.c ----------------------------------------------------------------------------------*/
struct host {
	struct host_feature features[HOST_FEATURE_COUNT];
	bool tried[HOST_FEATURE_COUNT];
	const char *btf;
	struct names names; /* keys is NULL until first asked for */
	char kernel[65];
	char cgroup2[PATH_MAX];
};

/** host_open_at() - host_open() with other files; the strings must outlive the host. */
int host_open_at(struct host **out, const char *btf, const char *mountinfo, struct skep_err *err);
/** host_names() - Return: 0 with @out borrowed from @h, or why BTF could not be read. */
int host_names(struct host *h, const struct names **out, struct skep_err *err);

/* ---- trial.c ---------------------------------------------------------------------------------*/
/**
 * trial_run() - try one feature on this kernel; leaves nothing behind.
 *
 * Return: 0 when it works, else -errno with the reason.
 */
int trial_run(struct host *h, enum host_feature_id id, struct skep_err *err);

/* ---- attach.c: does a loaded program also attach? Each attaches, if at all, for a moment -----*/
struct attach_to {
	const struct host *host;
	int prog;
	int map; /* -1: the program uses none */
	enum bpf_attach_type type;
	const char *name; /* function or tracepoint */
};

typedef int (*attach_fn)(const struct attach_to *a, struct skep_err *err);

int attach_btf(const struct attach_to *a, struct skep_err *err);
int attach_raw_tracepoint(const struct attach_to *a, struct skep_err *err);
int attach_tracepoint(const struct attach_to *a, struct skep_err *err);
int attach_kprobe(const struct attach_to *a, struct skep_err *err);
int attach_kprobe_multi(const struct attach_to *a, struct skep_err *err);
int attach_uprobe(const struct attach_to *a, struct skep_err *err);
int attach_uprobe_multi(const struct attach_to *a, struct skep_err *err);
int attach_perf_event(const struct attach_to *a, struct skep_err *err);
int attach_lsm(const struct attach_to *a, struct skep_err *err);
int attach_sockmap(const struct attach_to *a, struct skep_err *err);
int attach_to_cgroup(const struct attach_to *a, struct skep_err *err);
int attach_tcx(const struct attach_to *a, struct skep_err *err);
int attach_netkit(const struct attach_to *a, struct skep_err *err);

/** attach_fail() - "attaching fails: ENOENT (No such file or directory)". Return: @rc. */
int attach_fail(struct skep_err *err, int rc, const char *doing);

/* ---- trap.c: which system calls of a command are answered here -------------------------------*/
enum trap {
	TRAP_NONE, /* the kernel goes on with it */
	TRAP_BPF,
	TRAP_EPOLL_CTL,
	TRAP_STATFS,
	TRAP_FSTATFS,
	TRAP_PERF_OPEN,
	TRAP_IOCTL,
	TRAP_MMAP,
	TRAP_SOCKET, /* of netlink; send and receive of those alone (rtnl.c) */
	TRAP_SENDTO,
	TRAP_SENDMSG,
	TRAP_RECVFROM,
	TRAP_RECVMSG,
};

/* Numbers of descriptors that netlink sockets of a command get. */
#define RTNL_FD_FIRST 960
#define RTNL_FD_END   1024

/** trap_of() - what a notification asks for. */
enum trap trap_of(const struct seccomp_data *call);

/**
 * trap_install() - from now on this thread and its children are trapped, for good.
 *
 * Sets no_new_privs. Return: the listener, close-on-exec; -EBUSY (another listener is there: nested),
 * -EINVAL (a kernel older than 5.19), -ENOSYS.
 */
int trap_install(void);

/* ---- target.c: the process behind a notification, as vm's caller -----------------------------*/
struct target {
	int listener;
	uint64_t id; /* of the notification */
	pid_t tid;
	int pidfd;  /* -1 until needed; kept while the same thread asks */
	bool tells; /* the call changes nothing: what it read is checked when it writes (X2) */
};

struct vm_caller;

/** target_turn() - the next notification; of {.pidfd = -1} at first. */
void target_turn(struct target *t, int listener, const struct seccomp_notif *n);
void target_done(struct target *t);
/** target_caller() - borrows @t. */
struct vm_caller target_caller(struct target *t);
/** target_fd_at() - put @fd into the target, at that number, which is free. It, or -errno. */
int target_fd_at(struct target *t, int fd, int number, int flags);

/* ---- notify.c: answering ---------------------------------------------------------------------*/
struct notify;

/** notify_open() - take over @listener and answer with @engine, which must outlive it. */
int notify_open(struct notify **out, int listener, struct skep_engine *engine, pid_t command);
/**
 * notify_free() - stop answering: what asks later gets ENOSYS from the kernel.
 *
 * Return: 0; -EBUSY when a program still runs in the engine, which then must not be freed.
 */
int notify_free(struct notify *n);

/** host_ring_event() - what to watch a ring's eventfd for where the caller would watch the ring. */
struct epoll_event host_ring_event(const struct epoll_event *wanted);

/* ---- child.c: between fork and exec ----------------------------------------------------------*/
/* What the child tells over its socket; a listener comes with stage CHILD_READY. */
enum child_stage {
	CHILD_READY,
	CHILD_ROOT,
	CHILD_TRAP,
	CHILD_EXEC,
};

struct child_word {
	enum child_stage stage;
	int error; /* errno */
};

/** child_run() - become the command; never returns. @mask: the signals that it is to block. */
_Noreturn void child_run(const struct host_exec *x, int socket, pid_t parent, const sigset_t *mask);

/** child_hear() - the child's next word; @listener: what came with it, or -1. 0, or -EPIPE: none. */
int child_hear(int socket, struct child_word *word, int *listener);

#endif
