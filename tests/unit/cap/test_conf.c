// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cap/conf.h"

struct ring {
	int64_t size;
	bool wake;
};

struct spec {
	char listen[64];
	int log;
	struct ring ring;
	int64_t must;
};

static const struct conf_field ring_fields[] = {
	{.key = "size",
	 .type = CONF_INT,
	 .offset = offsetof(struct ring, size),
	 .least = 64,
	 .most = 1048576,
	 .preset = "1024",
	 .doc = "KiB"},
	{.key = "wake",
	 .type = CONF_BOOL,
	 .offset = offsetof(struct ring, wake),
	 .preset = "false",
	 .doc = "wake the reader"},
};

static const struct conf_field fields[] = {
	{.key = "listen",
	 .type = CONF_STR,
	 .offset = offsetof(struct spec, listen),
	 .most = 64,
	 .preset = "\"\"",
	 .doc = "address"},
	{.key = "log",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct spec, log),
	 .choices = "text|json|none",
	 .preset = "json",
	 .doc = "format"},
	{.key = "ring",
	 .type = CONF_PART,
	 .offset = offsetof(struct spec, ring),
	 .sub = ring_fields,
	 .n_sub = array_size(ring_fields),
	 .doc = "the ring"},
};

static const struct conf_field strict_fields[] = {
	{.key = "must",
	 .type = CONF_INT,
	 .offset = offsetof(struct spec, must),
	 .most = 9,
	 .doc = "given"},
};

#define HEAD "apiVersion: skep/v1\nkind: Agent\n"

static int parse(const char *text, struct spec *out, struct skep_err *err)
{
	memset(err, 0, sizeof(*err));
	return conf_parse("f", text, strlen(text), "Agent", fields, array_size(fields), out,
			  sizeof(*out), err);
}

static void refused(const char *text, const char *want)
{
	struct spec out = {.log = 77};
	struct skep_err err;

	assert_int_equal(parse(text, &out, &err), -EINVAL);
	assert_string_equal(err.text, want);
	assert_int_equal(out.log, 77);
}

static void a_full_resource_is_read(maybe_unused void **state)
{
	struct skep_err err;
	struct spec out;

	assert_int_equal(parse(HEAD "metadata: {name: here}\nspec:\n  listen: '[::1]:80'\n"
				    "  log: none\n  ring:\n    size: 64\n    wake: true\n",
			       &out, &err),
			 0);
	assert_string_equal(out.listen, "[::1]:80");
	assert_int_equal(out.log, 2);
	assert_int_equal(out.ring.size, 64);
	assert_true(out.ring.wake);
}

static void what_is_left_out_has_its_preset(maybe_unused void **state)
{
	struct skep_err err;
	struct spec out;

	assert_int_equal(parse(HEAD, &out, &err), 0);
	assert_string_equal(out.listen, "");
	assert_int_equal(out.log, 1);
	assert_int_equal(out.ring.size, 1024);
	assert_false(out.ring.wake);
}

static void json_is_read(maybe_unused void **state)
{
	struct skep_err err;
	struct spec out;

	assert_int_equal(parse("{\"apiVersion\":\"skep/v1\",\"kind\":\"Agent\",\n"
			       "\"spec\":{\"log\":\"text\",\"ring\":{\"size\":65,\"wake\":true}}}",
			       &out, &err),
			 0);
	assert_int_equal(out.log, 0);
	assert_int_equal(out.ring.size, 65);
}

static void a_mistake_in_a_value_names_its_place_and_what_was_expected(maybe_unused void **state)
{
	refused(HEAD "spec:\n  ring:\n    size: 63",
		"f:5:11: spec.ring.size: expected 64..1048576, found '63'");
	refused(HEAD "spec: {ring: {size: 99999999999999999999999}}",
		"f:3:21: spec.ring.size: expected 64..1048576, found '99999999999999999999999'");
	refused(HEAD "spec: {ring: {size: 1e3}}",
		"f:3:21: spec.ring.size: expected 64..1048576, found '1e3'");
	refused(HEAD "spec: {ring: {size: '128'}}",
		"f:3:21: spec.ring.size: expected 64..1048576, found '128' in quotes");
	refused(HEAD "spec: {ring: {wake: yes}}",
		"f:3:21: spec.ring.wake: expected true or false, found 'yes'");
	refused(HEAD "spec: {log: xml}",
		"f:3:13: spec.log: expected text, json or none, found 'xml'");
	refused(HEAD "spec: {listen: [a]}",
		"f:3:16: spec.listen: expected text of 0 to 63 bytes, found a list");
	refused(HEAD "spec: {log: {a: b}}",
		"f:3:13: spec.log: expected text, json or none, found a mapping");
	refused(HEAD "spec:\n  listen:\n",
		"f:4:3: spec.listen: expected text of 0 to 63 bytes, found nothing");
	refused(HEAD "spec: 5", "f:3:7: spec: expected a mapping, found '5'");
	refused(HEAD "spec: {listen: \"a\\nb\"}",
		"f:3:16: spec.listen: expected text of 0 to 63 bytes, found 'a\\nb'");
	refused(HEAD "spec: {listen: 0123456789012345678901234567890123456789"
		     "012345678901234567890123456789}",
		"f:3:16: spec.listen: expected text of 0 to 63 bytes, found "
		"'0123456789012345678901234567890123456789...'");
}

