/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host/value.h"

static struct btf *btf;
static int u8, u32, s16, ch, boolean, text8, color, inner, outer;

static int begin(void **state maybe_unused)
{
	btf = btf__new_empty();
	u8 = btf__add_int(btf, "u8", 1, 0);
	u32 = btf__add_int(btf, "unsigned int", 4, 0);
	s16 = btf__add_int(btf, "short", 2, BTF_INT_SIGNED);
	ch = btf__add_int(btf, "char", 1, BTF_INT_SIGNED);
	boolean = btf__add_int(btf, "bool", 1, BTF_INT_BOOL);
	text8 = btf__add_array(btf, u32, ch, 8);
	color = btf__add_enum(btf, "color", 4);
	btf__add_enum_value(btf, "RED", 1);
	btf__add_enum_value(btf, "BLUE", -2);
	inner = btf__add_struct(btf, "", 4);
	btf__add_field(btf, "a", s16, 0, 0);
	btf__add_field(btf, "b", u8, 16, 0);
	outer = btf__add_struct(btf, "outer", 24);
	btf__add_field(btf, "n", u32, 0, 0);
	btf__add_field(btf, "low", u32, 32, 3);
	btf__add_field(btf, "high", u32, 35, 13);
	btf__add_field(btf, "", inner, 64, 0);
	btf__add_field(btf, "name", text8, 96, 0);
	btf__add_field(btf, "color", color, 160, 0);
	return 0;
}

static int end(void **state maybe_unused)
{
	btf__free(btf);
	return 0;
}

static void says(uint32_t type, const void *p, size_t n, const char *want)
{
	cleanup(buf_done) struct buf b = {0};

	host_value_json(&b, btf, type, p, n);
	assert_string_equal(b.data, want);
}

static void
test_a_struct_is_an_object_with_bitfields_and_unnamed_members_merged(void **state maybe_unused)
{
	struct __attribute__((packed)) {
		uint32_t n, bits;
		int16_t a;
		uint8_t b, pad;
		char name[8];
		int32_t color;
	} v = {7, 5 | 0x1234 << 3, -3, 200, 0, "eth0", -2};

	says((uint32_t)outer, &v, sizeof(v),
	     "{\"n\":7,\"low\":5,\"high\":4660,\"a\":-3,\"b\":200,\"name\":\"eth0\",\"color\":\"BLUE\"}");
	v.color = 9;
	v.name[0] = 1;
	says((uint32_t)color, &v.color, 4, "9");
	says((uint32_t)text8, v.name, 8, "[1,116,104,48,0,0,0,0]");
}

static void test_scalars_are_numbers_and_truths(void **state maybe_unused)
{
	uint32_t big = 4000000000;

	says((uint32_t)u32, &big, 4, "4000000000");
	says((uint32_t)boolean, "\1", 1, "true");
	says((uint32_t)s16, "\xff\xff", 2, "-1");
}

static void test_without_btf_bytes_are_told(void **state maybe_unused)
{
	cleanup(buf_done) struct buf b = {0};

	host_value_json(&b, NULL, 0, "\1\xff", 2);
	assert_string_equal(b.data, "[\"0x01\",\"0xff\"]");
}

static void test_a_value_shorter_than_its_type_reads_nothing_behind(void **state maybe_unused)
{
	uint8_t *p = malloc(5); /* the sanitizer watches its end */

	memset(p, 0, 5);
	says((uint32_t)outer, p, 5,
	     "{\"n\":0,\"low\":0,\"high\":null,\"name\":null,\"color\":null}");
	free(p);
}

static void parses(const char *text, size_t size, const char *want)
{
	struct skep_err err = {0};
	uint8_t out[16];

	assert_int_equal(host_value_parse(text, out, size, &err), 0);
	assert_memory_equal(out, want, size);
}

static void refuses(const char *text, size_t size)
{
	struct skep_err err = {0};
	uint8_t out[16];

	assert_int_equal(host_value_parse(text, out, size, &err), -EINVAL);
	assert_true(err.text[0]);
}

static void test_numbers_addresses_hex_and_text_become_bytes(void **state maybe_unused)
{
	parses("258", 4, "\2\1\0\0");
	parses("0xff", 1, "\xff");
	parses("-2", 2, "\xfe\xff");
	parses("192.0.2.1", 4, "\xc0\0\2\1");
	parses("2001:db8::1", 16, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1");
	parses("hex:0a 0b0c", 3, "\x0a\x0b\x0c");
	parses("str:lo", 4, "lo\0\0");
}

static void test_what_does_not_fit_is_refused(void **state maybe_unused)
{
	refuses("256", 1);
	refuses("-129", 1);
	refuses("12x", 4);
	refuses("", 4);
	refuses("5", 3);
	refuses("hex:0", 1);
	refuses("hex:0102", 1);
	refuses("hex:01", 2);
	refuses("str:long", 3);
	refuses("192.0.2.256", 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_struct_is_an_object_with_bitfields_and_unnamed_members_merged),
		cmocka_unit_test(test_scalars_are_numbers_and_truths),
		cmocka_unit_test(test_without_btf_bytes_are_told),
		cmocka_unit_test(test_a_value_shorter_than_its_type_reads_nothing_behind),
		cmocka_unit_test(test_numbers_addresses_hex_and_text_become_bytes),
		cmocka_unit_test(test_what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
