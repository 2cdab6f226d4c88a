// SPDX-License-Identifier: Apache-2.0
/* Helpers on text: formats, numbers, comparisons. */
#include <arpa/inet.h>
#include <ctype.h>

#include "vm/help.h"

#define PRINTK_MAX 1024
#define ARGS_MAX   12
#define NUMBER_MAX 63 /* characters of a number that are looked at */

/* ---- formats ---------------------------------------------------------------------------------- */

/* A format under way: what is left of it, its arguments, where its text goes. */
struct format {
	const char *at, *end;
	const uint64_t *args;
	unsigned n, next;
	struct buf out;
	char spec[24]; /* flags and width of the present conversion, from its '%' */
};

static bool ends_word(char c)
{
	return !c || isspace((unsigned char)c) || ispunct((unsigned char)c);
}

static char peek(const struct format *f, unsigned i)
{
	return f->at + i < f->end ? f->at[i] : 0;
}

static void put_string(struct format *f, uint64_t addr, bool user)
{
	char text[512];
	struct run *r = vm_run_now();
	size_t i;

	for (i = 0; i < sizeof(text) - 1; i++) {
		int rc = user ? vm_user_read(r->call, &text[i], addr + i, 1)
			      : (r->vm.code->jit || vm_access(&r->vm, addr + i, 1, false)
					 ? vm_help_read_any(&text[i], addr + i, 1)
					 : -EFAULT);
		if (rc || !text[i])
			break;
	}
	buf_add(&f->out, text, i);
}

static void put_address(struct format *f, uint64_t addr, bool six, bool zeros)
{
	uint8_t ip[16] = {0};
	char text[64];
	struct run *r = vm_run_now();
	unsigned i, n = six ? 16 : 4;

	if (r->vm.code->jit || vm_access(&r->vm, addr, n, false))
		vm_help_read_any(ip, addr, n);
	if (!six && zeros)
		buf_fmt(&f->out, "%03u.%03u.%03u.%03u", ip[0], ip[1], ip[2], ip[3]);
	else if (!six)
		buf_str(&f->out, inet_ntop(AF_INET, ip, text, sizeof(text)));
	for (i = 0; six && i < 16; i += 2)
		buf_fmt(&f->out, "%02x%02x%s", ip[i], ip[i + 1], !zeros && i < 14 ? ":" : "");
}

/* %p and what may stand behind it. */
static int pointer(struct format *f, uint64_t v)
{
	char c = peek(f, 1), c2 = peek(f, 2);

	if (ends_word(c) || c == 'K' || c == 'x' || c == 's' || c == 'S' || c == 'B') {
		f->at += ends_word(c) ? 1 : 2;
		buf_fmt(&f->out, ends_word(c) ? "%016llx" : "%llx", (unsigned long long)v);
		return 0;
	}
	if ((c == 'k' || c == 'u') && c2 == 's') {
		f->at += 3;
		if (!ends_word(peek(f, 0)))
			return -EINVAL;
		put_string(f, v, c == 'u');
		return 0;
	}
	if ((c != 'i' && c != 'I') || (c2 != '4' && c2 != '6'))
		return -EINVAL;
	f->at += 3;
	put_address(f, v, c2 == '6', c == 'i');
	return 0;
}

static int integer(struct format *f, uint64_t v)
{
	unsigned longs = 0;
	size_t n = strlen(f->spec);
	char c;

	while (peek(f, 0) == 'l' && longs < 2) {
		longs++;
		f->at++;
	}
	c = peek(f, 0);
	if (!c || !strchr("iduxX", c))
		return -EINVAL;
	f->at++;
	if (!longs)
		v = c == 'i' || c == 'd' ? (uint64_t)(int64_t)(int32_t)v : (uint32_t)v;
	snprintf(f->spec + n, sizeof(f->spec) - n, "ll%c", c);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	buf_fmt(&f->out, f->spec, (long long)v); /* made above of digits and one of iduxX */
#pragma GCC diagnostic pop
	return 0;
}

static void take_width(struct format *f)
{
	size_t n = 1;

	f->spec[0] = '%';
	while (peek(f, 0) && strchr("0+- ", peek(f, 0))) {
		if (n < 5)
			f->spec[n++] = peek(f, 0);
		f->at++;
	}
	while (isdigit((unsigned char)peek(f, 0))) {
		if (n < 8)
			f->spec[n++] = peek(f, 0);
		f->at++;
	}
	f->spec[n] = 0;
}

/* What was added from @from on fills the width, with spaces before it or behind. */
static void fill_width(struct format *f, size_t from)
{
	size_t len = f->out.len - from, flags = 1 + strspn(f->spec + 1, "0+- ");
	size_t width = strtoul(f->spec + flags, NULL, 10), n;
	bool left = memchr(f->spec, '-', flags);

	if (len >= width)
		return;
	for (n = width - len; n; n--)
		buf_chr(&f->out, ' ');
	if (left || !buf_ok(&f->out))
		return;
	memmove(f->out.data + from + width - len, f->out.data + from, len);
	memset(f->out.data + from, ' ', width - len);
}

static int conversion(struct format *f)
{
	size_t from = f->out.len;
	uint64_t v;

	if (f->next >= f->n)
		return -EINVAL;
	v = f->args[f->next++];
	take_width(f);
	switch (peek(f, 0)) {
	case 'p':
		return pointer(f, v);
	case 's':
		f->at++;
		if (!ends_word(peek(f, 0)))
			return -EINVAL;
		put_string(f, v, false);
		fill_width(f, from);
		return 0;
	case 'c':
		f->at++;
		buf_chr(&f->out, (char)v);
		fill_width(f, from);
		return 0;
	default:
		return integer(f, v);
	}
}

