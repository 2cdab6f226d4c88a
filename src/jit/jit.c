// SPDX-License-Identifier: Apache-2.0
/*
 * jit.c: the front: what a program needs, its passes, and where its parts end up.
 *
 *	insns -> jit_scan -> jit_fuse -> jit_lower (each once, into scratch) -> jit_layout -> pwrite
 *
 * J5  Code is emitted once. Jumps, calls and alignment are sites: they stand in the scratch buffer as
 *     long as they can get and only shrink afterwards, so a jump that reaches there reaches here.
 * J6  Nothing is assumed of a register or of the flags across an instruction that a jump lands on.
 */
#include "jit/inside.h"

#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/mman.h>

const uint8_t jit_codes[JIT_OPS] = {
#define INSN(id, code, src, off, imm, text) [ISA_##id] = (code),
#include "isa/insn.def"
#undef INSN
	[JIT_NOP] = 0xb4,      [JIT_ROL64] = 0x67,    [JIT_ROL32] = 0x64,
	[JIT_LOOKUP_X] = 0x85, [JIT_LOOKUP_K] = 0x85, [JIT_PIECES] = 0x7b,
};

const uint16_t jit_imms[JIT_OPS] = {
#define R				    0
#define A				    0
#define Z				    0
#define INSN(id, code, src, off, imm, text) [ISA_##id] = (imm),
#include "isa/insn.def"
#undef INSN
#undef R
#undef A
#undef Z
};

/* What an instruction does to registers, from its opcode byte alone. */
#define CLASS(c)      JIT_CLASS(c)
#define IS_ALU(c)     (CLASS(c) == JIT_ALU32 || CLASS(c) == JIT_ALU64)
#define IS_JMP(c)     (CLASS(c) == JIT_JMP || CLASS(c) == JIT_JMP32)
#define IS_CALL(c)    (IS_JMP(c) && (JIT_ALU(c) == 8 || JIT_ALU(c) == 9)) /* or exit */
#define IS_GOTO(c)    (IS_JMP(c) && !JIT_ALU(c))
#define UNARY(c)      (JIT_ALU(c) == 8 || JIT_ALU(c) == 13)
#define COPY(c)	      (IS_ALU(c) && JIT_ALU(c) == 11)
#define BIG_SWAP(c)   (CLASS(c) == JIT_ALU32 && JIT_ALU(c) == 13)
#define IS_ATOMIC(c)  (CLASS(c) == JIT_STX && JIT_MODE(c) == 0xc0)
#define LOADS_WORD(c) (CLASS(c) == JIT_LDX && JIT_MODE(c) == 0x60 && JIT_SIZE(c) != 0x18)

#define READS_DST(c)                                                             \
	((IS_ALU(c) && !COPY(c)) || CLASS(c) == JIT_ST || CLASS(c) == JIT_STX || \
	 (IS_JMP(c) && !IS_CALL(c) && !IS_GOTO(c)))
#define READS_SRC(c)                                                                               \
	(CLASS(c) == JIT_LDX || CLASS(c) == JIT_STX || (IS_ALU(c) && !UNARY(c) && JIT_SRC_X(c)) || \
	 (IS_JMP(c) && !IS_CALL(c) && JIT_SRC_X(c)))

