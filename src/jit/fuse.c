// SPDX-License-Identifier: Apache-2.0
/*
 * fuse.c: what several instructions say, said by one; for every machine.
 *
 *	r2 = r1; r2 <<= 13; r1 >>= 51; r1 |= r2          -> r1 rotated left by 13
 *	r2 = *(u8 *)(r1 +13); r2 <<= 8;
 *	r3 = *(u8 *)(r1 +12); r2 |= r3                   -> r2 = *(u16 *)(r1 +12)
 *	*(u32 *)(r10 -4) = r6; r2 = r10; r2 += -4;
 *	r1 = array ll; call bpf_map_lookup_elem          -> the store; r0 = the array's value at index r6
 *	*(u16 *)(r10 -4) = r6;
 *	*(u8 *)(r10 -1) = r7; *(u8 *)(r10 -2) = r8       -> one store of 4 bytes
 *
 * A processor cannot hand what narrow stores left to a wider load, which waits until all of them are done. Keys
 * of hashes and sums over headers are such loads.
 *
 * The first two end in an instruction that joins two registers, one of which nobody reads afterwards; the
 * last in a call, after which nobody reads r1 to r5. From there one looks back, within what no jump
 * enters and no call leaves. What was fused becomes JIT_NOP.
 *
 * J7  Only code between two targets of jumps is fused, so that it runs as a whole or not at all.
 */
#include "jit/inside.h"

#define WINDOW 24
#define NONE   UINT32_MAX

/* A joining instruction and what was found of it. */
struct join {
	struct jit_build *b;
	unsigned pc, lo; /* looks back as far as lo */
	unsigned d, s;
	bool wide;
};

/*
 * The last in [lo, pc) that writes @reg, or reads it where @reads; NONE too where there is no straight
 * way from it to @pc.
 */
static unsigned last(const struct join *j, unsigned pc, unsigned lo, unsigned reg, bool reads)
{
	const struct jit_build *b = j->b;

	while (pc > lo && !(b->flags[pc] & JIT_TARGET)) {
		const struct isa_insn *i = &b->insns[--pc];

		if (jit_passes(i, reg))
			continue;
		if (jit_leaves(i))
			return NONE;
		if ((jit_writes(i) | (reads ? jit_reads(i) : 0)) & 1 << reg)
			return pc;
	}
	return NONE;
}

static void drop(const struct join *j, unsigned pc)
{
	j->b->insns[pc] = (struct isa_insn){.op = JIT_NOP};
}

/* ---- rotates ------------------------------------------------------------------------------------ */

/* How far left the shift by a constant at @pc goes; 0: it is none. */
static int shifts_left(const struct join *j, unsigned pc)
{
	const struct isa_insn *i = &j->b->insns[pc];

	if (i->op == (j->wide ? ISA_LSH64_K : ISA_LSH32_K))
		return i->imm;
	return i->op == (j->wide ? ISA_RSH64_K : ISA_RSH32_K) ? -i->imm : 0;
}

static bool copies(const struct join *j, unsigned pc, unsigned dst, unsigned src)
{
	const struct isa_insn *i = &j->b->insns[pc];

	return (i->op == ISA_MOV64_X || (!j->wide && i->op == ISA_MOV32_X)) && i->dst == dst &&
	       i->src == src;
}

/*
 * Did both hold one value before they were shifted at @sd and @ss? *copy is set to what made s of it,
 * if d does not need that.
 */
static bool same_before(const struct join *j, unsigned sd, unsigned ss, unsigned *copy)
{
	unsigned kd = last(j, sd, j->lo, j->d, false), ks = last(j, ss, j->lo, j->s, false), x;

	*copy = NONE;
	if (kd != NONE && kd < ss && copies(j, kd, j->d, j->s) &&
	    last(j, ss, kd + 1, j->s, false) == NONE)
		return true;
	if (ks == NONE)
		return false;
	if (last(j, ss, ks + 1, j->s, true) == NONE)
		*copy = ks;
	if (ks < sd && copies(j, ks, j->s, j->d) && last(j, sd, ks + 1, j->d, false) == NONE)
		return true;
	if (kd == NONE)
		return false;
	x = j->b->insns[kd].src;
	return x != j->d && x != j->s && copies(j, kd, j->d, x) && copies(j, ks, j->s, x) &&
	       last(j, max(kd, ks), min(kd, ks), x, false) == NONE;
}

