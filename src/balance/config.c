// SPDX-License-Identifier: Apache-2.0
#include "balance/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <xxhash.h>

#include "balance/balance.h"
#include "cap/conf.h"

#define MODES "ipip|gue|l2|option|nat" /* as BALANCE_IPIP ... */

struct spec {
	int hash; /* index into flow, source */
	int mode; /* BALANCE_IPIP ... */
	int64_t drain_s;
	uint32_t n_vips, n_backends;
	struct config_vip vips[CONFIG_VIPS_MAX];
	struct config_backend backends[CONFIG_BACKENDS_MAX];
};

/* ---- scalars --------------------------------------------------------------------------------- */

bool config_addr_read(const char *s, size_t n, struct config_addr *out)
{
	char text[INET6_ADDRSTRLEN];

	memset(out, 0, sizeof(*out));
	if (n >= sizeof(text))
		return false;
	memcpy(text, s, n);
	text[n] = '\0';
	out->family = memchr(s, ':', n) ? 6 : 4;
	return inet_pton(out->family == 4 ? AF_INET : AF_INET6, text, out->bytes) == 1;
}

static bool addr_read(const char *s, size_t n, void *out)
{
	return config_addr_read(s, n, out);
}

static bool port_read(const char *s, size_t n, uint16_t *out)
{
	unsigned v = 0;
	size_t i;

	for (i = 0; i < n && i < 5 && s[i] >= '0' && s[i] <= '9'; i++)
		v = v * 10 + (unsigned)(s[i] - '0');
	*out = (uint16_t)v;
	return n && i == n && v >= 1 && v <= 65535;
}

/* "*", "80" or "8000-8100" */
static bool ports_read(const char *s, size_t n, struct config_vip *v)
{
	const char *dash = memchr(s, '-', n);
	size_t left = dash ? (size_t)(dash - s) : n;

	if (n == 1 && *s == '*') {
		v->first = 0;
		v->last = 65535;
		return true;
	}
	if (!port_read(s, left, &v->first))
		return false;
	v->last = v->first;
	return !dash || (port_read(dash + 1, n - left - 1, &v->last) && v->first <= v->last);
}

/* ADDRESS:PORTS/PROTOCOL, the address of IPv6 in brackets. */
static bool vip_read(const char *s, size_t n, void *out)
{
	struct config_vip *v = out;
	bool brackets = n && *s == '[';
	const char *colon, *end = s + n;

	memset(v, 0, sizeof(*v));
	if (n < 5 || s[n - 4] != '/')
		return false;
	if (!memcmp(end - 3, "tcp", 3) || !memcmp(end - 3, "udp", 3))
		v->proto = end[-3] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	end -= 4;
	colon = brackets ? memchr(s, ']', n) : memchr(s, ':', n);
	if (!v->proto || !colon || colon + brackets >= end || colon[brackets] != ':' ||
	    !config_addr_read(s + brackets, (size_t)(colon - s) - brackets, &v->addr) ||
	    (v->addr.family == 6) != brackets)
		return false;
	colon += brackets + 1;
	return ports_read(colon, (size_t)(end - colon), v);
}

const char *config_addr_text(const struct config_addr *a, char *out)
{
	return inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->bytes, out, 64);
}

const char *config_vip_text(const struct config_vip *v, char *out)
{
	char addr[64], ports[16];

	config_addr_text(&v->addr, addr);
	if (!v->first)
		strcpy(ports, "*");
	else if (v->first == v->last)
		snprintf(ports, sizeof(ports), "%u", v->first);
	else
		snprintf(ports, sizeof(ports), "%u-%u", v->first, v->last);
	snprintf(out, 64, v->addr.family == 6 ? "[%.45s]:%s/%s" : "%.45s:%s/%s", addr, ports,
		 v->proto == IPPROTO_TCP ? "tcp" : "udp");
	return out;
}

const char *config_mode_text(int mode)
{
	static const char *const names[] = {"ipip", "gue", "l2", "option", "nat"};

	return mode >= 0 && mode < BALANCE_MODES ? names[mode] : "?";
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct conf_field vip_fields[] = {
	{.type = CONF_READ,
	 .read = vip_read,
	 .choices = "ADDRESS:PORTS/tcp or /udp, PORTS being 80, 8000-8100 or *, as in "
		    "\"203.0.113.10:443/tcp\" or \"[2001:db8::1]:*/udp\""},
};

static const struct conf_field backend_fields[] = {
	{.key = "address",
	 .type = CONF_READ,
	 .offset = offsetof(struct config_backend, addr),
	 .read = addr_read,
	 .choices = "an IPv4 or IPv6 address",
	 .doc = "where the outer header leads"},
	{.key = "weight",
	 .type = CONF_INT,
	 .offset = offsetof(struct config_backend, weight),
	 .least = 0,
	 .most = CONFIG_WEIGHT_MAX,
	 .preset = "1",
	 .doc = "its share of new flows; 0: keeps its flows and gets none"},
	{.key = "mode",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct config_backend, mode),
	 .choices = "service|" MODES,
	 .preset = "service",
	 .doc = "how packets go there; service: as the service has it"},
};

