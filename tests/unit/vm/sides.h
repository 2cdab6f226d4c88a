/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sides.h: the same program in the kernel, interpreted and compiled; what it returns and what becomes of the
 * packet must be the same.
 */
#ifndef TESTS_VM_SIDES_H
#define TESTS_VM_SIDES_H

#include "vm/engine.h"

#include <sys/syscall.h>

enum { KERNEL, INTERPRETED, COMPILED, SIDES };

static struct skep_engine *engines[SIDES];
static const char *const sides[] = {"kernel", "interpreted", "compiled"};
static unsigned runs, differ;

static long call(unsigned side, unsigned cmd, union bpf_attr *a)
{
	long rc;

	if (engines[side])
		return skep_bpf(engines[side], cmd, a, sizeof(*a));
	rc = syscall(__NR_bpf, cmd, a, sizeof(*a));
	return rc < 0 ? -errno : rc;
}

/* A program under construction. */
struct code {
	struct bpf_insn insns[128];
	unsigned n;
	int maps[SIDES]; /* for each MAP_FD(_, -1) */
	unsigned
		callback; /* where a second function begins, which the first names; 0: there is none */
};

/* A map of each side. */
static void __attribute__((unused))
maps_make(struct code *c, uint32_t type, uint32_t key, uint32_t value, uint32_t max)
{
	union bpf_attr a;

	for (unsigned s = 0; s < SIDES; s++) {
		zeroed(a);
		a.map_type = type;
		a.key_size = key;
		a.value_size = value;
		a.max_entries = max;
		c->maps[s] = (int)call(s, BPF_MAP_CREATE, &a);
		assert_true(c->maps[s] >= 0);
	}
}

static void __attribute__((unused)) maps_close(struct code *c)
{
	for (unsigned s = 0; s < SIDES; s++)
		close(c->maps[s]);
}

#define add(c, ...)                                              \
	do {                                                     \
		const struct bpf_insn add_[] = {__VA_ARGS__};    \
		memcpy(&(c)->insns[(c)->n], add_, sizeof(add_)); \
		(c)->n += sizeof(add_) / sizeof(add_[0]);        \
	} while (0)

struct outcome {
	long rc;
	uint32_t retval, size, ctx_size;
	uint8_t data[8192], ctx[256];
};

static uint8_t packet[2048];

/* BTF of a main program and a callback, which the kernel asks for: int main(void), static int cb(void). */
static int btf_of_two(unsigned side)
{
	static const struct {
		uint32_t head[6], types[13];
		char names[13];
	} btf = {
		{0x0001eb9f, 24, 0, 52, 52, 13},
		{1, 1 << 24, 4, 0x01000020, 0, 13 << 24, 1, 5, 12 << 24 | 1, 2, 10, 12 << 24, 2},
		"\0int\0main\0cb",
	};
	union bpf_attr a;

	zeroed(a);
	a.btf = (uintptr_t)&btf;
	a.btf_size = 24 + 52 + 13;
	return (int)call(side, BPF_BTF_LOAD, &a);
}

static int load(unsigned side, uint32_t type, const struct code *code)
{
	struct code whole = *code, *c = &whole;
	struct bpf_func_info funcs[] = {{0, 3}, {code->callback, 4}};
	static char log[65536];
	union bpf_attr a;
	int fd, btf = -1;

	for (unsigned i = 0; i < c->n; i++)
		if (c->insns[i].code == (BPF_LD | BPF_DW | BPF_IMM) && c->insns[i].imm == -1)
			c->insns[i].imm = c->maps[side];
	zeroed(a);
	a.prog_type = type;
	a.prog_flags = type == BPF_PROG_TYPE_SYSCALL ? BPF_F_SLEEPABLE : 0;
	if (type == 32)
		a.expected_attach_type = 45; /* BPF_NETFILTER */
	if (type == BPF_PROG_TYPE_SK_LOOKUP)
		a.expected_attach_type = BPF_SK_LOOKUP;
	if (type == BPF_PROG_TYPE_CGROUP_SKB)
		a.expected_attach_type = BPF_CGROUP_INET_EGRESS;
	a.insns = (uintptr_t)c->insns;
	a.insn_cnt = c->n;
	a.license = (uintptr_t) "GPL";
	a.log_buf = (uintptr_t)log;
	a.log_size = sizeof(log);
	a.log_level = 1;
	if (c->callback) {
		btf = btf_of_two(side);
		a.prog_btf_fd = (uint32_t)btf;
		a.func_info_rec_size = sizeof(funcs[0]);
		a.func_info = (uintptr_t)funcs;
		a.func_info_cnt = 2;
	}
	fd = (int)call(side, BPF_PROG_LOAD, &a);
	if (btf >= 0)
		close(btf);
	if (fd < 0)
		print_error("%s: %d\n%s\n", sides[side], fd, log);
	return fd;
}

