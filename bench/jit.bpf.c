// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * jit.bpf.c: what bench/jit runs, compiled by the kernel and by us. XDP programs over one packet of
 * 1,500 bytes; each returns a number that depends on all its work.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define BYTES 1024

#define PACKET(ctx, p)                                           \
	__u8 *p = (void *)(long)(ctx)->data;                     \
	if ((void *)(p + BYTES) > (void *)(long)(ctx)->data_end) \
	return 0

/* Keeps the compiler from knowing a value. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	return 2;
}

SEC("xdp")
int alu(struct xdp_md *ctx)
{
	__u64 a = ctx->ingress_ifindex + 88172645463325252ULL, b = 7;

	for (int i = 0; i < 500; i++) {
		a ^= a << 13;
		a ^= a >> 7;
		a ^= a << 17;
		b = (b + a) * 0x9e3779b1;
		b ^= b >> 15;
		OPAQUE(a);
		OPAQUE(b);
	}
	return (int)(a + b) & 0x7fffffff;
}

/* What a lexer does: classes of bytes. */
SEC("xdp")
int branches(struct xdp_md *ctx)
{
	__u32 words = 0, digits = 0, other = 0, top = 0;

	PACKET(ctx, p);
	for (int i = 0; i < BYTES; i++) {
		__u8 c = p[i];

		if (c >= 'a' && c <= 'z')
			words++;
		else if (c >= '0' && c <= '9')
			digits += c;
		else if (c > 127)
			other ^= c;
		if (c > top)
			top = c;
	}
	return words * 31 + digits * 7 + other + top;
}

