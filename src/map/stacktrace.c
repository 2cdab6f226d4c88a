// SPDX-License-Identifier: Apache-2.0
/*
 * stacktrace.c: stack traces by id. Nothing puts any in yet: there is no kernel's stack here. So the map
 * is what the kernel's is before the first trace.
 */
#include "map/impl.h"

#define FRAMES_MAX 127 /* the kernel's perf_event_max_stack, as it comes */

static int stack_sys_lookup(struct map *m maybe_unused, const void *key maybe_unused,
			    void *value maybe_unused, uint64_t flags maybe_unused)
{
	return -ENOENT;
}

static int stack_delete(struct map *m, const void *key)
{
	uint32_t id;

	memcpy(&id, key, sizeof(id));
	return id >= round_pow2(m->def.max_entries) ? -E2BIG : -ENOENT;
}

static int stack_next_key(struct map *m maybe_unused, const void *key maybe_unused,
			  void *next maybe_unused)
{
	return -ENOENT;
}

static void stack_free(struct map *m maybe_unused)
{
}

static const struct map_ops stack_ops = {
	.free = stack_free,
	.delete = stack_delete,
	.sys_lookup = stack_sys_lookup,
	.next_key = stack_next_key,
	.lookup_delete = stack_sys_lookup,
};

static int stack_check(const struct map_def *def, struct skep_err *err)
{
	const uint32_t allowed =
		BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID;
	uint32_t frame = def->flags & BPF_F_STACK_BUILD_ID ? sizeof(struct bpf_stack_build_id) : 8;

	if (def->flags & ~allowed)
		return skep_fail(err, -EINVAL, "map type %u has no flags 0x%x", def->type,
				 def->flags & ~allowed);
	if (!def->max_entries || def->key_size != 4 || def->value_size < 8 || def->value_size % 8 ||
	    def->value_size % frame || def->value_size / frame > FRAMES_MAX)
		return skep_fail(err, -EINVAL,
				 "stack traces have keys of 4 bytes, values of up to 127 frames of "
				 "%u bytes, not %u bytes",
				 frame, def->value_size);
	if (def->max_entries > 1U << 31)
		return skep_fail(err, -E2BIG, "%u entries are too many", def->max_entries);
	return 0;
}

int stack_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct map_base *b;
	int rc = stack_check(def, err);

	if (rc)
		return rc;
	b = base_make(sizeof(*b), def, &stack_ops);
	if (!b)
		return no_memory(def, err);
	*out = &b->m;
	return 0;
}
