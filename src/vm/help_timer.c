// SPDX-License-Identifier: Apache-2.0
/*
 * Timers in values of maps: one thread an engine, which comes with the first bpf_timer_init().
 *
 *	value's timer field --its address--> bucket --> struct timer --due--> thread: callback(map, key, value)
 *
 * T1  The bytes in the value mean nothing: a program may have written them. The address is the timer.
 * T2  A timer goes with its value (timer_drop(), under a map's locks), or when no caller can reach the
 *     map any more. It holds its program, which only the thread or who holds no lock lets go: putting it
 *     may free the map.
 * T3  A callback runs with no lock held, and holds its map and its program. Unlike the kernel's,
 *     bpf_timer_cancel() does not wait for a callback that has begun.
 */
#include <time.h>

#include "vm/help.h"

#define FAIL(e) ((uint64_t) - (e))
#define BUCKETS 1024
#define ABS	1 /* of bpf_timer_start(); the other is "on this CPU", and there is one thread */
#define PINNED	2

struct timer {
	struct timer *next;
	struct vm_map *map;
	uint64_t at; /* T1 */
	clockid_t clock;
	struct prog *prog;
	uint64_t func, due; /* due: of CLOCK_MONOTONIC */
	bool armed;
};

struct timers {
	pthread_mutex_t lock;
	pthread_cond_t change;
	pthread_t thread;
	bool started, stop;
	unsigned n;
	uint64_t running; /* address of the one whose callback runs */
	struct timer *dead;
	struct timer *buckets[BUCKETS];
};

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static struct timer **find(struct timers *ts, uint64_t at)
{
	struct timer **link = &ts->buckets[(at * 0x9e3779b97f4a7c15ULL) >> 54];

	while (*link && (*link)->at != at)
		link = &(*link)->next;
	return link;
}

/* ---- the end of timers ---------------------------------------------------------------------------- */

static void bury(struct timers *ts, struct timer **link)
{
	struct timer *t = *link;

	*link = t->next;
	t->next = ts->dead;
	ts->dead = t;
	ts->n--;
}

/* T2: no lock is held. */
static void reap(struct skep_engine *e)
{
	struct timer *t, *next;

	pthread_mutex_lock(&e->timers->lock);
	t = take(e->timers->dead);
	pthread_mutex_unlock(&e->timers->lock);
	for (; t; t = next) {
		next = t->next;
		if (t->prog)
			vm_object_put(e, vm_prog_object(t->prog));
		free(t);
	}
}

void vm_timer_drop(void *arg, struct map *m, void *value)
{
	struct timers *ts = ((struct skep_engine *)arg)->timers;
	struct timer **link;

	if (m->def.fields.timer < 0)
		return;
	pthread_mutex_lock(&ts->lock);
	link = find(ts, (uintptr_t)value + (unsigned)m->def.fields.timer);
	if (*link) {
		bury(ts, link);
		pthread_cond_signal(&ts->change);
	}
	pthread_mutex_unlock(&ts->lock);
}

/* All of one map, or all. */
static void bury_all(struct timers *ts, const struct vm_map *m)
{
	unsigned i;

	pthread_mutex_lock(&ts->lock);
	for (i = 0; ts->n && i < BUCKETS; i++)
		for (struct timer **link = &ts->buckets[i]; *link;) {
			if (!m || (*link)->map == m)
				bury(ts, link);
			else
				link = &(*link)->next;
		}
	pthread_mutex_unlock(&ts->lock);
}

void vm_timers_of_map(struct skep_engine *e, const struct vm_map *m)
{
	if (!m->map || m->map->def.fields.timer < 0)
		return;
	bury_all(e->timers, m);
	reap(e);
}

/* ---- the thread ------------------------------------------------------------------------------------ */

static struct timer *earliest(const struct timers *ts)
{
	struct timer *best = NULL, *t;
	unsigned i;

	for (i = 0; ts->n && i < BUCKETS; i++)
		for (t = ts->buckets[i]; t; t = t->next)
			if (t->armed && (!best || t->due < best->due))
				best = t;
	return best;
}

