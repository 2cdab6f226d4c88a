// SPDX-License-Identifier: Apache-2.0
/*
 * ring.c: libbpf's ring buffer consumer, as any libbpf program has it: a BPF program writes N records, a
 * child reads them through mmap and epoll.
 *
 *	ring N    prints "N records", then "quiet" if it then waits without waking up
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long seen;

static int on_record(void *arg, void *data, size_t size)
{
	(void)arg;
	if (size != 16 || memcmp(data, "sixteen bytes...", 16)) {
		fprintf(stderr, "a record of %zu bytes is not what was sent\n", size);
		exit(1);
	}
	seen++;
	return 0;
}

/* r0 = bpf_ringbuf_output(map, "sixteen bytes...", 16, 0) */
static int load(int map)
{
	unsigned words[4];

	memcpy(words, "sixteen bytes...", 16);
	const struct bpf_insn insns[] = {
#define STORE(at, word) {BPF_ST | BPF_W | BPF_MEM, 10, 0, at, (int)(word)}
		STORE(-16, words[0]),
		STORE(-12, words[1]),
		STORE(-8, words[2]),
		STORE(-4, words[3]),
		{BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map},
		{0},
		{BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -16},
		{BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 16},
		{BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "ring", "GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), NULL);
}

static void send_all(int prog, long n)
{
	char packet[64] = {0};

	while (n--) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet,
			    .data_size_in = sizeof(packet));

		if (bpf_prog_test_run_opts(prog, &o) || o.retval) {
			fprintf(stderr, "run: %d, returned %d\n", errno, (int)o.retval);
			exit(1);
		}
	}
	exit(0);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1000;
	int map = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 1 << 20, NULL);
	struct ring_buffer *rb;
	double began;
	int prog, rc;
	pid_t child;

	prog = map < 0 ? -1 : load(map);
	rb = prog < 0 ? NULL : ring_buffer__new(map, on_record, NULL, NULL);
	if (!rb) {
		perror("map, program or ring");
		return 1;
	}
	child = fork();
	if (!child) {
		usleep(100000); /* the reader waits by then */
		send_all(prog, n);
	}
	for (began = now(); seen < n && now() - began<4; began = rc> 0 ? now() : began)
		rc = ring_buffer__poll(rb, 5000); /* 0: woken, but it was seen before */
	printf("%ld records\n", seen);		  /* fewer: nothing came for 4 s */
	waitpid(child, NULL, 0);
	ring_buffer__poll(rb, 0);
	began = now();
	rc = ring_buffer__poll(rb, 300);
	puts(rc == 0 && now() - began > 0.25 ? "quiet" : "woken for nothing");
	return 0;
}
