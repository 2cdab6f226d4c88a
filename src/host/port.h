/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h: live packets for an engine: interfaces, TAPs and captures that XDP programs are linked to.
 *
 *	wire, veth, file --> port --> vm_port_receive() --> XDP_TX, XDP_REDIRECT --> port --> wire, file
 *	                       ^                       '--> XDP_PASS --> TAP of the port's stack
 *	                 one pool of frames below 4 GiB, the UMEM of all AF_XDP sockets
 *
 * A port is NAME=SPEC:
 *
 *	pcap:[IN][,OUT]              frames of a capture; what leaves is written to another
 *	packet:IFACE                 AF_PACKET beside the kernel's stack, which sees all frames too
 *	xdp:IFACE[/QUEUE][,stack=T]  AF_XDP in the stack's place; what is passed reaches it through TAP T
 *	tap:IFACE                    a TAP: the kernel's stack is the peer
 *
 * NAME is what programs are attached to: the port has the ifindex of the interface of that name; where
 * there is none, of the interface in SPEC; for captures one that no interface has.
 *
 * Not its business: what programs decide and where that leads (vm/port.h).
 */
#ifndef SKEP_HOST_PORT_H
#define SKEP_HOST_PORT_H

#include "base/err.h"
#include "vm/port.h"

#define PORT_MAX      16
#define PORT_NAME_MAX 32

enum port_kind { PORT_PCAP, PORT_PACKET, PORT_XDP, PORT_TAP };

/* NAME=SPEC, understood. */
struct port_spec {
	char name[PORT_NAME_MAX];
	enum port_kind kind;
	char device[256]; /* interface or capture to read; "" for none */
	char second[256]; /* capture to write, TAP towards the stack; "" for none */
	uint32_t queue;
};

/** port_parse() - Return: 0, -EINVAL with what was expected. */
int port_parse(struct port_spec *out, const char *text, struct skep_err *err);

struct ports;

#define PORTS_STAY ~0U

/**
 * ports_open() - open all ports and add them to @engine, which must outlive them.
 * @specs: NAME=SPEC
 *
 * Takes all memory. Loads a small program into the kernel for xdp.
 * Return: 0; -ENODEV, -EPERM, -EBUSY and the like with the port's name in @err.
 */
int ports_open(struct ports **out, struct skep_engine *engine, const char *const *specs, unsigned n,
	       struct skep_err *err);
void ports_free(struct ports *p);

/**
 * ports_run() - move frames until @stop is readable, @seconds are over (0: never), or nothing can come
 * any more: all ports are captures, read to their end. PORTS_STAY seconds: until @stop alone.
 *
 * Return: 0, -EBADMSG and the like of a capture that is damaged or cannot be written.
 */
int ports_run(struct ports *p, int stop, unsigned seconds, struct skep_err *err);

/* One of them, in the order of @specs; NULL behind the last. Borrowed. */
struct port_view {
	const char *name, *device;
	const char *mode; /* "AF_XDP copy", "AF_XDP zero-copy", "AF_PACKET" ... */
	uint32_t ifindex;
	const struct vm_port_count *count;
	uint64_t lost; /* before they came here: rings full, frames too long */
};
bool ports_view(struct ports *p, unsigned i, struct port_view *out);

#endif
