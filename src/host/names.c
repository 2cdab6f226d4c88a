/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/btf.h>
#include <xxhash.h>

#include "host/inside.h"

#define ID_BITS 20
#define ID_MASK ((1U << ID_BITS) - 1)

static void btf_free(struct btf **b)
{
	btf__free(*b);
}

static uint64_t key_of(const char *name, unsigned id)
{
	return (XXH3_64bits(name, strlen(name)) & ~(uint64_t)ID_MASK) | id;
}

static int key_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool wanted(const struct btf_type *t, const char *name)
{
	return btf_is_func(t) || (btf_is_typedef(t) && !strncmp(name, "btf_trace_", 10)) ||
	       (btf_is_struct(t) && !strcmp(name, "tcp_congestion_ops"));
}

/* Bytes from the start of @t to its member, looked for in nameless members too; -1: none. */
static int member_at(const struct btf *b, const struct btf_type *t, const char *name)
{
	for (int i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		const struct btf_type *inner = btf__type_by_id(b, m->type);
		int at = (int)btf_member_bit_offset(t, i) / 8;

		if (!strcmp(btf__str_by_offset(b, m->name_off), name))
			return at;
		if (!m->name_off && inner && btf_is_composite(inner)) {
			int deeper = member_at(b, inner, name);

			if (deeper >= 0)
				return at + deeper;
		}
	}
	return -1;
}

static int f_path_at(const struct btf *b)
{
	int id = btf__find_by_name_kind(b, "file", BTF_KIND_STRUCT);

	return id < 0 ? -1 : member_at(b, btf__type_by_id(b, id), "f_path");
}

static size_t collect(const struct btf *b, uint64_t *keys)
{
	size_t n = 0;

	for (unsigned id = 1; id < btf__type_cnt(b) && id <= ID_MASK; id++) {
		const struct btf_type *t = btf__type_by_id(b, id);
		const char *name = btf__str_by_offset(b, t->name_off);

		if (!name || !wanted(t, name))
			continue;
		if (keys)
			keys[n] = key_of(name, id);
		n++;
	}
	return n;
}

int host_names_load(struct names *out, const char *path, struct skep_err *err)
{
	cleanup(btf_free) struct btf *b = btf__parse(path, NULL);
	uint64_t *keys;
	size_t n;

	if (!b)
		return skep_fail(err, -errno, "BTF in %s: %s", path, strerror(errno));
	n = collect(b, NULL);
	keys = calloc(n + 1, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	collect(b, keys);
	qsort(keys, n, sizeof(*keys), key_cmp);
	*out = (struct names){.keys = keys, .n = n, .f_path = f_path_at(b)};
	return 0;
}

void host_names_done(struct names *n)
{
	free(n->keys);
	*n = (struct names){};
}

unsigned host_names_find(const struct names *n, const char *name)
{
	uint64_t want = key_of(name, 0);
	size_t lo = 0, hi = n->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (n->keys[mid] < want)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == n->n || (n->keys[lo] & ~(uint64_t)ID_MASK) != want)
		return 0;
	return n->keys[lo] & ID_MASK;
}
