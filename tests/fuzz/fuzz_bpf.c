// SPDX-License-Identifier: Apache-2.0
/*
 * Calls of bpf(2) by a caller who means no good: its memory is a small arena, its descriptors small
 * numbers, so that what is random often is valid.
 *
 *	input: { command, length of attr, attr ... } ..., 0xff, what the arena begins with
 */
#include <fcntl.h>

#include "vm/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA 16384
#define FDS   32
#define CALLS 64

static uint8_t arena[ARENA];
static int fds[FDS];

static bool inside(uint64_t at, size_t n)
{
	return at && at < ARENA && n <= ARENA - at;
}

static int arena_read(void *arg maybe_unused, void *dst, uint64_t src, size_t n)
{
	if (!inside(src, n))
		return -EFAULT;
	memcpy(dst, arena + src, n);
	return 0;
}

static int arena_write(void *arg maybe_unused, uint64_t dst, const void *src, size_t n)
{
	if (!inside(dst, n))
		return -EFAULT;
	memcpy(arena + dst, src, n);
	return 0;
}

static int fake_get(void *arg maybe_unused, int fd)
{
	if (fd < 0 || fd >= FDS || fds[fd] < 0)
		return -EBADF;
	return fcntl(fds[fd], F_DUPFD_CLOEXEC, 0);
}

static int fake_put(void *arg maybe_unused, int fd, int flags maybe_unused)
{
	int i;

	for (i = 0; i < FDS; i++) {
		if (fds[i] >= 0)
			continue;
		fds[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return i;
	}
	return -EMFILE;
}

/* 200 closes the descriptor that the attr begins with; another number is a command. */
static void one(struct skep_engine *e, unsigned cmd, const uint8_t *attr, unsigned n)
{
	static const struct vm_caller caller = {
		.read = arena_read, .write = arena_write, .fd_get = fake_get, .fd_put = fake_put};

	if (cmd == 200) {
		if (n && attr[0] < FDS)
			fd_close(&fds[attr[0]]);
		return;
	}
	memset(arena + 8, 0, 160);
	memcpy(arena + 8, attr, min(n, 160U));
	if (cmd == BPF_PROG_TEST_RUN)
		memset(arena + 8 + offsetof(union bpf_attr, test.repeat) + 1, 0, 3);
	vm_bpf(e, &caller, cmd, 8, n);
}

static void all(struct skep_engine *e, const uint8_t *data, size_t size)
{
	unsigned calls = 0;
	size_t at = 0, end;

	for (end = 0; end + 1 < size && data[end] != 0xff; end += 2 + data[end + 1])
		;
	if (end < size) {
		size_t n = min(size - end - 1, (size_t)ARENA - 168);

		memcpy(arena + 168, data + end + 1, n);
	}
	while (at + 1 < size && data[at] != 0xff && calls++ < CALLS) {
		unsigned n = (unsigned)min((size_t)data[at + 1], size - at - 2);

		one(e, data[at], data + at + 2, n);
		at += 2 + n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct skep_engine_options options = {
		.interpret = true, .cpus = 2, .memory_max = 16 << 20};
	struct skep_engine *e;
	unsigned i;

	if (skep_engine_open(&e, &options))
		abort();
	e->budget = 20000;
	memset(arena, 0, sizeof(arena));
	for (i = 0; i < FDS; i++)
		fds[i] = -1;
	all(e, data, size);
	vm_sweep(e);
	for (i = 0; i < FDS; i++)
		fd_close(&fds[i]);
	skep_engine_free(e);
	return 0;
}
