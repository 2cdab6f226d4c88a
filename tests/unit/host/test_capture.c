/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host/capture.h"

static char path[] = "/tmp/skep-capture.XXXXXX";

static int begin(void **state maybe_unused)
{
	int fd = mkstemp(path);

	if (fd >= 0)
		close(fd);
	return fd < 0;
}

static int end(void **state maybe_unused)
{
	return unlink(path);
}

static void test_what_is_written_is_read_again_to_the_nanosecond(void **state maybe_unused)
{
	const struct capture_packet out = {
		.data = (const uint8_t *)"0123456789abcdefgh",
		.len = 18,
		.wire_len = 1500,
		.time = {.tv_sec = 1700000000, .tv_nsec = 123456789},
	};
	struct capture_packet in;
	struct skep_err err;
	struct capture *c;

	assert_int_equal(capture_create(&c, path, &err), 0);
	assert_int_equal(capture_write(c, &out), 0);
	assert_int_equal(capture_close(c), 0);

	assert_int_equal(capture_open(&c, path, &err), 0);
	assert_int_equal(capture_next(c, &in, &err), 1);
	assert_int_equal(in.len, 18);
	assert_int_equal(in.wire_len, 1500);
	assert_memory_equal(in.data, out.data, 18);
	assert_int_equal(in.time.tv_sec, out.time.tv_sec);
	assert_int_equal(in.time.tv_nsec, out.time.tv_nsec);
	assert_int_equal(capture_next(c, &in, &err), 0);
	capture_close(c);
}

static void put(const void *p, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

static void test_a_bare_ip_packet_gets_an_ethernet_header(void **state maybe_unused)
{
	static const uint8_t raw[] =
		"\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0"
		"\1\0\0\0\2\0\0\0\1\0\0\0\1\0\0\0\x60";
	struct capture_packet in;
	struct skep_err err;
	struct capture *c;

	put(raw, sizeof(raw) - 1);
	assert_int_equal(capture_open(&c, path, &err), 0);
	assert_int_equal(capture_next(c, &in, &err), 1);
	assert_int_equal(in.len, 15);
	assert_int_equal(in.data[12], 0x86);
	assert_int_equal(in.data[13], 0xdd);
	assert_int_equal(in.data[14], 0x60);
	assert_int_equal(in.time.tv_nsec, 2000);
	capture_close(c);
}

static void test_other_files_are_refused_by_name(void **state maybe_unused)
{
	static const uint8_t wlan[] =
		"\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x69\0\0\0";
	struct skep_err err;
	struct capture *c;

	put("no capture at all, just text", 28);
	assert_int_equal(capture_open(&c, path, &err), -EINVAL);
	assert_non_null(strstr(err.text, path));
	put(wlan, sizeof(wlan) - 1);
	assert_int_equal(capture_open(&c, path, &err), -EINVAL);
	assert_non_null(strstr(err.text, "Ethernet"));
	assert_int_equal(capture_open(&c, "/nowhere/x.pcap", &err), -ENOENT);
	assert_true(capture_create(&c, "/nowhere/x.pcap", &err) < 0);
}

static void test_a_file_cut_within_a_packet_is_damaged(void **state maybe_unused)
{
	static const uint8_t cut[] = "\xd4\xc3\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\xff\xff\0\0\1\0\0\0"
				     "\1\0\0\0\2\0\0\0\x40\0\0\0\x40\0\0\0\x60";
	struct capture_packet in;
	struct skep_err err;
	struct capture *c;

	put(cut, sizeof(cut) - 1);
	assert_int_equal(capture_open(&c, path, &err), 0);
	assert_int_equal(capture_next(c, &in, &err), -EBADMSG);
	capture_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read_again_to_the_nanosecond),
		cmocka_unit_test(test_a_bare_ip_packet_gets_an_ethernet_header),
		cmocka_unit_test(test_other_files_are_refused_by_name),
		cmocka_unit_test(test_a_file_cut_within_a_packet_is_damaged),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
