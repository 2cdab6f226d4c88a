/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seam.h: which host answers this thread's bpf(2): the kernel, or an engine in this process.
 *
 *	struct skep_engine *before = host_use(engine);
 *	bpf_object__load(obj);
 *	host_use(before);
 *
 * The binary is linked with --wrap for the few calls below libbpf that carry bpf(2) and what goes with
 * it (seam.c), so libbpf needs no word about it.
 *
 * Not its business: other processes (exec.h).
 */
#ifndef SKEP_HOST_SEAM_H
#define SKEP_HOST_SEAM_H

#include "skep/engine.h"

/**
 * host_use() - from now on @engine answers what this thread asks of bpf(2); NULL: the kernel.
 *
 * Borrowed: it must live until another is chosen. Return: who answered before.
 */
struct skep_engine *host_use(struct skep_engine *engine);

/** host_used() - who answers now; NULL: the kernel. */
struct skep_engine *host_used(void);

#endif
