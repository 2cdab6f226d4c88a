// SPDX-License-Identifier: Apache-2.0
/*
 * Sequences of calls that mean something: objects are made, meet each other by descriptor, id, pin and
 * slot, and go. fuzz_bpf has the callers that mean no good.
 *
 *	input: { operation, four bytes of it } ...
 */
#include <fcntl.h>
#include <linux/btf.h>

#include "vm/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SLOTS 16
#define CALLS 200

static struct skep_engine *engine;
static int slots[SLOTS]; /* descriptors, -1: none */
static uint8_t key[64], value[4096];

static long call(unsigned cmd, union bpf_attr *a)
{
	return skep_bpf(engine, cmd, a, sizeof(*a));
}

static void keep(uint8_t slot, long fd)
{
	if (fd < 0)
		return;
	fd_close(&slots[slot % SLOTS]);
	slots[slot % SLOTS] = (int)fd;
}

static int at(uint8_t slot)
{
	return slots[slot % SLOTS];
}

/* ---- what is loaded ----------------------------------------------------------------------------*/
/* int main(void *), int func(void *), both global. */
static const struct {
	struct btf_header head;
	uint32_t types[22];
	char strings[16];
} btf = {
	{BTF_MAGIC, BTF_VERSION, 0, sizeof(struct btf_header), 0, sizeof(btf.types),
	 sizeof(btf.types), sizeof(btf.strings)},
	{
		1,  BTF_KIND_INT << 24,
		4,  BTF_INT_SIGNED << 24 | 32, /* 1 */
		0,  BTF_KIND_PTR << 24,
		0, /* 2 */
		0,  BTF_KIND_FUNC_PROTO << 24 | 1,
		1,  0,
		2, /* 3 */
		5,  BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL,
		3, /* 4 */
		10, BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL,
		3, /* 5 */
		1,  BTF_KIND_INT << 24,
		4,  32, /* 6 */
	},
	"\0int\0main\0func",
};

static int load_btf(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.btf = (uintptr_t)&btf;
	a.btf_size = sizeof(btf);
	return (int)call(BPF_BTF_LOAD, &a);
}

#define INSN(c, d, s, o, i)                                                         \
	{                                                                           \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) \
	}
#define MOV(d, i)  INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define COPY(d, s) INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(d, i)  INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define CALL(i)	   INSN(BPF_JMP | BPF_CALL, 0, 0, 0, i)
#define EXIT	   INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static void load(uint8_t slot, uint8_t type, uint8_t what, uint8_t with)
{
	struct bpf_insn returns[] = {MOV(0, what & 7), EXIT};
	struct bpf_insn calls[] = {CALL(1), EXIT, MOV(0, 3), EXIT};
	struct bpf_insn looks[] = {
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0),
		COPY(2, 10),
		ADD(2, -8),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, at(with)),
		INSN(0, 0, 0, 0, 0),
		CALL((what & 8) ? BPF_FUNC_map_delete_elem : BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1, 0),
		MOV(0, 1),
		EXIT,
	};
	struct bpf_insn tail[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, at(with)),
		INSN(0, 0, 0, 0, 0),
		MOV(3, what >> 6),
		CALL(BPF_FUNC_tail_call),
		MOV(0, 2),
		EXIT,
	};
	const struct {
		struct bpf_insn *insns;
		unsigned n;
	} all[] = {{returns, 2}, {calls, 4}, {looks, array_size(looks)}, {tail, array_size(tail)}};
	struct bpf_func_info funcs[] = {{0, 4}, {2, 5}};
	cleanup(fd_close) int types = load_btf();
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type % 34;
	a.insns = (uintptr_t)all[what >> 4 & 3].insns;
	a.insn_cnt = all[what >> 4 & 3].n;
	a.license = (uintptr_t) "GPL";
	a.prog_btf_fd = (uint32_t)types;
	a.func_info = (uintptr_t)funcs;
	a.func_info_rec_size = sizeof(*funcs);
	a.func_info_cnt = (what >> 4 & 3) == 1 ? 2 : 1;
	if (a.prog_type == BPF_PROG_TYPE_EXT) {
		a.attach_prog_fd = (uint32_t)at(with);
		a.attach_btf_id = 4 + (what & 1);
	} else {
		a.expected_attach_type = with % 58;
	}
	if (a.prog_type == BPF_PROG_TYPE_SYSCALL)
		a.prog_flags = BPF_F_SLEEPABLE;
	keep(slot, call(BPF_PROG_LOAD, &a));
}

