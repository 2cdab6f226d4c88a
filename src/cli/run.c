// SPDX-License-Identifier: Apache-2.0
/*
 * run.c: the verb run: a program's bytes on memory of the caller's.
 *
 *	hex -> isa_decode -> verify_structure -> vm_interp or the JIT's code -> r0
 */
#include "cli/cli.h"

#include "cli/term.h"
#include "cli/verb.h"
#include "vm/vm.h"

#define HEX_MAX (16U << 20) /* characters on standard input */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hex digits in pairs, blanks between pairs as anyone likes. */
static int unhex(const char *text, struct buf *out, const char *what, struct skep_err *err)
{
	int hi, lo;

	for (; *text; text++) {
		if (strchr(" \t\r\n", *text))
			continue;
		hi = digit(text[0]);
		lo = hi < 0 ? -1 : digit(text[1]);
		if (lo < 0)
			return skep_fail(err, -EINVAL, "the %s is no hex: '%.20s'", what, text);
		buf_chr(out, (char)(hi << 4 | lo));
		text++;
	}
	return buf_ok(out) ? 0 : -ENOMEM;
}

static int read_line(struct buf *line, struct skep_err *err)
{
	int c;

	while ((c = getchar()) != EOF && c != '\n') {
		buf_chr(line, (char)c);
		if (line->len > HEX_MAX)
			return skep_fail(err, -E2BIG, "the program is longer than %u characters",
					 HEX_MAX);
	}
	if (ferror(stdin))
		return skep_fail(err, -EIO, "cannot read standard input");
	buf_chr(line, '\0');
	return buf_ok(line) ? 0 : -ENOMEM;
}

/* There are no maps and helpers here, so nothing is to be resolved. */
static int check_self_contained(const struct vm_code *code, struct skep_err *err)
{
	char text[96];

	for (unsigned i = 0; i < code->n_insns; i++) {
		switch ((enum isa_op)code->insns[i].op) {
		case ISA_CALL:
		case ISA_CALL_KFUNC:
		case ISA_LDDW_MAP_FD:
		case ISA_LDDW_MAP_VALUE:
		case ISA_LDDW_BTF_ID:
		case ISA_LDDW_MAP_IDX:
		case ISA_LDDW_MAP_IDX_VALUE:
			isa_text(text, sizeof(text), &code->insns[i], i, NULL);
			return skep_fail(err, -EINVAL,
					 "insn %u: %s: bare bytes have no helpers and maps", i,
					 text);
		default:
			break;
		}
	}
	return 0;
}

static void code_done(struct vm_code *code)
{
	jit_free(code->jit);
	verify_free(code->proof);
	free(code->insns);
}

static int load(struct vm_code *code, const struct buf *bytes, struct skep_err *err)
{
	struct bpf_insn *in = (void *)bytes->data;
	int rc;

	if (!bytes->len || bytes->len % sizeof(*in))
		return skep_fail(err, -EINVAL, "%zu bytes are no program: 8 are one instruction",
				 bytes->len);
	code->n_insns = (unsigned)(bytes->len / sizeof(*in));
	code->insns = calloc(code->n_insns, sizeof(*code->insns));
	if (!code->insns)
		return -ENOMEM;
	rc = isa_decode(in, code->n_insns, code->insns, err);
	if (!rc)
		rc = verify_structure(&code->proof, code->insns, code->n_insns, err);
	return rc ? rc : check_self_contained(code, err);
}

static int compile(struct vm_code *code, struct skep_err *err)
{
	const struct jit_input in = {
		.insns = code->insns, .n_insns = code->n_insns, .proof = code->proof};

	return jit_compile(&code->jit, &in, err);
}

static int execute(const struct vm_code *code, struct buf *memory, uint64_t *r0,
		   struct skep_err *err)
{
	uint64_t at = (uintptr_t)memory->data, len = memory->len;
	struct vm_run run = {.code = code, .regions = {{at, at + len, true}}, .n_regions = 1};

	*r0 = code->jit ? jit_call(&run.jit, jit_func(code->jit, 0), at, len, 0, 0, 0)
			: vm_interp(&run, code, 0, at, len, 0, 0, 0);
	return run.fault ? skep_fail(err, run.fault, "%s", run.err.text) : 0;
}

static int run_hex(const struct args *a, struct buf *out, struct skep_err *err)
{
	cleanup(buf_done) struct buf line = {0}, bytes = {0}, memory = {0};
	cleanup(code_done) struct vm_code code = {.insns = NULL};
	uint64_t r0 = 0;
	int rc = unhex(a->n_operands ? a->operands[0] : "", &memory, "memory", err);

	if (!rc)
		rc = read_line(&line, err);
	if (!rc)
		rc = unhex(line.data, &bytes, "program", err);
	if (!rc)
		rc = load(&code, &bytes, err);
	if (!rc && a->set[OPTION_JIT])
		rc = compile(&code, err);
	if (!rc)
		rc = execute(&code, &memory, &r0, err);
	if (!rc)
		buf_fmt(out, "%llx\n", (unsigned long long)r0);
	return rc;
}

static int run(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf out = {0};

	if (!a->set[OPTION_HEX]) {
		skep_fail(err, 0, "--hex is missing: skep run --hex < program");
		return CLI_USAGE;
	}
	if (a->set[OPTION_JIT] && a->set[OPTION_INTERP]) {
		skep_fail(err, 0, "--jit or --interp, not both");
		return CLI_USAGE;
	}
	if (run_hex(a, &out, err)) /* whatever it was, the program was refused */
		return CLI_FAILED;
	return term_flush(&out);
}

const struct verb verb_run = {
	.name = "run",
	.doc = "run a program's bytes in the engine",
	.text = "One line of hex on standard input is the program: 8 bytes an instruction, blanks "
		"allowed. It runs with r1 at the memory and r2 its length, and r0 is printed in hex. "
		"The interpreter checks every access to memory; code that --jit compiles is trusted.",
	.operand = {.name = "MEMHEX", .doc = "bytes of memory that the program may read and write"},
	.options = {OPTION_HEX, OPTION_JIT, OPTION_INTERP},
	.examples =
		{
			{"echo b7000000 2a000000 9500000000000000 | skep run --hex", "prints 2a"},
		},
	.run = run,
};
