/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h: requests to the agent over its unix socket.
 *
 * HTTP/1.0 on purpose: the end of a body is the end of the connection and streams come raw, so a
 * hundred lines do. libcurl would bring about thirty shared libraries into the memory of the agent,
 * which is this same binary.
 *
 * Not its business: what answers mean (rows.h), beyond the reason of a refusal.
 */
#ifndef SKEP_CLI_CLIENT_H
#define SKEP_CLI_CLIENT_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

#define CLIENT_SOCKET	"/run/skep/skep.sock"
#define CLIENT_LINE_MAX (1U << 20)

struct client {
	const char *path;    /* of the socket */
	unsigned timeout_ms; /* silence that is taken for a failure; not for streams */
	size_t most;	     /* bytes of an answer */
};

/**
 * client_call() - one request, one answer.
 * @method: "GET" or "POST"
 * @target: "/v1/status"
 * @body:   JSON text, NULL for none
 * @answer: body of the answer; emptied first
 *
 * Return: 0; -ENOTCONN (nobody listens), -EACCES (the socket's mode, or the agent refused),
 * -ETIMEDOUT, -EPROTO (no HTTP, or cut short), -EMSGSIZE (more than c->most), -EINVAL and -EIO with
 * the agent's own words.
 */
int client_call(const struct client *c, const char *method, const char *target, const char *body,
		struct buf *answer, struct skep_err *err);

/** A line without its end; non-zero ends the stream and is returned. */
typedef int (*client_line_fn)(void *arg, const char *line, size_t n);

/**
 * client_stream() - GET server-sent events, line by line, for as long as they come.
 *
 * Return: 0 when the agent closed the stream, else as client_call(), else what @fn returned.
 */
int client_stream(const struct client *c, const char *target, client_line_fn fn, void *arg,
		  struct skep_err *err);

/** client_escape() - add text as part of a query string. */
void client_escape(struct buf *b, const char *s);

#endif
