/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.h: bytes that grow. Failure to allocate is remembered, not returned at each step: build, then
 * look at buf_ok() once.
 */
#ifndef SKEP_BASE_BUF_H
#define SKEP_BASE_BUF_H

#include "base/base.h"

struct buf {
	char *data; /* NUL behind the last byte once anything was added */
	size_t len;
	size_t cap;
	bool failed; /* out of memory: content is incomplete */
};

void buf_done(struct buf *b);
void buf_clear(struct buf *b); /* empties, keeps the memory */
bool buf_ok(const struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, const char *s);
void buf_chr(struct buf *b, char c);
void buf_i64(struct buf *b, int64_t v); /* decimal */
void buf_fmt(struct buf *b, const char *fmt, ...) printf_like(2, 3);

/** buf_json() - add @n bytes of UTF-8 as a quoted JSON string; invalid UTF-8 becomes U+FFFD. */
void buf_json(struct buf *b, const char *s, size_t n);

#endif
