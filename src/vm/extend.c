// SPDX-License-Identifier: Apache-2.0
/*
 * extend.c: programs that stand for a function of another (freplace).
 *
 *	target      main  f  g  h              joined      main  f  h  ext  (calls of g lead to ext)
 *	extension   ext                                    the functions that are reached, no others
 *
 * A program with extensions runs its join: functions are blocks of instructions that calls and
 * LDDW_FUNC alone lead out of, so they are laid behind each other anew and these are aimed again. The
 * interpreter and the compiler see one program.
 *
 * J1  A run ends with the join that it began with: joins are freed with their target, and one that was
 *     made before for the same extensions is taken again.
 * J2  A join holds the maps of its parts. Its instructions are copies: it needs no extension.
 * J3  Extensions and joins of all programs change under attach_lock; runs read target->joined alone.
 * J4  Where no join can be made without an extension that goes, the one with it stays: J2 lets it.
 */
#include "vm/help.h"

#define JOINS_MAX 256 /* of a target, in its life */
#define PARTS_MAX 512
#define INSNS_MAX 1000000

struct extension {
	unsigned func; /* of the target */
	struct prog *by;
	uint32_t id; /* of by: it may be gone where a join remembers it */
	struct extension *next;
};

/* ---- may it? ----------------------------------------------------------------------------------- */

int vm_extend_find(const struct prog *target, uint32_t btf_id, unsigned *func)
{
	for (unsigned i = 0; i < target->n_funcs; i++) {
		if (target->funcs[i].type_id != btf_id)
			continue;
		*func = i;
		return 0;
	}
	return -EINVAL;
}

int vm_extend_check(const struct prog *p, const struct prog *target, uint32_t btf_id,
		    struct buf *log)
{
	const char *name = target && target->btf ? vm_btf_func_name(target->btf, btf_id) : NULL;
	unsigned func;

	if (!target || !target->btf || !name)
		buf_fmt(log, "attach_btf_id %u is not a function\n", btf_id);
	else if (vm_extend_find(target, btf_id, &func))
		buf_fmt(log, "Subprog %s doesn't exist\n", name);
	else if (!vm_btf_func_is_global(target->btf, btf_id))
		buf_fmt(log, "Cannot replace static functions\n");
	else if (target->type == BPF_PROG_TYPE_EXT)
		buf_fmt(log, "Cannot recursively attach\n");
	else if (!p->btf || !p->n_funcs)
		buf_fmt(log, "Extension program has no BTF of its function\n");
	else if (!vm_btf_func_same(p->btf, p->funcs[0].type_id, target->btf, btf_id))
		buf_fmt(log, "%s() has other arguments than %s()\n",
			vm_btf_func_name(p->btf, p->funcs[0].type_id), name);
	else
		return 0;
	return -EINVAL;
}

/* ---- joining ----------------------------------------------------------------------------------- */

struct part {
	const struct prog *p;
	unsigned func, at;
};

struct join {
	const struct prog *target;
	const struct extension *extensions;
	struct part parts[PARTS_MAX];
	unsigned n, n_insns;
	bool full;
};

static const struct verify_func *func_of(const struct part *part)
{
	return &part->p->code.proof->funcs[part->func];
}

static struct prog *replaces(const struct extension *list, unsigned func)
{
	for (; list; list = list->next)
		if (list->func == func)
			return list->by;
	return NULL;
}

/* Where a function of a part is, or will be. */
static const struct part *part_of(struct join *j, const struct prog *p, unsigned func)
{
	const struct prog *by = p == j->target ? replaces(j->extensions, func) : NULL;
	struct part want = {by ? by : p, by ? 0 : func, j->n_insns};

	for (unsigned i = 0; i < j->n; i++)
		if (j->parts[i].p == want.p && j->parts[i].func == want.func)
			return &j->parts[i];
	j->full |= j->n == PARTS_MAX;
	if (j->full)
		return &j->parts[0];
	j->n_insns += func_of(&want)->end - func_of(&want)->start;
	j->parts[j->n] = want;
	return &j->parts[j->n++];
}

