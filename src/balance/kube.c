// SPDX-License-Identifier: Apache-2.0
#include "balance/kube.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <libfyaml.h>
#include <netinet/in.h>

#include "balance/balance.h"

#define AFFINITY_S     10800 /* Kubernetes' own default */
#define AFFINITY_MAX_S 86400
#define OWNER	       "kubernetes.io/service-name"
#define MODE	       "skep/mode" /* annotation: how packets go to pods */
#define KUBE_MODE      BALANCE_NAT /* pods do not unpack */
#define KUBE_NAME_MAX  (CONFIG_NAME_MAX * 2)

struct kube {
	json_t *services, *slices; /* arrays */
	struct config_spec *spec;  /* of the port at work */
	struct config_options preset;
};

int kube_open(struct kube **out)
{
	struct kube *k = calloc(1, sizeof(*k));

	if (k) {
		k->services = json_array();
		k->slices = json_array();
		k->spec = calloc(1, sizeof(*k->spec));
	}
	if (!k || !k->services || !k->slices || !k->spec) {
		kube_free(k);
		return -ENOMEM;
	}
	conf_defaults(config_fields, config_fields_count, k->spec);
	k->spec->kube = true;
	memcpy(&k->preset, &k->spec->opt, sizeof(k->preset));
	*out = k;
	return 0;
}

void kube_free(struct kube *k)
{
	if (!k)
		return;
	json_decref(k->services);
	json_decref(k->slices);
	free(k->spec);
	free(k);
}

/* ---- documents ------------------------------------------------------------------------------- */

/* Where the value of the document's own apiVersion begins, NULL where it has none that shows. */
static const char *version_find(const char *doc, size_t len)
{
	static const char key[] = "apiVersion";
	const char *p = doc, *end = doc + len, *first = NULL;

	for (; p < end && (p = memmem(p, (size_t)(end - p), key, sizeof(key) - 1)); p++) {
		first = first ? first : p;
		if (p == doc || p[-1] == '\n') {
			first = p; /* at the margin: not of something inside */
			break;
		}
	}
	if (!first)
		return NULL;
	for (first += sizeof(key) - 1; first < end && strchr("\"': \t\r\n", *first); first++)
		;
	return first < end ? first : NULL;
}

bool kube_is(const char *doc, size_t len)
{
	const char *v = version_find(doc, len);
	size_t left = v ? len - (size_t)(v - doc) : 0;

	return left && !(left >= 4 && !memcmp(v, "skep", 4)) &&
	       (memchr(v, '/', min(left, strcspn(v, "\r\n,}"))) || *v == 'v');
}

/* Each "apiVersion" is followed by something; where all say skep there is nothing to take out. */
bool kube_any(const char *text, size_t len)
{
	static const char key[] = "apiVersion";
	const char *p = text, *end = text + len;

	for (; p < end && (p = memmem(p, (size_t)(end - p), key, sizeof(key) - 1)); p++) {
		const char *v = p + sizeof(key) - 1;

		while (v < end && strchr("\"': \t", *v))
			v++;
		if (end - v < 4 || memcmp(v, "skep", 4) != 0)
			return true;
	}
	return false;
}

/* What libfyaml has to say, instead of printing it. */
static void complain(struct fy_diag *diag, struct skep_err *err)
{
	void *it = NULL;
	struct fy_diag_error *e = diag ? fy_diag_errors_iterate(diag, &it) : NULL;

	skep_fail(err, -EINVAL, "%s", e ? e->msg : "this is no YAML");
}

