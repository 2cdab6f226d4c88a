// SPDX-License-Identifier: Apache-2.0
/* ring.c: maps in user memory: what a consumer or a producer sees of a ring buffer; arrays. */
#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "diff.h"

struct side {
	void *consumer_page, *rest;
	size_t rest_size;
	uint64_t *consumer, *producer;
	uint8_t *data;
};

struct ring {
	struct side sides[2]; /* the kernel's, ours */
	uint64_t mask;
	int epoll;
};

static bool side_map(struct side *s, int fd, const struct pair *p, size_t page)
{
	bool user = p->lane->program == DRAIN;
	int write = PROT_READ | PROT_WRITE;

	s->rest_size = page + 2 * (size_t)p->def.max_entries;
	s->consumer_page = mmap(NULL, page, user ? PROT_READ : write, MAP_SHARED, fd, 0);
	s->rest = mmap(NULL, s->rest_size, user ? write : PROT_READ, MAP_SHARED, fd, page);
	s->consumer = s->consumer_page;
	s->producer = s->rest;
	s->data = (uint8_t *)s->rest + page;
	return s->consumer_page != MAP_FAILED && s->rest != MAP_FAILED;
}

struct ring *ring_open(struct pair *p)
{
	struct ring *r = calloc(1, sizeof(*r));
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	size_t page = sysconf(_SC_PAGESIZE);

	r->mask = p->def.max_entries - 1;
	if (!side_map(&r->sides[0], p->fd, p, page) ||
	    !side_map(&r->sides[1], p->ours->memfd, p, page)) {
		fprintf(stderr, "cannot map the ring buffers\n");
		abort();
	}
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->lane->program == RING && epoll_ctl(r->epoll, EPOLL_CTL_ADD, p->fd, &ev))
		abort();
	return r;
}

void ring_close(struct ring *r)
{
	if (!r)
		return;
	for (int i = 0; i < 2; i++) {
		munmap(r->sides[i].consumer_page, sysconf(_SC_PAGESIZE));
		munmap(r->sides[i].rest, r->sides[i].rest_size);
	}
	close(r->epoll);
	free(r);
}

bool ring_woken(struct pair *p)
{
	struct epoll_event ev;

	return epoll_wait(p->ring->epoll, &ev, 1, 0) > 0;
}

static uint64_t load(const uint64_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

bool ring_same(struct pair *p)
{
	const struct side *k = &p->ring->sides[0], *o = &p->ring->sides[1];

	return !differ(p, "producer's position", load(k->producer), load(o->producer)) &&
	       !differ(p, "consumer's position", load(k->consumer), load(o->consumer));
}

/* One record on both sides: header, bytes. Its second word is the kernel's own business. */
static bool same_record(struct pair *p, uint64_t pos, uint32_t *len)
{
	const uint8_t *k = p->ring->sides[0].data + (pos & p->ring->mask);
	const uint8_t *o = p->ring->sides[1].data + (pos & p->ring->mask);
	uint32_t header[2];

	memcpy(&header[0], k, 4);
	memcpy(&header[1], o, 4);
	if (differ(p, "a record's header", header[0], header[1]))
		return false;
	*len = header[0] & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	if (*len > DATA_MAX) /* reserved, never written */
		return true;
	return !differ_bytes(p, "a record", k + 8, o + 8, *len);
}

static bool consume(struct pair *p, uint32_t records)
{
	struct ring *r = p->ring;
	uint64_t pos = load(r->sides[0].consumer), end = load(r->sides[0].producer);
	uint32_t len;

	for (; records && pos < end; records--) {
		if (!same_record(p, pos, &len))
			return false;
		pos += (len + 8 + 7) & ~7u;
	}
	for (int i = 0; i < 2; i++)
		__atomic_store_n(r->sides[i].consumer, pos, __ATOMIC_RELEASE);
	return ring_same(p);
}

/* A record for the drain helper, or something that no honest producer writes. */
static bool produce(struct pair *p, const struct op *op)
{
	struct ring *r = p->ring;
	struct rng rng = {op->seed};
	uint64_t pos = load(r->sides[0].producer), room = load(r->sides[0].consumer) + r->mask + 1;
	uint32_t header = op->arg, size = (op->arg + 8 + 7) & ~7u;

	if (pos + size > room || pos % 8) /* behind an odd position what lies there is not alike */
		return true;
	if (one_in(&rng, 12))
		header |= BPF_RINGBUF_DISCARD_BIT;
	if (one_in(&rng, 60))
		header |= BPF_RINGBUF_BUSY_BIT;
	if (one_in(&rng, 60))
		header = 0x0fffffff;
	if (one_in(&rng, 60))
		size += 4;
	for (int i = 0; i < 2; i++) {
		uint8_t *at = r->sides[i].data + (pos & r->mask);

		memcpy(at, &header, 4);
		memset(at + 8, op->seed & 0xff, min(op->arg, (uint32_t)DATA_MAX));
		__atomic_store_n(r->sides[i].producer, pos + size, __ATOMIC_RELEASE);
	}
	return true;
}

/* Clears what stops the drain helper for good: an odd position, a busy or impossible record. */
static void repair(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = &p->ring->sides[i];

		__atomic_store_n(s->producer, load(s->consumer), __ATOMIC_RELEASE);
	}
}

bool ring_run(struct pair *p, const struct op *op)
{
	if (op->kind == RING_CONSUME && p->lane->program == DRAIN)
		repair(p);
	else if (op->kind == RING_CONSUME)
		return consume(p, op->arg);
	else if (op->kind == RING_PRODUCE)
		return produce(p, op);
	return true;
}

/* ---- arrays that are mapped ----------------------------------------------------------------------- */

static bool write_or_read(struct pair *p, const struct op *op, uint8_t *kernel, uint8_t *ours,
			  size_t n)
{
	size_t at = (size_t)op->key * ((p->def.value_size + 7) & ~7u);

	if (op->kind == MAPPED_READ)
		return !differ_bytes(p, "mapped bytes", kernel, ours, n);
	if (at >= n)
		return true;
	kernel[at] = op->seed;
	ours[at] = op->seed;
	return true;
}

bool mapped_run(struct pair *p, const struct op *op)
{
	size_t page = sysconf(_SC_PAGESIZE), stride = (p->def.value_size + 7) & ~7u;
	size_t n = (p->def.max_entries * stride + page - 1) & ~(page - 1);
	int prot = op->kind == MAPPED_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
	uint8_t *kernel, *ours;
	bool ok;

	if (!(p->def.flags & BPF_F_MMAPABLE))
		return p->ours->memfd < 0 || !failed(p, "memfd %d", p->ours->memfd);
	kernel = mmap(NULL, n, prot, MAP_SHARED, p->fd, 0);
	if (kernel == MAP_FAILED) /* frozen: the vm's to refuse */
		return op->kind == MAPPED_WRITE;
	ours = mmap(NULL, n, prot, MAP_SHARED, p->ours->memfd, 0);
	ok = ours != MAP_FAILED ? write_or_read(p, op, kernel, ours, n)
				: !failed(p, "mmap of the memfd: errno %d", errno);
	munmap(kernel, n);
	munmap(ours, n);
	return ok;
}
