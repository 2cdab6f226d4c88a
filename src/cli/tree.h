/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h: rows in the order of a tree, each with the lines that draw it: "│  ├─ ".
 */
#ifndef SKEP_CLI_TREE_H
#define SKEP_CLI_TREE_H

#include "base/base.h"

#define TREE_DEPTH_MAX 32U /* deeper rows are drawn at this depth */

/* Who a row is and whose child; a pid of 0 is nobody. */
struct tree_node {
	int64_t pid, started;
	int64_t ppid, parent_started;
};

struct tree_line {
	size_t row; /* index of the node */
	char lead[TREE_DEPTH_MAX * 8 + 1];
};

/**
 * tree_order() - parents before children, siblings in the order of @nodes.
 * @lines: @n of them; every node stands in it once, also where parents form a ring
 *
 * Return: 0, -ENOMEM.
 */
int tree_order(const struct tree_node *nodes, size_t n, struct tree_line *lines);

#endif
