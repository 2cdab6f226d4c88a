// SPDX-License-Identifier: Apache-2.0
/*
 * The table of processes: one pool, one hash by pid, one queue of the ended.
 *
 *	head[pid & mask] -> slot -> slot ...	the youngest process of a pid is its first
 *	first_ended -> slot -> ... -> last_ended	in the order in which they ended
 *
 * P1  Of one pid only the youngest process may live, and it is the first of that pid in its chain.
 * P2  A slot is in the pool's free list, or in one chain; an ended one is in the queue as well.
 * P3  Slots never used are never touched, so their pages take no memory.
 *
 * Slots are numbered from 1; 0 ends a list. pids are handed out in sequence, so pid & mask spreads
 * them evenly and touches few pages.
 */
#include "who/who.h"

#include "who/cgroup.h"

struct slot {
	struct who_process process;
	uint32_t chain; /* next in the hash chain, or in the free list */
	uint32_t queue; /* next that ended */
};

struct who {
	struct cgroups *cgroups;
	struct slot *slots; /* from 1 to max */
	uint32_t *heads;
	uint32_t mask;
	uint32_t max;
	uint32_t fresh; /* slots above it were never used */
	uint32_t free;
	uint32_t first_ended, last_ended;
	uint64_t living, ended, refused;
	void (*news)(void *arg);
	void *news_arg;
};

