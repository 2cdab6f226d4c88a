// SPDX-License-Identifier: Apache-2.0
/*
 * arm64.c: the arm64 machine: functions, constants, jumps, and who lowers what.
 *
 * A function's frame, from high to low:
 *
 *	x29 x30 | those of x19 to x22, x24 that it writes, in pairs | BPF stack | loop counter
 *	                                                            ^ x24 = r10
 *
 * x24 is set only where r10 occurs; a leaf does without x29 and x30.
 */
#ifdef __aarch64__
#include <sys/auxv.h>

#include "jit/arm64.h"

#ifndef HWCAP_ATOMICS
#define HWCAP_ATOMICS (1 << 8)
#endif

const uint8_t arm64_reg[ISA_REGS + 1] = {R0, X0, X1, X2, X3, X4, X19, X20, X21, X22, X24, T1};

bool arm64_lse;

int jit_machine_init(struct skep_err *err maybe_unused)
{
	arm64_lse = getauxval(AT_HWCAP) & HWCAP_ATOMICS;
	return 0;
}

/* uint64_t jit_call(run, func, r1, r2, r3, r4, r5): with jit_enter() the only code that sets the run register. */
__asm__(".text\n"
	".globl jit_call\n"
	".type jit_call, %function\n"
	"jit_call:\n"
	"	stp x29, x30, [sp, #-32]!\n"
	"	mov x29, sp\n"
	"	str x23, [sp, #16]\n"
	"	mov x23, x0\n"
	"	mov x9, x1\n"
	"	mov x0, x2\n"
	"	mov x1, x3\n"
	"	mov x2, x4\n"
	"	mov x3, x5\n"
	"	mov x4, x6\n"
	"	blr x9\n"
	"	ldr x23, [sp, #16]\n"
	"	ldp x29, x30, [sp], #32\n"
	"	ret\n"
	".size jit_call, . - jit_call\n"
	/* uint64_t jit_enter(code, run, r1), whose first member is where to */
	".globl jit_enter\n"
	".type jit_enter, %function\n"
	"jit_enter:\n"
	"	stp x29, x30, [sp, #-32]!\n"
	"	mov x29, sp\n"
	"	str x23, [sp, #16]\n"
	"	mov x23, x1\n"
	"	ldr x9, [x0]\n"
	"	mov x0, x2\n"
	"	mov x1, xzr\n"
	"	mov x2, xzr\n"
	"	mov x3, xzr\n"
	"	mov x4, xzr\n"
	"	blr x9\n"
	"	ldr x23, [sp, #16]\n"
	"	ldp x29, x30, [sp], #32\n"
	"	ret\n"
	".size jit_enter, . - jit_enter\n");

/* ---- functions ---------------------------------------------------------------------------------- */

static bool framed(const struct jit_func *f)
{
	return f->regs & 1 << 10 || f->may_goto;
}

static unsigned stack_size(const struct jit_func *f)
{
	return ((unsigned)f->depth + 7u) & ~7u;
}

static unsigned frame_size(const struct jit_func *f)
{
	return (stack_size(f) + (f->may_goto ? 8u : 0) + 15u) & ~15u;
}

/* Return: how many stand in @regs, an even number. */
static unsigned saved(const struct jit_func *f, uint8_t *regs)
{
	unsigned n = 0, r;

	for (r = 6; r < 10; r++)
		if (f->regs & 1 << r)
			regs[n++] = arm64_reg[r];
	if (framed(f))
		regs[n++] = arm64_reg[10];
	if (n & 1)
		regs[n++] = ZR;
	return n;
}

static void push(struct jit_build *b, unsigned first, unsigned second)
{
	a64(b, 0xa9bf0000 | second << 10 | SP << 5 | first);
}

static void pop(struct jit_build *b, unsigned first, unsigned second)
{
	a64(b, 0xa8c10000 | second << 10 | SP << 5 | first);
}

void jit_lower_func(struct jit_build *b, const struct jit_func *f)
{
	unsigned size = frame_size(f), n, i;
	uint8_t regs[6];

	if (f->calls) {
		push(b, FP, LR);
		a64_add_imm(b, true, false, false, FP, SP, 0);
	}
	n = saved(f, regs);
	for (i = 0; i < n; i += 2)
		push(b, regs[i], regs[i + 1]);
	if (framed(f))
		a64_add_imm(b, true, false, false, arm64_reg[10], SP, 0);
	if (size)
		a64_add_imm(b, true, true, false, SP, SP, size);
	if (f->may_goto) {
		b->slot = -(int32_t)stack_size(f) - 8;
		a64_imm(b, T0, ISA_LOOPS_MAX);
		a64_memory(b, A64_STORE, 3, T0, arm64_reg[10], b->slot, T1);
	}
}

/* All but the return; leaves T2 alone. */
void arm64_epilogue(struct jit_build *b, const struct jit_func *f)
{
	uint8_t regs[6];
	unsigned n = saved(f, regs);

	if (frame_size(f))
		a64_add_imm(b, true, false, false, SP, SP, frame_size(f));
	for (; n; n -= 2)
		pop(b, regs[n - 2], regs[n - 1]);
	if (f->calls)
		pop(b, FP, LR);
}

void arm64_return(struct jit_build *b)
{
	arm64_epilogue(b, b->func);
	a64(b, 0xd65f03c0);
}

/* ---- constants ---------------------------------------------------------------------------------- */

