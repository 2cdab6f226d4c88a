/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cases.h: cases that run in a child each, so that an assert, a crash or a hang costs one case.
 *
 *	PROGRAM [ARG...] count    -> how many cases there are
 *	PROGRAM [ARG...] N        -> the cases from N on, each a line `ok N name`, `not ok N name: why` or `skip N name: why`
 */
#ifndef SELFTESTS_CASES_H
#define SELFTESTS_CASES_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CASE_SECONDS 120
#define CASE_NONE    77 /* what a run returns that turned out to be no case here */

/* What a case said last, which is why it failed. */
static void last_words(FILE *said, char *words, size_t size)
{
	char line[1024];

	words[0] = '\0';
	rewind(said);
	while (fgets(line, sizeof(line), said)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '\t')
			snprintf(words, size, "%s", line);
	}
}

/* Ends the case's whole group: the tests fork as well. Returns its wait status. */
static int case_wait(pid_t pid)
{
	int status = 0, ms = 0;

	while (!waitpid(pid, &status, WNOHANG)) {
		const struct timespec nap = {.tv_nsec = ms < 20 ? 1000000 : 20000000};

		nanosleep(&nap, NULL);
		ms += ms < 20 ? 1 : 20;
		if (ms > CASE_SECONDS * 1000)
			kill(-pid, SIGKILL);
	}
	kill(-pid, SIGKILL);
	return status;
}

/* Runs @run(@n) and prints how it went. @run returns 0 or CASE_NONE, or says why not. */
static inline void case_run(unsigned n, const char *name, int (*run)(unsigned n))
{
	FILE *said = tmpfile();
	char words[1024];
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		dup2(fileno(said), 1);
		dup2(fileno(said), 2);
		setvbuf(stdout, NULL, _IOLBF, 0);
		status = run(n);
		fflush(NULL);
		_exit(status);
	}
	setpgid(pid, pid);
	status = case_wait(pid);
	last_words(said, words, sizeof(words));
	fclose(said);
	if (!status)
		printf("ok %u %s\n", n, name);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == CASE_NONE)
		printf("skip %u %s: %s\n", n, name, words);
	else if (WIFSIGNALED(status))
		printf("not ok %u %s: signal %d: %s\n", n, name, WTERMSIG(status), words);
	else
		printf("not ok %u %s: %s\n", n, name, words);
	fflush(stdout);
}

static inline int cases_main(const char *arg, unsigned count, const char *(*name)(unsigned n),
			     int (*run)(unsigned n))
{
	if (!arg)
		return 2;
	if (!strcmp(arg, "count"))
		return printf("%u\n", count) < 0;
	for (unsigned n = (unsigned)atoi(arg); n < count; n++)
		case_run(n, name(n), run);
	return 0;
}

#endif