static bool fuse_rotate(const struct join *j, unsigned sd, unsigned ss)
{
	int left = shifts_left(j, sd), right = shifts_left(j, ss);
	unsigned copy;

	if (!left || !right || (left < 0) == (right < 0) ||
	    abs(left) + abs(right) != (j->wide ? 64 : 32))
		return false;
	if (!same_before(j, sd, ss, &copy) || !jit_dead_after(j->b, j->pc, j->s))
		return false;
	drop(j, sd);
	drop(j, ss);
	if (copy != NONE)
		drop(j, copy);
	j->b->insns[j->pc] = (struct isa_insn){
		.op = j->wide ? JIT_ROL64 : JIT_ROL32, .dst = j->d, .imm = max(left, right)};
	return true;
}

/* ---- loads -------------------------------------------------------------------------------------- */

/* Is the upper byte at @high and the lower one at @low, with nothing stored between? */
static bool are_neighbours(const struct join *j, unsigned high, unsigned low)
{
	const struct isa_insn *h = &j->b->insns[high], *l = &j->b->insns[low];
	unsigned k, first = min(high, low), then = max(high, low);

	if (h->op != ISA_LDX8 || l->op != ISA_LDX8 || h->src != l->src || h->off != l->off + 1 ||
	    last(j, then, first, h->src, false) != NONE)
		return false;
	for (k = first; k < then; k++)
		if (jit_info[j->b->insns[k].op] & JIT_STORES)
			return false;
	return true;
}

/* Between the first of the loads and the joint, only what is fused touches the two registers. */
static bool untouched(const struct join *j, unsigned from, unsigned a, unsigned b, unsigned c)
{
	uint16_t regs = 1 << j->d | 1 << j->s;
	unsigned k;

	for (k = from; k < j->pc; k++)
		if (k != a && k != b && k != c &&
		    (jit_writes(&j->b->insns[k]) | jit_reads(&j->b->insns[k])) & regs)
			return false;
	return true;
}

static bool fuse_bytes(const struct join *j, unsigned kd, unsigned ks)
{
	bool upper_is_d = j->b->insns[kd].op != ISA_LDX8;
	unsigned shift = upper_is_d ? kd : ks, low = upper_is_d ? ks : kd, high, first;
	const struct isa_insn *i = &j->b->insns[shift];

	if ((i->op != ISA_LSH64_K && i->op != ISA_LSH32_K) || i->imm != 8)
		return false;
	high = last(j, shift, j->lo, i->dst, false);
	if (high == NONE || !are_neighbours(j, high, low) ||
	    !untouched(j, min(high, low), high, low, shift) || !jit_dead_after(j->b, j->pc, j->s))
		return false;
	first = min(high, low);
	j->b->insns[first] = (struct isa_insn){.op = ISA_LDX16,
					       .dst = j->d,
					       .src = j->b->insns[low].src,
					       .off = j->b->insns[low].off};
	drop(j, max(high, low));
	drop(j, shift);
	drop(j, j->pc);
	return true;
}

/* ---- lookups in arrays ---------------------------------------------------------------------------- */

/* The number of the array whose address is loaded at @pc, or -1. */
static int array_loaded(const struct jit_build *b, unsigned pc)
{
	const struct isa_insn *i = &b->insns[pc];
	unsigned n;

	if (i->op != ISA_LDDW)
		return -1;
	for (n = 0; n < b->in->n_maps; n++)
		if (b->in->maps[n].map == isa_imm64(i))
			return b->in->maps[n].kind <= JIT_PERCPU_ARRAY && n <= INT16_MAX ? (int)n
											 : -1;
	return -1;
}

/* May the store @i change any of the 4 bytes at r10 + @off? */
static bool may_change(const struct isa_insn *i, int off)
{
	return i->dst != 10 || JIT_MODE(jit_codes[i->op]) == 0xc0 ||
	       (i->off < off + 4 && i->off + 8 > off);
}

/* A call of a lookup in an array, and what sets its arguments. */
struct lookup {
	struct join j;
	int array; /* its number */
	int off;   /* the index lies at r10 + off */
	unsigned map, move, add;
	unsigned store;	  /* what put it there, or read it from there since */
	unsigned written; /* registers, since, but by what sets the arguments */
};

/* r1 = array ll, r2 = r10, r2 += off: in any order, with nothing between that cares. */
static bool find_arguments(struct lookup *l)
{
	const struct isa_insn *i = l->j.b->insns;

	l->map = last(&l->j, l->j.pc, l->j.lo, 1, true);
	l->add = last(&l->j, l->j.pc, l->j.lo, 2, true);
	if (l->map == NONE || l->add == NONE || i[l->add].op != ISA_ADD64_K)
		return false;
	l->array = array_loaded(l->j.b, l->map);
	l->move = last(&l->j, l->add, l->j.lo, 2, true);
	l->off = i[l->add].imm;
	return l->array >= 0 && l->move != NONE && i[l->move].op == ISA_MOV64_X &&
	       i[l->move].src == 10;
}

