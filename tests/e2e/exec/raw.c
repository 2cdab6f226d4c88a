// SPDX-License-Identifier: Apache-2.0
/*
 * raw.c: a static program without libbpf and without libc's syscall(), whose threads call bpf(2) while
 * signals rain on them, as Go's runtime lets them: each call must be answered once, and correctly.
 *
 *	raw THREADS ROUNDS    prints "ok", or what was wrong
 */
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
static long bpf(long cmd, union bpf_attr *attr, long size)
{
	long rc;

	__asm__ volatile("syscall"
			 : "=a"(rc)
			 : "a"(SYS_bpf), "D"(cmd), "S"(attr), "d"(size)
			 : "rcx", "r11", "memory");
	return rc;
}
#else
static long bpf(long cmd, union bpf_attr *attr, long size)
{
	long rc = syscall(SYS_bpf, cmd, attr, size);

	return rc < 0 ? -errno : rc;
}
#endif

static int map, rounds;
static _Atomic int wrong;
static _Atomic long signals;
static _Atomic int alive;

static void on_signal(int nr)
{
	(void)nr;
	signals++;
}

static long elem(int cmd, unsigned *key, void *value, unsigned long flags)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = map;
	attr.key = (unsigned long)key;
	attr.value = (unsigned long)value;
	attr.flags = flags;
	return bpf(cmd, &attr, sizeof(attr));
}

static void expect(const char *what, long got, long want)
{
	if (got == want)
		return;
	wrong++;
	fprintf(stderr, "%s: %ld, not %ld\n", what, got, want);
}

static void *work(void *arg)
{
	unsigned base = (unsigned)(unsigned long)arg << 16;

	for (int i = 0; i < rounds && !wrong; i++) {
		unsigned key = base | i;
		unsigned long value = key * 3UL, seen = 0;

		/* Asked twice, these two would say EEXIST and ENOENT. */
		expect("add", elem(BPF_MAP_UPDATE_ELEM, &key, &value, BPF_NOEXIST), 0);
		expect("look", elem(BPF_MAP_LOOKUP_ELEM, &key, &seen, 0), 0);
		expect("value", seen, value);
		expect("delete", elem(BPF_MAP_DELETE_ELEM, &key, NULL, 0), 0);
		expect("gone", elem(BPF_MAP_LOOKUP_ELEM, &key, &seen, 0), -ENOENT);
	}
	alive--;
	return NULL;
}

static int make(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_type = BPF_MAP_TYPE_HASH;
	attr.key_size = 4;
	attr.value_size = 8;
	attr.max_entries = 1024;
	return bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	int threads = argc > 1 ? atoi(argv[1]) : 4;
	pthread_t ids[64];

	rounds = argc > 2 ? atoi(argv[2]) : 1000;
	sigaction(SIGURG, &act, NULL);
	map = make();
	if (map < 0) {
		fprintf(stderr, "create: %d\n", map);
		return 1;
	}
	alive = threads;
	for (long i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work, (void *)i);
	while (alive)
		for (int i = 0; i < threads; i++, usleep(argc > 3 ? atoi(argv[3]) : 500))
			pthread_kill(ids[i], SIGURG);
	for (int i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	expect("unknown command", bpf(9999, NULL, 0), -EINVAL);
	if (!wrong)
		puts(signals ? "ok" : "no signal came");
	return wrong != 0;
}
