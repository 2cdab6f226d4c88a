// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers that read memory which may not be there, and rings by dynptrs and from user space: what they
 * say and leave is the kernel's.
 */
#include "vm/sides.h"

#include <sys/mman.h>

#define RAW BPF_PROG_TYPE_RAW_TRACEPOINT

enum from { STACK, NOWHERE, HOLE, USER, FROMS };

static char text[64] = "of the user's memory";

/* helper(fp-64, size, from); returns r0 or what is at fp-64 + @peek. */
static void read_memory(const char *what, int32_t helper, enum from from, int32_t size, int peek)
{
	uint64_t at = from == USER ? (uintptr_t)text : from == HOLE ? 0x0000900000000000 : 0;
	struct code c = {.n = 0};
	char name[96];
	int i;

	snprintf(name, sizeof(name), "%s(%d bytes, from %u) %d", what, size, from, peek);
	for (i = 1; i <= 8; i++)
		add(&c, ST(BPF_DW, 10, -8 * i, 0x41424344));
	add(&c, ST(BPF_B, 10, -20, 0), MOVR(1, 10), ADD(1, -64), MOV(2, size));
	if (from == STACK)
		add(&c, MOVR(3, 10), ADD(3, -32));
	else
		add(&c, INSN(BPF_LD | BPF_DW | BPF_IMM, 3, 0, 0, (int32_t)at),
		    INSN(0, 0, 0, 0, (int32_t)(at >> 32)));
	add(&c, CALL(helper));
	if (peek >= 0)
		add(&c, LDX(BPF_W, 0, 10, -64 + peek));
	add(&c, EXIT());
	compare(name, RAW, &c, 0);
}

static void memory_is_read_or_zeroed_alike(void **state maybe_unused)
{
	static const struct {
		const char *name;
		int32_t helper;
		bool user;
	} all[] = {
		{"probe_read_kernel", BPF_FUNC_probe_read_kernel, false},
		{"probe_read_kernel_str", BPF_FUNC_probe_read_kernel_str, false},
		{"probe_read_user", BPF_FUNC_probe_read_user, true},
		{"probe_read_user_str", BPF_FUNC_probe_read_user_str, true},
		{"probe_read", BPF_FUNC_probe_read, false},
		{"probe_read_str", BPF_FUNC_probe_read_str, false},
	};
	static const int32_t sizes[] = {1, 3, 8, 12, 13, 14, 32};
	unsigned h, f, s;
	int peek;

	for (h = 0; h < array_size(all); h++)
		for (f = 0; f < FROMS; f++)
			for (s = 0; s < array_size(sizes); s++)
				for (peek = -4; peek < 32; peek += 4)
					/* memory of the other kind: all that runs here is a user */
					if (f == NOWHERE || f == HOLE || all[h].user == (f == USER))
						read_memory(all[h].name, all[h].helper, f, sizes[s],
							    peek);
	assert_int_equal(differ, 0);
}

/* A record of @size behind a dynptr, written and given back; r0: of the reservation, or what the ring says. */
static void by_dynptr(struct code *c, int32_t size, int32_t flags, int32_t done, int32_t how,
		      int ask)
{
	char name[96];

	snprintf(name, sizeof(name), "ringbuf_reserve_dynptr(%d, %d) %d(%d), query %d", size, flags,
		 done, how, ask);
	c->n = 0;
	add(c, ST(BPF_DW, 10, -8, 7), MAP_FD(1, -1), MOV(2, size), MOV(3, flags), MOVR(4, 10),
	    ADD(4, -24), CALL(BPF_FUNC_ringbuf_reserve_dynptr), MOVR(6, 0), MOVR(1, 10),
	    ADD(1, -24), MOV(2, 0), MOVR(3, 10), ADD(3, -8), MOV(4, 8), MOV(5, 0),
	    CALL(BPF_FUNC_dynptr_write), MOVR(7, 0), MOVR(1, 10), ADD(1, -24), MOV(2, how),
	    CALL(done));
	if (ask >= 0)
		add(c, MAP_FD(1, -1), MOV(2, ask), CALL(BPF_FUNC_ringbuf_query));
	else
		add(c, MOVR(0, ask == -1 ? 6 : 7));
	add(c, EXIT());
	compare(name, BPF_PROG_TYPE_SCHED_CLS, c, 100);
}

