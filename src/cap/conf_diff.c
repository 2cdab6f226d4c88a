// SPDX-License-Identifier: Apache-2.0
#include "cap/conf.h"

#include <inttypes.h>

static void value_print(const struct conf_field *f, const void *at, struct buf *b)
{
	const char *p = f->choices;
	int64_t number;
	int i;

	switch (f->type) {
	case CONF_INT:
		memcpy(&number, at, sizeof(number));
		buf_fmt(b, "%" PRId64, number);
		break;
	case CONF_BOOL:
		buf_str(b, *(const bool *)at ? "true" : "false");
		break;
	case CONF_ENUM:
		memcpy(&i, at, sizeof(i));
		for (; i > 0 && p; i--) {
			p = strchr(p, '|');
			p = p ? p + 1 : NULL;
		}
		buf_add(b, p ? p : "?", p ? strcspn(p, "|") : 1);
		break;
	default:
		buf_fmt(b, "\"%s\"", (const char *)at);
	}
}

static size_t value_size(const struct conf_field *f)
{
	switch (f->type) {
	case CONF_INT:
		return sizeof(int64_t);
	case CONF_BOOL:
		return sizeof(bool);
	case CONF_ENUM:
		return sizeof(int);
	case CONF_STR:
		return (size_t)f->most;
	default:
		return 0;
	}
}

static void diff(const struct conf_field *fields, unsigned n, const char *from, const char *to,
		 const char *path, unsigned indent, struct buf *b)
{
	const struct conf_field *f;
	char inner[128];

	for (f = fields; f < fields + n; f++) {
		const char *x = from + f->offset, *y = to + f->offset;

		if (f->type == CONF_PART) {
			snprintf(inner, sizeof(inner), "%s%s.", path, f->key);
			diff(f->sub, f->n_sub, x, y, inner, indent, b);
		} else if (memcmp(x, y, value_size(f)) != 0) {
			buf_fmt(b, "%*s~ %s%s: ", (int)indent, "", path, f->key);
			value_print(f, x, b);
			buf_str(b, " -> ");
			value_print(f, y, b);
			buf_chr(b, '\n');
		}
	}
}

void conf_diff(const struct conf_field *fields, unsigned n, const void *from, const void *to,
	       unsigned indent, struct buf *b)
{
	diff(fields, n, from, to, "", indent, b);
}
