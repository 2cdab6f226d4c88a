// SPDX-License-Identifier: Apache-2.0
/*
 * balance.c: the capability balance: balance.bpf.c on the interfaces that the Agent resource names,
 * services as resources.
 *
 * N1  Without interfaces nothing is loaded and nothing is touched: what an earlier agent pinned works
 *     on, and the report says so.
 * N2  Pinned maps and links outlive the agent: packets are balanced whether it runs or not, and the
 *     next one takes tables, flows and links over before it changes anything.
 */
#include "cap/cap.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "balance/attach.h"
#include "balance/fleet.h"
#include "balance/happened.h"
#include "balance/health.h"
#include "balance/reap.h"
#include "balance/socket.h"
#include "balance/wanted.h"
#include "balance/why.h"
#include "base/log.h"
#include "host/host.h"

#define DENY_MAX 256

struct balance_spec {
	char interfaces[ATTACH_MAX][ATTACH_NAME];
	uint32_t n_interfaces;
	int next_hop; /* index into route, gateway, reflect */
	uint8_t gateway[6];
	struct config_addr source4, source6;
	int64_t mtu, gue_port, services, backends, slots, vips, flows, flow_s, nat_flows;
	uint16_t nat_ports[2];
	uint32_t n_deny;
	struct config_cidr deny[DENY_MAX];
	char deny_file[256];
	char pins[256], cgroup[256];
};

/* ---- configuration --------------------------------------------------------------------------- */

static bool mac_read(const char *s, size_t n, void *out)
{
	uint8_t *m = out;
	char text[18];

	memset(m, 0, 6);
	if (!n)
		return true;
	if (n != 17)
		return false;
	memcpy(text, s, 17);
	text[17] = '\0';
	return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &m[0], &m[1], &m[2], &m[3], &m[4],
		      &m[5]) == 6;
}

static bool source_read(const char *s, size_t n, uint8_t family, void *out)
{
	struct config_addr *a = out;

	memset(a, 0, sizeof(*a));
	return !n || (config_addr_read(s, n, a) && a->family == family);
}

static bool source4_read(const char *s, size_t n, void *out)
{
	return source_read(s, n, 4, out);
}

static bool source6_read(const char *s, size_t n, void *out)
{
	return source_read(s, n, 6, out);
}

static bool cidr_read(const char *s, size_t n, void *out)
{
	return config_cidr_read(s, n, out);
}

/* "1024-32767" */
static bool ports_read(const char *s, size_t n, void *out)
{
	uint16_t *p = out;
	unsigned first, last;
	char text[12], end;

	if (n >= sizeof(text))
		return false;
	memcpy(text, s, n);
	text[n] = '\0';
	if (sscanf(text, "%5u-%5u%c", &first, &last, &end) != 2 || !first || first > last ||
	    last > 65535)
		return false;
	p[0] = (uint16_t)first;
	p[1] = (uint16_t)last;
	return true;
}

static const struct conf_field interface_fields[] = {
	{.type = CONF_STR, .least = 1, .most = ATTACH_NAME},
};

static const struct conf_field deny_fields[] = {
	{.type = CONF_READ, .read = cidr_read, .choices = "a range like 192.0.2.0/24"},
};

#define AT(field) offsetof(struct balance_spec, field)

