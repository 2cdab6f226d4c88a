// SPDX-License-Identifier: Apache-2.0
#include "who/who.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define SECOND 1000000000ULL

static struct who *table(unsigned n)
{
	struct skep_err err = {""};
	struct who *w = NULL;

	if (who_open(&w, n, &err))
		fail_msg("%s", err.text);
	return w;
}

static struct who_id id(uint32_t pid, uint64_t start)
{
	return (struct who_id){.pid = pid, .start = start};
}

static struct who_stat count(struct who *w)
{
	struct who_stat s;

	who_count(w, &s);
	return s;
}

static void a_process_is_found_by_its_id_and_by_its_pid(void **state maybe_unused)
{
	struct who *w = table(8);
	struct who_process *p = who_process_add(w, id(7, 100));

	assert_non_null(p);
	assert_ptr_equal(who_process_add(w, id(7, 100)), p);
	assert_ptr_equal(who_process_find(w, id(7, 100)), p);
	assert_ptr_equal(who_process_alive(w, 7), p);
	assert_null(who_process_find(w, id(7, 101)));
	assert_null(who_process_alive(w, 8));
	assert_int_equal(p->id.pid, 7);
	assert_string_equal(p->cgroup->path, "");
	assert_int_equal(count(w).living, 1);
	who_free(w);
}

static void
an_ended_process_is_remembered_for_its_grace_and_then_forgotten(void **state maybe_unused)
{
	struct who *w = table(8);
	struct who_process *p = who_process_add(w, id(7, 100));

	who_process_end(w, p, SECOND);
	who_process_end(w, p, 5 * SECOND);
	assert_int_equal(p->ended, SECOND);
	assert_null(who_process_alive(w, 7));
	who_expire(w, SECOND + WHO_GRACE_NS);
	assert_ptr_equal(who_process_find(w, id(7, 100)), p);
	assert_int_equal(count(w).ended, 1);
	who_expire(w, SECOND + WHO_GRACE_NS + 1);
	assert_null(who_process_find(w, id(7, 100)));
	assert_int_equal(count(w).ended, 0);
	assert_int_equal(count(w).living, 0);
	who_free(w);
}

static void a_reused_pid_is_another_process(void **state maybe_unused)
{
	struct who *w = table(8);
	struct who_process *old = who_process_add(w, id(7, 100)), *young;

	who_process_end(w, old, 150);
	young = who_process_add(w, id(7, 200));
	assert_ptr_not_equal(old, young);
	assert_ptr_equal(who_process_alive(w, 7), young);
	assert_ptr_equal(who_process_find(w, id(7, 100)), old);
	who_free(w);
}

static void a_younger_process_of_the_pid_ends_one_whose_exit_was_lost(void **state maybe_unused)
{
	struct who *w = table(8);
	struct who_process *old = who_process_add(w, id(7, 100));
	struct who_process *young = who_process_add(w, id(7, 200));

	assert_int_equal(old->ended, 200);
	assert_ptr_equal(who_process_alive(w, 7), young);
	assert_int_equal(count(w).living, 1);
	assert_int_equal(count(w).ended, 1);
	who_free(w);
}

static void an_older_process_that_is_reported_late_does_not_live(void **state maybe_unused)
{
	struct who *w = table(8);
	struct who_process *young = who_process_add(w, id(7, 200));
	struct who_process *late = who_process_add(w, id(7, 100));

	assert_int_equal(late->ended, 200);
	assert_ptr_equal(who_process_alive(w, 7), young);
	assert_ptr_equal(who_process_find(w, id(7, 100)), late);
	who_process_end(w, young, 300);
	assert_null(who_process_alive(w, 7));
	assert_int_equal(who_process_add(w, id(7, 150))->ended, 200);
	assert_null(who_process_alive(w, 7));
	who_free(w);
}

static void a_full_table_forgets_who_ended_first(void **state maybe_unused)
{
	struct who *w = table(3);

	who_process_add(w, id(1, 1));
	who_process_add(w, id(2, 1));
	who_process_add(w, id(3, 1));
	who_process_end(w, who_process_alive(w, 2), 10);
	who_process_end(w, who_process_alive(w, 1), 11);
	assert_non_null(who_process_add(w, id(4, 1)));
	assert_null(who_process_find(w, id(2, 1)));
	assert_non_null(who_process_find(w, id(1, 1)));
	assert_int_equal(count(w).refused, 0);
	who_free(w);
}

