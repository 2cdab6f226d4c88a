// SPDX-License-Identifier: Apache-2.0
/*
 * bpf(2): one row a command.
 *
 *	attr of the caller --> copied once --> unknown bytes zero? --> fields behind `used` zero? --> do
 *
 * B1  The caller's attr is read once; what is checked is what is used.
 * B2  Nothing of the caller is touched but through struct vm_caller.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "vm/inside.h"

__thread struct call *vm_calling;

/* ---- this process as a caller ------------------------------------------------------------------ */

/* getpid(2), asked once: where it is kept reads as zero in whoever is forked. */
static pid_t own_pid(void)
{
	static _Atomic(pid_t *) kept;
	pid_t *at = kept, *none = NULL;

	if (!at) {
		at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
		if (at == MAP_FAILED)
			return getpid();
		if (madvise(at, sizeof(*at), MADV_WIPEONFORK) ||
		    !atomic_compare_exchange_strong(&kept, &none, at)) {
			munmap(at, sizeof(*at));
			return getpid();
		}
	}
	if (!__atomic_load_n(at, __ATOMIC_RELAXED))
		__atomic_store_n(at, getpid(), __ATOMIC_RELAXED);
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* The kernel checks the addresses, so that a wrong one is -EFAULT and no crash. */
static int self_copy(void *here, uint64_t there, size_t n, bool out)
{
	struct iovec l = {here, n}, r = {(void *)(uintptr_t)there, n};
	ssize_t done;

	if (!n)
		return 0;
	done = out ? process_vm_writev(own_pid(), &l, 1, &r, 1, 0)
		   : process_vm_readv(own_pid(), &l, 1, &r, 1, 0);
	if (done == (ssize_t)n)
		return 0;
	if (done >= 0 || errno == EFAULT || !there)
		return -EFAULT;
	if (out) /* a sandbox forbids the call: trust the addresses */
		memcpy((void *)(uintptr_t)there, here, n);
	else
		memcpy(here, (const void *)(uintptr_t)there, n);
	return 0;
}

static int self_read(void *arg maybe_unused, void *dst, uint64_t src, size_t n)
{
	return self_copy(dst, src, n, false);
}

static int self_write(void *arg maybe_unused, uint64_t dst, const void *src, size_t n)
{
	return self_copy((void *)(uintptr_t)src, dst, n, true);
}

static int self_fd_get(void *arg maybe_unused, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -EBADF : copy;
}

static int self_fd_put(void *arg maybe_unused, int fd, int flags maybe_unused)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? -errno : copy;
}

const struct vm_caller vm_self = {
	.read = self_read, .write = self_write, .fd_get = self_fd_get, .fd_put = self_fd_put};

/* Of a mistake only the commonest is an error. */
static int own_copy(void *dst, const void *src, uint64_t there, size_t n)
{
	if (there < 4096)
		return -EFAULT;
	memcpy(dst, src, n);
	return 0;
}

static int own_read(void *arg maybe_unused, void *dst, uint64_t src, size_t n)
{
	return own_copy(dst, (const void *)(uintptr_t)src, src, n);
}

static int own_write(void *arg maybe_unused, uint64_t dst, const void *src, size_t n)
{
	return own_copy((void *)(uintptr_t)dst, src, dst, n);
}

const struct vm_caller vm_own = {
	.read = own_read, .write = own_write, .fd_get = self_fd_get, .fd_put = self_fd_put};

/* ---- one call ------------------------------------------------------------------------------------ */

int vm_call_read(struct call *c, void *dst, uint64_t src, size_t n)
{
	return n ? c->caller->read(c->caller->arg, dst, src, n) : 0;
}

int vm_call_read2(struct call *c, void *const dst[2], const uint64_t src[2], const size_t n[2])
{
	struct iovec here[] = {{dst[0], n[0]}, {dst[1], n[1]}};
	struct iovec there[] = {{(void *)(uintptr_t)src[0], n[0]},
				{(void *)(uintptr_t)src[1], n[1]}};
	int rc;

	if (c->caller->read == self_read &&
	    process_vm_readv(own_pid(), here, 2, there, 2, 0) == (ssize_t)(n[0] + n[1]))
		return 0;
	rc = vm_call_read(c, dst[0], src[0], n[0]);
	return rc ? rc : vm_call_read(c, dst[1], src[1], n[1]);
}

int vm_call_write(struct call *c, uint64_t dst, const void *src, size_t n)
{
	return n ? c->caller->write(c->caller->arg, dst, src, n) : 0;
}