static const struct conf_field fields[] = {
	{.key = "interfaces",
	 .type = CONF_LIST,
	 .offset = AT(interfaces),
	 .most = ATTACH_MAX,
	 .preset = "[]",
	 .doc = "where packets for services arrive; none: nothing is loaded",
	 .sub = interface_fields,
	 .n_sub = 1,
	 .size = ATTACH_NAME,
	 .count = AT(n_interfaces)},
	{.key = "nextHop",
	 .type = CONF_ENUM,
	 .offset = AT(next_hop),
	 .choices = "route|gateway|reflect",
	 .preset = "route",
	 .doc = "way to backends: the host's routes, one gateway, or back to where it came from"},
	{.key = "gateway",
	 .type = CONF_READ,
	 .offset = AT(gateway),
	 .preset = "\"\"",
	 .read = mac_read,
	 .choices = "a link address like 02:00:00:00:00:01",
	 .doc = "link address of the gateway"},
	{.key = "source4",
	 .type = CONF_READ,
	 .offset = AT(source4),
	 .preset = "\"\"",
	 .read = source4_read,
	 .choices = "an IPv4 address",
	 .doc = "source of outer headers; empty: the first address of the interfaces"},
	{.key = "source6",
	 .type = CONF_READ,
	 .offset = AT(source6),
	 .preset = "\"\"",
	 .read = source6_read,
	 .choices = "an IPv6 address",
	 .doc = "the same of IPv6"},
	{.key = "mtu",
	 .type = CONF_INT,
	 .offset = AT(mtu),
	 .least = 0,
	 .most = 65535,
	 .preset = "0",
	 .doc = "of the way to backends, bytes; 0: any; not for nextHop route, routes have theirs"},
	{.key = "guePort",
	 .type = CONF_INT,
	 .offset = AT(gue_port),
	 .least = 1,
	 .most = 65535,
	 .preset = "6080",
	 .doc = "UDP port of backends that GUE packets go to"},
	{.key = "services",
	 .type = CONF_INT,
	 .offset = AT(services),
	 .least = 16,
	 .most = 1 << 18,
	 .preset = "4096",
	 .doc = "services there is room for, twice those wanted"},
	{.key = "backends",
	 .type = CONF_INT,
	 .offset = AT(backends),
	 .least = 16,
	 .most = BALANCE_BACKEND_MAX,
	 .preset = "16384",
	 .doc = "backends of all services there is room for"},
	{.key = "slots",
	 .type = CONF_INT,
	 .offset = AT(slots),
	 .least = 1024,
	 .most = 1 << 28,
	 .preset = "1048576",
	 .doc = "ring slots there is room for, 8 bytes each; about 200 for each backend"},
	{.key = "vips",
	 .type = CONF_INT,
	 .offset = AT(vips),
	 .least = 16,
	 .most = 1 << 22,
	 .preset = "65536",
	 .doc = "addresses and ports there is room for, of either family"},
	{.key = "flows",
	 .type = CONF_INT,
	 .offset = AT(flows),
	 .least = 4096,
	 .most = 1 << 27,
	 .preset = "1048576",
	 .doc = "flows there is room for, 16 bytes each; rounded up to a power of two"},
	{.key = "flowSeconds",
	 .type = CONF_INT,
	 .offset = AT(flow_s),
	 .least = 60,
	 .most = 14400,
	 .preset = "3600",
	 .doc = "a flow silent for so long is forgotten"},
	{.key = "deny",
	 .type = CONF_LIST,
	 .offset = AT(deny),
	 .most = DENY_MAX,
	 .preset = "[]",
	 .doc = "ranges like 192.0.2.0/24 that may send to no service",
	 .sub = deny_fields,
	 .n_sub = 1,
	 .size = sizeof(struct config_cidr),
	 .count = AT(n_deny)},
	{.key = "denyFile",
	 .type = CONF_STR,
	 .offset = AT(deny_file),
	 .most = sizeof(((struct balance_spec *)0)->deny_file),
	 .preset = "\"\"",
	 .doc = "more of them, one a line; read again when it changes"},
	{.key = "natFlows",
	 .type = CONF_INT,
	 .offset = AT(nat_flows),
	 .least = 512,
	 .most = 1 << 24,
	 .preset = "65536",
	 .doc = "mode nat: connections there is room for, 80 bytes each; rounded up to a power of two"},
	{.key = "natPorts",
	 .type = CONF_READ,
	 .offset = AT(nat_ports),
	 .preset = "1024-32767",
	 .read = ports_read,
	 .choices = "a range of ports like 1024-32767",
	 .doc = "mode nat: our ports towards backends; each may be used once for each backend's port"},
	{.key = "pinDir",
	 .type = CONF_STR,
	 .offset = AT(pins),
	 .most = sizeof(((struct balance_spec *)0)->pins),
	 .preset = "/sys/fs/bpf/skep",
	 .doc = "where tables outlive the agent, on a BPF file system; \"\": they end with it"},
	{.key = "cgroup",
	 .type = CONF_STR,
	 .offset = AT(cgroup),
	 .most = sizeof(((struct balance_spec *)0)->cgroup),
	 .preset = "\"\"",
	 .doc = "below the cgroup2 mount: services with socket: true are served at the sockets of its "
		"processes; /: of all; \"\": of none"},
};

struct balance {
	struct cap_env env;
	struct balance_spec spec;
	bool loaded;
	struct maps maps;
	struct fleet *fleet;
	struct config_set wanted;
	struct health *health;
	struct store_table *table; /* of what happened to backends */
	struct why *why;
	struct attach links[ATTACH_MAX];
	unsigned n_links;
	struct sockets *sockets; /* NULL: no cgroup is served */
	struct reap *reap;	 /* NULL: sockets to gone backends are left alone */
	char unreaped[160];	 /* why */
	bool pinned;
	char unpinned[160]; /* why not */
	char anew[160];	    /* why what was pinned was not taken over */
	int probe4, probe6; /* sockets that make the kernel ask for neighbours */
	struct fleet_way way;
	struct timespec deny_read; /* when the file of denied ranges had changed last */
};

