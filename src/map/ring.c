// SPDX-License-Identifier: Apache-2.0
/*
 * ring.c: ring buffers that programs write and callers read, and the other way round.
 *
 *	memfd:   consumer page | producer page | data | data again
 *
 * Callers map the file so, as they map the kernel's. In the kernel the last two are the same pages; a
 * file cannot hold a page twice, so here they are two ranges, and a record that runs over the end of the
 * first goes on in the second:
 *
 *	written by programs: through a mapping that does mirror the first range, so that a record is in
 *	one piece for the program; at commit what ran over the end is copied to the second range (R2).
 *	written by callers: in one piece from the first into the second range, and read there.
 *
 * R1  What stands in the file was possibly written by the caller. Positions that programs rely on are
 *     kept outside; lengths read from the file are bounded before use.
 * R2  A record's bytes are in both ranges before its header loses the busy bit.
 */
#include "map/impl.h"

#define PAGE	    4096UL
#define META	    (2 * PAGE)
#define HEADER	    BPF_RINGBUF_HDR_SZ
#define LEN_MAX	    (UINT32_MAX / 4)
#define PAGES_OFF   3 /* of data in the kernel's ring, in pages: for the header */
#define DYNPTR_MAX  ((1U << 24) - 1)
#define SAMPLES_MAX (128 * 1024) /* the kernel's BPF_MAX_USER_RINGBUF_SAMPLES */

struct ring_header {
	_Atomic uint32_t len; /* and busy, discard */
	uint32_t page;
};

typedef _Atomic uint64_t ring_pos;

struct ring {
	struct map_base b;
	char *mem; /* the file's pages, then the mirror or the second range */
	char *data;
	char *second; /* the second range */
	uint64_t size, mask, mapped;
	ring_pos *consumer_page, *producer_page;
	_Alignas(64) _Atomic uint32_t lock; /* of producers; of the one consumer of a user ring */
	uint64_t pending;		    /* all before it are committed */
	ring_pos producer;
};

static struct ring *ring_of(const struct map *m)
{
	return container_of(base_of(m), struct ring, b);
}

static uint64_t consumed(const struct ring *r)
{
	return atomic_load_explicit(r->consumer_page, memory_order_acquire);
}

static struct ring_header *header_at(const struct ring *r, uint64_t pos)
{
	return (struct ring_header *)(r->data + (pos & r->mask));
}

/* Bytes that a record of @len takes in the ring. */
static uint64_t record_bytes(uint32_t len)
{
	len &= ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	return round8((uint64_t)len + HEADER);
}

/* ---- programs write -------------------------------------------------------------------------- */

/* Passes over what was committed since. */
static uint64_t pending_move(struct ring *r, uint64_t end)
{
	uint64_t at = r->pending, bytes;
	uint32_t len;

	while (at != end) {
		len = atomic_load_explicit(&header_at(r, at)->len, memory_order_relaxed);
		bytes = record_bytes(len);
		if (len & BPF_RINGBUF_BUSY_BIT || bytes > end - at) /* R1 */
			break;
		at += bytes;
	}
	r->pending = at;
	return at;
}

static hot_inline void *reserve(struct ring *r, uint64_t size)
{
	uint64_t at, end, used = consumed(r);
	struct ring_header *h = NULL;

	if (size > LEN_MAX || round8(size + HEADER) > r->size)
		return NULL;
	spin_lock(&r->lock);
	at = atomic_load_explicit(&r->producer, memory_order_relaxed);
	end = at + round8(size + HEADER);
	if (end - used <= r->mask && end - pending_move(r, at) <= r->mask) {
		h = header_at(r, at);
		h->page = (uint32_t)((at & r->mask) / PAGE + PAGES_OFF);
		atomic_store_explicit(&h->len, (uint32_t)size | BPF_RINGBUF_BUSY_BIT,
				      memory_order_relaxed);
		atomic_store_explicit(&r->producer, end, memory_order_relaxed);
		atomic_store_explicit(r->producer_page, end, memory_order_release);
	}
	spin_unlock(&r->lock);
	return h ? h + 1 : NULL;
}

