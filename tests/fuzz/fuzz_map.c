// SPDX-License-Identifier: Apache-2.0
/*
 * A map from the first bytes, operations on it from the others: no attribute, key, flag or content of a
 * ring buffer leads out of the map's memory.
 */
#include <linux/bpf.h>

#include "map/map.h"

#define CPUS	 2
#define KEY_ROOM 1024
#define VALUES	 (1 << 17)
#define ELEMENTS 10000 /* of maps that are worked with; larger ones are only made */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t key[KEY_ROOM], next_key[KEY_ROOM];
static uint8_t value[VALUES], keys[64 * KEY_ROOM], values[VALUES];
static int object; /* what every fd but 0 stands for */

static void must(bool holds)
{
	if (!holds)
		abort();
}

static uint8_t byte(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static uint32_t number(struct input *in)
{
	static const uint32_t edges[] = {4096,	     512,	 513,	0x7fffffff,
					 0x80000000, 0xffffffff, 65536, 0xfff8};
	uint8_t b = byte(in);

	return b < 0xf8 ? b : edges[b - 0xf8];
}

static void bytes(struct input *in, uint8_t *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = i < 8 ? byte(in) : to[i % 8];
}

static void *object_get(void *arg maybe_unused, struct map *m maybe_unused, int fd, int *rc)
{
	*rc = -EBADF;
	return fd ? &object : NULL;
}

static void object_put(void *arg maybe_unused, struct map *m maybe_unused, void *o)
{
	must(o == &object);
}

static uint64_t object_id(void *arg maybe_unused, struct map *m maybe_unused, void *o)
{
	must(o == &object);
	return 1;
}

static const struct map_objects objects = {object_get, object_put, object_id, NULL};
static const struct map_def inner = {BPF_MAP_TYPE_ARRAY, 4, 8, 4, .cpus = CPUS, .fields = {-1, -1}};

static bool is_array_of_objects(uint32_t type)
{
	return type == BPF_MAP_TYPE_PROG_ARRAY || type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	       type == BPF_MAP_TYPE_CGROUP_ARRAY || type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

static bool stands_for_objects(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	       m->def.type == BPF_MAP_TYPE_HASH_OF_MAPS || m->def.type == BPF_MAP_TYPE_PROG_ARRAY ||
	       m->def.type == BPF_MAP_TYPE_XSKMAP;
}

/* A program may write all of a value that a lookup gave it. */
static void touch(struct map *m, uint8_t *v, uint8_t with)
{
	if (!v || stands_for_objects(m))
		return;
	must(map_covers(m, (uintptr_t)v, m->def.value_size));
	memset(v, with, m->def.value_size);
}

static int visit(void *arg, const void *k, void *v)
{
	struct map *m = arg;

	memcpy(next_key, k, m->def.key_size);
	touch(m, v, 1);
	return 0;
}

static long sample(void *arg maybe_unused, const void *at, uint32_t size)
{
	if (size)
		memcpy(value, at, min(size, (uint32_t)VALUES));
	return 0;
}

static void ring_op(struct map *m, struct input *in, uint8_t op, uint64_t flags)
{
	uint32_t size = number(in);
	void *record;
	bool wake;

	switch (op % 4) {
	case 0:
		map_ring_output(m, value, min(size, (uint32_t)VALUES), flags, &wake);
		break;
	case 1:
		record = map_ring_reserve(m, size, flags);
		if (!record)
			break;
		memset(record, 1, size);
		map_ring_commit(m, record, flags, op & 4);
		break;
	case 2:
		map_ring_query(m, flags);
		break;
	default: /* a consumer or producer in user memory writes what it likes */
		must(pwrite(m->memfd, value, 64, (off_t)(byte(in) % 3) * 4096 + byte(in) * 8) ==
		     64);
	}
}

static void program_op(struct map *m, struct input *in, uint8_t op, uint64_t flags)
{
	switch (op % 8) {
	case 0:
		return touch(m, map_lookup(m, key), op);
	case 1:
		return touch(m, map_lookup_percpu(m, key, byte(in)), op);
	case 2:
		map_update(m, key, value, flags);
		return;
	case 3:
		map_delete(m, key);
		return;
	case 4:
		map_push(m, value, flags);
		return;
	case 5:
		map_pop(m, values);
		return;
	case 6:
		map_peek(m, value);
		return;
	default:
		map_for_each(m, visit, m);
	}
}

static void batch(struct map *m, struct input *in, uint64_t flags, bool delete)
{
	uint32_t room = (uint32_t)VALUES / max(map_sys_value_size(m), 1u), count, got;
	uint8_t cursor[2][KEY_ROOM];
	void *from = NULL;

	count = min(byte(in) & 63u, room);
	for (unsigned i = 0; i < 8; i++) {
		got = count;
		if (map_sys_lookup_batch(m, from, cursor[i & 1], keys, values, &got, flags, delete))
			break;
		must(got <= count);
		from = cursor[i & 1];
	}
}

static void system_op(struct map *m, struct input *in, uint8_t op, uint64_t flags)
{
	switch (op % 8) {
	case 0:
		map_sys_lookup(m, key, values, flags);
		break;
	case 1:
	case 2:
		map_sys_update(m, key, value, flags);
		break;
	case 3:
		map_sys_delete(m, key);
		break;
	case 4:
		map_sys_next_key(m, op & 8 ? key : NULL, next_key);
		break;
	case 5:
		map_sys_lookup_delete(m, key, values, flags);
		break;
	case 6:
		batch(m, in, flags, op & 8);
		break;
	default:
		if (op == 0xff)
			map_sys_freeze(m);
	}
}

static bool is_ring(const struct map *m)
{
	return m->def.type == BPF_MAP_TYPE_RINGBUF || m->def.type == BPF_MAP_TYPE_USER_RINGBUF;
}

static void one_op(struct map *m, struct input *in)
{
	uint8_t op = byte(in);
	uint64_t flags = op & 0x80 ? byte(in) & 7 : 0;

	map_cpu = op >> 6 & 1;
	bytes(in, key, m->def.key_size);
	if (op & 1)
		bytes(in, value, min((size_t)VALUES, (size_t)map_sys_value_size(m)));
	if (op & 0x20)
		system_op(m, in, op >> 1, flags);
	else if (!is_ring(m))
		program_op(m, in, op >> 1, flags);
	else if (m->def.type == BPF_MAP_TYPE_RINGBUF || (op >> 1) % 4 == 3)
		ring_op(m, in, op >> 1, flags);
	else
		map_ring_drain(m, sample, NULL, flags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct map_def def = {
		.cpus = CPUS, .fields = {-1, -1}, .inner = &inner, .objects = &objects};
	struct map *m = NULL;

	def.type = byte(&in) % 40;
	def.key_size = number(&in);
	def.value_size = number(&in);
	def.max_entries = number(&in);
	def.flags = byte(&in) | (uint32_t)byte(&in) << 8;
	def.extra = byte(&in) & 31;
	if (def.flags & 0x4000 && def.value_size >= 4)
		def.fields.spin_lock = 0;
	if (def.max_entries > ELEMENTS && is_array_of_objects(def.type)) /* long to free */
		def.max_entries = ELEMENTS;
	if (map_create(&m, &def, NULL))
		return 0;
	if (def.key_size <= KEY_ROOM && def.max_entries <= ELEMENTS &&
	    map_sys_value_size(m) <= VALUES)
		while (in.left)
			one_op(m, &in);
	map_free(m);
	return 0;
}
