/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choice.bpf.h: whose packet it is, and which backend it goes to. B1 to B4 and B8 of balance.bpf.c.
 */
#ifndef SKEP_BALANCE_CHOICE_BPF_H
#define SKEP_BALANCE_CHOICE_BPF_H

#include "balance/flows.bpf.h"
#include "balance/table.bpf.h"

#define UDP_UNITS 8

static __always_inline struct balance_backend *backend_get(__u32 id)
{
	return bpf_map_lookup_elem(&backends, &id);
}

static __always_inline int usable(__u32 id)
{
	struct balance_backend *b = id ? backend_get(id) : 0;

	return b && b->state != BALANCE_GONE;
}

/* Whether a flow without an entry begins with this packet, as far as can be told. */
static __always_inline int begins(const struct packet *p, __u32 time)
{
	if (p->kind == KIND_FLOW) /* B8 */
		return balance_since(p->changed, time, BALANCE_TIME_MASK) > UDP_UNITS;
	return p->kind == KIND_FIRST;
}

/*
 * The slot's other backend, for a packet of a flow that began: another balancer, or this one before it
 * lost its entries, may have sent it there. The first hands on what it does not know.
 */
static __always_inline __u32 other_of(const struct packet *p, __u32 backend, __u32 first, __u32 was)
{
	__u32 other = backend == first ? was : first;

	return p->kind == KIND_MORE && other != backend ? other : 0;
}

/*
 * Affinity: the client's entry in this bucket, renewed by each packet. Where it is too old, or its backend
 * takes nobody, it becomes @next's, if there is one.
 */
__noinline __u32 client_in(__u32 at, __u32 tag, __u32 time, __u32 most, __u32 next)
{
	struct balance_bucket *b = bpf_map_lookup_elem(&flows, &at);
	struct balance_backend *r;
	__u64 e, fresh;
	__u32 id;
	int i;

	if (!b)
		return 0;
#pragma unroll
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&b->entry[i];
		id = BALANCE_ENTRY_BACKEND(e);
		if (BALANCE_ENTRY_TAG(e) != tag || !id || !(e & 1))
			continue;
		r = backend_get(id);
		if (balance_entry_age(e, time) > most || !r || r->state != BALANCE_LIVE)
			id = next;
		fresh = balance_entry(tag, id, time, 1, 1);
		if (id && !asking && fresh != e)
			__sync_val_compare_and_swap(&b->entry[i], e, fresh);
		return id;
	}
	return 0;
}

/* Whom flows of this client that begin go to, where the slot says @first and @was. */
static __always_inline __u32 choose_client(struct balance_state *s, const struct packet *p,
					   __u32 first, __u32 was, __u32 time)
{
	__u32 next, id;
	__u64 hash;

	if (p->kind == KIND_ABOUT)
		return first;
	hash = balance_mix_end(balance_mix(p->source, p->service));
	next = p->kind == KIND_MORE ? 0 : begins(p, time) ? first : was;
	id = client_in(balance_bucket1(hash, bucket_log), hash, time, p->affinity, next);
	if (!id)
		id = client_in(balance_bucket2(hash, bucket_log), hash, time, p->affinity, next);
	if (!id && next)
		insert(s, hash, next, 1, time);
	return id ?: next ?: first;
}

/* B2 to B5, at a slot with BALANCE_LOOK. @counted: an entry for every flow. */
__noinline __u32 choose_stateful(struct packet *p, __u32 first, __u32 was, __u32 counted)
{
	struct balance_state *s = state_get();
	__u32 time = now(), backend;

	if (!p || !s)
		return 0;
	if (p->affinity) {
		counted |= first != was; /* B4, whatever the client's is */
		first = choose_client(s, p, first, was, time);
	}
	backend = find(p->hash, 0, time, p->kind != KIND_ABOUT && (first != was || counted));
	if (backend && usable(backend)) {
		p->entry = 1;
		p->second = other_of(p, backend, first, was);
		if (first == was && !counted && backend != was)
			find(p->hash, 0, time, 1);
		return backend;
	}
	if (!usable(was))
		was = first;
	if (p->kind == KIND_ABOUT || (first == was && !counted))
		return was;
	backend = begins(p, time) ? first : was;
	if (backend && !insert(s, p->hash, backend, 0, time)) /* B4 */
		backend = was;				      /* B3 */
	p->second = other_of(p, backend, first, was);
	return backend;
}

