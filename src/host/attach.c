/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>

#include "host/inside.h"

#define LOOPBACK 1 /* ifindex of lo in every network namespace */

/* Attach types later than Debian 12's headers. */
#define TCX_INGRESS    ((enum bpf_attach_type)46)
#define UPROBE_MULTI   ((enum bpf_attach_type)48)
#define NETKIT_PRIMARY ((enum bpf_attach_type)54)

int attach_fail(struct skep_err *err, int rc, const char *doing)
{
	const char *name = strerrorname_np(-rc);

	return skep_fail(err, rc, "%s fails: %s (%s)", doing, name ? name : "error", strerror(-rc));
}

/* Closes a link's or event's fd, which detaches it. */
static int attached(int fd, struct skep_err *err)
{
	int rc = fd < 0 ? -errno : 0;

	fd_close(&fd);
	return rc ? attach_fail(err, rc, "attaching") : 0;
}

int attach_btf(const struct attach_to *a, struct skep_err *err)
{
	return attached(bpf_raw_tracepoint_open(NULL, a->prog), err);
}

int attach_raw_tracepoint(const struct attach_to *a, struct skep_err *err)
{
	return attached(bpf_raw_tracepoint_open(a->name, a->prog), err);
}

/* ---- perf events -----------------------------------------------------------------------------*/
static int read_number(const char *path)
{
	cleanup(file_close) FILE *f = fopen(path, "re");
	int n;

	if (!f)
		return -errno;
	return fscanf(f, "%d", &n) == 1 ? n : -EINVAL;
}

static int on_perf_event(const struct attach_to *a, struct perf_event_attr *attr, pid_t pid,
			 struct skep_err *err)
{
	cleanup(fd_close) int fd = -1;

	attr->size = sizeof(*attr);
	fd = syscall(SYS_perf_event_open, attr, pid, pid < 0 ? 0 : -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return attach_fail(err, -errno, "perf_event_open");
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, a->prog))
		return attach_fail(err, -errno, "attaching");
	return 0;
}

int attach_tracepoint(const struct attach_to *a, struct skep_err *err)
{
	static const char *const roots[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
	int id = -ENOENT;

	for (unsigned i = 0; i < array_size(roots) && id < 0; i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/events/sched/%s/id", roots[i], a->name);
		id = read_number(path);
	}
	if (id < 0)
		return skep_fail(err, id, "no tracepoint ids in %s: tracefs is not mounted there",
				 roots[0]);
	return on_perf_event(
		a, &(struct perf_event_attr){.type = PERF_TYPE_TRACEPOINT, .config = id}, -1, err);
}

/* The perf event type of kprobes or uprobes; a dynamic number in sysfs. */
static int pmu_type(const char *pmu, struct skep_err *err)
{
	char path[128];
	int type;

	snprintf(path, sizeof(path), "/sys/bus/event_source/devices/%s/type", pmu);
	type = read_number(path);
	return type < 0 ? skep_fail(err, type, "this kernel has no %ss", pmu) : type;
}

int attach_kprobe(const struct attach_to *a, struct skep_err *err)
{
	int type = pmu_type("kprobe", err);

	if (type < 0)
		return type;
	return on_perf_event(
		a, &(struct perf_event_attr){.type = type, .kprobe_func = (uintptr_t)a->name}, -1,
		err);
}

/* A file of a page of nops that nobody runs: an uprobe on it can hit nobody. */
static int nops_open(char path[static 32])
{
	static const char nops[] = {0x90, 0x90, 0x90, 0x90, 0x1f, 0x20, 0x03, 0xd5};
	cleanup(fd_close) int fd = memfd_create("skep-nops", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (int i = 0; i < 8; i++)
		if (write(fd, nops, sizeof(nops)) != sizeof(nops))
			return -EIO;
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return take_fd(&fd);
}

int attach_uprobe(const struct attach_to *a, struct skep_err *err)
{
	char path[32];
	cleanup(fd_close) int nops = nops_open(path);
	int type = pmu_type("uprobe", err);

	if (type < 0)
		return type;
	if (nops < 0)
		return attach_fail(err, nops, "memfd_create");
	return on_perf_event(
		a, &(struct perf_event_attr){.type = type, .uprobe_path = (uintptr_t)path}, -1,
		err);
}

int attach_perf_event(const struct attach_to *a, struct skep_err *err)
{
	return on_perf_event(a,
			     &(struct perf_event_attr){.type = PERF_TYPE_SOFTWARE,
						       .config = PERF_COUNT_SW_CPU_CLOCK,
						       .sample_period = 1000000000},
			     0, err);
}

/* ---- links -----------------------------------------------------------------------------------*/
int attach_kprobe_multi(const struct attach_to *a, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .kprobe_multi.syms = (const char **)&a->name,
		    .kprobe_multi.cnt = 1);

	return attached(bpf_link_create(a->prog, 0, BPF_TRACE_KPROBE_MULTI, &opts), err);
}

int attach_uprobe_multi(const struct attach_to *a, struct skep_err *err)
{
	/* struct { ... } link_create of union bpf_attr as of Linux 6.6 */
	struct {
		uint32_t prog_fd, target_fd, attach_type, flags;
		uint64_t path, offsets, ref_ctr_offsets, cookies;
		uint32_t cnt, uprobe_flags, pid, pad;
	} attr = {.prog_fd = a->prog, .attach_type = UPROBE_MULTI, .cnt = 1};
	unsigned long offset = 0;
	char path[32];
	cleanup(fd_close) int nops = nops_open(path);

	if (nops < 0)
		return attach_fail(err, nops, "memfd_create");
	attr.path = (uintptr_t)path;
	attr.offsets = (uintptr_t)&offset;
	return attached(syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)), err);
}