/* ---- life ------------------------------------------------------------------------------------ */

static int balance_open(void **out, const struct cap_env *env, struct skep_err *err)
{
	struct balance *b = calloc(1, sizeof(*b));

	if (!b)
		return skep_fail(err, -ENOMEM, "no memory for balance");
	b->env = *env;
	b->probe4 = b->probe6 = -1;
	*out = b;
	return happened_open(&b->table, env, err);
}

static void unload(struct balance *b)
{
	unsigned i;

	for (i = 0; i < b->n_links; i++)
		attach_done(&b->links[i]);
	b->n_links = 0;
	why_free(b->why);
	b->why = NULL;
	health_free(take(b->health));
	fleet_free(b->fleet);
	b->fleet = NULL;
	reap_free(b->reap);
	b->reap = NULL;
	sockets_free(b->sockets);
	b->sockets = NULL;
	maps_done(&b->maps);
	fd_close(&b->probe4);
	fd_close(&b->probe6);
}

static void balance_close(void *cap)
{
	struct balance *b = cap;

	if (!b)
		return;
	unload(b);
	config_done(&b->wanted);
	free(b);
}

static bool usable_source(const struct sockaddr *sa, struct config_addr *out)
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const struct sockaddr_in *four = (const void *)sa;

	if (sa->sa_family == AF_INET) {
		*out = (struct config_addr){.family = 4};
		memcpy(out->bytes, &four->sin_addr, 4);
		return true;
	}
	if (sa->sa_family != AF_INET6 || IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
		return false;
	*out = (struct config_addr){.family = 6};
	memcpy(out->bytes, &six->sin6_addr, 16);
	return true;
}

/* The first address of each family that an interface of ours has. */
static void sources_find(struct balance *b, const struct balance_spec *spec)
{
	struct ifaddrs *list, *i;
	struct config_addr a;
	uint32_t n;

	b->way.source4 = spec->source4;
	b->way.source6 = spec->source6;
	if (getifaddrs(&list))
		return;
	for (n = 0; n < spec->n_interfaces; n++) {
		for (i = list; i; i = i->ifa_next) {
			if (strcmp(i->ifa_name, spec->interfaces[n]) || !i->ifa_addr ||
			    !usable_source(i->ifa_addr, &a))
				continue;
			if (a.family == 4 && !b->way.source4.family)
				b->way.source4 = a;
			if (a.family == 6 && !b->way.source6.family)
				b->way.source6 = a;
		}
	}
	freeifaddrs(list);
}

/* What nodePort means. */
static void node_find(const struct balance_spec *spec)
{
	struct config_addr list[CONFIG_NODE_MAX];
	struct ifaddrs *all, *i;
	uint32_t n = 0, k;

	if (getifaddrs(&all))
		return;
	for (k = 0; k < spec->n_interfaces; k++)
		for (i = all; i && n < CONFIG_NODE_MAX; i = i->ifa_next)
			n += !strcmp(i->ifa_name, spec->interfaces[k]) && i->ifa_addr &&
			     usable_source(i->ifa_addr, &list[n]);
	freeifaddrs(all);
	config_node_set(list, n);
}

static struct maps_size size_of(const struct balance_spec *s)
{
	struct maps_size size = {
		.services = (uint32_t)s->services,
		.backends = (uint32_t)s->backends,
		.slots = (uint32_t)s->slots,
		.vips = (uint32_t)s->vips,
		.bucket_log = 9,
		.gue_port = (uint16_t)s->gue_port,
		.nat_log = 6,
		.nat_first = s->nat_ports[0],
		.nat_last = s->nat_ports[1],
	};

	while (s->n_interfaces && (int64_t)(BALANCE_WAYS / 2) << size.bucket_log < s->flows)
		size.bucket_log++;
	while (s->n_interfaces && (int64_t)BALANCE_WAYS << size.nat_log < s->nat_flows)
		size.nat_log++;
	return size;
}

static void way_set(struct balance *b, const struct balance_spec *s)
{
	static const uint8_t hops[] = {0, BALANCE_HOP_FIXED, BALANCE_HOP_REFLECT};

	memset(&b->way, 0, sizeof(b->way));
	b->way.hop_flags = hops[s->next_hop];
	memcpy(b->way.gateway, s->gateway, 6);
	b->way.mtu = (uint16_t)s->mtu;
	b->way.flow_s = (uint32_t)s->flow_s;
	sources_find(b, s);
	node_find(s);
}

