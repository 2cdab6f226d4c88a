// SPDX-License-Identifier: Apache-2.0
/*
 * sock.c: sockets by index, by any key, and those that share a port.
 *
 * Callers give descriptors and are shown cookies. An entry does not keep its socket open: one that was closed
 * is gone, which is found out when somebody looks (map_objects.alive).
 *
 * S1  A pointer taken out of the map is put by who took it; all changes are made under the lock.
 */
#include "map/impl.h"

#define KEY_MAX 512

struct sock {
	struct map_base b;
	void **slots;	   /* by index */
	struct map *table; /* or by key: of pointers */
	_Atomic uint32_t lock;
};

static struct sock *sock_of(struct map *m)
{
	return container_of(m, struct sock, b.m);
}

static bool by_key(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_SOCKHASH;
}

static bool of_port(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY;
}

static bool inside(const struct map *m, const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return by_key(m) || i < m->def.max_entries;
}

/* Where the pointer of @key stands; NULL: nowhere. */
static void **place(struct map *m, const void *key)
{
	struct sock *s = sock_of(m);
	uint32_t i;

	if (by_key(m))
		return map_lookup(s->table, key);
	memcpy(&i, key, sizeof(i));
	return i < m->def.max_entries ? &s->slots[i] : NULL;
}

static bool dead(struct map *m, void *object)
{
	const struct map_objects *o = m->def.objects;

	return o && o->alive && !o->alive(o->arg, m, object);
}

/* What stood there, which is now the caller's to put. */
static void *take_out(struct map *m, const void *key)
{
	void **at = place(m, key), *object = at ? *at : NULL;

	if (by_key(m))
		map_delete(sock_of(m)->table, key);
	else if (at)
		*at = NULL;
	return object;
}

/* What is there and alive; S1: under the lock. */
static void *living(struct map *m, const void *key)
{
	void **at = place(m, key);

	if (!at || !*at)
		return NULL;
	if (!dead(m, *at))
		return *at;
	map_object_put(m, take_out(m, key));
	return NULL;
}

static int sock_lookup(struct map *m, const void *key, void *value, uint64_t flags maybe_unused)
{
	struct sock *s = sock_of(m);
	uint64_t cookie = 0;
	void *object;

	if (m->def.value_size != sizeof(cookie))
		return -ENOSPC;
	spin_lock(&s->lock);
	object = living(m, key);
	if (object)
		cookie = object_id64(m, object);
	spin_unlock(&s->lock);
	if (!object)
		return -ENOENT;
	memcpy(value, &cookie, sizeof(cookie));
	return 0;
}

/* Does a socket of this array have that cookie? */
static bool has_cookie(struct map *m, uint64_t cookie)
{
	uint32_t i;

	for (i = 0; i < m->def.max_entries; i++) {
		void **at = place(m, &i); /* who lives is asked of the one, that costs more */

		if (*at && object_id64(m, *at) == cookie && living(m, &i))
			return true;
	}
	return false;
}

static int flags_allow(const void *there, uint64_t flags)
{
	if (there && flags == BPF_NOEXIST)
		return -EEXIST;
	return !there && flags == BPF_EXIST ? -ENOENT : 0;
}

static int put_in(struct map *m, const void *key, void *object, uint64_t flags, void **old)
{
	void *there = living(m, key);
	int rc = flags_allow(there, flags);

	if (rc)
		return rc;
	if (of_port(m) && has_cookie(m, object_id64(m, object)))
		return -EBUSY;
	if (by_key(m)) {
		rc = map_update(sock_of(m)->table, key, &object, BPF_ANY);
		*old = rc ? NULL : there;
		return rc;
	}
	*place(m, key) = object;
	*old = there;
	return 0;
}

static int update_check(const struct map *m, const void *key, uint64_t flags)
{
	if (flags > BPF_EXIST)
		return -EINVAL;
	return inside(m, key) ? 0 : -E2BIG;
}

/* It is no socket for an array of one port: what the flags say comes first. */
static int unfit(struct map *m, const void *key, uint64_t flags, int why)
{
	int rc = 0;

	if (of_port(m) && (why == -ENOTSUPP || why == -EINVAL)) {
		spin_lock(&sock_of(m)->lock);
		rc = flags_allow(living(m, key), flags);
		spin_unlock(&sock_of(m)->lock);
	}
	return rc ? rc : why;
}

