// SPDX-License-Identifier: Apache-2.0
#include "balance/fields.h"

#include <xxhash.h>

#include "balance/balance.h"
#include "balance/kube.h"

/* ---- what two of them must not have in common ------------------------------------------------ */

struct claim {
	struct config_vip vip;
	const struct config_service *service;
};

/* Exact ports apart from ranges: one port in a range of another service is no mistake, it wins. */
static int by_claim(const void *a, const void *b)
{
	const struct config_vip *x = a, *y = b;
	int rc = memcmp(x, y, offsetof(struct config_vip, first));

	if (rc)
		return rc;
	if (config_exact(x) != config_exact(y))
		return config_exact(x) ? -1 : 1;
	return x->first - y->first;
}

static int check_claims(const struct claim *c, size_t n, struct skep_err *err)
{
	char text[64];
	size_t i;

	for (i = 1; i < n; i++)
		if (!memcmp(&c[i - 1].vip, &c[i].vip, offsetof(struct config_vip, first)) &&
		    config_exact(&c[i - 1].vip) == config_exact(&c[i].vip) &&
		    c[i].vip.first <= c[i - 1].vip.last)
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
		n += set->services[i]->n_vips;
	claims = calloc(n + 1, sizeof(*claims));
	if (!claims)
		return -ENOMEM;
	for (n = 0, i = 0; i < set->n; i++)
		for (v = 0; v < set->services[i]->n_vips; v++)
			claims[n++] = (struct claim){set->services[i]->vips[v], set->services[i]};
	qsort(claims, n, sizeof(*claims), by_claim);
	return check_claims(claims, n, err);
}

#define FEW 1000000 /* comparisons that cost less than to sort */

static size_t vips_count(const struct config_set *set)
{
	size_t n = 0, i;

	for (i = 0; i < set->n; i++)
		n += set->services[i]->n_vips;
	return n;
}

/* The claims of one service against all others. */
static int check_few(const struct config_set *set, const struct config_service *s,
		     struct skep_err *err)
{
	struct claim pair[2];
	uint32_t v, w;
	size_t i;
	int rc = 0;

	for (i = 0; i < set->n; i++) {
		const struct config_service *o = set->services[i];

		for (v = 0; strcmp(o->name, s->name) && v < o->n_vips && !rc; v++)
			for (w = 0; w < s->n_vips && !rc; w++) {
				pair[0] = (struct claim){o->vips[v], o};
				pair[1] = (struct claim){s->vips[w], s};
				if (memcmp(&o->vips[v].addr, &s->vips[w].addr,
					   sizeof(struct config_addr)))
					continue;
				qsort(pair, 2, sizeof(*pair), by_claim);
				rc = check_claims(pair, 2, err);
			}
	}
	return rc;
}

