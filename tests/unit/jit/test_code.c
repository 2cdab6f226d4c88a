// SPDX-License-Identifier: Apache-2.0
/* Memory for code: what the kernel denies is an error and no more; threads and children. */
#include "machine.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool no_file, no_map, no_write;

/* These three in the place of libc's. */
int memfd_create(const char *name, unsigned flags)
{
	if (no_file) {
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_memfd_create, name, flags);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	if (no_map && fd >= 0) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	if (no_write) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, data, n, at);
}

/* r0 = v */
static int constant(struct jit_code **out, int32_t v)
{
	struct isa_insn insns[2] = {{.op = ISA_MOV64_K, .imm = v}, {.op = ISA_EXIT}};
	struct verify_func func = {.start = 0, .end = 2};
	uint32_t func_of[2] = {0, 0};
	struct verify_proof proof = {.funcs = &func, .n_funcs = 1, .func_of = func_of};
	struct jit_input in = {.insns = insns, .n_insns = 2, .proof = &proof};

	return jit_compile(out, &in, NULL);
}

static void expect_constant(int32_t v)
{
	struct jit_code *c = NULL;
	struct jit_run run = {0};

	assert_int_equal(constant(&c, v), 0);
	assert_int_equal(jit_enter(c, &run, 0), v);
	jit_free(c);
}

static void denied(bool *what)
{
	struct jit_code *c = NULL;

	*what = true;
	assert_int_equal(constant(&c, 1), -ENOMEM);
	assert_null(c);
	*what = false;
}

static void what_the_kernel_denies_is_no_memory(void **state maybe_unused)
{
	denied(&no_file);
	denied(&no_map);
	denied(&no_write);
	expect_constant(7);
	denied(&no_write);
	expect_constant(8);
}

static void freeing_nothing_is_fine(void **state maybe_unused)
{
	jit_free(NULL);
}

/* Freed code traps: nobody runs what another program left. */
#ifdef __x86_64__
#define TRAP 0xcc /* int3 */
#else
#define TRAP 0 /* arm64: udf #0 */
#endif

static void freed_code_is_overwritten(void **state maybe_unused)
{
	const uint32_t *offsets;
	struct jit_code *a, *b;
	const uint8_t *image;
	size_t len, k;

	assert_int_equal(constant(&a, 0x12345678), 0);
	assert_int_equal(constant(&b, 2), 0);
	image = jit_image(a, &len, &offsets);
	jit_free(a);
	for (k = 0; k < len; k++)
		assert_int_equal(image[k], TRAP);
	jit_free(b);
}

static void a_child_does_not_write_what_its_parent_runs(void **state maybe_unused)
{
	struct jit_code *ours, *other = NULL;
	struct jit_run run = {0};
	int status, k;
	pid_t child;

	assert_int_equal(constant(&ours, 41), 0);
	child = fork();
	if (!child) {
		bool good = jit_enter(ours, &run, 0) == 41;

		for (k = 0; k < 100; k++)
			good &= !constant(&other, 1000 + k) &&
				jit_enter(other, &run, 0) == (uint64_t)(1000 + k);
		jit_free(ours);
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(jit_enter(ours, &run, 0), 41);
	jit_free(ours);
}

static void *compile_and_run(void *arg)
{
	uintptr_t base = (uintptr_t)arg, wrong = 0;
	struct jit_run run = {0};
	struct jit_code *c[8];
	int round, k;

	for (round = 0; round < 200; round++) {
		for (k = 0; k < 8; k++)
			wrong += constant(&c[k], (int32_t)base + k) != 0;
		for (k = 0; k < 8; k++) {
			wrong += jit_enter(c[k], &run, 0) != base + (unsigned)k;
			jit_free(c[k]);
		}
	}
	return (void *)wrong;
}

static void threads_compile_at_once(void **state maybe_unused)
{
	pthread_t threads[4];
	void *wrong;
	uintptr_t k;

	for (k = 0; k < array_size(threads); k++)
		assert_int_equal(
			pthread_create(&threads[k], NULL, compile_and_run, (void *)(1000 * k)), 0);
	for (k = 0; k < array_size(threads); k++) {
		pthread_join(threads[k], &wrong);
		assert_null(wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_denies_is_no_memory),
		cmocka_unit_test(freeing_nothing_is_fine),
		cmocka_unit_test(freed_code_is_overwritten),
		cmocka_unit_test(a_child_does_not_write_what_its_parent_runs),
		cmocka_unit_test(threads_compile_at_once),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
