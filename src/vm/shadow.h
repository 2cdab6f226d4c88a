/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shadow.h: what programs read of the kernel's structures, made to look like them.
 *
 * A program was relocated to this kernel's BTF: it reads a member where this kernel has it. A shadow is zeroed
 * memory of the structure's size in which members that mean something here were set, by name. Members that
 * this kernel does not have are left out. It belongs to the run (vm_run_keep()) and ends with it.
 */
#ifndef SKEP_VM_SHADOW_H
#define SKEP_VM_SHADOW_H

#include "vm/run.h"

struct shadow {
	const struct btf *btf;
	uint32_t type;
	uint8_t *at; /* NULL: this kernel shows no such structure */
};

struct shadow vm_shadow(struct run *r, const char *structure);
/* @member may lead inside: "usercnt.counter". */
void vm_shadow_set(struct shadow *s, const char *member, uint64_t value);
void vm_shadow_bytes(struct shadow *s, const char *member, const void *bytes, size_t n);

/*
 * struct bpf_map is read through the pointer that helpers take, so it lies there: in the first bytes of struct map.
 * Reading the kernel's BTF takes longer than an engine's start, so they are filled when some program reads them:
 * an interpreted one faults there, of compiled ones peek.c tells beforehand.
 */
void vm_show_maps(struct skep_engine *e); /* all there are, and from then on */
void vm_show_map(struct vm_map *m);	  /* a new one, or one that changed */
/* May the program read through a map's pointer? What is not certain is yes. */
bool vm_peeks(const struct prog *p);

/* Of objects; NULL where there is no BTF. */
void *vm_shadow_map(struct run *r, struct vm_map *m);
void *vm_shadow_prog(struct run *r, const struct prog *p);

#endif
