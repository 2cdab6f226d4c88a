/* SPDX-License-Identifier: Apache-2.0 */
/* Who may open a host, and what the others are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>

#include <cmocka.h>

#include "host/inside.h"

#define BTF "/sys/kernel/btf/vmlinux"

/* Runs host_open_at() in a child after @change, and gives back its result and words. */
static int open_in_child(void (*change)(void), const char *btf, struct skep_err *err)
{
	int pipes[2], rc = 0, status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct host *h = NULL;
		struct skep_err why = {};

		if (change)
			change();
		rc = host_open_at(&h, btf, "/proc/self/mountinfo", &why);
		_exit(write(pipes[1], &rc, sizeof(rc)) != sizeof(rc) ||
		      write(pipes[1], &why, sizeof(why)) != sizeof(why) || (rc && h));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(pipes[0], &rc, sizeof(rc)), sizeof(rc));
	assert_int_equal(read(pipes[0], err, sizeof(*err)), sizeof(*err));
	close(pipes[0]);
	close(pipes[1]);
	return rc;
}

static void become_nobody(void)
{
	if (setgid(65534) || setuid(65534))
		_exit(3);
}

static void drop_perfmon(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		_exit(3);
	data[CAP_PERFMON / 32].effective &= ~(1U << CAP_PERFMON % 32);
	if (syscall(SYS_capset, &head, data))
		_exit(3);
}

static void only_root(void)
{
	if (geteuid() != 0) {
		print_message("not run: needs root\n");
		skip();
	}
}

static void test_without_root_one_sentence_says_how_to_get_it(void **state maybe_unused)
{
	struct skep_err err;

	assert_int_equal(open_in_child(geteuid() ? NULL : become_nobody, BTF, &err), -EPERM);
	assert_string_equal(err.text,
			    "skep up needs root: run it with sudo, or give it CAP_BPF, "
			    "CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, "
			    "CAP_SYS_RESOURCE");
}

static void test_a_single_missing_capability_is_named(void **state maybe_unused)
{
	struct skep_err err;

	only_root();
	assert_int_equal(open_in_child(drop_perfmon, BTF, &err), -EPERM);
	assert_string_equal(err.text,
			    "skep up lacks CAP_PERFMON: run it with sudo, or give it that too");
}

static void test_without_btf_the_kernel_option_is_named(void **state maybe_unused)
{
	struct skep_err err;

	only_root();
	assert_int_equal(open_in_child(NULL, "/nonexistent/vmlinux", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/vmlinux"));
	assert_non_null(strstr(err.text, "CONFIG_DEBUG_INFO_BTF=y"));
	assert_null(strchr(err.text, '\n'));
}

static void
test_btf_that_is_no_btf_makes_features_not_ready_with_a_reason(void **state maybe_unused)
{
	const struct host_feature *f;
	struct host *h = NULL;

	only_root();
	assert_int_equal(host_open_at(&h, "/proc/self/exe", "/proc/self/mountinfo", NULL), 0);
	f = host_feature(h, HOST_BTF);
	assert_false(f->ready);
	assert_non_null(strstr(f->reason, "/proc/self/exe"));
	assert_false(host_has(h, HOST_TP_BTF));
	assert_true(host_has(h, HOST_RINGBUF));
	assert_false(host_btf_func(h, "tcp_v4_connect"));
	host_free(h);
}

static void test_free_takes_null(void **state maybe_unused)
{
	host_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_root_one_sentence_says_how_to_get_it),
		cmocka_unit_test(test_a_single_missing_capability_is_named),
		cmocka_unit_test(test_without_btf_the_kernel_option_is_named),
		cmocka_unit_test(test_btf_that_is_no_btf_makes_features_not_ready_with_a_reason),
		cmocka_unit_test(test_free_takes_null),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
