// SPDX-License-Identifier: Apache-2.0
/* Narrow stores next to each other, which are made one: memory is as the interpreter leaves it. */
#include "machine.h"

#define BASE  9 /* slot 10 and what is behind */
#define ALIAS 8 /* 4 bytes on */
#define ROOM  32

static const uint8_t stores[] = {ISA_STX8, ISA_STX16, ISA_STX32, ISA_STX64};
static const uint8_t constants[] = {ISA_ST8, ISA_ST16, ISA_ST32, ISA_ST64};
static const uint8_t loads[] = {ISA_LDX8, ISA_LDX16, ISA_LDX32, ISA_LDX64};

static unsigned shifts; /* of the base, so far */

static unsigned rnd(unsigned n)
{
	return (unsigned)random() % n;
}

static void store(unsigned reg)
{
	unsigned size = rnd(8) ? rnd(2) : rnd(4);

	add(stores[size], BASE, reg, (int)rnd(ROOM - (1 << size) + 1), 0);
}

/* What makes 2, 4 or 8 bytes, in any order, from registers that may be one. */
static void whole(void)
{
	static const char *const splits[] = {"00",  "11",   "22",   "001",
					     "100", "0000", "2100", "0012"};
	const char *sizes = splits[rnd(8)];
	unsigned first = prog.n, n, off = rnd(ROOM - 8);

	for (; *sizes; sizes++) {
		add(stores[*sizes - '0'], BASE, rnd(8), (int)off, 0);
		off += 1u << (*sizes - '0');
	}
	for (n = prog.n - first; n > 1; n--) {
		struct isa_insn *a = &prog.i[first + n - 1], *b = &prog.i[first + rnd(n)], was = *a;

		*a = *b;
		*b = was;
	}
}

/* An address that is worked out only where somebody reads it besides the load. */
static void load_of_a_sum(void)
{
	unsigned sum = rnd(4), index = 4 + rnd(2), off = rnd(ROOM - 2);

	add(ISA_MOV64_K, index, 0, 0, (int)rnd(ROOM - 8));
	add(ISA_MOV64_X, sum, BASE, 0, 0);
	add(ISA_ADD64_X, sum, index, 0, 0);
	add(loads[rnd(4)], 6, sum, 0, 0);
	add(ISA_STX8, BASE, rnd(2) ? sum : 7, (int)off, 0);
	add(ISA_STX8, BASE, rnd(7), (int)off + 1, 0);
	if (rnd(2))
		add(ISA_MOV64_K, sum, 0, 0, 1);
}

static void step(void)
{
	unsigned reg = rnd(8), size = rnd(4);

	switch (rnd(16)) {
	default:
		store(reg);
		break;
	case 0:
	case 1:
		whole();
		break;
	case 2:
		add(constants[size], BASE, 0, (int)rnd(ROOM - 8), (int)random());
		break;
	case 3:
		add(loads[size], reg, BASE, (int)rnd(ROOM - 8), 0);
		break;
	case 4:
		add(loads[size], reg, ALIAS, (int)rnd(ROOM - 8) - 4, 0);
		break;
	case 5:
		add(stores[size], ALIAS, reg, (int)rnd(ROOM - 8) - 4, 0);
		break;
	case 6:
		add(rnd(2) ? ISA_MOV64_X : ISA_ADD64_X, reg, rnd(8), 0, 0);
		break;
	case 9:
		load_of_a_sum();
		break;
	case 7: /* a way around the next */
		add(ISA_JSGT64_K, reg, 0, 1, 0);
		store(rnd(8));
		break;
	case 8:
		if (shifts++ < 8)
			add(ISA_ADD64_K, BASE, 0, 0, 1);
		break;
	}
}

static void make(void)
{
	unsigned n = 2 + rnd(20);

	begin();
	shifts = 0;
	add(ISA_LDX64, BASE, 10, -8, 0);
	add(ISA_ADD64_K, BASE, 0, 0, 80);
	add(ISA_MOV64_X, ALIAS, BASE, 0, 0);
	add(ISA_ADD64_K, ALIAS, 0, 0, 4);
	while (n--)
		step();
	finish();
}

static void memory_is_what_single_stores_leave(void **state maybe_unused)
{
	struct world start = {0};
	unsigned n, k;

	srandom(815);
	for (n = 0; n < 30000; n++) {
		for (k = 0; k < SLOTS; k++)
			start.slot[k] = (uint64_t)random() << 33 ^ (uint64_t)random();
		make();
		cleanup(ready_done) struct ready r = compile();
		expect_same(&r, &start);
	}
}

/* Bytes of code for a key of 8 bytes, written in @order; the last two bytes apart where @gap. */
static size_t code_of(const int order[4], int gap)
{
	static const uint8_t ops[] = {ISA_STX32, ISA_STX16, ISA_STX8, ISA_STX8};
	const int offs[] = {-16, -12, -10, -9 + gap};
	const uint32_t *offsets;
	size_t len;
	int k;

	prog.n = 0;
	for (k = 0; k < 4; k++)
		add(ops[order[k]], 10, 1 + (unsigned)order[k], offs[order[k]], 0);
	add(ISA_MOV64_K, 0, 0, 0, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready r = compile();
	jit_image(r.jit, &len, &offsets);
	return len;
}

static void a_key_of_pieces_is_one_store(void **state maybe_unused)
{
	const int up[] = {0, 1, 2, 3}, down[] = {0, 3, 2, 1};

	assert_int_not_equal(code_of(up, 0), code_of(up, 1));
	assert_int_equal(code_of(up, 0), code_of(down, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_what_single_stores_leave),
		cmocka_unit_test(a_key_of_pieces_is_one_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
