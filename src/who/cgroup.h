/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.h: who's half about cgroups: path -> runtime, container, pod, unit.
 */
#ifndef SKEP_WHO_CGROUP_H
#define SKEP_WHO_CGROUP_H

#include "who/who.h"

struct cgroups; /* the cache of struct who_cgroup by id */

int cgroups_open(struct cgroups **out, struct skep_err *err);
void cgroups_free(struct cgroups *c);
const struct who_cgroup *cgroups_get(struct cgroups *c, uint64_t id, uint32_t pid);
uint64_t cgroups_count(const struct cgroups *c);
/** cgroups_root() - where cgroup2 is mounted: /sys/fs/cgroup, /sys/fs/cgroup/unified, or "". */
const char *cgroups_root(const struct cgroups *c);

/* What a path alone tells. Fixed buffers, "" where it tells nothing. */
struct cgroup_facts {
	char runtime[16];
	char container[128];
	char pod_uid[64]; /* with dashes */
	char unit[256];
	char leaf[256]; /* last component where it is no systemd slice, scope or service */
};

/** cgroup_parse() - pure; @path begins with '/', any bytes. */
void cgroup_parse(const char *path, struct cgroup_facts *out);

/* Names that files on this host give to a container or pod. */
struct cgroup_names {
	char name[256];
	char image[256];
	char pod[512]; /* namespace/name */
	char labels[1024];
};

/**
 * container_names() - look a container up in what Docker, containerd, CRI-O and Podman leave on disk.
 * @root: "" on a real host; tests give a folder that stands for /
 *
 * Return: 0 when anything was found, -ENOENT else. Reads at most 1 MiB a file.
 */
int container_names(const char *root, const struct cgroup_facts *facts, struct cgroup_names *out);

#endif
