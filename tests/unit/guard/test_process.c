// SPDX-License-Identifier: Apache-2.0
/* Events as the kernel half sends them, rows as SQL shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "rows.h"
#include "guard/proc.h"
#include "guard/process.h"
#include "host/host.h"
#include "who/who.h"

struct fixture {
	struct store *store;
	struct who *who;
	struct process_table *table;
	char events[1024]; /* kinds emitted, each followed by a blank */
};

static void on_emit(void *arg, const char *event, const struct store_table *t maybe_unused,
		    const uint64_t *row maybe_unused)
{
	struct fixture *f = arg;

	if (strlen(f->events) + strlen(event) + 2 > sizeof(f->events))
		return; /* of a scan of this whole machine */
	strcat(f->events, event);
	strcat(f->events, " ");
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct cap_env env = {.emit = on_emit, .emit_arg = f};

	assert_int_equal(store_open(&f->store, NULL), 0);
	assert_int_equal(who_open(&f->who, 1024, NULL), 0);
	env.store = f->store;
	env.who = f->who;
	assert_int_equal(process_open(&f->table, &env, 1 << 20, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	process_free(f->table);
	store_free(f->store);
	who_free(f->who);
	free(f);
	return 0;
}

static struct guard_task task(uint32_t pid, uint32_t ppid, const char *comm)
{
	struct guard_task t = {.pid = pid,
			       .ppid = ppid,
			       .start = pid * 1000ULL,
			       .uid = 5,
			       .loginuid = ~0U,
			       .parent_start = ppid * 1000ULL};

	memcpy(t.comm, comm, strnlen(comm, sizeof(t.comm)));
	return t;
}

static void send_fork(struct fixture *f, uint32_t pid, uint32_t ppid, const char *comm)
{
	struct guard_fork e = {.head = {.kind = GUARD_FORK, .time = host_boot_now()},
			       .task = task(pid, ppid, comm)};

	assert_int_equal(process_event(f->table, &e, sizeof(e)), 0);
}

static void send_exec(struct fixture *f, uint32_t pid, const char *exe, size_t exe_len,
		      const char *argv, size_t argv_len, size_t total)
{
	static union {
		struct guard_exec e;
		char bytes[sizeof(struct guard_exec) + 2 * GUARD_PATHS_MAX + GUARD_ARGV_MAX];
	} u;
	char *p = (char *)(&u.e + 1);

	memset(&u.e, 0, sizeof(u.e));
	u.e.head.kind = GUARD_EXEC;
	u.e.head.time = host_boot_now();
	u.e.task = task(pid, 1, "prog");
	u.e.exe_len = (uint32_t)exe_len;
	u.e.argv_len = (uint32_t)argv_len;
	u.e.argv_total = total;
	memcpy(p, exe, exe_len);
	memcpy(p + exe_len, argv, argv_len);
	assert_int_equal(process_event(f->table, &u, sizeof(u.e) + exe_len + argv_len), 0);
}

#define EXEC(f, pid, exe, argv) \
	send_exec(f, pid, exe, sizeof(exe), argv, sizeof(argv), sizeof(argv))

static void send_exit(struct fixture *f, uint32_t pid, uint32_t status)
{
	struct guard_exit e = {.head = {.kind = GUARD_EXIT, .time = host_boot_now()},
			       .pid = pid,
			       .start = pid * 1000ULL,
			       .status = status};

	assert_int_equal(process_event(f->table, &e, sizeof(e)), 0);
}

static void fork_exec_exit_is_one_row(void **state)
{
	struct fixture *f = *state;

	send_fork(f, 10, 1, "sh");
	EXEC(f, 10, "true\0bin\0usr", "true\0-v");
	send_exit(f, 10, 3 << 8);
	assert_string_equal(
		rows(f->store,
		     "select pid, ppid, exe, argv, cwd, uid, loginuid, exit_code, signal, "
		     "origin, ended >= time from process"),
		"10,1,/usr/bin/true,true -v,/,5,-,3,-,exec,1\n");
	assert_string_equal(f->events, "process.fork process.exec process.exit ");
}

static void a_second_exec_ends_the_row_and_begins_another(void **state)
{
	struct fixture *f = *state;

	send_fork(f, 10, 1, "sh");
	EXEC(f, 10, "a", "a");
	EXEC(f, 10, "b", "b");
	send_exit(f, 10, 9);
	assert_string_equal(
		rows(f->store, "select exe, exit_code, signal, ended is null from process"),
		"/a,-,-,0\n/b,-,9,0\n");
}

static void a_fork_inherits_the_parents_program(void **state)
{
	struct fixture *f = *state;

	EXEC(f, 10, "a", "a\0b c");
	send_fork(f, 11, 10, "prog");
	assert_string_equal(rows(f->store, "select exe, argv, origin from process where pid = 11"),
			    "/a,a 'b c',fork\n");
}

static void a_reused_pid_is_another_process(void **state)
{
	struct guard_fork e = {.head = {.kind = GUARD_FORK, .time = host_boot_now()},
			       .task = task(10, 1, "new")};
	struct fixture *f = *state;

	send_fork(f, 10, 1, "old");
	send_exit(f, 10, 0);
	e.task.start = 77;
	assert_int_equal(process_event(f->table, &e, sizeof(e)), 0);
	assert_string_equal(rows(f->store, "select comm, started, ended is null from process"),
			    "old,10000,0\nnew,77,1\n");
}

static void argv_that_was_cut_is_marked(void **state)
{
	struct fixture *f = *state;

	send_exec(f, 10, "a", 2, "a\0bbbb", 6, 2097152);
	assert_string_equal(rows(f->store, "select argv, argv_bytes, argv_cut from process"),
			    "a bbbb,2097152,1\n");
}

static void a_scan_finds_the_living_and_ends_the_missing(void **state)
{
	struct guard_task t = task((uint32_t)getpid(), 1, "test");
	struct fixture *f = *state;

	send_fork(f, 10, 1, "lost");
	process_scan_begin(f->table);
	process_scan_task(f->table, &t);
	process_scan_end(f->table);
	assert_string_equal(
		rows(f->store,
		     "select comm, origin, ended is null, exit_code from process order by comm"),
		"lost,fork,0,-\ntest,scan,1,-\n");
	assert_int_equal(
		strncmp(rows(f->store, "select exe from process where origin = 'scan'"), "/", 1),
		0);
}

static void kernel_threads_are_one_service(void **state)
{
	struct guard_task thread = task(10, 2, "kworker/0:1"), helper = task(11, 2, "modprobe");
	struct fixture *f = *state;

	thread.flags = GUARD_KERNEL;
	process_scan_begin(f->table);
	process_scan_task(f->table, &thread);
	process_scan_task(f->table, &helper);
	process_scan_end(f->table);
	assert_string_equal(rows(f->store, "select comm, service from process order by pid"),
			    "kworker/0:1,kernel\nmodprobe,modprobe\n");
}

/* Process 1 is always there, and older than the second that the scan of /proc asks for. */
static void what_the_iterator_leaves_out_comes_from_proc(void **state)
{
	struct guard_task child = task(4200001, 1, "child"), init;
	struct fixture *f = *state;
	char want[64];

	assert_int_equal(proc_task(&init, 1, ""), 0);
	child.parent_start = init.start + 3;
	process_scan_begin(f->table);
	process_scan_task(f->table, &child);
	process_scan_proc(f->table, "");
	process_scan_end(f->table);
	snprintf(want, sizeof(want), "scan,%llu,0,0,1\n", init.start + 3);
	assert_string_equal(rows(f->store, "select origin, started, ppid, uid, ended is null from "
					   "process where pid = 1"),
			    want);
	assert_string_equal(rows(f->store, "select count(*) from process where pid = 4200001"),
			    "1\n");
	/* a later scan misses it too: it lives on, and what is gone does not */
	process_scan_begin(f->table);
	process_scan_end(f->table);
	assert_string_equal(rows(f->store, "select pid, ended is null from process where pid in "
					   "(1, 4200001) order by pid"),
			    "1,1\n4200001,0\n");
}

static void what_the_iterator_gave_is_not_taken_from_proc_again(void **state)
{
	struct fixture *f = *state;
	struct guard_task init;

	assert_int_equal(proc_task(&init, 1, ""), 0);
	init.start += 7;
	process_scan_begin(f->table);
	process_scan_task(f->table, &init);
	process_scan_proc(f->table, "");
	process_scan_end(f->table);
	assert_string_equal(
		rows(f->store, "select count(*), ended is null from process where pid = 1"),
		"1,1\n");
}

static void an_exec_older_than_the_scan_does_not_make_a_second_row(void **state)
{
	struct guard_task t = task(10, 1, "test");
	struct fixture *f = *state;
	uint64_t before = host_boot_now();
	struct guard_exec e = {.head = {.kind = GUARD_EXEC, .time = before}, .task = t};

	process_scan_begin(f->table);
	process_scan_task(f->table, &t);
	process_scan_end(f->table);
	assert_int_equal(process_event(f->table, &e, sizeof(e)), 0);
	assert_string_equal(rows(f->store, "select count(*), origin from process"), "1,exec\n");
}

static void records_of_a_wrong_size_are_refused(void **state)
{
	struct guard_exec e = {.head = {.kind = GUARD_EXEC}, .argv_len = 100};
	struct fixture *f = *state;

	assert_int_equal(process_event(f->table, &e, sizeof(e)), -EBADMSG);
	assert_int_equal(process_event(f->table, &e, 4), -EBADMSG);
	e.argv_len = 1U << 31;
	assert_int_equal(process_event(f->table, &e, sizeof(e)), -EBADMSG);
	e.head.kind = GUARD_FORK;
	assert_int_equal(process_event(f->table, &e, sizeof(struct guard_head)), -EBADMSG);
	e.head.kind = 99;
	assert_int_equal(process_event(f->table, &e, sizeof(e)), -EBADMSG);
	assert_string_equal(rows(f->store, "select count(*) from process"), "0\n");
}

static void an_exit_of_an_unknown_process_changes_nothing(void **state)
{
	struct fixture *f = *state;

	send_exit(f, 10, 0);
	send_fork(f, 11, 1, "a");
	send_exit(f, 11, 0);
	send_exit(f, 11, 9);
	assert_string_equal(rows(f->store, "select exit_code, signal from process"), "0,-\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(fork_exec_exit_is_one_row),
		T(a_second_exec_ends_the_row_and_begins_another),
		T(a_fork_inherits_the_parents_program),
		T(a_reused_pid_is_another_process),
		T(argv_that_was_cut_is_marked),
		T(a_scan_finds_the_living_and_ends_the_missing),
		T(kernel_threads_are_one_service),
		T(what_the_iterator_leaves_out_comes_from_proc),
		T(what_the_iterator_gave_is_not_taken_from_proc_again),
		T(an_exec_older_than_the_scan_does_not_make_a_second_row),
		T(records_of_a_wrong_size_are_refused),
		T(an_exit_of_an_unknown_process_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
