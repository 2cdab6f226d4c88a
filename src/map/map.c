// SPDX-License-Identifier: Apache-2.0
/*
 * map.c: creation, and the way from map.h's functions to a type's operations.
 *
 *	map_create() --> checks of all types --> types[].create --> struct map_base in a type's struct
 *	map_lookup() ... -----------------------------------------> map->ops (impl.h)
 *	map_sys_*()  --> flags, frozen, writers ------------------> ops->sys_*, or the program's side
 *
 * M1  Memory is taken at creation and goes in map_free(): an operation never allocates, and a pointer to
 *     a value is good for as long as the map is, whatever happens to its element.
 * M2  Lookups take no lock. What they walk while writers change it leads to the end or to where it may
 *     be seen that it led astray; they try again a bounded number of times, then take the lock.
 * M3  No lock is held while a caller's function runs (map_for_each, map_ring_drain, map_objects), but
 *     for map_objects.drop, which must not use the map.
 */
#include <fcntl.h>

#include "map/impl.h"

__thread unsigned map_cpu;

static const struct map_type {
	map_create_fn *create;
	const char *refused; /* why there is none */
} types[] = {
	[BPF_MAP_TYPE_HASH] = {hash_create},
	[BPF_MAP_TYPE_PERCPU_HASH] = {hash_create},
	[BPF_MAP_TYPE_LRU_HASH] = {hash_create},
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = {hash_create},
	[BPF_MAP_TYPE_HASH_OF_MAPS] = {hash_create},
	[BPF_MAP_TYPE_ARRAY] = {array_create},
	[BPF_MAP_TYPE_PERCPU_ARRAY] = {array_create},
	[BPF_MAP_TYPE_PROG_ARRAY] = {objects_create},
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = {objects_create},
	[BPF_MAP_TYPE_CGROUP_ARRAY] = {objects_create},
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = {objects_create},
	[BPF_MAP_TYPE_LPM_TRIE] = {lpm_create},
	[BPF_MAP_TYPE_RINGBUF] = {ring_create},
	[BPF_MAP_TYPE_USER_RINGBUF] = {ring_create},
	[BPF_MAP_TYPE_QUEUE] = {queue_create},
	[BPF_MAP_TYPE_STACK] = {queue_create},
	[BPF_MAP_TYPE_BLOOM_FILTER] = {bloom_create},
	[BPF_MAP_TYPE_DEVMAP] = {dev_create},
	[BPF_MAP_TYPE_DEVMAP_HASH] = {dev_create},
	[BPF_MAP_TYPE_CPUMAP] = {dev_create},
	[BPF_MAP_TYPE_XSKMAP] = {dev_create},
	[BPF_MAP_TYPE_STACK_TRACE] = {stack_create},
	[BPF_MAP_TYPE_SK_STORAGE] = {storage_create},
	[BPF_MAP_TYPE_TASK_STORAGE] = {storage_create},
	[BPF_MAP_TYPE_INODE_STORAGE] = {storage_create},
	[TYPE_CGRP_STORAGE] = {storage_create},
	[BPF_MAP_TYPE_CGROUP_STORAGE] = {storage_create},
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = {storage_create},
	[BPF_MAP_TYPE_STRUCT_OPS] = {NULL, "struct_ops maps replace functions of the kernel; "
					   "there is none here"},
	[BPF_MAP_TYPE_SOCKMAP] = {sock_create},
	[BPF_MAP_TYPE_SOCKHASH] = {sock_create},
	[BPF_MAP_TYPE_REUSEPORT_SOCKARRAY] = {sock_create},
	[TYPE_ARENA] = {NULL, "arenas are memory shared with the kernel's own programs"},
};

/* ---- creation -------------------------------------------------------------------------------- */

static int holes_add(struct map_base *b, int at, uint32_t len)
{
	struct map_hole *h = b->holes + b->n_holes;

	if (at < 0)
		return 0;
	if ((uint64_t)at + len > b->m.def.value_size)
		return -EINVAL;
	for (; h > b->holes && h[-1].at > (uint32_t)at; h--)
		h[0] = h[-1];
	*h = (struct map_hole){(uint32_t)at, len};
	b->n_holes++;
	return 0;
}

