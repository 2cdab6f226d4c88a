// SPDX-License-Identifier: Apache-2.0
/*
 * stress [ROUNDS]: threads on one map at once; prints TAP. Build with KIND=tsan for data races.
 *
 * What must hold is what the kernel promises, no more: elements are reused while readers look (a value
 * read without a lock may be another key's), sizes stay bounded, keys that nobody deletes are found, queues
 * and rings neither lose nor double anything, and every call ends.
 */
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "map/map.h"

#define THREADS 4
#define WORDS	8 /* of a locked value */
#define SECONDS 240

struct scene {
	const char *name;
	struct map_def def;
	void (*setup)(struct map *m);
	bool (*work)(struct map *m, unsigned thread, uint64_t rounds);
	bool (*after)(struct map *m, uint64_t rounds);
};

static const struct scene *scene;
static uint64_t rounds = 2000000;
static atomic_uint ready;
static atomic_ullong in_sum, out_sum, in_count, out_count, done;

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	return z ^ (z >> 31);
}

static bool must(bool holds, const char *what)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!holds && !atomic_flag_test_and_set(&said))
		printf("# %s: does not hold: %s\n", scene->name, what);
	return holds;
}

/* ---- hashes: even keys below 64 stay, all others come and go ----------------------------------- */

static void setup_stay(struct map *m)
{
	for (uint64_t key = 0; key < 64; key += 2)
		map_update(m, &key, &key, BPF_ANY);
}

static bool churn(struct map *m, unsigned thread, uint64_t n)
{
	uint64_t state = thread, seen;
	bool ok = true;

	for (uint64_t i = 0; i < n && ok; i++) {
		uint64_t r = mix(&state), key = r % 64, other = (r >> 8) % 128 | 1, *value;
		int rc = 0;

		if (r >> 63)
			rc = map_update(m, &other, &other, BPF_ANY);
		else
			map_delete(m, &other);
		value = map_lookup(m, &key);
		ok = must(value || key & 1, "a key that nobody deletes is found") &&
		     must(!rc || rc == -E2BIG || rc == -EBUSY, "an update succeeds or is full");
		if (!value || key & 1 || !ok)
			continue;
		seen = __atomic_load_n(value, __ATOMIC_RELAXED);
		ok = must(seen == key, "a value that nobody writes stays");
	}
	return ok;
}

static uint64_t count_keys(struct map *m, uint64_t limit)
{
	uint64_t keys[2], n = 0;
	int rc = map_sys_next_key(m, NULL, &keys[0]);

	for (; !rc && n < limit; n++) {
		rc = map_sys_next_key(m, &keys[0], &keys[1]);
		keys[0] = keys[1];
	}
	return n;
}

static bool bounded(struct map *m, uint64_t n maybe_unused)
{
	uint64_t keys = count_keys(m, 100000);

	return must(keys <= m->def.max_entries, "at most max_entries keys") &&
	       must(keys > 0, "not empty");
}

static bool churn_lru(struct map *m, unsigned thread, uint64_t n)
{
	uint64_t state = thread;
	bool ok = true, evicts = m->def.type != BPF_MAP_TYPE_PERCPU_HASH;

	for (uint64_t i = 0; i < n && ok; i++) {
		uint64_t r = mix(&state), key = (r >> 8) % 2000;
		int rc;

		if (r >> 62 == 0)
			map_delete(m, &key);
		else if (r >> 63)
			map_lookup(m, &key);
		else {
			rc = map_update(m, &key, &key, BPF_ANY);
			ok = must(!rc || (!evicts && rc == -E2BIG), "an LRU has always room");
			if (!ok)
				printf("#   round %llu: %d\n", (unsigned long long)i, rc);
		}
	}
	return ok;
}

/* While one thread walks, others insert and delete: a walk by next_key need not end, each call must. */
static bool walk_or_churn(struct map *m, unsigned thread, uint64_t n)
{
	if (thread)
		return churn(m, thread, n);
	for (uint64_t i = 0; i < n / 500; i++)
		count_keys(m, 500);
	return true;
}