/*
 * An LSM program attaches even where the kernel was booted without "bpf" in lsm= and never calls
 * it. So it is attached to getpgid(2)'s hook, where it sets map[0] and permits, and the hook is pulled.
 */
int attach_lsm(const struct attach_to *a, struct skep_err *err)
{
	cleanup(fd_close) int link = bpf_raw_tracepoint_open(NULL, a->prog);
	uint32_t zero = 0;
	uint64_t called = 0;

	if (link < 0)
		return attach_fail(err, -errno, "attaching");
	getpgid(getppid());
	if (bpf_map_lookup_elem(a->map, &zero, &called))
		return attach_fail(err, -errno, "reading a map");
	if (!called)
		return skep_fail(err, -ENODEV,
				 "programs attach but are not called: bpf is not in the kernel's "
				 "list of security modules");
	return 0;
}

int attach_sockmap(const struct attach_to *a, struct skep_err *err)
{
	if (bpf_prog_attach(a->prog, a->map, a->type, 0))
		return attach_fail(err, -errno, "attaching");
	bpf_prog_detach2(a->prog, a->map, a->type);
	return 0;
}

/* ---- hooks that carry others' traffic are only asked who is attached -------------------------*/
static int queried(int target, enum bpf_attach_type type)
{
	uint32_t n = 0, flags = 0;

	return bpf_prog_query(target, type, 0, &flags, NULL, &n) ? -errno : 0;
}

int attach_to_cgroup(const struct attach_to *a, struct skep_err *err)
{
	const char *root = host_cgroup2(a->host);
	cleanup(fd_close) int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (!*root)
		return skep_fail(err, -ENOENT, "cgroup2 is not mounted");
	if (fd < 0)
		return attach_fail(err, -errno, "opening the cgroup2 root");
	rc = queried(fd, a->type);
	return rc ? attach_fail(err, rc, "asking who is attached") : 0;
}

int attach_tcx(const struct attach_to *a maybe_unused, struct skep_err *err)
{
	int rc = queried(LOOPBACK, TCX_INGRESS);

	return rc ? attach_fail(err, rc, "asking who is attached") : 0;
}

/* A kernel with netkit answers that lo is not one (ENXIO); others do not know the question. */
int attach_netkit(const struct attach_to *a maybe_unused, struct skep_err *err)
{
	int rc = queried(LOOPBACK, NETKIT_PRIMARY);

	return rc && rc != -ENXIO ? attach_fail(err, rc, "asking who is attached") : 0;
}
