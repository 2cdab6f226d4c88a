/* SPDX-License-Identifier: Apache-2.0 */
/* iter.h: what links and BPF_ITER_CREATE need of iterators (iter.c). */
#ifndef SKEP_VM_ITER_H
#define SKEP_VM_ITER_H

#include "vm/inside.h"

struct kind;

struct iter_target {
	const struct kind *kind; /* NULL: no iterator */
	struct vm_map *map;	 /* with a reference, or NULL */
	uint32_t tid, pid;	 /* 0: all */
};

/* From a BPF_LINK_CREATE. -EINVAL, -EBADF, -EOPNOTSUPP: a kind that has no meaning here. */
int vm_iter_aim(struct call *c, struct prog *p, struct iter_target *t);
const char *vm_iter_name(const struct iter_target *t);
/* Of struct bpf_link_info.iter: map id, tid, pid. */
void vm_iter_info(const struct iter_target *t, uint32_t words[3]);
/* A descriptor of the caller's to read from. */
long vm_iter_file(struct call *c, struct prog *p, const struct iter_target *t);

#endif