static int count_call(void *arg, const void *key, void *value maybe_unused)
{
	uint64_t k;

	memcpy(&k, key, sizeof(k));
	*(unsigned *)arg += k < 64 && !(k & 1);
	return 0;
}

static bool each_or_churn(struct map *m, unsigned thread, uint64_t n)
{
	bool ok = true;

	if (thread)
		return churn(m, thread, n);
	for (uint64_t i = 0; i < n / 500 && ok; i++) {
		unsigned stayed = 0;

		map_for_each(m, count_call, &stayed);
		ok = must(stayed >= 32, "for_each meets what stays");
	}
	return ok;
}

/* ---- values under a lock are never torn ---------------------------------------------------------- */

static bool locked(struct map *m, unsigned thread, uint64_t n)
{
	uint64_t value[WORDS], state = thread;
	bool ok = true;

	for (uint64_t i = 0; i < n && ok; i++) {
		uint32_t key = mix(&state) % 4;
		uint64_t wide = key;

		if (i & 1) {
			for (unsigned w = 0; w < WORDS; w++)
				value[w] = i * THREADS + thread;
			map_sys_update(m, &wide, value, BPF_F_LOCK | BPF_EXIST);
			continue;
		}
		if (map_sys_lookup(m, &wide, value, BPF_F_LOCK))
			continue;
		for (unsigned w = 2; w < WORDS; w++)
			ok &= must(value[w] == value[1], "a locked value is whole");
	}
	return ok;
}

static void setup_locked(struct map *m)
{
	uint64_t value[WORDS] = {};

	for (uint64_t key = 0; key < 4; key++)
		map_sys_update(m, &key, value, BPF_ANY);
}

/* ---- arrays --------------------------------------------------------------------------------------- */

static bool count_up(struct map *m, unsigned thread maybe_unused, uint64_t n)
{
	uint32_t key = 3;
	uint64_t *value = map_lookup(m, &key);

	for (uint64_t i = 0; i < n; i++)
		__atomic_fetch_add(value, 1, __ATOMIC_RELAXED);
	return true;
}

static bool counted(struct map *m, uint64_t n)
{
	uint32_t key = 3;
	uint64_t values[THREADS] = {}, sum = 0;

	map_sys_lookup(m, &key, values, 0);
	for (unsigned i = 0; i < THREADS; i++)
		sum += values[i];
	return must(sum == n * THREADS, "every addition counts");
}

/* ---- queues ---------------------------------------------------------------------------------------- */

static bool push_pop(struct map *m, unsigned thread, uint64_t n)
{
	uint64_t value;

	for (uint64_t i = 0; i < n; i++) {
		value = i << 2 | thread;
		if (!map_push(m, &value, 0)) {
			atomic_fetch_add(&in_sum, value);
			atomic_fetch_add(&in_count, 1);
		}
		if (i % 3 && !map_pop(m, &value)) {
			atomic_fetch_add(&out_sum, value);
			atomic_fetch_add(&out_count, 1);
		}
	}
	return true;
}

static bool emptied(struct map *m, uint64_t n maybe_unused)
{
	uint64_t value;

	while (!map_pop(m, &value)) {
		atomic_fetch_add(&out_sum, value);
		atomic_fetch_add(&out_count, 1);
	}
	return must(in_count == out_count && in_sum == out_sum, "what went in came out, once");
}

/* ---- prefixes --------------------------------------------------------------------------------------- */

struct prefix {
	uint32_t bits, data;
};

static void setup_prefixes(struct map *m)
{
	struct prefix all = {};
	uint64_t value = 7;

	map_update(m, &all, &value, BPF_ANY);
}

static bool route(struct map *m, unsigned thread, uint64_t n)
{
	uint64_t state = thread;
	bool ok = true;

	for (uint64_t i = 0; i < n && ok; i++) {
		uint64_t r = mix(&state), value = 7;
		struct prefix p = {1 + (r >> 8) % 32, (uint32_t)(r >> 16) & 0x0f0f0f0f};

		if (r >> 63)
			map_update(m, &p, &value, BPF_ANY);
		else if (r >> 62 & 1)
			map_delete(m, &p);
		p.bits = 32;
		ok = must(map_lookup(m, &p) != NULL, "the shortest prefix is always there");
	}
	return ok;
}

