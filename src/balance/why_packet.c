// SPDX-License-Identifier: Apache-2.0
/* Packets from words, for why.c. */
#include "balance/why.h"

#include <netinet/in.h>

#define MTU_MOST 65000

static const char expected[] =
	"expected 'tcp ADDR:PORT > ADDR:PORT [syn|ack] [bytes=N]', 'udp ADDR:PORT > ADDR:PORT', "
	"'icmp echo ADDR > ADDR' or 'icmp about tcp ADDR:PORT > ADDR:PORT', IPv6 in brackets";

/* "1.2.3.4:80", "[::1]:80". */
static bool endpoint_read(const char *s, struct config_addr *a, uint16_t *port)
{
	const char *colon = strrchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : 0;
	char *end;
	long v;

	if (!n || !colon[1])
		return false;
	v = strtol(colon + 1, &end, 10);
	if (*end || v < 0 || v > 65535)
		return false;
	*port = (uint16_t)v;
	if (s[0] != '[')
		return config_addr_read(s, n, a) && a->family == 4;
	return s[n - 1] == ']' && config_addr_read(s + 1, n - 2, a) && a->family == 6;
}

static bool bare_read(const char *s, struct config_addr *a)
{
	size_t n = strlen(s);

	if (n > 2 && s[0] == '[' && s[n - 1] == ']')
		return config_addr_read(s + 1, n - 2, a);
	return config_addr_read(s, n, a);
}

static bool flag_read(const char *word, struct why_packet *p)
{
	long n;
	char *end;

	if (!strcmp(word, "syn") && p->proto == IPPROTO_TCP)
		return p->syn = true;
	if (!strcmp(word, "ack") && p->proto == IPPROTO_TCP)
		return p->ack = true;
	if (strncmp(word, "bytes=", 6))
		return false;
	n = strtol(word + 6, &end, 10);
	p->payload = (uint16_t)n;
	return end != word + 6 && !*end && n >= 0 && n <= MTU_MOST;
}

struct cursor {
	char *save;
};

static const char *next(struct cursor *c, char *begin)
{
	const char *w = strtok_r(begin, " \t\n", &c->save);

	return w ? w : "";
}

static bool words_read(char *copy, struct why_packet *p)
{
	struct cursor c = {0};
	const char *w = next(&c, copy);

	if (!strcmp(w, "icmp")) {
		w = next(&c, NULL);
		p->echo = !strcmp(w, "echo");
		p->about = !strcmp(w, "about");
		if (!p->echo && !p->about)
			return false;
		w = p->about ? next(&c, NULL) : w;
	}
	p->proto = !strcmp(w, "tcp") ? IPPROTO_TCP : !strcmp(w, "udp") ? IPPROTO_UDP : 0;
	if (p->echo) {
		p->proto = IPPROTO_ICMP;
		if (!bare_read(next(&c, NULL), &p->src) || strcmp(next(&c, NULL), ">") != 0 ||
		    !bare_read(next(&c, NULL), &p->dst))
			return false;
	} else if (!p->proto || !endpoint_read(next(&c, NULL), &p->src, &p->sport) ||
		   strcmp(next(&c, NULL), ">") != 0 ||
		   !endpoint_read(next(&c, NULL), &p->dst, &p->dport)) {
		return false;
	}
	while (*(w = next(&c, NULL)))
		if (!flag_read(w, p))
			return false;
	return p->src.family == p->dst.family;
}

int why_read(const char *text, struct why_packet *p, struct skep_err *err)
{
	char copy[256];

	memset(p, 0, sizeof(*p));
	if (strlen(text) >= sizeof(copy))
		return skep_fail(err, -EINVAL, "%s", expected);
	strcpy(copy, text);
	if (!words_read(copy, p))
		return skep_fail(err, -EINVAL, "'%.80s': %s", text, expected);
	if (p->proto == IPPROTO_TCP && !p->syn && !p->ack)
		p->syn = true;
	return 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put16(uint8_t *at, size_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint16_t sum_of(const uint8_t *p, size_t n, uint32_t sum)
{
	size_t i;

	for (i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static size_t ip_put(uint8_t *at, const struct config_addr *src, const struct config_addr *dst,
		     uint8_t proto, size_t payload)
{
	if (src->family == 4) {
		memset(at, 0, 20);
		at[0] = 0x45;
		put16(at + 2, 20 + payload);
		at[6] = 0x40;
		at[8] = 64;
		at[9] = proto;
		memcpy(at + 12, src->bytes, 4);
		memcpy(at + 16, dst->bytes, 4);
		put16(at + 10, (uint16_t)~sum_of(at, 20, 0));
		return 20;
	}
	memset(at, 0, 40);
	at[0] = 0x60;
	put16(at + 4, payload);
	at[6] = proto;
	at[7] = 64;
	memcpy(at + 8, src->bytes, 16);
	memcpy(at + 24, dst->bytes, 16);
	return 40;
}

static size_t l4_put(uint8_t *at, const struct why_packet *p, uint16_t sport, uint16_t dport)
{
	size_t head = p->proto == IPPROTO_TCP ? 20 : 8;

	memset(at, 0, head + p->payload);
	put16(at, sport);
	put16(at + 2, dport);
	if (p->proto == IPPROTO_TCP) {
		at[12] = 0x50;
		at[13] = (uint8_t)((p->syn ? 2 : 0) | (p->ack ? 16 : 0));
		put16(at + 14, 65535);
	} else {
		put16(at + 4, head + p->payload);
	}
	return head + p->payload;
}

/* Of the pseudo header and what follows; IPv4's ICMP has none. */
static uint32_t pseudo(const struct why_packet *p, uint8_t proto, size_t n)
{
	size_t width = p->src.family == 4 ? 4 : 16;

	return (uint32_t)sum_of(p->src.bytes, width, 0) + sum_of(p->dst.bytes, width, 0) + proto +
	       (uint32_t)n;
}

/* An echo, or an error about what the service sent to the client. */
static size_t icmp_put(uint8_t *at, const struct why_packet *p)
{
	bool six = p->src.family == 6;
	size_t n = 8 + p->payload;

	memset(at, 0, n);
	at[0] = p->echo ? six ? 128 : 8 : six ? 1 : 3;
	at[1] = p->about && !six ? 1 : 0;
	if (p->echo) {
		put16(at + 4, p->sport);
		put16(at + 6, p->dport);
	}
	if (p->about) {
		n = 8 + ip_put(at + 8, &p->dst, &p->src, p->proto, 20);
		n += l4_put(at + n, p, p->dport, p->sport);
	}
	put16(at + 2, (uint16_t)~sum_of(at, n, six ? pseudo(p, IPPROTO_ICMPV6, n) : 0));
	return n;
}

size_t why_frame(const struct why_packet *p, uint8_t *out)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9};
	bool six = p->src.family == 6, icmp = p->echo || p->about;
	size_t head = 14 + (six ? 40 : 20), n;
	uint8_t proto = icmp ? six ? IPPROTO_ICMPV6 : IPPROTO_ICMP : p->proto;

	memcpy(out, macs, 12);
	put16(out + 12, six ? 0x86dd : 0x0800);
	n = icmp ? icmp_put(out + head, p) : l4_put(out + head, p, p->sport, p->dport);
	ip_put(out + 14, &p->src, &p->dst, proto, n);
	if (!icmp)
		put16(out + head + (proto == IPPROTO_TCP ? 16 : 6),
		      (uint16_t)~sum_of(out + head, n, pseudo(p, proto, n)));
	return head + n;
}
