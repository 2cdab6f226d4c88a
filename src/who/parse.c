// SPDX-License-Identifier: Apache-2.0
/*
 * What a cgroup path tells: two tables of names that runtimes give to cgroups, applied to one
 * component after the other, so what stands deeper (a container in a container) wins.
 */
#include "who/cgroup.h"

#include <ctype.h>

#include "base/text.h"

#define ID_LEN 64

enum id_kind { ID_HEX, ID_NAME };

/* A component that names a container by itself. */
static const struct own_name {
	const char *prefix, *suffix, *runtime;
	enum id_kind kind;
} own_names[] = {
	{"docker-", ".scope", "docker", ID_HEX},
	{"cri-containerd-", ".scope", "containerd", ID_HEX},
	{"nerdctl-", ".scope", "containerd", ID_HEX},
	{"crio-", ".scope", "cri-o", ID_HEX},
	{"libpod-", ".scope", "podman", ID_HEX},
	{"crio-", "", "cri-o", ID_HEX},
	{"libpod-", "", "podman", ID_HEX},
	/* "x.slice:docker:<id>": a runtime told to use cgroupfs that was given a systemd name */
	{"docker:", "", "docker", ID_HEX},
	{"cri-containerd:", "", "containerd", ID_HEX},
	{"nerdctl:", "", "containerd", ID_HEX},
	{"crio:", "", "cri-o", ID_HEX},
	{"libpod:", "", "podman", ID_HEX},
	{"lxc.payload.", "", "lxc", ID_NAME},
	{"systemd-nspawn@", ".service", "systemd", ID_NAME},
	{"machine-", ".scope", "systemd", ID_NAME},
};

/* A component below which bare ids (or names) are containers of that runtime. */
static const struct parent_name {
	const char *name, *runtime;
	enum id_kind kind;
} parent_names[] = {
	{"docker", "docker", ID_HEX},
	{"actions_job", "docker", ID_HEX},
	{"ecs", "docker", ID_HEX},
	{"moby", "docker", ID_HEX},
	{"kubepods", "containerd", ID_HEX},
	{"k8s.io", "containerd", ID_HEX},
	{"default", "containerd", ID_HEX},
	{"libpod_parent", "podman", ID_HEX},
	{"lxc", "lxc", ID_NAME},
	{"lxc.payload", "lxc", ID_NAME},
};

/* Their last component says nothing to a person. */
static const char *const monitors[] = {"crio-conmon-", "libpod-conmon-", "lxc.monitor."};
static const char *const unit_types[] = {".service", ".scope", ".mount", ".socket", ".swap"};

struct span {
	const char *s;
	size_t n;
};

static bool starts(struct span c, const char *prefix)
{
	size_t n = strlen(prefix);

	return c.n >= n && !memcmp(c.s, prefix, n);
}

static bool ends(struct span c, const char *suffix)
{
	size_t n = strlen(suffix);

	return c.n >= n && !memcmp(c.s + c.n - n, suffix, n);
}

static bool is(struct span c, const char *s)
{
	return c.n == strlen(s) && !memcmp(c.s, s, c.n);
}

static bool all_hex(struct span c, const char *also)
{
	size_t i;

	for (i = 0; i < c.n; i++) {
		if (!isxdigit((unsigned char)c.s[i]) && !(c.s[i] && strchr(also, c.s[i])))
			return false;
	}
	return true;
}

static bool is_container_id(struct span c)
{
	return c.n == ID_LEN && all_hex(c, "");
}

