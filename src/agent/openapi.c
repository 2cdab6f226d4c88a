// SPDX-License-Identifier: Apache-2.0
#include "agent/api.h"

#include <inttypes.h>

static void param_add(struct buf *b, const struct api_param *p)
{
	buf_fmt(b, "{\"name\":\"%s\",\"in\":\"query\",\"description\":\"%s\",\"schema\":", p->name,
		p->doc);
	if (p->type == API_INT)
		buf_fmt(b,
			"{\"type\":\"integer\",\"minimum\":%" PRId64 ",\"maximum\":%" PRId64
			",\"default\":%" PRId64 "}}",
			p->least, p->most, p->preset);
	else
		buf_str(b, "{\"type\":\"string\"}}");
}

static void operation_add(struct buf *b, const struct api_route *r)
{
	unsigned i;

	buf_fmt(b, "\"%s\":{\"summary\":\"%s\",\"parameters\":[",
		r->methods & HTTP_POST ? "post" : "get", r->doc);
	for (i = 0; i < API_PARAMS_MAX && r->params[i].name; i++) {
		buf_str(b, i ? "," : "");
		param_add(b, &r->params[i]);
	}
	buf_str(b, "],");
	if (!strcmp(r->path, "/v1/query"))
		buf_str(b, "\"requestBody\":{\"required\":true,\"content\":{\"application/json\":"
			   "{\"schema\":{\"type\":\"object\",\"required\":[\"sql\"],"
			   "\"properties\":{\"sql\":{\"type\":\"string\"},"
			   "\"limit\":{\"type\":\"integer\",\"default\":10000}}}}}},");
	if (api_takes_resources(r->path))
		buf_str(b, "\"requestBody\":{\"required\":true,\"content\":{\"application/yaml\":"
			   "{}}},");
	buf_fmt(b,
		"\"responses\":{\"200\":{\"description\":\"%s\",\"content\":{\"%s\":{}}},"
		"\"default\":{\"$ref\":\"#/components/responses/error\"}}}",
		r->doc, r->type);
}

void api_openapi(struct buf *b)
{
	unsigned i;

	buf_str(b, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"skep\",\"version\":\"" SKEP_VERSION
		   "\"},\"security\":[{\"token\":[]},{\"cookie\":[]}],\"paths\":{");
	for (i = 0; i < api_routes_count; i++) {
		buf_fmt(b, "%s\n\"%s\":{", i ? "," : "", api_routes[i].path);
		operation_add(b, &api_routes[i]);
		buf_chr(b, '}');
	}
	buf_str(b, "},\"components\":{\"securitySchemes\":{"
		   "\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"},"
		   "\"cookie\":{\"type\":\"apiKey\",\"in\":\"cookie\",\"name\":\"skep\"}},"
		   "\"responses\":{\"error\":{\"description\":\"one sentence\",\"content\":{"
		   "\"application/json\":{\"schema\":{\"type\":\"object\",\"properties\":{"
		   "\"error\":{\"type\":\"string\"}}}}}}}}}\n");
}
