// SPDX-License-Identifier: Apache-2.0
/*
 * AF_XDP: frames of one queue of an interface in place of the kernel's stack.
 *
 *	pool --> fill ring --> kernel --> rx ring --> program --> tx ring --> kernel --> completions --> pool
 *	                                                    '--> another port --> pool
 *
 * The pool is the UMEM of all sockets, so a frame goes from one interface to another without a copy of
 * ours. Whether the kernel copies is the driver's matter: p->mode tells.
 *
 * X1  At most RING frames are the kernel's to fill and at most RING its to send; the rings have room
 *     for as many, so a ring is never found full.
 */
#include <bpf/bpf.h>
#include <linux/if_xdp.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "host/host.h"
#include "host/port.skel.h"
#include "host/port_inside.h"
#include "host/seam.h"

#define RING  2048U
#define KICKS 8 /* system calls for what waits to leave; one sends 32 frames and more */

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

struct ring {
	void *mem;
	size_t bytes;
	_Atomic uint32_t *producer, *consumer, *flags;
	void *entries;
	uint32_t at; /* our side: what we produced, or consumed */
};

struct xdp {
	struct ring fill, done, rx, tx;
	uint32_t filling, sending; /* frames that are the kernel's */
	struct port_bpf *bpf;
	int link;
};

/* ---- opening ------------------------------------------------------------------------------------ */

static int ring_map(struct ring *r, int fd, const struct xdp_ring_offset *o, uint64_t at,
		    size_t each)
{
	r->bytes = o->desc + RING * each;
	r->mem = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		      (off_t)at);
	if (r->mem == MAP_FAILED) {
		r->mem = NULL;
		return -errno;
	}
	r->producer = (void *)((char *)r->mem + o->producer);
	r->consumer = (void *)((char *)r->mem + o->consumer);
	r->flags = (void *)((char *)r->mem + o->flags);
	r->entries = (char *)r->mem + o->desc;
	return 0;
}

static int make_rings(int fd)
{
	static const int names[] = {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING,
				    XDP_TX_RING};
	const uint32_t size = RING;
	unsigned i;

	for (i = 0; i < array_size(names); i++)
		if (setsockopt(fd, SOL_XDP, names[i], &size, sizeof(size)))
			return -errno;
	return 0;
}

static int map_rings(struct xdp *x, int fd)
{
	struct xdp_mmap_offsets o;
	socklen_t len = sizeof(o);
	int rc;

	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &o, &len))
		return -errno;
	rc = ring_map(&x->fill, fd, &o.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
	if (!rc)
		rc = ring_map(&x->done, fd, &o.cr, XDP_UMEM_PGOFF_COMPLETION_RING,
			      sizeof(uint64_t));
	if (!rc)
		rc = ring_map(&x->rx, fd, &o.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	if (!rc)
		rc = ring_map(&x->tx, fd, &o.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	return rc;
}

static int give_umem(const struct port *p, int fd)
{
	struct xdp_umem_reg umem = {
		.addr = (uintptr_t)p->pool->base,
		.len = (uint64_t)p->pool->n * VM_FRAME_SIZE,
		.chunk_size = VM_FRAME_SIZE,
	};

	return setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) ? -errno : 0;
}

static int bind_to(const struct port *p, int fd, int shared)
{
	struct sockaddr_xdp to = {
		.sxdp_family = AF_XDP,
		.sxdp_ifindex = p->device,
		.sxdp_queue_id = p->spec.queue,
		.sxdp_flags = shared >= 0 ? XDP_SHARED_UMEM : XDP_USE_NEED_WAKEUP,
		.sxdp_shared_umem_fd = shared >= 0 ? (uint32_t)shared : 0,
	};

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) ? -errno : 0;
}

static int open_socket(struct port *p)
{
	int shared = port_xdp_shared(p->all), rc = 0;
	struct xdp_options options = {0};
	socklen_t len = sizeof(options);

	p->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return -errno;
	if (shared < 0)
		rc = give_umem(p, p->fd);
	if (!rc)
		rc = make_rings(p->fd);
	if (!rc)
		rc = map_rings(p->own, p->fd);
	if (!rc)
		rc = bind_to(p, p->fd, shared);
	if (!rc && getsockopt(p->fd, SOL_XDP, XDP_OPTIONS, &options, &len))
		rc = -errno;
	p->mode = options.flags & XDP_OPTIONS_ZEROCOPY ? "AF_XDP zero-copy" : "AF_XDP copy";
	return rc;
}

/* The kernel's program, there until the link's descriptor goes. */
static int attach(struct port *p)
{
	uint32_t queue = p->spec.queue, fd = (uint32_t)p->fd;
	struct xdp *x = p->own;
	int rc;

	x->bpf = port_bpf__open();
	if (!x->bpf)
		return -errno;
	bpf_map__set_max_entries(x->bpf->maps.sockets, queue + 1);
	rc = port_bpf__load(x->bpf);
	if (!rc)
		rc = bpf_map_update_elem(bpf_map__fd(x->bpf->maps.sockets), &queue, &fd, BPF_ANY);
	if (rc)
		return rc;
	x->link = bpf_link_create(bpf_program__fd(x->bpf->progs.to_socket), (int)p->device, BPF_XDP,
				  NULL);
	return x->link < 0 ? -errno : 0;
}

