/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h: where frames come from and go to: an interface index that XDP programs are linked to.
 *
 *	frames --> vm_port_receive --> the program linked to the port's ifindex, once a frame
 *	                                 |  XDP_TX          -> send() of the same port
 *	                                 |  XDP_REDIRECT    -> send() of the port with that ifindex
 *	                                 |  XDP_PASS        -> tcx ingress -> pass(): the stack behind
 *	                                 |                       (port_tc.c)
 *	                                 '  else            counted; the frame is its owner's again
 *
 * P1  All ports of an engine are driven by one thread at a time: the owner's between vm_ports_begin() and
 *     vm_ports_end(), or one that runs a program on live frames (BPF_PROG_TEST_RUN), which goes first.
 *     No port comes or goes then; programs, links and maps may.
 * P2  A frame has one owner. send() and pass() may take it (frame->taken); whoever received it frees
 *     those that nobody took.
 * P3  Nothing here allocates.
 *
 * Not its business: sockets, rings, files (host).
 */
#ifndef SKEP_VM_PORT_H
#define SKEP_VM_PORT_H

#include "base/base.h"
#include "skep/engine.h"

#define VM_FRAME_SIZE 4096U /* bytes at frame.buf */
#define VM_FRAME_HEAD 256U  /* before a frame that comes in, as XDP_PACKET_HEADROOM */
#define VM_FRAME_TAIL 320U  /* behind any: the kernel keeps its struct skb_shared_info there */
#define VM_FRAME_MAX  (VM_FRAME_SIZE - VM_FRAME_HEAD - VM_FRAME_TAIL)
#define VM_PORT_BATCH 64U

struct vm_frame {
	uint8_t *buf; /* below 4 GiB */
	uint32_t start, len;
	uint64_t time; /* ns since the Unix epoch, where a capture told; 0: now */
	bool taken;
};

struct vm_port_count {
	uint64_t received, bytes;
	uint64_t aborted, drop, pass, tx, redirect; /* what programs decided */
	uint64_t sent, passed;			    /* what became of it; also for other ports */
	uint64_t unsent;			    /* the port could not */
	uint64_t unpassed;			    /* no stack is behind it */
	uint64_t astray;			    /* redirected to what is no port */
	uint64_t tc[8]; /* what chains of sched_cls programs decided, by TC_ACT_ */
};

#define VM_TCX_MAX 63 /* programs at one hook, as the kernel's bpf_mprog_max() */

/* What stands at a hook of a port, taken for the turn (T4 of port_tc.c). */
struct vm_chain {
	struct prog *progs[VM_TCX_MAX];
	unsigned n;
	uint32_t change; /* of the engine's tcx_changes */
	bool taken;
};

struct vm_port;

struct vm_port_ops {
	/**
	 * send() - a frame leaves by this port, at the latest when the round is over.
	 * @keep: others want it too: copy it, do not take it
	 *
	 * Return: 0, -errno: it is lost.
	 */
	int (*send)(struct vm_port *p, struct vm_frame *f, bool keep);
	/* To the stack behind the port. -EOPNOTSUPP: there is none. */
	int (*pass)(struct vm_port *p, struct vm_frame *f);
	/**
	 * lend() - buffers for up to VM_PORT_BATCH frames that nothing brought. Return: how many.
	 *
	 * This and settle() may be NULL: then live frames are not served.
	 */
	unsigned (*lend)(struct vm_port *p, struct vm_frame *frames, unsigned n);
	/* Those that nobody took are the port's again; what any port was sent leaves. */
	void (*settle)(struct vm_port *p, const struct vm_frame *frames, unsigned n);
};

struct vm_port {
	const struct vm_port_ops *ops;
	uint32_t ifindex; /* not 0 */
	uint32_t queue;	  /* xdp_md.rx_queue_index */
	struct vm_port_count count;
	struct skep_engine *engine; /* the rest is port.c's and port_tc.c's */
	struct vm_port *next;
	struct vm_chain chains[2]; /* ingress, egress */
};

/**
 * vm_port_add() - from now on links may be made to the ifindex of @p, which stays the caller's.
 *
 * Return: 0, -EEXIST: another port has it.
 */
int vm_port_add(struct skep_engine *e, struct vm_port *p);
/** vm_port_remove() - links to its ifindex stay, idle. Nothing for a port that was not added. */
void vm_port_remove(struct vm_port *p);

/** vm_ports_begin() - drive ports until vm_ports_end(). */
void vm_ports_begin(struct skep_engine *e);
void vm_ports_end(struct skep_engine *e);

/** vm_port_linked() - is a program linked to the port's ifindex? */
bool vm_port_linked(const struct vm_port *p);

/**
 * vm_port_receive() - run what is linked to the port's ifindex on each frame, and obey it.
 *
 * Without a program frames are passed. A fault of interpreted code is XDP_ABORTED.
 */
void vm_port_receive(struct vm_port *p, struct vm_frame *frames, unsigned n);

/** vm_port_leave() - what the stack behind the port sends: through tcx egress and out. */
void vm_port_leave(struct vm_port *p, struct vm_frame *f);

#endif
