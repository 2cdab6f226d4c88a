/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * protect.bpf.h: who may send what to a service, before a backend is chosen:
 *
 *	denied address -> not in the service's ranges -> SYN of an unknown source: challenge
 *	-> too many flows of this source -> of this service -> on to the backend
 *
 * S1  A challenge is a SYN|ACK that acknowledges what was never sent. Whoever did send the SYN answers
 *     with a RST whose number is our cookie (RFC 9293, 3.10.7.3), and asks again at once (Linux) or after
 *     a second; until then nothing is kept. It works for every mode, since no connection is made here.
 *     A host that sent no SYN answers the same, so a forger who uses addresses of living hosts gets them
 *     trusted: against that there is limits.source.
 * S2  Limits are token buckets of one second's worth (GCRA: one time a bucket). One source's bucket is
 *     found by 16 bits of its hash among the eight of a line: two sources of a line share one with a
 *     chance of 2^-13; with more than eight of a line at work the longest silent begins anew. So a
 *     source is never held back for less than its limit but by such a twin, and may pass more when over
 *     8 * BALANCE_LINES sources are at work.
 * S3  Nothing here is looked at for a service without such keys, when nobody is denied.
 */
#ifndef SKEP_BALANCE_PROTECT_BPF_H
#define SKEP_BALANCE_PROTECT_BPF_H

#include "balance/answer.bpf.h"
#include "balance/protect.h"

#define GO_ON	    102 /* instead of a verdict: nothing speaks against it */
#define TRUST_UNITS 14	/* a minute */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct balance_protect);
} protect SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BALANCE_LINES);
	__type(key, __u32);
	__type(value, struct balance_bucket);
} limited SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BALANCE_LINES);
	__type(key, __u32);
	__type(value, struct balance_bucket);
} trusted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_allow4);
	__type(value, __u32);
} allow4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_allow6);
	__type(value, __u32);
} allow6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_deny4);
	__type(value, __u32);
} deny4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct balance_deny6);
	__type(value, __u32);
} deny6 SEC(".maps");

/* ---- addresses ------------------------------------------------------------------------------- */

/* Not inline, nor the next: their keys would lie on everybody's stack. */
__noinline int denied(struct packet *p)
{
	struct balance_deny4 k4 = {.bits = 32};
	struct balance_deny6 k6 = {.bits = 128};

	if (!p)
		return 0;
	k4.addr = p->flow[0];
	if (p->family == 4)
		return !!bpf_map_lookup_elem(&deny4, &k4);
	__builtin_memcpy(k6.addr, p->flow, 16);
	return !!bpf_map_lookup_elem(&deny6, &k6);
}

__noinline int allowed(struct packet *p, __u32 service)
{
	struct balance_allow4 k4 = {.bits = 64, .service = service};
	struct balance_allow6 k6 = {.bits = 160, .service = service};

	if (!p)
		return 0;
	k4.addr = p->flow[0];
	if (p->family == 4)
		return !!bpf_map_lookup_elem(&allow4, &k4);
	__builtin_memcpy(k6.addr, p->flow, 16);
	return !!bpf_map_lookup_elem(&allow6, &k6);
}

/* ---- buckets (S2) ---------------------------------------------------------------------------- */

#define TIME_BITS 48
#define TIME_MASK ((1ULL << TIME_BITS) - 1)

/* From @b to @a, of times of 48 bits. */
static __always_inline __s64 after(__u64 a, __u64 b)
{
	return (__s64)((a - b) << (64 - TIME_BITS)) >> (64 - TIME_BITS);
}

static __always_inline __u64 source_hash(const struct packet *p, __u32 service)
{
	return balance_mix_end(balance_hash_source(p->flow[0], p->flow[1]) ^ service);
}

static __always_inline __u64 word_tag(__u64 hash)
{
	return (hash >> TIME_BITS | 1) << TIME_BITS;
}

static __always_inline struct balance_bucket *line_get(int trusting, __u64 hash)
{
	__u32 i = hash & (BALANCE_LINES - 1);

	return trusting ? bpf_map_lookup_elem(&trusted, &i) : bpf_map_lookup_elem(&limited, &i);
}

