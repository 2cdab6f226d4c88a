// SPDX-License-Identifier: Apache-2.0
/* Every row of insn.def compiled, beside the interpreter; and what only compiled code has. */
#include "machine.h"

#include <sys/mman.h>

#ifndef MAP_32BIT /* a hint serves as well */
#define MAP_32BIT 0
#endif

static const uint64_t edges[] = {
	0,
	1,
	2,
	3,
	63,
	0x80,
	0xffff,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	0x123456789abcdef0,
	INT64_MAX,
	1ULL << 63,
	(uint64_t)-1,
	(uint64_t)-2,
	(uint64_t)(int64_t)INT32_MIN,
};

static const int32_t imms[] = {0,   1,	 2,    3,     7,     10,      100,	  127,
			       128, 255, 1000, 65535, 65536, 1000000, 0x7fffffff, INT32_MIN,
			       -1,  -2,	 -100, 0x800, 0xff,  -65536,  641,	  1 << 30};

static const struct {
	uint8_t op, code;
} rows[] = {
#define INSN(id, code, src, off, imm, text) {ISA_##id, code},
#include "isa/insn.def"
#undef INSN
};

static bool is_alu(uint8_t code)
{
	return (code & 7) == 4 || (code & 7) == 7;
}

static bool is_shift(uint8_t code)
{
	return (code & 0xf0) == 0x60 || (code & 0xf0) == 0x70 || (code & 0xf0) == 0xc0;
}

static bool is_divide(uint8_t code)
{
	return (code & 0xf0) == 0x30 || (code & 0xf0) == 0x90;
}

static bool is_branch(uint8_t code)
{
	uint8_t op = code & 0xf0;

	return ((code & 7) == 5 || (code & 7) == 6) && op && op != 0x80 && op != 0x90 && op != 0xe0;
}

static void scatter(struct world *w)
{
	unsigned k;

	for (k = 0; k < SLOTS; k++)
		w->slot[k] = 0x0101010101010101ULL * (k + 0xa0);
}

static void every_pair_of_edges(unsigned d, unsigned s)
{
	cleanup(ready_done) struct ready r = compile();
	struct world w;
	unsigned a, b;

	for (a = 0; a < array_size(edges); a++) {
		for (b = 0; b < array_size(edges); b++) {
			scatter(&w);
			w.slot[s] = edges[b];
			w.slot[d] = edges[a];
			expect_same(&r, &w);
		}
	}
}

static void every_edge(unsigned d)
{
	cleanup(ready_done) struct ready r = compile();
	struct world w;
	unsigned a;

	for (a = 0; a < array_size(edges); a++) {
		scatter(&w);
		w.slot[d] = edges[a];
		expect_same(&r, &w);
	}
}

static void arithmetic_between_registers_agrees(void **state maybe_unused)
{
	unsigned k, d, s;

	for (k = 0; k < array_size(rows); k++) {
		if (!is_alu(rows[k].code) || !(rows[k].code & 8) || (rows[k].code & 0xf0) == 0xd0)
			continue;
		for (d = 0; d < 10; d++) {
			for (s = 0; s < 10; s++) {
				begin();
				add(rows[k].op, d, s, 0, 0);
				finish();
				every_pair_of_edges(d, s);
			}
		}
	}
}

static int32_t fit(uint8_t code, int32_t imm)
{
	if (is_shift(code))
		return imm & ((code & 7) == 7 ? 63 : 31);
	return is_divide(code) && !imm ? 13 : imm;
}

static void arithmetic_with_constants_agrees(void **state maybe_unused)
{
	unsigned k, d, m;

	for (k = 0; k < array_size(rows); k++) {
		bool end = (rows[k].code & 0xf0) == 0xd0;

		if (!is_alu(rows[k].code) || (rows[k].code & 8 && !end))
			continue;
		for (d = 0; d < 10; d++) {
			for (m = 0; m < (end ? 1 : array_size(imms)); m++) {
				begin();
				add(rows[k].op, d, 0, 0, fit(rows[k].code, imms[m]));
				finish();
				every_edge(d);
			}
		}
	}
}