/* YAML by way of JSON: libfyaml writes it, with the types that YAML 1.2 gives to plain scalars. */
static json_t *document_read(const char *doc, size_t len, struct skep_err *err)
{
	struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG |
					    FYPCF_DEFAULT_VERSION_1_2};
	cleanup(mem_free) char *text = NULL;
	struct fy_document *fyd;
	struct fy_diag_cfg diag;
	json_error_t where = {.text = ""};
	json_t *root;

	fy_diag_cfg_default(&diag);
	diag.fp = NULL;
	diag.level = FYET_ERROR;
	cfg.diag = fy_diag_create(&diag);
	if (cfg.diag)
		fy_diag_set_collect_errors(cfg.diag, true);
	fyd = cfg.diag ? fy_document_build_from_string(&cfg, doc, len) : NULL;
	if (fyd)
		text = fy_emit_document_to_string(fyd, FYECF_MODE_JSON_ONELINE);
	root = text ? json_loads(text, JSON_REJECT_DUPLICATES, &where) : NULL;
	if (!json_is_object(root)) {
		json_decref(take(root));
		if (text)
			skep_fail(err, -EINVAL, "%s", where.text[0] ? where.text : "no mapping");
		else
			complain(cfg.diag, err);
	}
	fy_document_destroy(fyd);
	fy_diag_destroy(cfg.diag);
	return root;
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static const json_t *meta(const json_t *o)
{
	return json_object_get(o, "metadata");
}

static const char *namespace_of(const json_t *o)
{
	const char *s = text(meta(o), "namespace");

	return *s ? s : "default";
}

static int object_add(struct kube *k, json_t *o, const char *kind, unsigned depth,
		      struct buf *notes, struct skep_err *err);

/* A List, or a ServiceList whose items need not say what they are. */
static int list_add(struct kube *k, json_t *o, const char *kind, unsigned depth, struct buf *notes,
		    struct skep_err *err)
{
	char of[64];
	json_t *item;
	size_t i;
	int rc = 0;

	snprintf(of, sizeof(of), "%.*s", (int)(strlen(kind) - 4), kind);
	json_array_foreach(json_object_get(o, "items"), i, item)
	{
		const char *own = text(item, "kind");

		if (!rc)
			rc = object_add(k, item, *own ? own : of, depth + 1, notes, err);
	}
	return rc;
}

static int object_add(struct kube *k, json_t *o, const char *kind, unsigned depth,
		      struct buf *notes, struct skep_err *err)
{
	size_t n = strlen(kind);

	if (!json_is_object(o) || depth > 4)
		return skep_fail(err, -EINVAL, "expected a mapping with kind and metadata");
	if (n >= 4 && !strcmp(kind + n - 4, "List"))
		return list_add(k, o, kind, depth, notes, err);
	if (!strcmp(kind, "Service") || !strcmp(kind, "EndpointSlice")) {
		if (!text(meta(o), "name")[0])
			return skep_fail(err, -EINVAL, "%s: metadata.name is missing", kind);
		return json_array_append(*kind == 'S' ? k->services : k->slices, o) ? -ENOMEM : 0;
	}
	if (notes)
		buf_fmt(notes, "note: %.60s %.120s is left out\n", *kind ? kind : "a resource",
			text(meta(o), "name"));
	return 0;
}

int kube_add(struct kube *k, const char *file, unsigned line, const char *doc, size_t len,
	     struct buf *notes, struct skep_err *err)
{
	json_t *root = document_read(doc, len, err);
	int rc = root ? object_add(k, root, text(root, "kind"), 0, notes, err) : -EINVAL;

	json_decref(root);
	return rc ? skep_note(err, rc, "%s:%u:1", file, line) : 0;
}

/* ---- a service's port ------------------------------------------------------------------------ */

/*
 * Policies and source ranges hold for some of a Service's addresses. Where they do, its port becomes a
 * service of ours for each group of addresses that are alike.
 */
enum group {
	CLUSTER = 1,  /* cluster addresses */
	EXTERNAL = 2, /* external addresses, and the node port */
	BALANCER = 4, /* a load balancer's */
	GROUPS = 3,
};

struct port {
	struct kube *kube;
	const json_t *service, *port;
	char name[KUBE_NAME_MAX]; /* NAMESPACE/NAME:PORT */
	uint8_t proto, family;
	uint16_t number;
	unsigned groups; /* of addresses at work, enum group */
	struct buf *notes;
	struct skep_err *err;
};