static int sock_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct sock *s = sock_of(m);
	void *object, *old = NULL;
	uint64_t fd = 0;
	int rc = of_port(m) ? update_check(m, key, flags) : 0;

	memcpy(&fd, value, m->def.value_size);
	if (!rc && fd > INT32_MAX)
		rc = of_port(m) && m->def.value_size == 4 ? -EBADF : -EINVAL;
	if (rc)
		return rc;
	object = map_object_get(m, (int)fd, &rc);
	if (!object)
		return unfit(m, key, flags, rc);
	rc = update_check(m, key, flags);
	if (!rc) {
		spin_lock(&s->lock);
		rc = put_in(m, key, object, flags, &old);
		spin_unlock(&s->lock);
	}
	map_object_put(m, rc ? object : old);
	return rc;
}

static int sock_delete(struct map *m, const void *key)
{
	struct sock *s = sock_of(m);
	void *object;

	if (!inside(m, key))
		return of_port(m) ? -E2BIG : -EINVAL;
	spin_lock(&s->lock);
	object = living(m, key) ? take_out(m, key) : NULL;
	spin_unlock(&s->lock);
	map_object_put(m, object);
	if (object)
		return 0;
	return of_port(m) || by_key(m) ? -ENOENT : -EINVAL;
}

static int sock_next_key(struct map *m, const void *key, void *next)
{
	struct sock *s = sock_of(m);
	int rc;

	if (!by_key(m))
		return array_next_key(m, key, next);
	spin_lock(&s->lock);
	while (!(rc = map_sys_next_key(s->table, key, next)) && !living(m, next))
		;
	spin_unlock(&s->lock);
	return rc;
}

static uint64_t slots_bytes(const struct map *m)
{
	return (uint64_t)m->def.max_entries * sizeof(void *);
}

static void sock_free(struct map *m)
{
	struct sock *s = sock_of(m);
	uint8_t key[KEY_MAX];
	uint32_t i;

	for (i = 0; s->slots && i < m->def.max_entries; i++)
		map_object_put(m, s->slots[i]);
	while (s->table && !map_sys_next_key(s->table, NULL, key))
		map_object_put(m, take_out(m, key));
	map_free(s->table);
	arena_free(s->slots, slots_bytes(m));
}

static const struct map_ops sock_ops = {
	.free = sock_free,
	.delete = sock_delete,
	.sys_lookup = sock_lookup,
	.sys_update = sock_update,
	.next_key = sock_next_key,
};

/* ---- creation -------------------------------------------------------------------------------- */

static int sock_check(const struct map_def *def, struct skep_err *err)
{
	uint32_t flags = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;

	if (def->value_size != 4 && def->value_size != 8)
		return skep_fail(err, -EINVAL, "values of %u bytes are no descriptors",
				 def->value_size);
	if (of_port(&(struct map){.def = *def}))
		return array_check(def, err);
	if (!def->max_entries || !def->key_size || def->flags & ~flags ||
	    (def->type == BPF_MAP_TYPE_SOCKMAP &&
	     (def->key_size != 4 || def->max_entries > INT32_MAX)))
		return skep_fail(err, -EINVAL, "map type %u: %u entries, keys of %u bytes",
				 def->type, def->max_entries, def->key_size);
	return def->key_size > KEY_MAX
		       ? skep_fail(err, -E2BIG, "keys of %u bytes are too long", def->key_size)
		       : 0;
}

static int memory_take(struct sock *s, struct skep_err *err)
{
	struct map_def def = s->b.m.def;
	int rc;

	if (!by_key(&s->b.m)) {
		s->slots = arena(&s->b, slots_bytes(&s->b.m));
		return s->slots ? 0 : no_memory(&def, err);
	}
	def.type = BPF_MAP_TYPE_HASH;
	def.value_size = sizeof(void *);
	def.flags = 0;
	rc = map_create(&s->table, &def, err);
	if (!rc)
		s->b.bytes += map_bytes(s->table);
	return rc;
}

int sock_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct sock *s;
	int rc = sock_check(def, err);

	if (rc)
		return rc;
	s = base_make(sizeof(*s), def, &sock_ops);
	if (!s)
		return no_memory(def, err);
	rc = memory_take(s, err);
	if (rc) {
		map_free(&s->b.m);
		return rc;
	}
	*out = &s->b.m;
	return 0;
}
