// SPDX-License-Identifier: Apache-2.0
/*
 * A connection is in one state:
 *
 *	HEAD --> BODY --> REPLY --> HEAD         keep-alive
 *	  \________\________\_____> FLUSH --> LINGER --> freed
 *
 * HEAD with an empty input is idle. FLUSH sends what is pending; LINGER has shut down our half and
 * throws away what still comes, because closing with unread input would reset the connection and
 * lose the answer.
 *
 * H1. A connection is freed at one place, conn_free(), and never while `busy`: then it is only
 *     marked dead and run() frees it.
 * H2. After http_reply() and http_end() the caller does not touch the connection again.
 * H3. The gone callback comes at most once, and only between serve() and the end of the answer.
 * H4. Requests that wait in the input are not begun while more than LOW_WATER of answers pend.
 */
#include "agent/http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdarg.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buf.h"

#define LOW_WATER (64U << 10)

enum conn_state { CONN_HEAD, CONN_BODY, CONN_REPLY, CONN_FLUSH, CONN_LINGER };

struct http_conn {
	TAILQ_ENTRY(http_conn) link; /* in the order of their last sign of life, oldest first */
	struct http *http;
	struct bufferevent *bev;
	enum conn_state state;
	bool local;
	bool keep;
	bool head_only; /* HEAD: headers without a body */
	bool chunked;
	bool busy;
	bool dead;
	bool shut;	/* EV_READ is off: the input is full */
	bool begun;	/* bytes of the next request have come */
	bool cached;	/* the answer has its own Cache-Control */
	uint64_t since; /* seconds: state began, first byte came, or output was last taken */
	struct http_request request;
	char *head; /* what request borrows from */
	struct buf extra;
	void (*drained)(void *arg);
	void (*gone)(void *arg);
	void *watch_arg;
};

struct listener {
	struct listener *next;
	struct http *http;
	struct evconnlistener *lev;
	bool local;
};

struct http {
	struct event_base *base;
	struct http_ops ops;
	struct http_times times;
	struct http_stat stat;
	struct listener *listeners;
	size_t bodies; /* bytes promised by requests whose body is being read or answered */
	TAILQ_HEAD(, http_conn) conns;
};

static void run(struct http_conn *c);

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

/* ---- life of a connection ------------------------------------------------------------------ */

static void touch(struct http_conn *c)
{
	c->since = now();
	TAILQ_REMOVE(&c->http->conns, c, link);
	TAILQ_INSERT_TAIL(&c->http->conns, c, link);
}

static void request_done(struct http_conn *c)
{
	if (c->state == CONN_BODY || c->state == CONN_REPLY)
		c->http->bodies -= c->request.length;
	memset(&c->request, 0, sizeof(c->request));
	free(take(c->head));
	buf_clear(&c->extra);
	c->cached = false;
	c->drained = NULL;
	c->gone = NULL;
}

static void conn_free(struct http_conn *c)
{
	void (*gone)(void *) = c->gone;
	void *arg = c->watch_arg;

	if (c->busy) {
		c->dead = true;
		return;
	}
	request_done(c);
	TAILQ_REMOVE(&c->http->conns, c, link);
	c->http->stat.conns--;
	bufferevent_free(c->bev);
	buf_done(&c->extra);
	free(c);
	if (gone)
		gone(arg);
}

static void enter(struct http_conn *c, enum conn_state state)
{
	c->state = state;
	c->begun = false;
	touch(c);
}

/*
 * Reads on only while the input has room. (libevent's own high-water mark calls back for ever while
 * an input stays above it.)
 */
static void gate(struct http_conn *c)
{
	bool room = evbuffer_get_length(bufferevent_get_input(c->bev)) <
		    HTTP_HEAD_MAX + c->request.length;

	if (room && c->shut)
		bufferevent_enable(c->bev, EV_READ);
	else if (!room && !c->shut)
		bufferevent_disable(c->bev, EV_READ);
	c->shut = !room;
}