static void hidden(struct jit_build *b, unsigned reg, uint64_t v)
{
	uint64_t r;

	b->random = b->random * 6364136223846793005ULL + 1442695040888963407ULL;
	r = b->random ^ b->random >> 29;
	a64_imm(b, reg, v ^ r);
	a64_imm(b, T0, r);
	a64_rrr(b, true, A64_EOR, reg, reg, T0);
}

unsigned arm64_const(struct jit_build *b, uint64_t v)
{
	if (b->in->blind)
		hidden(b, T1, v);
	else if (v)
		a64_imm(b, T1, v);
	else
		return ZR;
	return T1;
}

void jit_put_constant(struct jit_build *b, unsigned reg, uint64_t v)
{
	if (b->in->blind)
		hidden(b, arm64_reg[reg], v);
	else
		a64_imm(b, arm64_reg[reg], v);
}

void jit_put_func(struct jit_build *b, unsigned reg, unsigned func)
{
	struct jit_site *s = jit_site_add(b, JIT_SITE_FUNC, 16);

	s->cc = arm64_reg[reg];
	s->to = func;
}

/* ---- jumps -------------------------------------------------------------------------------------- */

/* By the upper half of the opcode; those of no condition apart. */
static const uint8_t condition[16] = {
	[1] = A64_EQ, [2] = A64_HI,  [3] = A64_HS,  [4] = A64_NE,  [5] = A64_NE,  [6] = A64_GT,
	[7] = A64_GE, [10] = A64_LO, [11] = A64_LS, [12] = A64_LT, [13] = A64_LE,
};

void arm64_jump(struct jit_build *b, unsigned cc, unsigned to)
{
	struct jit_site *s = jit_site_add(b, JIT_SITE_JUMP, cc == JIT_ALWAYS ? 4 : 8);

	s->cc = (uint8_t)cc;
	s->to = to;
}

/* Sets the flags for the comparison of a K form. */
static void compare_imm(struct jit_build *b, bool wide, unsigned alu, unsigned d, int32_t imm)
{
	uint64_t v = wide ? (uint64_t)(int64_t)imm : (uint32_t)imm;
	uint64_t minus = wide ? -v : (uint32_t)-imm;
	uint32_t mask = alu == 4 ? a64_mask(wide, v) : 0;

	if (mask)
		a64(b, a64_width(wide, 0xf2000000) | mask | d << 5 | ZR);
	else if (alu == 4)
		a64_rrr(b, wide, A64_ANDS, ZR, d, arm64_const(b, v));
	else if (a64_fits_add(v))
		a64_add_imm(b, wide, true, true, ZR, d, v);
	else if (a64_fits_add(minus))
		a64_add_imm(b, wide, false, true, ZR, d, minus);
	else
		a64_rrr(b, wide, A64_SUBS, ZR, d, arm64_const(b, v));
}

static void compare(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned alu)
{
	unsigned d = arm64_reg[i->dst], s = arm64_reg[i->src];

	if (!JIT_SRC_X(jit_codes[i->op]) && !b->in->blind) {
		compare_imm(b, wide, alu, d, i->imm);
		return;
	}
	if (!JIT_SRC_X(jit_codes[i->op]))
		s = arm64_const(b, (uint64_t)(int64_t)i->imm);
	a64_rrr(b, wide, alu == 4 ? A64_ANDS : A64_SUBS, ZR, d, s);
}

static void move_unless(struct jit_build *b, unsigned cc, const struct isa_insn *m)
{
	unsigned d = arm64_reg[m->dst], s = arm64_reg[m->src];

	if (m->op == ISA_MOV32_X && !jit_upper_clear(b, b->pc, m->src)) {
		a64_mov(b, false, T0, s);
		s = T0;
	}
	a64_csel(b, true, d, d, s, cc);
}

void jit_put_branch(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	unsigned alu = JIT_ALU(code), cc = condition[alu], not = 1, to;
	bool wide = JIT_CLASS(code) == JIT_JMP;
	const struct isa_insn *n = jit_skipped_move(b, i);

	if (n) {
		compare(b, i, wide, alu);
		b->next++;
		move_unless(b, cc, n);
		return;
	}
	if (!JIT_SRC_X(code) && !i->imm && !b->in->blind && (alu == 1 || alu == 5)) {
		cc = A64_ZERO | (wide ? A64_WIDE : 0) | (alu == 5 ? A64_NOT_ZERO : 0) |
		     arm64_reg[i->dst];
		not = A64_NOT_ZERO;
	} else {
		compare(b, i, wide, alu);
	}
	to = jit_jump_target(b, b->pc, i);
	if (jit_skips_goto(b, i)) {
		b->next++;
		to = jit_jump_target(b, b->pc + 1, i + 1);
		cc ^= not ;
	}
	arm64_jump(b, cc, to);
}

void jit_put_jump(struct jit_build *b, unsigned to)
{
	arm64_jump(b, JIT_ALWAYS, to);
}

void jit_put_may_goto(struct jit_build *b, const struct isa_insn *i)
{
	unsigned fp = arm64_reg[10];

	a64_memory(b, A64_LOAD, 3, T0, fp, b->slot, T1);
	arm64_jump(b, A64_ZERO | A64_WIDE | T0, jit_jump_target(b, b->pc, i));
	a64_add_imm(b, true, true, false, T0, T0, 1);
	a64_memory(b, A64_STORE, 3, T0, fp, b->slot, T1);
}

void jit_put_exit(struct jit_build *b)
{
	a64_mov(b, true, X0, R0);
	arm64_return(b);
}

#endif
