// SPDX-License-Identifier: Apache-2.0
/*
 * The table of helpers and the gate before them.
 *
 * H1  What an interpreted program hands to a helper is checked here by the helper's prototype, once:
 *     memory is the program's to touch, a map is one of its own. Helpers themselves rely on it.
 * H2  A constant string may be longer than what the prototype tells: it is searched for its end
 *     within the program's memory.
 */
#include "vm/help.h"

#include "isa/helper.h"

static const uint32_t families[VM_PROG_TYPES] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = SK_FILTER,
	[BPF_PROG_TYPE_KPROBE] = TRACE,
	[BPF_PROG_TYPE_SCHED_CLS] = TC,
	[BPF_PROG_TYPE_SCHED_ACT] = TC,
	[BPF_PROG_TYPE_TRACEPOINT] = TRACE,
	[BPF_PROG_TYPE_XDP] = XDP,
	[BPF_PROG_TYPE_PERF_EVENT] = TRACE,
	[BPF_PROG_TYPE_CGROUP_SKB] = CGROUP_SKB,
	[BPF_PROG_TYPE_CGROUP_SOCK] = CGROUP_OTHER,
	[BPF_PROG_TYPE_LWT_IN] = LWT,
	[BPF_PROG_TYPE_LWT_OUT] = LWT,
	[BPF_PROG_TYPE_LWT_XMIT] = LWT,
	[BPF_PROG_TYPE_SOCK_OPS] = SOCK_OPS,
	[BPF_PROG_TYPE_SK_SKB] = SK_SKB,
	[BPF_PROG_TYPE_CGROUP_DEVICE] = CGROUP_OTHER,
	[BPF_PROG_TYPE_SK_MSG] = MSG,
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = TRACE,
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = SOCK_ADDR,
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = LWT,
	[BPF_PROG_TYPE_LIRC_MODE2] = LIRC,
	[BPF_PROG_TYPE_SK_REUSEPORT] = REUSEPORT,
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = FLOW,
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = SYSCTL,
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = TRACE,
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = SOCKOPT,
	[BPF_PROG_TYPE_TRACING] = TRACE,
	[BPF_PROG_TYPE_LSM] = TRACE,
	[BPF_PROG_TYPE_SK_LOOKUP] = LOOKUP,
	[BPF_PROG_TYPE_SYSCALL] = SYSCALL,
	[VM_PROG_TYPE_NETFILTER] = OTHER,
};

static const uint32_t who[ISA_HELPERS_MAX + 1] = {
#define HELP(name, set) [BPF_FUNC_##name] = (set),
#include "vm/help.def"
#undef HELP
};

uint32_t vm_help_family(uint32_t type)
{
	return families[type];
}

bool vm_help_allowed(const struct prog *p, unsigned id)
{
	return who[id] & families[p->run_type];
}

bool vm_help_gpl_only(unsigned id)
{
	return isa_helper((int)id)->gpl;
}

bool vm_is_tracing(uint32_t type)
{
	return families[type] == TRACE;
}

void vm_help_fault(struct run *r, int rc, const char *why)
{
	if (r->vm.fault)
		return;
	r->vm.fault = rc;
	skep_fail(&r->vm.err, rc, "%s", why);
}

/* ---- the gate ------------------------------------------------------------------------------------- */

bool vm_help_is_map(struct run *r, uint64_t v)
{
	const struct prog *p = vm_run_prog(r);
	unsigned i;

	for (i = 0; i < p->n_maps; i++)
		if ((uintptr_t)p->maps[i]->map == v)
			return true;
	for (i = 0; i < r->n_inner; i++)
		if ((uintptr_t)r->inner[i] == v)
			return true;
	return false;
}

/* The whole of a lock in a value. */
static bool is_lock(struct run *r, uint64_t at)
{
	const struct prog *p = vm_run_prog(r);
	unsigned i;

	if (at % 4)
		return false;
	for (i = 0; i < p->n_maps; i++)
		if (map_is_lock(p->maps[i]->map, at, 1))
			return map_is_lock(p->maps[i]->map, at + 3, 1);
	for (i = 0; i < r->n_inner; i++)
		if (map_is_lock(r->inner[i], at, 1))
			return map_is_lock(r->inner[i], at + 3, 1);
	return false;
}

static bool is_string(struct run *r, uint64_t at)
{
	for (; vm_access(&r->vm, at, 1, false); at++) /* H2 */
		if (!*(const char *)PTR(at))
			return true;
	return false;
}

