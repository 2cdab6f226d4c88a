// SPDX-License-Identifier: Apache-2.0
/*
 * decode.c: bytes to rows of insn.def and back.
 *
 * I1  A decoded program has only rows of the table, registers up to r10, and a second slot behind each
 *     LDDW. Everything behind decode relies on it.
 * I2  Encoding gives back the very bytes: no field is lost, because fields without meaning are zero.
 */
#include "isa/table.h"

static const char *jmp_family(const struct bpf_insn *in)
{
	switch (BPF_OP(in->code)) {
	case BPF_JA:
		return "BPF_JA";
	case BPF_CALL:
		return "BPF_CALL";
	case BPF_EXIT:
		return "BPF_EXIT";
	case 0xe0:
		return "BPF_JCOND";
	default:
		return "BPF_JMP/JMP32";
	}
}

/* As the kernel's log calls the family of an opcode. */
static const char *family(const struct bpf_insn *in)
{
	switch (BPF_CLASS(in->code)) {
	case BPF_LD:
		return BPF_MODE(in->code) == BPF_IMM ? "BPF_LD_IMM64" : "BPF_LD_[ABS|IND]";
	case BPF_LDX:
		return "BPF_LDX";
	case BPF_ST:
		return "BPF_ST";
	case BPF_STX:
		return BPF_MODE(in->code) == BPF_MEM ? "BPF_STX" : "BPF_ATOMIC";
	case BPF_JMP:
	case BPF_JMP32:
		return jmp_family(in);
	default:
		return BPF_OP(in->code) == BPF_END   ? "BPF_END"
		       : BPF_OP(in->code) == BPF_NEG ? "BPF_NEG"
		       : BPF_OP(in->code) == BPF_MOV ? "BPF_MOV"
						     : "BPF_ALU";
	}
}

static int reserved(const struct bpf_insn *in, unsigned i, struct skep_err *err)
{
	return skep_fail(
		err, -EINVAL,
		"insn %u: %s uses reserved fields (opcode %02x dst %u src %u off %d imm %d)", i,
		family(in), in->code, in->dst_reg, in->src_reg, in->off, in->imm);
}

/* No row of this code takes these fields: say which kind of wrong it is. */
static int no_row(const struct bpf_insn *in, unsigned i, struct skep_err *err)
{
	if (!isa_first[in->code])
		return skep_fail(err, -EINVAL, "insn %u: unknown opcode %02x", i, in->code);
	if (BPF_CLASS(in->code) == BPF_STX && BPF_MODE(in->code) == BPF_ATOMIC)
		return skep_fail(err, -EINVAL,
				 "insn %u: BPF_ATOMIC uses invalid atomic opcode %02x", i,
				 (unsigned)in->imm);
	if (in->code == (BPF_LD | BPF_IMM | BPF_DW) && !in->off)
		return skep_fail(err, -EINVAL, "insn %u: unrecognized bpf_ld_imm64 insn", i);
	return reserved(in, i, err);
}

static int second_slot(const struct bpf_insn *in, unsigned i, unsigned n, const struct isa_row *row,
		       struct skep_err *err)
{
	const struct bpf_insn *upper = &in[i + 1];

	if (i + 1 == n || upper->code || upper->dst_reg || upper->src_reg || upper->off)
		return skep_fail(err, -EINVAL, "insn %u: invalid bpf_ld_imm64 insn", i);
	if (upper->imm && !row->upper)
		return skep_fail(err, -EINVAL, "insn %u: unrecognized bpf_ld_imm64 insn", i);
	return 0;
}

static int check_regs(const struct bpf_insn *in, unsigned i, const struct isa_row *row,
		      struct skep_err *err)
{
	if (in->dst_reg && !row->uses_dst)
		return reserved(in, i, err);
	if (in->dst_reg >= ISA_REGS)
		return skep_fail(err, -EINVAL, "insn %u: R%u is invalid", i, in->dst_reg);
	if (row->src == ISA_ANY && in->src_reg >= ISA_REGS)
		return skep_fail(err, -EINVAL, "insn %u: R%u is invalid", i, in->src_reg);
	return 0;
}

static enum isa_op row_of(const struct bpf_insn *in)
{
	unsigned op = isa_first[in->code];

	while (op && !isa_row_fits(&isa_rows[op], in))
		op = isa_rows[op].next;
	return op;
}

int isa_decode(const struct bpf_insn *in, unsigned n, struct isa_insn *out, struct skep_err *err)
{
	const struct isa_row *row;
	enum isa_op op;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		op = row_of(&in[i]);
		if (!op)
			return no_row(&in[i], i, err);
		row = &isa_rows[op];
		rc = check_regs(&in[i], i, row, err);
		if (!rc && row->wide)
			rc = second_slot(in, i, n, row, err);
		if (rc)
			return rc;
		out[i] = (struct isa_insn){(uint8_t)op, in[i].dst_reg, in[i].src_reg, in[i].off,
					   in[i].imm};
		if (row->wide) {
			i++;
			out[i] = (struct isa_insn){.op = ISA_NONE, .imm = in[i].imm};
		}
	}
	return 0;
}

void isa_encode(const struct isa_insn *in, unsigned n, struct bpf_insn *out)
{
	const struct isa_row *row;

	for (unsigned i = 0; i < n; i++) {
		row = &isa_rows[in[i].op];
		out[i] = (struct bpf_insn){
			.code = row->code,
			.dst_reg = in[i].dst,
			.src_reg = row->src == ISA_ANY ? in[i].src : (uint8_t)row->src,
			.off = row->off == ISA_ANY ? in[i].off : (int16_t)row->off,
			.imm = row->imm == ISA_ANY ? in[i].imm : row->imm,
		};
	}
}
