// SPDX-License-Identifier: Apache-2.0
/*
 * peek.c: may a program read the kernel's struct bpf_map through a map's pointer?
 *
 *	LDDW of a map --> registers, by moves, calls, callbacks' first argument --> a load, bpf_probe_read*()
 *
 * Before each instruction a bit a register: it may hold one. Where paths meet the bits are joined, in passes over
 * the program until nothing changes.
 *
 * K1  "No" is certain. What is not followed (a pointer stored, returned, or from a map of maps) is "yes", which
 *     costs one look into the kernel's BTF an engine.
 */
#include "vm/shadow.h"

#define PASSES 64
#define ARGS   0x3eU /* r1 to r5 */

struct peek {
	const struct prog *p;
	uint16_t *at;
	bool yes, changed, nested;
};

static void join(struct peek *k, unsigned pc, unsigned bits)
{
	if (pc >= k->p->n_insns || !(bits & ~k->at[pc]))
		return;
	k->at[pc] |= (uint16_t)bits;
	k->changed = true;
}

static bool is_map(const struct peek *k, uint64_t addr)
{
	for (unsigned i = 0; i < k->p->n_maps; i++)
		if ((uintptr_t)k->p->maps[i]->map == addr)
			return true;
	return false;
}

static bool reads_kernel(int helper)
{
	return helper == BPF_FUNC_probe_read || helper == BPF_FUNC_probe_read_kernel ||
	       helper == BPF_FUNC_probe_read_str || helper == BPF_FUNC_probe_read_kernel_str;
}

/* The bits after a call of any kind. */
static unsigned called(struct peek *k, unsigned pc, const struct isa_insn *i, unsigned bits)
{
	if (i->op == ISA_CALL_LOCAL)
		join(k, (unsigned)((int)pc + i->imm + 1), bits & ARGS);
	if (i->op == ISA_CALL && reads_kernel(i->imm) && (bits & 1U << 3))
		k->yes = true;
	bits &= ~(ARGS | 1);
	if (i->op == ISA_CALL && i->imm == BPF_FUNC_map_lookup_elem && k->nested)
		bits |= 1; /* the inner one */
	return bits;
}

static unsigned moved(const struct isa_insn *i, unsigned bits)
{
	unsigned dst = 1U << i->dst, src = bits >> i->src & 1 ? dst : 0;

	if (i->op == ISA_MOV64_X)
		return (bits & ~dst) | src;
	if (i->op == ISA_MOV64_K || i->op == ISA_MOV32_K || i->op == ISA_MOV32_X)
		return bits & ~dst;
	return bits | src; /* arithmetic: still one, at an offset */
}

static unsigned loaded(struct peek *k, const struct isa_insn *i, unsigned bits)
{
	k->yes |= bits >> i->src & 1;
	return bits & ~(1U << i->dst);
}

static unsigned after(struct peek *k, unsigned pc, unsigned bits)
{
	const struct isa_insn *i = &k->p->code.insns[pc];

	switch (i->op) {
	case ISA_LDDW:
		bits &= ~(1U << i->dst);
		return is_map(k, isa_imm64(i)) ? bits | 1U << i->dst : bits;
	case ISA_LDDW_FUNC:
		join(k, (unsigned)((int)pc + i->imm + 1), 1U << 1); /* helpers hand it the map */
		return bits & ~(1U << i->dst);
	case ISA_CALL:
	case ISA_CALL_KFUNC:
	case ISA_CALL_REG:
	case ISA_CALL_LOCAL:
		return called(k, pc, i, bits);
	case ISA_EXIT:
		k->yes |= bits & 1;
		return 0;
	case ISA_STX64:
	case ISA_STORE_REL64:
	case ISA_XCHG64:
	case ISA_CMPXCHG64:
		k->yes |= bits >> i->src & 1;
		return bits;
	case ISA_LDX8 ... ISA_LDSX32:
	case ISA_LOAD_ACQ8 ... ISA_LOAD_ACQ64:
		return loaded(k, i, bits);
	case ISA_ADD64_X ... ISA_ARSH32_K:
		return moved(i, bits);
	default:
		return bits;
	}
}

static void step(struct peek *k, unsigned pc)
{
	const struct isa_insn *i = &k->p->code.insns[pc];
	unsigned bits = after(k, pc, k->at[pc]);

	if (i->op >= ISA_JEQ64_X && i->op <= ISA_MAY_GOTO)
		join(k, (unsigned)((int)pc + 1 + (i->op == ISA_JA32 ? i->imm : i->off)), bits);
	if (i->op != ISA_JA && i->op != ISA_JA32)
		join(k, pc + 1, bits);
}

static bool holds_maps(const struct prog *p)
{
	for (unsigned i = 0; i < p->n_maps; i++)
		if (p->maps[i]->map->def.inner)
			return true;
	return false;
}

bool vm_peeks(const struct prog *p)
{
	struct peek k = {.p = p, .changed = true, .nested = holds_maps(p)};

	if (!p->n_maps)
		return false;
	k.at = calloc(p->n_insns, sizeof(*k.at));
	k.yes = !k.at;
	for (unsigned pass = 0; !k.yes && k.changed; pass++) {
		k.changed = false;
		for (unsigned pc = 0; !k.yes && pc < p->n_insns; pc++)
			step(&k, pc);
		k.yes |= pass == PASSES;
	}
	free(k.at);
	return k.yes;
}
