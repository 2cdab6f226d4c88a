/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h: the program on interfaces, by links that may outlive the process.
 */
#ifndef SKEP_BALANCE_ATTACH_H
#define SKEP_BALANCE_ATTACH_H

#include "base/base.h"
#include "base/err.h"

#define ATTACH_MAX  16
#define ATTACH_NAME 16

struct attach {
	char name[ATTACH_NAME];
	int ifindex, fd; /* fd of the link, -1: none */
	bool generic;	 /* the driver has no XDP of its own */
};

/**
 * attach_pins() - make the folder for pins.
 *
 * Return: 0, -EOPNOTSUPP where it is on no bpffs, -errno.
 */
int attach_pins(const char *dir, struct skep_err *err);

/**
 * attach_open() - @prog on an interface.
 * @pins: NULL: detached when the process ends; else the link is pinned there, and one that is found
 *        pinned gets @prog instead of its program, without a packet in between
 */
int attach_open(struct attach *a, const char *name, int prog, const char *pins,
		struct skep_err *err);
void attach_done(struct attach *a);

/** attach_forget() - unpin links of interfaces that are not among @keep: detaches them. */
void attach_forget(const char *pins, const struct attach *keep, unsigned n);

/** attach_clear() - unpin everything in the folder. */
void attach_clear(const char *pins);

#endif
