// SPDX-License-Identifier: Apache-2.0
/*
 * The table of kfuncs and the gate before them.
 *
 * KF1  What an interpreted program hands to a kfunc is checked here by its row, once (H1 of help.c).
 *	State that a kfunc keeps in the program's memory (iterators, dynptrs) can have been written by
 *	the program: whoever follows it checks it anew.
 */
#include "vm/kfunc.h"

#include "vm/dynptr.h"

enum kfunc_arg {
	ARG__,
	ARG_ANY,
	ARG_CTX,
	ARG_MAP,
	ARG_DYNPTR,
	ARG_OUT_DYNPTR,
	ARG_MEM,
	ARG_OUT,
	ARG_BUF0,
	ARG_SIZE,
	ARG_OUT2,
	ARG_OUT4,
	ARG_OUT8,
	ARG_ITER8,
	ARG_ITER16,
	ARG_ITER24,
};

enum { GENERIC = TRACE | TC | XDP | SYSCALL | CGROUP };

struct row {
	const char *name; /* without "bpf_" */
	uint32_t who;
	uint8_t args[5]; /* enum kfunc_arg */
};

static const struct row rows[] = {
#define KFUNC(name, who, a1, a2, a3, a4, a5) \
	{#name, (uint32_t)(who), {ARG_##a1, ARG_##a2, ARG_##a3, ARG_##a4, ARG_##a5}},
#include "vm/kfunc.def"
#undef KFUNC
};

enum {
#define KFUNC(name, ...) ROW_##name,
#include "vm/kfunc.def"
#undef KFUNC
};

int vm_kfunc_find(const char *name)
{
	unsigned i;

	if (strncmp(name, "bpf_", 4))
		return -1;
	for (i = 0; i < array_size(rows); i++)
		if (!strcmp(rows[i].name, name + 4))
			return (int)i;
	return -1;
}

bool vm_kfunc_allowed(const struct prog *p, int row)
{
	return rows[row].who & vm_help_family(p->run_type);
}

bool vm_kfunc_interpreted(int row)
{
	return row == ROW_throw || row == ROW_rdonly_cast;
}

/* ---- the gate ---------------------------------------------------------------------------------- */

static bool room(struct run *r, uint64_t at, uint64_t size, bool write)
{
	return !size || vm_access(&r->vm, at, size, write);
}

static bool arg_ok(struct run *r, uint8_t kind, uint64_t v, uint64_t next)
{
	switch (kind) {
	case ARG_CTX:
		return v == (r->skb_at ? r->skb_at : r->vm.regions[REGION_CTX].lo);
	case ARG_MAP:
		return vm_help_is_map(r, v) || (v && v == (uintptr_t)r->shown);
	case ARG_MEM:
		return room(r, v, (uint32_t)next, false);
	case ARG_BUF0:
		return !v || room(r, v, (uint32_t)next, true);
	case ARG_OUT:
		return room(r, v, (uint32_t)next, true);
	case ARG_OUT2:
		return room(r, v, 2, true);
	case ARG_OUT4:
		return room(r, v, 4, true);
	case ARG_OUT8:
	case ARG_ITER8:
		return room(r, v, 8, true);
	case ARG_DYNPTR:
		return room(r, v, sizeof(struct dynptr), false);
	case ARG_OUT_DYNPTR:
	case ARG_ITER16:
		return room(r, v, 16, true);
	case ARG_ITER24:
		return room(r, v, 24, true);
	default:
		return true;
	}
}

static bool gate(unsigned n, const uint64_t v[6])
{
	const struct row *w = &rows[n];
	struct run *r = vm_run_now();
	char why[96];
	unsigned i;

	for (i = 0; i < 5 && w->args[i] != ARG__; i++) {
		if (arg_ok(r, w->args[i], v[i], v[i + 1]))
			continue;
		snprintf(why, sizeof(why), "bpf_%s: argument %u (0x%llx) is not what it takes",
			 w->name, i + 1, (unsigned long long)v[i]);
		vm_help_fault(r, -EFAULT, why);
		return false;
	}
	return true;
}

#define KFUNC(name, ...)                                                                           \
	static uint64_t checked_##name(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t f) \
	{                                                                                          \
		const uint64_t v[6] = {a, b, c, d, f};                                             \
                                                                                                   \
		return gate(ROW_##name, v) ? kfunc_##name(a, b, c, d, f) : 0;                      \
	}
#include "vm/kfunc.def"
#undef KFUNC

vm_helper *const vm_kfuncs[] = {
#define KFUNC(name, ...) [ROW_##name] = kfunc_##name,
#include "vm/kfunc.def"
#undef KFUNC
};

vm_helper *const vm_kfuncs_checked[] = {
#define KFUNC(name, ...) [ROW_##name] = checked_##name,
#include "vm/kfunc.def"
#undef KFUNC
};

const unsigned vm_n_kfuncs = array_size(rows);
