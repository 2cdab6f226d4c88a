// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * ops.bpf.c: what programs do to a map, one helper an operation, for comparison with the engine.
 *
 *	diff.c --> ops[0 .. n_ops) in .bss --> BPF_PROG_TEST_RUN --> ops[].ret, .value, each[]
 *
 * Hooks: none; run as tc programs. diff.c puts its map in the place of `map` and `inner` and loads the
 * one program that fits the map's type. Not a capability's object: no maps of its own.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ops.h"

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 key_size = 4, value_size = 8;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} map SEC(".maps");

__u32 n_ops;
struct prog_op ops[OPS_MAX];
__u32 n_each;
struct {
	__u8 key[KEY_MAX], value[VALUE_MAX];
} each[EACH_MAX];
__u8 data[2 * DATA_MAX];

static __always_inline void copy_value(struct prog_op *op, const void *value)
{
	op->ret = value != 0;
	if (value)
		bpf_probe_read_kernel(op->value, value_size <= VALUE_MAX ? value_size : VALUE_MAX,
				      value);
}

static __always_inline void lookup(struct prog_op *op)
{
	copy_value(op, bpf_map_lookup_elem(&map, op->key));
}

static __always_inline void add(struct prog_op *op)
{
	__u8 *value = bpf_map_lookup_elem(&map, op->key);

	copy_value(op, value);
	if (value)
		value[value_size - 1]++;
}

/* The nearest thing to a function pointer a verifier takes: one loop, the switch given. */
#define FOR_EACH_OP(op)           \
	struct prog_op *op = ops; \
	for (__u32 i = 0; i < OPS_MAX && i < n_ops; i++, op = &ops[i < OPS_MAX ? i : 0])

SEC("?tc")
int kv(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		if (op->kind == PROG_LOOKUP)
			lookup(op);
		else if (op->kind == PROG_ADD)
			add(op);
		else if (op->kind == PROG_UPDATE)
			op->ret = bpf_map_update_elem(&map, op->key, op->value, op->flags);
		else if (op->kind == PROG_DELETE)
			op->ret = bpf_map_delete_elem(&map, op->key);
	}
	return 0;
}

SEC("?tc")
int percpu(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		if (op->kind == PROG_LOOKUP)
			lookup(op);
		else if (op->kind == PROG_ADD)
			add(op);
		else if (op->kind == PROG_LOOKUP_PERCPU)
			copy_value(op, bpf_map_lookup_percpu_elem(&map, op->key, op->arg));
		else if (op->kind == PROG_UPDATE)
			op->ret = bpf_map_update_elem(&map, op->key, op->value, op->flags);
		else if (op->kind == PROG_DELETE)
			op->ret = bpf_map_delete_elem(&map, op->key);
	}
	return 0;
}

SEC("?tc")
int fifo(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		if (op->kind == PROG_PUSH)
			op->ret = bpf_map_push_elem(&map, op->value, op->flags);
		else if (op->kind == PROG_POP)
			op->ret = bpf_map_pop_elem(&map, op->value);
		else if (op->kind == PROG_PEEK)
			op->ret = bpf_map_peek_elem(&map, op->value);
	}
	return 0;
}

SEC("?tc")
int bloom(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		if (op->kind == PROG_PUSH)
			op->ret = bpf_map_push_elem(&map, op->value, op->flags);
		else if (op->kind == PROG_PEEK)
			op->ret = bpf_map_peek_elem(&map, op->value);
	}
	return 0;
}

SEC("?tc")
int outer(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		void *inner = bpf_map_lookup_elem(&map, op->key);

		op->ret = 0;
		if (inner)
			copy_value(op, bpf_map_lookup_elem(inner, &op->arg));
		op->ret |= inner ? 2 : 0;
	}
	return 0;
}

struct each_arg {
	__u32 stop, delete;
};

static long visit(void *m, const void *key, void *value, struct each_arg *arg)
{
	__u32 i = n_each++;

	if (i < EACH_MAX) {
		bpf_probe_read_kernel(each[i].key, key_size <= KEY_MAX ? key_size : KEY_MAX, key);
		bpf_probe_read_kernel(each[i].value,
				      value_size <= VALUE_MAX ? value_size : VALUE_MAX, value);
	}
	if (arg->delete)
		bpf_map_delete_elem(m, key);
	return i + 1 == arg->stop;
}

SEC("?tc")
int for_each(struct __sk_buff *skb)
{
	struct each_arg arg = {ops[0].arg, ops[0].kind == PROG_EACH_DELETE};

	n_each = 0;
	ops[0].ret = bpf_for_each_map_elem(&map, visit, &arg, ops[0].flags);
	return 0;
}

static __always_inline int reserve(__u32 size, __u64 flags, struct bpf_dynptr *ptr)
{
	int rc = bpf_ringbuf_reserve_dynptr(&map, size, flags, ptr);

	if (!rc && size && size <= DATA_MAX)
		bpf_dynptr_write(ptr, 0, data, size, 0);
	return rc;
}

SEC("?tc")
int ring(struct __sk_buff *skb)
{
	FOR_EACH_OP(op)
	{
		__u32 kind = op->kind, size = op->arg;

		if (kind == PROG_QUERY) {
			op->ret = bpf_ringbuf_query(&map, op->flags);
		} else if (kind == PROG_OUTPUT) {
			op->ret = bpf_ringbuf_output(&map, data, size & (2 * DATA_MAX - 1),
						     op->flags);
		} else if (kind == PROG_SUBMIT || kind == PROG_DISCARD) {
			struct bpf_dynptr ptr;

			op->ret = reserve(size, 0, &ptr);
			if (kind == PROG_SUBMIT)
				bpf_ringbuf_submit_dynptr(&ptr, op->flags);
			else
				bpf_ringbuf_discard_dynptr(&ptr, op->flags);
		} else if (kind == PROG_SUBMIT_TWO) {
			struct bpf_dynptr a, b;

			op->ret = reserve(size, 0, &a);
			op->ret += 1000 * reserve(size, 0, &b);
			bpf_ringbuf_submit_dynptr(&b, op->flags);
			bpf_ringbuf_submit_dynptr(&a, op->flags);
		}
	}
	return 0;
}

static long sample(struct bpf_dynptr *ptr, struct each_arg *arg)
{
	__u32 i = n_each++;

	if (i < EACH_MAX)
		bpf_dynptr_read(each[i].value, 8, ptr, 0, 0);
	return i + 1 == arg->stop;
}

SEC("?tc")
int drain(struct __sk_buff *skb)
{
	struct each_arg arg = {ops[0].arg, 0};

	n_each = 0;
	ops[0].ret = bpf_user_ringbuf_drain(&map, sample, &arg, ops[0].flags);
	return 0;
}
