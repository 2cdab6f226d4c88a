// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/list.h"
#include "cli/option.h"
#include "cli/verb.h"

static struct skep_err err;
static struct args args;

#define PARSE(verb, ...)                                                        \
	({                                                                      \
		char *argv_[] = {__VA_ARGS__};                                  \
		err.text[0] = '\0';                                             \
		option_parse(verb, (int)array_size(argv_), argv_, &args, &err); \
	})
/* A word of argv; nobody writes to it. */
#define W(s) ((char *)(uintptr_t)(s))

static void a_value_may_stand_behind_an_equals_sign_or_as_the_next_word(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("--comm=nginx"), W("--pid"), W("12")), 0);
	assert_string_equal(args.text[OPTION_COMM], "nginx");
	assert_int_equal(args.num[OPTION_PID], 12);
	assert_int_equal(PARSE(&verb_ps, W("--comm=")), 0);
	assert_string_equal(args.text[OPTION_COMM], "");
	assert_int_equal(PARSE(&verb_ps, W("--comm"), W("=x")), 0);
	assert_string_equal(args.text[OPTION_COMM], "=x");
}

static void letters_may_stand_together_and_hold_a_value(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("-taw"), W("-n5")), 0);
	assert_true(args.set[OPTION_TREE] && args.set[OPTION_ALL] && args.set[OPTION_WIDE]);
	assert_int_equal(args.num[OPTION_LIMIT], 5);
	assert_int_equal(PARSE(&verb_ps, W("-an"), W("7")), 0);
	assert_int_equal(args.num[OPTION_LIMIT], 7);
}

static void a_misspelt_option_names_the_nearest(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("--serivce=x")), -EINVAL);
	assert_string_equal(err.text, "no option '--serivce': did you mean '--service'?");
	assert_int_equal(PARSE(&verb_ps, W("-Z")), -EINVAL);
	assert_non_null(strstr(err.text, "-Z"));
}

static void an_option_of_another_verb_is_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("--failed")), -EINVAL);
	assert_int_equal(PARSE(&verb_conns, W("--failed")), 0);
}

static void what_is_no_number_or_missing_is_refused(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("--pid=12x")), -EINVAL);
	assert_int_equal(PARSE(&verb_ps, W("--pid=")), -EINVAL);
	assert_int_equal(PARSE(&verb_ps, W("--pid=-1")), -EINVAL);
	assert_int_equal(PARSE(&verb_ps, W("--limit=0")), -EINVAL);
	assert_int_equal(PARSE(&verb_ps, W("--pid=99999999999999999999")), -EINVAL);
	assert_int_equal(PARSE(&verb_ps, W("--pid")), -EINVAL);
	assert_string_equal(err.text, "--pid needs PID");
	assert_int_equal(PARSE(&verb_ps, W("--tree=yes")), -EINVAL);
}

static void choices_and_lists_are_checked(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_conns, W("--proto=tcp")), 0);
	assert_int_equal(PARSE(&verb_conns, W("--proto=tpc")), -EINVAL);
	assert_string_equal(err.text, "--proto 'tpc': did you mean 'tcp'?");
	assert_int_equal(PARSE(&verb_events, W("-k"), W("dns,process.exec")), 0);
	assert_int_equal(PARSE(&verb_events, W("-k"), W("dns,bogus")), -EINVAL);
	assert_int_equal(PARSE(&verb_events, W("-k"), W("")), -EINVAL);
}

static void columns_are_those_of_the_view_and_of_the_table(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("--columns=pid,user,ns_pid"), W("--sort"), W("-age")),
			 0);
	assert_int_equal(PARSE(&verb_ps, W("--columns=pid,usr")), -EINVAL);
	assert_string_equal(err.text, "--columns 'usr': did you mean 'user'?");
	assert_int_equal(PARSE(&verb_ps, W("--sort=bytes_sent")), -EINVAL);
}

static void words_behind_two_dashes_are_operands(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_query, W("--"), W("--csv")), 0);
	assert_false(args.set[OPTION_CSV]);
	assert_string_equal(args.operands[0], "--csv");
	assert_int_equal(PARSE(&verb_query, W("-")), 0);
	assert_string_equal(args.operands[0], "-");
}

static void a_command_begins_at_the_first_operand_and_keeps_its_own_options(void **state)
{
	char *own[] = {W("--root"), W("sh"), W("-c"), W("--root"), W("--")};
	char *dashes[] = {W("--"), W("--root"), W("--help")};

	(void)state;
	assert_int_equal(option_parse(&verb_exec, array_size(own), own, &args, &err), 0);
	assert_true(args.set[OPTION_ROOT]);
	assert_ptr_equal(args.rest, &own[1]);
	assert_int_equal(args.n_operands, 1);
	assert_int_equal(option_parse(&verb_exec, array_size(dashes), dashes, &args, &err), 0);
	assert_false(args.set[OPTION_ROOT] || args.set[OPTION_HELP]);
	assert_ptr_equal(args.rest, &dashes[1]);
	assert_int_equal(PARSE(&verb_exec, W("--root")), -EINVAL);
	assert_int_equal(PARSE(&verb_exec, W("--")), -EINVAL);
}

static void operands_are_counted_and_checked(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("nginx")), -EINVAL);
	assert_int_equal(PARSE(&verb_query, W("a"), W("b")), -EINVAL);
	assert_int_equal(PARSE(&verb_completion, W("fihs")), -EINVAL);
	assert_string_equal(err.text, "no SHELL 'fihs': did you mean 'fish'?");
	assert_int_equal(PARSE(&verb_help, W("conns")), 0);
	assert_int_equal(option_parse(&verb_completion, 0, NULL, &args, &err), -EINVAL);
}

static void help_goes_before_what_is_wrong_behind_it(void **state)
{
	(void)state;
	assert_int_equal(PARSE(&verb_ps, W("-h"), W("--bogus")), 0);
	assert_true(args.set[OPTION_HELP]);
}

static void assert_sql(const char *expected)
{
	struct buf b = {0};

	list_sql(&args, &b);
	assert_string_equal(b.data, expected);
	buf_done(&b);
}

static void filters_become_sql_that_no_quote_breaks(void **state)
{
	(void)state;
	PARSE(&verb_conns, W("--service=it's"), W("--port=80"), W("-n3"), W("--columns=pid,sent"),
	      W("--sort=-sent"));
	assert_sql(
		"select pid as \"pid\", bytes_sent as \"sent\" from connection where ended is null "
		"and service = 'it''s' and (local_port = 80 or remote_port = 80) "
		"order by bytes_sent desc limit 3");
	PARSE(&verb_conns, W("--failed"), W("--json"));
	assert_sql("select * from connection where state = 'failed' order by time desc, pid desc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_may_stand_behind_an_equals_sign_or_as_the_next_word),
		cmocka_unit_test(letters_may_stand_together_and_hold_a_value),
		cmocka_unit_test(a_misspelt_option_names_the_nearest),
		cmocka_unit_test(an_option_of_another_verb_is_refused),
		cmocka_unit_test(what_is_no_number_or_missing_is_refused),
		cmocka_unit_test(choices_and_lists_are_checked),
		cmocka_unit_test(columns_are_those_of_the_view_and_of_the_table),
		cmocka_unit_test(words_behind_two_dashes_are_operands),
		cmocka_unit_test(a_command_begins_at_the_first_operand_and_keeps_its_own_options),
		cmocka_unit_test(operands_are_counted_and_checked),
		cmocka_unit_test(help_goes_before_what_is_wrong_behind_it),
		cmocka_unit_test(filters_become_sql_that_no_quote_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
