// SPDX-License-Identifier: Apache-2.0
#include "trace/dns.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct dns_message m;

/* Messages are written as string literals, so each has a NUL behind it that does not count. */
#define PARSE(lit) dns_parse(lit, sizeof(lit) - 1, sizeof(lit) - 1, &m)

#define QUERY_HEAD  "\x12\x34\x01\x00\0\1\0\0\0\0\0\0"
#define ANSWER(n)   "\x12\x34\x81\x80\0\1\0" n "\0\0\0\0"
#define EXAMPLE	    "\7example\3org\0"
#define TYPE_A	    "\0\1\0\1"
#define TYPE_AAAA   "\0\34\0\1"
#define TTL(a, b)   "\0\0" a b
#define AT_QUESTION "\xc0\x0c"

static const char *answers(void)
{
	static char text[8192];

	dns_answers_text(&m, text, sizeof(text));
	return text;
}

static void a_question_is_read(void **state maybe_unused)
{
	assert_int_equal(PARSE(QUERY_HEAD EXAMPLE TYPE_AAAA), 0);
	assert_int_equal(m.id, 0x1234);
	assert_false(m.response);
	assert_int_equal(m.opcode, 0);
	assert_string_equal(m.name, "example.org");
	assert_int_equal(m.type, 28);
	assert_int_equal(m.n_answers, 0);
	assert_false(m.cut);
}

static void addresses_of_both_families_are_answers(void **state maybe_unused)
{
	assert_int_equal(
		PARSE(ANSWER("\2") EXAMPLE TYPE_A AT_QUESTION TYPE_A TTL(
			"\1", "\x2c") "\0\4\x5d\xb8\xd7\x0e" AT_QUESTION TYPE_AAAA
			      TTL("\0",
				  "\x3c") "\0\20\x26\6\x28\0\2\x1f\xcb\7\x68\x20\x80\xda\xaf\x6b\x8b\x2c"),
		0);
	assert_true(m.response);
	assert_int_equal(m.rcode, 0);
	assert_int_equal(m.n_answers, 2);
	assert_int_equal(m.answers[0].family, AF_INET);
	assert_int_equal(m.answers[0].ttl, 300);
	assert_int_equal(m.answers[1].family, AF_INET6);
	assert_int_equal(m.min_ttl, 60);
	assert_string_equal(answers(), "93.184.215.14,2606:2800:21f:cb07:6820:80da:af6b:8b2c");
}

static void a_cname_chain_keeps_the_name_that_was_asked_for(void **state maybe_unused)
{
	/* www.example.org -> cdn.example.org (pointer into the question) -> 192.0.2.1 */
	assert_int_equal(PARSE(ANSWER("\2") "\3www" EXAMPLE TYPE_A AT_QUESTION "\0\5\0\1" TTL(
				 "\0", "\5") "\0\6\3cdn\xc0\x10"
					     "\xc0\x2d" TYPE_A TTL("\0", "\6") "\0\4\xc0\0\2\1"),
			 0);
	assert_string_equal(m.name, "www.example.org");
	assert_string_equal(answers(), "cdn.example.org,192.0.2.1");
	assert_int_equal(m.min_ttl, 5);
}

static void records_with_names_and_texts_are_shown_as_text(void **state maybe_unused)
{
	assert_int_equal(
		PARSE(ANSWER("\5") EXAMPLE "\0\xff\0\1" AT_QUESTION "\0\17\0\1" TTL(
			"\0",
			"\1") "\0\7\0\12\2mx\xc0\x0c" AT_QUESTION
			      "\0\20\0\1" TTL("\0", "\1") "\0\10\3v=1\3 \"\n" AT_QUESTION "\0\41\0\1" TTL(
				      "\0",
				      "\1") "\0\10\0\1\0\2\24\x66\xc0\x0c" AT_QUESTION
					    "\0\14\0\1" TTL(
						    "\0",
						    "\1") "\0\2\xc0\x0c" AT_QUESTION
							  "\0\101\0\1" TTL(
								  "\0",
								  "\1") "\0\12\0\1\0\0\1\0\3\2h2"),
		0);
	assert_int_equal(m.n_answers, 5);
	assert_string_equal(answers(), "10 mx.example.org,\"v=1 \\\"\\010\",1 2 5222 example.org,"
				       "example.org,1 .");
}

