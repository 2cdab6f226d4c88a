// SPDX-License-Identifier: Apache-2.0
/*
 * Source ranges, limits and deny lists in maps. Ranges stand under a service's index in "services",
 * which is new whenever the service changes: they take hold with it (T1 of fleet.c) and go with it (T3).
 */
#include "balance/inside.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sys/random.h>

/* Ranges that stand under an index. */
struct sources {
	uint32_t n;
	struct config_cidr list[];
};

static int allow_set(struct fleet *t, uint32_t instance, const struct config_cidr *c, bool on)
{
	struct balance_allow4 k4 = {32U + c->bits, instance, 0};
	struct balance_allow6 k6 = {32U + c->bits, instance, {0}};
	int fd = c->addr.family == 4 ? t->maps->allow4 : t->maps->allow6;
	const void *key = c->addr.family == 4 ? (const void *)&k4 : (const void *)&k6;
	uint32_t one = 1;

	memcpy(&k4.addr, c->addr.bytes, 4);
	memcpy(k6.addr, c->addr.bytes, 16);
	return on ? bpf_map_update_elem(fd, key, &one, BPF_ANY) : bpf_map_delete_elem(fd, key);
}

static int deny_set(const struct maps *m, const struct config_cidr *c, bool on)
{
	struct balance_deny4 k4 = {c->bits, 0};
	struct balance_deny6 k6 = {c->bits, {0}};
	int fd = c->addr.family == 4 ? m->deny4 : m->deny6;
	const void *key = c->addr.family == 4 ? (const void *)&k4 : (const void *)&k6;
	uint32_t one = 1;

	memcpy(&k4.addr, c->addr.bytes, 4);
	memcpy(k6.addr, c->addr.bytes, 16);
	return on ? bpf_map_update_elem(fd, key, &one, BPF_ANY) : bpf_map_delete_elem(fd, key);
}

bool protect_wanted(const struct config_options *o)
{
	return o->n_sources || o->limit_source || o->limit_service || o->cookies;
}

int protect_write(struct fleet *t, const struct fleet_service *s)
{
	const struct config_options *o = s->want->opt;
	struct balance_protect *r = &t->maps->protect[s->instance];
	struct sources *kept;
	uint32_t i;
	int rc = 0;

	memset(r, 0, sizeof(*r));
	r->flags = (o->n_sources ? BALANCE_PROTECT_SOURCES : 0) |
		   (o->cookies ? BALANCE_PROTECT_COOKIES : 0);
	if (o->limit_source)
		r->source_gap =
			(uint32_t)(BALANCE_SECOND / (uint64_t)o->limit_source) >> BALANCE_TICK;
	if (o->limit_service)
		r->service_gap = BALANCE_SECOND / (uint64_t)o->limit_service;
	if (o->cookie_rate)
		r->syn_gap = BALANCE_SECOND / (uint64_t)o->cookie_rate;
	if (!o->n_sources)
		return 0;
	kept = calloc(1, sizeof(*kept) + o->n_sources * sizeof(kept->list[0]));
	if (!kept)
		return -ENOMEM;
	t->sources[s->instance] = kept;
	for (i = 0; i < o->n_sources && !rc; i++) {
		rc = allow_set(t, s->instance, &o->sources[i], true);
		if (!rc)
			kept->list[kept->n++] = o->sources[i];
	}
	return rc ? -ENOSPC : 0;
}

void protect_clear(struct fleet *t, uint32_t instance)
{
	struct sources *kept = instance < t->maps->size.services ? t->sources[instance] : NULL;
	uint32_t i;

	for (i = 0; kept && i < kept->n; i++)
		allow_set(t, instance, &kept->list[i], false);
	if (!kept)
		return;
	free(kept);
	t->sources[instance] = NULL;
}

/* What an earlier agent wrote. @key: as in allow4 or allow6. */
static int adopt_one(struct fleet *t, const void *key, uint8_t family)
{
	const struct balance_allow4 *k = key;
	struct config_cidr c = {.addr.family = family, .bits = (uint8_t)(k->bits - 32)};
	struct sources *kept, *more;

	if (k->service >= t->maps->size.services || k->bits < 32)
		return 0;
	memcpy(c.addr.bytes, (const char *)key + 8, family == 4 ? 4 : 16);
	kept = t->sources[k->service];
	more = realloc(kept, sizeof(*more) + ((kept ? kept->n : 0) + 1) * sizeof(c));
	if (!more)
		return -ENOMEM;
	more->n = kept ? more->n : 0;
	more->list[more->n++] = c;
	t->sources[k->service] = more;
	return 0;
}

static int adopt_map(struct fleet *t, int fd, uint8_t family)
{
	struct balance_allow6 key;
	int rc;

	for (rc = bpf_map_get_next_key(fd, NULL, &key); !rc;
	     rc = bpf_map_get_next_key(fd, &key, &key))
		if (adopt_one(t, &key, family))
			return -ENOMEM;
	return 0;
}

