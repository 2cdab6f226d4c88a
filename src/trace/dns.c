// SPDX-License-Identifier: Apache-2.0
#include "trace/dns.h"

#include <arpa/inet.h>

#define HEADER_LEN  12
#define WIRE_NAME   255
#define CLASS_IN    1
#define TTL_INVALID 0x80000000U

enum dns_type {
	TYPE_A = 1,
	TYPE_NS = 2,
	TYPE_CNAME = 5,
	TYPE_PTR = 12,
	TYPE_MX = 15,
	TYPE_TXT = 16,
	TYPE_AAAA = 28,
	TYPE_SRV = 33,
	TYPE_DNAME = 39,
	TYPE_SVCB = 64,
	TYPE_HTTPS = 65,
};

static const struct {
	uint16_t type;
	const char *name;
} types[] = {
	{1, "A"},	{2, "NS"},     {5, "CNAME"},  {6, "SOA"},    {12, "PTR"},   {13, "HINFO"},
	{15, "MX"},	{16, "TXT"},   {28, "AAAA"},  {29, "LOC"},   {33, "SRV"},   {35, "NAPTR"},
	{39, "DNAME"},	{41, "OPT"},   {43, "DS"},    {44, "SSHFP"}, {46, "RRSIG"}, {47, "NSEC"},
	{48, "DNSKEY"}, {50, "NSEC3"}, {52, "TLSA"},  {64, "SVCB"},  {65, "HTTPS"}, {99, "SPF"},
	{250, "TSIG"},	{251, "IXFR"}, {252, "AXFR"}, {255, "ANY"},  {256, "URI"},  {257, "CAA"},
};

static const char *const rcodes[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN",
				     "NOTIMP",	"REFUSED", "YXDOMAIN", "YXRRSET",
				     "NXRRSET", "NOTAUTH", "NOTZONE"};

/* Reading position. Reading past the end sets @over and gives zeros from then on. */
struct reader {
	const uint8_t *base;
	size_t len;
	size_t at;
	bool over;
	bool bad;
};

/* Text being written: stops at the end, always terminated. */
struct writer {
	char *dst;
	size_t cap;
	size_t len;
	bool full;
};

static void write_text(struct writer *w, const char *s, size_t n)
{
	if (w->full || w->len + n >= w->cap) {
		w->full = true;
		return;
	}
	memcpy(w->dst + w->len, s, n);
	w->len += n;
	w->dst[w->len] = '\0';
}

static bool more(struct reader *r, size_t n)
{
	if (r->over || r->bad || n > r->len - r->at) {
		r->over = !r->bad;
		return false;
	}
	return true;
}

static uint16_t read_u16(struct reader *r)
{
	if (!more(r, 2))
		return 0;
	r->at += 2;
	return (uint16_t)(r->base[r->at - 2] << 8 | r->base[r->at - 1]);
}

static uint32_t read_u32(struct reader *r)
{
	uint32_t high = read_u16(r);

	return high << 16 | read_u16(r);
}

static void skip(struct reader *r, size_t n)
{
	if (more(r, n))
		r->at += n;
}

/* One byte of a label, or of a character string of TXT. */
static void write_byte(struct writer *w, uint8_t c, uint8_t special)
{
	char s[8];

	if (c >= 'A' && c <= 'Z' && special == '.')
		c |= 0x20;
	if (c == special || c == '\\')
		write_text(w, s, (size_t)sprintf(s, "\\%c", c));
	else if ((c > ' ' && c < 0x7f) || (c == ' ' && special == '"'))
		write_text(w, (const char *)&c, 1);
	else
		write_text(w, s, (size_t)sprintf(s, "\\%03u", c));
}

static void write_label(struct writer *w, const uint8_t *s, size_t n, bool first)
{
	size_t i;

	if (!first)
		write_text(w, ".", 1);
	for (i = 0; i < n; i++)
		write_byte(w, s[i], '.');
}

/*
 * A name at r->at, which ends behind it. Pointers have to point before the labels that they end, so
 * each jump goes further back; the labels' sum is bounded too.
 */
static void read_name(struct reader *r, struct writer *w)
{
	struct reader c = *r;
	size_t start = r->at, total = 0;
	bool jumped = false;
	uint8_t n;

	while (more(&c, 1) && (n = c.base[c.at]) != 0) {
		if (n >= 0xc0) {
			size_t to = read_u16(&c) & 0x3fff;

			if (!jumped)
				r->at = c.at;
			jumped = true;
			c.bad = !c.over && (to >= start || to < HEADER_LEN);
			c.at = start = to;
			continue;
		}
		c.bad = n > 63 || (total += n + 1U) >= WIRE_NAME;
		c.at++;
		if (!more(&c, n))
			break;
		write_label(w, c.base + c.at, n, total == n + 1U);
		c.at += n;
	}
	if (!total)
		write_text(w, ".", 1);
	if (!jumped)
		r->at = c.at + 1;
	r->over |= c.over;
	r->bad |= c.bad;
}

/* Character strings of TXT, one behind the other. */
static void read_strings(struct reader *r, size_t end, struct writer *w)
{
	write_text(w, "\"", 1);
	while (r->at < end && more(r, 1)) {
		size_t n = r->base[r->at++], i;

		if (n > end - r->at)
			r->bad = true;
		if (!more(r, n))
			break;
		for (i = 0; i < n; i++)
			write_byte(w, r->base[r->at + i], '"');
		r->at += n;
	}
	write_text(w, "\"", 1);
}