/* Sends what is pending, then closes. */
static void flush(struct http_conn *c)
{
	request_done(c);
	enter(c, CONN_FLUSH);
	evbuffer_drain(bufferevent_get_input(c->bev), SIZE_MAX);
	gate(c);
	if (!http_pending(c))
		bufferevent_trigger(c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
}

static void reply_done(struct http_conn *c)
{
	if (!c->keep) {
		flush(c);
		return;
	}
	evbuffer_drain(bufferevent_get_input(c->bev), c->request.length);
	request_done(c);
	enter(c, CONN_HEAD);
	c->begun = evbuffer_get_length(bufferevent_get_input(c->bev)) > 0;
	if (!c->busy)
		run(c);
}

/* ---- answers ------------------------------------------------------------------------------- */

static const char *status_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{200, "OK"},
		{302, "Found"},
		{304, "Not Modified"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{413, "Content Too Large"},
		{417, "Expectation Failed"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{505, "HTTP Version Not Supported"},
	};
	unsigned i;

	for (i = 0; i < array_size(texts); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "Status";
}

bool http_local(const struct http_conn *c)
{
	return c->local;
}

void http_header(struct http_conn *c, const char *name, const char *value)
{
	buf_fmt(&c->extra, "%s: %s\r\n", name, value);
	c->cached |= !strcasecmp(name, "Cache-Control");
}

/* Everything up to the body; @length SIZE_MAX: chunked, or until the end of the connection. */
static void head_send(struct http_conn *c, int status, const char *type, size_t length)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	c->http->stat.by_status[status]++;
	evbuffer_add_printf(
		out,
		"HTTP/1.1 %d %s\r\n"
		"Content-Type: %s\r\n"
		"X-Content-Type-Options: nosniff\r\n"
		"Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'; "
		"img-src 'self' data:; base-uri 'none'; form-action 'self'; "
		"frame-ancestors 'none'\r\n"
		"Referrer-Policy: no-referrer\r\n"
		"Cross-Origin-Resource-Policy: same-origin\r\n"
		"%s%s%s",
		status, status_text(status), type, c->cached ? "" : "Cache-Control: no-store\r\n",
		c->extra.len ? c->extra.data : "", c->keep ? "" : "Connection: close\r\n");
	if (length != SIZE_MAX)
		evbuffer_add_printf(out, "Content-Length: %zu\r\n\r\n", length);
	else
		evbuffer_add_printf(out, "%s\r\n",
				    c->chunked ? "Transfer-Encoding: chunked\r\n" : "");
}

void http_reply(struct http_conn *c, int status, const char *type, const void *body, size_t n)
{
	head_send(c, status, type, n);
	if (n && !c->head_only)
		bufferevent_write(c->bev, body, n);
	reply_done(c);
}

void http_error(struct http_conn *c, int status, const char *fmt, ...)
{
	cleanup(buf_done) struct buf b = {0};
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_str(&b, "{\"error\":");
	buf_json(&b, text, strlen(text));
	buf_str(&b, "}\n");
	http_reply(c, status, "application/json", b.data, b.len);
}

void http_stream(struct http_conn *c, int status, const char *type)
{
	c->chunked =
		c->request
			.chunks; /* else it ends with the connection, which HTTP/1.0 never keeps */
	head_send(c, status, type, SIZE_MAX);
}

void http_chunk(struct http_conn *c, const void *p, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (!n || c->head_only)
		return;
	if (c->chunked)
		evbuffer_add_printf(out, "%zx\r\n", n);
	evbuffer_add(out, p, n);
	if (c->chunked)
		evbuffer_add(out, "\r\n", 2);
}

void http_end(struct http_conn *c, bool complete)
{
	if (!complete) {
		c->gone = NULL;
		conn_free(c);
		return;
	}
	if (c->chunked && !c->head_only)
		bufferevent_write(c->bev, "0\r\n\r\n", 5);
	reply_done(c);
}

size_t http_pending(const struct http_conn *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->bev));
}

