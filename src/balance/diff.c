// SPDX-License-Identifier: Apache-2.0
/* diff.c: what differs between a service as it is and as it will be, for people. */
#include "balance/fields.h"

#define INDENT 2

static void backend_print(const struct config_backend *x, char sign, struct buf *b)
{
	char text[64];

	buf_fmt(b, "%*s%c backend %s weight %lld %s\n", INDENT, "", sign,
		config_addr_text(&x->addr, text), (long long)x->weight, config_mode_text(x->mode));
}

static int by_addr(const void *a, const void *b)
{
	const struct config_backend *x = *(const struct config_backend *const *)a;
	const struct config_backend *y = *(const struct config_backend *const *)b;

	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

static const struct config_backend **sorted(const struct config_service *s)
{
	const struct config_backend **list = calloc(s->n_backends + 1, sizeof(*list));
	uint32_t i;

	for (i = 0; list && i < s->n_backends; i++)
		list[i] = &s->backends[i];
	if (list)
		qsort(list, s->n_backends, sizeof(*list), by_addr);
	return list;
}

/* Both in order of address, side by side. */
static void backends_diff(const struct config_service *from, const struct config_service *to,
			  struct buf *b)
{
	cleanup(mem_free) const struct config_backend **x = sorted(from), **y = sorted(to);
	uint32_t i = 0, k = 0;
	int order;

	while (x && y && (i < from->n_backends || k < to->n_backends)) {
		order = i == from->n_backends ? 1
			: k == to->n_backends ? -1
					      : by_addr(&x[i], &y[k]);
		if (!order && memcmp(x[i], y[k], sizeof(**x)) != 0) {
			backend_print(x[i], '-', b);
			backend_print(y[k], '+', b);
		} else if (order) {
			backend_print(order < 0 ? x[i] : y[k], order < 0 ? '-' : '+', b);
		}
		i += order <= 0;
		k += order >= 0;
	}
}

static bool has_vip(const struct config_service *s, const struct config_vip *v)
{
	uint32_t i;

	for (i = 0; i < s->n_vips; i++)
		if (!memcmp(&s->vips[i], v, sizeof(*v)))
			return true;
	return false;
}

static void vips_diff(const struct config_service *from, const struct config_service *to, char sign,
		      struct buf *b)
{
	char text[64];
	uint32_t i;

	for (i = 0; i < from->n_vips; i++)
		if (!has_vip(to, &from->vips[i]))
			buf_fmt(b, "%*s%c vip %s\n", INDENT, "", sign,
				config_vip_text(&from->vips[i], text));
}

static bool is_scalar(const struct conf_field *f)
{
	return f->type != CONF_LIST && f->type != CONF_READ;
}

/* Of packets: the client's address chooses the slot, not the flow. */
static bool by_source(const struct config_service *s)
{
	return s->opt->hash || s->opt->affinity_s;
}

bool config_rehashed(const struct config_service *from, const struct config_service *to)
{
	return by_source(from) != by_source(to);
}

void config_diff(const struct config_service *from, const struct config_service *to, struct buf *b)
{
	unsigned i;

	vips_diff(from, to, '-', b);
	vips_diff(to, from, '+', b);
	for (i = 0; i < config_fields_count; i++)
		if (is_scalar(&config_fields[i]))
			conf_diff(&config_fields[i], 1, from->opt, to->opt, INDENT, b);
	backends_diff(from, to, b);
	if (config_rehashed(from, to))
		buf_fmt(b, "%*snote: live connections without an entry may go to another backend\n",
			INDENT, "");
}
