// SPDX-License-Identifier: Apache-2.0
#include "agent/api.h"

#include <inttypes.h>
#include <jansson.h>

#include "agent/inside.h"
#include "agent/lists.h"
#include "agent/page.h"

#define JSON	     "application/json"
#define LIST_MAX     100000
#define EVENTS_MAX   10000
#define QUERY_ROWS   10000
#define API_BODY_MAX (1U << 20)

static void reply_json(struct http_conn *c, const struct buf *b)
{
	if (buf_ok(b))
		http_reply(c, 200, JSON, b->data, b->len);
	else
		http_error(c, 503, "out of memory");
}

/* ---- from the agent's own memory ----------------------------------------------------------- */

static void serve_status(struct api_call *call)
{
	cleanup(buf_done) struct buf b = {0};

	status_agent(call->agent, &b);
	reply_json(call->conn, &b);
}

static void serve_cap(struct api_call *call)
{
	const char *name = strrchr(call->request->path, '/') + 1;
	cleanup(buf_done) struct buf b = {0};
	struct agent *a = call->agent;
	unsigned i;

	for (i = 0; i < a->n_caps; i++) {
		if (!strcmp(a->caps[i].ops->name, name)) {
			status_cap(a, i, &b);
			buf_chr(&b, '\n');
			reply_json(call->conn, &b);
			return;
		}
	}
	http_error(call->conn, 404, "this build has no %s", name);
}

static void serve_schema(struct api_call *call)
{
	cleanup(buf_done) struct buf b = {0};

	store_schema_json(call->agent->store, &b);
	reply_json(call->conn, &b);
}

static void serve_openapi(struct api_call *call)
{
	cleanup(buf_done) struct buf b = {0};

	api_openapi(&b);
	reply_json(call->conn, &b);
}

static void serve_url(struct api_call *call)
{
	cleanup(buf_done) struct buf b = {0};

	if (!call->agent->url[0]) {
		http_error(call->conn, 404, "the agent listens on no TCP address (listen: off)");
		return;
	}
	buf_fmt(&b, "{\"url\":\"%s\"}\n", call->agent->url);
	reply_json(call->conn, &b);
}

static void serve_metrics(struct api_call *call)
{
	cleanup(buf_done) struct buf b = {0};

	metrics_print(call->agent, &b);
	if (buf_ok(&b))
		http_reply(call->conn, 200, "text/plain; version=0.0.4; charset=utf-8", b.data,
			   b.len);
	else
		http_error(call->conn, 503, "out of memory");
}

static void serve_health(struct api_call *call)
{
	http_reply(call->conn, 200, "text/plain; charset=utf-8", "ok\n", 3);
}

/* ---- wanted state -------------------------------------------------------------------------- */

static struct agent_cap *cap_find(struct agent *a, const char *name)
{
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (!strcmp(a->caps[i].ops->name, name) && a->caps[i].cap)
			return &a->caps[i];
	return NULL;
}

static void serve_services(struct api_call *call)
{
	struct agent_cap *c = cap_find(call->agent, "balance");
	cleanup(buf_done) struct buf b = {0};

	if (!c) {
		http_error(call->conn, 404, "balance did not load");
		return;
	}
	c->ops->show(c->cap, &b);
	reply_json(call->conn, &b);
}

static void serve_drain(struct api_call *call)
{
	const struct api_value *v = call->values;
	struct skep_err err = {""};

	if (resources_drain(call->agent, v[0].text, v[1].text, v[2].num, v[3].num, &err))
		http_error(call->conn, 400, "%s", err.text);
	else
		http_reply(call->conn, 200, JSON, "{}\n", 3);
}

static void ask(struct api_call *call, const char *question, const char *text, size_t len)
{
	struct agent_cap *c = cap_find(call->agent, "balance");
	cleanup(buf_done) struct buf b = {0};
	struct skep_err err = {""};

	if (!c)
		http_error(call->conn, 404, "balance did not load");
	else if (c->ops->ask(c->cap, question, text, len, &b, &err))
		http_error(call->conn, 400, "%s", err.text);
	else
		reply_json(call->conn, &b);
}