/* N2. Tables that an earlier agent made with other sizes cannot be taken over: they begin anew. */
static int load(struct balance *b, const struct balance_spec *s, struct skep_err *err)
{
	const char *pins = b->pinned ? s->pins : NULL;
	struct maps_size size = size_of(s);
	int rc = maps_open(&b->maps, &size, pins, false, err);

	if (rc && pins && access(pins, F_OK) == 0 && rc == -EEXIST) {
		snprintf(b->anew, sizeof(b->anew), "%.159s", err ? err->text : "");
		attach_clear(pins);
		rc = maps_open(&b->maps, &size, pins, false, err);
	}
	if (!rc && s->cgroup[0])
		rc = sockets_open(&b->sockets, &b->maps, pins, err);
	return rc ? rc : fleet_open(&b->fleet, &b->maps, &b->way, err);
}

static int attach_sockets(struct balance *b, const struct balance_spec *s, struct skep_err *err)
{
	const char *mount = host_cgroup2(b->env.host);
	struct skep_err why = {""};
	char path[4096];

	if (b->pinned && !s->cgroup[0])
		sockets_forget(s->pins);
	if (!s->cgroup[0])
		return 0;
	if (!*mount)
		return skep_fail(err, -ENOENT, "balance.cgroup: cgroup2 is not mounted");
	if (reap_open(&b->reap, b->env.host, &b->maps, b->sockets, &why))
		snprintf(b->unreaped, sizeof(b->unreaped), "%.159s", why.text);
	snprintf(path, sizeof(path), "%.3800s/%s", mount, s->cgroup);
	return sockets_attach(b->sockets, path, err);
}

static void deny_tick(struct balance *b)
{
	struct skep_err err = {""};
	struct stat st;

	if (!b->spec.deny_file[0] || stat(b->spec.deny_file, &st) ||
	    !memcmp(&st.st_mtim, &b->deny_read, sizeof(st.st_mtim)))
		return;
	b->deny_read = st.st_mtim;
	if (fleet_deny(b->fleet, b->spec.deny, b->spec.n_deny, b->spec.deny_file, &err))
		log_warn("balance: %s; what was denied stays so", err.text);
}

static int attach_all(struct balance *b, const struct balance_spec *s, struct skep_err *err)
{
	const char *pins = b->pinned ? s->pins : NULL;
	uint32_t i;
	int rc = 0;

	for (i = 0; i < s->n_interfaces && !rc; i++) {
		rc = attach_open(&b->links[i], s->interfaces[i], b->maps.prog, pins, err);
		b->n_links += !rc;
	}
	if (!rc && pins)
		attach_forget(pins, b->links, b->n_links);
	return rc ? rc : attach_sockets(b, s, err);
}

static void on_health(void *arg, const char *service, const struct config_addr *backend, bool up,
		      const char *reason)
{
	struct balance *b = arg;

	happened_backend(b->table, &b->env, service, backend, up, reason);
}

static int balance_apply(void *cap, const void *spec, struct skep_err *err)
{
	const struct balance_spec *want = spec;
	struct skep_err why = {""};
	struct balance *b = cap;
	int rc;

	if (b->loaded)
		return memcmp(&b->spec, want, sizeof(*want))
			       ? skep_fail(err, -EBUSY,
					   "balance: its settings take hold at the next "
					   "start")
			       : 0;
	if (!want->n_interfaces && !want->cgroup[0]) { /* N1 */
		b->spec = *want;
		b->loaded = true;
		return 0;
	}
	b->pinned = want->pins[0] && !attach_pins(want->pins, &why);
	snprintf(b->unpinned, sizeof(b->unpinned), "%.159s", why.text);
	way_set(b, want);
	rc = load(b, want, err);
	if (!rc)
		rc = why_open(&b->why, &b->maps, err);
	if (!rc)
		rc = fleet_deny(b->fleet, want->deny, want->n_deny, want->deny_file, err);
	if (!rc)
		rc = attach_all(b, want, err);
	if (!rc)
		rc = health_open(&b->health, on_health, b, err);
	if (rc) {
		unload(b);
		return rc;
	}
	b->probe4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	b->probe6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	b->spec = *want;
	b->loaded = true;
	return 0;
}

/* ---- resources ------------------------------------------------------------------------------- */

