// SPDX-License-Identifier: Apache-2.0
/*
 * status.c: the verb status: how the agent does and what this host can do. Without an agent the
 * host is asked here; both ways lead to the JSON of /v1/status, which is then printed.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <jansson.h>

#include "cli/human.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/verb.h"
#include "host/host.h"

#define FACT_WIDTH 9U /* "version" and two blanks */

struct page {
	struct term term;
	struct buf out;
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void painted(struct page *p, enum term_style style, const char *s)
{
	term_paint(&p->out, p->term.colour, style);
	term_add(&p->out, s, strlen(s), UINT32_MAX);
	term_paint(&p->out, p->term.colour, TERM_PLAIN);
}

/* A name in its column, and words wrapped beside it. */
static void fact(struct page *p, const char *name, const char *words)
{
	buf_fmt(&p->out, "  %-*s", FACT_WIDTH, name);
	term_wrap(&p->out, words, FACT_WIDTH + 2, p->term.width);
	buf_chr(&p->out, '\n');
}

static void agent(struct page *p, const json_t *root)
{
	const json_t *a = json_object_get(root, "agent"), *host = json_object_get(root, "host");
	struct human up, memory;
	char words[512];

	painted(p, TERM_HEAD, "Agent");
	buf_chr(&p->out, '\n');
	snprintf(words, sizeof(words), "skep %s on %s, Linux %s, %" PRId64 " CPUs",
		 text(a, "version"), text(host, "name"), text(host, "kernel"),
		 number(host, "cpus"));
	fact(p, "version", words);
	snprintf(words, sizeof(words), "pid %" PRId64 ", up %s, %s resident", number(a, "pid"),
		 human_span(&up, number(a, "uptime_s") * 1000000000),
		 human_bytes(&memory, number(a, "resident_bytes")));
	fact(p, "process", words);
	fact(p, "socket", text(a, "socket"));
	if (*text(a, "listen")) {
		snprintf(words, sizeof(words), "http://%s (`skep url` prints it with its token)",
			 text(a, "listen"));
		fact(p, "page", words);
	}
	fact(p, "state", text(a, "state_dir"));
	snprintf(words, sizeof(words), "%" PRId64 " events", number(root, "lost"));
	fact(p, "lost", words);
}

/* Columns that the longest name of a list takes. */
static unsigned widest(const json_t *list, const char *key)
{
	unsigned width = 0;
	const json_t *o;
	size_t i;

	json_array_foreach(list, i, o) width =
		max(width, (unsigned)term_width(text(o, key), strlen(text(o, key))));
	return width;
}

/* "+ name  use" where it is ready; else with the reason and the remedy below. */
static void item(struct page *p, unsigned width, bool ready, const char *name, const char *use,
		 const char *reason, const char *fix)
{
	unsigned own = term_width(name, strlen(name));

	buf_str(&p->out, "  ");
	painted(p, ready ? TERM_GOOD : TERM_BAD, ready ? "✓ " : "✗ ");
	term_add(&p->out, name, strlen(name), UINT32_MAX);
	buf_fmt(&p->out, "%*s", (int)(width - min(own, width)) + 2, "");
	term_wrap(&p->out, use, width + 6, p->term.width);
	buf_chr(&p->out, '\n');
	if (ready)
		return;
	if (*reason) {
		buf_str(&p->out, "      why  ");
		term_wrap(&p->out, reason, 11, p->term.width);
		buf_chr(&p->out, '\n');
	}
	if (*fix) {
		buf_str(&p->out, "      fix  ");
		term_wrap(&p->out, fix, 11, p->term.width);
		buf_chr(&p->out, '\n');
	}
}

static void capabilities(struct page *p, const json_t *root)
{
	const json_t *c, *r;
	unsigned width;
	bool ready;
	size_t i, k;

	json_array_foreach(json_object_get(root, "capabilities"), i, c)
	{
		buf_chr(&p->out, '\n');
		painted(p, TERM_HEAD, text(c, "name"));
		buf_str(&p->out, ": ");
		term_wrap(&p->out, text(c, "doc"), 2, p->term.width);
		buf_fmt(&p->out, " (%" PRId64 " events lost)\n", number(c, "lost"));
		width = widest(json_object_get(c, "reports"), "what");
		json_array_foreach(json_object_get(c, "reports"), k, r)
		{
			ready = json_is_true(json_object_get(r, "ready"));
			item(p, width, ready, text(r, "what"), ready ? text(r, "how") : "",
			     text(r, "how"), text(r, "fix"));
		}
	}
}

static void features(struct page *p, const json_t *root)
{
	const json_t *list = json_object_get(root, "features"), *f;
	unsigned width = widest(list, "name");
	size_t i;

	if (!json_array_size(list))
		return;
	buf_chr(&p->out, '\n');
	painted(p, TERM_HEAD, "What this kernel lets skep do");
	buf_chr(&p->out, '\n');
	json_array_foreach(list, i, f)
		item(p, width, json_is_true(json_object_get(f, "ready")), text(f, "name"),
		     text(f, "use"), text(f, "reason"), text(f, "fix"));
}

static void table_row(struct table *t, const json_t *row)
{
	static const char *const keys[] = {"rows", "open", "appended", "dropped"};
	char cell[128];
	struct human h;
	size_t i;

	snprintf(cell, sizeof(cell), "  %s", text(row, "name"));
	table_cell(t, TERM_PLAIN, cell, strlen(cell));
	for (i = 0; i < array_size(keys); i++) {
		snprintf(cell, sizeof(cell), "%" PRId64, number(row, keys[i]));
		table_cell(t, TERM_PLAIN, cell, strlen(cell));
	}
	human_bytes(&h, number(row, "bytes"));
	table_cell(t, TERM_PLAIN, h.text, strlen(h.text));
}

static int tables(struct page *p, const json_t *root)
{
	static const struct table_column layout[] = {
		{"  TABLE"},
		{"ROWS", .right = true},
		{"OPEN", .right = true},
		{"APPENDED", .right = true},
		{"DROPPED", .right = true},
		{"MEMORY", .right = true},
	};
	const json_t *list = json_object_get(root, "tables"), *row;
	cleanup(table_done) struct table *t = NULL;
	size_t i;
	int rc;

	if (!json_array_size(list))
		return 0;
	rc = table_open(&t, layout, array_size(layout));
	if (rc)
		return rc;
	json_array_foreach(list, i, row) table_row(t, row);
	buf_chr(&p->out, '\n');
	painted(p, TERM_HEAD, "Memory");
	buf_chr(&p->out, '\n');
	return table_print(t, p->term.width, p->term.colour, &p->out);
}

static int print(const struct args *a, const json_t *root)
{
	cleanup(buf_done) struct buf json = {0};
	struct page p = {.term = term_look()};
	int rc;

	if (a->set[OPTION_JSON]) {
		cleanup(mem_free) char *dump = json_dumps(root, JSON_COMPACT);

		if (!dump)
			return -ENOMEM;
		buf_fmt(&json, "%s\n", dump);
		return term_flush(&json);
	}
	if (json_object_get(root, "agent"))
		agent(&p, root);
	else
		buf_fmt(&p.out,
			"No agent answers on %s. This host, Linux %s, was asked directly.\n",
			cli_client(a).path, text(json_object_get(root, "host"), "kernel"));
	capabilities(&p, root);
	features(&p, root);
	rc = tables(&p, root);
	if (!rc)
		rc = term_flush(&p.out);
	buf_done(&p.out);
	return rc;
}

static json_t *feature_json(const struct host_feature *f)
{
	json_t *o = json_pack("{s:s, s:s, s:b}", "name", f->name, "use", f->use, "ready", f->ready);

	if (o && !f->ready) {
		json_object_set_new(o, "reason", json_string(f->reason));
		json_object_set_new(o, "fix", json_string(f->fix));
	}
	return o;
}

static json_t *look(struct host *h)
{
	json_t *list = json_array();
	int id;

	for (id = 0; id < HOST_FEATURE_COUNT; id++)
		json_array_append_new(list,
				      feature_json(host_feature(h, (enum host_feature_id)id)));
	return json_pack("{s:{s:s, s:i}, s:o}", "host", "kernel", host_kernel(h), "cpus",
			 (int)sysconf(_SC_NPROCESSORS_ONLN), "features", list);
}

static int without_agent(const struct args *a, struct skep_err *err)
{
	struct host *h = NULL;
	int rc = host_open(&h, err);
	json_t *root;

	if (rc) {
		skep_note(err, rc, "no agent runs, and this host cannot run one");
		return CLI_NOT_PERMITTED;
	}
	err->text[0] = '\0';
	root = look(h);
	host_free(h);
	rc = root ? print(a, root) : -ENOMEM;
	json_decref(root);
	return rc;
}

static int status(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	struct client c = cli_client(a);
	int rc = client_call(&c, "GET", "/v1/status", NULL, &answer, err);
	json_t *root;

	if (rc == -ENOTCONN)
		return without_agent(a, err);
	if (rc)
		return rc;
	root = json_loadb(answer.data, answer.len, 0, NULL);
	rc = json_is_object(root) ? print(a, root)
				  : skep_fail(err, -EPROTO, "the agent's answer is no status");
	json_decref(root);
	return rc;
}

const struct verb verb_status = {
	.name = "status",
	.doc = "how the agent does, and what this host lets skep do",
	.text = "Each feature of the kernel that skep can use: ready, or why not and what would fix "
		"it. Without an agent the host is asked directly, which needs root.",
	.options = {OPTION_JSON, OPTION_SOCKET},
	.examples =
		{
			{"skep status", "the whole picture"},
			{"skep status --json | jq '.features[] | select(.ready | not)'",
			 "what is missing"},
		},
	.run = status,
};
