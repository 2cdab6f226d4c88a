// SPDX-License-Identifier: Apache-2.0
/*
 * dev.c: where XDP programs redirect to: devices (by index or by any number), CPUs, AF_XDP sockets.
 *
 * A target is what the UAPI shows of it, struct bpf_devmap_val or bpf_cpumap_val: a number that is not
 * zero and the id of a program that runs at the target; beside it that program, as an object. Which
 * devices there are, and what a CPU is, ports know.
 */
#include "map/impl.h"

#define QSIZE_MAX 16384
#define CPUS_MAX  512 /* a kernel's NR_CPUS */

struct target {
	_Atomic uint64_t value; /* ifindex or qsize, then the program's id; 0: none */
	_Atomic(void *) object;
};

/* What callers give. */
struct wanted {
	uint32_t number;
	int fd;
};

struct dev {
	struct map_base b;
	struct target *targets; /* by index */
	struct map *table;	/* or by key: of struct target */
	_Atomic uint32_t lock;	/* of the table's changes */
};

static struct dev *dev_of(struct map *m)
{
	return container_of(m, struct dev, b.m);
}

static uint32_t key_of(const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return i;
}

static uint64_t dev_bytes(const struct map *m)
{
	return (uint64_t)m->def.max_entries * sizeof(struct target);
}

static void dev_free(struct map *m)
{
	struct dev *d = dev_of(m);
	uint32_t i;

	for (i = 0; d->targets && i < m->def.max_entries; i++)
		map_object_put(m, d->targets[i].object);
	arena_free(d->targets, dev_bytes(m));
}

static void *dev_lookup(struct map *m, const void *key)
{
	uint32_t i = key_of(key);
	struct target *t = dev_of(m)->targets + i;

	return i < m->def.max_entries && atomic_load(&t->value) ? &t->value : NULL;
}

static struct wanted wanted_of(const struct map *m, const void *value)
{
	struct wanted w = {0};

	memcpy(&w, value, m->def.value_size);
	return w;
}

/* The program that is to run there; 0 without one. */
static int program_get(struct map *m, const struct wanted *w, struct target *t, int error)
{
	uint32_t id = 0;
	void *object = NULL;
	int rc = 0;

	if (w->fd > 0) {
		object = map_object_get(m, w->fd, &rc);
		if (!object)
			return error;
		id = object_id(m, object);
	}
	t->object = object;
	t->value = w->number | (uint64_t)id << 32;
	return 0;
}

static void target_set(struct map *m, uint32_t i, const struct target *new)
{
	struct target *t = dev_of(m)->targets + i;
	void *old = atomic_exchange(&t->object, new->object);

	atomic_store(&t->value, new->value);
	map_object_put(m, old);
}

static int update_check(const struct map *m, uint32_t i, uint64_t flags)
{
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (i >= m->def.max_entries)
		return -E2BIG;
	return flags == BPF_NOEXIST ? -EEXIST : 0;
}

static int dev_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct wanted w = wanted_of(m, value);
	struct target new = {0};
	int rc = update_check(m, key_of(key), flags);

	if (!rc && !w.number && w.fd > 0)
		rc = -EINVAL;
	if (!rc && w.number)
		rc = program_get(m, &w, &new, -EINVAL);
	if (!rc)
		target_set(m, key_of(key), &new);
	return rc;
}

static int cpu_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct wanted w = wanted_of(m, value);
	struct target new = {0};
	int rc = update_check(m, key_of(key), flags);

	if (!rc && w.number > QSIZE_MAX)
		rc = -EOVERFLOW;
	if (!rc && key_of(key) >= m->def.cpus)
		rc = -ENODEV;
	if (!rc && w.number)
		rc = program_get(m, &w, &new, -ENOMEM);
	if (!rc)
		target_set(m, key_of(key), &new);
	return rc;
}

static int dev_delete(struct map *m, const void *key)
{
	const struct target none = {0};

	if (key_of(key) >= m->def.max_entries)
		return -EINVAL;
	target_set(m, key_of(key), &none);
	return 0;
}

/* ---- devices by any number ------------------------------------------------------------------- */

static void table_free(struct map *m)
{
	struct dev *d = dev_of(m);
	struct target *t;
	uint32_t key;

	while (d->table && !map_sys_next_key(d->table, NULL, &key)) {
		t = map_lookup(d->table, &key);
		map_object_put(m, t->object);
		map_delete(d->table, &key);
	}
	map_free(d->table);
}

static void *table_lookup(struct map *m, const void *key)
{
	return map_lookup(dev_of(m)->table, key);
}

static int table_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct wanted w = wanted_of(m, value);
	struct dev *d = dev_of(m);
	struct target new = {0}, *old;
	void *gone = NULL;
	int rc;

	if (flags > BPF_EXIST || !w.number)
		return -EINVAL;
	if (flags == BPF_NOEXIST && table_lookup(m, key))
		return -EEXIST;
	rc = program_get(m, &w, &new, -EINVAL);
	if (rc)
		return rc;
	spin_lock(&d->lock);
	old = map_lookup(d->table, key);
	gone = old ? old->object : NULL;
	rc = map_update(d->table, key, &new, flags == BPF_NOEXIST ? BPF_NOEXIST : BPF_ANY);
	spin_unlock(&d->lock);
	map_object_put(m, rc ? new.object : gone);
	return rc;
}

static int table_delete(struct map *m, const void *key)
{
	struct dev *d = dev_of(m);
	struct target *old;
	void *gone;
	int rc;

	spin_lock(&d->lock);
	old = map_lookup(d->table, key);
	gone = old ? old->object : NULL;
	rc = map_delete(d->table, key);
	spin_unlock(&d->lock);
	map_object_put(m, gone);
	return rc;
}

