// SPDX-License-Identifier: Apache-2.0
/*
 * map: what an operation on a map costs a program, in the engine and in the kernel, alternating in one
 * run. The engine's side calls what compiled programs call; the kernel's is map.bpf.c under
 * BPF_PROG_TEST_RUN. Median and least of ROUNDS; the ratio is of medians, engine / kernel. Then the same by
 * two threads at once, each on a CPU of its own: how much more they do than one.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/map.skel.h"
#include "map/map.h"

#define OPS	1024
#define ENTRIES 8192
#define ROUNDS	401
#define RING	(1U << 20)

struct route {
	uint32_t bits, addr;
};

/* Maps of the engine under the names of the kernel's. */
static struct maps {
	struct map *array, *percpu_array, *hash, *percpu_hash, *lru, *lpm, *ring, *queue, *bloom;
} maps;

static __thread uint32_t state = 1, fresh = ENTRIES;

#define NEXT(s) ((s) = (s)*1664525 + 1013904223, (s) >> 19)

#define LOOP(name, body)                        \
	static uint64_t name(void)              \
	{                                       \
		uint32_t s = state, key;        \
		uint64_t sum = 0, value = 1;    \
                                                \
		for (int i = 0; i < OPS; i++) { \
			key = NEXT(s);          \
			body;                   \
		}                               \
		state = s + (uint32_t)value;    \
		return sum;                     \
	}

#define ROUTE(bits, n)                  \
	{                               \
		bits, htonl((n)*524309) \
	}

#define ADD(p)             \
	uint64_t *v = (p); \
	if (v)             \
	sum += *v

LOOP(array_lookup, ADD(map_lookup(maps.array, &key)))
LOOP(percpu_array_lookup, ADD(map_lookup(maps.percpu_array, &key)))
LOOP(hash_lookup, ADD(map_lookup(maps.hash, &key)))
LOOP(hash_miss, key += ENTRIES; ADD(map_lookup(maps.hash, &key)))
LOOP(hash_update, sum += (uint64_t)map_update(maps.hash, &key, &value, BPF_ANY))
LOOP(hash_replace, sum += (uint64_t)map_delete(maps.hash, &key);
     sum += (uint64_t)map_update(maps.hash, &key, &value, BPF_NOEXIST))
LOOP(percpu_hash_lookup, ADD(map_lookup(maps.percpu_hash, &key)))
LOOP(lru_lookup, ADD(map_lookup(maps.lru, &key)))
LOOP(lru_update, sum += (uint64_t)map_update(maps.lru, &key, &value, BPF_ANY))
LOOP(lru_insert, key = fresh++; sum += (uint64_t)map_update(maps.lru, &key, &value, BPF_ANY))
LOOP(lpm_lookup, struct route r = ROUTE(32, key); ADD(map_lookup(maps.lpm, &r)))
LOOP(
	ring_submit, uint64_t *p = map_ring_reserve(maps.ring, 64, 0); if (p) {
		p[0] = key;
		map_ring_commit(maps.ring, p, 0, false);
	})
LOOP(queue_push_pop, value += key; map_push(maps.queue, &value, BPF_ANY);
     map_pop(maps.queue, &value))
LOOP(bloom_peek, value = key; sum += (uint64_t)map_peek(maps.bloom, &value))

static const struct figure {
	const char *name, *title;
	uint64_t (*run)(void);
} figures[] = {
	{"array_lookup", "array: lookup (called, not inlined)", array_lookup},
	{"percpu_array_lookup", "per-CPU array: lookup (called)", percpu_array_lookup},
	{"hash_lookup", "hash: lookup", hash_lookup},
	{"hash_miss", "hash: lookup of an absent key", hash_miss},
	{"hash_update", "hash: update", hash_update},
	{"hash_replace", "hash: delete and insert", hash_replace},
	{"percpu_hash_lookup", "per-CPU hash: lookup", percpu_hash_lookup},
	{"lru_lookup", "LRU: lookup", lru_lookup},
	{"lru_update", "LRU: update", lru_update},
	{"lru_insert", "LRU: insert, evicting", lru_insert},
	{"lpm_lookup", "LPM: lookup of an IPv4 address", lpm_lookup},
	{"ring_submit", "ring buffer: 64 bytes, reserve and submit", ring_submit},
	{"queue_push_pop", "queue: push and pop", queue_push_pop},
	{"bloom_peek", "bloom filter: peek", bloom_peek},
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "map: %s\n", what);
	exit(1);
}

