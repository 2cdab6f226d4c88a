/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86_emit.h: bytes of x86-64 instructions. Knows encodings, nothing of BPF.
 */
#ifndef SKEP_JIT_X86_EMIT_H
#define SKEP_JIT_X86_EMIT_H

#include "jit/inside.h"

enum x86_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

enum x86_cc {
	CC_B = 2,
	CC_AE,
	CC_E,
	CC_NE,
	CC_BE,
	CC_A,
	CC_L = 12,
	CC_GE,
	CC_LE,
	CC_G,
};

/* An opcode: the byte, and what stands around it. */
#define X_0F   0x100u
#define X_38   0x200u /* with X_0F */
#define X_66   0x400u
#define X_W    0x1000u /* 64 bits */
#define X_BYTE 0x2000u /* the register field names a byte: RSI is SIL */
#define X_BRM  0x4000u /* the other operand does */
#define X_LOCK 0x8000u

#define W(wide) ((wide) ? X_W : 0)

enum x86_op {
	X_ADD = 0x01,
	X_OR = 0x09,
	X_AND = 0x21,
	X_SUB = 0x29,
	X_XOR = 0x31,
	X_CMP = 0x39,
	X_CMP_LOAD = 0x3b,
	X_TEST = 0x85,
	X_MOV = 0x89,
	X_LOAD = 0x8b,
	X_LEA = 0x8d,
	X_MOVSXD = 0x63,
	X_XCHG = 0x87,
	X_CMOV = X_0F | 0x40,
	X_IMUL = X_0F | 0xaf,
	X_MOVZX8 = X_0F | 0xb6,
	X_MOVZX16 = X_0F | 0xb7,
	X_MOVSX8 = X_0F | 0xbe,
	X_MOVSX16 = X_0F | 0xbf,
	X_XADD = X_0F | 0xc1,
	X_CMPXCHG = X_0F | 0xb1,
	X_MOVBE = X_0F | X_38 | 0xf0,
};

static inline void x86_1(struct jit_build *b, unsigned v)
{
	*b->p++ = (uint8_t)v;
}

static inline void x86_4(struct jit_build *b, uint32_t v)
{
	memcpy(b->p, &v, 4);
	b->p += 4;
}

static inline void x86_8(struct jit_build *b, uint64_t v)
{
	memcpy(b->p, &v, 8);
	b->p += 8;
}

static inline void x86_op(struct jit_build *b, unsigned op, unsigned reg, unsigned index,
			  unsigned rm)
{
	unsigned rex = (op & X_W ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;

	if (op & X_LOCK)
		x86_1(b, 0xf0);
	if (op & X_66)
		x86_1(b, 0x66);
	if (rex || (op & X_BYTE && reg >= 4) || (op & X_BRM && rm >= 4))
		x86_1(b, 0x40 | rex);
	if (op & X_0F)
		x86_1(b, 0x0f);
	if (op & X_38)
		x86_1(b, 0x38);
	x86_1(b, op & 0xff);
}

/* op reg, rm (which is read and written depends on op) */
static inline void x86_rr(struct jit_build *b, unsigned op, unsigned reg, unsigned rm)
{
	x86_op(b, op, reg, 0, rm);
	x86_1(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* What follows the opcode for [base + disp]. */
static inline void x86_address(struct jit_build *b, unsigned reg, unsigned base, int32_t disp)
{
	unsigned mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (int8_t)disp ? 0x40 : 0x80;

	x86_1(b, mod | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		x86_1(b, 0x24);
	if (mod == 0x40)
		x86_1(b, (uint8_t)disp);
	else if (mod == 0x80)
		x86_4(b, (uint32_t)disp);
}

/* op reg, [base + disp] */
static inline void x86_rm(struct jit_build *b, unsigned op, unsigned reg, unsigned base,
			  int32_t disp)
{
	x86_op(b, op & ~X_BRM, reg, 0, base);
	x86_address(b, reg, base, disp);
}

/* op reg, [base + index << scale + disp]; index is not RSP */
void x86_rx(struct jit_build *b, unsigned op, unsigned reg, unsigned base, unsigned index,
	    unsigned scale, int32_t disp);

/* dst = src, 64 or 32 bits */
static inline void x86_mov(struct jit_build *b, bool wide, unsigned dst, unsigned src)
{
	x86_rr(b, X_MOV | W(wide), src, dst);
}

/* op is the /n of group 0x81: 0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp */
static inline void x86_group1(struct jit_build *b, bool wide, unsigned op, unsigned rm, int32_t imm)
{
	if (imm == (int8_t)imm) {
		x86_rr(b, 0x83 | W(wide), op, rm);
		x86_1(b, (uint8_t)imm);
	} else if (rm == RAX) {
		x86_op(b, (op << 3 | 5) | W(wide), 0, 0, 0);
		x86_4(b, (uint32_t)imm);
	} else {
		x86_rr(b, 0x81 | W(wide), op, rm);
		x86_4(b, (uint32_t)imm);
	}
}

/* op: 4 shl, 5 shr, 7 sar, 0 rol, 1 ror */
static inline void x86_shift(struct jit_build *b, bool wide, unsigned op, unsigned rm, unsigned by)
{
	if (by == 1) {
		x86_rr(b, 0xd1 | W(wide), op, rm);
		return;
	}
	x86_rr(b, 0xc1 | W(wide), op, rm);
	x86_1(b, by);
}

/* reg = v in the shortest way; leaves the flags alone unless v is 0. */
void x86_imm(struct jit_build *b, unsigned reg, uint64_t v);

/* VEX: map 2 is 0F38, 3 is 0F3A; pp: 1 66, 2 F3, 3 F2 */
void x86_vex(struct jit_build *b, bool wide, unsigned map, unsigned pp, unsigned op, unsigned reg,
	     unsigned v, unsigned rm);

/* A short forward jump within one instruction's code, over no site: x86_land() where it leads. */
static inline uint8_t *x86_skip(struct jit_build *b, unsigned cc)
{
	x86_1(b, cc == JIT_ALWAYS ? 0xeb : 0x70 | cc);
	x86_1(b, 0);
	return b->p;
}

static inline void x86_land(struct jit_build *b, uint8_t *skip)
{
	skip[-1] = (uint8_t)(b->p - skip);
}

#endif