bool vm_call_here(const struct call *c)
{
	return c->caller == &vm_self || c->caller == &vm_own;
}

static const struct vm_caller *user(const struct call *c)
{
	return vm_call_here(c) ? &vm_self : c->caller;
}

int vm_user_read(struct call *c, void *dst, uint64_t src, size_t n)
{
	if (!c)
		return -EFAULT;
	return n ? user(c)->read(user(c)->arg, dst, src, n) : 0;
}

int vm_user_write(struct call *c, uint64_t dst, const void *src, size_t n)
{
	if (!c)
		return -EFAULT;
	return n ? user(c)->write(user(c)->arg, dst, src, n) : 0;
}

int vm_call_answer(struct call *c, size_t offset, const void *src, size_t n)
{
	return vm_call_write(c, c->uattr + offset, src, n);
}

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n && !*p) {
		p++;
		n--;
	}
	return !n;
}

int vm_call_tail_zero(struct call *c, uint64_t addr, size_t known, size_t size)
{
	uint8_t tail[4096];

	if (size > sizeof(tail))
		return -E2BIG;
	if (size <= known)
		return 0;
	if (vm_call_read(c, tail, addr + known, size - known))
		return -EFAULT;
	return all_zero(tail, size - known) ? 0 : -E2BIG;
}

/* Of our own memory nothing is read behind the end of the text. */
static long own_string(char *dst, uint64_t src, size_t cap)
{
	size_t n;

	if (src < 4096)
		return -EFAULT;
	n = strnlen((const char *)(uintptr_t)src, cap - 1);
	memcpy(dst, (const char *)(uintptr_t)src, n);
	dst[n] = 0;
	return (long)n;
}

long vm_call_string(struct call *c, char *dst, uint64_t src, size_t cap)
{
	size_t n = 0;

	if (c->caller == &vm_own)
		return own_string(dst, src, cap);
	while (n < cap - 1) {
		size_t step = min(cap - 1 - n, 64 - (src + n) % 64); /* never over a page's end */

		if (vm_call_read(c, dst + n, src + n, step))
			return -EFAULT;
		if (memchr(dst + n, 0, step))
			return (long)strlen(dst);
		n += step;
	}
	dst[n] = 0;
	return (long)n;
}

static int fd_get(struct call *c, int fd)
{
	return c->caller->fd_get(c->caller->arg, fd);
}

/* @fd is of this process. A system call is most of what a call costs, so its mode is asked for where it matters. */
static int own_any(struct call *c, int fd, struct object **out, int *mode)
{
	struct object *o = vm_object_of_fd(c->e, fd);
	int flags = O_RDWR;

	if (!o || (mode && o->narrow))
		flags = fcntl(fd, F_GETFL);
	if (!o)
		return flags < 0 ? -EBADF : -EINVAL;
	if (mode)
		*mode = flags & O_ACCMODE;
	*out = o;
	return 0;
}

int vm_call_any(struct call *c, int fd, struct object **out, int *mode)
{
	cleanup(fd_close) int copy = -1;

	if (c->caller->fd_get == self_fd_get)
		return own_any(c, fd, out, mode); /* as it is: two system calls less */
	copy = fd_get(c, fd);
	return copy < 0 ? -EBADF : own_any(c, copy, out, mode);
}

int vm_call_object(struct call *c, int fd, enum object_kind kind, struct object **out)
{
	struct object *o;
	int rc = vm_call_any(c, fd, &o, NULL);

	if (rc)
		return rc;
	if (o->kind != kind) {
		vm_object_put(c->e, o);
		return -EINVAL;
	}
	*out = o;
	return 0;
}

long vm_call_hand(struct call *c, struct object *o, int mode)
{
	cleanup(fd_close) int fd = vm_object_open(c->e, o, mode);

	if (fd < 0)
		return fd;
	return c->caller->fd_put(c->caller->arg, fd, O_CLOEXEC);
}

uint32_t vm_call_uid(struct call *c)
{
	struct vm_who who;

	if (!c->caller->who)
		return getuid();
	c->caller->who(c->caller->arg, &who);
	return who.uid;
}

int vm_name_copy(char dst[BPF_OBJ_NAME_LEN], const char src[BPF_OBJ_NAME_LEN])
{
	size_t n = strnlen(src, BPF_OBJ_NAME_LEN), i;

	if (n == BPF_OBJ_NAME_LEN)
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (!isalnum((unsigned char)src[i]) && src[i] != '_' && src[i] != '.')
			return -EINVAL;
	memset(dst, 0, BPF_OBJ_NAME_LEN);
	memcpy(dst, src, n);
	return (int)n;
}

