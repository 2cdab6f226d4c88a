// SPDX-License-Identifier: Apache-2.0
/* Iterators: what programs write of maps, their elements, programs, links and tasks, and who may ask. */
#include "vm/sides.h"

#include <bpf/btf.h>

static struct btf *kernel;

static int func_id(const char *name)
{
	return btf__find_by_name_kind(kernel, name, BTF_KIND_FUNC);
}

/* Where a member lies in a structure of the kernel's. */
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

static int iter_prog(unsigned side, const char *target, const struct code *c)
{
	char log[4096] = "";
	union bpf_attr a;
	int fd;

	zeroed(a);
	a.prog_type = BPF_PROG_TYPE_TRACING;
	a.expected_attach_type = BPF_TRACE_ITER;
	a.attach_btf_id = (uint32_t)func_id(target);
	a.insns = (uintptr_t)c->insns;
	a.insn_cnt = c->n;
	a.license = (uintptr_t) "GPL";
	a.log_level = 1;
	a.log_buf = (uintptr_t)log;
	a.log_size = sizeof(log);
	fd = (int)call(side, BPF_PROG_LOAD, &a);
	if (fd < 0)
		print_error("%s: %d %s\n", sides[side], fd, log);
	return fd;
}

static long link_of(unsigned side, int prog, const union bpf_iter_link_info *info)
{
	union bpf_attr a;

	zeroed(a);
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.attach_type = BPF_TRACE_ITER;
	a.link_create.iter_info = (uintptr_t)info;
	a.link_create.iter_info_len = info ? sizeof(*info) : 0;
	return call(side, BPF_LINK_CREATE, &a);
}

static long iterate(unsigned side, long link, uint32_t flags)
{
	union bpf_attr a;

	zeroed(a);
	a.iter_create.link_fd = (uint32_t)link;
	a.iter_create.flags = flags;
	return call(side, BPF_ITER_CREATE, &a);
}

/* All that a program writes of @target. */
static ssize_t written(unsigned side, const char *target, const struct code *c,
		       const union bpf_iter_link_info *info, void *to, size_t room)
{
	int prog = iter_prog(side, target, c);
	long link = link_of(side, prog, info), fd = iterate(side, link, 0);
	ssize_t n = fd < 0 ? fd : read((int)fd, to, room);

	close((int)fd);
	close((int)link);
	close(prog);
	return n;
}

/* Writes @n bytes of what is at @off of the pointer at @arg of the context, unless that is NULL. */
static void writes(struct code *c, int16_t arg, int16_t off, int n)
{
	add(c, MOVR(6, 1), LDX(BPF_DW, 7, 6, arg), JEQ(7, 0, 6), MOVR(2, 7), ADD(2, off),
	    LDX(BPF_DW, 1, 6, 0), LDX(BPF_DW, 1, 1, 0), MOV(3, n), CALL(BPF_FUNC_seq_write));
}

static void maps_programs_and_links_are_listed(void **state maybe_unused)
{
	static const struct {
		const char *target, *structure;
	} kinds[] = {{"bpf_iter_bpf_map", "bpf_map"}, {"bpf_iter_bpf_link", "bpf_link"}};
	struct skep_engine *e;
	uint32_t ids[8];
	int map[2], i;

	for (unsigned side = INTERPRETED; side < SIDES; side++) {
		e = engines[side];
		map[0] = map_new(e, BPF_MAP_TYPE_HASH, 4, 8, 2, 0);
		map[1] = map_new(e, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0);
		for (i = 0; i < 2; i++) {
			struct code c = {.n = 0};
			ssize_t n;

			writes(&c, 8, offset(kinds[i].structure, "id"), 4);
			add(&c, MOV(0, 0), EXIT());
			n = written(side, kinds[i].target, &c, NULL, ids, sizeof(ids));
			assert_int_equal(n, i ? 4 : 8);
			assert_true(ids[0] && (i || ids[1] > ids[0]));
			assert_int_equal(
				next_id(e, i ? BPF_LINK_GET_NEXT_ID : BPF_MAP_GET_NEXT_ID, 0),
				i ? -ENOENT : (long)ids[0]);
		}
		close(map[0]);
		close(map[1]);
	}
}

static void elements_are_shown_and_may_be_changed(void **state maybe_unused)
{
	for (unsigned side = INTERPRETED; side < SIDES; side++) {
		struct skep_engine *e = engines[side];
		int map = map_new(e, BPF_MAP_TYPE_HASH, 4, 8, 8, 0);
		union bpf_iter_link_info info = {.map.map_fd = (uint32_t)map};
		struct code c = {.n = 0};
		uint64_t got[8], value;
		uint32_t key;

		for (key = 1; key < 4; key++) {
			value = key * 100;
			assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, map, &key, &value, 0), 0);
		}
		writes(&c, 24, 0, 8);
		add(&c, LDX(BPF_DW, 7, 6, 24), JEQ(7, 0, 3), LDX(BPF_DW, 1, 7, 0), ADD(1, 1),
		    STX(BPF_DW, 7, 1, 0), MOV(0, 0), EXIT());
		assert_int_equal(
			written(side, "bpf_iter_bpf_map_elem", &c, &info, got, sizeof(got)), 24);
		assert_int_equal(got[0] + got[1] + got[2], 600);
		for (key = 1; key < 4; key++) {
			assert_int_equal(elem(e, BPF_MAP_LOOKUP_ELEM, map, &key, &value, 0), 0);
			assert_int_equal(value, key * 100 + 1);
		}
		close(map);
	}
}

