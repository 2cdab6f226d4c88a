// SPDX-License-Identifier: Apache-2.0
/* prog.c: operations of programs: a run of them in one BPF_PROG_TEST_RUN, the same through map_*. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "diff.h"
#include "tests/map/ops.skel.h"

static struct prog_op mine[OPS_MAX];
static struct {
	uint8_t key[KEY_MAX], value[VALUE_MAX];
} seen[EACH_MAX];

static struct bpf_program *main_program(const struct pair *p)
{
	struct bpf_program *of[] = {
		[KV] = p->skel->progs.kv,	[PERCPU] = p->skel->progs.percpu,
		[FIFO] = p->skel->progs.fifo,	[BLOOM] = p->skel->progs.bloom,
		[RING] = p->skel->progs.ring,	[DRAIN] = p->skel->progs.drain,
		[OUTER] = p->skel->progs.outer,
	};

	return of[p->lane->program];
}

static bool has_each(const struct pair *p)
{
	return (p->lane->program == KV || p->lane->program == PERCPU) && !p->lane->lpm;
}

int prog_open(struct pair *p)
{
	if (p->lane->program == PROGRAM_NONE || p->def.value_size > VALUE_MAX)
		return 0;
	p->skel = ops_bpf__open();
	if (!p->skel)
		return failed(p, "cannot open ops.bpf.o"), -1;
	p->skel->rodata->key_size = p->def.key_size;
	p->skel->rodata->value_size = p->lane->objects ? 8 : p->def.value_size;
	bpf_program__set_autoload(main_program(p), true);
	bpf_program__set_autoload(p->skel->progs.for_each, has_each(p));
	if (bpf_map__reuse_fd(p->skel->maps.map, p->fd) || ops_bpf__load(p->skel))
		return failed(p, "cannot load the program on this map"), -1;
	for (unsigned i = 0; i < sizeof(p->skel->bss->data); i++)
		p->skel->bss->data[i] = i * 7;
	return 0;
}

void prog_close(struct pair *p)
{
	ops_bpf__destroy(p->skel);
	p->skel = NULL;
}

/* ---- the engine's side ------------------------------------------------------------------------- */

static void copy_found(struct pair *p, struct prog_op *op, const void *value)
{
	op->ret = value != NULL;
	if (value && !p->lane->objects && !map_covers(p->ours, (uintptr_t)value, p->def.value_size))
		op->ret = -EFAULT; /* what interpreted programs would see */
	if (value)
		memcpy(op->value, value, p->lane->objects ? 8 : p->def.value_size);
}

static void add(struct pair *p, struct prog_op *op)
{
	uint8_t *value = map_lookup(p->ours, op->key);

	copy_found(p, op, value);
	if (value)
		value[p->def.value_size - 1]++;
}

static void inner_lookup(struct pair *p, struct prog_op *op)
{
	struct map *inner = map_lookup(p->ours, op->key);

	op->ret = 0;
	if (inner)
		copy_found(p, op, map_lookup(inner, &op->arg));
	op->ret |= inner ? 2 : 0;
}

struct each {
	struct pair *p;
	uint32_t n, stop;
	bool delete;
};

static int visit(void *arg, const void *key, void *value)
{
	struct each *e = arg;
	uint32_t i = e->n++;

	if (i < EACH_MAX) {
		memcpy(seen[i].key, key, e->p->def.key_size);
		memcpy(seen[i].value, value, e->p->def.value_size);
	}
	if (e->delete)
		map_delete(e->p->ours, key);
	return e->n == e->stop;
}

static long sample(void *arg, const void *data, uint32_t size)
{
	struct each *e = arg;
	uint32_t i = e->n++;

	if (i < EACH_MAX && size >= 8)
		memcpy(seen[i].value, data, 8);
	return e->n == e->stop;
}

static void commit(struct pair *p, void *record, uint64_t flags, bool discard, bool *woken)
{
	if (record)
		*woken |= map_ring_commit(p->ours, record, flags, discard);
}

static void *reserve(struct pair *p, struct prog_op *op)
{
	void *record = map_ring_reserve(p->ours, op->arg, 0);

	if (record && op->arg <= DATA_MAX)
		memcpy(record, p->skel->bss->data, op->arg);
	return record;
}

static void run_ring(struct pair *p, struct prog_op *op, bool *woken)
{
	bool wake = false;
	void *a, *b;

	switch (op->kind) {
	case PROG_QUERY:
		op->ret = map_ring_query(p->ours, op->flags);
		break;
	case PROG_OUTPUT:
		op->ret = map_ring_output(p->ours, p->skel->bss->data, op->arg & (2 * DATA_MAX - 1),
					  op->flags, &wake);
		*woken |= wake;
		break;
	case PROG_SUBMIT_TWO:
		a = reserve(p, op);
		b = reserve(p, op);
		op->ret = (a ? 0 : -EINVAL) + 1000 * (b ? 0 : -EINVAL);
		commit(p, b, op->flags, false, woken);
		commit(p, a, op->flags, false, woken);
		break;
	default:
		a = reserve(p, op);
		op->ret = a ? 0 : -EINVAL;
		commit(p, a, op->flags, op->kind == PROG_DISCARD, woken);
	}
}