/* ---- the same maps twice --------------------------------------------------------------------- */

static struct map *make(uint32_t type, uint32_t key, uint32_t value, uint32_t n, uint32_t flags)
{
	struct map_def def = {type, key, value, n, flags, .cpus = 2, .fields = {-1, -1}};
	struct skep_err err;
	struct map *m = NULL;

	if (map_create(&m, &def, &err))
		fail(err.text);
	return m;
}

static void make_all(void)
{
	const uint32_t n = ENTRIES;

	maps = (struct maps){
		.array = make(BPF_MAP_TYPE_ARRAY, 4, 8, n, 0),
		.percpu_array = make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, n, 0),
		.hash = make(BPF_MAP_TYPE_HASH, 4, 8, n, 0),
		.percpu_hash = make(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, n, 0),
		.lru = make(BPF_MAP_TYPE_LRU_HASH, 4, 8, n, 0),
		.lpm = make(BPF_MAP_TYPE_LPM_TRIE, 8, 8, n, BPF_F_NO_PREALLOC),
		.ring = make(BPF_MAP_TYPE_RINGBUF, 0, 0, RING, 0),
		.queue = make(BPF_MAP_TYPE_QUEUE, 0, 8, n, 0),
		.bloom = make(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, n, 0),
	};
}

static void fill(struct bpf_map *kernel, struct map *m, uint32_t key)
{
	uint64_t values[1024] = {key};

	if (bpf_map_update_elem(bpf_map__fd(kernel), &key, values, 0) ||
	    map_sys_update(m, &key, values, 0))
		fail("could not fill a map");
}

/* Routes of 12 to 32 bits, most of them 24, where the lookups go. */
static void fill_route(struct bpf_map *kernel, uint32_t i)
{
	const uint32_t lengths[] = {24, 24, 24, 24, 16, 20, 22, 32};
	struct route r = ROUTE(i % 64 ? lengths[i % 8] : 12, i);
	uint64_t v = i;

	if (bpf_map_update_elem(bpf_map__fd(kernel), &r, &v, 0) ||
	    map_sys_update(maps.lpm, &r, &v, 0))
		fail("could not fill a trie");
}

static void fill_all(struct map_bench_bpf *skel)
{
	uint32_t i;

	for (i = 0; i < ENTRIES; i++) {
		fill(skel->maps.array, maps.array, i);
		fill(skel->maps.percpu_array, maps.percpu_array, i);
		fill(skel->maps.hash, maps.hash, i);
		fill(skel->maps.percpu_hash, maps.percpu_hash, i);
		fill(skel->maps.lru, maps.lru, i);
		fill_route(skel->maps.lpm, i);
	}
}

/* ---- measuring ------------------------------------------------------------------------------- */

/* What was written was read. */
static void empty_ring(int fd)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);

	if (p == MAP_FAILED || q == MAP_FAILED)
		fail("could not map a ring");
	*(volatile uint64_t *)p = *(volatile uint64_t *)q;
	munmap(p, 4096);
	munmap(q, 4096);
}

static double run_kernel(int prog, int ring)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);

	empty_ring(ring);
	if (bpf_prog_test_run_opts(prog, &o))
		fail("BPF_PROG_TEST_RUN failed");
	return (double)o.duration / OPS;
}