static void records_of_other_types_and_classes_are_skipped(void **state maybe_unused)
{
	assert_int_equal(PARSE(ANSWER("\3") EXAMPLE TYPE_A AT_QUESTION
			       "\0\56\0\1" TTL("\0", "\7") "\0\3\1\2\3"		 /* RRSIG */
			       AT_QUESTION "\0\1\0\3" TTL("\0", "\7") "\0\2\1\2" /* CHAOS A */
			       AT_QUESTION TYPE_A TTL("\0", "\11") "\0\4\1\2\3\4"),
			 0);
	assert_string_equal(answers(), "1.2.3.4");
	assert_int_equal(m.min_ttl, 7);
}

static void authority_and_additional_records_are_no_answers(void **state maybe_unused)
{
	assert_int_equal(PARSE("\x12\x34\x81\x83\0\1\0\0\0\1\0\1" EXAMPLE TYPE_A AT_QUESTION
			       "\0\6\0\1\0\0\0\1\0\1x" /* not looked at */),
			 0);
	assert_int_equal(m.rcode, 3);
	assert_int_equal(m.n_answers, 0);
	assert_int_equal(m.min_ttl, 0);
}

static void names_are_lower_cased_and_made_printable(void **state maybe_unused)
{
	assert_int_equal(PARSE(QUERY_HEAD "\3WwW\7a.b\\c\n\xff\3ORG\0" TYPE_A), 0);
	assert_string_equal(m.name, "www.a\\.b\\\\c\\010\\255.org");
	assert_int_equal(PARSE(QUERY_HEAD "\0" TYPE_A), 0);
	assert_string_equal(m.name, ".");
}

static void the_longest_name_fits_and_a_longer_one_is_refused(void **state maybe_unused)
{
	uint8_t p[12 + 256 + 4] = QUERY_HEAD;
	size_t at = 12, i;

	for (i = 0; i < 3; i++, at += 64) {
		p[at] = 63;
		memset(p + at + 1, 0xff, 63);
	}
	p[at] = 61; /* 3 * 64 + 62 + 1 = 255 */
	memset(p + at + 1, 0xff, 61);
	assert_int_equal(dns_parse(p, at + 63 + 4, at + 63 + 4, &m), 0);
	assert_int_equal(strlen(m.name), (3 * 63 + 61) * 4 + 3);
	p[at] = 62;
	p[at + 62] = 0xff;
	p[at + 63] = 0;
	assert_int_equal(dns_parse(p, at + 64 + 4, at + 64 + 4, &m), -EBADMSG);
}

static void pointers_that_loop_or_point_forward_are_refused(void **state maybe_unused)
{
	assert_int_equal(PARSE(QUERY_HEAD "\xc0\x0c" TYPE_A), -EBADMSG);
	assert_int_equal(PARSE(QUERY_HEAD "\1a\xc0\x0c" TYPE_A), -EBADMSG);
	assert_int_equal(PARSE(QUERY_HEAD "\xc0\x12" TYPE_A "\1a\0"), -EBADMSG);
	assert_int_equal(PARSE(QUERY_HEAD "\xc0\x00" TYPE_A), -EBADMSG);
	assert_int_equal(PARSE(QUERY_HEAD "\x40" TYPE_A), -EBADMSG);
	/* two pointers to each other, in the answers */
	assert_int_equal(PARSE(ANSWER("\1") EXAMPLE TYPE_A "\xc0\x1f\xc0\x1d" TYPE_A), -EBADMSG);
}

