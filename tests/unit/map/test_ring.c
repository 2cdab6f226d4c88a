// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include "maps.h"

#define RING BPF_MAP_TYPE_RINGBUF
#define USER BPF_MAP_TYPE_USER_RINGBUF
#define SIZE 4096U

/* The file as libbpf maps it. */
struct mapped {
	uint64_t *consumer, *producer;
	char *data;
};

static struct mapped map_of(struct map *m)
{
	char *p = mmap(NULL, 2 * 4096 + 2 * SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->memfd, 0);

	assert_true(p != MAP_FAILED);
	return (struct mapped){(uint64_t *)p, (uint64_t *)(p + 4096), p + 2 * 4096};
}

static void unmap(struct mapped *r)
{
	munmap(r->consumer, 2 * 4096 + 2 * SIZE);
}

/* The next record, as libbpf reads it; NULL: none or busy. */
static const char *next_record(struct mapped *r, uint32_t *len)
{
	uint32_t *h = (uint32_t *)(r->data + (*r->consumer & (SIZE - 1)));

	if (*r->consumer >= *r->producer || *h & BPF_RINGBUF_BUSY_BIT)
		return NULL;
	*len = *h;
	*r->consumer += ((*h & ~BPF_RINGBUF_DISCARD_BIT) + 8 + 7) / 8 * 8;
	return (char *)h + 8;
}

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	assert_int_equal(tried(def_of(RING, 0, 0, 0, 0)), -EINVAL);
	assert_int_equal(tried(def_of(RING, 0, 0, 2048, 0)), -EINVAL);
	assert_int_equal(tried(def_of(RING, 0, 0, 3 * 4096, 0)), -EINVAL);
	assert_int_equal(tried(def_of(RING, 4, 0, 4096, 0)), -EINVAL);
	assert_int_equal(tried(def_of(RING, 0, 0, 4096, BPF_F_RDONLY_PROG)), -EINVAL);
	assert_int_equal(tried(def_of(USER, 0, 0, 8192, BPF_F_NUMA_NODE)), 0);
}

