// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/human.h"
#include "cli/table.h"

static void cell(struct table *t, const char *s)
{
	table_cell(t, TERM_PLAIN, s, strlen(s));
}

static void assert_table(struct table *t, unsigned width, bool colour, const char *expected)
{
	struct buf b = {0};

	assert_int_equal(table_print(t, width, colour, &b), 0);
	assert_string_equal(b.data, expected);
	buf_done(&b);
}

static struct table *numbers_and_names(uint8_t drop, uint8_t floor)
{
	const struct table_column columns[] = {
		{"N", .right = true},
		{"KIND", .drop = drop},
		{"NAME", .flex = true, .floor = floor},
	};
	struct table *t = NULL;

	assert_int_equal(table_open(&t, columns, array_size(columns)), 0);
	cell(t, "7");
	cell(t, "a");
	cell(t, "short");
	cell(t, "1234");
	cell(t, "b");
	cell(t, "0123456789abcdefghij");
	return t;
}

static void columns_are_as_wide_as_their_content_and_nothing_trails(void **state)
{
	struct table *t = numbers_and_names(0, 0);

	(void)state;
	assert_table(t, 0, false,
		     "   N  KIND  NAME\n"
		     "   7  a     short\n"
		     "1234  b     0123456789abcdefghij\n");
	table_free(t);
}

static void the_flexible_column_is_cut_to_the_terminal(void **state)
{
	struct table *t = numbers_and_names(0, 0);

	(void)state;
	assert_table(t, 24, false,
		     "   N  KIND  NAME\n"
		     "   7  a     short\n"
		     "1234  b     0123456789a…\n");
	table_free(t);
}

static void a_droppable_column_goes_before_the_floor_is_broken(void **state)
{
	struct table *t = numbers_and_names(1, 15);

	(void)state;
	assert_table(t, 24, false,
		     "   N  NAME\n"
		     "   7  short\n"
		     "1234  0123456789abcdefg…\n");
	table_free(t);
}

static void nothing_is_too_narrow(void **state)
{
	struct table *t = numbers_and_names(0, 0);

	(void)state;
	assert_table(t, 1, false, "   N  KIND  …\n   7  a     …\n1234  b     …\n");
	table_free(t);
}

static void wide_characters_take_two_columns_and_are_never_halved(void **state)
{
	const struct table_column columns[] = {{"A", .flex = true, .floor = 1}, {"B"}};
	struct table *t = NULL;

	(void)state;
	assert_int_equal(table_open(&t, columns, 2), 0);
	cell(t, "日本語");
	cell(t, "x");
	cell(t, "e\xcc\x81t\xc3\xa9");
	cell(t, "y");
	assert_table(t, 0, false, "A       B\n日本語  x\ne\xcc\x81t\xc3\xa9     y\n");
	assert_table(t, 7, false, "A     B\n日…   x\ne\xcc\x81t\xc3\xa9   y\n");
	table_free(t);
}

static void control_characters_and_broken_utf8_never_reach_the_terminal(void **state)
{
	const struct table_column columns[] = {{"A"}};
	struct table *t = NULL;
	struct buf b = {0};

	(void)state;
	assert_int_equal(table_open(&t, columns, 1), 0);
	cell(t, "\033[2J\n\xff\xe2\x80\xae");
	assert_int_equal(table_print(t, 0, false, &b), 0);
	assert_null(strchr(b.data, '\033'));
	assert_null(strchr(b.data, '\xff'));
	assert_null(strstr(b.data, "\xe2\x80\xae"));
	assert_ptr_equal(strrchr(b.data, '\n'), b.data + b.len - 1);
	assert_int_equal(strchr(strchr(b.data, '\n') + 1, '\n') - b.data, b.len - 1);
	buf_done(&b);
	table_free(t);
}

static void colour_changes_no_width(void **state)
{
	const struct table_column columns[] = {{"A"}, {"B"}};
	struct table *t = NULL;

	(void)state;
	assert_int_equal(table_open(&t, columns, 2), 0);
	table_cell(t, TERM_BAD, "no", 2);
	cell(t, "x");
	assert_table(t, 0, true, "\033[1mA   B\033[0m\n\033[31mno\033[0m  x\n");
	table_free(t);
}

static void text_is_wrapped_at_blanks(void **state)
{
	struct buf b = {0};

	(void)state;
	term_wrap(&b, "one two three four five six", 2, 24);
	assert_string_equal(b.data, "one two three four\n  five six");
	buf_done(&b);
}

static void numbers_read_as_people_write_them(void **state)
{
	struct human h;

	(void)state;
	assert_string_equal(human_bytes(&h, 0), "0 B");
	assert_string_equal(human_bytes(&h, 1023), "1023 B");
	assert_string_equal(human_bytes(&h, 1024), "1.0 KiB");
	assert_string_equal(human_bytes(&h, 1048575), "1.0 MiB");
	assert_string_equal(human_bytes(&h, INT64_MAX), "8192.0 PiB");
	assert_string_equal(human_span(&h, -5), "0s");
	assert_string_equal(human_span(&h, 999), "999ns");
	assert_string_equal(human_span(&h, 1500), "1.5µs");
	assert_string_equal(human_span(&h, 12345678), "12ms");
	assert_string_equal(human_span(&h, 3400000000), "3.4s");
	assert_string_equal(human_span(&h, 310 * 1000000000LL), "5m10s");
	assert_string_equal(human_span(&h, 7500 * 1000000000LL), "2h05m");
	assert_string_equal(human_span(&h, 100 * 3600 * 1000000000LL), "4d04h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_content_and_nothing_trails),
		cmocka_unit_test(the_flexible_column_is_cut_to_the_terminal),
		cmocka_unit_test(a_droppable_column_goes_before_the_floor_is_broken),
		cmocka_unit_test(nothing_is_too_narrow),
		cmocka_unit_test(wide_characters_take_two_columns_and_are_never_halved),
		cmocka_unit_test(control_characters_and_broken_utf8_never_reach_the_terminal),
		cmocka_unit_test(colour_changes_no_width),
		cmocka_unit_test(text_is_wrapped_at_blanks),
		cmocka_unit_test(numbers_read_as_people_write_them),
	};

	term_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
