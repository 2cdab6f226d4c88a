// SPDX-License-Identifier: Apache-2.0
/* tcx OBJ HOOK IFACE PROG [before] ...: links in that order, says so, and stays until its input ends. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* libbpf of Debian 12 has no options of tcx links. */
static int link_create(int prog, int ifindex, int hook, int before)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.target_ifindex = (uint32_t)ifindex;
	a.link_create.attach_type = (uint32_t)hook;
	a.link_create.flags = before ? 1 << 3 : 0;
	return (int)syscall(__NR_bpf, BPF_LINK_CREATE, &a, sizeof(a));
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 4 ? bpf_object__open_file(argv[1], NULL) : NULL;

	if (!obj || bpf_object__load(obj))
		return 1;
	for (int i = 2; i + 2 < argc; i += 3) {
		struct bpf_program *p = bpf_object__find_program_by_name(obj, argv[i + 2]);
		int before = i + 3 < argc && !strcmp(argv[i + 3], "before");

		if (!p || link_create(bpf_program__fd(p), (int)if_nametoindex(argv[i + 1]),
				      strcmp(argv[i], "egress") ? 46 : 47, before) < 0)
			return 2;
		i += before;
	}
	puts("attached");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