#define INFO(c)                                                                            \
	((READS_DST(c) ? JIT_READS_DST : 0) | (READS_SRC(c) ? JIT_READS_SRC : 0) |         \
	 (IS_ALU(c) || CLASS(c) == JIT_LDX || CLASS(c) == JIT_LD ? JIT_WRITES_DST : 0) |   \
	 (CLASS(c) == JIT_ALU32 || LOADS_WORD(c) ? JIT_NARROW : 0) |                       \
	 (IS_JMP(c) && !IS_CALL(c) ? JIT_JUMPS : 0) |                                      \
	 (CLASS(c) == JIT_ST || CLASS(c) == JIT_STX ? JIT_STORES : 0) |                    \
	 (IS_CALL(c) ? JIT_ALU(c) == 8 ? JIT_CALLS : JIT_EXITS : 0) |                      \
	 (IS_ATOMIC(c) || IS_CALL(c) || (CLASS(c) == JIT_LD && (c) != 0x18) || BIG_SWAP(c) \
		  ? JIT_SPECIAL                                                            \
		  : 0))

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* the few that join */
const uint16_t jit_info[JIT_OPS] = {
#define INSN(id, code, src, off, imm, text) [ISA_##id] = INFO(code),
#include "isa/insn.def"
#undef INSN
	[ISA_OR64_X] = INFO(0x4f) | JIT_JOINS,
	[ISA_OR32_X] = INFO(0x4c) | JIT_JOINS,
	[ISA_XOR64_X] = INFO(0xaf) | JIT_JOINS,
	[ISA_XOR32_X] = INFO(0xac) | JIT_JOINS,
	[ISA_STX8] = INFO(0x73) | JIT_JOINS,
	[ISA_STX16] = INFO(0x6b) | JIT_JOINS,
	[JIT_ROL64] = INFO(0x67),
	[JIT_ROL32] = INFO(0x64),
	[JIT_LOOKUP_X] = INFO(0x85),
	[JIT_LOOKUP_K] = INFO(0x85),
	[JIT_PIECES] = JIT_STORES | JIT_SPECIAL,
};
#pragma GCC diagnostic pop

struct jit_code {
	const uint8_t *entry; /* of function 0 */
	uint8_t *image;
	size_t len;
	unsigned n_insns, n_funcs;
	uint32_t *offsets; /* n_insns + 1, then the functions' entries */
};

static_assert(offsetof(struct jit_code, entry) == 0, "jit_enter() of each machine knows it");

/* ---- growing ---------------------------------------------------------------------------------- */

static void no_memory(struct jit_build *b)
{
	b->rc = -ENOMEM;
	b->p = b->scratch;
}

void jit_grow(struct jit_build *b, size_t n)
{
	size_t used = (size_t)(b->p - b->scratch), size = (size_t)(b->end - b->scratch) * 2 + n;
	uint8_t *more = realloc(b->scratch, size);

	if (!more) {
		no_memory(b);
		return;
	}
	b->scratch = more;
	b->p = more + used;
	b->end = more + size;
}

struct jit_site *jit_site_add(struct jit_build *b, enum jit_site_kind kind, unsigned most)
{
	struct jit_site *s;

	if (b->n_sites == b->cap_sites) {
		s = reallocarray(b->site, b->cap_sites * 2ul, sizeof(*s));
		if (!s) {
			no_memory(b);
			b->n_sites--;
			s = b->site;
		} else {
			b->cap_sites *= 2;
		}
		b->site = s;
	}
	s = &b->site[b->n_sites++];
	s->at = (uint32_t)(b->p - b->scratch);
	s->kind = kind;
	s->cc = 0;
	s->size = s->max = (uint8_t)most;
	b->p += most;
	return s;
}

void jit_refuse(struct jit_build *b, const char *why)
{
	if (!b->rc)
		b->rc = skep_fail(b->err, -EOPNOTSUPP, "insn %u: %s", b->pc, why);
}

/* ---- what is known ---------------------------------------------------------------------------- */

unsigned jit_jump_target(const struct jit_build *b, unsigned pc, const struct isa_insn *i)
{
	unsigned hops;

	for (hops = 0; hops < 8; hops++) {
		pc = (unsigned)((int)pc + 1 + (i->op == ISA_JA32 ? i->imm : i->off));
		i = &b->insns[pc];
		if (i->op != ISA_JA && i->op != ISA_JA32)
			break;
	}
	return pc;
}

