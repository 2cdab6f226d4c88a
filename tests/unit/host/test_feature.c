/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What host finds, against what other sources say of the same kernel: libbpf's own probes, sysfs,
 * tracefs, and the names in the raw bytes of the kernel's BTF.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "host/inside.h"

#define BTF "/sys/kernel/btf/vmlinux"

static struct host *host;

static void expect(enum host_feature_id id, bool ready)
{
	const struct host_feature *f = host_feature(host, id);

	if (f->ready != ready)
		fail_msg("%s: ready is %d, must be %d (%s)", f->name, f->ready, ready, f->reason);
}

static void expect_not_more(enum host_feature_id id, bool possible)
{
	if (!possible)
		expect(id, false);
}

static void test_program_types_agree_with_libbpf(void **state maybe_unused)
{
	static const struct {
		enum host_feature_id id;
		enum bpf_prog_type type;
	} same[] = {
		{HOST_BPF, BPF_PROG_TYPE_SOCKET_FILTER},
		{HOST_RAW_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT},
		{HOST_XDP, BPF_PROG_TYPE_XDP},
		{HOST_TC, BPF_PROG_TYPE_SCHED_CLS},
		{HOST_SK_LOOKUP, BPF_PROG_TYPE_SK_LOOKUP},
		{HOST_SK_MSG, BPF_PROG_TYPE_SK_MSG},
		{HOST_SK_SKB, BPF_PROG_TYPE_SK_SKB},
		{HOST_PERF_EVENT, BPF_PROG_TYPE_PERF_EVENT},
		{HOST_STRUCT_OPS, BPF_PROG_TYPE_STRUCT_OPS},
	};

	for (size_t i = 0; i < array_size(same); i++)
		expect(same[i].id, libbpf_probe_bpf_prog_type(same[i].type, NULL) == 1);
}

static void test_where_libbpf_cannot_load_a_type_its_hooks_are_not_ready(void **state maybe_unused)
{
	bool tracing = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_TRACING, NULL) == 1;

	expect_not_more(HOST_FENTRY, tracing);
	expect_not_more(HOST_FEXIT, tracing);
	expect_not_more(HOST_FMOD_RET, tracing);
	expect_not_more(HOST_LSM, libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_LSM, NULL) == 1);
}

static void test_map_types_agree_with_libbpf(void **state maybe_unused)
{
	expect(HOST_RINGBUF, libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1);
	expect_not_more(HOST_SK_STORAGE,
			libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, NULL) == 1);
	expect_not_more(HOST_TASK_STORAGE,
			libbpf_probe_bpf_map_type(BPF_MAP_TYPE_TASK_STORAGE, NULL) == 1);
}

static void test_helpers_agree_with_libbpf(void **state maybe_unused)
{
	static const struct {
		enum host_feature_id id;
		enum bpf_prog_type type;
		enum bpf_func_id helper;
	} same[] = {
		{HOST_BPF_LOOP, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_loop},
		{HOST_KTIME_BOOT, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_ktime_get_boot_ns},
		{HOST_SEND_SIGNAL, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_send_signal},
		{HOST_DYNPTR, BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_FUNC_ringbuf_reserve_dynptr},
		{HOST_OVERRIDE_RETURN, BPF_PROG_TYPE_KPROBE, BPF_FUNC_override_return},
		{HOST_CGROUP_SKB_TASK, BPF_PROG_TYPE_CGROUP_SKB, BPF_FUNC_get_current_task_btf},
	};

	for (size_t i = 0; i < array_size(same); i++) {
		int known = libbpf_probe_bpf_helper(same[i].type, same[i].helper, NULL);

		/* Its probe does not know the words of Linux 6.10 for a helper that is not allowed. */
		if (same[i].id == HOST_OVERRIDE_RETURN && known == 1)
			continue;
		expect(same[i].id, known == 1);
	}
}

/* Whether the kernel's BTF holds the string, whatever it names. */
static bool btf_holds(const char *name)
{
	cleanup(file_close) FILE *f = fopen(BTF, "re");
	cleanup(mem_free) char *bytes = malloc(64 << 20);
	size_t n = f && bytes ? fread(bytes, 1, 64 << 20, f) : 0;

	assert_true(n > 0);
	return memmem(bytes, n, name, strlen(name) + 1) != NULL;
}

