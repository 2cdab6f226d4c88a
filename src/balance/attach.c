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

static void link_path(char *out, size_t cap, const char *pins, const char *name)
{
	snprintf(out, cap, "%s/" LINK "%s", pins, name);
}

/* A pinned link that still holds this very interface; -1 where there is none. */
static int link_found(const char *path, int ifindex)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return -1;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.type == BPF_LINK_TYPE_XDP &&
	    info.xdp.ifindex == (uint32_t)ifindex)
		return fd;
	unlink(path); /* its interface is gone */
	fd_close(&fd);
	return -1;
}

static int link_make(struct attach *a, int prog, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, native, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_link_create_opts, generic, .flags = XDP_FLAGS_SKB_MODE);

	a->fd = bpf_link_create(prog, a->ifindex, BPF_XDP, &native);
	if (a->fd == -EOPNOTSUPP || a->fd == -EINVAL) {
		a->fd = bpf_link_create(prog, a->ifindex, BPF_XDP, &generic);
		a->generic = true;
	}
	return a->fd < 0 ? skep_fail(err, a->fd, "attach to %s: %s", a->name, strerror(-a->fd)) : 0;
}

int attach_open(struct attach *a, const char *name, int prog, const char *pins,
		struct skep_err *err)
{
	char path[512];
	int rc;

	*a = (struct attach){.fd = -1};
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->ifindex = (int)if_nametoindex(name);
	if (!a->ifindex)
		return skep_fail(err, -ENODEV, "no interface %s", name);
	if (pins) {
		link_path(path, sizeof(path), pins, name);
		a->fd = link_found(path, a->ifindex);
	}
	if (a->fd >= 0) {
		rc = bpf_link_update(a->fd, prog, NULL);
		return rc ? skep_fail(err, rc, "replace the program of %s: %s", name, strerror(-rc))
			  : 0;
	}
	rc = link_make(a, prog, err);
	if (!rc && pins && bpf_obj_pin(a->fd, path))
		rc = skep_fail(err, -errno, "pin %s: %s", path, strerror(errno));
	if (rc)
		attach_done(a);
	return rc;
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
