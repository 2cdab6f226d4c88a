/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.h: the helpers of the UAPI by number: names and prototypes, from helper.def.
 *
 * Not its business: what they do, and which programs may call them (vm).
 */
#ifndef SKEP_ISA_HELPER_H
#define SKEP_ISA_HELPER_H

#include "base/base.h"

#define ISA_HELPERS_MAX 211

/* As the head of helper.def tells. */
enum isa_arg {
	ISA_ARG__,
	ISA_ARG_ANY,
	ISA_ARG_CTX,
	ISA_ARG_MAP,
	ISA_ARG_KEY,
	ISA_ARG_VALUE,
	ISA_ARG_VALUE0,
	ISA_ARG_OUT_VALUE,
	ISA_ARG_MEM,
	ISA_ARG_MEM0,
	ISA_ARG_MEM20,
	ISA_ARG_MEM40,
	ISA_ARG_OUT,
	ISA_ARG_OUT0,
	ISA_ARG_OUT8,
	ISA_ARG_INOUT,
	ISA_ARG_INOUT4,
	ISA_ARG_SIZE,
	ISA_ARG_SIZE0,
	ISA_ARG_ALLOC,
	ISA_ARG_FUNC,
	ISA_ARG_STACK0,
	ISA_ARG_STR,
	ISA_ARG_LOCK,
	ISA_ARG_TIMER,
	ISA_ARG_KPTR,
	ISA_ARG_RECORD,
	ISA_ARG_SOCK,
	ISA_ARG_BTF,
	ISA_ARG_DYNPTR,
	ISA_ARG_OUT_DYNPTR,
};

enum isa_ret {
	ISA_RET_INT,
	ISA_RET_VOID,
	ISA_RET_VALUE,
	ISA_RET_VALUE0,
	ISA_RET_MEM0,
	ISA_RET_RECORD0,
	ISA_RET_SOCK0,
	ISA_RET_BTF,
};

struct isa_helper {
	const char *name; /* without "bpf_" */
	bool gpl;
	uint8_t ret;	 /* enum isa_ret */
	uint8_t args[5]; /* enum isa_arg */
};

/** isa_helper() - NULL for a number that the UAPI does not have. */
const struct isa_helper *isa_helper(int id);

#endif
