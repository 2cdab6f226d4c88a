// SPDX-License-Identifier: Apache-2.0
/*
 * value.c: values whose spin locks, timers and kptrs stay where they are when bytes are copied.
 */
#include "map/impl.h"

void copy_around(const struct map_base *b, void *dst, const void *src, uint32_t n)
{
	uint32_t at = 0;
	unsigned i;

	for (i = 0; i < b->n_holes; i++) {
		memcpy((char *)dst + at, (const char *)src + at, b->holes[i].at - at);
		at = b->holes[i].at + b->holes[i].len;
	}
	memcpy((char *)dst + at, (const char *)src + at, n - at);
}

static _Atomic uint32_t *lock_in(const struct map_base *b, const void *value)
{
	return (_Atomic uint32_t *)((uintptr_t)value + (unsigned)b->m.def.fields.spin_lock);
}

void copy_locked(const struct map_base *b, void *dst, const void *src, uint32_t n)
{
	spin_lock(lock_in(b, dst));
	copy_around(b, dst, src, n);
	spin_unlock(lock_in(b, dst));
}

void copy_out(const struct map_base *b, void *dst, const void *src, uint32_t n, uint64_t flags)
{
	unsigned i;

	if (flags & BPF_F_LOCK) {
		spin_lock(lock_in(b, src));
		copy_around(b, dst, src, n);
		spin_unlock(lock_in(b, src));
	} else {
		copy_value(b, dst, src, n);
	}
	for (i = 0; i < b->n_holes; i++)
		memset((char *)dst + b->holes[i].at, 0, b->holes[i].len);
}

void value_drop(struct map_base *b, void *value)
{
	const struct map_objects *o = b->m.def.objects;
	unsigned i;

	if (!b->n_holes)
		return;
	if (o && o->drop)
		o->drop(o->arg, &b->m, value);
	for (i = 0; i < b->n_holes; i++) {
		if ((int64_t)b->holes[i].at != b->m.def.fields.spin_lock)
			memset((char *)value + b->holes[i].at, 0, b->holes[i].len);
	}
}

void map_spin_lock(void *lock)
{
	spin_lock(lock);
}

void map_spin_unlock(void *lock)
{
	spin_unlock(lock);
}
