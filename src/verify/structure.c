// SPDX-License-Identifier: Apache-2.0
/*
 * structure.c: what can be said of a program without following its values.
 *
 *	insns -> functions (what calls and LDDW_FUNC name) -> jumps and ends -> reach -> operands -> depth
 *
 * V1  Every instruction belongs to one function; control leaves it by calls and exits only.
 * V2  No instruction follows the last: functions end in an exit or a jump.
 * V3  Every instruction can be reached, and the second slot of an LDDW never is.
 * V4  At most ISA_FRAMES functions are active: the graph of calls has no cycle and is no deeper.
 * V5  An instruction that nothing may execute (it writes r10, shifts too far, divides by the constant 0) is a
 *     reason to refuse where it is reached for certain: from the start, over no test. Elsewhere the kernel
 *     may have proved that it is never reached, so it becomes ISA_NEVER, which ends a run with a fault.
 *
 * The order of the checks is the kernel's, so that a program wrong in two ways is refused for the same
 * reason.
 */
#include "verify/verify.h"

#define FUNCS_MAX 256

struct scan {
	struct verify_proof *proof;
	struct isa_insn *insns;
	unsigned n;
	uint8_t *state;	 /* per instruction: bits below */
	uint32_t *queue; /* of instructions to look at */
	unsigned queued;
	struct skep_err *err;
};

enum { STARTS = 1, REACHED = 2, CERTAIN = 4 };

static void scan_done(struct scan *s)
{
	free(s->state);
	free(s->queue);
	verify_free(s->proof);
}

void verify_free(struct verify_proof *p)
{
	if (!p)
		return;
	free(p->funcs);
	free(p->func_of);
	free(p);
}

static int refuse(const struct scan *s, unsigned pc, const char *why)
{
	return skep_fail(s->err, -EINVAL, "insn %u: %s", pc, why);
}

static bool names_func(const struct isa_insn *i)
{
	return i->op == ISA_CALL_LOCAL || i->op == ISA_LDDW_FUNC;
}

static int64_t func_target(unsigned pc, const struct isa_insn *i)
{
	return (int64_t)pc + i->imm + 1;
}

static int mark_starts(struct scan *s)
{
	int64_t to;

	s->state[0] = STARTS;
	for (unsigned pc = 0; pc < s->n; pc++) {
		if (!names_func(&s->insns[pc]))
			continue;
		to = func_target(pc, &s->insns[pc]);
		if (to < 0 || to >= s->n)
			return refuse(s, pc, "call to invalid destination");
		if (!to && s->insns[pc].op == ISA_LDDW_FUNC)
			return refuse(s, pc, "callback function cannot be the main program");
		s->state[to] |= STARTS;
	}
	return 0;
}

static int list_funcs(struct scan *s)
{
	struct verify_proof *p = s->proof;
	unsigned count = 0, pc;

	for (pc = 0; pc < s->n; pc++)
		count += s->state[pc] & STARTS;
	if (count > FUNCS_MAX)
		return skep_fail(s->err, -E2BIG, "too many subprograms");
	p->funcs = calloc(count, sizeof(*p->funcs));
	if (!p->funcs)
		return -ENOMEM;
	for (pc = 0; pc < s->n; pc++) {
		if (s->state[pc] & STARTS)
			p->funcs[p->n_funcs++].start = pc;
		p->func_of[pc] = p->n_funcs - 1;
		p->funcs[p->n_funcs - 1].end = pc + 1;
	}
	return 0;
}

static void note_facts(struct scan *s)
{
	struct verify_proof *p = s->proof;
	const struct isa_insn *i;

	for (unsigned pc = 0; pc < s->n; pc++) {
		i = &s->insns[pc];
		if (i->op == ISA_CALL && i->imm == BPF_FUNC_tail_call)
			p->funcs[p->func_of[pc]].tail_calls = true;
		else if (i->op == ISA_MAY_GOTO)
			p->funcs[p->func_of[pc]].may_goto = true;
		else if (i->op == ISA_LDDW_FUNC)
			p->funcs[p->func_of[func_target(pc, i)]].callback = true;
	}
}

static bool is_cond(const struct isa_insn *i)
{
	return (i->op >= ISA_JEQ64_X && i->op <= ISA_JSLE32_K) || i->op == ISA_MAY_GOTO;
}

static bool is_goto(const struct isa_insn *i)
{
	return i->op == ISA_JA || i->op == ISA_JA32;
}

static int64_t jump_target(unsigned pc, const struct isa_insn *i)
{
	return (int64_t)pc + 1 + (i->op == ISA_JA32 ? i->imm : i->off);
}

static int check_jumps(const struct scan *s)
{
	const struct verify_func *f;
	const struct isa_insn *i;
	int64_t to;

	for (unsigned pc = 0; pc < s->n; pc++) {
		i = &s->insns[pc];
		f = &s->proof->funcs[s->proof->func_of[pc]];
		to = jump_target(pc, i);
		if ((is_cond(i) || is_goto(i)) && (to < f->start || to >= f->end))
			return skep_fail(s->err, -EINVAL, "jump out of range from insn %u to %lld",
					 pc, (long long)to);
		if (pc + 1 == f->end && i->op != ISA_EXIT && !is_goto(i))
			return refuse(s, pc, "last insn is not an exit or jmp");
	}
	return 0;
}

static void reach(struct scan *s, int64_t pc)
{
	if (s->state[pc] & REACHED)
		return;
	s->state[pc] |= REACHED;
	s->queue[s->queued++] = (uint32_t)pc;
}

