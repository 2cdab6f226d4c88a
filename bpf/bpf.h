/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bpf.h: first include of every BPF program.
 */
#ifndef SKEP_BPF_BPF_H
#define SKEP_BPF_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "kernel.h"

#define LICENSE char skep_license[] SEC("license") = "Dual BSD/GPL"

#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
