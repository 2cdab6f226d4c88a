/* SPDX-License-Identifier: Apache-2.0 */
/* maps.h: what the tests of maps share. */
#ifndef TESTS_MAP_MAPS_H
#define TESTS_MAP_MAPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "map/map.h"

#define ENOTSUPP 524

static inline struct map_def def_of(uint32_t type, uint32_t key, uint32_t value, uint32_t n,
				    uint32_t flags)
{
	return (struct map_def){.type = type,
				.key_size = key,
				.value_size = value,
				.max_entries = n,
				.flags = flags,
				.cpus = 2,
				.fields = {.spin_lock = -1, .timer = -1}};
}

static inline void free_map(struct map **m)
{
	map_free(*m);
}

#define owned_map cleanup(free_map) struct map

static inline struct map *made(struct map_def def)
{
	struct skep_err err = {""};
	struct map *m = NULL;
	int rc = map_create(&m, &def, &err);

	if (rc)
		print_error("map_create: %d %s\n", rc, err.text);
	assert_int_equal(rc, 0);
	return m;
}

/* What creation answers. */
static inline int tried(struct map_def def)
{
	struct map *m = NULL;
	int rc = map_create(&m, &def, NULL);

	if (!rc)
		map_free(m);
	return rc;
}

static inline int put32(struct map *m, uint32_t key, uint64_t value, uint64_t flags)
{
	return map_update(m, &key, &value, flags);
}

static inline uint64_t get32(struct map *m, uint32_t key)
{
	uint64_t *v = map_lookup(m, &key);

	return v ? *v : UINT64_MAX;
}

static inline int del32(struct map *m, uint32_t key)
{
	return map_delete(m, &key);
}

#endif
