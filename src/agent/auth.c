// SPDX-License-Identifier: Apache-2.0
#include "agent/auth.h"

#include <sys/random.h>

#define COOKIE "skep="

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int auth_token_make(char token[AUTH_TOKEN_LEN + 1])
{
	uint8_t raw[33] = {0};
	unsigned i;

	if (getrandom(raw, 32, 0) != 32)
		return -EIO;
	for (i = 0; i < AUTH_TOKEN_LEN; i++) {
		unsigned bit = i * 6, word = (unsigned)raw[bit / 8] << 8 | raw[bit / 8 + 1];

		token[i] = alphabet[word >> (10 - bit % 8) & 63];
	}
	token[AUTH_TOKEN_LEN] = '\0';
	return 0;
}

bool auth_token_valid(const char *s)
{
	return strlen(s) == AUTH_TOKEN_LEN && strspn(s, alphabet) == AUTH_TOKEN_LEN;
}

bool auth_token_equal(const struct auth *a, const char *s, size_t n)
{
	volatile unsigned char diff = n != AUTH_TOKEN_LEN;
	size_t i;

	for (i = 0; i < n; i++)
		diff |= (unsigned char)(s[i] ^ a->token[i % AUTH_TOKEN_LEN]);
	return !diff;
}

/* "127.0.0.1:7070", "localhost:7070" or "[::1]:7070"; without the port where that is 80. */
static bool host_ok(const struct auth *a, const char *host)
{
	static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
	char port[8];
	unsigned i;
	size_t n;

	snprintf(port, sizeof(port), ":%u", a->port);
	for (i = 0; i < array_size(names); i++) {
		n = strlen(names[i]);
		if (strncasecmp(host, names[i], n))
			continue;
		return !strcmp(host + n, port) || (a->port == 80 && !host[n]);
	}
	return false;
}

static bool origin_ok(const struct auth *a, const char *origin)
{
	return !strncmp(origin, "http://", 7) && host_ok(a, origin + 7);
}

static bool bearer_ok(const struct auth *a, const char *s)
{
	if (!s || strncasecmp(s, "Bearer ", 7))
		return false;
	s += 7 + strspn(s + 7, " ");
	return auth_token_equal(a, s, strlen(s));
}

static bool cookie_ok(const struct auth *a, const char *s)
{
	size_t n;

	while (s && *s) {
		s += strspn(s, "; ");
		n = strcspn(s, ";");
		if (n > strlen(COOKIE) && !strncmp(s, COOKIE, strlen(COOKIE)) &&
		    auth_token_equal(a, s + strlen(COOKIE), n - strlen(COOKIE)))
			return true;
		s += n;
	}
	return false;
}

int auth_query(const struct auth *a, const char *query)
{
	char name[32], value[128];

	while (http_param(&query, name, sizeof(name), value, sizeof(value)) > 0)
		if (!strcmp(name, "token"))
			return auth_token_equal(a, value, strlen(value)) ? 1 : -1;
	return 0;
}

/* What tells of this host; the page's own files and /healthz do not. */
static bool secret(const char *path)
{
	return !strncmp(path, "/v1/", 4) || !strcmp(path, "/metrics");
}

int auth_check(const struct auth *a, const struct http_request *r, const char **why)
{
	if (!r->host || !host_ok(a, r->host)) {
		*why = "the Host header must be 127.0.0.1, localhost or [::1] with the agent's port";
		return 403;
	}
	if (r->origin && !origin_ok(a, r->origin)) {
		*why = "requests from other origins are refused";
		return 403;
	}
	if (!secret(r->path) || bearer_ok(a, r->authorization) || cookie_ok(a, r->cookie))
		return 0;
	*why = "this needs the agent's token: open the URL that `skep up` printed, "
	       "or ask for it with `skep url` on this host";
	return 401;
}
