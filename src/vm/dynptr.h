/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dynptr.h: what lies in the 16 bytes of a struct bpf_dynptr: where, how long, of what kind.
 *
 * Only helpers understand it. Interpreted code could write it itself, so what it points to is checked like
 * any other address; of a packet's it says where in the packet only.
 */
#ifndef SKEP_VM_DYNPTR_H
#define SKEP_VM_DYNPTR_H

#include "vm/help.h"

enum dynptr_kind { DYN_NONE, DYN_LOCAL, DYN_RING, DYN_SKB, DYN_XDP };

#define DYN_SIZE   0x00ffffffU
#define DYN_KIND   28
#define DYN_RDONLY (1U << 31)

struct dynptr {
	uint64_t at;   /* 0: a null one. Of a packet: its context */
	uint32_t size; /* in DYN_SIZE; from DYN_KIND on a kind; DYN_RDONLY */
	uint32_t off;
};

static_assert(sizeof(struct dynptr) == sizeof(struct bpf_dynptr), "as the UAPI has it");

#endif
