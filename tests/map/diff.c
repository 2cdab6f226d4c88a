// SPDX-License-Identifier: Apache-2.0
/*
 * diff [OPS] [SEED] [LANE]: maps of this process against the kernel's, OPS operations over all lanes.
 *
 * Prints TAP, a test a lane. On a difference: lane, seed, the map, the shortest sequence found that still
 * shows it, both results. `diff 1 SEED LANE` runs that one episode again.
 */
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <time.h>

#include "diff.h"

#define SHRINK_TRIES 600

static const char *const kind_names[OP_KINDS] = {
	[PROG_LOOKUP] = "prog lookup",
	[PROG_ADD] = "prog lookup, value[last]++",
	[PROG_LOOKUP_PERCPU] = "prog lookup_percpu",
	[PROG_UPDATE] = "prog update",
	[PROG_DELETE] = "prog delete",
	[PROG_PUSH] = "prog push",
	[PROG_POP] = "prog pop",
	[PROG_PEEK] = "prog peek",
	[PROG_EACH] = "prog for_each",
	[PROG_EACH_DELETE] = "prog for_each, delete",
	[PROG_INNER_LOOKUP] = "prog lookup in lookup",
	[PROG_OUTPUT] = "prog ringbuf_output",
	[PROG_SUBMIT] = "prog reserve, submit",
	[PROG_DISCARD] = "prog reserve, discard",
	[PROG_SUBMIT_TWO] = "prog reserve two, submit backwards",
	[PROG_QUERY] = "prog ringbuf_query",
	[PROG_DRAIN] = "prog user_ringbuf_drain",
	[SYS_LOOKUP] = "sys lookup",
	[SYS_UPDATE] = "sys update",
	[SYS_DELETE] = "sys delete",
	[SYS_NEXT] = "sys next_key",
	[SYS_WALK] = "sys walk by next_key",
	[SYS_LOOKUP_DELETE] = "sys lookup_delete",
	[SYS_BATCH] = "sys lookup_batch",
	[SYS_BATCH_DELETE] = "sys lookup_and_delete_batch",
	[SYS_FREEZE] = "sys freeze",
	[ON_CPU] = "move to cpu",
	[RING_CONSUME] = "consume",
	[RING_PRODUCE] = "produce",
	[MAPPED_WRITE] = "write through a mapping",
	[MAPPED_READ] = "read through a mapping",
};

struct episode {
	const struct lane *lane;
	struct map_def def;
	uint32_t space;
	uint64_t seed;
	unsigned n;
	struct op ops[EPISODE_MAX];
};

/* ---- making an episode ------------------------------------------------------------------------- */

static uint32_t pick(struct rng *r, const uint32_t *of)
{
	unsigned n = 0;

	while (n < 4 && of[n])
		n++;
	return n ? of[rng_below(r, n)] : 0;
}

static uint32_t some_key_size(struct rng *r, const struct lane *lane)
{
	static const uint32_t sizes[] = {4, 8, 5, 16, 32, 13}, prefixes[] = {8, 5, 20, 12};

	if (lane->keyless || lane->key_size)
		return lane->key_size;
	return lane->lpm ? prefixes[rng_below(r, 4)] : sizes[rng_below(r, 6)];
}

static uint32_t space_of(struct rng *r, const struct lane *lane, uint32_t entries)
{
	if (lane->evicts)
		return 4 * entries;
	if (lane->many)
		return entries + entries / 2;
	if (entries >= 1000)
		return 200;
	return entries + (one_in(r, 3) ? 3 * entries + 8 : 2);
}

static void make_def(struct rng *r, struct episode *e)
{
	const struct lane *lane = e->lane;

	e->def = (struct map_def){.type = lane->type,
				  .key_size = some_key_size(r, lane),
				  .value_size = pick(r, lane->values),
				  .max_entries = pick(r, lane->entries)};
	for (uint32_t bit = 1; bit && bit <= lane->flags; bit <<= 1)
		if ((lane->flags & bit) && one_in(r, 2))
			e->def.flags |= bit;
	if (lane->lpm)
		e->def.flags = BPF_F_NO_PREALLOC;
	if (lane->program == BLOOM && one_in(r, 2))
		e->def.extra = rng_below(r, 16);
	e->space = space_of(r, lane, e->def.max_entries);
}

