// SPDX-License-Identifier: Apache-2.0
/*
 * Ring buffers and perf events.
 */
#include "vm/dynptr.h"

static void wake(struct map *m, bool yes)
{
	if (yes)
		vm_ring_wake(m);
}

HELPER_FN(ringbuf_output)
{
	struct map *m = PTR(a);
	bool woken = false;
	long rc = map_ring_output(m, PTR(b), (uint32_t)c, d, &woken);

	wake(m, woken);
	return (uint64_t)rc;
}

/* The map that a record came from: the first 8 bytes before it are its header and the map's business. */
static struct map *map_of_record(struct run *r, uint64_t at)
{
	const struct prog *p = vm_run_prog(r);
	unsigned i;

	for (i = 0; i < p->n_maps; i++) {
		const struct map_area *area = p->maps[i]->map->areas;

		if (p->maps[i]->map->def.type != BPF_MAP_TYPE_RINGBUF)
			continue;
		if (at - area[0].base < area[0].bytes || at - area[1].base < area[1].bytes)
			return p->maps[i]->map;
	}
	for (i = 0; i < r->n_inner; i++)
		if (r->inner[i]->def.type == BPF_MAP_TYPE_RINGBUF &&
		    at - r->inner[i]->areas[0].base < r->inner[i]->areas[0].bytes)
			return r->inner[i];
	return NULL;
}

static void *reserve(struct map *m, uint64_t size, uint64_t flags)
{
	void *p = map_ring_reserve(m, size, flags);
	bool woken;

	if (p && vm_run_lend_record(vm_run_now(), m, p, size)) {
		woken = map_ring_commit(m, p, 0, true);
		wake(m, woken);
		return NULL;
	}
	return p;
}

static void commit(uint64_t at, uint64_t flags, bool discard)
{
	struct run *r = vm_run_now();
	struct map *m = r->vm.code->jit ? map_of_record(r, at) : vm_run_record(r, at);

	if (!m && !r->vm.code->jit)
		vm_help_fault(r, -EFAULT, "this is no reserved record");
	if (!m)
		return;
	vm_run_unlend(r, PTR(at));
	wake(m, map_ring_commit(m, PTR(at), flags, discard));
}

HELPER_FN(ringbuf_reserve)
{
	return (uintptr_t)reserve(PTR(a), b, c);
}

HELPER_FN(ringbuf_submit)
{
	commit(a, b, false);
	return 0;
}

HELPER_FN(ringbuf_discard)
{
	commit(a, b, true);
	return 0;
}

HELPER_FN(ringbuf_query)
{
	return map_ring_query(PTR(a), b);
}

/* ---- records behind dynptrs -------------------------------------------------------------------------------------- */

HELPER_FN(ringbuf_reserve_dynptr)
{
	struct dynptr *p = PTR(d);
	uint32_t size = (uint32_t)b;
	void *at;

	memset(p, 0, sizeof(*p));
	if (c)
		return (uint64_t)-EINVAL;
	if (size > DYN_SIZE)
		return (uint64_t)-E2BIG;
	at = reserve(PTR(a), size, 0);
	if (!at)
		return (uint64_t)-EINVAL;
	*p = (struct dynptr){(uintptr_t)at, size | DYN_RING << DYN_KIND, 0};
	return 0;
}

static uint64_t commit_dynptr(struct dynptr *p, uint64_t flags, bool discard)
{
	if (p->at)
		commit(p->at, flags, discard);
	memset(p, 0, sizeof(*p));
	return 0;
}

HELPER_FN(ringbuf_submit_dynptr)
{
	return commit_dynptr(PTR(a), b, false);
}

HELPER_FN(ringbuf_discard_dynptr)
{
	return commit_dynptr(PTR(a), b, true);
}

/* ---- user ring buffers ------------------------------------------------------------------------------ */

struct drain {
	struct run *run;
	uint64_t func, ctx;
};

static long drain_one(void *arg, const void *sample, uint32_t size)
{
	struct drain *dr = arg;
	struct run *r = dr->run;
	struct dynptr p = {(uintptr_t)sample, size | DYN_LOCAL << DYN_KIND, 0};
	uint64_t rc;

	/* Helpers take dynptrs that can be written, as on a stack; what stands there they check. */
	if (vm_run_lend(r, &p, sizeof(p), true) || vm_run_lend(r, sample, size, false)) {
		vm_help_fault(r, -ENOSPC, "too much is lent to the program");
		return 1;
	}
	rc = vm_call(&r->vm, dr->func, (uintptr_t)&p, dr->ctx, 0, 0, 0);
	vm_run_unlend(r, sample);
	vm_run_unlend(r, &p);
	return r->vm.fault || rc;
}

HELPER_FN(user_ringbuf_drain)
{
	struct drain dr = {vm_run_now(), b, c};

	return (uint64_t)map_ring_drain(PTR(a), drain_one, &dr, d);
}

/* ---- perf events ------------------------------------------------------------------------------------ */

HELPER_FN(perf_event_output)
{
	uint64_t index = c & BPF_F_INDEX_MASK;
	struct map *m = PTR(b);
	uint32_t key;

	if (c & ~(BPF_F_INDEX_MASK | BPF_F_CTXLEN_MASK))
		return (uint64_t)-EINVAL;
	key = index == BPF_F_CURRENT_CPU ? map_cpu : (uint32_t)index;
	if (m->def.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return (uint64_t)-EINVAL;
	if (key >= m->def.max_entries)
		return (uint64_t)-E2BIG;
	if (!map_slots(m)[key])
		return (uint64_t)-ENOENT;
	return (uint64_t)vm_perf_output(vm_run_now()->vm.engine, m, key, PTR(d), (uint32_t)f);
}
