/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h: frames from words, for the case files of tests/cap/balance; its README has the words. */
#ifndef TESTS_BALANCE_FRAME_H
#define TESTS_BALANCE_FRAME_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct frame {
	uint8_t data[2048];
	size_t size, l3; /* l3: where the IP header begins */
	int family;
};

static inline uint16_t sum16(const void *p, size_t n, uint32_t sum)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i += 2)
		sum += (uint32_t)b[i] << 8 | (i + 1 < n ? b[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

struct words {
	char *list[64];
	int n, at;
};

static inline const char *word(struct words *w)
{
	return w->at < w->n ? w->list[w->at] : "";
}

static inline const char *word_take(struct words *w)
{
	return w->at < w->n ? w->list[w->at++] : "";
}

/* "key=value": the value where the next word is that key's, taken; else NULL. */
static inline const char *value(struct words *w, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(word(w), key, n) || word(w)[n] != '=')
		return NULL;
	return word_take(w) + n + 1;
}

static inline bool flag(struct words *w, const char *name)
{
	if (strcmp(word(w), name))
		return false;
	w->at++;
	return true;
}

struct ip_words {
	uint8_t src[16], dst[16];
	int family, ttl, tos, id, frag, opts, label;
	bool df, more;
	char ext[8];
	int n_ext;
};

static inline bool addr_take(struct words *w, int family, uint8_t *out)
{
	return inet_pton(family == 4 ? AF_INET : AF_INET6, word_take(w), out) == 1;
}

static inline bool ip_take(struct words *w, struct ip_words *ip)
{
	const char *v;

	memset(ip, 0, sizeof(*ip));
	ip->ttl = 61;
	ip->id = 0x1234;
	ip->family = atoi(word_take(w));
	if ((ip->family != 4 && ip->family != 6) || !addr_take(w, ip->family, ip->src) ||
	    !flag(w, ">") || !addr_take(w, ip->family, ip->dst))
		return false;
	for (;;) {
		if ((v = value(w, "ttl")))
			ip->ttl = atoi(v);
		else if ((v = value(w, "tos")))
			ip->tos = (int)strtol(v, NULL, 0);
		else if ((v = value(w, "id")))
			ip->id = (int)strtol(v, NULL, 0);
		else if ((v = value(w, "opts")))
			ip->opts = atoi(v);
		else if ((v = value(w, "frag"))) {
			ip->frag = atoi(v) / 8;
			ip->more = strchr(v, '+') != NULL;
		} else if ((v = value(w, "ext")))
			ip->ext[ip->n_ext++] = *v;
		else if (flag(w, "df"))
			ip->df = true;
		else
			return true;
	}
}

static inline int proto_of(const char *word)
{
	static const struct {
		const char *name;
		int proto;
	} names[] = {{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmp6", 58}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(word, names[i].name, strlen(names[i].name)) &&
		    (!word[strlen(names[i].name)] || word[strlen(names[i].name)] == '='))
			return names[i].proto;
	return strncmp(word, "proto=", 6) ? -1 : atoi(word + 6);
}

/* h: hop-by-hop, r: routing, d: destination, a: authentication, f: fragment, n: none (59) */
static inline size_t ext_put(uint8_t *p, const struct ip_words *ip, uint8_t proto)
{
	static const char letters[] = "hrdafn";
	static const uint8_t protos[] = {0, 43, 60, 51, 44, 59};
	size_t at = 0;

	for (int i = 0; i < ip->n_ext; i++) {
		uint8_t next = proto;
		char kind = ip->ext[i];

		if (i + 1 < ip->n_ext)
			next = protos[strchr(letters, ip->ext[i + 1]) - letters];
		memset(p + at, 0, 24);
		p[at] = next;
		if (kind == 'a')
			p[at + 1] = 4; /* 24 bytes */
		if (kind == 'f') {
			put16(p + at + 2, (unsigned)ip->frag << 3 | ip->more);
			put16(p + at + 6, (unsigned)ip->id);
		}
		at += kind == 'a' ? 24 : 8;
	}
	return at;
}

/* The header with its options or extensions, for @payload bytes behind; its length. */
static inline size_t ip_put(uint8_t *p, const struct ip_words *ip, int proto, size_t payload)
{
	static const char letters[] = "hrdafn";
	static const uint8_t protos[] = {0, 43, 60, 51, 44, 59};
	size_t head;

	if (ip->family == 4) {
		head = 20 + 4 * (size_t)ip->opts;
		memset(p, 0, head);
		memset(p + 20, 1, head - 20); /* no-operation */
		p[0] = (uint8_t)(0x40 | head / 4);
		p[1] = (uint8_t)ip->tos;
		put16(p + 2, (unsigned)(head + payload));
		put16(p + 4, (unsigned)ip->id);
		put16(p + 6,
		      (ip->df ? 0x4000U : 0) | (ip->more ? 0x2000U : 0) | (unsigned)ip->frag);
		p[8] = (uint8_t)ip->ttl;
		p[9] = (uint8_t)proto;
		memcpy(p + 12, ip->src, 4);
		memcpy(p + 16, ip->dst, 4);
		put16(p + 10, (uint16_t)~sum16(p, head, 0));
		return head;
	}
	memset(p, 0, 40);
	put16(p, 0x6000U | (unsigned)ip->tos << 4);
	head = ext_put(p + 40, ip, (uint8_t)proto);
	put16(p + 4, (unsigned)(head + payload));
	p[6] = ip->n_ext ? protos[strchr(letters, ip->ext[0]) - letters] : (uint8_t)proto;
	p[7] = (uint8_t)ip->ttl;
	memcpy(p + 8, ip->src, 16);
	memcpy(p + 24, ip->dst, 16);
	return 40 + head;
}

static inline uint32_t pseudo(const struct ip_words *ip, size_t payload, int proto)
{
	size_t len = ip->family == 4 ? 4 : 16;

	return sum16(ip->dst, len, sum16(ip->src, len, 0)) + (uint32_t)payload + (uint32_t)proto;
}

static inline bool hex_put(uint8_t *p, const char *hex, size_t *n)
{
	unsigned v;

	for (*n = 0; hex[0] && hex[1]; hex += 2, ++*n) {
		if (sscanf(hex, "%2x", &v) != 1)
			return false;
		p[*n] = (uint8_t)v;
	}
	return !*hex;
}

static inline size_t l4_put(uint8_t *p, struct words *w, int proto, const struct ip_words *ip);

static inline uint16_t l4_sum(const uint8_t *p, size_t n, int proto, const struct ip_words *ip)
{
	size_t len = ip->family == 4 ? 4 : 16;
	uint32_t sum = sum16(ip->src, len, 0);
	uint16_t all;

	sum = sum16(ip->dst, len, sum) + (uint32_t)n + (uint32_t)proto;
	all = (uint16_t)~sum16(p, n, sum);
	return all ? all : 0xffff;
}

/* ICMP: echo with 8 bytes, or an error "about" another packet of which quote=N bytes of L4 follow. */
static inline size_t icmp_put(uint8_t *p, struct words *w, const struct ip_words *ip, int type,
			      int code)
{
	size_t n = 16, quote = 8;
	struct ip_words in;
	uint8_t l4[512];
	const char *v;
	int proto;

	memset(p, 0, 16);
	p[0] = (uint8_t)type;
	p[1] = (uint8_t)code;
	memcpy(p + 8, "skepskep", 8);
	if (flag(w, "about") && ip_take(w, &in)) {
		proto = proto_of(word_take(w));
		memset(l4, 0, sizeof(l4));
		l4_put(l4, w, proto, &in);
		if ((v = value(w, "quote")))
			quote = (size_t)atoi(v);
		n = 8 + ip_put(p + 8, &in, proto, 512);
		memcpy(p + n, l4, quote);
		n += quote;
	}
	put16(p + 2, (uint16_t)~sum16(p, n, ip->family == 6 ? pseudo(ip, n, 58) : 0));
	return n;
}

static inline size_t l4_put(uint8_t *p, struct words *w, int proto, const struct ip_words *ip)
{
	size_t len = 4, head = proto == 6 ? 20 : proto == 17 ? 8 : 0;
	const char *v;

	memset(p, 0, 28);
	if (head) {
		put16(p, (unsigned)atoi(word_take(w)));
		flag(w, ">");
		put16(p + 2, (unsigned)atoi(word_take(w)));
	}
	if (proto == 6) {
		p[12] = 0x50;
		v = value(w, "flags");
		for (v = v ? v : "A"; *v; v++)
			p[13] |= (uint8_t)(1 << (strchr("FSRPAU", *v) - "FSRPAU"));
		v = value(w, "seq");
		put16(p + 4, (unsigned)(strtoul(v ? v : "0", NULL, 10) >> 16));
		put16(p + 6, (unsigned)strtoul(v ? v : "0", NULL, 10));
	}
	if ((v = value(w, "len")))
		len = (size_t)atoi(v);
	for (size_t i = 0; i < len; i++)
		p[head + i] = (uint8_t)(i * 7 + 1);
	if ((v = value(w, "data")) && !hex_put(p + head, v, &len))
		len = 0;
	if (proto == 17)
		put16(p + 4, (unsigned)(8 + len));
	if (head && !flag(w, "nosum"))
		put16(p + (proto == 6 ? 16 : 6), l4_sum(p, head + len, proto, ip));
	return head + len;
}

/* cut=N: the frame ends N bytes earlier; pad=N: zeroes behind; set=OFFSET:HEX from the IP header on */
static inline bool frame_mend(struct frame *f, struct words *w)
{
	const char *v;
	size_t n;

	while (w->at < w->n) {
		if ((v = value(w, "cut"))) {
			f->size -= (size_t)atoi(v);
		} else if ((v = value(w, "pad"))) {
			memset(f->data + f->size, 0, (size_t)atoi(v));
			f->size += (size_t)atoi(v);
		} else if ((v = value(w, "set"))) {
			if (!strchr(v, ':') ||
			    !hex_put(f->data + f->l3 + atoi(v), strchr(v, ':') + 1, &n))
				return false;
		} else {
			return false;
		}
	}
	return true;
}

static inline void l2_put(struct frame *f, struct words *w)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9};
	const char *v;

	memcpy(f->data, macs, 12);
	f->size = 12;
	for (;;) {
		bool outer = (v = value(w, "qinq")) != NULL;

		if (!outer && !(v = value(w, "vlan")))
			break;
		put16(f->data + f->size, outer ? 0x88a8 : 0x8100);
		put16(f->data + f->size + 2, (unsigned)atoi(v));
		f->size += 4;
	}
}

