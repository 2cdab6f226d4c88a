// SPDX-License-Identifier: Apache-2.0
/*
 * notify.c: calls of a command, taken one by one and answered with the engine.
 *
 * One thread leads: it waits, takes a call, answers it. Before a call that may run for long (a
 * program, a proof) it makes another the leader; only then are there two (X4 in exec.c).
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>

#include "host/inside.h"
#include "host/rtnl.h"
#include "vm/vm.h"

#define THREADS_MAX 64
#define SPARE	    2	 /* threads that wait to lead */
#define AGAIN_MS    20	 /* between two looks at rings that somebody polls */
#define SWEEP_MS    1000 /* after a call, what nobody holds any more is let go */
#define FREE_WAIT_S 1	 /* for programs that run when all ends */
#define NOTIF_BYTES 1024 /* the kernel's struct seccomp_notif; it may grow */

/* Since Linux 6.6: caller and answerer wake each other on the same CPU, for either sleeps while the other works. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS	   SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

struct notify {
	int listener;
	int stop; /* eventfd; readable: end */
	struct skep_engine *engine;
	struct rtnl rtnl;
	dev_t pins;		    /* where the command's /sys/fs/bpf is; 0: it has none */
	ino_t pins_root;	    /* that directory, or 0: all of the device is for pins */
	pthread_mutex_t lead;	    /* held by the leader while it takes and answers */
	_Atomic bool polled;	    /* some ring is */
	int64_t again_at, sweep_at; /* when rings and objects are looked at; the leader's */
	_Atomic unsigned spare;
	pthread_mutex_t count; /* guards threads */
	pthread_cond_t ended;
	unsigned threads;
};

union call {
	struct seccomp_notif n;
	uint8_t bytes[NOTIF_BYTES];
};

static void reply(const struct notify *n, uint64_t id, long rc, unsigned flags)
{
	struct seccomp_notif_resp r = {.id = id, .flags = flags};

	if (rc < 0)
		r.error = (int)rc;
	else
		r.val = rc;
	ioctl(n->listener, SECCOMP_IOCTL_NOTIF_SEND, &r); /* ENOENT: nobody waits any more */
}

/* ---- epoll -----------------------------------------------------------------------------------*/
struct epoll_event host_ring_event(const struct epoll_event *wanted)
{
	const uint32_t kept = EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;

	return (struct epoll_event){
		.events = (wanted->events & kept) | EPOLLIN | EPOLLET,
		.data = wanted->data,
	};
}

static int watch(struct notify *n, const struct vm_caller *c, const struct seccomp_data *call,
		 int ring)
{
	cleanup(fd_close) int epoll = c->fd_get(c->arg, (int)call->args[0]);
	struct epoll_event wanted = {0}, event;
	int op = (int)call->args[1];

	if (epoll < 0)
		return epoll;
	if (op != EPOLL_CTL_DEL && c->read(c->arg, &wanted, call->args[3], sizeof(wanted)))
		return -EFAULT;
	event = host_ring_event(&wanted);
	if (epoll_ctl(epoll, op, ring, &event))
		return -errno;
	n->polled = true;
	return 0;
}

/* Rings of the engine are watched by their eventfd; what else it is, the kernel goes on with. */
static bool on_epoll_ctl(struct notify *n, const struct vm_caller *c,
			 const struct seccomp_data *call, long *rc)
{
	cleanup(fd_close) int fd = c->fd_get(c->arg, (int)call->args[2]);
	int ring = fd < 0 ? fd : vm_wake_fd(n->engine, fd);

	if (ring < 0)
		return false;
	*rc = watch(n, c, call, ring);
	return true;
}

/* ---- statfs: /sys/fs/bpf passes for a bpffs --------------------------------------------------*/
/* The command's own with --root; otherwise that one directory, so that tools try to pin there. */
static void pins_find(struct notify *n, pid_t command)
{
	struct stat theirs, ours;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root/sys/fs/bpf", command);
	if (stat(path, &theirs))
		return;
	n->pins = theirs.st_dev;
	if (!stat("/sys/fs/bpf", &ours) && ours.st_dev == theirs.st_dev)
		n->pins_root = theirs.st_ino;
}

static bool is_for_pins(const struct notify *n, int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == n->pins &&
	       (!n->pins_root || st.st_ino == n->pins_root);
}

static int path_read(const struct vm_caller *c, uint64_t addr, char out[static PATH_MAX])
{
	size_t n = 0, part;

	for (; n < PATH_MAX; n += part) {
		part = min((size_t)PATH_MAX - n, 256 - ((addr + n) & 255));
		if (c->read(c->arg, out + n, addr + n, part))
			return -EFAULT;
		if (memchr(out + n, '\0', part))
			return 0;
	}
	return -ENAMETOOLONG;
}

