// SPDX-License-Identifier: Apache-2.0
/* x86_mem.c: loads, stores and atomics. */
#ifdef __x86_64__
#include "jit/x86.h"

#define SIZE_8	0x10
#define SIZE_16 0x08
#define SIZE_32 0x00
#define SIZE_64 0x18

/* By size and by whether the sign is extended. */
static const uint16_t load_ops[2][4] = {
	{
		[SIZE_8 >> 3] = X_MOVZX8,
		[SIZE_16 >> 3] = X_MOVZX16,
		[SIZE_32 >> 3] = X_LOAD,
		[SIZE_64 >> 3] = X_LOAD | X_W,
	},
	{
		[SIZE_8 >> 3] = X_MOVSX8 | X_W,
		[SIZE_16 >> 3] = X_MOVSX16 | X_W,
		[SIZE_32 >> 3] = X_MOVSXD | X_W,
	},
};

static unsigned load_op(uint8_t code)
{
	return load_ops[JIT_MODE(code) == 0x80][JIT_SIZE(code) >> 3];
}

bool x86_load_indexed(struct jit_build *b, const struct isa_insn *m, unsigned t, unsigned base,
		      unsigned index)
{
	if (!m || m->op < ISA_LDX8 || m->op > ISA_LDSX32 || m->src != t)
		return false;
	if (m->dst != t && !jit_dead_after(b, (unsigned)(m - b->insns), t))
		return false;
	x86_rx(b, load_op(jit_codes[m->op]), x86_reg[m->dst], base, index, 0, m->off);
	b->next = (unsigned)(m - b->insns) + 1;
	return true;
}

static void store(struct jit_build *b, unsigned size, unsigned s, unsigned base, int32_t off)
{
	static const uint16_t ops[] = {
		[SIZE_8 >> 3] = 0x88 | X_BYTE,
		[SIZE_16 >> 3] = X_MOV | X_66,
		[SIZE_32 >> 3] = X_MOV,
		[SIZE_64 >> 3] = X_MOV | X_W,
	};

	x86_rm(b, ops[size >> 3], s, base, off);
}

static void store_imm(struct jit_build *b, unsigned size, int32_t imm, unsigned base, int32_t off)
{
	switch (size) {
	case SIZE_8:
		x86_rm(b, 0xc6, 0, base, off);
		x86_1(b, (uint8_t)imm);
		break;
	case SIZE_16:
		x86_rm(b, 0xc7 | X_66, 0, base, off);
		x86_1(b, (uint8_t)imm);
		x86_1(b, (uint8_t)(imm >> 8));
		break;
	default:
		x86_rm(b, 0xc7 | W(size == SIZE_64), 0, base, off);
		x86_4(b, (uint32_t)imm);
	}
}

/* The load and the byte swap that follows it, as one. */
static bool load_swapped(struct jit_build *b, const struct isa_insn *i)
{
	const struct isa_insn *n = jit_follow(b);
	bool wide = i->op == ISA_LDX64;

	if (!n || n->dst != i->dst)
		return false;
	if (i->op == ISA_LDX16 && (n->op == ISA_BE16 || n->op == ISA_BSWAP16)) {
		x86_rm(b, X_MOVZX16, x86_reg[i->dst], x86_reg[i->src], i->off);
		x86_rr(b, 0xc1 | X_66, 0, x86_reg[i->dst]); /* rol 16 bits by 8 */
		x86_1(b, 8);
		b->next = (unsigned)(n - b->insns) + 1;
		return true;
	}
	if (!x86_movbe)
		return false;
	if (!(wide ? n->op == ISA_BE64 || n->op == ISA_BSWAP64
		   : i->op == ISA_LDX32 && (n->op == ISA_BE32 || n->op == ISA_BSWAP32)))
		return false;
	x86_rm(b, X_MOVBE | W(wide), x86_reg[i->dst], x86_reg[i->src], i->off);
	b->next = (unsigned)(n - b->insns) + 1;
	return true;
}

void jit_put_memory(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src];

	switch (JIT_CLASS(code)) {
	case JIT_LDX:
		if (!load_swapped(b, i))
			x86_rm(b, load_op(code), d, s, i->off);
		break;
	case JIT_ST:
		if (b->in->blind)
			store(b, JIT_SIZE(code), x86_hidden(b, (uint64_t)(int64_t)i->imm), d,
			      i->off);
		else
			store_imm(b, JIT_SIZE(code), i->imm, d, i->off);
		break;
	default:
		store(b, JIT_SIZE(code), s, d, i->off);
	}
}

static void extend(struct jit_build *b, unsigned log, unsigned d, unsigned s)
{
	if (log == 2)
		x86_mov(b, false, d, s);
	else
		x86_rr(b, log ? X_MOVZX16 : X_MOVZX8 | X_BRM, d, s);
}

/* From the highest down; what it holds besides its piece leaves at the top. */
void jit_put_pieces(struct jit_build *b, const struct isa_insn *i)
{
	static const uint8_t sizes[] = {SIZE_8, SIZE_16, SIZE_32, SIZE_64};
	unsigned n = 0, bytes, log;

	while (n < JIT_PIECES_MAX && JIT_PIECE_IS(i->imm, n))
		n++;
	bytes = 1u << JIT_PIECE_LOG(i->imm, --n);
	x86_mov(b, false, T0, x86_reg[JIT_PIECE_REG(i->imm, n)]);
	while (n-- > 0) {
		log = JIT_PIECE_LOG(i->imm, n);
		bytes += 1u << log;
		x86_shift(b, true, 4, T0, 8u << log);
		extend(b, log, T1, x86_reg[JIT_PIECE_REG(i->imm, n)]);
		x86_rr(b, X_OR | X_W, T1, T0);
	}
	store(b, sizes[__builtin_ctz(bytes)], T0, x86_reg[i->dst], i->off);
}

