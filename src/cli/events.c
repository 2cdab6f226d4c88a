// SPDX-License-Identifier: Apache-2.0
/* events.c: the verb events: the last ones, or all as they come. */
#include "cli/cli.h"

#include "cli/event.h"
#include "cli/human.h"
#include "cli/term.h"
#include "cli/verb.h"

static void filter(const struct args *a, enum option_id id, struct buf *b)
{
	if (!a->set[id])
		return;
	buf_fmt(b, "&%s=", option_defs[id].name);
	client_escape(b, a->text[id]);
}

static void target(const struct args *a, struct buf *b)
{
	buf_fmt(b, "/v1/events?limit=%lld",
		(long long)(a->set[OPTION_LIMIT] ? a->num[OPTION_LIMIT] : a->verb->limit));
	filter(a, OPTION_KIND, b);
	filter(a, OPTION_PID, b);
	filter(a, OPTION_COMM, b);
	filter(a, OPTION_SERVICE, b);
	filter(a, OPTION_CONTAINER, b);
}

struct printer {
	struct event_parser parser;
	struct term term;
	bool json;
	struct buf out;
};

static void printer_done(struct printer *p)
{
	event_parser_done(&p->parser);
	buf_done(&p->out);
}

static void print_json(const json_t *event, struct buf *b)
{
	cleanup(mem_free) char *text = json_dumps(event, JSON_COMPACT);

	if (text)
		buf_fmt(b, "%s\n", text);
}

static void print(struct printer *p, const json_t *event)
{
	if (p->json)
		print_json(event, &p->out);
	else
		event_print(event, &p->term, &p->out);
}

/* "lost" has neither a kind nor a time of its own. */
static void complete(json_t *event, const char *name)
{
	if (!json_object_get(event, "event"))
		json_object_set_new(event, "event", json_string(name));
	if (!json_object_get(event, "at"))
		json_object_set_new(event, "at", json_integer(human_now()));
}

static int on_line(void *arg, const char *line, size_t n)
{
	struct printer *p = arg;
	json_t *event;

	if (!event_line(&p->parser, line, n))
		return 0;
	event = json_loadb(p->parser.data.data, p->parser.data.len, 0, NULL);
	if (json_is_object(event)) {
		complete(event, p->parser.name);
		print(p, event);
	}
	json_decref(event);
	event_next(&p->parser);
	return term_flush(&p->out);
}

static int follow(const struct client *c, const char *where, struct printer *p,
		  struct skep_err *err)
{
	int rc = client_stream(c, where, on_line, p, err);

	return rc ? rc : skep_fail(err, -ENOTCONN, "the agent on %s went away", c->path);
}

static int last(const struct client *c, const char *where, struct printer *p, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	int rc = client_call(c, "GET", where, NULL, &answer, err);
	const json_t *event;
	json_t *root;
	size_t i;

	if (rc)
		return rc;
	root = json_loadb(answer.data, answer.len, 0, NULL);
	if (!json_is_array(json_object_get(root, "events")))
		rc = skep_fail(err, -EPROTO, "the agent's answer holds no events");
	json_array_foreach(json_object_get(root, "events"), i, event) print(p, event);
	json_decref(root);
	return rc ? rc : term_flush(&p->out);
}

static int events(const struct args *a, struct skep_err *err)
{
	cleanup(printer_done) struct printer p = {.json = a->set[OPTION_JSON], .term = term_look()};
	cleanup(buf_done) struct buf where = {0};
	struct client c = cli_client(a);

	if (a->set[OPTION_WIDE])
		p.term.width = 0;
	target(a, &where);
	if (!buf_ok(&where))
		return -ENOMEM;
	return a->set[OPTION_FOLLOW] ? follow(&c, where.data, &p, err)
				     : last(&c, where.data, &p, err);
}

const struct verb verb_events = {
	.name = "events",
	.doc = "what happened last, or with --follow what happens",
	.text = "One line an event: processes that fork, exec and exit, connections that open and "
		"close, DNS questions. When this reader is too slow the agent leaves events out "
		"for it and says how many.",
	.options = {OPTION_FOLLOW, OPTION_KIND, OPTION_PID, OPTION_COMM, OPTION_SERVICE,
		    OPTION_CONTAINER, OPTION_LIMIT, OPTION_WIDE, OPTION_JSON, OPTION_SOCKET},
	.limit = 50,
	.examples =
		{
			{"skep events -f", "everything, until ^C"},
			{"skep events -f --kind process.exec", "every program that is started"},
			{"skep events --kind connection,dns --comm curl",
			 "what curl did on the network"},
			{"skep events -f --json | jq -c 'select(.error)'", "what fails"},
		},
	.run = events,
};