static __always_inline void tell_slot(const struct packet *p, __u32 instance, __u32 slot)
{
	struct balance_told *t = telling ? told_get() : 0;

	if (!t)
		return;
	t->instance = instance;
	t->slot = slot;
	t->hash = p->hash;
}

static __always_inline __u32 choose(struct packet *p, const struct balance_service *v, __u32 id)
{
	__u32 hash = v->flags & BALANCE_BY_SOURCE ? p->source : p->hash >> 32;
	__u32 at = v->ring + (hash >> (32 - (v->ring_log & 31)));
	struct balance_slot *slot = bpf_map_lookup_elem(&rings, &at);
	__u32 first, was;

	tell_slot(p, id, at);
	if (!slot)
		return 0;
	was = slot->was;
	first = slot->now;
	if (!(was & BALANCE_LOOK))
		return first; /* B1 */
	p->changed = v->changed;
	p->affinity = v->affinity;
	return choose_stateful(p, first, was & ~BALANCE_LOOK, v->flags & BALANCE_COUNTED);
}

/* ---- services -------------------------------------------------------------------------------- */

/*
 * struct balance_key4 or balance_key6, in whole words: who reads a word that was stored in pieces waits until
 * all of them have left the processor.
 */
static __always_inline struct balance_vip *vip_get(const __u64 addr[2], __u8 family, __be16 port,
						   __u8 proto)
{
	__u64 last = port | (__u32)proto << 16;
	__u64 k4 = (__u32)addr[0] | last << 32, k6[] = {addr[0], addr[1], last};

	return family == 4 ? bpf_map_lookup_elem(&vip4, &k4) : bpf_map_lookup_elem(&vip6, k6);
}

__noinline __u32 range_find(__u32 at, __u32 port)
{
	struct balance_ranges *r = bpf_map_lookup_elem(&ranges, &at);
	__u16 p = bpf_ntohs((__be16)port);
	int i;

	if (!r)
		return 0;
	for (i = 0; i < BALANCE_RANGES; i++)
		if ((__u32)i < r->n && p >= r->range[i].first && p <= r->range[i].last)
			return r->range[i].service;
	return 0;
}

/* Index of "services", 0: none. */
static __always_inline __u32 service_find(struct balance_state *s, const __u64 addr[2], __u8 family,
					  __be16 port, __u8 proto)
{
	__u32 side = s->active & 1, id = 0;
	struct balance_vip *v = vip_get(addr, family, port, proto);

	if (v)
		id = v->service[side];
	if (id)
		return id;
	v = vip_get(addr, family, 0, proto);
	return v && v->service[side] ? range_find(v->service[side], port) : 0;
}

/* What an address of ours stands for, whatever the port; 0: it is none. */
static __always_inline __u32 address_look(const __u64 addr[2], __u8 family)
{
	struct balance_state *s = state_get();
	struct balance_vip *v = s ? vip_get(addr, family, 0, 0) : 0;

	return v ? v->service[s->active & 1] : 0;
}

struct address16 {
	__u64 word[2];
};

__noinline __u32 address_of(const struct address16 *a, __u32 family)
{
	return a ? address_look(a->word, family) : 0;
}

/* The same, where the stack has room for a call more. */
static __always_inline __u32 ours(const __u64 addr[2], __u8 family)
{
	return address_of((const struct address16 *)addr, family);
}

#endif
