/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * nat.bpf.h: backends of mode nat: a connection's packets go to the backend as if we had sent them, its
 * answers come to us and go to the client as if the service had sent them.
 *
 *	client:port > vip:port      nat_forth  --\
 *	                                          nat[i] = {client, vip, backend, our port}
 *	backend:port > us:our port  nat_back   --/
 *
 * A connection is one cache line in an array, found from either side by a bucket of eight words of one
 * cache line: in nat_forth a word's own place is the connection's, in nat_back the word holds it.
 *
 * A1  The entry decides, whatever the ring says: no translated connection moves.
 * A2  Only a TCP SYN or a UDP datagram makes an entry. Without room or a port of ours it is refused and
 *     counted; the entry of a living connection is never taken: what may be taken is silent for longer
 *     than balance_nat_idle(), or a SYN that nobody acknowledged for two units.
 * A3  (backend, its port, our port, protocol) names one connection: bind() takes a word of nat_back by
 *     compare and swap, and gives it back where it then sees another of the same tag in the bucket.
 *     Two CPUs cannot both keep one.
 * A4  Who turned a word of nat_forth to BALANCE_NAT_CLAIMED owns the place, nobody else writes it.
 *     What is claimed is not found. The agent frees what stays claimed (its owner was killed).
 * A5  Sums are changed by what translation adds to them; a UDP sum of 0 stays 0 and is never made.
 */
#ifndef SKEP_BALANCE_NAT_BPF_H
#define SKEP_BALANCE_NAT_BPF_H

#include "balance/nat.h"
#include "balance/answer.bpf.h"

const volatile __u32 nat_log = 6;      /* 2^n buckets */
const volatile __u32 nat_first = 1024; /* our ports */
const volatile __u32 nat_ports = 31744;

#define NAT_TRIES 16
#define NAT_PARTS 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct balance_bucket);
} nat_forth SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct balance_bucket);
} nat_back SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, struct balance_nat);
} nat SEC(".maps");

/* Connections of which the backend sends fragments: tag:32 | place + 1. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NAT_PARTS);
	__type(key, __u32);
	__type(value, __u64);
} nat_parts SEC(".maps");

/* Clients whose link address the kernel does not know: the agent makes it ask. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, BALANCE_STRANGERS);
	__type(key, __u32);
	__type(value, struct balance_stranger);
} nat_strangers SEC(".maps");

/* ---- sums (A5) ------------------------------------------------------------------------------- */