static int open_place(const struct vm_caller *c, enum trap trap, const struct seccomp_data *call)
{
	char path[PATH_MAX];

	if (trap == TRAP_FSTATFS)
		return c->fd_get(c->arg, (int)call->args[0]);
	if (path_read(c, call->args[0], path))
		return -EFAULT;
	return c->open(c->arg, AT_FDCWD, path, O_PATH, 0);
}

static bool on_statfs(const struct notify *n, const struct vm_caller *c, enum trap trap,
		      const struct seccomp_data *call, long *rc)
{
	cleanup(fd_close) int fd = n->pins ? open_place(c, trap, call) : -1;
	struct statfs fs;

	if (fd < 0 || !is_for_pins(n, fd) || fstatfs(fd, &fs))
		return false;
	fs.f_type = BPF_FS_MAGIC;
	*rc = c->write(c->arg, call->args[1], &fs, sizeof(fs));
	return true;
}

/* ---- perf buffers ----------------------------------------------------------------------------*/
static bool on_perf_open(struct notify *n, const struct vm_caller *c,
			 const struct seccomp_data *call, long *rc)
{
	*rc = vm_perf_open(n->engine, c, call->args[0]);
	return *rc != -EOPNOTSUPP;
}

/* They are always enabled. */
static bool on_ioctl(struct notify *n, const struct vm_caller *c, const struct seccomp_data *call)
{
	cleanup(fd_close) int fd = c->fd_get(c->arg, (int)call->args[0]);

	return fd >= 0 && vm_is_perf(n->engine, fd);
}

/* The kernel maps; the buffer learns here how long it is to be. */
static bool on_mmap(struct notify *n, const struct vm_caller *c, const struct seccomp_data *call,
		    long *rc)
{
	cleanup(fd_close) int fd = c->fd_get(c->arg, (int)call->args[4]);

	*rc = fd < 0 ? -EBADF : vm_perf_map(n->engine, fd, call->args[1]);
	return *rc && *rc != -EBADF;
}

/* ---- one call --------------------------------------------------------------------------------*/
static bool may_take_long(const struct seccomp_data *call)
{
	if (trap_of(call) != TRAP_BPF)
		return false;
	switch ((unsigned)call->args[0]) {
	case BPF_PROG_TEST_RUN:
	case BPF_PROG_LOAD:
	case BPF_BTF_LOAD:
	case BPF_MAP_LOOKUP_BATCH:
	case BPF_MAP_LOOKUP_AND_DELETE_BATCH:
	case BPF_MAP_UPDATE_BATCH:
	case BPF_MAP_DELETE_BATCH:
		return true;
	default:
		return false;
	}
}

/* Return: whether the call is answered, with *rc; otherwise the kernel goes on with it. */
static bool answered(struct notify *n, const struct vm_caller *c, const struct seccomp_data *d,
		     long *rc)
{
	enum trap trap = trap_of(d);

	switch (trap) {
	case TRAP_BPF:
		*rc = vm_bpf(n->engine, c, (unsigned)d->args[0], d->args[1], (unsigned)d->args[2]);
		return true;
	case TRAP_EPOLL_CTL:
		return on_epoll_ctl(n, c, d, rc);
	case TRAP_STATFS:
	case TRAP_FSTATFS:
		return on_statfs(n, c, trap, d, rc);
	case TRAP_PERF_OPEN:
		return on_perf_open(n, c, d, rc);
	case TRAP_IOCTL:
		return on_ioctl(n, c, d);
	case TRAP_MMAP:
		return on_mmap(n, c, d, rc);
	case TRAP_SOCKET:
		return rtnl_socket(c->arg, d, rc);
	case TRAP_SENDTO:
	case TRAP_SENDMSG:
		return rtnl_send(&n->rtnl, c, d, trap == TRAP_SENDMSG, rc);
	case TRAP_RECVFROM:
	case TRAP_RECVMSG:
		return rtnl_receive(&n->rtnl, c, d, trap == TRAP_RECVMSG, rc);
	default:
		return false;
	}
}

/* Does it only write to the caller what the engine knows? */
static bool only_tells(const struct seccomp_data *call)
{
	if (trap_of(call) != TRAP_BPF)
		return false;
	switch ((unsigned)call->args[0]) {
	case BPF_MAP_LOOKUP_ELEM:
	case BPF_MAP_GET_NEXT_KEY:
		return true;
	default:
		return false;
	}
}

