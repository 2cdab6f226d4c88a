/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86.h: what the files of the x86-64 machine share.
 *
 *	r0 rax   r1 rdi  r2 rsi  r3 rdx  r4 rcx  r5 r8     as C passes arguments
 *	r6 rbx   r7 r13  r8 r14  r9 r15  r10 rbp           a callee keeps them
 *	struct jit_run: r12.  Scratch, within one instruction: r9, r10, r11
 */
#ifndef SKEP_JIT_X86_H
#define SKEP_JIT_X86_H

#include "jit/x86_emit.h"

#define RUN R12
#define T0  R11
#define T1  R10
#define T2  R9

extern const uint8_t x86_reg[ISA_REGS + 1];
extern bool x86_bmi2, x86_movbe;

/* The load @m through register @t, where t is base + index and needed for nothing else. */
bool x86_load_indexed(struct jit_build *b, const struct isa_insn *m, unsigned t, unsigned base,
		      unsigned index);
void x86_epilogue(struct jit_build *b, const struct jit_func *f);
void x86_jump(struct jit_build *b, unsigned cc, unsigned to);
/* The immediate of @i in a scratch register, for programs whose constants are hidden. */
unsigned x86_hidden(struct jit_build *b, uint64_t v);

#endif