static void serve_why(struct api_call *call)
{
	ask(call, "why", call->values[0].text, strlen(call->values[0].text));
}

static void serve_plan(struct api_call *call)
{
	ask(call, "plan", call->request->body ? call->request->body : "", call->request->length);
}

static void serve_samples(struct api_call *call)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%lld %lld", (long long)call->values[0].num,
			 (long long)call->values[1].num);

	ask(call, "samples", text, (size_t)n);
}

/* The body, or where there is none the names. */
static void change(struct api_call *call, enum cap_change what, const char *file, const char *text,
		   size_t len, bool dry)
{
	cleanup(buf_done) struct buf said = {0}, b = {0};
	struct skep_err err = {""};

	if (resources_apply(call->agent, what, *file ? file : "the request", text, len, dry, &said,
			    &err)) {
		http_error(call->conn, 400, "%s", err.text);
		return;
	}
	buf_str(&b, "{\"changes\":");
	buf_json(&b, said.data ? said.data : "", said.len);
	buf_str(&b, "}\n");
	reply_json(call->conn, &b);
}

static void serve_apply(struct api_call *call)
{
	const struct http_request *r = call->request;
	const struct api_value *v = call->values;

	change(call, v[2].num ? CAP_MERGE : CAP_WHOLE, v[1].text, r->body ? r->body : "", r->length,
	       v[0].num);
}

static void serve_delete(struct api_call *call)
{
	const struct http_request *r = call->request;
	const struct api_value *v = call->values;
	const char *text = r->length ? r->body : v[2].text;

	change(call, CAP_DELETE, v[1].text, text, r->length ? r->length : strlen(text), v[0].num);
}

/* ---- from the tables, in a child ----------------------------------------------------------- */

/* @sql: copied; NULL where run() has its own. */
static void start(struct api_call *call, const struct query_job *job, const char *sql)
{
	size_t n = sql ? strlen(sql) + 1 : 0;
	struct query_job *copy = malloc(sizeof(*copy) + n);

	if (!copy) {
		http_error(call->conn, 503, "out of memory");
		return;
	}
	*copy = *job;
	if (sql)
		copy->sql = memcpy(copy + 1, sql, n);
	queries_start(call->agent->queries, call->conn, copy);
}

static void serve_processes(struct api_call *call)
{
	start(call,
	      &(struct query_job){.run = list_processes,
				  .all = call->values[0].num,
				  .limit = (uint64_t)call->values[1].num},
	      NULL);
}

static void serve_connections(struct api_call *call)
{
	start(call,
	      &(struct query_job){.run = list_connections,
				  .all = call->values[0].num,
				  .limit = (uint64_t)call->values[1].num},
	      NULL);
}

static void serve_dns(struct api_call *call)
{
	start(call, &(struct query_job){.run = list_dns, .limit = (uint64_t)call->values[0].num},
	      NULL);
}

static void serve_map(struct api_call *call)
{
	start(call, &(struct query_job){.run = list_map, .seconds = (uint64_t)call->values[0].num},
	      NULL);
}

static void serve_query(struct api_call *call)
{
	const struct http_request *r = call->request;
	cleanup(mem_free) char *sql = NULL;
	struct skep_err err = {0};
	int64_t limit;

	if (api_query_body(r->body, r->length, &sql, &limit, &err)) {
		http_error(call->conn, 400, "%s", err.text);
		return;
	}
	start(call, &(struct query_job){.run = list_query, .limit = (uint64_t)limit}, sql);
}

enum events_param {
	EVENTS_KIND,
	EVENTS_PID,
	EVENTS_COMM,
	EVENTS_SERVICE,
	EVENTS_CONTAINER,
	EVENTS_LIMIT
};

static int filter_take(const struct api_value *v, struct event_filter *f)
{
	f->pid = v[EVENTS_PID].num;
	snprintf(f->comm, sizeof(f->comm), "%.63s", v[EVENTS_COMM].text);
	snprintf(f->service, sizeof(f->service), "%s", v[EVENTS_SERVICE].text);
	snprintf(f->container, sizeof(f->container), "%.127s", v[EVENTS_CONTAINER].text);
	return event_kinds_parse(v[EVENTS_KIND].text, &f->kinds);
}