static void run_callback(struct skep_engine *e, const struct timer *t)
{
	struct map *m = t->map->map;
	uint64_t value = t->at - (unsigned)m->def.fields.timer, key;
	uint32_t index, size = m->def.key_size;
	struct run r;

	vm_run_init(&r, e, NULL, t->prog);
	r.prog = t->prog; /* the callback is of these instructions, joined or not */
	r.vm.code = &t->prog->code;
	if (m->def.type == BPF_MAP_TYPE_ARRAY) {
		index = (uint32_t)((value - m->areas[0].base) / m->areas[0].stride);
		key = (uintptr_t)&index;
	} else {
		key = value - (size + 7) / 8 * 8; /* so it lies in elements of hash tables */
	}
	if (!vm_run_lend(&r, PTR(key), size, false))
		vm_run_callback(&r, t->func, (uintptr_t)m, key, value);
	vm_help_forget(&r);
}

/* The lock is held, but while the callback runs. T3. */
static void fire(struct skep_engine *e, struct timer *t)
{
	struct timers *ts = e->timers;
	struct timer copy = *t;

	t->armed = false;
	if (!vm_object_get_live(e, &copy.map->obj))
		return;
	vm_object_get(e, vm_prog_object(copy.prog));
	ts->running = copy.at;
	pthread_mutex_unlock(&ts->lock);
	run_callback(e, &copy);
	vm_object_put(e, vm_prog_object(copy.prog));
	vm_object_put(e, &copy.map->obj);
	pthread_mutex_lock(&ts->lock);
	ts->running = 0;
}

static void wait_for(struct timers *ts, const struct timer *t)
{
	struct timespec until;

	if (!t) {
		pthread_cond_wait(&ts->change, &ts->lock);
		return;
	}
	until.tv_sec = (time_t)(t->due / 1000000000U);
	until.tv_nsec = (long)(t->due % 1000000000U);
	pthread_cond_timedwait(&ts->change, &ts->lock, &until);
}

