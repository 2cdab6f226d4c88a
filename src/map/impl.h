/* SPDX-License-Identifier: Apache-2.0 */
/*
 * impl.h: what the map types share: operations, memory, values with fields that are not copied, locks.
 * Private to src/map.
 */
#ifndef SKEP_MAP_IMPL_H
#define SKEP_MAP_IMPL_H

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "map/map.h"

#define ENOTSUPP 524 /* the kernel's own; no libc names it */

/* What newer kernels' headers name. */
#define TYPE_CGRP_STORAGE 32
#define TYPE_ARENA	  33

#define KMALLOC_MAX	  (4U << 20)  /* the kernel's KMALLOC_MAX_SIZE on x86-64 */
#define PERCPU_MAX	  (32U << 10) /* its PCPU_MIN_UNIT_SIZE: the largest per-CPU value */
#define MAP_FLAGS_ACCESS  (BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)
#define MAP_HOLES	  14
#define MAP_SPIN_LOCK_LEN 4
#define MAP_TIMER_LEN	  16
#define MAP_KPTR_LEN	  8

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define hot_inline  inline __attribute__((always_inline))

/*
 * A type's operations. NULL on the program's side: it has none. On the system call's side NULL means
 * the way through the program's side, where map.c knows one, else -ENOTSUPP.
 */
struct map_ops {
	void (*free)(struct map *m);
	void *(*lookup)(struct map *m, const void *key);
	void *(*lookup_percpu)(struct map *m, const void *key, uint32_t cpu);
	int (*update)(struct map *m, const void *key, const void *value, uint64_t flags);
	int (*delete)(struct map *m, const void *key);
	int (*push)(struct map *m, const void *value, uint64_t flags);
	int (*pop)(struct map *m, void *value);
	int (*peek)(struct map *m, void *value);
	long (*for_each)(struct map *m, int (*fn)(void *, const void *, void *), void *arg);
	int (*sys_lookup)(struct map *m, const void *key, void *value, uint64_t flags);
	int (*sys_update)(struct map *m, const void *key, const void *value, uint64_t flags);
	int (*sys_delete)(struct map *m, const void *key);
	int (*next_key)(struct map *m, const void *key, void *next);
	int (*lookup_delete)(struct map *m, const void *key, void *value, uint64_t flags);
	int (*lookup_batch)(struct map *m, const void *in, void *out, void *keys, void *values,
			    uint32_t *count, uint64_t flags, bool delete);
	unsigned batches;     /* enum map_batch */
	uint32_t cursor_size; /* 0: a key */
	bool no_inner;	      /* may not be a map's inner map */
};

/* The head of every type's struct. */
struct map_base {
	struct map m;
	struct map_def inner;
	size_t bytes; /* taken at creation */
	unsigned n_holes;
	struct map_hole {
		uint32_t at, len;
	} holes[MAP_HOLES]; /* by offset: fields of values that are not copied */
};

static inline struct map_base *base_of(const struct map *m)
{
	return container_of(m, struct map_base, m);
}

typedef int map_create_fn(struct map **out, const struct map_def *def, struct skep_err *err);

map_create_fn array_create, objects_create, hash_create, ring_create, queue_create, bloom_create,
	lpm_create, dev_create, stack_create, storage_create, sock_create;

/* Shared by kinds of arrays. */
int array_check(const struct map_def *def, struct skep_err *err);
int array_next_key(struct map *m, const void *key, void *next);
void **objects_slots(struct map *m);

/** inner_check() - is there an inner map, of a type that may be one? */
int inner_check(const struct map_def *def, struct skep_err *err);

/* ---- creation -------------------------------------------------------------------------------- */

/**
 * base_make() - @size zeroed bytes that begin with a struct map_base, filled from @def.
 *
 * Return: NULL without memory.
 */
void *base_make(size_t size, const struct map_def *def, const struct map_ops *ops);

/** arena() - reserve @n zeroed bytes for @b, resident when touched; NULL if that much is not there. */
void *arena(struct map_base *b, uint64_t n);

/**
 * file_make() - the file of @n zeroed bytes that callers of @b map.
 *
 * Sealed: who could shorten it would end this process by SIGBUS. Return: b->m.memfd, -1 without memory.
 */
int file_make(struct map_base *b, uint64_t n);

static inline void arena_free(void *mem, uint64_t n)
{
	if (mem)
		munmap(mem, n);
}

int no_memory(const struct map_def *def, struct skep_err *err);

/** flags_check() - what all types but a few check first: only @allowed, access flags that agree. */
int flags_check(const struct map_def *def, uint32_t allowed, struct skep_err *err);

static inline uint64_t round8(uint64_t n)
{
	return (n + 7) & ~7ULL;
}

static inline uint64_t round_pow2(uint64_t n)
{
	return n <= 1 ? 1 : 1ULL << (64 - __builtin_clzll(n - 1));
}

/* Bytes from one CPU's n values to the next CPU's: whole cache lines, whole values. */
static inline uint64_t cpu_stride(uint64_t n, uint32_t stride)
{
	while (n * stride % 64)
		n++;
	return n * stride;
}

/* ---- values ---------------------------------------------------------------------------------- */

static hot_inline void copy_bytes(void *dst, const void *src, uint32_t n)
{
	if (n == 8)
		memcpy(dst, src, 8);
	else if (n == 4)
		memcpy(dst, src, 4);
	else if (n == 16)
		memcpy(dst, src, 16);
	else
		memcpy(dst, src, n);
}

/** copy_around() - @n bytes except the fields that are not copied. */
void copy_around(const struct map_base *b, void *dst, const void *src, uint32_t n);

static hot_inline void copy_value(const struct map_base *b, void *dst, const void *src, uint32_t n)
{
	if (likely(!b->n_holes))
		copy_bytes(dst, src, n);
	else
		copy_around(b, dst, src, n);
}

/** copy_out() - a value for the system call: fields that are not copied read as zero. */
void copy_out(const struct map_base *b, void *dst, const void *src, uint32_t n, uint64_t flags);

/** copy_locked() - BPF_F_LOCK: @src into the value @dst under its spin lock. */
void copy_locked(const struct map_base *b, void *dst, const void *src, uint32_t n);

/** value_drop() - what the fields of a value that goes away hold is released. */
void value_drop(struct map_base *b, void *value);

static inline bool has_lock(const struct map *m)
{
	return m->def.fields.spin_lock >= 0;
}

/* ---- locks ----------------------------------------------------------------------------------- */

/* Holders run for nanoseconds unless they lost their CPU: then give them ours. */
static inline void spin_wait(unsigned *n)
{
	if (++*n % 64 == 0)
		sched_yield();
#if defined(__x86_64__)
	else
		__builtin_ia32_pause();
#endif
}

static inline void spin_lock(_Atomic uint32_t *lock)
{
	unsigned n = 0;

	while (unlikely(atomic_exchange_explicit(lock, 1, memory_order_acquire)))
		spin_wait(&n);
}

static inline void spin_unlock(_Atomic uint32_t *lock)
{
	atomic_store_explicit(lock, 0, memory_order_release);
}

/* ---- objects in maps ------------------------------------------------------------------------- */

/** map_object_get() - what @fd stands for, or NULL and *rc. */
void *map_object_get(struct map *m, int fd, int *rc);
void map_object_put(struct map *m, void *object);
uint32_t object_id(struct map *m, void *object);
uint64_t object_id64(struct map *m, void *object); /* of sockets: their cookies */

#endif
