/* SPDX-License-Identifier: Apache-2.0 */
/* happened.h: the table "backend" and the event balance.backend. */
#ifndef SKEP_BALANCE_HAPPENED_H
#define SKEP_BALANCE_HAPPENED_H

#include "balance/config.h"
#include "cap/cap.h"

/** happened_open() - add the table. *@out is the store's. Nothing where there is no store. */
int happened_open(struct store_table **out, const struct cap_env *env, struct skep_err *err);

/** happened_backend() - it went up or down. */
void happened_backend(struct store_table *t, const struct cap_env *env, const char *service,
		      const struct config_addr *backend, bool up, const char *reason);

#endif
