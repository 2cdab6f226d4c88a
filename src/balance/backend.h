/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h: a host that is a backend: it unpacks what balancers send.
 *
 * At XDP, or at tc where XDP cannot be had. What is pinned unpacks on when this process is killed, with
 * the addresses that the host had then; the next one takes its place without a packet in between.
 */
#ifndef SKEP_BALANCE_BACKEND_H
#define SKEP_BALANCE_BACKEND_H

#include "balance/attach.h"

#define BACKEND_PINS "/sys/fs/bpf/skep-backend"

struct backend;

enum backend_hook { BACKEND_ANY, BACKEND_XDP, BACKEND_TC };

struct backend_options {
	const char *interface;
	enum backend_hook hook; /* ANY: XDP of the driver, else tc */
	uint16_t gue_port;	/* UDP port of mode gue; 0: the usual one */
	const char *pins;	/* folder on a bpffs; "": nothing outlives this process */
};

/**
 * backend_open() - begin to unpack.
 *
 * SIGTERM and SIGINT are blocked from here on. Where the pins are on no bpffs it ends with the process.
 */
int backend_open(struct backend **out, const struct backend_options *o, struct skep_err *err);

/** backend_how() - "at tc (tcx), not at XDP: ...". */
const char *backend_how(const struct backend *b);

/** backend_second() - whether it has what was not asked for first. */
bool backend_second(const struct backend *b);

/** backend_wait() - until SIGTERM or SIGINT; reads this host's addresses each second. */
void backend_wait(struct backend *b);

/** backend_free() - unpacks no more. */
void backend_free(struct backend *b);

/* Who unpacks at an interface, seen from outside. */
struct backend_seen {
	enum attach_how how;
	uint64_t unpacked, handed_on, dropped;
};

/** backend_look() - Return: 0; -ENOENT where none of ours does; -errno. */
int backend_look(const char *interface, struct backend_seen *out);

/** backend_how_text() - "XDP (native)". */
const char *backend_how_text(enum attach_how how);

#endif