static const struct conf_field fields[] = {
	{.key = "vips",
	 .type = CONF_LIST,
	 .offset = offsetof(struct spec, vips),
	 .least = 1,
	 .most = CONFIG_VIPS_MAX,
	 .doc = "ADDRESS:PORTS/PROTOCOL; PORTS: 80, 8000-8100 or *; PROTOCOL: tcp or udp",
	 .sub = vip_fields,
	 .n_sub = 1,
	 .size = sizeof(struct config_vip),
	 .count = offsetof(struct spec, n_vips)},
	{.key = "backends",
	 .type = CONF_LIST,
	 .offset = offsetof(struct spec, backends),
	 .most = CONFIG_BACKENDS_MAX,
	 .preset = "[]",
	 .doc = "mappings of address, weight and mode",
	 .sub = backend_fields,
	 .n_sub = array_size(backend_fields),
	 .size = sizeof(struct config_backend),
	 .count = offsetof(struct spec, n_backends)},
	{.key = "mode",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct spec, mode),
	 .choices = MODES,
	 .preset = "ipip",
	 .doc = "how packets go to backends: behind another IP header; behind IP, UDP and GUE; as they "
		"came, by link address; with the service's address in an IP option; translated"},
	{.key = "hash",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct spec, hash),
	 .choices = "flow|source",
	 .preset = "flow",
	 .doc = "what chooses the backend: addresses and ports, or the client's address alone"},
	{.key = "drainSeconds",
	 .type = CONF_INT,
	 .offset = offsetof(struct spec, drain_s),
	 .least = 0,
	 .most = 86400,
	 .preset = "3600",
	 .doc = "a backend that is no longer listed keeps its flows for so long"},
};

void config_reference(struct buf *b)
{
	conf_print("Service", fields, array_size(fields), b);
}

/* ---- what two of them must not have in common ------------------------------------------------ */

struct claim {
	struct config_vip vip;
	const struct config_service *service;
};

static bool exact(const struct config_vip *v)
{
	return v->first && v->first == v->last;
}

/* Exact ports apart from ranges: one port in a range of another service is no mistake, it wins. */
static int by_claim(const void *a, const void *b)
{
	const struct config_vip *x = a, *y = b;
	int rc = memcmp(x, y, offsetof(struct config_vip, first));

	if (rc)
		return rc;
	if (exact(x) != exact(y))
		return exact(x) ? -1 : 1;
	return x->first - y->first;
}

static int check_claims(const struct claim *c, size_t n, struct skep_err *err)
{
	char text[64];
	size_t i;

	for (i = 1; i < n; i++)
		if (!memcmp(&c[i - 1].vip, &c[i].vip, offsetof(struct config_vip, first)) &&
		    exact(&c[i - 1].vip) == exact(&c[i].vip) && c[i].vip.first <= c[i - 1].vip.last)
			return skep_fail(err, -EINVAL, "%s is of service '%s' and of service '%s'",
					 config_vip_text(&c[i].vip, text), c[i - 1].service->name,
					 c[i].service->name);
	return 0;
}

static int check_vips(const struct config_set *set, struct skep_err *err)
{
	cleanup(mem_free) struct claim *claims = NULL;
	size_t n = 0, i;
	uint32_t v;

	for (i = 0; i < set->n; i++)
		n += set->services[i].n_vips;
	claims = calloc(n + 1, sizeof(*claims));
	if (!claims)
		return -ENOMEM;
	for (n = 0, i = 0; i < set->n; i++)
		for (v = 0; v < set->services[i].n_vips; v++)
			claims[n++] = (struct claim){set->services[i].vips[v], &set->services[i]};
	qsort(claims, n, sizeof(*claims), by_claim);
	return check_claims(claims, n, err);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names(const struct config_set *set, struct skep_err *err)
{
	cleanup(mem_free) const char **names = calloc(set->n + 1, sizeof(*names));
	size_t i;

	if (!names)
		return -ENOMEM;
	for (i = 0; i < set->n; i++)
		names[i] = set->services[i].name;
	qsort(names, set->n, sizeof(*names), by_name);
	for (i = 1; i < set->n; i++)
		if (!strcmp(names[i - 1], names[i]))
			return skep_fail(err, -EINVAL, "two services have the name '%s'", names[i]);
	return 0;
}

static int by_addr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct config_addr));
}