/* Where @hash's source stands in its line, else where to put it: the time that lies furthest back. */
__noinline __u32 word_place(int trusting, __u64 hash, __u64 time)
{
	struct balance_bucket *line = line_get(trusting, hash);
	__u64 w, tag = word_tag(hash), age, most = 0;
	__u32 i, at = 0;

	if (!line)
		return 0;
	for (i = 0; i < BALANCE_WAYS; i++) {
		w = *(volatile __u64 *)&line->entry[i];
		if ((w & ~TIME_MASK) == tag)
			return i;
		age = (time + (1ULL << (TIME_BITS - 1)) - w) & TIME_MASK;
		age = w ? age : ~0ULL;
		at = age > most ? i : at;
		most = age > most ? age : most;
	}
	return at;
}

static __always_inline __u64 *word_find(int trusting, __u64 hash, __u64 time)
{
	__u32 at = word_place(trusting, hash, time);
	struct balance_bucket *line = line_get(trusting, hash);

	return line ? &line->entry[at & (BALANCE_WAYS - 1)] : 0;
}

/* Whether this flow of its source is one too many. */
__noinline int source_over(struct packet *p, __u32 gap)
{
	__u64 time = bpf_ktime_get_coarse_ns() >> BALANCE_TICK & TIME_MASK, hash, old, at, *word;

	if (!p)
		return 0;
	hash = source_hash(p, p->service);
	word = word_find(0, hash, time);
	if (!word)
		return 0;
	old = *(volatile __u64 *)word;
	at = (old & ~TIME_MASK) == word_tag(hash) && after(old, time) > 0 ? old & TIME_MASK : time;
	if (after(at, time) + gap > (__s64)(BALANCE_SECOND >> BALANCE_TICK))
		return 1;
	if (!asking)
		__sync_val_compare_and_swap(word, old, word_tag(hash) | ((at + gap) & TIME_MASK));
	return 0;
}

/* The same of a whole service: *@at is its time. */
static __always_inline int service_over(__u64 *at, __u64 gap)
{
	__u64 time = bpf_ktime_get_coarse_ns(), old = *(volatile __u64 *)at;
	__u64 from = (__s64)(old - time) > 0 ? old : time;

	if (from - time + gap > BALANCE_SECOND)
		return 1;
	if (!asking)
		__sync_val_compare_and_swap(at, old, from + gap);
	return 0;
}

/* ---- challenge (S1) -------------------------------------------------------------------------- */

static __always_inline __u32 cookie(const struct balance_state *s, const struct packet *p,
				    __u32 slot)
{
	__u64 hash = p->family == 4 ? balance_hash4(p->flow[0], p->flow[2], p->ports, p->proto)
				    : balance_hash6(p->flow, p->flow + 2, p->ports, p->proto);

	return (__u32)balance_mix_end(balance_mix(hash ^ s->secret[0], s->secret[1] + slot));
}

__noinline int is_trusted(struct packet *p)
{
	__u64 hash, *word, w, time = now();

	if (!p)
		return 0;
	hash = source_hash(p, 0);
	word = word_find(1, hash, time);
	if (!word)
		return 0;
	w = *(volatile __u64 *)word;
	return (w & ~TIME_MASK) == word_tag(hash) && after(w, time) > 0;
}

__noinline int trust(struct packet *p)
{
	__u64 hash, *word, time = now();

	if (!p || asking)
		return 0;
	hash = source_hash(p, 0);
	word = word_find(1, hash, time);
	if (!word)
		return 0;
	*(volatile __u64 *)word = word_tag(hash) | ((time + TRUST_UNITS) & TIME_MASK);
	return 1;
}

static __always_inline void challenge_tcp(struct tcp *tcp, __u64 hash, __u32 ack)
{
	__be16 port = tcp->src;

	tcp->src = tcp->dst;
	tcp->dst = port;
	tcp->seq = hash >> 32;
	tcp->ack = ack;
	tcp->words = 0x50;
	tcp->flags = TCP_SYN | TCP_ACK;
	tcp->window = bpf_htons(1024);
	tcp->sum = 0;
	tcp->urgent = 0;
}

static __always_inline void challenge4(struct packet *p, struct ip4 *ip, struct tcp *tcp, __u32 ack)
{
	challenge_tcp(tcp, p->flow[0] * 0x9e3779b97f4a7c15ULL, ack);
	*(__be32 *)ip = bpf_htonl(0x45000028);
	((__be32 *)ip)[1] = bpf_htonl(IP4_DF);
	((__be32 *)ip)[2] = bpf_htonl(OUTER_TTL << 24 | PROTO_TCP << 16);
	ip->src = p->flow[2];
	ip->dst = p->flow[0];
	ip->sum = sum_of(ip, sizeof(*ip), 0);
	tcp->sum = sum_of(&ip->src, 28, bpf_htons(20) + bpf_htons(PROTO_TCP));
}

