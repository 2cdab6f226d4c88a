// SPDX-License-Identifier: Apache-2.0
/* settings.c: what the Agent resource says of balance, as a table. */
#include "balance/self.h"

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

const struct conf_field settings_fields[] = {
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
	{.key = "tunnelProbes",
	 .type = CONF_BOOL,
	 .offset = AT(tunnel),
	 .preset = "false",
	 .doc = "health.via: tunnel is possible; looks at each packet of the interfaces, at tc"},
};
