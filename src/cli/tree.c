// SPDX-License-Identifier: Apache-2.0
#include "cli/tree.h"

#define NONE SIZE_MAX

struct forest {
	const struct tree_node *nodes;
	size_t n;
	size_t *sorted; /* nodes by identity */
	size_t *parent, *child, *last, *next;
	bool *seen;
	struct tree_line *lines;
	size_t at;
};

static int compare_ids(const struct tree_node *a, int64_t pid, int64_t started)
{
	if (a->pid != pid)
		return a->pid < pid ? -1 : 1;
	return a->started < started ? -1 : a->started > started;
}

static int compare_nodes(const void *a, const void *b, void *arg)
{
	const struct tree_node *nodes = arg;
	const struct tree_node *y = &nodes[*(const size_t *)b];
	int order = compare_ids(&nodes[*(const size_t *)a], y->pid, y->started);

	return order ? order : *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

static size_t find(const struct forest *f, int64_t pid, int64_t started)
{
	size_t low = 0, high = f->n, mid;
	int order;

	while (pid && low < high) {
		mid = (low + high) / 2;
		order = compare_ids(&f->nodes[f->sorted[mid]], pid, started);
		if (!order)
			return f->sorted[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NONE;
}

/* Chains of children in the order of the nodes. */
static void link_up(struct forest *f)
{
	size_t i, p;

	for (i = 0; i < f->n; i++)
		f->parent[i] = f->child[i] = f->last[i] = f->next[i] = NONE;
	for (i = 0; i < f->n; i++) {
		p = find(f, f->nodes[i].ppid, f->nodes[i].parent_started);
		if (p == NONE || p == i)
			continue;
		f->parent[i] = p;
		if (f->child[p] == NONE)
			f->child[p] = i;
		else
			f->next[f->last[p]] = i;
		f->last[p] = i;
	}
}

/* @lead continues the drawing of @row's own line for the lines below it. */
static void place(struct forest *f, size_t row, const char *lead, bool root)
{
	struct tree_line *line = &f->lines[f->at++];
	bool last = f->next[row] == NONE;

	f->seen[row] = true;
	line->row = row;
	snprintf(line->lead, sizeof(line->lead), "%s%s", lead, root ? "" : last ? "└─ " : "├─ ");
}

/* What stands before the children of a line: its own lead with the branch drawn on. */
static void lead_below(const struct tree_line *line, bool root, bool last, char *out, size_t cap)
{
	int n = root ? 0 : (int)(strlen(line->lead) - strlen("└─ "));

	snprintf(out, cap, "%.*s%s", n, line->lead, root ? "" : last ? "   " : "│  ");
}

static void grow(struct forest *f, size_t top)
{
	char lead[TREE_DEPTH_MAX + 2][sizeof(f->lines->lead)];
	size_t row = top, down;
	unsigned depth = 0;

	lead[0][0] = '\0';
	while (row != NONE) {
		place(f, row, lead[min(depth, TREE_DEPTH_MAX)], row == top);
		down = f->child[row];
		if (down != NONE && !f->seen[down]) {
			depth++;
			if (depth <= TREE_DEPTH_MAX)
				lead_below(&f->lines[f->at - 1], row == top, f->next[row] == NONE,
					   lead[depth], sizeof(lead[depth]));
			row = down;
			continue;
		}
		while (row != top && (f->next[row] == NONE || f->seen[f->next[row]])) {
			row = f->parent[row];
			depth--;
		}
		row = row == top ? NONE : f->next[row];
	}
}

int tree_order(const struct tree_node *nodes, size_t n, struct tree_line *lines)
{
	struct forest f = {.nodes = nodes, .n = n, .lines = lines};
	cleanup(mem_free) size_t *room = calloc(5 * n + 1, sizeof(*room));
	cleanup(mem_free) bool *seen = calloc(n + 1, sizeof(*seen));
	size_t i;

	if (!room || !seen)
		return -ENOMEM;
	f.sorted = room;
	f.parent = room + n;
	f.child = room + 2 * n;
	f.last = room + 3 * n;
	f.next = room + 4 * n;
	f.seen = seen;
	for (i = 0; i < n; i++)
		f.sorted[i] = i;
	qsort_r(f.sorted, n, sizeof(*f.sorted), compare_nodes, (void *)(uintptr_t)nodes);
	link_up(&f);
	for (i = 0; i < n; i++)
		if (f.parent[i] == NONE)
			grow(&f, i);
	for (i = 0; i < n; i++)
		if (!seen[i])
			grow(&f, i);
	return 0;
}
