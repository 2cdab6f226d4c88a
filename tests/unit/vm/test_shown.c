// SPDX-License-Identifier: Apache-2.0
/* What programs read of the kernel's struct bpf_map through a map's pointer, however it got where it is read. */
#include "vm/sides.h"

#include <bpf/btf.h>

static struct btf *kernel;

/* Where a member lies in a structure of the kernel's, and how the width of it is loaded. */
static int16_t offset(const char *structure, const char *member)
{
	int id = btf__find_by_name_kind(kernel, structure, BTF_KIND_STRUCT);
	const struct btf_type *t = btf__type_by_id(kernel, (uint32_t)id);

	for (unsigned i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(kernel, btf_members(t)[i].name_off), member))
			return (int16_t)(btf_member_bit_offset(t, i) / 8);
	fail_msg("no %s in %s", member, structure);
	return 0;
}

static void same(const char *name, const struct code *c)
{
	compare(name, BPF_PROG_TYPE_SCHED_CLS, c, 64);
	assert_int_equal(differ, 0);
}

static void members_are_as_in_the_kernel(void **state maybe_unused)
{
	static const char *const members[] = {"map_type",    "key_size",  "value_size",
					      "max_entries", "map_flags", "numa_node"};
	static const struct {
		uint32_t type, key, value, max;
	} maps[] = {{BPF_MAP_TYPE_ARRAY, 4, 12, 5},	  {BPF_MAP_TYPE_HASH, 6, 20, 9},
		    {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 3}, {BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 8},
		    {BPF_MAP_TYPE_LRU_HASH, 4, 8, 16},	  {BPF_MAP_TYPE_QUEUE, 0, 8, 4},
		    {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096}};

	for (unsigned i = 0; i < array_size(maps); i++) {
		struct code c = {.n = 0};

		maps_make(&c, maps[i].type, maps[i].key, maps[i].value, maps[i].max);
		for (unsigned m = 0; m < array_size(members); m++) {
			c.n = 0;
			add(&c, MAP_FD(1, -1), LDX(BPF_W, 0, 1, offset("bpf_map", members[m])),
			    EXIT());
			same(members[m], &c);
		}
		maps_close(&c);
	}
}

static void what_stands_behind_is_shown_of_arrays_and_hashes(void **state maybe_unused)
{
	static const char *const array[] = {"elem_size", "index_mask"}, *const hash[] = {
										"n_buckets",
										"elem_size"};

	for (unsigned i = 0; i < 4; i++) {
		struct code c = {.n = 0};

		maps_make(&c, i & 1 ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH, 4, 12, 5 + i);
		add(&c, MAP_FD(1, -1),
		    LDX(BPF_W, 0, 1,
			i & 1 ? offset("bpf_array", array[i / 2])
			      : offset("bpf_htab", hash[i / 2])),
		    EXIT());
		same("behind", &c);
		maps_close(&c);
	}
}

/* The pointer through moves, a join of paths, a function and a callback. */
static void the_pointer_is_followed(void **state maybe_unused)
{
	int16_t max = offset("bpf_map", "max_entries");
	struct code c = {.n = 0};

	maps_make(&c, BPF_MAP_TYPE_ARRAY, 4, 8, 7);
	add(&c, LDX(BPF_W, 6, 1, 0), MAP_FD(7, -1), JEQ(6, 1, 2), MAP_FD(7, -1), MOVR(8, 7),
	    LDX(BPF_W, 0, 8, max), EXIT());
	same("moved", &c);
	c.n = 0;
	add(&c, MAP_FD(2, -1), INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 1), EXIT(),
	    LDX(BPF_W, 0, 2, max), EXIT());
	same("handed to a function", &c);
	c.n = 0;
	add(&c, MAP_FD(6, -1), ST(BPF_DW, 10, -8, 0), STX(BPF_DW, 10, 6, -8),
	    LDX(BPF_DW, 6, 10, -8), LDX(BPF_W, 0, 6, max), EXIT());
	same("kept on the stack", &c);
	c.n = 0;
	add(&c, MAP_FD(3, -1), MOVR(1, 10), ADD(1, -128), MOV(2, 128),
	    CALL(BPF_FUNC_probe_read_kernel), JEQ(0, 0, 1), EXIT(),
	    LDX(BPF_W, 0, 10, (int16_t)(max - 128)), EXIT());
	same("read by a helper", &c);
	maps_close(&c);
}

/* The kernel wants BTF for callbacks, so it is not asked. */
static void helpers_hand_it_to_callbacks(void **state maybe_unused)
{
	struct code c = {.n = 0};
	struct outcome o;

	maps_make(&c, BPF_MAP_TYPE_ARRAY, 4, 8, 7);
	add(&c, MAP_FD(1, -1), FUNC(2, 8), ST(BPF_DW, 10, -8, 0), MOVR(3, 10), ADD(3, -8),
	    MOV(4, 0), CALL(BPF_FUNC_for_each_map_elem), LDX(BPF_DW, 0, 10, -8), EXIT(),
	    LDX(BPF_W, 5, 1, offset("bpf_map", "max_entries")), STX(BPF_DW, 4, 5, 0), MOV(0, 0),
	    EXIT());
	for (unsigned side = INTERPRETED; side < SIDES; side++) {
		run(side, BPF_PROG_TYPE_SCHED_CLS, &c, 64, &o);
		assert_int_equal(o.rc, 0);
		assert_int_equal(o.retval, 7);
	}
	maps_close(&c);
}

/* Maps made after a program began to read them. */
static void later_maps_are_shown_too(void **state)
{
	members_are_as_in_the_kernel(state);
	members_are_as_in_the_kernel(state);
}

static void nothing_is_written_there(void **state maybe_unused)
{
	struct code c = {.n = 0};
	struct outcome o;

	maps_make(&c, BPF_MAP_TYPE_ARRAY, 4, 8, 7);
	add(&c, MAP_FD(1, -1), ST(BPF_W, 1, offset("bpf_map", "max_entries"), 100), MOV(0, 0),
	    EXIT());
	run(INTERPRETED, BPF_PROG_TYPE_SCHED_CLS, &c, 64, &o);
	assert_int_equal(o.rc, -EFAULT);
	maps_close(&c);
}

static int open_all(void **state)
{
	kernel = btf__load_vmlinux_btf();
	return !kernel || open_engines(state);
}

/* An engine for each: what one test made it show, another cannot rely on. */
static int fresh(void **state)
{
	const struct skep_engine_options compile = {.unsafe = true};

	skep_engine_free(engines[COMPILED]);
	return begin(state) || skep_engine_open(&engines[COMPILED], &compile);
}

static int close_all(void **state)
{
	btf__free(kernel);
	return close_engines(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(members_are_as_in_the_kernel, fresh),
		cmocka_unit_test_setup(what_stands_behind_is_shown_of_arrays_and_hashes, fresh),
		cmocka_unit_test_setup(the_pointer_is_followed, fresh),
		cmocka_unit_test_setup(helpers_hand_it_to_callbacks, fresh),
		cmocka_unit_test_setup(later_maps_are_shown_too, fresh),
		cmocka_unit_test_setup(nothing_is_written_there, fresh),
	};

	return cmocka_run_group_tests_name("vm: the kernel's struct of a map", tests, open_all,
					   close_all);
}
