// SPDX-License-Identifier: Apache-2.0
/* fields.c: what may stand in a Service, as tables: a key is a row here and a member of fields.h. */
#include "balance/fields.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "balance/balance.h"

#define MODES "ipip|gue|l2|option|nat" /* as BALANCE_IPIP ... */

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

/* Whether nothing is set behind @bits. */
static bool masked(const uint8_t *bytes, unsigned bits, unsigned len)
{
	unsigned i;

	for (i = bits; i < len; i++)
		if (bytes[i / 8] >> (7 - i % 8) & 1)
			return false;
	return true;
}

bool config_cidr_read(const char *s, size_t n, struct config_cidr *out)
{
	const char *slash = memchr(s, '/', n);
	size_t len = slash ? (size_t)(slash - s) : n, i;
	unsigned most, bits = 0;

	memset(out, 0, sizeof(*out));
	if (!config_addr_read(s, len, &out->addr))
		return false;
	most = out->addr.family == 4 ? 32 : 128;
	for (i = len + 1; slash && i < n && i < len + 4 && s[i] >= '0' && s[i] <= '9'; i++)
		bits = bits * 10 + (unsigned)(s[i] - '0');
	if (slash && (i != n || i == len + 1 || bits > most))
		return false;
	out->bits = (uint8_t)(slash ? bits : most);
	return masked(out->addr.bytes, out->bits, most);
}

static bool cidr_read(const char *s, size_t n, void *out)
{
	return config_cidr_read(s, n, out);
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

uint32_t config_quic_id(const struct config_addr *a)
{
	uint64_t half[2];
	uint32_t id;

	memcpy(half, a->bytes, 16);
	if (a->family == 4)
		memcpy(&id, a->bytes, 4);
	else
		id = (uint32_t)balance_hash_source(half[0], half[1]);
	return id;
}

const char *config_mode_text(int mode)
{
	static const char *const names[] = {"ipip", "gue", "l2", "option", "nat"};

	return mode >= 0 && mode < BALANCE_MODES ? names[mode] : "?";
}

/* What is kept is whether that is this host. */
static bool node_read(const char *s, size_t n, void *out)
{
	static char name[256]; /* asked once: this is called for every backend */

	if (!name[0])
		gethostname(name, sizeof(name) - 1);
	*(bool *)out = n && strlen(name) == n && !memcmp(name, s, n);
	return n < sizeof(name);
}

/* ---- tables ---------------------------------------------------------------------------------- */

#define HEALTH(field) offsetof(struct config_health, field)
#define OPT(field)    offsetof(struct config_spec, opt.field)
#define ROOM(field)   sizeof(((struct config_health *)0)->field)

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
	{.key = "port",
	 .type = CONF_INT,
	 .offset = offsetof(struct config_backend, port),
	 .least = 0,
	 .most = 65535,
	 .preset = "0",
	 .doc = "mode nat, and at sockets: its port; 0: the one that the client spoke to"},
	{.key = "node",
	 .type = CONF_READ,
	 .offset = offsetof(struct config_backend, local),
	 .preset = "\"\"",
	 .read = node_read,
	 .choices = "a host's name",
	 .doc = "where it stands, by the name that `uname -n` says there; for internalTrafficPolicy"},
};

