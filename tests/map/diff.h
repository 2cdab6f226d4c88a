/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff.h: the same map twice, in the kernel and in this process, and one sequence of operations on both.
 *
 *	lane (a map type and how to vary it) --> episode (one map_def, a list of ops)
 *	                                             |
 *	     kernel: bpf(2), TEST_RUN  <--  each op --> engine: map_sys_*, map_*
 *	                            \-- compare results --/
 *
 * D1  An episode is a function of its seed: the same ops on the same map give the same end, so a list
 *     that fails can be cut and tried again.
 * D2  What the kernel leaves open is not compared byte by byte: order of hashes (sets are), which
 *     element an LRU drops (lane->evicts: invariants are), padding after per-CPU values.
 * D3  The machine is not this test's alone: maps are small, memory that the kernel frees late is waited
 *     for, and should it run out nevertheless, this process is the first to go.
 *
 * Not its business: file descriptors, ids and pins (the vm's tests), threads (stress.c).
 */
#ifndef SKEP_TESTS_MAP_DIFF_H
#define SKEP_TESTS_MAP_DIFF_H

#include <linux/types.h>
#include <sys/types.h>

#include "map/map.h"
#include "ops.h"

#define KEY_ROOM    512
#define SYS_ROOM    16384      /* bytes of one value in user memory */
#define KEY_NONE    0xffffffff /* op->key: a null pointer */
#define EPISODE_MAX 16384

enum sys_kind {
	SYS_LOOKUP = PROG_DRAIN + 1,
	SYS_UPDATE,
	SYS_DELETE,
	SYS_NEXT,
	SYS_WALK,
	SYS_LOOKUP_DELETE,
	SYS_BATCH,
	SYS_BATCH_DELETE,
	SYS_FREEZE,
	ON_CPU,
	RING_CONSUME,
	RING_PRODUCE,
	MAPPED_WRITE,
	MAPPED_READ,
	OP_KINDS,
};

struct op {
	uint32_t kind, key, seed, arg;
	uint64_t flags;
};

enum program { PROGRAM_NONE, KV, PERCPU, FIFO, BLOOM, OUTER, RING, DRAIN };

struct weight {
	uint32_t kind, weight;
};

struct lane {
	const char *name;
	uint32_t type;
	bool set;    /* no order */
	bool lpm;    /* keys are prefixes */
	bool evicts; /* invariants instead of equality */
	bool locks;  /* values begin with a spin lock */
	bool keyless;
	bool many;	  /* elements, so many that the map grows full */
	uint32_t slow;	  /* how many others' operations one takes; 0: one */
	uint32_t objects; /* values are fds: of OBJECT_PROG, ... */
	uint32_t flags;	  /* one of these may be set */
	uint32_t key_size;
	uint32_t values[4]; /* sizes to choose from, 0 ends */
	uint32_t entries[4];
	enum program program;
	const struct weight *weights;
};

struct pair {
	const struct lane *lane;
	struct map_def def;
	int fd;
	struct map *ours;
	uint32_t space;	   /* keys are numbers below it */
	uint32_t sys_size; /* of one value in user memory */
	struct ops_bpf *skel;
	unsigned cpu;
	uint32_t *model; /* evicts: what key i holds, 0: unknown; bloom filter: is value i in? */
	unsigned long hits[2], looks;
	struct ring *ring;
	char why[1024]; /* the difference */
};

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = (r->state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return n ? rng_next(r) % n : 0;
}

static inline bool one_in(struct rng *r, uint32_t n)
{
	return !rng_below(r, n);
}

/* ---- pair.c: the two maps, keys and values ---------------------------------------------------- */

extern const struct lane lanes[];
extern const unsigned n_lanes;
extern unsigned host_cpus;

/** kernel_bpf() - the system call; 0, a count or -errno. */
long kernel_bpf(int cmd, const void *attr, size_t size);
int kernel_create(const struct map_def *def, int inner_fd, bool locks);

int pair_open(struct pair *p, const struct lane *lane, const struct map_def *def, uint32_t space);
void pair_close(struct pair *p);

/** pair_key() - key number @n as bytes; NULL for KEY_NONE. */
const void *pair_key(const struct pair *p, uint32_t n, uint8_t *room);
/** pair_value() - a value for @op, @size bytes. */
void pair_value(const struct pair *p, const struct op *op, uint8_t *value, size_t size);

/** bloom_wrong() - is the answer impossible? Filters may find what is not in, never miss what is. */
bool bloom_wrong(struct pair *p, const struct op *op, long kernel, long ours);
/** bloom_put() - notes what was pushed. */
bool bloom_put(struct pair *p, const struct op *op, long kernel, long ours);

/** differ() - true, and p->why, when the two results are not one. */
bool differ(struct pair *p, const char *what, long kernel, long ours);
bool differ_bytes(struct pair *p, const char *what, const void *kernel, const void *ours, size_t n);
bool failed(struct pair *p, const char *fmt, ...) printf_like(2, 3);

/* ---- objects.c: what values stand for --------------------------------------------------------- */

enum { OBJECT_PROG = 1, OBJECT_MAP, OBJECT_EVENT, OBJECT_TARGET, OBJECT_SOCKET, OBJECT_OTHER };

void objects_open(void);
void objects_forget(void);    /* which type of program came first */
int object_fd(uint64_t seed); /* of any kind, bad ones too */
extern const struct map_objects diff_objects;
extern struct map_def object_inner_def;
int object_inner_fd(void);

/* ---- sys.c, prog.c, ring.c: one op on both; false: p->why ------------------------------------- */

bool sys_run(struct pair *p, const struct op *op);
/* A run of consecutive ops for programs; *at: which one differs. */
bool prog_run(struct pair *p, const struct op *ops, unsigned n, unsigned *at);
int prog_open(struct pair *p);
void prog_close(struct pair *p);
struct ring *ring_open(struct pair *p);
void ring_close(struct ring *r);
bool mapped_run(struct pair *p, const struct op *op);
bool ring_run(struct pair *p, const struct op *op);
bool ring_woken(struct pair *p); /* has the kernel woken its consumer since last asked? */
bool ring_same(struct pair *p);

/* ---- create.c: attributes right and wrong ----------------------------------------------------- */

void memory_careful(void); /* D3: at the start */
void memory_wait(void);	   /* D3: now and then */

bool create_run(uint64_t seed, char *why, size_t room);

#endif
