/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.h: who's half about cgroups: path -> runtime, container, pod, unit.
 */
#ifndef SKEP_WHO_CGROUP_H
#define SKEP_WHO_CGROUP_H

#include "who/who.h"

/*
 * The cache of struct who_cgroup. Where cgroup v1 hierarchies are mounted (hybrid and legacy hosts)
 * the cgroup2 id does not tell containers apart: there the key is the id and the path that
 * /proc/<pid>/cgroup tells most by. Entries that no process refers to are swept away once their
 * number has doubled since the last sweep; strings of an entry change only in cgroups_tick().
 */
struct cgroups;

/**
 * cgroups_open() - find the cgroup2 mount; none is fine too.
 * @root: the folder that container_names() takes for /; copied
 */
int cgroups_open(struct cgroups **out, const char *root, struct skep_err *err);
void cgroups_free(struct cgroups *c);

/**
 * cgroups_get() - see who_cgroup_get().
 * @guess: taken on hosts with cgroup v1 where /proc/<pid>/cgroup is gone already; may be NULL
 */
const struct who_cgroup *cgroups_get(struct cgroups *c, uint64_t id, uint32_t pid,
				     const struct who_cgroup *guess);

/** cgroups_unknown() - the entry that stands for every cgroup that cannot be told. */
const struct who_cgroup *cgroups_unknown(const struct cgroups *c);

/** cgroups_tick() - look again for names that were not on disk at first. About once a second. */
void cgroups_tick(struct cgroups *c, uint64_t boot_ns);

/** cgroups_crowded() - worth a sweep: cgroups_mark() all in use, then cgroups_sweep() the others. */
bool cgroups_crowded(const struct cgroups *c);
void cgroups_mark(struct cgroups *c, const struct who_cgroup *g);
void cgroups_sweep(struct cgroups *c);

uint64_t cgroups_count(const struct cgroups *c);
/** cgroups_root() - where cgroup2 is mounted: /sys/fs/cgroup, /sys/fs/cgroup/unified, or "". */
const char *cgroups_root(const struct cgroups *c);

/* What a path alone tells. "" where it tells nothing; all printable (text_escape()). */
struct cgroup_facts {
	char runtime[16];
	char container[128]; /* innermost; 64 hex digits, or the name of an LXC or nspawn machine */
	char pod_uid[64];    /* with dashes */
	char unit[256];
	char leaf[256]; /* last component where it is no systemd slice, scope or service */
};

/** cgroup_parse() - pure; @path begins with '/', any bytes. systemd's \\x2d is decoded. */
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
