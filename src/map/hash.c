// SPDX-License-Identifier: Apache-2.0
/*
 * hash.c: hash, per-CPU hash, both as LRU, and hash of maps: searching, changing, creating.
 */
#include <sys/random.h>
#include <xxhash.h>

#include "map/hash.h"

#define EACH_KEY_MAX 512
#define PUT_TRIES    1000 /* until there is an element to be had */

/* ---- hashing --------------------------------------------------------------------------------- */

static hot_inline uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static hot_inline uint64_t load64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static hot_inline uint32_t load32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static hot_inline uint32_t hash_key(const struct hash *h, const void *key, uint32_t n)
{
	const uint64_t odd = 0x9e3779b97f4a7c15;
	uint64_t v;

	if (n == 4)
		v = fold(load32(key) ^ h->seed, odd);
	else if (n == 8)
		v = fold(load64(key) ^ h->seed, odd);
	else if (n == 16)
		v = fold(load64(key) ^ h->seed, load64((const char *)key + 8) ^ odd);
	else
		v = XXH3_64bits_withSeed(key, n, h->seed);
	return (uint32_t)v ^ (uint32_t)(v >> 32);
}

/* ---- keys in elements (H4) -------------------------------------------------------------------- */

typedef _Atomic uint64_t key_word;

static hot_inline key_word *words_of(const struct hash *h, const struct hash_elem *e)
{
	return (key_word *)((uintptr_t)e + h->key_at);
}

/* The i-th word of a key of @n bytes. */
static hot_inline uint64_t key_part(const void *key, uint32_t n, uint32_t i)
{
	uint64_t v = 0;

	if (likely(i * 8 + 8 <= n))
		return load64((const char *)key + (size_t)i * 8);
	memcpy(&v, (const char *)key + (size_t)i * 8, n - i * 8);
	return v;
}

static hot_inline bool same_key(const struct hash *h, const struct hash_elem *e, const void *key,
				uint32_t hash, uint32_t n)
{
	key_word *w = words_of(h, e);
	uint32_t i, words = (n + 7) / 8;

	if (n > 16 && atomic_load_explicit(&e->hash, memory_order_relaxed) != hash)
		return false;
	for (i = 0; i < words; i++) {
		if (atomic_load_explicit(w + i, memory_order_relaxed) != key_part(key, n, i))
			return false;
	}
	return true;
}

static hot_inline void key_set(const struct hash *h, const struct hash_elem *e, const void *key,
			       uint32_t n)
{
	key_word *w = words_of(h, e);
	uint32_t i, words = (n + 7) / 8;

	for (i = 0; i < words; i++)
		atomic_store_explicit(w + i, key_part(key, n, i), memory_order_relaxed);
}

/* For the system call: @i's key. */
static void key_copy(const struct hash *h, uint32_t i, void *key)
{
	key_word *w = words_of(h, hash_elem(h, i));
	uint32_t at, n = h->key_size;
	uint64_t v;

	for (at = 0; at < n; at += 8) {
		v = atomic_load_explicit(w + at / 8, memory_order_relaxed);
		memcpy((char *)key + at, &v, min(n - at, 8U));
	}
}

/* ---- searching ------------------------------------------------------------------------------- */

/* In a locked chain: the element, or an end. */
static hot_inline uint32_t find_locked(const struct hash *h, uint32_t at, const void *key,
				       uint32_t hash, uint32_t n)
{
	while (!hash_is_end(at) && !same_key(h, hash_elem(h, at), key, hash, n))
		at = atomic_load_explicit(&hash_elem(h, at)->next, memory_order_relaxed);
	return at;
}

static uint32_t find_patiently(struct hash *h, const void *key, uint32_t hash, uint32_t n)
{
	uint32_t bucket = hash & h->mask, head = hash_lock(h, bucket);
	uint32_t at = find_locked(h, head, key, hash, n);

	hash_unlock(h, bucket, head);
	return hash_is_end(at) ? 0 : at;
}

/* Without a lock (M2): the element or 0. Where it lies goes to *e, which saves working it out again. */
static hot_inline uint32_t find_elem(struct hash *h, const void *key, uint32_t hash, uint32_t n,
				     struct hash_elem **e)
{
	uint32_t bucket = hash & h->mask, at, steps = 0;
	unsigned retries;

