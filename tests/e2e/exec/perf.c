// SPDX-License-Identifier: Apache-2.0
/*
 * perf.c: libbpf's perf buffer consumer: a BPF program writes N records, a child runs it, this process
 * reads them through mmap and epoll.
 *
 *	perf N PAGES    prints "N of N records": those that came and those told to be lost are all
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long seen, lost;

static void on_record(void *ctx, int cpu, void *data, unsigned size)
{
	(void)ctx;
	(void)cpu;
	if (size < 10 || memcmp(data, "ten bytes!", 10)) {
		fprintf(stderr, "a record of %u bytes is not what was sent\n", size);
		exit(1);
	}
	seen++;
}

static void on_lost(void *ctx, int cpu, unsigned long long n)
{
	(void)ctx;
	(void)cpu;
	lost += n;
}

/* bpf_perf_event_output(skb, map, BPF_F_CURRENT_CPU, "ten bytes!", 10); r0 = what it said */
static int load(int map)
{
	unsigned words[3] = {0};

	memcpy(words, "ten bytes!", 10);
	const struct bpf_insn insns[] = {
#define STORE(at, word) {BPF_ST | BPF_W | BPF_MEM, 10, 0, at, (int)(word)}
		STORE(-16, words[0]),
		STORE(-12, words[1]),
		STORE(-8, words[2]),
		{BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD, 0, map},
		{0},
		{BPF_ALU | BPF_MOV | BPF_K, 3, 0, 0, -1},
		{BPF_ALU64 | BPF_MOV | BPF_X, 4, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, -16},
		{BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, 10},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_perf_event_output},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "perf", "GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), NULL);
}

/* Every record is written or refused for want of room; the last one tells of those before. */
static void send_all(int prog, long n)
{
	char packet[64] = {0};

	for (int repeat = 100; n > 0; n -= repeat) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
			    .repeat = repeat);

		if (bpf_prog_test_run_opts(prog, &o) || (o.retval && (int)o.retval != -ENOSPC)) {
			fprintf(stderr, "run: %d, returned %d\n", errno, (int)o.retval);
			exit(1);
		}
		if (n <= repeat && o.retval) { /* one more, until there is room for it */
			usleep(1000);
			repeat = 1;
			n = 2;
		}
	}
	exit(0);
}

int main(int argc, char **argv)
{
	unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
	int pages = argc > 2 ? atoi(argv[2]) : 8, map, prog, rc = 0, status;
	struct perf_buffer *pb;
	pid_t child;

	map = bpf_map_create(BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf", 4, 4,
			     libbpf_num_possible_cpus(), NULL);
	prog = map < 0 ? -1 : load(map);
	pb = prog < 0 ? NULL : perf_buffer__new(map, pages, on_record, on_lost, NULL, NULL);
	if (!pb) {
		perror("map, program or buffer");
		return 1;
	}
	child = fork();
	if (!child) {
		usleep(100000);
		send_all(prog, n);
	}
	while (seen + lost < n)
		if ((rc = perf_buffer__poll(pb, 5000)) <= 0 && rc != -EINTR)
			break;
	while (!waitpid(child, &status, WNOHANG))
		perf_buffer__poll(pb, 10);
	perf_buffer__poll(pb, 0);
	printf("%s %lu\n", seen + lost >= n && !status && seen ? "all of" : "not all of", n);
	fprintf(stderr, "%lu seen, %lu lost, poll %d\n", seen, lost, rc);
	return 0;
}
