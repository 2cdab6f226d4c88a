// SPDX-License-Identifier: Apache-2.0
/*
 * BPF iterators: a program is called for each object of a kind and writes text or bytes of it.
 *
 *	BPF_LINK_CREATE: attach_btf_id --> "bpf_iter_..." in the kernel's BTF --> row of kinds[]
 *	BPF_ITER_CREATE: all of them, one after the other --> seq_printf, seq_write --> a file to read
 *
 * I1  The program runs when the file is made, not when it is read: what is read is how it was then. The file
 *     is sealed; reading begins at its start in every description of it.
 * I2  One object's output fits 32 KB, as in the kernel; the first that does not ends it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "vm/iter.h"
#include "vm/shadow.h"

#define SHOW_MAX (8U * 4096)

/* What the program's context points to first: the kernel's struct bpf_iter_meta. */
struct meta {
	uint64_t seq, session_id, seq_num;
};

struct walk {
	struct call *call;
	const struct iter_target *target;
	struct run run;
	struct meta meta;
	uint64_t ctx[4]; /* meta, and up to three of the kind */
	struct buf out;
	int rc;
};

struct kind {
	const char *name; /* behind "bpf_iter_" */
	int (*aim)(struct call *c, const union bpf_iter_link_info *info, struct iter_target *t);
	int (*each)(struct walk *w);
	unsigned args; /* beside meta */
};

/* ---- one object ---------------------------------------------------------------------------------- */

/* Calls the program; -ECANCELED: it wants no more. What it wrote stays if it fits (I2). */
static int show(struct walk *w)
{
	struct run *r = &w->run;
	size_t before = w->out.len;
	struct shadow seq;
	uint32_t retval = 0;
	int rc;

	seq = vm_shadow(r, "seq_file");
	r->seq = &w->out;
	r->seq_at = (uintptr_t)seq.at;
	r->seq_room = before + SHOW_MAX;
	w->meta.seq = (uintptr_t)seq.at;
	w->ctx[0] = (uintptr_t)&w->meta;
	vm_run_region(r, REGION_CTX, w->ctx, sizeof(w->ctx), false);
	vm_run_region(r, REGION_PACKET, &w->meta, sizeof(w->meta), false);
	rc = vm_run_once(r, w->ctx, &retval);
	if (!rc && r->seq_over)
		rc = -E2BIG;
	if (rc)
		w->out.len = before;
	w->meta.seq_num++;
	return rc ? rc : retval ? -ECANCELED : 0;
}

/* ---- kinds ----------------------------------------------------------------------------------------- */

static int each_object(struct walk *w, enum object_kind kind,
		       void *(*shadow)(struct walk *, struct object *))
{
	struct skep_engine *e = w->call->e;
	struct object *o;
	uint32_t id = 0;
	int rc = 0;

	while (!rc && (id = vm_object_next_id(e, kind, id))) {
		o = vm_object_by_id(e, kind, id);
		if (!o)
			continue;
		w->ctx[1] = (uintptr_t)shadow(w, o);
		rc = show(w);
		vm_object_put(e, o);
	}
	w->ctx[1] = 0;
	return rc ? rc : show(w);
}

static void *map_shadow(struct walk *w, struct object *o)
{
	return vm_shadow_map(&w->run, container_of(o, struct vm_map, obj));
}

static void *prog_shadow(struct walk *w, struct object *o)
{
	return vm_shadow_prog(&w->run, vm_prog_of(o));
}

static void *link_shadow(struct walk *w, struct object *o)
{
	struct shadow s = vm_shadow(&w->run, "bpf_link");
	struct prog *p = vm_link_prog(w->run.vm.engine, vm_link_of(o));

	vm_shadow_set(&s, "refcnt.counter", 1);
	vm_shadow_set(&s, "id", o->id);
	vm_shadow_set(&s, "type", vm_link_type(vm_link_of(o)));
	vm_shadow_set(&s, "prog", (uintptr_t)vm_shadow_prog(&w->run, p));
	vm_object_put(w->run.vm.engine, &p->obj);
	return s.at;
}

static int each_map(struct walk *w)
{
	return each_object(w, OBJECT_MAP, map_shadow);
}

static int each_prog(struct walk *w)
{
	return each_object(w, OBJECT_PROG, prog_shadow);
}

