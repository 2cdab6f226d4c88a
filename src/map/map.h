/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h: maps with the kernel's semantics: bytes in, bytes out; same flags, same errno.
 *
 * Two sides use a map. The program's side (map_lookup ...) gets pointers into the map's memory, as BPF
 * helpers do; the system call's side (map_sys_*) copies, and for per-CPU maps copies all CPUs' values
 * (each rounded up to 8 bytes), as bpf(2) does.
 *
 * All memory of a map lies in areas taken at creation (reserved; resident when touched) and goes only
 * with the map, so a pointer that a program got never leads out of it. Readers take no lock.
 *
 * Not its business: file descriptors, ids, pins (vm), BTF of keys and values.
 */
#ifndef SKEP_MAP_MAP_H
#define SKEP_MAP_MAP_H

#include <linux/bpf.h>

#include "base/base.h"
#include "base/err.h"

#define MAP_CPUS_MAX 1024

/* The CPU number a thread uses maps as; set by who runs programs. Below map_def.cpus. */
extern __thread unsigned map_cpu;

/* Fields in values that neither side copies; offsets, -1 where there is none. */
struct map_fields {
	int spin_lock, timer;
	unsigned n_kptrs;
	uint32_t kptrs[11];
};

struct map;

/* Objects that values stand for: programs in prog arrays, maps in maps, perf events ... */
struct map_objects {
	/* What fd stands for, with a reference; NULL and *rc for what does not fit this map. */
	void *(*get)(void *arg, struct map *map, int fd, int *rc);
	void (*put)(void *arg, struct map *map, void *object);
	uint64_t (*id)(void *arg, struct map *map, void *object); /* what lookups show */
	/* May be NULL. false: nobody but the map knows @object any more. */
	bool (*alive)(void *arg, struct map *map, void *object);
	/* May be NULL. Timers and kptrs in @value go: cancel and put them, not using @map. */
	void (*drop)(void *arg, struct map *map, void *value);
	void *arg;
};

struct map_def {
	uint32_t type; /* enum bpf_map_type */
	uint32_t key_size, value_size, max_entries, flags;
	uint64_t extra; /* map_extra */
	unsigned cpus;	/* possible CPUs, as the caller's libbpf counts them */
	struct map_fields fields;
	const struct map_def *inner; /* of maps of maps: what an inner map must look like */
	const struct map_objects *objects;
};

/*
 * Memory of a map that programs may touch: whole values at a stride. Per-CPU maps: the values of CPU c
 * begin at base + c * (bytes / def.cpus).
 */
struct map_area {
	uintptr_t base;
	size_t bytes;
	uint32_t stride, skip, size; /* value i: base + i * stride + skip, size bytes long */
};

struct map_ops;

/* Programs read the kernel's own structure through a map's pointer: bytes that look like it come first. */
#define MAP_SHOWN 1024

struct map {
	uint8_t shown[MAP_SHOWN]; /* zero here; whoever runs programs fills it */
	const struct map_ops *ops;
	struct map_def def;
	struct map_area areas[2]; /* size 0: none */
	int memfd;		  /* what callers mmap (mmapable arrays, ring buffers), or -1 */
	_Atomic bool frozen;	  /* by BPF_MAP_FREEZE */
	_Atomic uint32_t writers; /* writable mappings and writing calls: freeze refuses */
};

/**
 * map_create() - what BPF_MAP_CREATE makes.
 *
 * Checks what the kernel checks, in its order. Return: 0, -EINVAL, -E2BIG, -ENOMEM, -ENOTSUPP as the
 * kernel; -EOPNOTSUPP with a reason for types that have no meaning here (struct_ops).
 */
int map_create(struct map **out, const struct map_def *def, struct skep_err *err);
void map_free(struct map *m);

/** map_bytes() - memory reserved at creation, which is all that @m can ever take. */
size_t map_bytes(const struct map *m);

/** map_same_shape() - may @m be an inner map where @want is the template? */
bool map_same_shape(const struct map *m, const struct map_def *want);

/** map_covers() - do [addr, addr + size) lie in one value of @m (for the interpreter's checks)? */
bool map_covers(const struct map *m, uint64_t addr, size_t size);