static int backend_check(const struct balance *b, const struct config_service *s,
			 const struct config_backend *x, struct skep_err *err)
{
	bool four = x->addr.family == 4;

	if (x->mode == BALANCE_L2 && b->way.hop_flags)
		return skep_fail(err, -EINVAL,
				 "service '%s' has backends of mode l2, whose link addresses only "
				 "balance.nextHop route finds",
				 s->name);
	if (x->mode == BALANCE_L2 || x->mode == BALANCE_OPTION ||
	    (four ? b->way.source4.family : b->way.source6.family))
		return 0;
	return skep_fail(err, -EINVAL,
			 "service '%s' has backends of IPv%d, but the interfaces have no such "
			 "address: set balance.source%d",
			 s->name, four ? 4 : 6, four ? 4 : 6);
}

static int check_sources(const struct balance *b, const struct config_set *set,
			 struct skep_err *err)
{
	size_t i;
	uint32_t k;
	int rc = 0;

	for (i = 0; i < set->n && b->spec.n_interfaces && !rc; i++)
		for (k = 0; k < set->services[i].n_backends && !rc; k++)
			rc = backend_check(b, &set->services[i], &set->services[i].backends[k],
					   err);
	return rc;
}

/* Services at sockets need a cgroup; others need interfaces. */
static int check_place(const struct balance *b, const struct config_set *set, struct skep_err *err)
{
	size_t i;

	for (i = 0; i < set->n; i++) {
		const struct config_service *s = &set->services[i];

		if (s->opt.socket && !b->sockets)
			return skep_fail(err, -EINVAL,
					 "service '%s' is for sockets: set balance.cgroup in the "
					 "agent's configuration, \"/\" is every process",
					 s->name);
		if (!s->opt.socket && !b->spec.n_interfaces)
			return skep_fail(err, -EINVAL,
					 "service '%s': balance has no interfaces: set "
					 "balance.interfaces in the agent's configuration",
					 s->name);
	}
	return 0;
}

static int balance_resources(void *cap, enum cap_change change, const char *file, const char *text,
			     size_t len, bool dry, struct buf *said, struct skep_err *err)
{
	struct fleet_diff diff = {0};
	struct wanted_change c;
	struct balance *b = cap;
	int rc = wanted_change(&b->wanted, &c, change, file, text, len, said, err);

	if (rc)
		return rc;
	rc = check_place(b, &b->wanted, err);
	if (!rc)
		rc = check_sources(b, &b->wanted, err);
	if (!rc && b->fleet)
		rc = fleet_apply(b->fleet, &b->wanted, host_boot_now(), dry, &diff, said, err);
	if (rc || dry)
		wanted_undo(&b->wanted, &c);
	else
		wanted_keep(&b->wanted, &c);
	if (!rc && !dry && b->fleet)
		health_sync(b->health, b->fleet);
	return rc;
}

/* ---- to be seen ------------------------------------------------------------------------------ */

static const char *const reason_names[] = {
#define REASON(id, name, doc) name,
#include "balance/reason.def"
#undef REASON
};

static const char *state_name(const struct fleet_backend *b)
{
	if (b->listed && b->down)
		return "down";
	return b->state == BALANCE_LIVE	      ? "live"
	       : b->state == BALANCE_DRAINING ? "draining"
					      : "gone";
}

static void health_add(const struct health_state *h, struct buf *out)
{
	if (!h)
		return;
	buf_fmt(out,
		",\"health\":{\"up\":%s,\"asked\":%s,\"us\":%u,\"probes\":%" PRIu64
		",\"failures\":%" PRIu64 ",\"reason\":",
		h->up ? "true" : "false", h->asked ? "true" : "false", h->us, h->probes,
		h->failures);
	buf_json(out, h->reason, strlen(h->reason));
	buf_str(out, "}");
}

static void backend_add(struct balance *b, const struct fleet_service *s,
			const struct fleet_backend *x, struct buf *out)
{
	struct balance_sent sent = maps_sent(&b->maps, x->id);
	char addr[64];

	buf_fmt(out,
		"{\"address\":\"%s\",\"weight\":%u,\"mode\":\"%s\",\"state\":\"%s\",\"packets\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"connections\":%" PRIu64 ",\"entries\":%u",
		config_addr_text(&x->addr, addr), x->wanted, config_mode_text(x->mode),
		state_name(x), (uint64_t)sent.packets, (uint64_t)sent.bytes, (uint64_t)sent.flows,
		fleet_flows(b->fleet, x->id));
	if (s->want.opt.quic)
		buf_fmt(out, ",\"quicId\":\"%08x\"", __builtin_bswap32(config_quic_id(&x->addr)));
	buf_fmt(out, ",\"busy\":%u,\"share\":%.2f,\"drained\":%s", fleet_busy(b->fleet, x->id),
		(double)x->factor / FLEET_FACTOR_ONE, x->drained ? "true" : "false");
	health_add(health_get(b->health, s->want.name, &x->addr), out);
	if (s->want.opt.socket && b->sockets)
		sockets_show(b->sockets, x->id, out);
	buf_str(out, "}");
}

