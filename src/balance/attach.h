/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h: the program on interfaces, at XDP or at tc on the way in, by links that may outlive the
 * process; before Linux 6.6 at tc by a filter, which does so by itself.
 */
#ifndef SKEP_BALANCE_ATTACH_H
#define SKEP_BALANCE_ATTACH_H

#include <linux/bpf.h>

#include "base/base.h"
#include "base/err.h"

#define ATTACH_MAX  16
#define ATTACH_NAME 16

/* What Debian's headers do not have yet: BPF_TCX_INGRESS. */
#define ATTACH_TYPE_TCX ((enum bpf_attach_type)46)

enum attach_hook {
	ATTACH_XDP,
	ATTACH_XDP_DRIVER, /* not generic */
	ATTACH_TC,	   /* on the way in, before all others */
	ATTACH_PROBES_IN,  /* of tunnel.h: so too */
	ATTACH_PROBES_OUT, /* behind all others */
};

enum attach_how { ATTACH_NATIVE, ATTACH_GENERIC, ATTACH_TCX, ATTACH_FILTER, ATTACH_HOWS };

struct attach {
	char name[ATTACH_NAME];
	int ifindex, fd; /* fd of the link, -1: none */
	enum attach_how how;
};

/* What is wanted; strings are borrowed. */
struct attach_wish {
	const char *name; /* of the interface */
	enum attach_hook hook;
	int prog;
	const char *pins; /* NULL: a link ends with the process */
};

/**
 * attach_pins() - make the folder for pins.
 *
 * Return: 0, -EOPNOTSUPP where it is on no bpffs, -errno.
 */
int attach_pins(const char *dir, struct skep_err *err);

/**
 * attach_open() - a program on an interface.
 *
 * With pins the link is pinned there, and one that is found pinned gets the program instead of its own,
 * without a packet in between; so does a filter that is found.
 */
int attach_open(struct attach *a, const struct attach_wish *w, struct skep_err *err);
void attach_done(struct attach *a);

/**
 * attach_end() - detach for good what is pinned or a filter.
 * @w:	  prog is not looked at
 * @prog: id of a program; where another has taken its place since, that is left alone; 0: any
 */
void attach_end(const struct attach_wish *w, uint32_t prog);

/** attach_forget() - unpin links of interfaces that are not among @keep: detaches them. */
void attach_forget(const char *pins, const struct attach *keep, unsigned n);

/** attach_clear() - unpin everything in the folder. */
void attach_clear(const char *pins);

/* attach_filter.c: at tc of kernels without links there. Return: 0 or -errno; a program's id, 0: none. */
int attach_filter_make(int ifindex, enum attach_hook hook, int prog);
uint32_t attach_filter_find(int ifindex, enum attach_hook hook);
void attach_filter_end(int ifindex, enum attach_hook hook, uint32_t prog); /* as attach_end() */

#endif