static void serve_events(struct api_call *call)
{
	struct query_job job = {.run = list_events};
	const char *accept = call->request->accept;

	if (filter_take(call->values, &job.filter)) {
		http_error(call->conn, 400,
			   "kind: expected process.fork, process.exec, process.exit, "
			   "connection.open, connection.close, dns, balance.backend, "
			   "balance.packet, process, connection or balance");
		return;
	}
	job.limit = (uint64_t)call->values[EVENTS_LIMIT].num;
	if (accept && strstr(accept, "text/event-stream"))
		events_subscribe(call->agent->events, call->conn, &job.filter);
	else
		start(call, &job, NULL);
}

/* ---- the table ----------------------------------------------------------------------------- */

#define ALL                                                       \
	{                                                         \
		"all", API_INT, 0, 1, 0, "1: also what has ended" \
	}
#define LIMIT                                                           \
	{                                                               \
		"limit", API_INT, 1, LIST_MAX, LIST_MAX, "rows at most" \
	}
#define TEXT(name, doc)                      \
	{                                    \
		name, API_TEXT, 0, 0, 0, doc \
	}
#define GETS (HTTP_GET | HTTP_HEAD)

const struct api_route api_routes[] = {
	{GETS,
	 "/v1/status",
	 "agent, host, capabilities, features, tables, lost events",
	 JSON,
	 false,
	 serve_status,
	 {{0}}},
	{GETS,
	 "/v1/guard",
	 "guard: its reports, counters and lost events",
	 JSON,
	 false,
	 serve_cap,
	 {{0}}},
	{GETS,
	 "/v1/trace",
	 "trace: its reports, counters and lost events",
	 JSON,
	 false,
	 serve_cap,
	 {{0}}},
	{GETS, "/v1/balance", "balance: its reports and counters", JSON, false, serve_cap, {{0}}},
	{GETS,
	 "/v1/balance/services",
	 "services with their backends and counters",
	 JSON,
	 false,
	 serve_services,
	 {{0}}},
	{GETS,
	 "/v1/balance/why",
	 "what would become of a packet, each decision in words; nothing is sent or changed",
	 JSON,
	 false,
	 serve_why,
	 {TEXT("packet", "tcp ADDR:PORT > ADDR:PORT, udp, icmp echo, icmp about")}},
	{HTTP_POST,
	 "/v1/balance/plan",
	 "resources as YAML: what applying them would do to slots and live connections",
	 JSON,
	 false,
	 serve_plan,
	 {{0}}},
	{HTTP_POST,
	 "/v1/balance/samples",
	 "samples of packets are taken for so long, into the table packet and as balance.packet",
	 JSON,
	 false,
	 serve_samples,
	 {{"rate", API_INT, 0, 250, 10, "a second, of each reason and CPU; 0: none any more"},
	  {"seconds", API_INT, 1, 3600, 60, "for so long"}}},
	{HTTP_POST,
	 "/v1/balance/drain",
	 "a backend keeps its flows and gets no new ones",
	 JSON,
	 false,
	 serve_drain,
	 {TEXT("service", "name of the service"),
	  TEXT("backend", "address of the backend"),
	  {"on", API_INT, 0, 1, 1, "0: it gets new flows again"},
	  {"seconds", API_INT, -1, 31536000, -1,
	   "after so long it loses the flows that are left; -1: never"}}},
	{HTTP_POST,
	 "/v1/apply",
	 "resources as YAML: the whole wanted state",
	 JSON,
	 false,
	 serve_apply,
	 {{"dry", API_INT, 0, 1, 0, "1: only say what would change"},
	  TEXT("file", "name for messages"),
	  {"merge", API_INT, 0, 1, 0, "1: add or replace these, leave the others"}}},
	{HTTP_POST,
	 "/v1/delete",
	 "resources that are wanted no more, as YAML or by name",
	 JSON,
	 false,
	 serve_delete,
	 {{"dry", API_INT, 0, 1, 0, "1: only say what would change"},
	  TEXT("file", "name for messages"),
	  TEXT("name", "without a body: service/NAME")}},
	{GETS,
	 "/v1/guard/processes",
	 "processes that run, oldest first",
	 JSON,
	 false,
	 serve_processes,
	 {ALL, LIMIT}},
	{GETS,
	 "/v1/trace/connections",
	 "connections that are open, oldest first",
	 JSON,
	 false,
	 serve_connections,
	 {ALL, LIMIT}},
	{GETS, "/v1/trace/dns", "DNS questions, newest first", JSON, false, serve_dns, {LIMIT}},
	{GETS,
	 "/v1/trace/map",
	 "services and who talks to whom",
	 JSON,
	 false,
	 serve_map,
	 {{"seconds", API_INT, 1, 31536000, 300,
	   "connections open or ended in the last so many seconds"}}},
	{GETS, "/v1/schema", "tables and their columns", JSON, false, serve_schema, {{0}}},
	{HTTP_POST, "/v1/query", "one SELECT over the tables", JSON, false, serve_query, {{0}}},
	{GETS,
	 "/v1/events",
	 "what happened, newest last; with Accept: text/event-stream what happens from now on",
	 JSON,
	 false,
	 serve_events,
	 {[EVENTS_KIND] = TEXT("kind", "kinds, comma between them"),
	  [EVENTS_PID] = {"pid", API_INT, -1, INT32_MAX, -1, "process id; -1: any"},
	  [EVENTS_COMM] = TEXT("comm", "name of the process"),
	  [EVENTS_SERVICE] = TEXT("service", "its service"),
	  [EVENTS_CONTAINER] = TEXT("container", "its container id, or a prefix of it"),
	  [EVENTS_LIMIT] = {"limit", API_INT, 1, EVENTS_MAX, 1000, "events at most"}}},
	{GETS, "/v1/openapi.json", "this document", JSON, false, serve_openapi, {{0}}},
	{GETS,
	 "/v1/url",
	 "address of the page with its token; on the unix socket only",
	 JSON,
	 true,
	 serve_url,
	 {{0}}},
	{GETS, "/metrics", "counters for Prometheus", "text/plain", false, serve_metrics, {{0}}},
	{GETS, "/healthz", "ok, without a token", "text/plain", false, serve_health, {{0}}},
};

