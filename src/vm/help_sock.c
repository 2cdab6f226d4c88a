// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers on sockets, and storage that belongs to sockets, tasks, inodes and cgroups.
 *
 * A run has at most one socket, its packet's, and one task; programs know no inode and no cgroup. What is
 * stored for the socket ends with the run. A task's is found by a caller too, under its pidfd.
 */
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "vm/help.h"

#define FAIL(e) ((uint64_t) - (e))

/* No lookup finds any. */
HELPER_FN(sk_lookup_tcp)
{
	return 0;
}

HELPER_FN(sk_lookup_udp)
{
	return 0;
}

HELPER_FN(skc_lookup_tcp)
{
	return 0;
}

HELPER_FN(sk_release)
{
	return 0;
}

HELPER_FN(sk_fullsock)
{
	return a == (uintptr_t)&vm_run_now()->sock ? a : 0;
}

HELPER_FN(tcp_sock)
{
	return 0;
}

HELPER_FN(get_listener_sock)
{
	return 0;
}

HELPER_FN(sk_cgroup_id)
{
	return 0;
}

HELPER_FN(sk_ancestor_cgroup_id)
{
	return 0;
}

/* To none: what was chosen before is not any more. */
HELPER_FN(sk_assign)
{
	bool lookup = vm_run_prog(vm_run_now())->type == BPF_PROG_TYPE_SK_LOOKUP;
	uint64_t known = lookup ? BPF_SK_LOOKUP_F_REPLACE | BPF_SK_LOOKUP_F_NO_REUSEPORT : 0;

	return c & ~known || !lookup ? FAIL(EINVAL) : 0;
}

/* The packet's socket is none of these. */
HELPER_FN(skc_to_tcp_sock)
{
	return 0;
}

HELPER_FN(skc_to_tcp6_sock)
{
	return 0;
}

HELPER_FN(skc_to_tcp_timewait_sock)
{
	return 0;
}

HELPER_FN(skc_to_tcp_request_sock)
{
	return 0;
}

HELPER_FN(skc_to_udp6_sock)
{
	return 0;
}

HELPER_FN(skc_to_unix_sock)
{
	return 0;
}

HELPER_FN(skc_to_mptcp_sock)
{
	return 0;
}

static uint64_t netns_cookie(void)
{
	cleanup(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0;
	socklen_t n = sizeof(cookie);

	if (fd >= 0)
		getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n);
	return cookie;
}

/* The engine's network is the one it was in when that was first asked for: asking takes a socket. */
HELPER_FN(get_netns_cookie)
{
	struct skep_engine *e = vm_run_now()->vm.engine;

	if (!e->netns_cookie)
		e->netns_cookie = netns_cookie();
	return e->netns_cookie;
}

/* ---- storage ------------------------------------------------------------------------------------- */

static uint64_t stored(struct map *m, uint64_t key, const void *first, uint64_t flags)
{
	void *v = map_lookup(m, &key), *zero = NULL;

	if (v || flags != BPF_LOCAL_STORAGE_GET_F_CREATE)
		return (uintptr_t)v;
	if (!first)
		first = zero = calloc(1, m->def.value_size);
	if (first)
		map_update(m, &key, first, BPF_NOEXIST);
	free(zero);
	return (uintptr_t)map_lookup(m, &key);
}

static bool get_flags_ok(uint64_t flags)
{
	return !(flags & ~(uint64_t)BPF_LOCAL_STORAGE_GET_F_CREATE);
}

/* What the run has to forget when it ends; false: it cannot remember that. */
static bool keep(struct run *r, struct map *m)
{
	unsigned i;

	for (i = 0; i < r->n_storages; i++)
		if (r->storages[i] == m)
			return true;
	if (r->n_storages == RUN_INNER)
		return false;
	r->storages[r->n_storages++] = m;
	return true;
}

void vm_help_forget(struct run *r)
{
	uint64_t key = (uintptr_t)&r->sock;
	unsigned i;

	for (i = 0; i < r->n_storages; i++)
		map_delete(r->storages[i], &key);
	r->n_storages = 0;
	free(take(r->local[0]));
	free(take(r->local[1]));
}

HELPER_FN(sk_storage_get)
{
	struct run *r = vm_run_now();
	struct map *m = PTR(a);

	if (m->def.type != BPF_MAP_TYPE_SK_STORAGE || b != (uintptr_t)&r->sock ||
	    !get_flags_ok(d) || !keep(r, m))
		return 0;
	return stored(m, b, PTR(c), d);
}

HELPER_FN(sk_storage_delete)
{
	struct map *m = PTR(a);

	if (m->def.type != BPF_MAP_TYPE_SK_STORAGE || b != (uintptr_t)&vm_run_now()->sock)
		return FAIL(EINVAL);
	return (uint64_t)(int64_t)map_delete(m, &b);
}

/* 0: there is no pidfd of it. */
static uint64_t task_key(void)
{
	struct vm_who w = vm_help_who();
	unsigned thread = w.tid == w.pid ? 0 : O_EXCL;
	cleanup(fd_close) int fd = pidfd_open((pid_t)w.tid, thread);
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : vm_map_inode_key(&st);
}

HELPER_FN(task_storage_get)
{
	struct map *m = PTR(a);
	uint64_t key;

	if (m->def.type != BPF_MAP_TYPE_TASK_STORAGE || b != vm_help_task() || !get_flags_ok(d))
		return 0;
	key = task_key();
	return key ? stored(m, key, PTR(c), d) : 0;
}

HELPER_FN(task_storage_delete)
{
	struct map *m = PTR(a);
	uint64_t key;

	if (m->def.type != BPF_MAP_TYPE_TASK_STORAGE || b != vm_help_task())
		return FAIL(EINVAL);
	key = task_key();
	return key ? (uint64_t)(int64_t)map_delete(m, &key) : FAIL(ENOENT);
}

/* Of a cgroup and a hook, which a test run has of its own: it begins as zeros. */
HELPER_FN(get_local_storage)
{
	struct run *r = vm_run_now();
	const struct map *m = PTR(a);
	unsigned which = m->def.type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
	void *v;

	if (!which && m->def.type != BPF_MAP_TYPE_CGROUP_STORAGE)
		return 0;
	if (!r->local[which]) {
		r->local[which] = calloc(1, m->def.value_size);
		r->local_of[which] = m;
	}
	if (r->local_of[which] != m) /* a program has one of each kind */
		return 0;
	v = r->local[which];
	if (!v || (!r->vm.code->jit && !vm_access(&r->vm, (uintptr_t)v, m->def.value_size, true) &&
		   vm_run_lend(r, v, m->def.value_size, true)))
		vm_help_fault(r, -ENOMEM, "no room for the storage of a cgroup");
	return (uintptr_t)v;
}

HELPER_FN(inode_storage_get)
{
	return 0;
}

HELPER_FN(inode_storage_delete)
{
	return FAIL(EINVAL);
}

HELPER_FN(cgrp_storage_get)
{
	return 0;
}

HELPER_FN(cgrp_storage_delete)
{
	return FAIL(EINVAL);
}
