// SPDX-License-Identifier: Apache-2.0
#include "cli/event.h"

#include <inttypes.h>
#include <limits.h>

#include "cli/human.h"

#define KIND_WIDTH    5 /* fork, exec, exit, open, close, dns, lost */
#define SERVICE_WIDTH 14

void event_parser_done(struct event_parser *p)
{
	buf_done(&p->data);
}

void event_next(struct event_parser *p)
{
	p->name[0] = '\0';
	buf_clear(&p->data);
}

bool event_line(struct event_parser *p, const char *line, size_t n)
{
	static const char name[] = "event: ", data[] = "data: ";

	if (!n)
		return p->data.len && buf_ok(&p->data);
	if (n > sizeof(name) - 1 && !memcmp(line, name, sizeof(name) - 1))
		snprintf(p->name, sizeof(p->name), "%.*s", (int)(n - sizeof(name) + 1),
			 line + sizeof(name) - 1);
	if (n > sizeof(data) - 1 && !memcmp(line, data, sizeof(data) - 1))
		buf_add(&p->data, line + sizeof(data) - 1, n - sizeof(data) + 1);
	return false;
}

static const char *text(const json_t *e, const char *key)
{
	const char *s = json_string_value(json_object_get(e, key));

	return s ? s : "";
}

static int64_t number(const json_t *e, const char *key)
{
	return json_integer_value(json_object_get(e, key));
}

static bool has(const json_t *e, const char *key)
{
	return json_object_get(e, key) != NULL;
}

static void process_detail(const json_t *e, const char *kind, struct buf *b)
{
	const char *argv = text(e, "argv");
	struct human h;

	if (!strcmp(kind, "process.exit")) {
		if (has(e, "signal"))
			buf_fmt(b, "signal %" PRId64 "%s", number(e, "signal"),
				number(e, "core") ? ", dumped core" : "");
		else
			buf_fmt(b, "exit %" PRId64, number(e, "exit_code"));
		if (has(e, "ended"))
			buf_fmt(b, " after %s",
				human_span(&h, number(e, "ended") - number(e, "time")));
		buf_str(b, ": ");
	}
	if (*argv)
		buf_str(b, argv);
	else
		buf_fmt(b, "[%s]", text(e, "comm"));
	if (number(e, "argv_cut"))
		buf_str(b, " ...");
}

static void connection_detail(const json_t *e, const char *kind, struct buf *b)
{
	bool in = !strcmp(text(e, "direction"), "in");
	const char *addr = text(e, "remote_addr"), *peer = text(e, "remote_service");
	bool named = *peer && strcmp(peer, addr);
	struct human h;

	if (has(e, "error"))
		buf_fmt(b, "%s ", text(e, "error"));
	buf_fmt(b, "%s %s%s", in ? "←" : "→", named ? peer : "", named ? " (" : "");
	buf_fmt(b, strchr(addr, ':') ? "[%s]:%" PRId64 : "%s:%" PRId64, addr,
		number(e, "remote_port"));
	buf_fmt(b, "%s %s", named ? ")" : "", text(e, "proto"));
	if (in)
		buf_fmt(b, " at port %" PRId64, number(e, "local_port"));
	if (strcmp(kind, "connection.close"))
		return;
	buf_fmt(b, ", sent %s", human_bytes(&h, number(e, "bytes_sent")));
	buf_fmt(b, ", received %s", human_bytes(&h, number(e, "bytes_received")));
	if (has(e, "ended"))
		buf_fmt(b, " in %s", human_span(&h, number(e, "ended") - number(e, "time")));
}

static void dns_detail(const json_t *e, struct buf *b)
{
	const char *answers = text(e, "answers"), *rcode = text(e, "rcode");
	struct human h;

	buf_fmt(b, "%s %s → %s", text(e, "type"), text(e, "name"),
		*answers ? answers
		: *rcode ? rcode
			 : "no answer");
	if (has(e, "latency_us"))
		buf_fmt(b, " in %s", human_span(&h, number(e, "latency_us") * 1000));
}

static enum term_style style_of(const json_t *e, const char *kind)
{
	if (has(e, "error") || !strcmp(kind, "lost"))
		return TERM_BAD;
	if (!strcmp(kind, "process.exec") || !strcmp(kind, "connection.open"))
		return TERM_GOOD;
	return TERM_DIM;
}

static void detail(const json_t *e, const char *kind, struct buf *b)
{
	if (!strncmp(kind, "process", 7))
		process_detail(e, kind, b);
	else if (!strncmp(kind, "connection", 10))
		connection_detail(e, kind, b);
	else if (!strcmp(kind, "dns"))
		dns_detail(e, b);
	else if (!strncmp(kind, "balance", 7))
		buf_fmt(b, "%s %s%s%s", text(e, "backend"), text(e, "state"),
			has(e, "reason") ? ": " : "", text(e, "reason"));
	else
		buf_fmt(b, "%" PRId64 " events: this reader was too slow", number(e, "events"));
}

static unsigned padded(struct buf *b, const char *s, unsigned width)
{
	unsigned used = term_add(b, s, strlen(s), width);

	buf_fmt(b, "%*s  ", (int)(width - used), "");
	return width + 2;
}

void event_print(const json_t *event, const struct term *term, struct buf *b)
{
	cleanup(buf_done) struct buf words = {0};
	const char *kind = text(event, "event"), *dot = strchr(kind, '.');
	int64_t at = number(event, "at");
	unsigned used;
	struct human h;
	char pid[24];

	used = padded(b, term->tty ? human_clock(&h, at) : human_time(&h, at), term->tty ? 12 : 23);
	term_paint(b, term->colour, style_of(event, kind));
	used += padded(b, dot ? dot + 1 : kind, KIND_WIDTH);
	term_paint(b, term->colour, TERM_PLAIN);
	snprintf(pid, sizeof(pid), has(event, "pid") ? "%7" PRId64 : "      -",
		 number(event, "pid"));
	used += padded(b, pid, 7);
	used += padded(b, text(event, "service"), SERVICE_WIDTH);
	detail(event, kind, &words);
	if (buf_ok(&words) && words.len)
		term_add(b, words.data, words.len,
			 !term->width		  ? UINT_MAX
			 : term->width > used + 8 ? term->width - used
						  : 8);
	buf_chr(b, '\n');
}