void http_watch(struct http_conn *c, void (*drained)(void *arg), void (*gone)(void *arg), void *arg)
{
	c->drained = drained;
	c->gone = gone;
	c->watch_arg = arg;
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Refuses and closes: what follows in the input cannot be trusted to begin a request. */
static void refuse(struct http_conn *c, int status, const char *why)
{
	c->keep = false;
	if (status == 405)
		http_header(c, "Allow", "GET, HEAD, POST");
	http_error(c, status, "%s", why);
}

/* The head is whole. Return: 0 or the status to refuse with. */
static int head_take(struct http_conn *c, size_t n, const char **why)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	int status;

	*why = "out of memory";
	c->head = malloc(n);
	if (!c->head)
		return 503;
	evbuffer_remove(in, c->head, n);
	status = http_parse(c->head, n - 2, &c->request, why);
	if (status) {
		c->request.length = 0;
		return status;
	}
	c->keep = c->request.keep;
	c->head_only = c->request.method == HTTP_HEAD;
	status = c->http->ops.admit(c->http->ops.arg, c, &c->request, why);
	if (status)
		return status;
	*why = "too many large requests at once";
	if (c->http->bodies + c->request.length > HTTP_BODIES_MAX)
		return 503;
	if (c->request.expects && c->request.length)
		bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	return 0;
}

/* Return: whether the state changed. */
static bool head_step(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	const char *why;
	int status;

	if (!evbuffer_get_length(in) || http_pending(c) > LOW_WATER) /* H4 */
		return false;
	if (end.pos < 0 || end.pos + 4 > (ssize_t)HTTP_HEAD_MAX) {
		if (evbuffer_get_length(in) < HTTP_HEAD_MAX)
			return false;
		refuse(c, 431, "the request's head may hold at most 16 KiB");
		return true;
	}
	c->head_only = false;
	status = head_take(c, (size_t)end.pos + 4, &why);
	if (status) {
		refuse(c, status, why);
		return true;
	}
	c->http->bodies += c->request.length;
	c->state = CONN_BODY; /* `since` stays: one limit for head and body */
	return true;
}

static bool body_step(struct http_conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	if (evbuffer_get_length(in) < c->request.length)
		return false;
	c->request.body = c->request.length
				  ? (const char *)evbuffer_pullup(in, (ssize_t)c->request.length)
				  : "";
	enter(c, CONN_REPLY);
	c->http->ops.serve(c->http->ops.arg, c, &c->request);
	return true;
}

/* As many steps as the input allows (H1). */
static void run(struct http_conn *c)
{
	bool more = true;

	c->busy = true;
	while (more && !c->dead) {
		switch (c->state) {
		case CONN_HEAD:
			more = head_step(c);
			break;
		case CONN_BODY:
			more = body_step(c);
			break;
		default:
			more = false;
		}
	}
	c->busy = false;
	if (c->dead)
		conn_free(c);
	else
		gate(c);
}

/* ---- events -------------------------------------------------------------------------------- */

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct http_conn *c = arg;

	if (c->state == CONN_FLUSH || c->state == CONN_LINGER) {
		evbuffer_drain(in, evbuffer_get_length(in));
		return;
	}
	/* The first byte of a request starts its clock. */
	if (c->state == CONN_HEAD && !c->begun) {
		c->begun = true;
		touch(c);
	}
	run(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	if (c->state == CONN_REPLY) {
		touch(c);
		if (c->drained)
			c->drained(c->watch_arg);
	} else if (c->state == CONN_FLUSH && !http_pending(c)) {
		shutdown(bufferevent_getfd(bev), SHUT_WR);
		enter(c, CONN_LINGER);
	} else if (c->state == CONN_HEAD) {
		run(c);
	}
}

static void on_event(maybe_unused struct bufferevent *bev, short what, void *arg)
{
	struct http_conn *c = arg;

	/* A client that has sent all it had still gets the answer that is on its way. */
	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) && http_pending(c) &&
	    (c->state == CONN_HEAD || c->state == CONN_FLUSH))
		flush(c);
	else
		conn_free(c);
}

static struct http_conn *oldest_idle(struct http *h)
{
	struct http_conn *c;

	TAILQ_FOREACH(c, &h->conns, link)
	if (c->state == CONN_HEAD && !c->begun)
		return c;
	return NULL;
}

