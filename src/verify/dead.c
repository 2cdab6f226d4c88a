// SPDX-License-Identifier: Apache-2.0
/*
 * dead.c: which instructions no path reaches, as far as constants tell: numbers, and what is read where
 * nothing can change (a loader's `const volatile` switches).
 *
 * A register is not seen yet, a constant, or anything. Values are joined where paths meet, at the targets of
 * jumps; each can change twice there, so it ends.
 *
 * D1  What is called dead is: wherever a value is not known, all paths are taken.
 */
#include "verify/verify.h"

#define TARGETS_MAX 65536U

enum { UNSEEN, CONSTANT, ANYTHING };

struct value {
	uint64_t v;
	uint8_t is;
};

struct state {
	struct value r[ISA_REGS];
};

struct flow {
	const struct isa_insn *insns;
	unsigned n;
	verify_load *load;
	void *arg;
	bool *dead;
	uint32_t *target; /* by instruction: 1 and more are states */
	struct state *states;
	bool *queued;	 /* by state */
	uint32_t *queue; /* of instructions */
	unsigned n_states, n_queue;
};

static const struct value anything = {0, ANYTHING};

static struct value constant(uint64_t v)
{
	return (struct value){v, CONSTANT};
}

/* ---- one instruction ----------------------------------------------------------------------------- */

static struct value alu(unsigned kind, uint64_t a, uint64_t b, unsigned bits)
{
	switch (kind * 4 + ISA_ADD64_X) {
	case ISA_ADD64_X:
		return constant(a + b);
	case ISA_SUB64_X:
		return constant(a - b);
	case ISA_MUL64_X:
		return constant(a * b);
	case ISA_OR64_X:
		return constant(a | b);
	case ISA_AND64_X:
		return constant(a & b);
	case ISA_XOR64_X:
		return constant(a ^ b);
	case ISA_MOV64_X:
		return constant(b);
	case ISA_LSH64_X:
		return constant(a << (b & (bits - 1)));
	case ISA_RSH64_X:
		return constant(a >> (b & (bits - 1)));
	default:
		return anything;
	}
}

static bool is_alu(const struct isa_insn *i)
{
	return i->op >= ISA_ADD64_X && i->op <= ISA_ARSH32_K;
}

static struct value alu_of(const struct state *s, const struct isa_insn *i)
{
	unsigned kind = (i->op - ISA_ADD64_X) / 4, form = (i->op - ISA_ADD64_X) % 4;
	struct value a = s->r[i->dst],
		     b = form % 2 ? constant((uint64_t)(int64_t)i->imm) : s->r[i->src];
	bool word = form >= 2, moves = kind * 4 + ISA_ADD64_X == ISA_MOV64_X;
	struct value out;

	if ((a.is != CONSTANT && !moves) || b.is != CONSTANT)
		return anything;
	if (word) {
		a.v = (uint32_t)a.v;
		b.v = (uint32_t)b.v;
	}
	out = alu(kind, a.v, b.v, word ? 32 : 64);
	if (word)
		out.v = (uint32_t)out.v;
	return out;
}

static struct value load_of(const struct flow *f, const struct state *s, const struct isa_insn *i)
{
	static const uint8_t sizes[] = {1, 2, 4, 8};
	uint64_t v = 0;

	if (s->r[i->src].is != CONSTANT ||
	    !f->load(f->arg, s->r[i->src].v + (uint64_t)(int64_t)i->off, sizes[i->op - ISA_LDX8],
		     &v))
		return anything;
	return constant(v);
}

static void forget(struct state *s, unsigned from, unsigned to)
{
	for (; from <= to; from++)
		s->r[from] = anything;
}

static void step(const struct flow *f, struct state *s, const struct isa_insn *i)
{
	int dst = isa_written(i);

	if (is_alu(i))
		s->r[i->dst] = alu_of(s, i);
	else if (i->op >= ISA_LDX8 && i->op <= ISA_LDX64)
		s->r[i->dst] = load_of(f, s, i);
	else if (i->op == ISA_LDDW)
		s->r[i->dst] = constant(isa_imm64(i));
	else if (i->op == ISA_CALL || i->op == ISA_CALL_LOCAL || i->op == ISA_CALL_KFUNC ||
		 i->op == ISA_CALL_REG || i->op >= ISA_LD_ABS8)
		forget(s, 0, 5);
	else if (dst >= 0)
		s->r[dst] = anything;
}

/* ---- jumps ----------------------------------------------------------------------------------------- */

static bool is_test(const struct isa_insn *i)
{
	return i->op >= ISA_JEQ64_X && i->op <= ISA_JSLE32_K;
}

static bool holds(unsigned kind, uint64_t a, uint64_t b, int64_t sa, int64_t sb)
{
	switch (kind * 4 + ISA_JEQ64_X) {
	case ISA_JEQ64_X:
		return a == b;
	case ISA_JNE64_X:
		return a != b;
	case ISA_JGT64_X:
		return a > b;
	case ISA_JGE64_X:
		return a >= b;
	case ISA_JLT64_X:
		return a < b;
	case ISA_JLE64_X:
		return a <= b;
	case ISA_JSET64_X:
		return a & b;
	case ISA_JSGT64_X:
		return sa > sb;
	case ISA_JSGE64_X:
		return sa >= sb;
	case ISA_JSLT64_X:
		return sa < sb;
	default:
		return sa <= sb;
	}
}

