/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h: programs by hand, run compiled and interpreted, with all that they leave behind. */
#ifndef MACHINE_H
#define MACHINE_H

#include "jit/jit.h"
#include "vm/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SLOTS 16 /* of memory that programs share with the test; the first ten: r0 to r9 */

struct prog {
	struct isa_insn i[70000];
	unsigned n;
};

struct world {
	uint64_t slot[SLOTS], r0;
	uint32_t tail_calls;
};

static struct prog prog maybe_unused; /* the one being made */

static inline void add(unsigned op, unsigned dst, unsigned src, int off, int32_t imm)
{
	assert_true(prog.n < array_size(prog.i));
	prog.i[prog.n++] = (struct isa_insn){
		.op = (uint8_t)op, .dst = dst, .src = src, .off = (int16_t)off, .imm = imm};
}

static inline void add64(unsigned op, unsigned dst, uint64_t v)
{
	add(op, dst, 0, 0, 0);
	add(ISA_NONE, 0, 0, 0, 0);
	isa_set_imm64(&prog.i[prog.n - 2], v);
}

/* All registers come from slots ... */
static inline void begin(void)
{
	unsigned r;

	prog.n = 0;
	add(ISA_STX64, 10, 1, -8, 0);
	for (r = 0; r < 10; r++)
		if (r != 1)
			add(ISA_LDX64, r, 1, (int)r * 8, 0);
	add(ISA_LDX64, 1, 1, 8, 0);
}

/* ... and go back to them; r0 is the result. */
static inline void finish(void)
{
	unsigned r;

	add(ISA_STX64, 10, 1, -16, 0);
	add(ISA_LDX64, 1, 10, -8, 0);
	for (r = 0; r < 10; r++)
		if (r != 1)
			add(ISA_STX64, 1, r, (int)r * 8, 0);
	add(ISA_LDX64, 2, 10, -16, 0);
	add(ISA_STX64, 1, 2, 8, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
}

/* What programs may call and use besides. */
static struct jit_input extra maybe_unused;

struct ready {
	struct verify_proof *proof;
	struct jit_code *jit;
};

static inline void ready_done(struct ready *r)
{
	jit_free(r->jit);
	verify_free(r->proof);
}

static inline struct ready compile(void)
{
	struct jit_input in = extra;
	struct ready r = {0};
	struct skep_err err = {""};

	if (verify_structure(&r.proof, prog.i, prog.n, &err))
		fail_msg("%s", err.text);
	in.insns = prog.i;
	in.n_insns = prog.n;
	in.proof = r.proof;
	if (jit_compile(&r.jit, &in, &err))
		fail_msg("%s", err.text);
	return r;
}

static inline void run_compiled(const struct ready *r, struct world *w)
{
	struct jit_run run = {0};

	w->r0 = jit_enter(r->jit, &run, (uintptr_t)w->slot);
	w->tail_calls = run.tail_calls;
}

static inline void run_interpreted(const struct ready *r, struct world *w)
{
	static struct vm_run run;
	struct vm_code code = {
		.insns = prog.i,
		.n_insns = prog.n,
		.proof = r->proof,
		.helpers = (vm_helper *const *)extra.helpers,
		.n_helpers = extra.n_helpers,
	};

	memset(&run, 0, sizeof(run));
	run.code = &code;
	run.regions[0] = (struct vm_region){(uintptr_t)w->slot, (uintptr_t)(w->slot + SLOTS), true};
	run.n_regions = 1;
	w->r0 = vm_interp(&run, &code, 0, (uintptr_t)w->slot, 0, 0, 0, 0);
	if (run.fault)
		fail_msg("interpreter: %s", run.err.text);
}

static inline void print_prog(void)
{
	char text[128];
	unsigned k;

	for (k = 0; k < prog.n; k++) {
		if (prog.i[k].op == ISA_NONE)
			continue;
		isa_text(text, sizeof(text), &prog.i[k], k, NULL);
		print_error("%4u: %s\n", k, text);
	}
}

/* Both, from the same @start: registers, memory and result agree. */
static inline void expect_same(const struct ready *r, const struct world *start)
{
	static struct world w; /* both at one address: it may be among what they leave */
	struct world a, b;
	unsigned k;

	w = *start;
	run_compiled(r, &w);
	a = w;
	w = *start;
	run_interpreted(r, &w);
	b = w;
	for (k = 0; k < SLOTS && a.slot[k] == b.slot[k]; k++)
		;
	if (k == SLOTS && a.r0 == b.r0)
		return;
	print_prog();
	for (k = 0; k < SLOTS; k++)
		print_error("slot %u: from %#llx: compiled %#llx, interpreted %#llx\n", k,
			    (unsigned long long)start->slot[k], (unsigned long long)a.slot[k],
			    (unsigned long long)b.slot[k]);
	fail_msg("results %#llx, %#llx", (unsigned long long)a.r0, (unsigned long long)b.r0);
}

#endif
