// SPDX-License-Identifier: Apache-2.0
#include <sys/sysinfo.h>

#include "vm/inside.h"

static unsigned cpus_possible(unsigned wanted)
{
	int n = get_nprocs_conf();

	if (!wanted)
		wanted = n > 0 ? (unsigned)n : 1;
	return min(wanted, (unsigned)MAP_CPUS_MAX);
}

/* Instructions of an interpreted run: more than programs make that the kernel accepts. */
#define BUDGET (1ULL << 32)

static const struct vm_hooks no_hooks;

int skep_engine_open(struct skep_engine **out, const struct skep_engine_options *options)
{
	struct skep_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	if (options)
		e->options = *options;
	if (e->options.cpus > MAP_CPUS_MAX || vm_timers_open(e)) {
		free(e);
		return options && options->cpus > MAP_CPUS_MAX ? -EINVAL : -ENOMEM;
	}
	e->options.cpus = cpus_possible(e->options.cpus);
	if (!e->options.memory_max)
		e->options.memory_max = 1UL << 30;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->attach_lock, NULL);
	pthread_mutex_init(&e->link_lock, NULL);
	vm_ports_init(e);
	e->hooks = &no_hooks;
	e->sockets = -1;
	e->budget = BUDGET;
	*out = e;
	return 0;
}

void skep_engine_free(struct skep_engine *e)
{
	if (!e)
		return;
	vm_timers_stop(e);
	vm_attach_done(e);
	vm_tcx_done(e);
	vm_devices_done(e);
	vm_objects_done(e);
	vm_timers_free(e);
	vm_kernel_btf_done(e);
	fd_close(&e->sockets);
	pthread_rwlock_destroy(&e->ports_turn);
	pthread_mutex_destroy(&e->attach_lock);
	pthread_mutex_destroy(&e->link_lock);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

void vm_set_hooks(struct skep_engine *e, const struct vm_hooks *hooks)
{
	e->hooks = hooks;
}

long skep_bpf(struct skep_engine *e, unsigned cmd, union bpf_attr *attr, unsigned size)
{
	return vm_bpf(e, &vm_self, cmd, (uintptr_t)attr, size);
}
