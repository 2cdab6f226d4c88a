// SPDX-License-Identifier: Apache-2.0
/* arm64_emit.c: immediates, addresses and sites of A64. */
#ifdef __aarch64__
#include "jit/arm64_emit.h"

const uint8_t jit_filler; /* udf #0 */

/* ---- immediates ---------------------------------------------------------------------------------- */

static unsigned halves_that_are(uint64_t v, uint16_t what)
{
	unsigned n = 0, i;

	for (i = 0; i < 64; i += 16)
		n += (uint16_t)(v >> i) == what;
	return n;
}

void a64_imm(struct jit_build *b, unsigned d, uint64_t v)
{
	bool ones = halves_that_are(v, 0xffff) > halves_that_are(v, 0), begun = false;
	uint32_t mask = a64_mask(true, v);
	unsigned i;

	if (mask && halves_that_are(v, ones ? 0xffff : 0) < 3) {
		a64(b, 0xb2000000 | mask | ZR << 5 | d);
		return;
	}
	for (i = 0; i < 4; i++) {
		uint16_t half = (uint16_t)(v >> 16 * i);

		if (half == (ones ? 0xffff : 0) && (begun || i < 3))
			continue;
		if (begun)
			a64(b, 0xf2800000 | i << 21 | (uint32_t)half << 5 | d);
		else if (ones)
			a64(b, 0x92800000 | i << 21 | (uint32_t)(uint16_t)~half << 5 | d);
		else
			a64(b, 0xd2800000 | i << 21 | (uint32_t)half << 5 | d);
		begun = true;
	}
}

bool a64_fits_add(uint64_t v)
{
	return v < 1 << 12 || (v < 1 << 24 && !(v & 0xfff));
}

void a64_add_imm(struct jit_build *b, bool wide, bool sub, bool flags, unsigned d, unsigned n,
		 uint64_t v)
{
	uint32_t op = a64_width(wide, sub ? 0xd1000000 : 0x91000000) | (flags ? 1u << 29 : 0);

	if (v >= 1 << 12)
		op |= 1u << 22 | (uint32_t)(v >> 12) << 10;
	else
		op |= (uint32_t)v << 10;
	a64(b, op | n << 5 | d);
}

/* A run of ones, rotated, that repeats in elements of a power of two bits. */
uint32_t a64_mask(bool wide, uint64_t v)
{
	unsigned size = 64, ones, rotate;
	uint64_t element, all;

	if (!wide)
		v = (v & 0xffffffff) | v << 32;
	if (!v || !~v)
		return 0;
	while (size > 2 && (v ^ v >> size / 2) << (64 - size / 2) == 0)
		size /= 2;
	all = ~0ULL >> (64 - size);
	element = v & all;
	ones = (unsigned)__builtin_popcountll(element);
	for (rotate = 0; rotate < size; rotate++) {
		uint64_t run = ~0ULL >> (64 - ones);
		uint64_t turned = rotate ? run >> rotate | run << (size - rotate) : run;

		if ((turned & all) == element)
			break;
	}
	if (rotate == size)
		return 0;
	return (size == 64 ? 1u << 22 : 0) | rotate << 16 |
	       ((~(size * 2 - 1) & 0x3f) | (ones - 1)) << 10;
}

/* ---- memory -------------------------------------------------------------------------------------- */

void a64_memory(struct jit_build *b, enum a64_load how, unsigned log, unsigned t, unsigned base,
		int32_t off, unsigned scratch)
{
	uint32_t op = log << 30 | 0x38000000 | (uint32_t)how << 22 | base << 5 | t;

	if (off >= 0 && !(off & ((1 << log) - 1)) && off >> log < 1 << 12) {
		a64(b, op | 1u << 24 | (uint32_t)(off >> log) << 10);
	} else if (off >= -256 && off < 256) {
		a64(b, op | ((uint32_t)off & 0x1ff) << 12);
	} else {
		a64_imm(b, scratch, (uint64_t)(int64_t)off);
		a64_indexed(b, how, log, t, base, scratch);
	}
}

/* ---- sites --------------------------------------------------------------------------------------- */

#define NEAR ((1 << 20) - 64) /* 19 bits of words, and some room for what still moves */

unsigned jit_site_size(const struct jit_site *s, int64_t distance)
{
	if (s->cc == JIT_ALWAYS)
		return 4;
	return s->size == 4 || (distance > -NEAR && distance < NEAR) ? 4 : s->max;
}

static void put(uint8_t *out, uint32_t word)
{
	memcpy(out, &word, 4);
}

static uint32_t branch(int64_t by)
{
	return A64_B | ((uint32_t)(by / 4) & 0x3ffffff);
}

static void put_jump(uint8_t *out, const struct jit_site *s, int64_t by)
{
	uint32_t cc = s->cc, word;

	if (cc == JIT_ALWAYS) {
		put(out, branch(by));
		return;
	}
	if (s->size == 8) { /* over a jump that reaches further */
		cc ^= cc & A64_ZERO ? A64_NOT_ZERO : 1;
		put(out + 4, branch(by - 4));
		by = 8;
	}
	if (cc & A64_ZERO)
		word = A64_CBZ(cc & A64_WIDE, cc & 0x1f) | (cc & A64_NOT_ZERO ? 1u << 24 : 0);
	else
		word = A64_B_COND(cc);
	put(out, word | ((uint32_t)(by / 4) & 0x7ffff) << 5);
}

/* reg = this address + by */
static void put_func(uint8_t *out, unsigned reg, int64_t by)
{
	put(out, 0xd2800000 | (uint32_t)(by & 0xffff) << 5 | reg);
	put(out + 4, 0xf2a00000 | (uint32_t)(by >> 16 & 0xffff) << 5 | reg);
	put(out + 8, 0x10000000 | 0x7fffe << 5 | X9); /* adr x9, . - 8 */
	put(out + 12, 0x8b20c000 | reg << 16 | X9 << 5 | reg);
}

void jit_put_site(uint8_t *out, const struct jit_site *s, int64_t from, int64_t to)
{
	unsigned i;

	switch (s->kind) {
	case JIT_SITE_ALIGN:
		for (i = 0; i < s->size; i += 4)
			put(out + i, 0xd503201f); /* nop */
		break;
	case JIT_SITE_JUMP:
		put_jump(out, s, to - from);
		break;
	case JIT_SITE_CALL:
		put(out, branch(to - from) | 1u << 31);
		break;
	case JIT_SITE_FUNC:
		put_func(out, s->cc, to - from);
		break;
	case JIT_SITE_FAR: /* arm64_call.c makes none: helpers lie too far away */
		break;
	}
}

#endif