/* <32 hex>-<digits>: what ECS on Fargate calls a container. */
static bool is_fargate_id(struct span c)
{
	return c.n > 33 && c.n < ID_LEN && c.s[32] == '-' && all_hex((struct span){c.s, 32}, "") &&
	       strspn(c.s + 33, "0123456789") >= c.n - 33;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* Copies with systemd's \xNN decoded, then made printable. */
static void put(char *dst, size_t cap, struct span c)
{
	char raw[256];
	size_t n = 0, i = 0;

	while (i < c.n && n < sizeof(raw)) {
		if (c.n - i >= 4 && c.s[i] == '\\' && c.s[i + 1] == 'x' &&
		    all_hex((struct span){c.s + i + 2, 2}, "")) {
			raw[n++] = (char)(hex_digit(c.s[i + 2]) << 4 | hex_digit(c.s[i + 3]));
			i += 4;
		} else {
			raw[n++] = c.s[i++];
		}
	}
	text_escape(dst, cap, raw, n);
}

static void set_container(struct cgroup_facts *out, const char *runtime, struct span id)
{
	snprintf(out->runtime, sizeof(out->runtime), "%s", runtime);
	put(out->container, sizeof(out->container), id);
}

static bool take_own_name(struct span c, struct cgroup_facts *out)
{
	size_t i;

	for (i = 0; i < array_size(own_names); i++) {
		const struct own_name *o = &own_names[i];
		struct span id = {c.s + strlen(o->prefix), c.n};

		if (!starts(c, o->prefix) || !ends(c, o->suffix) ||
		    c.n <= strlen(o->prefix) + strlen(o->suffix))
			continue;
		id.n = c.n - strlen(o->prefix) - strlen(o->suffix);
		if (o->kind == ID_HEX ? !is_container_id(id) : starts(id, "qemu\\x2d"))
			continue;
		set_container(out, o->runtime, id);
		return true;
	}
	return false;
}

/* kubepods-burstable-pod<uid>.slice, kubepods-pod<uid>.slice, pod<uid>; '_' stands for '-'. */
static bool take_pod(struct span c, struct cgroup_facts *out)
{
	struct span uid = c;
	const char *p;
	size_t i;

	if (ends(uid, ".slice")) {
		uid.n -= strlen(".slice");
		p = memmem(uid.s, uid.n, "-pod", 4);
		if (!p || !memmem(uid.s, uid.n, "kubepods", 8))
			return false;
		uid.n -= (size_t)(p + 1 - uid.s);
		uid.s = p + 1;
	}
	if (!starts(uid, "pod") || uid.n < 3 + 32 || uid.n >= 3 + sizeof(out->pod_uid) ||
	    !all_hex((struct span){uid.s + 3, uid.n - 3}, "_-"))
		return false;
	for (i = 3; i < uid.n; i++)
		out->pod_uid[i - 3] = uid.s[i] == '_' ? '-' : uid.s[i];
	out->pod_uid[i - 3] = '\0';
	return true;
}

static const struct parent_name *find_parent(struct span c)
{
	size_t i;

	for (i = 0; i < array_size(parent_names); i++) {
		if (is(c, parent_names[i].name))
			return &parent_names[i];
	}
	return NULL;
}

/* An id or name that only its parents tell to be one; *@parent is used up by a name. */
static bool take_bare(struct span c, const struct parent_name **parent, struct cgroup_facts *out)
{
	const struct parent_name *p = *parent;

	if (p && p->kind == ID_NAME) {
		*parent = NULL;
		set_container(out, p->runtime, c);
		return true;
	}
	if (is_container_id(c)) {
		set_container(out, p ? p->runtime : "cgroup", c);
		return true;
	}
	if (p && is((struct span){p->name, strlen(p->name)}, "ecs") && is_fargate_id(c)) {
		set_container(out, "containerd", c);
		return true;
	}
	return false;
}

static bool take_unit(struct span c, struct cgroup_facts *out)
{
	size_t i;

	for (i = 0; i < array_size(unit_types); i++) {
		if (ends(c, unit_types[i])) {
			put(out->unit, sizeof(out->unit), c);
			return true;
		}
	}
	return ends(c, ".slice");
}

static bool is_monitor(struct span c)
{
	size_t i;

	for (i = 0; i < array_size(monitors); i++) {
		if (starts(c, monitors[i]))
			return true;
	}
	return false;
}

/* "a.slice:docker:<id>" is two components in one. */
static struct span split_colon(struct span *c)
{
	struct span first = *c;
	const char *colon = memmem(c->s, c->n, ".slice:", 7);

	if (!colon)
		return first;
	first.n = (size_t)(colon + 6 - c->s);
	c->n -= first.n + 1;
	c->s += first.n + 1;
	return first;
}

static void take_component(struct span c, const struct parent_name **parent,
			   struct cgroup_facts *out)
{
	struct span first = split_colon(&c);
	bool known = take_own_name(c, out);

	known = take_pod(first, out) || known;
	known = take_pod(c, out) || known;
	known = take_unit(c, out) || known;
	out->leaf[0] = '\0';
	if (known || take_bare(c, parent, out) || is_monitor(c))
		return;
	if (find_parent(c))
		*parent = find_parent(c);
	put(out->leaf, sizeof(out->leaf), c);
}

void cgroup_parse(const char *path, struct cgroup_facts *out)
{
	const struct parent_name *parent = NULL;

	memset(out, 0, sizeof(*out));
	while (*path) {
		struct span c = {path, strcspn(path, "/")};

		if (c.n)
			take_component(c, &parent, out);
		path += c.n + (path[c.n] == '/');
	}
	if (!out->runtime[0] && out->unit[0])
		strcpy(out->runtime, "systemd");
	else if (!out->runtime[0] && out->leaf[0])
		strcpy(out->runtime, "cgroup");
}
