// SPDX-License-Identifier: Apache-2.0
/* none.c: where there is no machine yet, everything is interpreted. */
#include "jit/inside.h"

#if !defined(__x86_64__) && !defined(__aarch64__)

const uint8_t jit_filler;

int jit_machine_init(struct skep_err *err)
{
	return skep_fail(err, -EOPNOTSUPP, "no JIT for this machine");
}

void jit_lower_func(struct jit_build *b, const struct jit_func *f maybe_unused)
{
	jit_refuse(b, "no JIT for this machine");
}

void jit_lower(struct jit_build *b, const struct isa_insn *i maybe_unused)
{
	jit_refuse(b, "no JIT for this machine");
}

void jit_put_site(uint8_t *out maybe_unused, const struct jit_site *s maybe_unused,
		  int64_t from maybe_unused, int64_t to maybe_unused)
{
}

unsigned jit_site_size(const struct jit_site *s, int64_t distance maybe_unused)
{
	return s->max;
}

uint64_t jit_call(struct jit_run *run maybe_unused, const void *func maybe_unused,
		  uint64_t r1 maybe_unused, uint64_t r2 maybe_unused, uint64_t r3 maybe_unused,
		  uint64_t r4 maybe_unused, uint64_t r5 maybe_unused)
{
	return 0;
}

uint64_t jit_enter(const struct jit_code *c maybe_unused, struct jit_run *run maybe_unused,
		   uint64_t ctx maybe_unused)
{
	return 0;
}

#endif
