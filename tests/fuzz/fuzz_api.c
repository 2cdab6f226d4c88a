// SPDX-License-Identifier: Apache-2.0
/*
 * Any bytes as what a client sends over TCP: through the server, the token check, the routes'
 * parameters and the body of a query; only the routes themselves are left out.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "agent/api.h"
#include "agent/auth.h"
#include "agent/page.h"

static struct event_base *base;
static struct http *http;
static struct auth auth = {.port = 7070, .token = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
static struct http_conn *answering;

static int admit(maybe_unused void *arg, const struct http_conn *c, const struct http_request *r,
		 const char **why)
{
	int status = auth_check(&auth, r, why);

	if (http_local(c))
		return 0;
	if (status && !*why)
		abort();
	return status;
}

static void on_gone(maybe_unused void *arg)
{
	answering = NULL;
}

static void serve(maybe_unused void *arg, struct http_conn *c, const struct http_request *r)
{
	const struct api_route *route = api_find(r->path);
	struct api_value values[API_PARAMS_MAX];
	cleanup(mem_free) char *sql = NULL;
	struct skep_err err = {0};
	int64_t limit;

	auth_query(&auth, r->query);
	page_find(NULL, 0, r->path);
	if (route && api_args(route, r->query, values, &err) && !err.text[0])
		abort();
	if (r->length && api_query_body(r->body, r->length, &sql, &limit, &err) && !err.text[0])
		abort();
	if (route && !answering && (route->methods & HTTP_POST)) {
		answering = c; /* answers later, as queries do */
		http_watch(c, NULL, on_gone, NULL);
	} else if (route) {
		http_stream(c, 200, "text/plain");
		http_chunk(c, r->path, strlen(r->path));
		http_end(c, r->keep);
	} else {
		http_error(c, 404, "there is no %s: %s", r->path, err.text);
	}
}

static void spin(void)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void once(void)
{
	const struct http_ops ops = {admit, serve, NULL};

	if (base)
		return;
	base = event_base_new();
	if (!base || http_open(&http, base, &ops, NULL))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says over which socket, and where the bytes are cut into two writes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bufferevent *pair[2];
	size_t cut;

	once();
	if (!size || bufferevent_pair_new(base, 0, pair))
		return 0;
	cut = min(size - 1, (size_t)(data[0] >> 1));
	bufferevent_enable(pair[1], EV_READ | EV_WRITE);
	http_take(http, pair[0], data[0] & 1);
	evbuffer_add(bufferevent_get_output(pair[1]), data + 1, cut);
	spin();
	evbuffer_add(bufferevent_get_output(pair[1]), data + 1 + cut, size - 1 - cut);
	spin();
	if (answering)
		http_reply(take(answering), 200, "text/plain", "x", 1);
	spin();
	http_tick(http);
	bufferevent_flush(pair[1], EV_WRITE, BEV_FINISHED);
	spin();
	bufferevent_free(pair[1]);
	spin();
	if (http_stat(http)->conns > 64) {
		http_free(take(http));
		event_base_free(take(base));
	}
	return 0;
}