static void a_table_full_of_the_living_refuses_and_counts(void **state maybe_unused)
{
	struct who *w = table(2);

	who_process_add(w, id(1, 1));
	who_process_add(w, id(2, 1));
	assert_null(who_process_add(w, id(3, 1)));
	assert_int_equal(count(w).refused, 1);
	assert_int_equal(count(w).living, 2);
	/* a reused pid makes room for itself */
	assert_non_null(who_process_add(w, id(2, 9)));
	assert_null(who_process_find(w, id(2, 1)));
	assert_int_equal(count(w).living, 2);
	who_free(w);
}

static void sum_pids(void *arg, struct who_process *p)
{
	*(uint64_t *)arg += p->id.pid;
}

static void each_visits_the_living_and_the_ended_but_not_the_forgotten(void **state maybe_unused)
{
	struct who *w = table(8);
	uint64_t sum = 0;

	who_process_add(w, id(1, 1));
	who_process_end(w, who_process_add(w, id(100, 1)), 1);
	who_process_end(w, who_process_add(w, id(10, 1)), 5 * SECOND);
	who_expire(w, WHO_GRACE_NS + SECOND);
	who_each(w, sum_pids, &sum);
	assert_int_equal(sum, 11);
	who_free(w);
}

static void the_service_of_a_process_without_a_label_is_its_comm(void **state maybe_unused)
{
	struct who_cgroup g = {.label = "nginx"};
	struct who_process p = {.cgroup = &g, .comm = "sh"};

	assert_string_equal(who_service(&p), "nginx");
	g.label = "";
	assert_string_equal(who_service(&p), "sh");
}

/* Against a plain array: 200,000 random steps over few pids, so that everything collides. */
struct model {
	struct who_id id;
	bool used, ended;
};

static void check_model(struct who *w, const struct model *m, uint32_t pids)
{
	uint64_t living = 0;
	uint32_t i;

	for (i = 0; i < pids; i++) {
		struct who_process *p = who_process_alive(w, i + 1);

		assert_int_equal(p != NULL, m[i].used && !m[i].ended);
		if (p)
			assert_int_equal(p->id.start, m[i].id.start);
		living += p != NULL;
	}
	assert_int_equal(count(w).living, living);
}

static void it_stays_right_under_random_births_and_deaths(void **state maybe_unused)
{
	enum { PIDS = 90 };
	struct model m[PIDS] = {0};
	struct who *w = table(100);
	uint64_t now = 1;
	uint32_t step, seed = 1;

	for (step = 0; step < 200000; step++) {
		struct model *x;

		seed = seed * 1664525 + 1013904223;
		x = &m[(seed >> 8) % PIDS];
		now += SECOND / 100;
		if (seed >> 31) {
			x->id = id((uint32_t)(x - m) + 1, now);
			x->used = true;
			x->ended = false;
			assert_non_null(who_process_add(w, x->id));
		} else if (x->used && !x->ended) {
			who_process_end(w, who_process_find(w, x->id), now);
			x->ended = true;
		}
		if (step % 97 == 0)
			who_expire(w, now);
		if (step % 1000 == 0)
			check_model(w, m, PIDS);
	}
	check_model(w, m, PIDS);
	who_free(w);
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, pages = 0;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &pages), 2);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void an_unused_table_takes_no_resident_memory(void **state maybe_unused)
{
	long before = resident_kib();
	struct who *w = table(1U << 20);
	uint32_t pid;

	for (pid = 1; pid <= 1000; pid++)
		assert_non_null(who_process_add(w, id(pid, 1)));
	assert_in_range(resident_kib() - before, 0, 2048);
	who_free(w);
}

static void a_table_of_no_size_is_refused_with_a_reason(void **state maybe_unused)
{
	struct skep_err err = {""};
	struct who *w = NULL;

	assert_int_equal(who_open(&w, 0, &err), -EINVAL);
	assert_null(w);
	assert_non_null(strstr(err.text, "must be 1 to"));
	who_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_is_found_by_its_id_and_by_its_pid),
		cmocka_unit_test(an_ended_process_is_remembered_for_its_grace_and_then_forgotten),
		cmocka_unit_test(a_reused_pid_is_another_process),
		cmocka_unit_test(a_younger_process_of_the_pid_ends_one_whose_exit_was_lost),
		cmocka_unit_test(an_older_process_that_is_reported_late_does_not_live),
		cmocka_unit_test(a_full_table_forgets_who_ended_first),
		cmocka_unit_test(a_table_full_of_the_living_refuses_and_counts),
		cmocka_unit_test(each_visits_the_living_and_the_ended_but_not_the_forgotten),
		cmocka_unit_test(the_service_of_a_process_without_a_label_is_its_comm),
		cmocka_unit_test(it_stays_right_under_random_births_and_deaths),
		cmocka_unit_test(an_unused_table_takes_no_resident_memory),
		cmocka_unit_test(a_table_of_no_size_is_refused_with_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
