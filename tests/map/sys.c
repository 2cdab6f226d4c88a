// SPDX-License-Identifier: Apache-2.0
/* sys.c: one operation through bpf(2) and through map_sys_*, and what of the two must agree. */
#include <linux/bpf.h>

#include "diff.h"

static uint8_t key_room[KEY_ROOM];
static uint8_t theirs[SYS_ROOM], ours[SYS_ROOM];

static long kernel_elem(const struct pair *p, int cmd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {};

	attr.map_fd = p->fd;
	attr.key = (uintptr_t)key;
	attr.value = (uintptr_t)value;
	attr.flags = flags;
	return kernel_bpf(cmd, &attr, sizeof(attr));
}

/* Values of all CPUs without what lies between them (D2). */
static bool differ_values(struct pair *p, const char *what)
{
	size_t stride = (p->def.value_size + 7) & ~7u, at = 0;

	if (p->sys_size == p->def.value_size || p->sys_size == 4)
		return differ_bytes(p, what, theirs, ours, p->sys_size);
	for (; at < p->sys_size; at += stride)
		if (differ_bytes(p, what, theirs + at, ours + at, p->def.value_size))
			return true;
	return false;
}

/* An LRU's: a key may be gone, but what is found is what was written last. */
static bool evicted_lookup(struct pair *p, const struct op *op, long k, long o)
{
	uint8_t want[SYS_ROOM];
	struct op written = *op;
	size_t n = p->def.value_size;

	p->looks++;
	p->hits[0] += !k;
	p->hits[1] += !o;
	written.seed = p->model[op->key];
	pair_value(p, &written, want, p->sys_size);
	if (!p->model[op->key])
		return differ(p, "lookup of what was never written", k, o);
	return (!k && differ_bytes(p, "kernel's value after updates", want, theirs, n)) ||
	       (!o && differ_bytes(p, "engine's value after updates", want, ours, n)) ||
	       (o && o != -ENOENT && failed(p, "lookup: engine %ld", o));
}

static bool run_lookup(struct pair *p, const struct op *op)
{
	const void *key = pair_key(p, op->key, key_room);
	bool delete = op->kind == SYS_LOOKUP_DELETE;
	long k, o;

	pair_value(p, op, theirs, p->sys_size); /* a bloom filter's is looked up */
	memcpy(ours, theirs, p->sys_size);
	k = kernel_elem(p, delete ? BPF_MAP_LOOKUP_AND_DELETE_ELEM : BPF_MAP_LOOKUP_ELEM, key,
			theirs, op->flags);
	o = delete ? map_sys_lookup_delete(p->ours, key, ours, op->flags)
		   : map_sys_lookup(p->ours, key, ours, op->flags);
	if (p->lane->program == BLOOM && !delete)
		return !bloom_wrong(p, op, k, o);
	if (p->lane->evicts && !op->flags)
		return !evicted_lookup(p, op, k, o);
	return !differ(p, "result", k, o) && (k || !differ_values(p, "value"));
}

static bool run_update(struct pair *p, const struct op *op)
{
	const void *key = pair_key(p, op->key, key_room);
	long k, o;

	pair_value(p, op, theirs, p->sys_size);
	k = kernel_elem(p, BPF_MAP_UPDATE_ELEM, key, theirs, op->flags);
	o = map_sys_update(p->ours, key, theirs, op->flags);
	if (p->lane->program == BLOOM)
		return !bloom_put(p, op, k, o);
	if (!p->lane->evicts)
		return !differ(p, "result", k, o);
	p->model[op->key] = op->seed;
	return !differ(p, "result", k, o) &&
	       !differ(p, "lookup after update",
		       kernel_elem(p, BPF_MAP_LOOKUP_ELEM, key, theirs, 0),
		       map_sys_lookup(p->ours, key, ours, 0)) &&
	       !differ_bytes(p, "value after update", theirs, ours, p->def.value_size);
}

