// SPDX-License-Identifier: Apache-2.0
/*
 * arm64_alu.c: arithmetic. What writes 32 bits of a register clears the others, as BPF has it.
 *
 * x / 0 is 0, and INT_MIN / -1 is INT_MIN: the machine divides as BPF does.
 */
#ifdef __aarch64__
#include "jit/arm64.h"

enum alu {
	ADD,
	SUB,
	MUL,
	DIV,
	OR,
	AND,
	LSH,
	RSH,
	NEG,
	MOD,
	XOR,
	MOV,
	ARSH,
	END,
};

static const uint32_t simple[16] = {
	[ADD] = A64_ADD, [SUB] = A64_SUB,  [OR] = A64_ORR,   [AND] = A64_AND,
	[XOR] = A64_EOR, [LSH] = A64_LSLV, [RSH] = A64_LSRV, [ARSH] = A64_ASRV,
};

/* The same of an immediate that a64_mask() can say. */
static const uint32_t masked[16] = {[OR] = 0xb2000000, [AND] = 0x92000000, [XOR] = 0xd2000000};

static void swap(struct jit_build *b, const struct isa_insn *i, unsigned d)
{
	switch (i->op) {
	case ISA_LE16:
		a64_field(b, false, false, d, d, 0, 15);
		break;
	case ISA_LE32:
		a64_mov(b, false, d, d);
		break;
	case ISA_LE64:
		break;
	case ISA_BE16:
	case ISA_BSWAP16:
		a64_rr(b, a64_width(false, A64_REV16), d, d);
		a64_field(b, false, false, d, d, 0, 15);
		break;
	case ISA_BE32:
	case ISA_BSWAP32:
		a64_rr(b, A64_REV32, d, d);
		break;
	default:
		a64_rr(b, A64_REV64, d, d);
	}
}

static void move(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned d, unsigned s)
{
	switch (i->op) {
	case ISA_MOVSX64_8:
	case ISA_MOVSX32_8:
		a64_field(b, wide, true, d, s, 0, 7);
		break;
	case ISA_MOVSX64_16:
	case ISA_MOVSX32_16:
		a64_field(b, wide, true, d, s, 0, 15);
		break;
	case ISA_MOVSX64_32:
		a64_field(b, true, true, d, s, 0, 31);
		break;
	default:
		if (d != s || (!wide && !jit_upper_clear(b, b->pc, i->dst)))
			a64_mov(b, wide, d, s);
	}
}

static bool is_signed(const struct isa_insn *i)
{
	return i->op >= ISA_SDIV64_X && i->op <= ISA_SMOD32_K;
}

static void divide(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned d, unsigned s)
{
	bool mod = JIT_ALU(jit_codes[i->op]) == MOD;

	a64_rrr(b, wide, is_signed(i) ? A64_SDIV : A64_UDIV, mod ? T0 : d, d, s);
	if (mod)
		a64_mul(b, wide, A64_MSUB, d, T0, s, d);
}

/* By a power of two, unsigned. */
static void divide_shift(struct jit_build *b, unsigned alu, bool wide, unsigned d, uint64_t by)
{
	unsigned shift = (unsigned)__builtin_ctzll(by);

	if (alu == DIV)
		a64_lsr(b, wide, false, d, d, shift);
	else if (shift)
		a64_field(b, wide, false, d, d, 0, shift - 1);
	else
		a64_mov(b, wide, d, ZR);
}

static void shift_imm(struct jit_build *b, unsigned alu, bool wide, unsigned d, unsigned by)
{
	if (alu == LSH)
		a64_lsl(b, wide, d, d, by);
	else
		a64_lsr(b, wide, alu == ARSH, d, d, by);
}

/* Whether @v went into the instruction itself. */
static bool with_imm(struct jit_build *b, const struct isa_insn *i, bool wide, unsigned d,
		     uint64_t v)
{
	unsigned alu = JIT_ALU(jit_codes[i->op]);
	uint64_t minus = wide ? -v : (uint32_t)-v;
	uint32_t mask;

	switch (alu) {
	case ADD:
	case SUB:
		if (a64_fits_add(v))
			a64_add_imm(b, wide, alu == SUB, false, d, d, v);
		else if (a64_fits_add(minus))
			a64_add_imm(b, wide, alu == ADD, false, d, d, minus);
		else
			return false;
		return true;
	case OR:
	case AND:
	case XOR:
		mask = a64_mask(wide, v);
		if (mask)
			a64(b, a64_width(wide, masked[alu]) | mask | d << 5 | d);
		return mask;
	case LSH:
	case RSH:
	case ARSH:
		shift_imm(b, alu, wide, d, (unsigned)v & (wide ? 63 : 31));
		return true;
	case DIV:
	case MOD:
		if (is_signed(i) || !v || v & (v - 1))
			return false;
		divide_shift(b, alu, wide, d, v);
		return true;
	case MOV:
		a64_imm(b, d, v);
		return true;
	default:
		return false;
	}
}

void jit_put_alu(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	unsigned alu = JIT_ALU(code), d = arm64_reg[i->dst], s = arm64_reg[i->src];
	bool wide = JIT_CLASS(code) == JIT_ALU64;

	if (i->op == JIT_ROL64 || i->op == JIT_ROL32) {
		a64_ror(b, wide, d, d, (wide ? 64u : 32u) - (unsigned)i->imm);
		return;
	}
	if (alu == END) {
		swap(b, i, d);
		return;
	}
	if (alu != NEG && !JIT_SRC_X(code)) {
		uint64_t v = wide ? (uint64_t)(int64_t)i->imm : (uint32_t)i->imm;

		if (!b->in->blind && with_imm(b, i, wide, d, v))
			return;
		s = arm64_const(b, v);
	}
	switch (alu) {
	case MUL:
		a64_mul(b, wide, A64_MADD, d, d, s, ZR);
		break;
	case DIV:
	case MOD:
		divide(b, i, wide, d, s);
		break;
	case NEG:
		a64_rrr(b, wide, A64_SUB, d, ZR, d);
		break;
	case MOV:
		move(b, i, wide, d, s);
		break;
	default:
		a64_rrr(b, wide, simple[alu], d, d, s);
	}
}

void jit_put_move(struct jit_build *b, const struct isa_insn *i)
{
	jit_put_alu(b, i);
}

void jit_put_divide(struct jit_build *b, const struct isa_insn *i)
{
	jit_put_alu(b, i);
}

#endif