static void division_by_many_constants_agrees(void **state maybe_unused)
{
	static const uint8_t ops[] = {ISA_DIV64_K,  ISA_DIV32_K,  ISA_MOD64_K,	ISA_MOD32_K,
				      ISA_SDIV64_K, ISA_SDIV32_K, ISA_SMOD64_K, ISA_SMOD32_K};
	uint32_t by, seed = 1;
	unsigned k;

	for (by = 1; by < 3000; by++) {
		for (k = 0; k < array_size(ops); k++) {
			seed = seed * 1664525 + 1013904223;
			begin();
			add(ops[k], k, 0, 0, by < 300 ? (int32_t)by : (int32_t)(seed | 1));
			finish();
			every_edge(k);
		}
	}
}

static void branches_agree(void **state maybe_unused)
{
	unsigned k, d, s;

	for (k = 0; k < array_size(rows); k++) {
		if (!is_branch(rows[k].code))
			continue;
		for (d = 0; d < 10; d++) {
			for (s = 0; s < 10; s++) {
				begin();
				if (rows[k].code & 8)
					add(rows[k].op, d, s, 1, 0);
				else
					add(rows[k].op, d, 0, 1,
					    imms[(d * 10 + s) % array_size(imms)]);
				add(ISA_XOR64_K, (d + 1) % 10, 0, 0, 0x55);
				finish();
				every_pair_of_edges(d, s);
			}
		}
	}
}

/* From slot 12 or to it, through every base, around each size of displacement. */
static void loads_and_stores_agree(void **state maybe_unused)
{
	static const int offs[] = {0, 8, -8, 127, 128, -128, -129, 4000, -32768, 32760};
	unsigned k, d, s, o, c;

	for (k = 0; k < array_size(rows); k++) {
		c = rows[k].code & 7;
		if (c < 1 || c > 3)
			continue;
		for (d = 0; d < 10; d++) {
			for (s = 0; s < 10; s++) {
				unsigned base = c == 1 || (rows[k].op >= ISA_LOAD_ACQ8 &&
							   rows[k].op <= ISA_LOAD_ACQ64)
							? s
							: d;

				o = (d * 10 + s) % array_size(offs);
				begin();
				add(ISA_LDX64, base, 10, -8, 0);
				add(ISA_ADD64_K, base, 0, 0, 96 - offs[o]);
				add(rows[k].op, d, s, offs[o], c == 2 ? imms[o] : 0);
				finish();
				{
					cleanup(ready_done) struct ready r = compile();
					struct world w;

					scatter(&w);
					w.slot[12] = 0x8182838485868788;
					expect_same(&r, &w);
					w.slot[0] = w.slot[12];
					expect_same(&r, &w);
				}
			}
		}
	}
}

static void wide_constants_agree(void **state maybe_unused)
{
	unsigned d, a;

	for (d = 0; d < 10; d++) {
		for (a = 0; a < array_size(edges); a++) {
			begin();
			add64(ISA_LDDW, d, edges[a]);
			finish();
			every_edge(d);
		}
	}
}

/* ---- chance ------------------------------------------------------------------------------------- */

static uint64_t seed = 88172645463325252ULL;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

static unsigned reach; /* the last instruction that a jump so far leads to */

static unsigned branch_to(unsigned off)
{
	reach = max(reach, prog.n + 1 + off);
	return off;
}

/* Few registers and few constants, so that instructions meet. */
static void random_insn(unsigned left)
{
	static const int32_t few[] = {0, 1, -1, 8, 16, 32, 48, 56, 13, 51, 0xff, 0xffff};
	static const int places[] = {-24, -32, -20, -18, -17, -40};
	unsigned k = rnd(array_size(rows)), d = rnd(10), s = rnd(10), c = rows[k].code;
	int32_t imm = few[rnd(array_size(few))];
	int off = places[rnd(array_size(places))];

	if (rnd(2))
		d = rnd(3), s = rnd(3);
	if (is_alu((uint8_t)c))
		add(rows[k].op, d, c & 8 && (c & 0xf0) != 0xd0 ? s : 0, 0,
		    c & 8 ? 0 : fit((uint8_t)c, imm));
	else if (is_branch((uint8_t)c) && left > 1)
		add(rows[k].op, d, c & 8 ? s : 0, (int)branch_to(rnd(min(left, 5u))),
		    c & 8 ? 0 : imm);
	else if (rows[k].op >= ISA_LDX8 && rows[k].op <= ISA_LDSX32)
		add(rows[k].op, d, 10, off, 0);
	else if (rows[k].op >= ISA_LOAD_ACQ8 && rows[k].op <= ISA_LOAD_ACQ64)
		add(rows[k].op, d, 10, -24, 0);
	else if (rows[k].op >= ISA_ST8 && rows[k].op <= ISA_ST64)
		add(rows[k].op, 10, 0, off, imm);
	else if (rows[k].op >= ISA_STX8 && rows[k].op <= ISA_STX64)
		add(rows[k].op, 10, s, off, 0);
	else if (rows[k].op >= ISA_ATOMIC64_ADD && rows[k].op <= ISA_CMPXCHG32)
		add(rows[k].op, 10, s, -24, 0);
	else
		add(rnd(2) ? ISA_MOV64_X : ISA_MOV32_X, d, s, 0, 0);
}

