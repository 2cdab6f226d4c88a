// SPDX-License-Identifier: Apache-2.0
/* balance_ask.c: questions about the balancer that the agent answers: why. */
#include "cli/balance.h"

#include <jansson.h>

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
