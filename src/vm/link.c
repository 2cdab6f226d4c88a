// SPDX-License-Identifier: Apache-2.0
/*
 * Links: a program, where it is attached, and whose hand holds it there.
 *
 * K1  A link holds a reference to its program as long as it lives, detached or not.
 * K2  One link is made at a time: that its place was free holds until it stands there.
 */
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/stat.h>

#include "vm/inside.h"
#include "vm/iter.h"

struct link {
	struct object obj;
	uint32_t type; /* enum bpf_link_type */
	struct prog *prog;
	uint32_t attach_type, ifindex, flags;
	uint64_t target, cookie; /* target: an inode, a BTF id */
	uint32_t netfilter[4];
	char name[128]; /* of a raw tracepoint */
	bool detached;
	struct iter_target iter;
	struct prog *extends; /* its function @func is replaced; NULL: none */
	unsigned func;
};

uint32_t vm_link_type(const struct link *l)
{
	return l->type;
}

struct prog *vm_link_prog(struct skep_engine *e, const struct link *l)
{
	struct prog *p;

	pthread_mutex_lock(&e->lock); /* l->prog changes under it */
	p = l->prog;
	p->obj.refs++;
	pthread_mutex_unlock(&e->lock);
	return p;
}

uint32_t vm_link_id(const struct link *l)
{
	return l->obj.id;
}

struct link *vm_link_of(struct object *o)
{
	return container_of(o, struct link, obj);
}

void vm_link_free(struct skep_engine *e, struct link *l)
{
	if (l->extends) {
		vm_extend_remove(e, l->extends, l->func);
		vm_object_put(e, &l->extends->obj);
	}
	if (l->type == VM_LINK_TCX)
		vm_tcx_drop(e, l);
	if (l->prog)
		vm_object_put(e, &l->prog->obj);
	if (l->iter.map)
		vm_object_put(e, &l->iter.map->obj);
	free(l);
}

/* ---- where to ------------------------------------------------------------------------------------- */

static bool taken(struct skep_engine *e, const struct link *new)
{
	const struct object_table *t = &e->tables[OBJECT_LINK];
	bool found = false;
	unsigned i;

	pthread_mutex_lock(&e->lock);
	for (i = 0; i < t->n; i++) {
		const struct link *l = vm_link_of(t->v[i]);

		found |= !l->detached && l->type == new->type && l->ifindex == new->ifindex &&
			 l->attach_type == new->attach_type && l->target == new->target;
	}
	found |= new->type == BPF_LINK_TYPE_XDP &&vm_device_xdp(e, new->ifindex);
	pthread_mutex_unlock(&e->lock);
	return found;
}

bool vm_link_device(struct skep_engine *e, uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return vm_port_is(e, ifindex) || if_indextoname(ifindex, name);
}

static int to_device(struct call *c, struct link *l, uint32_t flags_known)
{
	l->ifindex = c->attr.a.link_create.target_ifindex;
	l->flags = c->attr.a.link_create.flags;
	if (!vm_link_device(c->e, l->ifindex))
		return -ENODEV;
	return l->flags & ~flags_known ? -EINVAL : 0;
}

static int to_xdp(struct call *c, struct link *l)
{
	uint32_t modes = XDP_FLAGS_SKB_MODE | XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE;
	int rc;

	l->type = BPF_LINK_TYPE_XDP;
	rc = to_device(c, l, modes);
	if (rc)
		return -EINVAL; /* of a device that is not there too */
	if (__builtin_popcount(l->flags & modes) > 1)
		return -EINVAL;
	vm_sweep(c->e); /* a link that nobody holds any more is in nobody's way */
	return taken(c->e, l) ? -EBUSY : 0;
}

