// SPDX-License-Identifier: Apache-2.0
#include "balance/child.h"

#include <cap-ng.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define NOBODY 65534

/* Return: whether it is somebody without rights. Not so where root may not change who it is. */
static bool privileges_drop(void)
{
	bool nobody;

	capng_clear(CAPNG_SELECT_BOUNDS);
	capng_apply(CAPNG_SELECT_BOUNDS);
	nobody = (!setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
		  !setresuid(NOBODY, NOBODY, NOBODY)) ||
		 (getuid() && geteuid());
	capng_clear(CAPNG_SELECT_CAPS);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return nobody;
}

static void __attribute__((noreturn))
child(const char *name, void (*run)(int fd, bool nobody, void *arg), void *arg, int fd)
{
	int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	sigset_t none;
	size_t i;

	prctl(PR_SET_NAME, name);
	for (i = 0; i < array_size(signals); i++)
		signal(signals[i], i < 3 ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(fd, 3);
	close_range(4, ~0U, 0);
	run(3, privileges_drop(), arg);
	_exit(0);
}

int child_start(const char *name, void (*run)(int fd, bool nobody, void *arg), void *arg, int *fd)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid)
		child(name, run, arg, pair[1]);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -errno;
	}
	*fd = pair[0];
	return 0;
}
