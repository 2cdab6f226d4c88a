/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.h: how a table of the store is shown: which columns, in what SQL, under what title, in which
 * form. Any column of the table can be asked for; those that a view names are shown its way.
 *
 * Not its business: fetching (rows.h) and layout (table.h).
 */
#ifndef SKEP_CLI_VIEW_H
#define SKEP_CLI_VIEW_H

#include "base/base.h"
#include "base/buf.h"
#include "cli/table.h"

#include <jansson.h>

enum view_format {
	VIEW_TEXT,
	VIEW_NUMBER,
	VIEW_BYTES,
	VIEW_TIME,	/* ns since the epoch as local time */
	VIEW_AGE,	/* ns since the epoch as time gone by */
	VIEW_SPAN,	/* ns */
	VIEW_US,	/* microseconds */
	VIEW_USER,	/* user id */
	VIEW_DIRECTION, /* in, out as an arrow */
	VIEW_STATE,	/* red where it begins with "failed" */
	VIEW_ID,	/* a container's id, short */
};

struct view_column {
	const char *key;
	const char *title;
	const char *sql;  /* NULL: key */
	const char *sort; /* NULL: sql */
	enum view_format format;
	bool flex;
	uint8_t drop, floor; /* table.h */
};

struct view_field {
	const char *name;
	const char *title;
	bool number;
};

struct view {
	const char *table;
	const char *usual; /* "a,b,c": columns shown */
	const char *ended; /* with --all */
	const char *wide;  /* with --wide */
	const struct view_column *columns;
	unsigned n_columns;
	const struct view_field *fields; /* all columns of the table */
	unsigned n_fields;
};

extern const struct view view_process, view_connection, view_dns;

/** view_column_get() - how @name is shown. Return: false where the view has no such column. */
bool view_column_get(const struct view *v, const char *name, size_t n, struct view_column *out);

/** view_names() - all names that view_column_get() knows, each once. */
void view_names(const struct view *v, const char *separator, struct buf *b);

/** view_plain() - how a column of that name in a free query is shown. */
struct view_column view_plain(const char *name);

/** view_table_column() - layout of a column; @numbers: all its cells are numbers. */
struct table_column view_table_column(const struct view_column *c, bool numbers);

/** view_cell() - add one value to a table in its column's form; @before is put in front of it. */
void view_cell(struct table *t, const struct view_column *c, const json_t *value,
	       const char *before, int64_t now);

#endif
