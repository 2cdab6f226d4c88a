// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes as a program, and as a line of assembler: decode, structure and interpreter never crash,
 * what decodes comes back from bytes and from text, and a budget ends every run. The first byte says
 * whether bytes are taken as they are or bent into rows of insn.def.
 */
#include "isa/table.h"
#include "vm/vm.h"

#define INSNS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Calls a function of the program at most four times. */
static uint64_t helper_loop(uint64_t n, uint64_t func, uint64_t c, uint64_t d, uint64_t e)
{
	for (uint64_t i = 0; i < (n & 3) + 1 && !vm_running()->fault; i++)
		vm_call(vm_running(), func, i, c, d, e, 0);
	return n;
}

static uint64_t helper_tail(uint64_t a maybe_unused, uint64_t b maybe_unused,
			    uint64_t c maybe_unused, uint64_t d maybe_unused,
			    uint64_t e maybe_unused)
{
	return (uint64_t)vm_tail_call(vm_running(), vm_running()->code);
}

static vm_helper *const helpers[] = {NULL, helper_loop, helper_tail};

static void bend(struct bpf_insn *in, unsigned n)
{
	const struct isa_row *row;

	for (unsigned i = 0; i < n; i++) {
		row = &isa_rows[1 + in[i].code % (ISA_OPS - 1)];
		in[i].code = row->code;
		in[i].dst_reg = row->uses_dst ? in[i].dst_reg % 10 : 0;
		in[i].src_reg = row->src == ISA_ANY ? in[i].src_reg % ISA_REGS : (uint8_t)row->src;
		in[i].off = row->off == ISA_ANY ? in[i].off % 16 : (int16_t)row->off;
		in[i].imm = row->imm == ISA_ANY ? in[i].imm : row->imm;
		if (strstr(row->text, "{g}") || strstr(row->text, "{h}"))
			in[i].imm %= 16;
		if (row->wide && i + 1 < n) {
			in[i + 1] = (struct bpf_insn){.imm = row->upper ? in[i + 1].imm : 0};
			i++;
		}
	}
}

static void same_from_text(const struct isa_insn *insns, unsigned n)
{
	struct isa_insn back[2];
	char text[128];

	for (unsigned i = 0; i < n; i++) {
		if (insns[i].op == ISA_NONE)
			continue;
		must(isa_text(text, sizeof(text), &insns[i], i, NULL) < sizeof(text) - 1);
		must(isa_parse(text, back, NULL) > 0);
		must(!memcmp(back, &insns[i], sizeof(back[0])));
	}
}

static void run_it(struct vm_code *code)
{
	uint64_t memory[8] = {0};
	struct vm_run run = {
		.regions = {{(uintptr_t)memory, (uintptr_t)(memory + 8), true},
			    {(uintptr_t)helpers, (uintptr_t)(helpers + 1), false}},
		.n_regions = 2,
		.budget = 5000,
	};

	vm_interp(&run, code, 0, (uintptr_t)memory, sizeof(memory), (uintptr_t)helpers, 0, 0);
	must(!run.stack && !run.frames && !vm_running());
	must(!run.fault == !run.err.text[0]);
}

static void program(struct bpf_insn *in, unsigned n)
{
	struct isa_insn insns[INSNS_MAX];
	struct bpf_insn back[INSNS_MAX];
	struct vm_code code = {
		.insns = insns, .n_insns = n, .helpers = helpers, .n_helpers = array_size(helpers)};
	struct skep_err err = {""};

	if (isa_decode(in, n, insns, &err)) {
		must(!strncmp(err.text, "insn ", 5));
		return;
	}
	isa_encode(insns, n, back);
	must(!memcmp(in, back, n * sizeof(in[0])));
	same_from_text(insns, n);
	if (verify_structure(&code.proof, insns, n, &err)) {
		must(err.text[0]);
		return;
	}
	run_it(&code);
	verify_free(code.proof);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bpf_insn in[INSNS_MAX];
	struct isa_insn parsed[2];
	char line[256];
	unsigned n;

	if (!size)
		return 0;
	snprintf(line, sizeof(line), "%.*s", (int)min(size - 1, sizeof(line) - 1), data + 1);
	isa_parse(line, parsed, NULL);
	n = (unsigned)min((size - 1) / sizeof(in[0]), (size_t)INSNS_MAX);
	memcpy(in, data + 1, n * sizeof(in[0]));
	if (data[0] & 1)
		bend(in, n);
	program(in, n);
	return 0;
}
