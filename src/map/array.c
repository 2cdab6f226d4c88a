// SPDX-License-Identifier: Apache-2.0
/*
 * array.c: arrays and per-CPU arrays. All elements exist from the start; none can be deleted.
 *
 *	array          value 0 | value 1 | ...             each rounded up to 8 bytes
 *	per-CPU array  values of CPU 0 | values of CPU 1   each CPU's on cache lines of its own
 *
 * A mmapable array lies in a memfd that callers map.
 */
#include "map/impl.h"

struct array {
	struct map_base b;
	char *values;
	uint64_t bytes;	     /* of values */
	uint64_t cpu_stride; /* 0: not per CPU */
	uint32_t stride, n;
};

static struct array *array_of(struct map *m)
{
	return container_of(m, struct array, b.m);
}

static char *value_at(const struct array *a, uint32_t i, uint32_t cpu)
{
	return a->values + cpu * a->cpu_stride + (uint64_t)i * a->stride;
}

static uint32_t index_of(const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return i;
}

/* ---- creation -------------------------------------------------------------------------------- */

/* What all arrays check; shared with objects.c. */
int array_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t allowed = BPF_F_NUMA_NODE | BPF_F_MMAPABLE | MAP_FLAGS_ACCESS |
				 BPF_F_PRESERVE_ELEMS | BPF_F_INNER_MAP;
	bool percpu = def->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	int rc;

	if (!def->max_entries || def->key_size != 4 || !def->value_size)
		return skep_fail(err, -EINVAL,
				 "an array has keys of 4 bytes (not %u), entries (%u) and values "
				 "(%u bytes)",
				 def->key_size, def->max_entries, def->value_size);
	rc = flags_check(def, allowed, err);
	if (rc)
		return rc;
	if ((percpu && def->flags & BPF_F_NUMA_NODE) ||
	    (def->type != BPF_MAP_TYPE_ARRAY && def->flags & (BPF_F_MMAPABLE | BPF_F_INNER_MAP)) ||
	    (def->type != BPF_MAP_TYPE_PERF_EVENT_ARRAY && def->flags & BPF_F_PRESERVE_ELEMS))
		return skep_fail(err, -EINVAL, "map type %u may not have flags 0x%x", def->type,
				 def->flags);
	if (def->value_size > INT32_MAX || (percpu && round8(def->value_size) > PERCPU_MAX))
		return skep_fail(err, -E2BIG, "values of %u bytes are too large", def->value_size);
	return 0;
}

static int values_in_memfd(struct array *a)
{
	const uint64_t page = 4096;
	int fd;

	a->bytes = (a->bytes + page - 1) & ~(page - 1);
	fd = file_make(&a->b, a->bytes);
	if (fd < 0)
		return -ENOMEM;
	a->values = mmap(NULL, a->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (a->values == MAP_FAILED) {
		a->values = NULL;
		return -ENOMEM;
	}
	a->b.bytes += a->bytes;
	return 0;
}

static int values_make(struct array *a)
{
	const struct map_def *def = &a->b.m.def;

	a->n = def->max_entries;
	a->stride = (uint32_t)round8(def->value_size);
	a->bytes = (uint64_t)a->n * a->stride;
	if (def->type == BPF_MAP_TYPE_PERCPU_ARRAY) {
		a->cpu_stride = cpu_stride(a->n, a->stride);
		a->bytes = a->cpu_stride * def->cpus;
	}
	if (def->flags & BPF_F_MMAPABLE)
		return values_in_memfd(a);
	a->values = arena(&a->b, a->bytes);
	return a->values ? 0 : -ENOMEM;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void array_free(struct map *m)
{
	struct array *a = array_of(m);
	unsigned cpus = a->cpu_stride ? m->def.cpus : 1, c;
	uint32_t i;

	for (c = 0; a->b.n_holes && c < cpus; c++) {
		for (i = 0; i < a->n; i++)
			value_drop(&a->b, value_at(a, i, c));
	}
	arena_free(a->values, a->bytes);
}

static void *array_lookup(struct map *m, const void *key)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key);

	return likely(i < a->n) ? value_at(a, i, 0) : NULL;
}

