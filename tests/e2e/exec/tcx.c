// SPDX-License-Identifier: Apache-2.0
/* tcx OBJ HOOK IFACE PROG [before] ...: links in that order, says so, stays until its input ends, and says how
 * often each ran. */
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

static void ran(const struct bpf_program *p)
{
	struct bpf_prog_info info = {0};
	unsigned len = sizeof(info);

	if (!bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len) && info.run_cnt)
		printf("%s ran %llu times\n", bpf_program__name(p),
		       (unsigned long long)info.run_cnt);
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 4 ? bpf_object__open_file(argv[1], NULL) : NULL;

	struct bpf_program *p;

	if (!obj || bpf_object__load(obj) || bpf_enable_stats(BPF_STATS_RUN_TIME) < 0)
		return 1;
	for (int i = 2; i + 2 < argc; i += 3) {
		int before = i + 3 < argc && !strcmp(argv[i + 3], "before");

		p = bpf_object__find_program_by_name(obj, argv[i + 2]);
		if (!p || link_create(bpf_program__fd(p), (int)if_nametoindex(argv[i + 1]),
				      strcmp(argv[i], "egress") ? 46 : 47, before) < 0)
			return 2;
		i += before;
	}
	puts("attached");
	fflush(stdout);
	while (getchar() != EOF)
		;
	bpf_object__for_each_program(p, obj) ran(p);
	return 0;
}