SEC("xdp")
int checksum(struct xdp_md *ctx)
{
	__u64 sum = 0;

	PACKET(ctx, p);
	for (int i = 0; i < BYTES; i += 4) {
		sum += *(__u16 *)(p + i);
		sum += *(__u16 *)(p + i + 2);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

SEC("xdp")
int copy(struct xdp_md *ctx)
{
	PACKET(ctx, p);
	for (int i = 0; i < BYTES / 2; i += 8)
		*(__u64 *)(p + BYTES / 2 + i) = *(__u64 *)(p + i);
	return p[BYTES - 1];
}

SEC("xdp")
int fnv(struct xdp_md *ctx)
{
	__u64 h = 0xcbf29ce484222325ULL;

	PACKET(ctx, p);
	for (int i = 0; i < BYTES; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return (int)(h ^ h >> 32) & 0x7fffffff;
}

#define ROL(x, k) ((x) << (k) | (x) >> (sizeof(x) * 8 - (k)))

#define SIPROUND          \
	v0 += v1;         \
	v1 = ROL(v1, 13); \
	v1 ^= v0;         \
	v0 = ROL(v0, 32); \
	v2 += v3;         \
	v3 = ROL(v3, 16); \
	v3 ^= v2;         \
	v0 += v3;         \
	v3 = ROL(v3, 21); \
	v3 ^= v0;         \
	v2 += v1;         \
	v1 = ROL(v1, 17); \
	v1 ^= v2;         \
	v2 = ROL(v2, 32)

SEC("xdp")
int siphash(struct xdp_md *ctx)
{
	__u64 k0 = ctx->ingress_ifindex + 0x0706050403020100ULL, k1 = 0x0f0e0d0c0b0a0908ULL;
	__u64 v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
	__u64 v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;

	PACKET(ctx, p);
	for (int i = 0; i < 256; i += 8) {
		__u64 m = *(__u64 *)(p + i);

		v3 ^= m;
		SIPROUND;
		SIPROUND;
		v0 ^= m;
	}
	v2 ^= 0xff;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	v0 ^= v1 ^ v2 ^ v3;
	return (int)(v0 ^ v0 >> 32) & 0x7fffffff;
}

/* Jenkins' hash, as the kernel has it: rotates of 32 bits. */
#define MIX(a, b, c)     \
	a -= c;          \
	a ^= ROL(c, 4);  \
	c += b;          \
	b -= a;          \
	b ^= ROL(a, 6);  \
	a += c;          \
	c -= b;          \
	c ^= ROL(b, 8);  \
	b += a;          \
	a -= c;          \
	a ^= ROL(c, 16); \
	c += b;          \
	b -= a;          \
	b ^= ROL(a, 19); \
	a += c;          \
	c -= b;          \
	c ^= ROL(b, 4);  \
	b += a

SEC("xdp")
int jhash(struct xdp_md *ctx)
{
	__u32 a = 0xdeadbeef, b = a, c = a + ctx->ingress_ifindex;

	PACKET(ctx, p);
	for (int i = 0; i < 516; i += 12) {
		a += *(__u32 *)(p + i);
		b += *(__u32 *)(p + i + 4);
		c += *(__u32 *)(p + i + 8);
		MIX(a, b, c);
	}
	return c & 0x7fffffff;
}

static __attribute__((noinline)) __u64 step(__u64 a, __u64 b)
{
	OPAQUE(a);
	return a * 3 + b;
}

SEC("xdp")
int calls(struct xdp_md *ctx)
{
	__u64 a = ctx->ingress_ifindex;

	for (int i = 0; i < 500; i++)
		a = step(a, i);
	return a & 0x7fffffff;
}

SEC("xdp")
int divmod(struct xdp_md *ctx)
{
	__u64 a = ctx->ingress_ifindex + 0x123456789abcdefULL, sum = 0;
	__u32 b = 977;

	for (int i = 0; i < 100; i++) {
		OPAQUE(b);
		sum += a / b + a % b;
		sum += a % 1000003 + a / 10;
		sum += (__u32)a % 65521;
		b += 2;
		a += sum << 7 | 1;
	}
	return sum & 0x7fffffff;
}

/* Insertion into a sorted array on the stack. */
SEC("xdp")
int stack(struct xdp_md *ctx)
{
	__u32 v[32] = {0}, sum = 0;

	PACKET(ctx, p);
	for (int i = 0; i < 64; i++) {
		__u32 x = *(__u32 *)(p + i * 4);

		for (int k = 0; k < 32; k++) {
			__u32 y = v[k];

			v[k] = x > y ? x : y;
			x = x > y ? y : x;
		}
	}
	for (int k = 0; k < 32; k++)
		sum = sum * 31 + v[k];
	return sum & 0x7fffffff;
}

struct vlan {
	__be16 tci, proto;
};

static __attribute__((always_inline)) int parse_one(struct xdp_md *ctx, __u32 salt)
{
	void *p = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = p;
	struct iphdr *ip;
	struct tcphdr *tcp;
	__u16 proto;

	if ((void *)(eth + 1) > end)
		return 1;
	proto = eth->h_proto;
	p = eth + 1;
	if (proto == bpf_htons(ETH_P_8021Q)) {
		struct vlan *v = p;

		if ((void *)(v + 1) > end)
			return 2;
		proto = v->proto;
		p = v + 1;
	}
	if (proto != bpf_htons(ETH_P_IP))
		return 3;
	ip = p;
	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return 4;
	if (ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(0x3fff))
		return 5;
	tcp = p + ip->ihl * 4;
	if ((void *)(tcp + 1) > end)
		return 6;
	if (tcp->syn && !tcp->ack)
		return 7;
	return (bpf_ntohl(ip->saddr) ^ bpf_ntohl(ip->daddr)) * 31 +
	       (bpf_ntohs(tcp->source) << 16 | bpf_ntohs(tcp->dest)) + bpf_ntohl(tcp->seq) + salt;
}

SEC("xdp")
int parse(struct xdp_md *ctx)
{
	__u32 sum = 0;

	for (int i = 0; i < 64; i++) {
		sum += parse_one(ctx, sum);
		asm volatile("" ::: "memory");
	}
	return sum & 0x7fffffff;
}