static int to_tcx(struct call *c, struct link *l)
{
	bool tcx = l->attach_type == VM_TCX_INGRESS || l->attach_type == VM_TCX_EGRESS;
	int rc;

	l->type = tcx ? VM_LINK_TCX : VM_LINK_NETKIT;
	rc = to_device(c, l, VM_F_BEFORE | VM_F_AFTER | VM_F_ID | VM_F_LINK);
	if (rc || !tcx)
		return rc;
	return vm_tcx_attach(c, &(const struct vm_tcx){.ifindex = l->ifindex,
						       .hook = l->attach_type,
						       .prog = l->prog,
						       .link = l,
						       .flags = l->flags,
						       .fd_or_id = c->attr.tcx_relative,
						       .revision = c->attr.tcx_revision});
}

static int to_cgroup(struct call *c, struct link *l)
{
	uint32_t flags = c->attr.a.link_create.flags;
	int rc;

	l->type = BPF_LINK_TYPE_CGROUP;
	if (flags & ~(uint32_t)(VM_F_BEFORE | VM_F_AFTER | VM_F_ID | VM_F_LINK | VM_F_PREORDER))
		return -EINVAL;
	rc = vm_attach_cgroup(c, (int)c->attr.a.link_create.target_fd, &l->target);
	return !rc && flags ? -EOPNOTSUPP : rc; /* they have no order */
}

/* The inode of the caller's target_fd. */
static int to_fd(struct call *c, struct link *l)
{
	cleanup(fd_close) int fd = -1;
	struct stat st;

	if (c->attr.a.link_create.flags)
		return -EINVAL;
	fd = c->caller->fd_get(c->caller->arg, (int)c->attr.a.link_create.target_fd);
	if (fd < 0 || fstat(fd, &st))
		return -EBADF;
	l->target = st.st_ino;
	return 0;
}

static int to_netns(struct call *c, struct link *l)
{
	int rc = to_fd(c, l);

	l->type = BPF_LINK_TYPE_NETNS;
	if (rc)
		return rc;
	return l->attach_type == BPF_FLOW_DISSECTOR && taken(c->e, l) ? -E2BIG : 0;
}

static int to_perf(struct call *c, struct link *l)
{
	l->type = BPF_LINK_TYPE_PERF_EVENT;
	l->cookie = c->attr.a.link_create.perf_event.bpf_cookie;
	return to_fd(c, l);
}

static int to_kprobe(struct call *c, struct link *l)
{
	if (l->attach_type == BPF_PERF_EVENT)
		return to_perf(c, l);
	l->type = l->attach_type == VM_TRACE_UPROBE_MULTI ? VM_LINK_UPROBE_MULTI
							  : BPF_LINK_TYPE_KPROBE_MULTI;
	return 0;
}

/* Takes the reference to @target. */
static int extend(struct call *c, struct link *l, struct prog *target, uint32_t btf_id)
{
	unsigned func = 0;
	int rc = vm_extend_find(target, btf_id, &func);

	vm_sweep(c->e); /* as for XDP */
	if (!rc)
		rc = vm_extend_add(c->e, target, func, l->prog);
	if (rc) {
		vm_object_put(c->e, &target->obj);
		return rc;
	}
	l->type = BPF_LINK_TYPE_TRACING;
	l->attach_type = l->prog->attach_type;
	l->target = btf_id;
	l->extends = target;
	l->func = func;
	l->prog->attached = true;
	return 0;
}

/* To what it was loaded for, once; to another function only if that is said. */
static int to_function(struct call *c, struct link *l, int target_fd, uint32_t btf_id)
{
	struct prog *p = l->prog, *target = p->attach_prog;
	struct buf log = {0};
	int rc = 0;

	if (!target_fd != !btf_id)
		return -EINVAL;
	if (!target_fd) {
		if (p->attached)
			return -EINVAL;
		vm_object_get(c->e, &target->obj);
		return extend(c, l, target, p->attach_btf_id);
	}
	rc = vm_prog_get(c, target_fd, &target);
	if (rc)
		return rc;
	rc = vm_extend_check(p, target, btf_id, &log);
	buf_done(&log);
	if (!rc && target->type != p->run_type)
		rc = -EINVAL;
	if (!rc)
		return extend(c, l, target, btf_id);
	vm_object_put(c->e, &target->obj);
	return rc;
}