static void run_ours(struct pair *p, struct prog_op *op, struct each *e, bool *woken)
{
	struct map *m = p->ours;

	switch (op->kind) {
	case PROG_LOOKUP:
		return copy_found(p, op, map_lookup(m, op->key));
	case PROG_ADD:
		return add(p, op);
	case PROG_LOOKUP_PERCPU:
		return copy_found(p, op, map_lookup_percpu(m, op->key, op->arg));
	case PROG_UPDATE:
		op->ret = map_update(m, op->key, op->value, op->flags);
		return;
	case PROG_DELETE:
		op->ret = map_delete(m, op->key);
		return;
	case PROG_PUSH:
		op->ret = map_push(m, op->value, op->flags);
		return;
	case PROG_POP:
		op->ret = map_pop(m, op->value);
		return;
	case PROG_PEEK:
		op->ret = map_peek(m, op->value);
		return;
	case PROG_INNER_LOOKUP:
		return inner_lookup(p, op);
	case PROG_EACH:
	case PROG_EACH_DELETE:
		/* the kernel refuses flags before it begins */
		op->ret = op->flags ? -EINVAL : map_for_each(m, visit, e);
		return;
	case PROG_DRAIN:
		op->ret = map_ring_drain(m, sample, e, op->flags);
		return;
	default:
		return run_ring(p, op, woken);
	}
}

/* ---- both --------------------------------------------------------------------------------------- */

static void fill(struct pair *p, const struct op *op, struct prog_op *out)
{
	uint8_t room[KEY_ROOM], value[SYS_ROOM];

	*out = (struct prog_op){.kind = op->kind, .arg = op->arg, .flags = op->flags};
	if (op->key != KEY_NONE)
		memcpy(out->key, pair_key(p, op->key, room),
		       min(p->def.key_size, (uint32_t)KEY_MAX));
	if (op->kind != PROG_UPDATE && op->kind != PROG_PUSH && op->kind != PROG_PEEK)
		return;
	pair_value(p, op, value, p->def.value_size);
	memcpy(out->value, value, min(p->def.value_size, (uint32_t)VALUE_MAX));
	if (p->lane->locks)
		memset(out->value, 0, 4);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(seen[0]));
}

static bool differ_each(struct pair *p, const struct prog_op *op, struct each *e)
{
	uint32_t n = p->skel->bss->n_each;

	if (differ(p, "calls of the callback", n, e->n))
		return true;
	n = min(n, (uint32_t)EACH_MAX);
	if (p->lane->set && n < EACH_MAX && !(op->arg && op->arg <= n)) {
		qsort(p->skel->bss->each, n, sizeof(seen[0]), by_key);
		qsort(seen, n, sizeof(seen[0]), by_key);
	} else if (p->lane->set) {
		return false;
	}
	return differ_bytes(p, "elements given to the callback", p->skel->bss->each, seen,
			    n * sizeof(seen[0]));
}

static bool evicted(struct pair *p, const struct op *op, const struct prog_op *k,
		    const struct prog_op *o)
{
	uint8_t want[SYS_ROOM];
	struct op written = *op;

	if (op->kind == PROG_UPDATE) {
		p->model[op->key] = op->seed;
		return differ(p, "result", k->ret, o->ret);
	}
	if (op->kind != PROG_LOOKUP)
		return o->ret && o->ret != -ENOENT && failed(p, "result: engine %lld", o->ret);
	p->looks++;
	p->hits[0] += k->ret;
	p->hits[1] += o->ret;
	written.seed = p->model[op->key];
	if (!written.seed)
		return differ(p, "lookup of what was never written", k->ret, o->ret);
	pair_value(p, &written, want, p->def.value_size);
	return o->ret &&
	       differ_bytes(p, "value since the last update", want, o->value, p->def.value_size);
}

static bool differ_op(struct pair *p, const struct op *op, const struct prog_op *k,
		      const struct prog_op *o)
{
	if (p->lane->evicts)
		return evicted(p, op, k, o);
	if (p->lane->program == BLOOM)
		return op->kind == PROG_PUSH ? bloom_put(p, op, k->ret, o->ret)
					     : bloom_wrong(p, op, k->ret, o->ret);
	return differ(p, "result", k->ret, o->ret) ||
	       differ_bytes(p, "value", k->value, o->value, sizeof(k->value));
}

static bool is_ring(const struct pair *p)
{
	return p->lane->program == RING || p->lane->program == DRAIN;
}

bool prog_run(struct pair *p, const struct op *ops, unsigned n, unsigned *at)
{
	struct bpf_program *prog = main_program(p);
	bool each = ops->kind == PROG_EACH || ops->kind == PROG_EACH_DELETE, woken = false;
	struct each e = {p, 0, ops->arg, ops->kind == PROG_EACH_DELETE};
	uint8_t packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet, .data_size_in = sizeof(packet));

	if (each || ops->kind == PROG_DRAIN) {
		memset(p->skel->bss->each, 0, sizeof(p->skel->bss->each));
		memset(seen, 0, sizeof(seen));
		p->skel->bss->n_each = 0;
	}
	for (unsigned i = 0; i < n; i++)
		fill(p, &ops[i], &mine[i]);
	memcpy(p->skel->bss->ops, mine, n * sizeof(mine[0]));
	p->skel->bss->n_ops = n;
	*at = 0;
	if (bpf_prog_test_run_opts(bpf_program__fd(each ? p->skel->progs.for_each : prog), &run))
		return !failed(p, "BPF_PROG_TEST_RUN: errno %d", errno);
	for (unsigned i = 0; i < n; i++)
		run_ours(p, &mine[i], &e, &woken);
	for (unsigned i = 0; i < n; i++, (*at)++)
		if (differ_op(p, &ops[i], &p->skel->bss->ops[i], &mine[i]))
			return false;
	*at = n - 1;
	if (is_ring(p) && !ring_same(p))
		return false;
	if (p->lane->program == RING && differ(p, "consumer woken", ring_woken(p), woken))
		return false;
	return !each && ops->kind != PROG_DRAIN ? true : !differ_each(p, mine, &e);
}