static void values_of_all_cpus_are_shown_together(void **state maybe_unused)
{
	struct skep_engine *e = engines[INTERPRETED];
	int map = map_new(e, BPF_MAP_TYPE_PERCPU_ARRAY, 4, 4, 2, 0);
	union bpf_iter_link_info info = {.map.map_fd = (uint32_t)map};
	uint64_t values[1024] = {7}, got[8] = {0};
	struct code c = {.n = 0};
	uint32_t key = 1;

	assert_int_equal(elem(e, BPF_MAP_UPDATE_ELEM, map, &key, values, 0), 0);
	writes(&c, 24, 0, 8);
	add(&c, MOV(0, 0), EXIT());
	assert_int_equal(written(INTERPRETED, "bpf_iter_bpf_map_elem", &c, &info, got, sizeof(got)),
			 16);
	assert_int_equal(got[0], 0);
	assert_int_equal(got[1], 7);
	close(map);
}

static void this_task_is_one_of_its_own(void **state maybe_unused)
{
	union bpf_iter_link_info info = {.task.tid = (uint32_t)gettid()};

	for (unsigned side = 0; side < SIDES; side++) {
		struct code c = {.n = 0};
		uint32_t pid[4];

		writes(&c, 8, offset("task_struct", "pid"), 4);
		add(&c, MOV(0, 0), EXIT());
		assert_int_equal(written(side, "bpf_iter_task", &c, &info, pid, sizeof(pid)), 4);
		assert_int_equal(pid[0], gettid());
	}
}

/* What seq_printf() writes of @format with a number, a string and a number, @len bytes of them, and what it says. */
static ssize_t printed(unsigned side, const char *format, int32_t size, int32_t len, char out[256])
{
	union bpf_iter_link_info info = {.task.tid = (uint32_t)gettid()};
	struct code c = {.n = 0};
	uint32_t words[8] = {0};
	int i;

	memcpy(words, format, strlen(format));
	add(&c, MOVR(6, 1), LDX(BPF_DW, 7, 6, 8), JEQ(7, 0, 35));
	for (i = 0; i < 8; i++)
		add(&c, ST(BPF_W, 10, -64 + 4 * i, (int32_t)words[i]));
	add(&c, ST(BPF_W, 10, -32, 0x64636261), ST(BPF_W, 10, -28, 0), ST(BPF_DW, 10, -24, -1234),
	    MOVR(1, 10), ADD(1, -32), STX(BPF_DW, 10, 1, -16), ST(BPF_DW, 10, -8, 77),
	    LDX(BPF_DW, 1, 6, 0), LDX(BPF_DW, 1, 1, 0), MOVR(2, 10), ADD(2, -64), MOV(3, size),
	    MOVR(4, 10), ADD(4, -24), MOV(5, len), CALL(BPF_FUNC_seq_printf),
	    STX(BPF_W, 10, 0, -32), LDX(BPF_DW, 1, 6, 0), LDX(BPF_DW, 1, 1, 0), MOVR(2, 10),
	    ADD(2, -32), MOV(3, 4), CALL(BPF_FUNC_seq_write));
	c.insns[2].off = (int16_t)(c.n - 3);
	add(&c, MOV(0, 0), EXIT());
	memset(out, 0, 256);
	return written(side, "bpf_iter_task", &c, &info, out, 256);
}

static void text_is_printed_alike(void **state maybe_unused)
{
	static const char *const formats[] = {
		"",
		"plain",
		"%d",
		"%d %s %u",
		"%x %s",
		"%lld|%s|%llu",
		"%5d|%10s|%-5d|",
		"%08llx",
		"%c",
		"%%",
		"%",
		"%f",
		"%d %",
		"%ld %s %li",
		"%i",
		"%d %s %d %d",
		"%hhd",
		"%.2s",
		"%d %.*s",
		"%+d",
		"% d",
		"%#x",
		"%X",
		"%o",
		"%\x01",
		"\xc3\xa4",
		"%d %5s",
		"%5c|%s|%-3c|",
		"%c%-9s|%03d",
		"%d%09s|",
	};
	static const int32_t lens[] = {0, 4, 8, 16, 24};
	char out[SIDES][256], name[64];
	unsigned f, l, s;
	int cut;

	for (f = 0; f < array_size(formats); f++)
		for (l = 0; l < array_size(lens); l++)
			for (cut = 0; cut < 2; cut++) { /* with its end, or without */
				int32_t size = (int32_t)strlen(formats[f]) + 1 - cut;
				ssize_t n[SIDES];

				if (size < 1)
					continue;
				for (s = 0; s < SIDES; s++)
					n[s] = printed(s, formats[f], size, lens[l], out[s]);
				for (s = 1; s < SIDES; s++) {
					if (n[s] == n[0] && !memcmp(out[s], out[0], sizeof(out[0])))
						continue;
					differ++;
					snprintf(name, sizeof(name), "'%s' %d %d", formats[f], size,
						 lens[l]);
					print_error("%s: kernel %zd '%s', %s %zd '%s'\n", name,
						    n[0], out[0], sides[s], n[s], out[s]);
				}
			}
	assert_int_equal(differ, 0);
}

