// SPDX-License-Identifier: Apache-2.0
/*
 * The n-th request for memory or a file fails, for n = 1, 2, ... until a map comes of it: each failure is
 * -ENOMEM with a reason, nothing leaks, and mappings and files are as many as before.
 */
#include <dirent.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "maps.h"

static unsigned countdown; /* 0: none fails */
static bool failed;

static bool fails(void)
{
	if (!countdown || --countdown)
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

/* In the place of libc's. */
void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : (void *)syscall(SYS_mmap, at, n, prot, flags, fd, offset);
}

int memfd_create(const char *name, unsigned flags)
{
	return fails() ? -1 : (int)syscall(SYS_memfd_create, name, flags);
}

int ftruncate(int fd, off_t n)
{
	return fails() ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	void *p = NULL;

	return fails() || posix_memalign(&p, align, n) ? NULL : p;
}

static unsigned lines_of(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static unsigned files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Returns how many requests a map of @def takes. */
static unsigned fail_each(const struct map_def *def)
{
	unsigned n, open_files = files();

	for (n = 1;; n++) {
		struct skep_err err = {""};
		struct map *m = NULL;
		int rc;

		failed = false;
		countdown = n;
		rc = map_create(&m, def, &err);
		countdown = 0;
		if (!failed) {
			assert_int_equal(rc, 0);
			map_free(m);
			assert_int_equal(files(), open_files);
			return n - 1;
		}
		assert_int_equal(rc, -ENOMEM);
		assert_null(m);
		assert_true(err.text[0]);
		assert_int_equal(files(), open_files);
	}
}

static void a_failed_creation_leaves_nothing_behind(void **state maybe_unused)
{
	const struct map_def inner = def_of(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	struct map_def defs[] = {
		def_of(BPF_MAP_TYPE_ARRAY, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_ARRAY, 4, 8, 100000, BPF_F_MMAPABLE),
		def_of(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 100000, 0),
		def_of(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 100000, 0),
		def_of(BPF_MAP_TYPE_HASH, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_PERCPU_HASH, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_LRU_HASH, 4, 8, 100000, BPF_F_NO_COMMON_LRU),
		def_of(BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_HASH_OF_MAPS, 4, 4, 100000, 0),
		def_of(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 100000, BPF_F_NO_PREALLOC),
		def_of(BPF_MAP_TYPE_RINGBUF, 0, 0, 1 << 20, 0),
		def_of(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 1 << 20, 0),
		def_of(BPF_MAP_TYPE_QUEUE, 0, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_DEVMAP, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_DEVMAP_HASH, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_STACK_TRACE, 4, 8, 100000, 0),
		def_of(BPF_MAP_TYPE_TASK_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC),
		def_of(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, 8, 8, 0, 0),
	};
	unsigned i, round, mappings = 0;

	for (round = 0; round < 3; round++) {
		for (i = 0; i < array_size(defs); i++) {
			defs[i].inner = &inner;
			assert_true(fail_each(defs + i) >= 1);
		}
		if (!round) /* libc has its own by now */
			mappings = lines_of("/proc/self/maps");
	}
	assert_in_range(lines_of("/proc/self/maps"), 1, mappings + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_creation_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
