/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trials: for each feature a program of a few instructions, what it needs (a map, a type of the
 * kernel's BTF), and how to see that it attaches where loading it does not prove that.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "host/inside.h"

/* ---- programs as instructions ----------------------------------------------------------------*/
#define F_PATH INT32_MIN /* in ADD: stands for the offset of struct file.f_path */
#define FP     10
#define INSN(c, d, s, o, i)                                                         \
	{                                                                           \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) \
	}
#define SET(r, v)	 INSN(BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, v)
#define COPY(d, s)	 INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define ADD(r, v)	 INSN(BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, v)
#define LOAD(d, s, o)	 INSN(BPF_LDX | BPF_DW | BPF_MEM, d, s, o, 0)
#define STORE(d, o, v)	 INSN(BPF_ST | BPF_DW | BPF_MEM, d, 0, o, v)
#define IF_NULL(r, skip) INSN(BPF_JMP | BPF_JEQ | BPF_K, r, 0, skip, 0)
#define CALL(f)		 INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##f)
#define KFUNC(i)	 INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, i) /* kfuncs[i] */
#define MAP(r)                                                       \
	INSN(BPF_LD | BPF_DW | BPF_IMM, r, BPF_PSEUDO_MAP_FD, 0, 0), \
	{                                                            \
	}
#define VALUE(r)                                                        \
	INSN(BPF_LD | BPF_DW | BPF_IMM, r, BPF_PSEUDO_MAP_VALUE, 0, 0), \
	{                                                               \
	}
#define RETURN(v) SET(0, v), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAX_INSNS 16