static uint32_t pick_kind(struct rng *r, const struct weight *w, bool programs)
{
	uint32_t sum = 0, at;

	for (const struct weight *i = w; i->weight; i++)
		sum += (i->kind <= PROG_DRAIN) == programs ? i->weight : 0;
	at = rng_below(r, sum);
	for (const struct weight *i = w; i->weight; i++) {
		if ((i->kind <= PROG_DRAIN) != programs)
			continue;
		if (at < i->weight)
			return i->kind;
		at -= i->weight;
	}
	return w->kind;
}

static bool has_kind(const struct weight *w, bool programs)
{
	for (; w->weight; w++)
		if ((w->kind <= PROG_DRAIN) == programs)
			return true;
	return false;
}

static uint64_t some_flags(struct rng *r, const struct lane *lane, uint32_t kind)
{
	static const uint64_t flags[] = {1, 2, 3, 4, 5, 6, 7, 8, 1ull << 32, ~0ull};

	switch (kind) {
	case PROG_UPDATE:
	case SYS_UPDATE:
	case PROG_PUSH:
		if (lane->evicts)
			return 0;
		return one_in(r, 3) ? flags[rng_below(r, one_in(r, 8)  ? 10
							 : lane->locks ? 7
								       : 2)]
				    : 0;
	case SYS_LOOKUP:
	case SYS_LOOKUP_DELETE:
	case SYS_BATCH:
	case SYS_BATCH_DELETE:
		if (lane->locks && one_in(r, 2))
			return BPF_F_LOCK;
		return one_in(r, 40) && !lane->evicts ? flags[rng_below(r, 10)] : 0;
	case PROG_EACH:
	case PROG_QUERY:
		return rng_below(r, 6);
	case PROG_OUTPUT:
	case PROG_SUBMIT:
	case PROG_DISCARD:
	case PROG_SUBMIT_TWO:
	case PROG_DRAIN:
		return one_in(r, 3) ? rng_below(r, 5) : 0;
	default:
		return 0;
	}
}

static uint32_t ring_size(struct rng *r)
{
	static const uint32_t sizes[] = {8, 0, 1, 100, 64, 1000, 4088, 4089, 2000, 16};

	if (one_in(r, 200))
		return 1u << rng_below(r, 24);
	return one_in(r, 2) ? rng_below(r, 300) : sizes[rng_below(r, 10)];
}

static uint32_t some_arg(struct rng *r, uint32_t kind)
{
	switch (kind) {
	case PROG_OUTPUT:
	case PROG_SUBMIT:
	case PROG_DISCARD:
	case PROG_SUBMIT_TWO:
		return ring_size(r);
	case RING_PRODUCE:
		return one_in(r, 4) ? rng_below(r, 2000) : rng_below(r, 64);
	case PROG_LOOKUP_PERCPU:
		return one_in(r, 8) ? rng_below(r, 2000) : rng_below(r, 3);
	case SYS_BATCH:
	case SYS_BATCH_DELETE:
		return one_in(r, 10) ? 0 : 1 + rng_below(r, 100);
	case RING_CONSUME:
		return rng_below(r, 60);
	default:
		return one_in(r, 3) ? rng_below(r, 20) : 0;
	}
}

static uint32_t some_key(struct rng *r, const struct episode *e, uint32_t kind)
{
	if (kind == ON_CPU)
		return rng_below(r, host_cpus);
	if (e->lane->keyless)
		return KEY_NONE;
	if (kind == SYS_NEXT && one_in(r, 8))
		return KEY_NONE;
	if (e->lane->evicts && one_in(r, 2)) /* a few that are used all the time */
		return rng_below(r, 1 + e->def.max_entries / 8);
	return rng_below(r, e->space);
}

/* Mapped all the time: not to be frozen, which the vm sees to. */
static bool is_mapped(const struct lane *lane)
{
	return lane->program == RING || lane->program == DRAIN;
}

