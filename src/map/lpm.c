// SPDX-License-Identifier: Apache-2.0
/*
 * lpm.c: longest-prefix maps: lookups, and the trie (lpm.h).
 */
#include <endian.h>

#include "map/lpm.h"

#define KEY_HEAD 4 /* the prefix's length in bits, before its bytes */
#define RETRIES	 64

/* ---- keys ------------------------------------------------------------------------------------ */

static hot_inline uint64_t load_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static hot_inline uint64_t load_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static hot_inline void key_load(struct lpm_key *k, const void *key, uint32_t bytes)
{
	const unsigned char *p = (const unsigned char *)key + KEY_HEAD;
	uint32_t i;

	memcpy(&k->bits, key, sizeof(k->bits));
	if (bytes == 4) {
		k->words[0] = load_be32(p) << 32;
		return;
	}
	for (i = 0; i + 8 <= bytes; i += 8)
		k->words[i / 8] = load_be64(p + i);
	if (i < bytes)
		k->words[i / 8] = 0;
	for (; i < bytes; i++)
		k->words[i / 8] |= (uint64_t)p[i] << (56 - i % 8 * 8);
}

static void key_store(const struct lpm *t, void *key, const struct lpm_node *n)
{
	unsigned char *p = (unsigned char *)key + KEY_HEAD;
	uint32_t i;

	memcpy(key, &n->bits, sizeof(n->bits));
	for (i = 0; i < t->bytes; i++)
		p[i] = lpm_byte(n->words, i);
}

/* ---- lookups --------------------------------------------------------------------------------- */

/* The longest prefix from node @i on that holds the key, else @best. */
static hot_inline uint32_t walk(const struct lpm *t, uint32_t i, uint32_t best,
				const struct lpm_key *k)
{
	uint32_t steps = 0, bits;
	const struct lpm_node *n;

	while (i && steps++ <= t->bits_max) { /* L2 */
		n = lpm_node(t, i);
		bits = __atomic_load_n(&n->bits, __ATOMIC_ACQUIRE);
		if (bits > k->bits || !lpm_holds(n->words, bits, k->words))
			break;
		if (!lpm_get(&n->branch))
			best = i;
		if (bits >= t->bits_max)
			break;
		i = lpm_get(&n->child[lpm_bit(k->words, bits)]);
	}
	return best;
}

/* For keys of full length. */
static hot_inline uint32_t search(const struct lpm *t, const struct lpm_key *k, uint32_t bytes)
{
	uint32_t best = lpm_get(&t->any), depth, next = LPM_TABLE | 1, found;

	for (depth = 0; depth < bytes && next & LPM_TABLE; depth++) {
		const struct lpm_table *table = t->tables + (next & ~LPM_TABLE);
		const struct lpm_slot *slot = table->slots + lpm_byte(k->words, depth);

		found = lpm_get(&slot->best);
		next = lpm_get(&slot->next);
		best = found ? found : best;
	}
	return next & LPM_TABLE ? best : walk(t, next, best, k);
}

static hot_inline uint32_t find(const struct lpm *t, const struct lpm_key *k, uint32_t bytes)
{
	return likely(k->bits == bytes * 8) ? search(t, k, bytes)
					    : walk(t, lpm_get(&t->root), 0, k);
}

static uint32_t find_patiently(struct lpm *t, const struct lpm_key *k)
{
	uint32_t i;

	spin_lock(&t->lock);
	i = find(t, k, t->bytes);
	spin_unlock(&t->lock);
	return i;
}

static hot_inline void *lookup(struct lpm *t, const void *key, uint32_t bytes)
{
	struct lpm_key k;
	uint32_t i = 0, seq, retries;

	key_load(&k, key, bytes);
	if (unlikely(k.bits > bytes * 8))
		return NULL;
	for (retries = 0; retries < RETRIES; retries++) { /* L1 */
		seq = atomic_load_explicit(&t->seq, memory_order_acquire);
		i = find(t, &k, bytes);
		if (likely(!(seq & 1) && lpm_get(&t->seq) == seq))
			break;
	}
	if (unlikely(retries == RETRIES))
		i = find_patiently(t, &k);
	return i ? (char *)lpm_node(t, i) + t->value_at : NULL;
}

static void *lookup_4(struct map *m, const void *key)
{
	return lookup(lpm_of(m), key, 4);
}