int who_open(struct who **out, unsigned max_processes, struct skep_err *err)
{
	uint32_t size = 64;
	struct who *w;
	int rc;

	if (!max_processes || max_processes > 1U << 24)
		return skep_fail(err, -EINVAL, "a table of %u processes, must be 1 to 16777216",
				 max_processes);
	while (size < max_processes)
		size *= 2;
	w = calloc(1, sizeof(*w));
	if (!w)
		return skep_fail(err, -ENOMEM, "no memory for the process table");
	w->max = max_processes;
	w->mask = size - 1;
	w->heads = calloc(size, sizeof(*w->heads));
	w->slots = calloc((size_t)max_processes + 1, sizeof(*w->slots));
	rc = w->heads && w->slots
		     ? cgroups_open(&w->cgroups, "", err)
		     : skep_fail(err, -ENOMEM, "no memory for %u processes", max_processes);
	if (rc) {
		who_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

void who_free(struct who *w)
{
	if (!w)
		return;
	cgroups_free(w->cgroups);
	free(w->slots);
	free(w->heads);
	free(w);
}

static struct slot *slot_of(struct who_process *p)
{
	return container_of(p, struct slot, process);
}

static uint32_t *head_of(struct who *w, uint32_t pid)
{
	return &w->heads[pid & w->mask];
}

static void enqueue_ended(struct who *w, uint32_t i)
{
	w->slots[i].queue = 0;
	if (w->last_ended)
		w->slots[w->last_ended].queue = i;
	else
		w->first_ended = i;
	w->last_ended = i;
	w->ended++;
}

static uint32_t dequeue_ended(struct who *w)
{
	uint32_t i = w->first_ended;

	w->first_ended = w->slots[i].queue;
	if (!w->first_ended)
		w->last_ended = 0;
	w->ended--;
	return i;
}

/* Takes the process that ended first out of the table (P2); its slot is the caller's. */
static uint32_t forget_first(struct who *w)
{
	uint32_t i = dequeue_ended(w);
	uint32_t *link = head_of(w, w->slots[i].process.id.pid);

	while (*link != i)
		link = &w->slots[*link].chain;
	*link = w->slots[i].chain;
	return i;
}

static uint32_t slot_take(struct who *w)
{
	uint32_t i = w->free;

	if (i) {
		w->free = w->slots[i].chain;
		return i;
	}
	if (w->fresh < w->max)
		return ++w->fresh;
	return w->first_ended ? forget_first(w) : 0;
}

static void slot_init(struct who *w, uint32_t i, struct who_id id)
{
	struct slot *s = &w->slots[i];

	memset(s, 0, sizeof(*s));
	s->process.id = (struct who_id){.pid = id.pid, .start = id.start};
	s->process.cgroup = cgroups_unknown(w->cgroups);
}

/* The youngest process of that pid, living or not (P1). */
static struct who_process *youngest(struct who *w, uint32_t pid)
{
	uint32_t i = *head_of(w, pid);

	while (i && w->slots[i].process.id.pid != pid)
		i = w->slots[i].chain;
	return i ? &w->slots[i].process : NULL;
}

/* Puts a slot into its chain, behind the younger process of that pid if there is one (P1). */
static void chain_in(struct who *w, uint32_t i)
{
	struct who_id id = w->slots[i].process.id;
	struct who_process *other = youngest(w, id.pid);
	uint32_t *link =
		other && other->id.start > id.start ? &slot_of(other)->chain : head_of(w, id.pid);

	w->slots[i].chain = *link;
	*link = i;
}

struct who_process *who_process_add(struct who *w, struct who_id id)
{
	struct who_process *p = who_process_find(w, id), *other;
	uint64_t ended;
	uint32_t i;

	if (p)
		return p;
	other = youngest(w, id.pid);
	ended = other && other->id.start > id.start ? other->id.start : 0;
	if (other && !ended)
		who_process_end(w, other, id.start);
	i = slot_take(w);
	if (!i) {
		w->refused++;
		return NULL;
	}
	slot_init(w, i, id);
	chain_in(w, i);
	w->living++;
	p = &w->slots[i].process;
	if (ended)
		who_process_end(w, p, ended);
	return p;
}

struct who_process *who_process_find(struct who *w, struct who_id id)
{
	uint32_t i;

	for (i = *head_of(w, id.pid); i; i = w->slots[i].chain) {
		struct who_process *p = &w->slots[i].process;

		if (p->id.pid == id.pid && p->id.start == id.start)
			return p;
	}
	return NULL;
}

void who_source(struct who *w, void (*news)(void *arg), void *arg)
{
	w->news = news;
	w->news_arg = arg;
}

struct who_process *who_process_ask(struct who *w, struct who_id id)
{
	struct who_process *p = who_process_find(w, id);

	if (p || !w->news)
		return p;
	w->news(w->news_arg);
	return who_process_find(w, id);
}

struct who_process *who_process_alive(struct who *w, uint32_t pid)
{
	struct who_process *p = youngest(w, pid);

	return p && !p->ended ? p : NULL; /* P1 */
}

void who_process_end(struct who *w, struct who_process *p, uint64_t boot_ns)
{
	if (p->ended)
		return;
	p->ended = max(boot_ns, (uint64_t)1);
	w->living--;
	enqueue_ended(w, (uint32_t)(slot_of(p) - w->slots));
}

static void sweep_cgroups(struct who *w)
{
	uint32_t i;

	for (i = 1; i <= w->fresh; i++) {
		if (w->slots[i].process.cgroup)
			cgroups_mark(w->cgroups, w->slots[i].process.cgroup);
	}
	cgroups_sweep(w->cgroups);
}

void who_expire(struct who *w, uint64_t boot_ns)
{
	uint32_t i;

	while (w->first_ended && w->slots[w->first_ended].process.ended + WHO_GRACE_NS < boot_ns) {
		i = forget_first(w);
		w->slots[i].process.cgroup = NULL;
		w->slots[i].chain = w->free;
		w->free = i;
	}
	cgroups_tick(w->cgroups, boot_ns);
	if (cgroups_crowded(w->cgroups))
		sweep_cgroups(w);
}

void who_each(struct who *w, void (*fn)(void *arg, struct who_process *p), void *arg)
{
	uint32_t i;

	for (i = 1; i <= w->fresh; i++) {
		if (w->slots[i].process.cgroup)
			fn(arg, &w->slots[i].process);
	}
}

const char *who_service(const struct who_process *p)
{
	if (p->kernel)
		return "kernel";
	return p->cgroup->label[0] ? p->cgroup->label : p->comm;
}

const struct who_cgroup *who_cgroup_get(struct who *w, uint64_t id, uint32_t pid)
{
	struct who_process *p = pid ? who_process_alive(w, pid) : NULL;
	const struct who_cgroup *guess = NULL;

	if (p && p->cgroup->id != id)
		p = who_process_find(w, p->parent);
	if (p && p->cgroup->id == id)
		guess = p->cgroup;
	return cgroups_get(w->cgroups, id, pid, guess);
}

void who_count(const struct who *w, struct who_stat *out)
{
	*out = (struct who_stat){.living = w->living,
				 .ended = w->ended,
				 .refused = w->refused,
				 .cgroups = cgroups_count(w->cgroups)};
}
