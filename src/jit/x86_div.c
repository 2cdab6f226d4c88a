// SPDX-License-Identifier: Apache-2.0
/*
 * x86_div.c: division and remainder.
 *
 * x / 0 is 0 and x % 0 is x; INT_MIN / -1 is INT_MIN and INT_MIN % -1 is 0. By a constant: the
 * upper half of a product (Granlund and Montgomery 1994; for 32 bits unsigned the reciprocal has 64, so
 * no correction is ever needed).
 */
#ifdef __x86_64__
#include "jit/x86.h"

struct division {
	bool wide, sign, mod;
	unsigned d;
};

/* rax and rdx are the machine's; whose they are gets them back. */
static void save(struct jit_build *b, unsigned d)
{
	if (d != RAX)
		x86_mov(b, true, T1, RAX);
	if (d != RDX)
		x86_mov(b, true, T2, RDX);
}

static void restore(struct jit_build *b, unsigned d)
{
	if (d != RAX)
		x86_mov(b, true, RAX, T1);
	if (d != RDX)
		x86_mov(b, true, RDX, T2);
}

/* By what is in T0 and neither 0 nor, signed, -1. */
static void divide(struct jit_build *b, const struct division *v)
{
	unsigned result = v->mod ? RDX : RAX;

	save(b, v->d);
	if (v->d != RAX)
		x86_mov(b, v->wide, RAX, v->d);
	if (v->sign)
		x86_op(b, 0x99 | W(v->wide), 0, 0, 0);
	else
		x86_rr(b, X_XOR, RDX, RDX);
	x86_rr(b, 0xf7 | W(v->wide), v->sign ? 7 : 6, T0);
	if (v->d != result)
		x86_mov(b, v->wide, v->d, result);
	restore(b, v->d);
}

static void by_zero(struct jit_build *b, const struct division *v)
{
	if (!v->mod)
		x86_rr(b, X_XOR, v->d, v->d);
	else if (!v->wide)
		x86_mov(b, false, v->d, v->d);
}

static void by_minus_one(struct jit_build *b, const struct division *v)
{
	if (v->mod)
		x86_rr(b, X_XOR, v->d, v->d);
	else
		x86_rr(b, 0xf7 | W(v->wide), 3, v->d);
}

static void by_reg(struct jit_build *b, const struct division *v, unsigned s)
{
	uint8_t *zero, *minus = NULL, *done, *done_zero = NULL;

	if (s != T0)
		x86_mov(b, v->wide, T0, s);
	x86_rr(b, X_TEST | W(v->wide), T0, T0);
	zero = x86_skip(b, CC_E);
	if (v->sign) {
		x86_group1(b, v->wide, 7, T0, -1);
		minus = x86_skip(b, CC_E);
	}
	divide(b, v);
	done = x86_skip(b, JIT_ALWAYS);
	x86_land(b, zero);
	by_zero(b, v);
	if (v->sign) {
		done_zero = x86_skip(b, JIT_ALWAYS);
		x86_land(b, minus);
		by_minus_one(b, v);
		x86_land(b, done_zero);
	}
	x86_land(b, done);
}

/* d -= T0 * imm, or d = T0 */
static void deliver(struct jit_build *b, const struct division *v, int32_t imm)
{
	if (!v->mod) {
		x86_mov(b, v->wide, v->d, T0);
		return;
	}
	x86_rr(b, 0x69 | W(v->wide), T0, T0);
	x86_4(b, (uint32_t)imm);
	x86_rr(b, X_SUB | W(v->wide), T0, v->d);
}

static void by_power(struct jit_build *b, const struct division *v, uint64_t by)
{
	unsigned shift = (unsigned)__builtin_ctzll(by);

	if (!v->mod && shift)
		x86_shift(b, v->wide, 5, v->d, shift);
	else if (!v->mod && !v->wide)
		x86_mov(b, false, v->d, v->d);
	else if (v->mod && by == 1ull << 31)
		x86_group1(b, false, 4, v->d, 0x7fffffff);
	else if (v->mod)
		x86_group1(b, false, 4, v->d, (int32_t)(by - 1));
}

/* T0 = the upper half of d * T0; leaves d in rdx until mulx_end(). */
static void mulx_high(struct jit_build *b, const struct division *v)
{
	if (v->d != RDX) {
		x86_mov(b, true, T2, RDX);
		x86_mov(b, v->wide, RDX, v->d);
	} else if (!v->wide && !jit_upper_clear(b, b->pc, 3)) {
		x86_mov(b, false, RDX, RDX);
	}
	x86_vex(b, true, 2, 3, 0xf6, T0, T1, T0);
}

static void mulx_end(struct jit_build *b, const struct division *v)
{
	if (v->d != RDX)
		x86_mov(b, true, RDX, T2);
}

static void by_constant32(struct jit_build *b, const struct division *v, uint32_t by)
{
	x86_imm(b, T0, UINT64_MAX / by + 1);
	mulx_high(b, v);
	mulx_end(b, v);
	deliver(b, v, (int32_t)by);
}

