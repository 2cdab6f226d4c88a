// SPDX-License-Identifier: Apache-2.0
/*
 * bpf(2) beside the kernel's: the same calls, made of both, answer the same.
 *
 * Each call is made twice with the same attributes, but for descriptors: a number in an attribute that
 * stands for one is written as FD(i), the i-th object that both sides have made. What a successful
 * call says is compared too, where the kernel's answer is not its own (ids, times).
 */
#include "vm/engine.h"
#include "vm/port.h"

#include <linux/btf.h>
#include <sys/syscall.h>

#define FDS 16

/* One of the two: the kernel (engine NULL) or the engine. */
struct side {
	struct skep_engine *engine;
	int fd[FDS];
};

static struct side kernel, here;
static unsigned calls, differ;
static const char *what;

static long call(struct side *s, unsigned cmd, union bpf_attr *a, unsigned size)
{
	long rc;

	if (s->engine)
		return skep_bpf(s->engine, cmd, a, size);
	rc = syscall(__NR_bpf, cmd, a, size);
	return rc < 0 ? -errno : rc;
}

static void report(unsigned cmd, long k, long e)
{
	differ++;
	print_error("%s (command %u): kernel %ld, engine %ld\n", what, cmd, k, e);
}

/* A call whose result is a number; @fd: offsets of descriptors in attr, up to three, -1 ends. */
static long both(const char *name, unsigned cmd, union bpf_attr a, unsigned size, int at, int i)
{
	union bpf_attr k = a, e = a;
	long rk, re;

	what = name;
	calls++;
	if (at >= 0) {
		memcpy((char *)&k + at, &kernel.fd[i], 4);
		memcpy((char *)&e + at, &here.fd[i], 4);
	}
	rk = call(&kernel, cmd, &k, size);
	re = call(&here, cmd, &e, size);
	if (rk < 0 || re < 0) {
		if (rk != re)
			report(cmd, rk, re);
		return rk;
	}
	return rk;
}

/* A call that makes a descriptor, the i-th of both sides. */
static void make(const char *name, unsigned cmd, union bpf_attr a, int at, int from, int i)
{
	union bpf_attr k = a, e = a;

	what = name;
	calls++;
	if (at >= 0) {
		memcpy((char *)&k + at, &kernel.fd[from], 4);
		memcpy((char *)&e + at, &here.fd[from], 4);
	}
	kernel.fd[i] = (int)call(&kernel, cmd, &k, sizeof(k));
	here.fd[i] = (int)call(&here, cmd, &e, sizeof(e));
	if ((kernel.fd[i] < 0 || here.fd[i] < 0) && kernel.fd[i] != here.fd[i])
		report(cmd, kernel.fd[i], here.fd[i]);
}

static void drop(int i)
{
	if (kernel.fd[i] >= 0)
		close(kernel.fd[i]);
	if (here.fd[i] >= 0)
		close(here.fd[i]);
	kernel.fd[i] = here.fd[i] = -1;
}

#define OFF(field) (int)offsetof(union bpf_attr, field)

static union bpf_attr map_attr(uint32_t type, uint32_t key, uint32_t value, uint32_t max,
			       uint32_t flags)
{
	union bpf_attr a;

	zeroed(a);
	a.map_type = type;
	a.key_size = key;
	a.value_size = value;
	a.max_entries = max;
	a.map_flags = flags;
	return a;
}

/* ---- any command ------------------------------------------------------------------------------------ */

static void every_command_refuses_what_is_no_call(void **state maybe_unused)
{
	static char page[8192];
	union bpf_attr a;
	unsigned cmd, i;

	for (cmd = 0; cmd < 37; cmd++) {
		if (cmd == BPF_PROG_GET_NEXT_ID || cmd == BPF_MAP_GET_NEXT_ID ||
		    cmd == BPF_BTF_GET_NEXT_ID || cmd == BPF_LINK_GET_NEXT_ID)
			continue; /* the kernel has objects of others */
		zeroed(a);
		both("zeros", cmd, a, sizeof(a), -1, 0);
		both("no attributes", cmd, a, 0, -1, 0);
		both("four bytes", cmd, a, 4, -1, 0);
		memset(&a, 0xff, sizeof(a));
		both("ones", cmd, a, sizeof(a), -1, 0);
		for (i = 0; i < 2; i++) {
			long k, e;

			memset(page, 0, sizeof(page));
			page[200] = (char)i;
			k = syscall(__NR_bpf, cmd, page, i ? 208 : 5000) ? -errno : 0;
			e = skep_bpf(here.engine, cmd, (void *)page, i ? 208 : 5000);
			what = "a tail";
			calls++;
			if (k != e)
				report(cmd, k, e);
		}
		what = "no memory";
		if ((syscall(__NR_bpf, cmd, (void *)8, sizeof(a)) ? -errno : 0) !=
		    skep_bpf(here.engine, cmd, (void *)8, sizeof(a)))
			report(cmd, -1, -1);
	}
	zeroed(a);
	both("command 1000", 1000, a, sizeof(a), -1, 0);
	assert_int_equal(differ, 0);
}

