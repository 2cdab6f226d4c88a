// SPDX-License-Identifier: Apache-2.0
#include "agent/page.h"

#include <zlib.h>

#define PLAIN_MAX (16U << 20)

const struct page_file *page_find(const struct page_file *files, size_t n, const char *path)
{
	const char *name = strrchr(path, '/'), *want = path;
	size_t i;

	if (!name || !strchr(name, '.'))
		want = "/index.html";
	for (i = 0; i < n; i++)
		if (!strcmp(files[i].path, want))
			return &files[i];
	return NULL;
}

const char *page_type(const char *path)
{
	static const struct {
		const char *ext, *type;
	} types[] = {
		{".html", "text/html; charset=utf-8"},
		{".js", "text/javascript; charset=utf-8"},
		{".css", "text/css; charset=utf-8"},
		{".json", "application/json"},
		{".svg", "image/svg+xml"},
		{".png", "image/png"},
		{".ico", "image/x-icon"},
		{".woff2", "font/woff2"},
		{".txt", "text/plain; charset=utf-8"},
	};
	const char *ext = strrchr(path, '.');
	unsigned i;

	for (i = 0; ext && i < array_size(types); i++)
		if (!strcmp(ext, types[i].ext))
			return types[i].type;
	return "application/octet-stream";
}

/* gzip ends in the length of what it holds. Return: allocated, NULL where it does not unpack. */
static char *gunzip(const struct page_file *f, size_t *n)
{
	z_stream z = {.next_in = (unsigned char *)f->gz, .avail_in = (unsigned)f->size};
	const unsigned char *end = f->gz + f->size;
	char *out;
	int rc;

	if (f->size < 18)
		return NULL;
	*n = (size_t)end[-4] | (size_t)end[-3] << 8 | (size_t)end[-2] << 16 | (size_t)end[-1] << 24;
	out = *n <= PLAIN_MAX ? malloc(*n + 1) : NULL;
	if (!out || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
		free(out);
		return NULL;
	}
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)*n + 1;
	rc = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	if (rc == Z_STREAM_END && z.total_out == *n)
		return out;
	free(out);
	return NULL;
}

void page_reply(struct http_conn *c, const struct http_request *r, const struct page_file *f)
{
	bool hashed = !strncmp(f->path, "/assets/", 8);
	cleanup(mem_free) char *plain = NULL;
	size_t n = 0;

	http_header(c, "Cache-Control",
		    hashed ? "public, max-age=31536000, immutable" : "no-cache");
	http_header(c, "Vary", "Accept-Encoding");
	if (r->accept_encoding && strstr(r->accept_encoding, "gzip")) {
		http_header(c, "Content-Encoding", "gzip");
		http_reply(c, 200, page_type(f->path), f->gz, f->size);
		return;
	}
	plain = gunzip(f, &n);
	if (plain)
		http_reply(c, 200, page_type(f->path), plain, n);
	else
		http_error(c, 500, "%s does not unpack", f->path);
}
