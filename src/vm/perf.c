// SPDX-License-Identifier: Apache-2.0
/*
 * Perf buffers: what perf_event_open(2) gives for PERF_COUNT_SW_BPF_OUTPUT, to be mapped by who reads
 * and put into a perf event array for bpf_perf_event_output() to find.
 *
 *	| struct perf_event_mmap_page | data, a power of two pages |     one memfd, mapped by both sides
 *	   data_head: ours, data_tail: the reader's
 *
 * How long the reader's mapping is, only mmap(2) tells; the host says so before it happens
 * (vm_perf_map). The reader may write anything anywhere: only data_tail is read back, and believed
 * only as far as it leaves room that there is.
 */
#include <linux/perf_event.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "vm/inside.h"

#define PAGES_MAX 8192

struct perf {
	struct object obj;
	pthread_mutex_t lock; /* writers */
	struct wake wake;
	struct perf_event_mmap_page *page; /* NULL: not mapped yet */
	uint64_t size;			   /* of the data; a power of two */
	uint64_t head; /* what data_head says, were it not the reader's to change */
	uint64_t lost; /* not yet told */
	uint32_t wakeup_events, since;
};

struct lost {
	struct perf_event_header header;
	uint64_t id, lost;
};

static struct perf *perf_of(struct object *o)
{
	return container_of(o, struct perf, obj);
}

static uint8_t *data_of(const struct perf *p)
{
	return (uint8_t *)p->page + getpagesize();
}

/* ---- opening and mapping --------------------------------------------------------------------- */

static long perf_new(struct call *c, const struct perf_event_attr *attr)
{
	struct perf *p = calloc(1, sizeof(*p));
	long rc;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	p->wake.fd = -1;
	p->wakeup_events = attr->watermark || !attr->wakeup_events ? 1 : attr->wakeup_events;
	rc = vm_object_add(c->e, &p->obj, OBJECT_PERF, -1);
	if (rc) {
		free(p);
		return rc;
	}
	rc = vm_call_hand(c, &p->obj, O_RDWR);
	vm_object_put(c->e, &p->obj);
	return rc;
}

long vm_perf_open(struct skep_engine *e, const struct vm_caller *caller, uint64_t attr)
{
	struct call c = {.e = e, .caller = caller};
	struct perf_event_attr a = {0};

	if (vm_call_read(&c, &a, attr, PERF_ATTR_SIZE_VER0))
		return -EFAULT;
	if (a.type != PERF_TYPE_SOFTWARE || a.config != PERF_COUNT_SW_BPF_OUTPUT)
		return -EOPNOTSUPP;
	return a.sample_type == PERF_SAMPLE_RAW ? perf_new(&c, &a) : -EINVAL;
}

static struct perf *perf_get(struct skep_engine *e, int fd)
{
	struct object *o = vm_object_of_fd(e, fd);

	if (!o || o->kind == OBJECT_PERF)
		return o ? perf_of(o) : NULL;
	vm_object_put(e, o);
	return NULL;
}

bool vm_is_perf(struct skep_engine *e, int fd)
{
	struct perf *p = perf_get(e, fd);

	if (p)
		vm_object_put(e, &p->obj);
	return p;
}

static int perf_map(struct perf *p, size_t length)
{
	size_t page = (size_t)getpagesize(), size = length - page;
	void *at;

	if (length <= page || size % page || size & (size - 1) || size / page > PAGES_MAX)
		return -EINVAL;
	if (p->page)
		return size == p->size ? 0 : -EINVAL;
	if (ftruncate(p->obj.fd, (off_t)length) ||
	    fcntl(p->obj.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, p->obj.fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	p->page = at;
	p->size = size;
	p->page->data_offset = page;
	p->page->data_size = size;
	return 0;
}

int vm_perf_map(struct skep_engine *e, int fd, size_t length)
{
	struct perf *p = perf_get(e, fd);
	int rc;

	if (!p)
		return -EBADF;
	pthread_mutex_lock(&p->lock);
	rc = perf_map(p, length);
	pthread_mutex_unlock(&p->lock);
	vm_object_put(e, &p->obj);
	return rc;
}

void vm_perf_free(struct object *o)
{
	struct perf *p = perf_of(o);
	int wake = p->wake.fd;

	if (p->page)
		munmap(p->page, p->size + (size_t)getpagesize());
	fd_close(&wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

struct wake *vm_perf_wake(struct object *o)
{
	return &perf_of(o)->wake;
}

uint64_t vm_perf_pending(const struct object *o)
{
	const struct perf *p = container_of(o, struct perf, obj);

	return p->page && p->head != p->page->data_tail ? p->page->data_tail + 1 : 0;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static void put(struct perf *p, const void *src, size_t n)
{
	uint64_t at = p->head & (p->size - 1);
	size_t first = min((size_t)(p->size - at), n);

	memcpy(data_of(p) + at, src, first);
	memcpy(data_of(p), (const uint8_t *)src + first, n - first);
	p->head += n;
}

static bool fits(const struct perf *p, size_t n)
{
	uint64_t used = p->head - __atomic_load_n(&p->page->data_tail, __ATOMIC_ACQUIRE);

	return used <= p->size && n <= p->size - used;
}

static void put_sample(struct perf *p, const void *data, uint32_t n, uint32_t raw)
{
	static const uint8_t zeros[8];
	const struct perf_event_header header = {.type = PERF_RECORD_SAMPLE,
						 .size = (uint16_t)(sizeof(header) + 4 + raw)};

	put(p, &header, sizeof(header));
	put(p, &raw, sizeof(raw));
	put(p, data, n);
	put(p, zeros, raw - n);
}

static void put_lost(struct perf *p)
{
	const struct lost l = {.header = {.type = PERF_RECORD_LOST, .size = sizeof(l)},
			       .lost = p->lost};

	put(p, &l, sizeof(l));
	p->lost = 0;
}

/* One record, behind another that tells of the lost. */
static int perf_write(struct perf *p, const void *data, uint32_t n)
{
	uint32_t raw = (uint32_t)(((uint64_t)n + 4 + 7) / 8 * 8 - 4);
	size_t lost = p->lost ? sizeof(struct lost) : 0;

	if (!p->page || !fits(p, lost + sizeof(struct perf_event_header) + 4 + raw)) {
		p->lost += p->page != NULL;
		return -ENOSPC;
	}
	if (lost)
		put_lost(p);
	put_sample(p, data, n, raw);
	__atomic_store_n(&p->page->data_head, p->head, __ATOMIC_RELEASE);
	if (++p->since >= p->wakeup_events && p->wake.fd >= 0) {
		p->since = 0;
		eventfd_write(p->wake.fd, 1);
	}
	return 0;
}

long vm_perf_output(struct skep_engine *e, struct map *m, uint32_t key, const void *data,
		    uint32_t n)
{
	const int *fd = map_slots(m)[key];
	struct perf *p = fd ? perf_get(e, *fd) : NULL;
	int rc;

	if (!fd)
		return -ENOENT;
	if (!p)
		return -EINVAL;
	if (n > UINT16_MAX - 32)
		rc = -E2BIG;
	else {
		pthread_mutex_lock(&p->lock);
		rc = perf_write(p, data, n);
		pthread_mutex_unlock(&p->lock);
	}
	vm_object_put(e, &p->obj);
	return rc;
}