static void records_are_read_in_order_whatever_order_they_are_committed(void **state maybe_unused)
{
	owned_map *m = made(def_of(RING, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	char *a = map_ring_reserve(m, 5, 0), *b = map_ring_reserve(m, 16, 0);
	uint32_t len = 0;

	assert_null(map_ring_reserve(m, 5, 1));
	memcpy(a, "first", 5);
	memcpy(b, "second, 16 bytes", 16);
	assert_false(map_ring_commit(m, b, 0, false));
	assert_null(next_record(&r, &len));
	assert_true(map_ring_commit(m, a, 0, false));
	assert_memory_equal(next_record(&r, &len), "first", 5);
	assert_int_equal(len, 5);
	assert_memory_equal(next_record(&r, &len), "second, 16 bytes", 16);
	assert_null(next_record(&r, &len));
	a = map_ring_reserve(m, 8, 0);
	assert_int_equal(map_ring_query(m, BPF_RB_AVAIL_DATA), 16);
	assert_int_equal(map_ring_query(m, BPF_RB_RING_SIZE), SIZE);
	assert_int_equal(map_ring_query(m, BPF_RB_CONS_POS), 40);
	assert_int_equal(map_ring_query(m, BPF_RB_PROD_POS), 56);
	assert_int_equal(map_ring_query(m, 9), 0);
	assert_false(map_ring_commit(m, a, BPF_RB_NO_WAKEUP, true));
	assert_non_null(next_record(&r, &len));
	assert_true(len & BPF_RINGBUF_DISCARD_BIT);
	unmap(&r);
}

static void a_full_ring_refuses_and_a_read_one_goes_on(void **state maybe_unused)
{
	owned_map *m = made(def_of(RING, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	uint64_t v = 7;
	uint32_t len, n = 0;
	bool wake;

	assert_null(map_ring_reserve(m, SIZE - 7, 0));
	assert_null(map_ring_reserve(m, UINT64_MAX, 0));
	assert_int_equal(map_ring_output(m, &v, 8, 4, &wake), -EINVAL);
	while (!map_ring_output(m, &v, 8, 0, &wake))
		n++;
	assert_int_equal(n, SIZE / 16 - 1);
	assert_int_equal(map_ring_output(m, &v, 8, 0, &wake), -EAGAIN);
	assert_non_null(next_record(&r, &len));
	assert_int_equal(map_ring_output(m, &v, 8, BPF_RB_FORCE_WAKEUP, &wake), 0);
	assert_true(wake);
	unmap(&r);
}

/* The file holds what runs over the end in its second range. */
static void a_record_over_the_end_is_whole_for_both(void **state maybe_unused)
{
	owned_map *m = made(def_of(RING, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	char text[1000], *p;
	const char *q;
	uint32_t len = 0, i, k;

	for (i = 0; i < 50; i++) {
		p = map_ring_reserve(m, sizeof(text), 0);
		assert_non_null(p);
		for (k = 0; k < sizeof(text); k++)
			text[k] = (char)(i + k * 7);
		memcpy(p, text, sizeof(text));
		map_ring_commit(m, p, 0, false);
		q = next_record(&r, &len);
		assert_non_null(q);
		assert_int_equal(len, sizeof(text));
		assert_memory_equal(q, text, sizeof(text));
	}
	unmap(&r);
}

static void headers_name_their_page_as_the_kernels_do(void **state maybe_unused)
{
	owned_map *m = made(def_of(RING, 0, 0, 2 * SIZE, 0));
	char *a = map_ring_reserve(m, SIZE - 8, 0), *b = map_ring_reserve(m, 8, 0);

	assert_int_equal(((uint32_t *)a)[-1], 3);
	assert_int_equal(((uint32_t *)b)[-1], 4);
}

/* What the caller writes over headers and positions leads nowhere. */
static void a_broken_file_breaks_nothing_else(void **state maybe_unused)
{
	owned_map *m = made(def_of(RING, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	const uint64_t positions[] = {0, 1, 4096, 1ULL << 40, UINT64_MAX, 24};
	char *p;
	unsigned i, k;

	for (i = 0; i < array_size(positions); i++) {
		for (k = 0; k < 300; k++) {
			p = map_ring_reserve(m, 100, 0);
			if (!p)
				break;
			*r.producer = positions[i];
			((uint32_t *)p)[-2] = k % 2 ? 0x7fffffff : 0xbfffffff;
			map_ring_commit(m, p, 0, false);
			*r.consumer = positions[i] + k;
		}
	}
	unmap(&r);
}

/* ---- callers write --------------------------------------------------------------------------- */

static void submit(struct mapped *r, const char *text, uint32_t len, uint32_t bits)
{
	uint32_t *h = (uint32_t *)(r->data + (*r->producer & (SIZE - 1)));

	memcpy(h + 2, text, len);
	h[0] = len | bits;
	*r->producer += (len + 8 + 7) / 8 * 8;
}

static char last[4096];
static long stop;

static long keep(void *arg, const void *sample, uint32_t size)
{
	++*(unsigned *)arg;
	memcpy(last, sample, size);
	last[size] = 0;
	return stop;
}

static void samples_are_drained_as_they_come(void **state maybe_unused)
{
	owned_map *m = made(def_of(USER, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	unsigned n = 0;

	assert_int_equal(map_ring_drain(m, keep, &n, 4), -EINVAL);
	assert_int_equal(map_ring_drain(m, keep, &n, 0), 0);
	submit(&r, "one", 3, 0);
	submit(&r, "two", 3, BPF_RINGBUF_DISCARD_BIT);
	submit(&r, "three", 5, 0);
	submit(&r, "four", 4, BPF_RINGBUF_BUSY_BIT);
	assert_int_equal(map_ring_drain(m, keep, &n, 0), 2);
	assert_int_equal(n, 2);
	assert_string_equal(last, "three");
	assert_int_equal(map_ring_query(m, BPF_RB_CONS_POS), 48);
	unmap(&r);
}

static void a_callback_that_answers_one_ends_the_drain(void **state maybe_unused)
{
	owned_map *m = made(def_of(USER, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	unsigned n = 0;

	submit(&r, "one", 3, 0);
	submit(&r, "two", 3, 0);
	stop = 1;
	assert_int_equal(map_ring_drain(m, keep, &n, 0), 1);
	stop = 0;
	assert_int_equal(map_ring_drain(m, keep, &n, 0), 1);
	assert_string_equal(last, "two");
	unmap(&r);
}

static void samples_over_the_end_are_whole(void **state maybe_unused)
{
	owned_map *m = made(def_of(USER, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	char text[1001] = "";
	unsigned n = 0, i;

	for (i = 0; i < 60; i++) {
		memset(text, 'a' + (int)(i % 26), 1000);
		submit(&r, text, 1000 - i % 9, 0);
		text[1000 - i % 9] = 0;
		assert_int_equal(map_ring_drain(m, keep, &n, 0), 1);
		assert_string_equal(last, text);
	}
	unmap(&r);
}

static void broken_samples_are_refused(void **state maybe_unused)
{
	owned_map *m = made(def_of(USER, 0, 0, SIZE, 0));
	struct mapped r = map_of(m);
	unsigned n = 0;

	*r.producer = 9;
	assert_int_equal(map_ring_drain(m, keep, &n, 0), -EINVAL);
	*r.producer = 16;
	*(uint32_t *)r.data = 100;
	assert_int_equal(map_ring_drain(m, keep, &n, 0), -EINVAL);
	*r.producer = 1ULL << 40;
	*(uint32_t *)r.data = SIZE;
	assert_int_equal(map_ring_drain(m, keep, &n, 0), -E2BIG);
	*r.consumer = 4095;
	*(uint32_t *)(r.data + 4088) = 4000;
	assert_int_equal(map_ring_drain(m, keep, &n, 0) > 0, true);
	assert_int_equal(n > 0, true);
	unmap(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(records_are_read_in_order_whatever_order_they_are_committed),
		cmocka_unit_test(a_full_ring_refuses_and_a_read_one_goes_on),
		cmocka_unit_test(a_record_over_the_end_is_whole_for_both),
		cmocka_unit_test(headers_name_their_page_as_the_kernels_do),
		cmocka_unit_test(a_broken_file_breaks_nothing_else),
		cmocka_unit_test(samples_are_drained_as_they_come),
		cmocka_unit_test(a_callback_that_answers_one_ends_the_drain),
		cmocka_unit_test(samples_over_the_end_are_whole),
		cmocka_unit_test(broken_samples_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
