// SPDX-License-Identifier: Apache-2.0
/*
 * arm64_mem.c: loads, stores, atomics, packets.
 *
 * Atomics that fetch are ordered fully, the others not at all, as the kernel has them: one instruction
 * where the machine has ARMv8.1's, a loop of exclusive accesses and a barrier where it has not.
 */
#ifdef __aarch64__
#include "jit/arm64.h"

/* log2 of the bytes, by the size bits of an opcode. */
static unsigned log_of(uint8_t code)
{
	static const uint8_t logs[] = {2, 1, 0, 3};

	return logs[JIT_SIZE(code) >> 3];
}

void jit_put_memory(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	unsigned d = arm64_reg[i->dst], s = arm64_reg[i->src], log = log_of(code);

	switch (JIT_CLASS(code)) {
	case JIT_LDX:
		a64_memory(b, JIT_MODE(code) == 0x80 ? A64_LOAD_SIGNED : A64_LOAD, log, d, s,
			   i->off, T0);
		break;
	case JIT_ST:
		s = arm64_const(b, (uint64_t)(int64_t)i->imm);
		a64_memory(b, A64_STORE, log, s, d, i->off, T0);
		break;
	default:
		a64_memory(b, A64_STORE, log, s, d, i->off, T0);
	}
}

/* From the highest down; what it holds besides its piece leaves at the top. */
void jit_put_pieces(struct jit_build *b, const struct isa_insn *i)
{
	unsigned n = 0, bytes, log;

	while (n < JIT_PIECES_MAX && JIT_PIECE_IS(i->imm, n))
		n++;
	bytes = 1u << JIT_PIECE_LOG(i->imm, --n);
	a64_mov(b, false, T1, arm64_reg[JIT_PIECE_REG(i->imm, n)]);
	while (n-- > 0) {
		log = JIT_PIECE_LOG(i->imm, n);
		bytes += 1u << log;
		a64_lsl(b, true, T1, T1, 8u << log);
		a64_field(b, true, false, T2, arm64_reg[JIT_PIECE_REG(i->imm, n)], 0,
			  (8u << log) - 1);
		a64_rrr(b, true, A64_ORR, T1, T1, T2);
	}
	a64_memory(b, A64_STORE, (unsigned)__builtin_ctz(bytes), T1, arm64_reg[i->dst], i->off, T0);
}

/* ---- atomics ------------------------------------------------------------------------------------- */

static void barrier(struct jit_build *b)
{
	a64(b, 0xd5033bbf); /* dmb ish */
}

/* A register that holds base + off. */
static unsigned address(struct jit_build *b, unsigned base, int32_t off)
{
	uint64_t by = off < 0 ? -(uint64_t)(int64_t)off : (uint64_t)off;

	if (!off)
		return base;
	if (a64_fits_add(by)) {
		a64_add_imm(b, true, off < 0, false, T2, base, by);
	} else {
		a64_imm(b, T2, (uint64_t)(int64_t)off);
		a64_rrr(b, true, A64_ADD, T2, T2, base);
	}
	return T2;
}

/* old = [a], and there goes old OP s: @what is the immediate's upper half. */
static void rmw_one(struct jit_build *b, unsigned log, unsigned what, bool fetch, unsigned a,
		    unsigned s)
{
	static const uint16_t ops[16] = {
		[0] = 0, [4] = 0x3000, [5] = 0x1000, [10] = 0x2000, [14] = 0x8000};
	unsigned old = fetch ? s : ZR;

	if (what == 5) { /* the machine clears the bits that are set */
		a64_rrr(b, true, A64_ORN, T0, ZR, s);
		s = T0;
	}
	a64(b, log << 30 | (fetch ? 0x38e00000 : 0x38200000) | ops[what] | s << 16 | a << 5 | old);
}