static void by_constant64(struct jit_build *b, const struct division *v, uint64_t by)
{
	unsigned shift = 63 - (unsigned)__builtin_clzll(by);
	unsigned __int128 top = (unsigned __int128)1 << (64 + shift);
	uint64_t factor = (uint64_t)(top / by), rest = (uint64_t)(top % by);
	bool add = by - rest >= 1ull << shift;

	if (add) {
		uint64_t twice = rest + rest;

		factor = factor + factor + (twice >= by || twice < rest);
	}
	x86_imm(b, T0, factor + 1);
	mulx_high(b, v);
	if (add) {
		x86_mov(b, true, T1, RDX);
		x86_rr(b, X_SUB | X_W, T0, T1);
		x86_shift(b, true, 5, T1, 1);
		x86_rr(b, X_ADD | X_W, T1, T0);
	}
	x86_shift(b, true, 5, T0, shift);
	mulx_end(b, v);
	deliver(b, v, (int32_t)by);
}

/* 2 to the (bits - 1 + log) over @by, rounded up; log: the bits of by - 1, at least 1. */
static uint64_t signed_factor(unsigned bits, uint64_t by, unsigned *log)
{
	*log = by == 2 ? 1 : 64 - (unsigned)__builtin_clzll(by - 1);
	return (uint64_t)(((unsigned __int128)1 << (bits - 1 + *log)) / by) + 1;
}

/* Rounds towards 0: what lies below it is one too little. */
static void by_signed32(struct jit_build *b, const struct division *v, int32_t imm)
{
	unsigned log;
	uint64_t factor = signed_factor(32, imm < 0 ? -(int64_t)imm : imm, &log);

	x86_rr(b, X_MOVSXD | X_W, T1, v->d);
	x86_imm(b, T0, factor);
	x86_rr(b, X_IMUL | X_W, T0, T1);
	x86_shift(b, true, 7, T0, 31 + log);
	x86_shift(b, true, 7, T1, 63);
	x86_rr(b, X_SUB | X_W, T1, T0);
	if (imm < 0)
		x86_rr(b, 0xf7, 3, T0);
	deliver(b, v, imm);
}

static void by_signed64(struct jit_build *b, const struct division *v, int32_t imm)
{
	unsigned log;
	uint64_t factor = signed_factor(64, imm < 0 ? -(int64_t)imm : imm, &log);

	x86_mov(b, true, T2, RDX);
	if (v->d != RDX)
		x86_mov(b, true, RDX, v->d);
	x86_imm(b, T0, factor);
	x86_vex(b, true, 2, 3, 0xf6, T0, T1, T0); /* as if unsigned: too much by the factor */
	x86_shift(b, true, 7, RDX, 63);
	x86_imm(b, T1, factor);
	x86_rr(b, X_AND | X_W, RDX, T1);
	x86_rr(b, X_SUB | X_W, T1, T0);
	if (log > 1)
		x86_shift(b, true, 7, T0, log - 1);
	x86_rr(b, X_SUB | X_W, RDX, T0);
	if (imm < 0)
		x86_rr(b, 0xf7 | X_W, 3, T0);
	x86_mov(b, true, RDX, T2);
	deliver(b, v, imm);
}

static void by_one(struct jit_build *b, const struct division *v)
{
	if (v->mod)
		x86_rr(b, X_XOR, v->d, v->d);
	else if (!v->wide)
		x86_mov(b, false, v->d, v->d);
}

static void by_signed(struct jit_build *b, const struct division *v, int32_t imm)
{
	if (imm == -1)
		by_minus_one(b, v);
	else if (imm == 1)
		by_one(b, v);
	else if (!v->wide)
		by_signed32(b, v, imm);
	else
		by_signed64(b, v, imm);
}

static void by_imm(struct jit_build *b, const struct division *v, int32_t imm)
{
	uint64_t by = v->wide ? (uint64_t)(int64_t)imm : (uint32_t)imm;

	if (!imm) {
		by_zero(b, v);
	} else if (v->sign && (x86_bmi2 || imm == -1)) {
		by_signed(b, v, imm);
	} else if (!v->sign && !(by & (by - 1)) && by <= 1ull << 31) {
		by_power(b, v, by);
	} else if (v->sign || imm < 0 || !x86_bmi2) {
		x86_imm(b, T0, by);
		divide(b, v);
	} else if (v->wide) {
		by_constant64(b, v, by);
	} else {
		by_constant32(b, v, (uint32_t)by);
	}
}

void jit_put_divide(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	struct division v = {
		.wide = JIT_CLASS(code) == JIT_ALU64,
		.sign = i->op >= ISA_SDIV64_X && i->op <= ISA_SMOD32_K,
		.mod = JIT_ALU(code) == 9,
		.d = x86_reg[i->dst],
	};

	if (JIT_SRC_X(code))
		by_reg(b, &v, x86_reg[i->src]);
	else if (b->in->blind)
		by_reg(b, &v, x86_hidden(b, (uint64_t)(int64_t)i->imm));
	else
		by_imm(b, &v, i->imm);
}

#endif