	for (retries = 0; retries < HASH_RETRIES; retries++) {
		at = atomic_load_explicit(h->heads + bucket, memory_order_acquire) & ~HASH_LOCKED;
		if (!at)
			return 0;
		while (likely(!hash_is_end(at)) && steps++ <= h->n) {
			*e = hash_elem(h, at);
			if (same_key(h, *e, key, hash, n))
				return at;
			at = atomic_load_explicit(&(*e)->next, memory_order_acquire);
		}
		if (likely(at == (HASH_END | bucket)))
			return 0;
	}
	at = find_patiently(h, key, hash, n);
	*e = hash_elem(h, at);
	return at;
}

static hot_inline uint32_t find(struct hash *h, const void *key, uint32_t hash, uint32_t n)
{
	struct hash_elem *e;

	return find_elem(h, key, hash, n, &e);
}

static uint32_t find_any(struct hash *h, const void *key)
{
	return find(h, key, hash_key(h, key, h->key_size), h->key_size);
}

static hot_inline void mark(struct hash *h, uint32_t i)
{
	struct hash_elem *e = hash_elem(h, i);

	if (!atomic_load_explicit(&e->used, memory_order_relaxed))
		atomic_store_explicit(&e->used, 1, memory_order_relaxed);
}

/* A lookup for each length of keys that is worth code of its own. */
#define LOOKUPS(name, ksize)                                              \
	static void *lookup_##name(struct map *m, const void *key)        \
	{                                                                 \
		struct hash *h = hash_of(m);                              \
		uint32_t n = (ksize), hash = hash_key(h, key, n);         \
		struct hash_elem *e;                                      \
		uint32_t i = find_elem(h, key, hash, n, &e);              \
                                                                          \
		return likely(i) ? (char *)e + h->value_at : NULL;        \
	}                                                                 \
	static void *lookup_lru_##name(struct map *m, const void *key)    \
	{                                                                 \
		struct hash *h = hash_of(m);                              \
		uint32_t n = (ksize), hash = hash_key(h, key, n);         \
		uint32_t i = find(h, key, hash, n);                       \
                                                                          \
		if (unlikely(!i))                                         \
			return NULL;                                      \
		mark(h, i);                                               \
		return hash_value(h, i);                                  \
	}                                                                 \
	static void *lookup_percpu_##name(struct map *m, const void *key) \
	{                                                                 \
		struct hash *h = hash_of(m);                              \
		uint32_t n = (ksize), hash = hash_key(h, key, n);         \
		uint32_t i = find(h, key, hash, n);                       \
                                                                          \
		if (unlikely(!i))                                         \
			return NULL;                                      \
		if (h->lru)                                               \
			mark(h, i);                                       \
		return hash_percpu(h, i, map_cpu);                        \
	}

LOOKUPS(4, 4)
LOOKUPS(8, 8)
LOOKUPS(16, 16)
LOOKUPS(any, h->key_size)

static void *lookup_maps(struct map *m, const void *key)
{
	struct hash *h = hash_of(m);
	uint32_t i = find_any(h, key);

	return i ? atomic_load_explicit((_Atomic(void *) *)hash_value(h, i), memory_order_acquire)
		 : NULL;
}

static void *percpu_lookup_percpu(struct map *m, const void *key, uint32_t cpu)
{
	struct hash *h = hash_of(m);
	uint32_t i = find_any(h, key);

	if (i && h->lru)
		mark(h, i);
	return i ? hash_percpu(h, i, cpu) : NULL;
}

/* ---- changing -------------------------------------------------------------------------------- */

/* What an update carries besides the key; @all: a value for each CPU, from the system call. */
struct put {
	const void *key, *value;
	uint64_t flags;
	uint32_t hash;
	bool all;
	void *old_object;
};

static int exists_check(bool exists, uint64_t flags)
{
	flags &= ~(uint64_t)BPF_F_LOCK;
	if (exists && flags == BPF_NOEXIST)
		return -EEXIST;
	return !exists && flags == BPF_EXIST ? -ENOENT : 0;
}

static void percpu_put(struct hash *h, uint32_t i, const struct put *p, bool fresh)
{
	uint32_t size = p->all ? h->value_stride : h->b.m.def.value_size, c;
	const char *v = p->value;

	for (c = 0; c < h->b.m.def.cpus; c++) {
		char *to = hash_percpu(h, i, c);

		if (p->all || c == map_cpu)
			copy_value(&h->b, to, v + (p->all ? (size_t)c * size : 0), size);
		else if (fresh)
			memset(to, 0, h->value_stride);
		if (!fresh && (p->all || c == map_cpu))
			value_drop(&h->b, to);
	}
}

