/* SPDX-License-Identifier: Apache-2.0 */
/*
 * option.h: options as a table, and the command line read by it.
 *
 * Not its business: which verb takes which options (verb.h), what they do.
 */
#ifndef SKEP_CLI_OPTION_H
#define SKEP_CLI_OPTION_H

#include "base/base.h"
#include "base/err.h"

struct verb;

enum option_id {
#define OPTION(id, name, letter, type, arg, choices, doc) OPTION_##id,
#include "cli/option.def"
#undef OPTION
	OPTION_COUNT
};

enum option_type {
	OPTION_TYPE_FLAG,
	OPTION_TYPE_INT, /* 1 or more, one argument like all below */
	OPTION_TYPE_TEXT,
	OPTION_TYPE_TEXTS, /* may be given again and again */
	OPTION_TYPE_FILE,
	OPTION_TYPE_FILES, /* as TEXTS */
	OPTION_TYPE_DIR,
	OPTION_TYPE_ENUM,    /* one of choices */
	OPTION_TYPE_LIST,    /* some of choices, comma between them */
	OPTION_TYPE_COLUMN,  /* a column of the verb's view, perhaps behind a '-' */
	OPTION_TYPE_COLUMNS, /* some of them, comma between them */
};

struct option_def {
	const char *name;
	char letter; /* 0: none */
	enum option_type type;
	const char *arg;     /* as help shows it; NULL for flags */
	const char *choices; /* "a|b|c" */
	const char *doc;     /* one phrase */
};

extern const struct option_def option_defs[OPTION_COUNT];

#define ARGS_OPERANDS_MAX 8
#define ARGS_TEXTS_MAX	  64

/* A command line as it was understood; strings are borrowed from argv. */
struct args {
	const struct verb *verb;
	bool set[OPTION_COUNT];
	const char *text[OPTION_COUNT]; /* the argument as given, NULL where not set */
	int64_t num[OPTION_COUNT];	/* of OPTION_TYPE_INT */
	struct {
		enum option_id id;
		const char *text;
	} texts[ARGS_TEXTS_MAX]; /* of OPTION_TYPE_TEXTS and _FILES, in order */
	unsigned n_texts;
	const char *operands[ARGS_OPERANDS_MAX];
	unsigned n_operands;
	char *const
		*rest; /* for verbs that take them: the first operand and what follows, to NULL */
};

/**
 * option_parse() - read what stands behind the verb.
 * @argv: without program and verb; `--name value`, `--name=value`, `-n value`, `-nvalue`, `-ab`; `--`
 *        ends options; `-` is an operand. NULL stands behind the last
 *
 * Return: 0, or -EINVAL with a sentence that names the nearest option. With --help the rest is not
 * checked.
 */
int option_parse(const struct verb *verb, int argc, char *const *argv, struct args *out,
		 struct skep_err *err);

/** option_texts() - what was given for an OPTION_TYPE_TEXTS or _FILES, in order. Return: how many. */
unsigned option_texts(const struct args *a, enum option_id id, const char *out[ARGS_TEXTS_MAX]);

/**
 * option_nearest() - the choice that a misspelt @word most likely meant.
 * @choices: "a|b|c"
 * @out:     the choice, "" where none is near
 */
void option_nearest(const char *choices, const char *word, char *out, size_t cap);

/** option_chosen() - whether @word is one of @choices. */
bool option_chosen(const char *choices, const char *word, size_t n);

#endif