/* ---- ring buffers ------------------------------------------------------------------------------------ */

static bool produce(struct map *m, unsigned thread, uint64_t n)
{
	for (uint64_t i = 1; i <= n;) {
		uint64_t size = 8 + (i * 13) % 200;
		uint64_t *record = map_ring_reserve(m, size, 0);

		if (!record) {
			sched_yield();
			continue;
		}
		record[0] = i << 2 | thread;
		if (size >= 16)
			memcpy((uint8_t *)record + size - 8, record, 8);
		map_ring_commit(m, record, i % 3 ? 0 : BPF_RB_NO_WAKEUP, i % 7 == 0);
		i++;
	}
	atomic_fetch_add(&done, 1);
	return true;
}

struct view {
	uint64_t *consumer, *producer;
	uint8_t *data;
	uint64_t mask;
	uint64_t last[THREADS], got;
};

static bool take_record(struct view *v, const uint8_t *at, uint32_t len)
{
	uint64_t first, end;
	unsigned from;

	memcpy(&first, at, 8);
	memcpy(&end, at + len - 8, 8);
	from = first & 3;
	if (!must(len < 16 || first == end, "a record is whole") ||
	    !must(first >> 2 > v->last[from], "a producer's records come in order") ||
	    !must(first >> 2 <= v->last[from] + 2, "no record is lost"))
		return false;
	v->last[from] = first >> 2;
	v->got++;
	return true;
}

/* Returns false at a difference; takes what is committed. */
static bool consume(struct view *v)
{
	uint64_t pos = *v->consumer;
	uint64_t end = __atomic_load_n(v->producer, __ATOMIC_ACQUIRE);

	while (pos < end) {
		uint8_t *at = v->data + (pos & v->mask);
		uint32_t header = __atomic_load_n((uint32_t *)at, __ATOMIC_ACQUIRE), len;

		if (header & BPF_RINGBUF_BUSY_BIT)
			return true;
		len = header & ~BPF_RINGBUF_DISCARD_BIT;
		if (!(header & BPF_RINGBUF_DISCARD_BIT) && !take_record(v, at + 8, len))
			return false;
		pos += (len + 8 + 7) & ~7u;
		__atomic_store_n(v->consumer, pos, __ATOMIC_RELEASE);
	}
	return true;
}

static bool consume_all(struct map *m, uint64_t n)
{
	size_t page = sysconf(_SC_PAGESIZE), size = 2 * page + 2 * (size_t)m->def.max_entries;
	uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);
	struct view v = {(void *)base, (void *)(base + page), base + 2 * page,
			 m->def.max_entries - 1};
#ifdef __SANITIZE_THREAD__ /* it orders what happens at one address; a caller's mapping is another */
	v.data = (uint8_t *)m->areas[0].base;
	v.consumer = (void *)(v.data - 2 * page);
	v.producer = (void *)(v.data - page);
#endif
	bool ok = base != MAP_FAILED, last = false;

	while (ok && !last) {
		last = atomic_load(&done) == THREADS - 1;
		ok = consume(&v);
		sched_yield();
	}
	ok = ok && must(v.got == (THREADS - 1) * (n - n / 7), "every submitted record came");
	munmap(base, size);
	return ok;
}

static bool ring(struct map *m, unsigned thread, uint64_t n)
{
	bool ok = thread ? produce(m, thread, n / 4) : consume_all(m, n / 4);

	if (!ok) { /* producers would wait for ever */
		printf("not ok - %s\n", scene->name);
		_exit(1);
	}
	return ok;
}

/* ---- the scenes ---------------------------------------------------------------------------------------- */

#define NONE .cpus = THREADS, .fields = {-1, -1}
#define LOCK .cpus = THREADS, .fields = {0, -1}

