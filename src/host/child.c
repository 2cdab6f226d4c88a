// SPDX-License-Identifier: Apache-2.0
/* child.c: what the child of `skep exec` does before it is the command, and how it tells the parent. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "host/inside.h"

#define PINS "/sys/fs/bpf"

/* One descriptor may come with a word. */
union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int child_tell(int socket, enum child_stage stage, int error, int fd)
{
	struct child_word word = {stage, error};
	struct iovec iov = {&word, sizeof(word)};
	union control control = {{0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
				      .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int child_hear(int socket, struct child_word *word, int *listener)
{
	struct iovec iov = {word, sizeof(*word)};
	union control control = {{0}};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	ssize_t n;

	*listener = -1;
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(*word))
		return -EPIPE;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(listener, CMSG_DATA(c), sizeof(*listener));
	return 0;
}

/* ---- --root ----------------------------------------------------------------------------------*/
static int put(const char *path, const char *text)
{
	cleanup(fd_close) int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n = (ssize_t)strlen(text);

	return fd >= 0 && write(fd, text, (size_t)n) == n ? 0 : -errno;
}

/* We become root of a user namespace in which nobody else exists. */
static int become_root(void)
{
	unsigned uid = geteuid(), gid = getegid();
	char uids[32], gids[32];
	int rc;

	if (unshare(CLONE_NEWUSER))
		return -errno;
	snprintf(uids, sizeof(uids), "0 %u 1", uid);
	snprintf(gids, sizeof(gids), "0 %u 1", gid);
	rc = put("/proc/self/setgroups", "deny");
	if (!rc)
		rc = put("/proc/self/uid_map", uids);
	return rc ? rc : put("/proc/self/gid_map", gids);
}

/* A place for pins that nobody else sees. A kernel without BPF has no such directory. */
static int own_pins(void)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -errno;
	if (mount("skep", PINS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700"))
		return errno == ENOENT ? 0 : -errno;
	return 0;
}

static int enter_root(void)
{
	int rc = geteuid() ? become_root() : 0;

	return rc ? rc : own_pins();
}

/* ---- the way ---------------------------------------------------------------------------------*/
static _Noreturn void fail(int socket, enum child_stage stage, int rc)
{
	child_tell(socket, stage, -rc, -1);
	_exit(HOST_EXEC_FAILED);
}

/* Until the parent can answer; it closes the socket when it cannot. */
static void await_parent(int socket)
{
	char go;

	if (read(socket, &go, 1) != 1)
		_exit(HOST_EXEC_FAILED);
}

void child_run(const struct host_exec *x, int socket, pid_t parent, const sigset_t *mask)
{
	int rc = x->root ? enter_root() : 0;
	int listener;

	if (rc)
		fail(socket, CHILD_ROOT, rc);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || getppid() != parent)
		_exit(HOST_EXEC_FAILED);
	listener = trap_install();
	if (listener < 0)
		fail(socket, CHILD_TRAP, listener);
	if (child_tell(socket, CHILD_READY, 0, listener))
		_exit(HOST_EXEC_FAILED);
	close(listener);
	await_parent(socket);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(x->argv[0], x->argv);
	fail(socket, CHILD_EXEC, -errno);
}
