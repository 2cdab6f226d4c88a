// SPDX-License-Identifier: Apache-2.0
/*
 * spawn N WORKERS TAG: N times fork + exec of `sh -c 'exit CODE' TAG-I`, at full speed, CODE = I % 200.
 * Prints one line: rate per second, and the workers' pids.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int one(const char *tag, int i)
{
	char code[32], name[64];
	int status;
	pid_t pid;

	snprintf(code, sizeof(code), "exit %d", i % 200);
	snprintf(name, sizeof(name), "%s-%d", tag, i);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", code, name, (char *)NULL);
		_exit(255);
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != i % 200;
}

int main(int argc, char **argv)
{
	int n = argc > 3 ? atoi(argv[1]) : 0, workers = argc > 3 ? atoi(argv[2]) : 0, failed = 0,
	    status;
	double begun = now();
	pid_t pids[64];

	if (n < 1 || workers < 1 || workers > 64)
		return 2;
	for (int w = 0; w < workers; w++) {
		pids[w] = fork();
		if (pids[w] == 0) {
			for (int i = w; i < n; i += workers)
				failed += one(argv[3], i);
			_exit(!!failed);
		}
	}
	for (int w = 0; w < workers; w++)
		failed += waitpid(pids[w], &status, 0) != pids[w] || status;
	printf("%.0f", n / (now() - begun));
	for (int w = 0; w < workers; w++)
		printf(" %d", pids[w]);
	printf("\n");
	return failed ? 1 : 0;
}
