// SPDX-License-Identifier: Apache-2.0
/*
 * Strings that may lie anywhere: read a piece at a time, as far as memory is there and, for interpreted
 * code, the program's. None is longer than 64 KB.
 */
#include <ctype.h>

#include "vm/kfunc.h"

#define FAIL(e)	  ((uint64_t)(int64_t) - (e))
#define LONGEST	  65536U
#define PIECE	  64U
#define PAD_ZEROS 1U

struct text {
	uint64_t at;
	uint32_t from, n; /* what of it lies in bytes */
	char bytes[PIECE];
};

static bool fetch(struct text *t, uint32_t i)
{
	struct run *r = vm_run_now();
	uint64_t at = t->at + i;
	uint32_t n = PIECE - at % PIECE;

	if (!r->vm.code->jit)
		while (n && !vm_access(&r->vm, at, n, false))
			n--;
	if (!n || vm_help_read_any(t->bytes, at, n))
		return false;
	t->from = i;
	t->n = n;
	return true;
}

/* Character @i, or an error: nothing there at all is -ERANGE, an end that is missing -EFAULT. */
static int at(struct text *t, uint32_t i)
{
	if (i - t->from >= t->n && !fetch(t, i))
		return i ? -EFAULT : -ERANGE;
	return (unsigned char)t->bytes[i - t->from];
}

static uint64_t compare(uint64_t a, uint64_t b, bool fold)
{
	struct text s = {.at = a}, t = {.at = b};
	uint32_t i;
	int x, y;

	for (i = 0; i < LONGEST; i++) {
		x = at(&s, i);
		y = at(&t, i);
		if (x < 0 || y < 0)
			return (uint64_t)(int64_t)(x < 0 ? x : y);
		if (fold) {
			x = tolower(x);
			y = tolower(y);
		}
		if (x != y)
			return x < y ? FAIL(1) : 1;
		if (!x)
			return 0;
	}
	return FAIL(E2BIG);
}

KFUNC_FN(strcmp)
{
	return compare(a, b, false);
}

KFUNC_FN(strcasecmp)
{
	return compare(a, b, true);
}

/* The first @c below @n; @end: or the end of the string. */
static uint64_t find(uint64_t s, uint32_t n, int c, bool end)
{
	struct text t = {.at = s};
	uint32_t i;
	int x;

	for (i = 0; i < n && i < LONGEST; i++) {
		x = at(&t, i);
		if (x < 0)
			return (uint64_t)(int64_t)x;
		if (x == c || (end && !x))
			return i;
		if (!x)
			return FAIL(ENOENT);
	}
	return i == LONGEST ? FAIL(E2BIG) : FAIL(ENOENT);
}

KFUNC_FN(strchr)
{
	return find(a, LONGEST, (uint8_t)b, false);
}

KFUNC_FN(strchrnul)
{
	return find(a, LONGEST, (uint8_t)b, true);
}

KFUNC_FN(strnchr)
{
	return find(a, (uint32_t)b, (uint8_t)c, false);
}

KFUNC_FN(strrchr)
{
	struct text t = {.at = a};
	uint64_t last = FAIL(ENOENT);
	uint32_t i;
	int x;

	for (i = 0; i < LONGEST; i++) {
		x = at(&t, i);
		if (x < 0)
			return (uint64_t)(int64_t)x;
		if (x == (uint8_t)b)
			last = i;
		if (!x)
			return last;
	}
	return FAIL(E2BIG);
}

static uint64_t length(uint64_t s, uint32_t n)
{
	struct text t = {.at = s};
	uint32_t i;
	int x;

	for (i = 0; i < n && i < LONGEST; i++) {
		x = at(&t, i);
		if (x <= 0)
			return x ? (uint64_t)(int64_t)x : i;
	}
	return i == LONGEST ? FAIL(E2BIG) : i;
}

KFUNC_FN(strlen)
{
	return length(a, LONGEST);
}

KFUNC_FN(strnlen)
{
	return length(a, (uint32_t)b);
}

/* Does @x stand in the string? 1, 0, or an error. */
static int stands_in(struct text *t, int x)
{
	uint32_t i;
	int y;

	for (i = 0; i < LONGEST; i++) {
		y = at(t, i);
		if (y <= 0)
			return y;
		if (y == x)
			return 1;
	}
	return -E2BIG;
}

/* How many characters, from the first on, do (or do not) stand in @set. */
static uint64_t span(uint64_t s, uint64_t set, bool in)
{
	struct text t = {.at = s}, u = {.at = set};
	uint32_t i;
	int x, y;

	for (i = 0; i < LONGEST; i++) {
		x = at(&t, i);
		y = x < 0 ? x : stands_in(&u, x);
		if (y < 0)
			return (uint64_t)(int64_t)y;
		if (!x || y != in)
			return i;
	}
	return FAIL(E2BIG);
}

KFUNC_FN(strspn)
{
	return span(a, b, true);
}

KFUNC_FN(strcspn)
{
	return span(a, b, false);
}

/* Does @t go on at @from with @u, before @n? 1, 0; -ENOENT: @t ends first; or an error. */
static int goes_on(struct text *t, uint32_t from, struct text *u, uint32_t n)
{
	uint32_t i;
	int x, y;

	for (i = 0; i < LONGEST && from + i < LONGEST; i++) {
		y = at(u, i);
		if (y <= 0)
			return y ? y : 1;
		if (from + i >= n)
			return -ENOENT;
		x = at(t, from + i);
		if (x < 0)
			return x;
		if (x != y)
			return x ? 0 : -ENOENT;
	}
	return -E2BIG;
}

static uint64_t search(uint64_t s, uint64_t what, uint32_t n)
{
	struct text t = {.at = s}, u = {.at = what};
	uint32_t i;
	int rc = 0;

	for (i = 0; i < LONGEST; i++) {
		rc = goes_on(&t, i, &u, n);
		if (rc)
			return rc > 0 ? i : (uint64_t)(int64_t)rc;
	}
	return FAIL(E2BIG);
}

KFUNC_FN(strstr)
{
	return search(a, b, LONGEST);
}

KFUNC_FN(strnstr)
{
	return search(a, b, (uint32_t)c);
}

/* The caller's string, its length with the zero behind it. */
KFUNC_FN(copy_from_user_str)
{
	struct run *r = vm_run_now();
	uint32_t n = (uint32_t)b, i = 0;
	char *to = PTR(a);

	if (d & ~(uint64_t)PAD_ZEROS)
		return FAIL(EINVAL);
	if (!n)
		return 0;
	for (i = 0; i < n - 1; i++) {
		if (vm_user_read(r->call, to + i, c + i, 1)) {
			memset(to, 0, d ? n : 0);
			return FAIL(EFAULT);
		}
		if (!to[i])
			break;
	}
	memset(to + i, 0, d ? n - i : 1);
	return i + 1;
}