static bool names_func(const struct isa_insn *i)
{
	return i->op == ISA_CALL_LOCAL || i->op == ISA_LDDW_FUNC;
}

/* What the instruction at @pc of @p calls or names. */
static const struct part *callee(struct join *j, const struct prog *p, unsigned pc)
{
	unsigned to = (unsigned)((int)pc + p->code.insns[pc].imm + 1);

	return part_of(j, p, p->code.proof->func_of[to]);
}

/* Parts grow while they are walked: what is reached from the first. */
static int find_parts(struct join *j)
{
	part_of(j, j->target, 0);
	for (unsigned i = 0; i < j->n && !j->full; i++) {
		const struct verify_func *f = func_of(&j->parts[i]);
		const struct prog *p = j->parts[i].p;

		for (unsigned pc = f->start; pc < f->end; pc++)
			if (names_func(&p->code.insns[pc]))
				callee(j, p, pc);
	}
	return j->full || j->n_insns > INSNS_MAX ? -E2BIG : 0;
}

static void lay(struct join *j, struct isa_insn *out)
{
	for (unsigned i = 0; i < j->n; i++) {
		const struct part *part = &j->parts[i];
		const struct verify_func *f = func_of(part);
		const struct isa_insn *from = part->p->code.insns;

		for (unsigned pc = f->start, to = part->at; pc < f->end; pc++, to++) {
			out[to] = from[pc];
			if (names_func(&from[pc]))
				out[to].imm = (int)callee(j, part->p, pc)->at - (int)to - 1;
		}
	}
}

/* J2. */
static int hold_maps(struct skep_engine *e, struct prog *new, const struct prog *from)
{
	struct vm_map **maps =
		reallocarray(new->maps, new->n_maps + from->n_maps + 1, sizeof(struct vm_map *));

	if (!maps)
		return -ENOMEM;
	new->maps = maps;
	for (unsigned i = 0; i < from->n_maps; i++) {
		vm_object_get(e, &from->maps[i]->obj);
		maps[new->n_maps++] = from->maps[i];
	}
	return 0;
}

static int build(struct skep_engine *e, struct prog *new, struct join *j)
{
	const struct extension *x;
	struct skep_err err;
	bool safe = j->target->code.proof->memory_safe;
	int rc = find_parts(j);

	if (rc)
		return rc;
	new->n_insns = new->code.n_insns = j->n_insns;
	new->code.insns = calloc(j->n_insns, sizeof(*new->code.insns));
	if (!new->code.insns)
		return -ENOMEM;
	lay(j, new->code.insns);
	rc = hold_maps(e, new, j->target);
	for (x = j->extensions; x && !rc; x = x->next) {
		rc = hold_maps(e, new, x->by);
		safe = safe && x->by->code.proof->memory_safe;
	}
	if (!rc)
		rc = verify_structure(&new->code.proof, new->code.insns, j->n_insns, &err);
	if (rc)
		return rc;
	new->code.proof->memory_safe = safe;
	vm_prog_compile(e, new);
	return 0;
}

static void forget(struct extension *list)
{
	while (list) {
		struct extension *next = list->next;

		free(list);
		list = next;
	}
}

static int remember(struct prog *new, const struct extension *list)
{
	for (; list; list = list->next) {
		struct extension *copy = calloc(1, sizeof(*copy));

		if (!copy)
			return -ENOMEM;
		*copy = (struct extension){list->func, NULL, list->id, new->extensions};
		new->extensions = copy;
	}
	return 0;
}

/* A copy of the target without what is to be its own. */
static struct prog *like(struct prog *target)
{
	struct prog *new = calloc(1, sizeof(*new));

