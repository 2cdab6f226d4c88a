// SPDX-License-Identifier: Apache-2.0
/*
 * x86.c: the x86-64 machine: functions, jumps, and who lowers what.
 *
 * A function's frame, from high to low:
 *
 *	return address | those of rbx r13 r14 r15 that it writes | rbp | BPF stack | loop counter
 *	                                                           ^ rbp = r10
 *
 * rbp is set only where r10 occurs; what a leaf needs and fits is left below rsp.
 */
#ifdef __x86_64__
#include <cpuid.h>
#include <pthread.h>

#include "jit/x86.h"

const uint8_t x86_reg[ISA_REGS + 1] = {RAX, RDI, RSI, RDX, RCX, R8, RBX, R13, R14, R15, RBP, T1};

bool x86_bmi2, x86_movbe;

static void look(void)
{
	unsigned a, b, c, d;

	if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
		x86_bmi2 = b & bit_BMI2;
	if (__get_cpuid(1, &a, &b, &c, &d))
		x86_movbe = c & bit_MOVBE;
}

/* Once: under a hypervisor CPUID takes longer than a program. */
int jit_machine_init(struct skep_err *err maybe_unused)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	return -pthread_once(&once, look);
}

/* uint64_t jit_call(run, func, r1, r2, r3, r4, r5): with jit_enter() the only code that sets the run register. */
__asm__(".text\n"
	".globl jit_call\n"
	".type jit_call, @function\n"
	"jit_call:\n"
	"	push %r12\n"
	"	mov %rdi, %r12\n"
	"	mov %rsi, %rax\n"
	"	mov %rdx, %rdi\n"
	"	mov %rcx, %rsi\n"
	"	mov %r8, %rdx\n"
	"	mov %r9, %rcx\n"
	"	mov 16(%rsp), %r8\n"
	"	call *%rax\n"
	"	pop %r12\n"
	"	ret\n"
	".size jit_call, . - jit_call\n"
	/* uint64_t jit_enter(code, run, r1), whose first member is where to */
	".globl jit_enter\n"
	".type jit_enter, @function\n"
	"jit_enter:\n"
	"	push %r12\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %r12\n"
	"	mov %rdx, %rdi\n"
	"	xor %esi, %esi\n"
	"	xor %edx, %edx\n"
	"	xor %ecx, %ecx\n"
	"	xor %r8d, %r8d\n"
	"	call *(%rax)\n"
	"	pop %r12\n"
	"	ret\n"
	".size jit_enter, . - jit_enter\n");

/* ---- functions ---------------------------------------------------------------------------------- */

static const uint8_t kept[] = {6, 7, 8, 9};

#define RED_ZONE 128

static bool framed(const struct jit_func *f)
{
	return f->regs & 1 << 10 || f->may_goto;
}

/* Bytes that rsp goes down behind the saved registers. */
static unsigned frame_size(const struct jit_func *f)
{
	unsigned size = ((unsigned)f->depth + 7u) & ~7u, saved = framed(f), i;

	if (f->may_goto)
		size += 8;
	if (!f->calls)
		return size > RED_ZONE ? size : 0;
	for (i = 0; i < array_size(kept); i++)
		saved += f->regs >> kept[i] & 1;
	return size + (8 + 8 * saved + size) % 16;
}

static void push(struct jit_build *b, unsigned reg)
{
	x86_op(b, 0x50 | (reg & 7), 0, 0, reg);
}

static void pop(struct jit_build *b, unsigned reg)
{
	x86_op(b, 0x58 | (reg & 7), 0, 0, reg);
}

void jit_lower_func(struct jit_build *b, const struct jit_func *f)
{
	unsigned size = frame_size(f), i;

	for (i = 0; i < array_size(kept); i++)
		if (f->regs & 1 << kept[i])
			push(b, x86_reg[kept[i]]);
	if (framed(f)) {
		push(b, RBP);
		x86_mov(b, true, RBP, RSP);
	}
	if (size)
		x86_group1(b, true, 5, RSP, (int32_t)size);
	if (f->may_goto) {
		b->slot = -(int32_t)(((unsigned)f->depth + 7u) & ~7u) - 8;
		x86_rm(b, 0xc7, 0, RBP, b->slot);
		x86_4(b, ISA_LOOPS_MAX);
	}
}

/* All but the return. */
void x86_epilogue(struct jit_build *b, const struct jit_func *f)
{
	unsigned size = frame_size(f), i;

	if (framed(f) && size)
		x86_1(b, 0xc9); /* leave */
	else if (framed(f))
		pop(b, RBP);
	else if (size)
		x86_group1(b, true, 0, RSP, (int32_t)size);
	for (i = array_size(kept); i-- > 0;)
		if (f->regs & 1 << kept[i])
			pop(b, x86_reg[kept[i]]);
}

/* ---- constants ---------------------------------------------------------------------------------- */

static uint64_t next_random(struct jit_build *b)
{
	b->random = b->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return b->random ^ b->random >> 29;
}

unsigned x86_hidden(struct jit_build *b, uint64_t v)
{
	uint64_t r = next_random(b);

	if (v == (uint64_t)(int32_t)v) {
		r = (uint64_t)(int32_t)r;
		x86_imm(b, T1, v ^ r);
		x86_group1(b, true, 6, T1, (int32_t)r);
		return T1;
	}
	x86_imm(b, T1, v ^ r);
	x86_imm(b, T0, r);
	x86_rr(b, X_XOR | X_W, T0, T1);
	return T1;
}

void jit_put_constant(struct jit_build *b, unsigned reg, uint64_t v)
{
	if (b->in->blind)
		x86_mov(b, true, x86_reg[reg], x86_hidden(b, v));
	else
		x86_imm(b, x86_reg[reg], v);
}

