// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * process.bpf.c: every process of the host, from fork to exit.
 *
 *	sched_process_fork --\
 *	sched_process_exec ---+--> ring --> guard.c
 *	sched_process_exit --/
 *	iter/task ---------------> read(2) --> guard.c, once at the start and after a loss
 *
 * maps in: none. maps out: ring (events), count (sent and lost), scratch (one exec being built).
 *
 * P1  A process is reported once for each of its life's steps: threads are not (fork: tgid == pid;
 *     exit: the last thread's).
 * P2  sent == reported + lost, for each kind and exactly (ring.h).
 * P3  The agent's own children (its query workers) are not reported.
 */
#include "bpf.h"

#include "guard/guard.h"

#define RING_COUNT struct guard_count
#include "ring.h"

LICENSE;

#define SIGNAL_GROUP_EXIT 4
#define PF_KTHREAD	  0x00200000

const volatile __u32 agent_pid; /* P3 */

struct exec_buf {
	struct guard_exec e;
	char data[GUARD_PATHS_MAX + GUARD_ARGV_MAX];
	__u32 len; /* of data */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_buf);
} scratch SEC(".maps");

/* Loads through BTF pointers, not through helpers: a pointer that is NULL or gone reads as 0. */
static __always_inline __u64 caps_effective(const struct cred *cred)
{
	const struct cred___old *old = (const void *)cred;

	if (bpf_core_field_exists(cred->cap_effective.val))
		return cred->cap_effective.val;
	return old->cap_effective.cap[0] | (__u64)old->cap_effective.cap[1] << 32;
}

static __always_inline void fill_ns(struct guard_task *t, struct task_struct *task,
				    const struct cred *cred)
{
	struct nsproxy *ns = task->nsproxy;

	t->ns[GUARD_NS_USER] = cred->user_ns->ns.inum;
	t->ns[GUARD_NS_MNT] = ns->mnt_ns->ns.inum;
	t->ns[GUARD_NS_NET] = ns->net_ns->ns.inum;
	t->ns[GUARD_NS_PID] = ns->pid_ns_for_children->ns.inum;
	t->ns[GUARD_NS_UTS] = ns->uts_ns->ns.inum;
	t->ns[GUARD_NS_IPC] = ns->ipc_ns->ns.inum;
	t->ns[GUARD_NS_CGROUP] = ns->cgroup_ns->ns.inum;
}

/* On a host with cgroup v1 it tells containers apart where cgroup2 does not. */
static __always_inline __u64 cgroup_pids(struct css_set *set)
{
	struct cgroup_subsys_state *css = 0;
	__u64 id;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		return 0;
	id = bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
	bpf_probe_read_kernel(&css, sizeof(css), (void *)set->subsys + id * sizeof(css));
	return BPF_CORE_READ(css, cgroup, kn, id);
}

static __always_inline void fill_task(struct guard_task *t, struct task_struct *task)
{
	const struct cred *cred = task->cred;
	struct task_struct *parent = task->real_parent->group_leader;

	t->start = task->group_leader->start_boottime;
	t->pid = task->tgid;
	t->parent_start = parent->start_boottime;
	t->ppid = parent->tgid;
	t->cgroup = task->cgroups->dfl_cgrp->kn->id;
	t->cgroup_pids = cgroup_pids(task->cgroups);
	t->uid = cred->uid.val;
	t->gid = cred->gid.val;
	t->euid = cred->euid.val;
	t->loginuid = ~0U;
	if (bpf_core_field_exists(task->loginuid))
		t->loginuid = task->loginuid.val;
	t->caps = caps_effective(cred);
	t->flags = task->flags & PF_KTHREAD ? GUARD_KERNEL : 0;
	fill_ns(t, task, cred);
	BPF_CORE_READ_STR_INTO(&t->comm, task, comm);
}

static __always_inline int ours(struct task_struct *task)
{
	return (__u32)task->real_parent->tgid == agent_pid;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct guard_fork e = {};

	if (child->pid != child->tgid || ours(child)) /* P1, P3 */
		return 0;
	e.head.time = bpf_ktime_get_boot_ns();
	e.head.kind = GUARD_FORK;
	fill_task(&e.task, child);
	send(GUARD_FORK, &e, sizeof(e), e.head.time);
	return 0;
}