static void *lookup_16(struct map *m, const void *key)
{
	return lookup(lpm_of(m), key, 16);
}

static void *lookup_any(struct map *m, const void *key)
{
	return lookup(lpm_of(m), key, lpm_of(m)->bytes);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static uint32_t node_take(struct lpm *t)
{
	uint32_t i;

	if (t->fresh < t->n_nodes && t->n_free < LPM_QUARANTINE) /* L3 */
		return t->fresh++;
	i = t->free_first;
	if (i) {
		t->free_first = lpm_get(&lpm_node(t, i)->child[0]);
		t->n_free--;
	}
	return i;
}

static void node_give(struct lpm *t, uint32_t i)
{
	lpm_set(&lpm_node(t, i)->child[0], 0);
	if (t->n_free++)
		lpm_set(&lpm_node(t, t->free_last)->child[0], i);
	else
		t->free_first = i;
	t->free_last = i;
}

static void node_set(struct lpm *t, uint32_t i, const uint64_t *words, uint32_t bits, bool branch)
{
	struct lpm_node *n = lpm_node(t, i);
	uint32_t w;

	__atomic_store_n(&n->bits, bits, __ATOMIC_RELEASE); /* lookups may be reading (L1) */
	lpm_set(&n->branch, branch);
	lpm_set(&n->child[0], 0);
	lpm_set(&n->child[1], 0);
	for (w = 0; w < t->words; w++)
		__atomic_store_n(n->words + w, words[w], __ATOMIC_RELEASE);
}

static void write_begin(struct lpm *t)
{
	spin_lock(&t->lock);
	lpm_set(&t->seq, lpm_get(&t->seq) + 1);
}

static void write_end(struct lpm *t)
{
	atomic_store_explicit(&t->seq, lpm_get(&t->seq) + 1, memory_order_release);
	spin_unlock(&t->lock);
}

/* ---- the way to a prefix --------------------------------------------------------------------- */

/* Where a prefix is or would be: what points to it, and to its parent. */
struct way {
	_Atomic uint32_t *link, *up;
	uint32_t node, parent;
	uint32_t common; /* bits that node and key have in common */
};

static struct way way_to(struct lpm *t, const struct lpm_key *k)
{
	struct way w = {.link = &t->root};
	struct lpm_node *n;
	uint32_t limit;

	while ((w.node = lpm_get(w.link))) {
		n = lpm_node(t, w.node);
		limit = min(n->bits, k->bits);
		w.common = lpm_common(n->words, k->words, limit);
		if (w.common != n->bits || n->bits == k->bits)
			break;
		w.parent = w.node;
		w.up = w.link;
		w.link = &n->child[lpm_bit(k->words, n->bits)];
	}
	return w;
}

/* Is the way's node the key's own, with a value? */
static bool way_ends(const struct lpm *t, const struct way *w, const struct lpm_key *k)
{
	const struct lpm_node *n = lpm_node(t, w->node);

	return w->node && n->bits == k->bits && w->common == k->bits && !lpm_get(&n->branch);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void adopt(struct lpm *t, uint32_t parent, uint32_t child, uint32_t bits)
{
	struct lpm_node *p = lpm_node(t, parent);

	lpm_set(&p->child[lpm_bit(lpm_node(t, child)->words, bits)], child);
}

/* New node @i where @w leads. False: no node for the branch. */
static bool insert(struct lpm *t, const struct way *w, const struct lpm_key *k, uint32_t i)
{
	struct lpm_node *n = lpm_node(t, i), *old = lpm_node(t, w->node);
	uint32_t branch;

	if (!w->node) {
		lpm_set(w->link, i);
	} else if (w->common == old->bits) { /* the same prefix */
		lpm_set(&n->child[0], lpm_get(&old->child[0]));
		lpm_set(&n->child[1], lpm_get(&old->child[1]));
		lpm_set(w->link, i);
	} else if (w->common == k->bits) { /* above it */
		adopt(t, i, w->node, k->bits);
		lpm_set(w->link, i);
	} else {
		branch = node_take(t);
		if (!branch)
			return false;
		node_set(t, branch, old->words, w->common, true);
		adopt(t, branch, w->node, w->common);
		adopt(t, branch, i, w->common);
		lpm_set(w->link, branch);
	}
	return true;
}

static int add_check(const struct lpm *t, bool exists, uint64_t flags)
{
	if (exists)
		return flags == BPF_NOEXIST ? -EEXIST : 0;
	if (flags == BPF_EXIST)
		return -ENOENT;
	return t->entries == t->b.m.def.max_entries ? -ENOSPC : 0;
}

static int put(struct lpm *t, const struct lpm_key *k, const void *value, uint64_t flags)
{
	struct way w = way_to(t, k);
	bool exists = way_ends(t, &w, k), same;
	int rc = add_check(t, exists, flags);
	uint32_t i;

	if (rc)
		return rc;
	i = node_take(t);
	if (!i)
		return -ENOMEM;
	same = w.node && w.common == lpm_node(t, w.node)->bits;
	node_set(t, i, k->words, k->bits, false);
	memcpy((char *)lpm_node(t, i) + t->value_at, value, t->b.m.def.value_size);
	if (!insert(t, &w, k, i)) {
		node_give(t, i);
		return -ENOMEM;
	}
	t->entries += !exists;
	lpm_table_added(t, i);
	if (same)
		node_give(t, w.node);
	return 0;
}

static int lpm_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	struct lpm *t = lpm_of(m);
	struct lpm_key k;
	int rc;

	key_load(&k, key, t->bytes);
	if (flags > BPF_EXIST || k.bits > t->bits_max)
		return -EINVAL;
	write_begin(t);
	rc = put(t, &k, value, flags);
	write_end(t);
	return rc;
}

/* The way's node goes; with it a branch above that has one child left. */
static void remove_node(struct lpm *t, const struct way *w)
{
	struct lpm_node *n = lpm_node(t, w->node), *p = lpm_node(t, w->parent);
	uint32_t a = lpm_get(&n->child[0]), b = lpm_get(&n->child[1]);

	if (a && b) {
		lpm_set(&n->branch, 1);
	} else if (w->parent && lpm_get(&p->branch) && !a && !b) {
		lpm_set(w->up, lpm_get(&p->child[lpm_get(&p->child[0]) == w->node]));
	} else {
		lpm_set(w->link, a ? a : b);
	}
}

static int take_out(struct lpm *t, const struct lpm_key *k)
{
	struct way w = way_to(t, k);
	struct lpm_node *n = lpm_node(t, w.node);
	bool alone, pair;

	if (!way_ends(t, &w, k))
		return -ENOENT;
	pair = lpm_get(&n->child[0]) && lpm_get(&n->child[1]);
	alone = !lpm_get(&n->child[0]) && !lpm_get(&n->child[1]);
	t->entries--;
	remove_node(t, &w);
	lpm_table_removed(t, k, w.node);
	if (!pair)
		node_give(t, w.node);
	if (alone && w.parent && lpm_get(&lpm_node(t, w.parent)->branch))
		node_give(t, w.parent);
	return 0;
}

static int lpm_delete(struct map *m, const void *key)
{
	struct lpm *t = lpm_of(m);
	struct lpm_key k;
	int rc;

	key_load(&k, key, t->bytes);
	if (k.bits > t->bits_max)
		return -EINVAL;
	write_begin(t);
	rc = take_out(t, &k);
	write_end(t);
	return rc;
}

/* ---- walking: longer prefixes before what holds them, zeros before ones ---------------------- */

/* The first of all below @i. */
static uint32_t first_below(const struct lpm *t, uint32_t i)
{
	uint32_t next = i;

	while (next) {
		const struct lpm_node *n = lpm_node(t, next);

		i = next;
		next = lpm_get(&n->child[0]);
		if (!next)
			next = lpm_get(&n->child[1]);
	}
	return i;
}

/* Behind the key's own node: the last on the way down that comes later. 0 at the end. */
static uint32_t behind(const struct lpm *t, const struct lpm_key *k, uint32_t own)
{
	uint32_t i = lpm_get(&t->root), next = 0, ones;

	while (i != own) {
		const struct lpm_node *n = lpm_node(t, i);
		unsigned bit = lpm_bit(k->words, n->bits);

		ones = bit ? 0 : lpm_get(&n->child[1]);
		if (ones)
			next = LPM_TABLE | ones;
		else if (!lpm_get(&n->branch))
			next = i;
		i = lpm_get(&n->child[bit]);
	}
	return next & LPM_TABLE ? first_below(t, next & ~LPM_TABLE) : next;
}

static uint32_t next_of(struct lpm *t, const void *key)
{
	struct lpm_key k;
	struct way w;

	if (key)
		key_load(&k, key, t->bytes);
	if (key && k.bits <= t->bits_max) {
		w = way_to(t, &k);
		if (way_ends(t, &w, &k))
			return behind(t, &k, w.node);
	}
	return first_below(t, lpm_get(&t->root));
}

static int lpm_next_key(struct map *m, const void *key, void *next)
{
	struct lpm *t = lpm_of(m);
	uint32_t i;

	spin_lock(&t->lock);
	i = next_of(t, key);
	if (i)
		key_store(t, next, lpm_node(t, i));
	spin_unlock(&t->lock);
	return i ? 0 : -ENOENT;
}

/* ---- creation -------------------------------------------------------------------------------- */

static void lpm_free(struct map *m)
{
	struct lpm *t = lpm_of(m);

	arena_free(t->nodes, t->nodes_bytes);
	arena_free(t->tables, t->tables_bytes);
}

#define OPS(name)                                                                  \
	{                                                                          \
		.free = lpm_free, .lookup = lookup_##name, .update = lpm_update,   \
		.delete = lpm_delete, .next_key = lpm_next_key,                    \
		.batches = MAP_BATCH_LOOKUP | MAP_BATCH_UPDATE | MAP_BATCH_DELETE, \
	}

static const struct map_ops ops_4 = OPS(4), ops_16 = OPS(16), ops_any = OPS(any);

static int lpm_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t node = 24; /* the kernel's struct lpm_trie_node */

	if (!def->max_entries || !(def->flags & BPF_F_NO_PREALLOC))
		return skep_fail(err, -EINVAL, "an LPM trie has entries and BPF_F_NO_PREALLOC");
	if (def->key_size <= KEY_HEAD || def->key_size > KEY_HEAD + LPM_BYTES_MAX ||
	    !def->value_size || def->value_size > KMALLOC_MAX - LPM_BYTES_MAX - node)
		return skep_fail(err, -EINVAL,
				 "an LPM trie has keys of 5 to 260 bytes (not %u), values (%u)",
				 def->key_size, def->value_size);
	return flags_check(def, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | MAP_FLAGS_ACCESS, err);
}

