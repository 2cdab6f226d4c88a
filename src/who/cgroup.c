// SPDX-License-Identifier: Apache-2.0
/*
 * The cache of cgroups: id (and v1 path, see cgroup.h) -> struct who_cgroup.
 *
 *	id -- open_by_handle_at() on the cgroup2 mount --> path --.
 *	pid -- /proc/<pid>/cgroup, "0::" line -----------> path ---+-- cgroup_parse() --> facts
 *	pid -- the same, v1 lines (hybrid hosts) --------> path --'        container_names() --> names
 */
#include "who/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"

#define HEADS	      4096
#define MAX_ENTRIES   65536U
#define SWEEP_LEAST   1024U
#define PATH_CAP      4097
#define PROC_MAX      16384 /* of /proc/<pid>/cgroup */
#define HANDLE_KERNFS 0xfe  /* FILEID_KERNFS: the handle is the 8 byte id */
#define SECOND	      1000000000ULL

/* When names are looked for again, after the first tick that sees the cgroup. */
static const uint64_t retry_after[] = {1 * SECOND, 5 * SECOND, 15 * SECOND};

struct entry {
	struct who_cgroup pub;
	struct entry *chain;
	struct entry *pending; /* next whose names are looked for again */
	char *text;	       /* what the strings of pub point to */
	char *path;	       /* as the kernel gave it */
	uint64_t seen;	       /* by the first tick */
	uint8_t tries;
	bool v1; /* the path is one of cgroup v1 and part of the key */
	bool marked;
};

struct cgroups {
	char *root;
	char *mount;
	int mount_fd;
	bool v1;		  /* this host has cgroup v1 hierarchies */
	unsigned count, sweep_at; /* entries now, and how many are worth a sweep */
	struct entry *pending;
	struct who_cgroup unknown;
	struct entry *heads[HEADS];
};

static const struct who_cgroup nothing = {
	.path = "",
	.runtime = "",
	.container = "",
	.name = "",
	.image = "",
	.pod = "",
	.labels = "",
	.unit = "",
	.label = "",
};

/* ---- mounts -------------------------------------------------------------------------------- */

