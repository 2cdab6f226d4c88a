/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.h: what is known of a program before it runs: a proof or a refusal.
 *
 * Today the structure only: jumps land on instructions of the same function, every function ends,
 * calls meet functions, r10 is not written, shifts and divisors are in range. That is what the
 * interpreter and the JIT rely on to stay inside the program; memory is checked by the interpreter at
 * run time. A program with a structure but no proof is not JITed unless its loader insists.
 */
#ifndef SKEP_VERIFY_VERIFY_H
#define SKEP_VERIFY_VERIFY_H

#include "isa/isa.h"

struct verify_func {
	unsigned start, end; /* instructions; end is behind the last */
	bool tail_calls;     /* calls bpf_tail_call itself */
	bool callback;	     /* its address is taken (LDDW_FUNC) */
	bool may_goto;
};

struct verify_proof {
	struct verify_func *funcs; /* by start; the first is the program */
	unsigned n_funcs;
	uint32_t *func_of; /* per instruction: index into funcs */
	bool memory_safe;  /* proved; false until there is a verifier */
};

/**
 * verify_structure() - check @n decoded instructions; those that only dead code may hold become ISA_NEVER.
 *
 * Refusals carry the instruction's number and the kernel's wording where it has one ("jump out of
 * range from insn 3 to 9", "unreachable insn 5", "last insn is not an exit or jmp").
 *
 * Return: 0 with *@out to be freed by verify_free(); -EINVAL, -ENOMEM.
 */
int verify_structure(struct verify_proof **out, struct isa_insn *insns, unsigned n,
		     struct skep_err *err);
void verify_free(struct verify_proof *p);

/* What @size bytes at a constant address hold; false: not known, or it may change. */
typedef bool verify_load(void *arg, uint64_t addr, unsigned size, uint64_t *value);

/**
 * verify_dead() - which of @n instructions, whose structure was checked, no path reaches.
 * @dead: of @n, to fill
 *
 * Only what constants decide is followed; with addresses of maps' values in LDDW, @load tells them.
 * Return: 0, -ENOMEM.
 */
int verify_dead(bool *dead, const struct isa_insn *insns, unsigned n, verify_load *load, void *arg);

/** verify_func_at() - the function that starts at @pc, NULL where none does. */
const struct verify_func *verify_func_at(const struct verify_proof *p, unsigned pc);

#endif