static void service_add(struct balance *b, const struct fleet_service *s, struct buf *out)
{
	const struct balance_counts *c = &b->maps.counts[s->stat];
	char text[64];
	uint32_t i;

	buf_str(out, "{\"name\":");
	buf_json(out, s->want.name, strlen(s->want.name));
	buf_str(out, ",\"vips\":[");
	for (i = 0; i < s->want.n_vips; i++)
		buf_fmt(out, "%s\"%s\"", i ? "," : "", config_vip_text(&s->want.vips[i], text));
	if (s->want.opt.socket && b->sockets)
		buf_fmt(out, "],\"socket\":true,\"refused\":%" PRIu64,
			sockets_refused(b->sockets, s->stat));
	else
		buf_str(out, "],\"socket\":false");
	buf_fmt(out, ",\"hash\":\"%s\",\"slots\":%u,\"settled\":%s,\"backends\":[",
		s->want.opt.hash ? "source" : "flow", 1U << s->log, s->look ? "false" : "true");
	for (i = 0; i < s->n; i++) {
		buf_str(out, i ? "," : "");
		backend_add(b, s, &s->backends[i], out);
	}
	buf_str(out, "],\"dropped\":{");
	for (i = 1, text[0] = '\0'; i < BALANCE_REASONS; i++) {
		if (!c->packets[i])
			continue;
		buf_fmt(out, "%s\"%s\":%" PRIu64, text, reason_names[i], (uint64_t)c->packets[i]);
		strcpy(text, ",");
	}
	buf_str(out, "}}");
}

static void way_add(const struct balance *b, struct buf *out)
{
	static const char *const hops[] = {"route", "gateway", "reflect"};
	char four[64] = "", six[64] = "";
	unsigned i;

	if (b->way.source4.family)
		config_addr_text(&b->way.source4, four);
	if (b->way.source6.family)
		config_addr_text(&b->way.source6, six);
	buf_str(out, "\"way\":{\"interfaces\":[");
	for (i = 0; i < b->n_links; i++)
		buf_fmt(out, "%s{\"name\":\"%s\",\"native\":%s}", i ? "," : "", b->links[i].name,
			b->links[i].generic ? "false" : "true");
	buf_fmt(out,
		"],\"nextHop\":\"%s\",\"source4\":\"%s\",\"source6\":\"%s\",\"mtu\":%u,"
		"\"pinned\":%s,\"pins\":",
		hops[b->spec.next_hop], four, six, b->way.mtu, b->pinned ? "true" : "false");
	buf_json(out, b->spec.pins, strlen(b->spec.pins));
	buf_str(out, "}");
}

static void balance_show(void *cap, struct buf *out)
{
	struct balance *b = cap;
	struct fleet_service *s;
	const char *comma = "";

	buf_str(out, "{\"services\":[");
	for (s = b->fleet ? fleet_first(b->fleet) : NULL; s; s = s->hh.next) {
		buf_str(out, comma);
		service_add(b, s, out);
		comma = ",\n";
	}
	buf_str(out, "],\n");
	way_add(b, out);
	buf_str(out, "}\n");
}

static int balance_drain(void *cap, const char *service, const char *backend, bool on,
			 int64_t seconds, struct skep_err *err)
{
	uint64_t now = host_boot_now();
	struct balance *b = cap;
	struct config_addr a;

	if (!b->fleet)
		return skep_fail(err, -EINVAL, "balance has no interfaces");
	if (!config_addr_read(backend, strlen(backend), &a))
		return skep_fail(err, -EINVAL, "'%.60s' is no address", backend);
	return fleet_drain(b->fleet, service, &a, on,
			   seconds < 0 ? 0 : now + (uint64_t)seconds * 1000000000U, now, err);
}

static bool balance_drained(void *cap, const char *service, const char *backend)
{
	const struct fleet_backend *found;
	const struct fleet_service *s;
	struct balance *b = cap;
	struct config_addr a;

	s = b->fleet ? fleet_find(b->fleet, service) : NULL;
	found = s && config_addr_read(backend, strlen(backend), &a) ? fleet_backend_find(s, &a)
								    : NULL;
	return found && found->drained;
}

