// SPDX-License-Identifier: Apache-2.0
#include "host/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>

#define DEPTH_MAX 32 /* BTF comes from strangers and may contain itself */

struct writer {
	struct buf *out;
	const struct btf *btf;
	unsigned depth;
};

static void put(struct writer *w, uint32_t id, const uint8_t *p, size_t size);

static void put_bytes(struct buf *out, const uint8_t *p, size_t n)
{
	size_t i;

	buf_chr(out, '[');
	for (i = 0; i < n; i++)
		buf_fmt(out, "%s\"0x%02x\"", i ? "," : "", p[i]);
	buf_chr(out, ']');
}

/* The @bits from bit @shift on, in little-endian order; at most 64. */
static uint64_t get_bits(const uint8_t *p, unsigned shift, unsigned bits)
{
	uint64_t v = 0;
	unsigned i;

	for (i = 0; i < bits; i++)
		v |= (uint64_t)(p[(shift + i) / 8] >> (shift + i) % 8 & 1) << i;
	return v;
}

static int64_t extend(uint64_t v, unsigned bits)
{
	return bits && bits < 64 ? (int64_t)(v << (64 - bits)) >> (64 - bits) : (int64_t)v;
}

static void put_number(struct buf *out, uint64_t v, unsigned bits, unsigned encoding)
{
	if (encoding & BTF_INT_BOOL)
		buf_str(out, v ? "true" : "false");
	else if (encoding & BTF_INT_SIGNED)
		buf_i64(out, extend(v, bits));
	else
		buf_fmt(out, "%" PRIu64, v);
}

static void put_enum(struct buf *out, const struct btf *btf, const struct btf_type *t, uint64_t v)
{
	const struct btf_enum *e = btf_enum(t);
	const char *name;
	unsigned i;

	for (i = 0; i < btf_vlen(t); i++, e++) {
		if ((uint32_t)e->val != (uint32_t)v)
			continue;
		name = btf__name_by_offset(btf, e->name_off);
		buf_json(out, name, strlen(name));
		return;
	}
	buf_i64(out, extend(v, t->size * 8));
}

/* A number or an enumerator of @bits, of the type behind typedefs. */
static void put_scalar(struct writer *w, const struct btf_type *t, uint64_t v, unsigned bits)
{
	if (btf_is_enum(t))
		put_enum(w->out, w->btf, t, v);
	else
		put_number(w->out, v, bits, btf_is_int(t) ? btf_int_encoding(t) : 0);
}

static const struct btf_type *resolve(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);
	unsigned i;

	for (i = 0; t && i < DEPTH_MAX && (btf_is_mod(t) || btf_is_typedef(t)); i++)
		t = btf__type_by_id(btf, t->type);
	return t;
}

static size_t size_of(const struct btf *btf, uint32_t id)
{
	__s64 size = btf__resolve_size(btf, id);

	return size < 0 ? 0 : (size_t)size;
}

/* Text: printable to its first NUL, nothing but NULs behind. */
static bool is_text(const uint8_t *p, size_t n)
{
	size_t i, len = strnlen((const char *)p, n);

	for (i = 0; i < len; i++)
		if (!isprint(p[i]) && !isspace(p[i]))
			return false;
	for (i = len; i < n; i++)
		if (p[i])
			return false;
	return len > 0;
}

static bool is_char(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = resolve(btf, id);

	return t && btf_is_int(t) && t->size == 1 && !(btf_int_encoding(t) & BTF_INT_BOOL) &&
	       !strcmp(btf__name_by_offset(btf, t->name_off), "char");
}

static void put_array(struct writer *w, const struct btf_type *t, const uint8_t *p, size_t size)
{
	const struct btf_array *a = btf_array(t);
	size_t each = size_of(w->btf, a->type), i;

	if (each == 1 && is_char(w->btf, a->type) && is_text(p, min((size_t)a->nelems, size))) {
		buf_json(w->out, (const char *)p,
			 strnlen((const char *)p, min((size_t)a->nelems, size)));
		return;
	}
	buf_chr(w->out, '[');
	for (i = 0; each && i < a->nelems && (i + 1) * each <= size; i++) {
		if (i)
			buf_chr(w->out, ',');
		put(w, a->type, p + i * each, each);
	}
	buf_chr(w->out, ']');
}

static void put_member(struct writer *w, const struct btf_type *t, unsigned i, const uint8_t *p,
		       size_t size)
{
	const struct btf_member *m = btf_members(t) + i;
	unsigned at = btf_member_bit_offset(t, i), bits = btf_member_bitfield_size(t, i);
	const struct btf_type *type = resolve(w->btf, m->type);

	if (bits && bits <= 64 && type && at + bits <= size * 8)
		put_scalar(w, type, get_bits(p, at, bits), bits);
	else if (!bits && at / 8 <= size)
		put(w, m->type, p + at / 8, size - at / 8);
	else
		buf_str(w->out, "null");
}

static void put_members(struct writer *w, const struct btf_type *t, const uint8_t *p, size_t size,
			bool *first)
{
	const struct btf_member *m = btf_members(t);
	const struct btf_type *inner;
	const char *name;
	unsigned i, at;

	for (i = 0; i < btf_vlen(t); i++, m++) {
		name = btf__name_by_offset(w->btf, m->name_off);
		inner = *name ? NULL : resolve(w->btf, m->type);
		at = btf_member_bit_offset(t, i) / 8;
		if (inner && btf_is_composite(inner) && at <= size && w->depth < DEPTH_MAX) {
			w->depth++;
			put_members(w, inner, p + at, size - at, first);
			w->depth--;
		}
		if (!*name)
			continue;
		if (!*first)
			buf_chr(w->out, ',');
		*first = false;
		buf_json(w->out, name, strlen(name));
		buf_chr(w->out, ':');
		put_member(w, t, i, p, size);
	}
}

