// SPDX-License-Identifier: Apache-2.0
/* long.c: a test run of a trivial program, repeated for SECONDS by the clock: one call at a time would block. */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double run(int prog, int repeat)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = repeat);
	double began = now();

	if (bpf_prog_test_run_opts(prog, &o)) {
		perror("run");
		exit(1);
	}
	return now() - began;
}

int main(int argc, char **argv)
{
	const struct bpf_insn insns[] = {
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	double seconds = argc > 1 ? atof(argv[1]) : 1, each;
	int prog = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "long", "GPL", insns, 2, NULL);

	if (prog < 0) {
		perror("load");
		return 1;
	}
	each = run(prog, 1000000) / 1000000;
	each = seconds / each;
	run(prog, each < 2e9 ? (int)each : 2000000000);
	puts("ran");
	return 0;
}
