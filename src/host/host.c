/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel can do, found out by trying.
 *
 *	host_has(id) -> host_feature(id) --first time--> trial_run(id)        trial.c
 *	                      |                              | map, BTF id    names.c
 *	                      v                              | load
 *	               struct host.features[id]              | attach, detach attach.c
 *	               ready, or reason and fix  <-----------+
 *
 * H1  A feature is ready only where the kernel took the very thing: a program of that type, with
 *     the helper in question, attached where loading alone proves nothing. Versions are never read.
 * H2  A trial disturbs nobody: it touches no network interface, its programs return what the kernel
 *     would have done anyway, and its fds are closed before trial_run() returns.
 * H3  Results live in struct host and nowhere else; a new host_open() tries again.
 * H4  Parsed BTF never outlives the call that needed it (names.c): it would be a quarter of the
 *     agent's resident memory.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <bpf/bpf.h>

#include "host/inside.h"

#define BTF_PATH       "/sys/kernel/btf/vmlinux"
#define MOUNTINFO_PATH "/proc/self/mountinfo"

#define ALL_CAPS                                                                     \
	"CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, " \
	"CAP_SYS_RESOURCE"

/* Without these skep is blind. CAP_SYS_RESOURCE matters only before Linux 5.11 (RLIMIT_MEMLOCK). */
static const struct {
	const char *name;
	unsigned bit;
} needed_caps[] = {
	{"CAP_BPF", CAP_BPF},
	{"CAP_PERFMON", CAP_PERFMON},
	{"CAP_NET_ADMIN", CAP_NET_ADMIN},
	{"CAP_SYS_PTRACE", CAP_SYS_PTRACE},
	{"CAP_DAC_READ_SEARCH", CAP_DAC_READ_SEARCH},
};

static const struct {
	const char *name, *use, *fix;
} rows[] = {
#define HOST_FEATURE(id, name, use, fix) [HOST_##id] = {name, use, fix},
#include "host/feature.def"
#undef HOST_FEATURE
};

static uint64_t effective_caps(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	if (syscall(SYS_capget, &head, data))
		return 0;
	return (uint64_t)data[1].effective << 32 | data[0].effective;
}

/* Writes "CAP_A, CAP_B": those that are missing. Return: how many. */
static unsigned missing_caps(char *dst, size_t cap)
{
	uint64_t have = effective_caps();
	unsigned missing = 0;
	size_t at = 0;

	*dst = '\0';
	for (unsigned i = 0; i < array_size(needed_caps) && at < cap; i++) {
		if (have >> needed_caps[i].bit & 1)
			continue;
		at += snprintf(dst + at, cap - at, "%s%s", missing ? ", " : "",
			       needed_caps[i].name);
		missing++;
	}
	return missing;
}

static int check_caps(struct skep_err *err)
{
	char names[256];
	unsigned missing = missing_caps(names, sizeof(names));

	if (!missing)
		return 0;
	if (missing == array_size(needed_caps))
		return skep_fail(err, -EPERM,
				 "skep up needs root: run it with sudo, or give it " ALL_CAPS);
	return skep_fail(err, -EPERM, "skep up lacks %s: run it with sudo, or give it %s too",
			 names, missing == 1 ? "that" : "these");
}

static int check_bpf(struct skep_err *err)
{
	cleanup(fd_close) int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "skep_host", 4, 4, 1, NULL);

	if (fd >= 0)
		return 0;
	if (errno == ENOSYS)
		return skep_fail(err, -ENOSYS,
				 "this kernel has no bpf(2): it needs CONFIG_BPF_SYSCALL=y");
	return skep_fail(err, -errno,
			 "bpf(2) is refused (%s): in a container, run skep privileged in the "
			 "host's user namespace",
			 strerror(errno));
}

static int check_btf(const char *path, struct skep_err *err)
{
	if (!access(path, R_OK))
		return 0;
	return skep_fail(err, -ENOENT,
			 "no kernel type information at %s (%s): skep needs Linux 5.8 or later "
			 "built with CONFIG_DEBUG_INFO_BTF=y, as Debian's kernels are",
			 path, strerror(errno));
}

static void set_rows(struct host *h)
{
	static_assert(array_size(rows) == HOST_FEATURE_COUNT, "one row a feature");

	for (unsigned i = 0; i < HOST_FEATURE_COUNT; i++) {
		h->features[i].name = rows[i].name;
		h->features[i].use = rows[i].use;
		h->features[i].fix = rows[i].fix;
	}
}

int host_open_at(struct host **out, const char *btf, const char *mountinfo, struct skep_err *err)
{
	struct utsname name;
	struct host *h;
	int rc;

	host_bpf_keep();
	if ((rc = check_caps(err)) || (rc = check_bpf(err)) || (rc = check_btf(btf, err)))
		return rc;
	h = calloc(1, sizeof(*h));
	if (!h)
		return skep_fail(err, -ENOMEM, "out of memory");
	h->btf = btf;
	set_rows(h);
	if (!uname(&name))
		snprintf(h->kernel, sizeof(h->kernel), "%s", name.release);
	mounts_cgroup2(mountinfo, h->cgroup2);
	*out = h;
	return 0;
}

int host_open(struct host **out, struct skep_err *err)
{
	return host_open_at(out, BTF_PATH, MOUNTINFO_PATH, err);
}

void host_free(struct host *h)
{
	if (!h)
		return;
	host_names_done(&h->names);
	free(h);
}

int host_names(struct host *h, const struct names **out, struct skep_err *err)
{
	int rc = h->names.keys ? 0 : host_names_load(&h->names, h->btf, err);

	if (!rc)
		*out = &h->names;
	return rc;
}

/* After the agent gave up its capabilities, that is what stands in the way, not the kernel. */
static const char *fix_for(enum host_feature_id id, int rc)
{
	const uint64_t need = 1ULL << CAP_BPF | 1ULL << CAP_PERFMON;

	if (rc == -EPERM && (effective_caps() & need) != need)
		return "run as root, or with CAP_BPF and CAP_PERFMON";
	return rows[id].fix;
}

const struct host_feature *host_feature(struct host *h, enum host_feature_id id)
{
	struct host_feature *f = &h->features[id];
	struct skep_err why = {};
	int rc;

	if (h->tried[id])
		return f;
	rc = trial_run(h, id, &why);
	h->tried[id] = true;
	f->ready = rc == 0;
	if (rc) {
		snprintf(f->reason, sizeof(f->reason), "%.*s", (int)sizeof(f->reason) - 1,
			 why.text[0] ? why.text : strerror(-rc));
		f->fix = fix_for(id, rc);
	}
	return f;
}

bool host_has(struct host *h, enum host_feature_id id)
{
	return host_feature(h, id)->ready;
}

const char *host_kernel(const struct host *h)
{
	return h->kernel;
}

const char *host_cgroup2(const struct host *h)
{
	return h->cgroup2;
}

static unsigned find_name(struct host *h, const char *name)
{
	const struct names *names;

	return host_names(h, &names, NULL) ? 0 : host_names_find(names, name);
}

bool host_btf_func(struct host *h, const char *name)
{
	return strncmp(name, "btf_trace_", 10) != 0 && find_name(h, name) != 0;
}

bool host_btf_trace(struct host *h, const char *name)
{
	char full[128];

	snprintf(full, sizeof(full), "btf_trace_%s", name);
	return find_name(h, full) != 0;
}