/* What goes with an element that leaves its chain. */
static void elem_drop(struct hash *h, uint32_t i)
{
	unsigned c;

	if (!h->b.n_holes)
		return;
	if (!h->percpu)
		value_drop(&h->b, hash_value(h, i));
	for (c = 0; h->percpu && c < h->b.m.def.cpus; c++)
		value_drop(&h->b, hash_percpu(h, i, c));
}

static void *object_in(const struct hash *h, uint32_t i)
{
	return h->maps ? *(void **)hash_value(h, i) : NULL;
}

static hot_inline void fill(struct hash *h, uint32_t i, const struct put *p, uint32_t n)
{
	struct hash_elem *e = hash_elem(h, i);

	atomic_store_explicit(&e->hash, p->hash, memory_order_relaxed);
	key_set(h, e, p->key, n);
	if (h->percpu)
		percpu_put(h, i, p, true);
	else
		copy_value(&h->b, (char *)e + h->value_at, p->value, h->value_size);
}

/* @i before what @head begins with; the head stays locked. */
static hot_inline void link_first(struct hash *h, uint32_t bucket, uint32_t head, uint32_t i,
				  bool used)
{
	struct hash_elem *e = hash_elem(h, i);

	if (h->lru) {
		atomic_store_explicit(&e->used, used, memory_order_relaxed);
		atomic_store_explicit(&e->live, 1, memory_order_relaxed);
	}
	atomic_store_explicit(&e->next, head, memory_order_relaxed);
	atomic_store_explicit(h->heads + bucket, i | HASH_LOCKED, memory_order_release);
}

/* Returns the chain's new head. */
static hot_inline uint32_t replace(struct hash *h, uint32_t bucket, uint32_t head, uint32_t old,
				   struct put *p, uint32_t n)
{
	uint32_t i;

	if (h->percpu) {
		percpu_put(h, old, p, false);
		if (h->lru)
			mark(h, old);
		return head;
	}
	if (unlikely(p->flags & BPF_F_LOCK)) {
		copy_locked(&h->b, hash_value(h, old), p->value, h->value_size);
		return head;
	}
	i = hash_extra_take(h, old);
	fill(h, i, p, n);
	link_first(h, bucket, head, i, true);
	hash_unlink(h, bucket, i, old);
	p->old_object = object_in(h, old);
	elem_drop(h, old);
	hash_extra_put(h, old);
	return i;
}

/* One try under the bucket's lock. *spare: an element to use, taken when it is. -EAGAIN: needs one. */
static hot_inline int put_locked(struct hash *h, struct put *p, uint32_t *spare, uint32_t n)
{
	uint32_t bucket = p->hash & h->mask, head = hash_lock(h, bucket);
	uint32_t old = find_locked(h, head, p->key, p->hash, n);
	bool exists = !hash_is_end(old);
	int rc = exists_check(exists, p->flags);

	if (!rc && exists) {
		head = replace(h, bucket, head, old, p, n);
	} else if (!rc) {
		if (!*spare)
			*spare = hash_pop(h);
		rc = *spare ? 0 : h->lru ? -EAGAIN : -E2BIG;
		if (!rc) {
			fill(h, *spare, p, n);
			link_first(h, bucket, head, *spare, false);
			head = *spare;
			*spare = 0;
		}
	}
	hash_unlock(h, bucket, head);
	return rc;
}

static hot_inline int put(struct hash *h, struct put *p, uint32_t n)
{
	uint32_t spare = 0;
	unsigned waits = 0, tries = 0;
	int rc;

	p->hash = hash_key(h, p->key, n);
	for (;;) {
		rc = put_locked(h, p, &spare, n);
		if (likely(rc != -EAGAIN))
			break;
		spare = hash_evict(h);
		if (spare)
			elem_drop(h, spare);
		else if (tries++ < PUT_TRIES) /* all are in other threads' hands, for a moment */
			spin_wait(&waits);
		else
			return -ENOMEM;
	}
	if (unlikely(spare))
		hash_push(h, spare);
	return rc;
}

