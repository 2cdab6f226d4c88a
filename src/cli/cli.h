/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h: the command `skep`: words in, one verb run, an exit code out.
 *
 *	argv -> option_parse (option.def, the verb's table) -> verb->run
 *	           |                                            |
 *	           +-> help, completion, man                    +-> client -> rows -> view -> table
 *
 * C1  Every verb, option and phrase of help stands once, in verb.def, option.def and struct verb.
 * C2  What is printed passes term_add(): no byte of a row steers the terminal.
 * C3  Answers go to the standard output, everything about them to the standard error.
 * C4  A reader who leaves (EPIPE, ^C) is no error.
 */
#ifndef SKEP_CLI_CLI_H
#define SKEP_CLI_CLI_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "cli/client.h"
#include "cli/option.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_NO_AGENT = 3,
	CLI_NOT_PERMITTED = 4,
};

/* A name and what it means: exit codes, environment, files. NULL at the end. */
struct cli_fact {
	const char *name;
	const char *doc;
};

extern const struct cli_fact cli_exits[], cli_environment[], cli_files[];
extern const char cli_doc[], cli_text[];

/** cli_main() - main() without the process. Return: enum cli_exit. */
int cli_main(int argc, char **argv);

/** cli_socket() - --socket, $SKEP_SOCKET, NULL. */
const char *cli_socket(const struct args *a);

/** cli_client() - the agent that @a means. */
struct client cli_client(const struct args *a);

/** cli_help() - add the help of one verb, or of all for NULL. */
void cli_help(struct buf *b, const struct verb *verb, unsigned width);
/** cli_help_print() - the same to the standard output. */
int cli_help_print(const struct verb *verb);

#endif
