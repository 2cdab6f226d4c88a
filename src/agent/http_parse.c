// SPDX-License-Identifier: Apache-2.0
#include "agent/http.h"

#include <ctype.h>

static int refuse(const char **why, int status, const char *text)
{
	*why = text;
	return status;
}

static bool token_char(unsigned char c)
{
	return isalnum(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex(unsigned char c)
{
	return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/*
 * Decodes [s, end) into @dst (which may be @s). Control characters are refused, escaped or not.
 * Return: length, or -EINVAL.
 */
static ssize_t decode(char *dst, size_t cap, const char *s, const char *end, bool plus)
{
	size_t n = 0;

	for (; s < end; s++) {
		int c = (unsigned char)*s;

		if (c == '%') {
			if (end - s < 3 || hex(s[1]) < 0 || hex(s[2]) < 0)
				return -EINVAL;
			c = hex(s[1]) << 4 | hex(s[2]);
			s += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (c < 0x20 || c == 0x7f || n + 1 >= cap)
			return -EINVAL;
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	return (ssize_t)n;
}

int http_param(const char **query, char *name, size_t name_cap, char *value, size_t value_cap)
{
	const char *p = *query, *end, *eq;

	while (*p == '&')
		p++;
	if (!*p)
		return 0;
	end = p + strcspn(p, "&");
	eq = memchr(p, '=', (size_t)(end - p));
	if (decode(name, name_cap, p, eq ? eq : end, true) < 0 ||
	    decode(value, value_cap, eq ? eq + 1 : end, end, true) < 0)
		return -EINVAL;
	*query = end;
	return 1;
}

static int method_parse(const char *s, enum http_method *out)
{
	static const struct {
		const char *name;
		enum http_method method;
	} methods[] = {{"GET", HTTP_GET}, {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}};
	unsigned i;

	for (i = 0; i < array_size(methods); i++) {
		if (!strcmp(s, methods[i].name)) {
			*out = methods[i].method;
			return 0;
		}
	}
	return 405;
}

static int target_parse(char *s, struct http_request *out, const char **why)
{
	size_t n = strlen(s);
	char *mark;
	size_t i;

	for (i = 0; i < n; i++)
		if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] >= 0x7f)
			return refuse(why, 400, "the request's target holds a bare byte");
	if (s[0] != '/')
		return refuse(why, 400, "the request's target must begin with /");
	mark = strchr(s, '?');
	out->query = mark ? mark + 1 : "";
	if (mark)
		*mark = '\0';
	out->path = s;
	if (decode(s, n + 1, s, mark ? mark : s + n, false) < 0)
		return refuse(why, 400, "the request's path has a bad escape");
	return 0;
}

/* METHOD SP TARGET SP HTTP/1.x */
static int line_parse(char *line, struct http_request *out, const char **why)
{
	char *target = strchr(line, ' '), *version, *p;

	if (!target)
		return refuse(why, 400, "this is no HTTP request");
	*target++ = '\0';
	for (p = line; *p; p++)
		if (!token_char((unsigned char)*p))
			return refuse(why, 400, "this is no HTTP request");
	version = strchr(target, ' ');
	if (!version || p == line)
		return refuse(why, 400, "this is no HTTP request");
	*version++ = '\0';
	if (strcmp(version, "HTTP/1.1") && strcmp(version, "HTTP/1.0"))
		return refuse(why, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
	out->keep = out->chunks = version[7] == '1';
	if (method_parse(line, &out->method))
		return refuse(why, 405, "only GET, HEAD and POST are known here");
	return target_parse(target, out, why);
}

static int length_parse(const char *s, size_t *out, const char **why)
{
	size_t n = strspn(s, "0123456789");

	if (!n || s[n])
		return refuse(why, 400, "Content-Length is no number");
	if (n > 12 || strtoull(s, NULL, 10) > HTTP_BODY_MAX)
		return refuse(why, 413, "the body may hold at most 64 MiB");
	*out = (size_t)strtoull(s, NULL, 10);
	return 0;
}

enum header_id {
	HOST,
	ORIGIN,
	COOKIE,
	AUTHORIZATION,
	ACCEPT,
	ACCEPT_ENCODING,
	CONTENT_LENGTH,
	CONNECTION,
	TRANSFER_ENCODING,
	EXPECT,
	HEADER_COUNT
};

static const char *const header_names[] = {
	[HOST] = "host",
	[ORIGIN] = "origin",
	[COOKIE] = "cookie",
	[AUTHORIZATION] = "authorization",
	[ACCEPT] = "accept",
	[ACCEPT_ENCODING] = "accept-encoding",
	[CONTENT_LENGTH] = "content-length",
	[CONNECTION] = "connection",
	[TRANSFER_ENCODING] = "transfer-encoding",
	[EXPECT] = "expect",
};

/* One line into @values; those that nobody here reads are only checked. */
static int header_parse(char *line, size_t n, const char *values[HEADER_COUNT], const char **why)
{
	char *colon = memchr(line, ':', n), *value, *end = line + n, *p;
	unsigned i;

	if (!colon || colon == line)
		return refuse(why, 400, "a header line has no name");
	for (p = line; p < colon; p++)
		if (!token_char((unsigned char)*p))
			return refuse(why, 400, "a header's name holds a bad character");
	for (p = colon; p < end; p++)
		if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
			return refuse(why, 400, "a header's value holds a control character");
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	for (i = 0; i < HEADER_COUNT; i++) {
		if (strcasecmp(line, header_names[i]))
			continue;
		if (values[i])
			return refuse(why, 400, "a header stands twice");
		values[i] = value;
	}
	return 0;
}

static int headers_take(const char *const values[HEADER_COUNT], struct http_request *out,
			const char **why)
{
	out->host = values[HOST];
	out->origin = values[ORIGIN];
	out->cookie = values[COOKIE];
	out->authorization = values[AUTHORIZATION];
	out->accept = values[ACCEPT];
	out->accept_encoding = values[ACCEPT_ENCODING];
	if (values[CONNECTION] && strcasestr(values[CONNECTION], "close"))
		out->keep = false;
	if (values[TRANSFER_ENCODING])
		return refuse(why, 501, "a body needs Content-Length here, not Transfer-Encoding");
	if (values[EXPECT] && strcasecmp(values[EXPECT], "100-continue"))
		return refuse(why, 417, "Expect may only ask for 100-continue");
	out->expects = values[EXPECT] != NULL;
	return values[CONTENT_LENGTH] ? length_parse(values[CONTENT_LENGTH], &out->length, why) : 0;
}

/* The end of a line that CR LF ends, which become NULs; NULL where CR, LF or NUL stand bare. */
static char *line_end(char *s, char *end)
{
	char *p;

	for (p = s; p < end; p++)
		if (*p == '\r' || *p == '\n' || !*p)
			break;
	if (p + 1 >= end || p[0] != '\r' || p[1] != '\n')
		return NULL;
	p[0] = p[1] = '\0';
	return p;
}

int http_parse(char *head, size_t n, struct http_request *out, const char **why)
{
	const char *values[HEADER_COUNT] = {NULL};
	char *line = head, *end = head + n, *eol;
	unsigned count;
	int status = 0;

	memset(out, 0, sizeof(*out));
	for (count = 0; line < end && !status; count++, line = eol + 2) {
		eol = line_end(line, end);
		if (!eol)
			return refuse(why, 400, "a line does not end in CR LF");
		if (count > HTTP_HEADERS_MAX)
			return refuse(why, 431, "the request has more than 100 headers");
		status = count ? header_parse(line, (size_t)(eol - line), values, why)
			       : line_parse(line, out, why);
	}
	if (!status && !count)
		return refuse(why, 400, "this is no HTTP request");
	return status ? status : headers_take(values, out, why);
}