static int to_tracing(struct call *c, struct link *l)
{
	if (l->attach_type != l->prog->attach_type)
		return -EINVAL;
	if (l->attach_type == BPF_TRACE_ITER) {
		l->type = BPF_LINK_TYPE_ITER;
		return vm_iter_aim(c, l->prog, &l->iter);
	}
	if (l->attach_type == BPF_LSM_CGROUP)
		return to_cgroup(c, l);
	l->type = l->attach_type == BPF_TRACE_RAW_TP ? BPF_LINK_TYPE_RAW_TRACEPOINT
						     : BPF_LINK_TYPE_TRACING;
	l->target = l->prog->attach_btf_id;
	l->cookie = c->attr.a.link_create.tracing.cookie;
	return 0;
}

static int to_target(struct call *c, struct link *l)
{
	if (vm_attach_is_cgroup(l->prog->type))
		return to_cgroup(c, l);
	switch (l->prog->type) {
	case BPF_PROG_TYPE_LSM:
	case BPF_PROG_TYPE_TRACING:
		return to_tracing(c, l);
	case BPF_PROG_TYPE_EXT:
		return to_function(c, l, (int)c->attr.a.link_create.target_fd,
				   c->attr.a.link_create.target_btf_id);
	case BPF_PROG_TYPE_FLOW_DISSECTOR:
	case BPF_PROG_TYPE_SK_LOOKUP:
		return to_netns(c, l);
	case BPF_PROG_TYPE_XDP:
		return to_xdp(c, l);
	case BPF_PROG_TYPE_SCHED_CLS:
		return to_tcx(c, l);
	case VM_PROG_TYPE_NETFILTER:
		l->type = VM_LINK_NETFILTER;
		memcpy(l->netfilter, c->attr.netfilter, sizeof(l->netfilter));
		return c->attr.a.link_create.flags ? -EINVAL : 0;
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_TRACEPOINT:
		return to_perf(c, l);
	case BPF_PROG_TYPE_KPROBE:
		return to_kprobe(c, l);
	default:
		return -EINVAL;
	}
}

/* Takes the program's reference. */
static long make(struct call *c, struct prog *p, int (*aim)(struct call *c, struct link *l))
{
	struct link *l = calloc(1, sizeof(*l));
	long rc;

	if (!l) {
		vm_object_put(c->e, &p->obj);
		return -ENOMEM;
	}
	l->prog = p;			      /* K1 */
	pthread_mutex_lock(&c->e->link_lock); /* K2 */
	rc = aim(c, l);
	if (!rc)
		rc = vm_object_add(c->e, &l->obj, OBJECT_LINK, -1);
	pthread_mutex_unlock(&c->e->link_lock);
	if (rc) {
		vm_link_free(c->e, l);
		return rc;
	}
	rc = vm_call_hand(c, &l->obj, O_RDWR);
	vm_object_put(c->e, &l->obj);
	return rc;
}

static int aim_create(struct call *c, struct link *l)
{
	int rc;

	l->attach_type = c->attr.a.link_create.attach_type;
	rc = vm_attach_check(l->prog, l->attach_type);
	return rc ? rc : to_target(c, l);
}

long vm_link_do_create(struct call *c)
{
	struct prog *p;
	int rc;

	if (c->attr.a.link_create.attach_type == VM_STRUCT_OPS)
		return -EOPNOTSUPP;
	rc = vm_prog_get(c, (int)c->attr.a.link_create.prog_fd, &p);
	return rc ? rc : make(c, p, aim_create);
}

