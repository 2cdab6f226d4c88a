// SPDX-License-Identifier: Apache-2.0
/* What the interpreter does that random programs under the kernel cannot show. */
#include "vm/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>

#ifndef MAP_32BIT /* a hint serves as well */
#define MAP_32BIT 0
#endif
#include <cmocka.h>

#include "isa/program.h"

/* 400: above the kernel's helpers */
enum { TAIL = BPF_FUNC_tail_call, LOOP = 400, BREAK, SUM, FAULTS, REVOKE };

static struct vm_run run;
static const struct vm_code *next_code;
static const struct vm_run *seen;

static uint64_t helper_tail(uint64_t ctx maybe_unused, uint64_t b maybe_unused,
			    uint64_t c maybe_unused, uint64_t d maybe_unused,
			    uint64_t e maybe_unused)
{
	return (uint64_t)(int64_t)vm_tail_call(vm_running(), next_code);
}

/* As bpf_loop: n times callback(i, ctx) until it returns other than 0. */
static uint64_t helper_loop(uint64_t n, uint64_t fn, uint64_t ctx, uint64_t d maybe_unused,
			    uint64_t e maybe_unused)
{
	uint64_t i;

	for (i = 0; i < n && !vm_running()->fault; i++)
		if (vm_call(vm_running(), fn, i, ctx, 0, 0, 0))
			return i + 1;
	return i;
}

static uint64_t helper_break(uint64_t a maybe_unused, uint64_t b maybe_unused,
			     uint64_t c maybe_unused, uint64_t d maybe_unused,
			     uint64_t e maybe_unused)
{
	seen = vm_running();
	vm_running()->fault = -EPERM;
	return 7;
}

static uint64_t helper_sum(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e;
}

/* Does the program own these bytes, and may it write them? */
static uint64_t helper_faults(uint64_t addr, uint64_t size, uint64_t write, uint64_t d maybe_unused,
			      uint64_t e maybe_unused)
{
	return !vm_access(vm_running(), addr, size, write);
}

/* What the program may touch besides its stack ends here. */
static uint64_t helper_revoke(uint64_t a maybe_unused, uint64_t b maybe_unused,
			      uint64_t c maybe_unused, uint64_t d maybe_unused,
			      uint64_t e maybe_unused)
{
	vm_running()->n_regions = 0;
	return 0;
}

static vm_helper *const helpers[] = {
	[TAIL] = helper_tail, [LOOP] = helper_loop,	[BREAK] = helper_break,
	[SUM] = helper_sum,   [FAULTS] = helper_faults, [REVOKE] = helper_revoke,
};

/* A program that lives until the test's end. */
struct loaded {
	struct program p;
	struct vm_code code;
};

static void load(struct loaded *l, const char *text)
{
	struct skep_err err = {""};

	l->p = program(text);
	l->code = (struct vm_code){.insns = l->p.insns,
				   .n_insns = l->p.n,
				   .helpers = helpers,
				   .n_helpers = array_size(helpers),
				   .kfuncs = &helpers[SUM],
				   .n_kfuncs = 1};
	if (verify_structure(&l->code.proof, l->p.insns, l->p.n, &err))
		fail_msg("%s", err.text);
}

static uint64_t value(const char *text)
{
	struct loaded l;
	uint64_t r0;

	load(&l, text);
	memset(&run, 0, sizeof(run));
	r0 = vm_code_run(&run, &l.code, 0);
	verify_free(l.code.proof);
	assert_null(vm_running());
	assert_null(run.stack);
	assert_int_equal(run.frames, 0);
	return r0;
}

static void equals(uint64_t want, const char *text)
{
	uint64_t got = value(text);

	if (run.fault || got != want)
		fail_msg("'%s' gives %llx %s", text, (unsigned long long)got, run.err.text);
}

