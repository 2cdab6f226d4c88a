// SPDX-License-Identifier: Apache-2.0
/*
 * code.c: memory for machine code.
 *
 *	space   [guard|chunk ...|guard|chunk ...|guard| ... not used yet ... ]   256 MiB of addresses
 *	memfd   the same bytes, sparse
 *
 * J1  No mapping of code is ever writable: it is written with pwrite() through the memfd.
 * J2  A chunk ends in a page that is never mapped, and one lies before the first.
 * J3  The space lies within 2 GiB of this program's text where there is room, so that helpers are
 *     called directly.
 * J4  What does not belong to a program traps.
 *
 * A chunk is filled from the bottom and used again when its last program went.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/membarrier.h>

#include "jit/inside.h"

#define SPACE  (256ul << 20)
#define CHUNK  (256ul << 10)
#define PAGE   4096ul
#define CHUNKS (SPACE / CHUNK - 1)
#define ALIGN  64ul

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

struct chunk {
	uint32_t span; /* chunks of this run; 0: not in use, or inside of a run */
	uint32_t live; /* programs */
	size_t used;   /* bytes from its start */
	size_t filled; /* bytes that hold code or the filler */
};

struct space {
	uint8_t *base;
	int fd;
	pid_t owner; /* a child must not write what its parent runs */
	unsigned chunks;
	struct chunk chunk[CHUNKS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct space *current;

/* Addresses near our own text, below it first: the heap grows above. */
static void *reserve(void)
{
	uintptr_t text = (uintptr_t)&jit_code_take & ~(CHUNK - 1);
	void *p;
	int i;

	for (i = 1; i <= 12; i++) {
		uintptr_t hint = i & 1 ? text - (uintptr_t)(i / 2 + 1) * SPACE
				       : text + (uintptr_t)(i / 2) * SPACE;

		p = mmap((void *)hint, SPACE, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == (void *)hint)
			return p;
		if (p != MAP_FAILED)
			munmap(p, SPACE);
	}
	p = mmap(NULL, SPACE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int memory_file(void)
{
	int fd = memfd_create("skep-jit", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("skep-jit", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, SPACE))
		fd_close(&fd);
	return fd;
}

static struct space *space_open(void)
{
	cleanup(mem_free) struct space *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->fd = memory_file();
	if (s->fd < 0)
		return NULL;
	s->base = reserve();
	if (!s->base) {
		close(s->fd);
		return NULL;
	}
	s->owner = getpid();
	/* Only a kernel without it says no; its processors need no barrier then either. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
	return take(s);
}

static struct space *space_get(void)
{
	if (!current || current->owner != getpid())
		current = space_open();
	return current;
}

static size_t chunk_room(const struct chunk *c)
{
	return c->span * CHUNK - PAGE - c->used;
}

static uint8_t *chunk_base(const struct space *s, unsigned i)
{
	return s->base + PAGE + i * CHUNK;
}

/* Data and instructions may be cached apart: what is written is made known to both. */
static bool write_at(const struct space *s, uint8_t *at, const uint8_t *bytes, size_t n)
{
	uint8_t *from = at;

	while (n) {
		ssize_t w = pwrite(s->fd, bytes, n, at - s->base);

		if (w <= 0)
			return false;
		bytes += w;
		at += w;
		n -= (size_t)w;
	}
	__builtin___clear_cache((char *)from, (char *)at);
	return true;
}

static bool fill(const struct space *s, uint8_t *at, size_t n)
{
	uint8_t trap[PAGE];

	memset(trap, jit_filler, sizeof(trap));
	while (n) {
		size_t k = min(n, sizeof(trap));

		if (!write_at(s, at, trap, k))
			return false;
		at += k;
		n -= k;
	}
	return true;
}

static struct chunk *chunk_new(struct space *s, size_t n)
{
	uint32_t span = (uint32_t)((n + PAGE + CHUNK - 1) / CHUNK);
	struct chunk *c = &s->chunk[s->chunks];
	uint8_t *at = chunk_base(s, s->chunks);

	if (span > CHUNKS - s->chunks)
		return NULL;
	if (mmap(at, span * CHUNK - PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, s->fd,
		 at - s->base) == MAP_FAILED)
		return NULL;
	c->span = span;
	s->chunks += span;
	return c;
}

static struct chunk *chunk_with(struct space *s, size_t n)
{
	unsigned i;

	for (i = 0; i < s->chunks; i += s->chunk[i].span)
		if (chunk_room(&s->chunk[i]) >= n)
			return &s->chunk[i];
	return chunk_new(s, n);
}

/* The @n bytes are to be written at once; what is behind them gets its traps here (J4). */
static uint8_t *take_locked(size_t n)
{
	size_t room = (n + ALIGN - 1) & ~(ALIGN - 1), fresh;
	struct space *s = space_get();
	struct chunk *c = s ? chunk_with(s, room) : NULL;
	uint8_t *at;

	if (!c)
		return NULL;
	at = chunk_base(s, (unsigned)(c - s->chunk)) + c->used;
	if (c->used + room > c->filled) {
		fresh = (c->used + room + PAGE - 1) & ~(PAGE - 1);
		if (!fill(s, at + n, fresh - c->used - n))
			return NULL;
		c->filled = fresh;
	}
	c->used += room;
	c->live++;
	return at;
}

uint8_t *jit_code_take(size_t n)
{
	uint8_t *at;

	pthread_mutex_lock(&lock);
	at = take_locked(n);
	pthread_mutex_unlock(&lock);
	return at;
}

static bool ours(const uint8_t *at)
{
	return current && current->owner == getpid() && at >= current->base &&
	       at < current->base + SPACE;
}

bool jit_code_write(uint8_t *at, const uint8_t *bytes, size_t n)
{
	bool ok;

	pthread_mutex_lock(&lock);
	ok = ours(at) && write_at(current, at, bytes, n);
	pthread_mutex_unlock(&lock);
	return ok;
}

/*
 * Other processors may hold instructions that stood here; so may an emulator, which forgets its
 * translation of what is mapped anew.
 */
static void chunk_reset(struct space *s maybe_unused, struct chunk *c)
{
	c->used = 0;
#ifndef __x86_64__
	uint8_t *at = chunk_base(s, (unsigned)(c - s->chunk));

	if (mmap(at, c->span * CHUNK - PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, s->fd,
		 at - s->base) == MAP_FAILED)
		c->used = c->span * CHUNK - PAGE; /* as if full */
#endif
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

static void give_locked(uint8_t *at, size_t n)
{
	unsigned i = (unsigned)((size_t)(at - current->base - PAGE) / CHUNK);
	struct chunk *c;

	while (!current->chunk[i].span)
		i--;
	c = &current->chunk[i];
	fill(current, at, n);
	if (!--c->live)
		chunk_reset(current, c);
}

void jit_code_give(uint8_t *at, size_t n)
{
	pthread_mutex_lock(&lock);
	if (ours(at))
		give_locked(at, n);
	pthread_mutex_unlock(&lock);
}

const uint8_t *jit_code_space(size_t *size)
{
	const uint8_t *base;

	pthread_mutex_lock(&lock);
	base = space_get() ? current->base : NULL;
	pthread_mutex_unlock(&lock);
	*size = SPACE;
	return base;
}
