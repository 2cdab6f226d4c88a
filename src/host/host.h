/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h: where BPF programs run, what that place can do, and why not where it cannot.
 *
 * Features are found by trying (loading and attaching small programs, creating small maps), never by
 * version; nothing is cached beyond a struct host.
 *
 * Not its business: which programs a capability needs (it asks host_has()).
 */
#ifndef SKEP_HOST_HOST_H
#define SKEP_HOST_HOST_H

#include "base/base.h"
#include "base/err.h"

/* feature.def: HOST_FEATURE(ID, "name", "what skep does with it", "what would bring it"). */
enum host_feature_id {
#define HOST_FEATURE(id, name, use, fix) HOST_##id,
#include "host/feature.def"
#undef HOST_FEATURE
	HOST_FEATURE_COUNT
};

struct host_feature {
	const char *name; /* tp_btf, fentry, kprobe, lsm, ringbuf, iter_task ... */
	const char *use;  /* what skep does with it */
	bool ready;
	char reason[160]; /* why it is not ready: errno and the kernel's words; "" when ready */
	const char *fix;  /* what would bring it: kernel option or version, capability, mount */
};

struct host;

/**
 * host_open() - look at this kernel.
 *
 * Probes nothing yet; features are tried when first asked for.
 *
 * Needs CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
 *
 * Return: 0, -EPERM (not root, or capabilities missing: @err names them and how to get them),
 * -ENOENT (no BTF at /sys/kernel/btf/vmlinux), -ENOSYS (no bpf(2)).
 */
int host_open(struct host **out, struct skep_err *err);
void host_free(struct host *h);

/**
 * host_has() - tried at the first call, in microseconds to (uprobe) 0.2 s.
 *
 * Ask before capabilities are given up: later a feature not yet tried is found not ready.
 */
bool host_has(struct host *h, enum host_feature_id id);
/** host_feature() - the same with its reason; borrowed from @h. */
const struct host_feature *host_feature(struct host *h, enum host_feature_id id);

const char *host_kernel(const struct host *h);	/* uname -r */
const char *host_cgroup2(const struct host *h); /* mount point of cgroup2, "" where there is none */

/** host_btf_func() - whether the kernel's BTF has a function (kind FUNC) of that name. */
bool host_btf_func(struct host *h, const char *name);
/** host_btf_trace() - whether it has the tracepoint (typedef btf_trace_<name>). */
bool host_btf_trace(struct host *h, const char *name);

/** host_bpf_keep() - from now on libbpf's output is kept, never printed; host_open() does it too. */
void host_bpf_keep(void);

/**
 * host_bpf_log() - what libbpf and the verifier said since the last call, cut to the last 16 KiB.
 *
 * One buffer a process, one thread.
 * Return: borrowed until the next call, "" when nothing was said.
 */
const char *host_bpf_log(void);

/* Clocks. Kernel events carry CLOCK_BOOTTIME ns; tables carry ns since the Unix epoch. */
uint64_t host_boot_now(void);
/**
 * host_wall() - boot time as wall time by the distance of the clocks now.
 *
 * A step of the wall clock is followed within a second; below 1 ms nothing moves, so that
 * converting one boot time again gives the same wall time. Any thread.
 */
int64_t host_wall(uint64_t boot_ns);

#endif