static double run_engine(const struct figure *f)
{
	static volatile uint64_t sink maybe_unused;
	uint64_t begun;

	empty_ring(maps.ring->memfd);
	begun = now();
	sink = f->run();
	return (double)(now() - begun) / OPS;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int prog_of(const struct figure *f, struct map_bench_bpf *skel)
{
	return bpf_program__fd(bpf_object__find_program_by_name(skel->obj, f->name));
}

static void figure(const struct figure *f, struct map_bench_bpf *skel)
{
	int prog = prog_of(f, skel), i;
	double engine[ROUNDS], kernel[ROUNDS];

	for (i = 0; i < ROUNDS; i++) {
		kernel[i] = run_kernel(prog, bpf_map__fd(skel->maps.ring));
		engine[i] = run_engine(f);
	}
	qsort(engine, ROUNDS, sizeof(double), by_value);
	qsort(kernel, ROUNDS, sizeof(double), by_value);
	printf("%8.3f  %-44s median %.1f / %.1f ns; least %.1f / %.1f ns\n",
	       engine[ROUNDS / 2] / kernel[ROUNDS / 2], f->title, engine[ROUNDS / 2],
	       kernel[ROUNDS / 2], engine[0], kernel[0]);
}

/* ---- two threads ------------------------------------------------------------------------------- */

struct worker {
	const struct figure *f;
	int prog, ring; /* of the kernel, or -1 */
	unsigned cpu, n;
	double ns[ROUNDS];
};

static atomic_uint arrived, finished;

static double run_worker(const struct worker *w)
{
	return w->prog < 0 ? run_engine(w->f) : run_kernel(w->prog, w->ring);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	CPU_SET(w->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("two threads need two CPUs");
	map_cpu = w->cpu;
	state += w->cpu * 2718281;
	fresh += w->cpu << 31;
	atomic_fetch_add(&arrived, 1);
	while (atomic_load(&arrived) < w->n)
		;
	for (i = 0; i < ROUNDS; i++)
		w->ns[i] = run_worker(w);
	atomic_fetch_add(&finished, 1);
	while (atomic_load(&finished) < w->n) /* the other is not to be alone */
		run_worker(w);
	return NULL;
}

/* ns an operation of one of @n threads that run at once. */
static double at_once(unsigned n, const struct figure *f, int prog, int ring)
{
	static struct worker w[2];
	static double all[2 * ROUNDS];
	pthread_t t[2];
	unsigned i;

	arrived = finished = 0;
	for (i = 0; i < n; i++) {
		w[i] = (struct worker){.f = f, .prog = prog, .ring = ring, .cpu = i, .n = n};
		if (pthread_create(&t[i], NULL, work, &w[i]))
			fail("could not start a thread");
	}
	for (i = 0; i < n; i++) {
		pthread_join(t[i], NULL);
		memcpy(all + i * ROUNDS, w[i].ns, sizeof(w[i].ns));
	}
	qsort(all, n * ROUNDS, sizeof(double), by_value);
	return all[n * ROUNDS / 2];
}

static void pair(const struct figure *f, struct map_bench_bpf *skel)
{
	int prog = prog_of(f, skel), ring = bpf_map__fd(skel->maps.ring);
	double one = at_once(1, f, -1, -1), two = at_once(2, f, -1, -1);
	double kernel_one = at_once(1, f, prog, ring), kernel_two = at_once(2, f, prog, ring);

	printf("%8.3f  %-44s 2 threads do %.2f of what 1 does (kernel %.2f): %.1f / %.1f ns\n",
	       two / kernel_two, f->title, 2 * one / two, 2 * kernel_one / kernel_two, two,
	       kernel_two);
}

int main(int argc, char **argv)
{
	struct map_bench_bpf *skel = map_bench_bpf__open_and_load();
	unsigned i;

	if (!skel)
		fail("the kernel does not take the programs");
	make_all();
	fill_all(skel);
	for (i = 0; i < array_size(figures); i++) {
		if (argc < 2 || strstr(figures[i].name, argv[1]))
			figure(figures + i, skel);
	}
	for (i = 0; i < array_size(figures); i++) {
		if (argc < 2 || strstr(figures[i].name, argv[1]))
			pair(figures + i, skel);
	}
	map_bench_bpf__destroy(skel);
	return 0;
}
