/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arm64_emit.h: words of A64 instructions (Arm Architecture Reference Manual, C4 and C6). Knows encodings,
 * nothing of BPF.
 */
#ifndef SKEP_JIT_ARM64_EMIT_H
#define SKEP_JIT_ARM64_EMIT_H

#include "jit/inside.h"

enum a64_reg {
	X0,
	X1,
	X2,
	X3,
	X4,
	X5,
	X9 = 9,
	X10,
	X11,
	X12,
	X19 = 19,
	X20,
	X21,
	X22,
	X23,
	X24,
	FP = 29,
	LR,
	ZR,
	SP = 31, /* where an instruction has no use for ZR */
};

enum a64_cond {
	A64_EQ,
	A64_NE,
	A64_HS,
	A64_LO,
	A64_HI = 8,
	A64_LS,
	A64_GE,
	A64_LT,
	A64_GT,
	A64_LE,
};

/* A jump's condition, besides enum a64_cond: a register is zero, or is not. */
#define A64_ZERO     0x80
#define A64_NOT_ZERO 0x20 /* with A64_ZERO */
#define A64_WIDE     0x40 /* with A64_ZERO */

/* Of three registers; 64 bits where not said otherwise: a64_width() makes the other. */
enum a64_op {
	A64_ADD = 0x8b000000,
	A64_SUB = 0xcb000000,
	A64_SUBS = 0xeb000000,
	A64_AND = 0x8a000000,
	A64_ANDS = 0xea000000,
	A64_ORR = 0xaa000000,
	A64_ORN = 0xaa200000,
	A64_EOR = 0xca000000,
	A64_UDIV = 0x9ac00800,
	A64_SDIV = 0x9ac00c00,
	A64_LSLV = 0x9ac02000,
	A64_LSRV = 0x9ac02400,
	A64_ASRV = 0x9ac02800,
	A64_MADD = 0x9b000000, /* and a fourth, at bit 10 */
	A64_MSUB = 0x9b008000,
};

/* Of two. */
enum a64_op2 {
	A64_REV16 = 0xdac00400,
	A64_REV32 = 0x5ac00800, /* 32 bits */
	A64_REV64 = 0xdac00c00,
};

static inline void a64(struct jit_build *b, uint32_t word)
{
	memcpy(b->p, &word, 4);
	b->p += 4;
}

static inline uint32_t a64_width(bool wide, uint32_t op)
{
	return wide ? op : op & ~(1u << 31);
}

static inline void a64_rrr(struct jit_build *b, bool wide, uint32_t op, unsigned d, unsigned n,
			   unsigned m)
{
	a64(b, a64_width(wide, op) | m << 16 | n << 5 | d);
}

static inline void a64_rr(struct jit_build *b, uint32_t op, unsigned d, unsigned n)
{
	a64(b, op | n << 5 | d);
}

static inline void a64_mov(struct jit_build *b, bool wide, unsigned d, unsigned s)
{
	a64_rrr(b, wide, A64_ORR, d, ZR, s);
}

/* d = a + n * m, or a - n * m with A64_MSUB */
static inline void a64_mul(struct jit_build *b, bool wide, uint32_t op, unsigned d, unsigned n,
			   unsigned m, unsigned a)
{
	a64_rrr(b, wide, op | a << 10, d, n, m);
}

/* d = n shifted: UBFM, or SBFM where @sign */
static inline void a64_field(struct jit_build *b, bool wide, bool sign, unsigned d, unsigned n,
			     unsigned rotate, unsigned last)
{
	uint32_t op = sign ? 0x93400000 : 0xd3400000;

	a64(b, (wide ? op : op & ~0x80400000u) | rotate << 16 | last << 10 | n << 5 | d);
}

static inline void a64_lsl(struct jit_build *b, bool wide, unsigned d, unsigned n, unsigned by)
{
	unsigned bits = wide ? 64 : 32;

	a64_field(b, wide, false, d, n, (bits - by) % bits, bits - 1 - by);
}

static inline void a64_lsr(struct jit_build *b, bool wide, bool sign, unsigned d, unsigned n,
			   unsigned by)
{
	a64_field(b, wide, sign, d, n, by, wide ? 63 : 31);
}

/* d = n rotated right */
static inline void a64_ror(struct jit_build *b, bool wide, unsigned d, unsigned n, unsigned by)
{
	a64(b, (wide ? 0x93c00000 : 0x13800000) | n << 16 | by << 10 | n << 5 | d);
}

static inline void a64_csel(struct jit_build *b, bool wide, unsigned d, unsigned n, unsigned m,
			    enum a64_cond cc)
{
	a64_rrr(b, wide, 0x9a800000 | (uint32_t)cc << 12, d, n, m);
}

/* d = v in as few words as the moves of 16 bits allow */
void a64_imm(struct jit_build *b, unsigned d, uint64_t v);
/* Can @v be added or subtracted as an immediate? */
bool a64_fits_add(uint64_t v);
/* d = n + v, or with @sub - v; flags too where @flags. a64_fits_add(v). */
void a64_add_imm(struct jit_build *b, bool wide, bool sub, bool flags, unsigned d, unsigned n,
		 uint64_t v);
/* The bits that say @v in AND, ORR, EOR, ANDS; 0: it cannot be said. */
uint32_t a64_mask(bool wide, uint64_t v);

/* How a load extends. */
enum a64_load { A64_STORE, A64_LOAD, A64_LOAD_SIGNED };

/* Of 1 << @log bytes at base + off; T is clobbered where that is far. */
void a64_memory(struct jit_build *b, enum a64_load how, unsigned log, unsigned t, unsigned base,
		int32_t off, unsigned scratch);
/* At base + index. */
static inline void a64_indexed(struct jit_build *b, enum a64_load how, unsigned log, unsigned t,
			       unsigned base, unsigned index)
{
	a64(b, log << 30 | 0x38206800 | (uint32_t)how << 22 | index << 16 | base << 5 | t);
}

/* A forward jump within one instruction's code, over no site: a64_land() where it leads. */
static inline uint8_t *a64_skip(struct jit_build *b, uint32_t branch)
{
	a64(b, branch);
	return b->p - 4;
}

#define A64_B		 0x14000000u
#define A64_B_COND(cc)	 (0x54000000u | (cc))
#define A64_CBZ(wide, r) (((wide) ? 0xb4000000u : 0x34000000u) | (r))

static inline void a64_land(struct jit_build *b, uint8_t *skip)
{
	uint32_t word, by = (uint32_t)(b->p - skip) / 4;

	memcpy(&word, skip, 4);
	word |= word >> 26 == A64_B >> 26 ? by : by << 5;
	memcpy(skip, &word, 4);
}

#endif