#define PROG(...)                                        \
	.insns = (const struct bpf_insn[]){__VA_ARGS__}, \
	.n_insns = sizeof((struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn)

static const char *const kfuncs[] = {"bpf_rcu_read_lock", "bpf_rcu_read_unlock"};

/* ---- the table -------------------------------------------------------------------------------*/
struct trial {
	enum bpf_prog_type type;
	enum bpf_attach_type attach_type;
	const char *target; /* name in the kernel's BTF that the program is loaded for */
	const struct bpf_insn *insns;
	unsigned n_insns;
	enum bpf_map_type map;
	bool helper_only; /* ready once the kernel knows the helper, though it refuses the program */
	attach_fn attach;
	const char *at; /* for attach(): function or tracepoint */
};

#define TRACING(how, name) .type = BPF_PROG_TYPE_TRACING, .attach_type = (how), .target = (name)
#define TRACEPOINT(name)   TRACING(BPF_TRACE_RAW_TP, "btf_trace_" name)
#define ITER(name)	   TRACING(BPF_TRACE_ITER, "bpf_iter_" name)
/* Of the kernel's own BPF self-tests: run by nobody else. */
#define TEST_FUNC "bpf_fentry_test1"

static const struct trial trials[HOST_FEATURE_COUNT] = {
	[HOST_BPF] = {.type = BPF_PROG_TYPE_SOCKET_FILTER, PROG(RETURN(0))},
	[HOST_RINGBUF] = {.map = BPF_MAP_TYPE_RINGBUF},
	[HOST_TP_BTF] = {TRACEPOINT("sched_process_exec"), PROG(RETURN(0)), .attach = attach_btf},
	[HOST_RAW_TRACEPOINT] = {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
				 PROG(RETURN(0)),
				 .attach = attach_raw_tracepoint,
				 .at = "sched_process_exec"},
	[HOST_TRACEPOINT] = {.type = BPF_PROG_TYPE_TRACEPOINT,
			     PROG(RETURN(0)),
			     .attach = attach_tracepoint,
			     .at = "sched_process_exec"},
	[HOST_FENTRY] = {TRACING(BPF_TRACE_FENTRY, TEST_FUNC), PROG(RETURN(0)),
			 .attach = attach_btf},
	[HOST_FEXIT] = {TRACING(BPF_TRACE_FEXIT, TEST_FUNC), PROG(RETURN(0)), .attach = attach_btf},
	[HOST_FMOD_RET] = {TRACING(BPF_MODIFY_RETURN, "security_task_getpgid"), PROG(RETURN(0)),
			   .attach = attach_btf},
	[HOST_KPROBE] = {.type = BPF_PROG_TYPE_KPROBE,
			 PROG(RETURN(0)),
			 .attach = attach_kprobe,
			 .at = TEST_FUNC},
	[HOST_KPROBE_MULTI] = {.type = BPF_PROG_TYPE_KPROBE,
			       .attach_type = BPF_TRACE_KPROBE_MULTI,
			       PROG(RETURN(0)),
			       .attach = attach_kprobe_multi,
			       .at = TEST_FUNC},
	[HOST_UPROBE] = {.type = BPF_PROG_TYPE_KPROBE, PROG(RETURN(0)), .attach = attach_uprobe},
	[HOST_UPROBE_MULTI] = {.type = BPF_PROG_TYPE_KPROBE,
			       .attach_type = (enum bpf_attach_type)48 /* BPF_TRACE_UPROBE_MULTI */,
			       PROG(RETURN(0)),
			       .attach = attach_uprobe_multi},
	[HOST_LSM] = {.type = BPF_PROG_TYPE_LSM,
		      .attach_type = BPF_LSM_MAC,
		      .target = "bpf_lsm_task_getpgid",
		      .map = BPF_MAP_TYPE_ARRAY,
		      PROG(VALUE(1), STORE(1, 0, 1), RETURN(0)),
		      .attach = attach_lsm},
	[HOST_ITER_TASK] = {ITER("task"), PROG(RETURN(0))},
	/* ctx: meta, task, fd, file */
	[HOST_ITER_TASK_FILE] = {ITER("task_file"), PROG(LOAD(1, 1, 24), IF_NULL(1, 1),
							 CALL(sock_from_file), RETURN(0))},
	[HOST_ITER_TASK_VMA] = {ITER("task_vma"), PROG(RETURN(0))},
	[HOST_ITER_TCP] = {ITER("tcp"), PROG(RETURN(0))},
	[HOST_ITER_UDP] = {ITER("udp"), PROG(RETURN(0))},
	[HOST_SK_STORAGE] = {TRACEPOINT("inet_sock_set_state"), .map = BPF_MAP_TYPE_SK_STORAGE,
			     PROG(LOAD(2, 1, 0), MAP(1), SET(3, 0),
				  SET(4, BPF_SK_STORAGE_GET_F_CREATE), CALL(sk_storage_get),
				  RETURN(0))},
	[HOST_TASK_STORAGE] = {TRACEPOINT("sched_process_exec"), .map = BPF_MAP_TYPE_TASK_STORAGE,
			       PROG(LOAD(2, 1, 0), MAP(1), SET(3, 0),
				    SET(4, BPF_LOCAL_STORAGE_GET_F_CREATE), CALL(task_storage_get),
				    RETURN(0))},
	[HOST_CGROUP_SKB] = {.type = BPF_PROG_TYPE_CGROUP_SKB,
			     .attach_type = BPF_CGROUP_INET_EGRESS,
			     PROG(RETURN(1)),
			     .attach = attach_to_cgroup},
	[HOST_CGROUP_SOCK_ADDR] = {.type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
				   .attach_type = BPF_CGROUP_INET4_CONNECT,
				   PROG(RETURN(1)),
				   .attach = attach_to_cgroup},
	[HOST_CGROUP_SOCK_CREATE] = {.type = BPF_PROG_TYPE_CGROUP_SOCK,
				     .attach_type = BPF_CGROUP_INET_SOCK_CREATE,
				     PROG(RETURN(1)),
				     .attach = attach_to_cgroup},
	[HOST_SOCK_OPS] = {.type = BPF_PROG_TYPE_SOCK_OPS,
			   .attach_type = BPF_CGROUP_SOCK_OPS,
			   PROG(RETURN(0)),
			   .attach = attach_to_cgroup},
	[HOST_SK_LOOKUP] = {.type = BPF_PROG_TYPE_SK_LOOKUP,
			    .attach_type = BPF_SK_LOOKUP,
			    PROG(RETURN(SK_PASS))},
	[HOST_SK_SKB] = {.type = BPF_PROG_TYPE_SK_SKB,
			 .attach_type = BPF_SK_SKB_STREAM_VERDICT,
			 .map = BPF_MAP_TYPE_SOCKMAP,
			 PROG(RETURN(SK_PASS)),
			 .attach = attach_sockmap},
	[HOST_SK_MSG] = {.type = BPF_PROG_TYPE_SK_MSG,
			 .attach_type = BPF_SK_MSG_VERDICT,
			 .map = BPF_MAP_TYPE_SOCKMAP,
			 PROG(RETURN(SK_PASS)),
			 .attach = attach_sockmap},
	[HOST_XDP] = {.type = BPF_PROG_TYPE_XDP, .attach_type = BPF_XDP, PROG(RETURN(XDP_PASS))},
	[HOST_TC] = {.type = BPF_PROG_TYPE_SCHED_CLS, PROG(RETURN(0))},
	[HOST_TCX] = {.attach = attach_tcx},
	[HOST_NETKIT] = {.attach = attach_netkit},
	/* attach_type is a member's number: 0 is ssthresh */
	[HOST_STRUCT_OPS] = {.type = BPF_PROG_TYPE_STRUCT_OPS,
			     .target = "tcp_congestion_ops",
			     PROG(RETURN(2))},
	[HOST_PERF_EVENT] = {.type = BPF_PROG_TYPE_PERF_EVENT,
			     PROG(RETURN(0)),
			     .attach = attach_perf_event},
	[HOST_SEND_SIGNAL] = {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
			      PROG(SET(1, 0), CALL(send_signal), RETURN(0))},
	[HOST_OVERRIDE_RETURN] = {.type = BPF_PROG_TYPE_KPROBE,
				  PROG(SET(2, 0), CALL(override_return), RETURN(0))},
	[HOST_D_PATH] = {ITER("task_file"),
			 PROG(STORE(FP, -8, 0), LOAD(1, 1, 24), IF_NULL(1, 5), ADD(1, F_PATH),
			      COPY(2, FP), ADD(2, -8), SET(3, 8), CALL(d_path), RETURN(0))},
	[HOST_BPF_LOOP] = {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
			   .helper_only = true,
			   PROG(CALL(loop), RETURN(0))},
	[HOST_KTIME_BOOT] = {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
			     PROG(CALL(ktime_get_boot_ns), RETURN(0))},
	[HOST_CGROUP_SKB_TASK] = {.type = BPF_PROG_TYPE_CGROUP_SKB,
				  .attach_type = BPF_CGROUP_INET_EGRESS,
				  PROG(CALL(get_current_task_btf), RETURN(1))},
	[HOST_DYNPTR] = {.type = BPF_PROG_TYPE_RAW_TRACEPOINT,
			 .map = BPF_MAP_TYPE_RINGBUF,
			 PROG(MAP(1), SET(2, 8), SET(3, 0), COPY(4, FP), ADD(4, -16),
			      CALL(ringbuf_reserve_dynptr), COPY(1, FP), ADD(1, -16), SET(2, 0),
			      CALL(ringbuf_discard_dynptr), RETURN(0))},
	[HOST_KFUNC] = {TRACEPOINT("sched_process_exec"), PROG(KFUNC(0), KFUNC(1), RETURN(0))},
	[HOST_TP_FORK] = {TRACEPOINT("sched_process_fork"), PROG(RETURN(0))},
	[HOST_TP_EXEC] = {TRACEPOINT("sched_process_exec"), PROG(RETURN(0))},
	[HOST_TP_EXIT] = {TRACEPOINT("sched_process_exit"), PROG(RETURN(0))},
	[HOST_TP_SOCK_STATE] = {TRACEPOINT("inet_sock_set_state"), PROG(RETURN(0))},
	[HOST_TP_SOCK_SEND] = {TRACEPOINT("sock_send_length"), PROG(RETURN(0))},
	[HOST_TP_SOCK_RECV] = {TRACEPOINT("sock_recv_length"), PROG(RETURN(0))},
	[HOST_TP_CGROUP_MKDIR] = {TRACEPOINT("cgroup_mkdir"), PROG(RETURN(0))},
};

/* ---- maps ------------------------------------------------------------------------------------*/
static void btf_free(struct btf **b)
{
	btf__free(*b);
}

/* Storage maps want to know the types of their key and value: int and u64. */
static int storage_map(enum bpf_map_type type)
{
	cleanup(btf_free) struct btf *b = btf__new_empty();
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int key, value;

	if (!b)
		return -ENOMEM;
	key = btf__add_int(b, "int", 4, BTF_INT_SIGNED);
	value = btf__add_int(b, "u64", 8, 0);
	if (key < 0 || value < 0 || btf__load_into_kernel(b))
		return -errno;
	opts.btf_fd = btf__fd(b);
	opts.btf_key_type_id = key;
	opts.btf_value_type_id = value;
	return bpf_map_create(type, "skep_try", 4, 8, 0, &opts);
}

static int map_open(enum bpf_map_type type)
{
	switch (type) {
	case BPF_MAP_TYPE_RINGBUF:
		return bpf_map_create(type, "skep_try", 0, 0, getpagesize(), NULL);
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
		return storage_map(type);
	default:
		return bpf_map_create(type, "skep_try", 4, 8, 1, NULL);
	}
}

/* ---- loading ---------------------------------------------------------------------------------*/
static int find_id(const struct names *names, const char *name, struct skep_err *err)
{
	unsigned id = host_names_find(names, name);
	bool trace = !strncmp(name, "btf_trace_", 10);

	if (id)
		return id;
	return skep_fail(err, -ENOENT, "this kernel has no %s %s",
			 trace ? "tracepoint" : "function", trace ? name + 10 : name);
}

/* Puts in what is known only now: the map's fd, kfunc ids, the offset of f_path. */
static int fill_in(struct host *h, struct bpf_insn *insns, unsigned n, int map,
		   struct skep_err *err)
{
	const struct names *names;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		struct bpf_insn *in = &insns[i];

		if (in->code == (BPF_LD | BPF_DW | BPF_IMM)) {
			in->imm = map;
		} else if (in->code == (BPF_JMP | BPF_CALL) &&
			   in->src_reg == BPF_PSEUDO_KFUNC_CALL) {
			if ((rc = host_names(h, &names, err)))
				return rc;
			in->imm = rc = find_id(names, kfuncs[in->imm], err);
			if (rc < 0)
				return rc;
		} else if (in->imm == F_PATH) {
			if ((rc = host_names(h, &names, err)))
				return rc;
			if (names->f_path < 0)
				return skep_fail(err, -ENOENT, "struct file has no f_path");
			in->imm = names->f_path;
		}
	}
	return 0;
}

