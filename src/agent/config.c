// SPDX-License-Identifier: Apache-2.0
#include "agent/config.h"

#include <fcntl.h>
#include <stdarg.h>

static const struct conf_field limit_fields[] = {
	{.key = "processes",
	 .type = CONF_INT,
	 .offset = offsetof(struct agent_limits, processes),
	 .least = 1024,
	 .most = 4194304,
	 .preset = "65536",
	 .doc = "processes remembered at once, living and just ended"},
	{.key = "queries",
	 .type = CONF_INT,
	 .offset = offsetof(struct agent_limits, queries),
	 .least = 1,
	 .most = 64,
	 .preset = "4",
	 .doc = "queries that run at once"},
	{.key = "querySeconds",
	 .type = CONF_INT,
	 .offset = offsetof(struct agent_limits, query_seconds),
	 .least = 1,
	 .most = 3600,
	 .preset = "10",
	 .doc = "seconds a query may take"},
};

static const struct conf_field agent_fields[] = {
	{.key = "listen",
	 .type = CONF_STR,
	 .offset = offsetof(struct agent_spec, listen),
	 .most = sizeof(((struct agent_spec *)0)->listen),
	 .preset = "127.0.0.1:7070",
	 .doc = "loopback address and port of the page and the API; off: none"},
	{.key = "socket",
	 .type = CONF_STR,
	 .offset = offsetof(struct agent_spec, socket),
	 .least = 1,
	 .most = sizeof(((struct agent_spec *)0)->socket),
	 .preset = "/run/skep/skep.sock",
	 .doc = "unix socket of the API, for root and group skep"},
	{.key = "stateDir",
	 .type = CONF_STR,
	 .offset = offsetof(struct agent_spec, state_dir),
	 .least = 1,
	 .most = sizeof(((struct agent_spec *)0)->state_dir),
	 .preset = "/var/lib/skep",
	 .doc = "folder of the lock, the token and resources"},
	{.key = "log",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct agent_spec, log),
	 .choices = "text|json",
	 .preset = "text",
	 .doc = "form of the log on standard error"},
	{.key = "logLevel",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct agent_spec, log_level),
	 .choices = "error|warning|info|debug",
	 .preset = "info",
	 .doc = "what is logged"},
	{.key = "sandbox",
	 .type = CONF_BOOL,
	 .offset = offsetof(struct agent_spec, sandbox),
	 .preset = "true",
	 .doc = "drop privileges and filter system calls after the start; false: only to find faults"},
	{.key = "limits",
	 .type = CONF_PART,
	 .offset = offsetof(struct agent_spec, limits),
	 .sub = limit_fields,
	 .n_sub = array_size(limit_fields),
	 .doc = "bounds"},
};

/* The agent's fields and one part for each capability, whose spec follows struct agent_spec. */
struct layout {
	struct conf_field fields[array_size(agent_fields) + AGENT_CAPS_MAX];
	unsigned n;
	size_t size;
	size_t cap_offset[AGENT_CAPS_MAX];
};

struct agent_config {
	struct layout layout;
	char *specs;
};

static void layout_init(struct layout *l)
{
	unsigned i;

	memcpy(l->fields, agent_fields, sizeof(agent_fields));
	l->n = array_size(agent_fields);
	l->size = (sizeof(struct agent_spec) + 15) & ~(size_t)15;
	for (i = 0; cap_all[i]; i++) {
		assert(i < AGENT_CAPS_MAX);
		l->cap_offset[i] = l->size;
		l->fields[l->n++] = (struct conf_field){
			.key = cap_all[i]->name,
			.type = CONF_PART,
			.offset = l->size,
			.sub = cap_all[i]->fields,
			.n_sub = cap_all[i]->n_fields,
			.doc = cap_all[i]->doc,
		};
		l->size = (l->size + cap_all[i]->spec_size + 15) & ~(size_t)15;
	}
}