static int put_check(const struct hash *h, uint64_t flags)
{
	bool lock = !h->lru && !h->percpu;

	if ((lock ? flags & ~(uint64_t)BPF_F_LOCK : flags) > BPF_EXIST)
		return -EINVAL;
	return flags & BPF_F_LOCK && !has_lock(&h->b.m) ? -EINVAL : 0;
}

#define UPDATES(name, ksize)                                                        \
	static int update_##name(struct map *m, const void *key, const void *value, \
				 uint64_t flags)                                    \
	{                                                                           \
		struct put p = {key, value, flags};                                 \
		struct hash *h = hash_of(m);                                        \
		int rc = put_check(h, flags);                                       \
                                                                                    \
		return likely(!rc) ? put(h, &p, ksize) : rc;                        \
	}

UPDATES(4, 4)
UPDATES(8, 8)
UPDATES(16, 16)
UPDATES(any, h->key_size)

static int percpu_sys_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct put p = {key, value, flags, .all = true};
	struct hash *h = hash_of(m);
	int rc = put_check(h, flags);

	return rc ? rc : put(h, &p, h->key_size);
}

static int maps_sys_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct put p = {key, NULL, flags};
	struct hash *h = hash_of(m);
	void *object;
	int fd, rc;

	memcpy(&fd, value, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (!object)
		return rc;
	p.value = &object;
	rc = put_check(h, flags);
	if (!rc)
		rc = put(h, &p, h->key_size);
	map_object_put(m, rc ? object : p.old_object);
	return rc;
}

/* ---- deleting -------------------------------------------------------------------------------- */

static void elem_free(struct hash *h, uint32_t i)
{
	map_object_put(&h->b.m, object_in(h, i));
	elem_drop(h, i);
	hash_push(h, i);
}

/* A value of @i as the system call shows it. */
static void elem_copy(struct hash *h, uint32_t i, void *value, uint64_t flags)
{
	uint32_t c, id;

	if (h->maps) {
		id = object_id(&h->b.m, object_in(h, i));
		memcpy(value, &id, sizeof(id));
	} else if (!h->percpu) {
		copy_out(&h->b, value, hash_value(h, i), h->value_size, flags);
	}
	for (c = 0; h->percpu && c < h->b.m.def.cpus; c++)
		copy_out(&h->b, (char *)value + (size_t)c * h->value_stride, hash_percpu(h, i, c),
			 h->value_stride, flags);
}

/* @value: NULL, or where the value goes that is deleted. */
static int take_out(struct hash *h, const void *key, void *value, uint64_t flags)
{
	uint32_t hash = hash_key(h, key, h->key_size), bucket = hash & h->mask;
	uint32_t head = hash_lock(h, bucket), i = find_locked(h, head, key, hash, h->key_size);

	if (hash_is_end(i)) {
		hash_unlock(h, bucket, head);
		return -ENOENT;
	}
	if (value)
		elem_copy(h, i, value, flags);
	hash_unlock(h, bucket, hash_unlink(h, bucket, head, i));
	elem_free(h, i);
	return 0;
}

static int hash_delete(struct map *m, const void *key)
{
	return take_out(hash_of(m), key, NULL, 0);
}

static int hash_lookup_delete(struct map *m, const void *key, void *value, uint64_t flags)
{
	return take_out(hash_of(m), key, value, flags);
}

/* ---- walking --------------------------------------------------------------------------------- */

static int hash_sys_lookup(struct map *m, const void *key, void *value, uint64_t flags)
{
	struct hash *h = hash_of(m);
	uint32_t i = find_any(h, key);

	if (!i)
		return -ENOENT;
	elem_copy(h, i, value, flags);
	return 0;
}

static uint32_t first_in(const struct hash *h, uint32_t bucket)
{
	uint32_t at = atomic_load_explicit(h->heads + bucket, memory_order_acquire) & ~HASH_LOCKED;

	return hash_is_end(at) ? 0 : at;
}

/* Behind @i in a bucket's chain; 0 at its end, or where the chain is another bucket's by now. */
static uint32_t next_in(const struct hash *h, uint32_t bucket, uint32_t i)
{
	uint32_t at = atomic_load_explicit(&hash_elem(h, i)->next, memory_order_acquire);

	return hash_is_end(at) || (hash_of_elem(h, at) & h->mask) != bucket ? 0 : at;
}