static hot_inline bool commit(struct ring *r, void *record, uint64_t flags, bool discard)
{
	struct ring_header *h = (struct ring_header *)record - 1;
	uint64_t at = (uint64_t)((char *)h - r->data), bytes;
	uint32_t len = atomic_load_explicit(&h->len, memory_order_relaxed);

	len = (len & ~BPF_RINGBUF_BUSY_BIT) | (discard ? BPF_RINGBUF_DISCARD_BIT : 0);
	bytes = record_bytes(len);
	if (unlikely(at + bytes > r->size && at + bytes <= 2 * r->size)) /* R1, R2 */
		memcpy(r->second, r->data, at + bytes - r->size);
	if (flags & (BPF_RB_FORCE_WAKEUP | BPF_RB_NO_WAKEUP)) {
		atomic_store_explicit(&h->len, len, memory_order_release);
		return flags & BPF_RB_FORCE_WAKEUP;
	}
	/* The consumer says where it is, then looks for more: here the other way round. */
	atomic_exchange(&h->len, len);
	return (consumed(r) & r->mask) == at;
}

void *map_ring_reserve(struct map *m, uint64_t size, uint64_t flags)
{
	return unlikely(flags) ? NULL : reserve(ring_of(m), size);
}

bool map_ring_commit(struct map *m, void *record, uint64_t flags, bool discard)
{
	return commit(ring_of(m), record, flags, discard);
}