static void a_long_chain_of_pointers_ends(void **state maybe_unused)
{
	uint8_t p[4096] = ANSWER("\1") EXAMPLE TYPE_A;
	size_t at = sizeof(ANSWER("\1") EXAMPLE TYPE_A) - 1, to = 12;

	/* a record of a type that is skipped, full of pointers, each to the one before */
	p[7] = 2;
	memcpy(p + at, "\0\0\56\0\1\0\0\0\1\x05\xdc", 11);
	at += 11;
	for (size_t i = 0; i < 1500; i += 2) {
		p[at + i] = (uint8_t)(0xc0 | to >> 8);
		p[at + i + 1] = (uint8_t)to;
		to = at + i;
	}
	at += 1500;
	p[at] = (uint8_t)(0xc0 | to >> 8);
	p[at + 1] = (uint8_t)to;
	memcpy(p + at + 2, TYPE_A TTL("\0", "\1") "\0\4\1\2\3\4", 14);
	at += 16;
	assert_int_equal(dns_parse(p, at, at, &m), 0);
	assert_string_equal(answers(), "1.2.3.4");
}

#define TWO                                                                                      \
	ANSWER("\2")                                                                             \
	EXAMPLE TYPE_A AT_QUESTION TYPE_A TTL("\0", "\1") "\0\4\1\2\3\4" AT_QUESTION TYPE_A TTL( \
		"\0", "\1") "\0\4\5\6\7\10"

static void a_message_cut_by_the_capture_gives_what_is_there(void **state maybe_unused)
{
	const size_t whole = sizeof(TWO) - 1, question = 12 + 13 + 4, record = 16;
	size_t len;

	for (len = 0; len <= whole; len++) {
		int rc = dns_parse(TWO, len, whole, &m);

		assert_int_equal(rc, len < question ? -EBADMSG : 0);
		if (rc)
			continue;
		assert_string_equal(m.name, "example.org");
		assert_int_equal(m.n_answers, (len - question) / record);
		assert_int_equal(m.cut, len < whole);
	}
}

static void a_message_that_lacks_its_end_without_a_cut_is_malformed(void **state maybe_unused)
{
	size_t len;

	for (len = 0; len < sizeof(TWO) - 1; len++)
		assert_int_equal(dns_parse(TWO, len, len, &m), -EBADMSG);
}

static void record_data_of_the_wrong_length_is_malformed(void **state maybe_unused)
{
	assert_int_equal(PARSE(ANSWER("\1") EXAMPLE TYPE_A AT_QUESTION TYPE_A TTL(
				 "\0", "\1") "\0\5\1\2\3\4\5"),
			 -EBADMSG);
	assert_int_equal(
		PARSE(ANSWER("\2") EXAMPLE TYPE_A AT_QUESTION TYPE_A TTL(
			"\0", "\1") "\0\3\1\2\3" AT_QUESTION TYPE_A TTL("\0", "\1") "\0\4\1\2\3\4"),
		-EBADMSG);
	assert_int_equal(PARSE(ANSWER("\1") EXAMPLE TYPE_A AT_QUESTION
			       "\0\20\0\1" TTL("\0", "\1") "\0\2\5a"),
			 -EBADMSG);
}

static void answers_beyond_the_room_are_left_out(void **state maybe_unused)
{
	uint8_t p[2048] = ANSWER("\100") EXAMPLE TYPE_A;
	size_t at = sizeof(ANSWER("\100") EXAMPLE TYPE_A) - 1;
	unsigned i;

	for (i = 0; i < 64; i++, at += 16)
		memcpy(p + at, AT_QUESTION TYPE_A TTL("\0", "\1") "\0\4\1\2\3\4", 16);
	assert_int_equal(dns_parse(p, at, at, &m), 0);
	assert_int_equal(m.n_answers, DNS_ANSWER_MAX);
}

