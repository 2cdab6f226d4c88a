// SPDX-License-Identifier: Apache-2.0
#include "rows.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct fixture {
	char base[64]; /* removed at the end */
	char dir[96];
	char file[128];
};

static int setup(void **state)
{
	static struct fixture f;

	*state = &f;
	strcpy(f.base, "/tmp/skep-state-XXXXXX");
	if (!mkdtemp(f.base))
		return -1;
	snprintf(f.dir, sizeof(f.dir), "%s/var/skep", f.base);
	snprintf(f.file, sizeof(f.file), "%s/state.db", f.dir);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", f->base);
	return system(command);
}

static struct state *open_state(struct fixture *f)
{
	struct state *st = NULL;
	struct skep_err err = {""};

	if (state_open(&st, f->dir, &err))
		fail_msg("%s", err.text);
	return st;
}

static void put(struct state *st, const char *kind, const char *name, const char *json)
{
	struct skep_err err = {""};

	if (state_put(st, kind, name, json, &err))
		fail_msg("%s", err.text);
}

static void assert_json(struct state *st, const char *kind, const char *name, const char *want)
{
	cleanup(mem_free) char *json = NULL;

	assert_int_equal(state_get(st, kind, name, &json, NULL), 0);
	assert_string_equal(json, want);
}

static unsigned mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void a_resource_is_there_after_opening_again(void **state)
{
	struct fixture *f = *state;
	struct state *st = open_state(f);

	put(st, "Policy", "a", "{\"x\":1}");
	put(st, "Policy", "a", "{\"x\":2}");
	put(st, "secret", "a", "\"s\"");
	state_free(st);
	st = open_state(f);
	assert_json(st, "Policy", "a", "{\"x\":2}");
	assert_json(st, "secret", "a", "\"s\"");
	state_free(st);
}

static void a_removed_resource_is_gone(void **state)
{
	struct state *st = open_state(*state);
	struct skep_err err;
	char *json = NULL;

	put(st, "Policy", "a", "{}");
	put(st, "Policy", "a", NULL);
	put(st, "Policy", "never was", NULL);
	assert_int_equal(state_get(st, "Policy", "a", &json, &err), -ENOENT);
	assert_string_equal(err.text, "there is no Policy a");
	assert_null(json);
	state_free(st);
}

static int collect(void *arg, const char *name, const char *json)
{
	buf_fmt(arg, "%s=%s;", name, json);
	return strcmp(name, "stop") ? 0 : 7;
}

static void each_visits_one_kind_in_order_and_may_stop(void **state)
{
	struct state *st = open_state(*state);
	cleanup(buf_done) struct buf b = {0};

	put(st, "k", "b", "2");
	put(st, "k", "a", "1");
	put(st, "other", "c", "3");
	assert_int_equal(state_each(st, "k", collect, &b, NULL), 0);
	assert_string_equal(b.data, "a=1;b=2;");
	put(st, "k", "stop", "4");
	put(st, "k", "z", "5");
	buf_clear(&b);
	assert_int_equal(state_each(st, "k", collect, &b, NULL), 7);
	assert_string_equal(b.data, "a=1;b=2;stop=4;");
	state_free(st);
}

static void the_file_and_its_folder_are_for_the_owner_alone(void **state)
{
	struct fixture *f = *state;
	mode_t old = umask(0);

	state_free(open_state(f));
	umask(old);
	assert_int_equal(mode_of(f->dir), 0700);
	assert_int_equal(mode_of(f->file), 0600);
	assert_int_equal(chmod(f->file, 0644), 0);
	state_free(open_state(f));
	assert_int_equal(mode_of(f->file), 0600);
}

static void write_file(const char *path, off_t at, const char *text, size_t n)
{
	cleanup(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(pwrite(fd, text, n, at), n);
}

static unsigned count_bad(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d)))
		n += !strncmp(e->d_name, "state.db.bad-", 13);
	closedir(d);
	return n;
}

/* Opens a damaged file: it is set aside, said so, and a new one works. */
static void assert_set_aside(struct fixture *f)
{
	struct skep_err err = {""};
	struct state *st = NULL;
	char *json = NULL;

	assert_int_equal(state_open(&st, f->dir, &err), 0);
	assert_non_null(strstr(err.text, "was damaged"));
	assert_non_null(strstr(err.text, "state.db.bad-"));
	assert_int_equal(count_bad(f->dir), 1);
	assert_int_equal(state_get(st, "k", "a", &json, NULL), -ENOENT);
	put(st, "k", "a", "2");
	assert_json(st, "k", "a", "2");
	assert_int_equal(mode_of(f->file), 0600);
	state_free(st);
}

static void a_file_that_is_no_database_is_set_aside(void **state)
{
	struct fixture *f = *state;

	state_free(open_state(f));
	write_file(f->file, 0, "this is no database, it is a text", 33);
	assert_set_aside(f);
}

static void a_database_with_a_broken_page_is_set_aside(void **state)
{
	static char junk[4096];
	struct fixture *f = *state;
	struct state *st = open_state(f);
	struct stat info;
	char name[16];
	unsigned i;

	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		put(st, "k", name, "{\"some\":\"text to fill pages with\"}");
	}
	state_free(st);
	assert_int_equal(stat(f->file, &info), 0);
	assert_true(info.st_size > 3 * 4096);
	memset(junk, 0x5a, sizeof(junk));
	write_file(f->file, 2 * 4096, junk, sizeof(junk));
	assert_set_aside(f);
}

