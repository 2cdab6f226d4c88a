// SPDX-License-Identifier: Apache-2.0
#include "verify/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "isa/program.h"

static struct skep_err err;

static int verify(struct verify_proof **out, const char *text)
{
	struct program p = program(text);

	err.text[0] = '\0';
	return verify_structure(out, p.insns, p.n, &err);
}

static void refuses(int rc, const char *text, const char *reason)
{
	struct verify_proof *proof = NULL;
	int got = verify(&proof, text);

	verify_free(proof);
	if (got != rc || strcmp(err.text, reason))
		fail_msg("'%s': %d '%s', not %d '%s'", text, got, err.text, rc, reason);
}

static void accepts(const char *text)
{
	struct verify_proof *proof = NULL;

	if (verify(&proof, text))
		fail_msg("'%s': %s", text, err.text);
	verify_free(proof);
}

static void jumps_stay_in_the_function(void **state maybe_unused)
{
	refuses(-EINVAL, "goto pc+1; exit", "jump out of range from insn 0 to 2");
	refuses(-EINVAL, "goto pc-2; exit", "jump out of range from insn 0 to -1");
	refuses(-EINVAL, "gotol pc+70000; exit", "jump out of range from insn 0 to 70001");
	refuses(-EINVAL, "gotol pc+2147483647; exit",
		"jump out of range from insn 0 to 2147483648");
	refuses(-EINVAL, "r0 = 0; may_goto pc+9; exit", "jump out of range from insn 1 to 11");
	refuses(-EINVAL, "if w1 s< w2 goto pc-9; exit", "jump out of range from insn 0 to -8");
	refuses(-EINVAL, "call pc+1; goto pc+0; r0 = 0; exit",
		"jump out of range from insn 1 to 2");
	refuses(-EINVAL, "call pc+1; exit; r0 = 0; if r0 == 0x0 goto pc-3; exit",
		"jump out of range from insn 3 to 1");
	accepts("r0 = 0; goto pc+0; if r0 == 0x0 goto pc-1; exit");
}

static void functions_end_in_an_exit_or_a_jump(void **state maybe_unused)
{
	refuses(-EINVAL, "r0 = 0", "insn 0: last insn is not an exit or jmp");
	refuses(-EINVAL, "exit; if r0 == 0x0 goto pc-1", "insn 1: last insn is not an exit or jmp");
	refuses(-EINVAL, "call pc+0; exit", "insn 0: last insn is not an exit or jmp");
	accepts("goto pc+1; exit; goto pc-2");
	accepts("goto pc+1; exit; gotol pc-2");
}

static void every_instruction_can_be_reached(void **state maybe_unused)
{
	refuses(-EINVAL, "exit; exit", "unreachable insn 1");
	refuses(-EINVAL, "goto pc+1; r0 = 0; exit", "unreachable insn 1");
	refuses(-EINVAL, "r0 = 0; exit; r0 = 1; exit", "unreachable insn 2");
	accepts("call pc+1; exit; r0 = 1; exit");
	accepts("r1 = func pc+3; r0 = 0; exit; r0 = 1; exit");
}

static void a_second_slot_is_no_target(void **state maybe_unused)
{
	refuses(-EINVAL, "if r1 == 0x0 goto pc+1; r0 = 0x1; exit",
		"jump into the middle of ldimm64 insn 1");
	refuses(-EINVAL, "r1 = func pc-1; exit",
		"insn 0: callback function cannot be the main program");
}

static void calls_meet_functions(void **state maybe_unused)
{
	refuses(-EINVAL, "call pc+1; exit", "insn 0: call to invalid destination");
	refuses(-EINVAL, "call pc-2; exit", "insn 0: call to invalid destination");
	refuses(-EINVAL, "call pc+2147483647; exit", "insn 0: call to invalid destination");
	refuses(-EINVAL, "r0 = 0; r1 = func pc+9; exit", "insn 1: call to invalid destination");
}

static void r10_is_not_written(void **state maybe_unused)
{
	static const char *const lines[] = {
		"r10 += 8",
		"w10 = 0",
		"r10 = *(u8 *)(r1 +0)",
		"r10 = 0x5",
		"r10 = -r10",
		"r10 = atomic64_xchg((u64 *)(r1 +0), r10)",
		"r10 = load_acquire((u8 *)(r1 +0))",
		"r10 = (s8)r1",
		"r10 = bswap16 r10",
	};
	char text[128];

	for (unsigned i = 0; i < array_size(lines); i++) {
		snprintf(text, sizeof(text), "%s; exit", lines[i]);
		refuses(-EINVAL, text, "insn 0: frame pointer is read only");
	}
	accepts("*(u64 *)(r10 -8) = r10; lock *(u64 *)(r10 -8) += r10; "
		"if r10 == 0x0 goto pc+0; r0 = atomic64_cmpxchg((u64 *)(r10 -8), r0, r10); exit");
}

static void constant_shifts_and_divisors_are_in_range(void **state maybe_unused)
{
	refuses(-EINVAL, "r0 <<= 64; exit", "insn 0: invalid shift 64");
	refuses(-EINVAL, "r0 >>= -1; exit", "insn 0: invalid shift -1");
	refuses(-EINVAL, "w0 s>>= 32; exit", "insn 0: invalid shift 32");
	refuses(-EINVAL, "r0 /= 0; exit", "insn 0: div by zero");
	refuses(-EINVAL, "w0 s%= 0; exit", "insn 0: div by zero");
	accepts("r0 <<= 63; w0 >>= 31; r0 <<= r1; r0 /= r1; r0 s%= -1; exit");
}

