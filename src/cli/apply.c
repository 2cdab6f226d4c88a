// SPDX-License-Identifier: Apache-2.0
/* apply.c: the verb apply: resources from a file to the agent, as the whole wanted state. */
#include "cli/cli.h"

#include <fcntl.h>
#include <jansson.h>

#include "cli/term.h"
#include "cli/verb.h"

int cli_file_read(const char *path, struct buf *b, struct skep_err *err)
{
	bool in = !strcmp(path, "-");
	cleanup(fd_close) int fd = in ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	char part[65536];
	ssize_t n = 0;

	if (fd < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	while ((n = read(fd, part, sizeof(part))) > 0)
		buf_add(b, part, (size_t)n);
	if (n < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	buf_str(b, "");
	return buf_ok(b) ? 0 : -ENOMEM;
}

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

static int apply(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf text = {0}, target = {0}, answer = {0};
	const char *path = a->text[OPTION_RESOURCES];
	struct client c = cli_client(a);
	int rc;

	if (!path) {
		skep_fail(err, 0, "a file is missing: skep apply -f services.yaml");
		return CLI_USAGE;
	}
	rc = cli_file_read(path, &text, err);
	if (rc)
		return rc;
	buf_fmt(&target, "/v1/apply?dry=%d&file=", a->set[OPTION_DRY_RUN]);
	client_escape(&target, path);
	rc = client_call(&c, "POST", target.data, text.data ? text.data : "", &answer, err);
	return rc ? rc : print(a, &answer, err);
}

const struct verb verb_apply = {
	.name = "apply",
	.doc = "make the services of a file the ones that are balanced",
	.text = "The file is the whole wanted state: services that it lacks are removed. It takes "
		"hold entirely or not at all, and moves no live connection. What was applied last "
		"holds again after a restart.",
	.options = {OPTION_RESOURCES, OPTION_DRY_RUN, OPTION_JSON, OPTION_SOCKET},
	.examples =
		{
			{"skep apply -f services.yaml --dry-run", "what would change"},
			{"skep apply -f services.yaml", "change it"},
		},
	.run = apply,
};
