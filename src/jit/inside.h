/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what the front (jit.c, fuse.c, lower.c), the machines (x86*.c, arm64*.c) and the code memory
 * (code.c) share.
 *
 *	jit_scan()   marks jump targets, heads of loops, what each function needs
 *	jit_fuse()   rewrites a copy: rotates, loads made of bytes, stores of pieces (ops behind ISA_OPS)
 *	jit_lower()  each instruction once, in the machine's words (jit_put_*), into a scratch buffer; sites
 *	             whose length depends on where they end up are left as long as they can be, each
 *	             with a struct jit_site
 *	layout       decides each site's length and where everything lies
 *	code.c       places the result
 */
#ifndef SKEP_JIT_INSIDE_H
#define SKEP_JIT_INSIDE_H

#include "jit/jit.h"

/* Instructions that only jit_fuse() makes. */
enum jit_op {
	JIT_NOP = ISA_OPS, /* was fused into a later one */
	JIT_ROL64,	   /* dst = dst rotated left by imm */
	JIT_ROL32,
	JIT_LOOKUP_X, /* r0 = the value at index src of the map with number off */
	JIT_LOOKUP_K, /* the same at index imm */
	JIT_PIECES, /* stores of several registers next to each other, from dst + off; imm: JIT_PIECE() */
	JIT_OPS
};

/* The n-th piece of JIT_PIECES, lowest address first: its register and log2 of its bytes. */
#define JIT_PIECES_MAX	       4
#define JIT_PIECE(n, reg, log) ((int32_t)((4u | (log)) << 4 | (reg)) << 7 * (n))
#define JIT_PIECE_IS(imm, n)   ((imm) >> 7 * (n)&0x40)
#define JIT_PIECE_LOG(imm, n)  ((unsigned)(imm) >> (7 * (n) + 4) & 3)
#define JIT_PIECE_REG(imm, n)  ((unsigned)(imm) >> 7 * (n)&15)

#define JIT_HELPER_LOOKUP 1

#define JIT_TARGET 1 /* a jump lands here: nothing is known of what came before */
#define JIT_LOOP   2 /* a jump from below does */
#define JIT_ENTRY  4 /* a function begins here */

/* Fields and classes of an opcode byte, as RFC 9669 has them. */
#define JIT_CLASS(code) ((code)&7)
#define JIT_ALU(code)	((code) >> 4)
#define JIT_SRC_X(code) ((code)&8)
#define JIT_SIZE(code)	((code)&0x18)
#define JIT_MODE(code)	((code)&0xe0)

enum jit_class { JIT_LD, JIT_LDX, JIT_ST, JIT_STX, JIT_ALU32, JIT_JMP, JIT_JMP32, JIT_ALU64 };

enum jit_site_kind {
	JIT_SITE_ALIGN, /* .to: the alignment; takes .to - 1 bytes at most */
	JIT_SITE_JUMP,	/* .to: instruction; .cc: condition or JIT_ALWAYS */
	JIT_SITE_CALL,	/* .to: function */
	JIT_SITE_FUNC,	/* .to: function; its address, relative to the site's end */
	JIT_SITE_FAR,	/* .address: a call of what lies outside, within reach */
};

#define JIT_ALWAYS 0xff

struct jit_site {
	uint32_t at;  /* in the scratch buffer; begins here */
	uint8_t kind; /* enum jit_site_kind */
	uint8_t cc;
	uint8_t size, max; /* bytes: in the end, in the scratch buffer */
	union {
		uint32_t to;
		uint64_t address;
	};
	uint32_t shrink; /* bytes saved by all sites before this */
};

/* Where an instruction's code begins. */
struct jit_place {
	uint32_t at;	/* in the scratch buffer */
	uint32_t sites; /* before it */
};

struct jit_func {
	uint32_t start, end;
	uint32_t at;	/* scratch offset of its entry */
	uint32_t site;	/* sites before it */
	uint32_t entry; /* where it ends up */
	uint16_t regs;	/* r0 to r10 that occur */
	uint16_t depth; /* bytes of stack that it can reach */
	bool calls, may_goto;
};

