/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h: eBPF in user space behind the kernel's own ABI.
 *
 *	struct skep_engine *e;
 *	union bpf_attr attr = { ... };
 *
 *	skep_engine_open(&e, NULL);
 *	fd = skep_bpf(e, BPF_MAP_CREATE, &attr, sizeof(attr));
 *	...
 *	skep_engine_free(e);
 *
 * skep_bpf() takes what bpf(2) takes and answers what the kernel would. Descriptors are real ones: dup
 * them, pass them, close them. libbpf works on top when its syscall(2) is led here (docs/engine.md).
 *
 * Threads: skep_bpf() may be called from any; programs run on the thread that asks.
 */
#ifndef SKEP_ENGINE_H
#define SKEP_ENGINE_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

struct skep_engine;

struct skep_engine_options {
	bool interpret; /* never compile */
	bool unsafe;   /* compile programs that nothing has proved: for those the kernel accepted */
	unsigned cpus; /* possible CPUs; 0: as many as this machine has */
	size_t memory_max; /* bytes of all maps; 0: 1 GiB */
};

/**
 * skep_engine_open() - an engine with no objects. @options may be NULL.
 *
 * Return: 0, -ENOMEM, -EINVAL.
 */
int skep_engine_open(struct skep_engine **out, const struct skep_engine_options *options);

/** skep_engine_free() - all objects go, whoever still holds descriptors. */
void skep_engine_free(struct skep_engine *e);

/**
 * skep_bpf() - bpf(2).
 * @cmd: enum bpf_cmd
 *
 * Return: as the system call, but -errno instead of -1 (a descriptor, a count, 0).
 */
long skep_bpf(struct skep_engine *e, unsigned cmd, union bpf_attr *attr, unsigned size);

#endif