static int check_backends(const struct config_service *s, struct skep_err *err)
{
	cleanup(mem_free) struct config_addr *sorted = calloc(s->n_backends + 1, sizeof(*sorted));
	char text[64];
	uint32_t i;

	if (!sorted)
		return -ENOMEM;
	for (i = 0; i < s->n_backends; i++)
		sorted[i] = s->backends[i].addr;
	qsort(sorted, s->n_backends, sizeof(*sorted), by_addr);
	for (i = 1; i < s->n_backends; i++)
		if (!by_addr(&sorted[i - 1], &sorted[i]))
			return skep_fail(err, -EINVAL, "backend %s stands twice",
					 config_addr_text(&sorted[i], text));
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Backends that have no mode have the service's. */
static int modes_set(struct config_service *s, int mode, struct skep_err *err)
{
	char text[64];
	uint32_t i;

	for (i = 0; i < s->n_backends; i++) {
		struct config_backend *b = &s->backends[i];

		b->mode = b->mode ? b->mode - 1 : mode;
		if (b->mode != BALANCE_IPIP)
			return skep_fail(err, -EINVAL, "backend %s: mode %s is not supported",
					 config_addr_text(&b->addr, text),
					 config_mode_text(b->mode));
	}
	return 0;
}

static void service_done(struct config_service *s)
{
	free(s->vips);
	free(s->backends);
}

void config_done(struct config_set *set)
{
	size_t i;

	for (i = 0; i < set->n; i++)
		service_done(&set->services[i]);
	free(set->services);
	memset(set, 0, sizeof(*set));
}

static int set_grow(struct config_set *set)
{
	void *more;

	if (set->n < set->room)
		return 0;
	more = reallocarray(set->services, set->room * 2 + 16, sizeof(*set->services));
	if (!more)
		return -ENOMEM;
	set->services = more;
	set->room = set->room * 2 + 16;
	return 0;
}

static void *copy(const void *from, size_t n, size_t size)
{
	void *to = calloc(n + 1, size);

	return to ? memcpy(to, from, n * size) : NULL;
}

static uint64_t digest(const struct config_service *s)
{
	uint64_t h = XXH3_64bits(s->name, sizeof(s->name));

	h = XXH3_64bits_withSeed(s->vips, s->n_vips * sizeof(*s->vips), h);
	h = XXH3_64bits_withSeed(s->backends, s->n_backends * sizeof(*s->backends), h);
	return XXH3_64bits_withSeed(&s->drain_s, sizeof(s->drain_s), h + s->by_source);
}

static int on_service(void *arg, const char *name, const void *spec, struct skep_err *err)
{
	const struct spec *in = spec;
	struct config_set *set = arg;
	struct config_service s = {
		.by_source = in->hash,
		.drain_s = (uint32_t)in->drain_s,
		.n_vips = in->n_vips,
		.n_backends = in->n_backends,
	};
	int rc;

	if (!*name || strlen(name) >= sizeof(s.name))
		return skep_fail(err, -EINVAL, "metadata.name: expected text of 1 to %zu bytes",
				 sizeof(s.name) - 1);
	if (name[strspn(name,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-")])
		return skep_fail(err, -EINVAL,
				 "metadata.name: expected letters, digits and . _ / -");
	strcpy(s.name, name);
	s.vips = copy(in->vips, in->n_vips, sizeof(*in->vips));
	s.backends = copy(in->backends, in->n_backends, sizeof(*in->backends));
	rc = s.vips && s.backends ? set_grow(set) : -ENOMEM;
	if (!rc)
		rc = modes_set(&s, in->mode, err);
	s.digest = rc ? 0 : digest(&s);
	if (!rc)
		rc = check_backends(&s, err);
	if (rc)
		service_done(&s);
	else
		set->services[set->n++] = s;
	return rc;
}

int config_read(const char *file, const char *text, size_t len, struct config_set *out,
		struct skep_err *err)
{
	struct config_set set = {0};
	int rc = conf_parse_each(file, text, len, "Service", fields, array_size(fields),
				 sizeof(struct spec), on_service, &set, err);

	if (!rc) {
		rc = check_names(&set, err);
		if (!rc)
			rc = check_vips(&set, err);
		if (rc)
			skep_note(err, rc, "%s", file);
	}
	if (rc)
		config_done(&set);
	else
		*out = set;
	return rc;
}
