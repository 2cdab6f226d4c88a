// SPDX-License-Identifier: Apache-2.0
/*
 * Waking: a memfd is always ready, so whoever polls a ring watches an eventfd of the map's instead,
 * edge-triggered. It is written at wake-ups and never read.
 */
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "vm/inside.h"

static bool is_ring(const struct vm_map *m)
{
	return m->map->def.type == BPF_MAP_TYPE_RINGBUF ||
	       m->map->def.type == BPF_MAP_TYPE_USER_RINGBUF;
}

void vm_ring_wake(struct map *m)
{
	int fd = vm_map_of(m)->wake;

	if (fd >= 0)
		eventfd_write(fd, 1);
}

/* Where the eventfd of what can be polled stands; NULL: it cannot. */
static _Atomic int *wake_of(struct object *o)
{
	struct vm_map *m;

	if (o->kind == OBJECT_PERF)
		return vm_perf_wake(o);
	if (o->kind != OBJECT_MAP)
		return NULL;
	m = container_of(o, struct vm_map, obj);
	return is_ring(m) ? &m->wake : NULL;
}

/* Two may ask at once: the first one's stays. */
static int wake_open(_Atomic int *wake)
{
	cleanup(fd_close) int fd = -1;
	int none = -1;

	if (*wake >= 0)
		return *wake;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (atomic_compare_exchange_strong(wake, &none, fd))
		return take_fd(&fd);
	return none;
}

int vm_wake_fd(struct skep_engine *e, int fd)
{
	struct object *o = vm_object_of_fd(e, fd);
	_Atomic int *wake;
	int rc;

	if (!o)
		return -EBADF;
	wake = wake_of(o);
	rc = wake ? wake_open(wake) : -EPERM;
	vm_object_put(e, o);
	return rc;
}

static bool holds_data(struct object *o)
{
	struct vm_map *m;

	if (o->kind == OBJECT_PERF)
		return vm_perf_pending(o);
	m = container_of(o, struct vm_map, obj);
	return m->map->def.type == BPF_MAP_TYPE_RINGBUF &&
	       map_ring_query(m->map, BPF_RB_AVAIL_DATA);
}

static void wake_table(const struct object_table *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		_Atomic int *wake = wake_of(t->v[i]);

		if (wake && *wake >= 0 && holds_data(t->v[i]))
			eventfd_write(*wake, 1);
	}
}

void vm_wake_again(struct skep_engine *e)
{
	pthread_mutex_lock(&e->lock);
	wake_table(&e->tables[OBJECT_MAP]);
	wake_table(&e->tables[OBJECT_PERF]);
	pthread_mutex_unlock(&e->lock);
}
