// SPDX-License-Identifier: Apache-2.0
/* trap.c: the seccomp filter of a command: a table of system calls, and classic BPF made of it. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "host/inside.h"

/* Since Linux 5.19: a call that is being answered is interrupted by death only, never restarted. */
#define WAIT_KILLABLE_RECV (1UL << 5)

#ifdef __x86_64__
#define NATIVE	AUDIT_ARCH_X86_64
#define NR_MASK (~0x40000000U) /* x32 calls by the same numbers */
#else
#define NATIVE	AUDIT_ARCH_AARCH64
#define NR_MASK (~0U)
#endif

/* Of calls that everybody makes, only those with an argument of this value. */
struct only {
	unsigned arg; /* 0: no more */
	uint32_t value;
};

static const struct trapped {
	uint32_t arch;
	uint32_t nr;
	enum trap trap;
	struct only only[2];
} table[] = {
	{NATIVE, SYS_bpf, TRAP_BPF},
	{NATIVE, SYS_epoll_ctl, TRAP_EPOLL_CTL},
	{NATIVE, SYS_statfs, TRAP_STATFS},
	{NATIVE, SYS_fstatfs, TRAP_FSTATFS},
	{NATIVE, SYS_perf_event_open, TRAP_PERF_OPEN},
	{NATIVE, SYS_ioctl, TRAP_IOCTL, {{1, PERF_EVENT_IOC_ENABLE}}},
	{NATIVE, SYS_ioctl, TRAP_IOCTL, {{1, PERF_EVENT_IOC_DISABLE}}},
	{NATIVE, SYS_mmap, TRAP_MMAP, {{2, PROT_READ | PROT_WRITE}, {3, MAP_SHARED}}},
#ifdef __x86_64__
	{AUDIT_ARCH_I386, 357, TRAP_BPF},
	{AUDIT_ARCH_I386, 255, TRAP_EPOLL_CTL},
#endif
};

enum trap trap_of(const struct seccomp_data *call)
{
	for (size_t i = 0; i < array_size(table); i++)
		if (call->arch == table[i].arch && ((uint32_t)call->nr & NR_MASK) == table[i].nr)
			return table[i].trap;
	return TRAP_NONE;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define STEP	    10 /* instructions of a row, at most */

/* Ask for a value; another leads to the next row, @left instructions on. */
static struct sock_filter is(uint32_t value, unsigned left)
{
	return (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, (uint8_t)left);
}

static unsigned row(struct sock_filter *out, const struct trapped *t)
{
	unsigned args = !!t->only[0].arg + !!t->only[1].arg, left = 2 * args, i;
	struct sock_filter *to = out;

	*to++ = (struct sock_filter)LOAD(arch);
	*to++ = is(t->arch, left + 4);
	*to++ = (struct sock_filter)LOAD(nr);
	*to++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NR_MASK);
	*to++ = is(t->nr, left + 1);
	for (i = 0; i < args; i++) { /* the low half; the kernel looks at no more of these */
		*to++ = (struct sock_filter)LOAD(args[t->only[i].arg]);
		left -= 2;
		*to++ = is(t->only[i].value, left + 1);
	}
	*to++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	return (unsigned)(to - out);
}

int trap_install(void)
{
	struct sock_filter code[array_size(table) * STEP + 1];
	struct sock_fprog prog = {0, code};
	long fd;

	for (size_t i = 0; i < array_size(table); i++)
		prog.len = (unsigned short)(prog.len + row(&code[prog.len], &table[i]));
	code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV, &prog);
	return fd < 0 ? -errno : (int)fd;
}
