// SPDX-License-Identifier: Apache-2.0
/* completion.c: the verb completion: scripts for three shells from the tables of verbs and options. */
#include "cli/cli.h"

#include "cli/term.h"
#include "cli/verb.h"
#include "cli/view.h"

/* "a|b|c" with blanks for bars. */
static void words(struct buf *b, const char *choices)
{
	for (; choices && *choices; choices++)
		buf_chr(b, *choices == '|' ? ' ' : *choices);
}

/* The words an option's argument can be, if it is of words. */
static void values(struct buf *b, const struct verb *v, const struct option_def *o)
{
	words(b, o->choices);
	if (o->type == OPTION_TYPE_COLUMN || o->type == OPTION_TYPE_COLUMNS)
		view_names(v->view, " ", b);
}

static bool takes_path(const struct option_def *o)
{
	return o->type == OPTION_TYPE_FILE || o->type == OPTION_TYPE_FILES ||
	       o->type == OPTION_TYPE_DIR;
}

static bool takes_words(const struct option_def *o)
{
	return o->type >= OPTION_TYPE_ENUM;
}

static bool takes_list(const struct option_def *o)
{
	return o->type == OPTION_TYPE_LIST || o->type == OPTION_TYPE_COLUMNS;
}

/* ---- bash -------------------------------------------------------------------------------- */

static void bash_pattern(struct buf *b, const struct option_def *o)
{
	buf_fmt(b, "\t\t\t--%s", o->name);
	if (o->letter)
		buf_fmt(b, "|-%c", o->letter);
	buf_str(b, ") ");
}

static void bash_argument(struct buf *b, const struct verb *v, const struct option_def *o)
{
	if (!o->arg)
		return;
	bash_pattern(b, o);
	if (takes_words(o)) {
		buf_str(b, takes_list(o) ? "_skep_list '" : "_skep_words '");
		values(b, v, o);
		buf_str(b, "'; return ;;\n");
	} else if (takes_path(o)) {
		buf_fmt(b,
			"compopt -o filenames; mapfile -t COMPREPLY < <(compgen -%c -- \"$cur\"); return ;;\n",
			o->type == OPTION_TYPE_DIR ? 'd' : 'f');
	} else {
		buf_str(b, "return ;;\n");
	}
}

static void bash_verb(struct buf *b, const struct verb *v)
{
	enum option_id id;

	buf_fmt(b, "\t%s)\n\t\tcase $prev in\n", v->name);
	verb_each_option(v, id) bash_argument(b, v, &option_defs[id]);
	buf_str(b, "\t\tesac\n\t\t_skep_words '");
	words(b, v->operand.choices);
	verb_each_option(v, id) buf_fmt(b, " --%s", option_defs[id].name);
	buf_str(b, v->operand.rest ? "'\n\t\t[[ $cur == -* ]] || mapfile -t COMPREPLY < "
				     "<(compgen -cf -- \"$cur\") ;;\n"
				   : "' ;;\n");
}

static void bash(struct buf *b)
{
	const struct verb *v;

	buf_str(b, "# bash completion of skep, made by `skep completion bash`\n"
		   "_skep_words() { mapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\"); }\n"
		   "_skep_list() {\n"
		   "\tlocal head=\"\"\n"
		   "\t[[ $cur == *,* ]] && head=${cur%,*},\n"
		   "\tcompopt -o nospace\n"
		   "\tmapfile -t COMPREPLY < <(compgen -P \"$head\" -W \"$1\" -- \"${cur##*,}\")\n"
		   "}\n"
		   "_skep() {\n"
		   "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		   "\tCOMPREPLY=()\n"
		   "\tif [[ $cur == = ]]; then cur=\"\"\n"
		   "\telif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
		   "\tif [[ $COMP_CWORD -eq 1 ]]; then _skep_words '");
	words(b, verb_names);
	buf_str(b, "'; return; fi\n\tcase ${COMP_WORDS[1]} in\n");
	verb_each(v) bash_verb(b, v);
	buf_str(b, "\tesac\n}\ncomplete -F _skep skep\n");
}

/* ---- zsh --------------------------------------------------------------------------------- */

/* Text inside '...' of _arguments, where also brackets and colons mean something. */
static void zsh_text(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			buf_str(b, "'\\'");
		else if (strchr("[]:\\", *s))
			buf_chr(b, '\\');
		buf_chr(b, *s);
	}
}

static void zsh_action(struct buf *b, const struct verb *v, const struct option_def *o)
{
	buf_chr(b, ':');
	zsh_text(b, o->arg);
	buf_chr(b, ':');
	if (takes_list(o)) {
		buf_str(b, "_values -s , value ");
		values(b, v, o);
	} else if (takes_words(o)) {
		buf_chr(b, '(');
		values(b, v, o);
		buf_chr(b, ')');
	} else if (takes_path(o)) {
		buf_str(b, o->type == OPTION_TYPE_DIR ? "_files -/" : "_files");
	}
}