/* In place: mountinfo writes blanks and backslashes as \ooo. */
static void unescape_octal(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

static void read_mount(struct cgroups *c, const char *line, bool *whole)
{
	char root[PATH_CAP], mount[PATH_CAP], type[32];
	const char *tail = strstr(line, " - ");

	if (!tail || sscanf(tail, " - %31s", type) != 1 ||
	    sscanf(line, "%*s %*s %*s %4096s %4096s", root, mount) != 2)
		return;
	if (!strcmp(type, "cgroup"))
		c->v1 = true;
	if (strcmp(type, "cgroup2") || *whole)
		return;
	*whole = !strcmp(root, "/");
	unescape_octal(mount);
	free(c->mount);
	c->mount = strdup(mount);
}

/* The first mount of the whole hierarchy, else of a part of it. */
static int find_mount(struct cgroups *c, struct skep_err *err)
{
	cleanup(file_close) FILE *f = fopen("/proc/self/mountinfo", "re");
	cleanup(mem_free) char *line = NULL;
	size_t cap = 0;
	bool whole = false;

	if (!f)
		return skep_fail(err, -errno, "/proc/self/mountinfo: %s", strerror(errno));
	while (getline(&line, &cap, f) > 0)
		read_mount(c, line, &whole);
	if (!c->mount)
		c->mount = strdup("");
	if (!c->mount)
		return -ENOMEM;
	if (c->mount[0])
		c->mount_fd = open(c->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return 0;
}

int cgroups_open(struct cgroups **out, const char *root, struct skep_err *err)
{
	struct cgroups *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return skep_fail(err, -ENOMEM, "no memory for the cache of cgroups");
	c->mount_fd = -1;
	c->unknown = nothing;
	c->sweep_at = SWEEP_LEAST;
	c->root = strdup(root);
	rc = c->root ? find_mount(c, err) : -ENOMEM;
	if (rc) {
		cgroups_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

static void entry_free(struct entry *e)
{
	free(e->text);
	free(e->path);
	free(e);
}

void cgroups_free(struct cgroups *c)
{
	unsigned i;

	if (!c)
		return;
	for (i = 0; i < HEADS; i++) {
		while (c->heads[i]) {
			struct entry *e = c->heads[i];

			c->heads[i] = e->chain;
			entry_free(e);
		}
	}
	fd_close(&c->mount_fd);
	free(c->mount);
	free(c->root);
	free(c);
}

/* ---- paths --------------------------------------------------------------------------------- */

/* The path below the mount, from the kernel's own handle of that id. */
static bool path_by_handle(const struct cgroups *c, uint64_t id, char path[PATH_CAP])
{
	union {
		struct file_handle handle;
		char room[sizeof(struct file_handle) + sizeof(id)];
	} u = {.handle = {.handle_bytes = sizeof(id), .handle_type = HANDLE_KERNFS}};
	static const char deleted[] = " (deleted)";
	size_t skip = strcmp(c->mount, "/") ? strlen(c->mount) : 0;
	char link[64], whole[PATH_CAP];
	cleanup(fd_close) int fd = -1;
	ssize_t n;

	memcpy(u.room + offsetof(struct file_handle, f_handle), &id, sizeof(id));
	if (c->mount_fd < 0)
		return false;
	fd = open_by_handle_at(c->mount_fd, &u.handle, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, whole, sizeof(whole) - 1);
	if (n < 0)
		return false;
	whole[n] = '\0';
	if ((size_t)n > strlen(deleted) && !strcmp(whole + n - strlen(deleted), deleted))
		whole[(size_t)n - strlen(deleted)] = '\0';
	if (strlen(whole) < skip || strncmp(whole, c->mount, skip))
		return false;
	snprintf(path, PATH_CAP, "%s", whole[skip] ? whole + skip : "/");
	return path[0] == '/';
}

/* The processes of a reused pid are elsewhere: the folder has to have that id. */
static bool path_has_id(const struct cgroups *c, const char *path, uint64_t id)
{
	struct stat st;

	return c->mount_fd >= 0 && path[0] == '/' &&
	       !fstatat(c->mount_fd, path[1] ? path + 1 : ".", &st, AT_SYMLINK_NOFOLLOW) &&
	       st.st_ino == id;
}

/* How much a v1 path tells; a path of cgroup2 that tells as much is preferred. */
static int telling(const char *path)
{
	struct cgroup_facts facts;

	if (!strcmp(path, "/"))
		return 0;
	cgroup_parse(path, &facts);
	return facts.container[0] ? 3 : facts.pod_uid[0] ? 2 : facts.unit[0] ? 1 : 0;
}

struct proc_paths {
	char v2[PATH_CAP];
	char v1[PATH_CAP]; /* the most telling one, "" where none tells anything */
};

/* @line is "n:controllers:path"; only cgroup2's is numbered 0 and has no controllers. */
static void read_proc_line(const char *line, struct proc_paths *out, int *best)
{
	const char *controllers = strchr(line, ':');
	const char *path = controllers ? strchr(controllers + 1, ':') : NULL;
	int rank;

	if (!path)
		return;
	path++;
	if (!strncmp(line, "0::", 3)) {
		snprintf(out->v2, sizeof(out->v2), "%s", path);
		return;
	}
	rank = telling(path);
	if (rank > *best) {
		*best = rank;
		snprintf(out->v1, sizeof(out->v1), "%s", path);
	}
}

/* Whole lines only: one that does not fit is left out, and those behind it. */
static bool read_proc(uint32_t pid, struct proc_paths *out)
{
	char text[PROC_MAX + 1], *line, *end;
	cleanup(fd_close) int fd = -1;
	size_t len = 0;
	ssize_t n;
	int best = 0;

	snprintf(text, sizeof(text), "/proc/%u/cgroup", pid);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while ((n = read(fd, text + len, PROC_MAX - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	out->v1[0] = out->v2[0] = '\0';
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		read_proc_line(line, out, &best);
	}
	if (out->v2[0] && best <= telling(out->v2))
		out->v1[0] = '\0';
	return len > 0;
}

/* ---- strings ------------------------------------------------------------------------------- */

static const char *service_of(const char *unit, char *dst, size_t cap)
{
	size_t n = strlen(unit), tail = strlen(".service");

	if (n <= tail || strcmp(unit + n - tail, ".service") || !strncmp(unit, "user@", 5))
		return "";
	snprintf(dst, cap, "%.*s", (int)(n - tail), unit);
	return dst;
}

/* Pod, container, service, leaf: the first there is. */
static void make_label(const struct cgroup_facts *f, const struct cgroup_names *n, char *dst,
		       size_t cap)
{
	const char *service = service_of(f->unit, dst, cap);

	if (n->pod[0])
		snprintf(dst, cap, "%s", n->pod);
	else if (n->name[0])
		snprintf(dst, cap, "%s", n->name);
	else if (f->container[0])
		snprintf(dst, cap, "%.*s", strlen(f->container) == 64 ? 12 : -1, f->container);
	else if (!service[0])
		snprintf(dst, cap, "%s", f->leaf);
}

/* Copies @n strings into one block and lets the members point there. */
static char *join(const char *const *from, const char **const *to, size_t n)
{
	size_t i, bytes = 0;
	char *text, *at;

	for (i = 0; i < n; i++)
		bytes += strlen(from[i]) + 1;
	text = at = malloc(bytes);
	for (i = 0; text && i < n; i++) {
		*to[i] = at;
		at = stpcpy(at, from[i]) + 1;
	}
	return text;
}

static bool set_strings(struct entry *e, const struct cgroup_facts *f, const struct cgroup_names *n)
{
	char label[sizeof(n->pod)], path[PATH_CAP];
	struct who_cgroup *g = &e->pub;
	const char *const from[] = {path,   f->runtime, f->container, n->name, n->image,
				    n->pod, n->labels,	f->unit,      label};
	const char **const to[] = {&g->path, &g->runtime, &g->container, &g->name, &g->image,
				   &g->pod,  &g->labels,  &g->unit,	 &g->label};
	char *text;

	text_escape(path, sizeof(path), e->path, strlen(e->path));
	make_label(f, n, label, sizeof(label));
	text = join(from, to, array_size(to));
	if (!text)
		return false;
	free(e->text);
	e->text = text;
	return true;
}

/* ---- entries ------------------------------------------------------------------------------- */

static struct entry **head_of(struct cgroups *c, uint64_t id, const char *v1)
{
	uint64_t h = id;

	while (v1 && *v1)
		h = h * 31 + (unsigned char)*v1++;
	return &c->heads[(h ^ h >> 32) % HEADS];
}

/* @v1: "" for an entry of the id alone. */
static struct entry *entry_find(struct cgroups *c, uint64_t id, const char *v1)
{
	struct entry *e = *head_of(c, id, v1);

	while (e && (e->pub.id != id || e->v1 != !!*v1 || (e->v1 && strcmp(e->path, v1))))
		e = e->chain;
	return e;
}

/* Parses the path, looks for names on disk. Return: whether to look again later. */
static bool entry_describe(struct cgroups *c, struct entry *e)
{
	struct cgroup_facts facts = {0};
	struct cgroup_names names = {0};
	bool missing;

	cgroup_parse(e->path, &facts);
	missing = facts.container[0] && container_names(c->root, &facts, &names);
	set_strings(e, &facts, &names);
	return missing;
}

static void entry_set_path(struct cgroups *c, struct entry *e, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return;
	free(e->path);
	e->path = copy;
	if (!entry_describe(c, e))
		return;
	e->pending = c->pending;
	c->pending = e;
}

static struct entry *entry_add(struct cgroups *c, uint64_t id, const char *v1)
{
	struct entry *e = c->count < MAX_ENTRIES ? calloc(1, sizeof(*e)) : NULL;
	struct entry **head = head_of(c, id, v1);

	if (!e)
		return NULL;
	e->pub = nothing;
	e->pub.id = id;
	e->v1 = *v1;
	e->path = strdup(v1);
	if (!e->path) {
		free(e);
		return NULL;
	}
	e->chain = *head;
	*head = e;
	c->count++;
	return e;
}

/* False where the path cannot be told; @have: @paths was read from /proc already. */
static bool find_path(struct cgroups *c, uint64_t id, uint32_t pid, struct proc_paths *paths,
		      bool have, char path[PATH_CAP])
{
	if (path_by_handle(c, id, path))
		return true;
	if (!pid || (!have && !read_proc(pid, paths)) || !path_has_id(c, paths->v2, id))
		return false;
	memcpy(path, paths->v2, PATH_CAP);
	return true;
}

const struct who_cgroup *cgroups_get(struct cgroups *c, uint64_t id, uint32_t pid,
				     const struct who_cgroup *guess)
{
	struct proc_paths paths = {0};
	char path[PATH_CAP];
	bool have = c->v1 && pid && read_proc(pid, &paths);
	struct entry *e;

	if (!id)
		return &c->unknown;
	paths.v1[0] = paths.v2[0] = '\0';
	have = c->v1 && pid && read_proc(pid, &paths);
	if (c->v1 && pid && !have && guess)
		return guess;
	e = entry_find(c, id, paths.v1);
	if (e && (e->pub.path[0] || !pid))
		return &e->pub;
	if (!e)
		e = entry_add(c, id, paths.v1);
	if (!e)
		return &c->unknown;
	if (e->v1)
		entry_set_path(c, e, paths.v1);
	else if (find_path(c, id, pid, &paths, have, path))
		entry_set_path(c, e, path);
	return &e->pub;
}

const struct who_cgroup *cgroups_unknown(const struct cgroups *c)
{
	return &c->unknown;
}

/* Return: whether @e waits on. */
static bool entry_retry(struct cgroups *c, struct entry *e, uint64_t boot_ns)
{
	if (!e->seen)
		e->seen = boot_ns;
	if (boot_ns - e->seen < retry_after[e->tries])
		return true;
	return entry_describe(c, e) && ++e->tries < array_size(retry_after);
}

void cgroups_tick(struct cgroups *c, uint64_t boot_ns)
{
	struct entry **link = &c->pending;

	while (*link) {
		if (entry_retry(c, *link, boot_ns))
			link = &(*link)->pending;
		else
			*link = (*link)->pending;
	}
}

bool cgroups_crowded(const struct cgroups *c)
{
	return c->count >= c->sweep_at;
}

void cgroups_mark(struct cgroups *c, const struct who_cgroup *g)
{
	if (g != &c->unknown)
		container_of(g, struct entry, pub)->marked = true;
}

static void sweep_chain(struct cgroups *c, struct entry **link)
{
	while (*link) {
		struct entry *e = *link;

		if (e->marked) {
			e->marked = false;
			link = &e->chain;
		} else {
			*link = e->chain;
			entry_free(e);
			c->count--;
		}
	}
}

void cgroups_sweep(struct cgroups *c)
{
	struct entry **link = &c->pending;
	unsigned i;

	while (*link) {
		if ((*link)->marked)
			link = &(*link)->pending;
		else
			*link = (*link)->pending;
	}
	for (i = 0; i < HEADS; i++)
		sweep_chain(c, &c->heads[i]);
	c->sweep_at = max(2 * c->count, SWEEP_LEAST);
	c->sweep_at = min(c->sweep_at, MAX_ENTRIES);
}

uint64_t cgroups_count(const struct cgroups *c)
{
	return c->count;
}

const char *cgroups_root(const struct cgroups *c)
{
	return c->mount;
}
