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
	int fd = vm_map_of(m)->wake.fd;

	if (fd >= 0)
		eventfd_write(fd, 1);
}

/* Of what can be polled; NULL: it cannot. */
static struct wake *wake_of(struct object *o)
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
static int wake_open(struct wake *wake)
{
	cleanup(fd_close) int fd = -1;
	int none = -1;

	if (wake->fd >= 0)
		return wake->fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (atomic_compare_exchange_strong(&wake->fd, &none, fd))
		return take_fd(&fd);
	return none;
}

int vm_wake_fd(struct skep_engine *e, int fd)
{
	struct object *o = vm_object_of_fd(e, fd);
	struct wake *wake;
	int rc;

	if (!o)
		return -EBADF;
	wake = wake_of(o);
	rc = wake ? wake_open(wake) : -EPERM;
	vm_object_put(e, o);
	return rc;
}

/* Where the reader stands if there is something to read, counted from 1; 0: there is nothing. */
static uint64_t reader_at(struct object *o)
{
	struct vm_map *m;

	if (o->kind == OBJECT_PERF)
		return vm_perf_pending(o);
	m = container_of(o, struct vm_map, obj);
	if (m->map->def.type != BPF_MAP_TYPE_RINGBUF || !map_ring_query(m->map, BPF_RB_AVAIL_DATA))
		return 0;
	return map_ring_query(m->map, BPF_RB_CONS_POS) + 1;
}

/* A reader that moved needs no reminder. */
static void wake_table(const struct object_table *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct wake *w = wake_of(t->v[i]);
		uint64_t at = w && w->fd >= 0 ? reader_at(t->v[i]) : 0;

		if (at && at == w->reader)
			eventfd_write(w->fd, 1);
		if (w)
			w->reader = at;
	}
}

void vm_wake_again(struct skep_engine *e)
{
	pthread_mutex_lock(&e->lock);
	wake_table(&e->tables[OBJECT_MAP]);
	wake_table(&e->tables[OBJECT_PERF]);
	pthread_mutex_unlock(&e->lock);
}
