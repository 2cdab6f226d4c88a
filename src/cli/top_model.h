/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_model.h: what `skep top` shows, without a terminal: two panes of rows, rates from successive
 * samples, the order, the filter and the selected line.
 */
#ifndef SKEP_CLI_TOP_MODEL_H
#define SKEP_CLI_TOP_MODEL_H

#include "base/base.h"
#include "cli/rows.h"
#include "cli/table.h"

enum top_pane { TOP_PROCESSES, TOP_CONNECTIONS, TOP_PANES };

#define TOP_COLUMNS_MAX 12
#define TOP_FILTER_MAX	64

/* What the agent is asked; top_model_update() takes the answers. */
extern const char *const top_sql[TOP_PANES];

struct top_line; /* a process or a connection */

struct top_state {
	unsigned sort;	/* column */
	bool largest;	/* first */
	char title[32]; /* of that column, with an arrow */
	size_t *order;	/* lines shown: index into lines */
	size_t shown;
	size_t selected; /* index into order */
	uint64_t selected_id;
};

struct top_model {
	enum top_pane pane; /* in front */
	struct rows rows[TOP_PANES];
	struct top_line *lines[TOP_PANES];
	size_t n[TOP_PANES];
	struct top_state state[TOP_PANES];
	char filter[TOP_FILTER_MAX];
	int64_t now;  /* of the last sample, ns since the epoch */
	bool sampled; /* there was one before it */
	double rate;  /* bytes a second sent, sum of all connections */
};

void top_model_init(struct top_model *m);
void top_model_done(struct top_model *m);

/**
 * top_model_update() - take one sample.
 * @rows: one result for each pane; taken, also on failure
 * @now:  when they were seen, ns since the epoch
 *
 * Return: 0, -ENOMEM, -EPROTO where the columns are not those of top_sql.
 */
int top_model_update(struct top_model *m, struct rows rows[TOP_PANES], int64_t now);

enum top_key {
	TOP_KEY_UP,
	TOP_KEY_DOWN,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_PANE,	   /* the other one */
	TOP_KEY_SORT,	   /* by the next column */
	TOP_KEY_SORT_BACK, /* by the one before */
	TOP_KEY_REVERSE,
};

/** top_model_key() - @page: lines that the terminal shows of the pane. */
void top_model_key(struct top_model *m, enum top_key key, size_t page);

/** top_model_filter() - show only lines that hold @text in any column, case apart. */
void top_model_filter(struct top_model *m, const char *text);

/** top_model_first() - the line at the top of a page of @page that holds the selected one. */
size_t top_model_first(const struct top_model *m, size_t page);

/** top_model_table() - up to @page lines of the pane in front from line @first. */
int top_model_table(const struct top_model *m, size_t first, size_t page, struct table **out);

#endif