/* A register made of two bytes of the stack, in either order. */
static void bytes_idiom(unsigned a, unsigned b, unsigned swap)
{
	add(ISA_LDX8, swap ? a : b, 10, -24 + (int)swap, 0);
	if (!rnd(4))
		add(ISA_STX8, 10, a, -23, 0);
	add(ISA_LDX8, swap ? b : a, 10, -23 - (int)swap, 0);
	add(ISA_LSH64_K, a, 0, 0, 8);
	swap = rnd(2);
	add(ISA_OR64_X, swap ? a : b, swap ? b : a, 0, 0);
	if (rnd(4))
		add(ISA_MOV64_K, swap ? b : a, 0, 0, 5);
}

/* A move under a condition, and what depends on upper halves. */
static void move_idiom(unsigned a, unsigned b)
{
	add(ISA_JGT64_X, rnd(10), rnd(10), 1, 0);
	add(rnd(2) ? ISA_MOV32_X : ISA_MOV64_X, a, b, 0, 0);
	if (rnd(2))
		add(ISA_MOV32_X, a, a, 0, 0);
}

/* An address of the stack in a register, and a load through it. */
static void address_idiom(unsigned a, unsigned b)
{
	add(ISA_MOV64_K, b, 0, 0, -48);
	add(ISA_MOV64_X, a, 10, 0, 0);
	if (rnd(2))
		add(ISA_ADD64_X, a, b, 0, 0);
	else
		add(ISA_ADD64_K, a, 0, 0, -48);
	add(rnd(2) ? ISA_LDX64 : ISA_LDSX16, rnd(2) ? a : b, a, 8, 0);
	add(ISA_MOV64_K, a, 0, 0, 1);
}

static void idioms(void)
{
	unsigned a = rnd(10), b = rnd(10), k = 1 + rnd(62), swap = rnd(2);

	if (a == b)
		b = (a + 1) % 10;
	switch (rnd(5)) {
	case 0:
		bytes_idiom(a, b, swap);
		return;
	case 1:
		move_idiom(a, b);
		return;
	case 2: /* entered in the middle it would go anywhere */
		if (prog.n >= reach)
			address_idiom(a, b);
		return;
	}
	if (rnd(2)) {
		add(ISA_MOV64_X, a, b, 0, 0);
		add(swap ? ISA_LSH64_K : ISA_RSH64_K, a, 0, 0, (int)k);
		add(swap ? ISA_RSH64_K : ISA_LSH64_K, b, 0, 0, 64 - (int)k);
		add(rnd(2) ? ISA_OR64_X : ISA_XOR64_X, rnd(2) ? a : b, a, 0, 0);
		prog.i[prog.n - 1].src = prog.i[prog.n - 1].dst == a ? b : a;
		if (rnd(2))
			add(ISA_MOV64_K, prog.i[prog.n - 1].src, 0, 0, 5);
		return;
	}
	k = 1 + k % 31;
	add(ISA_MOV32_X, a, b, 0, 0);
	add(swap ? ISA_LSH32_K : ISA_RSH32_K, a, 0, 0, (int)k);
	add(swap ? ISA_RSH32_K : ISA_LSH32_K, b, 0, 0, 32 - (int)k);
	add(ISA_OR32_X, a, b, 0, 0);
	add(ISA_MOV64_K, b, 0, 0, 5);
}