static bool run_delete(struct pair *p, const struct op *op)
{
	const void *key = pair_key(p, op->key, key_room);
	long k = kernel_elem(p, BPF_MAP_DELETE_ELEM, key, NULL, 0);
	long o = map_sys_delete(p->ours, key);

	if (!p->lane->evicts)
		return !differ(p, "result", k, o);
	return (!k || k == -ENOENT) && (!o || o == -ENOENT);
}

static bool run_next(struct pair *p, const struct op *op)
{
	const void *key = pair_key(p, op->key, key_room);
	uint8_t next[2][KEY_ROOM];
	long k = kernel_elem(p, BPF_MAP_GET_NEXT_KEY, key, next[0], 0);
	long o = map_sys_next_key(p->ours, key, next[1]);

	if (p->lane->evicts)
		return true;
	if (!p->lane->set)
		return !differ(p, "result", k, o) &&
		       (k || !differ_bytes(p, "next key", next[0], next[1], p->def.key_size));
	/* without order: an absent key leads to the first one, a present one maybe to the end */
	if (key && (!k || k == -ENOENT) && !kernel_elem(p, BPF_MAP_LOOKUP_ELEM, key, theirs, 0))
		return !o || o == -ENOENT || !failed(p, "next key: engine %ld", o);
	return !differ(p, "result", k, o) &&
	       (o ||
		!differ(p, "lookup of the next key", 0, map_sys_lookup(p->ours, next[1], ours, 0)));
}

/* ---- all keys, as sets where there is no order --------------------------------------------------- */

struct bag {
	uint8_t *bytes;
	size_t each;
	uint32_t n, room;
};

static struct bag bags[2];

static void bag_reset(struct bag *b, size_t each, uint32_t room)
{
	if (b->each * b->room < each * room)
		b->bytes = realloc(b->bytes, each * room);
	*b = (struct bag){b->bytes, each, 0, room};
}

static void bag_add(struct bag *b, const void *key, size_t key_size, const void *value)
{
	uint8_t *at = b->bytes + b->n++ * b->each;

	memcpy(at, key, key_size);
	memcpy(at + key_size, value, b->each - key_size);
}

static size_t sorting;

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sorting);
}

static bool differ_bags(struct pair *p, const char *what)
{
	if (differ(p, what, bags[0].n, bags[1].n))
		return true;
	sorting = bags[0].each;
	for (int i = 0; i < 2 && p->lane->set; i++)
		qsort(bags[i].bytes, bags[i].n, bags[i].each, by_bytes);
	return differ_bytes(p, what, bags[0].bytes, bags[1].bytes, bags[0].n * bags[0].each);
}

static long next_of(struct pair *p, int side, const void *key, void *next)
{
	return side ? map_sys_next_key(p->ours, key, next)
		    : kernel_elem(p, BPF_MAP_GET_NEXT_KEY, key, next, 0);
}

static long lookup_of(struct pair *p, int side, const void *key, void *value)
{
	memset(value, 0, p->sys_size);
	return side ? map_sys_lookup(p->ours, key, value, 0)
		    : kernel_elem(p, BPF_MAP_LOOKUP_ELEM, key, value, 0);
}

static long walk(struct pair *p, int side, uint32_t limit)
{
	uint8_t keys[2][KEY_ROOM];
	struct bag *b = &bags[side];
	long rc = next_of(p, side, NULL, keys[0]);

	for (unsigned i = 0; !rc && b->n < limit; i ^= 1) {
		if (lookup_of(p, side, keys[i], theirs))
			memset(theirs, 0xee, p->sys_size);
		bag_add(b, keys[i], p->def.key_size, theirs);
		rc = next_of(p, side, keys[i], keys[!i]);
	}
	return rc;
}

static bool run_walk(struct pair *p)
{
	uint32_t limit = p->def.max_entries + 2;
	size_t each = p->def.key_size + p->def.value_size;
	long k, o;

	bag_reset(&bags[0], each, limit);
	bag_reset(&bags[1], each, limit);
	k = walk(p, 0, limit);
	o = walk(p, 1, limit);
	if (p->lane->evicts)
		return !differ(p, "end of the walk", k, o) &&
		       (bags[1].n <= p->def.max_entries ||
			!failed(p, "walk: %u elements of %u", bags[1].n, p->def.max_entries));
	return !differ(p, "end of the walk", k, o) && !differ_bags(p, "walk");
}