static int holes_set(struct map_base *b)
{
	const struct map_fields *f = &b->m.def.fields;
	int rc = holes_add(b, f->spin_lock, MAP_SPIN_LOCK_LEN);
	unsigned i;

	if (!rc)
		rc = holes_add(b, f->timer, MAP_TIMER_LEN);
	for (i = 0; !rc && i < min(f->n_kptrs, (unsigned)array_size(f->kptrs)); i++)
		rc = holes_add(b, (int)f->kptrs[i], MAP_KPTR_LEN);
	return rc;
}

void *base_make(size_t size, const struct map_def *def, const struct map_ops *ops)
{
	/* Types keep what threads write on cache lines of its own. */
	struct map_base *b = aligned_alloc(64, (size + 63) & ~(size_t)63);

	if (!b)
		return NULL;
	memset(b, 0, size);
	b->bytes = size;
	b->m.ops = ops;
	b->m.memfd = -1;
	b->m.def = *def;
	b->m.def.flags &= ~(uint32_t)(BPF_F_RDONLY | BPF_F_WRONLY); /* of the descriptor */
	if (def->inner) {
		b->inner = *def->inner;
		b->m.def.inner = &b->inner;
	}
	return b;
}

int file_make(struct map_base *b, uint64_t n)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int fd = memfd_create("bpf-map", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	b->m.memfd = fd;
	if (fd < 0 || ftruncate(fd, (off_t)n) || fcntl(fd, F_ADD_SEALS, seals))
		return -1;
	return fd;
}

void *arena(struct map_base *b, uint64_t n)
{
	void *mem = mmap(NULL, n, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	b->bytes += n;
	return mem;
}

int no_memory(const struct map_def *def, struct skep_err *err)
{
	return skep_fail(err, -ENOMEM, "map of type %u: no memory for %u entries", def->type,
			 def->max_entries);
}

int flags_check(const struct map_def *def, uint32_t allowed, struct skep_err *err)
{
	const uint32_t both = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;

	if (def->flags & ~allowed)
		return skep_fail(err, -EINVAL, "map type %u has no flags 0x%x", def->type,
				 def->flags & ~allowed);
	if ((def->flags & both) == both)
		return skep_fail(err, -EINVAL, "a map is not both read-only and write-only");
	return 0;
}

static int common_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t both = BPF_F_RDONLY | BPF_F_WRONLY;

	if (def->extra && def->type != BPF_MAP_TYPE_BLOOM_FILTER && def->type != TYPE_ARENA)
		return skep_fail(err, -EINVAL, "map type %u has no map_extra", def->type);
	if ((def->flags & both) == both)
		return skep_fail(err, -EINVAL, "a descriptor is not both read-only and write-only");
	if (def->type >= array_size(types) ||
	    (!types[def->type].create && !types[def->type].refused))
		return skep_fail(err, -EINVAL, "map type %u is unknown", def->type);
	if (!types[def->type].create)
		return skep_fail(err, -EOPNOTSUPP, "map type %u: %s", def->type,
				 types[def->type].refused);
	return 0;
}

int inner_check(const struct map_def *def, struct skep_err *err)
{
	const struct map_def *in = def->inner;

	if (!in)
		return skep_fail(err, -EBADF, "a map of maps needs an inner map");
	if (in->inner)
		return skep_fail(err, -EINVAL, "maps of maps do not nest");
	if (in->type == BPF_MAP_TYPE_PROG_ARRAY || in->type == BPF_MAP_TYPE_CGROUP_STORAGE ||
	    in->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE)
		return skep_fail(err, -ENOTSUPP, "map type %u may not be an inner map", in->type);
	return 0;
}

int map_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct map *m = NULL;
	int rc = common_check(def, err);

	assert(def->cpus && def->cpus <= MAP_CPUS_MAX);
	if (!rc)
		rc = types[def->type].create(&m, def, err);
	if (rc)
		return rc;
	rc = holes_set(base_of(m));
	if (rc) {
		map_free(m);
		return skep_fail(err, rc, "a field lies behind the value's %u bytes",
				 def->value_size);
	}
	*out = m;
	return 0;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	m->ops->free(m);
	fd_close(&m->memfd);
	free(base_of(m));
}

