/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kfunc.h: functions of the kernel that programs call by their BTF id: which are here, who may call
 * them, and the gate before them. They are what helpers are (help.h), found another way:
 *
 *	libbpf: name --> id in /sys/kernel/btf/vmlinux --> here: id --> name --> row of kfunc.def
 */
#ifndef SKEP_VM_KFUNC_H
#define SKEP_VM_KFUNC_H

#include "vm/help.h"

/* By rows of kfunc.def: for compiled, for interpreted code. */
extern vm_helper *const vm_kfuncs[];
extern vm_helper *const vm_kfuncs_checked[];
extern const unsigned vm_n_kfuncs;

/* The row of the function "bpf_..." of that name; -1: not here. */
int vm_kfunc_find(const char *name);
bool vm_kfunc_allowed(const struct prog *p, int row);
/* Does a call of it leave the function's frame, or read what compiled code must not? */
bool vm_kfunc_interpreted(int row);

#define KFUNC(name, who, ...) vm_helper kfunc_##name;
#include "vm/kfunc.def"
#undef KFUNC

#define KFUNC_FN(name)                                                          \
	uint64_t kfunc_##name(uint64_t a maybe_unused, uint64_t b maybe_unused, \
			      uint64_t c maybe_unused, uint64_t d maybe_unused, \
			      uint64_t f maybe_unused)

#endif
