// SPDX-License-Identifier: Apache-2.0
/*
 * gen.c: a program is a row of items; at each border between two all registers are numbers, so that
 * jumps may land there.
 *
 *	program := entry item* epilogue, function*
 *	item    := alu | stack | memory | atomic | branch | diamond | loop | call | packet | constant
 */
#include "gen.h"

/* Below r10: one word for the epilogue, one per nested loop, then what items work on. */
#define SLOT_SPARE -8
#define SLOT_LOOP  -16
#define SLOT_WORK  -(32 + 8 * GEN_SLOTS)

#define FUNCS 3
#define PATHS 16

struct gen {
	struct gen_program *p;
	uint64_t state;
	unsigned loops;	    /* around what is made now */
	unsigned weight;    /* product of their counts */
	unsigned paths;	    /* forks that the verifier has to follow so far */
	bool main;	    /* else a function: calls nothing but later ones */
	unsigned next_func; /* the first that may be called */
	unsigned n_calls;
	struct {
		unsigned at, func;
	} calls[64];
};

static uint64_t rnd(struct gen *g) /* splitmix64 */
{
	uint64_t z = (g->state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static unsigned below(struct gen *g, unsigned n)
{
	return (unsigned)(rnd(g) % n);
}

static uint64_t number(struct gen *g)
{
	static const uint64_t edges[] = {
		0,	    1,		UINT64_MAX, 1ULL << 63, INT64_MAX,    UINT32_MAX,
		1ULL << 31, INT32_MAX,	1ULL << 32, 0x80,	0x7f,	      0xff,
		0x8000,	    0xffff,	0x7fff,	    63,		64,	      31,
		32,	    0xff00ff00, 2,	    3,		(uint64_t)-2, 0xffffffff80000000ULL,
	};

	switch (below(g, 4)) {
	case 0:
		return edges[below(g, array_size(edges))];
	case 1:
		return rnd(g) >> below(g, 64);
	case 2:
		return (uint64_t)((int64_t)rnd(g) >> below(g, 64));
	default:
		return rnd(g);
	}
}

static unsigned emit(struct gen *g, struct isa_insn i)
{
	if (g->p->n == GEN_MAX)
		abort();
	g->p->insns[g->p->n] = i;
	return g->p->n++;
}

static uint8_t reg(struct gen *g)
{
	return (uint8_t)below(g, 10);
}

static uint8_t other(struct gen *g, uint8_t not )
{
	return (uint8_t)((not +1 + below(g, 9)) % 10);
}

static void mov(struct gen *g, uint8_t dst, int32_t imm)
{
	emit(g, (struct isa_insn){ISA_MOV64_K, dst & 15, 0, 0, imm});
}

static void load(struct gen *g, uint8_t dst, uint8_t src, int off)
{
	emit(g, (struct isa_insn){ISA_LDX64, dst & 15, src & 15, (int16_t)off, 0});
}

static void store(struct gen *g, uint8_t dst, int off, uint8_t src)
{
	emit(g, (struct isa_insn){ISA_STX64, dst & 15, src & 15, (int16_t)off, 0});
}

static void value_address(struct gen *g, uint8_t dst, size_t off)
{
	emit(g, (struct isa_insn){ISA_LDDW_MAP_VALUE, dst & 15, 2, 0, 0});
	emit(g, (struct isa_insn){.op = ISA_NONE, .imm = (int32_t)off});
}

static void item(struct gen *g);

/* ---- items ----------------------------------------------------------------------------------- */

static int32_t shift_imm(struct gen *g, unsigned op)
{
	return (int32_t)below(g, op == ISA_LSH32_K || op == ISA_RSH32_K || op == ISA_ARSH32_K ? 32
											      : 64);
}

static bool divides(unsigned op)
{
	return op == ISA_DIV64_K || op == ISA_DIV32_K || op == ISA_MOD64_K || op == ISA_MOD32_K ||
	       (op >= ISA_SDIV64_X && op <= ISA_SMOD32_K);
}

static void alu(struct gen *g)
{
	unsigned op = ISA_ADD64_X + below(g, ISA_BSWAP64 - ISA_ADD64_X + 1);
	struct isa_insn i = {.op = (uint8_t)op, .dst = reg(g) & 15, .imm = (int32_t)number(g)};

	switch (op) {
	case ISA_LSH64_K:
	case ISA_LSH32_K:
	case ISA_RSH64_K:
	case ISA_RSH32_K:
	case ISA_ARSH64_K:
	case ISA_ARSH32_K:
		i.imm = shift_imm(g, op);
		break;
	default:
		if (divides(op) && !i.imm)
			i.imm = 7;
	}
	i.src = reg(g) & 15; /* kept where the row has a source register */
	emit(g, i);
}

static void constant(struct gen *g)
{
	uint64_t v = number(g);

	emit(g, (struct isa_insn){ISA_LDDW, reg(g) & 15, 0, 0, (int32_t)v});
	emit(g, (struct isa_insn){.op = ISA_NONE, .imm = (int32_t)(v >> 32)});
}

static unsigned size_of(unsigned op)
{
	switch (op) {
	case ISA_LDX8:
	case ISA_LDSX8:
	case ISA_ST8:
	case ISA_STX8:
	case ISA_LOAD_ACQ8:
	case ISA_STORE_REL8:
		return 1;
	case ISA_LDX16:
	case ISA_LDSX16:
	case ISA_ST16:
	case ISA_STX16:
	case ISA_LOAD_ACQ16:
	case ISA_STORE_REL16:
		return 2;
	case ISA_LDX32:
	case ISA_LDSX32:
	case ISA_ST32:
	case ISA_STX32:
	case ISA_LOAD_ACQ32:
	case ISA_STORE_REL32:
	case ISA_XCHG32:
	case ISA_CMPXCHG32:
		return 4;
	default:
		return op >= ISA_ATOMIC64_ADD && op <= ISA_FETCH32_XOR &&
				       (op - ISA_ATOMIC64_ADD) % 2
			       ? 4
			       : 8;
	}
}

/* Loads have their address in src, the others in dst. */
static bool loads(unsigned op)
{
	return op <= ISA_LDSX32 || (op >= ISA_LOAD_ACQ8 && op <= ISA_LOAD_ACQ64);
}

static void access_at(struct gen *g, unsigned op, uint8_t base, int off)
{
	struct isa_insn i = {.op = (uint8_t)op, .off = (int16_t)off, .imm = (int32_t)number(g)};
	uint8_t r = base == 10 ? reg(g) : other(g, base);

	i.dst = (loads(op) ? r : base) & 15;
	i.src = (loads(op) ? base : r) & 15;
	emit(g, i);
}

static unsigned memory_op(struct gen *g, bool atomic)
{
	return atomic ? ISA_ATOMIC64_ADD + below(g, ISA_STORE_REL64 - ISA_ATOMIC64_ADD + 1)
		      : ISA_LDX8 + below(g, ISA_STX64 - ISA_LDX8 + 1);
}

/*
 * A successful 32-bit cmpxchg leaves the upper half of r0 as it was in the kernel (6.18, x86-64) where
 * its verifier did not see that it is read later. The standard clears it; so do programs here.
 */
static void narrow(struct gen *g, unsigned op)
{
	if (op == ISA_CMPXCHG32)
		emit(g, (struct isa_insn){.op = ISA_MOV32_X});
}

/*
 * Nor does the kernel's verifier (6.18) follow values that a fetching atomic takes out of the stack: it
 * prunes paths by them and then removes as dead what is not (2 of 100,000 programs). So these work on
 * the map's value only.
 */
static bool fetches(unsigned op)
{
	return isa_written(&(struct isa_insn){.op = (uint8_t)op}) >= 0 && !loads(op);
}

static void on_stack(struct gen *g, bool atomic)
{
	unsigned op = memory_op(g, atomic), size = size_of(op);

	if (fetches(op))
		op = size == 8 ? ISA_ATOMIC64_ADD : ISA_ATOMIC32_XOR;
	access_at(g, op, 10, SLOT_WORK + (int)(below(g, 8 * GEN_SLOTS / size) * size));
}

/* A pointer into the value, perhaps with a computed offset; the register is a number afterwards. */
static void on_value(struct gen *g, bool atomic)
{
	unsigned op = memory_op(g, atomic), size = size_of(op);
	uint8_t base = other(g, 0), index = other(g, base);
	bool moving = below(g, 2);
	unsigned room = GEN_MEM - (moving ? 56 : 0) - size;
	unsigned off = atomic ? below(g, room / size + 1) * size : below(g, room + 1);

	value_address(g, base, offsetof(struct gen_value, mem) + (moving ? 0 : off));
	if (moving) {
		emit(g, (struct isa_insn){ISA_AND64_K, index & 15, 0, 0, 56});
		emit(g, (struct isa_insn){ISA_ADD64_X, base & 15, index & 15, 0, 0});
	}
	access_at(g, op, base, moving ? (int)off : 0);
	narrow(g, op);
	mov(g, base, (int32_t)number(g));
}

static struct isa_insn condition(struct gen *g)
{
	return (struct isa_insn){
		.op = (uint8_t)(ISA_JEQ64_X + below(g, ISA_JSLE32_K - ISA_JEQ64_X + 1)),
		.dst = reg(g) & 15,
		.src = reg(g) & 15,
		.imm = (int32_t)number(g),
	};
}

static void items(struct gen *g, unsigned n)
{
	while (n--)
		item(g);
}

/* The verifier walks a loop as often as it runs: what forks within is paid for by its weight. */
static bool afford(struct gen *g, unsigned price)
{
	price *= g->weight * (g->main ? 1 : 3);
	if (g->paths + price > PATHS)
		return false;
	g->paths += price;
	return true;
}

static void branch(struct gen *g)
{
	unsigned at = emit(g, condition(g));

	items(g, below(g, 4));
	g->p->insns[at].off = (int16_t)(g->p->n - at - 1);
}

static void diamond(struct gen *g)
{
	unsigned at = emit(g, condition(g)), over, far;

	items(g, 1 + below(g, 2));
	far = below(g, 2);
	over = emit(g, (struct isa_insn){.op = far ? ISA_JA32 : ISA_JA});
	g->p->insns[at].off = (int16_t)(g->p->n - at - 1);
	items(g, 1 + below(g, 2));
	if (far)
		g->p->insns[over].imm = (int32_t)(g->p->n - over - 1);
	else
		g->p->insns[over].off = (int16_t)(g->p->n - over - 1);
}

static void loop(struct gen *g)
{
	int slot = SLOT_LOOP - 8 * (int)g->loops;
	unsigned count = 2 + below(g, 3), top, leave = 0, back;
	uint8_t r = reg(g);
	bool may = below(g, 3) == 0;

	g->loops++;
	g->weight *= count;
	emit(g, (struct isa_insn){ISA_ST64, 10, 0, (int16_t)slot, (int32_t)count});
	top = g->p->n;
	if (may)
		leave = emit(g, (struct isa_insn){.op = ISA_MAY_GOTO});
	items(g, 1 + below(g, 3));
	load(g, r, 10, slot);
	emit(g, (struct isa_insn){ISA_ADD64_K, r & 15, 0, 0, -1});
	store(g, 10, slot, r);
	back = emit(g,
		    (struct isa_insn){below(g, 2) ? ISA_JNE64_K : ISA_JSGT32_K, r & 15, 0, 0, 0});
	g->p->insns[back].off = (int16_t)(top - back - 1);
	if (may)
		g->p->insns[leave].off = (int16_t)(g->p->n - leave - 1);
	g->weight /= count;
	g->loops--;
}

/* r1 to r5 are lost in a call: the item sets them again. */
static void call(struct gen *g)
{
	unsigned n = g->n_calls, func = g->next_func + below(g, FUNCS);

	if (func >= FUNCS || n == array_size(g->calls))
		return alu(g);
	g->calls[n].func = func;
	g->calls[n].at = emit(g, (struct isa_insn){ISA_CALL_LOCAL, 0, 1, 0, 0});
	g->n_calls++;
	for (uint8_t r = 1; r <= 5; r++) {
		if (below(g, 2))
			load(g, r, 10, SLOT_WORK + 8 * (int)below(g, GEN_SLOTS));
		else
			mov(g, r, (int32_t)number(g));
	}
}

/* LD_ABS and LD_IND want r6 to be the context; it lies in the last loop's word meanwhile. */
static void packet(struct gen *g)
{
	unsigned op = ISA_LD_ABS8 + below(g, ISA_LD_IND32 - ISA_LD_ABS8 + 1);
	struct isa_insn i = {.op = (uint8_t)op, .imm = (int32_t)below(g, GEN_PACKET - 3)};

	if (!g->p->packet || !g->main)
		return alu(g);
	if (op >= ISA_LD_IND8) {
		i.src = (reg(g) & 1) + 7;
		emit(g, (struct isa_insn){ISA_AND64_K, i.src, 0, 0, 31});
		i.imm = (int32_t)below(g, GEN_PACKET - 34);
	}
	load(g, 6, 10, SLOT_SPARE);
	emit(g, i);
	for (uint8_t r = 1; r <= 6; r++)
		mov(g, r, (int32_t)number(g));
}

static void item(struct gen *g)
{
	unsigned pick = below(g, 64);

	if (pick < 30 || g->p->n > GEN_MAX / 4)
		alu(g);
	else if (pick < 36)
		on_stack(g, false);
	else if (pick < 42)
		on_value(g, false);
	else if (pick < 46)
		on_stack(g, true);
	else if (pick < 50)
		on_value(g, true);
	else if (pick < 52)
		constant(g);
	else if (pick < 56 && afford(g, 1))
		branch(g);
	else if (pick < 58 && afford(g, 1))
		diamond(g);
	else if (pick < 60 && g->loops < 2 && afford(g, 2))
		loop(g);
	else if (pick < 62 && afford(g, 2))
		call(g);
	else
		packet(g);
}

/* ---- programs -------------------------------------------------------------------------------- */

static void entry(struct gen *g)
{
	if (g->p->packet)
		store(g, 10, SLOT_SPARE, 1);
	value_address(g, 1, 0);
	for (uint8_t r = 0; r < 10; r++)
		if (r != 1)
			load(g, r, 1, 8 * r);
	for (int s = 0; s < GEN_SLOTS; s++)
		store(g, 10, SLOT_WORK + 8 * s, s % 2 ? (uint8_t)(s % 10 == 1 ? 2 : s % 10) : 0);
	load(g, 1, 1, 8);
}

static void epilogue(struct gen *g)
{
	store(g, 10, SLOT_SPARE, 9);
	value_address(g, 9, offsetof(struct gen_value, regs));
	for (uint8_t r = 0; r < 9; r++)
		store(g, 9, 8 * r, r);
	load(g, 1, 10, SLOT_SPARE);
	store(g, 9, 8 * 9, 1);
	for (int s = 0; s < GEN_SLOTS; s++) {
		load(g, 1, 10, SLOT_WORK + 8 * s);
		store(g, 9, 80 + 8 * s, 1);
	}
	emit(g, (struct isa_insn){.op = ISA_EXIT});
}

/* Functions begin with r1 to r5 only; the caller may not have set a stack. */
static void function(struct gen *g, unsigned f)
{
	g->main = false;
	g->next_func = f + 1;
	emit(g, (struct isa_insn){ISA_MOV64_X, 0, 2, 0, 0});
	for (uint8_t r = 6; r < 10; r++)
		emit(g, (struct isa_insn){ISA_MOV32_X, r & 15, (r - 5) & 15, 0, 0});
	for (int s = 0; s < GEN_SLOTS; s++)
		store(g, 10, SLOT_WORK + 8 * s, (uint8_t)(1 + s % 5));
	items(g, 2 + below(g, 6));
	emit(g, (struct isa_insn){.op = ISA_EXIT});
}

static bool called(const struct gen *g, unsigned func)
{
	for (unsigned i = 0; i < g->n_calls; i++)
		if (g->calls[i].func == func)
			return true;
	return false;
}

static void functions(struct gen *g)
{
	unsigned start;

	for (unsigned f = 0; f < FUNCS; f++) {
		if (!called(g, f))
			continue;
		start = g->p->n;
		function(g, f);
		for (unsigned i = 0; i < g->n_calls; i++)
			if (g->calls[i].func == f)
				g->p->insns[g->calls[i].at].imm =
					(int32_t)(start - g->calls[i].at - 1);
	}
}

void gen_program(struct gen_program *p, uint64_t seed)
{
	struct gen g = {.p = p, .state = seed * 0x2545f4914f6cdd1dULL, .weight = 1, .main = true};

	memset(p, 0, sizeof(*p));
	p->packet = below(&g, 16) == 0;
	for (unsigned i = 0; i < GEN_IN; i++)
		p->value.in[i] = number(&g);
	for (unsigned i = 0; i < GEN_MEM; i++)
		p->value.mem[i] = (uint8_t)rnd(&g);
	for (unsigned i = 0; i < GEN_PACKET; i++)
		p->data[i] = (uint8_t)rnd(&g);
	entry(&g);
	items(&g, 5 + below(&g, 30));
	epilogue(&g);
	functions(&g);
}
