// SPDX-License-Identifier: Apache-2.0
/*
 * calls [ROUNDS]: threads that call skep_bpf() of one engine at once; prints TAP. Build with KIND=tsan.
 *
 * They share a map, a program and a link's hook, and make and close maps and programs of their own, so
 * that sweeps, ids and runs meet. What must hold: every call ends, with one of the answers that it may have;
 * and of all who want one place at once one gets it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "skep/engine.h"

#define THREADS 4
#define TCX	46

/*
 * A value is copied while another thread may write it, or give its element to another key: so it is in the
 * kernel too, whose programs and callers have spin locks in values where that matters.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:copy_bytes\n";
}

static struct skep_engine *engine;
static int map, prog, classifier;
static unsigned rounds = 300;
static atomic_uint wrong;

static long call(unsigned cmd, union bpf_attr *a)
{
	return skep_bpf(engine, cmd, a, sizeof(*a));
}

static void must(const char *what, long rc, int or)
{
	if (rc < 0 && rc != or &&!wrong++)
		printf("# %s: %ld\n", what, rc);
}

static int make_map(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_HASH;
	a.key_size = 4;
	a.value_size = 8;
	a.max_entries = 64;
	return (int)call(BPF_MAP_CREATE, &a);
}

/* r0 = *bpf_map_lookup_elem(map, 0), a socket filter. */
static int make_prog(int of, uint32_t type)
{
	struct bpf_insn insns[] = {
		{BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0},
		{BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0},
		{BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4},
		{BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, of},
		{0, 0, 0, 0, 0},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 2},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = sizeof(insns) / sizeof(*insns);
	a.license = (uintptr_t) "GPL";
	return (int)call(BPF_PROG_LOAD, &a);
}

static long element(unsigned cmd, int fd, uint32_t key)
{
	uint64_t value = key;
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)&key;
	if (cmd != BPF_MAP_DELETE_ELEM)
		a.value = (uintptr_t)&value;
	return call(cmd, &a);
}

static long run(int fd)
{
	uint8_t packet[64] = {0};
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (uint32_t)fd;
	a.test.data_in = (uintptr_t)packet;
	a.test.data_size_in = sizeof(packet);
	return call(BPF_PROG_TEST_RUN, &a);
}

static long link_to(int fd, uint32_t hook)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)fd;
	a.link_create.target_ifindex = 1;
	a.link_create.attach_type = hook;
	return call(BPF_LINK_CREATE, &a);
}

static void walk(unsigned next)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	while (!call(next, &a)) {
		uint32_t id = a.next_id;

		memset(&a, 0, sizeof(a));
		a.start_id = id;
	}
}

static void *work(void *arg)
{
	unsigned self = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < rounds; i++) {
		int own = make_map(), of = make_prog(own, BPF_PROG_TYPE_XDP);
		long link = link_to(of, BPF_XDP);

		must("map", own, 0);
		must("program", of, 0);
		must("link", link, -EBUSY);
		must("update", element(BPF_MAP_UPDATE_ELEM, own, i), 0);
		must("update", element(BPF_MAP_UPDATE_ELEM, map, i % 64), 0);
		must("lookup", element(BPF_MAP_LOOKUP_ELEM, map, (i + self) % 64), -ENOENT);
		must("delete", element(BPF_MAP_DELETE_ELEM, map, (i + 2 * self) % 64), -ENOENT);
		must("run", run(of), 0);
		must("run", run(prog), 0);
		if (link >= 0)
			close((int)link);
		close(own);
		walk(i % 2 ? BPF_MAP_GET_NEXT_ID : BPF_PROG_GET_NEXT_ID);
		close(of);
	}
	return NULL;
}

static pthread_barrier_t together;
static atomic_uint got;

/* The same program at tcx, the same place at XDP: all of them at once, again and again. */
static void *race(void *arg)
{
	for (unsigned i = 0; i < rounds; i++) {
		bool tcx = i % 2;
		long link;

		pthread_barrier_wait(&together);
		link = tcx ? link_to(classifier, TCX) : link_to(prog, BPF_XDP);
		must(tcx ? "a chain" : "a place", link, tcx ? -EEXIST : -EBUSY);
		got += link >= 0;
		pthread_barrier_wait(&together);
		if (!arg && got != 1 && !wrong++)
			printf("# %u of %d got it\n", got, THREADS);
		if (!arg)
			got = 0;
		if (link >= 0)
			close((int)link);
	}
	return NULL;
}

static void threads_run(void *(*fn)(void *))
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, fn, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	const struct skep_engine_options options = {.interpret = true, .cpus = 4};
	unsigned sum;

	if (argc > 1)
		rounds = (unsigned)atoi(argv[1]);
	if (skep_engine_open(&engine, &options))
		return 1;
	map = make_map();
	prog = make_prog(map, BPF_PROG_TYPE_XDP);
	classifier = make_prog(map, BPF_PROG_TYPE_SCHED_CLS);
	threads_run(work);
	printf("%s 1 - threads call one engine at once\n", wrong ? "not ok" : "ok");
	sum = wrong;
	wrong = 0;
	pthread_barrier_init(&together, NULL, THREADS);
	threads_run(race);
	printf("%s 2 - of threads that want one place one gets it\n1..2\n",
	       wrong ? "not ok" : "ok");
	close(map);
	close(prog);
	close(classifier);
	skep_engine_free(engine);
	return sum || wrong;
}
