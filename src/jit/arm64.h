/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arm64.h: what the files of the arm64 machine share.
 *
 *	r0 x5   r1 x0  r2 x1  r3 x2  r4 x3  r5 x4     as C passes arguments; x0 is its result
 *	r6 x19  r7 x20  r8 x21  r9 x22  r10 x24       a callee keeps them
 *	struct jit_run: x23.  Scratch, within one instruction: x9 to x12
 */
#ifndef SKEP_JIT_ARM64_H
#define SKEP_JIT_ARM64_H

#include "jit/arm64_emit.h"

#define RUN X23
#define T0  X9
#define T1  X10
#define T2  X11
#define T3  X12

#define R0 X5

extern const uint8_t arm64_reg[ISA_REGS + 1];
extern bool arm64_lse;

void arm64_epilogue(struct jit_build *b, const struct jit_func *f);
void arm64_return(struct jit_build *b);
void arm64_jump(struct jit_build *b, unsigned cc, unsigned to);
/* A register that holds @v: T1, or where constants are not hidden and it is 0, the zero register. */
unsigned arm64_const(struct jit_build *b, uint64_t v);

#endif
