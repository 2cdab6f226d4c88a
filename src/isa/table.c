// SPDX-License-Identifier: Apache-2.0
/* table.c: insn.def as data, and what can be read off its templates. */
#include "isa/table.h"

enum { A = ISA_ANY, R = ISA_ANY, Z = 0 };

struct isa_row isa_rows[ISA_OPS] = {
	[ISA_NONE] = {.name = "NONE", .text = "", .imm = ISA_ANY},
	[ISA_NEVER] = {.name = "NEVER", .text = "", .imm = ISA_ANY},
#define INSN(id, code, src, off, imm, text) [ISA_##id] = {#id, text, src, off, imm, code},
#include "isa/insn.def"
#undef INSN
};

uint8_t isa_first[256];

/* What a template begins with is what is assigned to. */
static int sets(const char *text)
{
	if (!strncmp(text, "{d} ", 4) || !strncmp(text, "{wd} ", 5))
		return ISA_SETS_DST;
	if (!strncmp(text, "{s} ", 4))
		return ISA_SETS_SRC;
	return !strncmp(text, "r0 ", 3) || !strncmp(text, "call", 4) ? ISA_SETS_R0 : ISA_SETS_NONE;
}

static void complete(struct isa_row *row)
{
	row->uses_dst = strstr(row->text, "{d}") || strstr(row->text, "{wd}");
	row->wide = row->code == (BPF_LD | BPF_IMM | BPF_DW);
	row->sets = sets(row->text);
	row->upper = strstr(row->text, "{l}") || strstr(row->text, "{u}");
}

/* Backwards, so that each chain keeps the order of the table. */
__attribute__((constructor)) static void index_rows(void)
{
	for (unsigned op = ISA_OPS - 1; op >= ISA_FIRST; op--) {
		complete(&isa_rows[op]);
		isa_rows[op].next = isa_first[isa_rows[op].code];
		isa_first[isa_rows[op].code] = (uint8_t)op;
	}
}

const char *isa_name(enum isa_op op)
{
	return (unsigned)op < ISA_OPS ? isa_rows[op].name : "?";
}

int isa_written(const struct isa_insn *insn)
{
	switch (isa_rows[insn->op].sets) {
	case ISA_SETS_DST:
		return insn->dst;
	case ISA_SETS_SRC:
		return insn->src;
	case ISA_SETS_R0:
		return 0;
	default:
		return -1;
	}
}
