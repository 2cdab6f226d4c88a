// SPDX-License-Identifier: Apache-2.0
/*
 * lower.c: what an instruction is, for every machine: which call is a map's lookup written in place or a
 * tail call, which jump is none. How it is said is the machine's (jit_put_*).
 */
#if defined(__x86_64__) || defined(__aarch64__)
#include "jit/inside.h"

#define HELPER_TAIL_CALL 12

/* ---- calls -------------------------------------------------------------------------------------- */

static void call_table(struct jit_build *b,
		       uint64_t (*const *table)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t),
		       unsigned n, int32_t which, const char *missing)
{
	if (which < 0 || (unsigned)which >= n || !table[which])
		jit_refuse(b, missing);
	else
		jit_put_call(b, (uintptr_t)table[which]);
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
		other = jit_put_unless(b, 2, m->map);
		jit_put_tail_call(b, m);
		jit_put_land(b, other);
	}
}

static void call_helper(struct jit_build *b, const struct isa_insn *i)
{
	const struct jit_map *m = NULL;

	if (i->imm == JIT_HELPER_LOOKUP)
		m = jit_known_map(b, b->pc, 1);
	if (i->imm == HELPER_TAIL_CALL)
		m = jit_known_map(b, b->pc, 2);
	if (i->imm == HELPER_TAIL_CALL && m && m->kind == JIT_PROG_ARRAY)
		jit_put_tail_call(b, m);
	else if (i->imm == HELPER_TAIL_CALL)
		tail_call_any(b);
	else if (m && m->kind == JIT_CALLED)
		jit_put_call(b, (uintptr_t)m->lookup);
	else if (m && m->kind != JIT_PROG_ARRAY)
		jit_put_lookup(b, m, i);
	else
		call_table(b, b->in->helpers, b->in->n_helpers, i->imm, "no such helper");
}

/* jit_fuse() made it of such a call. */
static void lower_lookup(struct jit_build *b, const struct isa_insn *i)
{
	jit_put_lookup(b, &b->in->maps[i->off], i);
}

/* ---- by class ------------------------------------------------------------------------------------ */

static void lower_control(struct jit_build *b, const struct isa_insn *i)
{
	unsigned to;

	switch (i->op) {
	case ISA_JA:
	case ISA_JA32:
		to = jit_jump_target(b, b->pc, i);
		if (to != b->pc + 1)
			jit_put_jump(b, to);
		break;
	case ISA_MAY_GOTO:
		jit_put_may_goto(b, i);
		break;
	case ISA_CALL:
		call_helper(b, i);
		break;
	case ISA_CALL_KFUNC:
		call_table(b, b->in->kfuncs, b->in->n_kfuncs, i->imm, "no such kfunc");
		break;
	case ISA_CALL_LOCAL:
		jit_put_call_func(b, b->in->proof->func_of[(int)b->pc + 1 + i->imm]);
		break;
	case ISA_CALL_REG:
		jit_put_call_reg(b, i->dst);
		break;
	case ISA_EXIT:
		jit_put_exit(b);
		break;
	}
}

static void lower_load(struct jit_build *b, const struct isa_insn *i)
{
	if (i->op == ISA_LDDW_FUNC)
		jit_put_func(b, i->dst, b->in->proof->func_of[(int)b->pc + 1 + i->imm]);
	else if (i->op == ISA_LDDW)
		jit_put_constant(b, i->dst, isa_imm64(i));
	else if (i->op >= ISA_LD_ABS8)
		jit_put_packet(b, i);
	else
		jit_refuse(b, "a load that its loader did not resolve");
	b->next += i->op == ISA_LDDW_FUNC || i->op == ISA_LDDW;
}

/* The second half of an LDDW is never met. */
static void lower_none(struct jit_build *b, const struct isa_insn *i maybe_unused)
{
	jit_refuse(b, "an instruction that nothing may execute");
}

typedef void lower_fn(struct jit_build *b, const struct isa_insn *i);

#define IS_ALU(c) (JIT_CLASS(c) == JIT_ALU32 || JIT_CLASS(c) == JIT_ALU64)
#define IS_JMP(c) (JIT_CLASS(c) == JIT_JMP || JIT_CLASS(c) == JIT_JMP32)

/* By the opcode byte, decided when this is compiled. */
#define LOWER(c)                                                                             \
	(IS_ALU(c) && (JIT_ALU(c) == 3 || JIT_ALU(c) == 9) ? jit_put_divide                  \
	 : IS_ALU(c) && JIT_ALU(c) == 11		   ? jit_put_move                    \
	 : IS_ALU(c)					   ? jit_put_alu                     \
	 : IS_JMP(c) && JIT_ALU(c) && JIT_ALU(c) != 8 && JIT_ALU(c) != 9 && JIT_ALU(c) != 14 \
		 ? jit_put_branch                                                            \
	 : IS_JMP(c)					  ? lower_control                    \
	 : JIT_CLASS(c) == JIT_LD			  ? lower_load                       \
	 : JIT_CLASS(c) == JIT_STX && JIT_MODE(c) == 0xc0 ? jit_put_atomic                   \
							  : jit_put_memory)

static lower_fn *const lower[JIT_OPS] = {
#define INSN(id, code, src, off, imm, text) [ISA_##id] = LOWER(code),
#include "isa/insn.def"
#undef INSN
	[ISA_NONE] = lower_none,       [ISA_NEVER] = lower_none,      [JIT_ROL64] = jit_put_alu,
	[JIT_ROL32] = jit_put_alu,     [JIT_LOOKUP_X] = lower_lookup, [JIT_LOOKUP_K] = lower_lookup,
	[JIT_PIECES] = jit_put_pieces,
};

void jit_lower(struct jit_build *b, const struct isa_insn *i)
{
	lower[i->op](b, i);
}

#endif
