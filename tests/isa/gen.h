/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen.h: random programs that the kernel's verifier accepts, of every instruction it knows.
 *
 * A program finds its inputs in a map's value, computes on all registers, its stack and that value,
 * and leaves registers and stack there at the end: so comparing the value compares everything.
 *
 *	value:  in: registers and seeds | memory to work on | out: r0 to r9, stack
 */
#ifndef SKEP_TESTS_GEN_H
#define SKEP_TESTS_GEN_H

#include "isa/isa.h"

#define GEN_MAX	   1024 /* instructions */
#define GEN_IN	   16	/* 64-bit words of input */
#define GEN_MEM	   128	/* bytes to work on */
#define GEN_SLOTS  12	/* 64-bit slots of the stack to work on */
#define GEN_PACKET 64

struct gen_value {
	uint64_t in[GEN_IN];
	uint8_t mem[GEN_MEM];
	uint64_t regs[10];
	uint64_t stack[GEN_SLOTS];
};

struct gen_program {
	struct isa_insn insns[GEN_MAX]; /* the value's address is LDDW_MAP_VALUE's, fd 0 */
	unsigned n;
	bool packet;		/* has LD_ABS or LD_IND: r1 is a struct __sk_buff */
	struct gen_value value; /* before the run */
	uint8_t data[GEN_PACKET];
};

void gen_program(struct gen_program *p, uint64_t seed);

#endif
