// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdarg.h>

#include "base/text.h"

void buf_done(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof(*b));
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool buf_ok(const struct buf *b)
{
	return !b->failed;
}

/* Room for @n bytes and a NUL. */
static bool grow(struct buf *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 256;
	char *p;

	if (b->failed || n > SIZE_MAX / 4 - b->len) {
		b->failed = true;
		return false;
	}
	if (b->len + n < b->cap)
		return true;
	while (cap <= b->len + n)
		cap *= 2;
	p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (!grow(b, n))
		return;
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_chr(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_i64(struct buf *b, int64_t v)
{
	char s[24], *p = s + sizeof(s);
	uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;

	do {
		*--p = (char)('0' + u % 10);
		u /= 10;
	} while (u);
	if (v < 0)
		*--p = '-';
	buf_add(b, p, (size_t)(s + sizeof(s) - p));
}

void buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && grow(b, (size_t)n)) {
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

static bool json_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void buf_json(struct buf *b, const char *s, size_t n)
{
	size_t i = 0, run;
	unsigned len;

	buf_chr(b, '"');
	while (i < n) {
		for (run = i; run < n && json_plain((unsigned char)s[run]); run++)
			;
		buf_add(b, s + i, run - i);
		i = run;
		if (i == n)
			break;
		len = text_utf8(s + i, n - i);
		if (s[i] == '"' || s[i] == '\\') {
			buf_fmt(b, "\\%c", s[i++]);
		} else if (len) {
			buf_add(b, s + i, len);
			i += len;
		} else if ((unsigned char)s[i] < 0x80) {
			buf_fmt(b, "\\u%04x", (unsigned char)s[i++]);
		} else {
			buf_str(b, "\\ufffd");
			i++;
		}
	}
	buf_chr(b, '"');
}
