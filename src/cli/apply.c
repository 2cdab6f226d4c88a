// SPDX-License-Identifier: Apache-2.0
/* apply.c: the verbs apply and delete: resources from files to the agent. */
#include "cli/cli.h"

#include <jansson.h>

#include "cli/resources.h"
#include "cli/term.h"
#include "cli/verb.h"

static int print(const struct args *a, const struct buf *answer, struct skep_err *err)
{
	cleanup(buf_done) struct buf out = {0};
	json_t *root = json_loadb(answer->data, answer->len, 0, NULL);
	const char *changes = json_string_value(json_object_get(root, "changes"));
	int rc = 0;

	if (!changes)
		rc = skep_fail(err, -EPROTO, "the agent's answer tells of no changes");
	else if (a->set[OPTION_JSON])
		buf_fmt(&out, "%.*s", (int)answer->len, answer->data);
	else
		buf_str(&out, *changes ? changes : "no changes\n");
	json_decref(root);
	return rc ? rc : term_flush(&out);
}

static int send(const struct args *a, const char *what, const char *more, struct resources *r,
		struct skep_err *err)
{
	cleanup(buf_done) struct buf target = {0}, answer = {0};
	struct client c = cli_client(a);
	int rc;

	buf_fmt(&target, "/v1/%s?dry=%d&file=" RESOURCES_NAME "%s", what, a->set[OPTION_DRY_RUN],
		more);
	if (!buf_ok(&target))
		return -ENOMEM;
	rc = client_call(&c, "POST", target.data, r->text.data ? r->text.data : "", &answer, err);
	if (rc && err)
		resources_place(r, err);
	return rc ? rc : print(a, &answer, err);
}

static int apply(const struct args *a, struct skep_err *err)
{
	cleanup(resources_done) struct resources r = {{0}};
	int rc;

	if (!a->set[OPTION_RESOURCES]) {
		skep_fail(err, 0, "a file is missing: skep apply -f services.yaml");
		return CLI_USAGE;
	}
	rc = resources_read(&r, a, err);
	return rc ? rc : send(a, "apply", a->set[OPTION_MERGE] ? "&merge=1" : "", &r, err);
}

const struct verb verb_apply = {
	.name = "apply",
	.doc = "make the services of files the ones that are balanced",
	.text = "The files together are the whole wanted state: services that they lack are "
		"removed; with --merge they are added, or replace those of their names. It takes "
		"hold entirely or not at all, and moves no live connection. What was applied last "
		"holds again after a restart.\n\n"
		"Services of skep and, as kubectl prints them, Service and EndpointSlice of "
		"Kubernetes are read, YAML or JSON.",
	.options = {OPTION_RESOURCES, OPTION_MERGE, OPTION_DRY_RUN, OPTION_JSON, OPTION_SOCKET},
	.examples =
		{
			{"skep apply -f services.yaml --dry-run", "what would change"},
			{"skep apply -f services.d -f more.yaml", "a folder, and a file"},
			{"skep apply --merge -f web.yaml", "one service, beside the others"},
			{"kubectl get svc,endpointslices -A -o yaml | skep apply -f -",
			 "the services of a cluster"},
		},
	.run = apply,
};

/* Names go as lines, all of them or none. */
static int names_add(const struct args *a, struct buf *b)
{
	unsigned i;

	for (i = 0; i < a->n_operands; i++)
		buf_fmt(b, "%s%s\n", strncasecmp(a->operands[i], "service/", 8) ? "service/" : "",
			a->operands[i]);
	return buf_ok(b) ? 0 : -ENOMEM;
}

static int delete_run(const struct args *a, struct skep_err *err)
{
	cleanup(resources_done) struct resources r = {{0}};
	int rc;

	if (a->set[OPTION_RESOURCES] == !!a->n_operands) {
		skep_fail(err, 0, "expected: skep delete -f FILE, or skep delete service/NAME");
		return CLI_USAGE;
	}
	rc = a->n_operands ? names_add(a, &r.text) : resources_read(&r, a, err);
	return rc ? rc : send(a, "delete", "", &r, err);
}

const struct verb verb_delete = {
	.name = "delete",
	.doc = "want some services no more",
	.text = "Those of the files, or those named, go; the others stay. Their connections end with "
		"them. A Service of Kubernetes is named service/NAMESPACE/NAME.",
	.operand = {.name = "KIND/NAME", .doc = "service/web", .most = ARGS_OPERANDS_MAX},
	.options = {OPTION_RESOURCES, OPTION_DRY_RUN, OPTION_JSON, OPTION_SOCKET},
	.examples =
		{
			{"skep delete service/web", "it, and nothing else"},
			{"skep delete -f services.yaml --dry-run", "what would go"},
		},
	.run = delete_run,
};
