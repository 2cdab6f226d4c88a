/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page.h: the page's files inside the binary, made by tools/embed.
 */
#ifndef SKEP_AGENT_PAGE_H
#define SKEP_AGENT_PAGE_H

#include "agent/http.h"

struct page_file {
	const char *path; /* "/index.html", "/assets/index-4f2a.js" */
	const unsigned char *gz;
	size_t size;
};

/* Weak, because a test may be linked without a page. */
extern const struct page_file page_files[] __attribute__((weak));
extern const size_t page_files_count __attribute__((weak));

/**
 * page_find() - the file for a path.
 *
 * A path without an extension that is no file is a place within the page: index.html.
 *
 * Return: NULL where there is none.
 */
const struct page_file *page_find(const struct page_file *files, size_t n, const char *path);

const char *page_type(const char *path);

/** page_reply() - as gzip where the client takes it. */
void page_reply(struct http_conn *c, const struct http_request *r, const struct page_file *f);

#endif