static int each_link(struct walk *w)
{
	return each_object(w, OBJECT_LINK, link_shadow);
}

/* ---- elements of a map ----------------------------------------------------------------------------- */

static bool per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

static int aim_map(struct call *c, const union bpf_iter_link_info *info, struct iter_target *t)
{
	struct object *o;
	struct vm_map *m;
	int rc;

	if (!info->map.map_fd)
		return -EBADF;
	rc = vm_call_object(c, (int)info->map.map_fd, OBJECT_MAP, &o);
	if (rc)
		return rc;
	m = container_of(o, struct vm_map, obj);
	switch (m->map->def.type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		t->map = m;
		return 0;
	default:
		vm_object_put(c->e, o);
		return -EINVAL;
	}
}

/* The values of all CPUs, one behind the other. */
static void *values_of(struct walk *w, struct map *m, const void *key)
{
	uint32_t each = (m->def.value_size + 7) & ~7U, cpu;
	uint8_t *all = vm_run_keep(&w->run, (size_t)each * m->def.cpus);
	const void *v;

	for (cpu = 0; all && cpu < m->def.cpus; cpu++) {
		v = map_lookup_percpu(m, key, cpu);
		if (v)
			memcpy(all + (size_t)cpu * each, v, m->def.value_size);
	}
	return all;
}

static int show_element(void *arg, const void *key, void *value)
{
	struct walk *w = arg;
	struct map *m = w->target->map->map;
	void *copy = vm_run_keep(&w->run, m->def.key_size);

	if (!copy)
		return 1;
	memcpy(copy, key, m->def.key_size);
	w->ctx[1] = (uintptr_t)vm_shadow_map(&w->run, w->target->map);
	w->ctx[2] = (uintptr_t)copy;
	w->ctx[3] = (uintptr_t)(per_cpu(m->def.type) ? values_of(w, m, key) : value);
	w->rc = show(w);
	return w->rc != 0;
}

static int each_element(struct walk *w)
{
	struct run *r = &w->run;

	r->walked = w->target->map->map;
	map_for_each(w->target->map->map, show_element, w);
	if (w->rc)
		return w->rc;
	w->ctx[1] = (uintptr_t)vm_shadow_map(r, w->target->map);
	w->ctx[2] = w->ctx[3] = 0;
	return show(w);
}

/* ---- tasks: of the caller and those it may see ------------------------------------------------------- */