/* The instruction at @pc where it only comes after the one before it. */
static const struct isa_insn *only_after(const struct jit_build *b, unsigned pc)
{
	return pc < b->func->end && !(b->flags[pc] & JIT_TARGET) ? &b->insns[pc] : NULL;
}

static bool is_goto(const struct isa_insn *i)
{
	return i && (i->op == ISA_JA || i->op == ISA_JA32);
}

const struct isa_insn *jit_skipped_move(const struct jit_build *b, const struct isa_insn *i)
{
	const struct isa_insn *m = only_after(b, b->pc + 1), *n = only_after(b, b->pc + 2);

	if (!m || (m->op != ISA_MOV64_X && m->op != ISA_MOV32_X) || m->dst == m->src)
		return NULL;
	if (i->off == 1 ||
	    (is_goto(n) && jit_jump_target(b, b->pc + 2, n) == jit_jump_target(b, b->pc, i)))
		return m;
	return NULL;
}

bool jit_skips_goto(const struct jit_build *b, const struct isa_insn *i)
{
	return i->off == 1 && is_goto(only_after(b, b->pc + 1));
}

#define CALLER_SAVED 0x3f /* r0 to r5 */

/* Of what jit_fuse() made. */
static uint16_t reads_made(const struct isa_insn *i)
{
	unsigned regs = 1u << i->dst, n;

	if (i->op != JIT_PIECES)
		return i->op == JIT_LOOKUP_X ? 1 << i->src : 0;
	for (n = 0; n < JIT_PIECES_MAX && JIT_PIECE_IS(i->imm, n); n++)
		regs |= 1u << JIT_PIECE_REG(i->imm, n);
	return (uint16_t)regs;
}

uint16_t jit_reads_special(const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];

	if (i->op >= JIT_LOOKUP_X)
		return reads_made(i);
	if (CLASS(code) == JIT_LD)
		return 0xffff;
	if (CLASS(code) == JIT_STX)
		return 1 << i->dst | 1 << i->src | 1;
	if (IS_ALU(code))
		return 1 << i->dst;
	if (JIT_ALU(code) == 9)
		return 1;
	return 0x3e | (i->op == ISA_CALL_REG ? 1 << i->dst : 0);
}

uint16_t jit_writes_special(const struct isa_insn *i)
{
	uint8_t code = jit_codes[i->op];

	if (i->op == JIT_PIECES)
		return 0;
	if (i->op >= ISA_LOAD_ACQ8 && i->op <= ISA_LOAD_ACQ64)
		return 1 << i->dst;
	if (CLASS(code) == JIT_STX)
		return 1 << i->src | 1;
	if (IS_ALU(code))
		return 1 << i->dst;
	return JIT_ALU(code) == 9 && IS_JMP(code) ? 0 : CALLER_SAVED;
}

static bool dead_from(const struct jit_build *b, unsigned pc, unsigned reg, unsigned *budget)
{
	uint16_t bit = 1 << reg;

	while ((*budget)--) {
		const struct isa_insn *i = &b->insns[pc];

		if (jit_passes(i, reg)) {
			pc++;
			continue;
		}
		if (i->op == ISA_EXIT)
			return reg != 0;
		if (jit_reads(i) & bit)
			return false;
		if (jit_writes(i) & bit)
			return true;
		if (jit_info[i->op] & JIT_JUMPS) {
			unsigned to = jit_jump_target(b, pc, i);

			if (i->op == ISA_JA || i->op == ISA_JA32) {
				pc = to;
				continue;
			}
			if (!dead_from(b, to, reg, budget))
				return false;
		}
		pc++;
	}
	return false;
}

bool jit_dead_after(const struct jit_build *b, unsigned pc, unsigned reg)
{
	unsigned budget = 48;

	return dead_from(b, pc + 1, reg, &budget);
}