static void put_struct(struct writer *w, const struct btf_type *t, const uint8_t *p, size_t size)
{
	bool first = true;

	buf_chr(w->out, '{');
	put_members(w, t, p, min(size, (size_t)t->size), &first);
	buf_chr(w->out, '}');
}

static void put_datasec(struct writer *w, const struct btf_type *t, const uint8_t *p, size_t size)
{
	const struct btf_var_secinfo *v = btf_var_secinfos(t);
	const struct btf_type *var;
	const char *name;
	unsigned i;

	buf_chr(w->out, '{');
	for (i = 0; i < btf_vlen(t); i++, v++) {
		var = btf__type_by_id(w->btf, v->type);
		name = var ? btf__name_by_offset(w->btf, var->name_off) : "";
		if (i)
			buf_chr(w->out, ',');
		buf_json(w->out, name, strlen(name));
		buf_chr(w->out, ':');
		if (var && v->offset <= size)
			put(w, var->type, p + v->offset, size - v->offset);
		else
			buf_str(w->out, "null");
	}
	buf_chr(w->out, '}');
}

static void put_float(struct buf *out, const uint8_t *p, size_t size)
{
	double d = 0;
	float f;

	if (size == sizeof(d)) {
		memcpy(&d, p, sizeof(d));
	} else if (size == sizeof(f)) {
		memcpy(&f, p, sizeof(f));
		d = (double)f;
	}
	if (d != d || d - d != 0)
		buf_str(out, "null");
	else
		buf_fmt(out, "%.17g", d);
}

static void put_kind(struct writer *w, const struct btf_type *t, const uint8_t *p, size_t size)
{
	switch (btf_kind(t)) {
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		put_struct(w, t, p, size);
		return;
	case BTF_KIND_ARRAY:
		put_array(w, t, p, size);
		return;
	case BTF_KIND_DATASEC:
		put_datasec(w, t, p, size);
		return;
	}
	if (btf_is_ptr(t) && size >= 8)
		buf_fmt(w->out, "\"0x%" PRIx64 "\"", get_bits(p, 0, 64));
	else if (btf_kind(t) == BTF_KIND_FLOAT && t->size <= size)
		put_float(w->out, p, t->size);
	else if ((btf_is_int(t) || btf_is_any_enum(t)) && t->size <= 8 && t->size <= size)
		put_scalar(w, t, get_bits(p, 0, t->size * 8), t->size * 8);
	else
		put_bytes(w->out, p, min(size, (size_t)t->size));
}

static void put(struct writer *w, uint32_t id, const uint8_t *p, size_t size)
{
	const struct btf_type *t = resolve(w->btf, id);

	if (!t || w->depth >= DEPTH_MAX) {
		buf_str(w->out, "null");
		return;
	}
	w->depth++;
	put_kind(w, t, p, size);
	w->depth--;
}

void host_value_json(struct buf *out, const struct btf *btf, uint32_t type, const void *data,
		     size_t size)
{
	struct writer w = {.out = out, .btf = btf};

	if (btf && type)
		put(&w, type, data, size);
	else
		put_bytes(out, data, size);
}

/* ---- text to bytes -------------------------------------------------------------------------- */

static int parse_hex(const char *text, uint8_t *out, size_t size, struct skep_err *err)
{
	size_t n = 0;
	unsigned byte;

	for (; *text; text += 2) {
		while (isspace((unsigned char)*text))
			text++;
		if (!*text)
			break;
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
			return skep_fail(err, -EINVAL, "'%.8s' is no byte in hex", text);
		if (n == size)
			return skep_fail(err, -EINVAL, "more than %zu bytes", size);
		sscanf(text, "%2x", &byte);
		out[n++] = (uint8_t)byte;
	}
	if (n != size)
		return skep_fail(err, -EINVAL, "%zu bytes, must be %zu", n, size);
	return 0;
}

static int parse_str(const char *text, uint8_t *out, size_t size, struct skep_err *err)
{
	size_t n = strlen(text);

	if (n > size)
		return skep_fail(err, -EINVAL, "%zu bytes of text, at most %zu fit", n, size);
	strncpy((char *)out, text, size); /* which pads with zeros, and needs none */
	return 0;
}

static bool fits(const char *text, unsigned long long v, size_t size)
{
	unsigned bits = (unsigned)size * 8;

	if (bits >= 64)
		return true;
	if (*text == '-')
		return (int64_t)v >= -(1LL << (bits - 1));
	return v < 1ULL << bits;
}

static int parse_number(const char *text, uint8_t *out, size_t size, struct skep_err *err)
{
	unsigned long long v;
	char *end;

	if (size != 1 && size != 2 && size != 4 && size != 8)
		return skep_fail(err, -EINVAL, "'%s': %zu bytes are written as hex:... or str:...",
				 text, size);
	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || *end || !fits(text, v, size))
		return skep_fail(err, -EINVAL, "'%s' is no number of %zu bytes", text, size);
	memcpy(out, &v, size); /* little-endian, as BPF objects for this machine */
	return 0;
}

int host_value_parse(const char *text, void *out, size_t size, struct skep_err *err)
{
	if (!strncmp(text, "hex:", 4))
		return parse_hex(text + 4, out, size, err);
	if (!strncmp(text, "str:", 4))
		return parse_str(text + 4, out, size, err);
	if ((size == 4 && inet_pton(AF_INET, text, out) == 1) ||
	    (size == 16 && inet_pton(AF_INET6, text, out) == 1))
		return 0;
	return parse_number(text, out, size, err);
}
