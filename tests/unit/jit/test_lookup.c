// SPDX-License-Identifier: Apache-2.0
/* Lookups in arrays whose index came to the stack in many ways: compiled as interpreted. */
#include "machine.h"

#define AT     (-24) /* of the index */
#define VALUES 5
#define STRIDE 24

static char values[VALUES * STRIDE];
static struct jit_map array = {
	.map = 0xfffffff012345678,
	.kind = JIT_ARRAY,
	.values = values,
	.max_entries = VALUES,
	.stride = STRIDE,
};

static uint64_t lookup(uint64_t map, uint64_t key, uint64_t c maybe_unused, uint64_t d maybe_unused,
		       uint64_t e maybe_unused)
{
	uint32_t index;

	if (map != array.map)
		return 1;
	memcpy(&index, (const void *)(uintptr_t)key, sizeof(index));
	return index < VALUES ? (uintptr_t)values + (uint64_t)index * STRIDE : 0;
}

static uint64_t (*const helpers[])(uint64_t, uint64_t, uint64_t, uint64_t,
				   uint64_t) = {[1] = lookup};

static unsigned rnd(unsigned n)
{
	return (unsigned)random() % n;
}

/* The index, what lies around it, and registers that know it or not. */
static void step(unsigned lowest)
{
	static const uint16_t stores[] = {ISA_STX8, ISA_STX16, ISA_STX32, ISA_STX64};
	unsigned reg = lowest + rnd(10 - lowest), other = lowest + rnd(10 - lowest);

	switch (rnd(10)) {
	case 0:
		add(ISA_ST32, 10, 0, AT, (int)rnd(VALUES + 2));
		break;
	case 1:
	case 2:
		add(ISA_STX32, 10, reg, AT, 0);
		break;
	case 3:
		add(stores[rnd(4)], 10, reg, AT + 8 - (int)rnd(16), 0);
		break;
	case 4: /* by another name */
		add(ISA_MOV64_X, reg, 10, 0, 0);
		add(ISA_ADD64_K, reg, 0, 0, AT / 2);
		add(stores[rnd(4)], reg, other == reg ? 3 + reg % 7 : other, AT / 2, 0);
		add(ISA_MOV64_K, reg, 0, 0, 2);
		break;
	case 5:
		add(ISA_LDX32, reg, 10, AT, 0);
		break;
	case 6:
		add(rnd(2) ? ISA_MOV64_K : ISA_MOV32_K, reg, 0, 0, (int)rnd(VALUES + 2) - 1);
		break;
	case 7:
		add(rnd(2) ? ISA_MOV64_X : ISA_MOV32_X, reg, other, 0, 0);
		break;
	case 8:
		add(rnd(2) ? ISA_ADD64_K : ISA_XOR32_K, reg, 0, 0, 1);
		break;
	case 9: /* a way around the next */
		add(ISA_JSGT64_K, reg, 0, 1, (int)rnd(3));
		add(rnd(2) ? ISA_MOV64_X : ISA_ADD64_X, reg, other, 0, 0);
		break;
	}
}

static void steps(unsigned most, unsigned lowest)
{
	unsigned n = rnd(most + 1);

	while (n--)
		step(lowest);
}

/* r1 and r2 are not written any more, but may be read. */
static void read_arguments(void)
{
	unsigned reg = 3 + rnd(7);

	if (rnd(8))
		return;
	add(ISA_MOV64_X, reg, 1 + rnd(2), 0, 0);
	if (prog.i[prog.n - 1].src == 2) /* where the stack lies is not the same */
		add(ISA_SUB64_X, reg, 10, 0, 0);
}