static int table_next_key(struct map *m, const void *key, void *next)
{
	return map_sys_next_key(dev_of(m)->table, key, next);
}

/* ---- AF_XDP sockets -------------------------------------------------------------------------- */

static void *socket_lookup(struct map *m, const void *key)
{
	uint32_t i = key_of(key);

	return i < m->def.max_entries ? atomic_load(&dev_of(m)->targets[i].object) : NULL;
}

static int socket_sys_lookup(struct map *m maybe_unused, const void *key maybe_unused,
			     void *value maybe_unused, uint64_t flags maybe_unused)
{
	return -EOPNOTSUPP;
}

/* @object instead of what is there, if @flags let it. Returns what is to be put. */
static void *socket_swap(struct target *t, void *object, uint64_t flags, int *rc)
{
	void *old = atomic_load(&t->object);

	do {
		*rc = old && flags == BPF_NOEXIST  ? -EEXIST
		      : !old && flags == BPF_EXIST ? -ENOENT
						   : 0;
		if (*rc || old == object)
			return object;
	} while (!atomic_compare_exchange_weak(&t->object, &old, object));
	return old;
}

static int socket_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	uint32_t i = key_of(key);
	void *object;
	int fd, rc;

	if (flags > BPF_EXIST)
		return -EINVAL;
	if (i >= m->def.max_entries)
		return -E2BIG;
	memcpy(&fd, value, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (object)
		map_object_put(m, socket_swap(dev_of(m)->targets + i, object, flags, &rc));
	return rc;
}

/* ---- creation -------------------------------------------------------------------------------- */

static const struct map_ops dev_ops = {
	.free = dev_free,
	.lookup = dev_lookup,
	.delete = dev_delete,
	.sys_update = dev_update,
	.next_key = array_next_key,
};

static const struct map_ops cpu_ops = {
	.free = dev_free,
	.lookup = dev_lookup,
	.delete = dev_delete,
	.sys_update = cpu_update,
	.next_key = array_next_key,
};

static const struct map_ops table_ops = {
	.free = table_free,
	.lookup = table_lookup,
	.delete = table_delete,
	.sys_update = table_update,
	.next_key = table_next_key,
};

static const struct map_ops socket_ops = {
	.free = dev_free,
	.lookup = socket_lookup,
	.delete = dev_delete,
	.sys_lookup = socket_sys_lookup,
	.sys_update = socket_update,
	.next_key = array_next_key,
};

static const struct map_ops *ops_for(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_CPUMAP:
		return &cpu_ops;
	case BPF_MAP_TYPE_XSKMAP:
		return &socket_ops;
	case BPF_MAP_TYPE_DEVMAP_HASH:
		return &table_ops;
	default:
		return &dev_ops;
	}
}

static int dev_check(const struct map_def *def, struct skep_err *err)
{
	bool cpus = def->type == BPF_MAP_TYPE_CPUMAP, sockets = def->type == BPF_MAP_TYPE_XSKMAP;
	uint32_t flags = BPF_F_NUMA_NODE | (cpus ? 0 : BPF_F_RDONLY | BPF_F_WRONLY);

	if (!def->max_entries || def->key_size != 4 || def->flags & ~flags ||
	    (def->value_size != 4 && (sockets || def->value_size != 8)))
		return skep_fail(err, -EINVAL,
				 "map type %u has keys of 4 bytes, values of 4%s, entries, no "
				 "flags 0x%x",
				 def->type, sockets ? "" : " or 8", def->flags & ~flags);
	if (def->type == BPF_MAP_TYPE_DEVMAP_HASH && def->max_entries > 1U << 31)
		return skep_fail(err, -EINVAL, "%u entries are too many", def->max_entries);
	if (cpus && def->max_entries > CPUS_MAX)
		return skep_fail(err, -E2BIG, "there are no %u CPUs", def->max_entries);
	return 0;
}

static int memory_take(struct dev *d, struct skep_err *err)
{
	struct map_def def = d->b.m.def;
	int rc;

	if (def.type != BPF_MAP_TYPE_DEVMAP_HASH) {
		d->targets = arena(&d->b, dev_bytes(&d->b.m));
		d->b.m.areas[0] = (struct map_area){(uintptr_t)d->targets, dev_bytes(&d->b.m),
						    sizeof(struct target), 0, def.value_size};
		return d->targets ? 0 : no_memory(&def, err);
	}
	def.type = BPF_MAP_TYPE_HASH;
	def.value_size = sizeof(struct target);
	def.flags = 0;
	rc = map_create(&d->table, &def, err);
	if (rc)
		return rc;
	d->b.bytes += map_bytes(d->table);
	d->b.m.areas[0] = d->table->areas[0];
	d->b.m.areas[0].size = d->b.m.def.value_size;
	return 0;
}

int dev_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct dev *d;
	int rc = dev_check(def, err);

	if (rc)
		return rc;
	d = base_make(sizeof(*d), def, ops_for(def->type));
	if (!d)
		return no_memory(def, err);
	if (def->type == BPF_MAP_TYPE_DEVMAP || def->type == BPF_MAP_TYPE_DEVMAP_HASH)
		d->b.m.def.flags |= BPF_F_RDONLY_PROG; /* as the kernel adds, and shows */
	rc = memory_take(d, err);
	if (rc) {
		map_free(&d->b.m);
		return rc;
	}
	*out = &d->b.m;
	return 0;
}