static void what_is_wrong_is_refused_as_the_kernel_does(void **state maybe_unused)
{
	for (unsigned side = 0; side < 2; side++) {
		union bpf_iter_link_info info = {0};
		struct code c = {.n = 0}, m = {.n = 0};
		int maps, elems, map;
		union bpf_attr a;
		long link;

		add(&c, MOV(0, 0), EXIT());
		maps = iter_prog(side, "bpf_iter_bpf_map", &c);
		elems = iter_prog(side, "bpf_iter_bpf_map_elem", &c);
		assert_true(maps >= 0);
		maps_make(&m, BPF_MAP_TYPE_QUEUE, 0, 8, 2);
		map = m.maps[side];
		info.map.map_fd = (uint32_t)map;
		if (elems >= 0 || side) {
			assert_int_equal(link_of(side, elems, NULL), -EBADF);
			assert_int_equal(link_of(side, elems, &(union bpf_iter_link_info){0}),
					 -EBADF);
			assert_int_equal(link_of(side, elems, &info), -EINVAL);
		} else {
			print_message("this kernel loads no iterator over elements: %d\n", elems);
			elems = iter_prog(side, "bpf_iter_bpf_prog", &c);
		}
		link = link_of(side, maps, NULL);
		assert_true(link >= 0);
		assert_int_equal(iterate(side, link, 1), -EINVAL);
		assert_int_equal(iterate(side, maps, 0), -EINVAL);
		zeroed(a);
		a.link_detach.link_fd = (uint32_t)link;
		assert_int_equal(call(side, BPF_LINK_DETACH, &a), -EOPNOTSUPP);
		zeroed(a);
		a.link_update.link_fd = (uint32_t)link;
		a.link_update.new_prog_fd = (uint32_t)elems;
		assert_int_equal(call(side, BPF_LINK_UPDATE, &a), -EINVAL);
		a.link_update.new_prog_fd = (uint32_t)maps;
		assert_int_equal(call(side, BPF_LINK_UPDATE, &a), 0);
		close((int)link);
		close(maps);
		close(elems);
		maps_close(&m);
	}
}

static void a_program_may_end_it(void **state maybe_unused)
{
	int maps[3], i;
	uint32_t ids[8];

	for (i = 0; i < 3; i++)
		maps[i] = map_new(engines[INTERPRETED], BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	for (i = 0; i < 2; i++) {
		struct code c = {.n = 0};

		writes(&c, 8, offset("bpf_map", "id"), 4);
		add(&c, MOV(0, i), EXIT());
		assert_int_equal(
			written(INTERPRETED, "bpf_iter_bpf_map", &c, NULL, ids, sizeof(ids)),
			i ? 4 : 12);
	}
	for (i = 0; i < 3; i++)
		close(maps[i]);
}

static void nothing_but_its_file_is_written_to(void **state maybe_unused)
{
	struct code c = {.n = 0};
	char text[16];

	add(&c, ST(BPF_DW, 10, -8, 0), MOVR(1, 10), ADD(1, -8), MOVR(2, 10), ADD(2, -8), MOV(3, 8),
	    CALL(BPF_FUNC_seq_write), MOV(0, 0), EXIT());
	assert_int_equal(written(INTERPRETED, "bpf_iter_bpf_map", &c, NULL, text, sizeof(text)), 0);
}

static int open_all(void **state)
{
	kernel = btf__load_vmlinux_btf();
	return !kernel || open_engines(state);
}

static int close_all(void **state)
{
	btf__free(kernel);
	return close_engines(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_programs_and_links_are_listed),
		cmocka_unit_test(elements_are_shown_and_may_be_changed),
		cmocka_unit_test(values_of_all_cpus_are_shown_together),
		cmocka_unit_test(this_task_is_one_of_its_own),
		cmocka_unit_test_setup(text_is_printed_alike, begin),
		cmocka_unit_test(what_is_wrong_is_refused_as_the_kernel_does),
		cmocka_unit_test(a_program_may_end_it),
		cmocka_unit_test(nothing_but_its_file_is_written_to),
	};

	return cmocka_run_group_tests_name("vm: iterators", tests, open_all, close_all);
}