static int hash_next_key(struct map *m, const void *key, void *next)
{
	struct hash *h = hash_of(m);
	uint32_t i = key ? find_any(h, key) : 0, at = 0;
	uint64_t bucket = 0;

	if (i) {
		bucket = hash_key(h, key, h->key_size) & h->mask;
		at = next_in(h, (uint32_t)bucket++, i);
	}
	for (; !at && bucket <= h->mask; bucket++)
		at = first_in(h, (uint32_t)bucket);
	if (!at)
		return -ENOENT;
	key_copy(h, at, next);
	return 0;
}

/* A copy of the key: the element may be another's before the callback looks. */
static int each(struct hash *h, uint32_t i, int (*fn)(void *, const void *, void *), void *arg)
{
	uint64_t key[EACH_KEY_MAX / 8];
	void *value = h->percpu ? hash_percpu(h, i, map_cpu) : hash_value(h, i);

	if (h->key_size > sizeof(key))
		return fn(arg, (char *)hash_elem(h, i) + h->key_at, value);
	key_copy(h, i, key);
	return fn(arg, key, value);
}

static long hash_for_each(struct map *m, int (*fn)(void *, const void *, void *), void *arg)
{
	struct hash *h = hash_of(m);
	uint32_t at, next, steps;
	uint64_t bucket;
	long calls = 0;

	for (bucket = 0; bucket <= h->mask; bucket++) {
		at = first_in(h, (uint32_t)bucket);
		for (steps = 0; at && steps < h->n; steps++, at = next) {
			next = next_in(h, (uint32_t)bucket, at);
			calls++;
			if (each(h, at, fn, arg))
				return calls;
		}
	}
	return calls;
}

/* ---- batches --------------------------------------------------------------------------------- */

struct batch {
	char *keys, *values;
	uint32_t room, n;
	uint64_t flags;
	bool delete;
};

static uint32_t chain_length(const struct hash *h, uint32_t at)
{
	uint32_t n;

	for (n = 0; !hash_is_end(at); n++)
		at = atomic_load_explicit(&hash_elem(h, at)->next, memory_order_relaxed);
	return n;
}

static void chain_free(struct hash *h, uint32_t at)
{
	uint32_t next;

	for (; !hash_is_end(at); at = next) {
		next = atomic_load_explicit(&hash_elem(h, at)->next, memory_order_relaxed);
		elem_free(h, at);
	}
}

/* A whole bucket or nothing: -ENOSPC. */
static int batch_bucket(struct hash *h, struct batch *b, uint32_t bucket)
{
	uint32_t head, at, size = map_sys_value_size(&h->b.m), end = HASH_END | bucket;

	if (!first_in(h, bucket))
		return 0;
	head = hash_lock(h, bucket);
	if (chain_length(h, head) > b->room - b->n) {
		hash_unlock(h, bucket, head);
		return -ENOSPC;
	}
	for (at = head; !hash_is_end(at); b->n++) {
		memcpy(b->keys + (size_t)b->n * h->key_size, (char *)hash_elem(h, at) + h->key_at,
		       h->key_size);
		elem_copy(h, at, b->values + (size_t)b->n * size, b->flags);
		at = atomic_load_explicit(&hash_elem(h, at)->next, memory_order_relaxed);
	}
	hash_unlock(h, bucket, b->delete ? end : head);
	if (b->delete)
		chain_free(h, head);
	return 0;
}

static int hash_lookup_batch(struct map *m, const void *in, void *out, void *keys, void *values,
			     uint32_t *count, uint64_t flags, bool delete)
{
	struct batch b = {keys, values, *count, 0, flags, delete};
	struct hash *h = hash_of(m);
	uint32_t bucket = in ? load32(in) : 0;
	int rc = 0;

	*count = 0;
	if (bucket > h->mask)
		return -ENOENT;
	while (!rc && bucket <= h->mask) {
		rc = batch_bucket(h, &b, bucket);
		bucket += !rc;
	}
	memcpy(out, &bucket, sizeof(bucket));
	*count = b.n;
	if (rc == -ENOSPC && b.n)
		rc = 0;
	else if (!rc)
		rc = -ENOENT;
	return rc;
}

/* ---- creation -------------------------------------------------------------------------------- */