static int one(struct format *f)
{
	unsigned char c = (unsigned char)*f->at++;

	if (c < 0x80 && !isprint(c) && !isspace(c))
		return -EINVAL;
	if (c != '%') {
		buf_chr(&f->out, (char)c);
		return 0;
	}
	if (peek(f, 0) != '%')
		return conversion(f);
	f->at++;
	buf_chr(&f->out, '%');
	return 0;
}

int vm_help_format(char *out, size_t cap, const char *fmt, size_t fmt_len, const uint64_t *args,
		   unsigned n)
{
	const char *end = memchr(fmt, 0, fmt_len);
	struct format f = {.at = fmt, .end = end, .args = args, .n = n};
	int rc = end ? 0 : -EINVAL;

	while (!rc && f.at < f.end)
		rc = one(&f);
	if (!rc)
		rc = buf_ok(&f.out) ? (int)f.out.len : -ENOMEM;
	if (rc >= 0 && cap) {
		size_t len = min(f.out.len, cap - 1);

		if (len)
			memcpy(out, f.out.data, len);
		out[len] = 0;
	}
	buf_done(&f.out);
	return rc;
}

static uint64_t print(const char *fmt, uint32_t size, const uint64_t *args, unsigned n)
{
	const struct vm_hooks *h = vm_run_now()->vm.engine->hooks;
	char line[PRINTK_MAX];
	int rc = vm_help_format(line, sizeof(line) - 1, fmt, size, args, n);
	size_t len;

	if (rc < 0)
		return (uint64_t)(int64_t)rc;
	len = strlen(line);
	if (!len || line[len - 1] != '\n')
		line[len++] = '\n';
	if (h->trace)
		h->trace(h->arg, line, len);
	return (uint64_t)rc;
}

HELPER_FN(trace_printk)
{
	const uint64_t args[] = {c, d, f};

	return print(PTR(a), (uint32_t)b, args, 3);
}

static bool args_bad(uint64_t data, uint32_t len)
{
	return len & 7 || len > ARGS_MAX * 8 || (len && !data);
}

HELPER_FN(trace_vprintk)
{
	uint64_t args[ARGS_MAX];
	uint32_t len = (uint32_t)d;

	if (args_bad(c, len))
		return (uint64_t)-EINVAL;
	memcpy(args, PTR(c), len);
	return print(PTR(a), (uint32_t)b, args, len / 8);
}

HELPER_FN(snprintf)
{
	uint64_t args[ARGS_MAX];
	uint32_t len = (uint32_t)f;
	int rc;

	if (args_bad(d, len))
		return (uint64_t)-EINVAL;
	if (len)
		memcpy(args, PTR(d), len);
	rc = vm_help_format(PTR(a), (uint32_t)b, PTR(c), strlen(PTR(c)) + 1, args, len / 8);
	return rc < 0 ? (uint64_t)(int64_t)rc : (uint64_t)rc + 1;
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* The prefix of a number, and what it says of the base. */
static const char *prefix(const char *s, const char *end, unsigned *base)
{
	bool zero = s < end && *s == '0';
	bool hex = zero && s + 2 < end && tolower((unsigned char)s[1]) == 'x' && digit(s[2]) < 16;

	if (!*base)
		*base = hex ? 16 : zero ? 8 : 10;
	return *base == 16 && zero && s + 1 < end && tolower((unsigned char)s[1]) == 'x' ? s + 2
											 : s;
}

static long number(const char *s, size_t len, uint64_t flags, uint64_t *out, bool *negative)
{
	const char *at = s, *end = s + len, *first;
	unsigned base = flags & 0x1f;
	uint64_t v = 0;

	if ((base != 0 && base != 8 && base != 10 && base != 16) || flags & ~(uint64_t)0x1f)
		return -EINVAL;
	while (at < end && isspace((unsigned char)*at))
		at++;
	*negative = at < end && *at == '-';
	at += *negative;
	if (at == end)
		return -EINVAL;
	end = min(end, at + NUMBER_MAX);
	first = at = prefix(at, end, &base);
	for (; at < end && digit(*at) < (int)base; at++)
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (unsigned)digit(*at), &v))
			return -ERANGE;
	*out = v;
	return at == first ? -EINVAL : at - s;
}

HELPER_FN(strtol)
{
	bool negative = false;
	uint64_t v = 0;
	long rc = number(PTR(a), (uint32_t)b, c, &v, &negative);

	if (rc >= 0) {
		if (negative ? (int64_t)-v > 0 : (int64_t)v < 0)
			return (uint64_t)-ERANGE;
		v = negative ? -v : v;
		memcpy(PTR(d), &v, sizeof(v));
	}
	return (uint64_t)rc;
}

HELPER_FN(strtoul)
{
	bool negative = false;
	uint64_t v = 0;
	long rc = number(PTR(a), (uint32_t)b, c, &v, &negative);

	if (rc >= 0 && negative)
		return (uint64_t)-EINVAL;
	if (rc >= 0)
		memcpy(PTR(d), &v, sizeof(v));
	return (uint64_t)rc;
}

HELPER_FN(strncmp)
{
	return (uint64_t)(int64_t)strncmp(PTR(a), PTR(c), (uint32_t)b);
}
