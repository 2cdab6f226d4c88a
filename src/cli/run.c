// SPDX-License-Identifier: Apache-2.0
/*
 * run.c: the verb run: an object on packets (object.h), or a program's bytes on memory of the caller's.
 *
 *	hex -> isa_decode -> verify_structure -> vm_interp or the JIT's code -> r0
 */
#include "cli/cli.h"

#include <inttypes.h>

#include "cli/live.h"
#include "cli/object.h"
#include "cli/term.h"
#include "cli/verb.h"
#include "host/seam.h"
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

/* ---- an object ------------------------------------------------------------------------------ */

static void print_json(const struct object_result *r, const char *host, struct ports *ports,
		       struct buf *b)
{
	const char *comma = "";
	char number[16];
	unsigned i;

	buf_str(b, "{\"program\":");
	buf_json(b, r->prog, strlen(r->prog));
	buf_fmt(b, ",\"type\":\"%s\",\"host\":\"%s\",\"packets\":%" PRIu64 ",\"verdicts\":{",
		r->type, host, r->packets);
	for (i = 0; i < OBJECT_VERDICTS; i++) {
		if (!r->verdicts[i])
			continue;
		buf_fmt(b, "%s\"%s\":%" PRIu64, comma, object_verdict(r, i, number),
			r->verdicts[i]);
		comma = ",";
	}
	if (r->others)
		buf_fmt(b, "%s\"other\":%" PRIu64, comma, r->others);
	buf_fmt(b, "},\"last\":%u,\"ns\":%" PRIu64 ",\"runs\":%" PRIu64, r->last, r->ns, r->runs);
	if (r->stats)
		buf_fmt(b,
			",\"insns\":%u,\"jited_bytes\":%u,\"run_cnt\":%" PRIu64
			",\"run_time_ns\":%" PRIu64,
			r->insns, r->jited_bytes, r->run_cnt, r->run_ns);
	if (ports) {
		buf_str(b, ",\"ports\":");
		live_json(ports, b);
	}
	buf_fmt(b, ",\"maps\":{%s}}\n", r->maps.len ? r->maps.data : "");
}

static void print_verdicts(const struct object_result *r, struct buf *b)
{
	char number[16];
	unsigned i;

	for (i = 0; i < OBJECT_VERDICTS; i++)
		if (r->verdicts[i])
			buf_fmt(b, "%12" PRIu64 "  %s\n", r->verdicts[i],
				object_verdict(r, i, number));
	if (r->others)
		buf_fmt(b, "%12" PRIu64 "  other values, the last %d\n", r->others, (int)r->last);
}

static void print_text(const struct object_result *r, const char *host, struct ports *ports,
		       struct buf *b)
{
	buf_fmt(b, "%s (%s) in the %s: ", r->prog, r->type, host);
	if (ports)
		buf_fmt(b, "%" PRIu64 " packet%s\n", r->packets, r->packets == 1 ? "" : "s");
	else if (r->has_packets)
		buf_fmt(b, "%" PRIu64 " packet%s, %.1f ns a run\n", r->packets,
			r->packets == 1 ? "" : "s",
			r->runs ? (double)r->ns / (double)r->runs : 0.0);
	else
		buf_fmt(b, "returned %d\n", (int)r->last);
	if (r->has_packets)
		print_verdicts(r, b);
	if (r->stats)
		buf_fmt(b,
			"%u instructions, %u bytes of machine code%s; %" PRIu64 " runs in %" PRIu64
			" ns\n",
			r->insns, r->jited_bytes, r->jited_bytes ? "" : " (interpreted)",
			r->run_cnt, r->run_ns);
	if (ports)
		live_text(ports, b);
	if (r->maps.len)
		buf_fmt(b, "{%s}\n", r->maps.data);
}

static void print(const struct args *a, const struct object_result *r, struct ports *ports,
		  struct buf *out)
{
	const char *host = a->set[OPTION_HOST] ? a->text[OPTION_HOST] : "engine";

	if (a->set[OPTION_JSON])
		print_json(r, host, ports, out);
	else
		print_text(r, host, ports, out);
}

/* In the host that this thread uses. */
static int run_there(const struct args *a, struct ports *ports, struct buf *out,
		     struct skep_err *err)
{
	const char *sets[ARGS_TEXTS_MAX];
	const struct object_wish wish = {
		.path = a->operands[0],
		.prog = a->text[OPTION_PROG],
		.in = a->text[OPTION_IN],
		.out = a->text[OPTION_OUT],
		.sets = sets,
		.n_sets = option_texts(a, OPTION_SET, sets),
		.dump = a->text[OPTION_DUMP],
		.repeat =
			a->set[OPTION_REPEAT] ? (unsigned)min(a->num[OPTION_REPEAT], 1L << 30) : 1,
		.stats = a->set[OPTION_STATS],
		.ports = ports,
		.seconds = (unsigned)min(a->num[OPTION_SECONDS], 1L << 30),
	};
	struct object_result r;
	int rc = object_run(&wish, &r, err);

	if (rc)
		return rc;
	print(a, &r, ports, out);
	object_done(&r);
	return 0;
}

