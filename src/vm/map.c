// SPDX-License-Identifier: Apache-2.0
/*
 * Maps behind bpf(2): the caller's bytes in and out; what a map means is map/'s business.
 *
 * M1  A map's objects (programs, maps) are referenced once for each slot they stand in.
 * M2  BPF_F_RDONLY and BPF_F_WRONLY are how the caller's description is opened: the file itself says
 *     what its holder may.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "vm/inside.h"
#include "vm/shadow.h"

#define BOUNCE 512 /* keys and values up to this size need no memory */

/* ---- what slots hold ------------------------------------------------------------------------ */

static bool progs_type(struct vm_map *m, const struct prog *p)
{
	if (!m->progs.type)
		m->progs.type = p->run_type;
	return m->progs.type == p->run_type;
}

int vm_map_progs_caller(struct skep_engine *e, struct vm_map *m, const struct prog *p)
{
	int rc = -EINVAL;

	pthread_mutex_lock(&e->lock);
	if (progs_type(m, p) && !(p->code.jit && m->progs.interpreted)) {
		m->progs.compiled |= !!p->code.jit;
		rc = 0;
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

int vm_map_progs_member(struct skep_engine *e, struct vm_map *m, const struct prog *p)
{
	int rc = -EINVAL;

	pthread_mutex_lock(&e->lock);
	if (progs_type(m, p) && (p->code.jit || !m->progs.compiled)) {
		m->progs.interpreted |= !p->code.jit;
		rc = 0;
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

static void *slot_prog(struct call *c, struct vm_map *m, int fd, int *rc)
{
	struct object *o;

	*rc = vm_call_object(c, fd, OBJECT_PROG, &o);
	if (*rc)
		return NULL;
	if (m->map->def.type == BPF_MAP_TYPE_PROG_ARRAY)
		*rc = vm_map_progs_member(c->e, m, vm_prog_of(o));
	if (!*rc)
		return vm_prog_of(o);
	vm_object_put(c->e, o);
	return NULL;
}

static void *slot_map(struct call *c, struct vm_map *outer, int fd, int *rc)
{
	struct vm_map *inner;
	struct object *o;

	*rc = vm_call_object(c, fd, OBJECT_MAP, &o);
	if (*rc)
		return NULL;
	inner = container_of(o, struct vm_map, obj);
	if (map_same_shape(inner->map, &outer->inner))
		return inner->map;
	vm_object_put(c->e, o);
	*rc = -EINVAL;
	return NULL;
}

/* A perf event is whatever descriptor the caller says it is; it is written to by who knows it. */
static void *slot_fd(struct call *c, int fd, int *rc)
{
	int *slot = malloc(sizeof(*slot));
	int copy;

	if (!slot) {
		*rc = -ENOMEM;
		return NULL;
	}
	copy = c->caller->fd_get(c->caller->arg, fd);
	*slot = copy;
	*rc = copy < 0 ? -EBADF : 0;
	if (copy < 0) {
		free(slot);
		return NULL;
	}
	return slot;
}

/* Of sockets, tasks and the like: never without BTF. */
static bool is_storage(uint32_t type)
{
	return type == BPF_MAP_TYPE_SK_STORAGE || type == BPF_MAP_TYPE_INODE_STORAGE ||
	       type == BPF_MAP_TYPE_TASK_STORAGE || type == VM_MAP_TYPE_CGRP_STORAGE;
}

uint64_t vm_map_inode_key(const struct stat *st)
{
	return st->st_ino ^ (uint64_t)st->st_dev << 40;
}

/* What storage belongs to (a socket, a task, a file): known by its inode, and held by nobody. */
static void *slot_inode(struct call *c, int fd, int *rc)
{
	cleanup(fd_close) int copy = c->caller->fd_get(c->caller->arg, fd);
	struct stat st;

	*rc = copy < 0 || fstat(copy, &st) ? -EBADF : 0;
	return *rc ? NULL : (void *)(uintptr_t)vm_map_inode_key(&st);
}

static bool holds_maps(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static bool holds_sockets(uint32_t type)
{
	return type == BPF_MAP_TYPE_SOCKMAP || type == BPF_MAP_TYPE_SOCKHASH ||
	       type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
}

static bool slot_alive(void *arg, struct map *map, void *object)
{
	return !holds_sockets(map->def.type) || vm_slot_alive(arg, map, object);
}

static void *slot_get(void *arg maybe_unused, struct map *map, int fd, int *rc)
{
	struct vm_map *m = vm_map_of(map);

	if (!vm_calling) {
		*rc = -EINVAL;
		return NULL;
	}
	if (map->def.type == BPF_MAP_TYPE_PROG_ARRAY || map->def.type == BPF_MAP_TYPE_DEVMAP ||
	    map->def.type == BPF_MAP_TYPE_DEVMAP_HASH || map->def.type == BPF_MAP_TYPE_CPUMAP)
		return slot_prog(vm_calling, m, fd, rc);
	if (holds_maps(map->def.type))
		return slot_map(vm_calling, m, fd, rc);
	if (is_storage(map->def.type))
		return slot_inode(vm_calling, fd, rc);
	if (holds_sockets(map->def.type))
		return vm_slot_socket(vm_calling, map->def.type, fd, rc);
	return slot_fd(vm_calling, fd, rc);
}

static void slot_put(void *arg, struct map *map, void *object)
{
	struct skep_engine *e = arg;

	if (holds_maps(map->def.type)) {
		vm_object_put(e, &vm_map_of(object)->obj);
	} else if (map->def.type == BPF_MAP_TYPE_PROG_ARRAY ||
		   map->def.type == BPF_MAP_TYPE_DEVMAP ||
		   map->def.type == BPF_MAP_TYPE_DEVMAP_HASH ||
		   map->def.type == BPF_MAP_TYPE_CPUMAP) {
		vm_object_put(e, &((struct prog *)object)->obj);
	} else if (holds_sockets(map->def.type)) {
		free(object);
	} else if (!is_storage(map->def.type)) {
		fd_close(object);
		free(object);
	}
}

static uint64_t slot_id(void *arg maybe_unused, struct map *map, void *object)
{
	if (holds_sockets(map->def.type))
		return vm_slot_cookie(object);
	if (holds_maps(map->def.type))
		return vm_map_of(object)->obj.id;
	if (map->def.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	    map->def.type == BPF_MAP_TYPE_CGROUP_ARRAY)
		return 0;
	return ((struct prog *)object)->obj.id;
}

/* ---- creation --------------------------------------------------------------------------------- */

static int check_flags(const union bpf_attr *a, uint32_t flags)
{
	if (a->btf_vmlinux_value_type_id) {
		if (a->map_type != BPF_MAP_TYPE_STRUCT_OPS || a->btf_key_type_id ||
		    a->btf_value_type_id)
			return -EINVAL;
	} else if (a->btf_key_type_id && !a->btf_value_type_id) {
		return -EINVAL;
	}
	if (a->map_type != BPF_MAP_TYPE_BLOOM_FILTER && a->map_type != VM_MAP_TYPE_ARENA &&
	    a->map_extra)
		return -EINVAL;
	if ((flags & BPF_F_RDONLY) && (flags & BPF_F_WRONLY))
		return -EINVAL;
	if ((flags & BPF_F_NUMA_NODE) && (int)a->numa_node > 0)
		return -EINVAL;
	return is_storage(a->map_type) && (!a->btf_key_type_id || !a->btf_value_type_id) ? -EINVAL
											 : 0;
}

static int inner_def(struct call *c, struct vm_map *m)
{
	struct vm_map *inner;
	struct object *o;
	int rc;

	if (!holds_maps(c->attr.a.map_type))
		return 0;
	rc = vm_call_object(c, (int)c->attr.a.inner_map_fd, OBJECT_MAP, &o);
	if (rc)
		return rc;
	inner = container_of(o, struct vm_map, obj);
	rc = holds_maps(inner->map->def.type) ? -EINVAL : 0;
	m->inner = inner->map->def;
	m->inner.objects = NULL;
	m->inner.inner = NULL;
	vm_object_put(c->e, o);
	return rc;
}

/* Types whose values and keys the kernel takes no BTF for. */
static bool refuses_btf(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_DEVMAP_HASH:
	case BPF_MAP_TYPE_XSKMAP:
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SOCKHASH:
	case BPF_MAP_TYPE_STACK_TRACE:
		return true;
	default:
		return false;
	}
}

static bool may_lack_key(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_BLOOM_FILTER || refuses_btf(type);
}

static int check_btf_key(const struct call *c, const struct btf *b)
{
	const union bpf_attr *a = &c->attr.a;

	switch (a->map_type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		if (a->btf_key_type_id)
			return vm_btf_is_u32(b, a->btf_key_type_id) ? 0 : -EINVAL;
		return a->map_type == BPF_MAP_TYPE_ARRAY && a->max_entries == 1 &&
				       vm_btf_kind_of(b, a->btf_value_type_id) == BTF_KIND_DATASEC
			       ? 0
			       : -EINVAL;
	case BPF_MAP_TYPE_LPM_TRIE:
		return vm_btf_kind_of(b, a->btf_key_type_id) == BTF_KIND_STRUCT ? 0 : -EINVAL;
	case BPF_MAP_TYPE_BLOOM_FILTER:
		return a->btf_key_type_id ? -EINVAL : 0;
	default:
		return refuses_btf(a->map_type) ? -VM_ENOTSUPP : 0;
	}
}

static int check_btf_fields(const struct call *c, const struct btf_fields *f)
{
	uint32_t type = c->attr.a.map_type;
	bool plain = type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_ARRAY;

	if (!f->any)
		return 0;
	if (c->attr.a.map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EACCES;
	if (f->fields.spin_lock >= 0 && !plain && type != BPF_MAP_TYPE_CGROUP_STORAGE &&
	    type != BPF_MAP_TYPE_SK_STORAGE && type != BPF_MAP_TYPE_INODE_STORAGE &&
	    type != BPF_MAP_TYPE_TASK_STORAGE && type != VM_MAP_TYPE_CGRP_STORAGE)
		return -EOPNOTSUPP;
	if (f->fields.timer >= 0 && !plain && type != BPF_MAP_TYPE_LRU_HASH)
		return -EOPNOTSUPP;
	return 0;
}

static int check_btf(struct call *c, const struct btf *b, struct btf_fields *fields)
{
	const union bpf_attr *a = &c->attr.a;
	int rc;

	if (a->btf_key_type_id) {
		if (vm_btf_size(b, a->btf_key_type_id) != (long)a->key_size)
			return -EINVAL;
	} else if (!may_lack_key(a->map_type)) {
		return -EINVAL;
	}
	if (vm_btf_size(b, a->btf_value_type_id) != (long)a->value_size)
		return -EINVAL;
	vm_btf_find_fields(b, a->btf_value_type_id, fields);
	rc = check_btf_fields(c, fields);
	return rc ? rc : check_btf_key(c, b);
}

static int take_btf(struct call *c, struct vm_map *m, struct map_def *def)
{
	const union bpf_attr *a = &c->attr.a;
	struct btf_fields fields = {.fields = def->fields};
	struct object *o;
	int rc;

	if (!a->btf_key_type_id && !a->btf_value_type_id)
		return 0;
	rc = vm_call_object(c, (int)a->btf_fd, OBJECT_BTF, &o);
	if (rc)
		return rc;
	m->btf = vm_btf_of(o);
	m->btf_key = a->btf_key_type_id;
	m->btf_value = a->btf_value_type_id;
	rc = check_btf(c, m->btf, &fields);
	def->fields = fields.fields;
	return rc;
}

/* Types whose slots are all there from the start; what they would take is known before. */
static bool too_large(const struct call *c, const struct map_def *def)
{
	switch (def->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_DEVMAP:
	case BPF_MAP_TYPE_XSKMAP:
		return def->max_entries > c->e->options.memory_max / 8;
	default:
		return false;
	}
}

static int make(struct call *c, struct vm_map *m, struct map_def *def)
{
	int rc = too_large(c, def) ? -ENOMEM : map_create(&m->map, def, NULL);

	if (rc)
		return rc;
	m->bytes = map_bytes(m->map);
	c->e->memory += m->bytes;
	if (c->e->memory > c->e->options.memory_max)
		vm_sweep(c->e);
	return c->e->memory > c->e->options.memory_max ? -ENOMEM : 0;
}

static void release(struct skep_engine *e, struct vm_map *m)
{
	int wake = m->wake.fd;

	e->memory -= m->bytes;
	vm_timers_of_map(e, m);
	map_free(m->map);
	if (m->btf)
		vm_object_put(e, vm_btf_object(m->btf));
	fd_close(&wake);
	free(m);
}

static int build(struct call *c, struct vm_map *m, uint32_t flags)
{
	const union bpf_attr *a = &c->attr.a;
	struct map_def def = {
		.type = a->map_type,
		.key_size = a->key_size,
		.value_size = a->value_size,
		.max_entries = a->max_entries,
		.flags = flags,
		.extra = a->map_extra,
		.cpus = c->e->options.cpus,
		.fields = {.spin_lock = -1, .timer = -1},
		.inner = holds_maps(a->map_type) ? &m->inner : NULL,
		.objects = &m->objects,
	};
	int rc = inner_def(c, m);

	if (!rc)
		rc = vm_name_copy(m->name, a->map_name);
	if (rc >= 0)
		rc = take_btf(c, m, &def);
	return rc ? rc : make(c, m, &def);
}

/* What callers may map; not values with a lock, a timer or a pointer in them. */
static int mapped_file(const struct map *m)
{
	const struct map_fields *f = &m->def.fields;

	return f->spin_lock >= 0 || f->timer >= 0 || f->n_kptrs ? -1 : m->memfd;
}

long vm_map_do_create(struct call *c)
{
	uint32_t flags = c->attr.a.map_flags & ~(uint32_t)VM_F_TOKEN_FD;
	int mode = flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR;
	struct vm_map *m;
	long rc = check_flags(&c->attr.a, flags);

	if (rc)
		return rc;
	if (c->attr.a.map_ifindex)
		return -EINVAL;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->engine = c->e;
	m->wake.fd = -1;
	m->objects = (struct map_objects){.get = slot_get,
					  .put = slot_put,
					  .id = slot_id,
					  .alive = slot_alive,
					  .drop = vm_timer_drop,
					  .arg = c->e};
	rc = build(c, m, flags);
	if (!rc)
		rc = vm_object_add(c->e, &m->obj, OBJECT_MAP, mapped_file(m->map));
	if (rc) {
		release(c->e, m);
		return rc;
	}
	vm_show_map(m);
	rc = vm_call_hand(c, &m->obj, mode);
	vm_object_put(c->e, &m->obj);
	return rc;
}

void vm_map_free(struct skep_engine *e, struct vm_map *m)
{
	release(e, m);
}

void vm_map_unused(struct skep_engine *e, struct vm_map *m)
{
	uint32_t i;

	vm_timers_of_map(e, m);
	if (m->map->def.type != BPF_MAP_TYPE_PROG_ARRAY)
		return;
	for (i = 0; i < m->map->def.max_entries; i++)
		map_sys_delete(m->map, &i);
}

/* ---- elements ------------------------------------------------------------------------------------ */

/* A call on one map: the map, its caller's rights, room for a key and a value. */
struct element {
	struct object *obj;
	struct vm_map *m;
	struct map *map;
	uint8_t *key, *value;
	uint32_t key_size, value_size;
	uint8_t room[BOUNCE];
	uint8_t *more;
	bool writing;
};

static void element_done(struct call *c, struct element *el)
{
	if (el->writing)
		el->map->writers--;
	free(el->more);
	if (el->obj)
		vm_object_put(c->e, el->obj);
}

static int element_map(struct call *c, struct element *el, int fd, bool read, bool write)
{
	int mode, rc = vm_call_any(c, fd, &el->obj, &mode);

	if (rc)
		return rc;
	if (el->obj->kind != OBJECT_MAP)
		return -EINVAL;
	el->m = container_of(el->obj, struct vm_map, obj);
	el->map = el->m->map;
	el->key_size = el->map->def.key_size;
	el->value_size = map_sys_value_size(el->map);
	if (write) {
		el->map->writers++;
		el->writing = true;
	}
	if (read && mode == O_WRONLY)
		return -EPERM; /* M2 */
	if (write && (mode == O_RDONLY || el->map->frozen))
		return -EPERM;
	return 0;
}

static int element_room(struct element *el)
{
	size_t need = (size_t)el->key_size + 8 + el->value_size;

	el->key = el->room;
	if (need > sizeof(el->room)) {
		el->more = malloc(need);
		if (!el->more)
			return -ENOMEM;
		el->key = el->more;
	}
	el->value = el->key + ((el->key_size + 7) & ~7U);
	return 0;
}

static int element_key(struct call *c, struct element *el)
{
	if (!el->key_size)
		return c->attr.a.key ? -EINVAL : 0;
	return vm_call_read(c, el->key, c->attr.a.key, el->key_size);
}

static int check_lock(const struct element *el, uint64_t flags)
{
	return (flags & BPF_F_LOCK) && el->map->def.fields.spin_lock < 0 ? -EINVAL : 0;
}

static int lookup(struct call *c, struct element *el)
{
	int rc = check_lock(el, c->attr.a.flags);

	if (!rc)
		rc = element_room(el);
	if (!rc)
		rc = element_key(c, el);
	if (!rc && el->map->def.type == BPF_MAP_TYPE_BLOOM_FILTER) {
		rc = vm_call_read(c, el->value, c->attr.a.value, el->value_size);
		return rc ? rc
			  : map_sys_lookup(el->map, el->key_size ? el->key : NULL, el->value,
					   c->attr.a.flags);
	}
	if (!rc)
		rc = map_sys_lookup(el->map, el->key_size ? el->key : NULL, el->value,
				    c->attr.a.flags);
	return rc ? rc : vm_call_write(c, c->attr.a.value, el->value, el->value_size);
}

long vm_map_do_lookup(struct call *c)
{
	struct element el = {0};
	int rc;

	if (c->attr.a.flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	rc = element_map(c, &el, (int)c->attr.a.map_fd, true, false);
	if (!rc)
		rc = lookup(c, &el);
	element_done(c, &el);
	return rc;
}

/* Key and value. */
static int element_both(struct call *c, struct element *el)
{
	const union bpf_attr *a = &c->attr.a;

	if (!el->key_size && a->key)
		return -EINVAL;
	return vm_call_read2(c, (void *const[]){el->key, el->value},
			     (const uint64_t[]){a->key, a->value},
			     (const size_t[]){el->key_size, el->value_size});
}

long vm_map_do_update(struct call *c)
{
	struct element el = {0};
	int rc = element_map(c, &el, (int)c->attr.a.map_fd, false, true);

	if (!rc)
		rc = check_lock(&el, c->attr.a.flags);
	if (!rc)
		rc = element_room(&el);
	if (!rc)
		rc = element_both(c, &el);
	if (!rc)
		rc = map_sys_update(el.map, el.key_size ? el.key : NULL, el.value, c->attr.a.flags);
	element_done(c, &el);
	return rc;
}

long vm_map_do_delete(struct call *c)
{
	struct element el = {0};
	int rc = element_map(c, &el, (int)c->attr.a.map_fd, false, true);

	if (!rc)
		rc = element_room(&el);
	if (!rc)
		rc = element_key(c, &el);
	if (!rc)
		rc = map_sys_delete(el.map, el.key_size ? el.key : NULL);
	element_done(c, &el);
	return rc;
}

static int next_key(struct call *c, struct element *el)
{
	uint8_t *next;
	int rc = element_room(el);

	if (rc)
		return rc;
	if (c->attr.a.key)
		rc = element_key(c, el);
	next = malloc(el->key_size + 1);
	if (!next)
		return -ENOMEM;
	if (!rc)
		rc = map_sys_next_key(el->map, c->attr.a.key ? el->key : NULL, next);
	if (!rc)
		rc = vm_call_write(c, c->attr.a.next_key, next, el->key_size);
	free(next);
	return rc;
}

long vm_map_do_next_key(struct call *c)
{
	struct element el = {0};
	int rc = element_map(c, &el, (int)c->attr.a.map_fd, true, false);

	if (!rc)
		rc = next_key(c, &el);
	element_done(c, &el);
	return rc;
}

static bool is_queue(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_QUEUE || m->def.type == BPF_MAP_TYPE_STACK;
}

static bool is_hash(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_HASH || m->def.type == BPF_MAP_TYPE_PERCPU_HASH ||
	       m->def.type == BPF_MAP_TYPE_LRU_HASH || m->def.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static int lookup_delete(struct call *c, struct element *el)
{
	uint64_t flags = c->attr.a.flags;
	int rc = flags && is_queue(el->map) ? -EINVAL : check_lock(el, flags);

	if (!rc)
		rc = element_room(el);
	if (!rc)
		rc = element_key(c, el);
	if (!rc && !is_queue(el->map) && !is_hash(el->map))
		rc = -VM_ENOTSUPP;
	if (!rc)
		rc = map_sys_lookup_delete(el->map, el->key_size ? el->key : NULL, el->value,
					   flags);
	return rc ? rc : vm_call_write(c, c->attr.a.value, el->value, el->value_size);
}

long vm_map_do_lookup_delete(struct call *c)
{
	struct element el = {0};
	int rc;

	if (c->attr.a.flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	rc = element_map(c, &el, (int)c->attr.a.map_fd, true, true);
	if (!rc)
		rc = lookup_delete(c, &el);
	element_done(c, &el);
	return rc;
}

long vm_map_do_freeze(struct call *c)
{
	struct element el = {0};
	int mode, rc = vm_call_any(c, (int)c->attr.a.map_fd, &el.obj, &mode);

	if (rc)
		return rc;
	if (el.obj->kind != OBJECT_MAP) {
		rc = -EINVAL;
	} else {
		const struct map_fields *f;

		el.m = container_of(el.obj, struct vm_map, obj);
		f = &el.m->map->def.fields;
		if (f->spin_lock >= 0 || f->timer >= 0 || f->n_kptrs)
			rc = -VM_ENOTSUPP;
		else if (mode == O_RDONLY || el.m->map->frozen)
			rc = -EPERM;
		else
			rc = map_sys_freeze(el.m->map);
		vm_show_map(el.m);
	}
	element_done(c, &el);
	return rc;
}

/* ---- batches ---------------------------------------------------------------------------------------- */

static int batch_begin(struct call *c, struct element *el, enum map_batch what)
{
	bool read = what & (MAP_BATCH_LOOKUP | MAP_BATCH_LOOKUP_DELETE),
	     write = what != MAP_BATCH_LOOKUP;
	uint64_t flags = c->attr.a.batch.elem_flags;
	int rc = element_map(c, el, (int)c->attr.a.batch.map_fd, read, write);

	if (rc)
		return rc;
	if (!(map_sys_batches(el->map) & what))
		return -VM_ENOTSUPP;
	if (flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	/* Hashes look at batch.flags when they look up; the generic ones do not. */
	if (read && (is_hash(el->map) || el->map->def.type == BPF_MAP_TYPE_HASH_OF_MAPS) &&
	    c->attr.a.batch.flags)
		return -EINVAL;
	return check_lock(el, flags);
}

static int batch_each(struct call *c, struct element *el, bool update, uint32_t *done)
{
	const union bpf_attr *a = &c->attr.a;
	int rc = element_room(el);
	uint32_t i;

	for (i = 0; !rc && i < a->batch.count; i++) {
		rc = vm_call_read(c, el->key, a->batch.keys + (uint64_t)i * el->key_size,
				  el->key_size);
		if (!rc && update)
			rc = vm_call_read(c, el->value,
					  a->batch.values + (uint64_t)i * el->value_size,
					  el->value_size);
		if (rc)
			break;
		rc = update ? map_sys_update(el->map, el->key, el->value, a->batch.elem_flags)
			    : map_sys_delete(el->map, el->key);
		if (rc)
			break;
	}
	*done = i;
	return rc;
}

static long batch_write(struct call *c, enum map_batch what)
{
	struct element el = {0};
	uint32_t done = 0;
	int rc = batch_begin(c, &el, what);

	if (!rc && c->attr.a.batch.count) {
		rc = vm_call_put(c, batch.count, 0);
		if (!rc) {
			rc = batch_each(c, &el, what == MAP_BATCH_UPDATE, &done);
			if (vm_call_put(c, batch.count, done))
				rc = -EFAULT;
		}
	}
	element_done(c, &el);
	return rc;
}

long vm_map_do_update_batch(struct call *c)
{
	return batch_write(c, MAP_BATCH_UPDATE);
}

long vm_map_do_delete_batch(struct call *c)
{
	return batch_write(c, MAP_BATCH_DELETE);
}

/* Never more at once than this many bytes; a batch says itself how many it gave. */
#define BATCH_BYTES (16U << 20)

static int batch_answer(struct call *c, struct element *el, const uint8_t *keys,
			const uint8_t *values, uint32_t n, const void *cursor)
{
	const union bpf_attr *a = &c->attr.a;

	if (vm_call_write(c, a->batch.keys, keys, (size_t)n * el->key_size) ||
	    vm_call_write(c, a->batch.values, values, (size_t)n * el->value_size))
		return -EFAULT;
	if (n && vm_call_write(c, a->batch.out_batch, cursor, map_sys_cursor_size(el->map)))
		return -EFAULT;
	return vm_call_put(c, batch.count, n);
}

static int batch_copy(struct call *c, struct element *el, bool both)
{
	size_t each = (size_t)el->key_size + el->value_size;
	uint32_t n = (uint32_t)min((uint64_t)c->attr.a.batch.count, BATCH_BYTES / each + 1);
	cleanup(mem_free) uint8_t *keys = malloc(n * (size_t)el->key_size + 1);
	cleanup(mem_free) uint8_t *values = malloc(n * (size_t)el->value_size + 1);
	cleanup(mem_free) uint8_t *in = calloc(1, max(el->key_size, 16U));
	cleanup(mem_free) uint8_t *out = calloc(1, max(el->key_size, 16U));
	int rc, failed;

	if (!keys || !values || !in || !out)
		return -ENOMEM;
	if (c->attr.a.batch.in_batch &&
	    vm_call_read(c, in, c->attr.a.batch.in_batch, map_sys_cursor_size(el->map)))
		return -EFAULT;
	rc = map_sys_lookup_batch(el->map, c->attr.a.batch.in_batch ? in : NULL, out, keys, values,
				  &n, c->attr.a.batch.elem_flags, both);
	if (rc && rc != -ENOENT) {
		if (rc == -ENOSPC && vm_call_put(c, batch.count, n))
			return -EFAULT;
		return rc;
	}
	failed = batch_answer(c, el, keys, values, n, out);
	return failed ? failed : rc;
}

static long batch_lookup(struct call *c, enum map_batch what)
{
	struct element el = {0};
	int rc = batch_begin(c, &el, what);

	if (!rc && c->attr.a.batch.count) {
		rc = vm_call_put(c, batch.count, 0);
		if (!rc)
			rc = batch_copy(c, &el, what == MAP_BATCH_LOOKUP_DELETE);
	}
	element_done(c, &el);
	return rc;
}

long vm_map_do_lookup_batch(struct call *c)
{
	return batch_lookup(c, MAP_BATCH_LOOKUP);
}

long vm_map_do_lookup_delete_batch(struct call *c)
{
	return batch_lookup(c, MAP_BATCH_LOOKUP_DELETE);
}

/* ---- info ---------------------------------------------------------------------------------------------- */

long vm_map_info(struct call *c, struct vm_map *m)
{
	const struct map_def *d = &m->map->def;
	struct bpf_map_info info = {
		.type = d->type,
		.id = m->obj.id,
		.key_size = d->key_size,
		.value_size = d->value_size,
		.max_entries = d->max_entries,
		.map_flags = d->flags,
		.map_extra = d->extra,
		.btf_id = m->btf ? vm_btf_object(m->btf)->id : 0,
		.btf_key_type_id = m->btf_key,
		.btf_value_type_id = m->btf_value,
	};
	uint32_t len = c->attr.a.info.info_len;
	int rc = vm_call_tail_zero(c, c->attr.a.info.info, sizeof(info), len);

	if (rc)
		return rc;
	len = min(len, (uint32_t)sizeof(info));
	memcpy(info.name, m->name, sizeof(info.name));
	if (vm_call_write(c, c->attr.a.info.info, &info, len))
		return -EFAULT;
	return vm_call_put(c, info.info_len, len);
}
