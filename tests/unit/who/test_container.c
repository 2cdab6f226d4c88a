// SPDX-License-Identifier: Apache-2.0
#include "who/cgroup.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#define A64 "8f9e3ab1c2d45f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
#define B64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define UID "0f6b1d0e-1c5a-4b5e-9d1c-0123456789ab"

#define DOCKER	   "var/lib/docker/containers/" A64 "/config.v2.json"
#define CONTAINERD "run/containerd/io.containerd.runtime.v2.task/k8s.io/" A64 "/config.json"
#define NERDCTL	   "run/containerd/io.containerd.runtime.v2.task/default/" A64 "/config.json"
#define CRIO(id)   "run/containers/storage/overlay-containers/" id "/userdata/config.json"
#define PODMAN	   "var/lib/containers/storage/overlay-containers/containers.json"
#define VOLATILE   "var/lib/containers/storage/overlay-containers/volatile-containers.json"

static char root[64];
static struct cgroup_names names;

static int setup(void **state maybe_unused)
{
	strcpy(root, "/tmp/skep-test-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st maybe_unused, int type maybe_unused,
		      struct FTW *ftw maybe_unused)
{
	return remove(path);
}

static int teardown(void **state maybe_unused)
{
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file below the root, with its folders; a path that ends in '/' is a folder. */
static void put(const char *path, const char *text)
{
	char whole[512];
	FILE *f;
	char *p;

	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	for (p = whole + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(whole, 0700);
		*p = '/';
	}
	if (path[strlen(path) - 1] == '/')
		return;
	f = fopen(whole, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int look(const char *container, const char *pod_uid)
{
	struct cgroup_facts f = {0};

	strcpy(f.container, container);
	strcpy(f.pod_uid, pod_uid);
	return container_names(root, &f, &names);
}

static void nothing_is_found_where_there_is_nothing(void **state maybe_unused)
{
	assert_int_equal(look(A64, UID), -ENOENT);
	assert_int_equal(look("", ""), -ENOENT);
	assert_int_equal(look("web", ""), -ENOENT);
}

static void docker_tells_name_image_and_labels(void **state maybe_unused)
{
	put(DOCKER, "{\"Name\":\"/shop-front-1\",\"Config\":{\"Image\":\"nginx:1.27\",\"Labels\":"
		    "{\"com.docker.compose.project\":\"shop\",\"tier\":\"front\"}}}");
	assert_int_equal(look(A64, ""), 0);
	assert_string_equal(names.name, "shop-front-1");
	assert_string_equal(names.image, "nginx:1.27");
	assert_string_equal(names.labels, "com.docker.compose.project=shop,tier=front");
	assert_string_equal(names.pod, "");
}

static void docker_under_kubernetes_tells_the_pod(void **state maybe_unused)
{
	put(DOCKER,
	    "{\"Name\":\"/k8s_web_web-0_shop\",\"Config\":{\"Image\":\"sha256:1\",\"Labels\":{"
	    "\"io.kubernetes.pod.name\":\"web-0\",\"io.kubernetes.pod.namespace\":\"shop\","
	    "\"io.kubernetes.container.name\":\"web\",\"app\":\"web\"}}}");
	assert_int_equal(look(A64, UID), 0);
	assert_string_equal(names.pod, "shop/web-0");
	assert_string_equal(names.name, "web");
	assert_string_equal(names.labels, "app=web");
}

static void containerd_tells_pod_container_and_image(void **state maybe_unused)
{
	put(CONTAINERD, "{\"annotations\":{\"io.kubernetes.cri.container-name\":\"web\","
			"\"io.kubernetes.cri.sandbox-name\":\"web-0\","
			"\"io.kubernetes.cri.sandbox-namespace\":\"shop\","
			"\"io.kubernetes.cri.image-name\":\"docker.io/library/nginx:1.27\"}}");
	assert_int_equal(look(A64, UID), 0);
	assert_string_equal(names.pod, "shop/web-0");
	assert_string_equal(names.name, "web");
	assert_string_equal(names.image, "docker.io/library/nginx:1.27");
}

static void nerdctl_tells_the_name(void **state maybe_unused)
{
	put(NERDCTL, "{\"annotations\":{\"nerdctl/name\":\"cache\"}}");
	assert_int_equal(look(A64, ""), 0);
	assert_string_equal(names.name, "cache");
}

static void crio_tells_pod_container_and_the_labels_of_the_sandbox(void **state maybe_unused)
{
	put(CRIO(A64), "{\"annotations\":{\"io.kubernetes.container.name\":\"web\","
		       "\"io.kubernetes.pod.name\":\"web-0\","
		       "\"io.kubernetes.pod.namespace\":\"shop\","
		       "\"io.kubernetes.cri-o.ImageName\":\"quay.io/nginx:1\","
		       "\"io.kubernetes.cri-o.SandboxID\":\"" B64 "\","
		       "\"io.kubernetes.cri-o.Labels\":"
		       "\"{\\\"io.kubernetes.container.name\\\":\\\"web\\\"}\"}}");
	put(CRIO(B64), "{\"annotations\":{\"io.kubernetes.cri-o.Labels\":"
		       "\"{\\\"app\\\":\\\"shop\\\",\\\"io.kubernetes.pod.uid\\\":\\\"x\\\"}\"}}");
	assert_int_equal(look(A64, UID), 0);
	assert_string_equal(names.pod, "shop/web-0");
	assert_string_equal(names.name, "web");
	assert_string_equal(names.image, "quay.io/nginx:1");
	assert_string_equal(names.labels, "app=shop");
}

static void podman_tells_name_and_image_from_its_lists(void **state maybe_unused)
{
	static const char list[] = "[{\"id\":\"" B64 "\",\"names\":[\"other\"]},{\"id\":\"" A64
				   "\",\"names\":[\"db\"],\"metadata\":"
				   "\"{\\\"image-name\\\":\\\"docker.io/postgres:16\\\"}\"}]";

	put(PODMAN, "[]");
	put(VOLATILE, list);
	assert_int_equal(look(A64, ""), 0);
	assert_string_equal(names.name, "db");
	assert_string_equal(names.image, "docker.io/postgres:16");
}

static void the_folder_of_its_logs_tells_the_pod(void **state maybe_unused)
{
	put("var/log/pods/kube-system_other-1_ffffffff-1c5a-4b5e-9d1c-0123456789ab/a/", "");
	put("var/log/pods/shop_web-0_" UID "/web/", "");
	assert_int_equal(look(A64, UID), 0);
	assert_string_equal(names.pod, "shop/web-0");
	assert_string_equal(names.name, "web");
	put("var/log/pods/shop_web-0_" UID "/sidecar/", "");
	assert_int_equal(look(A64, UID), 0);
	assert_string_equal(names.name, "");
}

static void strings_of_strangers_are_escaped_and_bounded(void **state maybe_unused)
{
	char text[4096], labels[2200];

	memset(labels, 'x', sizeof(labels) - 1);
	labels[sizeof(labels) - 1] = '\0';
	snprintf(text, sizeof(text),
		 "{\"Name\":\"/a\\u001b[31m\\n\",\"Config\":{\"Image\":\"%s\","
		 "\"Labels\":{\"k\":\"%s\",\"n\":7}}}",
		 labels + 1500, labels);
	put(DOCKER, text);
	assert_int_equal(look(A64, ""), 0);
	assert_string_equal(names.name, "a\\x1b[31m\\n");
	assert_int_equal(strlen(names.image), sizeof(names.image) - 1);
	assert_in_range(strlen(names.labels), 500, 512);
}

static void
files_that_are_no_json_or_too_long_or_no_files_are_passed_over(void **state maybe_unused)
{
	static const char *const bad[] = {
		"", "{", "[]", "7", "\"x\"", "{\"Name\":7,\"Config\":[]}", "{\"Name\":\"/\"}"};
	char *longer = malloc((1 << 20) + 64);
	char fifo[256];
	size_t i;

	for (i = 0; i < array_size(bad); i++) {
		put(DOCKER, bad[i]);
		put(PODMAN, bad[i]);
		assert_int_equal(look(A64, ""), -ENOENT);
	}
	sprintf(longer, "{\"Name\":\"/x\"}%*s", 1 << 20, "");
	put(DOCKER, longer);
	free(longer);
	assert_int_equal(look(A64, ""), -ENOENT);
	snprintf(fifo, sizeof(fifo), "%s/" DOCKER, root);
	unlink(fifo);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(look(A64, ""), -ENOENT);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_is_found_where_there_is_nothing),
		CASE(docker_tells_name_image_and_labels),
		CASE(docker_under_kubernetes_tells_the_pod),
		CASE(containerd_tells_pod_container_and_image),
		CASE(nerdctl_tells_the_name),
		CASE(crio_tells_pod_container_and_the_labels_of_the_sandbox),
		CASE(podman_tells_name_and_image_from_its_lists),
		CASE(the_folder_of_its_logs_tells_the_pod),
		CASE(strings_of_strangers_are_escaped_and_bounded),
		CASE(files_that_are_no_json_or_too_long_or_no_files_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
