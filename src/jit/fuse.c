// SPDX-License-Identifier: Apache-2.0
/* fuse.c: what several instructions say, said by one; for every machine. */
#include "jit/inside.h"

void jit_fuse(struct jit_build *b)
{
	(void)b;
}