/*
 * Add the components of a path, from its leaf to the root of its mount namespace, each with its NUL.
 * @cut is set where the path is deeper or longer than fits. The length stands in the map, not in a
 * register, so that the verifier sees every turn of the loop as the same.
 */
static __noinline int put_path(struct exec_buf *b, struct dentry *d, struct vfsmount *v, __u32 cut)
{
	struct mount *m = container_of(v, struct mount, mnt), *up;
	struct dentry *parent;
	__u32 off;
	long n;
	int i;

	for (i = 0; i < GUARD_PATH_STEPS; i++) {
		parent = BPF_CORE_READ(d, d_parent);
		if (d == BPF_CORE_READ(m, mnt.mnt_root) || d == parent) {
			up = BPF_CORE_READ(m, mnt_parent);
			if (!up || up == m)
				return 0;
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = up;
			continue;
		}
		off = *(volatile __u32 *)&b->len;
		if (off > GUARD_PATHS_MAX - 256)
			break;
		n = bpf_probe_read_kernel_str(b->data + off, 256, BPF_CORE_READ(d, d_name.name));
		if (n <= 0)
			break;
		b->len = off + n;
		d = parent;
	}
	b->e.flags |= cut;
	return 0;
}

static __always_inline void put_exe(struct exec_buf *b, struct mm_struct *mm)
{
	struct file *exe = BPF_CORE_READ(mm, exe_file);
	struct dentry *d = BPF_CORE_READ(exe, f_path.dentry);

	if (!BPF_CORE_READ(d, d_hash.pprev))
		b->e.flags |= GUARD_EXE_DELETED;
	put_path(b, d, BPF_CORE_READ(exe, f_path.mnt), GUARD_EXE_CUT);
	b->e.exe_len = b->len;
}

static __always_inline void put_cwd(struct exec_buf *b, struct task_struct *task)
{
	put_path(b, BPF_CORE_READ(task, fs, pwd.dentry), BPF_CORE_READ(task, fs, pwd.mnt),
		 GUARD_CWD_CUT);
	b->e.cwd_len = b->len - b->e.exe_len;
}

static __always_inline void put_argv(struct exec_buf *b, struct mm_struct *mm)
{
	__u64 start = BPF_CORE_READ(mm, arg_start), total = BPF_CORE_READ(mm, arg_end) - start;
	__u32 off = *(volatile __u32 *)&b->len, n = GUARD_ARGV_MAX;

	b->e.argv_total = total;
	if (off > GUARD_PATHS_MAX)
		return;
	if (total < n)
		n = total;
	if (bpf_probe_read_user(b->data + off, n, (void *)start))
		return;
	b->e.argv_len = n;
	b->len = off + n;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 zero = 0, size;
	struct exec_buf *b = bpf_map_lookup_elem(&scratch, &zero);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	if (!b)
		return 0;
	__builtin_memset(&b->e, 0, sizeof(b->e));
	b->e.head.time = bpf_ktime_get_boot_ns();
	b->e.head.kind = GUARD_EXEC;
	fill_task(&b->e.task, task);
	b->len = 0;
	put_exe(b, mm);
	put_cwd(b, task);
	put_argv(b, mm);
	size = sizeof(b->e) + *(volatile __u32 *)&b->len;
	if (size <= sizeof(b->e) + sizeof(b->data))
		send(GUARD_EXEC, &b->e, size, b->e.head.time);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct guard_exit e = {};
	struct signal_struct *sig = task->signal;

	if (sig->live.counter || ours(task)) /* P1, P3 */
		return 0;
	e.head.time = bpf_ktime_get_boot_ns();
	e.head.kind = GUARD_EXIT;
	e.pid = task->tgid;
	e.start = BPF_CORE_READ(task, group_leader, start_boottime);
	e.status = BPF_CORE_READ(sig, flags) & SIGNAL_GROUP_EXIT
			   ? BPF_CORE_READ(sig, group_exit_code)
			   : BPF_CORE_READ(task, group_leader, exit_code);
	send(GUARD_EXIT, &e, sizeof(e), e.head.time);
	return 0;
}

SEC("iter/task")
int scan(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct guard_task t = {};

	if (!task || task->pid != task->tgid || !task->signal->live.counter || ours(task))
		return 0;
	fill_task(&t, task);
	bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}