static void random_programs_agree(void **state maybe_unused)
{
	unsigned round, k, n, i;
	struct world w;

	for (round = 0; round < 30000; round++) {
		begin();
		reach = 0;
		for (k = 0; k < 6; k++)
			add(ISA_STX64, 10, k, -16 - 8 * (int)k, 0);
		n = 1 + rnd(24);
		for (k = 0; k < n; k++) {
			if (rnd(8) == 0)
				idioms();
			random_insn(n - k);
		}
		finish();
		{
			cleanup(ready_done) struct ready r = compile();

			for (i = 0; i < 3; i++) {
				for (k = 0; k < SLOTS; k++)
					w.slot[k] = rnd(2) ? edges[rnd(array_size(edges))]
							   : seed * 0x9e3779b97f4a7c15ULL;
				expect_same(&r, &w);
			}
		}
	}
}

/* The same with constants hidden: none of the program's is in the code. */
static void hidden_constants_agree_and_are_hidden(void **state maybe_unused)
{
	const int32_t secret = 0x5ec7e7a1;
	const uint32_t *offsets;
	const uint8_t *image;
	struct world w;
	size_t len;
	unsigned k;

	extra.blind = true;
	for (k = 0; k < array_size(rows); k++) {
		uint8_t c = rows[k].code;

		if (!((is_alu(c) && !(c & 8) && (c & 0xf0) != 0xd0 && !is_shift(c)) ||
		      (is_branch(c) && !(c & 8)) || (c & 7) == 2 || rows[k].op == ISA_LDDW))
			continue;
		begin();
		if (rows[k].op == ISA_LDDW)
			add64(ISA_LDDW, 3, (uint64_t)secret << 32 | 1);
		else if ((c & 7) == 2)
			add(rows[k].op, 10, 0, -24, secret);
		else
			add(rows[k].op, 3, 0, 0, (c & 0xf0) == 0x80 ? 0 : secret);
		finish();
		{
			cleanup(ready_done) struct ready r = compile();

			scatter(&w);
			expect_same(&r, &w);
			image = jit_image(r.jit, &len, &offsets);
			assert_null(memmem(image, len, &secret, sizeof(secret)));
		}
	}
	random_programs_agree(state);
	extra.blind = false;
}

/* ---- size --------------------------------------------------------------------------------------- */

/* Over n instructions and back over them, three times. */
static void jumps_reach_any_distance(void **state maybe_unused)
{
	unsigned n, k;

	for (n = 0; n < 32000; n = n < 80 ? n + 1 : n * 3) {
		begin();
		add(ISA_MOV64_K, 9, 0, 0, 0);
		add(ISA_JEQ64_K, 0, 0, (int)n + 1, 0);
		for (k = 0; k < n; k++)
			add(ISA_ADD64_K, k % 9, 0, 0, (int)k);
		add(ISA_JA, 0, 0, 0, 0);
		add(ISA_ADD64_K, 9, 0, 0, 1);
		add(ISA_JSLT64_K, 9, 0, -(int)n - 4, 3);
		finish();
		every_edge(0);
	}
}

static void a_big_program_is_compiled_and_freed(void **state maybe_unused)
{
	const uint32_t *offsets;
	struct world w;
	unsigned k;
	size_t len;

	begin();
	for (k = 0; k < 60000; k++)
		add(k & 1 ? ISA_XOR64_X : ISA_MUL64_K, k % 10, k & 1 ? k % 7 : 0, 0,
		    k & 1 ? 0 : (int)k * 17);
	finish();
	for (k = 0; k < 3; k++) {
		cleanup(ready_done) struct ready r = compile();

		scatter(&w);
		expect_same(&r, &w);
		jit_image(r.jit, &len, &offsets);
		assert_int_equal(offsets[prog.n], len);
	}
}

static void many_small_programs_share_memory(void **state maybe_unused)
{
	static struct ready r[3000];
	struct jit_run run = {0};
	unsigned k, round;

	for (round = 0; round < 2; round++) {
		for (k = 0; k < array_size(r); k++) {
			prog.n = 0;
			add(ISA_MOV64_K, 0, 0, 0, (int)(k + round));
			add(ISA_EXIT, 0, 0, 0, 0);
			r[k] = compile();
		}
		for (k = 0; k < array_size(r); k++)
			assert_int_equal(jit_enter(r[k].jit, &run, 0), k + round);
		for (k = 0; k < array_size(r); k++)
			ready_done(&r[k]);
	}
}

