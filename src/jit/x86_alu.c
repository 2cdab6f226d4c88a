// SPDX-License-Identifier: Apache-2.0
/* x86_alu.c: arithmetic but division, and what a move and the operation behind it become together. */
#ifdef __x86_64__
#include "jit/x86.h"

enum alu {
	ADD,
	SUB,
	MUL,
	OR = 4,
	AND,
	LSH,
	RSH,
	NEG,
	XOR = 10,
	MOV,
	ARSH,
	END,
};

static void sets_flags(struct jit_build *b, const struct isa_insn *i, bool wide)
{
	b->flag_of = (uint8_t)(i->dst + 1) | (wide ? 0 : 0x80);
}

static void consume(struct jit_build *b, const struct isa_insn *n)
{
	b->next = (unsigned)(n - b->insns) + 1;
}

/* ---- shifts ------------------------------------------------------------------------------------- */

static unsigned shift_op(unsigned alu)
{
	return alu == LSH ? 4 : alu == RSH ? 5 : 7;
}

/* d = v shifted by s */
static void shift_bmi2(struct jit_build *b, bool wide, unsigned alu, unsigned d, unsigned v,
		       unsigned s)
{
	x86_vex(b, wide, 2, alu == LSH ? 1 : alu == RSH ? 3 : 2, 0xf7, d, s, v);
}

static void shift_by_reg(struct jit_build *b, bool wide, unsigned alu, unsigned d, unsigned s)
{
	if (x86_bmi2) {
		shift_bmi2(b, wide, alu, d, d, s);
		return;
	}
	x86_mov(b, true, T0, d);
	x86_mov(b, true, T1, RCX);
	if (s != RCX)
		x86_mov(b, true, RCX, s);
	x86_rr(b, 0xd3 | W(wide), shift_op(alu), T0);
	x86_mov(b, true, RCX, T1);
	x86_mov(b, wide, d, T0);
}

/* d = the low @bits of s, zero- or sign-extended to 64 bits */
static void extend(struct jit_build *b, bool sign, unsigned bits, unsigned d, unsigned s)
{
	if (bits == 8)
		x86_rr(b, (sign ? X_MOVSX8 | X_W : X_MOVZX8) | X_BRM, d, s);
	else if (bits == 16)
		x86_rr(b, sign ? X_MOVSX16 | X_W : X_MOVZX16, d, s);
	else if (sign)
		x86_rr(b, X_MOVSXD | X_W, d, s);
	else
		x86_mov(b, false, d, s);
}

/* Left and back right by as much: the low bits. Both stand in @i and @n. */
static bool extends(const struct isa_insn *i, const struct isa_insn *n)
{
	return n && i->op == ISA_LSH64_K && n->dst == i->dst && n->imm == i->imm &&
	       (n->op == ISA_RSH64_K || n->op == ISA_ARSH64_K) &&
	       (i->imm == 32 || i->imm == 48 || i->imm == 56);
}

static void shift_by_imm(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned alu)
{
	unsigned by = (unsigned)i->imm & (wide ? 63 : 31), d = x86_reg[i->dst];
	const struct isa_insn *n = jit_follow(b);

	if (extends(i, n)) {
		extend(b, n->op == ISA_ARSH64_K, 64 - by, d, d);
		consume(b, n);
	} else if (by) {
		x86_shift(b, wide, shift_op(alu), d, by);
		sets_flags(b, i, wide);
	} else if (!wide) {
		x86_mov(b, false, d, d);
	}
}

/* ---- byte order --------------------------------------------------------------------------------- */

static void swap(struct jit_build *b, bool wide, unsigned d)
{
	x86_op(b, X_0F | 0xc8 | (d & 7) | W(wide), 0, 0, d);
}

static void lower_end(struct jit_build *b, const struct isa_insn *i)
{
	unsigned d = x86_reg[i->dst];

	switch (i->op) {
	case ISA_LE16:
		extend(b, false, 16, d, d);
		break;
	case ISA_LE32:
		x86_mov(b, false, d, d);
		break;
	case ISA_LE64:
		break;
	case ISA_BE16:
	case ISA_BSWAP16:
		x86_rr(b, 0xc1 | X_66, 0, d);
		x86_1(b, 8);
		extend(b, false, 16, d, d);
		break;
	default:
		swap(b, i->op == ISA_BE64 || i->op == ISA_BSWAP64, d);
	}
}

