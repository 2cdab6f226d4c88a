// SPDX-License-Identifier: Apache-2.0
/* create.c: BPF_MAP_CREATE with attributes right and wrong: is it refused, and with which errno? */
#include <linux/bpf.h>

#include "diff.h"

static const uint32_t types[] = {
	BPF_MAP_TYPE_HASH,	   BPF_MAP_TYPE_ARRAY,		 BPF_MAP_TYPE_PROG_ARRAY,
	BPF_MAP_TYPE_PERCPU_HASH,  BPF_MAP_TYPE_PERCPU_ARRAY,	 BPF_MAP_TYPE_PERF_EVENT_ARRAY,
	BPF_MAP_TYPE_STACK_TRACE,  BPF_MAP_TYPE_CGROUP_ARRAY,	 BPF_MAP_TYPE_LRU_HASH,
	BPF_MAP_TYPE_LPM_TRIE,	   BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_MAP_TYPE_ARRAY_OF_MAPS,
	BPF_MAP_TYPE_HASH_OF_MAPS, BPF_MAP_TYPE_DEVMAP,		 BPF_MAP_TYPE_DEVMAP_HASH,
	BPF_MAP_TYPE_CPUMAP,	   BPF_MAP_TYPE_XSKMAP,		 BPF_MAP_TYPE_QUEUE,
	BPF_MAP_TYPE_STACK,	   BPF_MAP_TYPE_RINGBUF,	 BPF_MAP_TYPE_USER_RINGBUF,
	BPF_MAP_TYPE_BLOOM_FILTER,
};

/* Near what each type wants, so that most attempts are wrong in one place at most. */
static uint32_t some_key_size(struct rng *r)
{
	static const uint32_t sizes[] = {4,  4,	  4,   8,   0,	 1,	     3,		5,
					 12, 260, 261, 512, 513, 0x80000000, 0xffffffff};

	return sizes[one_in(r, 2) ? rng_below(r, 4) : rng_below(r, array_size(sizes))];
}

static uint32_t some_value_size(struct rng *r)
{
	static const uint32_t sizes[] = {8, 4,	8,  4,	    16,	    24,		0,	   1,
					 3, 12, 13, 0x8000, 0x8001, 0x80000000, 0xffffffff};

	return sizes[one_in(r, 2) ? rng_below(r, 4) : rng_below(r, array_size(sizes))];
}

static uint32_t some_entries(struct rng *r)
{
	static const uint32_t sizes[] = {4096, 8, 1, 64, 0, 2, 3, 100, 4095, 8192, 0xffffffff};

	return sizes[one_in(r, 2) ? rng_below(r, 4) : rng_below(r, array_size(sizes))];
}

static uint32_t some_map_flags(struct rng *r)
{
	uint32_t flags = 0;

	if (one_in(r, 3))
		return 0;
	if (one_in(r, 2))
		return BPF_F_NO_PREALLOC;
	for (unsigned i = rng_below(r, 3) + 1; i; i--)
		flags |= 1u << rng_below(r, one_in(r, 20) ? 32 : 15);
	/* what stands for fds that this test does not pass, and an untried mapping */
	return flags & ~(BPF_F_NUMA_NODE | 1u << 15 | 1u << 16 | 1u << 17 | 1u << 18);
}

static bool is_hash(uint32_t type)
{
	return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH;
}

/*
 * D3: the kernel is asked only for what it refuses before it takes memory, and for a little. A map of
 * 2^31 entries may well fit an array's pointers and then exhaust the machine with its values.
 */
static bool modest(const struct map_def *d)
{
	uint64_t value =
		d->value_size > 1 << 20 ? 0 : d->value_size; /* above KMALLOC_MAX: refused */
	uint64_t key = d->key_size > 512 ? 0 : d->key_size;

	if (d->max_entries > 8192)
		return is_hash(d->type) && d->max_entries == UINT32_MAX;
	return (value + key + 64) * d->max_entries * host_cpus <= 2 << 20;
}

static bool told[64];

bool create_run(uint64_t seed, char *why, size_t room)
{
	struct rng r = {seed * 77777};
	struct map_def def = {.type = types[rng_below(&r, array_size(types))],
			      .key_size = some_key_size(&r),
			      .value_size = some_value_size(&r),
			      .max_entries = some_entries(&r),
			      .flags = some_map_flags(&r),
			      .extra = one_in(&r, 4) ? rng_below(&r, 20) : 0,
			      .cpus = host_cpus,
			      .fields = {-1, -1},
			      .objects = &diff_objects};
	bool outer =
		def.type == BPF_MAP_TYPE_ARRAY_OF_MAPS || def.type == BPF_MAP_TYPE_HASH_OF_MAPS;
	cleanup(fd_close) int fd = -1;
	struct skep_err err = {};
	struct map *m = NULL;
	int rc, kernel;

	if (one_in(&r, 2) &&
	    (def.type == BPF_MAP_TYPE_RINGBUF || def.type == BPF_MAP_TYPE_USER_RINGBUF ||
	     def.type == BPF_MAP_TYPE_QUEUE || def.type == BPF_MAP_TYPE_STACK ||
	     def.type == BPF_MAP_TYPE_BLOOM_FILTER))
		def.key_size = 0;
	if (one_in(&r, 2) &&
	    (def.type == BPF_MAP_TYPE_RINGBUF || def.type == BPF_MAP_TYPE_USER_RINGBUF))
		def.value_size = 0;
	if (outer)
		def.inner = &object_inner_def;
	if (!modest(&def))
		return true;
	fd = kernel_create(&def, outer ? object_inner_fd() : -1, false);
	kernel = min(fd, 0);
	rc = map_create(&m, &def, &err);
	map_free(m);
	/* memory that is only reserved is not missed */
	if (kernel == rc || (kernel == -ENOMEM && !rc))
		return true;
	if (told[def.type]) /* one example a type is enough */
		return false;
	told[def.type] = true;
	snprintf(why, room,
		 "create: kernel %d, engine %d (%s): `diff 1 %llu create`: type %u key_size %u "
		 "value_size %u max_entries %u flags %#x extra %llu",
		 kernel, rc, err.text, (unsigned long long)seed, def.type, def.key_size,
		 def.value_size, def.max_entries, def.flags, (unsigned long long)def.extra);
	return false;
}