static void make_ops(struct rng *r, struct episode *e)
{
	const struct weight *w = e->lane->weights;
	bool both = e->lane->program && has_kind(w, true) && e->def.value_size <= VALUE_MAX;
	bool programs = both;

	for (unsigned i = 0; i < e->n; i++) {
		struct op *op = &e->ops[i];

		if (both && one_in(r, programs ? 48 : 16))
			programs = !programs;
		op->kind = pick_kind(r, w, programs);
		if (!programs && !both && op->kind <= PROG_DRAIN)
			op->kind = SYS_LOOKUP;
		op->key = some_key(r, e, op->kind);
		op->seed = 1 + (uint32_t)rng_next(r) % 0x7fffffff;
		op->flags = some_flags(r, e->lane, op->kind);
		op->arg = some_arg(r, op->kind);
		if (op->kind == PROG_EACH_DELETE && e->lane->set)
			op->arg = 0; /* which are the first is open */
		if (one_in(r, 6000) && !e->lane->evicts && !is_mapped(e->lane))
			op->kind = SYS_FREEZE;
	}
}

static void make(struct episode *e, const struct lane *lane, uint64_t seed)
{
	struct rng r = {seed};

	e->lane = lane;
	e->seed = seed;
	e->n = 64 + rng_below(&r, (EPISODE_MAX - 64) >> rng_below(&r, 6));
	make_def(&r, e);
	make_ops(&r, e);
}

/* ---- running it ---------------------------------------------------------------------------------- */

static void on_cpu(struct pair *p, unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	map_cpu = cpu;
	p->cpu = cpu;
}

static bool alone(uint32_t kind)
{
	return kind == PROG_EACH || kind == PROG_EACH_DELETE || kind == PROG_DRAIN;
}

/* How many ops from here go into one run of the program. */
static unsigned span(const struct op *ops, unsigned n)
{
	unsigned i = 1;

	if (alone(ops->kind))
		return 1;
	while (i < n && i < OPS_MAX && ops[i].kind <= PROG_DRAIN && !alone(ops[i].kind))
		i++;
	return i;
}

static bool run_all(struct pair *p, const struct op *ops, unsigned n, unsigned *at)
{
	for (unsigned i = 0, run; i < n; i += run) {
		unsigned in_run = 0;
		bool ok = true;

		run = 1;
		if (ops[i].kind == ON_CPU) {
			on_cpu(p, ops[i].key);
		} else if (ops[i].kind <= PROG_DRAIN) {
			run = span(ops + i, n - i);
			ok = prog_run(p, ops + i, run, &in_run);
		} else {
			ok = sys_run(p, &ops[i]);
		}
		*at = i + in_run;
		if (!ok)
			return false;
	}
	return true;
}

/* An LRU need not drop what the kernel drops, nor a filter err where it does, only be about as good. */
static bool fair(struct pair *p)
{
	unsigned long spread = p->lane->program == BLOOM ? 3 : 20; /* few values there: more luck */

	if (p->looks < 2000 || p->hits[1] + p->looks / spread >= p->hits[0])
		return true;
	return !failed(p, "of %lu lookups the kernel found %lu, the engine %lu", p->looks,
		       p->hits[0], p->hits[1]);
}

/* Returns whether all agreed; else *at and @why. */
static bool run(const struct episode *e, const struct op *ops, unsigned n, unsigned *at, char *why)
{
	static struct pair p;
	static const struct op walk = {.kind = SYS_WALK};
	bool ok;

	*at = 0;
	ok = !pair_open(&p, e->lane, &e->def, e->space);
	if (ok) {
		on_cpu(&p, 0);
		ok = run_all(&p, ops, n, at) && (e->lane->keyless || sys_run(&p, &walk)) &&
		     fair(&p);
	}
	if (!ok)
		memcpy(why, p.why, sizeof(p.why));
	pair_close(&p);
	return ok;
}

/* ---- making it short ------------------------------------------------------------------------------ */

static unsigned without(struct op *to, const struct op *ops, unsigned n, unsigned from,
			unsigned cut)
{
	memcpy(to, ops, from * sizeof(*ops));
	memcpy(to + from, ops + from + cut, (n - from - cut) * sizeof(*ops));
	return n - cut;
}

