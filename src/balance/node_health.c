// SPDX-License-Identifier: Apache-2.0
#include "balance/node_health.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uthash.h>

#include "balance/child.h"

#define CLIENTS_MAX 64	 /* at one time; the others wait */
#define REQUEST_MAX 4096 /* bytes until the empty line */
#define PATIENCE_S  5

/* To the child: what to answer at a port. From it: that it cannot. */
struct word {
	uint16_t port;
	bool stop;	/* no more of it */
	uint32_t local; /* backends here that take new flows */
	int rc;		/* from the child: of listening there */
	char service[CONFIG_NAME_MAX];
};

/* ---- the child ------------------------------------------------------------------------------- */

struct door {
	UT_hash_handle hh; /* by word.port */
	struct word word;
	struct evconnlistener *listener;
	struct answers *answers;
};

struct answers {
	struct event_base *base;
	int fd;
	unsigned clients;
	struct door *doors;
};

struct client {
	struct answers *answers;
	struct bufferevent *bev;
	struct event *late; /* its time is over, however it comes */
	uint16_t port;
	bool answered;
};

static void client_free(struct client *c)
{
	c->answers->clients--;
	bufferevent_free(c->bev);
	event_free(c->late);
	free(c);
}

/* A Service of Kubernetes is NAMESPACE/NAME:PORT here. */
static void body_add(struct buf *b, const struct word *w)
{
	const char *slash = strchr(w->service, '/'), *name = slash ? slash + 1 : w->service;

	buf_str(b, "{\"service\":{\"namespace\":");
	buf_json(b, w->service, slash ? (size_t)(slash - w->service) : 0);
	buf_str(b, ",\"name\":");
	buf_json(b, name, slash ? strcspn(name, ":") : strlen(name));
	buf_fmt(b, "},\"localEndpoints\":%u}\n", w->local);
}

static void answer(struct client *c, const struct word *w)
{
	cleanup(buf_done) struct buf body = {0};
	struct evbuffer *out = bufferevent_get_output(c->bev);

	body_add(&body, w);
	evbuffer_add_printf(out,
			    "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
			    "X-Content-Type-Options: nosniff\r\nContent-Length: %zu\r\n"
			    "X-Load-Balancing-Endpoint-Weight: %u\r\nConnection: close\r\n\r\n%s",
			    w->local ? "200 OK" : "503 Service Unavailable", body.len, w->local,
			    buf_ok(&body) ? body.data : "");
	c->answered = true;
	bufferevent_disable(c->bev, EV_READ);
}

static void on_request(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct client *c = arg;
	struct door *d;

	if (evbuffer_search(in, "\r\n\r\n", 4, NULL).pos < 0) {
		if (evbuffer_get_length(in) >= REQUEST_MAX)
			client_free(c);
		return;
	}
	HASH_FIND(hh, c->answers->doors, &c->port, sizeof(c->port), d);
	if (d)
		answer(c, &d->word);
	else
		client_free(c);
}

static void on_sent(struct bufferevent *bev maybe_unused, void *arg)
{
	struct client *c = arg;

	if (c->answered)
		client_free(c);
}

static void on_gone(struct bufferevent *bev maybe_unused, short what maybe_unused, void *arg)
{
	client_free(arg);
}

static void on_late(evutil_socket_t fd maybe_unused, short what maybe_unused, void *arg)
{
	client_free(arg);
}

static void on_client(struct evconnlistener *l, evutil_socket_t fd,
		      struct sockaddr *from maybe_unused, int size maybe_unused, void *arg)
{
	struct timeval patience = {.tv_sec = PATIENCE_S};
	struct door *d = arg;
	struct client *c = d->answers->clients < CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;

	(void)l;
	if (c)
		c->late = evtimer_new(d->answers->base, on_late, c);
	if (c && c->late)
		c->bev = bufferevent_socket_new(d->answers->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		if (c && c->late)
			event_free(c->late);
		free(c);
		close(fd);
		return;
	}
	c->answers = d->answers;
	c->answers->clients++;
	c->port = d->word.port;
	bufferevent_setwatermark(c->bev, EV_READ, 0, REQUEST_MAX);
	bufferevent_setcb(c->bev, on_request, on_sent, on_gone, c);
	evtimer_add(c->late, &patience);
	bufferevent_enable(c->bev, EV_READ);
}

static int listen_at(struct door *d)
{
	const unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(d->word.port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(d->word.port)};

	/* both families by one socket, unless the host has no IPv6 */
	d->listener = evconnlistener_new_bind(d->answers->base, on_client, d, flags, 64,
					      (struct sockaddr *)&any, sizeof(any));
	if (!d->listener && errno == EAFNOSUPPORT)
		d->listener = evconnlistener_new_bind(d->answers->base, on_client, d, flags, 64,
						      (struct sockaddr *)&four, sizeof(four));
	return d->listener ? 0 : -errno;
}

static void door_close(struct answers *a, struct door *d)
{
	HASH_DEL(a->doors, d);
	if (d->listener)
		evconnlistener_free(d->listener);
	free(d);
}

