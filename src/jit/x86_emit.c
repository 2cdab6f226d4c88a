// SPDX-License-Identifier: Apache-2.0
#ifdef __x86_64__
#include "jit/x86_emit.h"

void x86_rx(struct jit_build *b, unsigned op, unsigned reg, unsigned base, unsigned index,
	    unsigned scale, int32_t disp)
{
	unsigned mod = disp == 0 && (base & 7) != RBP ? 0 : disp == (int8_t)disp ? 0x40 : 0x80;

	x86_op(b, op & ~X_BRM, reg, index, base);
	x86_1(b, mod | (reg & 7) << 3 | 4);
	x86_1(b, scale << 6 | (index & 7) << 3 | (base & 7));
	if (mod == 0x40)
		x86_1(b, (uint8_t)disp);
	else if (mod == 0x80)
		x86_4(b, (uint32_t)disp);
}

void x86_imm(struct jit_build *b, unsigned reg, uint64_t v)
{
	if (!v) {
		x86_rr(b, X_XOR, reg, reg);
	} else if (v <= UINT32_MAX) {
		x86_op(b, 0xb8 | (reg & 7), 0, 0, reg);
		x86_4(b, (uint32_t)v);
	} else if ((int64_t)v == (int32_t)v) {
		x86_rr(b, 0xc7 | X_W, 0, reg);
		x86_4(b, (uint32_t)v);
	} else {
		x86_op(b, 0xb8 | (reg & 7) | X_W, 0, 0, reg);
		x86_8(b, v);
	}
}

void x86_vex(struct jit_build *b, bool wide, unsigned map, unsigned pp, unsigned op, unsigned reg,
	     unsigned v, unsigned rm)
{
	x86_1(b, 0xc4);
	x86_1(b, (~reg & 8) << 4 | 0x40 | (~rm & 8) << 2 | map);
	x86_1(b, (wide ? 0x80 : 0) | (~v & 15) << 3 | pp);
	x86_1(b, op);
	x86_1(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* ---- sites -------------------------------------------------------------------------------------- */

const uint8_t jit_filler = 0xcc;

static const uint8_t nops[10][9] = {
	{0},
	{0x90},
	{0x66, 0x90},
	{0x0f, 0x1f, 0x00},
	{0x0f, 0x1f, 0x40, 0x00},
	{0x0f, 0x1f, 0x44, 0x00, 0x00},
	{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
	{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
	{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
	{0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
};

static void put_nops(uint8_t *out, unsigned n)
{
	while (n) {
		unsigned k = min(n, 9u);

		memcpy(out, nops[k], k);
		out += k;
		n -= k;
	}
}

unsigned jit_site_size(const struct jit_site *s, int64_t distance)
{
	/* In a short one's terms; a jump to what follows directly is none. */
	if (s->cc == JIT_ALWAYS && distance == s->size)
		return 0;
	if (s->size <= 2 || (distance - 2 >= -128 && distance - s->max <= 127))
		return min((unsigned)s->size, 2u);
	return s->max;
}

static void put_rel32(uint8_t *out, const struct jit_site *s, int64_t from, int64_t to)
{
	int32_t rel = (int32_t)(to - from - s->size);

	memcpy(out + s->size - 4, &rel, 4);
}

static void put_jump(uint8_t *out, const struct jit_site *s, int64_t from, int64_t to)
{
	if (s->size == 0)
		return;
	if (s->size == 2) {
		out[0] = s->cc == JIT_ALWAYS ? 0xeb : 0x70 | s->cc;
		out[1] = (uint8_t)(to - from - 2);
		return;
	}
	if (s->cc == JIT_ALWAYS) {
		out[0] = 0xe9;
	} else {
		out[0] = 0x0f;
		out[1] = 0x80 | s->cc;
	}
	put_rel32(out, s, from, to);
}

void jit_put_site(uint8_t *out, const struct jit_site *s, int64_t from, int64_t to)
{
	switch (s->kind) {
	case JIT_SITE_ALIGN:
		put_nops(out, s->size);
		break;
	case JIT_SITE_JUMP:
		put_jump(out, s, from, to);
		break;
	case JIT_SITE_CALL:
	case JIT_SITE_FAR:
		out[0] = 0xe8;
		put_rel32(out, s, from, to);
		break;
	case JIT_SITE_FUNC: /* lea reg, [rip + rel] */
		out[0] = 0x48 | (s->cc & 8) >> 1;
		out[1] = 0x8d;
		out[2] = 0x05 | (s->cc & 7) << 3;
		put_rel32(out, s, from, to);
		break;
	}
}

#endif