static void what_nothing_may_execute_can_stand_behind_a_test(void **state maybe_unused)
{
	accepts("if r1 == 0x0 goto pc+1; r10 += 8; r0 = 0; exit");
	accepts("if r1 == 0x0 goto pc+1; r0 /= 0; r0 = 0; exit");
	accepts("if r1 == 0x0 goto pc+1; r0 <<= 64; r0 = 0; exit");
	refuses(-EINVAL, "r1 = 0; goto pc+0; call pc+2; r10 += 8; exit; r0 = 0; exit",
		"insn 3: frame pointer is read only");
}

/* As where extensions are joined with what was loaded before. */
static void what_nothing_may_execute_is_accepted_again(void **state maybe_unused)
{
	static const char *const texts[] = {
		"if r1 == 0x0 goto pc+1; r10 += 8; r0 = 0; exit",
		"if r1 == 0x0 goto pc+2; r1 = 5; r0 /= 0; r1 = 0x100000001; r0 = 0; exit",
	};

	for (unsigned k = 0; k < array_size(texts); k++) {
		struct program p = program(texts[k]);

		for (unsigned n = 0; n < 2; n++) {
			struct verify_proof *proof = NULL;

			if (verify_structure(&proof, p.insns, p.n, &err))
				fail_msg("'%s': %s", texts[k], err.text);
			verify_free(proof);
		}
	}
}

static void no_more_frames_than_a_stack_has(void **state maybe_unused)
{
	char text[512] = "";

	for (unsigned i = 0; i < ISA_FRAMES - 1; i++)
		strcat(text, "call pc+1; exit; ");
	strcat(text, "r0 = 0; exit;");
	accepts(text);
	strcpy(text, "");
	for (unsigned i = 0; i < ISA_FRAMES; i++)
		strcat(text, "call pc+1; exit; ");
	strcat(text, "r0 = 0; exit;");
	refuses(-E2BIG, text, "the call stack of 9 frames is too deep !");
	refuses(-E2BIG, "call pc+1; exit; call pc-1; exit",
		"the call stack of 9 frames is too deep !");
	refuses(-E2BIG, "call pc-1; exit", "the call stack of 9 frames is too deep !");
}

static void more_functions_than_the_kernel_takes_are_refused(void **state maybe_unused)
{
	struct isa_insn insns[2 * 257];
	struct verify_proof *proof = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < 256; i++)
		insns[n++] = (struct isa_insn){.op = ISA_CALL_LOCAL, .imm = 256};
	for (unsigned i = 0; i < 257; i++)
		insns[n++] = (struct isa_insn){.op = ISA_EXIT};
	assert_int_equal(verify_structure(&proof, insns, n, &err), -E2BIG);
	assert_string_equal(err.text, "too many subprograms");
	insns[0] = (struct isa_insn){.op = ISA_MOV64_K};
	insns[n - 257] = insns[0];
	assert_int_equal(verify_structure(&proof, insns, 0, &err), -EINVAL);
}

static void the_proof_knows_functions(void **state maybe_unused)
{
	struct verify_proof *p = NULL;

	assert_int_equal(verify(&p, "r1 = func pc+5; call pc+1; exit; " /* 0..3 */
				    "call bpf_tail_call#12; exit; "	/* 4..5 */
				    "may_goto pc+0; r0 = 0; exit"),
			 -0);
	assert_int_equal(p->n_funcs, 3);
	assert_int_equal(p->funcs[0].start, 0);
	assert_int_equal(p->funcs[0].end, 4);
	assert_false(p->funcs[0].tail_calls || p->funcs[0].callback || p->funcs[0].may_goto);
	assert_int_equal(p->funcs[1].start, 4);
	assert_true(p->funcs[1].tail_calls && !p->funcs[1].callback && !p->funcs[1].may_goto);
	assert_int_equal(p->funcs[2].start, 6);
	assert_int_equal(p->funcs[2].end, 9);
	assert_true(p->funcs[2].callback && p->funcs[2].may_goto && !p->funcs[2].tail_calls);
	assert_int_equal(p->func_of[3], 0);
	assert_int_equal(p->func_of[5], 1);
	assert_int_equal(p->func_of[8], 2);
	assert_ptr_equal(verify_func_at(p, 0), &p->funcs[0]);
	assert_ptr_equal(verify_func_at(p, 6), &p->funcs[2]);
	assert_null(verify_func_at(p, 5));
	assert_null(verify_func_at(p, 9));
	assert_false(p->memory_safe);
	verify_free(p);
	verify_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jumps_stay_in_the_function),
		cmocka_unit_test(functions_end_in_an_exit_or_a_jump),
		cmocka_unit_test(every_instruction_can_be_reached),
		cmocka_unit_test(a_second_slot_is_no_target),
		cmocka_unit_test(calls_meet_functions),
		cmocka_unit_test(r10_is_not_written),
		cmocka_unit_test(constant_shifts_and_divisors_are_in_range),
		cmocka_unit_test(what_nothing_may_execute_can_stand_behind_a_test),
		cmocka_unit_test(what_nothing_may_execute_is_accepted_again),
		cmocka_unit_test(no_more_frames_than_a_stack_has),
		cmocka_unit_test(more_functions_than_the_kernel_takes_are_refused),
		cmocka_unit_test(the_proof_knows_functions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
