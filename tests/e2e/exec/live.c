// SPDX-License-Identifier: Apache-2.0
/* live OBJ PROG IFINDEX TIMES [TO]: runs the program on live frames; "to" leads from IFINDEX to TO. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run(struct bpf_object *obj, const char *name, unsigned ifindex, int times)
{
	unsigned char frame[60] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
	struct xdp_md ctx = {.data_end = sizeof(frame), .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = times,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	int rc = prog ? bpf_prog_test_run_opts(bpf_program__fd(prog), &opts) : -1;

	printf("%s\n", rc ? strerror(-rc) : "ran");
	return rc ? 3 : 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc >= 5 ? bpf_object__open_file(argv[1], NULL) : NULL;
	unsigned from = argc >= 5 ? (unsigned)atoi(argv[3]) : 0, to;

	if (!obj || bpf_object__load(obj))
		return 1;
	if (argc > 5) {
		to = (unsigned)atoi(argv[5]);
		if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "to"), &from, &to, 0))
			return 2;
	}
	return run(obj, argv[2], from, atoi(argv[4]));
}
