/* SPDX-License-Identifier: Apache-2.0 */
/* Frames as another balancer sends them to a backend: by the formats' own documents, not by our program. */
#ifndef TESTS_BALANCE_PACK_H
#define TESTS_BALANCE_PACK_H

#include "frame.h"

/* An IP header of @proto from a balancer to @to, for @n bytes. Return: its size. */
static inline size_t pack_ip(uint8_t *o, const char *to, int proto, size_t n)
{
	bool six = strchr(to, ':') != NULL;

	memset(o, 0, 40);
	if (six) {
		o[0] = 0x60;
		put16(o + 4, (unsigned)n);
		o[6] = (uint8_t)proto;
		o[7] = 64;
		inet_pton(AF_INET6, "2001:db8:9::9", o + 8);
		inet_pton(AF_INET6, to, o + 24);
		return 40;
	}
	o[0] = 0x45;
	put16(o + 2, (unsigned)n + 20);
	o[8] = 64;
	o[9] = (uint8_t)proto;
	inet_pton(AF_INET, "198.18.9.9", o + 12);
	inet_pton(AF_INET, to, o + 16);
	put16(o + 10, ~sum16(o, 20, 0) & 0xffff);
	return 20;
}

/* UDP, and of variant 0 a header of GUE with @words of data. Return: its size. */
static inline size_t pack_gue(uint8_t *o, int proto, size_t n, int words)
{
	size_t head = words < 0 ? 0 : 4 + 4 * (size_t)words;

	memset(o, 0, 8 + head);
	put16(o, 0xc123);
	put16(o + 2, 6080);
	put16(o + 4, (unsigned)(8 + head + n));
	if (head) {
		o[8] = (uint8_t)words;
		o[9] = (uint8_t)proto;
	}
	return 8 + head;
}

/* The address of the service goes into an option, @to takes its place. */
static inline void pack_option(struct frame *out, const struct frame *in, const char *to)
{
	bool six = in->family == 6;
	size_t l3 = in->l3, head = six ? 40 : 20, more = six ? 24 : 8;
	uint8_t *o = out->data + l3, *opt = o + head;

	memcpy(opt + more, in->data + l3 + head, in->size - l3 - head);
	out->size = in->size + more;
	memset(opt, 0, more);
	if (six) {
		opt[0] = o[6];
		memcpy(opt + 1, (const uint8_t[]){2, 0x1b, 20}, 3);
		memcpy(opt + 4, o + 24, 16);
		o[6] = 60;
		put16(o + 4, get16(o + 4) + 24);
		inet_pton(AF_INET6, to, o + 24);
		return;
	}
	memcpy(opt, (const uint8_t[]){0x9a, 8}, 2);
	memcpy(opt + 4, o + 16, 4);
	o[0] = (uint8_t)(o[0] + 2);
	put16(o + 2, get16(o + 2) + 8);
	inet_pton(AF_INET, to, o + 16);
	put16(o + 10, 0);
	put16(o + 10, ~sum16(o, 28, 0) & 0xffff);
}

/* @how: ipip, gue (variant 1), gue0 (variant 0, no data), option. Return: whether it is one of them. */
static inline bool pack(struct frame *out, const struct frame *in, const char *how, const char *to)
{
	int proto = in->family == 4 ? 4 : 41, words = strcmp(how, "gue0") ? -1 : 0;
	bool six = strchr(to, ':') != NULL, gue = !strncmp(how, "gue", 3);
	size_t n = in->size - in->l3, l3 = in->l3, head = 0;
	uint8_t udp[64];

	*out = *in;
	if (!strcmp(how, "option")) {
		pack_option(out, in, to);
		return true;
	}
	if (gue)
		head = pack_gue(udp, proto, n, words);
	else if (strcmp(how, "ipip") != 0)
		return false;
	put16(out->data + l3 - 2, six ? 0x86dd : 0x0800);
	l3 += pack_ip(out->data + l3, to, gue ? 17 : proto, n + head);
	memcpy(out->data + l3, udp, head);
	memcpy(out->data + l3 + head, in->data + in->l3, n);
	out->size = l3 + head + n;
	out->family = six ? 6 : 4;
	return true;
}

#endif