static int refused(const struct port *p, int rc, const char *what, struct skep_err *err)
{
	switch (rc) {
	case -EPERM:
		return skep_fail(err, rc,
				 "AF_XDP needs CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF of the host; "
				 "packet:%s needs a namespace's only",
				 p->spec.device);
	case -EBUSY:
		return skep_fail(err, rc, "%s has an XDP program or an AF_XDP socket already",
				 p->spec.device);
	case -EINVAL:
		return skep_fail(err, rc, "%s: %s: no queue %u, or no XDP here", what,
				 p->spec.device, p->spec.queue);
	default:
		return skep_fail(err, rc, "%s: %s: %s", what, p->spec.device, strerror(-rc));
	}
}

static int xdp_open(struct port *p, struct skep_err *err)
{
	struct xdp *x = p->own = calloc(1, sizeof(*x));
	struct skep_engine *used;
	int rc;

	if (!x)
		return -ENOMEM;
	x->link = -1;
	rc = port_device(p, err);
	if (rc)
		return rc;
	rc = open_socket(p);
	if (rc)
		return refused(p, rc, "AF_XDP socket", err);
	host_bpf_keep();
	used = host_use(NULL);
	rc = attach(p);
	host_use(used);
	return rc ? refused(p, rc, "XDP program", err) : 0;
}

static void ring_unmap(struct ring *r)
{
	if (r->mem)
		munmap(r->mem, r->bytes);
}

static void xdp_close(struct port *p)
{
	struct skep_engine *used = host_use(NULL);
	struct xdp *x = p->own;

	if (x) {
		fd_close(&x->link);
		port_bpf__destroy(x->bpf);
		ring_unmap(&x->fill);
		ring_unmap(&x->done);
		ring_unmap(&x->rx);
		ring_unmap(&x->tx);
	}
	host_use(used);
	fd_close(&p->fd);
	free(x);
}

/* ---- frames that come --------------------------------------------------------------------------- */

static void fill(struct port *p)
{
	struct xdp *x = p->own;
	uint64_t *entries = x->fill.entries;
	uint8_t *buf;

	while (x->filling < RING && (buf = port_pool_take(p->pool))) {
		entries[x->fill.at++ & (RING - 1)] = (uint64_t)(buf - p->pool->base);
		x->filling++;
	}
	atomic_store_explicit(x->fill.producer, x->fill.at, memory_order_release);
}

static void reap(struct port *p)
{
	struct xdp *x = p->own;
	const uint64_t *entries = x->done.entries;
	uint32_t end = atomic_load_explicit(x->done.producer, memory_order_acquire);

	for (; x->done.at != end; x->done.at++) {
		port_pool_give(p->pool, p->pool->base + entries[x->done.at & (RING - 1)]);
		x->sending--;
	}
	atomic_store_explicit(x->done.consumer, x->done.at, memory_order_release);
}

static struct vm_frame frame_of(const struct port *p, const struct xdp_desc *d)
{
	uint32_t start = (uint32_t)d->addr & (VM_FRAME_SIZE - 1);

	return (struct vm_frame){
		.buf = p->pool->base + (d->addr - start), .start = start, .len = d->len};
}

static int xdp_receive(struct port *p, struct vm_frame *frames, struct skep_err *err maybe_unused)
{
	struct xdp *x = p->own;
	const struct xdp_desc *entries = x->rx.entries;
	uint32_t end, n = 0;

	reap(p);
	end = atomic_load_explicit(x->rx.producer, memory_order_acquire);
	for (; x->rx.at != end && n < VM_PORT_BATCH; x->rx.at++)
		frames[n++] = frame_of(p, &entries[x->rx.at & (RING - 1)]);
	atomic_store_explicit(x->rx.consumer, x->rx.at, memory_order_release);
	x->filling -= n;
	fill(p);
	if (!n && atomic_load_explicit(x->fill.flags, memory_order_relaxed) & XDP_RING_NEED_WAKEUP)
		recvfrom(p->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	return (int)n;
}

/* ---- frames that leave -------------------------------------------------------------------------- */

static void xdp_flush(struct port *p)
{
	struct xdp *x = p->own;
	unsigned i;

	atomic_store_explicit(x->tx.producer, x->tx.at, memory_order_release);
	for (i = 0; i < KICKS && atomic_load(x->tx.consumer) != x->tx.at; i++) {
		if (!(atomic_load(x->tx.flags) & XDP_RING_NEED_WAKEUP))
			break;
		if (sendto(p->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN)
			break; /* ENOBUFS, EBUSY: later; ENETDOWN: perhaps never */
	}
}

static int xdp_send(struct port *p, struct vm_frame *f, bool keep)
{
	struct xdp_desc *entries;
	struct xdp *x = p->own;
	struct vm_frame copy;

	if (x->sending == RING) {
		xdp_flush(p);
		reap(p);
	}
	if (x->sending == RING) /* X1 */
		return -ENOBUFS;
	if (keep && !port_copy(p, f, &copy))
		return -ENOBUFS;
	if (keep)
		f = &copy;
	entries = x->tx.entries;
	entries[x->tx.at++ & (RING - 1)] = (struct xdp_desc){
		.addr = (uint64_t)(f->buf + f->start - p->pool->base), .len = f->len};
	x->sending++;
	f->taken = true;
	return 0;
}

static uint64_t xdp_lost(struct port *p)
{
	struct xdp_statistics s = {0};
	socklen_t len = sizeof(s);

	if (getsockopt(p->fd, SOL_XDP, XDP_STATISTICS, &s, &len))
		return 0;
	return s.rx_dropped + s.rx_ring_full;
}

const struct port_ops port_xdp_ops = {
	.open = xdp_open,
	.close = xdp_close,
	.receive = xdp_receive,
	.send = xdp_send,
	.flush = xdp_flush,
	.lost = xdp_lost,
	.frames = 2 * RING,
};
