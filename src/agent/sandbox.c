// SPDX-License-Identifier: Apache-2.0
/*
 * After the start the agent reads rings, maps and /proc, serves two sockets and forks query
 * children. It loads no program any more: a setting that would need one waits for a restart.
 *
 * A call that is not on the list fails with EPERM and is written to the audit log: a libc that takes
 * another way one day then costs a feature, not the agent. Calls that no way through this program
 * can lead to, and that are what an intruder would try first, end the process.
 *
 * With balance.cgroup set a child was forked before (balance/reap.c): it enters network namespaces and
 * ends sockets there, and is told nothing but when to look.
 *
 * Landlock is not used: it would forbid reading /proc/PID/exe and cwd of every process outside its
 * domain, which is what the agent is for. The unit file mounts the file system read-only instead.
 */
#include "agent/sandbox.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

/* ---- capabilities -------------------------------------------------------------------------- */

static const unsigned kept[] = {
	CAP_BPF,	/* bpf(2) on maps and iterators where unprivileged use is switched off */
	CAP_PERFMON,	/* iterators that read kernel memory */
	CAP_SYS_PTRACE, /* exe, cwd and namespaces of other users' processes in /proc */
	CAP_DAC_READ_SEARCH, /* open_by_handle_at() for cgroup ids; container runtimes' folders */
};

int sandbox_drop(struct skep_err *err)
{
	bool bounding;
	unsigned i;
	bool have[array_size(kept)];

	if (capng_get_caps_process())
		return skep_fail(err, -EIO, "cannot read this process's capabilities");
	for (i = 0; i < array_size(kept); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	for (i = 0; i < array_size(kept); i++)
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]);
	if (capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS))
		return skep_fail(err, -EPERM, "cannot drop capabilities: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return skep_fail(err, -errno, "no_new_privs: %s", strerror(errno));
	return 0;
}

/* ---- system calls -------------------------------------------------------------------------- */

static const char *const allowed[] = {
	/* the loop */
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_ctl",
	"epoll_create1",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"restart_syscall",
	/* sockets that exist, and what they accept */
	"accept4",
	"accept",
	"recvfrom",
	"recvmsg",
	"sendto",
	"sendmsg",
	"shutdown",
	"getsockname",
	"getpeername",
	"setsockopt",
	"getsockopt",
	"listen",
	/* files: /proc, cgroups, the state file, the socket file at the end */
	"read",
	"readv",
	"pread64",
	"write",
	"writev",
	"pwrite64",
	"open",
	"openat",
	"close",
	"close_range",
	"fstat",
	"newfstatat",
	"stat",
	"lstat",
	"statx",
	"lseek",
	"getdents64",
	"readlink",
	"readlinkat",
	"access",
	"faccessat",
	"faccessat2",
	"unlink",
	"unlinkat",
	"mkdir",
	"mkdirat",
	"fcntl",
	"flock",
	"ftruncate",
	"fsync",
	"fdatasync",
	"statfs",
	"fstatfs",
	"getcwd",
	"umask",
	"fchmod",
	"fchown",
	"open_by_handle_at",
	"name_to_handle_at",
	"dup",
	"dup2",
	"dup3",
	"pipe2",
	/* memory */
	"munmap",
	"mremap",
	"brk",
	"madvise",
	"futex",
	/* time, identity, limits */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"getpid",
	"getppid",
	"gettid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"uname",
	"sysinfo",
	"getrandom",
	"getrusage",
	"prlimit64",
	"getrlimit",
	"setrlimit",
	"sched_getaffinity",
	"sched_yield",
	"getcpu",
	"capget",
	/* signals, query children, the end */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigaltstack",
	"tgkill",
	"wait4",
	"waitid",
	"set_robust_list",
	"rseq",
	"exit",
	"exit_group",
};

/* bpf(2): what is loaded already, nothing new. */
static const unsigned bpf_allowed[] = {
	BPF_MAP_LOOKUP_ELEM,
	BPF_MAP_UPDATE_ELEM,
	BPF_MAP_DELETE_ELEM,
	BPF_MAP_GET_NEXT_KEY,
	BPF_MAP_LOOKUP_AND_DELETE_ELEM,
	BPF_MAP_LOOKUP_BATCH,
	BPF_MAP_LOOKUP_AND_DELETE_BATCH,
	BPF_MAP_UPDATE_BATCH,
	BPF_MAP_DELETE_BATCH,
	BPF_OBJ_GET_INFO_BY_FD,
	BPF_ITER_CREATE,
	BPF_LINK_DETACH,
	BPF_PROG_TEST_RUN, /* of what is loaded: `skep balance why` */
};

static const char *const deadly[] = {
	"execve",      "execveat",	  "process_vm_writev",
	"init_module", "finit_module",	  "delete_module",
	"kexec_load",  "kexec_file_load", "mount",
	"umount2",     "pivot_root",	  "chroot",
	"setns",       "unshare",	  "reboot",
	"ptrace",
};

/* What the sanitizers' own runtime does besides. */
static const char *const sanitized[] = {"ptrace", "clone", "clone3", "prctl",	"mprotect",
					"mmap",	  "kill",  "ioctl",  "readlink"};

#define NAMESPACES                                                                                 \
	(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | \
	 CLONE_NEWCGROUP)

/* A call that this machine or libseccomp does not know needs no rule. */
static int rules_add(scmp_filter_ctx ctx, uint32_t action, const char *const *names, unsigned n)
{
	unsigned i;
	int rc = 0, nr;

	for (i = 0; i < n && !rc; i++) {
		nr = seccomp_syscall_resolve_name(names[i]);
		if (nr != __NR_SCMP_ERROR && nr >= 0)
			rc = seccomp_rule_add(ctx, action, nr, 0);
	}
	return rc;
}

static int rules_args(scmp_filter_ctx ctx)
{
	const uint32_t ok = SCMP_ACT_ALLOW;
	unsigned i;
	int rc = 0;

	for (i = 0; i < array_size(bpf_allowed) && !rc; i++)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(bpf), 1,
				      SCMP_A0(SCMP_CMP_EQ, bpf_allowed[i]));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(mmap), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(mprotect), 1,
				      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(prctl), 1,
				      SCMP_A0(SCMP_CMP_EQ, PR_SET_PDEATHSIG));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(kill), 1, SCMP_A1(SCMP_CMP_EQ, SIGKILL));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	if (!rc)
		rc = seccomp_rule_add(ctx, ok, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, TCGETS));
	return rc;
}

static int rules_all(scmp_filter_ctx ctx)
{
	/* ptrace is the last of deadly: a sanitizer looks for leaks with it. */
	unsigned n_deadly = array_size(deadly) - SANITIZED;
	int rc = rules_add(ctx, SCMP_ACT_ALLOW, allowed, array_size(allowed));

	if (!rc)
		rc = rules_add(ctx, SCMP_ACT_KILL_PROCESS, deadly, n_deadly);
	if (!rc && SANITIZED)
		rc = rules_add(ctx, SCMP_ACT_ALLOW, sanitized, array_size(sanitized));
	else if (!rc)
		rc = rules_args(ctx);
	if (!rc && SANITIZED)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				      SCMP_A0(SCMP_CMP_NE, BPF_PROG_LOAD));
	return rc;
}

int sandbox_filter(struct skep_err *err)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!ctx)
		return -ENOMEM;
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	rc = rules_all(ctx);
	if (!rc)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	return rc ? skep_fail(err, rc, "seccomp filter: %s", strerror(-rc)) : 0;
}