static void code_is_never_writable(void **state maybe_unused)
{
	cleanup(file_close) FILE *f = NULL;
	bool found = false;
	char line[256];

	begin();
	finish();
	{
		cleanup(ready_done) struct ready r = compile();
		uintptr_t at = (uintptr_t)jit_func(r.jit, 0);
		unsigned long lo, hi;
		char prot[5];

		f = fopen("/proc/self/maps", "r");
		while (fgets(line, sizeof(line), f)) {
			if (sscanf(line, "%lx-%lx %4s", &lo, &hi, prot) != 3)
				continue;
			if (strstr(line, "skep-jit"))
				assert_string_equal(prot, "r-xs");
			if (at >= lo && at < hi)
				found = true;
		}
	}
	assert_true(found);
}

/* ---- calls -------------------------------------------------------------------------------------- */

static uint64_t sum_helper(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e)
{
	char line[64] __attribute__((aligned(16)));

	/* Faults where the stack is not aligned as C wants it; arm64 does so at any access of it. */
#ifdef __x86_64__
	__asm__ volatile("movaps %%xmm0, %0" : "=m"(line));
#else
	__asm__ volatile("str xzr, %0" : "=m"(line));
#endif
	return a + 2 * b + 3 * c + 4 * d + 5 * e;
}

static struct jit_run *run_now;

static uint64_t back_helper(uint64_t func, uint64_t arg, uint64_t c maybe_unused,
			    uint64_t d maybe_unused, uint64_t e maybe_unused)
{
	return jit_call(run_now, (const void *)(uintptr_t)func, arg, 2, 3, 4, 5);
}

static uint64_t (*const helpers[])(uint64_t, uint64_t, uint64_t, uint64_t,
				   uint64_t) = {NULL, NULL, sum_helper, back_helper};

static void helpers_get_five_arguments_and_an_aligned_stack(void **state maybe_unused)
{
	unsigned kept, r;

	extra.helpers = helpers;
	extra.n_helpers = array_size(helpers);
	for (kept = 0; kept < 16; kept++) {
		struct jit_run run = {0};

		prog.n = 0;
		for (r = 0; r < 4; r++)
			if (kept & 1 << r)
				add(ISA_MOV64_K, 6 + r, 0, 0, (int)r);
		for (r = 1; r <= 5; r++)
			add(ISA_MOV64_K, r, 0, 0, (int)(10 * r));
		if (kept & 1)
			add(ISA_STX64, 10, 1, -8 * (int)(kept + 1), 0);
		add(ISA_CALL, 0, 0, 0, 2);
		add(ISA_EXIT, 0, 0, 0, 0);
		cleanup(ready_done) struct ready c = compile();
		assert_int_equal(jit_enter(c.jit, &run, 0), 10 + 40 + 90 + 160 + 250);
	}
}

/* Code lies near our own text: a call of a helper needs no register for its address. */
static void helpers_are_called_directly(void **state maybe_unused)
{
	const void *address = (const void *)sum_helper;
	const uint32_t *offsets;
	const uint8_t *image;
	size_t len;

#ifndef __x86_64__
	skip(); /* arm64 reaches 128 MiB only: helpers are called through a register */
#endif
	extra.helpers = helpers;
	extra.n_helpers = array_size(helpers);
	prog.n = 0;
	add(ISA_CALL, 0, 0, 0, 2);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready c = compile();
	image = jit_image(c.jit, &len, &offsets);
	assert_null(memmem(image, len, &address, sizeof(address)));
	assert_int_equal(image[offsets[0]], 0xe8);
}

static void a_missing_helper_is_refused_by_number_of_its_call(void **state maybe_unused)
{
	struct verify_proof *proof;
	struct jit_code *code = NULL;
	struct jit_input in;
	struct skep_err err;

	prog.n = 0;
	add(ISA_MOV64_K, 0, 0, 0, 1);
	add(ISA_CALL, 0, 0, 0, 77);
	add(ISA_EXIT, 0, 0, 0, 0);
	assert_int_equal(verify_structure(&proof, prog.i, prog.n, &err), 0);
	in = (struct jit_input){.insns = prog.i, .n_insns = prog.n, .proof = proof};
	assert_int_equal(jit_compile(&code, &in, &err), -EOPNOTSUPP);
	assert_string_equal(err.text, "insn 1: no such helper");
	assert_null(code);
	verify_free(proof);
}

