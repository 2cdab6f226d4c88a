// SPDX-License-Identifier: Apache-2.0
#include "balance/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define BPFFS_MAGIC 0xcafe4a11
#define LINK	    "link-"
#define LINK_TC	    "tc-"

/* More of what Debian's headers do not have yet. */
#define TYPE_TCX_OUT  ((enum bpf_attach_type)47)
#define TCX_BEFORE    8 /* BPF_F_BEFORE: without another's name, all others */
#define LINK_TYPE_TCX 11

int attach_pins(const char *dir, struct skep_err *err)
{
	char path[512], *slash;
	struct statfs fs;

	snprintf(path, sizeof(path), "%s", dir);
	for (slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		if (mkdir(path, 0700) && errno != EEXIST)
			return skep_fail(err, -errno, "make %s: %s", path, strerror(errno));
		*slash = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return skep_fail(err, -errno, "make %s: %s", path, strerror(errno));
	if (statfs(dir, &fs) || fs.f_type != BPFFS_MAGIC)
		return skep_fail(err, -EOPNOTSUPP, "%s is not on a BPF file system", dir);
	return 0;
}

static void link_path(char *out, size_t cap, const struct attach_wish *w)
{
	snprintf(out, cap, "%s/%s%s", w->pins, w->hook >= ATTACH_TC ? LINK_TC : LINK, w->name);
}

/* Of both kinds the first that info tells is the interface. */
static bool link_is(int fd, const struct attach_wish *w, int ifindex, uint32_t *prog)
{
	const uint32_t type = w->hook >= ATTACH_TC ? LINK_TYPE_TCX : BPF_LINK_TYPE_XDP;
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.type != type ||
	    info.xdp.ifindex != (uint32_t)ifindex)
		return false;
	*prog = info.prog_id;
	return true;
}

/* A pinned link that still holds this very interface; -1 where there is none. */
static int link_found(const char *path, const struct attach_wish *w, int ifindex)
{
	int fd = bpf_obj_get(path);
	uint32_t prog;

	if (fd < 0 || link_is(fd, w, ifindex, &prog))
		return fd < 0 ? -1 : fd;
	unlink(path); /* its interface is gone */
	fd_close(&fd);
	return -1;
}

static int make_xdp(struct attach *a, const struct attach_wish *w)
{
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_link_create_opts, generic, .flags = XDP_FLAGS_SKB_MODE);

	a->fd = bpf_link_create(w->prog, a->ifindex, BPF_XDP, &native);
	if (w->hook == ATTACH_XDP && (a->fd == -EOPNOTSUPP || a->fd == -EINVAL)) {
		a->fd = bpf_link_create(w->prog, a->ifindex, BPF_XDP, &generic);
		a->how = ATTACH_GENERIC;
	}
	return a->fd < 0 ? a->fd : 0;
}

static int make_tc(struct attach *a, const struct attach_wish *w)
{
	LIBBPF_OPTS(bpf_link_create_opts, first, .flags = TCX_BEFORE);
	bool out = w->hook == ATTACH_PROBES_OUT;

	a->how = ATTACH_TCX;
	a->fd = bpf_link_create(w->prog, a->ifindex, out ? TYPE_TCX_OUT : ATTACH_TYPE_TCX,
				out ? NULL : &first);
	if (a->fd != -EINVAL && a->fd != -EOPNOTSUPP)
		return a->fd < 0 ? a->fd : 0;
	a->how = ATTACH_FILTER;
	return attach_filter_make(a->ifindex, w->hook, w->prog);
}

static int make(struct attach *a, const struct attach_wish *w, const char *path,
		struct skep_err *err)
{
	int rc = w->hook >= ATTACH_TC ? make_tc(a, w) : make_xdp(a, w);

	if (rc)
		return skep_fail(err, rc, "attach to %s: %s", a->name, strerror(-rc));
	if (a->fd >= 0 && w->pins && bpf_obj_pin(a->fd, path))
		return skep_fail(err, -errno, "pin %s: %s", path, strerror(errno));
	return 0;
}

static enum attach_how how_found(const struct attach *a, const struct attach_wish *w)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, o);

	if (w->hook >= ATTACH_TC)
		return ATTACH_TCX;
	return !bpf_xdp_query(a->ifindex, 0, &o) && o.attach_mode == XDP_ATTACHED_SKB
		       ? ATTACH_GENERIC
		       : ATTACH_NATIVE;
}

int attach_open(struct attach *a, const struct attach_wish *w, struct skep_err *err)
{
	char path[512] = "";
	int rc;

	*a = (struct attach){.fd = -1};
	snprintf(a->name, sizeof(a->name), "%s", w->name);
	a->ifindex = (int)if_nametoindex(w->name);
	if (!a->ifindex)
		return skep_fail(err, -ENODEV, "no interface %s", w->name);
	if (w->pins) {
		link_path(path, sizeof(path), w);
		a->fd = link_found(path, w, a->ifindex);
	}
	if (a->fd >= 0) {
		a->how = how_found(a, w);
		rc = bpf_link_update(a->fd, w->prog, NULL);
		return rc ? skep_fail(err, rc, "replace the program of %s: %s", w->name,
				      strerror(-rc))
			  : 0;
	}
	rc = make(a, w, path, err);
	if (rc)
		attach_done(a);
	return rc;
}

void attach_end(const struct attach_wish *w, uint32_t prog)
{
	int ifindex = (int)if_nametoindex(w->name);
	cleanup(fd_close) int fd = -1;
	char path[512];
	uint32_t now;

	if (w->hook >= ATTACH_TC && ifindex)
		attach_filter_end(ifindex, w->hook, prog);
	if (!w->pins)
		return;
	link_path(path, sizeof(path), w);
	fd = bpf_obj_get(path);
	if (fd >= 0 && (!prog || !link_is(fd, w, ifindex, &now) || now == prog))
		unlink(path);
}

void attach_done(struct attach *a)
{
	fd_close(&a->fd);
}

static bool kept(const char *name, const struct attach *keep, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!strcmp(keep[i].name, name))
			return true;
	return false;
}

void attach_forget(const char *pins, const struct attach *keep, unsigned n)
{
	DIR *dir = opendir(pins);
	struct dirent *e;
	char path[512];

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		if (strncmp(e->d_name, LINK, strlen(LINK)) != 0 ||
		    kept(e->d_name + strlen(LINK), keep, n))
			continue;
		snprintf(path, sizeof(path), "%.250s/%.250s", pins, e->d_name);
		unlink(path);
	}
	closedir(dir);
}

void attach_clear(const char *pins)
{
	DIR *dir = opendir(pins);
	struct dirent *e;
	char path[512];

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		snprintf(path, sizeof(path), "%.250s/%.250s", pins, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	closedir(dir);
}
