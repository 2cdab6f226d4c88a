// SPDX-License-Identifier: Apache-2.0
#include "balance/ids.h"

int ids_open(struct ids *i, uint32_t max)
{
	*i = (struct ids){.max = max, .next = 1};
	i->free = calloc(max, sizeof(*i->free));
	i->used = calloc(max, 1);
	return i->free && i->used ? 0 : -ENOMEM;
}

void ids_done(struct ids *i)
{
	free(i->free);
	free(i->used);
}

uint32_t ids_get(struct ids *i)
{
	uint32_t id = 0;

	while (!id && i->n_free) {
		id = i->free[--i->n_free];
		id = i->used[id] ? 0 : id;
	}
	while (!id && i->next < i->max) {
		id = i->next++;
		id = i->used[id] ? 0 : id;
	}
	if (id)
		i->used[id] = 1;
	return id;
}

void ids_put(struct ids *i, uint32_t id)
{
	if (!id || id >= i->max || !i->used[id])
		return;
	i->used[id] = 0;
	if (id < i->next && i->n_free < i->max)
		i->free[i->n_free++] = id;
}

bool ids_take(struct ids *i, uint32_t id)
{
	if (!id || id >= i->max || i->used[id])
		return false;
	i->used[id] = 1;
	return true;
}

int extents_open(struct extents *e, uint32_t slots)
{
	*e = (struct extents){.units = slots >> EXTENT_LOG};
	e->used = calloc(e->units ? e->units : 1, 1);
	return e->used ? 0 : -ENOMEM;
}

void extents_done(struct extents *e)
{
	free(e->used);
}

static void mark(struct extents *e, uint32_t first, unsigned log, uint8_t used)
{
	uint32_t unit = first >> EXTENT_LOG, n = 1U << (log - EXTENT_LOG);

	if (unit < e->units && n <= e->units - unit)
		memset(e->used + unit, used, n);
}

uint32_t extents_get(struct extents *e, unsigned log)
{
	uint32_t n = 1U << (log - EXTENT_LOG), places = e->units / n, i, at;

	for (i = 0; i < places; i++) {
		at = (e->hint[log] + i) % places * n;
		if (memchr(e->used + at, 1, n))
			continue;
		e->hint[log] = at / n + 1;
		mark(e, at << EXTENT_LOG, log, 1);
		return at << EXTENT_LOG;
	}
	return EXTENT_NONE;
}

void extents_put(struct extents *e, uint32_t first, unsigned log)
{
	mark(e, first, log, 0);
	e->hint[log] = min(e->hint[log], first >> log);
}

void extents_take(struct extents *e, uint32_t first, unsigned log)
{
	mark(e, first, log, 1);
}
