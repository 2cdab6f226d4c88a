// SPDX-License-Identifier: Apache-2.0
/* lanes.c: the map types, how each is varied, and which operations with what weight. */
#include <linux/bpf.h>

#include "diff.h"

#define SYS_ALL                                                               \
	{SYS_LOOKUP, 30}, {SYS_UPDATE, 30}, {SYS_DELETE, 15}, {SYS_NEXT, 15}, \
		{SYS_LOOKUP_DELETE, 6}, {SYS_WALK, 1}, {SYS_BATCH, 1},        \
	{                                                                     \
		ON_CPU, 1                                                     \
	}

static const struct weight kv[] = {
	SYS_ALL,	{SYS_BATCH_DELETE, 1}, {PROG_LOOKUP, 60},
	{PROG_ADD, 40}, {PROG_UPDATE, 60},     {PROG_DELETE, 30},
	{PROG_EACH, 1}, {PROG_EACH_DELETE, 1}, {0},
};
static const struct weight array[] = {
	SYS_ALL,
	{SYS_BATCH_DELETE, 1},
	{PROG_LOOKUP, 60},
	{PROG_ADD, 40},
	{PROG_UPDATE, 60},
	{PROG_DELETE, 5},
	{PROG_EACH, 1},
	{PROG_EACH_DELETE, 1},
	{MAPPED_WRITE, 3},
	{MAPPED_READ, 1},
	{0},
};
static const struct weight trie[] = {
	SYS_ALL, {PROG_LOOKUP, 60}, {PROG_ADD, 20}, {PROG_UPDATE, 60}, {PROG_DELETE, 40}, {0},
};
static const struct weight many[] = {
	{SYS_LOOKUP, 300},	 {SYS_UPDATE, 300}, {SYS_DELETE, 200}, {SYS_NEXT, 100},
	{SYS_LOOKUP_DELETE, 50}, {SYS_BATCH, 1},    {ON_CPU, 3},       {PROG_LOOKUP, 60},
	{PROG_ADD, 20},		 {PROG_UPDATE, 80}, {PROG_DELETE, 30}, {0},
};
static const struct weight percpu[] = {
	SYS_ALL,
	{SYS_BATCH_DELETE, 1},
	{PROG_LOOKUP, 50},
	{PROG_ADD, 40},
	{PROG_UPDATE, 50},
	{PROG_DELETE, 30},
	{PROG_EACH, 1},
	{PROG_EACH_DELETE, 1},
	{PROG_LOOKUP_PERCPU, 30},
	{ON_CPU, 3},
	{0},
};
static const struct weight fifo[] = {
	{SYS_LOOKUP, 20},	 {SYS_UPDATE, 25},
	{SYS_DELETE, 2},	 {SYS_NEXT, 2},
	{SYS_LOOKUP_DELETE, 20}, {SYS_BATCH, 1},
	{PROG_PUSH, 60},	 {PROG_POP, 55},
	{PROG_PEEK, 20},	 {0},
};
static const struct weight bloom[] = {
	{SYS_LOOKUP, 20}, {SYS_UPDATE, 5}, {SYS_DELETE, 1}, {SYS_NEXT, 1}, {SYS_LOOKUP_DELETE, 1},
	{SYS_BATCH, 1},	  {PROG_PUSH, 10}, {PROG_PEEK, 60}, {0},
};
static const struct weight evicting[] = {
	{SYS_LOOKUP, 10},  {SYS_UPDATE, 10},  {SYS_DELETE, 1},	{SYS_WALK, 0}, {SYS_NEXT, 2},
	{PROG_LOOKUP, 60}, {PROG_UPDATE, 40}, {PROG_DELETE, 4}, {0},
};
static const struct weight objects[] = {
	SYS_ALL,
	{SYS_BATCH_DELETE, 1},
	{0},
};
static const struct weight outer[] = {
	SYS_ALL,
	{SYS_BATCH_DELETE, 1},
	{PROG_INNER_LOOKUP, 80},
	{0},
};
static const struct weight ring[] = {
	{PROG_OUTPUT, 40},
	{PROG_SUBMIT, 40},
	{PROG_DISCARD, 10},
	{PROG_SUBMIT_TWO, 10},
	{PROG_QUERY, 20},
	{RING_CONSUME, 12},
	{SYS_LOOKUP, 1},
	{SYS_UPDATE, 1},
	{SYS_DELETE, 1},
	{SYS_NEXT, 1},
	{0},
};
static const struct weight drain[] = {
	{RING_PRODUCE, 60}, {PROG_DRAIN, 20}, {RING_CONSUME, 1}, {SYS_LOOKUP, 1},
	{SYS_UPDATE, 1},    {SYS_DELETE, 1},  {SYS_NEXT, 1},	 {0},
};

#define SIZES	   .values = {8, 4, 21, 64}
#define HASH_SIZES .key_size = 0, SIZES, .entries = {1, 7, 64, 200}, .set = true

