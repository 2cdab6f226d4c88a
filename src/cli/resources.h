/* SPDX-License-Identifier: Apache-2.0 */
/* resources.h: resources out of several files, folders and the standard input, as one text. */
#ifndef SKEP_CLI_RESOURCES_H
#define SKEP_CLI_RESOURCES_H

#include "base/buf.h"
#include "base/err.h"
#include "cli/option.h"

/* Where a file begins in the whole text. */
struct resources_part {
	char *name;
	unsigned line; /* lines before it */
};

struct resources {
	struct buf text;
	struct resources_part *parts;
	size_t n;
};

/**
 * resources_read() - all that --file names, in order; of a folder *.yaml, *.yml and *.json by name.
 *
 * Return: 0, or -errno with the path.
 */
int resources_read(struct resources *r, const struct args *a, struct skep_err *err);
void resources_done(struct resources *r);

#define RESOURCES_NAME "resources" /* what the agent shall call the text in messages */

/** resources_place() - "resources:LINE:" of a message becomes the file's name and its own line. */
void resources_place(const struct resources *r, struct skep_err *err);

#endif