static int aim_raw_tp(struct call *c, struct link *l)
{
	uint64_t name = c->attr.a.raw_tracepoint.name;
	uint32_t type = l->prog->type;

	l->type = BPF_LINK_TYPE_RAW_TRACEPOINT;
	l->attach_type = l->prog->attach_type;
	l->cookie = c->attr.raw_tp_cookie;
	if (type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_LSM) {
		if (name)
			return -EINVAL;
		if (l->attach_type != BPF_TRACE_RAW_TP)
			l->type = BPF_LINK_TYPE_TRACING;
		l->target = l->prog->attach_btf_id;
		return l->attach_type == BPF_TRACE_ITER ? -EINVAL : 0;
	}
	if (type == BPF_PROG_TYPE_EXT)
		return name ? -EINVAL : to_function(c, l, 0, 0);
	if (type != BPF_PROG_TYPE_RAW_TRACEPOINT && type != BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE)
		return -EINVAL;
	if (vm_call_string(c, l->name, name, sizeof(l->name)) < 0)
		return -EFAULT;
	return l->name[0] ? 0 : -ENOENT;
}

long vm_link_do_raw_tp(struct call *c)
{
	struct prog *p;
	int rc = vm_prog_get(c, (int)c->attr.a.raw_tracepoint.prog_fd, &p);

	return rc ? rc : make(c, p, aim_raw_tp);
}

static long iterate(struct call *c, struct link *l)
{
	struct prog *p = vm_link_prog(c->e, l);
	long rc = vm_iter_file(c, p, &l->iter);

	vm_object_put(c->e, &p->obj);
	return rc;
}

long vm_link_do_iter(struct call *c)
{
	long made = -EINVAL;
	struct object *o;
	int rc;

	if (c->attr.a.iter_create.flags)
		return -EINVAL;
	rc = vm_call_object(c, (int)c->attr.a.iter_create.link_fd, OBJECT_LINK, &o);
	if (rc)
		return rc;
	if (vm_link_of(o)->iter.kind)
		made = iterate(c, vm_link_of(o));
	vm_object_put(c->e, o);
	return made;
}

/* ---- what happens to them ------------------------------------------------------------------------------ */

static bool changeable(const struct link *l)
{
	switch (l->type) {
	case BPF_LINK_TYPE_CGROUP:
	case BPF_LINK_TYPE_NETNS:
	case BPF_LINK_TYPE_XDP:
	case VM_LINK_TCX:
	case VM_LINK_NETKIT:
		return true;
	default:
		return false;
	}
}

static int change(struct call *c, struct link *l, struct prog *new, const struct prog *old)
{
	struct prog *was = l->prog;
	int rc = 0;

	if (!changeable(l) && !l->iter.kind)
		return -EINVAL;
	if (l->iter.kind && new->attach_btf_id != was->attach_btf_id)
		return -EINVAL;
	if (l->detached)
		return -ENOLINK;
	if (old && old != was)
		return -EPERM;
	if (new->type != was->type ||
	    (new->type == BPF_PROG_TYPE_XDP &&new->attach_type != was->attach_type))
		return -EINVAL;
	pthread_mutex_lock(&c->e->lock); /* others read l->prog under it */
	if (l->type == VM_LINK_TCX)
		rc = vm_tcx_swap(c->e, l, new);
	if (!rc) {
		new->obj.refs++;
		l->prog = new;
	}
	pthread_mutex_unlock(&c->e->lock);
	if (!rc)
		vm_object_put(c->e, &was->obj);
	return rc;
}

static int update(struct call *c, struct link *l, struct prog *new)
{
	const union bpf_attr *a = &c->attr.a;
	struct prog *old = NULL;
	int rc = 0;

	if (a->link_update.flags & BPF_F_REPLACE)
		rc = vm_prog_get(c, (int)a->link_update.old_prog_fd, &old);
	else if (a->link_update.old_prog_fd)
		rc = -EINVAL;
	if (rc)
		return rc;
	pthread_mutex_lock(&c->e->attach_lock);
	rc = change(c, l, new, old);
	pthread_mutex_unlock(&c->e->attach_lock);
	if (old)
		vm_object_put(c->e, &old->obj);
	return rc;
}