static int plan_ask(struct balance *b, const char *text, size_t len, struct buf *out,
		    struct skep_err *err)
{
	cleanup(config_done) struct config_set set = {0};
	int rc = config_read("the plan", text, len, &set, NULL, err);

	if (!rc)
		rc = check_sources(b, &set, err);
	return rc ? rc : fleet_plan(b->fleet, &set, host_boot_now(), out, err);
}

static int balance_ask(void *cap, const char *question, const char *text, size_t len,
		       struct buf *out, struct skep_err *err)
{
	struct why_packet p;
	struct balance *b = cap;
	int rc;

	if (!b->fleet)
		return skep_fail(err, -EINVAL, "balance has no interfaces");
	if (!strcmp(question, "plan"))
		return plan_ask(b, text, len, out, err);
	if (strcmp(question, "why") != 0)
		return skep_fail(err, -EINVAL, "no question '%.20s'", question);
	rc = why_read(text, &p, err);
	return rc ? rc : why_tell(b->why, b->fleet, &p, b->links[0].ifindex, out, err);
}

static void service_count(struct balance *b, const struct fleet_service *s, cap_count_fn fn,
			  void *arg)
{
	char labels[320];
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		struct balance_sent sent = maps_sent(&b->maps, s->backends[i].id);

		fleet_labels(s, &s->backends[i], labels, sizeof(labels));
		fn(arg, "skep_balance_forwarded_total", CAP_COUNTER, "Packets sent to a backend",
		   labels, (double)sent.packets);
		fn(arg, "skep_balance_bytes_total", CAP_COUNTER, "Bytes sent to a backend", labels,
		   (double)sent.bytes);
		fn(arg, "skep_balance_returned_total", CAP_COUNTER,
		   "Answers of a backend of mode nat, sent to clients", labels,
		   (double)sent.returned);
		fn(arg, "skep_balance_connections_total", CAP_COUNTER, "TCP SYNs sent to a backend",
		   labels, (double)sent.flows);
	}
	if (s->want.opt.socket && b->sockets)
		sockets_count(b->sockets, s, fn, arg);
	for (i = 1; i < BALANCE_REASONS; i++) {
		if (!b->maps.counts[s->stat].packets[i])
			continue;
		snprintf(labels, sizeof(labels), "service=\"%s\",reason=\"%s\"", s->want.name,
			 reason_names[i]);
		fn(arg, "skep_balance_packets_total", CAP_COUNTER, "Packets not forwarded", labels,
		   (double)b->maps.counts[s->stat].packets[i]);
	}
}

static void balance_count(void *cap, cap_count_fn fn, void *arg)
{
	struct balance_counts totals;
	struct balance *b = cap;
	struct fleet_service *s;
	char labels[64];
	uint32_t i;

	if (!b->fleet)
		return;
	for (s = fleet_first(b->fleet); s; s = s->hh.next)
		service_count(b, s, fn, arg);
	totals = maps_totals(&b->maps);
	for (i = 1; i < BALANCE_REASONS; i++) {
		snprintf(labels, sizeof(labels), "service=\"\",reason=\"%s\"", reason_names[i]);
		fn(arg, "skep_balance_packets_total", CAP_COUNTER, "Packets not forwarded", labels,
		   (double)totals.packets[i]);
	}
	if (b->reap)
		reap_count(b->reap, fn, arg);
	fn(arg, "skep_balance_entries_total", CAP_COUNTER, "Flows recorded in the flow table", "",
	   (double)b->maps.state->inserted);
	fn(arg, "skep_balance_translated", CAP_GAUGE, "Connections of mode nat", "",
	   (double)fleet_translated(b->fleet));
	fn(arg, "skep_balance_translated_total", CAP_COUNTER, "Connections of mode nat, all", "",
	   (double)b->maps.state->nat_made);
	fn(arg, "skep_balance_nat_full_total", CAP_COUNTER,
	   "Connections of mode nat refused: no room, or no port of ours", "",
	   (double)b->maps.state->nat_full);
	fn(arg, "skep_balance_full_total", CAP_COUNTER,
	   "Flows that found no room and went to the older backend", "",
	   (double)b->maps.state->full);
}