static int run_object(const struct args *a, struct buf *out, struct skep_err *err)
{
	const struct skep_engine_options options = {.interpret = a->set[OPTION_INTERP],
						    .unsafe = a->set[OPTION_UNSAFE]};
	const char *specs[ARGS_TEXTS_MAX];
	unsigned n = option_texts(a, OPTION_PORTS, specs);
	struct skep_engine *engine = NULL;
	struct ports *ports = NULL;
	int rc = 0;

	if (!a->set[OPTION_HOST] || !strcmp(a->text[OPTION_HOST], "engine"))
		rc = skep_engine_open(&engine, &options);
	if (!rc && n)
		rc = ports_open(&ports, engine, specs, n, err);
	host_use(engine);
	if (!rc)
		rc = run_there(a, ports, out, err);
	host_use(NULL);
	ports_free(ports);
	skep_engine_free(engine);
	return rc;
}

static bool of_objects(const struct args *a)
{
	static const enum option_id ids[] = {
		OPTION_PROG,  OPTION_IN,     OPTION_OUT,    OPTION_SET,
		OPTION_DUMP,  OPTION_REPEAT, OPTION_PORTS,  OPTION_SECONDS,
		OPTION_STATS, OPTION_HOST,   OPTION_UNSAFE,
	};
	size_t i = 0;

	while (i < array_size(ids) && !a->set[ids[i]])
		i++;
	return i < array_size(ids);
}

static bool sets_are_sets(const struct args *a)
{
	const char *sets[ARGS_TEXTS_MAX];
	unsigned n = option_texts(a, OPTION_SET, sets);

	while (n && object_is_set(sets[n - 1]))
		n--;
	return !n;
}

static const char *contradiction(const struct args *a)
{
	if (a->set[OPTION_JIT] && a->set[OPTION_INTERP])
		return "--jit or --interp, not both";
	if (!a->set[OPTION_HEX] && a->set[OPTION_JIT])
		return "--jit goes with --hex; for an object it is --unsafe";
	if (a->set[OPTION_HEX] && of_objects(a))
		return "--hex takes a program's bytes: beside it go --jit, --interp and --json alone";
	if (a->set[OPTION_UNSAFE] && a->set[OPTION_INTERP])
		return "--unsafe or --interp, not both";
	if (!a->set[OPTION_HEX] && !a->n_operands)
		return "an object is missing: skep run prog.bpf.o, or --hex";
	if (a->set[OPTION_PORTS] && a->set[OPTION_HOST] && strcmp(a->text[OPTION_HOST], "engine"))
		return "--port brings frames to the engine; --host kernel has its own";
	if (a->set[OPTION_PORTS] &&
	    (a->set[OPTION_IN] || a->set[OPTION_OUT] || a->set[OPTION_REPEAT]))
		return "--port or --in, --out and --repeat, not both";
	if (!sets_are_sets(a))
		return "--set takes MAP:KEY=VALUE or VARIABLE=VALUE";
	if (a->set[OPTION_SECONDS] && !a->set[OPTION_PORTS])
		return "--seconds goes with --port";
	return NULL;
}

static int run(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf out = {0};
	const char *wrong = contradiction(a);
	int rc;

	if (wrong) {
		skep_fail(err, 0, "%s", wrong);
		return CLI_USAGE;
	}
	rc = a->set[OPTION_HEX] ? run_hex(a, &out, err) : run_object(a, &out, err);
	if (rc == -EPERM)
		return rc;
	return rc ? CLI_FAILED : term_flush(&out); /* whatever it was, the program was refused */
}

const struct verb verb_run = {
	.name = "run",
	.doc = "run a BPF object on packets, or a program's bytes, unattached",
	.text = "Loads an object into the engine of this process (no root, no kernel) or with --host "
		"kernel into the kernel, runs one program on each packet of a capture, and counts what "
		"it decided. The engine interprets programs with every access checked; --unsafe compiles "
		"them, for those that the kernel's verifier has accepted.\n\n"
		"--set takes numbers (7, 0x1f), addresses (192.0.2.1, 2001:db8::1), hex:0a0b0c and "
		"str:text; with --port also @NAME, the ifindex of a port. Maps are printed as JSON, by the object's BTF.\n\n"
		"With --hex one line on standard input is the program: 8 bytes an instruction, blanks "
		"allowed. It runs with r1 at the memory given (MEMHEX) and r2 its length, and r0 is "
		"printed in hex.",
	.operand = {.name = "OBJ|MEMHEX", .doc = "an object file; with --hex the memory, in hex"},
	.options = {OPTION_PROG, OPTION_IN, OPTION_OUT, OPTION_SET, OPTION_DUMP, OPTION_REPEAT,
		    OPTION_PORTS, OPTION_SECONDS, OPTION_STATS, OPTION_HOST, OPTION_UNSAFE,
		    OPTION_INTERP, OPTION_HEX, OPTION_JIT, OPTION_JSON},
	.examples =
		{
			{"skep run filter.bpf.o --in web.pcap --out passed.pcap --dump all",
			 "which packets pass, and what the maps hold then"},
			{"skep run filter.bpf.o --in web.pcap --repeat 1000 --unsafe",
			 "how many ns a packet takes"},
			{"skep run lb.bpf.o --prog balance --set port=443 --set backends:0=192.0.2.7",
			 "with a variable and a map set before"},
			{"skep run lb.bpf.o --port a=xdp:eth0 --port b=packet:eth1 --set out:0=@b --unsafe",
			 "on live frames, a devmap leading from one port to the other"},
			{"echo b7000000 2a000000 9500000000000000 | skep run --hex", "prints 2a"},
		},
	.run = run,
};