static void rmw_loop(struct jit_build *b, unsigned log, unsigned what, bool fetch, unsigned a,
		     unsigned s)
{
	static const uint32_t ops[16] = {
		[0] = A64_ADD, [4] = A64_ORR, [5] = A64_AND, [10] = A64_EOR};
	uint8_t *again = b->p;
	bool wide = log == 3;
	unsigned next = T1;

	a64(b, log << 30 | 0x085f7c00 | a << 5 | T0); /* ldxr */
	if (what == 14)
		next = s;
	else
		a64_rrr(b, wide, ops[what], T1, T0, s);
	a64(b, log << 30 | (fetch ? 0x0800fc00 : 0x08007c00) | T3 << 16 | a << 5 | next); /* stxr */
	a64(b, 0x35000000 | ((uint32_t)(again - b->p) / 4 & 0x7ffff) << 5 | T3);
	if (!fetch)
		return;
	barrier(b);
	a64_mov(b, wide, s, T0);
}

static void compare_exchange(struct jit_build *b, unsigned log, unsigned a, unsigned s)
{
	uint8_t *again = b->p, *other;
	bool wide = log == 3;

	if (arm64_lse) {
		a64(b, log << 30 | 0x08e0fc00 | R0 << 16 | a << 5 | s); /* casal */
		return;
	}
	a64(b, log << 30 | 0x085f7c00 | a << 5 | T0);
	a64_rrr(b, wide, A64_SUBS, ZR, T0, R0);
	other = a64_skip(b, A64_B_COND(A64_NE));
	a64(b, log << 30 | 0x0800fc00 | T3 << 16 | a << 5 | s);
	a64(b, 0x35000000 | ((uint32_t)(again - b->p) / 4 & 0x7ffff) << 5 | T3);
	barrier(b);
	a64_land(b, other);
	a64_mov(b, wide, R0, T0);
}

void jit_put_atomic(struct jit_build *b, const struct isa_insn *i)
{
	unsigned d = arm64_reg[i->dst], s = arm64_reg[i->src], log = log_of(jit_codes[i->op]);
	unsigned imm = jit_imms[i->op], what = imm >> 4 & 0xf;
	bool fetch = imm & 1;

	if (i->op >= ISA_LOAD_ACQ8 && i->op <= ISA_LOAD_ACQ64)
		a64(b, log << 30 | 0x08dffc00 | address(b, s, i->off) << 5 | d);
	else if (i->op >= ISA_STORE_REL8 && i->op <= ISA_STORE_REL64)
		a64(b, log << 30 | 0x089ffc00 | address(b, d, i->off) << 5 | s);
	else if (what == 15)
		compare_exchange(b, log, address(b, d, i->off), s);
	else if (arm64_lse)
		rmw_one(b, log, what, fetch, address(b, d, i->off), s);
	else
		rmw_loop(b, log, what, fetch, address(b, d, i->off), s);
}

/* ---- packets ------------------------------------------------------------------------------------- */

/* r0 = bytes of the packet of the __sk_buff in r6, or the function ends with 0. */
void jit_put_packet(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op], *out[3], *done;
	unsigned log = log_of(code), skb = arm64_reg[6], k;

	a64_imm(b, T0, i->imm < 0 && JIT_MODE(code) != 0x40 ? UINT32_MAX : (uint32_t)i->imm);
	if (JIT_MODE(code) == 0x40)
		a64_rrr(b, false, A64_ADD, T0, T0, arm64_reg[i->src]);
	a64_memory(b, A64_LOAD, 2, T2, skb, offsetof(struct __sk_buff, data), T3);
	a64_memory(b, A64_LOAD, 2, T1, skb, offsetof(struct __sk_buff, data_end), T3);
	a64_rrr(b, true, A64_SUBS, T1, T1, T2);
	out[0] = a64_skip(b, A64_B_COND(A64_LO));
	a64_add_imm(b, true, true, true, T1, T1, 1u << log);
	out[1] = a64_skip(b, A64_B_COND(A64_LO));
	a64_rrr(b, true, A64_SUBS, ZR, T1, T0);
	out[2] = a64_skip(b, A64_B_COND(A64_LO));
	a64_indexed(b, A64_LOAD, log, R0, T2, T0);
	if (log == 1) {
		a64_rr(b, a64_width(false, A64_REV16), R0, R0);
		a64_field(b, false, false, R0, R0, 0, 15);
	} else if (log == 2) {
		a64_rr(b, A64_REV32, R0, R0);
	}
	done = a64_skip(b, A64_B);
	for (k = 0; k < array_size(out); k++)
		a64_land(b, out[k]);
	a64_imm(b, X0, 0);
	arm64_return(b);
	a64_land(b, done);
}

#endif