const struct lane lanes[] = {
	{"array", BPF_MAP_TYPE_ARRAY, .flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP, .key_size = 4,
	 SIZES, .entries = {1, 7, 64, 200}, .program = KV, .weights = array},
	{"hash", BPF_MAP_TYPE_HASH, HASH_SIZES, .flags = BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED,
	 .program = KV, .weights = kv},
	{"percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY, .key_size = 4, SIZES,
	 .entries = {1, 7, 64, 200}, .program = PERCPU, .weights = percpu},
	{"percpu_hash", BPF_MAP_TYPE_PERCPU_HASH, HASH_SIZES, .flags = BPF_F_NO_PREALLOC,
	 .program = PERCPU, .weights = percpu},
	{"array_lock", BPF_MAP_TYPE_ARRAY, .locks = true, .key_size = 4, .values = {8, 24, 64},
	 .entries = {1, 7, 64}, .program = KV, .weights = kv},
	{"hash_lock", BPF_MAP_TYPE_HASH, .locks = true, .key_size = 4, .values = {8, 24, 64},
	 .entries = {1, 7, 64}, .set = true, .flags = BPF_F_NO_PREALLOC, .program = KV,
	 .weights = kv},
	{"hash_many", BPF_MAP_TYPE_HASH, .key_size = 0, SIZES, .entries = {1500, 5000}, .set = true,
	 .many = true, .flags = BPF_F_NO_PREALLOC, .program = KV, .weights = many},
	{"percpu_hash_many", BPF_MAP_TYPE_PERCPU_HASH, .key_size = 8, .values = {8},
	 .entries = {1500}, .set = true, .many = true, .flags = BPF_F_NO_PREALLOC,
	 .program = PERCPU, .weights = many},
	{"lpm_many", BPF_MAP_TYPE_LPM_TRIE, .lpm = true, .many = true, .key_size = 0, SIZES,
	 .entries = {1500, 5000}, .program = KV, .weights = many},
	{"array_large", BPF_MAP_TYPE_ARRAY, .key_size = 4, .values = {500, 4097}, .entries = {3, 5},
	 .weights = objects},
	{"hash_large", BPF_MAP_TYPE_HASH, .key_size = 300, .values = {500, 4097},
	 .entries = {3, 20}, .set = true, .flags = BPF_F_NO_PREALLOC, .weights = objects},
	/* room enough that neither drops anything: exact */
	{"lru_hash", BPF_MAP_TYPE_LRU_HASH, .key_size = 0, SIZES, .entries = {1024, 2000},
	 .set = true, .program = KV, .weights = kv},
	{"lru_percpu_hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, .key_size = 0, SIZES,
	 .entries = {1024, 2000}, .set = true, .program = PERCPU, .weights = percpu},
	{"lru_evict", BPF_MAP_TYPE_LRU_HASH, .key_size = 8, .values = {8, 24},
	 .entries = {64, 500, 3000}, .set = true, .evicts = true, .flags = BPF_F_NO_COMMON_LRU,
	 .program = KV, .weights = evicting},
	{"lpm_trie", BPF_MAP_TYPE_LPM_TRIE, .lpm = true, .key_size = 0, SIZES,
	 .entries = {1, 7, 64, 200}, .flags = 0, .program = KV, .weights = trie},
	{"queue", BPF_MAP_TYPE_QUEUE, .keyless = true, SIZES, .entries = {1, 7, 64},
	 .program = FIFO, .weights = fifo},
	{"stack", BPF_MAP_TYPE_STACK, .keyless = true, SIZES, .entries = {1, 7, 64},
	 .program = FIFO, .weights = fifo},
	{"bloom", BPF_MAP_TYPE_BLOOM_FILTER, .keyless = true, .values = {8, 4, 21, 64},
	 .entries = {64, 2000}, .program = BLOOM, .weights = bloom},
	{"prog_array", BPF_MAP_TYPE_PROG_ARRAY, .objects = OBJECT_PROG, .key_size = 4,
	 .values = {4}, .entries = {1, 7, 64}, .weights = objects},
	{"perf_event_array", BPF_MAP_TYPE_PERF_EVENT_ARRAY, .objects = OBJECT_EVENT, .key_size = 4,
	 .values = {4}, .entries = {1, 2, 7}, .flags = BPF_F_PRESERVE_ELEMS, .weights = objects},
	{"devmap", BPF_MAP_TYPE_DEVMAP, .objects = OBJECT_TARGET, .key_size = 4, .values = {4, 8},
	 .entries = {1, 7, 64}, .weights = objects},
	{"devmap_hash", BPF_MAP_TYPE_DEVMAP_HASH, .objects = OBJECT_TARGET, .key_size = 4,
	 .values = {4, 8}, .entries = {1, 7, 64}, .set = true, .weights = objects},
	{"cpumap", BPF_MAP_TYPE_CPUMAP, .objects = OBJECT_TARGET, .slow = 64, .key_size = 4,
	 .values = {4, 8}, .entries = {1, 2, 5}, .weights = objects},
	{"xskmap", BPF_MAP_TYPE_XSKMAP, .objects = OBJECT_SOCKET, .key_size = 4, .values = {4},
	 .entries = {1, 7, 64}, .weights = objects},
	{"stack_trace", BPF_MAP_TYPE_STACK_TRACE, .key_size = 4, .values = {8, 64, 1016},
	 .entries = {1, 7, 64}, .weights = objects},
	{"array_of_maps", BPF_MAP_TYPE_ARRAY_OF_MAPS, .slow = 16, .objects = OBJECT_MAP,
	 .key_size = 4, .values = {4}, .entries = {1, 7, 64}, .program = OUTER, .weights = outer},
	{"hash_of_maps", BPF_MAP_TYPE_HASH_OF_MAPS, .slow = 16, .objects = OBJECT_MAP,
	 .key_size = 8, .values = {4}, .entries = {1, 7, 64}, .set = true,
	 .flags = BPF_F_NO_PREALLOC, .program = OUTER, .weights = outer},
	{"ringbuf", BPF_MAP_TYPE_RINGBUF, .keyless = true, .values = {0}, .entries = {4096, 16384},
	 .program = RING, .weights = ring},
	{"user_ringbuf", BPF_MAP_TYPE_USER_RINGBUF, .keyless = true, .values = {0},
	 .entries = {4096, 16384}, .program = DRAIN, .weights = drain},
};
const unsigned n_lanes = array_size(lanes);