const unsigned api_routes_count = array_size(api_routes);

const struct api_route *api_find(const char *path)
{
	unsigned i;

	for (i = 0; i < api_routes_count; i++)
		if (!strcmp(api_routes[i].path, path))
			return &api_routes[i];
	return NULL;
}

/* ---- arguments ----------------------------------------------------------------------------- */

static int value_take(const struct api_param *p, const char *text, struct api_value *out,
		      struct skep_err *err)
{
	char *end;

	if (p->type == API_TEXT) {
		snprintf(out->text, sizeof(out->text), "%s", text);
		return 0;
	}
	errno = 0;
	out->num = strtoll(text, &end, 10);
	if (errno || end == text || *end || out->num < p->least || out->num > p->most)
		return skep_fail(err, -EINVAL,
				 "%s: expected %" PRId64 "..%" PRId64 ", found '%.40s'", p->name,
				 p->least, p->most, text);
	return 0;
}

int api_args(const struct api_route *route, const char *query, struct api_value *values,
	     struct skep_err *err)
{
	char name[32], text[sizeof(values->text)];
	unsigned i;
	int rc;

	for (i = 0; i < API_PARAMS_MAX; i++)
		values[i] = (struct api_value){.num = route->params[i].preset};
	while ((rc = http_param(&query, name, sizeof(name), text, sizeof(text))) > 0) {
		for (i = 0; i < API_PARAMS_MAX && route->params[i].name; i++)
			if (!strcmp(route->params[i].name, name))
				break;
		if (i == API_PARAMS_MAX || !route->params[i].name)
			return skep_fail(err, -EINVAL, "unknown parameter '%s'", name);
		rc = value_take(&route->params[i], text, &values[i], err);
		if (rc)
			return rc;
	}
	return rc ? skep_fail(err, rc, "the query string has a bad escape or a value too long") : 0;
}