struct jit_build {
	const struct jit_input *in;
	struct isa_insn *insns; /* the copy */
	unsigned n;
	uint8_t *flags;	  /* per instruction */
	unsigned n_joins; /* instructions that jit_fuse() looks at, and their numbers */
	uint32_t *joins;
	struct jit_place *place; /* per instruction, and the end */
	struct jit_func *funcs;
	unsigned n_funcs;
	struct jit_site *site;
	unsigned n_sites, cap_sites;
	uint8_t *scratch, *p, *end; /* code is added at p */
	unsigned pc, next;	    /* being lowered, and the first that is not */
	const struct jit_func *func;
	uint8_t flag_of;  /* what the flags compare with 0: register + 1, | 0x80 for 32 bits */
	uint8_t flag_was; /* before the instruction being lowered */
	int32_t slot;	  /* of the loop counter, relative to r10 */
	uint64_t random;
	const uint8_t *space; /* of all code */
	size_t space_size;
	int rc;
	struct skep_err *err;
	struct work *work; /* whose memory all this is */
};

extern const uint8_t jit_codes[JIT_OPS]; /* opcode byte */
extern const uint16_t jit_imms[JIT_OPS]; /* the immediate, where it is part of the opcode */

extern const uint16_t jit_info[JIT_OPS];

#define JIT_READS_DST  1
#define JIT_READS_SRC  2
#define JIT_WRITES_DST 4
#define JIT_NARROW     8 /* leaves the upper half 0 */
#define JIT_JUMPS      16
#define JIT_STORES     32
#define JIT_SPECIAL    64  /* ask the functions below */
#define JIT_JOINS      128 /* what jit_fuse() looks at: two registers joined, narrow stores */
#define JIT_CALLS      256
#define JIT_EXITS      512

uint16_t jit_reads_special(const struct isa_insn *i);
uint16_t jit_writes_special(const struct isa_insn *i);

/* Registers, a bit each, that @i may read, and that it writes. */
static inline uint16_t jit_reads(const struct isa_insn *i)
{
	uint16_t info = jit_info[i->op];

	if (info & JIT_SPECIAL)
		return jit_reads_special(i);
	return (uint16_t)((info & JIT_READS_DST ? 1u << i->dst : 0) |
			  (info & JIT_READS_SRC ? 1u << i->src : 0));
}

static inline uint16_t jit_writes(const struct isa_insn *i)
{
	uint16_t info = jit_info[i->op];

	if (info & JIT_SPECIAL)
		return jit_writes_special(i);
	return (uint16_t)(info & JIT_WRITES_DST ? 1u << i->dst : 0);
}

/* Nothing to do with @reg, and on to the next: true for most, at little cost. */
static inline bool jit_passes(const struct isa_insn *i, unsigned reg)
{
	return i->dst != reg && i->src != reg && !(jit_info[i->op] & (JIT_SPECIAL | JIT_JUMPS));
}

static inline bool jit_leaves(const struct isa_insn *i)
{
	return jit_info[i->op] & (JIT_JUMPS | JIT_CALLS | JIT_EXITS);
}

/* ---- the machine ----------------------------------------------------------------------------- */

#define JIT_ROOM 320 /* bytes one instruction takes at most, without sites of maps */