/* ---- ids and infos ---------------------------------------------------------------------------------- */

static long next_id(struct call *c, enum object_kind kind)
{
	uint32_t id = c->attr.a.start_id;

	if (id >= INT32_MAX)
		return -EINVAL;
	id = vm_object_next_id(c->e, kind, id);
	return id ? vm_call_put(c, next_id, id) : -ENOENT;
}

static long do_prog_next_id(struct call *c)
{
	return next_id(c, OBJECT_PROG);
}

static long do_map_next_id(struct call *c)
{
	return next_id(c, OBJECT_MAP);
}

static long do_btf_next_id(struct call *c)
{
	return next_id(c, OBJECT_BTF);
}

static long do_link_next_id(struct call *c)
{
	return next_id(c, OBJECT_LINK);
}

static long fd_by_id(struct call *c, enum object_kind kind, int mode)
{
	struct object *o = vm_object_by_id(c->e, kind, c->attr.a.start_id);
	long rc;

	if (!o)
		return -ENOENT;
	rc = vm_call_hand(c, o, mode);
	vm_object_put(c->e, o);
	return rc;
}

static long do_prog_by_id(struct call *c)
{
	return fd_by_id(c, OBJECT_PROG, O_RDWR);
}

static int open_mode(uint32_t flags)
{
	if ((flags & BPF_F_RDONLY) && (flags & BPF_F_WRONLY))
		return -EINVAL;
	return flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR;
}

static long do_map_by_id(struct call *c)
{
	uint32_t flags = c->attr.a.open_flags;
	int mode = open_mode(flags);

	if (flags & ~(uint32_t)(BPF_F_RDONLY | BPF_F_WRONLY) || mode < 0)
		return -EINVAL;
	return fd_by_id(c, OBJECT_MAP, mode);
}

static long do_btf_by_id(struct call *c)
{
	return fd_by_id(c, OBJECT_BTF, O_RDWR);
}

static long do_link_by_id(struct call *c)
{
	return fd_by_id(c, OBJECT_LINK, O_RDWR);
}

static long do_info(struct call *c)
{
	struct object *o;
	long rc = vm_call_any(c, (int)c->attr.a.info.bpf_fd, &o, NULL);

	if (rc)
		return rc == -EBADF ? -EBADFD : rc;
	switch (o->kind) {
	case OBJECT_MAP:
		rc = vm_map_info(c, container_of(o, struct vm_map, obj));
		break;
	case OBJECT_PROG:
		rc = vm_prog_info(c, vm_prog_of(o));
		break;
	case OBJECT_BTF:
		rc = vm_btf_info(c, vm_btf_of(o));
		break;
	case OBJECT_LINK:
		rc = vm_link_info(c, vm_link_of(o));
		break;
	default:
		rc = -EINVAL;
	}
	vm_object_put(c->e, o);
	return rc;
}

static long do_stats(struct call *c)
{
	struct object *o;
	long rc;

	if (c->attr.a.enable_stats.type != BPF_STATS_RUN_TIME)
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	rc = vm_object_add(c->e, o, OBJECT_STATS, -1);
	if (rc) {
		free(o);
		return rc;
	}
	c->e->stats++;
	rc = vm_call_hand(c, o, O_RDWR);
	vm_object_put(c->e, o);
	return rc;
}

/* There is no bpffs that could grant anything. */
static long do_token(struct call *c)
{
	cleanup(fd_close) int fd = fd_get(c, (int)c->attr.token_bpffs_fd);

	return fd < 0 && !c->attr.token_flags ? -EBADF : -EINVAL;
}

/* ---- the table ------------------------------------------------------------------------------------------ */

#define USED(field)	(offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))
#define USED_NEW(field) (offsetof(union vm_attr, field) + sizeof(((union vm_attr *)0)->field))

