// SPDX-License-Identifier: Apache-2.0
/*
 * target.c: the memory, descriptors and paths of a thread that waits for its answer.
 *
 * It waits, but it may be killed and its number go to another. So what was read counts only if the
 * notification stands afterwards, and nothing is written unless it stands (X2 in exec.c). Its bytes
 * may change between two reads; vm reads each once.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "host/inside.h"
#include "vm/vm.h"

#define THREAD ((unsigned)O_EXCL) /* PIDFD_THREAD, since Linux 6.9 */

void target_turn(struct target *t, int listener, const struct seccomp_notif *n)
{
	if (t->tid != (pid_t)n->pid)
		fd_close(&t->pidfd);
	t->listener = listener;
	t->id = n->id;
	t->tid = (pid_t)n->pid;
}

void target_done(struct target *t)
{
	fd_close(&t->pidfd);
}

static bool stands(const struct target *t)
{
	return !ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &t->id);
}

static int target_read(void *arg, void *dst, uint64_t src, size_t n)
{
	const struct target *t = arg;
	struct iovec here = {dst, n}, there = {(void *)(uintptr_t)src, n};

	if (!n)
		return 0;
	if (process_vm_readv(t->tid, &here, 1, &there, 1, 0) != (ssize_t)n)
		return -EFAULT;
	return t->tells || stands(t) ? 0 : -EFAULT;
}

static int target_write(void *arg, uint64_t dst, const void *src, size_t n)
{
	const struct target *t = arg;
	struct iovec here = {(void *)(uintptr_t)src, n}, there = {(void *)(uintptr_t)dst, n};

	if (!n)
		return 0;
	if (!stands(t) || process_vm_writev(t->tid, &here, 1, &there, 1, 0) != (ssize_t)n)
		return -EFAULT;
	return 0;
}

/* ---- descriptors -----------------------------------------------------------------------------*/
/* The process of a thread, for kernels that have no descriptors of threads. */
static pid_t leader(pid_t tid)
{
	char path[64], line[128];
	cleanup(file_close) FILE *f = NULL;
	int pid = -1;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tgid: %d", &pid) == 1)
			break;
	return pid;
}

static int pidfd_of(struct target *t)
{
	cleanup(fd_close) int fd = -1;

	if (t->pidfd >= 0)
		return t->pidfd;
	fd = (int)syscall(SYS_pidfd_open, t->tid, THREAD);
	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_pidfd_open, leader(t->tid), 0);
	if (fd < 0)
		return -errno;
	if (!stands(t))
		return -ESRCH;
	return t->pidfd = take_fd(&fd);
}

static int target_fd_get(void *arg, int fd)
{
	struct target *t = arg;
	bool kept = t->pidfd >= 0;
	int pidfd = fd < 0 ? -EBADF : pidfd_of(t);
	long mine;

	if (pidfd < 0)
		return pidfd;
	mine = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (mine < 0 && errno == ESRCH && kept) { /* of an earlier thread of that number */
		fd_close(&t->pidfd);
		return target_fd_get(t, fd);
	}
	return mine < 0 ? -errno : (int)mine;
}

/* Only death interrupts the thread from here on, so the number cannot get lost on its way. */
static int target_fd_put(void *arg, int fd, int flags)
{
	const struct target *t = arg;
	struct seccomp_notif_addfd add = {
		.id = t->id,
		.srcfd = (uint32_t)fd,
		.newfd_flags = (uint32_t)flags & O_CLOEXEC,
	};
	int theirs = ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return theirs < 0 ? -errno : theirs;
}

int target_fd_at(struct target *t, int fd, int number, int flags)
{
	struct seccomp_notif_addfd add = {
		.id = t->id,
		.flags = SECCOMP_ADDFD_FLAG_SETFD,
		.srcfd = (uint32_t)fd,
		.newfd = (uint32_t)number,
		.newfd_flags = (uint32_t)flags & O_CLOEXEC,
	};
	int theirs = ioctl(t->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return theirs < 0 ? -errno : theirs;
}

/* ---- paths -----------------------------------------------------------------------------------*/
/* Files are opened with our rights; so whose are not the same may not ask. */
static int same_user(const struct target *t)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", t->tid);
	if (stat(path, &st))
		return -errno;
	return st.st_uid == geteuid() ? 0 : -EACCES;
}

/* Where a relative path begins, as a path from the target's root. */
static int base_of(const struct target *t, int dir, char out[static PATH_MAX])
{
	char link[64];
	ssize_t n;

	if (dir == AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/%d/cwd", t->tid);
	else
		snprintf(link, sizeof(link), "/proc/%d/fd/%d", t->tid, dir);
	n = readlink(link, out, PATH_MAX - 1);
	if (n < 0)
		return dir == AT_FDCWD ? -errno : -EBADF;
	out[n] = '\0';
	return out[0] == '/' ? 0 : -ENOTDIR;
}

static int full_path(const struct target *t, int dir, const char *path, char out[static PATH_MAX])
{
	char base[PATH_MAX] = "";
	int rc = *path == '/' ? 0 : base_of(t, dir, base);

	if (rc)
		return rc;
	return snprintf(out, PATH_MAX, "%s/%s", base, path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int target_open(void *arg, int dir, const char *path, int flags, unsigned mode)
{
	const struct target *t = arg;
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	cleanup(fd_close) int root = -1;
	char link[64], full[PATH_MAX];
	int rc = same_user(t);
	long fd;

	if (!rc)
		rc = full_path(t, dir, path, full);
	if (rc)
		return rc;
	if (flags & O_PATH)
		how.flags &= ~(unsigned)(O_NONBLOCK | O_NOCTTY);
	snprintf(link, sizeof(link), "/proc/%d/root", t->tid);
	root = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	if (!stands(t))
		return -ESRCH;
	fd = syscall(SYS_openat2, root, full, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* ---- who -------------------------------------------------------------------------------------*/
static int number(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? atoi(at + strlen(name)) : 0;
}

static void target_who(void *arg, struct vm_who *who)
{
	const struct target *t = arg;
	cleanup(fd_close) int fd = -1;
	char path[64], status[1024] = "";

	*who = (struct vm_who){.tid = (uint32_t)t->tid};
	snprintf(path, sizeof(path), "/proc/%d/status", t->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, status, sizeof(status) - 1) <= 0 || !stands(t))
		return;
	sscanf(status, "Name:\t%15[^\n]", who->comm);
	who->pid = (uint32_t)number(status, "\nTgid:\t");
	who->uid = (uint32_t)number(status, "\nUid:\t");
	who->gid = (uint32_t)number(status, "\nGid:\t");
}

struct vm_caller target_caller(struct target *t)
{
	return (struct vm_caller){
		.read = target_read,
		.write = target_write,
		.fd_get = target_fd_get,
		.fd_put = target_fd_put,
		.who = target_who,
		.open = target_open,
		.arg = t,
	};
}
