/* SPDX-License-Identifier: Apache-2.0 */
/* wanted.h: the services that are wanted, as whole files, additions and removals make them. */
#ifndef SKEP_BALANCE_WANTED_H
#define SKEP_BALANCE_WANTED_H

#include "balance/fleet.h"
#include "cap/cap.h"

/* One change at work: undone or kept, as the fleet takes it or not. */
struct wanted_change {
	struct config_set before; /* as it was; its services are also in the set or in gone */
	struct config_set fresh;  /* services that came in */
	struct config_set gone;	  /* that went */
};

/**
 * wanted_change() - @set as it is with @text. wanted_keep() or wanted_undo() is due after success.
 * @notes: what was left out and why, a line each
 *
 * Of a Service of Kubernetes that is merged those ports go that it no longer has.
 *
 * Return: 0, -EINVAL (@set is as it was), -ENOENT for a name that is not wanted.
 */
int wanted_change(struct config_set *set, struct wanted_change *c, enum cap_change change,
		  const char *file, const char *text, size_t len, struct buf *notes,
		  struct skep_err *err);
void wanted_keep(struct config_set *set, struct wanted_change *c);
void wanted_undo(struct config_set *set, struct wanted_change *c);

#endif
