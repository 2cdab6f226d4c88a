/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.h: who may ask over TCP. On the unix socket file permissions decide and nothing here is used.
 *
 * Three walls: the token (a page that does not have it gets nothing), the Host header (a foreign
 * name that was rebound to 127.0.0.1 is refused), the Origin header (a foreign page in the user's
 * browser is refused, even with the cookie).
 */
#ifndef SKEP_AGENT_AUTH_H
#define SKEP_AGENT_AUTH_H

#include "agent/http.h"

#define AUTH_TOKEN_LEN 43 /* 32 random bytes in base64url */

struct auth {
	char token[AUTH_TOKEN_LEN + 1];
	uint16_t port; /* of the TCP listener */
};

/** auth_token_make() - a new token. Return: 0 or -errno. */
int auth_token_make(char token[AUTH_TOKEN_LEN + 1]);

/** auth_token_valid() - whether a text has the form of a token. */
bool auth_token_valid(const char *s);

/** auth_token_equal() - in time that does not depend on where they differ. */
bool auth_token_equal(const struct auth *a, const char *s, size_t n);

/**
 * auth_check() - whether a request over TCP may pass.
 *
 * The page's own files and /healthz need no token; they tell nothing of the host.
 *
 * Return: 0, 401 or 403; *@why is then a sentence.
 */
int auth_check(const struct auth *a, const struct http_request *r, const char **why);

/** auth_query() - whether the query string holds token=, and the right one: 1; -1: a wrong one; 0. */
int auth_query(const struct auth *a, const char *query);

#endif
