// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.h"

#include "cli/term.h"
#include "cli/verb.h"
#include "cli/view.h"

#define DOC_AT 26

/* A left part in two blanks, and its doc wrapped at DOC_AT; on the next line where that is taken. */
static void entry(struct buf *b, const char *left, const char *doc, unsigned width)
{
	int pad = DOC_AT - 2 - (int)strlen(left);

	buf_fmt(b, "  %s", left);
	if (pad < 2)
		buf_fmt(b, "\n%*s", DOC_AT, "");
	else
		buf_fmt(b, "%*s", pad, "");
	term_wrap(b, doc, DOC_AT, width);
	buf_chr(b, '\n');
}

static void paragraphs(struct buf *b, const char *text, unsigned width)
{
	char part[2048];
	const char *end;
	size_t n;

	while (text && *text) {
		end = strstr(text, "\n\n");
		n = end ? (size_t)(end - text) : strlen(text);
		snprintf(part, sizeof(part), "%.*s", (int)n, text);
		term_wrap(b, part, 0, width);
		buf_str(b, "\n\n");
		text += n + (end ? 2 : 0);
	}
}

static void option(struct buf *b, const struct verb *verb, enum option_id id, unsigned width)
{
	const struct option_def *o = &option_defs[id];
	char left[96], doc[512], letter[8] = "    ";

	if (o->letter)
		snprintf(letter, sizeof(letter), "-%c, ", o->letter);
	snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
		 o->arg ? o->arg : "");
	if (o->choices)
		snprintf(doc, sizeof(doc), "%s: %s", o->doc, o->choices);
	else if (id == OPTION_LIMIT && verb->limit)
		snprintf(doc, sizeof(doc), "%s (default %lld)", o->doc, (long long)verb->limit);
	else
		snprintf(doc, sizeof(doc), "%s", o->doc);
	entry(b, left, doc, width);
}

static void columns(struct buf *b, const struct view *view, unsigned width)
{
	cleanup(buf_done) struct buf names = {0};

	view_names(view, " ", &names);
	buf_str(b, "\nColumns:\n  ");
	if (buf_ok(&names))
		term_wrap(b, names.data, 2, width);
	buf_chr(b, '\n');
}

static void one_verb(struct buf *b, const struct verb *v, unsigned width)
{
	const struct verb_operand *o = &v->operand;
	const struct verb_example *e;
	enum option_id id;

	buf_fmt(b, "Usage: skep %s [OPTION...]", v->name);
	if (o->name)
		buf_fmt(b, o->rest ? " -- %s" : o->required ? " %s" : " [%s]", o->name);
	buf_fmt(b, "\n\n%s: %s.\n\n", v->name, v->doc);
	paragraphs(b, v->text, width);
	if (o->name) {
		entry(b, o->name, o->doc, width);
		buf_chr(b, '\n');
	}
	buf_str(b, "Options:\n");
	verb_each_option(v, id) option(b, v, id, width);
	if (v->view)
		columns(b, v->view, width);
	if (v->examples[0].command)
		buf_str(b, "\nExamples:\n");
	for (e = v->examples; e->command; e++)
		buf_fmt(b, "  %s\n      %s\n", e->command, e->doc);
}

static void all_verbs(struct buf *b, unsigned width)
{
	const struct cli_fact *f;
	const struct verb *v;

	buf_fmt(b, "skep: %s\n\nUsage: skep VERB [OPTION...]\n\nVerbs:\n", cli_doc);
	verb_each(v) entry(b, v->name, v->doc, width);
	buf_str(b, "\nBegin with `sudo skep up` in one terminal and `skep top` in another.\n"
		   "`skep VERB --help` tells more, `skep man | man -l -` everything.\n\n"
		   "Exit status:\n");
	for (f = cli_exits; f->name; f++)
		entry(b, f->name, f->doc, width);
}

void cli_help(struct buf *b, const struct verb *verb, unsigned width)
{
	if (verb)
		one_verb(b, verb, width);
	else
		all_verbs(b, width);
}

int cli_help_print(const struct verb *verb)
{
	cleanup(buf_done) struct buf b = {0};
	struct term t = term_look();

	cli_help(&b, verb, t.width && t.width < 100 ? t.width : 100);
	return term_flush(&b);
}

static int run(const struct args *a, struct skep_err *err)
{
	(void)err;
	return cli_help_print(a->n_operands ? verb_find(a->operands[0]) : NULL);
}

const struct verb verb_help = {
	.name = "help",
	.doc = "this overview, or all about one verb",
	.operand = {.name = "VERB", .doc = "the verb to tell about", .choices = verb_names},
	.run = run,
};