int protect_open(struct fleet *t)
{
	__u64 *secret = t->maps->state->secret;
	int rc = 0;

	t->sources = calloc(t->maps->size.services, sizeof(struct sources *));
	if (!t->sources)
		return -ENOMEM;
	if (!secret[0] && getrandom(secret, 16, GRND_NONBLOCK) != 16)
		secret[0] =
			fleet_units() | 1; /* a machine that has just begun: no secret, but works */
	if (t->maps->adopted)
		rc = adopt_map(t, t->maps->allow4, 4) ?: adopt_map(t, t->maps->allow6, 6)
						      ?: protect_denied(t);
	return rc;
}

void protect_done(struct fleet *t)
{
	uint32_t i;

	for (i = 0; t->sources && i < t->maps->size.services; i++)
		free(t->sources[i]);
	free(t->sources);
	free(t->denied);
}

/* ---- deny lists ------------------------------------------------------------------------------ */

static int by_cidr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct config_cidr));
}

static bool has(const struct config_cidr *list, size_t n, const struct config_cidr *c)
{
	return n && bsearch(c, list, n, sizeof(*c), by_cidr);
}

/* @list is taken. */
static int deny(struct fleet *t, struct config_cidr *list, size_t n)
{
	size_t i;
	int rc = 0;

	qsort(list, n, sizeof(*list), by_cidr);
	for (i = 0; i < n; i++)
		if (!has(t->denied, t->n_denied, &list[i]) && deny_set(t->maps, &list[i], true))
			rc = -ENOSPC;
	for (i = 0; i < t->n_denied; i++)
		if (!has(list, n, &t->denied[i]))
			deny_set(t->maps, &t->denied[i], false);
	free(t->denied);
	t->denied = list;
	t->n_denied = n;
	if (n)
		__atomic_fetch_or(&t->maps->state->use, BALANCE_USE_DENY, __ATOMIC_RELEASE);
	else
		__atomic_fetch_and(&t->maps->state->use, ~BALANCE_USE_DENY, __ATOMIC_RELEASE);
	return rc;
}

/* What an earlier agent denied, so that what is denied no more can go. */
int protect_denied(struct fleet *t)
{
	int fds[] = {t->maps->deny4, t->maps->deny6}, rc;
	struct balance_deny6 key;
	size_t i;

	for (i = 0; i < array_size(fds); i++)
		for (rc = bpf_map_get_next_key(fds[i], NULL, &key); !rc;
		     rc = bpf_map_get_next_key(fds[i], &key, &key)) {
			struct config_cidr c = {.addr.family = i ? 6 : 4,
						.bits = (uint8_t)key.bits};
			void *more = reallocarray(t->denied, t->n_denied + 1, sizeof(c));

			if (!more)
				return -ENOMEM;
			memcpy(c.addr.bytes, key.addr, i ? 16 : 4);
			t->denied = more;
			t->denied[t->n_denied++] = c;
		}
	if (t->n_denied)
		qsort(t->denied, t->n_denied, sizeof(*t->denied), by_cidr);
	return 0;
}

/* One CIDR a line; # begins a comment. */
static int file_read(const char *path, struct config_cidr **out, size_t *n, struct skep_err *err)
{
	FILE *f = fopen(path, "re");
	char line[128];
	unsigned at = 0;
	int rc = 0;

	if (!f)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	while (!rc && fgets(line, sizeof(line), f)) {
		struct config_cidr c;
		size_t len;
		void *more;

		at++;
		line[strcspn(line, "#\r\n \t")] = '\0';
		len = strlen(line);
		if (!len)
			continue;
		more = reallocarray(*out, *n + 1, sizeof(c));
		if (!more)
			rc = -ENOMEM;
		else if (!config_cidr_read(line, len, &c))
			rc = skep_fail(err, -EINVAL, "%s:%u: expected a range like 192.0.2.0/24",
				       path, at);
		*out = more ? more : *out;
		if (!rc)
			(*out)[(*n)++] = c;
	}
	fclose(f);
	return rc;
}

int fleet_deny(struct fleet *t, const struct config_cidr *list, size_t n, const char *file,
	       struct skep_err *err)
{
	struct config_cidr *all = calloc(n + 1, sizeof(*all));
	int rc = all ? 0 : -ENOMEM;

	if (!rc)
		memcpy(all, list, n * sizeof(*all));
	if (!rc && *file)
		rc = file_read(file, &all, &n, err);
	if (rc) {
		free(all);
		return rc;
	}
	rc = deny(t, all, n);
	return rc ? skep_fail(err, rc, "no room for %zu denied ranges", n) : 0;
}
