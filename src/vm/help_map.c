// SPDX-License-Identifier: Apache-2.0
/* Helpers on maps, and those that call back. */
#include "isa/isa.h"
#include "vm/help.h"

static bool holds_maps(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	       m->def.type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

/* The program may look into the inner map that it was given, until the run ends. */
static void remember(struct run *r, struct map *inner)
{
	unsigned i;

	for (i = 0; i < r->n_inner; i++)
		if (r->inner[i] == inner)
			return;
	if (r->n_inner == RUN_INNER) {
		memmove(&r->inner[0], &r->inner[1], (RUN_INNER - 1) * sizeof(r->inner[0]));
		r->n_inner--;
	}
	r->inner[r->n_inner++] = inner;
}

HELPER_FN(map_lookup_elem)
{
	struct map *m = PTR(a);
	void *v = map_lookup(m, PTR(b));

	if (v && holds_maps(m))
		remember(vm_run_now(), v);
	return (uintptr_t)v;
}

HELPER_FN(map_update_elem)
{
	return (uint64_t)(int64_t)map_update(PTR(a), PTR(b), PTR(c), d);
}

HELPER_FN(map_delete_elem)
{
	return (uint64_t)(int64_t)map_delete(PTR(a), PTR(b));
}

HELPER_FN(map_lookup_percpu_elem)
{
	return (uintptr_t)map_lookup_percpu(PTR(a), PTR(b), (uint32_t)c);
}

HELPER_FN(map_push_elem)
{
	return (uint64_t)(int64_t)map_push(PTR(a), PTR(b), c);
}

HELPER_FN(map_pop_elem)
{
	return (uint64_t)(int64_t)map_pop(PTR(a), PTR(b));
}

HELPER_FN(map_peek_elem)
{
	return (uint64_t)(int64_t)map_peek(PTR(a), PTR(b));
}

/* The gate saw that interpreted code holds none: it may have one, as the kernel's verifier has it. */
HELPER_FN(spin_lock)
{
	map_spin_lock(PTR(a));
	vm_run_now()->lock = a;
	return 0;
}

HELPER_FN(spin_unlock)
{
	struct run *r = vm_run_now();

	if (!r->vm.code->jit && r->lock != a) {
		vm_help_fault(r, -EINVAL, "bpf_spin_unlock: this lock is not held");
		return 0;
	}
	r->lock = 0;
	map_spin_unlock(PTR(a));
	return 0;
}

HELPER_FN(kptr_xchg)
{
	return __atomic_exchange_n((uint64_t *)PTR(a), b, __ATOMIC_SEQ_CST);
}

HELPER_FN(tail_call)
{
	struct map *m = PTR(b);
	struct prog *next = NULL;

	if (m->def.type == BPF_MAP_TYPE_PROG_ARRAY && (uint32_t)c < m->def.max_entries)
		next = __atomic_load_n(&map_slots(m)[(uint32_t)c], __ATOMIC_ACQUIRE);
	if (!next)
		return (uint64_t)-ENOENT;
	return (uint64_t)(int64_t)vm_tail_call(&vm_run_now()->vm, &vm_prog_now(next)->code);
}

/* ---- calling back -------------------------------------------------------------------------------- */

struct each {
	struct run *run;
	struct map *map;
	uint64_t func, ctx;
};

static int each_element(void *arg, const void *key, void *value)
{
	struct each *e = arg;
	struct run *r = e->run;
	uint64_t rc;

	if (vm_run_lend(r, key, e->map->def.key_size, false)) {
		vm_help_fault(r, -ENOSPC, "too much is lent to the program");
		return 1;
	}
	rc = vm_call(&r->vm, e->func, (uintptr_t)e->map, (uintptr_t)key, (uintptr_t)value, e->ctx,
		     0);
	vm_run_unlend(r, key);
	return r->vm.fault || rc;
}

HELPER_FN(for_each_map_elem)
{
	struct each e = {vm_run_now(), PTR(a), b, c};

	if (d)
		return (uint64_t)-EINVAL;
	return (uint64_t)map_for_each(e.map, each_element, &e);
}

HELPER_FN(loop)
{
	struct run *r = vm_run_now();
	uint32_t n = (uint32_t)a, i;

	if (d)
		return (uint64_t)-EINVAL;
	if (n > ISA_LOOPS_MAX)
		return (uint64_t)-E2BIG;
	for (i = 0; i < n && !r->vm.fault; i++)
		if (vm_call(&r->vm, b, i, c, 0, 0, 0))
			return i + 1;
	return i;
}