/* A node for each entry, a branch for each but one, one to replace by, and those that rest. */
static void layout(struct lpm *t)
{
	const struct map_def *def = &t->b.m.def;
	uint64_t nodes = 2ULL * def->max_entries + 2 + LPM_QUARANTINE;

	t->bytes = def->key_size - KEY_HEAD;
	t->words = (t->bytes + 7) / 8;
	t->bits_max = t->bytes * 8;
	t->value_at = (uint32_t)(sizeof(struct lpm_node) + t->words * 8);
	t->size = t->value_at + (uint32_t)round8(def->value_size);
	t->n_nodes = (uint32_t)min(nodes, (uint64_t)LPM_NODES_MAX);
	t->n_tables = 1 + t->n_nodes / 8;
	t->nodes_bytes = (uint64_t)t->n_nodes * t->size;
	t->tables_bytes = ((uint64_t)t->n_tables + 1) * sizeof(struct lpm_table);
	t->fresh = 1;
	t->fresh_table = 2;
}

static const struct map_ops *ops_for(uint32_t key_size)
{
	switch (key_size - KEY_HEAD) {
	case 4:
		return &ops_4;
	case 16:
		return &ops_16;
	default:
		return &ops_any;
	}
}

int lpm_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct lpm *t;
	int rc = lpm_check(def, err);

	if (rc)
		return rc;
	t = base_make(sizeof(*t), def, ops_for(def->key_size));
	if (!t)
		return no_memory(def, err);
	layout(t);
	t->nodes = arena(&t->b, t->nodes_bytes);
	t->tables = t->nodes ? arena(&t->b, t->tables_bytes) : NULL;
	if (!t->tables) {
		map_free(&t->b.m);
		return no_memory(def, err);
	}
	t->b.m.areas[0] = (struct map_area){(uintptr_t)t->nodes, t->nodes_bytes, t->size,
					    t->value_at, def->value_size};
	*out = &t->b.m;
	return 0;
}
