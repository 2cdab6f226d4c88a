/* SPDX-License-Identifier: Apache-2.0 */
/* Finding cgroup2 in files like /proc/self/mountinfo. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "host/inside.h"

static int find(const char *text, char *dst)
{
	char path[] = "/tmp/skep-mountinfo-XXXXXX";
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	rc = mounts_cgroup2(path, dst);
	unlink(path);
	return rc;
}

#define SYSTEMD "30 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define HYBRID                                                                 \
	"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"  \
	"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" \
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw\n"
#define PART "50 23 0:27 /docker/abc /host/part rw - cgroup2 cgroup2 rw\n"

static void test_the_one_hierarchy_of_a_modern_host_is_found(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(find(SYSTEMD, at), 0);
	assert_string_equal(at, "/sys/fs/cgroup");
}

static void test_a_hybrid_host_has_it_beside_version_1(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(find(HYBRID, at), 0);
	assert_string_equal(at, "/sys/fs/cgroup/unified");
}

static void test_version_1_alone_is_not_cgroup2(void **state maybe_unused)
{
	char at[PATH_MAX] = "old";

	assert_int_equal(find("32 31 0:29 / /sys/fs/cgroup/cgroup2 rw - cgroup cgroup2 rw\n", at),
			 -ENOENT);
	assert_string_equal(at, "");
}

static void test_the_whole_hierarchy_wins_over_a_part_of_it(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(find(PART SYSTEMD, at), 0);
	assert_string_equal(at, "/sys/fs/cgroup");
	assert_int_equal(find(PART, at), 0);
	assert_string_equal(at, "/host/part");
}

static void test_blanks_in_a_mount_point_are_unescaped(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(find("1 2 0:3 / /a\\040b\\134c rw - cgroup2 none rw\n", at), 0);
	assert_string_equal(at, "/a b\\c");
}

static void test_lines_cut_short_are_passed_over(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(find("\n - cgroup2 none rw\n1 2 - cgroup2 x\n1 2 0:3 / /a\\04", at),
			 -ENOENT);
	assert_int_equal(find("1 2 0:3 / /a\\04 rw - cgroup2 none rw\n", at), 0);
	assert_string_equal(at, "/a\\04");
}

static void test_a_missing_file_is_no_cgroup2(void **state maybe_unused)
{
	char at[PATH_MAX];

	assert_int_equal(mounts_cgroup2("/nonexistent/mountinfo", at), -ENOENT);
	assert_string_equal(at, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_one_hierarchy_of_a_modern_host_is_found),
		cmocka_unit_test(test_a_hybrid_host_has_it_beside_version_1),
		cmocka_unit_test(test_version_1_alone_is_not_cgroup2),
		cmocka_unit_test(test_the_whole_hierarchy_wins_over_a_part_of_it),
		cmocka_unit_test(test_blanks_in_a_mount_point_are_unescaped),
		cmocka_unit_test(test_lines_cut_short_are_passed_over),
		cmocka_unit_test(test_a_missing_file_is_no_cgroup2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
