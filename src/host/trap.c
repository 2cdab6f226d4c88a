// SPDX-License-Identifier: Apache-2.0
/* trap.c: the seccomp filter of a command: a table of system calls, and classic BPF made of it. */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/netlink.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

/* Of calls that everybody makes, only those with an argument of this value, or up to @last. */
struct only {
	unsigned arg; /* from 1; 0: no more */
	uint32_t value, last;
};

#define NETLINK                             \
	{                                   \
		{1, AF_NETLINK, 0},         \
		{                           \
			3, NETLINK_ROUTE, 0 \
		}                           \
	}
#define NETLINK_FD                                        \
	{                                                 \
		{                                         \
			1, RTNL_FD_FIRST, RTNL_FD_END - 1 \
		}                                         \
	}

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
	{NATIVE, SYS_ioctl, TRAP_IOCTL, {{2, PERF_EVENT_IOC_ENABLE, 0}}},
	{NATIVE, SYS_ioctl, TRAP_IOCTL, {{2, PERF_EVENT_IOC_DISABLE, 0}}},
	{NATIVE, SYS_mmap, TRAP_MMAP, {{3, PROT_READ | PROT_WRITE, 0}, {4, MAP_SHARED, 0}}},
	{NATIVE, SYS_socket, TRAP_SOCKET, NETLINK},
	{NATIVE, SYS_sendto, TRAP_SENDTO, NETLINK_FD},
	{NATIVE, SYS_sendmsg, TRAP_SENDMSG, NETLINK_FD},
	{NATIVE, SYS_recvfrom, TRAP_RECVFROM, NETLINK_FD},
	{NATIVE, SYS_recvmsg, TRAP_RECVMSG, NETLINK_FD},
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
#define STEP	    12 /* instructions of a row, at most */

#define JUMP(op, value, left) \
	((struct sock_filter)BPF_JUMP(BPF_JMP | (op) | BPF_K, value, 0, (uint8_t)(left)))

/* Ask for a value; another leads to the next row, @left instructions on. */
static struct sock_filter is(uint32_t value, unsigned left)
{
	return JUMP(BPF_JEQ, value, left);
}

static unsigned steps(const struct only *o)
{
	return !o->arg ? 0 : o->last ? 3 : 2;
}

/* The low half of an argument; the kernel looks at no more of these. */
static struct sock_filter *ask(struct sock_filter *to, const struct only *o, unsigned left)
{
	*to++ = (struct sock_filter)LOAD(args[o->arg - 1]);
	if (!o->last) {
		*to++ = is(o->value, left);
		return to;
	}
	*to++ = JUMP(BPF_JGE, o->value, left + 1);
	*to++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, o->last, (uint8_t)left, 0);
	return to;
}

static unsigned row(struct sock_filter *out, const struct trapped *t)
{
	unsigned left = steps(&t->only[0]) + steps(&t->only[1]), i;
	struct sock_filter *to = out;

	*to++ = (struct sock_filter)LOAD(arch);
	*to++ = is(t->arch, left + 4);
	*to++ = (struct sock_filter)LOAD(nr);
	*to++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NR_MASK);
	*to++ = is(t->nr, left + 1);
	for (i = 0; i < array_size(t->only) && t->only[i].arg; i++) {
		left -= steps(&t->only[i]);
		to = ask(to, &t->only[i], left + 1);
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