static void a_folder_below_a_file_cannot_be_made(void **state)
{
	struct fixture *f = *state;
	struct skep_err err = {""};
	struct state *st = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/file", f->base);
	write_file(path, 0, "x", 1);
	snprintf(path, sizeof(path), "%s/file/skep", f->base);
	assert_int_equal(state_open(&st, path, &err), -ENOTDIR);
	assert_non_null(strstr(err.text, "cannot make"));
	assert_non_null(strstr(err.text, "Not a directory"));
	assert_null(st);
}

static void another_process_that_writes_is_waited_for_then_named_busy(void **state)
{
	struct fixture *f = *state;
	struct state *st = open_state(f);
	struct skep_err err = {""};
	sqlite3 *other;

	assert_int_equal(sqlite3_open(f->file, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "begin exclusive", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(state_put(st, "k", "a", "1", &err), -EBUSY);
	assert_non_null(strstr(err.text, "another process holds it"));
	sqlite3_close(other);
	put(st, "k", "a", "1");
	state_free(st);
}

/* ---- disks that are full or read-only: a small tmpfs in a mount namespace of a child ---------- */

/* Return: what the child's @fn returned (0: as it should), or 77 where namespaces are not allowed. */
static int in_small_disk(struct fixture *f, int (*fn)(struct fixture *f))
{
	int status;
	pid_t pid;

	assert_int_equal(mkdir(strcat(strcpy(f->dir, f->base), "/disk"), 0700), 0);
	snprintf(f->file, sizeof(f->file), "%s/state.db", f->dir);
	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("skep-test", f->dir, "tmpfs", 0, "size=128k"))
			_exit(77);
		_exit(fn(f));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int fill_disk(struct fixture *f)
{
	static char big[20000];
	struct skep_err err = {""};
	struct state *st = NULL;
	char *json = NULL, name[16], ballast[128];
	int i, rc = 0;

	memset(big, 'x', sizeof(big) - 1);
	snprintf(ballast, sizeof(ballast), "%s/ballast", f->dir);
	write_file(ballast, 0, big, sizeof(big));
	if (state_open(&st, f->dir, &err) || state_put(st, "k", "first", "1", &err))
		return 1;
	for (i = 0; i < 20 && !rc; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		rc = state_put(st, "k", name, big, &err);
	}
	if (rc != -ENOSPC || !strstr(err.text, "the disk is full"))
		return 2;
	if (state_get(st, "k", "first", &json, &err) || strcmp(json, "1"))
		return 3;
	free(json);
	if (unlink(ballast) || state_put(st, "k", "first", "2", &err))
		return 4;
	state_free(st);
	return 0;
}

static int open_read_only(struct fixture *f)
{
	struct skep_err err = {""};
	struct state *st = NULL;

	if (mount(NULL, f->dir, NULL, MS_REMOUNT | MS_RDONLY, NULL))
		return 1;
	if (state_open(&st, f->dir, &err) != -EROFS || st)
		return 2;
	return strstr(err.text, "Read-only file system") ? 0 : 3;
}

static void run_in_small_disk(void **state, int (*fn)(struct fixture *f))
{
	int rc = in_small_disk(*state, fn);

	if (rc == 77)
		skip();
	assert_int_equal(rc, 0);
}

static void a_full_disk_is_named_and_loses_nothing(void **state)
{
	run_in_small_disk(state, fill_disk);
}

static void a_read_only_disk_is_named(void **state)
{
	run_in_small_disk(state, open_read_only);
}

/* ---- SIGKILL ---------------------------------------------------------------------------------- */

/* Writes 1, 2, 3 ...; tells each number once it is durable. */
static void write_for_ever(struct fixture *f, int tell)
{
	static char json[9000];
	struct state *st = NULL;
	unsigned n;

	if (state_open(&st, f->dir, NULL))
		_exit(1);
	for (n = 1;; n++) {
		snprintf(json, sizeof(json), "%u", n);
		memset(json + strlen(json), ' ', sizeof(json) - strlen(json) - 1);
		if (state_put(st, "k", "n", json, NULL) || write(tell, &n, sizeof(n)) < 0)
			_exit(1);
	}
}

static void a_killed_writer_leaves_the_old_value_or_the_new(void **state)
{
	struct fixture *f = *state;
	unsigned round, n, last;
	int fds[2], status;
	pid_t pid;

	for (round = 0; round < 15; round++) {
		cleanup(mem_free) char *json = NULL;
		struct state *st;

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid = fork();
		if (!pid)
			write_for_ever(f, fds[1]);
		close(fds[1]);
		assert_int_equal(read(fds[0], &last, sizeof(last)), sizeof(last));
		usleep(round * 1700);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		while (read(fds[0], &n, sizeof(n)) == sizeof(n))
			last = n;
		close(fds[0]);
		st = open_state(f);
		assert_int_equal(state_get(st, "k", "n", &json, NULL), 0);
		assert_int_equal(strlen(json), 8999);
		assert_in_range(strtoul(json, NULL, 10), last, last + 1);
		state_free(st);
		assert_int_equal(count_bad(f->dir), 0);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_resource_is_there_after_opening_again),
		TEST(a_removed_resource_is_gone),
		TEST(each_visits_one_kind_in_order_and_may_stop),
		TEST(the_file_and_its_folder_are_for_the_owner_alone),
		TEST(a_file_that_is_no_database_is_set_aside),
		TEST(a_database_with_a_broken_page_is_set_aside),
		TEST(a_folder_below_a_file_cannot_be_made),
		TEST(another_process_that_writes_is_waited_for_then_named_busy),
		TEST(a_full_disk_is_named_and_loses_nothing),
		TEST(a_read_only_disk_is_named),
		TEST(a_killed_writer_leaves_the_old_value_or_the_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
