/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_inside.h: what the kinds of ports share: the pool of frames, what a kind is.
 */
#ifndef SKEP_HOST_PORT_INSIDE_H
#define SKEP_HOST_PORT_INSIDE_H

#include "host/port.h"

/* ---- port_pool.c ------------------------------------------------------------------------------ */

struct pool {
	uint8_t *base; /* below 4 GiB, of n * VM_FRAME_SIZE bytes */
	uint32_t n, n_free;
	uint32_t *free; /* numbers of frames */
};

int port_pool_open(struct pool *p, uint32_t n);
void port_pool_done(struct pool *p);

/** port_pool_take() - NULL: none is left. */
static inline uint8_t *port_pool_take(struct pool *p)
{
	return p->n_free ? p->base + (size_t)p->free[--p->n_free] * VM_FRAME_SIZE : NULL;
}

/** port_pool_give() - @at: anywhere in a frame that was taken. */
static inline void port_pool_give(struct pool *p, const uint8_t *at)
{
	p->free[p->n_free++] = (uint32_t)((size_t)(at - p->base) / VM_FRAME_SIZE);
}

/* ---- a port ----------------------------------------------------------------------------------- */

struct port;

struct port_ops {
	int (*open)(struct port *p, struct skep_err *err);
	void (*close)(struct port *p); /* after a failed open too */
	/* Up to VM_PORT_BATCH frames of the pool. 0: none now; -ENODATA: never again. */
	int (*receive)(struct port *p, struct vm_frame *frames, struct skep_err *err);
	int (*send)(struct port *p, struct vm_frame *f, bool keep);
	void (*flush)(struct port *p);	  /* what send() took leaves. May be NULL */
	int (*finish)(struct port *p);	  /* 0, or what was not written. May be NULL */
	uint64_t (*lost)(struct port *p); /* may be NULL */
	uint32_t frames;		  /* of the pool that it may hold at a time */
};

struct port {
	struct vm_port vm;
	const struct port_ops *ops;
	struct port_spec spec;
	struct ports *all;
	struct pool *pool;
	struct port *stack; /* of an AF_XDP port: a TAP that is not in the engine. NULL: none */
	int fd;		    /* to poll; -1: always ready */
	uint32_t device;    /* ifindex of the interface behind, 0: none */
	bool ended;
	const char *mode;
	void *own; /* the kind's */
};

extern const struct port_ops port_pcap_ops, port_packet_ops, port_xdp_ops, port_tap_ops;

/** port_device() - find the interface of the spec. 0, -ENODEV. */
int port_device(struct port *p, struct skep_err *err);
/** port_copy() - a frame of the pool with the same bytes; false: none is left. */
bool port_copy(struct port *p, const struct vm_frame *from, struct vm_frame *to);
/** port_xdp_shared() - the AF_XDP socket whose UMEM the pool is; -1: none yet. */
int port_xdp_shared(const struct ports *all);

#endif
