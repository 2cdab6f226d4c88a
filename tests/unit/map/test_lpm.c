// SPDX-License-Identifier: Apache-2.0
#include "maps.h"

#define LPM  BPF_MAP_TYPE_LPM_TRIE
#define FLAG BPF_F_NO_PREALLOC

struct key {
	uint32_t bits;
	uint8_t bytes[16];
};

static struct map_def lpm_def(uint32_t bytes, uint32_t n)
{
	return def_of(LPM, 4 + bytes, 4, n, FLAG);
}

static struct key ip(uint32_t bits, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct key){bits, {a, b, c, d}};
}

static void creation_answers_as_the_kernel(void **state maybe_unused)
{
	assert_int_equal(tried(def_of(LPM, 8, 4, 4, 0)), -EINVAL);
	assert_int_equal(tried(def_of(LPM, 4, 4, 4, FLAG)), -EINVAL);
	assert_int_equal(tried(def_of(LPM, 261, 4, 4, FLAG)), -EINVAL);
	assert_int_equal(tried(def_of(LPM, 260, 4, 4, FLAG)), 0);
	assert_int_equal(tried(def_of(LPM, 8, 0, 4, FLAG)), -EINVAL);
	assert_int_equal(tried(def_of(LPM, 8, 4194024, 1, FLAG)), 0);
	assert_int_equal(tried(def_of(LPM, 8, 4194025, 1, FLAG)), -EINVAL);
	assert_int_equal(tried(def_of(LPM, 8, 4, 0, FLAG)), -EINVAL);
}

static void the_longest_prefix_is_found(void **state maybe_unused)
{
	owned_map *m = made(lpm_def(4, 16));
	struct key all = ip(0, 0, 0, 0, 0), ten = ip(8, 10, 0, 0, 0), net = ip(17, 10, 1, 128, 0),
		   host = ip(32, 10, 1, 128, 7), k;
	uint32_t v;

	for (v = 1; v <= 4; v++)
		assert_int_equal(map_update(m,
					    v == 1   ? &all
					    : v == 2 ? &ten
					    : v == 3 ? &net
						     : &host,
					    &v, BPF_ANY),
				 0);
	k = ip(32, 11, 0, 0, 1);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 1);
	k = ip(32, 10, 1, 127, 1);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 2);
	k = ip(32, 10, 1, 128, 6);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 3);
	assert_int_equal(*(uint32_t *)map_lookup(m, &host), 4);
	k = ip(16, 10, 1, 128, 7);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 2);
	k = ip(7, 10, 0, 0, 0);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 1);
	k = ip(33, 10, 0, 0, 0);
	assert_null(map_lookup(m, &k));
	assert_int_equal(map_update(m, &k, &v, 0), -EINVAL);
	assert_int_equal(map_delete(m, &k), -EINVAL);
	assert_int_equal(map_delete(m, &net), 0);
	assert_int_equal(map_delete(m, &net), -ENOENT);
	k = ip(32, 10, 1, 128, 6);
	assert_int_equal(*(uint32_t *)map_lookup(m, &k), 2);
}

static void flags_and_room_are_kept(void **state maybe_unused)
{
	owned_map *m = made(lpm_def(4, 2));
	struct key a = ip(8, 10, 0, 0, 0), b = ip(8, 11, 0, 0, 0), c = ip(8, 12, 0, 0, 0);
	uint32_t v = 1;

	assert_int_equal(map_update(m, &a, &v, BPF_EXIST), -ENOENT);
	assert_int_equal(map_update(m, &a, &v, BPF_NOEXIST), 0);
	assert_int_equal(map_update(m, &a, &v, BPF_NOEXIST), -EEXIST);
	assert_int_equal(map_update(m, &a, &v, 3), -EINVAL);
	assert_int_equal(map_update(m, &b, &v, 0), 0);
	assert_int_equal(map_update(m, &c, &v, 0), -ENOSPC);
	for (v = 0; v < 1000; v++)
		assert_int_equal(map_update(m, &a, &v, BPF_EXIST), 0);
	assert_int_equal(map_delete(m, &b), 0);
	assert_int_equal(map_update(m, &c, &v, 0), 0);
}