static void faults(int rc, unsigned pc, const char *text)
{
	uint64_t r0 = value(text);

	if (run.fault != rc || run.fault_pc != pc || r0)
		fail_msg("'%s': fault %d at %u, r0 %llx %s", text, run.fault, run.fault_pc,
			 (unsigned long long)r0, run.err.text);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void division_has_no_traps(void **state maybe_unused)
{
	equals(0, "r0 = 5; r1 = 0; r0 /= r1; exit");
	equals(5, "r0 = 5; r1 = 0; r0 %= r1; exit");
	equals(0xfffffffe, "r0 = -2; r1 = 0x100000000; w0 %= w1; exit");
	equals(0, "r0 = -2; r1 = 0x100000000; w0 s/= w1; exit");
	equals(1ULL << 63, "r0 = 0x8000000000000000; r0 s/= -1; exit");
	equals(0, "r0 = 0x8000000000000000; r0 s%= -1; exit");
	equals(0x80000000, "w0 = -2147483648; w0 s/= -1; exit");
	equals(0, "w0 = -2147483648; w0 s%= -1; exit");
	equals((uint64_t)-3, "r0 = -13; r0 s/= 4; exit");
	equals((uint64_t)-1, "r0 = -13; r0 s%= 4; exit");
	equals(0xfffffffd, "w0 = -13; w0 s/= 4; exit");
}

static void results_of_32_bits_clear_the_upper_half(void **state maybe_unused)
{
	equals(1, "r0 = -1; w0 = 1; exit");
	equals(0xffffffff, "r0 = 0x100000000; w0 += -1; exit");
	equals(0xfffffff0, "r0 = -1; r1 = 4; w0 <<= w1; exit");
	equals(0xffffff80, "r1 = 128; w0 = (s8)w1; exit");
	equals((uint64_t)-128, "r1 = 128; r0 = (s8)r1; exit");
	equals(0x80000000, "r0 = 0xff80000000; w0 = -w0; exit");
	equals(0xffffffff, "r0 = -1; w0 s>>= 3; exit");
}

static void shifts_take_the_low_bits_of_their_count(void **state maybe_unused)
{
	equals(2, "r0 = 1; r1 = 65; r0 <<= r1; exit");
	equals(2, "r0 = 1; r1 = 33; w0 <<= w1; exit");
	equals((uint64_t)-1, "r0 = -1; r1 = 127; r0 s>>= r1; exit");
	equals(0x7fffffff, "r0 = -1; r1 = 33; w0 >>= w1; exit");
}

static void bytes_are_swapped(void **state maybe_unused)
{
	equals(0x8877, "r0 = 0x1122334455667788; r0 = be16 r0; exit");
	equals(0x88776655, "r0 = 0x1122334455667788; r0 = bswap32 r0; exit");
	equals(0x8877665544332211, "r0 = 0x1122334455667788; r0 = be64 r0; exit");
	equals(0x7788, "r0 = 0x1122334455667788; r0 = le16 r0; exit");
}

/* Where the kernel (6.18) leaves the upper half: see tests/isa/gen.c. */
static void a_cmpxchg_of_32_bits_clears_the_upper_half_of_r0(void **state maybe_unused)
{
	equals(5, "*(u64 *)(r10 -8) = 5; r0 = 0x100000005; r1 = 9; "
		  "r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r1); exit");
	equals(5, "*(u64 *)(r10 -8) = 5; r0 = 0x100000006; r1 = 9; "
		  "r0 = atomic_cmpxchg((u32 *)(r10 -8), r0, r1); exit");
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void an_access_outside_is_a_fault(void **state maybe_unused)
{
	faults(-EFAULT, 1, "r1 = 0; r0 = *(u8 *)(r1 +0); exit");
	faults(-EFAULT, 1, "r1 = -1; r0 = *(u64 *)(r1 +0); exit");
	faults(-EFAULT, 2, "r1 = 0x7fffffffffff; r0 = *(u64 *)(r1 -8); exit");
	faults(-EFAULT, 0, "r0 = *(u8 *)(r10 +0); exit");
	faults(-EFAULT, 0, "r0 = *(u64 *)(r10 -7); exit");
	faults(-EFAULT, 0, "r0 = *(u8 *)(r10 -513); exit");
	faults(-EFAULT, 0, "*(u64 *)(r10 -516) = 1; exit");
	faults(-EFAULT, 0, "*(u8 *)(r10 +32767) = r1; exit");
	faults(-EFAULT, 0, "lock *(u64 *)(r10 +0) += r1; exit");
	faults(-EFAULT, 0, "r1 = load_acquire((u8 *)(r10 +0)); exit");
	faults(-EFAULT, 0, "store_release((u32 *)(r10 -2), r1); exit");
	equals(0, "r0 = *(u64 *)(r10 -512); exit");
	value("r1 = 4096; *(u16 *)(r1 +2) = 5; exit");
	assert_string_equal(run.err.text,
			    "insn 1: *(u16 *)(r1 +2) = 5: no such access to 2 bytes at 0x1002");
}

static void an_atomic_off_its_alignment_is_a_fault(void **state maybe_unused)
{
	faults(-EFAULT, 0, "lock *(u64 *)(r10 -12) += r1; exit");
	faults(-EFAULT, 0, "r1 = atomic_xchg((u32 *)(r10 -6), r1); exit");
	faults(-EFAULT, 0, "r1 = load_acquire((u16 *)(r10 -3)); exit");
	equals(0, "r0 = load_acquire((u8 *)(r10 -3)); exit");
}

static uint64_t in_region(uint64_t lo, uint64_t hi, bool writable, const char *text)
{
	struct loaded l;
	uint64_t r0;

	load(&l, text);
	memset(&run, 0, sizeof(run));
	run.regions[0] = (struct vm_region){16, 32, true};
	run.regions[1] = (struct vm_region){lo, hi, writable};
	run.n_regions = 2;
	r0 = vm_code_run(&run, &l.code, lo);
	verify_free(l.code.proof);
	return r0;
}

static void regions_are_exact_and_may_be_read_only(void **state maybe_unused)
{
	uint64_t bytes[2] = {0x1122334455667788, 3};
	uint64_t lo = (uintptr_t)bytes, hi = lo + sizeof(bytes);

	assert_int_equal(in_region(lo, hi, true, "r0 = *(u64 *)(r1 +8); exit"), 3);
	assert_int_equal(in_region(lo, hi, true, "r0 = *(u8 *)(r1 +15); exit"), 0);
	assert_int_equal(run.fault, 0);
	in_region(lo, hi, true, "r0 = *(u64 *)(r1 +9); exit");
	assert_int_equal(run.fault, -EFAULT);
	in_region(lo, hi, true, "r0 = *(u8 *)(r1 -1); exit");
	assert_int_equal(run.fault, -EFAULT);
	in_region(lo, lo + 4, true, "r0 = *(u64 *)(r1 +0); exit");
	assert_int_equal(run.fault, -EFAULT);
	in_region(lo, hi, false, "*(u64 *)(r1 +0) = 1; r0 = 0; exit");
	assert_int_equal(run.fault, -EFAULT);
	in_region(lo, hi, false, "r0 = atomic64_fetch_add((u64 *)(r1 +0), r0); exit");
	assert_int_equal(run.fault, -EFAULT);
	assert_int_equal(bytes[0], 0x1122334455667788);
	assert_int_equal(in_region(lo, hi, true, "*(u16 *)(r1 +1) = -2; r0 = 9; exit"), 9);
	assert_int_equal(bytes[0], 0x1122334455fffe88);
}

static void what_was_touched_is_checked_again(void **state maybe_unused)
{
	uint64_t bytes[2] = {5, 6};
	uint64_t lo = (uintptr_t)bytes, hi = lo + sizeof(bytes);

	assert_int_equal(
		in_region(lo, hi, true,
			  "r0 = *(u64 *)(r1 +0); *(u64 *)(r1 +8) = 7; r0 = *(u64 *)(r1 +8); exit"),
		7);
	in_region(lo, hi, true, "r0 = *(u64 *)(r1 +0); r0 = *(u64 *)(r1 +9); exit");
	assert_int_equal(run.fault_pc, 1);
	in_region(lo, hi, false, "r0 = *(u64 *)(r1 +0); *(u8 *)(r1 +0) = 1; exit");
	assert_int_equal(run.fault_pc, 1);
	in_region(lo, lo + 4, true, "r0 = *(u32 *)(r1 +0); r0 = *(u64 *)(r1 +0); exit");
	assert_int_equal(run.fault_pc, 1);
	in_region(lo, hi, true,
		  "r6 = r1; r0 = *(u64 *)(r6 +0); call unknown#404; r0 = *(u64 *)(r6 +0); exit");
	assert_int_equal(run.fault_pc, 3);
	in_region(lo, hi, true,
		  "r6 = r1; *(u64 *)(r6 +0) = 9; call unknown#404; *(u64 *)(r6 +0) = 8; exit");
	assert_int_equal(run.fault_pc, 3);
	assert_int_equal(bytes[0], 9);
}

static uint64_t asked_addr;
static size_t asked_size;
static bool asked_write;

static bool covers(struct vm_run *r maybe_unused, uint64_t addr, size_t size, bool write)
{
	asked_addr = addr;
	asked_size = size;
	asked_write = write;
	return !write;
}

static void maps_are_asked_for_the_rest(void **state maybe_unused)
{
	static const uint32_t word = 0x8000000f;
	struct loaded l;
	uint64_t r0;

	load(&l, "r0 = *(s32 *)(r1 +0); exit");
	run = (struct vm_run){.covers = covers};
	r0 = vm_code_run(&run, &l.code, (uintptr_t)&word);
	assert_int_equal(r0, 0xffffffff8000000f);
	assert_true(asked_addr == (uintptr_t)&word && asked_size == 4 && !asked_write);
	verify_free(l.code.proof);
	load(&l, "*(u32 *)(r1 +0) = 1; r0 = 3; exit");
	run = (struct vm_run){.covers = covers};
	assert_int_equal(vm_code_run(&run, &l.code, (uintptr_t)&word), 0);
	assert_int_equal(run.fault, -EFAULT);
	assert_true(asked_write);
	verify_free(l.code.proof);
}

static void a_stack_is_zero_and_shows_nothing_of_before(void **state maybe_unused)
{
	for (unsigned i = 0; i < 2; i++) {
		equals(0,
		       "r0 = *(u64 *)(r10 -256); *(u64 *)(r10 -256) = 7; call pc+1; exit; "
		       "r0 |= r1; r1 = *(u64 *)(r10 -256); *(u64 *)(r10 -256) = 7; r0 |= r1; exit");
	}
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void a_call_keeps_r6_to_r9_and_has_its_own_frame(void **state maybe_unused)
{
	equals(1 + 2 + 3 + 4 + 5,
	       "r6 = 1; r7 = 2; r8 = 3; r9 = 4; *(u64 *)(r10 -8) = 5; call pc+7; "
	       "r0 = r6; r0 += r7; r0 += r8; r0 += r9; "
	       "r1 = *(u64 *)(r10 -8); r0 += r1; exit; "
	       "r6 = 0; r7 = 0; r8 = 0; r9 = 0; *(u64 *)(r10 -8) = 99; exit");
}

static void
a_callee_may_use_its_callers_stack_but_not_a_frame_that_is_gone(void **state maybe_unused)
{
	equals(6,
	       "*(u64 *)(r10 -8) = 5; r1 = r10; r1 += -8; call pc+2; r0 = *(u64 *)(r10 -8); exit; "
	       "r2 = *(u64 *)(r1 +0); r2 += 1; *(u64 *)(r1 +0) = r2; exit");
	faults(-EFAULT, 1, "call pc+2; r0 = *(u64 *)(r0 -8); exit; r0 = r10; exit");
}

static void frames_are_counted_through_callbacks(void **state maybe_unused)
{
	char text[512] = "";

	for (unsigned i = 0; i < ISA_FRAMES - 1; i++)
		strcat(text, "call pc+1; exit; ");
	strcat(text, "r0 = 6; exit;");
	equals(6, text);
	faults(-E2BIG, 7, /* a callback that asks for itself */
	       "r1 = 1; r2 = func pc+5; r3 = 0; call unknown#400; r0 = 1; exit; "
	       "r2 = func pc-1; r1 = 1; call unknown#400; r0 = 0; exit");
}

static void callx_takes_functions_only(void **state maybe_unused)
{
	equals(42, "r1 = func pc+4; r2 = 42; callx r1; exit; r0 = r2; exit");
	faults(-EFAULT, 1, "r1 = 5; callx r1; exit");
	faults(-EFAULT, 3, "r1 = func pc+4; r1 += 8; callx r1; exit; r0 = 1; exit");
	faults(-EFAULT, 3, "r1 = func pc+4; r1 += 1; callx r1; exit; r0 = 1; exit");
	faults(-EFAULT, 0, "callx r10; exit");
}

static void helpers_get_r1_to_r5(void **state maybe_unused)
{
	equals(54321, "r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = 5; call unknown#402; exit");
	equals(54321, "r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = 5; call kfunc#0; exit");
	faults(-EINVAL, 0, "call unknown#405; exit");
	faults(-EINVAL, 0, "call unknown#399; exit");
	faults(-EINVAL, 0, "call unknown#4000000; exit");
	faults(-EINVAL, 0, "call kfunc#1; exit");
	faults(-EINVAL, 0, "r1 = map[fd:3]; exit");
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void callbacks_see_the_stack_of_who_asked(void **state maybe_unused)
{
	equals(0 + 1 + 2 + 3 + 4,
	       "*(u64 *)(r10 -8) = 0; r1 = 5; r2 = func pc+6; r3 = r10; r3 += -8; "
	       "call unknown#400; r0 = *(u64 *)(r10 -8); exit; "
	       "lock *(u64 *)(r2 +0) += r1; r0 = 0; exit");
}

static void callbacks_may_end_the_loop(void **state maybe_unused)
{
	equals(4, "r1 = 100; r2 = func pc+4; r3 = 0; call unknown#400; exit; "
		  "r0 = 0; if r1 < 0x3 goto pc+1; r0 = 1; exit");
}

static void what_nothing_may_execute_is_a_fault(void **state maybe_unused)
{
	faults(-EINVAL, 2, "r0 = 1; if r0 == 0x0 goto pc+1; r10 += 8; exit");
	faults(-EINVAL, 2, "r0 = 1; if r0 == 0x0 goto pc+1; r0 /= 0; exit");
	equals(1, "r0 = 1; if r0 == 0x1 goto pc+1; r0 /= 0; exit");
}

static void a_fault_in_a_callback_ends_the_program(void **state maybe_unused)
{
	faults(-EFAULT, 7,
	       "r1 = 100; r2 = func pc+5; r3 = 0; call unknown#400; r0 = 1; exit; "
	       "r0 = *(u64 *)(r1 +0); r0 = 0; exit");
	faults(-EPERM, 0, "call unknown#401; r0 = 1; exit");
	assert_ptr_equal(seen, &run);
}

static void a_callback_is_a_function_or_a_fault(void **state maybe_unused)
{
	value("r1 = 1; r2 = 0x1234; call unknown#400; r0 = 1; exit");
	assert_int_equal(run.fault, -EFAULT);
	value("r1 = 1; r2 = r10; call unknown#400; r0 = 1; exit");
	assert_int_equal(run.fault, -EFAULT);
}

static void helpers_can_ask_what_the_program_may_touch(void **state maybe_unused)
{
	equals(0, "r1 = r10; r1 += -512; r2 = 512; r3 = 1; call unknown#403; exit");
	equals(1, "r1 = r10; r1 += -513; r2 = 512; r3 = 1; call unknown#403; exit");
	equals(1, "r1 = r10; r1 += -511; r2 = 512; r3 = 1; call unknown#403; exit");
	equals(1, "r1 = r10; r1 += -8; r2 = -1; r3 = 1; call unknown#403; exit");
	equals(0, "r1 = r10; r1 += -8; call pc+1; exit; r1 += -504; r2 = 1024; r3 = 1; "
		  "call unknown#403; exit");
}

/* ---- tail calls ------------------------------------------------------------------------------ */

static uint64_t with_tail(const char *first, const char *second)
{
	struct loaded a, b;
	uint64_t r0;

	load(&a, first);
	load(&b, second);
	next_code = &b.code;
	memset(&run, 0, sizeof(run));
	r0 = vm_code_run(&run, &a.code, 77);
	verify_free(a.code.proof);
	verify_free(b.code.proof);
	assert_int_equal(run.frames, 0);
	return r0;
}

static void a_tail_call_goes_on_in_another_program_with_its_context(void **state maybe_unused)
{
	assert_int_equal(with_tail("call bpf_tail_call#12; r0 = 1; exit", "r0 = r1; exit"), 77);
	assert_int_equal(run.jit.tail_calls, 1);
	assert_int_equal(run.fault, 0);
}

static void a_tail_call_in_a_function_returns_to_that_functions_caller(void **state maybe_unused)
{
	assert_int_equal(with_tail("r6 = 5; call pc+2; r0 += r6; exit; call bpf_tail_call#12; "
				   "r0 = 1; exit",
				   "r6 = 1000; r7 = func pc+3; r0 = r1; exit; r0 = 0; exit"),
			 82);
	/* and callbacks after it are the caller's again */
	assert_int_equal(with_tail("call pc+5; r1 = 3; r2 = func pc+5; call unknown#400; exit; "
				   "call bpf_tail_call#12; exit; r0 = 0; exit",
				   "r0 = 0; exit"),
			 3);
	assert_int_equal(run.fault, 0);
}

static void tail_calls_are_counted(void **state maybe_unused)
{
	struct loaded l;

	load(&l, "lock *(u64 *)(r1 +0) += r2; r2 = 1; call bpf_tail_call#12; r0 = 9; exit");
	l.p.insns[0] = (struct isa_insn){.op = ISA_ATOMIC64_ADD, .dst = 1, .src = 8};
	next_code = &l.code;
	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t count = 0;

		run = (struct vm_run){
			.regions = {{(uintptr_t)&count, (uintptr_t)(&count + 1), true}},
			.n_regions = 1};
		assert_int_equal(vm_code_run(&run, &l.code, (uintptr_t)&count), 9);
		assert_int_equal(run.fault, 0);
		assert_int_equal(run.jit.tail_calls, ISA_TAIL_MAX);
	}
	assert_int_equal(vm_tail_call(&run, &l.code), -ELOOP);
	verify_free(l.code.proof);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static int with_budget(uint64_t budget, const char *text)
{
	struct loaded l;

	load(&l, text);
	memset(&run, 0, sizeof(run));
	run.budget = budget;
	vm_code_run(&run, &l.code, 0);
	verify_free(l.code.proof);
	return run.fault;
}

static void the_budget_is_exact(void **state maybe_unused)
{
	const char *line = "r0 = 0; r0 += 1; if r0 != 0x3 goto pc-2; exit"; /* 1 + 3 * 2 + 1 */
	const char *calls = "call pc+2; goto pc+0; exit; r0 = 0; exit";	    /* 5 */
	const char *loop = "r1 = 3; r2 = func pc+4; r3 = 0; call unknown#400; exit; "
			   "r0 = 0; exit"; /* 5 (a wide one counts as 2) + 3 * 2 + 1 */

	assert_int_equal(with_budget(8, line), 0);
	assert_int_equal(with_budget(7, line), -ELOOP);
	assert_int_equal(with_budget(5, calls), 0);
	assert_int_equal(with_budget(4, calls), -ELOOP);
	assert_int_equal(with_budget(12, loop), 0);
	for (uint64_t b = 1; b < 12; b++)
		assert_int_equal(with_budget(b, loop), -ELOOP);
	assert_int_equal(with_budget(100000, "goto pc-1"), -ELOOP);
	assert_int_equal(with_budget(100000,
				     "r1 = 100000000; r2 = func pc+3; call unknown#400; exit;"
				     "r0 = 0; exit"),
			 -ELOOP);
}

static void may_goto_leaves_an_endless_loop(void **state maybe_unused)
{
	equals(ISA_LOOPS_MAX, "r0 = 0; may_goto pc+2; r0 += 1; goto pc-3; exit");
	/* each call of a function has its own count */
	equals(2 * (uint64_t)ISA_LOOPS_MAX,
	       "r6 = 0; call pc+4; r6 += r0; call pc+2; r0 += r6; exit; "
	       "r0 = 0; may_goto pc+2; r0 += 1; goto pc-3; exit");
}

/* ---- packets --------------------------------------------------------------------------------- */

static uint64_t on_packet(const char *text)
{
	static const uint8_t packet[] = {0x11, 0x22, 0x33, 0x44, 0x55};
	uint8_t *low = mmap((void *)0x20000000, 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct __sk_buff skb = {0};
	struct loaded l;
	uint64_t r0;

	assert_true(low != MAP_FAILED);
	memcpy(low, packet, sizeof(packet));
	skb.data = (uint32_t)(uintptr_t)low;
	skb.data_end = skb.data + sizeof(packet);
	load(&l, text);
	run = (struct vm_run){.regions = {{(uintptr_t)&skb, (uintptr_t)(&skb + 1), false},
					  {skb.data, skb.data_end, false}},
			      .n_regions = 2};
	r0 = vm_code_run(&run, &l.code, (uintptr_t)&skb);
	verify_free(l.code.proof);
	munmap(low, 4096);
	return r0;
}

static void packets_are_read_in_network_order(void **state maybe_unused)
{
	assert_int_equal(on_packet("r6 = r1; r0 = *(u32 *)skb[1]; exit"), 0x22334455);
	assert_int_equal(on_packet("r6 = r1; r0 = *(u16 *)skb[3]; exit"), 0x4455);
	assert_int_equal(on_packet("r6 = r1; r7 = 2; r0 = *(u8 *)skb[r7 + -1]; exit"), 0x22);
	assert_int_equal(run.fault, 0);
}

static void a_read_behind_the_packet_ends_the_program_with_0(void **state maybe_unused)
{
	assert_int_equal(on_packet("r6 = r1; r0 = *(u32 *)skb[2]; r0 = 5; exit"), 0);
	assert_int_equal(on_packet("r6 = r1; r0 = *(u8 *)skb[-1]; r0 = 5; exit"), 0);
	assert_int_equal(on_packet("r6 = r1; r7 = 0x100000001; r0 = *(u8 *)skb[r7 + 0]; exit"),
			 0x22);
	assert_int_equal(
		on_packet("r6 = r1; r7 = 2147483647; r0 = *(u8 *)skb[r7 + 1]; r0 = 5; exit"), 0);
	assert_int_equal(run.fault, 0);
	on_packet("r6 = r10; r0 = *(u8 *)skb[0]; exit");
	assert_int_equal(run.fault, -EFAULT);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void a_run_may_interrupt_another(void **state maybe_unused)
{
	struct vm_run outer = {.fault = 0}, inner = {.fault = 0};
	struct loaded l;

	load(&l, "call unknown#401; exit");
	vm_code_run(&outer, &l.code, 0);
	assert_ptr_equal(seen, &outer);
	vm_code_run(&inner, &l.code, 0);
	assert_ptr_equal(seen, &inner);
	assert_null(inner.outer);
	assert_null(vm_running());
	verify_free(l.code.proof);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(division_has_no_traps),
		cmocka_unit_test(results_of_32_bits_clear_the_upper_half),
		cmocka_unit_test(shifts_take_the_low_bits_of_their_count),
		cmocka_unit_test(bytes_are_swapped),
		cmocka_unit_test(a_cmpxchg_of_32_bits_clears_the_upper_half_of_r0),
		cmocka_unit_test(an_access_outside_is_a_fault),
		cmocka_unit_test(an_atomic_off_its_alignment_is_a_fault),
		cmocka_unit_test(regions_are_exact_and_may_be_read_only),
		cmocka_unit_test(what_was_touched_is_checked_again),
		cmocka_unit_test(maps_are_asked_for_the_rest),
		cmocka_unit_test(a_stack_is_zero_and_shows_nothing_of_before),
		cmocka_unit_test(a_call_keeps_r6_to_r9_and_has_its_own_frame),
		cmocka_unit_test(a_callee_may_use_its_callers_stack_but_not_a_frame_that_is_gone),
		cmocka_unit_test(frames_are_counted_through_callbacks),
		cmocka_unit_test(callx_takes_functions_only),
		cmocka_unit_test(helpers_get_r1_to_r5),
		cmocka_unit_test(callbacks_see_the_stack_of_who_asked),
		cmocka_unit_test(callbacks_may_end_the_loop),
		cmocka_unit_test(what_nothing_may_execute_is_a_fault),
		cmocka_unit_test(a_fault_in_a_callback_ends_the_program),
		cmocka_unit_test(a_callback_is_a_function_or_a_fault),
		cmocka_unit_test(helpers_can_ask_what_the_program_may_touch),
		cmocka_unit_test(a_tail_call_goes_on_in_another_program_with_its_context),
		cmocka_unit_test(a_tail_call_in_a_function_returns_to_that_functions_caller),
		cmocka_unit_test(tail_calls_are_counted),
		cmocka_unit_test(the_budget_is_exact),
		cmocka_unit_test(may_goto_leaves_an_endless_loop),
		cmocka_unit_test(packets_are_read_in_network_order),
		cmocka_unit_test(a_read_behind_the_packet_ends_the_program_with_0),
		cmocka_unit_test(a_run_may_interrupt_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
