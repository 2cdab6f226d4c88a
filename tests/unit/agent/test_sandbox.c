// SPDX-License-Identifier: Apache-2.0
/* Each test gives its privileges up in a child and tells how it went by exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/sandbox.h"

/* Return: wait status of a child that ran @fn in the sandbox. */
static int in_sandbox(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(sandbox_drop(NULL) || sandbox_filter(NULL) ? 100 : fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool denied(long rc)
{
	return rc == -1 && errno == EPERM;
}

static int daily_work(void)
{
	cleanup(fd_close) int proc = open("/proc/1/stat", O_RDONLY | O_CLOEXEC);
	char *memory = malloc(1 << 24);
	char byte;
	int fds[2], status;
	pid_t pid;

	if (proc < 0 || read(proc, &byte, 1) != 1 || !memory || pipe2(fds, O_CLOEXEC))
		return 1;
	free(memory);
	pid = fork();
	if (!pid)
		_exit(close_range(3, ~0U, 0) ? 1 : 7);
	return waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7 ? 0 : 2;
}

static int database(void)
{
	char path[64];
	sqlite3 *db;
	int rc;

	snprintf(path, sizeof(path), "/tmp/skep-sandbox-%d.db", getpid());
	rc = sqlite3_open(path, &db);
	if (!rc)
		rc = sqlite3_exec(db, "create table t(a); insert into t values (1);", NULL, NULL,
				  NULL);
	sqlite3_close(db);
	unlink(path);
	return rc;
}

static int outward(void)
{
	static char page[4096];

	if (!denied(socket(AF_INET, SOCK_STREAM, 0)) || !denied(socket(AF_UNIX, SOCK_STREAM, 0)))
		return 1;
	if (!denied(syscall(SYS_bpf, BPF_PROG_LOAD, page, 72)))
		return 2;
	if (!denied(syscall(SYS_keyctl, 0, 0)) || !denied(syscall(SYS_io_uring_setup, 1, page)))
		return 3;
	return 0;
}

static int code_in_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
				       MAP_FAILED &&
			       errno == EPERM
		       ? 0
		       : 1;
}

static int run_a_program(void)
{
	execl("/bin/true", "true", NULL);
	return 0;
}

static void what_the_agent_does_all_day_is_allowed(maybe_unused void **state)
{
	assert_int_equal(in_sandbox(daily_work), 0);
	assert_int_equal(in_sandbox(database), 0);
}

static void new_sockets_and_programs_are_denied(maybe_unused void **state)
{
	assert_int_equal(in_sandbox(outward), 0);
}

static void memory_never_becomes_code(maybe_unused void **state)
{
#ifdef __SANITIZE_ADDRESS__
	skip(); /* the sanitizer's runtime needs mmap() as it is */
#endif
	assert_int_equal(in_sandbox(code_in_memory), 0);
}

static void running_a_program_is_deadly(maybe_unused void **state)
{
	int status = in_sandbox(run_a_program);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_agent_does_all_day_is_allowed),
		cmocka_unit_test(new_sockets_and_programs_are_denied),
		cmocka_unit_test(memory_never_becomes_code),
		cmocka_unit_test(running_a_program_is_deadly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