/* @n numbers of 16 bit, then a name: NS (0), MX (1), SRV (3) ... */
static void read_numbers_name(struct reader *r, unsigned n, struct writer *w)
{
	char s[8];

	while (n--)
		write_text(w, s, (size_t)sprintf(s, "%u ", read_u16(r)));
	read_name(r, w);
}

static void read_addr(struct reader *r, size_t len, uint8_t family, struct dns_answer *a)
{
	if (!more(r, len))
		return;
	a->family = family;
	memcpy(a->addr, r->base + r->at, len);
	r->at += len;
}

/* The record's data at r->at, @end behind it. Return: whether it is of a kind that is kept. */
static bool read_data(struct reader *r, size_t end, struct dns_answer *a, struct writer *w)
{
	switch (a->type) {
	case TYPE_A:
		read_addr(r, 4, AF_INET, a);
		return true;
	case TYPE_AAAA:
		read_addr(r, 16, AF_INET6, a);
		return true;
	case TYPE_NS:
	case TYPE_CNAME:
	case TYPE_PTR:
	case TYPE_DNAME:
		read_numbers_name(r, 0, w);
		return true;
	case TYPE_MX:
		read_numbers_name(r, 1, w);
		return true;
	case TYPE_SRV:
		read_numbers_name(r, 3, w);
		return true;
	case TYPE_SVCB:
	case TYPE_HTTPS:
		read_numbers_name(r, 1, w);
		r->at = max(r->at, end); /* parameters */
		return true;
	case TYPE_TXT:
		read_strings(r, end, w);
		return true;
	default:
		skip(r, end - r->at);
		return false;
	}
}

/* Puts an answer behind the others, where there is room for it and its text. */
static void read_kept(struct reader *r, size_t end, struct dns_message *out, struct dns_answer *a,
		      size_t *text)
{
	struct writer w = {out->text + *text, sizeof(out->text) - *text};

	a->text = (uint16_t)*text;
	if (!read_data(r, end, a, &w) || r->over || r->bad || w.full ||
	    out->n_answers == DNS_ANSWER_MAX)
		return;
	if (!a->family)
		*text += w.len + 1;
	out->answers[out->n_answers++] = *a;
}

static void read_record(struct reader *r, struct dns_message *out, bool first, size_t *text)
{
	struct writer none = {.full = true};
	struct dns_answer a = {0};
	uint16_t class, len;
	size_t end;

	read_name(r, &none);
	a.type = read_u16(r);
	class = read_u16(r);
	a.ttl = read_u32(r);
	len = read_u16(r);
	if (!more(r, len))
		return;
	end = r->at + len;
	a.ttl = a.ttl & TTL_INVALID ? 0 : a.ttl;
	out->min_ttl = first ? a.ttl : min(out->min_ttl, a.ttl);
	if (class == CLASS_IN)
		read_kept(r, end, out, &a, text);
	else
		skip(r, len);
	r->bad |= !r->over && r->at != end;
}

static void read_questions(struct reader *r, unsigned n, struct dns_message *out)
{
	struct writer name = {out->name, sizeof(out->name)}, none = {.full = true};
	unsigned i;

	for (i = 0; i < n && !r->over && !r->bad; i++) {
		uint16_t type;

		read_name(r, i ? &none : &name);
		type = read_u16(r);
		skip(r, 2);
		if (!i)
			out->type = type;
	}
}

int dns_parse(const void *data, size_t len, size_t whole, struct dns_message *out)
{
	struct reader r = {.base = data, .len = len};
	uint16_t flags, questions, answers;
	size_t text = 0;
	unsigned i;

	if (len < HEADER_LEN)
		return -EBADMSG;
	memset(out, 0, sizeof(*out));
	out->id = read_u16(&r);
	flags = read_u16(&r);
	questions = read_u16(&r);
	answers = read_u16(&r);
	skip(&r, 4);
	out->response = flags >> 15;
	out->opcode = flags >> 11 & 15;
	out->truncated = flags >> 9 & 1;
	out->rcode = flags & 15;
	read_questions(&r, questions, out);
	if (r.over || r.bad)
		return -EBADMSG;
	for (i = 0; i < answers && !r.over && !r.bad; i++)
		read_record(&r, out, !i, &text);
	out->cut = r.over;
	return r.bad || (r.over && len >= whole) ? -EBADMSG : 0;
}

const char *dns_type_name(uint16_t type, char buf[DNS_LABEL_MAX])
{
	size_t i;

	for (i = 0; i < array_size(types); i++) {
		if (types[i].type == type)
			return types[i].name;
	}
	snprintf(buf, DNS_LABEL_MAX, "TYPE%u", type);
	return buf;
}

const char *dns_rcode_name(unsigned rcode, char buf[DNS_LABEL_MAX])
{
	if (rcode < array_size(rcodes))
		return rcodes[rcode];
	snprintf(buf, DNS_LABEL_MAX, "RCODE%u", rcode & 0xffff);
	return buf;
}

size_t dns_answers_text(const struct dns_message *m, char *dst, size_t cap)
{
	struct writer w = {dst, cap};
	char addr[INET6_ADDRSTRLEN];
	unsigned i;

	if (cap)
		dst[0] = '\0';
	for (i = 0; i < m->n_answers; i++) {
		const struct dns_answer *a = &m->answers[i];
		const char *s = a->family ? inet_ntop(a->family, a->addr, addr, sizeof(addr))
					  : m->text + a->text;
		size_t n = strlen(s);

		if (w.len + n + (i > 0) >= cap)
			break;
		if (i)
			write_text(&w, ",", 1);
		write_text(&w, s, n);
	}
	return w.len;
}