long map_ring_output(struct map *m, const void *data, uint64_t size, uint64_t flags, bool *wake)
{
	struct ring *r = ring_of(m);
	void *record;

	*wake = false;
	if (flags & ~(uint64_t)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	record = reserve(r, size);
	if (!record)
		return -EAGAIN;
	memcpy(record, data, size);
	*wake = commit(r, record, flags, false);
	return 0;
}

static uint64_t produced(const struct ring *r)
{
	if (r->b.m.def.type == BPF_MAP_TYPE_RINGBUF)
		return atomic_load_explicit(&r->producer, memory_order_acquire);
	return atomic_load_explicit(r->producer_page, memory_order_acquire);
}

uint64_t map_ring_query(const struct map *m, uint64_t what)
{
	const struct ring *r = ring_of(m);
	uint64_t used = consumed(r);

	switch (what) {
	case BPF_RB_AVAIL_DATA:
		return produced(r) - used;
	case BPF_RB_RING_SIZE:
		return r->size;
	case BPF_RB_CONS_POS:
		return used;
	case BPF_RB_PROD_POS:
		return produced(r);
	default:
		return 0;
	}
}

/* ---- callers write --------------------------------------------------------------------------- */

/* The next sample: 0; -ENODATA: none yet; -EAGAIN: passed over one; else the ring is broken. */
static int peek(struct ring *r, const void **sample, uint32_t *size)
{
	uint64_t end = produced(r), at = consumed(r), bytes;
	uint32_t len;

	if (end % 8)
		return -EINVAL;
	if (at >= end)
		return -ENODATA;
	len = atomic_load_explicit(&header_at(r, at & ~7ULL)->len, memory_order_acquire);
	bytes = record_bytes(len);
	if (bytes > end - at)
		return -EINVAL;
	*size = len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	if (bytes > r->size || *size > DYNPTR_MAX)
		return -E2BIG;
	if (len & BPF_RINGBUF_DISCARD_BIT) {
		atomic_store_explicit(r->consumer_page, at + bytes, memory_order_release);
		return -EAGAIN;
	}
	*sample = header_at(r, at & ~7ULL) + 1;
	return len & BPF_RINGBUF_BUSY_BIT ? -ENODATA : 0;
}

static long drain(struct ring *r, long (*fn)(void *, const void *, uint32_t), void *arg)
{
	long n, discarded = 0, rc = 0;
	const void *sample;
	uint32_t size;

	for (n = 0; n < SAMPLES_MAX && !rc; n++) {
		int got = peek(r, &sample, &size);

		if (got == -ENODATA)
			break;
		if (got && got != -EAGAIN)
			return got;
		discarded += got == -EAGAIN;
		if (got)
			continue;
		rc = fn(arg, sample, size);
		atomic_store_explicit(r->consumer_page, consumed(r) + record_bytes(size),
				      memory_order_release);
	}
	return n - discarded;
}

long map_ring_drain(struct map *m, long (*fn)(void *arg, const void *sample, uint32_t size),
		    void *arg, uint64_t flags)
{
	struct ring *r = ring_of(m);
	long n;

	if (flags & ~(uint64_t)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	if (atomic_exchange(&r->lock, 1))
		return -EBUSY;
	n = drain(r, fn, arg);
	spin_unlock(&r->lock);
	return n;
}

/* ---- the map --------------------------------------------------------------------------------- */

static int ring_sys_lookup(struct map *m maybe_unused, const void *key maybe_unused,
			   void *value maybe_unused, uint64_t flags maybe_unused)
{
	return -ENOTSUPP;
}

static int ring_update(struct map *m maybe_unused, const void *key maybe_unused,
		       const void *value maybe_unused, uint64_t flags maybe_unused)
{
	return -ENOTSUPP;
}

static int ring_delete(struct map *m maybe_unused, const void *key maybe_unused)
{
	return -ENOTSUPP;
}

static void ring_free(struct map *m)
{
	struct ring *r = ring_of(m);

	arena_free(r->mem, r->mapped);
}

static const struct map_ops ring_ops = {
	.free = ring_free,
	.sys_lookup = ring_sys_lookup,
	.update = ring_update,
	.delete = ring_delete,
};

static bool map_at(char *at, uint64_t n, int fd, uint64_t offset)
{
	return mmap(at, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
		    (off_t)offset) != MAP_FAILED;
}

/*
 * Programs' rings: meta, data, data (the mirror), then the second range. Callers' rings need no mirror:
 * the file as it is.
 */
static bool ring_map(struct ring *r, int fd)
{
	bool mirror = r->b.m.def.type == BPF_MAP_TYPE_RINGBUF;
	uint64_t file = META + 2 * r->size;
	char *mem;

	r->mapped = file + (mirror ? r->size : 0);
	mem = mmap(NULL, r->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return false;
	r->mem = mem;
	r->consumer_page = (ring_pos *)mem;
	r->producer_page = (ring_pos *)(mem + PAGE);
	r->data = mem + META;
	r->second = r->data + r->size * (mirror ? 2 : 1);
	if (!mirror)
		return map_at(mem, file, fd, 0);
	return map_at(mem, META + r->size, fd, 0) && map_at(r->data + r->size, r->size, fd, META) &&
	       map_at(r->second, r->size, fd, META + r->size);
}

static int ring_check(const struct map_def *def, struct skep_err *err)
{
	uint32_t n = def->max_entries;

	if (def->flags & ~(uint32_t)BPF_F_NUMA_NODE)
		return skep_fail(err, -EINVAL, "a ring buffer has no flags 0x%x", def->flags);
	if (def->key_size || def->value_size || !n || n & (n - 1) || n % PAGE)
		return skep_fail(err, -EINVAL,
				 "a ring buffer has no keys and values, and 2^n pages, not %u "
				 "bytes",
				 n);
	return 0;
}

int ring_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct ring *r;
	int rc = ring_check(def, err);

	if (rc)
		return rc;
	r = base_make(sizeof(*r), def, &ring_ops);
	if (!r)
		return no_memory(def, err);
	r->size = def->max_entries;
	r->mask = r->size - 1;
	if (file_make(&r->b, META + 2 * r->size) < 0 || !ring_map(r, r->b.m.memfd)) {
		map_free(&r->b.m);
		return no_memory(def, err);
	}
	r->b.bytes += META + 2 * r->size;
	r->b.m.areas[0] = (struct map_area){
		.base = (uintptr_t)r->data,
		.bytes = 2 * r->size,
		.stride = (uint32_t)min(2 * r->size, (uint64_t)UINT32_MAX),
		.size = (uint32_t)min(2 * r->size, (uint64_t)UINT32_MAX),
	};
	*out = &r->b.m;
	return 0;
}
