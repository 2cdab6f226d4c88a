// SPDX-License-Identifier: Apache-2.0
/*
 * objects.c: arrays whose values stand for objects: programs, perf events, cgroups, maps.
 *
 * Callers give descriptors and are shown ids; programs see the objects' pointers, in slots (map_slots).
 */
#include "map/impl.h"

typedef _Atomic(void *) object_slot;

struct objects {
	struct map_base b;
	object_slot *slots;
};

static struct objects *objects_of(struct map *m)
{
	return container_of(m, struct objects, b.m);
}

void **objects_slots(struct map *m)
{
	return (void **)(uintptr_t)objects_of(m)->slots;
}

static object_slot *slot_at(struct map *m, const void *key)
{
	uint32_t i;

	memcpy(&i, key, sizeof(i));
	return i < m->def.max_entries ? objects_of(m)->slots + i : NULL;
}

static void objects_free(struct map *m)
{
	struct objects *o = objects_of(m);
	uint32_t i;

	for (i = 0; o->slots && i < m->def.max_entries; i++)
		map_object_put(m, atomic_load(o->slots + i));
	arena_free(o->slots, (uint64_t)m->def.max_entries * sizeof(*o->slots));
}

static int objects_update(struct map *m, const void *key, const void *value, uint64_t flags)
{
	object_slot *slot = slot_at(m, key);
	void *object;
	int fd, rc;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (!slot)
		return -E2BIG;
	memcpy(&fd, value, sizeof(fd));
	object = map_object_get(m, fd, &rc);
	if (!object)
		return rc;
	map_object_put(m, atomic_exchange(slot, object));
	return 0;
}

static int objects_delete(struct map *m, const void *key)
{
	object_slot *slot = slot_at(m, key);
	void *old;

	if (!slot)
		return -E2BIG;
	old = atomic_exchange(slot, NULL);
	map_object_put(m, old);
	return old ? 0 : -ENOENT;
}

static int objects_sys_lookup(struct map *m, const void *key, void *value,
			      uint64_t flags maybe_unused)
{
	object_slot *slot = slot_at(m, key);
	void *object = slot ? atomic_load(slot) : NULL;
	uint32_t id;

	if (!object)
		return -ENOENT;
	id = object_id(m, object);
	memcpy(value, &id, sizeof(id));
	return 0;
}

/* Perf events and cgroups have no id to show. */
static int hidden_sys_lookup(struct map *m maybe_unused, const void *key maybe_unused,
			     void *value maybe_unused, uint64_t flags maybe_unused)
{
	return -ENOTSUPP;
}

static void *maps_lookup(struct map *m, const void *key)
{
	object_slot *slot = slot_at(m, key);

	return slot ? atomic_load_explicit(slot, memory_order_acquire) : NULL;
}

static const struct map_ops progs_ops = {
	.free = objects_free,
	.sys_lookup = objects_sys_lookup,
	.sys_update = objects_update,
	.sys_delete = objects_delete,
	.next_key = array_next_key,
	.no_inner = true,
};

static const struct map_ops hidden_ops = {
	.free = objects_free,
	.sys_lookup = hidden_sys_lookup,
	.sys_update = objects_update,
	.sys_delete = objects_delete,
	.next_key = array_next_key,
};

static const struct map_ops maps_ops = {
	.free = objects_free,
	.lookup = maps_lookup,
	.sys_lookup = objects_sys_lookup,
	.sys_update = objects_update,
	.sys_delete = objects_delete,
	.next_key = array_next_key,
	.batches = MAP_BATCH_LOOKUP | MAP_BATCH_UPDATE,
	.no_inner = true, /* maps nest once */
};

static const struct map_ops *ops_for(uint32_t type)
{
	switch (type) {
	case BPF_MAP_TYPE_PROG_ARRAY:
		return &progs_ops;
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		return &maps_ops;
	default:
		return &hidden_ops;
	}
}

static int objects_check(const struct map_def *def, struct skep_err *err)
{
	if (def->value_size != 4)
		return skep_fail(err, -EINVAL,
				 "map type %u holds descriptors of 4 bytes, not values of %u",
				 def->type, def->value_size);
	if (def->flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return skep_fail(err, -EINVAL, "map type %u may not have flags 0x%x", def->type,
				 def->flags);
	return array_check(def, err);
}

int objects_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct objects *o;
	int rc = objects_check(def, err);

	if (rc)
		return rc;
	if (def->type == BPF_MAP_TYPE_ARRAY_OF_MAPS) {
		rc = inner_check(def, err);
		if (rc)
			return rc;
	}
	o = base_make(sizeof(*o), def, ops_for(def->type));
	if (!o)
		return no_memory(def, err);
	o->slots = arena(&o->b, (uint64_t)def->max_entries * sizeof(*o->slots));
	if (!o->slots) {
		map_free(&o->b.m);
		return no_memory(def, err);
	}
	*out = &o->b.m;
	return 0;
}