static void keys_come_longest_first_then_by_bits(void **state maybe_unused)
{
	owned_map *m = made(lpm_def(4, 8));
	/* The order that the kernel's own comment on its walk gives. */
	struct key in[] = {ip(16, 192, 168, 0, 0), ip(24, 192, 168, 0, 0), ip(24, 192, 168, 128, 0),
			   ip(24, 192, 168, 1, 0)};
	const unsigned order[] = {1, 3, 2, 0};
	struct key k, *at = NULL, next;
	uint32_t v = 0, i;

	for (i = 0; i < 4; i++)
		map_update(m, in + i, &v, 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(map_sys_next_key(m, at, &next), 0);
		assert_memory_equal(&next, in + order[i], 8);
		k = next;
		at = &k;
	}
	assert_int_equal(map_sys_next_key(m, at, &next), -ENOENT);
	k = ip(9, 1, 2, 3, 4);
	assert_int_equal(map_sys_next_key(m, &k, &next), 0);
	assert_memory_equal(&next, in + 1, 8);
}

/* ---- against a list of prefixes -------------------------------------------------------------- */

static uint64_t seed = 1;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(seed >> 33) % n;
}

#define MODEL 400

static struct model {
	struct key key;
	uint32_t value;
	bool is;
} model[MODEL];

static unsigned bit(const struct key *k, uint32_t i)
{
	return k->bytes[i / 8] >> (7 - i % 8) & 1;
}

static bool holds(const struct key *prefix, const struct key *k)
{
	uint32_t i;

	for (i = 0; i < prefix->bits; i++) {
		if (i >= k->bits || bit(prefix, i) != bit(k, i))
			return false;
	}
	return true;
}

static struct model *model_best(const struct key *k, bool exact)
{
	struct model *best = NULL;
	unsigned i;

	for (i = 0; i < MODEL; i++) {
		if (model[i].is && holds(&model[i].key, k) &&
		    (exact ? model[i].key.bits == k->bits
			   : !best || model[i].key.bits > best->key.bits))
			best = model + i;
	}
	return best;
}

/* Few values in each byte, so that prefixes share much. */
static struct key random_key(uint32_t bytes, bool full)
{
	struct key k = {full ? bytes * 8 : rnd(bytes * 8 + 1)};
	uint32_t i;

	for (i = 0; i < bytes; i++)
		k.bytes[i] = (uint8_t)(rnd(3) ? rnd(3) * 85 : rnd(256));
	return k;
}

static void model_put(const struct key *k, uint32_t value)
{
	struct model *e = model_best(k, true);
	unsigned i;

	for (i = 0; !e && i < MODEL; i++) {
		if (!model[i].is)
			e = model + i;
	}
	assert_non_null(e);
	*e = (struct model){*k, value, true};
}

static void step(struct map *m, uint32_t bytes, uint32_t *n)
{
	struct key k = random_key(bytes, rnd(2));
	struct model *e = model_best(&k, true);
	uint32_t v = rnd(1000000);

	if (rnd(2) && (e || *n < MODEL)) {
		assert_int_equal(map_update(m, &k, &v, BPF_ANY), 0);
		*n += !e;
		model_put(&k, v);
	} else {
		assert_int_equal(map_delete(m, &k), e ? 0 : -ENOENT);
		*n -= !!e;
		if (e)
			e->is = false;
	}
}

static void check(struct map *m, uint32_t bytes)
{
	struct key k = random_key(bytes, rnd(4));
	struct model *e = model_best(&k, false);
	uint32_t *v = map_lookup(m, &k);

	assert_int_equal(!!v, !!e);
	if (v)
		assert_int_equal(*v, e->value);
}

static void check_walk(struct map *m, uint32_t n)
{
	struct key k, next = {0}, *at = NULL;
	uint32_t seen = 0, i;

	while (!map_sys_next_key(m, at, &next)) {
		if (at) { /* a prefix comes after what it holds, otherwise by the first bit */
			assert_false(holds(&k, &next));
			for (i = 0; i < k.bits && i < next.bits && bit(&k, i) == bit(&next, i); i++)
				;
			assert_true(holds(&next, &k) || bit(&k, i) < bit(&next, i));
		}
		assert_non_null(model_best(&next, true));
		k = next;
		at = &k;
		seen++;
	}
	assert_int_equal(seen, n);
}

static void random_changes_agree_with_a_list(void **state maybe_unused)
{
	const uint32_t bytes[] = {4, 16, 1, 7, 8, 9};
	uint32_t i, round, n;

	for (i = 0; i < array_size(bytes); i++) {
		owned_map *m = made(lpm_def(bytes[i], MODEL));

		memset(model, 0, sizeof(model));
		for (n = 0, round = 0; round < 20000; round++) {
			step(m, bytes[i], &n);
			check(m, bytes[i]);
			if (round % 1000 == 0)
				check_walk(m, n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_answers_as_the_kernel),
		cmocka_unit_test(the_longest_prefix_is_found),
		cmocka_unit_test(flags_and_room_are_kept),
		cmocka_unit_test(keys_come_longest_first_then_by_bits),
		cmocka_unit_test(random_changes_agree_with_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
