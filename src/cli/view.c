// SPDX-License-Identifier: Apache-2.0
#include "cli/view.h"

#include "cli/human.h"

#define INT			    true
#define STR			    false
#define COLUMN(id, name, type, doc) {#name, #id, type},
static const struct view_field process_fields[] = {
#include "guard/process.def"
};
static const struct view_field connection_fields[] = {
#include "trace/connection.def"
};
static const struct view_field dns_fields[] = {
#include "trace/dns.def"
};
#undef COLUMN
#undef INT
#undef STR

/* clang-format off */
static const struct view_column process_columns[] = {
	{ "pid", "PID", .format = VIEW_NUMBER },
	{ "ppid", "PPID", .format = VIEW_NUMBER, .drop = 3 },
	{ "user", "USER", "uid", .format = VIEW_USER, .drop = 2 },
	{ "service", "SERVICE", .flex = true, .drop = 1 },
	{ "age", "AGE", "time", "-time", .format = VIEW_AGE },
	{ "lasted", "LASTED", "ended - time", .format = VIEW_SPAN },
	{ "status", "STATUS",
	  "case when signal is not null then 'signal ' || signal when exit_code is not null then "
	  "'exit ' || exit_code when ended is not null then 'exec' else 'runs' end" },
	{ "command", "COMMAND", "coalesce(argv || case argv_cut when 1 then ' ...' else '' end, "
	  "'[' || comm || ']')", .flex = true, .floor = 24 },
	{ "container", "CONTAINER", .format = VIEW_ID },
	{ "exe", "EXE", .flex = true },
	{ "cwd", "CWD", .flex = true },
};

static const struct view_column connection_columns[] = {
	{ "pid", "PID", .format = VIEW_NUMBER },
	{ "service", "SERVICE", .flex = true },
	{ "dir", "", "direction", .format = VIEW_DIRECTION },
	{ "peer", "PEER", "coalesce(remote_service, remote_name, remote_addr)", .flex = true, .floor = 16 },
	{ "port", "PORT", "(case direction when 'in' then local_port else remote_port end) || '/' || proto",
	  "case direction when 'in' then local_port else remote_port end" },
	{ "state", "STATE", "coalesce('failed ' || error, state)", .format = VIEW_STATE, .flex = true },
	{ "sent", "SENT", "bytes_sent", .format = VIEW_BYTES },
	{ "received", "RECEIVED", "bytes_received", .format = VIEW_BYTES },
	{ "rtt", "RTT", "rtt_us", .format = VIEW_US, .drop = 3 },
	{ "age", "AGE", "time", "-time", .format = VIEW_AGE, .drop = 2 },
	{ "lasted", "LASTED", "ended - time", .format = VIEW_SPAN, .drop = 4 },
	{ "local", "LOCAL", "case when instr(local_addr, ':') then '[' || local_addr || ']' else local_addr end "
	  "|| ':' || local_port", .flex = true },
	{ "remote", "REMOTE", "case when instr(remote_addr, ':') then '[' || remote_addr || ']' else "
	  "remote_addr end || ':' || remote_port", .flex = true },
	{ "retransmits", "RETRANS", .format = VIEW_NUMBER },
	{ "container", "CONTAINER", .format = VIEW_ID },
};

static const struct view_column dns_columns[] = {
	{ "age", "AGE", "time", "-time", .format = VIEW_AGE },
	{ "pid", "PID", .format = VIEW_NUMBER },
	{ "service", "SERVICE", .flex = true, .drop = 2 },
	{ "type", "TYPE" },
	{ "name", "NAME", .flex = true },
	{ "answer", "ANSWER", "coalesce(answers, rcode, 'no answer')", .flex = true },
	{ "took", "TOOK", "latency_us", .format = VIEW_US, .drop = 1 },
	{ "server", "SERVER", .flex = true, .drop = 3 },
	{ "container", "CONTAINER", .format = VIEW_ID },
};
/* clang-format on */

const struct view view_process = {
	.table = "process",
	.usual = "pid,ppid,user,service,age,command",
	.ended = "pid,ppid,user,service,age,lasted,status,command",
	.wide = "pid,ppid,user,service,runtime,container,age,lasted,status,comm,exe,cwd,command",
	.columns = process_columns,
	.n_columns = array_size(process_columns),
	.fields = process_fields,
	.n_fields = array_size(process_fields),
};

const struct view view_connection = {
	.table = "connection",
	.usual = "pid,service,dir,peer,port,state,sent,received,rtt,age",
	.ended = "pid,service,dir,peer,port,state,sent,received,rtt,age,lasted",
	.wide = "pid,comm,service,container,dir,peer,port,local,remote,state,sent,received,"
		"packets_sent,packets_received,rtt,retransmits,age,lasted",
	.columns = connection_columns,
	.n_columns = array_size(connection_columns),
	.fields = connection_fields,
	.n_fields = array_size(connection_fields),
};

