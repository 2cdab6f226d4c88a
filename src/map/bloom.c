// SPDX-License-Identifier: Apache-2.0
/*
 * bloom.c: bloom filters: bits that a value's hashes set. As many bits as the kernel takes, so that as
 * few values are in by mistake.
 */
#include <sys/random.h>
#include <xxhash.h>

#include "map/impl.h"

#define HASHES_MAX     15
#define HASHES_DEFAULT 5

struct bloom {
	struct map_base b;
	_Atomic uint64_t *bits;
	uint64_t bytes;
	uint32_t mask, seed, hashes;
};

static struct bloom *bloom_of(struct map *m)
{
	return container_of(m, struct bloom, b.m);
}

/* The i-th bit of a value: two hashes give all the others. */
static hot_inline uint32_t bit_of(const struct bloom *f, XXH128_hash_t h, uint32_t i)
{
	return (uint32_t)((h.low64 + i * h.high64) >> 32) & f->mask;
}

static XXH128_hash_t value_hash(const struct bloom *f, const void *value)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(value, f->b.m.def.value_size, f->seed);

	h.high64 |= 1ULL << 32;
	return h;
}

static int bloom_push(struct map *m, const void *value, uint64_t flags)
{
	struct bloom *f = bloom_of(m);
	XXH128_hash_t h;
	uint32_t i, bit;

	if (flags != BPF_ANY)
		return -EINVAL;
	h = value_hash(f, value);
	for (i = 0; i < f->hashes; i++) {
		bit = bit_of(f, h, i);
		atomic_fetch_or_explicit(f->bits + bit / 64, 1ULL << bit % 64,
					 memory_order_relaxed);
	}
	return 0;
}

static int bloom_peek(struct map *m, void *value)
{
	struct bloom *f = bloom_of(m);
	XXH128_hash_t h = value_hash(f, value);
	uint32_t i, bit;

	for (i = 0; i < f->hashes; i++) {
		bit = bit_of(f, h, i);
		if (!(atomic_load_explicit(f->bits + bit / 64, memory_order_relaxed) >> bit % 64 &
		      1))
			return -ENOENT;
	}
	return 0;
}

static int bloom_delete(struct map *m maybe_unused, const void *key maybe_unused)
{
	return -EOPNOTSUPP;
}

static int bloom_next_key(struct map *m maybe_unused, const void *key maybe_unused,
			  void *next maybe_unused)
{
	return -EOPNOTSUPP;
}

/* @value: what is asked for, as for peek. */
static int bloom_sys_lookup(struct map *m, const void *key maybe_unused, void *value,
			    uint64_t flags maybe_unused)
{
	return bloom_peek(m, value);
}

static int bloom_sys_update(struct map *m, const void *key maybe_unused, const void *value,
			    uint64_t flags)
{
	return bloom_push(m, value, flags);
}

static void bloom_free(struct map *m)
{
	arena_free((void *)bloom_of(m)->bits, bloom_of(m)->bytes);
}

static const struct map_ops bloom_ops = {
	.free = bloom_free,
	.push = bloom_push,
	.peek = bloom_peek,
	.delete = bloom_delete,
	.sys_lookup = bloom_sys_lookup,
	.sys_update = bloom_sys_update,
	.next_key = bloom_next_key,
};

static int bloom_check(const struct map_def *def, struct skep_err *err)
{
	if (def->value_size > KMALLOC_MAX)
		return skep_fail(err, -E2BIG, "values of %u bytes are too large", def->value_size);
	if (def->key_size || !def->value_size || !def->max_entries ||
	    def->extra & ~(uint64_t)HASHES_MAX)
		return skep_fail(err, -EINVAL,
				 "a bloom filter has no keys, has values and entries, and at most "
				 "15 hashes");
	return flags_check(def, BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | MAP_FLAGS_ACCESS, err);
}

/* entries * hashes / ln 2, a power of two; all there are where that is more. */
static uint32_t bits_mask(const struct map_def *def, uint32_t hashes)
{
	uint64_t n = (uint64_t)def->max_entries * hashes;

	if (n > UINT32_MAX)
		return UINT32_MAX;
	n = n / 5 * 7;
	if (n > 1ULL << 31)
		return UINT32_MAX;
	return (uint32_t)round_pow2(max(n, (uint64_t)64)) - 1;
}

static bool bloom_fill(struct bloom *f)
{
	const struct map_def *def = &f->b.m.def;

	f->hashes = def->extra ? (uint32_t)def->extra : HASHES_DEFAULT;
	f->mask = bits_mask(def, f->hashes);
	f->bytes = ((uint64_t)f->mask + 1) / 8;
	f->bits = arena(&f->b, f->bytes);
	if (!f->bits)
		return false;
	return def->flags & BPF_F_ZERO_SEED ||
	       getrandom(&f->seed, sizeof(f->seed), GRND_NONBLOCK) == sizeof(f->seed);
}

int bloom_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct bloom *f;
	int rc = bloom_check(def, err);

	if (rc)
		return rc;
	f = base_make(sizeof(*f), def, &bloom_ops);
	if (!f)
		return no_memory(def, err);
	if (!bloom_fill(f)) {
		map_free(&f->b.m);
		return no_memory(def, err);
	}
	*out = &f->b.m;
	return 0;
}