int config_check(const struct config_set *set, const struct config_set *with, struct skep_err *err)
{
	size_t i, k;
	int rc = 0;

	if (!with || vips_count(set) * vips_count(with) > FEW)
		return check_vips(set, err);
	for (k = 0; k < with->n; k++)
		for (i = 0; i < set->n && !rc; i++)
			if (!strcmp(set->services[i]->name, with->services[k]->name))
				rc = check_few(set, set->services[i], err);
	return rc;
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
		names[i] = set->services[i]->name;
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

/* A socket of one family cannot be connected to an address of the other. */
static int check_socket(const struct config_service *s, struct skep_err *err)
{
	uint8_t family = s->n_vips ? s->vips[0].addr.family : 0;
	uint32_t i;
	bool one = true;

	for (i = 0; i < s->n_vips; i++)
		one &= s->vips[i].addr.family == family;
	for (i = 0; i < s->n_backends; i++)
		one &= s->backends[i].addr.family == family;
	if (s->opt->socket && !one)
		return skep_fail(err, -EINVAL,
				 "socket: true: addresses and backends must be of one family");
	if (!s->opt->socket && s->opt->internal)
		return skep_fail(err, -EINVAL, "internalTrafficPolicy is for socket: true");
	return 0;
}

const struct config_addr *config_vip_of(const struct config_service *s, uint8_t family)
{
	uint32_t i;

	for (i = 0; i < s->n_vips; i++)
		if (s->vips[i].addr.family == family)
			return &s->vips[i].addr;
	return NULL;
}

/* A probe is a connection of one family, to an address of the service behind a header of ours. */
static int check_via(const struct config_service *s, struct skep_err *err)
{
	const struct config_backend *b;
	char text[64];
	uint32_t i;

	for (i = 0; s->opt->health.via && i < s->n_backends; i++) {
		b = &s->backends[i];
		if (b->mode == BALANCE_NAT || b->mode == BALANCE_OPTION)
			return skep_fail(err, -EINVAL,
					 "health.via tunnel is for modes ipip, gue and l2, backend "
					 "%s has another",
					 config_addr_text(&b->addr, text));
		if (!config_vip_of(s, b->addr.family))
			return skep_fail(err, -EINVAL,
					 "health.via tunnel needs an address of the service of the "
					 "family of backend %s",
					 config_addr_text(&b->addr, text));
	}
	return 0;
}

/* All ports of an address name none that could be probed. */
static int check_health(const struct config_service *s, struct skep_err *err)
{
	const struct config_health *h = &s->opt->health;
	bool all = s->n_vips && !s->vips[0].first;
	char text[64];
	uint32_t i;

	if (!all || !h->type || h->type == CONFIG_HEALTH_SCRIPT || h->port)
		return 0;
	for (i = 0; i < s->n_backends; i++)
		if (!s->backends[i].port)
			return skep_fail(err, -EINVAL,
					 "health.port is missing: the service's address is of all "
					 "ports, which one of backend %s shall be probed?",
					 config_addr_text(&s->backends[i].addr, text));
	return 0;
}

/* What one key needs of another. */
static int check_options(const struct config_options *o, struct skep_err *err)
{
	const struct config_health *h = &o->health;

	if (h->type == CONFIG_HEALTH_SCRIPT && !h->command[0])
		return skep_fail(err, -EINVAL, "health of type script needs a command");
	if (h->type == CONFIG_HEALTH_DNS && !h->name[0])
		return skep_fail(err, -EINVAL, "health of type dns needs a name to ask for");
	if (h->via && (!h->type || h->type == CONFIG_HEALTH_SCRIPT))
		return skep_fail(err, -EINVAL,
				 "health.via tunnel is for probes, not for none or scripts");
	if (h->type && h->timeout_s > h->interval_s)
		return skep_fail(err, -EINVAL,
				 "health.timeoutSeconds is longer than intervalSeconds");
	if (o->health_port && !o->external)
		return skep_fail(err, -EINVAL,
				 "healthCheckNodePort is for externalTrafficPolicy: Local");
	if (o->health_port && o->health_port == o->node_port)
		return skep_fail(
			err, -EINVAL,
			"healthCheckNodePort is the nodePort, whose packets go to backends");
	if (o->cookie_rate && !o->cookies)
		return skep_fail(err, -EINVAL, "synCookieRate is for synCookies: true");
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* An option stands in the packet's own header: its family is the backend's. */
static int option_check(const struct config_service *s, const struct config_backend *b,
			struct skep_err *err)
{
	char vip[64], addr[64];
	uint32_t i;

	for (i = 0; i < s->n_vips; i++)
		if (s->vips[i].addr.family != b->addr.family)
			return skep_fail(err, -EINVAL,
					 "backend %s: mode option leads no packet for %s there, it "
					 "is of another family",
					 config_addr_text(&b->addr, addr),
					 config_vip_text(&s->vips[i], vip));
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Two IPv6 addresses may, seldom, have one server id. */
static int quic_check(const struct config_service *s, struct skep_err *err)
{
	cleanup(mem_free) uint32_t *ids = calloc(s->n_backends + 1, sizeof(*ids));
	uint32_t i;

	if (!ids)
		return -ENOMEM;
	for (i = 0; i < s->n_backends; i++)
		ids[i] = config_quic_id(&s->backends[i].addr);
	qsort(ids, s->n_backends, sizeof(*ids), by_id);
	for (i = 1; s->opt->quic && i < s->n_backends; i++)
		if (ids[i] == ids[i - 1])
			return skep_fail(err, -EINVAL,
					 "quic: two backends have the server id %08x: give one of "
					 "them another address",
					 __builtin_bswap32(ids[i]));
	return 0;
}

/* Backends that have no mode have the service's. */
static int modes_set(struct config_service *s, int mode, struct skep_err *err)
{
	uint32_t i;
	int rc = 0;

	for (i = 0; i < s->n_backends && !rc; i++) {
		struct config_backend *b = &s->backends[i];

		b->mode = b->mode ? b->mode - 1 : mode;
		if (b->mode == BALANCE_OPTION)
			rc = option_check(s, b, err);
	}
	return rc;
}

/* Translation does not change the family: both ends must have it. */
static int check_families(const struct config_service *s, struct skep_err *err)
{
	char addr[64], vip[64];
	uint32_t i, k;

	for (i = 0; i < s->n_backends; i++)
		for (k = 0; s->backends[i].mode == BALANCE_NAT && k < s->n_vips; k++)
			if (s->backends[i].addr.family != s->vips[k].addr.family)
				return skep_fail(err, -EINVAL,
						 "backend %s is of mode nat, which does not lead "
						 "from %s: make a service for each family",
						 config_addr_text(&s->backends[i].addr, addr),
						 config_vip_text(&s->vips[k], vip));
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Options that are shared. */
struct shared {
	uint32_t refs;
	struct config_options o;
};

static struct shared *shared_of(const struct config_options *o)
{
	return (struct shared *)((char *)o - offsetof(struct shared, o));
}

static const struct config_options *options_hold(const struct config_options *o)
{
	shared_of(o)->refs++;
	return o;
}

static void options_drop(const struct config_options *o)
{
	if (o && !--shared_of(o)->refs)
		free(shared_of(o));
}

/* As @o in every byte: those of @like, if they are. */
static const struct config_options *options_like(const struct config_options *o,
						 const struct config_service *like)
{
	struct shared *s;

	if (like && !memcmp(like->opt, o, sizeof(*o)))
		return options_hold(like->opt);
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->refs = 1;
	memcpy(&s->o, o, sizeof(*o)); /* padding too */
	return &s->o;
}

struct config_service *config_service_new(const char *name, const struct config_options *o,
					  const struct config_service *like)
{
	struct config_service *s = calloc(1, sizeof(*s) + strlen(name) + 1);

	if (!s)
		return NULL;
	s->refs = 1;
	strcpy(s->name, name);
	s->opt = options_like(o, like);
	if (s->opt)
		return s;
	free(s);
	return NULL;
}

struct config_service *config_service_hold(struct config_service *s)
{
	s->refs++;
	return s;
}

void config_service_drop(struct config_service *s)
{
	if (!s || --s->refs)
		return;
	options_drop(s->opt);
	free(s->vips);
	free(s->backends);
	free(s);
}

void config_done(struct config_set *set)
{
	size_t i;

	for (i = 0; i < set->n; i++)
		config_service_drop(set->services[i]);
	free(set->services);
	memset(set, 0, sizeof(*set));
}

int config_room(struct config_set *set, size_t more)
{
	size_t room = max(set->room, (size_t)16);
	void *grown;

	if (set->n + more <= set->room)
		return 0;
	while (room < set->n + more)
		room *= 2;
	grown = reallocarray(set->services, room, sizeof(*set->services));
	if (!grown)
		return -ENOMEM;
	set->services = grown;
	set->room = room;
	return 0;
}

static void *copy(const void *from, size_t n, size_t size)
{
	void *to = calloc(n + 1, size);

	return to ? memcpy(to, from, n * size) : NULL;
}

static uint64_t digest(const struct config_service *s)
{
	uint64_t h = XXH3_64bits(s->name, strlen(s->name));

	h = XXH3_64bits_withSeed(s->vips, s->n_vips * sizeof(*s->vips), h);
	h = XXH3_64bits_withSeed(s->backends, s->n_backends * sizeof(*s->backends), h);
	return XXH3_64bits_withSeed(s->opt, sizeof(*s->opt), h);
}

/* *@out is set, whatever the answer. */
static int service_make(struct config_service **out, const char *name, const struct config_spec *in,
			const struct config_service *like)
{
	struct config_service *s = config_service_new(name, &in->opt, like);

	*out = s;
	if (!s)
		return -ENOMEM;
	s->n_vips = in->n_vips;
	s->n_backends = in->n_backends;
	s->kube = in->kube;
	s->vips = copy(in->vips, in->n_vips, sizeof(*in->vips));
	s->backends = copy(in->backends, in->n_backends, sizeof(*in->backends));
	return s->vips && s->backends ? 0 : -ENOMEM;
}

/* What the file leaves to be worked out, then what must be so. */
static int service_check(struct config_service *s, const struct config_spec *in,
			 struct skep_err *err)
{
	int rc = modes_set(s, in->opt.mode, err);

	if (!rc)
		rc = config_node_ports(s, err);
	s->digest = rc ? 0 : digest(s);
	if (!rc)
		rc = check_backends(s, err);
	if (!rc)
		rc = quic_check(s, err);
	if (!rc)
		rc = check_options(s->opt, err);
	if (!rc)
		rc = check_health(s, err);
	if (!rc)
		rc = check_via(s, err);
	if (!rc)
		rc = check_families(s, err);
	return rc ? rc : check_socket(s, err);
}

static int on_service(void *arg, const char *name, const void *spec, struct skep_err *err)
{
	const struct config_spec *in = spec;
	struct config_set *set = arg;
	struct config_service *s;
	int rc;

	if (!*name || strlen(name) >= CONFIG_NAME_MAX)
		return skep_fail(err, -EINVAL, "metadata.name: expected text of 1 to %d bytes",
				 CONFIG_NAME_MAX - 1);
	if (name[strspn(name,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:-")])
		return skep_fail(err, -EINVAL,
				 "metadata.name: expected letters, digits and . _ / : -");
	rc = service_make(&s, name, in, set->n ? set->services[set->n - 1] : NULL);
	if (!rc)
		rc = config_room(set, 1);
	if (!rc)
		rc = service_check(s, in, err);
	if (rc)
		config_service_drop(s);
	else
		set->services[set->n++] = s;
	return rc;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* The end of the document at @p: the next line that begins with "---", or the end of the text. */
static const char *document_end(const char *p, const char *end)
{
	const char *next = p;

	while ((next = memmem(next, (size_t)(end - next), "\n---", 4)) && next + 1 == p)
		next++;
	return next ? next + 1 : end;
}

static void blank(char *p, size_t n)
{
	for (; n--; p++)
		*p = *p == '\n' ? '\n' : ' ';
}

/*
 * Documents of Kubernetes are taken out of @text, which keeps its lines.
 * Return: how many, or -errno.
 */
static int foreign_take(struct kube *k, const char *file, char *text, size_t len, struct buf *notes,
			struct skep_err *err)
{
	const char *end = text + len, *next;
	unsigned line = 1;
	char *p = text;
	int rc = 0, n = 0;

	for (; p < end && !rc; p = text + (next - text)) {
		size_t size;

		next = document_end(p, end);
		size = (size_t)(next - p);
		if (kube_is(p, size)) {
			rc = kube_add(k, file, line, p, size, notes, err);
			blank(p, size);
			n++;
		}
		for (const char *c = p; (c = memchr(c, '\n', (size_t)(next - c))); c++)
			line++;
	}
	return rc ? rc : n;
}

/* Ours are read as they stand; where there are others too, out of a copy that lacks those. */
static int documents_read(const char *file, const char *text, size_t len, struct config_set *set,
			  struct buf *notes, struct skep_err *err)
{
	cleanup(mem_free) char *copy_of = NULL;
	struct kube *k = NULL;
	int rc = 0;

	if (len <= CONF_MANY_MAX && kube_any(text, len)) {
		copy_of = malloc(len + 1);
		if (!copy_of || kube_open(&k))
			return -ENOMEM;
		memcpy(copy_of, text, len);
		copy_of[len] = '\0';
		rc = foreign_take(k, file, copy_of, len, notes, err);
		text = copy_of;
	}
	if (rc >= 0)
		rc = conf_parse_each(file, text, len, "Service", config_fields, config_fields_count,
				     sizeof(struct config_spec), on_service, set, err);
	if (!rc && k)
		rc = kube_end(k, on_service, set, notes, err);
	kube_free(k);
	return rc;
}

static void alone_add(struct buf *names, bool given, const char *name)
{
	if (given)
		buf_fmt(names, "%s%s", names->len ? ", " : "", name);
}

/* What a service asks for that happens to packets, where none pass. */
static void alone_note(const struct config_service *s, struct buf *notes)
{
	const struct config_options *o = s->opt;
	cleanup(buf_done) struct buf names = {0};

	alone_add(&names, o->algorithm == CONFIG_LEAST_LOAD, "algorithm leastLoad");
	alone_add(&names, o->health.passive, "health.passivePercent");
	alone_add(&names, o->quic, "quic");
	alone_add(&names, o->n_sources, "sourceRanges");
	alone_add(&names, o->limit_source || o->limit_service, "limits");
	alone_add(&names, o->cookies, "synCookies");
	if (names.len && buf_ok(&names))
		buf_fmt(notes,
			"note: service '%s': %s: of packets alone, and the agent has no interfaces "
			"(balance.interfaces)\n",
			s->name, names.data);
}

static void alone_notes(const struct config_set *set, struct buf *notes)
{
	size_t i;

	for (i = 0; notes && !config_packets() && i < set->n; i++)
		alone_note(set->services[i], notes);
}

int config_read(const char *file, const char *text, size_t len, struct config_set *out,
		struct buf *notes, struct skep_err *err)
{
	struct config_set set = {0};
	int rc = documents_read(file, text, len, &set, notes, err);

	if (!rc) {
		rc = check_names(&set, err);
		if (!rc)
			rc = check_vips(&set, err);
		if (rc)
			skep_note(err, rc, "%s", file);
	}
	if (rc) {
		config_done(&set);
		return rc;
	}
	alone_notes(&set, notes);
	*out = set;
	return 0;
}
