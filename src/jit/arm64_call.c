// SPDX-License-Identifier: Apache-2.0
/*
 * arm64_call.c: calls, of what is outside and of the program's own functions; maps' lookups written in
 * place; tail calls.
 */
#ifdef __aarch64__
#include "jit/arm64.h"

static void result(struct jit_build *b)
{
	a64_mov(b, true, R0, X0);
}

static void call_reg(struct jit_build *b, unsigned reg)
{
	a64(b, 0xd63f0000 | reg << 5);
	result(b);
}

void jit_put_call(struct jit_build *b, uint64_t address)
{
	a64_imm(b, T0, address);
	call_reg(b, T0);
}

/* ---- lookups ------------------------------------------------------------------------------------ */

/* reg += index * n */
static void add_scaled(struct jit_build *b, unsigned reg, unsigned index, uint64_t n)
{
	if (n & (n - 1)) {
		a64_imm(b, T1, n);
		a64_mul(b, true, A64_MADD, reg, index, T1, reg);
	} else {
		a64_rrr(b, true, A64_ADD | (uint32_t)__builtin_ctzll(n) << 10, reg, reg, index);
	}
}

/* r0 = the value of the index in T0 */
static void value_address(struct jit_build *b, const struct jit_map *m)
{
	a64_imm(b, R0, (uintptr_t)m->values);
	add_scaled(b, R0, T0, m->stride);
	if (m->kind != JIT_PERCPU_ARRAY)
		return;
	a64_memory(b, A64_LOAD, 2, T0, RUN, offsetof(struct jit_run, cpu), T1);
	add_scaled(b, R0, T0, m->cpu_stride);
}

static void load_index(struct jit_build *b, const struct isa_insn *i)
{
	if (i->op == JIT_LOOKUP_X)
		a64_mov(b, false, T0, arm64_reg[i->src]);
	else if (i->op == JIT_LOOKUP_K)
		a64_imm(b, T0, (uint32_t)i->imm);
	else
		a64_memory(b, A64_LOAD, 2, T0, arm64_reg[2], 0, T1);
}

/* r0 = lookup, and the test for NULL where it follows. */
void jit_put_lookup(struct jit_build *b, const struct jit_map *m, const struct isa_insn *i)
{
	const struct isa_insn *n = jit_follow(b);
	uint8_t *none;

	load_index(b, i);
	a64_mov(b, true, R0, ZR);
	a64_imm(b, T1, m->max_entries);
	a64_rrr(b, false, A64_SUBS, ZR, T0, T1);
	if (n && n->op == ISA_JEQ64_K && n->dst == 0 && n->imm == 0) {
		b->next = (unsigned)(n - b->insns) + 1;
		arm64_jump(b, A64_HS, jit_jump_target(b, b->next - 1, n));
		value_address(b, m);
		return;
	}
	none = a64_skip(b, A64_B_COND(A64_HS));
	value_address(b, m);
	a64_land(b, none);
}

/* ---- tail calls --------------------------------------------------------------------------------- */

/* One program array; r3 is the index. */
void jit_put_tail_call(struct jit_build *b, const struct jit_map *m)
{
	uint8_t *out[3];
	unsigned k;

	a64_mov(b, false, T0, arm64_reg[3]);
	a64_imm(b, T1, m->max_entries);
	a64_rrr(b, false, A64_SUBS, ZR, T0, T1);
	out[0] = a64_skip(b, A64_B_COND(A64_HS));
	a64_memory(b, A64_LOAD, 2, T3, RUN, offsetof(struct jit_run, tail_calls), T1);
	a64_add_imm(b, false, true, true, ZR, T3, ISA_TAIL_MAX);
	out[1] = a64_skip(b, A64_B_COND(A64_HS));
	a64_imm(b, T2, (uintptr_t)m->values);
	a64(b, 0xf8607800 | T0 << 16 | T2 << 5 | T2); /* ldr T2, [T2, T0, lsl #3] */
	out[2] = a64_skip(b, A64_CBZ(true, T2));
	a64_add_imm(b, false, false, false, T3, T3, 1);
	a64_memory(b, A64_STORE, 2, T3, RUN, offsetof(struct jit_run, tail_calls), T1);
	a64_memory(b, A64_LOAD, 3, T2, T2, offsetof(struct jit_target, entry), T1);
	arm64_epilogue(b, b->func);
	a64(b, 0xd61f0000 | T2 << 5);
	for (k = 0; k < array_size(out); k++)
		a64_land(b, out[k]);
}

/* ---- */

void jit_put_call_func(struct jit_build *b, unsigned func)
{
	jit_site_add(b, JIT_SITE_CALL, 4)->to = func;
	result(b);
}

void jit_put_call_reg(struct jit_build *b, unsigned reg)
{
	call_reg(b, arm64_reg[reg]);
}

uint8_t *jit_put_unless(struct jit_build *b, unsigned reg, uint64_t v)
{
	a64_imm(b, T0, v);
	a64_rrr(b, true, A64_SUBS, ZR, T0, arm64_reg[reg]);
	return a64_skip(b, A64_B_COND(A64_NE));
}

void jit_put_land(struct jit_build *b, uint8_t *skip)
{
	a64_land(b, skip);
}

#endif
