// SPDX-License-Identifier: Apache-2.0
#include "verify/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "isa/program.h"

/* At 4096 lies 5, which nothing can change. */
static bool five(void *arg maybe_unused, uint64_t addr, unsigned size, uint64_t *value)
{
	if (addr != 4096 || size > 4)
		return false;
	*value = 5;
	return true;
}

/* @want: one character an instruction, x for the dead. */
static void dead(const char *text, const char *want)
{
	struct program p = program(text);
	struct verify_proof *proof;
	struct skep_err err;
	bool got[64];

	assert_int_equal(verify_structure(&proof, p.insns, p.n, &err), 0);
	assert_int_equal(verify_dead(got, p.insns, p.n, five, NULL), 0);
	verify_free(proof);
	assert_int_equal(strlen(want), p.n);
	for (unsigned i = 0; i < p.n; i++)
		if (got[i] != (want[i] == 'x'))
			fail_msg("'%s': insn %u is %s", text, i, got[i] ? "dead" : "alive");
}

static void tests_of_constants_are_decided(void **state maybe_unused)
{
	dead("r1 = 3; if r1 == 0x3 goto pc+1; r0 = 1; r0 = 0; exit", "..x..");
	dead("r1 = 3; if r1 != 0x3 goto pc+2; r0 = 0; exit; r0 = 1; exit", "....xx");
	dead("r1 = -1; if w1 s< 0x0 goto pc+1; r0 = 1; r0 = 0; exit", "..x..");
	dead("r1 = 6; r1 &= 3; r1 <<= 2; r2 = r1; if r2 == 0x8 goto pc+1; r0 = 1; exit", ".....x.");
	dead("w1 = -1; w1 += 1; if r1 == 0x0 goto pc+1; r0 = 1; exit", "...x.");
}

static void what_is_read_where_nothing_changes_is_known(void **state maybe_unused)
{
	dead("r1 = 4096; r1 = *(u32 *)(r1 +0); if r1 == 0x5 goto pc+1; r0 = 1; exit", "...x.");
	dead("r1 = 4092; r1 = *(u8 *)(r1 +4); if r1 == 0x5 goto pc+1; r0 = 1; exit", "...x.");
	dead("r1 = 4096; r1 = *(u64 *)(r1 +0); if r1 == 0x5 goto pc+1; r0 = 1; exit", ".....");
	dead("r1 = *(u32 *)(r1 +0); if r1 == 0x5 goto pc+1; r0 = 1; exit", "....");
}

static void values_are_joined_where_paths_meet(void **state maybe_unused)
{
	dead("r2 = 1; if r1 == 0x0 goto pc+1; r2 = 2; if r2 == 0x1 goto pc+1; r0 = 1; exit",
	     "......");
	dead("r2 = 1; if r1 == 0x0 goto pc+1; r2 = 1; if r2 == 0x1 goto pc+1; r0 = 1; exit",
	     "....x.");
	dead("r2 = 0; r2 += 1; if r2 != 0x9 goto pc-2; if r2 == 0x9 goto pc+1; r0 = 1; exit",
	     "......");
	dead("r2 = 3; call bpf_ktime_get_ns#5; if r2 == 0x3 goto pc+1; r0 = 1; exit", ".....");
	dead("r6 = 3; call bpf_ktime_get_ns#5; if r6 == 0x3 goto pc+1; r0 = 1; exit", "...x.");
}

static void functions_are_alive_where_a_call_is(void **state maybe_unused)
{
	dead("call pc+1; exit; if r1 == 0x0 goto pc+0; exit", "....");
	dead("r6 = 1; if r6 == 0x1 goto pc+1; call pc+2; r0 = 0; exit; r0 = 1; exit", "..x..xx");
	dead("r2 = func pc+2; exit; r0 = 0; exit", ".x...");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tests_of_constants_are_decided),
		cmocka_unit_test(what_is_read_where_nothing_changes_is_known),
		cmocka_unit_test(values_are_joined_where_paths_meet),
		cmocka_unit_test(functions_are_alive_where_a_call_is),
	};

	return cmocka_run_group_tests_name("verify: dead code", tests, NULL, NULL);
}