static const struct conf_field health_fields[] = {
	{.key = "type",
	 .type = CONF_ENUM,
	 .offset = HEALTH(type),
	 .choices = "none|tcp|http|https|dns|grpc|script",
	 .preset = "none",
	 .doc = "how backends are asked"},
	{.key = "via",
	 .type = CONF_ENUM,
	 .offset = HEALTH(via),
	 .choices = "straight|tunnel",
	 .preset = "straight",
	 .doc = "tunnel: to the service's address, as its packets go; balance.tunnelProbes: true"},
	{.key = "port",
	 .type = CONF_INT,
	 .offset = HEALTH(port),
	 .least = 0,
	 .most = 65535,
	 .preset = "0",
	 .doc = "0: the backend's port, else that of the first address"},
	{.key = "path",
	 .type = CONF_STR,
	 .offset = HEALTH(path),
	 .most = ROOM(path),
	 .preset = "\"/\"",
	 .doc = "http, https: what is asked for"},
	{.key = "host",
	 .type = CONF_STR,
	 .offset = HEALTH(host),
	 .most = ROOM(host),
	 .preset = "\"\"",
	 .doc = "http, https: Host and TLS name; empty: the backend's address"},
	{.key = "status",
	 .type = CONF_INT,
	 .offset = HEALTH(status),
	 .least = 0,
	 .most = 599,
	 .preset = "0",
	 .doc = "http, https: the status that is well; 0: any of 200 to 399"},
	{.key = "name",
	 .type = CONF_STR,
	 .offset = HEALTH(name),
	 .most = ROOM(name),
	 .preset = "\"\"",
	 .doc = "dns: the name to ask for; grpc: the service, empty: the whole server"},
	{.key = "command",
	 .type = CONF_STR,
	 .offset = HEALTH(command),
	 .most = ROOM(command),
	 .preset = "\"\"",
	 .doc = "script: for /bin/sh -c, by nobody, with BACKEND, PORT and SERVICE set; exit 0 is well"},
	{.key = "intervalSeconds",
	 .type = CONF_INT,
	 .offset = HEALTH(interval_s),
	 .least = 1,
	 .most = 3600,
	 .preset = "5",
	 .doc = "time between two probes of a backend, a tenth more or less"},
	{.key = "timeoutSeconds",
	 .type = CONF_INT,
	 .offset = HEALTH(timeout_s),
	 .least = 1,
	 .most = 60,
	 .preset = "1",
	 .doc = "a probe without an answer by then has failed"},
	{.key = "rise",
	 .type = CONF_INT,
	 .offset = HEALTH(rise),
	 .least = 1,
	 .most = 100,
	 .preset = "2",
	 .doc = "so many good probes bring a backend up"},
	{.key = "fall",
	 .type = CONF_INT,
	 .offset = HEALTH(fall),
	 .least = 1,
	 .most = 100,
	 .preset = "3",
	 .doc = "so many failed probes take it down"},
	{.key = "panicPercent",
	 .type = CONF_INT,
	 .offset = HEALTH(panic),
	 .least = 0,
	 .most = 100,
	 .preset = "1",
	 .doc = "with less of the backends up all are used; 1: when none is; 0: never"},
	{.key = "passivePercent",
	 .type = CONF_INT,
	 .offset = HEALTH(passive),
	 .least = 0,
	 .most = 100,
	 .preset = "0",
	 .doc = "of type none too: a backend that does not answer so many of its SYNs, of 10 at least, "
		"gets no new connections for a while; 0: that is not looked at"},
	{.key = "passiveSeconds",
	 .type = CONF_INT,
	 .offset = HEALTH(passive_s),
	 .least = 1,
	 .most = 3600,
	 .preset = "30",
	 .doc = "for so long"},
};

static const struct conf_field source_fields[] = {
	{.type = CONF_READ, .read = cidr_read, .choices = "a range like 192.0.2.0/24"},
};

#define LIMIT(field) (offsetof(struct config_options, field) - LIMITS)
#define LIMITS	     offsetof(struct config_options, limit_source)

static const struct conf_field limit_fields[] = {
	{.key = "source",
	 .type = CONF_INT,
	 .offset = LIMIT(limit_source),
	 .least = 0,
	 .most = CONFIG_LIMIT_MAX,
	 .preset = "0",
	 .doc = "new flows a second of one source: of TCP SYNs, of UDP datagrams; 0: any number"},
	{.key = "service",
	 .type = CONF_INT,
	 .offset = LIMIT(limit_service),
	 .least = 0,
	 .most = CONFIG_LIMIT_MAX,
	 .preset = "0",
	 .doc = "the same of all sources together"},
};

