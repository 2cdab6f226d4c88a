// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <ctype.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#define HEAD_MAX 16384

struct answer {
	int fd;
	struct buf in; /* as it came */
	size_t body;   /* where the body begins */
	unsigned status;
	int64_t promised; /* Content-Length, -1 without */
};

static void answer_done(struct answer *a)
{
	fd_close(&a->fd);
	buf_done(&a->in);
}

static int refused(const struct client *c, int rc, struct skep_err *err)
{
	switch (rc) {
	case -EACCES:
	case -EPERM:
		return skep_fail(err, -EACCES,
				 "not permitted to use %s: become root or a member of group skep",
				 c->path);
	case -EAGAIN:
		return skep_fail(err, -ETIMEDOUT, "the agent on %s said nothing for %u ms", c->path,
				 c->timeout_ms);
	case -ECONNRESET:
	case -EPIPE:
		return skep_fail(err, -ENOTCONN, "the agent on %s hung up", c->path);
	default:
		return skep_fail(err, -ENOTCONN,
				 "no agent answers on %s: start one with `sudo skep up`", c->path);
	}
}

static int patience(int fd, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)))
		return -errno;
	return 0;
}

static int dial(const struct client *c, int *out, struct skep_err *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	cleanup(fd_close) int fd = -1;

	if (strlen(c->path) >= sizeof(sa.sun_path))
		return skep_fail(err, -ENAMETOOLONG, "socket path is longer than %zu bytes: %s",
				 sizeof(sa.sun_path) - 1, c->path);
	strcpy(sa.sun_path, c->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || patience(fd, c->timeout_ms))
		return skep_fail(err, -errno, "socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return refused(c, -errno, err);
	*out = take_fd(&fd);
	return 0;
}

static int request(const struct client *c, int fd, const char *method, const char *target,
		   const char *accept, const char *body, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};
	size_t done = 0;
	ssize_t n;

	buf_fmt(&b, "%s %s HTTP/1.0\r\nHost: localhost\r\nAccept: %s\r\n", method, target, accept);
	if (body)
		buf_fmt(&b, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			strlen(body));
	buf_fmt(&b, "\r\n%s", body ? body : "");
	if (!buf_ok(&b))
		return -ENOMEM;
	while (done < b.len) {
		n = send(fd, b.data + done, b.len - done, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return refused(c, -errno, err);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Return: bytes read, 0 at the end. */
static int more(const struct client *c, struct answer *a, struct skep_err *err)
{
	char part[65536];
	ssize_t n;

	do
		n = recv(a->fd, part, sizeof(part), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return refused(c, -errno, err);
	buf_add(&a->in, part, (size_t)n);
	return buf_ok(&a->in) ? (int)n : -ENOMEM;
}

static int parse_head(struct answer *a, struct skep_err *err)
{
	const char *length;

	if (sscanf(a->in.data, "HTTP/1.%*1[01] %3u", &a->status) != 1 || a->status < 100)
		return skep_fail(err, -EPROTO, "what answers is no agent: it does not speak HTTP");
	length = strcasestr(a->in.data, "\r\nContent-Length:");
	a->promised = length ? strtoll(length + strlen("\r\nContent-Length:"), NULL, 10) : -1;
	return 0;
}

static int read_head(const struct client *c, struct answer *a, struct skep_err *err)
{
	char *end = NULL;
	int rc;

	while (!end) {
		rc = more(c, a, err);
		if (rc < 0)
			return rc;
		end = a->in.len ? memmem(a->in.data, a->in.len, "\r\n\r\n", 4) : NULL;
		if (!end && (!rc || a->in.len > HEAD_MAX))
			return skep_fail(err, -EPROTO, "what answers is no agent: no HTTP head");
	}
	end[2] = '\0';
	a->body = (size_t)(end - a->in.data) + 4;
	return parse_head(a, err);
}

static int read_body(const struct client *c, struct answer *a, struct skep_err *err)
{
	size_t have;
	int rc;

	do {
		if (a->in.len - a->body > c->most || a->promised > (int64_t)c->most)
			return skep_fail(err, -EMSGSIZE, "the answer is larger than %zu bytes",
					 c->most);
		rc = more(c, a, err);
	} while (rc > 0);
	have = a->in.len - a->body;
	if (!rc && a->promised >= 0 && have < (size_t)a->promised)
		return skep_fail(err, -EPROTO, "the answer ended after %zu of %lld bytes", have,
				 (long long)a->promised);
	return rc;
}

/* The agent's own reason, from {"error": "..."}. */
static int refusal(const struct answer *a, struct skep_err *err)
{
	int rc = a->status == 401 || a->status == 403 ? -EACCES : a->status == 400 ? -EINVAL : -EIO;
	json_t *root = json_loadb(a->in.data + a->body, a->in.len - a->body, 0, NULL);
	const char *text = json_string_value(json_object_get(root, "error"));

	if (text)
		skep_fail(err, rc, "%s", text);
	else
		skep_fail(err, rc, "the agent answered with status %u", a->status);
	json_decref(root);
	return rc;
}

static int begin(const struct client *c, struct answer *a, const char *method, const char *target,
		 const char *accept, const char *body, struct skep_err *err)
{
	int rc = dial(c, &a->fd, err);

	if (!rc)
		rc = request(c, a->fd, method, target, accept, body, err);
	if (!rc)
		rc = read_head(c, a, err);
	if (!rc && a->status / 100 != 2) {
		rc = read_body(c, a, err);
		return rc ? rc : refusal(a, err);
	}
	return rc;
}

int client_call(const struct client *c, const char *method, const char *target, const char *body,
		struct buf *answer, struct skep_err *err)
{
	cleanup(answer_done) struct answer a = {.fd = -1};
	int rc = begin(c, &a, method, target, "application/json", body, err);

	if (!rc)
		rc = read_body(c, &a, err);
	if (rc)
		return rc;
	buf_clear(answer);
	buf_add(answer, a.in.data + a.body, a.in.len - a.body);
	return buf_ok(answer) ? 0 : -ENOMEM;
}

/* Hand over the whole lines of what came, keep the rest. */
static int lines(struct answer *a, client_line_fn fn, void *arg, struct skep_err *err)
{
	size_t at = a->body, n;
	char *end;
	int rc = 0;

	while (!rc && at < a->in.len && (end = memchr(a->in.data + at, '\n', a->in.len - at))) {
		n = (size_t)(end - a->in.data) - at;
		n -= n && end[-1] == '\r';
		rc = fn(arg, a->in.data + at, n);
		at = (size_t)(end - a->in.data) + 1;
	}
	a->in.len -= at;
	memmove(a->in.data, a->in.data + at, a->in.len);
	a->body = 0;
	if (!rc && a->in.len > CLIENT_LINE_MAX)
		return skep_fail(err, -EMSGSIZE, "a line of the stream is larger than %u bytes",
				 CLIENT_LINE_MAX);
	return rc;
}

int client_stream(const struct client *c, const char *target, client_line_fn fn, void *arg,
		  struct skep_err *err)
{
	cleanup(answer_done) struct answer a = {.fd = -1};
	int rc = begin(c, &a, "GET", target, "text/event-stream", NULL, err);

	if (!rc)
		rc = patience(a.fd, 0);
	while (!rc) {
		rc = lines(&a, fn, arg, err);
		if (rc)
			break;
		rc = more(c, &a, err);
		if (rc <= 0)
			break;
		rc = 0;
	}
	return rc;
}

void client_escape(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._~", *s))
			buf_chr(b, *s);
		else
			buf_fmt(b, "%%%02X", (unsigned char)*s);
	}
}
