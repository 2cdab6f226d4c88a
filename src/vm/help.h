/* SPDX-License-Identifier: Apache-2.0 */
/*
 * help.h: helpers: which are here, who may call them, and the gate before them.
 *
 *	compiled code --> vm_helpers[n]            proved, or trusted: arguments are as they should be
 *	interpreted ----> vm_helpers_checked[n] --> arguments against helper.def --> vm_helpers[n]
 */
#ifndef SKEP_VM_HELP_H
#define SKEP_VM_HELP_H

#include "vm/run.h"

/* Sets of program types that are given the same helpers. */
enum help_family {
	SK_FILTER = 1,
	CGROUP_SKB = 1 << 1,
	TC = 1 << 2,
	XDP = 1 << 3,
	LWT = 1 << 4,
	SK_SKB = 1 << 5,
	FLOW = 1 << 6,
	LOOKUP = 1 << 7,
	CGROUP_OTHER = 1 << 8,
	TRACE = 1 << 9,
	SYSCALL = 1 << 10,
	OTHER = 1 << 11,
	MSG = 1 << 12,
	REUSEPORT = 1 << 13,
	LIRC = 1 << 14,
	SOCK_OPS = 1 << 15,
	SOCK_ADDR = 1 << 16,
	SYSCTL = 1 << 17,
	SOCKOPT = 1 << 18,
	SKB = SK_FILTER | CGROUP_SKB | TC | LWT | SK_SKB | FLOW,
	CGROUP = CGROUP_SKB | CGROUP_OTHER | SOCK_OPS | SOCK_ADDR | SYSCTL | SOCKOPT,
	ALL = 0xfffff,
};

/* The family of a program type. */
uint32_t vm_help_family(uint32_t prog_type);

/* The same numbers, for interpreted code. */
extern vm_helper *const vm_helpers_checked[];

/* May a program of that type call it, and is it here? */
bool vm_help_allowed(const struct prog *p, unsigned id);
bool vm_help_gpl_only(unsigned id);
bool vm_is_tracing(uint32_t prog_type);

/* The run ends with that fault; helpers return 0 after it. */
void vm_help_fault(struct run *r, int rc, const char *why);

#define HELP(name, who) vm_helper help_##name;
#include "vm/help.def"
#undef HELP

/* One helper; unused arguments go unnamed. */
#define HELPER_FN(name)                                                        \
	uint64_t help_##name(uint64_t a maybe_unused, uint64_t b maybe_unused, \
			     uint64_t c maybe_unused, uint64_t d maybe_unused, \
			     uint64_t f maybe_unused)

#define PTR(x) ((void *)(uintptr_t)(x))

/* printf of BPF: %d %u %x %s %p and so on, with @n arguments. Its length or -EINVAL, -EBUSY. */
int vm_help_format(char *out, size_t cap, const char *fmt, size_t fmt_len, const uint64_t *args,
		   unsigned n);

/* On whose behalf the program runs. */
struct vm_who vm_help_who(void);

/*
 * What programs get for the pointer of the task that runs: a number in the kernel's half, one a task,
 * that nobody can read through.
 */
uint64_t vm_help_task(void);

/* Is it one of the program's maps, or one that it found in them? */
bool vm_help_is_map(struct run *r, uint64_t v);

/* Is it the timer of a value that the program can reach? */
bool vm_help_is_timer(struct run *r, uint64_t at);

/* What was stored for the run's socket goes with it. */
void vm_help_forget(struct run *r);

/* Memory that may not be there. 0 or -EFAULT. */
int vm_help_read_any(void *to, uint64_t from, size_t n);

#endif
