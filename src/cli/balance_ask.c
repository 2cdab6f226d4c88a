// SPDX-License-Identifier: Apache-2.0
/* balance_ask.c: questions about the balancer that the agent answers: why, plan. */
#include "cli/balance.h"

#include <jansson.h>

#include "cli/resources.h"
#include "cli/table.h"
#include "cli/term.h"

#define WHAT_WIDTH 10

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_t *answer_read(const struct buf *answer, struct skep_err *err)
{
	json_t *root = json_loadb(answer->data ? answer->data : "", answer->len, 0, NULL);

	if (!root)
		skep_fail(err, -EPROTO, "the agent's answer is no JSON");
	return root;
}

static void why_print(const json_t *root, struct buf *out)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(root, "steps"), i, s)
		buf_fmt(out, "%-*s %s\n", WHAT_WIDTH, text(s, "what"), text(s, "text"));
	buf_fmt(out, "%-*s %s: %s, %s\n", WHAT_WIDTH, "verdict", text(root, "verdict"),
		text(root, "reason"), text(root, "doc"));
	if (*text(root, "advice"))
		buf_fmt(out, "%-*s %s\n", WHAT_WIDTH, "to do", text(root, "advice"));
}

int balance_why(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf target = {0}, answer = {0}, out = {0};
	struct client c = cli_client(a);
	bool reaches;
	json_t *root;
	int rc;

	if (a->n_operands != 2) {
		skep_fail(err, 0,
			  "expected: skep balance why 'tcp 198.51.100.7:40000 > 203.0.113.10:443'");
		return CLI_USAGE;
	}
	buf_str(&target, "/v1/balance/why?packet=");
	client_escape(&target, a->operands[1]);
	if (!buf_ok(&target))
		return -ENOMEM;
	rc = client_call(&c, "GET", target.data, NULL, &answer, err);
	root = rc ? NULL : answer_read(&answer, err);
	if (!root)
		return rc ? rc : -EPROTO;
	reaches = json_is_true(json_object_get(root, "reaches"));
	if (a->set[OPTION_JSON])
		buf_add(&out, answer.data, answer.len);
	else
		why_print(root, &out);
	json_decref(root);
	rc = term_flush(&out);
	return rc ? rc : reaches ? CLI_OK : CLI_FAILED;
}

/* ---- plan ------------------------------------------------------------------------------------ */

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void slots_print(const json_t *s, struct buf *out)
{
	int64_t all = number(s, "slots"), now = number(s, "slots_changed");
	int64_t was = number(s, "slots_of_gone");

	buf_fmt(out, "%s %s", text(s, "change"), text(s, "name"));
	if (all && !strcmp(text(s, "change"), "changed"))
		buf_fmt(out,
			": connections that begin go elsewhere in %lld of %lld slots (%lld %%)",
			(long long)now, (long long)all, (long long)(now * 100 / all));
	buf_chr(out, '\n');
	if (json_is_true(json_object_get(s, "rehashed")))
		buf_str(out,
			"  note: live connections without an entry may go to another backend\n");
	if (was)
		buf_fmt(out,
			"  connections without an entry in %lld slots choose anew: their backend goes\n",
			(long long)was);
}

static int backends_print(const json_t *s, const struct term *term, struct buf *out)
{
	static const struct table_column layout[] = {
		{"  BACKEND"}, {"THEN"}, {"ENTRIES", .right = true}, {"TOUCHED", .right = true}};
	cleanup(table_done) struct table *t = NULL;
	const json_t *b;
	char part[80];
	size_t i, k;
	int rc = table_open(&t, layout, array_size(layout));

	if (rc)
		return rc;
	json_array_foreach(json_object_get(s, "backends"), i, b)
	{
		static const char *const keys[] = {"entries", "touched"};

		snprintf(part, sizeof(part), "  %s", text(b, "address"));
		table_cell(t, TERM_PLAIN, part, strlen(part));
		table_cell(t, TERM_PLAIN, text(b, "then"), strlen(text(b, "then")));
		for (k = 0; k < array_size(keys); k++) {
			snprintf(part, sizeof(part), "%lld", (long long)number(b, keys[k]));
			table_cell(t, TERM_PLAIN, part, strlen(part));
		}
	}
	return table_print(t, term->width, term->colour, out);
}

static int plan_print(const json_t *root, struct buf *out)
{
	struct term term = term_look();
	const json_t *s;
	size_t i;
	int rc = 0;

	json_array_foreach(json_object_get(root, "services"), i, s)
	{
		slots_print(s, out);
		rc = rc ? rc : backends_print(s, &term, out);
	}
	if (!i)
		buf_str(out, "no changes\n");
	buf_fmt(out,
		"%lld live connections with an entry would be touched, %lld slots of backends that "
		"stay; %lld of %lld entries are in use\n",
		(long long)number(root, "touched"), (long long)number(root, "touched_of_survivors"),
		(long long)number(root, "entries"), (long long)number(root, "room"));
	return rc;
}

int balance_plan(const struct args *a, struct skep_err *err)
{
	cleanup(resources_done) struct resources r = {{0}};
	cleanup(buf_done) struct buf answer = {0}, out = {0};
	struct client c = cli_client(a);
	json_t *root = NULL;
	bool wrong;
	int rc;

	if (!a->text[OPTION_RESOURCES]) {
		skep_fail(err, 0, "a file is missing: skep balance plan -f services.yaml");
		return CLI_USAGE;
	}
	rc = resources_read(&r, a, err);
	if (!rc)
		rc = client_call(&c, "POST", "/v1/balance/plan", r.text.data, &answer, err);
	if (rc && err)
		resources_place(&r, err);
	root = rc ? NULL : answer_read(&answer, err);
	if (!root)
		return rc ? rc : -EPROTO;
	wrong = number(root, "touched_of_survivors") > 0;
	if (a->set[OPTION_JSON])
		buf_add(&out, answer.data, answer.len);
	else
		rc = plan_print(root, &out);
	json_decref(root);
	rc = rc ? rc : term_flush(&out);
	return rc ? rc : wrong ? CLI_FAILED : CLI_OK;
}
