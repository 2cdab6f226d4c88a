// SPDX-License-Identifier: Apache-2.0
/*
 * x86_call.c: calls: of helpers, of functions of the program, of maps' lookups written in place, and
 * tail calls.
 */
#ifdef __x86_64__
#include "jit/x86.h"

#define HELPER_LOOKUP	 1
#define HELPER_TAIL_CALL 12

#define REACH ((1ul << 31) - (1ul << 20))

static bool reaches(const struct jit_build *b, uint64_t address)
{
	uint64_t lo = (uintptr_t)b->space;

	return address < lo ? lo + b->space_size - address < REACH : address - lo < REACH;
}

static void call_address(struct jit_build *b, uint64_t address)
{
	if (reaches(b, address)) {
		jit_site_add(b, JIT_SITE_FAR, 5)->address = address;
		return;
	}
	x86_imm(b, RAX, address);
	x86_rr(b, 0xff, 2, RAX);
}

static void call_table(struct jit_build *b,
		       uint64_t (*const *table)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t),
		       unsigned n, int32_t which, const char *missing)
{
	if (which < 0 || (unsigned)which >= n || !table[which])
		jit_refuse(b, missing);
	else
		call_address(b, (uintptr_t)table[which]);
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

/* rax = the value of the index in T0 */
static void value_address(struct jit_build *b, const struct jit_map *m)
{
	bool scaled = m->stride == 1 || m->stride == 2 || m->stride == 4 || m->stride == 8;

	if (!scaled)
		scale(b, T0, m->stride);
	x86_imm(b, RAX, (uintptr_t)m->values);
	x86_rx(b, X_LEA | X_W, RAX, RAX, T0, scaled ? (unsigned)__builtin_ctz(m->stride) : 0, 0);
	if (m->kind != JIT_PERCPU_ARRAY)
		return;
	x86_rm(b, X_LOAD, RCX, RUN, offsetof(struct jit_run, cpu));
	scale(b, RCX, m->cpu_stride);
	x86_rr(b, X_ADD | X_W, RCX, RAX);
}

/* r0 = lookup, and the test for NULL where it follows. */
static void lookup(struct jit_build *b, const struct jit_map *m)
{
	const struct isa_insn *n = jit_follow(b);
	uint8_t *none;

	x86_rm(b, X_LOAD, T0, x86_reg[2], 0);
	x86_rr(b, X_XOR, RAX, RAX);
	x86_group1(b, false, 7, T0, (int32_t)m->max_entries);
	if (n && n->op == ISA_JEQ64_K && n->dst == 0 && n->imm == 0) {
		b->next = (unsigned)(n - b->insns) + 1;
		x86_jump(b, CC_AE, jit_jump_target(b, b->next - 1, n));
		value_address(b, m);
		return;
	}
	if (n && n->op == ISA_JNE64_K && n->dst == 0 && n->imm == 0) {
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
static void tail_call(struct jit_build *b, const struct jit_map *m)
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

/* The array is not known: it is one of them. */
static void tail_call_any(struct jit_build *b)
{
	uint8_t *other;
	unsigned i;

	for (i = 0; i < b->in->n_maps && !b->rc; i++) {
		const struct jit_map *m = &b->in->maps[i];

		if (m->kind != JIT_PROG_ARRAY)
			continue;
		jit_room(b, JIT_ROOM);
		x86_imm(b, T0, m->map);
		x86_rr(b, X_CMP | X_W, T0, x86_reg[2]);
		other = x86_skip(b, CC_NE);
		tail_call(b, m);
		x86_land(b, other);
	}
}

/* ---- */

static void call_helper(struct jit_build *b, const struct isa_insn *i)
{
	const struct jit_map *m = NULL;

	if (i->imm == HELPER_LOOKUP)
		m = jit_known_map(b, b->pc, 1);
	if (i->imm == HELPER_TAIL_CALL)
		m = jit_known_map(b, b->pc, 2);
	if (i->imm == HELPER_TAIL_CALL && m && m->kind == JIT_PROG_ARRAY)
		tail_call(b, m);
	else if (i->imm == HELPER_TAIL_CALL)
		tail_call_any(b);
	else if (m && m->kind == JIT_CALLED)
		call_address(b, (uintptr_t)m->lookup);
	else if (m && m->kind != JIT_PROG_ARRAY)
		lookup(b, m);
	else
		call_table(b, b->in->helpers, b->in->n_helpers, i->imm, "no such helper");
}

void x86_call(struct jit_build *b, const struct isa_insn *i)
{
	switch (i->op) {
	case ISA_CALL:
		call_helper(b, i);
		break;
	case ISA_CALL_KFUNC:
		call_table(b, b->in->kfuncs, b->in->n_kfuncs, i->imm, "no such kfunc");
		break;
	case ISA_CALL_LOCAL:
		jit_site_add(b, JIT_SITE_CALL, 5)->to =
			b->in->proof->func_of[(int)b->pc + 1 + i->imm];
		break;
	default:
		x86_rr(b, 0xff, 2, x86_reg[i->dst]);
	}
}

#endif
