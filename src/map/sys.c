// SPDX-License-Identifier: Apache-2.0
/*
 * sys.c: the system call's side: flags that all types share, frozen maps, batches by way of single ones.
 */
#include "map/impl.h"

uint32_t map_sys_value_size(const struct map *m)
{
	switch (m->def.type) {
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		return (uint32_t)round8(m->def.value_size) * m->def.cpus;
	default:
		return m->def.value_size;
	}
}

static int lock_check(const struct map *m, uint64_t flags)
{
	return flags & BPF_F_LOCK && !has_lock(m) ? -EINVAL : 0;
}

/* ---- writers and the frozen ------------------------------------------------------------------ */

static int write_begin(struct map *m)
{
	atomic_fetch_add(&m->writers, 1);
	return atomic_load(&m->frozen) ? -EPERM : 0;
}

static int write_end(struct map *m, int rc)
{
	atomic_fetch_sub(&m->writers, 1);
	return rc;
}

int map_sys_freeze(struct map *m)
{
	bool thawed = false;

	if (base_of(m)->n_holes)
		return -ENOTSUPP;
	if (!atomic_compare_exchange_strong(&m->frozen, &thawed, true))
		return -EPERM;
	if (!atomic_load(&m->writers))
		return 0;
	atomic_store(&m->frozen, false);
	return -EBUSY;
}

/* ---- single values --------------------------------------------------------------------------- */

static int lookup_copy(struct map *m, const void *key, void *value, uint64_t flags)
{
	const void *v;

	if (m->ops->sys_lookup)
		return m->ops->sys_lookup(m, key, value, flags);
	v = map_lookup(m, key);
	if (!v)
		return -ENOENT;
	copy_out(base_of(m), value, v, m->def.value_size, flags);
	return 0;
}

int map_sys_lookup(struct map *m, const void *key, void *value, uint64_t flags)
{
	if (flags & ~(uint64_t)BPF_F_LOCK || lock_check(m, flags))
		return -EINVAL;
	return lookup_copy(m, key, value, flags);
}

int map_sys_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	int rc = write_begin(m);

	if (!rc)
		rc = lock_check(m, flags);
	if (!rc && m->ops->sys_update)
		rc = m->ops->sys_update(m, key, value, flags);
	else if (!rc)
		rc = map_update(m, key, value, flags);
	return write_end(m, rc);
}

int map_sys_delete(struct map *m, const void *key)
{
	int rc = write_begin(m);

	if (!rc && m->ops->sys_delete)
		rc = m->ops->sys_delete(m, key);
	else if (!rc)
		rc = map_delete(m, key);
	return write_end(m, rc);
}

int map_sys_next_key(struct map *m, const void *key, void *next)
{
	return m->ops->next_key ? m->ops->next_key(m, key, next) : -ENOTSUPP;
}

int map_sys_lookup_delete(struct map *m, const void *key, void *value, uint64_t flags)
{
	bool plain = m->def.type == BPF_MAP_TYPE_QUEUE || m->def.type == BPF_MAP_TYPE_STACK;
	int rc;

	if (flags & ~(uint64_t)BPF_F_LOCK)
		return -EINVAL;
	rc = write_begin(m);
	if (!rc && ((flags && plain) || lock_check(m, flags)))
		rc = -EINVAL;
	if (!rc)
		rc = m->ops->lookup_delete ? m->ops->lookup_delete(m, key, value, flags)
					   : -ENOTSUPP;
	return write_end(m, rc);
}

/* ---- batches --------------------------------------------------------------------------------- */

unsigned map_sys_batches(const struct map *m)
{
	return m->ops->batches;
}

uint32_t map_sys_cursor_size(const struct map *m)
{
	return m->ops->cursor_size ? m->ops->cursor_size : m->def.key_size;
}

/*
 * Cursors are keys. A key that vanishes between the two calls is left out. The next key and the one
 * before it live in @out and in @keys by turns, so that the last one handed out ends in @out.
 */
static int batch_by_key(struct map *m, const void *in, void *out, char *keys, char *values,
			uint32_t *count, uint64_t flags)
{
	uint32_t room = *count, n = 0, size = map_sys_value_size(m), ksize = m->def.key_size;
	int rc = 0;

	while (n < room) {
		char *key = keys + (size_t)n * ksize;

		rc = map_sys_next_key(m, in, key);
		if (rc)
			break;
		memcpy(out, key, ksize);
		in = out;
		rc = lookup_copy(m, key, values + (size_t)n * size, flags);
		if (rc && rc != -ENOENT)
			return rc;
		n += !rc;
		rc = 0;
	}
	*count = n;
	return rc;
}

static int batch_check(const struct map *m, uint64_t flags, bool delete)
{
	if (!(m->ops->batches & (delete ? MAP_BATCH_LOOKUP_DELETE : MAP_BATCH_LOOKUP)))
		return -ENOTSUPP;
	return flags & ~(uint64_t)BPF_F_LOCK || lock_check(m, flags) ? -EINVAL : 0;
}

int map_sys_lookup_batch(struct map *m, const void *in, void *out, void *keys, void *values,
			 uint32_t *count, uint64_t elem_flags, bool delete)
{
	int rc = delete ? write_begin(m) : 0;

	if (!rc)
		rc = batch_check(m, elem_flags, delete);
	if (!rc && *count && m->ops->lookup_batch)
		rc = m->ops->lookup_batch(m, in, out, keys, values, count, elem_flags, delete);
	else if (!rc && *count)
		rc = batch_by_key(m, in, out, keys, values, count, elem_flags);
	return delete ? write_end(m, rc) : rc;
}
