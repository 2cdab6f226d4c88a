// SPDX-License-Identifier: Apache-2.0
/* trap.c: the seccomp filter of a command: a table of system calls, and classic BPF made of it. */
#include <linux/audit.h>
#include <linux/filter.h>
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

static const struct trapped {
	uint32_t arch;
	uint32_t nr;
	enum trap trap;
} table[] = {
	{NATIVE, SYS_bpf, TRAP_BPF},	   {NATIVE, SYS_epoll_ctl, TRAP_EPOLL_CTL},
	{NATIVE, SYS_statfs, TRAP_STATFS}, {NATIVE, SYS_fstatfs, TRAP_FSTATFS},
#ifdef __x86_64__
	{AUDIT_ARCH_I386, 357, TRAP_BPF},  {AUDIT_ARCH_I386, 255, TRAP_EPOLL_CTL},
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
#define STEP	    6

/* Six instructions for each row: another architecture or call goes on to the next row. */
static void row(struct sock_filter *out, const struct trapped *t)
{
	const struct sock_filter code[STEP] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, t->arch, 0, 4),
		LOAD(nr),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, NR_MASK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, t->nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};

	memcpy(out, code, sizeof(code));
}

int trap_install(void)
{
	struct sock_filter code[array_size(table) * STEP + 1];
	struct sock_fprog prog = {array_size(code), code};
	long fd;

	for (size_t i = 0; i < array_size(table); i++)
		row(&code[i * STEP], &table[i]);
	code[array_size(code) - 1] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		     SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV, &prog);
	return fd < 0 ? -errno : (int)fd;
}