static void hash_free(struct map *m)
{
	struct hash *h = hash_of(m);
	uint64_t bucket;
	uint32_t at;

	for (bucket = 0; h->heads && (h->maps || h->b.n_holes) && bucket <= h->mask; bucket++) {
		for (at = first_in(h, (uint32_t)bucket); at;
		     at = next_in(h, (uint32_t)bucket, at)) {
			map_object_put(m, object_in(h, at));
			elem_drop(h, at);
		}
	}
	arena_free(h->elems, h->elems_bytes);
	arena_free(h->heads, h->heads_bytes);
	arena_free(h->percpu_values, h->percpu_bytes);
	free(h->free);
}

#define OPS_COMMON                                                           \
	.free = hash_free, .delete = hash_delete, .for_each = hash_for_each, \
	.sys_lookup = hash_sys_lookup, .next_key = hash_next_key,            \
	.lookup_batch = hash_lookup_batch, .cursor_size = sizeof(uint32_t),  \
	.batches =                                                           \
		MAP_BATCH_LOOKUP | MAP_BATCH_LOOKUP_DELETE | MAP_BATCH_UPDATE | MAP_BATCH_DELETE

/* clang-format off */
#define OPS(name)                                                                                  \
	{                                                                                          \
		{                                                                                  \
			OPS_COMMON,                                                                \
			.lookup = lookup_##name,                                                   \
			.update = update_##name,                                                   \
			.lookup_delete = hash_lookup_delete,                                       \
		}, {                                                                               \
			OPS_COMMON,                                                                \
			.lookup = lookup_lru_##name,                                               \
			.update = update_##name,                                                   \
			.lookup_delete = hash_lookup_delete,                                       \
		}, {                                                                               \
			OPS_COMMON,                                                                \
			.lookup = lookup_percpu_##name,                                            \
			.lookup_percpu = percpu_lookup_percpu,                                     \
			.update = update_##name,                                                   \
			.sys_update = percpu_sys_update,                                           \
			.lookup_delete = hash_lookup_delete,                                       \
		},                                                                                 \
	}
/* clang-format on */

/* By length of keys (4, 8, 16, any), then plain, LRU, per CPU. */
static const struct map_ops ops[4][3] = {OPS(4), OPS(8), OPS(16), OPS(any)};

static const struct map_ops maps_ops = {
	OPS_COMMON,
	.lookup = lookup_maps,
	.sys_update = maps_sys_update,
	.no_inner = true,
};

static bool is_percpu(const struct map_def *def)
{
	return def->type == BPF_MAP_TYPE_PERCPU_HASH || def->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static bool is_lru(const struct map_def *def)
{
	return def->type == BPF_MAP_TYPE_LRU_HASH || def->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

static const struct map_ops *ops_for(const struct map_def *def)
{
	uint32_t k = def->key_size;

	if (def->type == BPF_MAP_TYPE_HASH_OF_MAPS)
		return &maps_ops;
	return &ops[k == 4    ? 0
		    : k == 8  ? 1
		    : k == 16 ? 2
			      : 3][is_percpu(def) ? 2
				   : is_lru(def)  ? 1
						  : 0];
}

static int sizes_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t elem_head = 48; /* the kernel's struct htab_elem */

	if (!def->max_entries || !def->key_size || !def->value_size)
		return skep_fail(err, -EINVAL,
				 "a hash has keys (%u bytes), values (%u) and entries (%u)",
				 def->key_size, def->value_size, def->max_entries);
	if ((uint64_t)def->key_size + def->value_size >= KMALLOC_MAX - elem_head ||
	    (is_percpu(def) && round8(def->value_size) > PERCPU_MAX))
		return skep_fail(err, -E2BIG, "elements of %u + %u bytes are too large",
				 def->key_size, def->value_size);
	return 0;
}

static int hash_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t allowed = BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE |
				 MAP_FLAGS_ACCESS | BPF_F_ZERO_SEED;
	bool own_lists = def->flags & BPF_F_NO_COMMON_LRU;
	int rc;

	if (def->type == BPF_MAP_TYPE_HASH_OF_MAPS && def->value_size != 4)
		return skep_fail(err, -EINVAL, "a hash of maps has values of 4 bytes, not %u",
				 def->value_size);
	rc = flags_check(def, allowed, err);
	if (rc)
		return rc;
	if (own_lists && !is_lru(def))
		return skep_fail(err, -EINVAL, "BPF_F_NO_COMMON_LRU is for LRU maps");
	if (is_lru(def) && def->flags & BPF_F_NO_PREALLOC)
		return skep_fail(err, -ENOTSUPP, "an LRU map is always preallocated");
	if (def->flags & BPF_F_NUMA_NODE && (is_percpu(def) || own_lists))
		return skep_fail(err, -EINVAL, "BPF_F_NUMA_NODE is not for per-CPU maps");
	return sizes_check(def, err);
}