int api_query_body(const char *body, size_t n, char **sql, int64_t *limit, struct skep_err *err)
{
	json_error_t where;
	json_t *root = json_loadb(body, n, JSON_REJECT_DUPLICATES, &where);
	const char *text = NULL;
	int rc = 0;

	*limit = QUERY_ROWS;
	if (!root)
		return skep_fail(err, -EINVAL, "the body is no JSON: line %d, column %d: %s",
				 where.line, where.column, where.text);
	if (json_unpack_ex(root, &where, JSON_STRICT, "{s:s, s?I}", "sql", &text, "limit", limit))
		rc = skep_fail(err, -EINVAL,
			       "expected {\"sql\": text, \"limit\": number}, found: %s",
			       where.text);
	else if (*limit < 1 || *limit > LIST_MAX)
		rc = skep_fail(err, -EINVAL, "limit: expected 1..%d, found %" PRId64, LIST_MAX,
			       *limit);
	if (!rc)
		*sql = strdup(text);
	json_decref(root);
	return rc || *sql ? rc : -ENOMEM;
}

/* ---- requests ------------------------------------------------------------------------------ */

bool api_takes_resources(const char *path)
{
	return !strcmp(path, "/v1/apply") || !strcmp(path, "/v1/delete") ||
	       !strcmp(path, "/v1/balance/plan");
}

int api_admit(void *arg, const struct http_conn *c, const struct http_request *r, const char **why)
{
	const struct agent *a = arg;

	if (r->length > API_BODY_MAX && !api_takes_resources(r->path)) {
		*why = "only resources may have more than 1 MiB";
		return 413;
	}
	return http_local(c) ? 0 : auth_check(&a->auth, r, why);
}

/* "/?token=...": the token moves into a cookie and out of the address bar. */
static void redirect(const struct agent *a, struct http_conn *c)
{
	char cookie[128];

	snprintf(cookie, sizeof(cookie), "skep=%s; HttpOnly; SameSite=Strict; Path=/",
		 a->auth.token);
	http_header(c, "Set-Cookie", cookie);
	http_header(c, "Location", "/");
	http_reply(c, 302, "text/plain", "", 0);
}

static void serve_page(const struct agent *a, struct http_conn *c, const struct http_request *r)
{
	size_t n = &page_files_count ? page_files_count : 0;
	const struct page_file *f = page_find(page_files, n, r->path);
	int token = strcmp(r->path, "/") ? 0 : auth_query(&a->auth, r->query);

	if (r->method == HTTP_POST)
		http_error(c, 405, "%s takes GET", r->path);
	else if (token > 0)
		redirect(a, c);
	else if (token < 0)
		http_error(c, 401,
			   "this token is not this agent's: ask for the address with "
			   "`skep url` on its host");
	else if (f && strncmp(r->path, "/v1/", 4))
		page_reply(c, r, f);
	else
		http_error(c, 404, "there is no %s", r->path);
}

void api_serve(void *arg, struct http_conn *c, const struct http_request *r)
{
	const struct api_route *route = api_find(r->path);
	struct api_call call = {.agent = arg, .conn = c, .request = r};
	struct skep_err err = {0};

	if (!route) {
		serve_page(arg, c, r);
	} else if (route->local && !http_local(c)) {
		http_error(c, 403, "%s answers on the unix socket only", r->path);
	} else if (!(route->methods & r->method)) {
		http_header(c, "Allow", route->methods & HTTP_GET ? "GET, HEAD" : "POST");
		http_error(c, 405, "%s takes %s", r->path,
			   route->methods & HTTP_GET ? "GET" : "POST");
	} else if (api_args(route, r->query, call.values, &err)) {
		http_error(c, 400, "%s", err.text);
	} else {
		route->serve(&call);
	}
}
