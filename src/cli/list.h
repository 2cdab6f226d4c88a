/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h: the SQL behind ps, conns and dns: filters and order are the store's work, not ours.
 */
#ifndef SKEP_CLI_LIST_H
#define SKEP_CLI_LIST_H

#include "base/base.h"
#include "base/buf.h"
#include "cli/option.h"
#include "cli/view.h"

/** list_sql() - add the SELECT that @a means: columns, or `*` for all, then what --tree needs. */
void list_sql(const struct args *a, struct buf *b);

/** list_columns() - the columns that @a shows: "pid,comm,...". */
const char *list_columns(const struct args *a);

/** list_quote() - add text as a literal of SQL. */
void list_quote(struct buf *b, const char *s);

#endif