static void *percpu_lookup(struct map *m, const void *key)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key);

	return likely(i < a->n) ? value_at(a, i, map_cpu) : NULL;
}

static void *percpu_lookup_percpu(struct map *m, const void *key, uint32_t cpu)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key);

	return i < a->n ? value_at(a, i, cpu) : NULL;
}

static int update_check(const struct array *a, uint32_t i, uint64_t flags)
{
	if ((flags & ~(uint64_t)BPF_F_LOCK) > BPF_EXIST)
		return -EINVAL;
	if (i >= a->n)
		return -E2BIG;
	if (flags & BPF_NOEXIST)
		return -EEXIST;
	return flags & BPF_F_LOCK && !has_lock(&a->b.m) ? -EINVAL : 0;
}

static int array_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key);
	int rc = update_check(a, i, flags);
	char *v;

	if (rc)
		return rc;
	v = value_at(a, i, a->cpu_stride ? map_cpu : 0);
	if (flags & BPF_F_LOCK)
		copy_locked(&a->b, v, value, m->def.value_size);
	else
		copy_value(&a->b, v, value, m->def.value_size);
	value_drop(&a->b, v);
	return 0;
}

static int percpu_sys_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key), c;
	int rc = update_check(a, i, flags);

	for (c = 0; !rc && c < m->def.cpus; c++) {
		copy_value(&a->b, value_at(a, i, c), (const char *)value + (size_t)c * a->stride,
			   a->stride);
		value_drop(&a->b, value_at(a, i, c));
	}
	return rc;
}

static int percpu_sys_lookup(struct map *m, const void *key, void *value, uint64_t flags)
{
	struct array *a = array_of(m);
	uint32_t i = index_of(key), c;

	if (i >= a->n)
		return -ENOENT;
	for (c = 0; c < m->def.cpus; c++)
		copy_out(&a->b, (char *)value + (size_t)c * a->stride, value_at(a, i, c), a->stride,
			 flags);
	return 0;
}

static int array_delete(struct map *m maybe_unused, const void *key maybe_unused)
{
	return -EINVAL;
}

int array_next_key(struct map *m, const void *key, void *next)
{
	uint32_t i = key ? index_of(key) : UINT32_MAX;

	if (i == m->def.max_entries - 1)
		return -ENOENT;
	i = i >= m->def.max_entries ? 0 : i + 1;
	memcpy(next, &i, sizeof(i));
	return 0;
}

static long array_for_each(struct map *m, int (*fn)(void *, const void *, void *), void *arg)
{
	struct array *a = array_of(m);
	uint32_t i, key;

	for (i = 0; i < a->n; i++) {
		key = i;
		if (fn(arg, &key, value_at(a, i, a->cpu_stride ? map_cpu : 0)))
			return (long)i + 1;
	}
	return a->n;
}

static const struct map_ops array_ops = {
	.free = array_free,
	.lookup = array_lookup,
	.update = array_update,
	.delete = array_delete,
	.for_each = array_for_each,
	.next_key = array_next_key,
	.batches = MAP_BATCH_LOOKUP | MAP_BATCH_UPDATE,
};

static const struct map_ops percpu_ops = {
	.free = array_free,
	.lookup = percpu_lookup,
	.lookup_percpu = percpu_lookup_percpu,
	.update = array_update,
	.delete = array_delete,
	.for_each = array_for_each,
	.sys_lookup = percpu_sys_lookup,
	.sys_update = percpu_sys_update,
	.next_key = array_next_key,
	.batches = MAP_BATCH_LOOKUP | MAP_BATCH_UPDATE,
};

int array_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	bool percpu = def->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	struct array *a;
	int rc = array_check(def, err);

	if (rc)
		return rc;
	a = base_make(sizeof(*a), def, percpu ? &percpu_ops : &array_ops);
	if (!a)
		return no_memory(def, err);
	rc = values_make(a);
	if (rc) {
		map_free(&a->b.m);
		return no_memory(def, err);
	}
	a->b.m.areas[0] =
		(struct map_area){(uintptr_t)a->values, a->bytes, a->stride, 0, def->value_size};
	*out = &a->b.m;
	return 0;
}
