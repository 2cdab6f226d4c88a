// SPDX-License-Identifier: Apache-2.0
/* Help, completions and the man page know every verb and option, and other programs can read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/cli.h"
#include "cli/term.h"
#include "cli/verb.h"

#include <sys/wait.h>

/* What `skep WORD...` prints; @feed: a shell command to give it to instead, its output is taken. */
static void output_of(const char *a, const char *b, const char *feed, struct buf *out)
{
	char *argv[] = {(char[]){"skep"}, (char *)(uintptr_t)a, (char *)(uintptr_t)b, NULL};
	char path[] = "/tmp/skep-help-XXXXXX", command[256], part[4096];
	int fd = mkstemp(path), status;
	pid_t pid = fork();
	FILE *f;
	size_t n;

	assert_true(fd >= 0);
	if (!pid) {
		dup2(fd, STDOUT_FILENO);
		_exit(cli_main(b ? 3 : 2, argv));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(command, sizeof(command), "%s %s 2>&1", feed ? feed : "cat", path);
	f = popen(command, "r");
	while ((n = fread(part, 1, sizeof(part), f)))
		buf_add(out, part, n);
	assert_int_equal(pclose(f), 0);
	close(fd);
	unlink(path);
}

static void every_verb_and_option_has_a_doc(void **state)
{
	const struct verb *v;
	enum option_id id;
	int used = 0;

	(void)state;
	verb_each(v)
	{
		assert_true(v->doc && *v->doc && v->run);
		assert_true(!v->operand.name || v->operand.doc);
		verb_each_option(v, id)
		{
			assert_true(option_defs[id].doc && *option_defs[id].doc);
			assert_true(!option_defs[id].arg ==
				    (option_defs[id].type == OPTION_TYPE_FLAG));
		}
		used++;
	}
	assert_int_equal(used, 20);
}

static void no_verb_has_two_options_of_one_name_or_letter(void **state)
{
	const struct verb *v;
	enum option_id id;

	(void)state;
	verb_each(v)
	{
		bool letters[256] = {0}, ids[OPTION_COUNT] = {0};

		verb_each_option(v, id)
		{
			assert_false(ids[id]);
			ids[id] = true;
			assert_false(option_defs[id].letter &&
				     letters[(unsigned char)option_defs[id].letter]);
			letters[(unsigned char)option_defs[id].letter] = true;
		}
	}
}

static void every_option_belongs_to_a_verb(void **state)
{
	bool used[OPTION_COUNT] = {0};
	const struct verb *v;
	enum option_id id;

	(void)state;
	verb_each(v) verb_each_option(v, id) used[id] = true;
	for (id = 0; id < OPTION_COUNT; id++)
		assert_true(used[id]);
}

static void help_of_a_verb_names_all_its_options_and_fits_80_columns(void **state)
{
	const struct verb *v;
	enum option_id id;
	size_t n;

	(void)state;
	verb_each(v)
	{
		struct buf b = {0};
		const char *s;

		cli_help(&b, v, 80);
		assert_non_null(strstr(b.data, v->doc));
		verb_each_option(v, id) assert_non_null(strstr(b.data, option_defs[id].name));
		for (s = b.data; *s && strncmp(s, "Examples:", 9); s += n + (s[n] == '\n')) {
			n = strcspn(s, "\n");
			if (term_width(s, n) > 80 && !strstr(s, "process.fork"))
				fail_msg("skep %s --help: %.*s", v->name, (int)n, s);
		}
		buf_done(&b);
	}
}

static void the_overview_names_every_verb_and_exit_code(void **state)
{
	struct buf b = {0};
	const struct verb *v;

	(void)state;
	output_of("help", NULL, NULL, &b);
	verb_each(v) assert_non_null(strstr(b.data, v->doc));
	assert_non_null(strstr(b.data, cli_exits[CLI_NOT_PERMITTED].doc));
	buf_done(&b);
}

static void assert_mentions_all(const char *text, const char *dashes)
{
	const struct verb *v;
	enum option_id id;
	char option[64];

	verb_each(v)
	{
		assert_non_null(strstr(text, v->name));
		verb_each_option(v, id)
		{
			snprintf(option, sizeof(option), "%s%s", dashes, option_defs[id].name);
			if (!strstr(text, option))
				fail_msg("%s is missing", option);
		}
	}
	assert_non_null(strstr(text, "process.fork"));
	assert_non_null(strstr(text, "retransmits"));
}

static void completions_mention_every_verb_option_and_choice(void **state)
{
	static const char *const shells[] = {"bash", "zsh", "fish"};
	static const char *const dashes[] = {"--", "--", "-l "};
	size_t i;

	(void)state;
	for (i = 0; i < array_size(shells); i++) {
		struct buf b = {0};

		output_of("completion", shells[i], NULL, &b);
		assert_mentions_all(b.data, dashes[i]);
		buf_done(&b);
	}
}

static void assert_shell_reads(const char *shell, const char *check)
{
	struct buf b = {0};
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", shell);
	if (system(command)) {
		print_message("skipped: %s is not installed\n", shell);
		skip();
	}
	output_of("completion", shell, check, &b);
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

static void bash_can_read_its_completion(void **state)
{
	(void)state;
	assert_shell_reads("bash", "bash -n");
}

static void zsh_can_read_its_completion(void **state)
{
	(void)state;
	assert_shell_reads("zsh", "zsh -n");
}

static void fish_can_read_its_completion(void **state)
{
	(void)state;
	assert_shell_reads("fish", "fish -n");
}

/* What bash offers for a command line; the last word is being typed. */
static void assert_bash_offers(const char *words, const char *expected)
{
	struct buf b = {0};
	char feed[512];

	snprintf(feed, sizeof(feed),
		 "bash -c 'compopt() { :; }; source \"$1\"; COMP_WORDS=(%s); "
		 "COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _skep; echo \"${COMPREPLY[*]}\"' x",
		 words);
	output_of("completion", "bash", feed, &b);
	b.data[strcspn(b.data, "\n")] = '\0';
	assert_string_equal(b.data, expected);
	buf_done(&b);
}

static void bash_completes_verbs_options_and_values(void **state)
{
	(void)state;
	assert_bash_offers("skep co", "conns config completion");
	assert_bash_offers("skep ps --tr", "--tree");
	assert_bash_offers("skep conns --proto \"\"", "tcp udp");
	assert_bash_offers("skep conns --proto = u", "udp");
	assert_bash_offers("skep events -k dns,connection.",
			   "dns,connection.open dns,connection.close");
	assert_bash_offers("skep completion z", "zsh");
}

static void the_man_page_has_its_sections_and_no_warnings(void **state)
{
	static const char *const sections[] = {"NAME",	      "SYNOPSIS",    "DESCRIPTION",
					       "VERBS",	      "EXIT STATUS", "FILES",
					       "ENVIRONMENT", "EXAMPLES"};
	struct buf b = {0}, warnings = {0};
	char head[64];
	size_t i;

	(void)state;
	output_of("man", NULL, NULL, &b);
	for (i = 0; i < array_size(sections); i++) {
		snprintf(head, sizeof(head), ".SH %s\n", sections[i]);
		assert_non_null(strstr(b.data, head));
	}
	output_of("man", NULL, "sh -c 'man --warnings -l \"$1\" 2>&1 >/dev/null' x", &warnings);
	buf_done(&b);
	assert_int_equal(warnings.len, 0);
	buf_done(&warnings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_and_option_has_a_doc),
		cmocka_unit_test(no_verb_has_two_options_of_one_name_or_letter),
		cmocka_unit_test(every_option_belongs_to_a_verb),
		cmocka_unit_test(help_of_a_verb_names_all_its_options_and_fits_80_columns),
		cmocka_unit_test(the_overview_names_every_verb_and_exit_code),
		cmocka_unit_test(completions_mention_every_verb_option_and_choice),
		cmocka_unit_test(bash_can_read_its_completion),
		cmocka_unit_test(zsh_can_read_its_completion),
		cmocka_unit_test(fish_can_read_its_completion),
		cmocka_unit_test(bash_completes_verbs_options_and_values),
		cmocka_unit_test(the_man_page_has_its_sections_and_no_warnings),
	};

	term_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
