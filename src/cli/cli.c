// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include "agent/agent.h"
#include "cli/term.h"
#include "cli/verb.h"

const char cli_doc[] = "see what a Linux host does: every process, every connection, live";

const char cli_text[] =
	"skep loads small eBPF programs into the kernel and shows every process and every "
	"connection of the host as it happens: here in the terminal, on a web page, over an API "
	"and in SQL.\n\n"
	"One agent (`skep up`) watches the host and keeps what it saw in memory. All other verbs "
	"ask it over its unix socket.";

const struct cli_fact cli_exits[] = {
	{"0", "done"},
	{"1", "failed; the reason is on standard error"},
	{"2", "the command line is wrong"},
	{"3", "no agent answers, or it went away"},
	{"4", "not permitted, or the kernel lacks what is needed"},
	{"125, 126, 127",
	 "of exec: it failed itself, the command cannot be run, there is no such command; otherwise "
	 "the command's own status, or 128 and the signal that ended it"},
	{NULL, NULL},
};

const struct cli_fact cli_environment[] = {
	{"SKEP_SOCKET", "the agent's socket, where --socket is not given"},
	{"NO_COLOR", "set to anything: no colours"},
	{"COLUMNS", "width of the terminal, instead of asking it"},
	{NULL, NULL},
};

const struct cli_fact cli_files[] = {
	{CLIENT_SOCKET, "the agent's socket, for root and group skep"},
	{"/var/lib/skep", "wanted state"},
	{NULL, NULL},
};

const char *cli_socket(const struct args *a)
{
	const char *env = getenv("SKEP_SOCKET");

	if (a->text[OPTION_SOCKET])
		return a->text[OPTION_SOCKET];
	return env && *env ? env : NULL;
}

struct client cli_client(const struct args *a)
{
	const char *path = cli_socket(a);

	return (struct client){
		.path = path ? path : CLIENT_SOCKET,
		.timeout_ms = 30000,
		.most = 512U << 20,
	};
}

static int exit_of(int rc)
{
	switch (rc) {
	case -EPIPE:
		return CLI_OK;
	case -ENOTCONN:
	case -ETIMEDOUT:
		return CLI_NO_AGENT;
	case -EPERM:
	case -EACCES:
	case -ENOSYS:
	case -EOPNOTSUPP:
		return CLI_NOT_PERMITTED;
	default:
		return rc < 0 ? CLI_FAILED : rc;
	}
}

static void complain(int rc, const struct skep_err *err)
{
	if (err->text[0])
		fprintf(stderr, "skep: %s\n", err->text);
	else if (rc < 0 && rc != -EPIPE)
		fprintf(stderr, "skep: %s\n", strerror(-rc));
}

static int run(const struct verb *verb, int argc, char **argv, struct skep_err *err)
{
	struct args a;

	if (option_parse(verb, argc, argv, &a, err))
		return CLI_USAGE;
	return a.set[OPTION_HELP] ? cli_help_print(verb) : verb->run(&a, err);
}

/* The verb that the first word means, also in the spelling of an option. */
static const struct verb *verb_of(const char *word)
{
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		return &verb_help;
	if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		return &verb_version;
	return verb_find(word);
}

static int no_verb(const char *word, struct skep_err *err)
{
	char near[64];

	option_nearest(verb_names, word, near, sizeof(near));
	if (near[0])
		skep_fail(err, 0, "no verb '%s': did you mean 'skep %s'?", word, near);
	else
		skep_fail(err, 0, "no verb '%s': `skep help` lists them", word);
	return CLI_USAGE;
}

int cli_main(int argc, char **argv)
{
	struct skep_err err = {""};
	const struct verb *verb;
	int rc;

	term_init();
	if (argc < 2) {
		rc = cli_help_print(NULL);
		return rc ? exit_of(rc) : CLI_USAGE;
	}
	verb = verb_of(argv[1]);
	rc = verb ? run(verb, argc - 2, argv + 2, &err) : no_verb(argv[1], &err);
	complain(rc, &err);
	return exit_of(rc);
}