static const struct scene scenes[] = {
	{"hash", {BPF_MAP_TYPE_HASH, 8, 8, 256, NONE}, setup_stay, churn, bounded},
	{"hash without preallocation",
	 {BPF_MAP_TYPE_HASH, 8, 8, 256, BPF_F_NO_PREALLOC, NONE},
	 setup_stay,
	 churn,
	 bounded},
	{"full hash", {BPF_MAP_TYPE_HASH, 8, 8, 70, NONE}, setup_stay, churn, bounded},
	{"hash while walked",
	 {BPF_MAP_TYPE_HASH, 8, 8, 256, NONE},
	 setup_stay,
	 walk_or_churn,
	 bounded},
	{"hash during for_each",
	 {BPF_MAP_TYPE_HASH, 8, 8, 256, NONE},
	 setup_stay,
	 each_or_churn,
	 bounded},
	{"per-CPU hash", {BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 256, NONE}, NULL, churn_lru, bounded},
	{"LRU hash", {BPF_MAP_TYPE_LRU_HASH, 8, 8, 500, NONE}, NULL, churn_lru, bounded},
	{"LRU hash with a list a CPU",
	 {BPF_MAP_TYPE_LRU_HASH, 8, 8, 500, BPF_F_NO_COMMON_LRU, NONE},
	 NULL,
	 churn_lru,
	 bounded},
	{"per-CPU LRU hash",
	 {BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 8, 500, NONE},
	 NULL,
	 churn_lru,
	 bounded},
	{"array", {BPF_MAP_TYPE_ARRAY, 4, 8, 8, NONE}, NULL, count_up, counted},
	{"per-CPU array", {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 8, NONE}, NULL, count_up, counted},
	{"locked array", {BPF_MAP_TYPE_ARRAY, 4, 8 * WORDS, 8, LOCK}, setup_locked, locked, NULL},
	{"locked hash", {BPF_MAP_TYPE_HASH, 8, 8 * WORDS, 8, LOCK}, setup_locked, locked, NULL},
	{"queue", {BPF_MAP_TYPE_QUEUE, 0, 8, 100, NONE}, NULL, push_pop, emptied},
	{"stack", {BPF_MAP_TYPE_STACK, 0, 8, 100, NONE}, NULL, push_pop, emptied},
	{"LPM trie",
	 {BPF_MAP_TYPE_LPM_TRIE, 8, 8, 500, BPF_F_NO_PREALLOC, NONE},
	 setup_prefixes,
	 route,
	 NULL},
	{"ring buffer", {BPF_MAP_TYPE_RINGBUF, 0, 0, 16384, NONE}, NULL, ring, NULL},
};

struct worker {
	pthread_t thread;
	struct map *map;
	unsigned i;
	bool ok;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	map_cpu = w->i;
	atomic_fetch_add(&ready, 1);
	while (atomic_load(&ready) < THREADS)
		sched_yield();
	w->ok = scene->work(w->map, w->i, rounds);
	return NULL;
}

static bool play(struct map *m)
{
	struct worker workers[THREADS];
	bool ok = true;

	ready = in_sum = out_sum = in_count = out_count = done = 0;
	if (scene->setup)
		scene->setup(m);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.map = m, .i = i};
		if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]))
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		ok &= workers[i].ok;
	}
	return ok && (!scene->after || scene->after(m, rounds));
}

static void stuck(int signal maybe_unused)
{
	static const char text[] = "not ok - a call does not end\n";

	(void)!write(1, text, sizeof(text) - 1);
	_exit(1);
}

int main(int argc, char **argv)
{
	struct skep_err err = {};
	unsigned bad = 0;

	if (argc > 1)
		rounds = strtoul(argv[1], NULL, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, stuck);
	for (unsigned i = 0; i < array_size(scenes); i++) {
		struct map *m = NULL;
		int rc;
		bool ok;

		scene = &scenes[i];
		alarm(SECONDS);
		rc = map_create(&m, &scene->def, &err);
		ok = must(!rc, "it can be created") && play(m);
		if (!rc)
			map_free(m);
		bad += !ok;
		printf("%s %u - threads on one %s\n", ok ? "ok" : "not ok", i + 1, scene->name);
	}
	printf("1..%zu\n", array_size(scenes));
	return bad ? 1 : 0;
}