long vm_link_do_update(struct call *c)
{
	struct object *o;
	struct prog *new;
	int rc;

	if (c->attr.a.link_update.flags & ~(uint32_t)BPF_F_REPLACE)
		return -EINVAL;
	rc = vm_call_object(c, (int)c->attr.a.link_update.link_fd, OBJECT_LINK, &o);
	if (rc)
		return rc;
	rc = vm_prog_get(c, (int)c->attr.a.link_update.new_prog_fd, &new);
	if (!rc) {
		rc = update(c, vm_link_of(o), new);
		vm_object_put(c->e, &new->obj);
	}
	vm_object_put(c->e, o);
	return rc;
}

long vm_link_do_detach(struct call *c)
{
	struct object *o;
	int rc = vm_call_object(c, (int)c->attr.a.link_detach.link_fd, OBJECT_LINK, &o);

	if (rc)
		return rc;
	if (changeable(vm_link_of(o))) {
		vm_link_of(o)->detached = true;
		vm_tcx_drop(c->e, vm_link_of(o));
	} else {
		rc = -EOPNOTSUPP;
	}
	vm_object_put(c->e, o);
	return rc;
}

/* The lock is held. */
static const struct link *xdp_on(struct skep_engine *e, uint32_t ifindex)
{
	const struct object_table *t = &e->tables[OBJECT_LINK];
	unsigned i;

	for (i = 0; i < t->n; i++) {
		const struct link *l = vm_link_of(t->v[i]);

		if (l->type == BPF_LINK_TYPE_XDP && l->ifindex == ifindex && !l->detached)
			return l;
	}
	return NULL;
}

bool vm_link_xdp_on(struct skep_engine *e, uint32_t ifindex)
{
	return xdp_on(e, ifindex) != NULL;
}

void vm_link_xdp_info(struct skep_engine *e, uint32_t ifindex, struct vm_xdp *out)
{
	const struct link *l = xdp_on(e, ifindex);

	if (!l)
		return;
	out->prog_id = l->prog->obj.id;
	out->mode = l->flags & XDP_FLAGS_SKB_MODE ? XDP_ATTACHED_SKB : XDP_ATTACHED_DRV;
}

struct prog *vm_link_xdp(struct skep_engine *e, uint32_t ifindex)
{
	const struct link *l;
	struct prog *p;

	pthread_mutex_lock(&e->lock);
	l = xdp_on(e, ifindex);
	p = l ? l->prog : vm_device_xdp(e, ifindex);
	if (p)
		p->obj.refs++;
	pthread_mutex_unlock(&e->lock);
	return p;
}

/* ---- infos -------------------------------------------------------------------------------------------------- */

/* A string into the caller's buffer; its length goes to *len. -ENOSPC when it was cut. */
static int answer_name(struct call *c, uint64_t to, uint32_t *len, const char *name)
{
	uint32_t room = *len, n = (uint32_t)strlen(name) + 1;

	if (!to != !room)
		return -EINVAL;
	*len = n;
	if (!to)
		return 0;
	if (room >= n)
		return vm_call_write(c, to, name, n);
	if (vm_call_write(c, to, name, room - 1) || vm_call_write(c, to + room - 1, "", 1))
		return -EFAULT;
	return -ENOSPC;
}

