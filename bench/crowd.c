// SPDX-License-Identifier: Apache-2.0
/*
 * crowd N: N processes that sleep, in a process group of their own. Says "N" when all live; they end
 * with it, at the latest after two minutes. Exits with 3 where the machine does not allow so many.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static void sleeper(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0;
	pid_t self = getpid(), pid;

	if (n < 1)
		return 2;
	setpgid(0, 0);
	alarm(120);
	for (int i = 0; i < n; i++) {
		pid = fork();
		if (pid == 0)
			sleeper(self);
		if (pid < 0) {
			perror("crowd: fork");
			return 3;
		}
	}
	printf("%d\n", n);
	fflush(stdout);
	pause();
	return 0;
}
