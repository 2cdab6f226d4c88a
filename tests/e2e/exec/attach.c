// SPDX-License-Identifier: Apache-2.0
/* attach OBJ PROG IFACE: loads, links the program to the interface as libbpf does, says so, and stays until its input ends. */
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc == 4 ? bpf_object__open_file(argv[1], NULL) : NULL;
	struct bpf_program *prog = obj ? bpf_object__find_program_by_name(obj, argv[2]) : NULL;
	struct bpf_link *link;

	if (!prog || bpf_object__load(obj))
		return 1;
	link = bpf_program__attach_xdp(prog, (int)if_nametoindex(argv[3]));
	if (!link)
		return 2;
	puts("attached");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