bool jit_upper_clear(const struct jit_build *b, unsigned pc, unsigned reg)
{
	unsigned lo = max(b->func->start + 16, pc) - 16;

	while (pc > lo && !(b->flags[pc] & JIT_TARGET)) {
		const struct isa_insn *i = &b->insns[--pc];

		if (jit_writes(i) & 1 << reg)
			return jit_info[i->op] & JIT_NARROW && i->op != ISA_BE64 &&
			       i->op != ISA_LE64;
	}
	return false;
}

static const struct jit_map *map_at(const struct jit_build *b, uint64_t address)
{
	unsigned i;

	for (i = 0; i < b->in->n_maps; i++)
		if (b->in->maps[i].map == address)
			return &b->in->maps[i];
	return NULL;
}

const struct jit_map *jit_known_map(const struct jit_build *b, unsigned pc, unsigned reg)
{
	while (pc > b->func->start && !(b->flags[pc] & JIT_TARGET)) {
		const struct isa_insn *i = &b->insns[--pc];

		if (i->op == ISA_NONE || !(jit_writes(i) & 1 << reg))
			continue;
		if (i->op == ISA_LDDW)
			return map_at(b, isa_imm64(i));
		if (i->op != ISA_MOV64_X)
			return NULL;
		reg = i->src;
	}
	return NULL;
}

/* ---- scan ------------------------------------------------------------------------------------- */

static void note_target(struct jit_build *b, unsigned pc, int off)
{
	unsigned to = (unsigned)((int)pc + 1 + off);

	b->flags[to] |= JIT_TARGET | (off < 0 ? JIT_LOOP : 0);
}

static bool is_memory(uint8_t code)
{
	return JIT_CLASS(code) >= JIT_LDX && JIT_CLASS(code) <= JIT_STX;
}

/* How deep into its frame an instruction shows that the function reaches. */
static unsigned depth_of(const struct isa_insn *i, uint8_t code)
{
	unsigned base = JIT_CLASS(code) == JIT_LDX ? i->src : i->dst;

	if (is_memory(code) && base == 10 && (base == i->dst ? i->src : i->dst) != 10 &&
	    !(JIT_CLASS(code) == JIT_STX && JIT_MODE(code) == 0xc0) && i->off < 0 &&
	    i->off >= -ISA_STACK)
		return (unsigned)-i->off;
	return ISA_STACK;
}

/* What is not the same for every instruction: @i jumps, calls, joins or names r10. */
static void scan_special(struct jit_build *b, struct jit_func *f, unsigned pc)
{
	const struct isa_insn *i = &b->insns[pc];
	uint16_t info = jit_info[i->op];

	if (info & JIT_JOINS && i->dst != i->src)
		b->joins[b->n_joins++] = pc;
	if (info & JIT_JUMPS) {
		note_target(b, pc, i->op == ISA_JA32 ? i->imm : i->off);
		f->may_goto |= i->op == ISA_MAY_GOTO;
	} else if (info & JIT_CALLS) {
		f->calls = true;
		if (i->op == ISA_CALL && i->imm == JIT_HELPER_LOOKUP)
			b->joins[b->n_joins++] = pc;
	} else if (i->dst == 10 || i->src == 10) {
		f->depth = (uint16_t)max((unsigned)f->depth, depth_of(i, jit_codes[i->op]));
	}
}

static void scan_func(struct jit_build *b, struct jit_func *f)
{
	const struct isa_insn *i = b->insns + f->start, *end = b->insns + f->end;
	unsigned regs = 0;

	for (; i < end; i++) {
		unsigned named = 1u << i->dst | 1u << i->src;

		regs |= named;
		if (jit_info[i->op] & (JIT_JOINS | JIT_JUMPS | JIT_CALLS) || named & 1 << 10)
			scan_special(b, f, (unsigned)(i - b->insns));
	}
	f->regs = (uint16_t)regs;
}