static void map(uint8_t slot, uint8_t type, uint8_t shape, uint8_t inner)
{
	static const uint8_t keys[] = {4, 8, 4, 0}, values[] = {4, 8, 64, 4};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = type % 34;
	a.key_size = keys[shape & 3];
	a.value_size = values[shape >> 2 & 3];
	a.max_entries = 1U + (shape >> 4);
	if (type >= 128)
		a.map_flags = 1U << (inner & 15);
	else
		a.inner_map_fd = (uint32_t)at(inner);
	if (a.map_type == BPF_MAP_TYPE_RINGBUF || a.map_type == BPF_MAP_TYPE_USER_RINGBUF)
		a.max_entries = 4096;
	keep(slot, call(BPF_MAP_CREATE, &a));
}

/* ---- what is done ------------------------------------------------------------------------------*/
static void element(unsigned cmd, uint8_t map_at, uint8_t k, uint8_t v, uint8_t flags)
{
	union bpf_attr a;
	int fd = at(v);

	memset(key, 0, sizeof(key));
	key[0] = k;
	memset(value, v, sizeof(value));
	memcpy(value, &fd, sizeof(fd));
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)at(map_at);
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	a.flags = flags & 7;
	call(cmd, &a);
}

static void batch(unsigned cmd, uint8_t map_at, uint8_t n)
{
	static uint8_t keys[4096], values[65536];
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.batch.map_fd = (uint32_t)at(map_at);
	a.batch.keys = (uintptr_t)keys;
	a.batch.values = (uintptr_t)values;
	a.batch.in_batch = n & 1 ? (uintptr_t)key : 0;
	a.batch.out_batch = (uintptr_t)key;
	a.batch.count = n & 15;
	call(cmd, &a);
}

static void run(uint8_t prog, uint8_t repeat)
{
	static uint8_t packet[256], out[1024];
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (uint32_t)at(prog);
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = 64;
	a.test.data_out = (uintptr_t)out;
	a.test.data_size_out = sizeof(out);
	a.test.repeat = repeat & 3;
	call(BPF_PROG_TEST_RUN, &a);
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (uint32_t)at(prog);
	call(BPF_PROG_TEST_RUN, &a);
}

static void make_link(uint8_t slot, uint8_t prog, uint8_t target, uint8_t type)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)at(prog);
	a.link_create.attach_type = type % 58;
	a.link_create.target_fd = target < 200 ? (uint32_t)at(target) : 1; /* or lo */
	if (target & 16)
		a.link_create.target_btf_id = 4 + (target & 1);
	if (type >= 128)
		a.link_create.flags = 1U << (target & 7);
	keep(slot, call(BPF_LINK_CREATE, &a));
}

static void relink(unsigned cmd, uint8_t slot, uint8_t prog, uint8_t old)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_update.link_fd = (uint32_t)at(slot);
	if (cmd == BPF_LINK_UPDATE) {
		a.link_update.new_prog_fd = (uint32_t)at(prog);
		a.link_update.flags = old & 1 ? BPF_F_REPLACE : 0;
		a.link_update.old_prog_fd = old & 1 ? (uint32_t)at(old >> 1) : 0;
	}
	call(cmd, &a);
}

static void attach(unsigned cmd, uint8_t prog, uint8_t target, uint8_t type)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)at(target);
	a.attach_bpf_fd = (uint32_t)at(prog);
	a.attach_type = type % 58;
	call(cmd, &a);
}

static void pin(unsigned cmd, uint8_t slot, uint8_t name)
{
	char path[] = "/sys/fs/bpf/a";
	union bpf_attr a;
	long rc;

	path[sizeof(path) - 2] = (char)('a' + (name & 7));
	memset(&a, 0, sizeof(a));
	a.pathname = (uintptr_t)path;
	if (cmd == BPF_OBJ_PIN)
		a.bpf_fd = (uint32_t)at(slot);
	rc = name & 128 ? vm_unpin(engine, path) : call(cmd, &a);
	if (cmd == BPF_OBJ_GET && !(name & 128))
		keep(slot, rc);
}

static void by_id(uint8_t slot, uint8_t kind, uint8_t start)
{
	static const unsigned next[] = {BPF_MAP_GET_NEXT_ID, BPF_PROG_GET_NEXT_ID,
					BPF_BTF_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID};
	static const unsigned get[] = {BPF_MAP_GET_FD_BY_ID, BPF_PROG_GET_FD_BY_ID,
				       BPF_BTF_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID};
	union bpf_attr a;
	uint32_t id;

	memset(&a, 0, sizeof(a));
	a.start_id = start & 31;
	if (call(next[kind & 3], &a))
		return;
	id = a.next_id;
	memset(&a, 0, sizeof(a));
	a.map_id = id;
	keep(slot, call(get[kind & 3], &a));
}