static inline bool frame_build(struct frame *f, struct words *w)
{
	struct ip_words ip;
	uint8_t l4[2048];
	const char *what, *slash;
	size_t n;
	int proto;

	memset(f, 0, sizeof(*f));
	l2_put(f, w);
	if (flag(w, "ether")) {
		put16(f->data + f->size, (unsigned)strtol(word_take(w), NULL, 16));
		f->size += 2;
		f->l3 = f->size;
		f->size += 46;
		return frame_mend(f, w);
	}
	if (!ip_take(w, &ip))
		return false;
	what = word_take(w);
	proto = proto_of(what);
	if (proto < 0)
		return false;
	slash = strchr(what, '/');
	if (proto == 1 || proto == 58)
		n = icmp_put(l4, w, &ip, atoi(strchr(what, '=') + 1), slash ? atoi(slash + 1) : 0);
	else
		n = l4_put(l4, w, proto, &ip);
	put16(f->data + f->size, ip.family == 4 ? 0x0800 : 0x86dd);
	f->l3 = f->size + 2;
	f->family = ip.family;
	f->size = f->l3 + ip_put(f->data + f->l3, &ip, proto, n);
	memcpy(f->data + f->size, l4, n);
	f->size += n;
	return frame_mend(f, w);
}

#endif