int jit_scan(struct jit_build *b)
{
	unsigned n;

	for (n = 0; n < b->n_funcs; n++) {
		struct jit_func *f = &b->funcs[n];

		f->start = b->in->proof->funcs[n].start;
		f->end = b->in->proof->funcs[n].end;
		b->flags[f->start] |= JIT_ENTRY | JIT_TARGET;
		scan_func(b, f);
	}
	return b->rc;
}

/* ---- lowering ---------------------------------------------------------------------------------- */

static struct jit_place here(const struct jit_build *b)
{
	return (struct jit_place){(uint32_t)(b->p - b->scratch), b->n_sites};
}

/* Lowers what stands at @pc, with what it takes of that which follows. */
static void lower_at(struct jit_build *b, unsigned pc)
{
	const struct isa_insn *i = &b->insns[pc];
	uint8_t flags = b->flags[pc];

	jit_room(b, JIT_ROOM);
	if (flags & JIT_TARGET)
		b->flag_of = 0;
	if (flags & JIT_LOOP)
		jit_site_add(b, JIT_SITE_ALIGN, 31)->to = 32;
	b->place[pc] = here(b);
	b->next = pc + 1;
	if (i->op == JIT_NOP)
		return;
	b->pc = pc;
	b->flag_was = b->flag_of;
	b->flag_of = 0;
	jit_lower(b, i);
	while (++pc < b->next)
		b->place[pc] = b->place[b->pc];
}

static int lower_all(struct jit_build *b)
{
	unsigned n, pc;

	for (n = 0; n < b->n_funcs && !b->rc; n++) {
		struct jit_func *f = &b->funcs[n];

		jit_room(b, JIT_ROOM);
		jit_site_add(b, JIT_SITE_ALIGN, 15)->to = 16;
		f->at = (uint32_t)(b->p - b->scratch);
		f->site = b->n_sites;
		b->func = f;
		jit_lower_func(b, f);
		for (pc = f->start; pc < f->end && !b->rc; pc = b->next)
			lower_at(b, pc);
	}
	b->place[b->n] = here(b);
	return b->rc;
}

/* ---- layout ------------------------------------------------------------------------------------ */

static uint32_t shrunk_before(const struct jit_build *b, unsigned site)
{
	const struct jit_site *last;

	if (!site)
		return 0;
	last = &b->site[site - 1];
	return last->shrink + last->max - last->size;
}

static uint32_t insn_place(const struct jit_build *b, unsigned pc)
{
	return b->place[pc].at - shrunk_before(b, b->place[pc].sites);
}

/* Sizes of jumps from where all lies now; what shrinks never grows again (J5). */
static void size_jumps(struct jit_build *b)
{
	unsigned n;

	for (n = 0; n < b->n_sites; n++) {
		struct jit_site *s = &b->site[n];
		int64_t from = (int64_t)s->at - s->shrink;

		if (s->kind == JIT_SITE_JUMP)
			s->size = (uint8_t)jit_site_size(s, insn_place(b, s->to) - from);
	}
}

/* @where: the image's address, for alignment; NULL: alignment may take all it can. */
static uint32_t place_sites(struct jit_build *b, bool align)
{
	uint32_t shrink = 0;
	unsigned n;

	for (n = 0; n < b->n_sites; n++) {
		struct jit_site *s = &b->site[n];

		s->shrink = shrink;
		if (align && s->kind == JIT_SITE_ALIGN)
			s->size = (uint8_t)(-(s->at - shrink) & (s->to - 1));
		shrink += s->max - s->size;
	}
	return b->place[b->n].at - shrink;
}

static int64_t site_leads_to(const struct jit_build *b, const struct jit_site *s,
			     const uint8_t *where)
{
	switch (s->kind) {
	case JIT_SITE_JUMP:
		return insn_place(b, s->to);
	case JIT_SITE_CALL:
	case JIT_SITE_FUNC:
		return b->funcs[s->to].entry;
	case JIT_SITE_FAR:
		return (int64_t)(s->address - (uint64_t)where);
	default:
		return 0;
	}
}