static void a_text_that_does_not_fit_leaves_out_that_answer_only(void **state maybe_unused)
{
	static uint8_t p[16384];
	size_t at = sizeof(ANSWER("\2") EXAMPLE TYPE_A) - 1;

	memcpy(p, ANSWER("\2") EXAMPLE TYPE_A, at);
	memcpy(p + at, AT_QUESTION "\0\20\0\1" TTL("\0", "\1") "\x14\x00", 12);
	at += 12;
	for (unsigned i = 0; i < 20; i++, at += 256)
		p[at] = 255;
	memcpy(p + at, AT_QUESTION TYPE_A TTL("\0", "\1") "\0\4\1\2\3\4", 16);
	assert_int_equal(dns_parse(p, at + 16, at + 16, &m), 0);
	assert_string_equal(answers(), "1.2.3.4");
}

static void answers_are_left_out_whole_where_the_buffer_is_small(void **state maybe_unused)
{
	char small[10];

	assert_int_equal(PARSE(TWO), 0);
	assert_int_equal(dns_answers_text(&m, small, sizeof(small)), 7);
	assert_string_equal(small, "1.2.3.4");
	assert_int_equal(dns_answers_text(&m, small, 7), 0);
	assert_string_equal(small, "");
	assert_int_equal(dns_answers_text(&m, NULL, 0), 0);
}

static void flags_and_counts_are_told(void **state maybe_unused)
{
	assert_int_equal(PARSE("\0\1\xa3\x05\0\0\0\0\0\0\0\0"), 0);
	assert_true(m.response);
	assert_true(m.truncated);
	assert_int_equal(m.opcode, 4);
	assert_int_equal(m.rcode, 5);
	assert_string_equal(m.name, "");
	assert_int_equal(PARSE("\0\1\1\0\0\2\0\0\0\0\0\0\1a\0" TYPE_A "\1b\0" TYPE_AAAA), 0);
	assert_string_equal(m.name, "a");
	assert_int_equal(m.type, 1);
}

static void a_ttl_with_the_top_bit_set_is_zero(void **state maybe_unused)
{
	assert_int_equal(
		PARSE(ANSWER("\1") EXAMPLE TYPE_A AT_QUESTION TYPE_A "\x80\0\0\1\0\4\1\2\3\4"), 0);
	assert_int_equal(m.answers[0].ttl, 0);
}

static void types_and_rcodes_have_names(void **state maybe_unused)
{
	char buf[DNS_LABEL_MAX];

	assert_string_equal(dns_type_name(28, buf), "AAAA");
	assert_string_equal(dns_type_name(65535, buf), "TYPE65535");
	assert_string_equal(dns_rcode_name(3, buf), "NXDOMAIN");
	assert_string_equal(dns_rcode_name(15, buf), "RCODE15");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_read),
		cmocka_unit_test(addresses_of_both_families_are_answers),
		cmocka_unit_test(a_cname_chain_keeps_the_name_that_was_asked_for),
		cmocka_unit_test(records_with_names_and_texts_are_shown_as_text),
		cmocka_unit_test(records_of_other_types_and_classes_are_skipped),
		cmocka_unit_test(authority_and_additional_records_are_no_answers),
		cmocka_unit_test(names_are_lower_cased_and_made_printable),
		cmocka_unit_test(the_longest_name_fits_and_a_longer_one_is_refused),
		cmocka_unit_test(pointers_that_loop_or_point_forward_are_refused),
		cmocka_unit_test(a_long_chain_of_pointers_ends),
		cmocka_unit_test(a_message_cut_by_the_capture_gives_what_is_there),
		cmocka_unit_test(a_message_that_lacks_its_end_without_a_cut_is_malformed),
		cmocka_unit_test(record_data_of_the_wrong_length_is_malformed),
		cmocka_unit_test(answers_beyond_the_room_are_left_out),
		cmocka_unit_test(a_text_that_does_not_fit_leaves_out_that_answer_only),
		cmocka_unit_test(answers_are_left_out_whole_where_the_buffer_is_small),
		cmocka_unit_test(flags_and_counts_are_told),
		cmocka_unit_test(a_ttl_with_the_top_bit_set_is_zero),
		cmocka_unit_test(types_and_rcodes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