static bool find_store(struct lookup *l)
{
	const struct jit_build *b = l->j.b;
	unsigned pc = l->j.pc;

	l->written = 0;
	while (pc > l->j.lo && !(b->flags[pc] & JIT_TARGET)) {
		const struct isa_insn *i = &b->insns[--pc];

		l->store = pc;
		if ((i->op == ISA_STX32 || i->op == ISA_ST32) && i->dst == 10 && i->off == l->off)
			return true;
		if (i->op == ISA_LDX32 && i->src == 10 && i->off == l->off &&
		    !(l->written & 1u << i->dst))
			return true;
		if (jit_info[i->op] & JIT_CALLS ||
		    (jit_info[i->op] & JIT_STORES && may_change(i, l->off)))
			return false;
		if (pc != l->map && pc != l->move && pc != l->add)
			l->written |= jit_writes(i);
	}
	return false;
}

/* The constant that was stored. */
static bool stores_constant(const struct lookup *l, int32_t *v)
{
	const struct isa_insn *i = &l->j.b->insns[l->store];

	if (i->op != ISA_ST32) {
		unsigned set = last(&l->j, l->store, l->j.lo, i->src, false);

		if (set == NONE)
			return false;
		i = &l->j.b->insns[set];
		if (i->op != ISA_MOV32_K && i->op != ISA_MOV64_K)
			return false;
	}
	*v = i->imm;
	return !l->j.b->in->blind;
}

/* The index is taken from where it was before it was stored: nobody waits for the store. */
static void fuse_lookup(struct jit_build *b, unsigned pc)
{
	struct lookup l = {.j = {.b = b, .pc = pc, .lo = max(pc, (unsigned)WINDOW) - WINDOW}};
	const struct isa_insn *store;
	struct isa_insn made = {0};
	unsigned reg;

	if (!find_arguments(&l) || !find_store(&l))
		return;
	store = &b->insns[l.store];
	reg = store->op == ISA_LDX32 ? store->dst : store->src;
	if (store->op != ISA_LDX32 && stores_constant(&l, &made.imm))
		made.op = JIT_LOOKUP_K;
	else if (store->op != ISA_ST32 && !(l.written & 1u << reg))
		made.op = JIT_LOOKUP_X;
	else
		return;
	made.src = (uint8_t)reg;
	made.off = (int16_t)l.array;
	drop(&l.j, l.map);
	drop(&l.j, l.map + 1);
	drop(&l.j, l.move);
	drop(&l.j, l.add);
	b->insns[pc] = made;
}

/* ---- stores ------------------------------------------------------------------------------------- */

#define STORES_MAX 8

/* Stores through one register, the last first; they move down to it and across each other. */
struct stores {
	struct join j;
	struct {
		unsigned pc, size;
		int off;
		bool moves; /* its register still holds what it stores */
	} s[STORES_MAX];
	unsigned n, written;
};

static unsigned store_size(const struct isa_insn *i)
{
	static const uint8_t sizes[] = {4, 2, 1, 8};

	return sizes[JIT_SIZE(jit_codes[i->op]) >> 3];
}

/* False: no more. */
static bool note_store(struct stores *st, unsigned pc)
{
	const struct isa_insn *i = &st->j.b->insns[pc];
	int off = i->off, size = (int)store_size(i);
	unsigned n;

	for (n = 0; n < st->n; n++)
		if (off < st->s[n].off + (int)st->s[n].size && st->s[n].off < off + size)
			return false;
	st->s[n].pc = pc;
	st->s[n].off = off;
	st->s[n].size = (unsigned)size;
	st->s[n].moves = JIT_CLASS(jit_codes[i->op]) == JIT_STX && !(st->written & 1u << i->src);
	return ++st->n < STORES_MAX;
}

/* Up from the last, as far as nobody else looks at memory. */
static void find_stores(struct stores *st)
{
	const struct jit_build *b = st->j.b;
	unsigned base = b->insns[st->j.pc].dst, pc = st->j.pc;

	note_store(st, pc);
	while (pc > st->j.lo && !(b->flags[pc] & JIT_TARGET)) {
		const struct isa_insn *i = &b->insns[--pc];
		uint8_t class = JIT_CLASS(jit_codes[i->op]);

		if (i->op == JIT_NOP || i->op == ISA_NONE)
			continue;
		if (jit_leaves(i) || class == JIT_LDX || jit_writes(i) & 1u << base ||
		    (class == JIT_LD && i->op != ISA_LDDW))
			return;
		if (jit_info[i->op] & JIT_STORES &&
		    (i->op < ISA_ST8 || i->op > ISA_STX64 || i->dst != base || !note_store(st, pc)))
			return;
		st->written |= jit_writes(i);
	}
}

