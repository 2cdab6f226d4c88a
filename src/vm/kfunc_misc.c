// SPDX-License-Identifier: Apache-2.0
/* Kfuncs that are little more than their names: sections of the kernel's, casts, ends, sums. */
#include "vm/kfunc.h"

#define FAIL(e) ((uint64_t)(int64_t) - (e))

KFUNC_FN(rdonly_cast)
{
	return a;
}

/* Nothing that a program sees goes away while it runs, and it is alone on the CPU that it sees. */
KFUNC_FN(rcu_read_lock)
{
	return 0;
}

KFUNC_FN(rcu_read_unlock)
{
	return 0;
}

KFUNC_FN(preempt_disable)
{
	return 0;
}

KFUNC_FN(preempt_enable)
{
	return 0;
}

KFUNC_FN(local_irq_save)
{
	*(uint64_t *)PTR(a) = 0;
	return 0;
}

KFUNC_FN(local_irq_restore)
{
	return 0;
}

/* All frames end, those of callbacks and of the helpers that called them too (vm_run_once()). */
KFUNC_FN(throw)
{
	struct run *r = vm_run_now();

	r->thrown = true;
	r->cookie = a;
	vm_help_fault(r, -ECANCELED, "an exception that nobody took");
	return 0;
}

static int count_one(void *arg, const void *key maybe_unused, void *value maybe_unused)
{
	++*(uint64_t *)arg;
	return 0;
}

/* Only hash tables count. */
KFUNC_FN(map_sum_elem_count)
{
	struct map *m = PTR(a);
	uint64_t n = 0;

	switch (m->def.type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		map_for_each(m, count_one, &n);
		break;
	}
	return n;
}

/* There is no device that would know. */
KFUNC_FN(xdp_metadata_rx_timestamp)
{
	return FAIL(EOPNOTSUPP);
}

KFUNC_FN(xdp_metadata_rx_hash)
{
	return FAIL(EOPNOTSUPP);
}

KFUNC_FN(xdp_metadata_rx_vlan_tag)
{
	return FAIL(EOPNOTSUPP);
}