static void records_behind_dynptrs_are_given_back_alike(void **state maybe_unused)
{
	static const int32_t sizes[] = {0, 1, 8, 100, 4000, 4096, 5000, 1 << 24, -1};
	static const int32_t ends[] = {BPF_FUNC_ringbuf_submit_dynptr,
				       BPF_FUNC_ringbuf_discard_dynptr};
	unsigned s, e;
	int ask, flags;

	for (s = 0; s < array_size(sizes); s++)
		for (e = 0; e < 2; e++)
			for (flags = 0; flags < 2; flags++)
				for (ask = -2; ask < 4; ask++) {
					struct code c = {.n = 0};

					maps_make(&c, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
					by_dynptr(&c, sizes[s], flags, ends[e], flags * 2, ask);
					maps_close(&c);
				}
	assert_int_equal(differ, 0);
}

/* ---- a ring that user space fills ----------------------------------------------------------------- */

/* Positions of @side's ring, which has one sample a header in @headers. */
static void fill(int fd, const uint32_t *headers, unsigned n, uint64_t claim)
{
	uint8_t *producer = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	uint64_t at = 0;

	assert_true(producer != MAP_FAILED);
	for (unsigned i = 0; i < n; i++) {
		uint32_t size = headers[i] & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		memcpy(producer + 4096 + at, &headers[i], 4);
		memset(producer + 4096 + at + 8, (int)i + 1, 8);
		at += (size + 7) / 8 * 8 + 8;
	}
	__atomic_store_n((uint64_t *)producer, claim ? claim : at, __ATOMIC_RELEASE);
	munmap(producer, 8192);
}

static uint64_t consumed(int fd)
{
	uint64_t *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), v;

	assert_true(page != MAP_FAILED);
	v = *page;
	munmap(page, 4096);
	return v;
}

/* Drains it with a callback that ends at the sample whose first byte is @last; r0, or what it saw. */
static void drained(const char *name, const uint32_t *headers, unsigned n, uint64_t claim, int last,
		    int32_t flags, bool sum)
{
	struct code c = {.n = 0};
	uint64_t at[SIDES];
	unsigned s;

	maps_make(&c, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096);
	for (s = 0; s < SIDES; s++)
		fill(c.maps[s], headers, n, claim);
	add(&c, ST(BPF_DW, 10, -8, 0), MAP_FD(1, -1), FUNC(2, 0), MOVR(3, 10), ADD(3, -8),
	    MOV(4, flags), CALL(BPF_FUNC_user_ringbuf_drain));
	if (sum)
		add(&c, LDX(BPF_DW, 0, 10, -8));
	add(&c, EXIT());
	c.callback = c.n;
	c.insns[3].imm = (int32_t)(c.n - 3 - 1);
	/* callback(dynptr, fp-8 of the caller) */
	add(&c, MOVR(6, 2), MOVR(3, 1), MOVR(1, 10), ADD(1, -8), MOV(2, 8), MOV(4, 0), MOV(5, 0),
	    ST(BPF_DW, 10, -8, 0), CALL(BPF_FUNC_dynptr_read), LDX(BPF_B, 1, 10, -8),
	    LDX(BPF_DW, 2, 6, 0), INSN(BPF_ALU64 | BPF_LSH | BPF_K, 2, 0, 0, 4),
	    INSN(BPF_ALU64 | BPF_ADD | BPF_X, 2, 1, 0, 0), STX(BPF_DW, 6, 2, 0), MOV(0, 0),
	    JEQ(1, last, 1), EXIT(), MOV(0, 1), EXIT());
	compare(name, RAW, &c, 0);
	for (s = 0; s < SIDES; s++)
		at[s] = consumed(c.maps[s]);
	for (s = 1; s < SIDES; s++)
		if (at[s] != at[0]) {
			differ++;
			print_error("%s: consumed %llu, the kernel %llu\n", name,
				    (unsigned long long)at[s], (unsigned long long)at[0]);
		}
	maps_close(&c);
}

static void samples_of_user_space_are_drained_alike(void **state maybe_unused)
{
	static const struct {
		const char *name;
		uint32_t headers[4];
		unsigned n;
		uint64_t claim; /* where the producer says it is; 0: behind the samples */
	} all[] = {
		{"none", {0}, 0, 0},
		{"one", {8}, 1, 0},
		{"three", {8, 16, 8}, 3, 0},
		{"a discarded one", {8, 8 | BPF_RINGBUF_DISCARD_BIT, 8}, 3, 0},
		{"discarded ones alone",
		 {8 | BPF_RINGBUF_DISCARD_BIT, 8 | BPF_RINGBUF_DISCARD_BIT},
		 2,
		 0},
		{"a busy one", {8, 8 | BPF_RINGBUF_BUSY_BIT, 8}, 3, 0},
		{"one shorter than it is read", {8, 4, 8}, 3, 0},
		{"one that is too long", {8, 4096}, 2, 32},
		{"one behind the producer", {8, 64}, 2, 40},
		{"a position that is not aligned", {8}, 1, 12},
		{"a position too far", {8}, 1, 1 << 20},
	};
	unsigned i;
	int last;

	for (i = 0; i < array_size(all); i++)
		for (last = 0; last < 3; last++) {
			drained(all[i].name, all[i].headers, all[i].n, all[i].claim,
				last ? last : 99, 0, false);
			drained(all[i].name, all[i].headers, all[i].n, all[i].claim,
				last ? last : 99, 0, true);
		}
	for (i = 0; i < 5; i++)
		drained("flags", all[2].headers, 3, 0, 99, (int32_t)i, false);
	assert_int_equal(differ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memory_is_read_or_zeroed_alike, begin),
		cmocka_unit_test_setup(records_behind_dynptrs_are_given_back_alike, begin),
		cmocka_unit_test_setup(samples_of_user_space_are_drained_alike, begin),
	};

	return cmocka_run_group_tests_name("vm: helpers on memory beside the kernel's", tests,
					   open_engines, close_engines);
}