/* 1: it jumps, 0: it does not, -1: nobody knows. */
static int decided(const struct state *s, const struct isa_insn *i)
{
	unsigned kind = (i->op - ISA_JEQ64_X) / 4, form = (i->op - ISA_JEQ64_X) % 4;
	struct value a = s->r[i->dst],
		     b = form % 2 ? constant((uint64_t)(int64_t)i->imm) : s->r[i->src];

	if (a.is != CONSTANT || b.is != CONSTANT)
		return -1;
	if (form >= 2)
		return holds(kind, (uint32_t)a.v, (uint32_t)b.v, (int32_t)a.v, (int32_t)b.v);
	return holds(kind, a.v, b.v, (int64_t)a.v, (int64_t)b.v);
}

static bool join(struct value *to, const struct value *from)
{
	if (to->is == ANYTHING || from->is == UNSEEN ||
	    (to->is == CONSTANT && from->is == CONSTANT && to->v == from->v))
		return false;
	*to = to->is == UNSEEN ? *from : anything;
	return true;
}

/* A path with @s comes to the target at @pc. */
static void arrive(struct flow *f, unsigned pc, const struct state *s)
{
	uint32_t n = f->target[pc] - 1;
	bool changed = f->dead[pc];
	unsigned i;

	for (i = 0; i < ISA_REGS; i++)
		changed |= join(&f->states[n].r[i], &s->r[i]);
	f->dead[pc] = false;
	if (!changed || f->queued[n])
		return;
	f->queued[n] = true;
	f->queue[f->n_queue++] = pc;
}

static unsigned target_of(unsigned pc, const struct isa_insn *i)
{
	bool by_imm = i->op == ISA_JA32 || i->op == ISA_CALL_LOCAL || i->op == ISA_LDDW_FUNC;

	return (unsigned)((int64_t)pc + 1 + (by_imm ? i->imm : i->off));
}

/* Where the path goes on behind @pc; @n: nowhere. */
static unsigned leave(struct flow *f, struct state *s, unsigned pc)
{
	const struct isa_insn *i = &f->insns[pc];
	struct state callee;
	int which;

	if (i->op == ISA_EXIT)
		return f->n;
	if (i->op == ISA_JA || i->op == ISA_JA32) {
		arrive(f, target_of(pc, i), s);
		return f->n;
	}
	if (is_test(i) || i->op == ISA_MAY_GOTO) {
		which = is_test(i) ? decided(s, i) : -1;
		if (which)
			arrive(f, target_of(pc, i), s);
		return which == 1 ? f->n : pc + 1;
	}
	if (i->op == ISA_CALL_LOCAL || i->op == ISA_LDDW_FUNC) {
		forget(&callee, 0, ISA_REGS - 1);
		arrive(f, target_of(pc, i), &callee);
	}
	step(f, s, i);
	return pc + 1 + (i->op >= ISA_LDDW && i->op < ISA_LD_ABS8);
}

static void walk(struct flow *f, unsigned pc)
{
	struct state s = f->states[f->target[pc] - 1];

	f->queued[f->target[pc] - 1] = false;
	for (;;) {
		f->dead[pc] = false;
		pc = leave(f, &s, pc);
		if (pc >= f->n)
			return;
		if (f->target[pc]) {
			arrive(f, pc, &s);
			return;
		}
	}
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static bool names_target(const struct isa_insn *i)
{
	return is_test(i) || i->op == ISA_JA || i->op == ISA_JA32 || i->op == ISA_MAY_GOTO ||
	       i->op == ISA_CALL_LOCAL || i->op == ISA_LDDW_FUNC;
}

static void number_targets(struct flow *f)
{
	unsigned pc;

	f->target[0] = ++f->n_states;
	for (pc = 0; pc < f->n; pc++) {
		uint32_t *t = names_target(&f->insns[pc]) ? &f->target[target_of(pc, &f->insns[pc])]
							  : NULL;

		if (t && !*t)
			*t = ++f->n_states;
	}
}

static void flow_done(struct flow *f)
{
	free(f->target);
	free(f->states);
	free(f->queued);
	free(f->queue);
}

static int run(struct flow *f)
{
	struct state any;

	f->target = calloc(f->n, sizeof(*f->target));
	if (!f->target)
		return -ENOMEM;
	number_targets(f);
	if (f->n_states > TARGETS_MAX)
		return -E2BIG;
	f->states = calloc(f->n_states, sizeof(*f->states));
	f->queued = calloc(f->n_states, sizeof(*f->queued));
	f->queue = calloc(f->n_states, sizeof(*f->queue));
	if (!f->states || !f->queued || !f->queue)
		return -ENOMEM;
	memset(f->dead, true, f->n);
	forget(&any, 0, ISA_REGS - 1);
	arrive(f, 0, &any);
	while (f->n_queue)
		walk(f, f->queue[--f->n_queue]);
	return 0;
}

int verify_dead(bool *dead, const struct isa_insn *insns, unsigned n, verify_load *load, void *arg)
{
	cleanup(flow_done) struct flow f = {
		.insns = insns, .n = n, .load = load, .arg = arg, .dead = dead};
	int rc = run(&f);

	if (rc)
		memset(dead, false, n); /* D1 */
	return rc == -E2BIG ? 0 : rc;
}
