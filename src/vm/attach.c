// SPDX-License-Identifier: Apache-2.0
/*
 * Programs attached without a link: to cgroups, network namespaces and sockmaps. Remembered and listed;
 * what they would be told of happens elsewhere.
 *
 * A1  Of one target and hook all attachments have the same flags; without BPF_F_ALLOW_MULTI there is
 *     at most one.
 */
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "vm/inside.h"

#define PROGS_MAX 64

struct attachment {
	uint64_t target; /* inode */
	uint32_t type, flags;
	struct prog *prog;
	struct attachment *next;
};

static const uint8_t prog_types[] = {
	[BPF_CGROUP_INET_INGRESS] = BPF_PROG_TYPE_CGROUP_SKB,
	[BPF_CGROUP_INET_EGRESS] = BPF_PROG_TYPE_CGROUP_SKB,
	[BPF_CGROUP_INET_SOCK_CREATE] = BPF_PROG_TYPE_CGROUP_SOCK,
	[BPF_CGROUP_SOCK_OPS] = BPF_PROG_TYPE_SOCK_OPS,
	[BPF_SK_SKB_STREAM_PARSER] = BPF_PROG_TYPE_SK_SKB,
	[BPF_SK_SKB_STREAM_VERDICT] = BPF_PROG_TYPE_SK_SKB,
	[BPF_CGROUP_DEVICE] = BPF_PROG_TYPE_CGROUP_DEVICE,
	[BPF_SK_MSG_VERDICT] = BPF_PROG_TYPE_SK_MSG,
	[BPF_CGROUP_INET4_BIND] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET6_BIND] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET4_CONNECT] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET6_CONNECT] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET4_POST_BIND] = BPF_PROG_TYPE_CGROUP_SOCK,
	[BPF_CGROUP_INET6_POST_BIND] = BPF_PROG_TYPE_CGROUP_SOCK,
	[BPF_CGROUP_UDP4_SENDMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_UDP6_SENDMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_LIRC_MODE2] = BPF_PROG_TYPE_LIRC_MODE2,
	[BPF_FLOW_DISSECTOR] = BPF_PROG_TYPE_FLOW_DISSECTOR,
	[BPF_CGROUP_SYSCTL] = BPF_PROG_TYPE_CGROUP_SYSCTL,
	[BPF_CGROUP_UDP4_RECVMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_UDP6_RECVMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_GETSOCKOPT] = BPF_PROG_TYPE_CGROUP_SOCKOPT,
	[BPF_CGROUP_SETSOCKOPT] = BPF_PROG_TYPE_CGROUP_SOCKOPT,
	[BPF_TRACE_RAW_TP] = BPF_PROG_TYPE_TRACING,
	[BPF_TRACE_FENTRY] = BPF_PROG_TYPE_TRACING,
	[BPF_TRACE_FEXIT] = BPF_PROG_TYPE_TRACING,
	[BPF_MODIFY_RETURN] = BPF_PROG_TYPE_TRACING,
	[BPF_LSM_MAC] = BPF_PROG_TYPE_LSM,
	[BPF_TRACE_ITER] = BPF_PROG_TYPE_TRACING,
	[BPF_CGROUP_INET4_GETPEERNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET6_GETPEERNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET4_GETSOCKNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET6_GETSOCKNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[BPF_CGROUP_INET_SOCK_RELEASE] = BPF_PROG_TYPE_CGROUP_SOCK,
	[BPF_SK_LOOKUP] = BPF_PROG_TYPE_SK_LOOKUP,
	[BPF_XDP] = BPF_PROG_TYPE_XDP,
	[BPF_SK_SKB_VERDICT] = BPF_PROG_TYPE_SK_SKB,
	[BPF_LSM_CGROUP] = BPF_PROG_TYPE_LSM,
	[VM_NETFILTER] = VM_PROG_TYPE_NETFILTER,
	[VM_TCX_INGRESS] = BPF_PROG_TYPE_SCHED_CLS,
	[VM_TCX_EGRESS] = BPF_PROG_TYPE_SCHED_CLS,
	[VM_CGROUP_UNIX_CONNECT] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[VM_CGROUP_UNIX_SENDMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[VM_CGROUP_UNIX_RECVMSG] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[VM_CGROUP_UNIX_GETPEERNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[VM_CGROUP_UNIX_GETSOCKNAME] = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
	[VM_NETKIT_PRIMARY] = BPF_PROG_TYPE_SCHED_CLS,
	[VM_NETKIT_PEER] = BPF_PROG_TYPE_SCHED_CLS,
};

uint32_t vm_attach_prog_type(uint32_t attach_type)
{
	return attach_type < array_size(prog_types) ? prog_types[attach_type]
						    : BPF_PROG_TYPE_UNSPEC;
}

static bool is_kprobe_hook(uint32_t type)
{
	return type == BPF_PERF_EVENT || type == BPF_TRACE_KPROBE_MULTI ||
	       type == VM_TRACE_KPROBE_SESSION || type == VM_TRACE_UPROBE_MULTI;
}

int vm_attach_check(const struct prog *p, uint32_t type)
{
	bool ok;

	switch (p->type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SK_LOOKUP:
		ok = type == p->attach_type;
		break;
	case BPF_PROG_TYPE_EXT:
		ok = true;
		break;
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_TRACEPOINT:
		ok = type == BPF_PERF_EVENT;
		break;
	case BPF_PROG_TYPE_KPROBE:
		ok = is_kprobe_hook(type) &&
		     (!is_kprobe_hook(p->attach_type) || p->attach_type == BPF_PERF_EVENT ||
		      p->attach_type == type);
		break;
	default:
		ok = type < array_size(prog_types) && prog_types[type] == p->type;
	}
	return ok ? 0 : -EINVAL;
}

bool vm_attach_is_cgroup(uint32_t prog_type)
{
	switch (prog_type) {
	case BPF_PROG_TYPE_CGROUP_DEVICE:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_CGROUP_SYSCTL:
	case BPF_PROG_TYPE_SOCK_OPS:
		return true;
	default:
		return false;
	}
}

int vm_attach_cgroup(struct call *c, int fd, uint64_t *id)
{
	cleanup(fd_close) int copy = c->caller->fd_get(c->caller->arg, fd);
	struct statfs fs;
	struct stat st;

	if (copy < 0 || fstatfs(copy, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC || fstat(copy, &st))
		return -EBADF;
	*id = st.st_ino;
	return 0;
}

/* ---- the list ---------------------------------------------------------------------------------- */

static struct attachment **find(struct skep_engine *e, uint64_t target, uint32_t type,
				const struct prog *p)
{
	struct attachment **link = &e->attachments;

	while (*link &&
	       ((*link)->target != target || (*link)->type != type || (p && (*link)->prog != p)))
		link = &(*link)->next;
	return link;
}

static unsigned count(struct skep_engine *e, uint64_t target, uint32_t type)
{
	struct attachment *a;
	unsigned n = 0;

	for (a = e->attachments; a; a = a->next)
		n += a->target == target && a->type == type;
	return n;
}

static int add(struct skep_engine *e, uint64_t target, uint32_t type, uint32_t flags,
	       struct prog *p)
{
	struct attachment *a = calloc(1, sizeof(*a)), **last = &e->attachments;

	if (!a)
		return -ENOMEM;
	*a = (struct attachment){.target = target, .type = type, .flags = flags, .prog = p};
	while (*last)
		last = &(*last)->next;
	*last = a;
	vm_object_get(e, &p->obj);
	return 0;
}

static void swap_prog(struct skep_engine *e, struct attachment *a, struct prog *p)
{
	struct prog *old = a->prog;

	vm_object_get(e, &p->obj);
	a->prog = p;
	vm_object_put(e, &old->obj);
}

static void drop(struct skep_engine *e, struct attachment **link)
{
	struct attachment *a = *link;

	*link = a->next;
	vm_object_put(e, &a->prog->obj);
	free(a);
}

void vm_attach_done(struct skep_engine *e)
{
	while (e->attachments)
		drop(e, &e->attachments);
}

static int attach_multi(struct skep_engine *e, uint64_t target, uint32_t type, uint32_t flags,
			struct prog *p, struct prog *replaced)
{
	struct attachment **old;

	if (*find(e, target, type, p))
		return -EINVAL;
	if (!replaced)
		return add(e, target, type, flags, p);
	old = find(e, target, type, replaced);
	if (!*old)
		return -ENOENT;
	swap_prog(e, *old, p);
	return 0;
}

static int attach_locked(struct skep_engine *e, uint64_t target, uint32_t type, uint32_t flags,
			 struct prog *p, struct prog *replaced)
{
	uint32_t saved = flags & (BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI);
	struct attachment **old = find(e, target, type, NULL);

	if (*old && (*old)->flags != saved)
		return -EPERM; /* A1 */
	if (count(e, target, type) >= PROGS_MAX)
		return -E2BIG;
	if (saved & BPF_F_ALLOW_MULTI)
		return attach_multi(e, target, type, saved, p, replaced);
	if (!*old)
		return add(e, target, type, saved, p);
	swap_prog(e, *old, p);
	return 0;
}

static int attach_to(struct call *c, uint64_t target, struct prog *p)
{
	uint32_t flags = c->attr.a.attach_flags;
	struct prog *replaced = NULL;
	int rc;

	if (((flags & BPF_F_ALLOW_OVERRIDE) && (flags & BPF_F_ALLOW_MULTI)) ||
	    ((flags & BPF_F_REPLACE) && !(flags & BPF_F_ALLOW_MULTI)))
		return -EINVAL;
	if (flags & BPF_F_REPLACE) {
		rc = vm_prog_get(c, (int)c->attr.a.replace_bpf_fd, &replaced);
		if (rc)
			return rc;
	}
	pthread_mutex_lock(&c->e->attach_lock);
	rc = attach_locked(c->e, target, c->attr.a.attach_type, flags, p, replaced);
	pthread_mutex_unlock(&c->e->attach_lock);
	if (replaced)
		vm_object_put(c->e, &replaced->obj);
	return rc;
}

/* A map of sockets. */
static int map_target(struct call *c, int fd, uint64_t *target)
{
	struct object *o;
	uint32_t type;
	int rc = vm_call_object(c, fd, OBJECT_MAP, &o);

	if (rc)
		return rc;
	type = container_of(o, struct vm_map, obj)->map->def.type;
	*target = o->ino;
	vm_object_put(c->e, o);
	return type == BPF_MAP_TYPE_SOCKMAP || type == BPF_MAP_TYPE_SOCKHASH ? 0 : -EOPNOTSUPP;
}

static int target_of(struct call *c, uint32_t prog_type, uint64_t *target)
{
	const union bpf_attr *a = &c->attr.a;

	if (vm_attach_is_cgroup(prog_type))
		return vm_attach_cgroup(c, (int)a->target_fd, target);
	switch (prog_type) {
	case BPF_PROG_TYPE_SK_SKB:
	case BPF_PROG_TYPE_SK_MSG:
		return map_target(c, (int)a->target_fd, target);
	case BPF_PROG_TYPE_FLOW_DISSECTOR:
		*target = 1; /* the caller's network namespace */
		return a->target_fd || a->attach_flags || a->replace_bpf_fd ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

#define FLAGS_BASE \
	(uint32_t)(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE | VM_F_PREORDER)
#define FLAGS_MPROG (uint32_t)(BPF_F_REPLACE | VM_F_BEFORE | VM_F_AFTER | VM_F_ID | VM_F_LINK)

static int check_attach_flags(const struct call *c, uint32_t prog_type)
{
	uint32_t flags = c->attr.a.attach_flags;

	if (prog_type == BPF_PROG_TYPE_UNSPEC)
		return -EINVAL;
	if (prog_type == BPF_PROG_TYPE_SCHED_CLS)
		return flags & ~FLAGS_MPROG ? -EINVAL : 0;
	if (vm_attach_is_cgroup(prog_type) || prog_type == BPF_PROG_TYPE_LSM)
		return flags & ~(FLAGS_BASE | FLAGS_MPROG) ? -EINVAL : 0;
	return flags & ~FLAGS_BASE || c->attr.relative_fd || c->attr.expected_revision ? -EINVAL
										       : 0;
}

/* What the call says of a tcx hook; @p may be NULL. */
static struct vm_tcx tcx_of(const struct call *c, struct prog *p)
{
	return (struct vm_tcx){.ifindex = c->attr.a.target_fd,
			       .hook = c->attr.a.attach_type,
			       .prog = p,
			       .flags = c->attr.a.attach_flags,
			       .fd_or_id = c->attr.relative_fd,
			       .revision = c->attr.expected_revision};
}

static int attach_tcx(struct call *c, struct prog *p)
{
	struct vm_tcx w = tcx_of(c, p);
	int rc = 0;

	if (!vm_link_device(c->e, w.ifindex))
		return -ENODEV;
	if (w.flags & BPF_F_REPLACE) {
		rc = vm_prog_get(c, (int)c->attr.a.replace_bpf_fd, &w.old);
		if (rc)
			return rc;
		rc = w.old->type == p->type ? 0 : -EINVAL;
	}
	if (!rc)
		rc = vm_tcx_attach(c, &w);
	if (w.old)
		vm_object_put(c->e, &w.old->obj);
	return rc;
}

static int attach_by_type(struct call *c, uint32_t type, struct prog *p)
{
	uint64_t target = 0;
	int rc;

	if (p->type != type || vm_attach_check(p, c->attr.a.attach_type))
		return -EINVAL;
	if (type == BPF_PROG_TYPE_SCHED_CLS)
		return attach_tcx(c, p);
	rc = target_of(c, type, &target);
	return rc ? rc : attach_to(c, target, p);
}

long vm_attach_do_attach(struct call *c)
{
	uint32_t type = vm_attach_prog_type(c->attr.a.attach_type);
	struct prog *p;
	int rc = check_attach_flags(c, type);

	if (rc)
		return rc;
	rc = vm_prog_get(c, (int)c->attr.a.attach_bpf_fd, &p);
	if (rc)
		return rc;
	rc = attach_by_type(c, type, p);
	vm_object_put(c->e, &p->obj);
	return rc;
}

static int detach_locked(struct call *c, uint64_t target, const struct prog *p)
{
	struct attachment **a = find(c->e, target, c->attr.a.attach_type, NULL);

	if (!*a)
		return -ENOENT;
	if ((*a)->flags & BPF_F_ALLOW_MULTI) {
		if (!p)
			return -EINVAL;
		a = find(c->e, target, c->attr.a.attach_type, p);
		if (!*a)
			return -ENOENT;
	}
	drop(c->e, a);
	return 0;
}

static int detach_tcx(struct call *c)
{
	struct prog *p = NULL;
	struct vm_tcx w;
	int rc = 0;

	if (c->attr.a.attach_flags & ~FLAGS_MPROG)
		return -EINVAL;
	if (c->attr.a.attach_bpf_fd)
		rc = vm_prog_get(c, (int)c->attr.a.attach_bpf_fd, &p);
	if (rc)
		return rc;
	w = tcx_of(c, p);
	if (p && p->type != BPF_PROG_TYPE_SCHED_CLS)
		rc = -EINVAL;
	else if (!vm_link_device(c->e, w.ifindex))
		rc = -ENODEV;
	else
		rc = vm_tcx_detach(c, &w);
	if (p)
		vm_object_put(c->e, &p->obj);
	return rc;
}

long vm_attach_do_detach(struct call *c)
{
	uint32_t type = vm_attach_prog_type(c->attr.a.attach_type);
	struct prog *p = NULL;
	uint64_t target = 0;
	int rc;

	if (type == BPF_PROG_TYPE_SCHED_CLS)
		return detach_tcx(c);
	if (c->attr.a.attach_flags || c->attr.relative_fd)
		return -EINVAL;
	rc = target_of(c, type, &target);
	if (rc)
		return rc;
	if (vm_prog_get(c, (int)c->attr.a.attach_bpf_fd, &p))
		p = NULL;
	pthread_mutex_lock(&c->e->attach_lock);
	rc = detach_locked(c, target, p);
	pthread_mutex_unlock(&c->e->attach_lock);
	if (p)
		vm_object_put(c->e, &p->obj);
	return rc;
}

/* ---- queries -------------------------------------------------------------------------------------- */

static int query_target(struct call *c, uint64_t *target)
{
	const union bpf_attr *a = &c->attr.a;
	uint32_t type = vm_attach_prog_type(a->query.attach_type);

	if (vm_attach_is_cgroup(type) || a->query.attach_type == BPF_LSM_CGROUP)
		return vm_attach_cgroup(c, (int)a->query.target_fd, target);
	switch (type) {
	case BPF_PROG_TYPE_FLOW_DISSECTOR:
	case BPF_PROG_TYPE_SK_LOOKUP:
		*target = 1;
		return a->query.query_flags ? -EINVAL : 0;
	case BPF_PROG_TYPE_SK_SKB:
	case BPF_PROG_TYPE_SK_MSG:
		return a->query.query_flags ? -EINVAL
					    : map_target(c, (int)a->query.target_fd, target);
	default:
		return -EINVAL;
	}
}

static uint32_t query_ids(struct call *c, uint64_t target, uint32_t ids[PROGS_MAX], uint32_t *flags)
{
	struct attachment *a;
	uint32_t n = 0;

	pthread_mutex_lock(&c->e->attach_lock);
	for (a = c->e->attachments; a && n < PROGS_MAX; a = a->next) {
		if (a->target != target || a->type != c->attr.a.query.attach_type)
			continue;
		*flags = a->flags;
		ids[n++] = a->prog->obj.id;
	}
	pthread_mutex_unlock(&c->e->attach_lock);
	return n;
}

long vm_attach_do_query(struct call *c)
{
	const union bpf_attr *a = &c->attr.a;
	uint32_t ids[PROGS_MAX], flags = 0, n, room = a->query.prog_cnt;
	uint64_t target = 0;
	int rc;

	if (a->query.query_flags & ~(uint32_t)BPF_F_QUERY_EFFECTIVE)
		return -EINVAL;
	if (vm_attach_prog_type(a->query.attach_type) == BPF_PROG_TYPE_SCHED_CLS)
		return vm_tcx_query(c);
	rc = query_target(c, &target);
	if (rc && rc != -EOPNOTSUPP)
		return rc;
	n = rc ? 0
	       : query_ids(c, target, ids, &flags); /* a map of no sockets is told to have none */
	if (a->query.query_flags)
		flags = 0;
	if (vm_call_put(c, query.attach_flags, flags) || vm_call_put(c, query.prog_cnt, n))
		return -EFAULT;
	if (!room || !a->query.prog_ids || !n)
		return rc;
	if (vm_call_write(c, a->query.prog_ids, ids, min(room, n) * sizeof(*ids)))
		return -EFAULT;
	return room < n ? -ENOSPC : 0;
}