static size_t layout_size(struct jit_build *b)
{
	unsigned n;

	place_sites(b, false);
	for (n = 0; n < 2; n++) {
		size_jumps(b);
		place_sites(b, false);
	}
	return place_sites(b, true);
}

/* Moves all down to where it belongs: nothing lies behind where it was (J5). */
static void layout(struct jit_build *b, const uint8_t *where)
{
	uint8_t *image = b->scratch, *out = image;
	uint32_t from = 0;
	unsigned n;

	for (n = 0; n < b->n_sites; n++) {
		const struct jit_site *s = &b->site[n];

		memmove(out, image + from, s->at - from);
		out += s->at - from;
		jit_put_site(out, s, out - image, site_leads_to(b, s, where));
		out += s->size;
		from = s->at + s->max;
	}
	memmove(out, image + from, b->place[b->n].at - from);
}

/* ---- compile ----------------------------------------------------------------------------------- */

/*
 * What a compilation works in. One is kept for the next: the kernel takes longer to give fresh pages
 * than most programs take to compile.
 */
struct work {
	struct jit_site *site;
	uint8_t *scratch;
	unsigned cap_sites;
	size_t scratch_size, size;
	uint64_t memory[];
};

#define WORK_KEPT (8ul << 20)

static _Atomic(struct work *) spare;

#define WARM (64ul << 10)

/*
 * Has the kernel give the pages of what is about to be filled in one call: a fault for each costs more
 * than compiling what fits there, most of all under a hypervisor. Where it cannot, they fault.
 */
static void *warm(void *p, size_t n)
{
	uintptr_t lo = ((uintptr_t)p + 4095) & ~4095ul, hi = ((uintptr_t)p + n) & ~4095ul;

	if (p && n >= WARM)
		madvise((void *)lo, hi - lo, MADV_POPULATE_WRITE);
	return p;
}

static void work_free(struct work *w)
{
	if (!w)
		return;
	free(w->site);
	free(w->scratch);
	free(w);
}

static struct work *work_new(size_t size, unsigned cap_sites, size_t scratch_size)
{
	struct work *w = warm(malloc(sizeof(*w) + size), sizeof(*w) + size);

	if (!w)
		return NULL;
	*w = (struct work){.size = size, .cap_sites = cap_sites, .scratch_size = scratch_size};
	w->site = warm(malloc(cap_sites * sizeof(*w->site)), cap_sites * sizeof(*w->site));
	w->scratch = warm(malloc(scratch_size), scratch_size);
	if (w->site && w->scratch)
		return w;
	work_free(w);
	return NULL;
}

static struct work *work_get(size_t n, size_t n_funcs)
{
	size_t size = (n + 1) * 17 + 16 + n_funcs * sizeof(struct jit_func);
	struct work *w = atomic_exchange(&spare, NULL);

	if (w && w->size >= size)
		return w;
	work_free(w);
	return work_new(size, (unsigned)n / 8 + 64, n * 5 + n_funcs * 32ul + 1024);
}

static void work_put(struct work *w)
{
	if (w->size + w->scratch_size + w->cap_sites * sizeof(*w->site) <= WORK_KEPT)
		w = atomic_exchange(&spare, w);
	work_free(w);
}

static int build_open(struct jit_build *b, const struct jit_input *in, struct skep_err *err)
{
	struct work *w = work_get(in->n_insns, in->proof->n_funcs);
	size_t n = in->n_insns;

	if (!w)
		return -ENOMEM;
	*b = (struct jit_build){.in = in, .n = in->n_insns, .err = err, .work = w};
	b->n_funcs = in->proof->n_funcs;
	b->funcs = (struct jit_func *)w->memory;
	b->insns = (struct isa_insn *)(b->funcs + b->n_funcs);
	b->place = (struct jit_place *)(b->insns + n);
	b->joins = (uint32_t *)b->place; /* done with before the first is placed */
	b->flags = (uint8_t *)(b->place + n + 1);
	b->site = w->site;
	b->cap_sites = w->cap_sites;
	b->scratch = b->p = w->scratch;
	b->end = b->scratch + w->scratch_size;
	memset(b->funcs, 0, b->n_funcs * sizeof(*b->funcs));
	memset(b->flags, 0, n + 1);
	memcpy(b->insns, in->insns, n * sizeof(*b->insns));
	b->space = jit_code_space(&b->space_size);
	memcpy(&b->random, (const void *)getauxval(AT_RANDOM), sizeof(b->random));
	b->random ^= (uintptr_t)b->scratch;
	return b->space ? 0 : -ENOMEM;
}