static void test_tracepoints_are_ready_exactly_where_btf_names_them(void **state maybe_unused)
{
	expect(HOST_TP_BTF, btf_holds("btf_trace_sched_process_exec"));
	expect(HOST_TP_FORK, btf_holds("btf_trace_sched_process_fork"));
	expect(HOST_TP_EXEC, btf_holds("btf_trace_sched_process_exec"));
	expect(HOST_TP_EXIT, btf_holds("btf_trace_sched_process_exit"));
	expect(HOST_TP_SOCK_STATE, btf_holds("btf_trace_inet_sock_set_state"));
	expect(HOST_TP_SOCK_SEND, btf_holds("btf_trace_sock_send_length"));
	expect(HOST_TP_SOCK_RECV, btf_holds("btf_trace_sock_recv_length"));
	expect(HOST_TP_CGROUP_MKDIR, btf_holds("btf_trace_cgroup_mkdir"));
}

static void test_iterators_are_ready_exactly_where_btf_names_them(void **state maybe_unused)
{
	expect(HOST_ITER_TASK, btf_holds("bpf_iter_task"));
	expect(HOST_ITER_TASK_FILE, btf_holds("bpf_iter_task_file"));
	expect(HOST_ITER_TASK_VMA, btf_holds("bpf_iter_task_vma"));
	expect(HOST_ITER_TCP, btf_holds("bpf_iter_tcp"));
	expect(HOST_ITER_UDP, btf_holds("bpf_iter_udp"));
	expect_not_more(HOST_KFUNC, btf_holds("bpf_rcu_read_lock"));
}

/* The functions behind a feature are in the kernel's BTF where it was compiled in. */
static void test_features_are_ready_exactly_where_btf_names_their_code(void **state maybe_unused)
{
	expect(HOST_D_PATH, btf_holds("bpf_d_path") && host_has(host, HOST_ITER_TASK_FILE));
	expect(HOST_SK_STORAGE, btf_holds("bpf_sk_storage_get_tracing"));
	expect(HOST_TASK_STORAGE, btf_holds("bpf_task_storage_get"));
	expect(HOST_TCX, btf_holds("tcx_prog_query"));
	expect(HOST_NETKIT, btf_holds("netkit_prog_query"));
	expect(HOST_UPROBE_MULTI, btf_holds("bpf_uprobe_multi_link_attach"));
	expect_not_more(HOST_KPROBE_MULTI, btf_holds("register_fprobe_ips"));
}

static void test_perf_events_agree_with_sysfs_and_tracefs(void **state maybe_unused)
{
	static const char *const ids[] = {
		"/sys/kernel/tracing/events/sched/sched_process_exec/id",
		"/sys/kernel/debug/tracing/events/sched/sched_process_exec/id",
	};

	expect(HOST_KPROBE, !access("/sys/bus/event_source/devices/kprobe/type", R_OK));
	expect(HOST_UPROBE, !access("/sys/bus/event_source/devices/uprobe/type", R_OK));
	expect(HOST_TRACEPOINT, !access(ids[0], R_OK) || !access(ids[1], R_OK));
}

static void test_lsm_is_ready_only_where_the_kernel_lists_bpf(void **state maybe_unused)
{
	cleanup(file_close) FILE *f = fopen("/sys/kernel/security/lsm", "re");
	char list[256] = "";

	if (!f || !fgets(list, sizeof(list), f)) {
		print_message("not run: securityfs is not mounted\n");
		skip();
	}
	expect_not_more(HOST_LSM, strstr(list, "bpf") != NULL);
}

static void test_cgroup_hooks_are_ready_where_cgroup2_is_mounted(void **state maybe_unused)
{
	bool skb = libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SKB, NULL) == 1;
	bool mounted = *host_cgroup2(host) != '\0';
	char path[PATH_MAX + 32];

	expect(HOST_CGROUP2, mounted);
	expect(HOST_CGROUP_SKB, mounted && skb);
	expect(HOST_CGROUP_SOCK_ADDR, mounted && skb);
	expect(HOST_CGROUP_SOCK_CREATE, mounted && skb);
	expect(HOST_SOCK_OPS, mounted && skb);
	snprintf(path, sizeof(path), "%s/cgroup.procs", host_cgroup2(host));
	assert_true(!mounted || !access(path, R_OK));
}