/* ---- atomics ------------------------------------------------------------------------------------- */

static unsigned atomic_op(unsigned what)
{
	switch (what & 0xf0) {
	case 0x40:
		return X_OR;
	case 0x50:
		return X_AND;
	case 0xa0:
		return X_XOR;
	default:
		return X_ADD;
	}
}

/* s = [base + off], and there goes s OP that: a loop around cmpxchg. */
static void fetch_loop(struct jit_build *b, bool wide, unsigned op, unsigned base, unsigned s,
		       int32_t off)
{
	uint8_t *again;

	x86_mov(b, true, T0, RAX);
	x86_mov(b, true, T2, s);
	if (base == RAX)
		base = T0;
	x86_rm(b, X_LOAD | W(wide), RAX, base, off);
	again = b->p;
	x86_mov(b, wide, T1, RAX);
	x86_rr(b, op | W(wide), T2, T1);
	x86_rm(b, X_CMPXCHG | X_LOCK | W(wide), T1, base, off);
	x86_1(b, 0x70 | CC_NE);
	x86_1(b, (uint8_t)(again - b->p - 1));
	if (s == RAX)
		return;
	x86_mov(b, wide, s, RAX);
	x86_mov(b, true, RAX, T0);
}

void jit_put_atomic(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];
	unsigned d = x86_reg[i->dst], s = x86_reg[i->src];
	bool wide = JIT_SIZE(code) == SIZE_64;
	unsigned what = jit_imms[i->op];

	if (i->op >= ISA_LOAD_ACQ8 && i->op <= ISA_LOAD_ACQ64) {
		x86_rm(b, load_ops[0][JIT_SIZE(code) >> 3], d, s, i->off);
	} else if (i->op >= ISA_STORE_REL8 && i->op <= ISA_STORE_REL64) {
		store(b, JIT_SIZE(code), s, d, i->off);
	} else if (i->op == ISA_XCHG64 || i->op == ISA_XCHG32) {
		x86_rm(b, X_XCHG | W(wide), s, d, i->off);
	} else if (i->op == ISA_CMPXCHG64 || i->op == ISA_CMPXCHG32) {
		x86_rm(b, X_CMPXCHG | X_LOCK | W(wide), s, d, i->off);
		if (!wide)
			x86_mov(b, false, RAX, RAX);
	} else if (i->op == ISA_FETCH64_ADD || i->op == ISA_FETCH32_ADD) {
		x86_rm(b, X_XADD | X_LOCK | W(wide), s, d, i->off);
	} else if (what & 1) {
		fetch_loop(b, wide, atomic_op(what), d, s, i->off);
	} else {
		x86_rm(b, atomic_op(what) | X_LOCK | W(wide), s, d, i->off);
	}
}

/* ---- packets ------------------------------------------------------------------------------------- */

/* The offset is an immediate, or in T0 where @index; the packet begins at T2. */
static void packet_load(struct jit_build *b, unsigned size, bool index, int32_t off)
{
	unsigned op = load_ops[0][size >> 3];

	if (index)
		x86_rx(b, op, RAX, T2, T0, 0, 0);
	else
		x86_rm(b, op, RAX, T2, off);
	if (size == SIZE_16) { /* rol 16 bits by 8 */
		x86_rr(b, 0xc1 | X_66, 0, RAX);
		x86_1(b, 8);
	} else if (size == SIZE_32) {
		x86_op(b, X_0F | 0xc8, 0, 0, RAX); /* bswap */
	}
}

/* r0 = bytes of the packet of the __sk_buff in r6, or the function ends with 0. */
void jit_put_packet(struct jit_build *b, const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op], *out[3], *done;
	unsigned size = JIT_SIZE(code), skb = x86_reg[6], k;
	bool index = JIT_MODE(code) == 0x40;

	if (index)
		x86_rm(b, X_LEA, T0, x86_reg[i->src], i->imm);
	else if (i->imm < 0)
		x86_imm(b, T0, UINT32_MAX); /* behind every end */
	x86_rm(b, X_LOAD, T2, skb, offsetof(struct __sk_buff, data));
	x86_rm(b, X_LOAD, T1, skb, offsetof(struct __sk_buff, data_end));
	x86_rr(b, X_SUB | X_W, T2, T1);
	out[0] = x86_skip(b, CC_B);
	x86_group1(b, true, 5, T1, size == SIZE_8 ? 1 : size == SIZE_16 ? 2 : 4);
	out[1] = x86_skip(b, CC_B);
	if (index || i->imm < 0)
		x86_rr(b, X_CMP | X_W, T0, T1);
	else
		x86_group1(b, true, 7, T1, i->imm);
	out[2] = x86_skip(b, CC_B);
	packet_load(b, size, index || i->imm < 0, i->imm);
	done = x86_skip(b, JIT_ALWAYS);
	for (k = 0; k < array_size(out); k++)
		x86_land(b, out[k]);
	x86_imm(b, RAX, 0);
	x86_epilogue(b, b->func);
	x86_1(b, 0xc3);
	x86_land(b, done);
}

#endif