static void build_done(struct jit_build *b)
{
	struct work *w = b->work;

	if (!w)
		return;
	w->site = b->site;
	w->cap_sites = b->cap_sites;
	w->scratch = b->scratch;
	w->scratch_size = (size_t)(b->end - b->scratch);
	work_put(w);
}

static struct jit_code *code_new(const struct jit_build *b, size_t len)
{
	cleanup(mem_free) struct jit_code *c = calloc(1, sizeof(*c));
	size_t size;

	if (!c)
		return NULL;
	c->len = len;
	c->n_insns = b->n;
	c->n_funcs = b->n_funcs;
	size = (b->n + 1ul + b->n_funcs) * sizeof(*c->offsets);
	c->offsets = warm(malloc(size), size);
	if (!c->offsets)
		return NULL;
	c->image = jit_code_take(len);
	if (!c->image) {
		free(c->offsets);
		return NULL;
	}
	return take(c);
}

/* insn_place() of all, in order. */
static void place_insns(const struct jit_build *b, uint32_t *offsets)
{
	uint32_t sites = 0, shrunk = 0;
	unsigned n;

	for (n = 0; n <= b->n; n++) {
		struct jit_place p = b->place[n];

		if (p.sites != sites) {
			sites = p.sites;
			shrunk = shrunk_before(b, sites);
		}
		offsets[n] = p.at - shrunk;
	}
}

static int finish(struct jit_code **out, struct jit_build *b)
{
	size_t len = layout_size(b);
	struct jit_code *c = code_new(b, len);
	unsigned n;

	if (!c)
		return -ENOMEM;
	for (n = 0; n < b->n_funcs; n++)
		b->funcs[n].entry = b->funcs[n].at - shrunk_before(b, b->funcs[n].site);
	place_insns(b, c->offsets);
	for (n = 0; n < b->n_funcs; n++)
		c->offsets[b->n + 1 + n] = b->funcs[n].entry;
	c->entry = jit_func(c, 0);
	layout(b, c->image);
	if (!jit_code_write(c->image, b->scratch, len)) {
		jit_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

int jit_compile(struct jit_code **out, const struct jit_input *in, struct skep_err *err)
{
	struct jit_build b = {0};
	int rc = jit_machine_init(err);

	if (rc)
		return rc;
	rc = build_open(&b, in, err);
	if (!rc)
		rc = jit_scan(&b);
	if (!rc) {
		jit_fuse(&b);
		rc = lower_all(&b);
	}
	if (!rc)
		rc = finish(out, &b);
	build_done(&b);
	return rc;
}

void jit_free(struct jit_code *c)
{
	if (!c)
		return;
	jit_code_give(c->image, c->len);
	free(c->offsets);
	free(c);
}

/* ---- use ---------------------------------------------------------------------------------------- */

const void *jit_func(const struct jit_code *c, unsigned i)
{
	return c->image + c->offsets[c->n_insns + 1 + i];
}

const void *jit_target_entry(const struct jit_code *c)
{
	return jit_func(c, 0);
}

const uint8_t *jit_image(const struct jit_code *c, size_t *len, const uint32_t **offsets)
{
	*len = c->len;
	*offsets = c->offsets;
	return c->image;
}
