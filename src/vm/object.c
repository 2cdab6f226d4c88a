// SPDX-License-Identifier: Apache-2.0
/*
 * Objects: what has an id, descriptors and references (E1 in vm.h).
 *
 *	caller's fd --> description --> memfd's inode <-- the engine's own description (object.fd)
 *	                                    |
 *	                       buckets: which object it is
 *
 * O1  Of an object's file every description except the engine's own is a caller's: the one that
 *     memfd_create() gave was not counted as a writer, and is closed.
 * O2  All fds of all callers count as one reference, taken when the first is handed out and put by
 *     the sweep that finds none open and none mapped: then, and only then, is a write lease granted.
 * O3  An id is never used twice in an engine's life.
 * O4  Kinds are freed without the lock held: freeing a program puts its maps.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vm/inside.h"

/* While there are no more objects than this, every question about ids sweeps first. */
#define SWEEP_FEW   512
#define SWEEP_EVERY 64

static struct object **bucket_of(struct skep_engine *e, ino_t ino)
{
	return &e->buckets[(ino * 0x9e3779b97f4a7c15ULL) >> 54 & (OBJECT_BUCKETS - 1)];
}

static int reopen(int fd, int mode)
{
	char path[32];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, mode | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

static int file_open(struct object *o, int memfd)
{
	static const char *const names[] = {"bpf-map",	"bpf-prog",  "btf",
					    "bpf_link", "bpf-stats", "[perf_event]"};
	cleanup(fd_close) int own = -1;
	struct stat st;

	if (memfd < 0) {
		own = memfd_create(names[o->kind], MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (own < 0)
			return -errno;
		memfd = own;
	}
	o->fd = reopen(memfd, O_RDWR);
	if (o->fd < 0)
		return o->fd;
	/* A perf buffer gets its size, and is sealed, when it is mapped. */
	if (own >= 0 && o->kind != OBJECT_PERF &&
	    fcntl(own, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL))
		return -errno;
	if (fstat(o->fd, &st))
		return -errno;
	o->dev = st.st_dev;
	o->ino = st.st_ino;
	return 0;
}

static int table_add(struct object_table *t, struct object *o)
{
	struct object **v;

	if (t->n == t->cap) {
		v = reallocarray(t->v, t->cap ? t->cap * 2 : 16, sizeof(*v));
		if (!v)
			return -ENOMEM;
		t->cap = t->cap ? t->cap * 2 : 16;
		t->v = v;
	}
	o->id = ++t->last_id; /* O3 */
	t->v[t->n++] = o;
	return 0;
}

/* Index of the first object with an id of at least @id. */
static unsigned table_at(const struct object_table *t, uint32_t id)
{
	unsigned lo = 0, hi = t->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (t->v[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void table_remove(struct object_table *t, struct object *o)
{
	unsigned i = table_at(t, o->id);

	if (i == t->n || t->v[i] != o)
		return;
	memmove(&t->v[i], &t->v[i + 1], (t->n - i - 1) * sizeof(*t->v));
	t->n--;
}

static void bucket_remove(struct skep_engine *e, struct object *o)
{
	struct object **link = bucket_of(e, o->ino);

	while (*link && *link != o)
		link = &(*link)->next;
	if (*link)
		*link = o->next;
}

static unsigned objects_count(struct skep_engine *e)
{
	unsigned n = 0, k;

	pthread_mutex_lock(&e->lock);
	for (k = 0; k < OBJECT_KINDS; k++)
		n += e->tables[k].n;
	pthread_mutex_unlock(&e->lock);
	return n;
}

/* Who only ever makes objects is not to run out of descriptors: a sweep for as many as there are. */
static void sweep_now_and_then(struct skep_engine *e)
{
	if (++e->made < SWEEP_EVERY + objects_count(e))
		return;
	e->made = 0;
	vm_sweep(e);
}

int vm_object_add(struct skep_engine *e, struct object *o, enum object_kind kind, int memfd)
{
	int rc;

	sweep_now_and_then(e);
	o->kind = kind;
	o->refs = 1;
	o->fd = -1;
	rc = file_open(o, memfd);
	if (rc) {
		fd_close(&o->fd);
		return rc;
	}
	pthread_mutex_lock(&e->lock);
	rc = table_add(&e->tables[kind], o);
	if (!rc) {
		o->next = *bucket_of(e, o->ino);
		*bucket_of(e, o->ino) = o;
	}
	pthread_mutex_unlock(&e->lock);
	if (rc)
		fd_close(&o->fd);
	return rc;
}

static void kind_free(struct skep_engine *e, struct object *o)
{
	switch (o->kind) {
	case OBJECT_MAP:
		vm_map_free(e, container_of(o, struct vm_map, obj));
		break;
	case OBJECT_PROG:
		vm_prog_free(e, vm_prog_of(o));
		break;
	case OBJECT_BTF:
		vm_btf_object_free(e, vm_btf_of(o));
		break;
	case OBJECT_LINK:
		vm_link_free(e, vm_link_of(o));
		break;
	case OBJECT_PERF:
		vm_perf_free(o);
		break;
	default:
		e->stats--;
		free(o);
	}
}

void vm_object_get(struct skep_engine *e, struct object *o)
{
	pthread_mutex_lock(&e->lock);
	o->refs++;
	pthread_mutex_unlock(&e->lock);
}

bool vm_object_get_live(struct skep_engine *e, struct object *o)
{
	bool live;

	pthread_mutex_lock(&e->lock);
	live = o->refs;
	o->refs += live;
	pthread_mutex_unlock(&e->lock);
	return live;
}

void vm_object_put(struct skep_engine *e, struct object *o)
{
	bool last;

	pthread_mutex_lock(&e->lock);
	assert(o->refs);
	last = !--o->refs;
	if (last) {
		table_remove(&e->tables[o->kind], o);
		bucket_remove(e, o);
	}
	pthread_mutex_unlock(&e->lock);
	if (!last)
		return;
	fd_close(&o->fd);
	kind_free(e, o); /* O4 */
}

/* Does a caller have it open or mapped (O1)? If that cannot be told, it does. */
static bool held_outside(const struct object *o)
{
	if (fcntl(o->fd, F_SETLEASE, F_WRLCK))
		return true;
	fcntl(o->fd, F_SETLEASE, F_UNLCK);
	return false;
}

/* Finds up to @max objects whose callers are gone; each comes with the callers' reference. */
static unsigned find_dropped(struct skep_engine *e, struct object **out, unsigned max)
{
	unsigned n = 0, i, k;

	pthread_mutex_lock(&e->lock);
	for (k = 0; k < OBJECT_KINDS; k++) {
		for (i = 0; i < e->tables[k].n && n < max; i++) {
			struct object *o = e->tables[k].v[i];

			if (!o->handed || held_outside(o))
				continue;
			o->handed = false; /* O2 */
			out[n++] = o;
		}
	}
	pthread_mutex_unlock(&e->lock);
	return n;
}

/* A prog array that no user can reach any more lets its programs go, as the kernel's. */
static void tell_unused(struct skep_engine *e, struct object *o)
{
	bool unused;

	pthread_mutex_lock(&e->lock);
	unused = !o->handed && !o->pins;
	pthread_mutex_unlock(&e->lock);
	if (unused && o->kind == OBJECT_MAP)
		vm_map_unused(e, container_of(o, struct vm_map, obj));
}

void vm_sweep(struct skep_engine *e)
{
	struct object *dropped[64];
	unsigned n, i;

	vm_pin_sweep(e);
	do {
		n = find_dropped(e, dropped, array_size(dropped));
		for (i = 0; i < n; i++) {
			tell_unused(e, dropped[i]);
			vm_object_put(e, dropped[i]);
		}
	} while (n == array_size(dropped));
}

/* Before a question about ids. With many objects only at the start of a walk, or it were quadratic. */
static void sweep_for(struct skep_engine *e, bool start)
{
	if (start || objects_count(e) <= SWEEP_FEW)
		vm_sweep(e);
}

struct object *vm_object_by_id(struct skep_engine *e, enum object_kind kind, uint32_t id)
{
	struct object_table *t = &e->tables[kind];
	struct object *o = NULL;
	unsigned i;

	sweep_for(e, false);
	pthread_mutex_lock(&e->lock);
	i = table_at(t, id);
	if (id && i < t->n && t->v[i]->id == id) {
		o = t->v[i];
		o->refs++;
	}
	pthread_mutex_unlock(&e->lock);
	return o;
}

uint32_t vm_object_next_id(struct skep_engine *e, enum object_kind kind, uint32_t id)
{
	struct object_table *t = &e->tables[kind];
	uint32_t next = 0;
	unsigned i;

	sweep_for(e, id == 0);
	pthread_mutex_lock(&e->lock);
	i = table_at(t, id + 1);
	if (i < t->n)
		next = t->v[i]->id;
	pthread_mutex_unlock(&e->lock);
	return next;
}

struct object *vm_object_of_fd(struct skep_engine *e, int fd)
{
	struct object *o;
	struct stat st;

	if (fstat(fd, &st))
		return NULL;
	pthread_mutex_lock(&e->lock);
	for (o = *bucket_of(e, st.st_ino); o; o = o->next)
		if (o->ino == st.st_ino && o->dev == st.st_dev)
			break;
	if (o)
		o->refs++;
	pthread_mutex_unlock(&e->lock);
	return o;
}

int vm_object_open(struct skep_engine *e, struct object *o, int mode)
{
	int fd;

	if (mode != O_RDWR)
		o->narrow = true;
	fd = reopen(o->fd, mode);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&e->lock);
	if (!o->handed)
		o->refs++; /* O2 */
	o->handed = true;
	pthread_mutex_unlock(&e->lock);
	return fd;
}

void vm_object_pin(struct skep_engine *e, struct object *o, int by)
{
	pthread_mutex_lock(&e->lock);
	o->pins = (uint32_t)((int)o->pins + by);
	o->refs += by > 0;
	pthread_mutex_unlock(&e->lock);
	if (by > 0)
		return;
	tell_unused(e, o);
	vm_object_put(e, o);
}

static void drop_kind(struct skep_engine *e, enum object_kind kind)
{
	struct object_table *t = &e->tables[kind];
	unsigned i;

	for (i = 0; i < t->n;) {
		struct object *o = t->v[i];

		if (!o->handed) {
			i++;
			continue;
		}
		o->handed = false;
		tell_unused(e, o);
		vm_object_put(e, o);
		i = 0;
	}
}

/* The engine goes: pins and callers' references first; then nothing but cycles could be left. */
void vm_objects_done(struct skep_engine *e)
{
	static const enum object_kind order[] = {OBJECT_LINK, OBJECT_STATS, OBJECT_MAP,
						 OBJECT_PROG, OBJECT_BTF,   OBJECT_PERF};
	unsigned i;

	for (i = 0; i < e->n_pins; i++) {
		vm_object_pin(e, e->pins[i].object, -1);
		vm_pin_done(&e->pins[i]);
	}
	free(e->pins);
	for (i = 0; i < array_size(order); i++)
		drop_kind(e, order[i]);
	for (i = 0; i < OBJECT_KINDS; i++)
		free(e->tables[i].v);
}