static void call(void)
{
	bool map_first = rnd(2);

	if (map_first)
		add64(ISA_LDDW, 1, array.map);
	steps(map_first ? 1 : 0, 3);
	add(ISA_MOV64_X, 2, 10, 0, 0);
	steps(1, 3);
	add(ISA_ADD64_K, 2, 0, 0, AT);
	steps(1, 3);
	if (!map_first)
		add64(ISA_LDDW, 1, array.map);
	steps(1, 3);
	read_arguments();
	add(ISA_CALL, 0, 0, 0, 1);
	if (rnd(2)) {
		add(rnd(2) ? ISA_JEQ64_K : ISA_JNE64_K, 0, 0, 1, 0);
		add(ISA_ADD64_K, 0, 0, 0, 1);
	}
	for (unsigned r = 1; r < 6; r++)
		add(ISA_MOV64_K, r, 0, 0, (int)r);
}

static void make(void)
{
	begin();
	add(ISA_ST64, 10, 0, AT - 8, 0);
	add(ISA_ST64, 10, 0, AT, (int)rnd(VALUES + 2));
	add(ISA_ST64, 10, 0, AT + 8, 0); /* finish() finds the slots again at -8 */
	steps(6, 0);
	call();
	if (rnd(2))
		call();
	finish();
}

static void the_index_is_found_however_it_got_there(void **state maybe_unused)
{
	struct world start = {0};
	unsigned n, k;

	srandom(4711);
	extra = (struct jit_input){.helpers = helpers, .n_helpers = 2, .maps = &array, .n_maps = 1};
	for (n = 0; n < 20000; n++) {
		extra.blind = n % 4 == 3;
		for (k = 0; k < 10; k++)
			start.slot[k] = rnd(VALUES + 2) | (rnd(4) ? 0 : 1ull << 32);
		make();
		cleanup(ready_done) struct ready r = compile();
		expect_same(&r, &start);
	}
	extra = (struct jit_input){0};
}

/* What a lookup of the stored register saves: the code does not read the index back. */
static void an_index_that_is_known_takes_less_code(void **state maybe_unused)
{
	const uint32_t *offsets;
	size_t known, unknown;
	unsigned k;

	extra = (struct jit_input){.maps = &array, .n_maps = 1};
	for (k = 0; k < 2; k++) {
		prog.n = 0;
		add(ISA_STX32, 10, 1, AT, 0);
		add(k ? ISA_STX8 : ISA_STX32, 10, 1, AT, 0);
		add(ISA_MOV64_X, 2, 10, 0, 0);
		add(ISA_ADD64_K, 2, 0, 0, AT);
		add64(ISA_LDDW, 1, array.map);
		add(ISA_CALL, 0, 0, 0, 1);
		add(ISA_EXIT, 0, 0, 0, 0);
		cleanup(ready_done) struct ready r = compile();
		jit_image(r.jit, k ? &unknown : &known, &offsets);
	}
	assert_true(known + 8 < unknown);
	extra = (struct jit_input){0};
}

#ifdef __x86_64__
/* Where a constant would stand in the code as it is. */
static bool shows_its_value(bool blind)
{
	const uint64_t address = (uintptr_t)values + 3 * STRIDE;
	const uint32_t *offsets;
	const uint8_t *image;
	size_t len;

	extra = (struct jit_input){.maps = &array, .n_maps = 1, .blind = blind};
	prog.n = 0;
	add(ISA_ST32, 10, 0, AT, 3);
	add(ISA_MOV64_X, 2, 10, 0, 0);
	add(ISA_ADD64_K, 2, 0, 0, AT);
	add64(ISA_LDDW, 1, array.map);
	add(ISA_CALL, 0, 0, 0, 1);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready r = compile();
	image = jit_image(r.jit, &len, &offsets);
	extra = (struct jit_input){0};
	return memmem(image, len, &address, sizeof(address));
}

static void a_constant_index_is_worked_out_unless_it_is_to_be_hidden(void **state maybe_unused)
{
	assert_true(shows_its_value(false));
	assert_false(shows_its_value(true));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_index_is_found_however_it_got_there),
		cmocka_unit_test(an_index_that_is_known_takes_less_code),
#ifdef __x86_64__
		cmocka_unit_test(a_constant_index_is_worked_out_unless_it_is_to_be_hidden),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
