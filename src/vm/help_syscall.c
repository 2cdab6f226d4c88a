// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers of programs that make system calls themselves: what light skeletons load their objects with.
 *
 * Descriptors are those of who runs the program; addresses are the program's own.
 */
#include "vm/help.h"

#define FAIL(e) ((uint64_t)(int64_t) - (e))

/* A caller for what the program asks: the run's, but for its memory. */
struct inner {
	struct vm_caller caller; /* first */
	const struct vm_caller *outer;
	struct run *run;
};

static bool reaches(struct inner *in, uint64_t at, size_t n, bool write)
{
	return in->run->vm.code->jit || vm_access(&in->run->vm, at, n, write);
}

static int inner_read(void *arg, void *dst, uint64_t src, size_t n)
{
	return reaches(arg, src, n, false) ? vm_help_read_any(dst, src, n) : -EFAULT;
}

static int inner_write(void *arg, uint64_t dst, const void *src, size_t n)
{
	if (!reaches(arg, dst, n, true))
		return -EFAULT;
	return vm_self.write(vm_self.arg, dst, src, n);
}

static int inner_fd_get(void *arg, int fd)
{
	const struct vm_caller *o = ((struct inner *)arg)->outer;

	return o->fd_get(o->arg, fd);
}

static int inner_fd_put(void *arg, int fd, int flags)
{
	const struct vm_caller *o = ((struct inner *)arg)->outer;

	return o->fd_put(o->arg, fd, flags);
}

static void inner_who(void *arg, struct vm_who *who)
{
	const struct vm_caller *o = ((struct inner *)arg)->outer;

	if (o->who)
		o->who(o->arg, who);
	else
		*who = vm_help_who();
}

static bool may_ask(unsigned cmd)
{
	switch (cmd) {
	case BPF_MAP_CREATE:
	case BPF_MAP_DELETE_ELEM:
	case BPF_MAP_UPDATE_ELEM:
	case BPF_MAP_FREEZE:
	case BPF_MAP_GET_FD_BY_ID:
	case BPF_PROG_LOAD:
	case BPF_BTF_LOAD:
	case BPF_LINK_CREATE:
	case BPF_RAW_TRACEPOINT_OPEN:
		return true;
	default:
		return false;
	}
}

HELPER_FN(sys_bpf)
{
	struct run *r = vm_run_now();
	struct inner in = {.run = r};

	if (!may_ask((unsigned)a))
		return FAIL(EINVAL);
	if (!r->call)
		return FAIL(EPERM);
	in.outer = r->call->caller;
	in.caller = (struct vm_caller){.read = inner_read,
				       .write = inner_write,
				       .fd_get = inner_fd_get,
				       .fd_put = inner_fd_put,
				       .who = inner_who,
				       .arg = &in};
	return (uint64_t)vm_bpf(r->vm.engine, &in.caller, (unsigned)a, b, (uint32_t)c);
}

/* A foreign caller keeps what it was given: nobody can close it there. */
HELPER_FN(sys_close)
{
	const struct call *c_ = vm_run_now()->call;

	if (!c_ || !vm_call_here(c_))
		return 0;
	return close((int)a) ? FAIL(errno) : 0;
}

/* @n bytes that end with a zero. */
static bool is_name(const char *name, uint32_t n)
{
	return n > 1 && !name[n - 1];
}

HELPER_FN(btf_find_by_name_kind)
{
	const struct btf *btf;

	if (d || !is_name(PTR(a), (uint32_t)b))
		return FAIL(EINVAL);
	btf = vm_kernel_btf(vm_run_now()->vm.engine);
	return (uint64_t)(btf ? vm_btf_find(btf, PTR(a), (unsigned)c) : -ENOENT);
}

/* No address of the kernel's means anything here. */
HELPER_FN(kallsyms_lookup_name)
{
	*(uint64_t *)PTR(d) = 0;
	return c || !is_name(PTR(a), (uint32_t)b) ? FAIL(EINVAL) : FAIL(ENOENT);
}

/* ---- perf events of the caller's ------------------------------------------------------------------ */

static int read_event(struct map *m, uint64_t flags, void *to, size_t n)
{
	uint64_t index = flags & BPF_F_INDEX_MASK;
	const int *slot;
	ssize_t got;

	if (flags & ~(uint64_t)BPF_F_INDEX_MASK || m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return -EINVAL;
	if (index == BPF_F_CURRENT_CPU)
		index = map_cpu;
	if (index >= m->def.max_entries)
		return -E2BIG;
	slot = map_slots(m)[index];
	if (!slot)
		return -ENOENT;
	got = read(*slot, to, n);
	return got == (ssize_t)n || got == (ssize_t)sizeof(uint64_t) ? 0 : -EINVAL;
}

HELPER_FN(perf_event_read)
{
	uint64_t v[3] = {0};
	int rc = read_event(PTR(a), b, v, sizeof(v));

	return rc ? (uint64_t)(int64_t)rc : v[0];
}

HELPER_FN(perf_event_read_value)
{
	struct bpf_perf_event_value *v = PTR(c);
	uint32_t n = (uint32_t)d;
	int rc = n == sizeof(*v) ? read_event(PTR(a), b, v, sizeof(*v)) : -EINVAL;

	if (rc)
		memset(v, 0, n);
	return (uint64_t)(int64_t)rc;
}