int http_take(struct http *h, struct bufferevent *bev, bool local)
{
	struct http_conn *c = NULL, *old;

	if (h->stat.conns >= HTTP_CONNS_MAX) {
		old = oldest_idle(h);
		if (old)
			conn_free(old);
	}
	if (h->stat.conns < HTTP_CONNS_MAX)
		c = calloc(1, sizeof(*c));
	if (!c) {
		h->stat.refused++;
		bufferevent_free(bev);
		return -EBUSY;
	}
	c->http = h;
	c->bev = bev;
	c->local = local;
	h->stat.conns++;
	h->stat.accepted++;
	TAILQ_INSERT_TAIL(&h->conns, c, link);
	enter(c, CONN_HEAD);
	bufferevent_setcb(bev, on_read, on_write, on_event, c);
	bufferevent_setwatermark(bev, EV_WRITE, LOW_WATER, 0);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
	return 0;
}

static void on_accept(maybe_unused struct evconnlistener *lev, evutil_socket_t fd,
		      maybe_unused struct sockaddr *sa, maybe_unused int len, void *arg)
{
	struct listener *l = arg;
	struct bufferevent *bev = bufferevent_socket_new(l->http->base, fd, BEV_OPT_CLOSE_ON_FREE);

	if (bev)
		http_take(l->http, bev, l->local);
	else
		close(fd);
}

/* No descriptor to be had: look again at the next tick instead of spinning. */
static void on_accept_error(struct evconnlistener *lev, void *arg)
{
	struct listener *l = arg;

	l->http->stat.refused++;
	evconnlistener_disable(lev);
}

static bool late(const struct http *h, const struct http_conn *c, uint64_t age)
{
	switch (c->state) {
	case CONN_HEAD:
		return age >= (c->begun ? h->times.request : h->times.idle);
	case CONN_BODY:
		return age >= h->times.request;
	case CONN_REPLY:
		return http_pending(c) && age >= h->times.stall;
	case CONN_FLUSH:
		return age >= h->times.stall;
	default:
		return age > 1;
	}
}

void http_tick(struct http *h)
{
	struct http_conn *c, *next;
	uint64_t t = now();
	struct listener *l;

	for (c = TAILQ_FIRST(&h->conns); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (!late(h, c, t - c->since))
			continue;
		h->stat.timed_out += c->state != CONN_LINGER;
		if (c->state == CONN_BODY || (c->state == CONN_HEAD && c->begun))
			refuse(c, 408, "the request took longer than its time");
		else
			conn_free(c);
	}
	for (l = h->listeners; l; l = l->next)
		evconnlistener_enable(l->lev);
}

/* ---- the server ---------------------------------------------------------------------------- */

int http_open(struct http **out, struct event_base *base, const struct http_ops *ops,
	      const struct http_times *times)
{
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->base = base;
	h->ops = *ops;
	h->times = times ? *times : (struct http_times){.request = 10, .idle = 60, .stall = 30};
	TAILQ_INIT(&h->conns);
	*out = h;
	return 0;
}

void http_free(struct http *h)
{
	struct listener *l;

	if (!h)
		return;
	while ((l = h->listeners)) {
		h->listeners = l->next;
		evconnlistener_free(l->lev);
		free(l);
	}
	while (!TAILQ_EMPTY(&h->conns))
		conn_free(TAILQ_FIRST(&h->conns));
	free(h);
}

int http_listen(struct http *h, int fd, bool local, struct skep_err *err)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l)
		l->lev = evconnlistener_new(h->base, on_accept, l,
					    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 512, fd);
	if (!l || !l->lev) {
		free(l);
		close(fd);
		return skep_fail(err, -EINVAL, "cannot listen: %s", strerror(errno));
	}
	l->http = h;
	l->local = local;
	l->next = h->listeners;
	h->listeners = l;
	evconnlistener_set_error_cb(l->lev, on_accept_error);
	return 0;
}

const struct http_stat *http_stat(const struct http *h)
{
	return &h->stat;
}
