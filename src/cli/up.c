// SPDX-License-Identifier: Apache-2.0
/* up.c: the verbs that are about the agent as a program: up, url, config, version. */
#include "cli/cli.h"

#include <jansson.h>

#include "agent/agent.h"
#include "cli/term.h"
#include "cli/verb.h"

static int up(const struct args *a, struct skep_err *err)
{
	const char *log = a->text[OPTION_LOG];
	const struct agent_options options = {
		.config = a->text[OPTION_CONFIG],
		.state_dir = a->text[OPTION_STATE_DIR],
		.socket = cli_socket(a),
		.listen = a->text[OPTION_LISTEN],
		.log_json = log ? !strcmp(log, "json") : -1,
	};

	int rc = agent_run(&options, err);

	/* What is not there is the kernel's BTF, unless it is the file we were told to read. */
	if (rc == -ENOENT && (!options.config || !access(options.config, F_OK)))
		rc = -ENOSYS;
	return rc;
}

static int url(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0}, out = {0};
	struct client c = cli_client(a);
	int rc = client_call(&c, "GET", "/v1/url", NULL, &answer, err);
	const char *text;
	json_t *root;

	if (rc)
		return rc;
	root = json_loadb(answer.data, answer.len, 0, NULL);
	text = json_string_value(json_object_get(root, "url"));
	if (text)
		buf_fmt(&out, "%s\n", text);
	json_decref(root);
	if (!out.len)
		return skep_fail(err, -EPROTO, "the agent gave no URL");
	return term_flush(a->set[OPTION_JSON] ? &answer : &out);
}

static int config(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};
	int rc = agent_config_print(&b);

	(void)a;
	(void)err;
	return rc ? rc : term_flush(&b);
}

static int version(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};

	(void)err;
	buf_fmt(&b, a->set[OPTION_JSON] ? "{\"version\":\"%s\"}\n" : "skep %s\n", SKEP_VERSION);
	return term_flush(&b);
}

const struct verb verb_up = {
	.name = "up",
	.doc = "run the agent here, in the foreground",
	.text = "Loads skep's eBPF programs, watches the host until it is told to stop (^C or "
		"SIGTERM), and prints the address of its page. It needs root, a kernel with BTF "
		"(5.15 or newer) and writes nothing but its socket and its state directory.\n\n"
		"As a service: `systemctl enable --now skep`.",
	.options = {OPTION_CONFIG, OPTION_STATE_DIR, OPTION_SOCKET, OPTION_LISTEN, OPTION_LOG},
	.examples =
		{
			{"sudo skep up", "watch this host; the page's address is on the last line"},
			{"skep config > skep.yaml; sudo skep up --config skep.yaml",
			 "begin with the reference configuration and change it"},
			{"sudo skep up --listen 127.0.0.1:8080 --log json",
			 "another port, logs as JSON"},
		},
	.run = up,
};

const struct verb verb_url = {
	.name = "url",
	.doc = "print the address of the agent's page, with its token",
	.text = "Whoever has this address may see what the agent sees. The token is given over the "
		"unix socket only.",
	.options = {OPTION_SOCKET, OPTION_JSON},
	.examples = {{"xdg-open \"$(skep url)\"", "open the page"}},
	.run = url,
};

const struct verb verb_config = {
	.name = "config",
	.doc = "print the reference configuration: every setting with its default",
	.examples = {{"skep config > skep.yaml", "a file to begin with"}},
	.run = config,
};

const struct verb verb_version = {
	.name = "version",
	.doc = "print the version of this command",
	.options = {OPTION_JSON},
	.run = version,
};