size_t map_bytes(const struct map *m)
{
	return base_of(m)->bytes;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static bool same_fields(const struct map_fields *a, const struct map_fields *b)
{
	return a->spin_lock == b->spin_lock && a->timer == b->timer && a->n_kptrs == b->n_kptrs &&
	       !memcmp(a->kptrs, b->kptrs, a->n_kptrs * sizeof(a->kptrs[0]));
}

bool map_same_shape(const struct map *m, const struct map_def *want)
{
	const struct map_def *d = &m->def;
	const uint32_t fd_flags = BPF_F_RDONLY | BPF_F_WRONLY;
	bool sized = d->type == BPF_MAP_TYPE_ARRAY && !(want->flags & BPF_F_INNER_MAP);

	return !m->ops->no_inner && d->type == want->type && d->key_size == want->key_size &&
	       d->value_size == want->value_size && d->flags == (want->flags & ~fd_flags) &&
	       same_fields(&d->fields, &want->fields) &&
	       (!sized || d->max_entries == want->max_entries);
}

/* The area that @addr lies in a value of, and where in the value; NULL: none. */
static const struct map_area *area_of(const struct map *m, uint64_t addr, uint64_t *in)
{
	unsigned i;

	for (i = 0; i < array_size(m->areas); i++) {
		const struct map_area *a = m->areas + i;
		uint64_t at = addr - a->base;

		if (!a->size || at >= a->bytes)
			continue;
		*in = at % a->stride - a->skip;
		return at % a->stride >= a->skip && *in <= a->size ? a : NULL;
	}
	return NULL;
}

bool map_covers(const struct map *m, uint64_t addr, size_t size)
{
	uint64_t in;
	const struct map_area *a = area_of(m, addr, &in);

	return a && size <= a->size - in;
}

bool map_value_offset(const struct map *m, uint64_t addr, uint64_t *in)
{
	return area_of(m, addr, in);
}

bool map_is_lock(const struct map *m, uint64_t addr, size_t size)
{
	uint64_t in, lock = (unsigned)m->def.fields.spin_lock;

	return m->def.fields.spin_lock >= 0 && area_of(m, addr, &in) &&
	       in < lock + MAP_SPIN_LOCK_LEN && lock < in + size;
}

void **map_slots(struct map *m)
{
	switch (m->def.type) {
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return objects_slots(m);
	default:
		return NULL;
	}
}

/* ---- the program's side ---------------------------------------------------------------------- */

void *map_lookup(struct map *m, const void *key)
{
	return m->ops->lookup ? m->ops->lookup(m, key) : NULL;
}

map_lookup_call *map_lookup_of(const struct map *m)
{
	return m->ops->lookup;
}

void *map_lookup_percpu(struct map *m, const void *key, uint32_t cpu)
{
	return m->ops->lookup_percpu && cpu < m->def.cpus ? m->ops->lookup_percpu(m, key, cpu)
							  : NULL;
}

int map_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	return m->ops->update ? m->ops->update(m, key, value, flags) : -EINVAL;
}

int map_delete(struct map *m, const void *key)
{
	return m->ops->delete ? m->ops->delete (m, key) : -EINVAL;
}

int map_push(struct map *m, const void *value, uint64_t flags)
{
	return m->ops->push ? m->ops->push(m, value, flags) : -EOPNOTSUPP;
}

int map_pop(struct map *m, void *value)
{
	return m->ops->pop ? m->ops->pop(m, value) : -EOPNOTSUPP;
}

int map_peek(struct map *m, void *value)
{
	return m->ops->peek ? m->ops->peek(m, value) : -EOPNOTSUPP;
}

long map_for_each(struct map *m, int (*fn)(void *arg, const void *key, void *value), void *arg)
{
	return m->ops->for_each ? m->ops->for_each(m, fn, arg) : -EINVAL;
}

/* ---- objects --------------------------------------------------------------------------------- */

void *map_object_get(struct map *m, int fd, int *rc)
{
	const struct map_objects *o = m->def.objects;
	void *p = NULL;

	*rc = -EBADF;
	if (o && o->get)
		p = o->get(o->arg, m, fd, rc);
	return p;
}

void map_object_put(struct map *m, void *object)
{
	if (object && m->def.objects && m->def.objects->put)
		m->def.objects->put(m->def.objects->arg, m, object);
}

uint64_t object_id64(struct map *m, void *object)
{
	const struct map_objects *o = m->def.objects;

	return o && o->id ? o->id(o->arg, m, object) : 0;
}

uint32_t object_id(struct map *m, void *object)
{
	return (uint32_t)object_id64(m, object);
}