static __always_inline __u16 fold16(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 sum32(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

static __always_inline __u32 sum_addr(const __u64 a[2])
{
	return sum32(a[0]) + sum32(a[0] >> 32) + sum32(a[1]) + sum32(a[1] >> 32);
}

/* What stands instead of what. */
static __always_inline __u16 sum_delta(__u32 now, __u32 was)
{
	return fold16(fold16(now) + (__u16)~fold16(was));
}

static __always_inline __u16 sum_turn(__u16 delta, int back)
{
	return back ? ~delta : delta;
}

static __always_inline void sum_put(__u16 *sum, __u16 delta)
{
	*sum = ~fold16((__u16) ~*sum + delta);
}

/* ---- finding --------------------------------------------------------------------------------- */

static __always_inline struct balance_nat *nat_at(__u32 place)
{
	__u32 i = place - 1;

	return bpf_map_lookup_elem(&nat, &i);
}

/* Place + 1 of the connection that @p is of, from the client's side; 0: none. */
__noinline __u32 nat_find_in(struct packet *p, __u32 at)
{
	struct balance_bucket *b = bpf_map_lookup_elem(&nat_forth, &at);
	struct balance_nat *n;
	__u32 i, place;
	__u64 e;

	if (!p || !b)
		return 0;
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&b->entry[i];
		if (e != (p->hash << 32 | BALANCE_NAT_READY))
			continue;
		place = at * BALANCE_WAYS + i + 1;
		n = nat_at(place);
		if (n && !((n->client[0] ^ p->flow[0]) | (n->client[1] ^ p->flow[1]) |
			   (n->vip[0] ^ p->flow[2]) | (n->vip[1] ^ p->flow[3]) |
			   (n->ports ^ p->ports) | (n->proto ^ p->proto) | (n->family ^ p->family)))
			return place;
	}
	return 0;
}

static __always_inline __u32 nat_find(struct packet *p)
{
	return nat_find_in(p, balance_bucket1(p->hash, nat_log))
		       ?: nat_find_in(p, balance_bucket2(p->hash, nat_log));
}

/* From the backend's side. */
__noinline __u32 nat_find_back(struct packet *p)
{
	__u32 at = p ? balance_bucket1(p->hash, nat_log) : 0, i;
	struct balance_bucket *k = bpf_map_lookup_elem(&nat_back, &at);
	struct balance_backend *b;
	struct balance_nat *n;
	__u64 e;

	if (!p || !k)
		return 0;
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&k->entry[i];
		if ((__u32)(e >> 32) != (__u32)p->hash || !(__u32)e)
			continue;
		n = nat_at((__u32)e);
		b = n ? backend_get(n->backend) : 0;
		if (b &&
		    !((*(__u64 *)&b->dst[0] ^ p->flow[0]) | (*(__u64 *)&b->dst[2] ^ p->flow[1]) |
		      (n->port ^ (p->ports >> 16)) | (n->to ^ (p->ports & 0xffff)) |
		      (n->proto ^ p->proto) | (n->family ^ p->family)))
			return (__u32)e;
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* @flags: of TCP, 0: of UDP */
static __always_inline void nat_renew(struct balance_nat *n, __u32 flags, int back)
{
	__u32 life = *(volatile __u32 *)&n->life, fresh;

	fresh = now() << 8 | (life & 0xff & ~BALANCE_NAT_RST);
	if (back)
		fresh |= BALANCE_NAT_REPLIED;
	else if (life & BALANCE_NAT_REPLIED && !(flags & TCP_SYN))
		fresh |= BALANCE_NAT_ACK;
	if (flags & TCP_FIN)
		fresh |= back ? BALANCE_NAT_FIN_BACK : BALANCE_NAT_FIN;
	if (flags & TCP_RST)
		fresh |= BALANCE_NAT_RST;
	if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && balance_nat_over(life))
		fresh &= ~0xffU;
	if (fresh != life && !asking)
		__sync_val_compare_and_swap(&n->life, life, fresh);
}

static __always_inline int nat_taken(const struct balance_nat *n, __u32 time, __u32 flow_units)
{
	__u32 life = n->life, age = balance_nat_age(life, time);

	if (n->proto == PROTO_TCP && !(life & BALANCE_NAT_ACK) && age > 2)
		return 0; /* A2 */
	return age <= balance_nat_idle(life, n->proto, flow_units);
}

static __always_inline void nat_unbind(struct balance_nat *n, __u32 place)
{
	__u32 at = (n->back - 1) / BALANCE_WAYS, way = (n->back - 1) & (BALANCE_WAYS - 1);
	struct balance_bucket *k = n->back ? bpf_map_lookup_elem(&nat_back, &at) : 0;
	__u64 e;

	if (!k)
		return;
	e = *(volatile __u64 *)&k->entry[way];
	if ((__u32)e == place)
		__sync_val_compare_and_swap(&k->entry[way], e, 0);
	n->back = 0;
}

/* A4: a place for @p in this bucket, plus 1. */
__noinline __u32 nat_claim(struct packet *p, __u32 at, __u32 time, __u32 flow_units)
{
	struct balance_bucket *b = bpf_map_lookup_elem(&nat_forth, &at);
	struct balance_nat *n;
	__u64 e, mine;
	__u32 i, place;

	if (!p || !b)
		return 0;
	mine = p->hash << 32 | time << 2 | BALANCE_NAT_CLAIMED;
	for (i = 0; i < BALANCE_WAYS; i++)
		if (!*(volatile __u64 *)&b->entry[i] &&
		    !__sync_val_compare_and_swap(&b->entry[i], 0, mine))
			return at * BALANCE_WAYS + i + 1;
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&b->entry[i];
		place = at * BALANCE_WAYS + i + 1;
		n = nat_at(place);
		if (!n || (__u32)e != BALANCE_NAT_READY || nat_taken(n, time, flow_units) ||
		    __sync_val_compare_and_swap(&b->entry[i], e, mine) != e)
			continue;
		nat_unbind(n, place);
		return place;
	}
	return 0;
}