/* ---- moves -------------------------------------------------------------------------------------- */

static bool add_to_copy(struct jit_build *b, const struct isa_insn *i, const struct isa_insn *n,
			bool wide)
{
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src];
	int64_t imm = JIT_ALU(jit_codes[n->op]) == SUB ? -(int64_t)n->imm : n->imm;

	if (JIT_SRC_X(jit_codes[n->op])) {
		unsigned x = n->src == i->dst ? s : x86_reg[n->src];

		if (JIT_ALU(jit_codes[n->op]) == SUB)
			return false;
		consume(b, n);
		if (!wide || !x86_load_indexed(b, jit_follow(b), i->dst, s, x))
			x86_rx(b, X_LEA | W(wide), d, s, x, 0, 0);
		return true;
	}
	if (imm != (int32_t)imm || b->in->blind)
		return false;
	x86_rm(b, X_LEA | W(wide), d, s, (int32_t)imm);
	return true;
}

static bool shift_copy(struct jit_build *b, const struct isa_insn *i, const struct isa_insn *n,
		       bool wide)
{
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src], bits = wide ? 64 : 32;
	const struct isa_insn *back;

	if (!x86_bmi2)
		return false;
	if (n->op == JIT_ROL64 || n->op == JIT_ROL32) {
		x86_vex(b, wide, 3, 3, 0xf0, d, 0, s);
		x86_1(b, bits - (unsigned)n->imm);
		return true;
	}
	if (JIT_SRC_X(jit_codes[n->op]) && n->src != i->dst) {
		shift_bmi2(b, wide, JIT_ALU(jit_codes[n->op]), d, s, x86_reg[n->src]);
		return true;
	}
	if (n->op != ISA_LSH64_K)
		return false;
	consume(b, n);
	back = jit_follow(b);
	if (extends(n, back)) {
		extend(b, back->op == ISA_ARSH64_K, 64 - (unsigned)n->imm, d, s);
		consume(b, back);
		return true;
	}
	b->next = b->pc + 1;
	return false;
}

/* dst = src, and the operation behind it on dst: one instruction? */
static bool fuse_copy(struct jit_build *b, const struct isa_insn *i, bool wide)
{
	const struct isa_insn *n = jit_follow(b);
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src], next = b->next;
	bool done = false;

	if (!n || n->dst != i->dst || i->dst == i->src ||
	    JIT_CLASS(jit_codes[n->op]) != (wide ? JIT_ALU64 : JIT_ALU32))
		return false;
	switch (JIT_ALU(jit_codes[n->op])) {
	case ADD:
	case SUB:
		done = add_to_copy(b, i, n, wide);
		break;
	case AND:
		done = !JIT_SRC_X(jit_codes[n->op]) && !b->in->blind &&
		       (n->imm == 0xff || n->imm == 0xffff);
		if (done)
			extend(b, false, n->imm == 0xff ? 8 : 16, d, s);
		break;
	case MUL:
		done = !JIT_SRC_X(jit_codes[n->op]) && !b->in->blind;
		if (done) {
			x86_rr(b, 0x69 | W(wide), d, s);
			x86_4(b, (uint32_t)n->imm);
		}
		break;
	case LSH:
	case RSH:
	case ARSH:
		done = shift_copy(b, i, n, wide);
		break;
	}
	if (done && b->next == next)
		consume(b, n);
	return done;
}

void jit_put_move(struct jit_build *b, const struct isa_insn *i)
{
	bool wide = JIT_CLASS(jit_codes[i->op]) == JIT_ALU64;
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src];

	switch (i->op) {
	case ISA_MOV64_X:
		if (!fuse_copy(b, i, true) && d != s)
			x86_mov(b, true, d, s);
		break;
	case ISA_MOV32_X:
		if (!fuse_copy(b, i, false) && (d != s || !jit_upper_clear(b, b->pc, i->dst)))
			x86_mov(b, false, d, s);
		break;
	case ISA_MOV64_K:
	case ISA_MOV32_K: {
		uint64_t v = wide ? (uint64_t)(int64_t)i->imm : (uint32_t)i->imm;

		if (b->in->blind)
			x86_mov(b, true, d, x86_hidden(b, v));
		else
			x86_imm(b, d, v);
		break;
	}
	case ISA_MOVSX32_8:
		x86_rr(b, X_MOVSX8 | X_BRM, d, s);
		break;
	case ISA_MOVSX32_16:
		x86_rr(b, X_MOVSX16, d, s);
		break;
	default:
		extend(b, true,
		       i->op == ISA_MOVSX64_8	 ? 8
		       : i->op == ISA_MOVSX64_16 ? 16
						 : 32,
		       d, s);
	}
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static const uint8_t simple[16] = {
	[ADD] = X_ADD, [SUB] = X_SUB, [OR] = X_OR, [AND] = X_AND, [XOR] = X_XOR,
};