static int vip_add(struct port *p, const char *address)
{
	struct config_spec *spec = p->kube->spec;
	struct config_addr a;
	uint32_t i;

	if (!*address || !strcmp(address, "None"))
		return 0;
	if (!config_addr_read(address, strlen(address), &a))
		return skep_fail(p->err, -EINVAL, "Service %s: '%.60s' is no address", p->name,
				 address);
	if (a.family != p->family || spec->n_vips == CONFIG_VIPS_MAX)
		return 0;
	for (i = 0; i < spec->n_vips; i++)
		if (!memcmp(&spec->vips[i].addr, &a, sizeof(a)))
			return 0;
	memset(&spec->vips[spec->n_vips], 0, sizeof(*spec->vips));
	spec->vips[spec->n_vips++] = (struct config_vip){
		.addr = a, .proto = p->proto, .first = p->number, .last = p->number};
	return 0;
}

static int vips_add(struct port *p, const json_t *list, const char *key)
{
	const json_t *v;
	size_t i;
	int rc = 0;

	json_array_foreach(list, i, v)
	{
		/* an ingress of mode Proxy wants packets to come to it, not to us */
		if (!rc && !(key && !strcmp(text(v, "ipMode"), "Proxy")))
			rc = vip_add(p, (key ? text(v, key) : json_string_value(v)) ?: "");
	}
	return rc;
}

static int vips_all(struct port *p)
{
	const json_t *spec = json_object_get(p->service, "spec");
	const json_t *balancer =
		json_object_get(json_object_get(p->service, "status"), "loadBalancer");
	int rc = p->groups & CLUSTER ? vip_add(p, text(spec, "clusterIP")) : 0;

	if (!rc && p->groups & CLUSTER)
		rc = vips_add(p, json_object_get(spec, "clusterIPs"), NULL);
	if (!rc && p->groups & EXTERNAL)
		rc = vips_add(p, json_object_get(spec, "externalIPs"), NULL);
	if (!rc && p->groups & BALANCER && !strcmp(text(spec, "type"), "LoadBalancer"))
		rc = vips_add(p, json_object_get(balancer, "ingress"), "ip");
	return rc;
}

/* ---- endpoints ------------------------------------------------------------------------------- */

/* A condition that is not said. */
static bool condition(const json_t *endpoint, const char *name, bool unsaid)
{
	const json_t *c = json_object_get(json_object_get(endpoint, "conditions"), name);

	return json_is_boolean(c) ? json_is_true(c) : unsaid;
}

/* Terminating ones keep their connections; they get new ones only where nothing else is there. */
static int64_t weight_of(const json_t *e, bool last)
{
	bool ready = condition(e, "ready", true);

	if (condition(e, "terminating", false))
		return condition(e, "serving", ready) ? last : -1;
	return ready ? 1 : -1;
}

static bool is_here(const json_t *endpoint)
{
	const char *node = text(endpoint, "nodeName");
	char name[256] = "";

	return *node && !gethostname(name, sizeof(name) - 1) && !strcmp(node, name);
}

static int backend_add(struct port *p, const json_t *e, int64_t port, bool last)
{
	struct config_spec *spec = p->kube->spec;
	const char *address = json_string_value(json_array_get(json_object_get(e, "addresses"), 0));
	struct config_backend b;
	uint32_t i;

	memset(&b, 0, sizeof(b));
	b.weight = weight_of(e, last);
	if (b.weight < 0 || !address)
		return 0;
	if (!config_addr_read(address, strlen(address), &b.addr))
		return skep_fail(p->err, -EINVAL, "EndpointSlice of %s: '%.60s' is no address",
				 p->name, address);
	b.port = port == p->number && !spec->opt.node_port ? 0 : port;
	b.local = is_here(e);
	for (i = 0; i < spec->n_backends; i++)
		if (!memcmp(&spec->backends[i].addr, &b.addr, sizeof(b.addr)))
			break; /* one that is between two slices stands in both */
	if (i == CONFIG_BACKENDS_MAX)
		return skep_fail(p->err, -EINVAL, "Service %s has more than %d endpoints", p->name,
				 CONFIG_BACKENDS_MAX);
	if (i == spec->n_backends || spec->backends[i].weight < b.weight)
		memcpy(&spec->backends[i], &b, sizeof(b));
	spec->n_backends += i == spec->n_backends;
	return 0;
}