const struct conf_field config_fields[] = {
	{.key = "vips",
	 .type = CONF_LIST,
	 .offset = offsetof(struct config_spec, vips),
	 .most = CONFIG_VIPS_MAX,
	 .preset = "[]",
	 .doc = "ADDRESS:PORTS/PROTOCOL; PORTS: 80, 8000-8100 or *; PROTOCOL: tcp or udp",
	 .sub = vip_fields,
	 .n_sub = 1,
	 .size = sizeof(struct config_vip),
	 .count = offsetof(struct config_spec, n_vips)},
	{.key = "backends",
	 .type = CONF_LIST,
	 .offset = offsetof(struct config_spec, backends),
	 .most = CONFIG_BACKENDS_MAX,
	 .preset = "[]",
	 .doc = "mappings of address, weight, mode and port",
	 .sub = backend_fields,
	 .n_sub = array_size(backend_fields),
	 .size = sizeof(struct config_backend),
	 .count = offsetof(struct config_spec, n_backends)},
	{.key = "mode",
	 .type = CONF_ENUM,
	 .offset = OPT(mode),
	 .choices = MODES,
	 .preset = "ipip",
	 .doc = "how packets go to backends: behind another IP header; behind IP, UDP and GUE; as they "
		"came, by link address; with the service's address in an IP option; translated"},
	{.key = "hash",
	 .type = CONF_ENUM,
	 .offset = OPT(hash),
	 .choices = "flow|source",
	 .preset = "flow",
	 .doc = "what chooses the backend: addresses and ports, or the client's address alone"},
	{.key = "algorithm",
	 .type = CONF_ENUM,
	 .offset = OPT(algorithm),
	 .choices = "maglev|leastConnections|leastLoad",
	 .preset = "maglev",
	 .doc = "new flows by weight alone, or also by who has least connections or least traffic"},
	{.key = "health",
	 .type = CONF_PART,
	 .offset = OPT(health),
	 .doc = "whether a backend lives; one that does not gets nothing",
	 .sub = health_fields,
	 .n_sub = array_size(health_fields)},
	{.key = "slowStartSeconds",
	 .type = CONF_INT,
	 .offset = OPT(slow_start_s),
	 .least = 0,
	 .most = 3600,
	 .preset = "0",
	 .doc = "a backend that came up reaches its whole weight after so long"},
	{.key = "drainSeconds",
	 .type = CONF_INT,
	 .offset = OPT(drain_s),
	 .least = 0,
	 .most = 86400,
	 .preset = "3600",
	 .doc = "a backend that is no longer listed keeps its flows for so long"},
	{.key = "socket",
	 .type = CONF_BOOL,
	 .offset = OPT(socket),
	 .preset = "false",
	 .doc = "this host's own connections too, at the socket: nothing is paid for each packet"},
	{.key = "internalTrafficPolicy",
	 .type = CONF_ENUM,
	 .offset = OPT(internal),
	 .choices = "Cluster|Local",
	 .preset = "Cluster",
	 .doc = "at sockets: all backends, or those of this host only"},
	{.key = "quic",
	 .type = CONF_BOOL,
	 .offset = OPT(quic),
	 .preset = "false",
	 .doc = "UDP: QUIC connection ids name the backend; `skep balance describe` has their server ids"},
	{.key = "affinitySeconds",
	 .type = CONF_INT,
	 .offset = OPT(affinity_s),
	 .least = 0,
	 .most = 86400,
	 .preset = "0",
	 .doc = "a client that connects again within so long gets the same backend; 0: any"},
	{.key = "nodePort",
	 .type = CONF_INT,
	 .offset = OPT(node_port),
	 .least = 0,
	 .most = 65535,
	 .preset = "0",
	 .doc = "the service also at this port of the balancer's own addresses; 0: no"},
	{.key = "externalTrafficPolicy",
	 .type = CONF_ENUM,
	 .offset = OPT(external),
	 .choices = "Cluster|Local",
	 .preset = "Cluster",
	 .doc = "at XDP: all backends, or those of this host only"},
	{.key = "healthCheckNodePort",
	 .type = CONF_INT,
	 .offset = OPT(health_port),
	 .least = 0,
	 .most = 65535,
	 .preset = "0",
	 .doc = "externalTrafficPolicy Local: HTTP at this port of the host, 200 where a backend of it "
		"takes new flows, else 503; 0: no"},
	{.key = "sourceRanges",
	 .type = CONF_LIST,
	 .offset = OPT(sources),
	 .most = CONFIG_SOURCES_MAX,
	 .preset = "[]",
	 .doc = "who may send, like 192.0.2.0/24; none: everybody",
	 .sub = source_fields,
	 .n_sub = 1,
	 .size = sizeof(struct config_cidr),
	 .count = OPT(n_sources)},
	{.key = "limits",
	 .type = CONF_PART,
	 .offset = OPT(limit_source),
	 .doc = "what is more is dropped; a second's worth may come at once",
	 .sub = limit_fields,
	 .n_sub = array_size(limit_fields)},
	{.key = "synCookies",
	 .type = CONF_BOOL,
	 .offset = OPT(cookies),
	 .preset = "false",
	 .doc = "a source that is not known must answer a challenge before its SYN passes"},
	{.key = "synCookieRate",
	 .type = CONF_INT,
	 .offset = OPT(cookie_rate),
	 .least = 0,
	 .most = CONFIG_LIMIT_MAX,
	 .preset = "0",
	 .doc = "synCookies: only SYNs above so many a second are challenged; 0: all"},
};

const unsigned config_fields_count = array_size(config_fields);

void config_reference(struct buf *b)
{
	conf_print("Service", config_fields, config_fields_count, b);
}
