/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verb.h: what a verb of the command is. Each is defined beside the code that does it; parsing,
 * help, completions and the man page read nothing but these structs and option.def.
 */
#ifndef SKEP_CLI_VERB_H
#define SKEP_CLI_VERB_H

#include "base/base.h"
#include "base/err.h"
#include "cli/option.h"

struct view;

struct verb_operand {
	const char *name; /* NULL: the verb takes none */
	const char *doc;
	const char *choices; /* "a|b|c" of the first, NULL: any */
	bool required;
	bool rest;     /* all words from the first operand on are the verb's, dashes and all */
	unsigned most; /* how many; 0: one */
};

struct verb_example {
	const char *command;
	const char *doc;
};

struct verb {
	const char *name;
	const char *doc;  /* one phrase */
	const char *text; /* paragraphs, an empty line between them */
	struct verb_operand operand;
	enum option_id options[24];	 /* OPTION_HELP, which every verb has, ends them */
	int64_t limit;			 /* of --limit where it is not given; 0: none */
	const struct view *view;	 /* NULL: no columns to choose */
	struct verb_example examples[8]; /* the last is none */

	/**
	 * run() - do it. Writes to the standard output; what goes wrong is said in @err only.
	 *
	 * Return: 0, enum cli_exit, or -errno that cli_main() turns into one.
	 */
	int (*run)(const struct args *a, struct skep_err *err);
};

#define VERB(name) extern const struct verb verb_##name;
#include "cli/verb.def"
#undef VERB

/* All of them, NULL at the end; and their names, "up|status|...". */
extern const struct verb *const verb_all[];
extern const char verb_names_barred[]; /* with a bar in front */
#define verb_names (verb_names_barred + 1)

const struct verb *verb_find(const char *name);

#define verb_each(v) for (const struct verb *const *v##_ = verb_all; ((v) = *v##_); v##_++)

/* The options of @verb in the order of its table, OPTION_HELP last. */
#define verb_each_option(verb, id)                                                   \
	for (unsigned at_ = 0, more_ = 1; more_ && ((id) = (verb)->options[at_], 1); \
	     more_ = (id) != OPTION_HELP, at_++)

#endif
