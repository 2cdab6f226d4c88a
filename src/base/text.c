// SPDX-License-Identifier: Apache-2.0
#include "base/text.h"

static unsigned utf8_decode(const unsigned char *s, size_t n, uint32_t *cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	unsigned i;

	if (!len || len > n || s[0] > 0xf4)
		return 0;
	*cp = len == 1 ? s[0] : s[0] & (0xffU >> (len + 1));
	for (i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*cp = *cp << 6 | (s[i] & 0x3f);
	}
	if (*cp < least[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp < 0xe000))
		return 0;
	return len;
}

unsigned text_utf8(const char *s, size_t n)
{
	uint32_t cp = 0;
	unsigned len = n ? utf8_decode((const unsigned char *)s, n, &cp) : 0;

	if (!len || cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
		return 0;
	if ((cp >= 0x202a && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069))
		return 0;
	return len;
}

/* The escape for one byte that cannot stand as it is; length of @out. */
static unsigned escape_byte(char out[5], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	const char *named = c == '\n'	? "n"
			    : c == '\t' ? "t"
			    : c == '\r' ? "r"
			    : c == '\\' ? "\\"
			    : c == '\'' ? "'"
					: NULL;

	out[0] = '\\';
	if (named) {
		out[1] = *named;
		return 2;
	}
	out[1] = 'x';
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

static bool put(char *dst, size_t cap, size_t *at, const char *s, size_t n)
{
	if (*at + n >= cap)
		return false;
	memcpy(dst + *at, s, n);
	*at += n;
	return true;
}

/* Length of the run of bytes that stand as they are, without a look at UTF-8. */
static size_t plain(const char *s, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (s[i] < 0x20 || s[i] > 0x7e || s[i] == '\\' || s[i] == '\'')
			break;
	return i;
}

/* Bytes with escapes; @quote also escapes the single quote. False when @dst is full. */
static bool put_escaped(char *dst, size_t cap, size_t *at, const char *src, size_t n, bool quote)
{
	char esc[5];
	size_t i = 0, run;
	unsigned len;
	bool ok = true;

	while (i < n && ok) {
		run = min(plain(src + i, n - i), cap - 1 - *at);
		put(dst, cap, at, src + i, run);
		i += run;
		if (i == n)
			break;
		len = text_utf8(src + i, n - i);
		if (len && src[i] != '\\' && !(quote && src[i] == '\'')) {
			ok = put(dst, cap, at, src + i, len);
			i += len;
		} else {
			ok = put(dst, cap, at, esc, escape_byte(esc, (unsigned char)src[i++]));
		}
	}
	return ok;
}

size_t text_escape(char *dst, size_t cap, const char *src, size_t n)
{
	size_t at = 0;

	if (!cap)
		return 0;
	put_escaped(dst, cap, &at, src, n, false);
	dst[at] = '\0';
	return at;
}

enum word { WORD_BARE, WORD_QUOTED, WORD_ESCAPED };

static enum word word_kind(const char *s, size_t n)
{
	static const char bare[] = "%+,-./:=@_";
	enum word kind = n ? WORD_BARE : WORD_QUOTED;
	unsigned char c;
	size_t i = 0;
	unsigned len;

	while (i < n) {
		c = (unsigned char)s[i];
		len = text_utf8(s + i, n - i);
		if (!len || c == '\'')
			return WORD_ESCAPED;
		if (len == 1 && !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
				  (c >= 'A' && c <= 'Z') || strchr(bare, c)))
			kind = WORD_QUOTED;
		i += len;
	}
	return kind;
}

static bool put_word(char *dst, size_t cap, size_t *at, const char *s, size_t n)
{
	switch (word_kind(s, n)) {
	case WORD_BARE:
		return put(dst, cap, at, s, n);
	case WORD_QUOTED:
		return put(dst, cap, at, "'", 1) && put(dst, cap, at, s, n) &&
		       put(dst, cap, at, "'", 1);
	default:
		return put(dst, cap, at, "$'", 2) && put_escaped(dst, cap, at, s, n, true) &&
		       put(dst, cap, at, "'", 1);
	}
}

size_t text_argv(char *dst, size_t cap, const char *args, size_t n)
{
	size_t at = 0, i = 0, len;

	if (!cap)
		return 0;
	while (i < n) {
		len = strnlen(args + i, n - i);
		if (i && !put(dst, cap, &at, " ", 1))
			break;
		if (!put_word(dst, cap, &at, args + i, len))
			break;
		i += len + 1;
	}
	dst[at] = '\0';
	return at;
}

size_t text_ipv4(char dst[16], const uint8_t addr[4])
{
	char *p = dst;
	unsigned i;

	for (i = 0; i < 4; i++) {
		if (addr[i] >= 100)
			*p++ = (char)('0' + addr[i] / 100);
		if (addr[i] >= 10)
			*p++ = (char)('0' + addr[i] / 10 % 10);
		*p++ = (char)('0' + addr[i] % 10);
		*p++ = i < 3 ? '.' : '\0';
	}
	return (size_t)(p - dst) - 1;
}