static bool tests_zero(const struct isa_insn *n, const struct isa_insn *i)
{
	uint8_t alu = n ? JIT_ALU(jit_codes[n->op]) : 0;

	return n && n->dst == i->dst && n->imm == 0 && JIT_CLASS(jit_codes[n->op]) >= JIT_JMP &&
	       JIT_CLASS(jit_codes[n->op]) <= JIT_JMP32 && (alu == 1 || alu == 5);
}

static void simple_imm(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned alu)
{
	unsigned d = x86_reg[i->dst];

	if (b->in->blind) {
		x86_rr(b, simple[alu] | W(wide), x86_hidden(b, (uint64_t)(int64_t)i->imm), d);
		return;
	}
	if (alu == AND && (i->imm == 0xff || i->imm == 0xffff) && !tests_zero(jit_follow(b), i)) {
		extend(b, false, i->imm == 0xff ? 8 : 16, d, d);
		return;
	}
	/* A mask of the low half clears the upper one. */
	x86_group1(b, wide && !(alu == AND && i->imm >= 0), simple[alu] >> 3, d, i->imm);
	sets_flags(b, i, wide);
}

static void lower_mul(struct jit_build *b, const struct isa_insn *i, bool wide)
{
	unsigned d = x86_reg[i->dst];

	if (JIT_SRC_X(jit_codes[i->op])) {
		x86_rr(b, X_IMUL | W(wide), d, x86_reg[i->src]);
	} else if (b->in->blind) {
		x86_rr(b, X_IMUL | W(wide), d, x86_hidden(b, (uint64_t)(int64_t)i->imm));
	} else if (i->imm == (int8_t)i->imm) {
		x86_rr(b, 0x6b | W(wide), d, d);
		x86_1(b, (uint8_t)i->imm);
	} else {
		x86_rr(b, 0x69 | W(wide), d, d);
		x86_4(b, (uint32_t)i->imm);
	}
}

static void lower_shift(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned alu)
{
	if (i->op == JIT_ROL64 || i->op == JIT_ROL32)
		x86_shift(b, wide, 0, x86_reg[i->dst], (unsigned)i->imm);
	else if (JIT_SRC_X(jit_codes[i->op]))
		shift_by_reg(b, wide, alu, x86_reg[i->dst], x86_reg[i->src]);
	else if (b->in->blind)
		shift_by_reg(b, wide, alu, x86_reg[i->dst],
			     x86_hidden(b, (uint64_t)(int64_t)i->imm));
	else
		shift_by_imm(b, i, wide, alu);
}

void jit_put_alu(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	bool wide = JIT_CLASS(code) == JIT_ALU64;
	unsigned alu = JIT_ALU(code);

	switch (alu) {
	case MUL:
		lower_mul(b, i, wide);
		break;
	case LSH:
	case RSH:
	case ARSH:
		lower_shift(b, i, wide, alu);
		break;
	case NEG:
		x86_rr(b, 0xf7 | W(wide), 3, x86_reg[i->dst]);
		sets_flags(b, i, wide);
		break;
	case END:
		lower_end(b, i);
		break;
	default:
		if (!JIT_SRC_X(code)) {
			simple_imm(b, i, wide, alu);
			break;
		}
		if (i->op == ISA_ADD64_X && i->dst != i->src &&
		    x86_load_indexed(b, jit_follow(b), i->dst, x86_reg[i->dst], x86_reg[i->src]))
			break;
		x86_rr(b, simple[alu] | W(wide), x86_reg[i->src], x86_reg[i->dst]);
		sets_flags(b, i, wide);
	}
}

#endif