static const struct command {
	long (*run)(struct call *c);
	size_t used; /* bytes of attr that it looks at */
} commands[VM_CMDS] = {
	[BPF_MAP_CREATE] = {vm_map_do_create, USED_NEW(map_token_fd)},
	[BPF_MAP_LOOKUP_ELEM] = {vm_map_do_lookup, USED(flags)},
	[BPF_MAP_UPDATE_ELEM] = {vm_map_do_update, USED(flags)},
	[BPF_MAP_DELETE_ELEM] = {vm_map_do_delete, USED(key)},
	[BPF_MAP_GET_NEXT_KEY] = {vm_map_do_next_key, USED(next_key)},
	[BPF_PROG_LOAD] = {vm_prog_do_load, USED_NEW(fd_array_cnt)},
	[BPF_OBJ_PIN] = {vm_pin_do_pin, USED_NEW(path_fd)},
	[BPF_OBJ_GET] = {vm_pin_do_get, USED_NEW(path_fd)},
	[BPF_PROG_ATTACH] = {vm_attach_do_attach, USED_NEW(expected_revision)},
	[BPF_PROG_DETACH] = {vm_attach_do_detach, USED_NEW(expected_revision)},
	[BPF_PROG_TEST_RUN] = {vm_test_do_run, USED(test.batch_size)},
	[BPF_PROG_GET_NEXT_ID] = {do_prog_next_id, USED(next_id)},
	[BPF_MAP_GET_NEXT_ID] = {do_map_next_id, USED(next_id)},
	[BPF_PROG_GET_FD_BY_ID] = {do_prog_by_id, USED(prog_id)},
	[BPF_MAP_GET_FD_BY_ID] = {do_map_by_id, USED(open_flags)},
	[BPF_OBJ_GET_INFO_BY_FD] = {do_info, USED(info.info)},
	[BPF_PROG_QUERY] = {vm_attach_do_query, USED_NEW(revision)},
	[BPF_RAW_TRACEPOINT_OPEN] = {vm_link_do_raw_tp, USED_NEW(raw_tp_cookie)},
	[BPF_BTF_LOAD] = {vm_btf_do_load, USED_NEW(btf_token_fd)},
	[BPF_BTF_GET_FD_BY_ID] = {do_btf_by_id, USED(btf_id)},
	[BPF_TASK_FD_QUERY] = {vm_link_do_task_fd, USED(task_fd_query.probe_addr)},
	[BPF_MAP_LOOKUP_AND_DELETE_ELEM] = {vm_map_do_lookup_delete, USED(flags)},
	[BPF_MAP_FREEZE] = {vm_map_do_freeze, USED(map_fd)},
	[BPF_BTF_GET_NEXT_ID] = {do_btf_next_id, USED(next_id)},
	[BPF_MAP_LOOKUP_BATCH] = {vm_map_do_lookup_batch, USED(batch.flags)},
	[BPF_MAP_LOOKUP_AND_DELETE_BATCH] = {vm_map_do_lookup_delete_batch, USED(batch.flags)},
	[BPF_MAP_UPDATE_BATCH] = {vm_map_do_update_batch, USED(batch.flags)},
	[BPF_MAP_DELETE_BATCH] = {vm_map_do_delete_batch, USED(batch.flags)},
	[BPF_LINK_CREATE] = {vm_link_do_create, USED_NEW(uprobe_multi_pid)},
	[BPF_LINK_UPDATE] = {vm_link_do_update, USED(link_update.old_prog_fd)},
	[BPF_LINK_GET_FD_BY_ID] = {do_link_by_id, USED(link_id)},
	[BPF_LINK_GET_NEXT_ID] = {do_link_next_id, USED(next_id)},
	[BPF_ENABLE_STATS] = {do_stats, USED(enable_stats.type)},
	[BPF_ITER_CREATE] = {vm_link_do_iter, USED(iter_create.flags)},
	[BPF_LINK_DETACH] = {vm_link_do_detach, USED(link_detach.link_fd)},
	[BPF_PROG_BIND_MAP] = {vm_prog_do_bind_map, USED(prog_bind_map.flags)},
	[VM_TOKEN_CREATE] = {do_token, USED_NEW(token_bpffs_fd)},
};

static long run_command(struct call *c, const struct command *cmd)
{
	struct call *outer = vm_calling;
	long rc;

	vm_calling = c;
	rc = cmd->run(c);
	vm_calling = outer;
	return rc;
}

long vm_bpf(struct skep_engine *e, const struct vm_caller *caller, unsigned cmd, uint64_t attr,
	    unsigned size)
{
	struct call c = {.e = e, .caller = caller, .uattr = attr};
	const struct command *row;
	int rc = vm_call_tail_zero(&c, attr, sizeof(c.attr), size);

	if (rc)
		return rc;
	c.size = min(size, (unsigned)sizeof(c.attr));
	if (vm_call_read(&c, &c.attr, attr, c.size))
		return -EFAULT;
	if (cmd >= array_size(commands) || !commands[cmd].run)
		return -EINVAL;
	row = &commands[cmd];
	if (!all_zero(c.attr.bytes + row->used, sizeof(c.attr) - row->used))
		return -EINVAL;
	return run_command(&c, row);
}