static int aim_task(struct call *c, const union bpf_iter_link_info *info, struct iter_target *t)
{
	cleanup(fd_close) int fd = -1;
	char path[64], line[128];
	FILE *f;

	if (!!info->task.tid + !!info->task.pid + !!info->task.pid_fd > 1)
		return -EINVAL;
	t->tid = info->task.tid;
	t->pid = info->task.pid;
	if (!info->task.pid_fd)
		return 0;
	fd = c->caller->fd_get(c->caller->arg, (int)info->task.pid_fd);
	if (fd < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Pid: %u", &t->pid);
	if (f)
		fclose(f);
	return t->pid ? 0 : -EBADF;
}

/* What /proc says of a task; false: it has gone. */
static bool read_task(unsigned pid, unsigned tid, char comm[16], unsigned *ppid)
{
	char path[64], line[512], *name, *end;
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%u/task/%u/stat", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(line, sizeof(line), f);
	fclose(f);
	name = ok ? strchr(line, '(') : NULL;
	end = name ? strrchr(line, ')') : NULL;
	if (!end || sscanf(end + 1, " %*c %u", ppid) != 1)
		return false;
	*end = 0;
	snprintf(comm, 16, "%s", name + 1);
	return true;
}

static void *task_shadow(struct walk *w, unsigned pid, unsigned tid, bool parent)
{
	char comm[16] = "";
	struct shadow s;
	unsigned ppid;

	if (!read_task(pid, tid, comm, &ppid))
		return NULL;
	s = vm_shadow(&w->run, "task_struct");
	vm_shadow_set(&s, "pid", tid);
	vm_shadow_set(&s, "tgid", pid);
	vm_shadow_bytes(&s, "comm", comm, sizeof(comm));
	vm_shadow_set(&s, "group_leader",
		      pid == tid ? (uintptr_t)s.at : (uintptr_t)task_shadow(w, pid, pid, false));
	if (parent && ppid)
		vm_shadow_set(&s, "real_parent", (uintptr_t)task_shadow(w, ppid, ppid, false));
	return s.at;
}

/* Names of a directory of /proc that are numbers, in its order: ascending. */
static unsigned next_number(DIR *d)
{
	struct dirent *e;
	unsigned n;

	while ((e = readdir(d)))
		if (sscanf(e->d_name, "%u", &n) == 1)
			return n;
	return 0;
}

static int each_thread(struct walk *w, unsigned pid)
{
	const struct iter_target *t = w->target;
	char path[64];
	unsigned tid;
	int rc = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	d = opendir(path);
	while (!rc && d && (tid = next_number(d))) {
		if (t->tid && t->tid != tid)
			continue;
		w->ctx[1] = (uintptr_t)task_shadow(w, pid, tid, true);
		if (w->ctx[1])
			rc = show(w);
	}
	if (d)
		closedir(d);
	return rc;
}

static int each_task(struct walk *w)
{
	DIR *d = opendir("/proc");
	unsigned pid;
	int rc = 0;

	while (!rc && d && (pid = next_number(d)))
		if (!w->target->pid || w->target->pid == pid)
			rc = each_thread(w, pid);
	if (d)
		closedir(d);
	w->ctx[1] = 0;
	return rc ? rc : show(w);
}

/* ---- links and files -------------------------------------------------------------------------------- */

static const struct kind kinds[] = {
	{"bpf_map", NULL, each_map, 1},	  {"bpf_prog", NULL, each_prog, 1},
	{"bpf_link", NULL, each_link, 1}, {"bpf_map_elem", aim_map, each_element, 3},
	{"task", aim_task, each_task, 1},
};

int vm_iter_aim(struct call *c, struct prog *p, struct iter_target *t)
{
	const union bpf_attr *a = &c->attr.a;
	const char *name = vm_kernel_func(c->e, p->attach_btf_id);
	union bpf_iter_link_info info = {0};
	uint32_t len = a->link_create.iter_info_len;
	unsigned i;

	if (a->link_create.target_fd || a->link_create.flags || !a->link_create.iter_info != !len)
		return -EINVAL;
	if (vm_call_tail_zero(c, a->link_create.iter_info, sizeof(info), len))
		return -E2BIG;
	if (vm_call_read(c, &info, a->link_create.iter_info, min(len, (uint32_t)sizeof(info))))
		return -EFAULT;
	if (!name || strncmp(name, "bpf_iter_", 9))
		return -ENOENT;
	for (i = 0; i < array_size(kinds); i++)
		if (!strcmp(kinds[i].name, name + 9))
			break;
	if (i == array_size(kinds))
		return -EOPNOTSUPP; /* objects of the kernel's alone */
	t->kind = &kinds[i];
	return t->kind->aim ? t->kind->aim(c, &info, t) : 0;
}

void vm_iter_info(const struct iter_target *t, uint32_t words[3])
{
	words[0] = t->map ? t->map->obj.id : 0;
	words[1] = t->tid;
	words[2] = t->pid;
}

const char *vm_iter_name(const struct iter_target *t)
{
	return t->kind->name;
}

static int file_of(const struct buf *b)
{
	cleanup(fd_close) int fd = memfd_create("bpf_iter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char path[32];
	int again;

	if (fd < 0)
		return -errno;
	if (b->len && write(fd, b->data, b->len) != (ssize_t)b->len)
		return -ENOMEM;
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

long vm_iter_file(struct call *c, struct prog *p, const struct iter_target *t)
{
	static _Atomic uint64_t sessions;
	cleanup(fd_close) int fd = -1;
	struct walk *w = calloc(1, sizeof(*w));
	unsigned cpu = map_cpu;
	int rc;

	if (!w)
		return -ENOMEM;
	w->call = c;
	w->target = t;
	w->meta.session_id = ++sessions;
	vm_run_init(&w->run, c->e, c, p);
	rc = t->kind->each(w);
	map_cpu = cpu;
	fd = rc && rc != -ECANCELED && !w->out.len ? rc : file_of(&w->out); /* I1 */
	buf_done(&w->out);
	free(w);
	return fd < 0 ? fd : c->caller->fd_put(c->caller->arg, fd, O_CLOEXEC);
}