static void answer(struct notify *n, struct target *t, const struct seccomp_notif *call)
{
	struct vm_caller c;
	long rc = 0;

	target_turn(t, n->listener, call);
	t->tells = only_tells(&call->data);
	c = target_caller(t);
	if (answered(n, &c, &call->data, &rc))
		reply(n, call->id, rc, 0);
	else
		reply(n, call->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* ---- threads ---------------------------------------------------------------------------------*/
static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What is due besides calls. Return: milliseconds until something is again, -1: nothing. */
static int chores(struct notify *n)
{
	int64_t now = now_ms();

	if (n->sweep_at && now >= n->sweep_at) {
		n->sweep_at = 0;
		vm_sweep(n->engine);
	}
	if (n->polled && now >= n->again_at) {
		n->again_at = now + AGAIN_MS;
		vm_wake_again(n->engine);
	}
	if (n->polled)
		return (int)(n->again_at - now);
	return n->sweep_at ? (int)(n->sweep_at - now) : -1;
}

/* The next call. Return: false at the end. */
static bool receive(struct notify *n, union call *call)
{
	struct pollfd fds[] = {{n->listener, POLLIN, 0}, {n->stop, POLLIN, 0}};

	for (;;) {
		int ready = poll(fds, array_size(fds), chores(n));

		if (fds[1].revents || (ready < 0 && errno != EINTR))
			return false;
		if (ready <= 0)
			continue;
		if (!n->sweep_at)
			n->sweep_at = now_ms() + SWEEP_MS;
		if (!(fds[0].revents & POLLIN))
			return false; /* POLLHUP: nobody is left to ask */
		memset(call, 0, sizeof(*call));
		if (!ioctl(n->listener, SECCOMP_IOCTL_NOTIF_RECV, call))
			return true;
		if (errno != ENOENT && errno != EINTR)
			return false;
	}
}

static void *work(void *arg);

static int thread_start(struct notify *n)
{
	pthread_attr_t attr;
	pthread_t id;
	int rc = -EAGAIN;

	if (pthread_attr_init(&attr))
		return -ENOMEM;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_mutex_lock(&n->count);
	n->spare++;
	if (n->threads < THREADS_MAX)
		rc = -pthread_create(&id, &attr, work, n);
	if (!rc)
		n->threads++;
	else
		n->spare--;
	pthread_mutex_unlock(&n->count);
	pthread_attr_destroy(&attr);
	return rc;
}

static void thread_end(struct notify *n)
{
	pthread_mutex_lock(&n->count);
	n->threads--;
	pthread_cond_broadcast(&n->ended);
	pthread_mutex_unlock(&n->count);
}

/* Lead, until a call is taken that others need not wait for, or the end. */
static bool take_long(struct notify *n, struct target *t, union call *call)
{
	bool got;

	pthread_mutex_lock(&n->lead);
	n->spare--;
	while ((got = receive(n, call))) {
		if (may_take_long(&call->n.data) && (n->spare || !thread_start(n)))
			break;
		answer(n, t, &call->n);
	}
	pthread_mutex_unlock(&n->lead);
	return got;
}

static void *work(void *arg)
{
	cleanup(target_done) struct target t = {.pidfd = -1};
	struct notify *n = arg;
	union call call;

	while (take_long(n, &t, &call)) {
		answer(n, &t, &call.n);
		if (n->spare >= SPARE)
			break;
		n->spare++;
	}
	thread_end(n);
	return NULL;
}

/* ---- all of it -------------------------------------------------------------------------------*/
static bool call_fits(void)
{
	struct seccomp_notif_sizes sizes;

	return !syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) &&
	       sizes.seccomp_notif <= sizeof(union call) &&
	       sizes.seccomp_notif_resp >= sizeof(struct seccomp_notif_resp);
}

int notify_open(struct notify **out, int listener, struct skep_engine *engine, pid_t command)
{
	struct notify *n = calloc(1, sizeof(*n));
	int rc;

	if (!n)
		return -ENOMEM;
	*n = (struct notify){
		.listener = listener,
		.stop = eventfd(0, EFD_CLOEXEC),
		.engine = engine,
		.rtnl = {.engine = engine},
		.lead = PTHREAD_MUTEX_INITIALIZER,
		.count = PTHREAD_MUTEX_INITIALIZER,
		.ended = PTHREAD_COND_INITIALIZER,
	};
	pins_find(n, command);
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	rc = n->stop < 0 ? -errno : call_fits() ? thread_start(n) : -EOVERFLOW;
	if (rc) {
		n->listener = -1;
		notify_free(n);
		return rc;
	}
	*out = n;
	return 0;
}

static unsigned await_threads(struct notify *n)
{
	struct timespec until;
	unsigned left;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FREE_WAIT_S;
	pthread_mutex_lock(&n->count);
	while (n->threads && !rc)
		rc = pthread_cond_timedwait(&n->ended, &n->count, &until);
	left = n->threads;
	pthread_mutex_unlock(&n->count);
	return left;
}

int notify_free(struct notify *n)
{
	if (!n)
		return 0;
	if (n->stop >= 0)
		eventfd_write(n->stop, 1);
	if (await_threads(n))
		return -EBUSY; /* they use it: it is left to them */
	fd_close(&n->listener);
	fd_close(&n->stop);
	free(n);
	return 0;
}