/* The slice's port of the service port's name, 0: none; its number is the container's. */
static int64_t slice_port(const json_t *slice, const struct port *p)
{
	const char *proto = p->proto == IPPROTO_TCP ? "TCP" : "UDP";
	const json_t *x;
	size_t i;

	json_array_foreach(json_object_get(slice, "ports"), i, x)
	{
		const char *its = text(x, "protocol");

		if (strcmp(text(x, "name"), text(p->port, "name")) == 0 &&
		    strcmp(*its ? its : "TCP", proto) == 0)
			return json_integer_value(json_object_get(x, "port"));
	}
	return 0;
}

static bool is_of(const json_t *slice, const struct port *p)
{
	const char *family = text(slice, "addressType");

	return !strcmp(namespace_of(slice), namespace_of(p->service)) &&
	       !strcmp(text(json_object_get(meta(slice), "labels"), OWNER),
		       text(meta(p->service), "name")) &&
	       !strcmp(family, p->family == 6 ? "IPv6" : "IPv4");
}

static int backends_all(struct port *p, bool last)
{
	const json_t *slice, *e;
	size_t i, k;
	int64_t port;
	int rc = 0;

	p->kube->spec->n_backends = 0;
	json_array_foreach(p->kube->slices, i, slice)
	{
		if (rc || !is_of(slice, p))
			continue;
		port = slice_port(slice, p);
		json_array_foreach(json_object_get(slice, "endpoints"), k,
				   e) if (!rc && port > 0 && port < 65536) rc =
			backend_add(p, e, port, last);
	}
	return rc;
}

static int endpoints(struct port *p)
{
	const struct config_spec *spec = p->kube->spec;
	bool ready = false;
	uint32_t i;
	int rc = backends_all(p, false);

	for (i = 0; i < spec->n_backends; i++)
		ready |= spec->backends[i].weight > 0;
	return rc || ready ? rc : backends_all(p, true);
}

/* ---- options --------------------------------------------------------------------------------- */

/* Of both families: the other one's do no harm. */
static int ranges(struct port *p, const json_t *list)
{
	struct config_options *o = &p->kube->spec->opt;
	struct config_cidr c;
	const char *s;
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		s = json_string_value(v) ?: "";
		if (!config_cidr_read(s, strlen(s), &c))
			return skep_fail(p->err, -EINVAL, "Service %s: '%.60s' is no range",
					 p->name, s);
		if (o->n_sources == CONFIG_SOURCES_MAX)
			return skep_fail(p->err, -EINVAL, "Service %s has more than %d ranges",
					 p->name, CONFIG_SOURCES_MAX);
		o->sources[o->n_sources++] = c;
	}
	return 0;
}

static bool is_local(const json_t *service, const char *policy)
{
	return !strcmp(text(json_object_get(service, "spec"), policy), "Local");
}

/* The groups that are services of ours, ended by 0. */
static void groups_of(const json_t *service, unsigned out[GROUPS + 1])
{
	const json_t *ranges =
		json_object_get(json_object_get(service, "spec"), "loadBalancerSourceRanges");
	unsigned n = 0;

	memset(out, 0, (GROUPS + 1) * sizeof(*out));
	if (is_local(service, "externalTrafficPolicy") ||
	    (config_sockets() && is_local(service, "internalTrafficPolicy")))
		out[n++] = CLUSTER;
	out[n] = (CLUSTER | EXTERNAL | BALANCER) & ~out[0];
	if (json_array_size(ranges)) {
		out[n++] &= ~(unsigned)BALANCER;
		out[n] = BALANCER;
	}
}

