/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: insn.def as data, for the files of this part and for tests that walk it.
 *
 * Not its business: what instructions do.
 */
#ifndef SKEP_ISA_TABLE_H
#define SKEP_ISA_TABLE_H

#include "isa/isa.h"

#define ISA_ANY INT32_MIN /* a field that is not fixed; as src: any register */

struct isa_row {
	const char *name; /* "ADD64_X" */
	const char *text; /* template */
	int32_t src, off, imm;
	uint8_t code;
	uint8_t next;  /* the next row of the same code, ISA_NONE: no more */
	bool uses_dst; /* what the template does not show must be zero */
	bool wide;     /* two slots */
	bool upper;    /* the second one's immediate counts */
	enum { ISA_SETS_NONE, ISA_SETS_DST, ISA_SETS_SRC, ISA_SETS_R0 } sets;
};

extern struct isa_row isa_rows[ISA_OPS]; /* constant once main() runs */
extern uint8_t isa_first[256];		 /* by code: its first row, or ISA_NONE */

/** isa_helper_name() - as the UAPI numbers them, without bpf_; NULL: no such helper. */
const char *isa_helper_name(int id);

/* Does the encoding of @row fix every field as @in has it? dst and ranges of registers apart. */
static inline bool isa_row_fits(const struct isa_row *row, const struct bpf_insn *in)
{
	return (row->src == ISA_ANY || row->src == in->src_reg) &&
	       (row->off == ISA_ANY || row->off == in->off) &&
	       (row->imm == ISA_ANY || row->imm == in->imm);
}

#endif
