// SPDX-License-Identifier: Apache-2.0
/* man.c: the verb man: the manual page in roff, from the tables of verbs and options. */
#include "cli/cli.h"

#include "cli/term.h"
#include "cli/verb.h"
#include "cli/view.h"

/* Text as roff: dashes and backslashes escaped, `code` in bold, no line begun by a control. */
static void text(struct buf *b, const char *s)
{
	bool code = false, fresh = true;

	for (; s && *s; s++) {
		if (*s == '`') {
			code = !code;
			buf_str(b, code ? "\\fB" : "\\fR");
		} else if (*s == '\n') {
			buf_str(b, s[1] == '\n' ? "\n.PP\n" : "\n");
			s += s[1] == '\n';
			fresh = true;
			continue;
		} else if (*s == '-') {
			buf_str(b, "\\-");
		} else if (*s == '\\') {
			buf_str(b, "\\e");
		} else if (fresh && (*s == '.' || *s == '\'')) {
			buf_fmt(b, "\\&%c", *s);
		} else if (*s == '\'') {
			buf_str(b, "\\(aq");
		} else if (*s == '"') {
			buf_str(b, "\\(dq");
		} else {
			buf_chr(b, *s);
		}
		fresh = false;
	}
}

static void bold(struct buf *b, const char *s)
{
	buf_str(b, "\\fB");
	text(b, s);
	buf_str(b, "\\fR");
}

static void fact(struct buf *b, const char *name, const char *doc)
{
	buf_str(b, ".TP\n");
	bold(b, name);
	buf_chr(b, '\n');
	text(b, doc);
	buf_chr(b, '\n');
}

static void facts(struct buf *b, const char *section, const struct cli_fact *f)
{
	buf_fmt(b, ".SH %s\n", section);
	for (; f->name; f++)
		fact(b, f->name, f->doc);
}

static void option(struct buf *b, const struct verb *v, enum option_id id)
{
	const struct option_def *o = &option_defs[id];
	char name[64];

	buf_str(b, ".TP\n");
	if (o->letter) {
		snprintf(name, sizeof(name), "-%c", o->letter);
		bold(b, name);
		buf_str(b, ", ");
	}
	snprintf(name, sizeof(name), "--%s", o->name);
	bold(b, name);
	if (o->arg) {
		buf_str(b, " \\fI");
		text(b, o->arg);
		buf_str(b, "\\fR");
	}
	buf_chr(b, '\n');
	text(b, o->doc);
	if (o->choices) {
		buf_str(b, ": ");
		for (const char *s = o->choices; *s; s++) {
			if (*s == '|')
				buf_str(b, ", ");
			else
				buf_chr(b, *s);
		}
	}
	if (id == OPTION_LIMIT && v->limit)
		buf_fmt(b, " (default %lld)", (long long)v->limit);
	buf_chr(b, '\n');
}

static void verb(struct buf *b, const struct verb *v)
{
	enum option_id id;

	buf_fmt(b, ".SS skep %s", v->name);
	if (v->operand.name)
		buf_fmt(b,
			v->operand.rest	      ? " \\-\\- %s"
			: v->operand.required ? " %s"
					      : " [%s]",
			v->operand.name);
	buf_chr(b, '\n');
	text(b, v->doc);
	buf_str(b, ".\n");
	if (v->text) {
		buf_str(b, ".PP\n");
		text(b, v->text);
		buf_chr(b, '\n');
	}
	if (v->operand.name)
		fact(b, v->operand.name, v->operand.doc);
	verb_each_option(v, id) if (id != OPTION_HELP) option(b, v, id);
	if (!v->view)
		return;
	buf_str(b, ".PP\nColumns: ");
	view_names(v->view, ", ", b);
	buf_str(b, ".\n");
}

static void examples(struct buf *b)
{
	const struct verb_example *e;
	const struct verb *v;

	buf_str(b, ".SH EXAMPLES\n");
	verb_each(v)
	{
		for (e = v->examples; e->command; e++) {
			buf_str(b, ".TP\n");
			bold(b, e->command);
			buf_chr(b, '\n');
			text(b, e->doc);
			buf_chr(b, '\n');
		}
	}
}

static void page(struct buf *b)
{
	const struct verb *v;

	buf_fmt(b,
		".\\\" made by `skep man`\n.TH SKEP 1 \"\" \"skep %s\" \"User Commands\"\n.nh\n.ad l\n",
		SKEP_VERSION);
	buf_str(b, ".SH NAME\nskep \\- ");
	text(b, cli_doc);
	buf_str(b, "\n.SH SYNOPSIS\n\\fBskep\\fR \\fIVERB\\fR [\\fIOPTION\\fR...]\n"
		   ".SH DESCRIPTION\n");
	text(b, cli_text);
	buf_str(b, "\n.SH VERBS\nEach takes \\fB\\-h\\fR or \\fB\\-\\-help\\fR, too.\n");
	verb_each(v) verb(b, v);
	facts(b, "EXIT STATUS", cli_exits);
	facts(b, "FILES", cli_files);
	facts(b, "ENVIRONMENT", cli_environment);
	examples(b);
}

static int man(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};

	(void)a;
	(void)err;
	page(&b);
	return term_flush(&b);
}

const struct verb verb_man = {
	.name = "man",
	.doc = "print the manual page (roff)",
	.examples = {{"skep man | man -l -", "read it"}},
	.run = man,
};
