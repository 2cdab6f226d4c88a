// SPDX-License-Identifier: Apache-2.0
/*
 * seam.c: the calls of libc that libbpf makes to reach BPF, under the linker's --wrap.
 *
 *	syscall(SYS_bpf ...)   the engine's bpf(2)
 *	epoll_ctl              rings: descriptors of the engine are memfds, which nobody can poll; the
 *	                       eventfd of the ring stands in for it, edge-triggered
 *	syscall(SYS_perf_event_open ...), mmap, ioctl
 *	                       perf buffers: the engine's, for the one event that BPF programs write to
 *	statfs                 a directory that an object is to be pinned in passes for a bpffs
 *
 * Everything else that libbpf does with the engine's descriptors is the kernel's to answer.
 */
#include <linux/magic.h>
#include <linux/perf_event.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "host/inside.h"
#include "host/seam.h"
#include "vm/vm.h"

static __thread struct skep_engine *engine;

struct skep_engine *host_use(struct skep_engine *other)
{
	struct skep_engine *before = engine;

	engine = other;
	return before;
}

struct skep_engine *host_used(void)
{
	return engine;
}

/* The linker turns calls of syscall() into __wrap_syscall(), __real_syscall() into syscall(). */
long __real_syscall(long nr, ...);
int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __real_statfs64(const char *path, struct statfs64 *out);
int __real_ioctl(int fd, unsigned long request, ...);
void *__real_mmap64(void *at, size_t length, int prot, int flags, int fd, off_t offset);
long __wrap_syscall(long nr, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__wrap_mmap64(void *at, size_t length, int prot, int flags, int fd, off_t offset);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_statfs64(const char *path, struct statfs64 *out);

static long or_errno(long rc)
{
	if (rc >= 0)
		return rc;
	errno = (int)-rc;
	return -1;
}

/*
 * Six arguments are taken and passed whatever the call has, as libc's own syscall() does: the sanitizer
 * would see it read what was not given.
 */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long nr, ...)
{
	long a[6];
	va_list args;

	va_start(args, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (nr == SYS_bpf && engine)
		return or_errno(
			vm_bpf(engine, &vm_own, (unsigned)a[0], (uint64_t)a[1], (unsigned)a[2]));
	if (nr == SYS_perf_event_open && engine) {
		long rc = vm_perf_open(engine, &vm_self, (uint64_t)a[0]);

		if (rc != -EOPNOTSUPP)
			return or_errno(rc);
	}
	return __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if ((request == PERF_EVENT_IOC_ENABLE || request == PERF_EVENT_IOC_DISABLE) && engine &&
	    vm_is_perf(engine, fd))
		return 0;
	return __real_ioctl(fd, request, arg);
}

void *__wrap_mmap64(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
	int rc = engine && fd >= 0 && flags == MAP_SHARED ? vm_perf_map(engine, fd, length) : 0;

	if (rc && rc != -EBADF) {
		errno = -rc;
		return MAP_FAILED;
	}
	return __real_mmap64(at, length, prot, flags, fd, offset);
}

int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	int ring = engine ? vm_wake_fd(engine, fd) : -EBADF;
	struct epoll_event e;

	if (ring < 0)
		return __real_epoll_ctl(epoll, op, fd, event);
	if (event)
		e = host_ring_event(event);
	return __real_epoll_ctl(epoll, op, ring, event ? &e : NULL);
}

int __wrap_statfs64(const char *path, struct statfs64 *out)
{
	int rc = __real_statfs64(path, out);

	if (!rc && engine)
		out->f_type = BPF_FS_MAGIC;
	return rc;
}