/* What holds for some groups only. */
static int group_options(struct port *p)
{
	const json_t *spec = json_object_get(p->service, "spec");
	struct config_options *o = &p->kube->spec->opt;

	if (p->groups & EXTERNAL) {
		o->node_port = json_integer_value(json_object_get(p->port, "nodePort")) & 0xffff;
		o->node_family = o->node_port ? p->family : 0;
		o->node_proto = o->node_port ? p->proto : 0;
	}
	if (p->groups & CLUSTER && o->socket && is_local(p->service, "internalTrafficPolicy"))
		o->internal = CONFIG_LOCAL;
	if (!(p->groups & CLUSTER) && is_local(p->service, "externalTrafficPolicy")) {
		o->external = CONFIG_LOCAL;
		o->health_port =
			json_integer_value(json_object_get(spec, "healthCheckNodePort")) & 0xffff;
	}
	return p->groups == BALANCER ? ranges(p, json_object_get(spec, "loadBalancerSourceRanges"))
				     : 0;
}

static int options(struct port *p)
{
	static const char *const modes[] = {"ipip", "gue", "l2", "option", "nat"};
	const json_t *spec = json_object_get(p->service, "spec");
	const char *mode = text(json_object_get(meta(p->service), "annotations"), MODE);
	struct config_options *o = &p->kube->spec->opt;
	const json_t *s;
	unsigned i;

	memcpy(o, &p->kube->preset, sizeof(*o));
	o->mode = KUBE_MODE;
	for (i = 0; *mode && i < array_size(modes); i++)
		if (!strcmp(modes[i], mode))
			break;
	if (i == array_size(modes))
		return skep_fail(p->err, -EINVAL,
				 "Service %s: annotation " MODE ": '%.40s' is none", p->name, mode);
	o->mode = *mode ? (int)i : KUBE_MODE;
	o->socket = config_sockets();
	if (group_options(p))
		return -EINVAL;
	if (!strcmp(text(spec, "sessionAffinity"), "ClientIP")) {
		s = json_object_get(
			json_object_get(json_object_get(spec, "sessionAffinityConfig"), "clientIP"),
			"timeoutSeconds");
		o->hash = 1;
		o->affinity_s = json_is_integer(s) ? json_integer_value(s) : AFFINITY_S;
		if (o->affinity_s < 1 || o->affinity_s > AFFINITY_MAX_S)
			return skep_fail(p->err, -EINVAL,
					 "Service %s: timeoutSeconds of ClientIP must be 1..%d",
					 p->name, AFFINITY_MAX_S);
	}
	return 0;
}

/* ---- services -------------------------------------------------------------------------------- */

static int port_read(struct port *p)
{
	const char *proto = text(p->port, "protocol");
	int64_t number = json_integer_value(json_object_get(p->port, "port"));

	if (!strcmp(proto, "SCTP"))
		return skep_fail(p->err, -EINVAL, "Service %s: SCTP is not supported", p->name);
	if (*proto && strcmp(proto, "TCP") != 0 && strcmp(proto, "UDP") != 0)
		return skep_fail(p->err, -EINVAL, "Service %s: protocol '%.20s' is unknown",
				 p->name, proto);
	if (number < 1 || number > 65535)
		return skep_fail(p->err, -EINVAL, "Service %s: a port must be 1..65535", p->name);
	p->proto = *proto == 'U' ? IPPROTO_UDP : IPPROTO_TCP;
	p->number = (uint16_t)number;
	return 0;
}

static bool other_port(const struct config_spec *spec)
{
	uint32_t i;

	for (i = 0; i < spec->n_backends; i++)
		if (spec->backends[i].port)
			return true;
	return false;
}

