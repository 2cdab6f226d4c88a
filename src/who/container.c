// SPDX-License-Identifier: Apache-2.0
/*
 * Names of containers and pods, from the files that runtimes leave on this host. What is read is
 * written by root's daemons but holds strings of strangers: sizes are bounded, text is escaped.
 */
#include "who/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "base/text.h"

#define FILE_MAX    (1U << 20)
#define LOGS_MAX    4096 /* folders of pods looked at */
#define LIST_MAX    4096 /* containers in one of Podman's lists */
#define LABEL_POD   "io.kubernetes.pod.name"
#define LABEL_NS    "io.kubernetes.pod.namespace"
#define LABEL_NAME  "io.kubernetes.container.name"
#define CRIO_BUNDLE "%1$s/run/containers/storage/overlay-containers/%2$s/userdata/config.json"

static void json_done(json_t **j)
{
	json_decref(*j);
}

static int read_whole(int fd, char *text, size_t size)
{
	size_t at = 0;
	ssize_t n;

	while (at < size) {
		n = read(fd, text + at, size - at);
		if (n <= 0)
			return -EIO;
		at += (size_t)n;
	}
	return 0;
}

/* NULL where there is no such file, it is too long, or it is no JSON. */
static json_t *load(const char *path)
{
	cleanup(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	cleanup(mem_free) char *text = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size <= 0 ||
	    st.st_size > FILE_MAX)
		return NULL;
	text = malloc((size_t)st.st_size);
	if (!text || read_whole(fd, text, (size_t)st.st_size))
		return NULL;
	return json_loadb(text, (size_t)st.st_size, 0, NULL);
}

/* JSON in a string; NULL for NULL. */
static json_t *load_text(const json_t *string)
{
	const char *s = json_string_value(string);

	return s ? json_loads(s, 0, NULL) : NULL;
}

