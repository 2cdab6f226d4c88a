// SPDX-License-Identifier: Apache-2.0
/* jit.c: where there is no machine to compile for: everything is refused, nothing is entered. */
#include "jit/jit.h"

int jit_compile(struct jit_code **out maybe_unused, const struct jit_input *in maybe_unused,
		struct skep_err *err)
{
	return skep_fail(err, -EOPNOTSUPP, "this build has no JIT");
}

void jit_free(struct jit_code *c maybe_unused)
{
}

uint64_t jit_enter(const struct jit_code *c maybe_unused, struct jit_run *run maybe_unused,
		   uint64_t ctx maybe_unused)
{
	abort();
}

const void *jit_func(const struct jit_code *c maybe_unused, unsigned i maybe_unused)
{
	return NULL;
}

uint64_t jit_call(struct jit_run *run maybe_unused, const void *func maybe_unused,
		  uint64_t r1 maybe_unused, uint64_t r2 maybe_unused, uint64_t r3 maybe_unused,
		  uint64_t r4 maybe_unused, uint64_t r5 maybe_unused)
{
	abort();
}