/* One port in one family. */
static int family_end(struct port *p, bool both, conf_each_fn fn, void *arg)
{
	const char *of = p->groups & CLUSTER	? ""
			 : p->groups & EXTERNAL ? "/external"
						: "/balancer";
	struct config_spec *spec = p->kube->spec;
	char name[KUBE_NAME_MAX + 24];
	int rc;

	spec->n_vips = 0;
	rc = vips_all(p);
	if (!rc)
		rc = options(p);
	if (rc || (!spec->n_vips && !spec->opt.node_port))
		return rc;
	rc = endpoints(p);
	if (!rc && spec->opt.mode != BALANCE_NAT && other_port(spec) && p->notes)
		buf_fmt(p->notes,
			"note: %s: pods listen on another port than %u: only mode nat "
			"(annotation " MODE ") reaches them\n",
			p->name, p->number);
	snprintf(name, sizeof(name), "%s%s%s", p->name, of, both && p->family == 6 ? "/v6" : "");
	return rc ? rc : fn(arg, name, spec, p->err);
}

static int serves(struct port *p, uint8_t family, bool *yes)
{
	int rc;

	p->family = family;
	p->groups = CLUSTER | EXTERNAL | BALANCER;
	p->kube->spec->n_vips = 0;
	rc = vips_all(p);
	*yes = p->kube->spec->n_vips;
	return rc;
}

/* One port in one family, in each of its groups. */
static int groups_end(struct port *p, uint8_t family, bool both, conf_each_fn fn, void *arg)
{
	unsigned groups[GROUPS + 1], i;
	int rc = 0;

	groups_of(p->service, groups);
	p->family = family;
	for (i = 0; groups[i] && !rc; i++) {
		p->groups = groups[i];
		rc = family_end(p, both, fn, arg);
	}
	return rc;
}

static int port_end(struct port *p, conf_each_fn fn, void *arg)
{
	bool four = false, six = false;
	const char *name = text(p->port, "name");
	int rc;

	snprintf(p->name, sizeof(p->name), "%.63s/%.63s:", namespace_of(p->service),
		 text(meta(p->service), "name"));
	snprintf(p->name + strlen(p->name), 66, *name ? "%.63s" : "%.0s%d", name,
		 (int)json_integer_value(json_object_get(p->port, "port")));
	rc = port_read(p);
	if (!rc)
		rc = serves(p, 4, &four);
	if (!rc)
		rc = serves(p, 6, &six);
	if (!rc && four)
		rc = groups_end(p, 4, four && six, fn, arg);
	return rc || !six ? rc : groups_end(p, 6, four && six, fn, arg);
}

/* Packets that come for a cluster address have no host that they belong to. */
static void policy_note(const json_t *service, struct buf *notes)
{
	if (notes && !config_sockets() && is_local(service, "internalTrafficPolicy"))
		buf_fmt(notes,
			"note: Service %.63s/%.63s: internalTrafficPolicy Local is followed at sockets "
			"(balance.cgroup) only, all endpoints serve\n",
			namespace_of(service), text(meta(service), "name"));
}

static bool left_out(const json_t *service, struct buf *notes)
{
	const json_t *spec = json_object_get(service, "spec");
	bool headless = !strcmp(text(spec, "clusterIP"), "None");
	bool external = !strcmp(text(spec, "type"), "ExternalName");

	if ((headless || external) && notes)
		buf_fmt(notes, "note: Service %.63s/%.63s is %s: nothing to balance\n",
			namespace_of(service), text(meta(service), "name"),
			headless ? "headless" : "of type ExternalName");
	return headless || external;
}

int kube_end(struct kube *k, conf_each_fn fn, void *arg, struct buf *notes, struct skep_err *err)
{
	struct port p = {.kube = k, .notes = notes, .err = err};
	const json_t *service, *port;
	size_t i, n;
	int rc = 0;

	json_array_foreach(k->services, i, service)
	{
		if (rc || left_out(service, notes))
			continue;
		policy_note(service, notes);
		p.service = service;
		json_array_foreach(json_object_get(json_object_get(service, "spec"), "ports"), n,
				   port)
		{
			p.port = port;
			if (!rc)
				rc = port_end(&p, fn, arg);
		}
	}
	return rc;
}
