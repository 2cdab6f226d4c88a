/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what the files of host share, and tests of host.
 */
#ifndef SKEP_HOST_INSIDE_H
#define SKEP_HOST_INSIDE_H

#include <linux/limits.h>

#include <linux/bpf.h>

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
int attach_cgroup(const struct attach_to *a, struct skep_err *err);
int attach_tcx(const struct attach_to *a, struct skep_err *err);
int attach_netkit(const struct attach_to *a, struct skep_err *err);

/** attach_fail() - "attaching fails: ENOENT (No such file or directory)". Return: @rc. */
int attach_fail(struct skep_err *err, int rc, const char *doing);

#endif