static void balance_report(void *cap, void (*fn)(void *, const struct cap_report *), void *arg)
{
	struct cap_report r = {.what = "load balancer", .ready = true};
	struct balance *b = cap;
	size_t at = 0;
	unsigned i;

	if (!b->n_links && !b->sockets && b->spec.pins[0] && !access(b->spec.pins, F_OK))
		snprintf(r.how, sizeof(r.how),
			 "no interfaces configured; what an earlier agent pinned works on, rm -r "
			 "%.60s ends it",
			 b->spec.pins);
	else if (!b->n_links)
		snprintf(r.how, sizeof(r.how), "no interfaces configured (balance.interfaces)");
	for (i = 0; i < b->n_links && at < sizeof(r.how); i++)
		at += (size_t)snprintf(r.how + at, sizeof(r.how) - at, "%sxdp%s on %s",
				       i ? ", " : "", b->links[i].generic ? " (generic)" : "",
				       b->links[i].name);
	fn(arg, &r);
	if (b->sockets) {
		r = (struct cap_report){.what = "services at sockets", .ready = true};
		snprintf(r.how, sizeof(r.how), "cgroup %.140s", b->spec.cgroup);
		fn(arg, &r);
		r = (struct cap_report){.what = "ending sockets whose backend is gone",
					.ready = b->reap};
		snprintf(r.how, sizeof(r.how), "%.159s", b->reap ? reap_how(b->reap) : b->unreaped);
		r.fix = b->reap ? NULL : "kernel 6.5 or later, or CONFIG_INET_DIAG_DESTROY=y";
		fn(arg, &r);
	}
	if (!b->n_links && !b->sockets)
		return;
	r = (struct cap_report){.what = "tables that outlive the agent", .ready = b->pinned};
	snprintf(r.how, sizeof(r.how), "%.85s%s%.55s", b->pinned ? b->spec.pins : b->unpinned,
		 b->anew[0] ? "; made anew: " : "", b->anew);
	r.fix = b->pinned ? NULL : "mount -t bpf bpf /sys/fs/bpf, or set balance.pinDir";
	fn(arg, &r);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Port 9 discards; what matters is that the kernel asks who has the address. */
static void neighbour_ask(const struct balance *b, const struct config_addr *a)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(9)};

	memcpy(&six.sin6_addr, a->bytes, 16);
	memcpy(&four.sin_addr, a->bytes, 4);
	if (a->family == 4)
		sendto(b->probe4, "", 0, MSG_DONTWAIT, (struct sockaddr *)&four, sizeof(four));
	else
		sendto(b->probe6, "", 0, MSG_DONTWAIT, (struct sockaddr *)&six, sizeof(six));
}

/* Clients of translated connections whose answers found no link address. */
static void clients_ask(struct balance *b)
{
	unsigned i;

	for (i = 0; i < BALANCE_STRANGERS; i++) {
		struct balance_stranger *x = &b->maps.nat_strangers[i];
		struct config_addr a = {.family = (uint8_t)x->family};

		if (!x->family)
			continue;
		memcpy(a.bytes, x->addr, 16);
		x->family = 0;
		neighbour_ask(b, &a);
	}
}

static void balance_tick(void *cap, uint64_t boot_now)
{
	struct balance *b = cap;
	struct fleet_service *s;
	uint32_t i;

	if (!b->fleet)
		return;
	fleet_tick(b->fleet, boot_now);
	clients_ask(b);
	deny_tick(b);
	if (b->reap)
		reap_tick(b->reap, fleet_gone(b->fleet));
	for (s = fleet_first(b->fleet); s; s = s->hh.next) {
		for (i = 0; i < s->n; i++) {
			struct balance_backend *r = &b->maps.backends[s->backends[i].id];

			if (!(r->hop_flags & BALANCE_HOP_UNKNOWN))
				continue;
			r->hop_flags &= (uint8_t)~BALANCE_HOP_UNKNOWN;
			neighbour_ask(b, &s->backends[i].addr);
		}
	}
}

static unsigned balance_poll(void *cap)
{
	struct balance *b = cap;

	return b->fleet ? health_poll(b->health, b->fleet, host_boot_now()) : 0;
}

static int balance_fd(void *cap)
{
	return health_fd(((struct balance *)cap)->health);
}

static uint64_t balance_lost(void *cap maybe_unused)
{
	return 0;
}

const struct cap_ops balance_ops = {
	.name = "balance",
	.doc = "load balancer: packets to services' addresses go to their backends",
	.fields = fields,
	.n_fields = array_size(fields),
	.spec_size = sizeof(struct balance_spec),
	.kind = "Service",
	.open = balance_open,
	.apply = balance_apply,
	.resources = balance_resources,
	.show = balance_show,
	.drain = balance_drain,
	.drained = balance_drained,
	.ask = balance_ask,
	.poll = balance_poll,
	.fd = balance_fd,
	.tick = balance_tick,
	.count = balance_count,
	.lost = balance_lost,
	.report = balance_report,
	.close = balance_close,
};