const struct view view_dns = {
	.table = "dns",
	.usual = "age,pid,service,type,name,answer,took",
	.ended = "age,pid,service,type,name,answer,took",
	.wide = "time,pid,comm,service,container,type,name,rcode,answers,ttl,took,server",
	.columns = dns_columns,
	.n_columns = array_size(dns_columns),
	.fields = dns_fields,
	.n_fields = array_size(dns_fields),
};

static bool same(const char *a, const char *name, size_t n)
{
	return strlen(a) == n && !memcmp(a, name, n);
}

static const struct view_column *column_find(const struct view *v, const char *name, size_t n)
{
	unsigned i;

	for (i = 0; i < v->n_columns; i++)
		if (same(v->columns[i].key, name, n))
			return &v->columns[i];
	return NULL;
}

bool view_column_get(const struct view *v, const char *name, size_t n, struct view_column *out)
{
	const struct view_column *c = column_find(v, name, n);
	unsigned i;

	if (c) {
		*out = *c;
		return true;
	}
	for (i = 0; i < v->n_fields; i++) {
		if (!same(v->fields[i].name, name, n))
			continue;
		*out = view_plain(v->fields[i].name);
		out->title = v->fields[i].title;
		if (v->fields[i].number && out->format == VIEW_TEXT)
			out->format = VIEW_NUMBER;
		return true;
	}
	return false;
}

void view_names(const struct view *v, const char *separator, struct buf *b)
{
	const char *name;
	unsigned i;

	for (i = 0; i < v->n_columns; i++)
		buf_fmt(b, "%s%s", i ? separator : "", v->columns[i].key);
	for (i = 0; i < v->n_fields; i++) {
		name = v->fields[i].name;
		if (!column_find(v, name, strlen(name)))
			buf_fmt(b, "%s%s", separator, name);
	}
}

struct view_column view_plain(const char *name)
{
	struct view_column c = {.key = name, .title = name, .flex = true};

	if (!strcmp(name, "time") || !strcmp(name, "ended"))
		c.format = VIEW_TIME;
	return c;
}

struct table_column view_table_column(const struct view_column *c, bool numbers)
{
	return (struct table_column){
		.title = c->title,
		.right = numbers && c->format != VIEW_TIME && c->format != VIEW_USER,
		.flex = c->flex && !numbers,
		.drop = c->drop,
		.floor = c->floor,
	};
}

static const char *number_text(const struct view_column *c, int64_t v, int64_t now, struct human *h)
{
	switch (c->format) {
	case VIEW_BYTES:
		return human_bytes(h, v);
	case VIEW_TIME:
		return human_time(h, v);
	case VIEW_AGE:
		return human_span(h, now - v);
	case VIEW_SPAN:
		return human_span(h, v);
	case VIEW_US:
		return human_span(h, v * 1000);
	case VIEW_USER:
		return human_user(h, v);
	default:
		snprintf(h->text, sizeof(h->text), "%lld", (long long)v);
		return h->text;
	}
}

/* How a string is shown; *@n is its length. */
static const char *string_text(const struct view_column *c, const char *s, size_t *n,
			       enum term_style *style)
{
	if (c->format == VIEW_DIRECTION) {
		s = !strcmp(s, "in") ? "←" : "→";
		*n = strlen(s);
	}
	if (c->format == VIEW_ID && *n > 12 && strspn(s, "0123456789abcdef") == *n)
		*n = 12;
	if (c->format == VIEW_STATE && !strncmp(s, "failed", 6))
		*style = TERM_BAD;
	return s;
}

static const char *value_text(const struct view_column *c, const json_t *value, int64_t now,
			      struct human *h, size_t *n, enum term_style *style)
{
	const char *s = "-";

	*style = TERM_PLAIN;
	if (json_is_string(value)) {
		*n = json_string_length(value);
		return string_text(c, json_string_value(value), n, style);
	}
	if (json_is_integer(value)) {
		s = number_text(c, json_integer_value(value), now, h);
	} else if (json_is_real(value)) {
		snprintf(h->text, sizeof(h->text), "%.6g", json_real_value(value));
		s = h->text;
	} else {
		*style = TERM_DIM;
	}
	*n = strlen(s);
	return s;
}

void view_cell(struct table *t, const struct view_column *c, const json_t *value,
	       const char *before, int64_t now)
{
	cleanup(buf_done) struct buf whole = {0};
	enum term_style style;
	struct human h;
	size_t n;
	const char *s = value_text(c, value, now, &h, &n, &style);

	if (!before || !*before) {
		table_cell(t, style, s, n);
		return;
	}
	buf_str(&whole, before);
	buf_add(&whole, s, n);
	if (buf_ok(&whole))
		table_cell(t, style, whole.data, whole.len);
	else
		table_cell(t, style, s, n);
}