/* r1 + r2 in a frame of its own; r6 to r9 and the caller's stack survive. */
static void functions_have_frames_and_keep_registers(void **state maybe_unused)
{
	begin();
	add(ISA_STX64, 10, 6, -24, 0);
	add(ISA_CALL_LOCAL, 0, 1, 0, 13);
	add(ISA_LDX64, 5, 10, -24, 0);
	add(ISA_MOV64_K, 1, 0, 0, 0);
	add(ISA_MOV64_K, 2, 0, 0, 0);
	add(ISA_MOV64_K, 3, 0, 0, 0);
	add(ISA_MOV64_K, 4, 0, 0, 0);
	finish();
	prog.i[12].imm = (int)prog.n - 13;
	add(ISA_MOV64_K, 6, 0, 0, 1);
	add(ISA_MOV64_K, 7, 0, 0, 2);
	add(ISA_MOV64_K, 9, 0, 0, 3);
	add(ISA_ST64, 10, 0, -24, 99);
	add(ISA_STX64, 10, 1, -512, 0);
	add(ISA_LDX64, 0, 10, -512, 0);
	add(ISA_ADD64_X, 0, 2, 0, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
	every_pair_of_edges(1, 2);
}

/* A callback by address, from a helper and by callx. */
static void callbacks_are_entered_with_the_run_register(void **state maybe_unused)
{
	static const struct jit_map percpu = {.map = 0x1234567890,
					      .kind = JIT_PERCPU_ARRAY,
					      .max_entries = 1,
					      .stride = 8,
					      .cpu_stride = 16};
	uint64_t values[4] = {1, 2, 3, 4};
	struct jit_map map = percpu;
	struct jit_run run = {.cpu = 1};

	map.values = values;
	extra.helpers = helpers;
	extra.n_helpers = array_size(helpers);
	extra.maps = &map;
	extra.n_maps = 1;
	prog.n = 0;
	add64(ISA_LDDW_FUNC, 1, 0);
	prog.i[0].imm = 6 - 1;
	add(ISA_MOV64_X, 6, 1, 0, 0);
	add(ISA_CALL, 0, 0, 0, 3);
	add(ISA_EXIT, 0, 0, 0, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
	prog.n--;
	add(ISA_ST32, 10, 0, -4, 0);
	prog.i[0].imm = (int)prog.n - 2;
	add(ISA_MOV64_X, 2, 10, 0, 0);
	add(ISA_ADD64_K, 2, 0, 0, -4);
	add64(ISA_LDDW, 1, map.map);
	add(ISA_CALL, 0, 0, 0, 1);
	add(ISA_JEQ64_K, 0, 0, 1, 0);
	add(ISA_LDX64, 0, 0, 0, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready c = compile();
	run_now = &run;
	assert_int_equal(jit_enter(c.jit, &run, 0), 3);
	extra.maps = NULL;
	extra.n_maps = 0;
}

static uint64_t looked_up(const struct jit_map *map, uint32_t key, uint32_t cpu, unsigned after)
{
	struct jit_run run = {.cpu = cpu};
	uint64_t r0;

	prog.n = 0;
	add(ISA_STX32, 10, 1, -4, 0);
	add(ISA_MOV64_X, 2, 10, 0, 0);
	add(ISA_ADD64_K, 2, 0, 0, -4);
	add64(ISA_LDDW, 1, map->map);
	add(ISA_CALL, 0, 0, 0, 1);
	if (after)
		add(after, 0, 0, 1, 0);
	if (after == ISA_JNE64_K)
		add(ISA_MOV64_K, 0, 0, 0, 77);
	if (after == ISA_JEQ64_K)
		add(ISA_ADD64_K, 0, 0, 0, 1);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready c = compile();
	r0 = jit_enter(c.jit, &run, key);
	return r0;
}

static void lookups_in_arrays_are_written_in_place(void **state maybe_unused)
{
	static const uint32_t strides[] = {1, 2, 8, 24, 64, 4104};
	struct jit_map m = {.map = 0xfffffff012345678};
	unsigned k, key, cpu;
	static char bytes[1];

	extra = (struct jit_input){.maps = &m, .n_maps = 1};
	m.values = bytes;
	m.max_entries = 5;
	for (k = 0; k < array_size(strides); k++) {
		m.stride = strides[k];
		m.cpu_stride = strides[k] * 5ul + 8;
		for (key = 0; key < 7; key++) {
			for (cpu = 0; cpu < 3; cpu++) {
				uint64_t want = (uintptr_t)bytes + (uint64_t)key * strides[k];

				m.kind = cpu ? JIT_PERCPU_ARRAY : JIT_ARRAY;
				want = key < 5 ? want + cpu * m.cpu_stride : 0;
				assert_int_equal(looked_up(&m, key, cpu, 0), want);
				assert_int_equal(looked_up(&m, key, cpu, ISA_JEQ64_K),
						 want ? want + 1 : 0);
				assert_int_equal(looked_up(&m, key, cpu, ISA_JNE64_K),
						 want ? want : 77);
			}
		}
		assert_int_equal(looked_up(&m, UINT32_MAX, 0, 0), 0);
	}
	extra = (struct jit_input){0};
}

static void *own_lookup(struct map *m, const void *key)
{
	uint32_t k;

	memcpy(&k, key, sizeof(k));
	return k ? (char *)m + k : NULL;
}

/* No helper is there: the call would be refused. */
static void other_lookups_are_called_without_the_helper(void **state maybe_unused)
{
	static char object[8];
	struct jit_map m = {.map = (uintptr_t)object, .kind = JIT_CALLED, .lookup = own_lookup};

	extra = (struct jit_input){.maps = &m, .n_maps = 1};
	assert_int_equal(looked_up(&m, 5, 0, 0), (uintptr_t)object + 5);
	assert_int_equal(looked_up(&m, 0, 0, ISA_JNE64_K), 77);
	extra = (struct jit_input){0};
}

/* ---- tail calls --------------------------------------------------------------------------------- */

static struct ready caller(const struct jit_map *m, bool known)
{
	prog.n = 0;
	add(ISA_MOV64_X, 6, 1, 0, 0);
	add(ISA_STX64, 10, 6, -256, 0);
	add(ISA_LDX64, 7, 6, 0, 0); /* runs */
	add(ISA_ADD64_K, 7, 0, 0, 1);
	add(ISA_STX64, 6, 7, 0, 0);
	add(ISA_LDX32, 3, 6, 8, 0); /* index */
	add64(ISA_LDDW, 2, m->map);
	add(ISA_JA, 0, 0, 0, 0);
	if (!known)
		add(ISA_JEQ64_K, 1, 0, 0, 0);
	add(ISA_CALL, 0, 0, 0, 12);
	add(ISA_MOV64_K, 0, 0, 0, 1000);
	add(ISA_EXIT, 0, 0, 0, 0);
	return compile();
}

static void tail_calls_end_after_33(void **state maybe_unused)
{
	struct jit_target self = {0}, *slots[3] = {NULL, &self, NULL};
	struct jit_map m[2] = {
		{.map = 0x77, .kind = JIT_PROG_ARRAY, .values = slots, .max_entries = 0},
		{.map = 0x12345678, .kind = JIT_PROG_ARRAY, .values = slots, .max_entries = 3}};
	unsigned known;

	extra = (struct jit_input){.maps = m, .n_maps = 2};
	for (known = 0; known < 2; known++) {
		cleanup(ready_done) struct ready r = caller(&m[1], known);
		struct world w = {.slot = {0, 1}};

		self.entry = jit_target_entry(r.jit);
		run_compiled(&r, &w);
		assert_int_equal(w.slot[0], 34);
		assert_int_equal(w.tail_calls, 33);
		assert_int_equal(w.r0, 1000);
		for (w.slot[1] = 0; w.slot[1] < 5; w.slot[1] += 2) {
			w.slot[0] = 0;
			run_compiled(&r, &w);
			assert_int_equal(w.slot[0], 1);
			assert_int_equal(w.tail_calls, 0);
			assert_int_equal(w.r0, 1000);
		}
	}
	extra = (struct jit_input){0};
}

/* What 64 bits were loaded into is not taken for a narrow register. */
static void a_register_is_wide_again_after_load_acquire(void **state maybe_unused)
{
	begin();
	add(ISA_STX64, 10, 0, -24, 0);
	add(ISA_MOV32_K, 3, 0, 0, 7);
	add(ISA_LOAD_ACQ64, 3, 10, -24, 0);
	add(ISA_MOD32_K, 3, 0, 0, 1450756853);
	finish();
	every_edge(0);
}

/* Packet bytes in host order; beyond the end the program ends with 0. */
static void packet_loads_end_the_program_beyond_the_end(void **state maybe_unused)
{
	static const unsigned ops[] = {ISA_LD_ABS8, ISA_LD_ABS16, ISA_LD_ABS32,
				       ISA_LD_IND8, ISA_LD_IND16, ISA_LD_IND32};
	uint8_t *low = mmap((void *)0x20000000, 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct __sk_buff skb = {.data = (uint32_t)(uintptr_t)low,
				.data_end = (uint32_t)(uintptr_t)low + 8};
	int64_t off, want;
	unsigned k, size;

	assert_ptr_not_equal(low, MAP_FAILED);
	memcpy(low, "\x81\x02\x03\x04\x05\x06\x07\x88", 8);
	for (k = 0; k < array_size(ops); k++) {
		size = 1u << k % 3;
		for (off = -5; off < 12; off++) {
			struct jit_run run = {0};
			bool inside = off >= 0 && off + size <= 8;

			prog.n = 0;
			add(ISA_MOV64_X, 6, 1, 0, 0);
			add(ISA_MOV64_K, 4, 0, 0, k < 3 ? 0 : (int)off - 2);
			add(ops[k], 0, k < 3 ? 0 : 4, 0, k < 3 ? (int)off : 2);
			add(ISA_ADD64_K, 0, 0, 0, 1);
			add(ISA_EXIT, 0, 0, 0, 0);
			cleanup(ready_done) struct ready r = compile();
			for (want = 0; inside && size--;)
				want = want << 8 | low[off + (1 << k % 3) - 1 - size];
			size = 1u << k % 3;
			assert_int_equal(jit_enter(r.jit, &run, (uintptr_t)&skb),
					 inside ? want + 1 : 0);
		}
	}
	munmap(low, 4096);
}

static void may_goto_ends_a_loop(void **state maybe_unused)
{
	struct jit_run run = {0};

	prog.n = 0;
	add(ISA_MOV64_K, 0, 0, 0, 0);
	add(ISA_MAY_GOTO, 0, 0, 2, 0);
	add(ISA_ADD64_K, 0, 0, 0, 1);
	add(ISA_JA, 0, 0, -3, 0);
	add(ISA_EXIT, 0, 0, 0, 0);
	cleanup(ready_done) struct ready r = compile();
	assert_int_equal(jit_enter(r.jit, &run, 0), ISA_LOOPS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic_between_registers_agrees),
		cmocka_unit_test(arithmetic_with_constants_agrees),
		cmocka_unit_test(division_by_many_constants_agrees),
		cmocka_unit_test(branches_agree),
		cmocka_unit_test(loads_and_stores_agree),
		cmocka_unit_test(wide_constants_agree),
		cmocka_unit_test(random_programs_agree),
		cmocka_unit_test(hidden_constants_agree_and_are_hidden),
		cmocka_unit_test(jumps_reach_any_distance),
		cmocka_unit_test(a_big_program_is_compiled_and_freed),
		cmocka_unit_test(many_small_programs_share_memory),
		cmocka_unit_test(code_is_never_writable),
		cmocka_unit_test(helpers_get_five_arguments_and_an_aligned_stack),
		cmocka_unit_test(helpers_are_called_directly),
		cmocka_unit_test(a_missing_helper_is_refused_by_number_of_its_call),
		cmocka_unit_test(functions_have_frames_and_keep_registers),
		cmocka_unit_test(callbacks_are_entered_with_the_run_register),
		cmocka_unit_test(lookups_in_arrays_are_written_in_place),
		cmocka_unit_test(other_lookups_are_called_without_the_helper),
		cmocka_unit_test(tail_calls_end_after_33),
		cmocka_unit_test(may_goto_ends_a_loop),
		cmocka_unit_test(a_register_is_wide_again_after_load_acquire),
		cmocka_unit_test(packet_loads_end_the_program_beyond_the_end),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
