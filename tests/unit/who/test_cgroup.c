// SPDX-License-Identifier: Apache-2.0
/* With real cgroups, made below the real mounts and removed again; skipped where that is not allowed. */
#include "who/cgroup.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>

#define A64	 "8f9e3ab1c2d45f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
#define B64	 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define SCOPE	 "docker-" A64 ".scope"
#define SECOND	 1000000000ULL
#define V1_MOUNT "/sys/fs/cgroup/pids"

static struct cgroups *cache;
static char base[512]; /* a cgroup of this test, below the cgroup2 mount */
static char files[64]; /* stands for / */
static pid_t child;

static int setup(void **state maybe_unused)
{
	strcpy(files, "/tmp/skep-test-XXXXXX");
	if (!mkdtemp(files) || cgroups_open(&cache, files, NULL))
		return -1;
	snprintf(base, sizeof(base), "%s/skep-test-%d", cgroups_root(cache), getpid());
	child = 0;
	return 0;
}

static const char *below(const char *dir, const char *name)
{
	static char path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* Makes a cgroup and gives its id; skips the test where none can be made. */
static uint64_t make_cgroup(const char *name)
{
	struct stat st;

	if (!cgroups_root(cache)[0] || (mkdir(base, 0755) && errno != EEXIST) ||
	    mkdir(below(base, name), 0755))
		skip();
	assert_int_equal(stat(below(base, name), &st), 0);
	return st.st_ino;
}

static void move_into(const char *dir, pid_t pid)
{
	char procs[1100];
	FILE *f;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	f = fopen(procs, "w");
	assert_non_null(f);
	fprintf(f, "%d", pid);
	assert_int_equal(fclose(f), 0);
}

static pid_t start_child(void)
{
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return child;
}

static void end_child(void)
{
	if (child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	child = 0;
}

static int teardown(void **state maybe_unused)
{
	end_child();
	rmdir(below(base, SCOPE));
	rmdir(base);
	rmdir(V1_MOUNT "/docker/" A64);
	rmdir(V1_MOUNT "/docker");
	unlink(below(files, "var/lib/docker/containers/" A64 "/config.v2.json"));
	rmdir(below(files, "var/lib/docker/containers/" A64));
	rmdir(below(files, "var/lib/docker/containers"));
	rmdir(below(files, "var/lib/docker"));
	rmdir(below(files, "var/lib"));
	rmdir(below(files, "var"));
	rmdir(files);
	cgroups_free(cache);
	return 0;
}

static void put_docker_file(void)
{
	static const char *const dirs[] = {"var", "var/lib", "var/lib/docker",
					   "var/lib/docker/containers",
					   "var/lib/docker/containers/" A64};
	FILE *f;
	size_t i;

	for (i = 0; i < array_size(dirs); i++)
		mkdir(below(files, dirs[i]), 0700);
	f = fopen(below(files, "var/lib/docker/containers/" A64 "/config.v2.json"), "w");
	assert_non_null(f);
	fputs("{\"Name\":\"/front\",\"Config\":{\"Image\":\"nginx\"}}", f);
	fclose(f);
}

static void a_cgroup_is_told_by_its_id_alone(void **state maybe_unused)
{
	uint64_t id = make_cgroup(SCOPE);
	const struct who_cgroup *g = cgroups_get(cache, id, 0, NULL);

	assert_int_equal(g->id, id);
	assert_string_equal(g->path, below(base, SCOPE) + strlen(cgroups_root(cache)));
	assert_string_equal(g->runtime, "docker");
	assert_string_equal(g->container, A64);
	assert_string_equal(g->unit, SCOPE);
	assert_string_equal(g->label, "8f9e3ab1c2d4");
	assert_string_equal(g->name, "");
	assert_ptr_equal(cgroups_get(cache, id, 0, NULL), g);
	assert_int_equal(cgroups_count(cache), 1);
}

static void names_on_disk_give_the_label(void **state maybe_unused)
{
	uint64_t id = make_cgroup(SCOPE);
	const struct who_cgroup *g;

	put_docker_file();
	g = cgroups_get(cache, id, 0, NULL);
	assert_string_equal(g->name, "front");
	assert_string_equal(g->image, "nginx");
	assert_string_equal(g->label, "front");
}

static void names_that_come_a_moment_later_are_found(void **state maybe_unused)
{
	const struct who_cgroup *g = cgroups_get(cache, make_cgroup(SCOPE), 0, NULL);

	assert_string_equal(g->name, "");
	put_docker_file();
	cgroups_tick(cache, 100 * SECOND);
	assert_string_equal(g->name, "");
	cgroups_tick(cache, 101 * SECOND);
	assert_string_equal(g->name, "front");
	assert_string_equal(g->label, "front");
}

static void names_that_do_not_come_are_given_up(void **state maybe_unused)
{
	const struct who_cgroup *g = cgroups_get(cache, make_cgroup(SCOPE), 0, NULL);
	uint64_t t;

	for (t = 100; t <= 115; t++)
		cgroups_tick(cache, t * SECOND);
	put_docker_file();
	cgroups_tick(cache, 200 * SECOND);
	assert_string_equal(g->name, "");
	assert_string_equal(g->label, "8f9e3ab1c2d4");
}

static void a_cgroup_made_again_under_its_name_is_another(void **state maybe_unused)
{
	uint64_t id = make_cgroup(SCOPE), again;
	const struct who_cgroup *g = cgroups_get(cache, id, 0, NULL), *h;

	rmdir(below(base, SCOPE));
	again = make_cgroup(SCOPE);
	assert_int_not_equal(id, again);
	h = cgroups_get(cache, again, 0, NULL);
	assert_ptr_not_equal(g, h);
	assert_string_equal(g->path, h->path);
	assert_ptr_equal(cgroups_get(cache, id, 0, NULL), g);
}

static void a_cgroup_gone_before_it_was_asked_for_has_no_path(void **state maybe_unused)
{
	uint64_t id = make_cgroup(SCOPE);
	const struct who_cgroup *g;

	rmdir(below(base, SCOPE));
	g = cgroups_get(cache, id, 0, NULL);
	assert_int_equal(g->id, id);
	assert_string_equal(g->path, "");
	assert_string_equal(g->label, "");
	assert_ptr_equal(cgroups_get(cache, 0, 0, NULL), cgroups_unknown(cache));
}

static void set_dac_read_search(bool on)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct caps[2];

	assert_int_equal(syscall(SYS_capget, &head, caps), 0);
	caps[0].effective &= ~(1U << CAP_DAC_READ_SEARCH);
	caps[0].effective |= caps[0].permitted & (on ? 1U << CAP_DAC_READ_SEARCH : 0);
	assert_int_equal(syscall(SYS_capset, &head, caps), 0);
}

static void without_the_capability_a_process_in_it_tells_the_path(void **state maybe_unused)
{
	uint64_t id = make_cgroup(SCOPE);
	const struct who_cgroup *g;

	set_dac_read_search(false);
	g = cgroups_get(cache, id, 0, NULL);
	assert_string_equal(g->path, "");
	/* this process is elsewhere, as one that got a reused pid would be */
	assert_ptr_equal(cgroups_get(cache, id, (uint32_t)getpid(), NULL), g);
	assert_string_equal(g->path, "");
	move_into(below(base, SCOPE), start_child());
	assert_ptr_equal(cgroups_get(cache, id, (uint32_t)child, NULL), g);
	assert_string_equal(g->container, A64);
	set_dac_read_search(true);
}

/* Puts the child into a Docker cgroup of cgroup v1; gives the id of its cgroup2, the root's. */
static uint64_t enter_v1(void)
{
	struct stat st;

	mkdir(V1_MOUNT "/docker", 0755);
	if (access(V1_MOUNT "/tasks", F_OK) || mkdir(V1_MOUNT "/docker/" A64, 0755))
		skip();
	move_into(V1_MOUNT "/docker/" A64, start_child());
	assert_int_equal(stat(cgroups_root(cache)[0] ? cgroups_root(cache) : "/", &st), 0);
	return cgroups_root(cache)[0] ? st.st_ino : 1;
}

static void in_a_hybrid_layout_the_v1_path_tells_the_container(void **state maybe_unused)
{
	uint64_t id = enter_v1();
	const struct who_cgroup *g = cgroups_get(cache, id, (uint32_t)child, NULL), *host;

	assert_string_equal(g->path, "/docker/" A64);
	assert_string_equal(g->container, A64);
	assert_int_equal(g->id, id);
	host = cgroups_get(cache, id, 0, NULL);
	assert_ptr_not_equal(host, g);
	assert_string_equal(host->container, "");
	assert_ptr_equal(cgroups_get(cache, id, (uint32_t)child, NULL), g);
	assert_int_equal(cgroups_count(cache), 2);
}

static void
in_a_hybrid_layout_a_process_that_is_gone_is_where_its_parent_is(void **state maybe_unused)
{
	uint64_t id = enter_v1();
	struct who *w = NULL;
	struct who_process *parent, *p;
	uint32_t gone = (1U << 22) + 1; /* above the kernel's largest pid */

	assert_int_equal(who_open(&w, 8, NULL), 0);
	parent = who_process_add(w, (struct who_id){.pid = (uint32_t)child, .start = 1});
	parent->cgroup = who_cgroup_get(w, id, (uint32_t)child);
	p = who_process_add(w, (struct who_id){.pid = gone, .start = 2});
	p->parent = parent->id;
	assert_ptr_equal(who_cgroup_get(w, id, gone), parent->cgroup);
	assert_string_equal(parent->cgroup->container, A64);
	p->parent.start = 9;
	assert_string_equal(who_cgroup_get(w, id, gone)->container, "");
	who_free(w);
}

static void a_sweep_keeps_what_is_marked(void **state maybe_unused)
{
	const struct who_cgroup *kept = cgroups_get(cache, 1ULL << 60, 0, NULL);
	uint64_t i;

	for (i = 1; !cgroups_crowded(cache) && i < 100000; i++)
		cgroups_get(cache, (1ULL << 60) + i, 0, NULL);
	assert_int_equal(cgroups_count(cache), 1024);
	cgroups_mark(cache, kept);
	cgroups_mark(cache, cgroups_unknown(cache));
	cgroups_sweep(cache);
	assert_int_equal(cgroups_count(cache), 1);
	assert_false(cgroups_crowded(cache));
	assert_ptr_equal(cgroups_get(cache, 1ULL << 60, 0, NULL), kept);
	cgroups_sweep(cache);
	assert_int_equal(cgroups_count(cache), 0);
}

static void cgroups_that_wait_for_names_can_be_swept(void **state maybe_unused)
{
	cgroups_get(cache, make_cgroup(SCOPE), 0, NULL);
	cgroups_sweep(cache);
	cgroups_tick(cache, 100 * SECOND);
	cgroups_tick(cache, 101 * SECOND);
	assert_int_equal(cgroups_count(cache), 0);
}

static void who_forgets_cgroups_that_no_process_is_in(void **state maybe_unused)
{
	struct who *w = NULL;
	struct who_process *p;
	struct who_stat s;
	uint64_t i;

	assert_int_equal(who_open(&w, 8, NULL), 0);
	p = who_process_add(w, (struct who_id){.pid = 1, .start = 1});
	p->cgroup = who_cgroup_get(w, 1ULL << 60, 0);
	for (i = 1; i < 1500; i++)
		who_cgroup_get(w, (1ULL << 60) + i, 0);
	who_expire(w, SECOND);
	who_count(w, &s);
	assert_int_equal(s.cgroups, 1);
	assert_int_equal(p->cgroup->id, 1ULL << 60);
	who_free(w);
}

static void a_full_cache_answers_unknown(void **state maybe_unused)
{
	uint64_t i;

	for (i = 0; i < 65536; i++)
		cgroups_get(cache, (1ULL << 60) + i, 0, NULL);
	assert_ptr_equal(cgroups_get(cache, 1ULL << 61, 0, NULL), cgroups_unknown(cache));
	assert_ptr_not_equal(cgroups_get(cache, 1ULL << 60, 0, NULL), cgroups_unknown(cache));
	assert_true(cgroups_crowded(cache));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_cgroup_is_told_by_its_id_alone),
		CASE(names_on_disk_give_the_label),
		CASE(names_that_come_a_moment_later_are_found),
		CASE(names_that_do_not_come_are_given_up),
		CASE(a_cgroup_made_again_under_its_name_is_another),
		CASE(a_cgroup_gone_before_it_was_asked_for_has_no_path),
		CASE(without_the_capability_a_process_in_it_tells_the_path),
		CASE(in_a_hybrid_layout_the_v1_path_tells_the_container),
		CASE(in_a_hybrid_layout_a_process_that_is_gone_is_where_its_parent_is),
		CASE(a_sweep_keeps_what_is_marked),
		CASE(cgroups_that_wait_for_names_can_be_swept),
		CASE(who_forgets_cgroups_that_no_process_is_in),
		CASE(a_full_cache_answers_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