/** map_value_offset() - is it an address in a value? *in: where in the value. */
bool map_value_offset(const struct map *m, uint64_t addr, uint64_t *in);

/** map_is_lock() - do these bytes of a value touch its spin lock? Only helpers may write there. */
bool map_is_lock(const struct map *m, uint64_t addr, size_t size);

/*
 * ---- the program's side: helpers of the same names ------------------------------------------
 *
 * Keys are the map's, but of storage of sockets, tasks, inodes and cgroups: there a key is the pointer of
 * an object (8 bytes). Who ends such an object deletes its values.
 */

typedef void *map_lookup_call(struct map *m, const void *key);
void *map_lookup(struct map *m, const void *key); /* NULL: none */
/* What map_lookup() calls for @m, to be called without it; NULL: it finds nothing in such maps. */
map_lookup_call *map_lookup_of(const struct map *m);
void *map_lookup_percpu(struct map *m, const void *key, uint32_t cpu);
int map_update(struct map *m, const void *key, const void *value, uint64_t flags);
int map_delete(struct map *m, const void *key);
int map_push(struct map *m, const void *value, uint64_t flags);
int map_pop(struct map *m, void *value);
int map_peek(struct map *m, void *value); /* bloom filter: is it in? 0 or -ENOENT */
/* Calls fn(arg, key, value) for each; a non-zero return ends. Returns the number of calls. */
long map_for_each(struct map *m, int (*fn)(void *arg, const void *key, void *value), void *arg);

/* ---- ring buffers ---------------------------------------------------------------------------- */

void *map_ring_reserve(struct map *m, uint64_t size, uint64_t flags); /* NULL: full */
/* Returns whether the consumer is to be woken (BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP as there). */
bool map_ring_commit(struct map *m, void *record, uint64_t flags, bool discard);
long map_ring_output(struct map *m, const void *data, uint64_t size, uint64_t flags, bool *wake);
uint64_t map_ring_query(const struct map *m, uint64_t what);
/* User ring buffer: calls fn for each sample, at most BPF_MAX_USER_RINGBUF_SAMPLES; as the helper. */
long map_ring_drain(struct map *m, long (*fn)(void *arg, const void *sample, uint32_t size),
		    void *arg, uint64_t flags);

/* ---- the system call's side ------------------------------------------------------------------ */

uint32_t map_sys_value_size(const struct map *m); /* of one value in user memory */
int map_sys_lookup(struct map *m, const void *key, void *value, uint64_t flags);
int map_sys_update(struct map *m, const void *key, const void *value, uint64_t flags);
int map_sys_delete(struct map *m, const void *key);
int map_sys_next_key(struct map *m, const void *key,
		     void *next); /* key NULL: the first; -ENOENT: end */
int map_sys_lookup_delete(struct map *m, const void *key, void *value, uint64_t flags);
/*
 * Batch: @in (NULL: from the start) and @out are the kernel's opaque cursors. *count: room in, number
 * out. -ENOENT: the end was reached, *count are valid. Updates and deletions of a batch are the single
 * ones in a loop, for types that have them.
 */
enum map_batch {
	MAP_BATCH_LOOKUP = 1,
	MAP_BATCH_LOOKUP_DELETE = 2,
	MAP_BATCH_UPDATE = 4,
	MAP_BATCH_DELETE = 8,
};
unsigned map_sys_batches(const struct map *m);	   /* those of enum map_batch it has */
uint32_t map_sys_cursor_size(const struct map *m); /* at most its key's or 4 bytes */
int map_sys_lookup_batch(struct map *m, const void *in, void *out, void *keys, void *values,
			 uint32_t *count, uint64_t elem_flags, bool delete);
int map_sys_freeze(struct map *m);

/**
 * map_spin_lock() - lock a struct bpf_spin_lock in a value, as BPF_F_LOCK and bpf_spin_lock() do.
 * @lock: in a value of a map; nothing but these two touches it
 */
void map_spin_lock(void *lock);
void map_spin_unlock(void *lock);

/** map_slots() - of an array of programs or maps: where its max_entries object pointers begin. */
void **map_slots(struct map *m);

#endif