/* The @size bytes from @off as pieces, the last store among them; their immediate, or 0. */
static int32_t pieces_of(const struct stores *st, int off, unsigned size, unsigned *which)
{
	int end = off + (int)size;
	unsigned n = 0, k;
	int32_t imm = 0;

	*which = 0;
	while (off < end) {
		for (k = 0; k < st->n && (st->s[k].off != off || !st->s[k].moves); k++)
			;
		if (k == st->n || n == JIT_PIECES_MAX || off + (int)st->s[k].size > end)
			return 0;
		imm |= JIT_PIECE(n, st->j.b->insns[st->s[k].pc].src,
				 (unsigned)__builtin_ctz(st->s[k].size));
		*which |= 1u << k;
		off += (int)st->s[k].size;
		n++;
	}
	return *which & 1 ? imm : 0;
}

static void fuse_stores(struct jit_build *b, unsigned pc)
{
	struct stores st = {.j = {.b = b, .pc = pc, .lo = max(pc, (unsigned)WINDOW) - WINDOW}};
	unsigned size, first = 0, which, k;
	int32_t imm = 0;

	find_stores(&st);
	for (size = 8; size > 1 && !imm; size /= 2)
		for (k = 0; k < st.n && !imm; k++) {
			imm = pieces_of(&st, st.s[k].off, size, &which);
			first = k;
		}
	if (!imm)
		return;
	b->insns[pc].op = JIT_PIECES;
	b->insns[pc].off = (int16_t)st.s[first].off;
	b->insns[pc].imm = imm;
	for (k = 1; k < st.n; k++)
		if (which & 1u << k)
			drop(&st.j, st.s[k].pc);
}

/* ------------------------------------------------------------------------------------------------- */

static bool begins(const struct isa_insn *i)
{
	switch (i->op) {
	case ISA_LSH64_K:
	case ISA_RSH64_K:
	case ISA_LSH32_K:
	case ISA_RSH32_K:
	case ISA_LDX8:
		return true;
	default:
		return false;
	}
}

/* The last that touch d and s before they are joined, if both can be part of a whole. */
static bool find_parts(const struct join *j, unsigned *kd, unsigned *ks)
{
	const struct jit_build *b = j->b;
	unsigned k = j->pc, wanted = 1 << j->d | 1 << j->s, bits;

	*kd = *ks = NONE;
	while (wanted && k > 0 && !(b->flags[k] & JIT_TARGET) && j->pc - k < WINDOW) {
		const struct isa_insn *i = &b->insns[--k];

		if (jit_passes(i, j->d) && jit_passes(i, j->s))
			continue;
		bits = (jit_reads(i) | jit_writes(i)) & wanted;
		if (jit_leaves(i))
			return false;
		if (!bits)
			continue;
		if (!begins(i) || bits == (1u << j->d | 1u << j->s))
			return false;
		*(bits == 1u << j->d ? kd : ks) = k;
		wanted &= ~bits;
	}
	return !wanted;
}

static void fuse_at(struct jit_build *b, unsigned pc)
{
	const struct isa_insn *i = &b->insns[pc];
	struct join j = {.b = b, .pc = pc, .d = i->dst, .s = i->src};
	unsigned kd, ks;

	if (i->op == ISA_CALL) {
		fuse_lookup(b, pc);
		return;
	}
	j.lo = max(pc, (unsigned)WINDOW) - WINDOW;
	if (!find_parts(&j, &kd, &ks))
		return;
	j.wide = JIT_CLASS(jit_codes[i->op]) == JIT_ALU64;
	if (!fuse_rotate(&j, kd, ks))
		fuse_bytes(&j, kd, ks);
}

static bool is_piece(const struct isa_insn *i)
{
	return i->op == ISA_STX8 || i->op == ISA_STX16;
}

void jit_fuse(struct jit_build *b)
{
	unsigned n;

	for (n = 0; n < b->n_joins; n++)
		if (!is_piece(&b->insns[b->joins[n]]))
			fuse_at(b, b->joins[n]);
	while (n-- > 0) /* the last store knows all of them */
		if (is_piece(&b->insns[b->joins[n]]))
			fuse_stores(b, b->joins[n]);
}
