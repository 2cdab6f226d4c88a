/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.h: what there is to ask. One table of routes serves them, checks their parameters and writes
 * the OpenAPI file; docs/api.md says the same to people, and a test compares the two.
 */
#ifndef SKEP_AGENT_API_H
#define SKEP_AGENT_API_H

#include "agent/http.h"
#include "base/buf.h"

#define API_PARAMS_MAX 8

struct agent;

enum api_type { API_INT, API_TEXT };

struct api_param {
	const char *name;
	enum api_type type;
	int64_t least, most, preset; /* API_INT */
	const char *doc;
};

struct api_value {
	int64_t num;
	char text[256]; /* "" where not given */
};

struct api_call {
	struct agent *agent;
	struct http_conn *conn;
	const struct http_request *request;
	struct api_value values[API_PARAMS_MAX]; /* in the order of the route's parameters */
};

struct api_route {
	unsigned methods; /* enum http_method, or-ed */
	const char *path;
	const char *doc;
	const char *type; /* of the answer */
	bool local;	  /* on the unix socket only */
	void (*serve)(struct api_call *call);
	struct api_param params[API_PARAMS_MAX];
};

extern const struct api_route api_routes[];
extern const unsigned api_routes_count;

/** api_takes_resources() - whether the body is YAML, and may be long. */
bool api_takes_resources(const char *path);

/** api_find() - NULL where there is none. */
const struct api_route *api_find(const char *path);

/**
 * api_args() - the query string into @values, checked.
 *
 * Return: 0 or -EINVAL with what was expected.
 */
int api_args(const struct api_route *route, const char *query, struct api_value *values,
	     struct skep_err *err);

/** api_query_body() - {"sql": text, "limit": N}. *@sql is allocated. Return: 0 or -EINVAL. */
int api_query_body(const char *body, size_t n, char **sql, int64_t *limit, struct skep_err *err);

/** api_openapi() - the routes as an OpenAPI 3.1 document. */
void api_openapi(struct buf *b);

/** api_admit(), api_serve() - for http_ops; @arg: struct agent. */
int api_admit(void *arg, const struct http_conn *c, const struct http_request *r, const char **why);
void api_serve(void *arg, struct http_conn *c, const struct http_request *r);

#endif
