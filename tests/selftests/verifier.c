// SPDX-License-Identifier: Apache-2.0
/*
 * verifier.c: of the kernel's test_verifier the programs that are to be accepted, loaded and run as root.
 */
#define main selftest_main
#include "test_verifier.c"
#undef main

#include "cases.h"

static unsigned accepted[ARRAY_SIZE(tests)], n_accepted;

static void find_accepted(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(tests); i++)
		if (tests[i].result == ACCEPT)
			accepted[n_accepted++] = i;
	/* How the kernel rewrites a program is its own business. */
	for (unsigned i = 0; i < n_accepted; i++) {
		memset(tests[accepted[i]].expected_insns, 0, sizeof(tests[0].expected_insns));
		memset(tests[accepted[i]].unexpected_insns, 0, sizeof(tests[0].unexpected_insns));
	}
}

static const char *verifier_name(unsigned n)
{
	return tests[accepted[n]].descr;
}

static int verifier_run(unsigned n)
{
	int passes = 0, errors = 0;

	jit_disabled = !is_jit_enabled();
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	bpf_semi_rand_init();
	do_test_single(&tests[accepted[n]], false, &passes, &errors);
	return !passes || errors;
}

int main(int argc, char **argv)
{
	find_accepted();
	return cases_main(argv[1], n_accepted, verifier_name, verifier_run);
}