static void *timers_main(void *arg)
{
	struct skep_engine *e = arg;
	struct timers *ts = e->timers;
	struct timer *t;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		if (ts->dead) {
			pthread_mutex_unlock(&ts->lock);
			reap(e);
			pthread_mutex_lock(&ts->lock);
			continue;
		}
		t = earliest(ts);
		if (t && t->due <= now(CLOCK_MONOTONIC))
			fire(e, t);
		else
			wait_for(ts, t);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

int vm_timers_open(struct skep_engine *e)
{
	pthread_condattr_t a;

	e->timers = calloc(1, sizeof(*e->timers));
	if (!e->timers)
		return -ENOMEM;
	pthread_mutex_init(&e->timers->lock, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&e->timers->change, &a);
	pthread_condattr_destroy(&a);
	return 0;
}

void vm_timers_stop(struct skep_engine *e)
{
	struct timers *ts = e->timers;

	pthread_mutex_lock(&ts->lock);
	ts->stop = true;
	pthread_cond_signal(&ts->change);
	pthread_mutex_unlock(&ts->lock);
	if (ts->started)
		pthread_join(ts->thread, NULL);
	bury_all(ts, NULL);
	reap(e);
}

void vm_timers_free(struct skep_engine *e)
{
	pthread_cond_destroy(&e->timers->change);
	pthread_mutex_destroy(&e->timers->lock);
	free(e->timers);
}

/* ---- helpers ---------------------------------------------------------------------------------------- */

static struct timers *timers_now(void)
{
	return vm_run_now()->vm.engine->timers;
}

static bool is_timer_of(const struct map *m, uint64_t at)
{
	uint64_t in;

	return m->def.fields.timer >= 0 && map_value_offset(m, at, &in) &&
	       in == (unsigned)m->def.fields.timer;
}

bool vm_help_is_timer(struct run *r, uint64_t at)
{
	const struct prog *p = vm_run_prog(r);
	unsigned i;

	for (i = 0; i < p->n_maps; i++)
		if (is_timer_of(p->maps[i]->map, at))
			return true;
	for (i = 0; i < r->n_inner; i++)
		if (is_timer_of(r->inner[i], at))
			return true;
	return false;
}

/* The lock is held. The first timer brings the thread. */
static int add(struct skep_engine *e, struct vm_map *m, uint64_t at, clockid_t clock)
{
	struct timers *ts = e->timers;
	struct timer **link = find(ts, at);

	if (*link)
		return -EBUSY;
	if (!m->obj.handed && !m->obj.pins)
		return -EPERM;
	if (!ts->started && pthread_create(&ts->thread, NULL, timers_main, e))
		return -ENOMEM;
	ts->started = true;
	*link = calloc(1, sizeof(**link));
	if (!*link)
		return -ENOMEM;
	(*link)->map = m;
	(*link)->at = at;
	(*link)->clock = clock;
	ts->n++;
	return 0;
}

HELPER_FN(timer_init)
{
	struct run *r = vm_run_now();
	struct timers *ts = timers_now();
	int rc;

	if (c != CLOCK_MONOTONIC && c != CLOCK_REALTIME && c != CLOCK_BOOTTIME)
		return FAIL(EINVAL);
	if (!is_timer_of(PTR(b), a))
		return FAIL(EINVAL);
	pthread_mutex_lock(&ts->lock);
	rc = add(r->vm.engine, vm_map_of(PTR(b)), a, (clockid_t)c);
	pthread_mutex_unlock(&ts->lock);
	return (uint64_t)(int64_t)rc;
}

/* The old program is put by the thread (T2): as if of a dead timer. */
static int set_callback(struct skep_engine *e, struct timer *t, struct prog *p, uint64_t func)
{
	struct timer *old;

	if (!t->map->obj.handed && !t->map->obj.pins)
		return -EPERM;
	old = calloc(1, sizeof(*old));
	if (!old)
		return -ENOMEM;
	old->prog = t->prog;
	old->next = e->timers->dead;
	e->timers->dead = old;
	vm_object_get(e, vm_prog_object(p));
	t->prog = p;
	t->func = func;
	pthread_cond_signal(&e->timers->change);
	return 0;
}

HELPER_FN(timer_set_callback)
{
	struct run *r = vm_run_now();
	struct timers *ts = timers_now();
	struct timer *t;
	int rc = -EINVAL;

	pthread_mutex_lock(&ts->lock);
	t = *find(ts, a);
	if (t)
		rc = set_callback(r->vm.engine, t, vm_run_prog(r), b);
	pthread_mutex_unlock(&ts->lock);
	return (uint64_t)(int64_t)rc;
}

HELPER_FN(timer_start)
{
	struct timers *ts = timers_now();
	uint64_t mono = now(CLOCK_MONOTONIC), there;
	struct timer *t;

	if (c & ~(uint64_t)(ABS | PINNED))
		return FAIL(EINVAL);
	pthread_mutex_lock(&ts->lock);
	t = *find(ts, a);
	if (!t || !t->prog) {
		pthread_mutex_unlock(&ts->lock);
		return FAIL(EINVAL);
	}
	there = now(t->clock);
	t->due = !(c & ABS) ? mono + b : b > there ? mono + (b - there) : mono;
	if (t->due < mono) /* beyond the end of time */
		t->due = INT64_MAX;
	t->armed = true;
	pthread_cond_signal(&ts->change);
	pthread_mutex_unlock(&ts->lock);
	return 0;
}

HELPER_FN(timer_cancel)
{
	struct timers *ts = timers_now();
	uint64_t rc = FAIL(EINVAL);
	struct timer *t;

	pthread_mutex_lock(&ts->lock);
	t = *find(ts, a);
	if (t && ts->running == a && pthread_equal(ts->thread, pthread_self())) {
		rc = FAIL(EDEADLK);
	} else if (t) {
		rc = t->armed;
		t->armed = false;
	}
	pthread_mutex_unlock(&ts->lock);
	return rc;
}
