// SPDX-License-Identifier: Apache-2.0
/*
 * maps.c: test_maps of the kernel, each of its tests a case of its own, run with and without preallocation.
 */
#define main selftest_main
#include "test_maps.c"
#undef main

#include "cases.h"

struct map_case {
	const char *name;
	void (*run)(void);
};

/* CASE(test, arguments) is a call in run_all_tests(). */
#define CASE(test, ...)               \
	static void call_##test(void) \
	{                             \
		test(__VA_ARGS__);    \
	}
#include "map_cases.h"
#undef CASE

static const struct map_case cases[] = {
#define CASE(test, ...) {#test, call_##test},
#include "map_cases.h"
#undef CASE
};

static const struct map_case once[] = {
#define DEFINE_TEST(test) {"test_" #test, test_##test},
#include <map_tests/tests.h>
#undef DEFINE_TEST
};

#define N_CASES (sizeof(cases) / sizeof(cases[0]))
#define N_ONCE	(sizeof(once) / sizeof(once[0]))

static const char *map_case_name(unsigned n)
{
	static char name[128];

	if (n >= 2 * N_CASES)
		return once[n - 2 * N_CASES].name;
	snprintf(name, sizeof(name), "%s%s", cases[n % N_CASES].name,
		 n < N_CASES ? "" : " no_prealloc");
	return name;
}

static int map_case_run(unsigned n)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	map_opts.map_flags = n < N_CASES ? 0 : BPF_F_NO_PREALLOC;
	if (n < 2 * N_CASES)
		cases[n % N_CASES].run();
	else
		once[n - 2 * N_CASES].run();
	return skips ? CASE_NONE : 0;
}

int main(int argc, char **argv)
{
	return cases_main(argv[1], 2 * N_CASES + N_ONCE, map_case_name, map_case_run);
}