static void test_what_is_not_ready_has_a_reason_and_a_fix(void **state maybe_unused)
{
	for (int i = 0; i < HOST_FEATURE_COUNT; i++) {
		const struct host_feature *f = host_feature(host, i);

		assert_true(*f->name && *f->use && *f->fix);
		if (f->ready == (f->reason[0] != '\0'))
			fail_msg("%s: ready %d with reason '%s'", f->name, f->ready, f->reason);
		if (strpbrk(f->reason, "\n\t"))
			fail_msg("%s: more than a line: '%s'", f->name, f->reason);
		assert_ptr_equal(host_feature(host, i), f);
	}
}

static void test_every_function_of_the_kernel_is_found_by_name(void **state maybe_unused)
{
	struct btf *b = btf__load_vmlinux_btf();
	struct names names;
	unsigned functions = 0;

	assert_non_null(b);
	assert_int_equal(host_names_load(&names, BTF, NULL), 0);
	for (unsigned id = 1; id < btf__type_cnt(b); id++) {
		const struct btf_type *t = btf__type_by_id(b, id);
		const char *name = btf__name_by_offset(b, t->name_off);
		unsigned found;

		if (!btf_is_func(t))
			continue;
		found = host_names_find(&names, name);
		t = btf__type_by_id(b, found);
		if (!found || !btf_is_func(t) ||
		    strcmp(btf__name_by_offset(b, t->name_off), name) != 0)
			fail_msg("%s: found type %u", name, found);
		functions++;
	}
	assert_true(functions > 1000);
	host_names_done(&names);
	btf__free(b);
}

static void test_names_tell_functions_from_tracepoints(void **state maybe_unused)
{
	assert_true(host_btf_func(host, "tcp_v4_connect"));
	assert_false(host_btf_trace(host, "tcp_v4_connect"));
	assert_true(host_btf_trace(host, "sched_process_exec"));
	assert_false(host_btf_func(host, "sched_process_exec"));
	assert_false(host_btf_func(host, "btf_trace_sched_process_exec"));
	assert_false(host_btf_func(host, "no_such_function"));
	assert_false(host_btf_func(host, ""));
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned programs_left(void)
{
	uint32_t id = 0;
	unsigned n = 0;

	while (!bpf_prog_get_next_id(id, &id)) {
		cleanup(fd_close) int fd = bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info = {};
		uint32_t len = sizeof(info);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) &&
		    !strcmp(info.name, "skep_try"))
			n++;
	}
	return n;
}

static void test_trials_leave_neither_fds_nor_programs_behind(void **state maybe_unused)
{
	unsigned before = open_fds();
	struct host *h = NULL;

	assert_int_equal(host_open(&h, NULL), 0);
	for (int i = 0; i < HOST_FEATURE_COUNT; i++)
		host_has(h, i);
	host_free(h);
	assert_int_equal(open_fds(), before);
	/* The kernel frees a program some time after the last fd is closed. */
	for (int i = 0; i < 50 && programs_left(); i++)
		usleep(100000);
	assert_int_equal(programs_left(), 0);
}

static void test_all_of_these_need_a_host(void **state maybe_unused)
{
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_program_types_agree_with_libbpf),
		cmocka_unit_test(test_where_libbpf_cannot_load_a_type_its_hooks_are_not_ready),
		cmocka_unit_test(test_map_types_agree_with_libbpf),
		cmocka_unit_test(test_helpers_agree_with_libbpf),
		cmocka_unit_test(test_tracepoints_are_ready_exactly_where_btf_names_them),
		cmocka_unit_test(test_iterators_are_ready_exactly_where_btf_names_them),
		cmocka_unit_test(test_features_are_ready_exactly_where_btf_names_their_code),
		cmocka_unit_test(test_perf_events_agree_with_sysfs_and_tracefs),
		cmocka_unit_test(test_lsm_is_ready_only_where_the_kernel_lists_bpf),
		cmocka_unit_test(test_cgroup_hooks_are_ready_where_cgroup2_is_mounted),
		cmocka_unit_test(test_what_is_not_ready_has_a_reason_and_a_fix),
		cmocka_unit_test(test_every_function_of_the_kernel_is_found_by_name),
		cmocka_unit_test(test_names_tell_functions_from_tracepoints),
		cmocka_unit_test(test_trials_leave_neither_fds_nor_programs_behind),
	};

	const struct CMUnitTest none[] = {cmocka_unit_test(test_all_of_these_need_a_host)};
	struct skep_err err = {};
	int failed;

	if (host_open(&host, &err)) {
		print_message("not run: %s\n", err.text);
		return cmocka_run_group_tests(none, NULL, NULL);
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	host_free(host);
	return failed;
}
