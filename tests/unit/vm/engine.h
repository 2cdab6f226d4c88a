/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h: what tests of the engine share: short ways to make maps and programs. */
#ifndef TESTS_VM_ENGINE_H
#define TESTS_VM_ENGINE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "skep/engine.h"
#include "vm/vm.h"

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOV(d, i)	INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define MOVR(d, s)	INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, i)	INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LDX(z, d, s, o) INSN(BPF_LDX | (z) | BPF_MEM, d, s, o, 0)
#define STX(z, d, s, o) INSN(BPF_STX | (z) | BPF_MEM, d, s, o, 0)
#define ST(z, d, o, i)	INSN(BPF_ST | (z) | BPF_MEM, d, 0, o, i)
#define CALL(f)		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define JEQ(d, i, o)	INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define EXIT()		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP_FD(d, fd) \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define FUNC(d, rel) \
	INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_FUNC, 0, rel), INSN(0, 0, 0, 0, 0)

#define zeroed(attr) memset(&(attr), 0, sizeof(attr))

static inline struct skep_engine *engine(void)
{
	struct skep_engine *e;

	assert_int_equal(skep_engine_open(&e, NULL), 0);
	return e;
}

static inline int map_new(struct skep_engine *e, uint32_t type, uint32_t key, uint32_t value,
			  uint32_t max, uint32_t flags)
{
	union bpf_attr a;

	zeroed(a);
	a.map_type = type;
	a.key_size = key;
	a.value_size = value;
	a.max_entries = max;
	a.map_flags = flags;
	return (int)skep_bpf(e, BPF_MAP_CREATE, &a, sizeof(a));
}

static inline long elem(struct skep_engine *e, unsigned cmd, int fd, const void *key,
			const void *value, uint64_t flags)
{
	union bpf_attr a;

	zeroed(a);
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	if (cmd != BPF_MAP_DELETE_ELEM && cmd != BPF_MAP_GET_NEXT_KEY)
		a.flags = flags;
	return skep_bpf(e, cmd, &a, sizeof(a));
}

static inline long next_id(struct skep_engine *e, unsigned cmd, uint32_t from)
{
	union bpf_attr a;
	long rc;

	zeroed(a);
	a.start_id = from;
	rc = skep_bpf(e, cmd, &a, sizeof(a));
	return rc ? rc : (long)a.next_id;
}

static inline int prog_log(struct skep_engine *e, uint32_t type, const struct bpf_insn *insns,
			   unsigned n, char *log, size_t log_size)
{
	union bpf_attr a;

	zeroed(a);
	a.prog_type = type;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	a.log_level = log ? 1 : 0;
	a.log_buf = (uintptr_t)log;
	a.log_size = (uint32_t)log_size;
	return (int)skep_bpf(e, BPF_PROG_LOAD, &a, sizeof(a));
}

#define prog_new(e, type, ...)                                                                   \
	prog_log(e, type, (const struct bpf_insn[]){__VA_ARGS__},                                \
		 sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn), NULL, \
		 0)

#endif