static void an_unknown_key_suggests_the_nearest(maybe_unused void **state)
{
	refused(HEAD "spec:\n  lisen: x",
		"f:4:3: spec: unknown key 'lisen', did you mean 'listen'?");
	refused(HEAD "spec: {ring: {SIZE: 64}}",
		"f:3:15: spec.ring: unknown key 'SIZE', did you mean 'size'?");
	refused(HEAD "spec: {'mo\\nster': 64}",
		"f:3:8: spec: unknown key 'mo\\\\nster', expected one of listen, log, ring");
	refused("apiversion: skep/v1",
		"f:1:1: unknown key 'apiversion', did you mean 'apiVersion'?");
}

static void the_frame_of_a_resource_is_checked(maybe_unused void **state)
{
	refused("", "f:1:1: expected a resource, found an empty file");
	refused("[]", "f:1:1: expected a mapping with apiVersion, kind and spec");
	refused("kind: Agent", "f:1:1: 'apiVersion' is missing, expected skep/v1");
	refused("apiVersion: v2\nkind: Agent", "f:1:13: apiVersion: expected skep/v1, found 'v2'");
	refused("apiVersion: skep/v1\nkind: Pod", "f:2:7: kind: expected Agent, found 'Pod'");
	refused(HEAD "---\na: b", "f:3:1: expected one document, found a second one");
	refused(HEAD "kind: Agent", "f:3:1: key 'kind' stands twice");
	refused(HEAD "? {a: b}\n: c", "f:3:3: expected a key, found a mapping");
}

static void what_could_multiply_is_refused(maybe_unused void **state)
{
	refused(HEAD "spec: &a {log: text}",
		"f:3:10: spec: anchors and aliases (& and *) are not supported");
	refused(HEAD "spec: *a", "f:3:8: spec: anchors and aliases (& and *) are not supported");
	refused(HEAD "spec: {ring: {size: !!int 64}}",
		"f:3:27: spec.ring.size: tags (!) are not supported");
}

static void text_that_is_no_yaml_names_its_place(maybe_unused void **state)
{
	refused(HEAD "spec: {log: text", "f:4:1: missing comma in flow mapping");
	refused(HEAD "spec:\n\tlog: text", "f:4:1: tab character may not be used as indentation");
	refused(HEAD "spec: {listen: \xff}", "f:3:16: expected UTF-8 text, found byte 0xff");
	refused("\x01", "f:1:1: expected UTF-8 text, found byte 0x01");
}

static void a_field_without_preset_must_be_given(maybe_unused void **state)
{
	const struct conf_field part[] = {
		{.key = "part", .type = CONF_PART, .sub = strict_fields, .n_sub = 1},
	};
	struct skep_err err;
	struct spec out;

	assert_int_equal(conf_parse("f", HEAD, strlen(HEAD), "Agent", strict_fields, 1, &out,
				    sizeof(out), &err),
			 -EINVAL);
	assert_string_equal(err.text, "f:1:1: 'must' is missing, expected 0..9");
	assert_int_equal(conf_parse("f", HEAD "spec: {}", strlen(HEAD "spec: {}"), "Agent", part, 1,
				    &out, sizeof(out), &err),
			 -EINVAL);
	assert_string_equal(err.text, "f:3:7: spec: 'must' is missing, expected 0..9");
}

static void a_file_too_long_or_too_deep_is_refused_quickly(maybe_unused void **state)
{
	static char text[CONF_INPUT_MAX + 1];
	struct skep_err err;
	struct spec out;

	memset(text, '[', sizeof(text));
	assert_int_equal(conf_parse("f", text, sizeof(text), "Agent", fields, array_size(fields),
				    &out, sizeof(out), &err),
			 -EINVAL);
	assert_string_equal(err.text, "f: expected at most 1048576 bytes, found 1048577");
	assert_int_equal(conf_parse("f", text, sizeof(text) - 1, "Agent", fields,
				    array_size(fields), &out, sizeof(out), &err),
			 -EINVAL);
}

static void the_printed_reference_reads_back_as_the_presets(maybe_unused void **state)
{
	cleanup(buf_done) struct buf b = {0};
	struct spec printed, presets = {0};
	struct skep_err err;

	conf_defaults(fields, array_size(fields), &presets);
	conf_print("Agent", fields, array_size(fields), &b);
	assert_int_equal(parse(b.data, &printed, &err), 0);
	assert_string_equal(printed.listen, presets.listen);
	assert_int_equal(printed.log, presets.log);
	assert_int_equal(printed.ring.size, presets.ring.size);
	assert_non_null(strstr(b.data, "    # KiB (64..1048576)\n    size: 1024\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_resource_is_read),
		cmocka_unit_test(what_is_left_out_has_its_preset),
		cmocka_unit_test(json_is_read),
		cmocka_unit_test(a_mistake_in_a_value_names_its_place_and_what_was_expected),
		cmocka_unit_test(an_unknown_key_suggests_the_nearest),
		cmocka_unit_test(the_frame_of_a_resource_is_checked),
		cmocka_unit_test(what_could_multiply_is_refused),
		cmocka_unit_test(text_that_is_no_yaml_names_its_place),
		cmocka_unit_test(a_field_without_preset_must_be_given),
		cmocka_unit_test(a_file_too_long_or_too_deep_is_refused_quickly),
		cmocka_unit_test(the_printed_reference_reads_back_as_the_presets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
