// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers on the task that runs, its stack, and what only a kernel has.
 *
 * The task is whoever asked for the run. Its pointer is a number (vm_help_task()); there is no kernel
 * behind it, so what would be read there is not there: a read by a helper is -EFAULT, one by the program
 * itself a fault. Kernels' and users' stacks cannot be walked: every trace is empty, which is -EFAULT.
 */
#include <signal.h>
#include <sys/stat.h>

#include "vm/help.h"

#define FAIL(e)	 ((uint64_t) - (e))
#define KERNEL	 0xffff888000000000ULL
#define ROOT_INO 1 /* of the root of a hierarchy of cgroups */

/* ---- who it is --------------------------------------------------------------------------------- */

uint64_t vm_help_task(void)
{
	return KERNEL | (uint64_t)vm_help_who().tid << 13;
}

HELPER_FN(get_current_task)
{
	return vm_help_task();
}

HELPER_FN(get_current_task_btf)
{
	return vm_help_task();
}

HELPER_FN(get_current_ancestor_cgroup_id)
{
	return (int)a ? 0 : 1; /* the root's, which has none */
}

/* All tasks are in the root, as bpf_get_current_cgroup_id() says. */
HELPER_FN(current_task_under_cgroup)
{
	struct map *m = PTR(a);
	struct stat st;
	int *fd;

	if (m->def.type != BPF_MAP_TYPE_CGROUP_ARRAY)
		return FAIL(EINVAL);
	if ((uint32_t)b >= m->def.max_entries)
		return FAIL(E2BIG);
	fd = __atomic_load_n(&map_slots(m)[(uint32_t)b], __ATOMIC_ACQUIRE);
	if (!fd)
		return FAIL(EAGAIN);
	return !fstat(*fd, &st) && st.st_ino == ROOT_INO;
}

HELPER_FN(get_ns_current_pid_tgid)
{
	struct bpf_pidns_info *out = PTR(c);
	struct vm_who w = vm_help_who();
	char path[48];
	struct stat st;

	memset(out, 0, (uint32_t)d);
	snprintf(path, sizeof(path), "/proc/%u/ns/pid", w.pid);
	if ((uint32_t)d != sizeof(*out) || stat(path, &st) || st.st_dev != a || st.st_ino != b)
		return FAIL(EINVAL);
	*out = (struct bpf_pidns_info){.pid = w.tid, .tgid = w.pid};
	return 0;
}

/* ---- signals ----------------------------------------------------------------------------------- */

static uint64_t tell(int sig, bool thread)
{
	struct vm_who w = vm_help_who();

	if (w.pid == 1)
		return FAIL(EPERM);
	if (thread ? tgkill((pid_t)w.pid, (pid_t)w.tid, sig) : kill((pid_t)w.pid, sig))
		return FAIL((unsigned)errno);
	return 0;
}

HELPER_FN(send_signal)
{
	return tell((int)a, false);
}

HELPER_FN(send_signal_thread)
{
	return tell((int)a, true);
}

/* ---- stacks ------------------------------------------------------------------------------------ */

HELPER_FN(get_stackid)
{
	const uint64_t known = BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP |
			       BPF_F_REUSE_STACKID;
	const struct map *m = PTR(b);

	if (c & ~known || m->def.type != BPF_MAP_TYPE_STACK_TRACE)
		return FAIL(EINVAL);
	return FAIL(EFAULT);
}

static uint64_t no_stack(void *to, uint32_t size, uint64_t flags)
{
	const uint64_t known = BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_USER_BUILD_ID;
	bool user = flags & BPF_F_USER_STACK, ids = flags & BPF_F_USER_BUILD_ID;
	uint32_t frame = user && ids ? sizeof(struct bpf_stack_build_id) : 8;

	if (size)
		memset(to, 0, size);
	if (flags & ~known || (ids && !user) || size % frame)
		return FAIL(EINVAL);
	return FAIL(EFAULT);
}

HELPER_FN(get_stack)
{
	return no_stack(PTR(b), (uint32_t)c, d);
}

HELPER_FN(get_task_stack)
{
	return no_stack(PTR(b), (uint32_t)c, d);
}

/* ---- what only a kernel has ---------------------------------------------------------------------- */

HELPER_FN(per_cpu_ptr)
{
	return 0;
}

HELPER_FN(this_cpu_ptr)
{
	return a;
}

HELPER_FN(d_path)
{
	return (uint32_t)c ? FAIL(EFAULT) : 0;
}

HELPER_FN(snprintf_btf)
{
	const uint64_t known = BTF_F_COMPACT | BTF_F_NONAME | BTF_F_PTR_RAW | BTF_F_ZERO;
	const struct btf_ptr *p = PTR(c);

	if (f & ~known || (uint32_t)d != sizeof(*p) || !p->type_id)
		return FAIL(EINVAL);
	return FAIL(EOPNOTSUPP); /* types of the kernel's, which are not here */
}
