// SPDX-License-Identifier: Apache-2.0
/*
 * Pins: names that hold objects. The engine's name space is its own table, so nothing of it is seen
 * in, or needs, a bpffs.
 */
#include <fcntl.h>
#include <limits.h>

#include "vm/inside.h"

#define FILE_FLAGS (uint32_t)(BPF_F_RDONLY | BPF_F_WRONLY)

static int read_path(struct call *c, char path[PATH_MAX])
{
	const char *name;
	long n = vm_call_string(c, path, c->attr.a.pathname, PATH_MAX);

	if (n < 0)
		return (int)n;
	if (n >= PATH_MAX - 1)
		return -ENAMETOOLONG;
	if (!n)
		return -ENOENT;
	name = strrchr(path, '/');
	name = name ? name + 1 : path;
	return *name ? 0 : -EISDIR;
}

static struct pin *pin_find(struct skep_engine *e, const char *path)
{
	unsigned i;

	for (i = 0; i < e->n_pins; i++)
		if (!strcmp(e->pins[i].path, path))
			return &e->pins[i];
	return NULL;
}

static int pin_add(struct skep_engine *e, const char *path, struct object *o)
{
	struct pin *more;
	int rc = -EEXIST;

	pthread_mutex_lock(&e->lock);
	if (!pin_find(e, path)) {
		more = reallocarray(e->pins, e->n_pins + 1, sizeof(*more));
		rc = more ? 0 : -ENOMEM;
		if (more) {
			e->pins = more;
			more[e->n_pins] = (struct pin){strdup(path), o};
			rc = more[e->n_pins].path ? 0 : -ENOMEM;
			e->n_pins += !rc;
		}
	}
	if (!rc) {
		o->refs++;
		o->pins++;
	}
	pthread_mutex_unlock(&e->lock);
	return rc;
}

static int check_flags(struct call *c, uint32_t allowed)
{
	uint32_t flags = c->attr.a.file_flags;

	if (flags & ~(allowed | VM_F_PATH_FD))
		return -EINVAL;
	return !(flags & VM_F_PATH_FD) && c->attr.path_fd ? -EINVAL : 0;
}

long vm_pin_do_pin(struct call *c)
{
	char path[PATH_MAX];
	struct object *o;
	long rc = check_flags(c, 0);

	if (rc)
		return rc;
	if (vm_call_any(c, (int)c->attr.a.bpf_fd, &o, NULL))
		return -EINVAL;
	rc = o->kind == OBJECT_BTF || o->kind == OBJECT_STATS ? -EINVAL : read_path(c, path);
	if (!rc && strchr(strrchr(path, '/') ? strrchr(path, '/') : path, '.'))
		rc = -EPERM; /* bpffs keeps such names for itself */
	if (!rc)
		rc = pin_add(c->e, path, o);
	vm_object_put(c->e, o);
	return rc;
}

static struct object *pinned(struct skep_engine *e, const char *path)
{
	struct object *o = NULL;
	struct pin *p;

	pthread_mutex_lock(&e->lock);
	p = pin_find(e, path);
	if (p) {
		o = p->object;
		o->refs++;
	}
	pthread_mutex_unlock(&e->lock);
	return o;
}

long vm_pin_do_get(struct call *c)
{
	uint32_t flags = c->attr.a.file_flags;
	int mode = flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR;
	char path[PATH_MAX];
	struct object *o;
	long rc = check_flags(c, FILE_FLAGS);

	if (rc || c->attr.a.bpf_fd || (flags & FILE_FLAGS) == FILE_FLAGS)
		return -EINVAL;
	rc = read_path(c, path);
	if (rc)
		return rc;
	o = pinned(c->e, path);
	if (!o)
		return -ENOENT;
	if (o->kind == OBJECT_LINK && mode != O_RDWR)
		rc = -EINVAL;
	else
		rc = vm_call_hand(c, o, o->kind == OBJECT_MAP ? mode : O_RDWR);
	vm_object_put(c->e, o);
	return rc;
}

int vm_unpin(struct skep_engine *e, const char *path)
{
	struct object *o = NULL;
	struct pin *p;

	pthread_mutex_lock(&e->lock);
	p = pin_find(e, path);
	if (p) {
		o = p->object;
		free(p->path);
		*p = e->pins[--e->n_pins];
	}
	pthread_mutex_unlock(&e->lock);
	if (!o)
		return -ENOENT;
	vm_object_pin(e, o, -1);
	return 0;
}
