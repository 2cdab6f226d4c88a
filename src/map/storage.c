// SPDX-License-Identifier: Apache-2.0
/*
 * storage.c: values that belong to objects: sockets, tasks, inodes, cgroups.
 *
 * Callers name the object by a descriptor, programs by its pointer: the key of the program's side is
 * eight bytes, a pointer from map_objects. The map holds no reference: who ends an object deletes its
 * value (map_delete). The two older kinds are keyed by cgroup and attach type; values come into being
 * when a program is attached (map_update), callers change them.
 *
 * Below is a hash of as many values as STORAGE_MAX.
 */
#include "map/impl.h"

#define STORAGE_MAX	  65536
#define STORAGE_VALUE_MAX (65535 - 128) /* less the kernel's struct bpf_local_storage_elem */

struct storage {
	struct map_base b;
	struct map *table;
};

static struct map *table_of(struct map *m)
{
	return container_of(m, struct storage, b.m)->table;
}

static void storage_free(struct map *m)
{
	map_free(table_of(m));
}

static void *storage_lookup(struct map *m, const void *object)
{
	return map_lookup(table_of(m), object);
}

static void *storage_lookup_percpu(struct map *m, const void *key, uint32_t cpu)
{
	return map_lookup_percpu(table_of(m), key, cpu);
}

static int storage_update(struct map *m, const void *object, const void *value, uint64_t flags)
{
	return map_update(table_of(m), object, value, flags);
}

static int storage_delete(struct map *m, const void *object)
{
	return map_delete(table_of(m), object);
}

/* ---- by descriptor --------------------------------------------------------------------------- */

static int by_fd_lookup(struct map *m, const void *key, void *value, uint64_t flags)
{
	void *object;
	int fd, rc;

	memcpy(&fd, key, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (!object)
		return rc;
	rc = map_sys_lookup(table_of(m), &object, value, flags);
	map_object_put(m, object);
	return rc;
}

static int by_fd_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	void *object;
	int fd, rc;

	memcpy(&fd, key, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (!object)
		return rc;
	rc = map_update(table_of(m), &object, value, flags);
	map_object_put(m, object);
	return rc;
}

static int by_fd_delete(struct map *m, const void *key)
{
	void *object;
	int fd, rc;

	memcpy(&fd, key, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (!object)
		return rc;
	rc = map_delete(table_of(m), &object);
	map_object_put(m, object);
	return rc;
}

static const struct map_ops by_fd_ops = {
	.free = storage_free,
	.lookup = storage_lookup,
	.update = storage_update,
	.delete = storage_delete,
	.sys_lookup = by_fd_lookup,
	.sys_update = by_fd_update,
	.sys_delete = by_fd_delete,
};

/* ---- by cgroup and attach type --------------------------------------------------------------- */

static int cgroup_lookup(struct map *m, const void *key, void *value, uint64_t flags)
{
	return map_sys_lookup(table_of(m), key, value, flags);
}

static int cgroup_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	if (flags & ~(uint64_t)(BPF_F_LOCK | BPF_EXIST))
		return -EINVAL;
	return map_sys_update(table_of(m), key, value, flags | BPF_EXIST);
}

static int cgroup_delete(struct map *m maybe_unused, const void *key maybe_unused)
{
	return -EINVAL;
}

static int cgroup_next_key(struct map *m, const void *key, void *next)
{
	if (key && !storage_lookup(m, key))
		return -ENOENT;
	return map_sys_next_key(table_of(m), key, next);
}

static const struct map_ops cgroup_ops = {
	.free = storage_free,
	.lookup = storage_lookup,
	.lookup_percpu = storage_lookup_percpu,
	.update = storage_update,
	.delete = storage_delete,
	.sys_lookup = cgroup_lookup,
	.sys_update = cgroup_update,
	.sys_delete = cgroup_delete,
	.next_key = cgroup_next_key,
	.no_inner = true,
};

/* ---- creation -------------------------------------------------------------------------------- */

static bool is_cgroup(const struct map_def *def)
{
	return def->type == BPF_MAP_TYPE_CGROUP_STORAGE ||
	       def->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static bool is_percpu(const struct map_def *def)
{
	return def->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static int by_fd_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t allowed = BPF_F_NO_PREALLOC | BPF_F_CLONE;

	if (def->flags & ~allowed || !(def->flags & BPF_F_NO_PREALLOC) || def->max_entries ||
	    def->key_size != 4 || !def->value_size)
		return skep_fail(err, -EINVAL,
				 "storage has descriptors as keys (4 bytes, not %u), values (%u), "
				 "0 entries and BPF_F_NO_PREALLOC",
				 def->key_size, def->value_size);
	if (def->value_size > STORAGE_VALUE_MAX)
		return skep_fail(err, -E2BIG, "values of %u bytes are too large", def->value_size);
	return 0;
}

static int cgroup_check(const struct map_def *def, struct skep_err *err)
{
	uint32_t most = is_percpu(def) ? PERCPU_MAX : STORAGE_VALUE_MAX;
	int rc;

	if ((def->key_size != sizeof(struct bpf_cgroup_storage_key) &&
	     def->key_size != sizeof(uint64_t)) ||
	    !def->value_size)
		return skep_fail(err, -EINVAL,
				 "cgroup storage has keys of 8 or 16 bytes (not %u) and values",
				 def->key_size);
	if (def->value_size > most)
		return skep_fail(err, -E2BIG, "values of %u bytes are too large", def->value_size);
	rc = flags_check(def, BPF_F_NUMA_NODE | MAP_FLAGS_ACCESS, err);
	if (rc)
		return rc;
	return def->max_entries ? skep_fail(err, -EINVAL, "cgroup storage has 0 entries") : 0;
}

static int table_make(struct storage *s, struct skep_err *err)
{
	struct map_def def = s->b.m.def;
	int rc;

	def.type = is_percpu(&s->b.m.def) ? BPF_MAP_TYPE_PERCPU_HASH : BPF_MAP_TYPE_HASH;
	def.key_size = is_cgroup(&s->b.m.def) ? def.key_size : (uint32_t)sizeof(void *);
	def.max_entries = STORAGE_MAX;
	def.flags = BPF_F_NO_PREALLOC;
	rc = map_create(&s->table, &def, err);
	if (rc)
		return rc;
	s->b.bytes += map_bytes(s->table);
	s->b.m.areas[0] = s->table->areas[0];
	return 0;
}

int storage_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct storage *s;
	int rc = is_cgroup(def) ? cgroup_check(def, err) : by_fd_check(def, err);

	if (rc)
		return rc;
	s = base_make(sizeof(*s), def, is_cgroup(def) ? &cgroup_ops : &by_fd_ops);
	if (!s)
		return no_memory(def, err);
	rc = table_make(s, err);
	if (rc) {
		map_free(&s->b.m);
		return rc;
	}
	*out = &s->b.m;
	return 0;
}