	if (!new)
		return NULL;
	new->obj.id = target->obj.id;
	new->of = target;
	new->type = target->type;
	new->run_type = target->run_type;
	new->attach_type = target->attach_type;
	new->flags = target->flags;
	new->gpl = target->gpl;
	new->sleepable = target->sleepable;
	memcpy(new->name, target->name, sizeof(new->name));
	new->code.helpers = target->code.helpers;
	new->code.n_helpers = target->code.n_helpers;
	new->code.kfuncs = target->code.kfuncs;
	new->code.n_kfuncs = target->code.n_kfuncs;
	return new;
}

static int make(struct skep_engine *e, struct prog *target, struct prog **out)
{
	struct join *j = calloc(1, sizeof(*j));
	struct prog *new = like(target);
	int rc = j && new ? 0 : -ENOMEM;

	if (!rc) {
		j->target = target;
		j->extensions = target->extensions;
		rc = remember(new, target->extensions);
	}
	if (!rc)
		rc = build(e, new, j);
	free(j);
	if (rc && new)
		vm_prog_free(e, new);
	else
		*out = new;
	return rc;
}

/* One list is the other turned round: remember() turns it. */
static bool same(const struct extension *a, const struct extension *b)
{
	unsigned n = 0, m = 0, found = 0;

	for (const struct extension *x = a; x; x = x->next, n++)
		for (const struct extension *y = b; y; y = y->next)
			found += x->func == y->func && x->id == y->id;
	for (; b; b = b->next)
		m++;
	return n == m && found == n;
}

/* J1. */
static int find_or_make(struct skep_engine *e, struct prog *target, struct prog **out)
{
	struct prog *j;
	unsigned n = 0;
	int rc;

	for (j = target->joins; j; j = j->joins, n++) {
		if (!same(j->extensions, target->extensions))
			continue;
		*out = j;
		return 0;
	}
	if (n == JOINS_MAX)
		return -E2BIG;
	rc = make(e, target, &j);
	if (rc)
		return rc;
	j->joins = target->joins;
	target->joins = j;
	*out = j;
	return 0;
}

static int rejoin(struct skep_engine *e, struct prog *target)
{
	struct prog *now = NULL;
	int rc = target->extensions ? find_or_make(e, target, &now) : 0;

	if (rc)
		return rc;
	if (now && target->code.jit && !now->code.jit) /* compiled code jumps to it */
		return -EOPNOTSUPP;
	__atomic_store_n(&target->joined, now, __ATOMIC_RELEASE);
	if (!now)
		now = target;
	__atomic_store_n(&target->target.entry,
			 now->code.jit ? jit_target_entry(now->code.jit) : NULL, __ATOMIC_RELEASE);
	return 0;
}

/* ---- coming and going -------------------------------------------------------------------------- */

int vm_extend_add(struct skep_engine *e, struct prog *target, unsigned func, struct prog *by)
{
	struct extension *x = calloc(1, sizeof(*x));
	int rc = -EBUSY;

	if (!x)
		return -ENOMEM;
	pthread_mutex_lock(&e->attach_lock);
	if (!replaces(target->extensions, func)) {
		*x = (struct extension){func, by, by->obj.id, target->extensions};
		target->extensions = x;
		rc = rejoin(e, target);
		if (rc)
			target->extensions = x->next;
	}
	pthread_mutex_unlock(&e->attach_lock);
	if (rc)
		free(x);
	return rc;
}

void vm_extend_remove(struct skep_engine *e, struct prog *target, unsigned func)
{
	struct extension **at, *x;

	pthread_mutex_lock(&e->attach_lock);
	for (at = &target->extensions; *at && (*at)->func != func; at = &(*at)->next)
		;
	x = *at;
	if (x)
		*at = x->next;
	rejoin(e, target); /* J4 */
	pthread_mutex_unlock(&e->attach_lock);
	free(x);
}

void vm_extend_free(struct skep_engine *e, struct prog *p)
{
	struct prog *j = p->of ? NULL : p->joins;

	forget(take(p->extensions));
	while (j) {
		struct prog *next = j->joins;

		vm_prog_free(e, j);
		j = next;
	}
}