struct batch {
	uint8_t cursor[2][KEY_ROOM], *keys, *values;
	uint32_t count;
	bool delete;
	uint64_t flags;
};

static long batch_call(struct pair *p, int side, struct batch *b, void *in, void *out)
{
	union bpf_attr attr = {};
	long rc;

	if (side)
		return map_sys_lookup_batch(p->ours, in, out, b->keys, b->values, &b->count,
					    b->flags, b->delete);
	attr.batch.map_fd = p->fd;
	attr.batch.in_batch = (uintptr_t)in;
	attr.batch.out_batch = (uintptr_t)out;
	attr.batch.keys = (uintptr_t)b->keys;
	attr.batch.values = (uintptr_t)b->values;
	attr.batch.count = b->count;
	attr.batch.elem_flags = b->flags;
	rc = kernel_bpf(b->delete ? BPF_MAP_LOOKUP_AND_DELETE_BATCH : BPF_MAP_LOOKUP_BATCH, &attr,
			sizeof(attr));
	b->count = attr.batch.count;
	return rc;
}

/* Until the end, as libbpf's users do: more room when there is too little. */
static long batch_all(struct pair *p, int side, const struct op *op, uint32_t limit)
{
	struct batch b = {.delete = op->kind == SYS_BATCH_DELETE, .flags = op->flags};
	struct bag *bag = &bags[side];
	uint32_t room = op->arg;
	void *in = NULL;
	long rc = 0;

	for (unsigned i = 0; !rc && bag->n < limit; i++) {
		b.keys = realloc(b.keys, room * p->def.key_size + 1);
		b.values = realloc(b.values, (size_t)room * p->sys_size + 1);
		b.count = room;
		rc = batch_call(p, side, &b, in, b.cursor[i & 1]);
		if (rc == -ENOSPC && room < 100000) {
			room *= 2;
			rc = 0;
			i--; /* the cursor stays */
			continue;
		}
		for (uint32_t j = 0; (!rc || rc == -ENOENT) && j < b.count && bag->n < limit; j++)
			bag_add(bag, b.keys + j * p->def.key_size, p->def.key_size,
				b.values + (size_t)j * p->sys_size);
		in = b.cursor[i & 1];
		if (!rc && !b.count)
			break;
	}
	free(b.keys);
	free(b.values);
	return rc;
}

static bool run_batch(struct pair *p, const struct op *op)
{
	uint32_t limit = p->def.max_entries + 2;
	size_t each = p->def.key_size + p->def.value_size;
	long k, o;

	if (p->lane->evicts)
		return true;
	bag_reset(&bags[0], each, limit);
	bag_reset(&bags[1], each, limit);
	k = batch_all(p, 0, op, limit);
	o = batch_all(p, 1, op, limit);
	return !differ(p, "end of the batches", k, o) && !differ_bags(p, "batches");
}

static bool run_freeze(struct pair *p)
{
	union bpf_attr attr = {.map_fd = p->fd};

	return !differ(p, "result", kernel_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr)),
		       map_sys_freeze(p->ours));
}

bool sys_run(struct pair *p, const struct op *op)
{
	switch (op->kind) {
	case SYS_LOOKUP:
	case SYS_LOOKUP_DELETE:
		return run_lookup(p, op);
	case SYS_UPDATE:
		return run_update(p, op);
	case SYS_DELETE:
		return run_delete(p, op);
	case SYS_NEXT:
		return run_next(p, op);
	case SYS_WALK:
		return run_walk(p);
	case SYS_BATCH:
	case SYS_BATCH_DELETE:
		return run_batch(p, op);
	case SYS_FREEZE:
		return run_freeze(p);
	case MAPPED_WRITE:
	case MAPPED_READ:
		return mapped_run(p, op);
	default:
		return ring_run(p, op);
	}
}
