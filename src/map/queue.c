// SPDX-License-Identifier: Apache-2.0
/*
 * queue.c: queues and stacks: a ring of values between tail (the oldest) and head, one of them unused.
 */
#include "map/impl.h"

struct queue {
	struct map_base b;
	char *values;
	uint64_t bytes;
	uint32_t size; /* in bytes, of a value */
	bool stack;
	_Alignas(64) _Atomic uint32_t lock;
	uint64_t n, head, tail;
};

static struct queue *queue_of(struct map *m)
{
	return container_of(m, struct queue, b.m);
}

static char *slot(const struct queue *q, uint64_t i)
{
	return q->values + i * q->size;
}

static uint64_t after(const struct queue *q, uint64_t i)
{
	return i + 1 == q->n ? 0 : i + 1;
}

static int queue_push(struct map *m, const void *value, uint64_t flags)
{
	struct queue *q = queue_of(m);
	int rc = 0;

	if (flags != BPF_ANY && flags != BPF_EXIST)
		return -EINVAL;
	spin_lock(&q->lock);
	if (after(q, q->head) == q->tail) {
		if (flags & BPF_EXIST)
			q->tail = after(q, q->tail);
		else
			rc = -E2BIG;
	}
	if (!rc) {
		copy_bytes(slot(q, q->head), value, q->size);
		q->head = after(q, q->head);
	}
	spin_unlock(&q->lock);
	return rc;
}

static int take_next(struct queue *q, void *value, bool delete)
{
	uint64_t i = q->tail;
	int rc = 0;

	spin_lock(&q->lock);
	if (q->head == q->tail) {
		memset(value, 0, q->size);
		rc = -ENOENT;
	} else {
		i = !q->stack ? q->tail : q->head ? q->head - 1 : q->n - 1;
		copy_bytes(value, slot(q, i), q->size);
		if (delete &&q->stack)
			q->head = i;
		else if (delete)
			q->tail = after(q, i);
	}
	spin_unlock(&q->lock);
	return rc;
}

static int queue_pop(struct map *m, void *value)
{
	return take_next(queue_of(m), value, true);
}

static int queue_peek(struct map *m, void *value)
{
	return take_next(queue_of(m), value, false);
}

static int queue_sys_lookup(struct map *m, const void *key maybe_unused, void *value,
			    uint64_t flags maybe_unused)
{
	return queue_peek(m, value);
}

static int queue_sys_update(struct map *m, const void *key maybe_unused, const void *value,
			    uint64_t flags)
{
	return queue_push(m, value, flags);
}

static int queue_lookup_delete(struct map *m, const void *key maybe_unused, void *value,
			       uint64_t flags maybe_unused)
{
	return queue_pop(m, value);
}

static int queue_next_key(struct map *m maybe_unused, const void *key maybe_unused,
			  void *next maybe_unused)
{
	return -EINVAL;
}

static void queue_free(struct map *m)
{
	arena_free(queue_of(m)->values, queue_of(m)->bytes);
}

static const struct map_ops queue_ops = {
	.free = queue_free,
	.push = queue_push,
	.pop = queue_pop,
	.peek = queue_peek,
	.sys_lookup = queue_sys_lookup,
	.sys_update = queue_sys_update,
	.lookup_delete = queue_lookup_delete,
	.next_key = queue_next_key,
};

static int queue_check(const struct map_def *def, struct skep_err *err)
{
	if (!def->max_entries || def->key_size || !def->value_size)
		return skep_fail(err, -EINVAL,
				 "a queue has no keys (%u bytes), values (%u), "
				 "entries (%u)",
				 def->key_size, def->value_size, def->max_entries);
	if (def->value_size > KMALLOC_MAX)
		return skep_fail(err, -E2BIG, "values of %u bytes are too large", def->value_size);
	return 0;
}

int queue_create(struct map **out, const struct map_def *def, struct skep_err *err)
{
	struct queue *q;
	int rc = flags_check(def, BPF_F_NUMA_NODE | MAP_FLAGS_ACCESS, err);

	if (!rc)
		rc = queue_check(def, err);
	if (rc)
		return rc;
	q = base_make(sizeof(*q), def, &queue_ops);
	if (!q)
		return no_memory(def, err);
	q->stack = def->type == BPF_MAP_TYPE_STACK;
	q->size = def->value_size;
	q->n = (uint64_t)def->max_entries + 1;
	q->bytes = q->n * q->size;
	q->values = arena(&q->b, q->bytes);
	if (!q->values) {
		map_free(&q->b.m);
		return no_memory(def, err);
	}
	*out = &q->b.m;
	return 0;
}