/* Each word of the attributes, one after the other, is set to strange values. */
static void every_command_refuses_strange_words(void **state maybe_unused)
{
	static const uint32_t values[] = {1, 0x7fffffff, 0xffffffff, 1000};
	union bpf_attr a;
	unsigned cmd, w, i;

	for (cmd = 0; cmd < 36; cmd++) {
		if (cmd == BPF_PROG_GET_FD_BY_ID || cmd == BPF_MAP_GET_FD_BY_ID ||
		    cmd == BPF_BTF_GET_FD_BY_ID || cmd == BPF_LINK_GET_FD_BY_ID ||
		    cmd == BPF_PROG_GET_NEXT_ID || cmd == BPF_MAP_GET_NEXT_ID ||
		    cmd == BPF_BTF_GET_NEXT_ID || cmd == BPF_LINK_GET_NEXT_ID ||
		    cmd == BPF_MAP_CREATE || cmd == BPF_TASK_FD_QUERY || cmd == BPF_ENABLE_STATS)
			continue; /* what they answer depends on what else the kernel holds */
		for (w = 0; w < sizeof(a) / 4; w++)
			for (i = 0; i < 4; i++) {
				char name[64];

				zeroed(a);
				((uint32_t *)&a)[w] = values[i];
				snprintf(name, sizeof(name), "word %u is 0x%x", w, values[i]);
				both(name, cmd, a, sizeof(a), -1, 0);
			}
	}
	assert_int_equal(differ, 0);
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

/* Maps of the kernel's own things: of sockets, cgroups, its CPUs, programs that it calls. */
static bool not_here(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_CPUMAP:
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SOCKHASH:
	case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
	case BPF_MAP_TYPE_CGROUP_STORAGE:
	case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
	case BPF_MAP_TYPE_STRUCT_OPS:
	case 33: /* arena */
		return true;
	default:
		return false;
	}
}

static void maps_of_all_shapes_are_made_or_refused_alike(void **state maybe_unused)
{
	static const uint32_t sizes[] = {0, 1, 4, 8, 512, 70000};
	static const uint32_t entries[] = {0, 1, 3, 4096};
	static const uint32_t flags[] = {0,
					 BPF_F_NO_PREALLOC,
					 BPF_F_MMAPABLE,
					 BPF_F_RDONLY_PROG,
					 BPF_F_NO_COMMON_LRU,
					 BPF_F_RDONLY | BPF_F_WRONLY,
					 1 << 30};
	unsigned t, k, v, n, f;

	for (t = 0; t < 34; t++) {
		if (not_here(t))
			continue;
		for (k = 0; k < 6; k++)
			for (v = 0; v < 6; v++)
				for (n = 0; n < 4; n++)
					for (f = 0; f < 7; f++) {
						char name[96];

						snprintf(
							name, sizeof(name),
							"map type %u key %u value %u max %u flags 0x%x",
							t, sizes[k], sizes[v], entries[n],
							flags[f]);
						make(name, BPF_MAP_CREATE,
						     map_attr(t, sizes[k], sizes[v], entries[n],
							      flags[f]),
						     -1, 0, 0);
						drop(0);
					}
	}
	assert_int_equal(differ, 0);
}