static bool mem(struct run *r, uint64_t at, uint64_t size, bool write)
{
	return !size || (size <= UINT32_MAX && vm_access(&r->vm, at, size, write));
}

static bool sized(struct run *r, const uint64_t *v, uint8_t next, bool null_ok, bool write)
{
	uint64_t size = (uint32_t)v[1];

	if (null_ok && !v[0])
		return true;
	if (!size)
		return next == ISA_ARG_SIZE0;
	return mem(r, v[0], size, write);
}

static bool element(struct run *r, uint64_t map, uint64_t at, uint8_t kind)
{
	const struct map *m = PTR(map);
	uint32_t size = kind == ISA_ARG_KEY ? m->def.key_size : m->def.value_size;

	if (kind == ISA_ARG_VALUE0 && !at)
		return true;
	return mem(r, at, size, kind == ISA_ARG_OUT_VALUE);
}

/* Where the map of a helper's key or value stands: always its first argument, but for perf's. */
static bool arg_ok(struct run *r, const struct isa_helper *h, const uint64_t *v, unsigned i)
{
	uint8_t next = i < 4 ? h->args[i + 1] : ISA_ARG__;

	switch (h->args[i]) {
	case ISA_ARG_CTX:
		return v[i] == r->vm.regions[REGION_CTX].lo;
	case ISA_ARG_MAP:
		return vm_help_is_map(r, v[i]);
	case ISA_ARG_KEY:
	case ISA_ARG_VALUE:
	case ISA_ARG_VALUE0:
	case ISA_ARG_OUT_VALUE:
		return element(r, h->args[0] == ISA_ARG_MAP ? v[0] : v[1], v[i], h->args[i]);
	case ISA_ARG_MEM:
	case ISA_ARG_MEM0:
		return sized(r, &v[i], next, h->args[i] == ISA_ARG_MEM0, false);
	case ISA_ARG_OUT:
	case ISA_ARG_OUT0:
	case ISA_ARG_INOUT:
		return sized(r, &v[i], next, h->args[i] == ISA_ARG_OUT0, true);
	case ISA_ARG_MEM20:
		return mem(r, v[i], 20, false);
	case ISA_ARG_MEM40:
		return mem(r, v[i], 40, false);
	case ISA_ARG_OUT8:
	case ISA_ARG_KPTR:
		return mem(r, v[i], 8, true);
	case ISA_ARG_INOUT4:
		return v[i] % 4 == 0 && mem(r, v[i], 4, true);
	case ISA_ARG_TIMER:
		return vm_help_is_timer(r, v[i]);
	case ISA_ARG_LOCK:
		return is_lock(r, v[i]);
	case ISA_ARG_STR:
		return is_string(r, v[i]);
	case ISA_ARG_DYNPTR:
	case ISA_ARG_OUT_DYNPTR:
		return mem(r, v[i], sizeof(struct bpf_dynptr), true);
	default:
		return true;
	}
}

static bool gate(unsigned id, const uint64_t v[5])
{
	const struct isa_helper *h = isa_helper((int)id);
	struct run *r = vm_run_now();
	char why[96];
	unsigned i;

	if (r->lock && id != BPF_FUNC_spin_unlock) {
		snprintf(why, sizeof(why), "bpf_%s while a spin lock is held", h->name);
		vm_help_fault(r, -EDEADLK, why);
		return false;
	}
	for (i = 0; i < 5 && h->args[i] != ISA_ARG__; i++) {
		if (arg_ok(r, h, v, i))
			continue;
		snprintf(why, sizeof(why), "bpf_%s: argument %u (0x%llx) is not what it takes",
			 h->name, i + 1, (unsigned long long)v[i]);
		vm_help_fault(r, -EFAULT, why);
		return false;
	}
	return true;
}

#define HELP(name, set)                                                                            \
	static uint64_t checked_##name(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t f) \
	{                                                                                          \
		const uint64_t v[] = {a, b, c, d, f};                                              \
                                                                                                   \
		return gate(BPF_FUNC_##name, v) ? help_##name(a, b, c, d, f) : 0;                  \
	}
#include "vm/help.def"
#undef HELP

vm_helper *const vm_helpers[ISA_HELPERS_MAX + 1] = {
#define HELP(name, set) [BPF_FUNC_##name] = help_##name,
#include "vm/help.def"
#undef HELP
};

vm_helper *const vm_helpers_checked[ISA_HELPERS_MAX + 1] = {
#define HELP(name, set) [BPF_FUNC_##name] = checked_##name,
#include "vm/help.def"
#undef HELP
};

const unsigned vm_n_helpers = array_size(vm_helpers);
