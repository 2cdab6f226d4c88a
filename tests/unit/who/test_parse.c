// SPDX-License-Identifier: Apache-2.0
#include "who/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define A64  "8f9e3ab1c2d45f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
#define B64  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define UID  "0f6b1d0e-1c5a-4b5e-9d1c-0123456789ab"
#define UID_ "0f6b1d0e_1c5a_4b5e_9d1c_0123456789ab"
#define HASH "4b5e9d1c0123456789ab0f6b1d0e1c5a" /* a static pod's */
#define USER "/user.slice/user-1000.slice/user@1000.service"

static const struct sample {
	const char *path, *runtime, *container, *pod_uid, *unit, *leaf;
} samples[] = {
	{"/", "", "", "", "", ""},
	/* Docker */
	{"/docker/" A64, "docker", A64, "", "", ""},
	{"/system.slice/docker-" A64 ".scope", "docker", A64, "", "docker-" A64 ".scope", ""},
	{"/system.slice/docker.service", "systemd", "", "", "docker.service", ""},
	{"/system.slice/docker-" A64 ".scope/docker/" B64, "docker", B64, "",
	 "docker-" A64 ".scope", ""},
	{"/docker/" A64 "/system.slice/ssh.service", "docker", A64, "", "ssh.service", ""},
	{"/actions_job/" A64, "docker", A64, "", "", ""},
	{"/myparent/" A64, "cgroup", A64, "", "", ""},
	{"/system.slice:docker:" A64, "docker", A64, "", "", ""},
	{USER "/user.slice/docker-" A64 ".scope", "docker", A64, "", "docker-" A64 ".scope", ""},
	{"/docker/buildkit/x3v1mdq9cphbbgq8w2wdd1m2l", "cgroup", "", "", "",
	 "x3v1mdq9cphbbgq8w2wdd1m2l"},
	/* Kubernetes: containerd, CRI-O, kind, cgroupfs, guaranteed, static */
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" UID_
	 ".slice/cri-containerd-" A64 ".scope",
	 "containerd", A64, UID, "cri-containerd-" A64 ".scope", ""},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/cri-containerd-" A64 ".scope", "containerd",
	 A64, UID, "cri-containerd-" A64 ".scope", ""},
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_ ".slice/crio-" A64
	 ".scope",
	 "cri-o", A64, UID, "crio-" A64 ".scope", ""},
	{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" UID_
	 ".slice/crio-conmon-" A64 ".scope",
	 "systemd", "", UID, "crio-conmon-" A64 ".scope", ""},
	{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" HASH
	 ".slice/cri-containerd-" A64 ".scope",
	 "containerd", A64, HASH, "cri-containerd-" A64 ".scope", ""},
	{"/kubepods/besteffort/pod" UID "/" A64, "containerd", A64, UID, "", ""},
	{"/kubepods/pod" UID "/" A64, "containerd", A64, UID, "", ""},
	{"/kubepods/burstable/pod" UID "/crio-" A64, "cri-o", A64, UID, "", ""},
	{"/kubepods/burstable/pod" UID, "", "", UID, "", ""},
	{"/docker/" B64 "/kubelet/kubepods/burstable/pod" UID "/" A64, "containerd", A64, UID, "",
	 ""},
	{"/system.slice/docker-" B64 ".scope/kubelet.slice/kubelet-kubepods.slice/"
	 "kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod" UID_
	 ".slice/cri-containerd-" A64 ".scope",
	 "containerd", A64, UID, "cri-containerd-" A64 ".scope", ""},
	{"/system.slice/containerd.service/kubepods-besteffort-pod" UID_
	 ".slice:cri-containerd:" A64,
	 "containerd", A64, UID, "containerd.service", ""},
	{"/kubepods/besteffort/pod" UID "/" A64 "/docker/" B64, "docker", B64, UID, "", ""},
	{"/kubepods.slice/kubepods-pod" UID_ ".slice/crio-" A64 ".scope/container", "cri-o", A64,
	 UID, "crio-" A64 ".scope", "container"},
	/* containerd alone */
	{"/default/" A64, "containerd", A64, "", "", ""},
	{"/system.slice/nerdctl-" A64 ".scope", "containerd", A64, "", "nerdctl-" A64 ".scope", ""},
	{"/system.slice/containerd.service", "systemd", "", "", "containerd.service", ""},
	/* Podman */
	{"/machine.slice/libpod-" A64 ".scope", "podman", A64, "", "libpod-" A64 ".scope", ""},
	{"/machine.slice/libpod-" A64 ".scope/container", "podman", A64, "", "libpod-" A64 ".scope",
	 "container"},
	{"/machine.slice/libpod-conmon-" A64 ".scope", "systemd", "", "",
	 "libpod-conmon-" A64 ".scope", ""},
	{USER "/user.slice/libpod-" A64 ".scope", "podman", A64, "", "libpod-" A64 ".scope", ""},
	{"/libpod_parent/libpod-" A64, "podman", A64, "", "", ""},
	{"/libpod_parent/conmon", "cgroup", "", "", "", "conmon"},
	{"/machine.slice/machine-libpod_pod_" B64 ".slice/libpod-" A64 ".scope", "podman", A64, "",
	 "libpod-" A64 ".scope", ""},
	/* LXC, nspawn, machines */
	{"/lxc.payload.web", "lxc", "web", "", "", ""},
	{"/lxc.payload.web/system.slice/nginx.service", "lxc", "web", "", "nginx.service", ""},
	{"/lxc.monitor.web", "", "", "", "", ""},
	{"/lxc/101/ns/init.scope", "lxc", "101", "", "init.scope", ""},
	{"/lxc.payload/web", "lxc", "web", "", "", ""},
	{"/machine.slice/systemd-nspawn@deb.service/payload", "systemd", "deb", "",
	 "systemd-nspawn@deb.service", "payload"},
	{"/machine.slice/machine-my\\x2dbox.scope", "systemd", "my-box", "", "machine-my-box.scope",
	 ""},
	{"/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator", "systemd", "", "",
	 "machine-qemu-1-vm.scope", "emulator"},
	/* ECS */
	{"/ecs/my-cluster/" HASH "/" A64, "docker", A64, "", "", ""},
	{"/ecs/" HASH "/" HASH "-1234567890", "containerd", HASH "-1234567890", "", "", ""},
	/* systemd and none of it */
	{"/system.slice/nginx.service", "systemd", "", "", "nginx.service", ""},
	{"/system.slice/system-getty.slice/getty@tty1.service", "systemd", "", "",
	 "getty@tty1.service", ""},
	{"/system.slice/foo\\x2dbar.service/worker", "systemd", "", "", "foo-bar.service",
	 "worker"},
	{"/user.slice/user-0.slice/session-3.scope", "systemd", "", "", "session-3.scope", ""},
	{USER "/app.slice/pipewire.service", "systemd", "", "", "pipewire.service", ""},
	{USER "/init.scope", "systemd", "", "", "init.scope", ""},
	{"/init.scope", "systemd", "", "", "init.scope", ""},
	{"/batch/job-17", "cgroup", "", "", "", "job-17"},
	/* what nobody should write */
	{"//x//", "cgroup", "", "", "", "x"},
	{"/a\nb\xff", "cgroup", "", "", "", "a\\nb\\xff"},
	{"/x\\x0a.service", "systemd", "", "", "x\\n.service", ""},
	{"/docker-.scope", "systemd", "", "", "docker-.scope", ""},
	{"/machine-.scope", "systemd", "", "", "machine-.scope", ""},
	{"/pod" UID "zz", "cgroup", "", "", "", "pod" UID "zz"},
};

