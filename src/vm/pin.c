// SPDX-License-Identifier: Apache-2.0
/*
 * Pins: names that hold objects, in a table of the engine's, so that no bpffs is needed.
 *
 * For a caller with files of its own, a pin is an empty file too, where it may make one: it is found
 * by inode, whatever it is called by then, and is gone when it was removed (pin_sweep). Elsewhere it
 * is a name that only bpf(2) finds.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

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
		if (e->pins[i].file < 0 && !strcmp(e->pins[i].path, path))
			return &e->pins[i];
	return NULL;
}

/* The caller's file at a path that it is in @dir, if it has files. */
static int file_open(struct call *c, const char *path, int flags)
{
	int dir = c->attr.a.file_flags & VM_F_PATH_FD ? c->attr.path_fd : AT_FDCWD;

	return c->caller->open ? c->caller->open(c->caller->arg, dir, path, flags, 0600) : -EACCES;
}

static bool is_there(struct call *c, const char *path)
{
	cleanup(mem_free) char *folder = strdup(path);
	cleanup(fd_close) int fd = -1;
	char *end = folder ? strrchr(folder, '/') : NULL;

	if (!end)
		return folder;
	end[end == folder] = '\0';
	fd = file_open(c, folder, O_PATH | O_DIRECTORY);
	return fd >= 0;
}

/* sysfs, where no bpffs is mounted over it, says of each new name that there is none. */
static bool may_not_write(struct call *c, const char *path, int rc)
{
	return rc == -EACCES || rc == -EPERM || rc == -EROFS ||
	       (rc == -ENOENT && is_there(c, path));
}

/* A file for the pin, or none where the caller may not make one. */
static int pin_file(struct call *c, struct pin *p)
{
	int fd = file_open(c, p->path, O_CREAT | O_EXCL | O_RDONLY);
	struct stat st;

	if (fd < 0)
		return may_not_write(c, p->path, fd) ? 0 : fd;
	p->file = fd;
	if (fstat(fd, &st))
		return -errno;
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	return 0;
}

void vm_pin_done(struct pin *p)
{
	free(p->path);
	fd_close(&p->file);
}

/* Takes over what @p holds. A name is taken once; files are as many as the file system has. */
static int table_take(struct skep_engine *e, struct pin *p)
{
	struct pin *more;

	if (p->file < 0 && pin_find(e, p->path))
		return -EEXIST;
	more = reallocarray(e->pins, e->n_pins + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	e->pins = more;
	p->object->refs++;
	p->object->pins++;
	more[e->n_pins++] = *p;
	*p = (struct pin){.file = -1};
	return 0;
}

static int pin_add(struct call *c, const char *path, struct object *o)
{
	cleanup(vm_pin_done) struct pin p = {.path = strdup(path), .file = -1, .object = o};
	int rc = p.path ? pin_file(c, &p) : -ENOMEM;

	if (rc)
		return rc;
	pthread_mutex_lock(&c->e->lock);
	rc = table_take(c->e, &p);
	pthread_mutex_unlock(&c->e->lock);
	return rc;
}

/* The object of a pin whose file was removed, with the pin's reference; NULL: no more. */
static struct object *removed(struct skep_engine *e)
{
	struct object *o = NULL;
	struct stat st;
	unsigned i;

	pthread_mutex_lock(&e->lock);
	for (i = 0; i < e->n_pins && !o; i++) {
		struct pin *p = &e->pins[i];

		if (p->file < 0 || fstat(p->file, &st) || st.st_nlink)
			continue;
		o = p->object;
		vm_pin_done(p);
		*p = e->pins[--e->n_pins];
	}
	pthread_mutex_unlock(&e->lock);
	return o;
}

void vm_pin_sweep(struct skep_engine *e)
{
	struct object *o;

	while ((o = removed(e)))
		vm_object_pin(e, o, -1);
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
		rc = pin_add(c, path, o);
	vm_object_put(c->e, o);
	return rc;
}

static struct pin *pin_of_file(struct skep_engine *e, const struct stat *st)
{
	unsigned i;

	for (i = 0; i < e->n_pins; i++)
		if (e->pins[i].file >= 0 && e->pins[i].ino == st->st_ino &&
		    e->pins[i].dev == st->st_dev)
			return &e->pins[i];
	return NULL;
}

static struct object *pinned(struct call *c, const char *path)
{
	cleanup(fd_close) int file = file_open(c, path, O_PATH);
	struct skep_engine *e = c->e;
	struct object *o = NULL;
	struct pin *p = NULL;
	struct stat st;

	pthread_mutex_lock(&e->lock);
	if (file >= 0 && !fstat(file, &st))
		p = pin_of_file(e, &st);
	if (!p)
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
	o = pinned(c, path);
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
		vm_pin_done(p);
		*p = e->pins[--e->n_pins];
	}
	pthread_mutex_unlock(&e->lock);
	if (!o)
		return -ENOENT;
	vm_object_pin(e, o, -1);
	return 0;
}
