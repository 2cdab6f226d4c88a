/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jit.h: decoded programs to machine code.
 *
 * Compiled code follows the platform's C calling convention: r1 to r5 are its first five arguments, r0
 * its result, r6 to r9 and r10 live in callee-saved registers, one more holds struct jit_run. So
 * helpers are called and callbacks are entered without a trampoline.
 *
 * The front (jit.c, fuse.c, lower.c) knows no machine; x86*.c lower for x86-64, arm64*.c for arm64. W^X: code is written through a
 * file descriptor and runs in a mapping that is never writable; guard pages on both sides (code.c).
 *
 * Not its business: which programs may be compiled (vm asks verify), what helpers do.
 */
#ifndef SKEP_JIT_JIT_H
#define SKEP_JIT_JIT_H

#include "isa/isa.h"
#include "verify/verify.h"

/* What running code knows of its run; the head of vm's struct vm_run. */
struct jit_run {
	uint32_t tail_calls; /* made so far, at most ISA_TAIL_MAX */
	uint32_t cpu;	     /* index for per-CPU maps */
};

struct map;

/* The head of what a prog array's slots point to. */
struct jit_target {
	/*
	 * Where a tail call continues: with the frame of the function that makes it torn down, r1 =
	 * context, the run register unchanged. Callers of that function get its r0.
	 */
	const void *entry;
};

/* A map whose lookup the JIT may write inline, or call without the helper between. */
struct jit_map {
	uint64_t map; /* as LDDW loads it into r1 */
	enum jit_map_kind { JIT_ARRAY, JIT_PERCPU_ARRAY, JIT_PROG_ARRAY, JIT_CALLED } kind;
	void *(*lookup)(struct map *m, const void *key); /* called */
	void *values; /* array: of value 0; per-CPU: of value 0 of CPU 0; prog: slots */
	uint32_t max_entries;
	uint32_t stride;     /* bytes from a value to the next */
	uint64_t cpu_stride; /* bytes from a CPU's values to the next CPU's */
};

struct jit_input {
	const struct isa_insn *insns; /* LDDW and LDDW_FUNC only: the loader resolved the others.
					 LDDW_FUNC's imm is relative, as in the ISA */
	unsigned n_insns;
	const struct verify_proof *proof;
	uint64_t (*const *helpers)(uint64_t, uint64_t, uint64_t, uint64_t,
				   uint64_t); /* by CALL's imm */
	unsigned n_helpers;
	uint64_t (*const *kfuncs)(uint64_t, uint64_t, uint64_t, uint64_t,
				  uint64_t); /* by CALL_KFUNC's
										     imm, as resolved */
	unsigned n_kfuncs;
	const struct jit_map *maps;
	unsigned n_maps;
	bool blind; /* constants are not to be found in the code */
};

struct jit_code;

/**
 * jit_compile() - machine code for a whole program, its functions too.
 *
 * Borrows @in for the call. Return: 0; -EOPNOTSUPP on a machine without a JIT or for an instruction it
 * leaves to the interpreter (@err names it); -ENOMEM.
 */
int jit_compile(struct jit_code **out, const struct jit_input *in, struct skep_err *err);
void jit_free(struct jit_code *c);

/** jit_enter() - run from the start. @run is in its register throughout. */
uint64_t jit_enter(const struct jit_code *c, struct jit_run *run, uint64_t ctx);

/** jit_func() - the address that LDDW_FUNC loads for function @i: call it with r1 to r5. */
const void *jit_func(const struct jit_code *c, unsigned i);

/** jit_call() - call such an address from a helper (bpf_loop ...), with the run register set. */
uint64_t jit_call(struct jit_run *run, const void *func, uint64_t r1, uint64_t r2, uint64_t r3,
		  uint64_t r4, uint64_t r5);

/** jit_target_entry() - where tail calls enter, for struct jit_target. */
const void *jit_target_entry(const struct jit_code *c);

/** jit_image() - the code's bytes, and where each instruction's begin (n_insns + 1 offsets). */
const uint8_t *jit_image(const struct jit_code *c, size_t *len, const uint32_t **offsets);

#endif