static void every_known_path_tells_what_it_holds(void **state maybe_unused)
{
	size_t i;

	for (i = 0; i < array_size(samples); i++) {
		const struct sample *s = &samples[i];
		struct cgroup_facts f;

		cgroup_parse(s->path, &f);
		if (strcmp(f.runtime, s->runtime) || strcmp(f.container, s->container) ||
		    strcmp(f.pod_uid, s->pod_uid) || strcmp(f.unit, s->unit) ||
		    strcmp(f.leaf, s->leaf))
			fail_msg("%s: runtime '%s' container '%s' pod '%s' unit '%s' leaf '%s'",
				 s->path, f.runtime, f.container, f.pod_uid, f.unit, f.leaf);
	}
}

static void long_components_are_cut_to_their_room(void **state maybe_unused)
{
	struct cgroup_facts f;
	char path[2000];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	cgroup_parse(path, &f);
	assert_int_equal(strlen(f.leaf), sizeof(f.leaf) - 1);
	memcpy(path, "/lxc/", 5);
	cgroup_parse(path, &f);
	assert_int_equal(strlen(f.container), sizeof(f.container) - 1);
	memcpy(path, "/pod/", 5);
	cgroup_parse(path, &f);
	assert_string_equal(f.pod_uid, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_known_path_tells_what_it_holds),
		cmocka_unit_test(long_components_are_cut_to_their_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