void jit_put_func(struct jit_build *b, unsigned reg, unsigned func)
{
	struct jit_site *s = jit_site_add(b, JIT_SITE_FUNC, 7);

	s->cc = x86_reg[reg];
	s->to = func;
}

/* ---- jumps -------------------------------------------------------------------------------------- */

/* By the upper half of the opcode; JSET's and those of no condition apart. */
static const uint8_t condition[16] = {
	[1] = CC_E,  [2] = CC_A,  [3] = CC_AE,	[4] = CC_NE, [5] = CC_NE,  [6] = CC_G,
	[7] = CC_GE, [10] = CC_B, [11] = CC_BE, [12] = CC_L, [13] = CC_LE,
};

void x86_jump(struct jit_build *b, unsigned cc, unsigned to)
{
	struct jit_site *s = jit_site_add(b, JIT_SITE_JUMP, cc == JIT_ALWAYS ? 5 : 6);

	s->cc = (uint8_t)cc;
	s->to = to;
}

/* Sets the flags for the comparison of a K form. */
static void compare_imm(struct jit_build *b, bool wide, unsigned alu, unsigned d, int32_t imm,
			bool known)
{
	if (alu == 4) {
		if (imm >= 0 && imm <= 0xff) { /* the byte is enough */
			x86_rr(b, 0xf6 | X_BRM, 0, d);
			x86_1(b, (uint8_t)imm);
		} else {
			x86_rr(b, 0xf7 | W(wide && imm < 0), 0, d);
			x86_4(b, (uint32_t)imm);
		}
	} else if (imm == 0 && (alu == 1 || alu == 5)) {
		if (!known)
			x86_rr(b, X_TEST | W(wide), d, d);
	} else if (imm == 0) {
		x86_rr(b, X_TEST | W(wide), d, d);
	} else {
		x86_group1(b, wide, 7, d, imm);
	}
}

/*
 * The flags are set: move unless @cc. A 32-bit cmov clears the upper half even where it moves nothing.
 * What comes next is a target of the jump or never runs, so nobody asks for the upper half (J6).
 */
static void move_unless(struct jit_build *b, unsigned cc, const struct isa_insn *m)
{
	bool narrow = m->op == ISA_MOV32_X;
	unsigned s = x86_reg[m->src];

	if (narrow && !jit_upper_clear(b, b->pc, m->src)) {
		x86_mov(b, false, T0, s);
		s = T0;
	}
	x86_rr(b, X_CMOV | (cc ^ 1) | X_W, x86_reg[m->dst], s);
}

/* Returns the condition under which @i jumps. */
static unsigned compare(struct jit_build *b, const struct isa_insn *i, uint8_t flags)
{
	uint8_t code = jit_codes[i->op];
	unsigned alu = JIT_ALU(code), d = x86_reg[i->dst], s = x86_reg[i->src];
	bool wide = JIT_CLASS(code) == JIT_JMP;

	if (!JIT_SRC_X(code) && b->in->blind)
		s = x86_hidden(b, (uint64_t)(int64_t)i->imm);
	if (JIT_SRC_X(code) || b->in->blind)
		x86_rr(b, (alu == 4 ? X_TEST : X_CMP) | W(wide), s, d);
	else
		compare_imm(b, wide, alu, d, i->imm, b->flag_was == flags);
	return condition[alu];
}

/* Greater turned into less, which needs one flag less: a cmov by two has twice the latency. */
static unsigned compare_for_move(struct jit_build *b, const struct isa_insn *i, uint8_t flags)
{
	unsigned cc = condition[JIT_ALU(jit_codes[i->op])];

	if (!JIT_SRC_X(jit_codes[i->op]) ||
	    (cc != CC_A && cc != CC_BE && cc != CC_G && cc != CC_LE))
		return compare(b, i, flags);
	x86_rr(b, X_CMP | W(JIT_CLASS(jit_codes[i->op]) == JIT_JMP), x86_reg[i->dst],
	       x86_reg[i->src]);
	return cc == CC_A ? CC_B : cc == CC_BE ? CC_AE : cc == CC_G ? CC_L : CC_GE;
}

void jit_put_branch(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op], flags = (uint8_t)(i->dst + 1);
	unsigned alu = JIT_ALU(code), cc;
	const struct isa_insn *n = jit_skipped_move(b, i);

	if (JIT_CLASS(code) == JIT_JMP32)
		flags |= 0x80;
	if (n) {
		b->next++;
		move_unless(b, compare_for_move(b, i, flags), n);
		return;
	}
	cc = compare(b, i, flags);
	if (jit_skips_goto(b, i)) {
		b->next++;
		x86_jump(b, cc ^ 1, jit_jump_target(b, b->pc + 1, i + 1));
	} else {
		x86_jump(b, cc, jit_jump_target(b, b->pc, i));
	}
	if (!b->in->blind && !JIT_SRC_X(code) && i->imm == 0 && (alu == 1 || alu == 5))
		b->flag_of = flags;
}

void jit_put_jump(struct jit_build *b, unsigned to)
{
	x86_jump(b, JIT_ALWAYS, to);
}

void jit_put_may_goto(struct jit_build *b, const struct isa_insn *i)
{
	x86_rm(b, 0x83, 7, RBP, b->slot);
	x86_1(b, 0);
	x86_jump(b, CC_E, jit_jump_target(b, b->pc, i));
	x86_rm(b, 0xff, 1, RBP, b->slot);
}

void jit_put_exit(struct jit_build *b)
{
	x86_epilogue(b, b->func);
	x86_1(b, 0xc3);
}

#endif