int jit_machine_init(struct skep_err *err); /* -EOPNOTSUPP */
void jit_lower_func(struct jit_build *b, const struct jit_func *f);
/* How each kind of instruction is said; lower.c decides which it is. */
void jit_put_alu(struct jit_build *b, const struct isa_insn *i);
void jit_put_move(struct jit_build *b, const struct isa_insn *i);
void jit_put_divide(struct jit_build *b, const struct isa_insn *i);
void jit_put_memory(struct jit_build *b, const struct isa_insn *i);
void jit_put_atomic(struct jit_build *b, const struct isa_insn *i);
void jit_put_pieces(struct jit_build *b, const struct isa_insn *i);
void jit_put_packet(struct jit_build *b, const struct isa_insn *i);
void jit_put_branch(struct jit_build *b, const struct isa_insn *i);
void jit_put_may_goto(struct jit_build *b, const struct isa_insn *i);
void jit_put_jump(struct jit_build *b, unsigned to);
void jit_put_exit(struct jit_build *b);
void jit_put_constant(struct jit_build *b, unsigned reg, uint64_t v);
void jit_put_func(struct jit_build *b, unsigned reg, unsigned func); /* its address */
void jit_put_call(struct jit_build *b, uint64_t address);
void jit_put_call_func(struct jit_build *b, unsigned func);
void jit_put_call_reg(struct jit_build *b, unsigned reg);
/*
 * r0 = lookup, and the test for NULL where it follows. @i: JIT_LOOKUP_X, JIT_LOOKUP_K, or the call of an
 * index that lies at r2.
 */
void jit_put_lookup(struct jit_build *b, const struct jit_map *m, const struct isa_insn *i);
/* r3 is the index. */
void jit_put_tail_call(struct jit_build *b, const struct jit_map *m);
/* Skips what follows unless @reg holds @v, up to jit_put_land(). */
uint8_t *jit_put_unless(struct jit_build *b, unsigned reg, uint64_t v);
void jit_put_land(struct jit_build *b, uint8_t *skip);
/* Write a site's final bytes; @from is where they run, @to where they lead, both image offsets. */
void jit_put_site(uint8_t *out, const struct jit_site *s, int64_t from, int64_t to);
unsigned jit_site_size(const struct jit_site *s, int64_t distance); /* of a jump that far */
extern const uint8_t jit_filler;				    /* traps when run */

/* ---- the front ------------------------------------------------------------------------------- */

void jit_lower(struct jit_build *b, const struct isa_insn *i); /* lower.c */
int jit_scan(struct jit_build *b);
void jit_fuse(struct jit_build *b);

void jit_grow(struct jit_build *b, size_t n);

/* Room for @n bytes at p. */
static inline void jit_room(struct jit_build *b, size_t n)
{
	if ((size_t)(b->end - b->p) < n)
		jit_grow(b, n);
}

struct jit_site *jit_site_add(struct jit_build *b, enum jit_site_kind kind, unsigned max);
void jit_refuse(struct jit_build *b, const char *why);
/* The instruction after those lowered, if only it can come next; else NULL. */
static inline const struct isa_insn *jit_follow(const struct jit_build *b)
{
	unsigned pc = b->next;

	while (pc < b->func->end && !(b->flags[pc] & JIT_TARGET)) {
		if (b->insns[pc].op != JIT_NOP)
			return &b->insns[pc];
		pc++;
	}
	return NULL;
}

/* Where a jump at @pc with @i leads, through other jumps. */
unsigned jit_jump_target(const struct jit_build *b, unsigned pc, const struct isa_insn *i);
/* The register move that the jump @i, which is being lowered, skips, and nothing else; else NULL. */
const struct isa_insn *jit_skipped_move(const struct jit_build *b, const struct isa_insn *i);
/* Does the jump @i, which is being lowered, skip another that nothing else leads to? */
bool jit_skips_goto(const struct jit_build *b, const struct isa_insn *i);
/* Is @reg certainly not read after instruction @pc? */
bool jit_dead_after(const struct jit_build *b, unsigned pc, unsigned reg);
/* Is the upper half of @reg certainly 0 before @pc? */
bool jit_upper_clear(const struct jit_build *b, unsigned pc, unsigned reg);
/* The map whose address @reg holds before @pc; NULL: not known. */
const struct jit_map *jit_known_map(const struct jit_build *b, unsigned pc, unsigned reg);

/* ---- code memory ----------------------------------------------------------------------------- */

/* Room for @n bytes, executable and not writable, or NULL. */
uint8_t *jit_code_take(size_t n);
bool jit_code_write(uint8_t *at, const uint8_t *bytes, size_t n);
void jit_code_give(uint8_t *at, size_t n);
/* Where all of it lies; NULL: there is none. */
const uint8_t *jit_code_space(size_t *size);

#endif
