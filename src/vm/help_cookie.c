// SPDX-License-Identifier: Apache-2.0
/*
 * SYN cookies: as the kernel's in what they say (a class of segment size), with a secret of this process's.
 *
 *	cookie = hash(addresses, ports) + sequence + minute << 24 + (hash(..., minute) + class) % 2^24
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <time.h>

#include "vm/help.h"

#define FAIL(e)	   ((uint64_t)(int64_t) - (e))
#define MINUTES	   2 /* a cookie is good for */
#define CLASS_BITS 24
#define CLASS_MASK ((1U << CLASS_BITS) - 1)

static const uint16_t classes4[] = {536, 1300, 1440, 1460};
static const uint16_t classes6[] = {1220, 1420, 1440, 8940};

/* Who speaks with whom, from the SYN or the ACK. */
struct pair {
	uint64_t words[5];
	const uint16_t *classes;
	uint32_t seq; /* of the one that opened it */
};

static uint64_t turn(uint64_t v, int by)
{
	return v << by | v >> (64 - by);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = turn(v[1], 13) ^ v[0];
	v[0] = turn(v[0], 32);
	v[2] += v[3];
	v[3] = turn(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = turn(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = turn(v[1], 17) ^ v[2];
	v[2] = turn(v[2], 32);
}

static uint64_t secret[2];

static void secret_make(void)
{
	if (getrandom(secret, sizeof(secret), 0) != sizeof(secret))
		secret[0] = 1;
}

/* SipHash-2-4 of the pair and @more, under this process's secret. */
static uint32_t keyed(const struct pair *p, uint64_t more)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t v[4];
	unsigned i;

	pthread_once(&once, secret_make);
	v[0] = secret[0] ^ 0x736f6d6570736575ULL;
	v[1] = secret[1] ^ 0x646f72616e646f6dULL;
	v[2] = secret[0] ^ 0x6c7967656e657261ULL;
	v[3] = secret[1] ^ 0x7465646279746573ULL;
	for (i = 0; i < 6; i++) {
		uint64_t w = i < 5 ? p->words[i] : more;

		v[3] ^= w;
		mix(v);
		mix(v);
		v[0] ^= w;
	}
	v[2] ^= 0xff;
	for (i = 0; i < 4; i++)
		mix(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static uint32_t minute(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint32_t)(t.tv_sec / 60) & 0xff;
}

/* What the SYN says of its segments; 0: nothing. */
static uint16_t mss_of(const uint8_t *th, uint32_t len)
{
	uint32_t at = sizeof(struct tcphdr);

	while (at + 1 < len && th[at] != TCPOPT_EOL) {
		if (th[at] == TCPOPT_NOP) {
			at++;
			continue;
		}
		if (th[at + 1] < 2)
			break;
		if (th[at] == TCPOPT_MAXSEG && th[at + 1] == TCPOLEN_MAXSEG && at + 4 <= len)
			return (uint16_t)(th[at + 2] << 8 | th[at + 3]);
		at += th[at + 1];
	}
	return 0;
}

static struct pair pair4(const struct iphdr *ip, const struct tcphdr *th)
{
	return (struct pair){.words = {ip->saddr, ip->daddr, th->source, th->dest},
			     .classes = classes4,
			     .seq = ntohl(th->seq)};
}

static struct pair pair6(const struct ip6_hdr *ip, const struct tcphdr *th)
{
	struct pair p = {.classes = classes6, .seq = ntohl(th->seq)};

	memcpy(p.words, &ip->ip6_src, 16);
	memcpy(p.words + 2, &ip->ip6_dst, 16);
	p.words[4] = (uint64_t)th->source << 16 | th->dest;
	return p;
}

static uint64_t generate(const struct pair *p, const struct tcphdr *th, uint32_t len,
			 uint16_t otherwise)
{
	uint32_t class = 3, now = minute();
	uint16_t mss;

	if (len != th->doff * 4U)
		return FAIL(EINVAL);
	mss = mss_of((const uint8_t *)th, len);
	if (!mss)
		mss = otherwise;
	while (class && mss < p->classes[class])
		class --;
	return (uint32_t)(keyed(p, 0) + p->seq + (now << CLASS_BITS) +
			  ((keyed(p, now + 1) + class) & CLASS_MASK)) |
	       (uint64_t)p->classes[class] << 32;
}

/* The ACK's numbers are one behind those of the SYN and of the cookie. */
static uint64_t check(struct pair *p, const struct tcphdr *th)
{
	uint32_t rest, made, now = minute();

	p->seq -= 1;
	rest = ntohl(th->ack_seq) - 1 - keyed(p, 0) - p->seq;
	made = rest >> CLASS_BITS;
	if (((now - made) & 0xff) >= MINUTES)
		return FAIL(EACCES);
	return ((rest - keyed(p, made + 1)) & CLASS_MASK) < 4 ? 0 : FAIL(EACCES);
}

HELPER_FN(tcp_raw_gen_syncookie_ipv4)
{
	struct pair p;

	if ((uint32_t)c < sizeof(struct tcphdr))
		return FAIL(EINVAL);
	p = pair4(PTR(a), PTR(b));
	return generate(&p, PTR(b), (uint32_t)c, 536);
}

HELPER_FN(tcp_raw_gen_syncookie_ipv6)
{
	struct pair p;

	if ((uint32_t)c < sizeof(struct tcphdr))
		return FAIL(EINVAL);
	p = pair6(PTR(a), PTR(b));
	return generate(&p, PTR(b), (uint32_t)c, 1220);
}

HELPER_FN(tcp_raw_check_syncookie_ipv4)
{
	struct pair p = pair4(PTR(a), PTR(b));

	return check(&p, PTR(b));
}

HELPER_FN(tcp_raw_check_syncookie_ipv6)
{
	struct pair p = pair6(PTR(a), PTR(b));

	return check(&p, PTR(b));
}

/* Of a listening socket, which no program here has. */
HELPER_FN(tcp_gen_syncookie)
{
	return FAIL(EINVAL);
}

HELPER_FN(tcp_check_syncookie)
{
	return FAIL(EINVAL);
}
