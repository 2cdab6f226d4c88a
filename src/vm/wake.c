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

void vm_wake(struct vm_map *m)
{
	int fd = m->wake;

	if (fd >= 0)
		eventfd_write(fd, 1);
}

/* Two may ask at once: the first one's stays. */
static int wake_open(struct vm_map *m)
{
	cleanup(fd_close) int fd = -1;
	int none = -1;

	if (m->wake >= 0)
		return m->wake;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (atomic_compare_exchange_strong(&m->wake, &none, fd))
		return take_fd(&fd);
	return none;
}

int vm_wake_fd(struct skep_engine *e, int fd)
{
	struct object *o = object_of_fd(e, fd);
	struct vm_map *m;
	int rc = -EPERM;

	if (!o)
		return -EBADF;
	if (o->kind == OBJECT_MAP) {
		m = container_of(o, struct vm_map, obj);
		if (is_ring(m))
			rc = wake_open(m);
	}
	object_put(e, o);
	return rc;
}

void vm_wake_again(struct skep_engine *e)
{
	struct object_table *t = &e->tables[OBJECT_MAP];
	unsigned i;

	pthread_mutex_lock(&e->lock);
	for (i = 0; i < t->n; i++) {
		struct vm_map *m = container_of(t->v[i], struct vm_map, obj);

		if (m->wake >= 0 && m->map->def.type == BPF_MAP_TYPE_RINGBUF &&
		    map_ring_query(m->map, BPF_RB_AVAIL_DATA))
			vm_wake(m);
	}
	pthread_mutex_unlock(&e->lock);
}