static void elements(const char *type, uint32_t t, uint32_t key_size, uint32_t flags)
{
	static const unsigned cmds[] = {BPF_MAP_LOOKUP_ELEM,  BPF_MAP_UPDATE_ELEM,
					BPF_MAP_UPDATE_ELEM,  BPF_MAP_LOOKUP_ELEM,
					BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_AND_DELETE_ELEM,
					BPF_MAP_DELETE_ELEM,  BPF_MAP_DELETE_ELEM,
					BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_AND_DELETE_BATCH,
					BPF_MAP_UPDATE_BATCH, BPF_MAP_DELETE_BATCH,
					BPF_MAP_FREEZE,	      BPF_MAP_FREEZE,
					BPF_MAP_UPDATE_ELEM,  BPF_MAP_LOOKUP_ELEM};
	static uint8_t keys[64], values[4096];
	unsigned i, f;

	make(type, BPF_MAP_CREATE, map_attr(t, key_size, 8, 4, flags), -1, 0, 0);
	for (i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		for (f = 0; f < 6; f++) {
			char name[96];
			union bpf_attr a;
			bool batch =
				cmds[i] >= BPF_MAP_LOOKUP_BATCH && cmds[i] <= BPF_MAP_DELETE_BATCH;

			snprintf(name, sizeof(name), "%s, step %u with flags %u", type, i, f);
			zeroed(a);
			if (batch) {
				a.batch.keys = (uintptr_t)keys;
				a.batch.values = (uintptr_t)values;
				a.batch.out_batch = (uintptr_t)values;
				a.batch.count = 2;
				a.batch.elem_flags = f;
				if (f == 5)
					a.batch.elem_flags = 0, a.batch.flags = 1;
				both(name, cmds[i], a, sizeof(a), OFF(batch.map_fd), 0);
				continue;
			}
			if (cmds[i] != BPF_MAP_FREEZE)
				a.key = key_size ? (uintptr_t)keys : f == 5 ? 1 : 0;
			if (cmds[i] != BPF_MAP_FREEZE && cmds[i] != BPF_MAP_DELETE_ELEM)
				a.value = (uintptr_t)values;
			if (cmds[i] == BPF_MAP_LOOKUP_ELEM || cmds[i] == BPF_MAP_UPDATE_ELEM ||
			    cmds[i] == BPF_MAP_LOOKUP_AND_DELETE_ELEM)
				a.flags = f;
			both(name, cmds[i], a, sizeof(a), OFF(map_fd), 0);
		}
	drop(0);
}

static void elements_are_taken_and_given_alike(void **state maybe_unused)
{
	elements("hash", BPF_MAP_TYPE_HASH, 4, 0);
	elements("array", BPF_MAP_TYPE_ARRAY, 4, 0);
	elements("read-only", BPF_MAP_TYPE_ARRAY, 4, BPF_F_RDONLY);
	elements("write-only", BPF_MAP_TYPE_HASH, 4, BPF_F_WRONLY);
	elements("per-CPU hash", BPF_MAP_TYPE_PERCPU_HASH, 4, 0);
	elements("per-CPU array", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0);
	elements("LRU", BPF_MAP_TYPE_LRU_HASH, 4, 0);
	elements("LPM", BPF_MAP_TYPE_LPM_TRIE, 8, BPF_F_NO_PREALLOC);
	elements("queue", BPF_MAP_TYPE_QUEUE, 0, 0);
	elements("stack", BPF_MAP_TYPE_STACK, 0, 0);
	elements("bloom", BPF_MAP_TYPE_BLOOM_FILTER, 0, 0);
	assert_int_equal(differ, 0);
}

static void bad_addresses_and_names_are_refused_alike(void **state maybe_unused)
{
	static const char *const names[] = {"good_name.1", "bad-name", "fifteen_letters",
					    "sixteen__letters", ""};
	static const unsigned cmds[] = {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,
					BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY};
	union bpf_attr a;
	unsigned i;

	for (i = 0; i < 5; i++) {
		a = map_attr(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
		memcpy(a.map_name, names[i], strnlen(names[i], 16));
		make(names[i], BPF_MAP_CREATE, a, -1, 0, 0);
		drop(0);
	}
	make("array", BPF_MAP_CREATE, map_attr(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), -1, 0, 0);
	for (i = 0; i < 4; i++) {
		zeroed(a);
		both("no key", cmds[i], a, sizeof(a), OFF(map_fd), 0);
		a.key = 8;
		both("a bad key", cmds[i], a, sizeof(a), OFF(map_fd), 0);
		a.map_fd = 0;
		both("no map", cmds[i], a, sizeof(a), -1, 0);
		a.map_fd = 9999;
		both("no descriptor", cmds[i], a, sizeof(a), -1, 0);
	}
	drop(0);
	assert_int_equal(differ, 0);
}

/* ---- programs -------------------------------------------------------------------------------------------- */

static const struct bpf_insn pass[] = {MOV(0, 1), EXIT()};

static union bpf_attr prog_attr(uint32_t type, uint32_t attach)
{
	union bpf_attr a;

	zeroed(a);
	a.prog_type = type;
	a.insns = (uintptr_t)pass;
	a.insn_cnt = 2;
	a.license = (uintptr_t) "GPL";
	a.expected_attach_type = attach;
	return a;
}

static void programs_are_loaded_or_refused_alike(void **state maybe_unused)
{
	union bpf_attr a;
	unsigned t, at;

	for (t = 0; t < 34; t++)
		for (at = 0; at < 58; at++) {
			char name[64];

			if (t == BPF_PROG_TYPE_TRACING || t == BPF_PROG_TYPE_LSM ||
			    t == BPF_PROG_TYPE_STRUCT_OPS || t == BPF_PROG_TYPE_EXT ||
			    t == BPF_PROG_TYPE_LIRC_MODE2)
				continue; /* about a kernel's own parts; not in every kernel */
			snprintf(name, sizeof(name), "program type %u for hook %u", t, at);
			make(name, BPF_PROG_LOAD, prog_attr(t, at), -1, 0, 0);
			drop(0);
		}
	a = prog_attr(BPF_PROG_TYPE_XDP, 0);
	a.insn_cnt = 0;
	both("no instructions", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	a.insn_cnt = 2000000;
	both("too many", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	a.insn_cnt = 1;
	both("no exit", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	a = prog_attr(BPF_PROG_TYPE_XDP, 0);
	a.insns = 8;
	both("bad instructions", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	a = prog_attr(BPF_PROG_TYPE_XDP, 0);
	a.license = 8;
	both("bad license", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	a = prog_attr(BPF_PROG_TYPE_XDP, 0);
	memcpy(a.prog_name, "a-b", 3);
	both("bad name", BPF_PROG_LOAD, a, sizeof(a), -1, 0);
	for (t = 0; t < 32; t++) {
		a = prog_attr(BPF_PROG_TYPE_XDP, 0);
		a.prog_flags = 1U << t;
		if (t == 6 || t == 16)
			continue; /* of a device; with a token */
		make("flags", BPF_PROG_LOAD, a, -1, 0, 0);
		drop(0);
	}
	assert_int_equal(differ, 0);
}

static void logs_are_given_alike(void **state maybe_unused)
{
	static char log[4096];
	static const uint32_t sizes[] = {0, 1, 8, sizeof(log), UINT32_MAX};
	union bpf_attr a;
	unsigned level, s, buf;

	for (level = 0; level < 20; level++)
		for (s = 0; s < 5; s++)
			for (buf = 0; buf < 2; buf++) {
				char name[64];

				snprintf(name, sizeof(name), "log level %u size %u buffer %u",
					 level, sizes[s], buf);
				a = prog_attr(BPF_PROG_TYPE_SOCKET_FILTER, 0);
				a.log_level = level;
				a.log_size = sizes[s];
				a.log_buf = buf ? (uintptr_t)log : 0;
				make(name, BPF_PROG_LOAD, a, -1, 0, 0);
				drop(0);
			}
	assert_int_equal(differ, 0);
}

/* ---- test runs -------------------------------------------------------------------------------------------- */

static void one_run(const char *name, int prog, union bpf_attr a)
{
	static uint8_t out_k[8192], out_e[8192], ctx_k[8192], ctx_e[8192];
	union bpf_attr k = a, e = a;
	long rk, re;

	what = name;
	calls++;
	memset(out_k, 0, sizeof(out_k));
	memset(out_e, 0, sizeof(out_e));
	memset(ctx_k, 0, sizeof(ctx_k));
	memset(ctx_e, 0, sizeof(ctx_e));
	k.test.prog_fd = (uint32_t)kernel.fd[prog];
	e.test.prog_fd = (uint32_t)here.fd[prog];
	if (a.test.data_out) {
		k.test.data_out = (uintptr_t)out_k;
		e.test.data_out = (uintptr_t)out_e;
	}
	if (a.test.ctx_out) {
		k.test.ctx_out = (uintptr_t)ctx_k;
		e.test.ctx_out = (uintptr_t)ctx_e;
	}
	rk = call(&kernel, BPF_PROG_TEST_RUN, &k, sizeof(k));
	re = call(&here, BPF_PROG_TEST_RUN, &e, sizeof(e));
	if (rk != re) {
		report(BPF_PROG_TEST_RUN, rk, re);
		return;
	}
	if (k.test.retval != e.test.retval || k.test.data_size_out != e.test.data_size_out ||
	    k.test.ctx_size_out != e.test.ctx_size_out) {
		print_error("%s: retval %u %u, data %u %u, ctx %u %u\n", name, k.test.retval,
			    e.test.retval, k.test.data_size_out, e.test.data_size_out,
			    k.test.ctx_size_out, e.test.ctx_size_out);
		differ++;
	}
	if (memcmp(out_k, out_e, sizeof(out_k)) || memcmp(ctx_k, ctx_e, sizeof(ctx_k))) {
		unsigned i;

		for (i = 0; i < sizeof(out_k) && out_k[i] == out_e[i]; i++)
			;
		if (i < sizeof(out_k))
			print_error("%s: data differ at %u: %02x %02x\n", name, i, out_k[i],
				    out_e[i]);
		for (i = 0; i < sizeof(ctx_k) && ctx_k[i] == ctx_e[i]; i++)
			;
		if (i < sizeof(ctx_k))
			print_error("%s: context differs at %u: %02x %02x\n", name, i, ctx_k[i],
				    ctx_e[i]);
		differ++;
	}
}

static uint8_t packet[8192] = {2, 0, 0,	 0, 0, 1, 2,  0, 0, 0, 0,  2, 8, 0, 0x45, 0,	0, 40, 0, 1,
			       0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80};

static void runs_of_size(const char *type, int prog, unsigned size)
{
	static const uint32_t outs[] = {0, 1, 10, 60, 4096};
	char name[96];
	union bpf_attr a;
	unsigned i;

	for (i = 0; i < 5; i++) {
		zeroed(a);
		snprintf(name, sizeof(name), "%s, %u bytes, room %u", type, size, outs[i]);
		a.test.data_in = (uintptr_t)packet;
		a.test.data_size_in = size;
		a.test.data_out = 1;
		a.test.data_size_out = outs[i];
		a.test.repeat = i;
		one_run(name, prog, a);
		a.test.data_out = 0;
		one_run(name, prog, a);
	}
}

static void runs_with_context(const char *type, int prog)
{
	static uint32_t ctx[64];
	static const uint32_t values[] = {1, 4, 20, 300, 0xffffffff};
	char name[96];
	union bpf_attr a;
	unsigned w, i, s;

	for (w = 0; w < 60; w++)
		for (i = 0; i < 5; i++)
			for (s = 0; s < 3; s++) {
				memset(ctx, 0, sizeof(ctx));
				ctx[w] = values[i];
				zeroed(a);
				snprintf(name, sizeof(name), "%s, word %u of context 0x%x, size %u",
					 type, w, values[i], s);
				a.test.data_in = (uintptr_t)packet;
				a.test.data_size_in = 64;
				a.test.ctx_in = (uintptr_t)ctx;
				a.test.ctx_size_in = s == 0 ? sizeof(ctx) : s == 1 ? 24 : 192;
				a.test.ctx_out = 1;
				a.test.ctx_size_out = s == 0 ? sizeof(ctx) : s == 1 ? 8 : 24;
				one_run(name, prog, a);
			}
}

static void runs_with_words(const char *type, int prog)
{
	char name[96];
	union bpf_attr a;
	unsigned f;

	for (f = 0; f < 6; f++) {
		zeroed(a);
		snprintf(name, sizeof(name), "%s, flags %u", type, f);
		a.test.data_in = (uintptr_t)packet;
		a.test.data_size_in = 64;
		a.test.flags = f == 2 ? 0 : f;
		a.test.cpu = f == 4;
		a.test.batch_size = f == 5;
		if (a.test.flags != 2 && a.test.flags != 3)
			one_run(name, prog, a);
		zeroed(a);
		a.test.ctx_size_in = f == 1;
		a.test.ctx_in = f == 2 ? (uintptr_t)packet : 0;
		a.test.ctx_size_out = f == 3;
		a.test.data_in = f == 4 ? 8 : 0;
		a.test.data_size_in = f == 4 ? 64 : 0;
		one_run(name, prog, a);
	}
}

static void test_runs_answer_alike(void **state maybe_unused)
{
	static const uint32_t types[] = {
		BPF_PROG_TYPE_XDP,	  BPF_PROG_TYPE_SCHED_CLS,   BPF_PROG_TYPE_SOCKET_FILTER,
		BPF_PROG_TYPE_SCHED_ACT,  BPF_PROG_TYPE_CGROUP_SKB,  BPF_PROG_TYPE_FLOW_DISSECTOR,
		BPF_PROG_TYPE_LWT_IN,	  BPF_PROG_TYPE_SK_LOOKUP,   BPF_PROG_TYPE_RAW_TRACEPOINT,
		BPF_PROG_TYPE_KPROBE,	  BPF_PROG_TYPE_SYSCALL,     BPF_PROG_TYPE_SOCK_OPS,
		BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_CGROUP_SOCK, BPF_PROG_TYPE_SK_MSG};
	static const unsigned sizes[] = {0,    1,    13,   14,	 33,   34,   64,
					 1500, 3520, 3521, 3712, 3713, 4096, 8000};
	struct bpf_insn one[] = {MOV(0, 1), EXIT()};
	unsigned t, s;

	for (t = 0; t < sizeof(types) / sizeof(types[0]); t++) {
		char name[32];
		union bpf_attr a = prog_attr(types[t], 0);

		a.insns = (uintptr_t)one;
		if (types[t] == BPF_PROG_TYPE_SK_LOOKUP)
			a.expected_attach_type = BPF_SK_LOOKUP;
		if (types[t] == BPF_PROG_TYPE_SYSCALL)
			a.prog_flags = BPF_F_SLEEPABLE;
		snprintf(name, sizeof(name), "type %u", types[t]);
		make(name, BPF_PROG_LOAD, a, -1, 0, 0);
		for (s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			runs_of_size(name, 0, sizes[s]);
		runs_with_context(name, 0);
		runs_with_words(name, 0);
		drop(0);
	}
	assert_int_equal(differ, 0);
}

/* The kernel's frames are those of its loopback interface, and so are these. */
static uint8_t frame_bytes[VM_PORT_BATCH][VM_FRAME_SIZE];
static unsigned lent, settled;

static unsigned lend(struct vm_port *p maybe_unused, struct vm_frame *frames, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		frames[i] = (struct vm_frame){.buf = frame_bytes[i]};
	lent += n;
	return n;
}

static void settle(struct vm_port *p maybe_unused, const struct vm_frame *frames maybe_unused,
		   unsigned n)
{
	settled += n;
}

static void live_of_size(uint32_t size, uint32_t data, uint32_t end, unsigned word)
{
	struct xdp_md ctx = {.data = data, .data_end = end};
	union bpf_attr a;
	char name[96];

	((uint32_t *)&ctx)[word] += word > 1;
	zeroed(a);
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = size;
	a.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
	snprintf(name, sizeof(name), "live, %u bytes, context %u %u %u", size, data, end, word);
	a.test.data_out = 1;
	a.test.data_size_out = sizeof(packet);
	one_run(name, 0, a);
	a.test.ctx_in = (uintptr_t)&ctx;
	a.test.ctx_size_in = sizeof(ctx);
	one_run(name, 0, a);
	a.test.data_out = a.test.data_size_out = 0;
	one_run(name, 0, a);
	a.test.ctx_out = 1;
	a.test.ctx_size_out = sizeof(ctx);
	one_run(name, 0, a);
}

static void live_of_batch(uint32_t batch, uint32_t repeat, uint32_t flags)
{
	union bpf_attr a;
	char name[96];

	zeroed(a);
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = 64;
	a.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES | flags;
	a.test.batch_size = batch;
	a.test.repeat = repeat;
	snprintf(name, sizeof(name), "live, batches of %u, %u times", batch, repeat);
	one_run(name, 0, a);
}

static void test_live_runs_answer_alike(void **state maybe_unused)
{
	static const struct vm_port_ops ops = {NULL, NULL, lend, settle};
	static const uint32_t sizes[] = {0,    13,   14,   60,	 64,   1500,
					 3408, 3409, 3412, 3440, 3520, 4096};
	static const uint32_t batches[] = {0, 1, 64, 255, 256, 257, 100000};
	struct vm_port lo = {.ops = &ops, .ifindex = 1};
	struct bpf_insn drop_it[] = {MOV(0, 1), EXIT()};
	union bpf_attr a = prog_attr(BPF_PROG_TYPE_XDP, 0);
	unsigned s, b, w;

	assert_int_equal(vm_port_add(here.engine, &lo), 0);
	a.insns = (uintptr_t)drop_it;
	make("live", BPF_PROG_LOAD, a, -1, 0, 0);
	for (s = 0; s < array_size(sizes); s++)
		for (w = 0; w < 6; w++) {
			live_of_size(sizes[s], 0, sizes[s], w);
			live_of_size(sizes[s], 4, sizes[s], w);
			live_of_size(sizes[s], 32, sizes[s] - 4, w);
			live_of_size(sizes[s], 3, sizes[s], w);
		}
	for (b = 0; b < array_size(batches); b++)
		for (s = 0; s < 3; s++)
			live_of_batch(batches[b], s * 100, 0);
	live_of_batch(1, 1, 1);
	live_of_batch(1, 1, 4);
	assert_int_equal(differ, 0);
	assert_int_equal(lent, settled);
	assert_int_equal(lo.count.drop, lent);
	assert_true(lent > 1500);
	drop(0);
	vm_port_remove(&lo);
}

/* Addresses differ, of course. */
static bool is_address(unsigned off)
{
	return off == offsetof(struct __sk_buff, data) ||
	       off == offsetof(struct __sk_buff, data_end) ||
	       off == offsetof(struct __sk_buff, data_meta) ||
	       off == offsetof(struct __sk_buff, flow_keys) ||
	       off == offsetof(struct __sk_buff, sk);
}

/* A program that returns the word at @off of its context, run on a packet and nothing else. */
static void word_of_context(uint32_t type, unsigned off)
{
	struct bpf_insn word[] = {LDX(BPF_W, 0, 1, (int16_t)off), EXIT()};
	union bpf_attr a = prog_attr(type, 0), k, e;
	char name[64];

	a.insns = (uintptr_t)word;
	k = e = a;
	kernel.fd[0] = (int)call(&kernel, BPF_PROG_LOAD, &k, sizeof(k));
	if (kernel.fd[0] < 0)
		return;
	here.fd[0] = (int)call(&here, BPF_PROG_LOAD, &e, sizeof(e));
	snprintf(name, sizeof(name), "type %u, word %u", type, off);
	zeroed(a);
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = 64;
	one_run(name, 0, a);
	drop(0);
}

static void a_packet_without_context_reads_alike(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SOCKET_FILTER,
					 BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_LWT_IN};

	for (unsigned t = 0; t < sizeof(types) / sizeof(types[0]); t++)
		for (unsigned off = 0; off < sizeof(struct __sk_buff); off += 4)
			if (!is_address(off))
				word_of_context(types[t], off);
	assert_int_equal(differ, 0);
}

/* ---- infos -------------------------------------------------------------------------------------------------- */

static void infos_are_given_alike(void **state maybe_unused)
{
	static const uint32_t lens[] = {0, 4, 8, 40, 80, 104, 200, 240, 4096, 5000};
	static uint8_t bk[8192], be[8192];
	unsigned o, i;

	make("array", BPF_MAP_CREATE, map_attr(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), -1, 0, 0);
	make("program", BPF_PROG_LOAD, prog_attr(BPF_PROG_TYPE_XDP, 0), -1, 0, 1);
	for (o = 0; o < 2; o++)
		for (i = 0; i < 10; i++) {
			char name[64];
			union bpf_attr k, e;
			long rk, re;

			snprintf(name, sizeof(name), "object %u, %u bytes of info", o, lens[i]);
			what = name;
			calls++;
			memset(bk, 0, sizeof(bk));
			memset(be, 0, sizeof(be));
			zeroed(k);
			zeroed(e);
			k.info.info_len = e.info.info_len = lens[i];
			k.info.bpf_fd = (uint32_t)kernel.fd[o];
			e.info.bpf_fd = (uint32_t)here.fd[o];
			k.info.info = (uintptr_t)bk;
			e.info.info = (uintptr_t)be;
			rk = call(&kernel, BPF_OBJ_GET_INFO_BY_FD, &k, sizeof(k));
			re = call(&here, BPF_OBJ_GET_INFO_BY_FD, &e, sizeof(e));
			if (rk != re)
				report(BPF_OBJ_GET_INFO_BY_FD, rk, re);
			memset(bk + 4, 0, 4); /* the id */
			memset(be + 4, 0, 4);
			if (o == 0 && memcmp(bk, be, 80)) {
				print_error("%s differs\n", name);
				differ++;
			}
		}
	drop(0);
	drop(1);
	assert_int_equal(differ, 0);
}

/* ---- flags ----------------------------------------------------------------------------------------------- */

/* Each bit of a word of flags at @off, on a call that is @a otherwise. */
static void each_bit(const char *name, unsigned cmd, const union bpf_attr *a, int off, int fd_at,
		     int fd)
{
	char text[96];

	for (unsigned bit = 0; bit < 32; bit++) {
		union bpf_attr b = *a;
		uint32_t flag = 1U << bit;

		memcpy((char *)&b + off, &flag, 4);
		snprintf(text, sizeof(text), "%s with bit %u", name, bit);
		both(text, cmd, b, sizeof(b), fd_at, fd);
	}
}

static void every_flag_of_a_map_is_taken_or_refused_alike(void **state maybe_unused)
{
	static const struct {
		uint32_t type, key, value, max;
	} maps[] = {
		{BPF_MAP_TYPE_HASH, 4, 8, 4},		{BPF_MAP_TYPE_ARRAY, 4, 8, 4},
		{BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4},	{BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 4},
		{BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 4},	{BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 4},
		{BPF_MAP_TYPE_STACK_TRACE, 4, 8, 4},	{BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 4},
		{BPF_MAP_TYPE_LRU_HASH, 4, 8, 4},	{BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 4},
		{BPF_MAP_TYPE_LPM_TRIE, 8, 8, 4},	{BPF_MAP_TYPE_DEVMAP, 4, 4, 4},
		{BPF_MAP_TYPE_DEVMAP_HASH, 4, 4, 4},	{BPF_MAP_TYPE_SOCKMAP, 4, 4, 4},
		{BPF_MAP_TYPE_SOCKHASH, 4, 4, 4},	{BPF_MAP_TYPE_CPUMAP, 4, 4, 2},
		{BPF_MAP_TYPE_XSKMAP, 4, 4, 4},		{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 4, 4},
		{BPF_MAP_TYPE_QUEUE, 0, 8, 4},		{BPF_MAP_TYPE_STACK, 0, 8, 4},
		{BPF_MAP_TYPE_RINGBUF, 0, 0, 4096},	{BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 4},
		{BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096}};
	char name[64];

	for (unsigned i = 0; i < array_size(maps); i++)
		for (unsigned bit = 0; bit < 64; bit++) {
			uint32_t f = 1U << bit % 32;
			union bpf_attr a =
				map_attr(maps[i].type, maps[i].key, maps[i].value, maps[i].max,
					 bit < 32 ? f : BPF_F_NO_PREALLOC | f);

			if (bit % 32 == 16)
				continue; /* with a token */
			snprintf(name, sizeof(name), "map type %u with flags 0x%x", maps[i].type,
				 a.map_flags);
			make(name, BPF_MAP_CREATE, a, -1, 0, 0);
			drop(0);
		}
	assert_int_equal(differ, 0);
}

static void every_flag_of_elements_is_taken_or_refused_alike(void **state maybe_unused)
{
	static const uint32_t types[] = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
					 BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_LRU_HASH};
	static const unsigned cmds[] = {BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
					BPF_MAP_LOOKUP_AND_DELETE_ELEM};
	static uint8_t key[8], values[4096];

	for (unsigned t = 0; t < array_size(types); t++) {
		bool queue = types[t] == BPF_MAP_TYPE_QUEUE;

		make("a map", BPF_MAP_CREATE, map_attr(types[t], queue ? 0 : 4, 8, 4, 0), -1, 0, 0);
		for (unsigned i = 0; i < array_size(cmds); i++) {
			union bpf_attr a;

			zeroed(a);
			a.key = queue ? 0 : (uintptr_t)key;
			a.value = (uintptr_t)values;
			each_bit("an element", cmds[i], &a, OFF(flags), OFF(map_fd), 0);
			each_bit("an element, high", cmds[i], &a, OFF(flags) + 4, OFF(map_fd), 0);
		}
		for (unsigned cmd = BPF_MAP_LOOKUP_BATCH; cmd <= BPF_MAP_DELETE_BATCH; cmd++) {
			union bpf_attr a;

			zeroed(a);
			a.batch.keys = (uintptr_t)values;
			a.batch.values = (uintptr_t)values;
			a.batch.out_batch = (uintptr_t)values;
			a.batch.count = 1;
			each_bit("a batch", cmd, &a, OFF(batch.elem_flags), OFF(batch.map_fd), 0);
			each_bit("a batch's own", cmd, &a, OFF(batch.flags), OFF(batch.map_fd), 0);
		}
		drop(0);
	}
	assert_int_equal(differ, 0);
}

/* Nothing is attached: there is no such cgroup, interface or link. */
static void every_flag_of_hooks_is_looked_at_alike(void **state maybe_unused)
{
	static const uint32_t hooks[] = {BPF_CGROUP_INET_INGRESS,
					 BPF_CGROUP_DEVICE,
					 BPF_XDP,
					 BPF_SK_LOOKUP,
					 BPF_SK_SKB_STREAM_PARSER,
					 BPF_FLOW_DISSECTOR,
					 45 /* netfilter */,
					 46 /* tcx */};
	union bpf_attr a;

	make("a program", BPF_PROG_LOAD, prog_attr(BPF_PROG_TYPE_XDP, 0), -1, 0, 0);
	make("a cgroup's", BPF_PROG_LOAD, prog_attr(BPF_PROG_TYPE_CGROUP_SKB, 0), -1, 0, 1);
	make("a classifier", BPF_PROG_LOAD, prog_attr(BPF_PROG_TYPE_SCHED_CLS, 0), -1, 0, 2);
	for (unsigned h = 0; h < array_size(hooks); h++)
		for (int i = 0; i < 3; i++) {
			zeroed(a);
			a.attach_type = hooks[h];
			a.target_fd = 0x7fffffff;
			each_bit("attach", BPF_PROG_ATTACH, &a, OFF(attach_flags),
				 OFF(attach_bpf_fd), i);
			each_bit("detach", BPF_PROG_DETACH, &a, OFF(attach_flags),
				 OFF(attach_bpf_fd), i);
			zeroed(a);
			a.link_create.attach_type = hooks[h];
			a.link_create.target_fd = 0x7fffffff;
			each_bit("a link", BPF_LINK_CREATE, &a, OFF(link_create.flags),
				 OFF(link_create.prog_fd), i);
			zeroed(a);
			a.query.attach_type = hooks[h];
			a.query.target_fd = 0x7fffffff;
			each_bit("a query", BPF_PROG_QUERY, &a, OFF(query.query_flags), -1, 0);
		}
	zeroed(a);
	each_bit("an update", BPF_LINK_UPDATE, &a, OFF(link_update.flags), OFF(link_update.link_fd),
		 0);
	each_bit("an iterator", BPF_ITER_CREATE, &a, OFF(iter_create.flags),
		 OFF(iter_create.link_fd), 0);
	each_bit("a binding", BPF_PROG_BIND_MAP, &a, OFF(prog_bind_map.flags),
		 OFF(prog_bind_map.prog_fd), 0);
	for (int i = 0; i < 3; i++)
		drop(i);
	assert_int_equal(differ, 0);
}

static void every_flag_of_the_rest_is_looked_at_alike(void **state maybe_unused)
{
	union bpf_attr a;

	zeroed(a);
	a.pathname = (uintptr_t) "/nowhere/at/all";
	each_bit("a pin", BPF_OBJ_PIN, &a, OFF(file_flags), -1, 0);
	each_bit("what is pinned", BPF_OBJ_GET, &a, OFF(file_flags), -1, 0);
	zeroed(a);
	a.map_id = 0x7ffffff0;
	each_bit("a map by id", BPF_MAP_GET_FD_BY_ID, &a, OFF(open_flags), -1, 0);
	zeroed(a);
	for (uint32_t type = 1; type < 4; type++) {
		a.enable_stats.type = type;
		both("statistics", BPF_ENABLE_STATS, a, sizeof(a), -1, 0);
	}
	zeroed(a);
	each_bit("a token", 36, &a, 0, -1, 0);
	assert_int_equal(differ, 0);
}

static int begin(void **state maybe_unused)
{
	differ = 0;
	return 0;
}

static int open_both(void **state maybe_unused)
{
	unsigned i;

	for (i = 0; i < FDS; i++)
		kernel.fd[i] = here.fd[i] = -1;
	return skep_engine_open(&here.engine, NULL);
}

static int close_both(void **state maybe_unused)
{
	print_message("%u calls on both\n", calls);
	skep_engine_free(here.engine);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_command_refuses_what_is_no_call, begin),
		cmocka_unit_test_setup(every_command_refuses_strange_words, begin),
		cmocka_unit_test_setup(maps_of_all_shapes_are_made_or_refused_alike, begin),
		cmocka_unit_test_setup(elements_are_taken_and_given_alike, begin),
		cmocka_unit_test_setup(bad_addresses_and_names_are_refused_alike, begin),
		cmocka_unit_test_setup(programs_are_loaded_or_refused_alike, begin),
		cmocka_unit_test_setup(logs_are_given_alike, begin),
		cmocka_unit_test_setup(test_runs_answer_alike, begin),
		cmocka_unit_test_setup(test_live_runs_answer_alike, begin),
		cmocka_unit_test_setup(a_packet_without_context_reads_alike, begin),
		cmocka_unit_test_setup(infos_are_given_alike, begin),
		cmocka_unit_test_setup(every_flag_of_a_map_is_taken_or_refused_alike, begin),
		cmocka_unit_test_setup(every_flag_of_elements_is_taken_or_refused_alike, begin),
		cmocka_unit_test_setup(every_flag_of_hooks_is_looked_at_alike, begin),
		cmocka_unit_test_setup(every_flag_of_the_rest_is_looked_at_alike, begin),
	};

	return cmocka_run_group_tests_name("vm: bpf(2) beside the kernel's", tests, open_both,
					   close_both);
}