/* The last line of the verifier's log that says something about the program; cuts @log there. */
static const char *last_words(char *log)
{
	const char *words = "";
	char *line;

	while ((line = strsep(&log, "\n")))
		if (*line && strncmp(line, "processed ", 10) != 0 &&
		    strncmp(line, "verification time", 17) != 0)
			words = line;
	return words;
}

static bool helper_unknown(const char *words)
{
	return strstr(words, "unknown func") || strstr(words, "invalid func") ||
	       strstr(words, "cannot use helper");
}

static int load(const struct trial *t, const struct bpf_insn *insns, int target,
		struct skep_err *err)
{
	char log[8192] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = t->attach_type,
		    .attach_btf_id = target);
	int fd = bpf_prog_load(t->type, "skep_try", "GPL", insns, t->n_insns, &opts), rc = -errno;
	const char *words;

	if (fd >= 0)
		return fd;
	opts.log_buf = log;
	opts.log_size = sizeof(log);
	opts.log_level = 1;
	fd = bpf_prog_load(t->type, "skep_try", "GPL", insns, t->n_insns, &opts);
	if (fd >= 0)
		return fd;
	words = last_words(log);
	if (t->helper_only && *words && !helper_unknown(words))
		return -EALREADY;
	attach_fail(err, rc, "loading");
	if (err && *words)
		snprintf(err->text + strlen(err->text), sizeof(err->text) - strlen(err->text),
			 ": %s", words);
	return rc;
}