static void zsh_spec(struct buf *b, const struct verb *v, const struct option_def *o,
		     const char *spelling)
{
	buf_fmt(b, " \\\n\t\t\t'%s[", spelling);
	zsh_text(b, o->doc);
	buf_chr(b, ']');
	if (o->arg)
		zsh_action(b, v, o);
	buf_chr(b, '\'');
}

static void zsh_option(struct buf *b, const struct verb *v, const struct option_def *o)
{
	char spelling[64];

	snprintf(spelling, sizeof(spelling), "--%s%s", o->name, o->arg ? "=" : "");
	zsh_spec(b, v, o, spelling);
	snprintf(spelling, sizeof(spelling), "-%c", o->letter);
	if (o->letter)
		zsh_spec(b, v, o, spelling);
}

static void zsh_verb(struct buf *b, const struct verb *v)
{
	enum option_id id;

	buf_fmt(b, "\t\t%s) _arguments", v->name);
	verb_each_option(v, id) zsh_option(b, v, &option_defs[id]);
	if (v->operand.choices) {
		buf_fmt(b, " \\\n\t\t\t'1:%s:(", v->operand.name);
		words(b, v->operand.choices);
		buf_str(b, ")'");
	}
	if (v->operand.rest)
		buf_fmt(b, " \\\n\t\t\t'*::%s:_normal'", v->operand.name);
	buf_str(b, " ;;\n");
}

static void zsh(struct buf *b)
{
	const struct verb *v;

	buf_str(b, "#compdef skep\n# zsh completion of skep, made by `skep completion zsh`\n"
		   "_skep() {\n\tlocal -a verbs\n\tverbs=(\n");
	verb_each(v)
	{
		buf_fmt(b, "\t\t'%s:", v->name);
		zsh_text(b, v->doc);
		buf_str(b, "'\n");
	}
	buf_str(b,
		"\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
		"\tlocal verb=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $verb in\n");
	verb_each(v) zsh_verb(b, v);
	buf_str(b, "\tesac\n}\n_skep \"$@\"\n");
}

/* ---- fish -------------------------------------------------------------------------------- */

static void fish_text(struct buf *b, const char *s)
{
	buf_chr(b, '\'');
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			buf_chr(b, '\\');
		buf_chr(b, *s);
	}
	buf_chr(b, '\'');
}

static void fish_option(struct buf *b, const struct verb *v, const struct option_def *o)
{
	buf_fmt(b, "complete -c skep -n '__fish_seen_subcommand_from %s' -l %s", v->name, o->name);
	if (o->letter)
		buf_fmt(b, " -s %c", o->letter);
	buf_str(b, " -d ");
	fish_text(b, o->doc);
	if (o->arg)
		buf_str(b, " -r");
	if (o->type == OPTION_TYPE_FILE || o->type == OPTION_TYPE_FILES)
		buf_str(b, " -F");
	else if (o->type == OPTION_TYPE_DIR)
		buf_str(b, " -a '(__fish_complete_directories)'");
	else if (takes_words(o)) {
		buf_str(b, takes_list(o) ? " -a '(__fish_append , " : " -a '");
		values(b, v, o);
		buf_str(b, takes_list(o) ? ")'" : "'");
	}
	buf_chr(b, '\n');
}

static void fish(struct buf *b)
{
	const struct verb *v;
	enum option_id id;

	buf_str(b, "# fish completion of skep, made by `skep completion fish`\n"
		   "complete -c skep -f\n");
	verb_each(v)
	{
		buf_fmt(b, "complete -c skep -n __fish_use_subcommand -a %s -d ", v->name);
		fish_text(b, v->doc);
		buf_chr(b, '\n');
		verb_each_option(v, id) fish_option(b, v, &option_defs[id]);
		if (v->operand.rest)
			buf_fmt(b,
				"complete -c skep -n '__fish_seen_subcommand_from %s' "
				"-a '(__fish_complete_subcommand --fcs-skip=2)'\n",
				v->name);
		if (!v->operand.choices)
			continue;
		buf_fmt(b, "complete -c skep -n '__fish_seen_subcommand_from %s' -a '", v->name);
		words(b, v->operand.choices);
		buf_str(b, "'\n");
	}
}

static int completion(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf b = {0};
	const char *shell = a->operands[0];

	(void)err;
	if (!strcmp(shell, "bash"))
		bash(&b);
	else if (!strcmp(shell, "zsh"))
		zsh(&b);
	else
		fish(&b);
	return term_flush(&b);
}

const struct verb verb_completion = {
	.name = "completion",
	.doc = "print the completion script of a shell",
	.operand = {.name = "SHELL",
		    .doc = "the shell: bash, zsh or fish",
		    .choices = "bash|zsh|fish",
		    .required = true},
	.examples =
		{
			{"source <(skep completion bash)", "for this shell"},
			{"skep completion fish > ~/.config/fish/completions/skep.fish", "for good"},
		},
	.run = completion,
};