/* Leaves out pieces, large ones first, as long as the rest still fails. */
static unsigned shrink(const struct episode *e, struct op *ops, unsigned n, char *why)
{
	static struct op fewer[EPISODE_MAX];
	unsigned tries = 0, at;

	for (unsigned cut = n / 2; cut && tries < SHRINK_TRIES; cut /= 2)
		for (unsigned from = 0; from + cut <= n && tries++ < SHRINK_TRIES;) {
			unsigned left = without(fewer, ops, n, from, cut);

			if (run(e, fewer, left, &at, why)) {
				from += cut;
				continue;
			}
			n = min(left, at + 1);
			memcpy(ops, fewer, n * sizeof(*ops));
		}
	run(e, ops, n, &at, why);
	return n;
}

static void print_op(const struct op *op, unsigned i)
{
	printf("#   %2u. %s", i, kind_names[op->kind]);
	if (op->key != KEY_NONE)
		printf(" key %u", op->key);
	printf(" flags %#llx arg %u value seed %u\n", (unsigned long long)op->flags, op->arg,
	       op->seed);
}

static void report(struct episode *e, unsigned at, char *why)
{
	unsigned n = at + 1, i;

	printf("# %s: operation %u of the episode differs: %s\n", e->lane->name, at, why);
	n = shrink(e, e->ops, min(n, e->n), why);
	printf("#   `diff 1 %llu %s`: key_size %u value_size %u max_entries %u flags %#x extra %llu\n",
	       (unsigned long long)e->seed, e->lane->name, e->def.key_size, e->def.value_size,
	       e->def.max_entries, e->def.flags, (unsigned long long)e->def.extra);
	for (i = n > 12 ? n - 12 : 0; i < n; i++)
		print_op(&e->ops[i], i + 1);
	printf("#   %s\n", why);
}

/* ---- the run ---------------------------------------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool run_lane(const struct lane *lane, unsigned long ops, uint64_t seed, unsigned n)
{
	static struct episode e;
	static char why[sizeof(((struct pair *)0)->why)];
	unsigned long done = 0;
	double begun = now();
	unsigned at;

	for (; done < ops; seed++, done += e.n) {
		memory_wait();
		make(&e, lane, seed);
		if (!run(&e, e.ops, e.n, &at, why)) {
			report(&e, at, why);
			printf("not ok %u - %s in the engine does as the kernel's\n", n,
			       lane->name);
			return false;
		}
	}
	printf("ok %u - %s in the engine does as the kernel's\n", n, lane->name);
	printf("#   %lu operations, %.0f a second\n", done, (double)done / (now() - begun));
	return true;
}

static bool run_create(unsigned long maps, uint64_t seed, unsigned n)
{
	static char why[1024];
	bool ok = true;

	for (unsigned long i = 0; i < maps; i++) {
		if (i % 256 == 0)
			memory_wait();
		why[0] = '\0';
		ok &= create_run(seed + i, why, sizeof(why));
		if (why[0])
			printf("# %s\n", why);
	}
	printf("%s %u - maps are refused for the kernel's reasons\n", ok ? "ok" : "not ok", n);
	return ok;
}

static int silent(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN && getenv("V") ? vfprintf(stderr, fmt, ap) : 0;
}

/* Of all operations, a lane's: those that wait for the kernel's grace periods get fewer. */
static unsigned long share(const struct lane *lane, unsigned long ops)
{
	double sum = 0;

	for (unsigned i = 0; i < n_lanes; i++)
		sum += 1.0 / max(lanes[i].slow, 1u);
	return (unsigned long)((double)ops / sum / max(lane->slow, 1u)) + 1;
}

int main(int argc, char **argv)
{
	unsigned long ops = argc > 1 ? strtoul(argv[1], NULL, 0) : 400000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	const char *only = argc > 3 ? argv[3] : NULL;
	unsigned n = 0;
	bool ok = true;

	setvbuf(stdout, NULL, _IOLBF, 0);
	host_cpus = libbpf_num_possible_cpus();
	libbpf_set_print(silent);
	memory_careful();
	objects_open();
	for (unsigned i = 0; i < n_lanes; i++)
		if (!only || !strcmp(only, lanes[i].name))
			ok &= run_lane(&lanes[i], only ? ops : share(&lanes[i], ops), seed, ++n);
	if (!only || !strcmp(only, "create"))
		ok &= run_create(only ? ops : ops / n_lanes / 4, seed, ++n);
	printf("1..%u\n", n);
	return ok ? 0 : 1;
}