/* At most one byte more than a configuration may have, so that conf_parse() can refuse it. */
static int file_read(const char *path, struct buf *b, struct skep_err *err)
{
	cleanup(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char part[65536];
	ssize_t n = 0;

	if (fd < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	while (b->len <= CONF_INPUT_MAX && (n = read(fd, part, sizeof(part))) > 0)
		buf_add(b, part, (size_t)n);
	if (n < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	return buf_ok(b) ? 0 : -ENOMEM;
}

static int option_text(const char *name, const char *value, char *dst, size_t cap,
		       struct skep_err *err)
{
	if (!value)
		return 0;
	if (strlen(value) >= cap)
		return skep_fail(err, -EINVAL, "--%s: expected at most %zu bytes, found %zu", name,
				 cap - 1, strlen(value));
	strcpy(dst, value);
	return 0;
}

static int options_apply(struct agent_spec *s, const struct agent_options *o, struct skep_err *err)
{
	int rc = option_text("listen", o->listen, s->listen, sizeof(s->listen), err);

	if (!rc)
		rc = option_text("socket", o->socket, s->socket, sizeof(s->socket), err);
	if (!rc)
		rc = option_text("state-dir", o->state_dir, s->state_dir, sizeof(s->state_dir),
				 err);
	if (o->log_json >= 0)
		s->log = o->log_json ? LOG_JSON : LOG_TEXT;
	return rc;
}

int agent_config_read(struct agent_config **out, const struct agent_options *o,
		      struct skep_err *err)
{
	const char *path = o->config ? o->config : access(AGENT_CONFIG, F_OK) ? NULL : AGENT_CONFIG;
	cleanup(buf_done) struct buf text = {0};
	struct agent_config *c = calloc(1, sizeof(*c));
	struct agent_addr addr;
	int rc = 0;

	if (!c)
		return -ENOMEM;
	layout_init(&c->layout);
	c->specs = calloc(1, c->layout.size);
	if (!c->specs)
		rc = -ENOMEM;
	else if (path)
		rc = file_read(path, &text, err);
	if (!rc && path)
		rc = conf_parse(path, text.data ? text.data : "", text.len, "Agent",
				c->layout.fields, c->layout.n, c->specs, c->layout.size, err);
	else if (!rc)
		conf_defaults(c->layout.fields, c->layout.n, c->specs);
	if (!rc)
		rc = options_apply((struct agent_spec *)c->specs, o, err);
	if (!rc)
		rc = agent_listen_parse(agent_config_spec(c)->listen, &addr, err);
	if (rc)
		agent_config_free(c);
	else
		*out = c;
	return rc;
}

void agent_config_free(struct agent_config *c)
{
	if (c)
		free(c->specs);
	free(c);
}

const struct agent_spec *agent_config_spec(const struct agent_config *c)
{
	return (const struct agent_spec *)c->specs;
}

const void *agent_config_cap(const struct agent_config *c, unsigned i)
{
	return c->specs + c->layout.cap_offset[i];
}

bool agent_config_keep(struct agent_config *c, const struct agent_config *old)
{
	struct agent_spec *s = (struct agent_spec *)c->specs, was = *s;

	*s = *agent_config_spec(old);
	s->log = was.log;
	s->log_level = was.log_level;
	return memcmp(s, &was, sizeof(was)) != 0;
}

void agent_config_keep_cap(struct agent_config *c, const struct agent_config *old, unsigned i)
{
	memcpy(c->specs + c->layout.cap_offset[i], agent_config_cap(old, i), cap_all[i]->spec_size);
}

enum log_level agent_config_level(const struct agent_config *c)
{
	static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
						LOG_LEVEL_DEBUG};

	return levels[agent_config_spec(c)->log_level];
}

int agent_config_print(struct buf *b)
{
	struct layout l;

	layout_init(&l);
	conf_print("Agent", l.fields, l.n, b);
	return buf_ok(b) ? 0 : -ENOMEM;
}

/* ---- listen -------------------------------------------------------------------------------- */

static int port_parse(const char *s, uint16_t *out)
{
	size_t n = strspn(s, "0123456789");
	unsigned long v = n && n <= 5 && !s[n] ? strtoul(s, NULL, 10) : 65536;

	if (v > 65535)
		return -EINVAL;
	*out = (uint16_t)v;
	return 0;
}

int agent_listen_parse(const char *text, struct agent_addr *out, struct skep_err *err)
{
	static const struct {
		const char *host;
		bool v6;
	} hosts[] = {{"127.0.0.1:", false}, {"localhost:", false}, {"[::1]:", true}};
	unsigned i;

	memset(out, 0, sizeof(*out));
	out->off = !*text || !strcmp(text, "off");
	if (out->off)
		return 0;
	for (i = 0; i < array_size(hosts); i++) {
		size_t n = strlen(hosts[i].host);

		if (strncmp(text, hosts[i].host, n))
			continue;
		out->v6 = hosts[i].v6;
		if (port_parse(text + n, &out->port))
			return skep_fail(err, -EINVAL,
					 "listen: expected a port 0..65535 after %s, found '%s'",
					 hosts[i].host, text + n);
		return 0;
	}
	return skep_fail(
		err, -EINVAL,
		"listen: expected 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or off, found '%s': "
		"the page speaks plain HTTP, so it is for this host only (from elsewhere: "
		"ssh -L, or a proxy with TLS)",
		text);
}
