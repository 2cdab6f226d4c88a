// SPDX-License-Identifier: Apache-2.0
/*
 * x86_call.c: calls, of what is outside and of the program's own functions; maps' lookups written in
 * place; tail calls.
 */
#ifdef __x86_64__
#include "jit/x86.h"

#define REACH ((1ul << 31) - (1ul << 20))

static bool reaches(const struct jit_build *b, uint64_t address)
{
	uint64_t lo = (uintptr_t)b->space;

	return address < lo ? lo + b->space_size - address < REACH : address - lo < REACH;
}

void jit_put_call(struct jit_build *b, uint64_t address)
{
	if (reaches(b, address)) {
		jit_site_add(b, JIT_SITE_FAR, 5)->address = address;
		return;
	}
	x86_imm(b, RAX, address);
	x86_rr(b, 0xff, 2, RAX);
}

/* ---- lookups ------------------------------------------------------------------------------------ */

/* T0 *= n */
static void scale(struct jit_build *b, unsigned reg, uint64_t n)
{
	if (!(n & (n - 1))) {
		x86_shift(b, true, 4, reg, (unsigned)__builtin_ctzll(n));
	} else if (n <= INT32_MAX) {
		x86_rr(b, 0x69 | X_W, reg, reg);
		x86_4(b, (uint32_t)n);
	} else {
		x86_imm(b, T1, n);
		x86_rr(b, X_IMUL | X_W, reg, T1);
	}
}

/* rax = what belongs to the CPU, where it is that of CPU 0 */
static void value_of_cpu(struct jit_build *b, const struct jit_map *m)
{
	if (m->kind != JIT_PERCPU_ARRAY)
		return;
	x86_rm(b, X_LOAD, RCX, RUN, offsetof(struct jit_run, cpu));
	scale(b, RCX, m->cpu_stride);
	x86_rr(b, X_ADD | X_W, RCX, RAX);
}

/* rax = the value of the index in T0 */
static void value_address(struct jit_build *b, const struct jit_map *m)
{
	bool scaled = m->stride == 1 || m->stride == 2 || m->stride == 4 || m->stride == 8;

	if (!scaled)
		scale(b, T0, m->stride);
	x86_imm(b, RAX, (uintptr_t)m->values);
	x86_rx(b, X_LEA | X_W, RAX, RAX, T0, scaled ? (unsigned)__builtin_ctz(m->stride) : 0, 0);
	value_of_cpu(b, m);
}

static bool tests_null(const struct isa_insn *n, unsigned op)
{
	return n && n->op == op && n->dst == 0 && n->imm == 0;
}

/* The value of an index that is always the same and inside: it is never NULL. */
static void lookup_same(struct jit_build *b, const struct jit_map *m, uint32_t index)
{
	const struct isa_insn *n = jit_follow(b);

	x86_imm(b, RAX, (uintptr_t)m->values + (uint64_t)index * m->stride);
	value_of_cpu(b, m);
	if (!tests_null(n, ISA_JEQ64_K) && !tests_null(n, ISA_JNE64_K))
		return;
	b->next = (unsigned)(n - b->insns) + 1;
	if (n->op == ISA_JNE64_K)
		x86_jump(b, JIT_ALWAYS, jit_jump_target(b, b->next - 1, n));
}

static void load_index(struct jit_build *b, const struct isa_insn *i)
{
	if (i->op == JIT_LOOKUP_X)
		x86_mov(b, false, T0, x86_reg[i->src]);
	else if (i->op == JIT_LOOKUP_K)
		x86_imm(b, T0, (uint32_t)i->imm);
	else
		x86_rm(b, X_LOAD, T0, x86_reg[2], 0);
}

/* r0 = lookup, and the test for NULL where it follows. */
void jit_put_lookup(struct jit_build *b, const struct jit_map *m, const struct isa_insn *i)
{
	const struct isa_insn *n = jit_follow(b);
	uint8_t *none;

	if (i->op == JIT_LOOKUP_K && (uint32_t)i->imm < m->max_entries) {
		lookup_same(b, m, (uint32_t)i->imm);
		return;
	}
	load_index(b, i);
	x86_rr(b, X_XOR, RAX, RAX);
	x86_group1(b, false, 7, T0, (int32_t)m->max_entries);
	if (tests_null(n, ISA_JEQ64_K)) {
		b->next = (unsigned)(n - b->insns) + 1;
		x86_jump(b, CC_AE, jit_jump_target(b, b->next - 1, n));
		value_address(b, m);
		return;
	}
	if (tests_null(n, ISA_JNE64_K)) {
		b->next = (unsigned)(n - b->insns) + 1;
		x86_jump(b, CC_AE, b->next);
		value_address(b, m);
		x86_jump(b, JIT_ALWAYS, jit_jump_target(b, b->next - 1, n));
		return;
	}
	none = x86_skip(b, CC_AE);
	value_address(b, m);
	x86_land(b, none);
}

/* ---- tail calls --------------------------------------------------------------------------------- */

/* One program array; r3 is the index. */
void jit_put_tail_call(struct jit_build *b, const struct jit_map *m)
{
	uint8_t *out[3];

	x86_mov(b, false, T0, x86_reg[3]);
	x86_group1(b, false, 7, T0, (int32_t)m->max_entries);
	out[0] = x86_skip(b, CC_AE);
	x86_rm(b, 0x83, 7, RUN, offsetof(struct jit_run, tail_calls));
	x86_1(b, ISA_TAIL_MAX);
	out[1] = x86_skip(b, CC_AE);
	x86_imm(b, RAX, (uintptr_t)m->values);
	x86_rx(b, X_LOAD | X_W, RAX, RAX, T0, 3, 0);
	x86_rr(b, X_TEST | X_W, RAX, RAX);
	out[2] = x86_skip(b, CC_E);
	x86_rm(b, 0xff, 0, RUN, offsetof(struct jit_run, tail_calls));
	x86_rm(b, X_LOAD | X_W, RAX, RAX, offsetof(struct jit_target, entry));
	x86_epilogue(b, b->func);
	x86_rr(b, 0xff, 4, RAX);
	x86_land(b, out[0]);
	x86_land(b, out[1]);
	x86_land(b, out[2]);
}

/* ---- */

void jit_put_call_func(struct jit_build *b, unsigned func)
{
	jit_site_add(b, JIT_SITE_CALL, 5)->to = func;
}

void jit_put_call_reg(struct jit_build *b, unsigned reg)
{
	x86_rr(b, 0xff, 2, x86_reg[reg]);
}

uint8_t *jit_put_unless(struct jit_build *b, unsigned reg, uint64_t v)
{
	x86_imm(b, T0, v);
	x86_rr(b, X_CMP | X_W, T0, x86_reg[reg]);
	return x86_skip(b, CC_NE);
}

void jit_put_land(struct jit_build *b, uint8_t *skip)
{
	x86_land(b, skip);
}

#endif
