// SPDX-License-Identifier: Apache-2.0
/* Helpers on time, chance, who runs, and memory that may not be there. */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>

#include "vm/help.h"

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

HELPER_FN(ktime_get_ns)
{
	return now(CLOCK_MONOTONIC);
}

HELPER_FN(ktime_get_boot_ns)
{
	return now(CLOCK_BOOTTIME);
}

HELPER_FN(ktime_get_coarse_ns)
{
	return now(CLOCK_MONOTONIC_COARSE);
}

HELPER_FN(ktime_get_tai_ns)
{
	return now(CLOCK_TAI);
}

HELPER_FN(jiffies64)
{
	return now(CLOCK_MONOTONIC_COARSE) / 4000000; /* of 250 a second */
}

HELPER_FN(get_prandom_u32)
{
	static __thread uint64_t state;

	if (!state && getrandom(&state, sizeof(state), GRND_NONBLOCK) != sizeof(state))
		state = now(CLOCK_MONOTONIC);
	state |= !state;
	state ^= state << 13; /* xorshift64* */
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state * 0x2545f4914f6cdd1dULL >> 32);
}

HELPER_FN(get_smp_processor_id)
{
	return map_cpu;
}

HELPER_FN(get_numa_node_id)
{
	unsigned node = 0;

	getcpu(NULL, &node);
	return node;
}

struct vm_who vm_help_who(void)
{
	const struct call *call = vm_run_now()->call;
	struct vm_who w = {(uint32_t)getpid(), (uint32_t)gettid(), getuid(), getgid(), ""};

	prctl(PR_GET_NAME, w.comm);
	if (call && call->caller->who)
		call->caller->who(call->caller->arg, &w);
	return w;
}

HELPER_FN(get_current_pid_tgid)
{
	struct vm_who w = vm_help_who();

	return (uint64_t)w.pid << 32 | w.tid;
}

HELPER_FN(get_current_uid_gid)
{
	struct vm_who w = vm_help_who();

	return (uint64_t)w.gid << 32 | w.uid;
}

HELPER_FN(get_current_comm)
{
	struct vm_who w = vm_help_who();
	uint32_t n = (uint32_t)b;
	char *to = PTR(a);

	memset(to, 0, n);
	memcpy(to, w.comm, min((size_t)n - 1, strnlen(w.comm, sizeof(w.comm))));
	return 0;
}

HELPER_FN(get_current_cgroup_id)
{
	return 1; /* the root's */
}

HELPER_FN(get_attach_cookie)
{
	return 0;
}

HELPER_FN(get_func_ip)
{
	return 0;
}

HELPER_FN(get_retval)
{
	return (uint64_t)(int64_t)vm_run_now()->retval;
}

HELPER_FN(set_retval)
{
	int v = (int)a;

	vm_run_now()->retval = v > 0 || v < -4095 ? -EPERM : v;
	return 0;
}

/* ---- memory that may not be there ---------------------------------------------------------------- */

int vm_help_read_any(void *to, uint64_t from, size_t n)
{
	struct iovec l = {to, n}, r = {PTR(from), n};

	if (!n)
		return 0;
	return process_vm_readv(getpid(), &l, 1, &r, 1, 0) == (ssize_t)n ? 0 : -EFAULT;
}

/* Whose memory an address is of. */
enum space { OF_KERNEL, OF_USER, OF_EITHER };

#define USER_END 0x7ffffffff000ULL

/* The kernel tells what cannot be its own from what is not there. */
static int not_there(uint64_t from, enum space space)
{
	bool half = (int64_t)from < 0,
	     user = space == OF_USER || (space == OF_EITHER && from < USER_END);

	return half || user ? -EFAULT : -ERANGE;
}

/* What a program can know of "the kernel" is its own memory; of "the user" the caller's. */
static uint64_t read_mem(uint64_t to, uint64_t size, uint64_t from, enum space space)
{
	struct run *r = vm_run_now();
	uint32_t n = (uint32_t)size;
	int rc = -EFAULT;

	if (space == OF_USER)
		rc = vm_user_read(r->call, PTR(to), from, n);
	else if (r->vm.code->jit || vm_access(&r->vm, from, n, false))
		rc = vm_help_read_any(PTR(to), from, n);
	if (!rc)
		return 0;
	memset(PTR(to), 0, n);
	return (uint64_t)(int64_t)not_there(from, space);
}

static uint64_t read_text(uint64_t to, uint64_t size, uint64_t from, enum space space)
{
	uint32_t cap = (uint32_t)size, i;
	char *s = PTR(to);
	uint64_t rc;

	if (!cap)
		return 0;
	for (i = 0; i < cap; i++) {
		rc = read_mem(to + i, 1, from + i, space);
		if (rc) {
			memset(s, 0, cap);
			return rc;
		}
		if (!s[i])
			return i + 1;
	}
	s[cap - 1] = 0;
	return cap;
}

HELPER_FN(probe_read)
{
	return read_mem(a, b, c, OF_EITHER);
}

HELPER_FN(probe_read_kernel)
{
	return read_mem(a, b, c, OF_KERNEL);
}

HELPER_FN(probe_read_user)
{
	return read_mem(a, b, c, OF_USER);
}

HELPER_FN(copy_from_user)
{
	return read_mem(a, b, c, OF_USER);
}

/* Of tasks a program knows the one that runs. */
HELPER_FN(copy_from_user_task)
{
	if (f)
		return (uint64_t)-EINVAL;
	return read_mem(a, b, c, true);
}

HELPER_FN(probe_write_user)
{
	return (uint64_t)(int64_t)vm_user_write(vm_run_now()->call, a, PTR(b), (uint32_t)c);
}

HELPER_FN(probe_read_str)
{
	return read_text(a, b, c, OF_EITHER);
}

HELPER_FN(probe_read_kernel_str)
{
	return read_text(a, b, c, OF_KERNEL);
}

HELPER_FN(probe_read_user_str)
{
	return read_text(a, b, c, OF_USER);
}