static void info(uint8_t slot)
{
	static uint8_t out[512];
	union bpf_attr a;

	memset(out, 0, sizeof(out));
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (uint32_t)at(slot);
	a.info.info_len = sizeof(struct bpf_link_info);
	a.info.info = (uintptr_t)out;
	call(BPF_OBJ_GET_INFO_BY_FD, &a);
}

static void xdp(uint8_t prog, uint8_t old, uint8_t flags)
{
	const char *why;
	struct vm_xdp x;

	vm_xdp_attach(engine, &vm_self, 1, prog & 128 ? -1 : at(prog), at(old), flags & 31, &why);
	vm_xdp_query(engine, 1, &x);
}

static void small(unsigned cmd, uint8_t one, uint8_t two)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)at(one); /* freeze; bind map: the program; raw tracepoint: below */
	if (cmd == BPF_PROG_BIND_MAP)
		a.prog_bind_map.map_fd = (uint32_t)at(two);
	if (cmd == BPF_RAW_TRACEPOINT_OPEN) {
		a.raw_tracepoint.name = two & 1 ? (uintptr_t) "sched_switch" : 0;
		a.raw_tracepoint.prog_fd = (uint32_t)at(one);
		keep(two, call(cmd, &a));
		return;
	}
	call(cmd, &a);
}

static void one(const uint8_t *d)
{
	static const unsigned elements[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
					    BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY,
					    BPF_MAP_LOOKUP_AND_DELETE_ELEM};
	static const unsigned batches[] = {BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH,
					   BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH};
	static const unsigned smalls[] = {BPF_MAP_FREEZE, BPF_PROG_BIND_MAP,
					  BPF_RAW_TRACEPOINT_OPEN, BPF_ENABLE_STATS};

	switch (d[0] & 31) {
	case 0:
	case 1:
		return map(d[1], d[2], d[3], d[4]);
	case 2:
	case 3:
	case 4:
		return load(d[1], d[2], d[3], d[4]);
	case 5:
	case 6:
		return make_link(d[1], d[2], d[3], d[4]);
	case 7:
		return relink(d[4] & 64 ? BPF_LINK_DETACH : BPF_LINK_UPDATE, d[1], d[2], d[3]);
	case 8:
		return attach(BPF_PROG_ATTACH, d[1], d[2], d[3]);
	case 9:
		return attach(BPF_PROG_DETACH, d[1], d[2], d[3]);
	case 10:
		return attach(BPF_PROG_QUERY, d[1], d[2], d[3]);
	case 11:
		return pin(d[3] & 1 ? BPF_OBJ_PIN : BPF_OBJ_GET, d[1], d[2]);
	case 12:
		return by_id(d[1], d[2], d[3]);
	case 13:
		return info(d[1]);
	case 14:
	case 15:
	case 16:
		return element(elements[(d[0] >> 5) % 5], d[1], d[2], d[3], d[4]);
	case 17:
		return batch(batches[d[2] & 3], d[1], d[3]);
	case 18:
	case 19:
		return run(d[1], d[2]);
	case 20:
	case 21:
		return fd_close(&slots[d[1] % SLOTS]);
	case 22:
		return keep(d[1], fcntl(at(d[2]), F_DUPFD_CLOEXEC, 0));
	case 23:
		return vm_sweep(engine);
	case 24:
		return xdp(d[1], d[2], d[3]);
	case 25:
		return small(smalls[d[3] & 3], d[1], d[2]);
	case 26:
		return keep(d[1], load_btf());
	default:
		return element(elements[d[0] >> 5 & 1], d[1], d[2], d[3], 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct skep_engine_options options = {
		.interpret = true, .cpus = 2, .memory_max = 16 << 20};
	unsigned i;

	if (skep_engine_open(&engine, &options))
		abort();
	engine->budget = 20000;
	for (i = 0; i < SLOTS; i++)
		slots[i] = -1;
	for (i = 0; i < CALLS && size >= 5; i++, data += 5, size -= 5)
		one(data);
	for (i = 0; i < SLOTS; i++)
		fd_close(&slots[i]);
	vm_sweep(engine);
	skep_engine_free(engine);
	return 0;
}
