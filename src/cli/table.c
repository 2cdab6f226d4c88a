// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#define GAP	   2
#define FLEX_FLOOR 10

struct cell {
	size_t at, len;
	unsigned width;
	enum term_style style;
};

struct table {
	struct table_column columns[TABLE_COLUMNS_MAX];
	unsigned n;
	struct buf text;  /* of all cells */
	struct buf cells; /* of struct cell */
};

struct layout {
	unsigned width[TABLE_COLUMNS_MAX];
	bool gone[TABLE_COLUMNS_MAX];
};

int table_open(struct table **out, const struct table_column *columns, unsigned n)
{
	struct table *t;

	if (n > TABLE_COLUMNS_MAX)
		return -E2BIG;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	memcpy(t->columns, columns, n * sizeof(*columns));
	t->n = n;
	*out = t;
	return 0;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	buf_done(&t->text);
	buf_done(&t->cells);
	free(t);
}

void table_cell(struct table *t, enum term_style style, const char *text, size_t n)
{
	struct cell c = {t->text.len, n, term_width(text, n), style};

	buf_add(&t->text, text, n);
	buf_add(&t->cells, &c, sizeof(c));
}

static size_t cells_count(const struct table *t)
{
	return t->cells.len / sizeof(struct cell);
}

static const struct cell *cell_get(const struct table *t, size_t i)
{
	return (const struct cell *)(const void *)t->cells.data + i;
}

static void natural(const struct table *t, struct layout *l)
{
	size_t i, total = cells_count(t);
	unsigned c;

	for (c = 0; c < t->n; c++) {
		l->width[c] = term_width(t->columns[c].title, strlen(t->columns[c].title));
		l->width[c] = max(l->width[c], (unsigned)t->columns[c].least);
		l->gone[c] = false;
	}
	for (i = 0; i < total; i++)
		l->width[i % t->n] = max(l->width[i % t->n], cell_get(t, i)->width);
}

static unsigned sum(const struct table *t, const struct layout *l)
{
	unsigned c, width = 0;

	for (c = 0; c < t->n; c++)
		if (!l->gone[c])
			width += l->width[c] + (width ? GAP : 0);
	return width;
}

static unsigned floor_of(const struct table_column *c, bool hard)
{
	return hard ? 1 : c->floor ? c->floor : FLEX_FLOOR;
}

/* Take from the widest flexible column until it fits or all stand at their floor; @hard: at 1. */
static void shrink(const struct table *t, struct layout *l, unsigned width, bool hard)
{
	unsigned c, widest, over = sum(t, l);

	over = over > width ? over - width : 0;
	for (; over; over--) {
		widest = t->n;
		for (c = 0; c < t->n; c++)
			if (t->columns[c].flex && !l->gone[c] &&
			    l->width[c] > floor_of(&t->columns[c], hard) &&
			    (widest == t->n || l->width[c] >= l->width[widest]))
				widest = c;
		if (widest == t->n)
			return;
		l->width[widest]--;
	}
}

static bool leave_out(const struct table *t, struct layout *l)
{
	unsigned c, which = t->n;

	for (c = 0; c < t->n; c++)
		if (t->columns[c].drop && !l->gone[c] &&
		    (which == t->n || t->columns[c].drop > t->columns[which].drop))
			which = c;
	if (which < t->n)
		l->gone[which] = true;
	return which < t->n;
}

static void fit(const struct table *t, struct layout *l, unsigned width)
{
	struct layout whole;

	natural(t, l);
	if (!width)
		return;
	whole = *l;
	shrink(t, l, width, false);
	while (sum(t, l) > width && leave_out(t, &whole)) {
		*l = whole;
		shrink(t, l, width, false);
	}
	shrink(t, l, width, true);
}

static void cell_print(const struct table_column *column, unsigned width, const char *s, size_t n,
		       unsigned natural_width, bool last, struct buf *out)
{
	unsigned used;

	if (column->right && natural_width < width)
		buf_fmt(out, "%*s", (int)(width - natural_width), "");
	used = term_add(out, s, n, width);
	if (!column->right && !last)
		buf_fmt(out, "%*s", (int)(width - used), "");
}

static void head_print(const struct table *t, const struct layout *l, bool colour, unsigned last,
		       struct buf *out)
{
	const char *title;
	unsigned c;

	term_paint(out, colour, TERM_HEAD);
	for (c = 0; c < t->n; c++) {
		if (l->gone[c])
			continue;
		title = t->columns[c].title;
		cell_print(&t->columns[c], l->width[c], title, strlen(title),
			   term_width(title, strlen(title)), c == last, out);
		if (c != last)
			buf_fmt(out, "%*s", GAP, "");
	}
	term_paint(out, colour, TERM_PLAIN);
	buf_chr(out, '\n');
}

static void row_print(const struct table *t, const struct layout *l, const struct cell *row,
		      bool colour, unsigned last, struct buf *out)
{
	unsigned c;

	for (c = 0; c < t->n; c++) {
		if (l->gone[c])
			continue;
		if (row[c].style != TERM_PLAIN)
			term_paint(out, colour, row[c].style);
		cell_print(&t->columns[c], l->width[c], t->text.data + row[c].at, row[c].len,
			   row[c].width, c == last, out);
		if (row[c].style != TERM_PLAIN)
			term_paint(out, colour, TERM_PLAIN);
		if (c != last)
			buf_fmt(out, "%*s", GAP, "");
	}
	buf_chr(out, '\n');
}

int table_print(const struct table *t, unsigned width, bool colour, struct buf *out)
{
	unsigned c, last = 0;
	struct layout l;
	size_t i;

	if (!buf_ok(&t->text) || !buf_ok(&t->cells))
		return -ENOMEM;
	fit(t, &l, width);
	for (c = 0; c < t->n; c++)
		if (!l.gone[c])
			last = c;
	head_print(t, &l, colour, last, out);
	for (i = 0; i + t->n <= cells_count(t); i += t->n)
		row_print(t, &l, cell_get(t, i), colour, last, out);
	return buf_ok(out) ? 0 : -ENOMEM;
}