/* Each CPU's part has the same number of entries, at least one. */
static void zones_set(struct hash *h)
{
	struct map_def *def = &h->b.m.def;
	uint64_t up = ((uint64_t)def->max_entries + def->cpus - 1) / def->cpus * def->cpus;

	h->zones = def->flags & BPF_F_NO_COMMON_LRU ? def->cpus : 1;
	if (h->zones > 1)
		def->max_entries =
			up <= UINT32_MAX ? (uint32_t)up : def->max_entries / def->cpus * def->cpus;
}

static void layout(struct hash *h)
{
	const struct map_def *def = &h->b.m.def;
	uint64_t elem;

	h->key_size = def->key_size;
	h->value_size = h->maps ? sizeof(void *) : def->value_size;
	h->value_stride = (uint32_t)round8(h->value_size);
	h->key_at = h->lru ? HASH_HEAD_LRU : HASH_HEAD;
	h->value_at = h->key_at + (uint32_t)round8(h->key_size);
	elem = h->value_at + (h->percpu ? 0 : h->value_stride);
	h->size = (uint32_t)elem;
	h->n = def->max_entries + (h->percpu ? 0 : def->cpus);
	h->n_zone = h->n / h->zones;
	h->mask = (uint32_t)round_pow2(def->max_entries) - 1;
	h->elems_bytes = ((uint64_t)h->n + 1) * elem;
	h->heads_bytes = ((uint64_t)h->mask + 1) * sizeof(*h->heads);
	h->cpu_stride = cpu_stride((uint64_t)h->n + 1, h->value_stride);
	h->percpu_bytes = h->percpu ? h->cpu_stride * def->cpus : 0;
}

static int memory_take(struct hash *h)
{
	unsigned cpus = h->b.m.def.cpus;

	h->free = aligned_alloc(64, cpus * sizeof(*h->free));
	if (!h->free)
		return -ENOMEM;
	memset(h->free, 0, cpus * sizeof(*h->free));
	h->elems = arena(&h->b, h->elems_bytes);
	h->heads = h->elems ? arena(&h->b, h->heads_bytes) : NULL;
	if (!h->heads)
		return -ENOMEM;
	if (h->percpu)
		h->percpu_values = arena(&h->b, h->percpu_bytes);
	return h->percpu && !h->percpu_values ? -ENOMEM : 0;
}

static int seed_set(struct hash *h)
{
	if (h->b.m.def.flags & BPF_F_ZERO_SEED)
		return 0;
	return getrandom(&h->seed, sizeof(h->seed), GRND_NONBLOCK) == sizeof(h->seed) ? 0 : -ENOMEM;
}

static void areas_set(struct hash *h)
{
	struct map *m = &h->b.m;

	if (h->percpu)
		m->areas[0] = (struct map_area){(uintptr_t)h->percpu_values, h->percpu_bytes,
						h->value_stride, 0, m->def.value_size};
	else if (!h->maps)
		m->areas[0] = (struct map_area){(uintptr_t)h->elems, h->elems_bytes, h->size,
						h->value_at, m->def.value_size};
}

int hash_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct hash *h;
	int rc = hash_check(def, err);

	if (!rc && def->type == BPF_MAP_TYPE_HASH_OF_MAPS)
		rc = inner_check(def, err);
	if (rc)
		return rc;
	if (round_pow2(def->max_entries) > UINT32_MAX / 16) /* the kernel's buckets */
		return skep_fail(err, -E2BIG, "%u entries are too many", def->max_entries);
	h = base_make(sizeof(*h), def, ops_for(def));
	if (!h)
		return no_memory(def, err);
	h->lru = is_lru(def);
	h->percpu = is_percpu(def);
	h->maps = def->type == BPF_MAP_TYPE_HASH_OF_MAPS;
	zones_set(h);
	layout(h);
	rc = memory_take(h);
	if (!rc)
		rc = seed_set(h);
	if (rc) {
		map_free(&h->b.m);
		return no_memory(def, err);
	}
	hash_free_init(h);
	areas_set(h);
	*out = &h->b.m;
	return 0;
}