static __always_inline void challenge6(struct packet *p, struct ip6 *ip, struct tcp *tcp, __u32 ack)
{
	challenge_tcp(tcp, p->flow[1] * 0x9e3779b97f4a7c15ULL, ack);
	*(__be32 *)ip = bpf_htonl(0x60000000);
	ip->payload = bpf_htons(sizeof(*tcp));
	ip->proto = PROTO_TCP;
	ip->hops = OUTER_TTL;
	__builtin_memcpy(ip->src, &p->flow[2], 16);
	__builtin_memcpy(ip->dst, &p->flow[0], 16);
	tcp->sum = sum_of(&ip->src, 52, bpf_htons(20) + bpf_htons(PROTO_TCP));
}

/* Answers a SYN. What has options of IP, extension headers or fragments is no usual client's. */
__noinline int challenge(struct xdp_md *ctx, struct packet *p, __u32 ack)
{
	__u32 l2 = p ? p->l2 : 0, l3 = p && p->family == 4 ? 20 : 40;
	void *data, *end;

	if (!p || l2 > 22)
		return XDP_ABORTED;
	if (p->l4 != l2 + l3 || p->fragment ||
	    bpf_xdp_adjust_tail(ctx, l2 + l3 + sizeof(struct tcp) - bpf_xdp_get_buff_len(ctx)))
		return done(p, BALANCE_CHALLENGED, XDP_DROP);
	data = (void *)(long)ctx->data + l2;
	end = (void *)(long)ctx->data_end;
	if (p->family == 4 && data + 40 <= end)
		challenge4(p, data, data + 20, ack);
	else if (data + 60 <= end)
		challenge6(p, data, data + 40, ack);
	else
		return XDP_ABORTED;
	swap_macs(ctx, p);
	return done(p, BALANCE_CHALLENGED, XDP_TX);
}

/* The number of a RST, as it stands. */
static __always_inline __u32 tcp_seq(struct xdp_md *ctx, const struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct tcp *tcp;

	if (p->l4 > 2047)
		return 0;
	tcp = data + (p->l4 & 2047);
	return (void *)(tcp + 1) > end ? 0 : tcp->seq;
}

/* Return: GO_ON or a verdict. */
static __always_inline int cookies(struct xdp_md *ctx, struct packet *p, struct balance_state *s,
				   struct balance_protect *r)
{
	__u32 slot = now() >> 1, seq;

	if (p->kind == KIND_MORE && p->flags & TCP_RST) {
		seq = tcp_seq(ctx, p);
		if (seq != cookie(s, p, slot) && seq != cookie(s, p, slot - 1))
			return GO_ON;
		trust(p);
		return done(p, BALANCE_PROVED, XDP_DROP);
	}
	if (p->kind != KIND_FIRST || (r->syn_gap && !service_over(&r->syn_at, r->syn_gap)) ||
	    is_trusted(p))
		return GO_ON;
	return challenge(ctx, p, cookie(s, p, slot));
}

/* A packet for service @id. Return: GO_ON or a verdict. */
__noinline int protection(struct xdp_md *ctx, struct packet *p, __u32 id)
{
	struct balance_protect *r = bpf_map_lookup_elem(&protect, &id);
	struct balance_state *s = state_get();
	int verdict;

	if (!p || !s || !r)
		return XDP_ABORTED;
	if (s->use & BALANCE_USE_DENY && denied(p))
		return done(p, BALANCE_DENIED, XDP_DROP);
	if (r->flags & BALANCE_PROTECT_SOURCES && !allowed(p, id))
		return done(p, BALANCE_SOURCE, XDP_DROP);
	if (r->flags & BALANCE_PROTECT_COOKIES && p->proto == PROTO_TCP) {
		verdict = cookies(ctx, p, s, r);
		if (verdict != GO_ON)
			return verdict;
	}
	if (p->kind != KIND_FIRST && p->kind != KIND_FLOW)
		return GO_ON;
	if (r->source_gap && source_over(p, r->source_gap))
		return done(p, BALANCE_LIMIT_SOURCE, XDP_DROP);
	if (r->service_gap && service_over(&r->service_at, r->service_gap))
		return done(p, BALANCE_LIMIT_SERVICE, XDP_DROP);
	return GO_ON;
}

#endif
