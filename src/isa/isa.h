/* SPDX-License-Identifier: Apache-2.0 */
/*
 * isa.h: eBPF instructions (RFC 9669): from bytes to a dense opcode and back, to text and back.
 *
 * A decoded instruction is as long as an encoded one and stands at the same index, so that jump
 * offsets, line info and program counters mean the same before and after. Only `code` is replaced by
 * the number of the instruction's row in insn.def, which decides once what the encoding leaves to
 * three fields.
 *
 * Not its business: whether a program is safe (verify), what maps and helpers are.
 */
#ifndef SKEP_ISA_ISA_H
#define SKEP_ISA_ISA_H

#include <linux/bpf.h>

#include "base/base.h"
#include "base/err.h"

enum isa_op {
	ISA_NONE, /* the second slot of LDDW, and nothing else in a decoded program */
	ISA_NEVER, /* verify put it where nothing may be executed: who comes there ends with a fault */
#define INSN(id, code, src, off, imm, text) ISA_##id,
#include "isa/insn.def"
#undef INSN
	ISA_OPS,
	ISA_FIRST = ISA_NEVER + 1, /* of the table */
};

struct isa_insn {
	uint8_t op; /* enum isa_op */
	uint8_t dst : 4, src : 4;
	int16_t off;
	int32_t imm;
};

static_assert(sizeof(struct isa_insn) == sizeof(struct bpf_insn), "one slot each");
static_assert(ISA_OPS <= 256, "an opcode is a byte");

#define ISA_REGS      11
#define ISA_STACK     512 /* bytes of one frame */
#define ISA_FRAMES    8
#define ISA_TAIL_MAX  33
#define ISA_LOOPS_MAX (8 * 1024 * 1024) /* may_goto, bpf_loop */

/* The 64-bit immediate of the LDDW at @i. */
static inline uint64_t isa_imm64(const struct isa_insn *i)
{
	return (uint32_t)i[0].imm | (uint64_t)(uint32_t)i[1].imm << 32;
}

static inline void isa_set_imm64(struct isa_insn *i, uint64_t v)
{
	i[0].imm = (int32_t)v;
	i[1].imm = (int32_t)(v >> 32);
}

/**
 * isa_decode() - @n slots of @in into @out.
 *
 * Refuses unknown opcodes, registers beyond r10, fields that must be zero and are not, an LDDW
 * without its second slot; @err names the instruction's number and the reason. Whether r10 is
 * written, jumps land and the program ends is verify's question.
 *
 * Return: 0 or -EINVAL.
 */
int isa_decode(const struct bpf_insn *in, unsigned n, struct isa_insn *out, struct skep_err *err);

/** isa_encode() - back to bytes; of a valid decoded program exactly what it was decoded from. */
void isa_encode(const struct isa_insn *in, unsigned n, struct bpf_insn *out);

/* Where the disassembler gets names from; members may be NULL. */
struct isa_names {
	const char *(*helper)(void *arg, int id); /* "map_lookup_elem" */
	const char *(*kfunc)(void *arg, int btf_id);
	const char *(*imm64)(void *arg,
			     unsigned pc); /* what an LDDW at @pc loads, if not a number */
	void *arg;
};

/**
 * isa_text() - one instruction as text, e.g. "r1 += 8"; NUL-terminated, cut at @cap.
 * @insn: decoded; an LDDW's second slot must follow
 * @pc:   its number; jump targets are printed relative, as the kernel does ("pc+3")
 *
 * Return: its length.
 */
size_t isa_text(char *out, size_t cap, const struct isa_insn *insn, unsigned pc,
		const struct isa_names *names);

/**
 * isa_parse() - one line of text, as isa_text() makes them, into @out (2 slots).
 *
 * Return: slots written (1 or 2), -EINVAL with the reason.
 */
int isa_parse(const char *line, struct isa_insn out[2], struct skep_err *err);

/** isa_name() - "ADD64_X" */
const char *isa_name(enum isa_op op);

/** isa_written() - the register that @insn itself sets, -1: none. Calls lose r1 to r5 besides. */
int isa_written(const struct isa_insn *insn);

#endif