static void run(unsigned side, uint32_t type, const struct code *c, uint32_t size,
		struct outcome *o)
{
	static uint8_t ctx[192];
	int fd = load(side, type, c);
	union bpf_attr a;

	memset(o, 0, sizeof(*o));
	o->rc = fd;
	if (fd < 0)
		return;
	zeroed(a);
	a.test.prog_fd = (uint32_t)fd;
	if (size) {
		a.test.data_in = (uintptr_t)packet;
		a.test.data_size_in = size;
		a.test.data_out = (uintptr_t)o->data;
		a.test.data_size_out = sizeof(o->data);
	}
	if (type == BPF_PROG_TYPE_SK_LOOKUP) {
		static const struct bpf_sk_lookup lookup = {.family = 2, .protocol = 6};

		a.test.ctx_in = (uintptr_t)&lookup;
		a.test.ctx_size_in = sizeof(lookup);
	}
	if (type == BPF_PROG_TYPE_SCHED_CLS) {
		a.test.ctx_in = (uintptr_t)ctx;
		a.test.ctx_size_in = 192;
		a.test.ctx_out = (uintptr_t)o->ctx;
		a.test.ctx_size_out = sizeof(o->ctx);
	}
	o->rc = call(side, BPF_PROG_TEST_RUN, &a);
	o->retval = a.test.retval;
	o->size = a.test.data_size_out;
	close(fd);
}

static void maybe_unused compare(const char *name, uint32_t type, const struct code *c,
				 uint32_t size)
{
	static struct outcome o[SIDES];
	unsigned s, i;

	runs++;
	for (s = 0; s < SIDES; s++)
		run(s, type, c, size, &o[s]);
	for (s = 1; s < SIDES; s++) {
		if (!memcmp(&o[0], &o[s], sizeof(o[0])))
			continue;
		differ++;
		for (i = 0; i < sizeof(o[0].data) && o[0].data[i] == o[s].data[i]; i++)
			;
		print_error(
			"%s: kernel %ld r0 0x%x %u bytes, %s %ld r0 0x%x %u bytes, first at %u\n",
			name, o[0].rc, o[0].retval, o[0].size, sides[s], o[s].rc, o[s].retval,
			o[s].size, i);
	}
}

static int open_engines(void **state maybe_unused)
{
	const struct skep_engine_options interpret = {.interpret = true},
					 compile = {.unsafe = true};
	static const uint8_t head[] = {2,    0,	   0,	 0, 0, 1,  2,  0, 0, 0, 0,  2,
				       8,    0,	   0x45, 0, 0, 86, 0,  1, 0, 0, 64, 6,
				       0x12, 0x34, 10,	 0, 0, 1,  10, 0, 0, 2};
	unsigned i;

	for (i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 7 + 3);
	memcpy(packet, head, sizeof(head));
	return skep_engine_open(&engines[INTERPRETED], &interpret) ||
	       skep_engine_open(&engines[COMPILED], &compile);
}

static int close_engines(void **state maybe_unused)
{
	print_message("%u programs on %d sides\n", runs, SIDES);
	skep_engine_free(engines[INTERPRETED]);
	skep_engine_free(engines[COMPILED]);
	return 0;
}

static int maybe_unused begin(void **state maybe_unused)
{
	differ = 0;
	return 0;
}

#endif