static const char *member(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* Sets what is not known yet. */
static void learn(char *dst, size_t cap, const char *s)
{
	if (!dst[0])
		text_escape(dst, cap, s, strlen(s));
}

static void learn_pod(struct cgroup_names *out, const char *ns, const char *pod)
{
	char whole[512];

	if (!*pod)
		return;
	snprintf(whole, sizeof(whole), "%s/%s", *ns ? ns : "default", pod);
	learn(out->pod, sizeof(out->pod), whole);
}

/* k=v,k=v; without Kubernetes' own, which say what pod and name say. */
static void learn_labels(struct cgroup_names *out, json_t *labels)
{
	size_t at = strlen(out->labels);
	const char *key;
	json_t *value;

	if (at)
		return;
	json_object_foreach(labels, key, value)
	{
		char pair[512], shown[512];
		size_t n;

		if (!json_is_string(value) || !strncmp(key, "io.kubernetes.", 14) ||
		    !strncmp(key, "annotation.", 11))
			continue;
		snprintf(pair, sizeof(pair), "%s=%s", key, json_string_value(value));
		n = text_escape(shown, sizeof(shown), pair, strlen(pair));
		if (at + n + 2 > sizeof(out->labels))
			return;
		at += (size_t)sprintf(out->labels + at, "%s%s", at ? "," : "", shown);
	}
}

/* The labels that the kubelet gives to every container. */
static void learn_kubelet(struct cgroup_names *out, const json_t *labels)
{
	learn_pod(out, member(labels, LABEL_NS), member(labels, LABEL_POD));
	learn(out->name, sizeof(out->name), member(labels, LABEL_NAME));
}

/* Docker's config.v2.json. */
static void learn_docker(const char *root maybe_unused, const json_t *file,
			 struct cgroup_names *out)
{
	const json_t *config = json_object_get(file, "Config");
	json_t *labels = json_object_get(config, "Labels");
	const char *name = member(file, "Name");

	learn_kubelet(out, labels);
	learn_labels(out, labels);
	learn(out->name, sizeof(out->name), name + (*name == '/'));
	learn(out->image, sizeof(out->image), member(config, "Image"));
}

/* A pod's labels are with its sandbox. */
static void learn_crio_sandbox(const char *root, const char *id, struct cgroup_names *out)
{
	cleanup(json_done) json_t *file = NULL, *labels = NULL;
	char path[4096];

	if (strlen(id) != 64 || strspn(id, "0123456789abcdef") != 64)
		return;
	snprintf(path, sizeof(path), CRIO_BUNDLE, root, id);
	file = load(path);
	labels = load_text(json_object_get(json_object_get(file, "annotations"),
					   "io.kubernetes.cri-o.Labels"));
	learn_labels(out, labels);
}

/* config.json of an OCI bundle: what containerd, nerdctl, CRI-O and Podman write into it. */
static void learn_bundle(const char *root, const json_t *file, struct cgroup_names *out)
{
	static const char *const images[] = {"io.kubernetes.cri.image-name",
					     "io.kubernetes.cri-o.ImageName",
					     "org.opencontainers.image.ref.name"};
	const json_t *notes = json_object_get(file, "annotations");
	cleanup(json_done) json_t *labels =
		load_text(json_object_get(notes, "io.kubernetes.cri-o.Labels"));
	size_t i;

	learn_pod(out, member(notes, "io.kubernetes.cri.sandbox-namespace"),
		  member(notes, "io.kubernetes.cri.sandbox-name"));
	learn(out->name, sizeof(out->name), member(notes, "io.kubernetes.cri.container-name"));
	learn_kubelet(out, notes);
	learn_kubelet(out, labels);
	learn(out->name, sizeof(out->name), member(notes, "nerdctl/name"));
	for (i = 0; i < array_size(images); i++)
		learn(out->image, sizeof(out->image), member(notes, images[i]));
	learn_labels(out, labels);
	learn_crio_sandbox(root, member(notes, "io.kubernetes.cri-o.SandboxID"), out);
}

/* One file a container; %1$s is the root, %2$s the id. */
static const struct source {
	const char *path;
	void (*learn)(const char *root, const json_t *file, struct cgroup_names *out);
} sources[] = {
	{"%1$s/var/lib/docker/containers/%2$s/config.v2.json", learn_docker},
	{"%1$s/run/containerd/io.containerd.runtime.v2.task/k8s.io/%2$s/config.json", learn_bundle},
	{"%1$s/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/%2$s/config.json",
	 learn_bundle},
	{"%1$s/run/containerd/io.containerd.runtime.v2.task/default/%2$s/config.json",
	 learn_bundle},
	{"%1$s/run/containers/storage/overlay-containers/%2$s/userdata/config.json", learn_bundle},
	{"%1$s/var/lib/containers/storage/overlay-containers/%2$s/userdata/config.json",
	 learn_bundle},
};

/* Podman's lists of all containers; those of `podman run --rm` are in the volatile one. */
static const char *const lists[] = {
	"%s/var/lib/containers/storage/overlay-containers/containers.json",
	"%s/var/lib/containers/storage/overlay-containers/volatile-containers.json",
	"%s/run/containers/storage/overlay-containers/volatile-containers.json",
};

static void learn_listed(const json_t *row, struct cgroup_names *out)
{
	cleanup(json_done) json_t *meta = load_text(json_object_get(row, "metadata"));
	const char *name = json_string_value(json_array_get(json_object_get(row, "names"), 0));

	learn(out->name, sizeof(out->name), name ? name : "");
	learn(out->image, sizeof(out->image), member(meta, "image-name"));
}

static void learn_list(const char *path, const char *id, struct cgroup_names *out)
{
	cleanup(json_done) json_t *list = load(path);
	size_t i, n = min(json_array_size(list), (size_t)LIST_MAX);

	for (i = 0; i < n; i++) {
		const json_t *row = json_array_get(list, i);

		if (!strcmp(member(row, "id"), id)) {
			learn_listed(row, out);
			return;
		}
	}
}

static void learn_by_id(const char *root, const char *id, struct cgroup_names *out)
{
	char path[4096];
	size_t i;

	for (i = 0; i < array_size(sources) && !out->name[0] && !out->pod[0]; i++) {
		cleanup(json_done) json_t *file = NULL;

		snprintf(path, sizeof(path), sources[i].path, root, id);
		file = load(path);
		if (file)
			sources[i].learn(root, file, out);
	}
	for (i = 0; i < array_size(lists) && !out->name[0]; i++) {
		snprintf(path, sizeof(path), lists[i], root);
		learn_list(path, id, out);
	}
}

static void dir_close(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* The only container of a pod, where it has but one. */
static void learn_only_container(DIR *logs, const char *pod, struct cgroup_names *out)
{
	int fd = openat(dirfd(logs), pod, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup(dir_close) DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	char name[256] = "";
	const struct dirent *de;
	unsigned n = 0;

	if (!d) {
		fd_close(&fd);
		return;
	}
	while (n < 2 && (de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s", de->d_name);
		n++;
	}
	if (n == 1)
		learn(out->name, sizeof(out->name), name);
}

/* @name is <namespace>_<pod>_<uid>; neither namespace nor pod can hold '_'. */
static bool learn_log_folder(DIR *logs, const char *name, const char *uid, struct cgroup_names *out)
{
	char ns[256], pod[256];
	const char *tail = strrchr(name, '_');

	if (!tail || strcmp(tail + 1, uid) || sscanf(name, "%255[^_]_%255[^_]_", ns, pod) != 2)
		return false;
	learn_pod(out, ns, pod);
	learn_only_container(logs, name, out);
	return true;
}

/* The kubelet's folder of a pod's logs carries the pod's name, whichever the runtime is. */
static void learn_by_pod(const char *root, const char *uid, struct cgroup_names *out)
{
	char path[4096];
	cleanup(dir_close) DIR *d = NULL;
	const struct dirent *de;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/var/log/pods", root);
	d = opendir(path);
	while (d && n++ < LOGS_MAX && (de = readdir(d))) {
		if (learn_log_folder(d, de->d_name, uid, out))
			return;
	}
}

int container_names(const char *root, const struct cgroup_facts *facts, struct cgroup_names *out)
{
	const char *id = facts->container;

	memset(out, 0, sizeof(*out));
	if (strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64)
		learn_by_id(root, id, out);
	if (facts->pod_uid[0] && !out->pod[0])
		learn_by_pod(root, facts->pod_uid, out);
	return out->name[0] || out->image[0] || out->pod[0] || out->labels[0] ? 0 : -ENOENT;
}
