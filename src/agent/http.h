/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h: HTTP/1.1 for few clients and small requests, over libevent's bufferevents.
 *
 * libevent's own evhttp is not used: it restarts its time limit with every byte (a client that
 * sends one each few seconds is served for ever), cannot tell which connection is idle longest,
 * refuses an oversized body only after the handler could have said no, and does not notice a client
 * that goes away while its answer is being computed. What is here does these four things, and
 * refuses what it does not need: chunked requests, line folding, Expect, bare LF.
 *
 * Not its business: who may ask (auth.h), what there is to ask (api.h).
 */
#ifndef SKEP_AGENT_HTTP_H
#define SKEP_AGENT_HTTP_H

#include "base/base.h"
#include "base/err.h"

#define HTTP_HEAD_MAX	 16384U
#define HTTP_BODY_MAX	 (64U << 20)
#define HTTP_BODIES_MAX	 (128U << 20) /* of all connections together */
#define HTTP_HEADERS_MAX 100
#define HTTP_CONNS_MAX	 1024

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4 };

struct http_request {
	enum http_method method;
	const char *path;  /* decoded, begins with '/' */
	const char *query; /* as sent, without '?'; "" where there is none */
	/* Headers, NULL where absent. */
	const char *host, *origin, *cookie, *authorization, *accept, *accept_encoding;
	size_t length;	  /* of the body */
	const char *body; /* NULL until it has been read whole */
	bool chunks;	  /* HTTP/1.1: the client can read a chunked answer */
	bool expects;	  /* the client waits for 100 Continue before it sends the body */
	bool keep;	  /* the client wants the connection to stay open */
};

/**
 * http_parse() - the head of a request, in place.
 * @head: from the method to the CR LF before the empty line; is changed and borrowed by @out
 *
 * Return: 0, or the status to refuse with; *@why is then a sentence.
 */
int http_parse(char *head, size_t n, struct http_request *out, const char **why);

/**
 * http_param() - the next parameter of a query string, decoded.
 * @query: advanced; "" at the end
 *
 * Return: 1, 0 at the end, -EINVAL for a bad escape or one that does not fit.
 */
int http_param(const char **query, char *name, size_t name_cap, char *value, size_t value_cap);

/* ---- connections --------------------------------------------------------------------------- */

struct event_base;
struct bufferevent;
struct http;
struct http_conn;

struct http_ops {
	/* Before the body is read. Return: 0, or the status to refuse with and *@why. */
	int (*admit)(void *arg, const struct http_conn *c, const struct http_request *r,
		     const char **why);
	/* Must answer, now or later, with http_reply() or http_stream() ... http_end(). */
	void (*serve)(void *arg, struct http_conn *c, const struct http_request *r);
	void *arg;
};

/* Seconds. */
struct http_times {
	unsigned request; /* from its first byte to its last */
	unsigned idle;	  /* between requests */
	unsigned stall;	  /* an answer of which nothing is taken */
};

struct http_stat {
	unsigned conns;
	uint64_t accepted, refused, timed_out;
	uint64_t by_status[600];
};

/** http_open() - @ops is copied; @times: NULL for 10, 60, 30. */
int http_open(struct http **out, struct event_base *base, const struct http_ops *ops,
	      const struct http_times *times);
void http_free(struct http *h);

/** http_listen() - serve a bound socket; takes @fd. @local: a unix socket, file permissions rule. */
int http_listen(struct http *h, int fd, bool local, struct skep_err *err);

/** http_take() - serve a client that is connected already; takes @bev. */
int http_take(struct http *h, struct bufferevent *bev, bool local);

/** http_tick() - close what is late. Call once a second. */
void http_tick(struct http *h);

const struct http_stat *http_stat(const struct http *h);

/* ---- answers ------------------------------------------------------------------------------- */

bool http_local(const struct http_conn *c);

/** http_header() - one more header for the answer that follows; "Cache-Control" replaces no-store. */
void http_header(struct http_conn *c, const char *name, const char *value);

/** http_reply() - the whole answer; @c is not the caller's any more. */
void http_reply(struct http_conn *c, int status, const char *type, const void *body, size_t n);

/** http_error() - {"error": text}. */
void http_error(struct http_conn *c, int status, const char *fmt, ...) printf_like(3, 4);

/** http_stream() - begin an answer of unknown length. */
void http_stream(struct http_conn *c, int status, const char *type);
void http_chunk(struct http_conn *c, const void *p, size_t n);
/** http_end() - @complete: false cuts the connection, so that the client sees the answer is not whole. */
void http_end(struct http_conn *c, bool complete);

/** http_pending() - bytes of the answer that the client has not taken yet. */
size_t http_pending(const struct http_conn *c);

/**
 * http_watch() - for an answer that takes longer.
 * @drained: less than 64 KiB are pending again; may be NULL
 * @gone:    the client went away: forget @c
 */
void http_watch(struct http_conn *c, void (*drained)(void *arg), void (*gone)(void *arg),
		void *arg);

#endif