static void word_take(struct answers *a, const struct word *w)
{
	struct word said = *w;
	struct door *d;

	HASH_FIND(hh, a->doors, &w->port, sizeof(w->port), d);
	if (d && w->stop)
		door_close(a, d);
	if (w->stop)
		return;
	if (!d) {
		d = calloc(1, sizeof(*d));
		if (!d)
			return;
		d->answers = a;
		d->word = *w;
		HASH_ADD(hh, a->doors, word.port, sizeof(d->word.port), d);
	}
	d->word = *w;
	if (d->listener)
		return;
	said.rc = listen_at(d);
	if (said.rc)
		door_close(a, d);
	send(a->fd, &said, sizeof(said), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_word(evutil_socket_t fd, short what maybe_unused, void *arg)
{
	struct answers *a = arg;
	struct word w;
	ssize_t n = recv(fd, &w, sizeof(w), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(w))
		word_take(a, &w);
	else if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		event_base_loopbreak(a->base);
}

static void run(int fd, bool nobody maybe_unused, void *arg maybe_unused)
{
	struct answers a = {.fd = fd, .base = event_base_new()};
	struct event *words =
		a.base ? event_new(a.base, fd, EV_READ | EV_PERSIST, on_word, &a) : NULL;

	if (!words)
		return;
	event_add(words, NULL);
	event_base_dispatch(a.base);
}

/* ---- the agent ------------------------------------------------------------------------------- */

struct told {
	UT_hash_handle hh; /* by word.port */
	struct word word, sent;
	uint32_t seen; /* number of the sync that wanted it */
	int rc;	       /* of listening */
};

struct node_health {
	int fd;
	struct told *told;
	uint32_t syncs;
	bool dead; /* the child is */
	char trouble[80];
};

int node_health_open(struct node_health **out, struct skep_err *err)
{
	struct node_health *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return -ENOMEM;
	rc = child_start("skep-nodehealth", run, NULL, &h->fd);
	if (rc) {
		free(h);
		return skep_fail(err, rc, "start what answers at health check node ports: %s",
				 strerror(-rc));
	}
	*out = h;
	return 0;
}

void node_health_free(struct node_health *h)
{
	struct told *x, *next;

	if (!h)
		return;
	HASH_ITER (hh, h->told, x, next) {
		HASH_DEL(h->told, x);
		free(x);
	}
	fd_close(&h->fd);
	free(h);
}

static uint32_t local_of(const struct fleet_service *s)
{
	uint32_t n = 0, i;

	for (i = 0; i < s->n; i++)
		n += s->backends[i].listed && s->backends[i].state == BALANCE_LIVE;
	return n;
}

/* Ports of one Service share one; what has most answers for all. */
static void want(struct node_health *h, const struct fleet_service *s)
{
	uint16_t port = (uint16_t)s->want->opt->health_port;
	struct told *x;

	HASH_FIND(hh, h->told, &port, sizeof(port), x);
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return;
		x->word.port = port;
		HASH_ADD(hh, h->told, word.port, sizeof(x->word.port), x);
	}
	if (x->seen != h->syncs) {
		memset(x->word.service, 0, sizeof(x->word.service));
		snprintf(x->word.service, sizeof(x->word.service), "%s", s->want->name);
		x->word.local = 0;
	}
	x->seen = h->syncs;
	x->word.local = max(x->word.local, local_of(s));
}

/* What could not be sent is sent at the next sync. */
static bool tell(struct node_health *h, struct told *x)
{
	bool sent = send(h->fd, &x->word, sizeof(x->word), MSG_DONTWAIT | MSG_NOSIGNAL) ==
		    (ssize_t)sizeof(x->word);

	if (sent)
		memcpy(&x->sent, &x->word, sizeof(x->sent));
	return sent;
}

/* Whether the child listens; where it does not it is told again. */
static void results_take(struct node_health *h)
{
	struct told *x;
	struct word w;
	ssize_t n;

	while ((n = recv(h->fd, &w, sizeof(w), MSG_DONTWAIT)) == (ssize_t)sizeof(w)) {
		HASH_FIND(hh, h->told, &w.port, sizeof(w.port), x);
		if (!x)
			continue;
		x->rc = w.rc;
		x->sent.port = w.rc ? 0 : x->sent.port;
	}
	h->dead |= !n;
}

void node_health_sync(struct node_health *h, const struct fleet *t)
{
	const struct fleet_service *s;
	struct told *x, *next;

	if (!h)
		return;
	results_take(h);
	h->syncs++;
	for (s = fleet_first(t); s; s = s->hh.next)
		if (s->want->opt->health_port)
			want(h, s);
	HASH_ITER (hh, h->told, x, next) {
		x->word.stop = x->seen != h->syncs;
		if (!memcmp(&x->word, &x->sent, sizeof(x->word)) || !tell(h, x) || !x->word.stop)
			continue;
		HASH_DEL(h->told, x);
		free(x);
	}
}

const char *node_health_trouble(struct node_health *h)
{
	const struct told *x;

	if (h)
		results_take(h);
	for (x = h ? h->told : NULL; x; x = x->hh.next) {
		if (h->dead)
			return "what answered there has ended";
		if (!x->rc)
			continue;
		snprintf(h->trouble, sizeof(h->trouble), "port %u: %.50s", x->word.port,
			 strerror(-x->rc));
		return h->trouble;
	}
	return NULL;
}