/* A3. Return: place in nat_back plus 1, 0: the port is taken, or the bucket is full. */
__noinline __u32 nat_bind(__u64 hash, __u32 place)
{
	__u32 at = balance_bucket1(hash, nat_log), i, way = BALANCE_WAYS;
	struct balance_bucket *k = bpf_map_lookup_elem(&nat_back, &at);
	__u64 mine = hash << 32 | place, e;

	if (!k)
		return 0;
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&k->entry[i];
		if (!e)
			way = i;
		else if (e >> 32 == mine >> 32)
			return 0;
	}
	if (way >= BALANCE_WAYS || __sync_val_compare_and_swap(&k->entry[way], 0, mine))
		return 0;
	for (i = 0; i < BALANCE_WAYS; i++) {
		e = *(volatile __u64 *)&k->entry[i];
		if (i == way || !e || e >> 32 != mine >> 32)
			continue;
		__sync_val_compare_and_swap(&k->entry[way], mine, 0);
		return 0;
	}
	return at * BALANCE_WAYS + way + 1;
}

static __always_inline void nat_us(const struct balance_state *s, __u8 family, __u64 us[2])
{
	us[0] = family == 4 ? s->us4 : s->us6[0];
	us[1] = family == 4 ? 0 : s->us6[1];
}

/* Binds a port of ours, by @start, for a connection that is filled in but for that. */
__noinline int nat_port_try(struct balance_nat *n, __u64 start, __u32 place)
{
	struct balance_state *s = state_get();
	struct balance_backend *b;
	__u64 us[2], dst[2], hash;
	__u32 ports;

	if (!n || !s)
		return 0;
	b = backend_get(n->backend);
	if (!b)
		return 0;
	nat_us(s, n->family, us);
	__builtin_memcpy(dst, b->dst, 16);
	n->port = bpf_htons(nat_first + (__u32)(start % nat_ports));
	ports = n->to | (__u32)n->port << 16;
	hash = n->family == 4 ? balance_hash4(dst[0], us[0], ports, n->proto)
			      : balance_hash6(dst, us, ports, n->proto);
	n->back = nat_bind(hash, place);
	return n->back != 0;
}

/* Linux 6.1 takes no loop whose last instruction is not a jump: its body is a call. */
__noinline int nat_port(struct balance_nat *n, __u64 start, __u32 place)
{
	__u32 i;

	for (i = 0; i < NAT_TRIES; i++) {
		if (nat_port_try(n, start, place))
			return 1;
		start += (start >> 40 & 0xfff) | 1;
	}
	return 0;
}

static __always_inline void nat_fill(const struct balance_state *s, const struct packet *p,
				     const struct balance_backend *b, __u32 id,
				     struct balance_nat *n)
{
	__u64 us[2], dst[2];

	nat_us(s, p->family, us);
	__builtin_memcpy(dst, b->dst, 16);
	n->client[0] = p->flow[0];
	n->client[1] = p->flow[1];
	n->vip[0] = p->flow[2];
	n->vip[1] = p->flow[3];
	n->ports = p->ports;
	n->backend = id;
	n->to = b->port ?: p->ports >> 16;
	n->proto = p->proto;
	n->family = p->family;
	n->life = now() << 8;
	n->l3 = sum_delta(sum_addr(us) + sum_addr(dst), sum_addr(n->client) + sum_addr(n->vip));
}

/* A2. Place plus 1 of a new connection to backend @id; 0: none, @p->full tells why. */
__noinline __u32 nat_make(struct packet *p, __u32 id)
{
	struct balance_state *s = state_get();
	struct balance_backend *b = backend_get(id);
	struct balance_bucket *k;
	struct balance_nat *n;
	__u32 place, at;

	if (!p || !s || !b)
		return 0;
	place = nat_claim(p, balance_bucket1(p->hash, nat_log), now(), s->flow_units)
			?: nat_claim(p, balance_bucket2(p->hash, nat_log), now(), s->flow_units);
	at = (place - 1) / BALANCE_WAYS;
	n = place ? nat_at(place) : 0;
	k = bpf_map_lookup_elem(&nat_forth, &at);
	if (!n || !k) {
		__sync_fetch_and_add(&s->nat_full, 1);
		return 0;
	}
	nat_fill(s, p, b, id, n);
	if (!nat_port(n, p->hash >> 8, place)) {
		*(volatile __u64 *)&k->entry[(place - 1) & (BALANCE_WAYS - 1)] = 0;
		__sync_fetch_and_add(&s->nat_full, 1);
		return 0;
	}
	n->l4 = sum_delta(n->l3 + n->port + n->to, sum32(n->ports));
	__sync_lock_test_and_set(&k->entry[(place - 1) & (BALANCE_WAYS - 1)],
				 p->hash << 32 | BALANCE_NAT_READY);
	__sync_fetch_and_add(&s->nat_made, 1);
	return place;
}

#endif