static void follow(struct scan *s, unsigned pc)
{
	const struct isa_insn *i = &s->insns[pc];

	if (names_func(i))
		reach(s, func_target(pc, i));
	if (is_cond(i) || is_goto(i))
		reach(s, jump_target(pc, i));
	if (i->op != ISA_EXIT && !is_goto(i))
		reach(s, pc + 1 + (s->insns[pc + 1].op == ISA_NONE));
}

/* V3. Following cannot leave the program: check_jumps() was there. */
static int check_reach(struct scan *s)
{
	reach(s, 0);
	while (s->queued)
		follow(s, s->queue[--s->queued]);
	for (unsigned pc = 0; pc < s->n; pc++) {
		if (s->insns[pc].op != ISA_NONE && !(s->state[pc] & REACHED))
			return skep_fail(s->err, -EINVAL, "unreachable insn %u", pc);
		if (s->insns[pc].op == ISA_NONE && s->state[pc])
			return skep_fail(s->err, -EINVAL, "jump into the middle of ldimm64 insn %u",
					 pc - 1);
	}
	return 0;
}

static int check_shift(const struct scan *s, unsigned pc, int bits)
{
	if (s->insns[pc].imm >= 0 && s->insns[pc].imm < bits)
		return 0;
	return skep_fail(s->err, -EINVAL, "insn %u: invalid shift %d", pc, s->insns[pc].imm);
}

/* From the start on until the first test or exit; calls are taken to return. */
static void mark_certain(struct scan *s)
{
	const struct isa_insn *i;
	unsigned pc = 0;

	while (!(s->state[pc] & CERTAIN)) {
		i = &s->insns[pc];
		s->state[pc] |= CERTAIN;
		if (is_cond(i) || i->op == ISA_EXIT)
			break;
		pc = is_goto(i) ? (unsigned)jump_target(pc, i)
				: pc + 1 + (s->insns[pc + 1].op == ISA_NONE);
	}
}

static int check_operands(const struct scan *s, unsigned pc)
{
	if (isa_written(&s->insns[pc]) == BPF_REG_10)
		return refuse(s, pc, "frame pointer is read only");
	switch ((enum isa_op)s->insns[pc].op) {
	case ISA_LSH64_K:
	case ISA_RSH64_K:
	case ISA_ARSH64_K:
		return check_shift(s, pc, 64);
	case ISA_LSH32_K:
	case ISA_RSH32_K:
	case ISA_ARSH32_K:
		return check_shift(s, pc, 32);
	case ISA_DIV64_K:
	case ISA_DIV32_K:
	case ISA_MOD64_K:
	case ISA_MOD32_K:
	case ISA_SDIV64_K:
	case ISA_SDIV32_K:
	case ISA_SMOD64_K:
	case ISA_SMOD32_K:
		return s->insns[pc].imm ? 0 : refuse(s, pc, "div by zero");
	default:
		return 0;
	}
}

/* V5 */
static int check_all_operands(struct scan *s)
{
	int rc;

	mark_certain(s);
	for (unsigned pc = 0; pc < s->n; pc++) {
		rc = check_operands(s, pc);
		if (rc && s->state[pc] & CERTAIN)
			return rc;
		if (rc)
			s->insns[pc].op = ISA_NEVER;
	}
	return 0;
}

/* V4. One round per frame: in each the depths of callees grow, unless they are right. */
static int check_depth(const struct scan *s)
{
	const struct verify_proof *p = s->proof;
	uint8_t depth[FUNCS_MAX];
	bool grown = true;
	unsigned from, to;

	memset(depth, 1, sizeof(depth));
	while (grown) {
		grown = false;
		for (unsigned pc = 0; pc < s->n; pc++) {
			if (s->insns[pc].op != ISA_CALL_LOCAL)
				continue;
			from = p->func_of[pc];
			to = p->func_of[func_target(pc, &s->insns[pc])];
			if (depth[to] > depth[from])
				continue;
			depth[to] = depth[from] + 1;
			grown = true;
			if (depth[to] > ISA_FRAMES)
				return skep_fail(s->err, -E2BIG,
						 "the call stack of %u frames is too deep !",
						 depth[to]);
		}
	}
	return 0;
}

static int check(struct scan *s)
{
	int rc = mark_starts(s);

	if (!rc)
		rc = list_funcs(s);
	if (!rc)
		rc = check_jumps(s);
	if (!rc)
		rc = check_reach(s);
	if (!rc)
		rc = check_all_operands(s);
	if (!rc)
		rc = check_depth(s);
	if (!rc)
		note_facts(s);
	return rc;
}

int verify_structure(struct verify_proof **out, struct isa_insn *insns, unsigned n,
		     struct skep_err *err)
{
	cleanup(scan_done) struct scan s = {.insns = insns, .n = n, .err = err};
	int rc;

	if (!n)
		return skep_fail(err, -EINVAL, "a program has at least one instruction");
	s.proof = calloc(1, sizeof(*s.proof));
	if (!s.proof)
		return -ENOMEM;
	s.proof->func_of = calloc(n, sizeof(*s.proof->func_of));
	s.state = calloc(n, sizeof(*s.state));
	s.queue = calloc(n, sizeof(*s.queue));
	if (!s.proof->func_of || !s.state || !s.queue)
		return -ENOMEM;
	rc = check(&s);
	if (!rc)
		*out = take(s.proof);
	return rc;
}

const struct verify_func *verify_func_at(const struct verify_proof *p, unsigned pc)
{
	unsigned lo = 0, hi = p->n_funcs, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (p->funcs[mid].start == pc)
			return &p->funcs[mid];
		if (p->funcs[mid].start < pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}