static int fill(struct call *c, const struct link *l, struct bpf_link_info *info)
{
	uint32_t *words = (uint32_t *)&info->raw_tracepoint;
	int rc;

	switch (l->type) {
	case BPF_LINK_TYPE_RAW_TRACEPOINT:
		return answer_name(c, info->raw_tracepoint.tp_name,
				   &info->raw_tracepoint.tp_name_len, l->name);
	case BPF_LINK_TYPE_TRACING:
		info->tracing.attach_type = l->attach_type;
		info->tracing.target_btf_id = (uint32_t)l->target;
		info->tracing.target_obj_id = l->extends ? l->extends->obj.id : 0;
		break;
	case BPF_LINK_TYPE_ITER:
		rc = answer_name(c, info->iter.target_name, &info->iter.target_name_len,
				 vm_iter_name(&l->iter));
		vm_iter_info(&l->iter, words + 3);
		return rc;
	case BPF_LINK_TYPE_CGROUP:
		info->cgroup.cgroup_id = l->detached ? 0 : l->target;
		info->cgroup.attach_type = l->attach_type;
		break;
	case BPF_LINK_TYPE_NETNS:
		info->netns.netns_ino = l->detached ? 0 : (uint32_t)l->target;
		info->netns.attach_type = l->attach_type;
		break;
	case BPF_LINK_TYPE_XDP:
		info->xdp.ifindex = l->detached ? 0 : l->ifindex;
		break;
	case VM_LINK_TCX:
	case VM_LINK_NETKIT:
		words[0] = l->detached ? 0 : l->ifindex;
		words[1] = l->attach_type;
		break;
	case VM_LINK_NETFILTER:
		memcpy(words, l->netfilter, sizeof(l->netfilter));
		break;
	}
	return 0;
}

long vm_link_info(struct call *c, struct link *l)
{
	struct {
		struct bpf_link_info info;
		uint8_t more[16]; /* as long as a newer kernel's */
	} all = {0};
	uint64_t to = c->attr.a.info.info;
	uint32_t len = c->attr.a.info.info_len;
	int rc = vm_call_tail_zero(c, to, sizeof(all), len);

	if (rc)
		return rc;
	len = min(len, (uint32_t)sizeof(all));
	if (vm_call_read(c, &all, to, len))
		return -EFAULT;
	all.info.type = l->type;
	all.info.id = l->obj.id;
	pthread_mutex_lock(&c->e->lock);
	all.info.prog_id = l->prog->obj.id;
	pthread_mutex_unlock(&c->e->lock);
	rc = fill(c, l, &all.info);
	if (rc)
		return rc;
	if (vm_call_write(c, to, &all, len))
		return -EFAULT;
	return vm_call_put(c, info.info_len, len);
}

static int answer_task_fd(struct call *c, const struct link *l)
{
	uint32_t room = c->attr.a.task_fd_query.buf_len, len = (uint32_t)strlen(l->name);
	uint64_t to = c->attr.a.task_fd_query.buf;
	int rc = 0;

	if (room && to)
		rc = answer_name(c, to, &room, l->name);
	if (rc && rc != -ENOSPC)
		return rc;
	if (vm_call_put(c, task_fd_query.buf_len, len) ||
	    vm_call_put(c, task_fd_query.prog_id, l->prog->obj.id) ||
	    vm_call_put(c, task_fd_query.fd_type, BPF_FD_TYPE_RAW_TRACEPOINT) ||
	    vm_call_put(c, task_fd_query.probe_offset, 0) ||
	    vm_call_put(c, task_fd_query.probe_addr, 0))
		return -EFAULT;
	return rc;
}

/* Only of a caller's own descriptors: those of others cannot be asked for. */
long vm_link_do_task_fd(struct call *c)
{
	struct vm_who who = {.pid = (uint32_t)getpid()};
	struct object *o;
	int rc;

	if (c->attr.a.task_fd_query.flags)
		return -EINVAL;
	if (c->caller->who)
		c->caller->who(c->caller->arg, &who);
	if (c->attr.a.task_fd_query.pid != who.pid)
		return -ENOENT;
	rc = vm_call_any(c, (int)c->attr.a.task_fd_query.fd, &o, NULL);
	if (rc)
		return rc == -EBADF ? rc : -VM_ENOTSUPP;
	if (o->kind == OBJECT_LINK && vm_link_of(o)->type == BPF_LINK_TYPE_RAW_TRACEPOINT)
		rc = answer_task_fd(c, vm_link_of(o));
	else
		rc = -VM_ENOTSUPP;
	vm_object_put(c->e, o);
	return rc;
}
