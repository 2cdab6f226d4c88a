// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * map.bpf.c: what bench/map measures in the kernel: each program does OPS operations on one map, with
 * the same keys in the same order as the engine's side. Maps in: all. Hook: none, BPF_PROG_TEST_RUN.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define OPS	1024
#define ENTRIES 8192

struct route {
	__u32 bits, addr;
};

#define KEYED(name, type_, flags)                   \
	struct {                                    \
		__uint(type, BPF_MAP_TYPE_##type_); \
		__uint(max_entries, ENTRIES);       \
		__uint(map_flags, flags);           \
		__type(key, __u32);                 \
		__type(value, __u64);               \
	} name SEC(".maps")

KEYED(array, ARRAY, 0);
KEYED(percpu_array, PERCPU_ARRAY, 0);
KEYED(hash, HASH, 0);
KEYED(percpu_hash, PERCPU_HASH, 0);
KEYED(lru, LRU_HASH, 0);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct route);
	__type(value, __u64);
} lpm SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, ENTRIES);
	__type(value, __u64);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, ENTRIES);
	__type(value, __u64);
} bloom SEC(".maps");

/* One a thread: those that run at once are on different CPUs. */
struct {
	__u32 s, fresh, pad[14];
} state[2] = {{.s = 1, .fresh = ENTRIES}, {.s = 2718281, .fresh = 1U << 31}};

/* The keys: a generator of period 2^32. */
#define NEXT(s) ((s) = (s)*1664525 + 1013904223, (s) >> 19)

#define LOOP(name, body)                                               \
	SEC("xdp")                                                     \
	int name(struct xdp_md *ctx)                                   \
	{                                                              \
		__u32 cpu = bpf_get_smp_processor_id() & 1;            \
		__u32 s = state[cpu].s, fresh = state[cpu].fresh, key; \
		__u64 sum = 0, value = 1;                              \
                                                                       \
		for (int i = 0; i < OPS; i++) {                        \
			key = NEXT(s);                                 \
			body;                                          \
		}                                                      \
		state[cpu].s = s + (__u32)value;                       \
		state[cpu].fresh = fresh;                              \
		return (int)sum;                                       \
	}

#define ROUTE(bits, n)                      \
	{                                   \
		bits, bpf_htonl((n)*524309) \
	}

#define ADD(p)          \
	__u64 *v = (p); \
	if (v)          \
	sum += *v

LOOP(array_lookup, ADD(bpf_map_lookup_elem(&array, &key)))
LOOP(percpu_array_lookup, ADD(bpf_map_lookup_elem(&percpu_array, &key)))
LOOP(hash_lookup, ADD(bpf_map_lookup_elem(&hash, &key)))
LOOP(hash_miss, key += ENTRIES; ADD(bpf_map_lookup_elem(&hash, &key)))
LOOP(hash_update, sum += bpf_map_update_elem(&hash, &key, &value, BPF_ANY))
LOOP(hash_replace, sum += bpf_map_delete_elem(&hash, &key);
     sum += bpf_map_update_elem(&hash, &key, &value, BPF_NOEXIST))
LOOP(percpu_hash_lookup, ADD(bpf_map_lookup_elem(&percpu_hash, &key)))
LOOP(lru_lookup, ADD(bpf_map_lookup_elem(&lru, &key)))
LOOP(lru_update, sum += bpf_map_update_elem(&lru, &key, &value, BPF_ANY))
LOOP(lru_insert, key = fresh++; sum += bpf_map_update_elem(&lru, &key, &value, BPF_ANY))
LOOP(lpm_lookup, struct route r = ROUTE(32, key); ADD(bpf_map_lookup_elem(&lpm, &r)))
LOOP(
	ring_submit, __u64 *p = bpf_ringbuf_reserve(&ring, 64, 0); if (p) {
		p[0] = key;
		bpf_ringbuf_submit(p, 0);
	})
LOOP(queue_push_pop, value += key; bpf_map_push_elem(&queue, &value, BPF_ANY);
     bpf_map_pop_elem(&queue, &value))
LOOP(bloom_peek, value = key; sum += bpf_map_peek_elem(&bloom, &value))