static int prog_open(struct host *h, const struct trial *t, int map, struct skep_err *err)
{
	struct bpf_insn insns[MAX_INSNS];
	const struct names *names;
	int target = 0, rc;

	if (t->target) {
		if ((rc = host_names(h, &names, err)))
			return rc;
		target = find_id(names, t->target, err);
		if (target < 0)
			return target;
	}
	assert(t->n_insns <= MAX_INSNS);
	memcpy(insns, t->insns, t->n_insns * sizeof(*insns));
	if ((rc = fill_in(h, insns, t->n_insns, map, err)))
		return rc;
	return load(t, insns, target, err);
}

static int try_program(struct host *h, const struct trial *t, struct skep_err *err)
{
	cleanup(fd_close) int map = t->map ? map_open(t->map) : -1;
	cleanup(fd_close) int prog = -1;
	struct attach_to to = {.host = h, .map = map, .type = t->attach_type, .name = t->at};

	if (t->map && map < 0)
		return attach_fail(err, map, "creating a map");
	if (t->insns) {
		prog = prog_open(h, t, map, err);
		if (prog == -EALREADY)
			return 0;
		if (prog < 0)
			return prog;
	}
	to.prog = prog;
	return t->attach ? t->attach(&to, err) : 0;
}

int trial_run(struct host *h, enum host_feature_id id, struct skep_err *err)
{
	const struct names *names;

	switch (id) {
	case HOST_BTF:
		return host_names(h, &names, err);
	case HOST_CGROUP2:
		return *host_cgroup2(h) ? 0 : skep_fail(err, -ENOENT, "cgroup2 is not mounted");
	default:
		return try_program(h, &trials[id], err);
	}
}
