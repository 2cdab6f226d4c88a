// SPDX-License-Identifier: Apache-2.0
#include "balance/doctor.h"

#include <bpf/libbpf.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "balance/backend.h"

#define ARPHRD_TUNNEL  768
#define ARPHRD_TUNNEL6 769
#define ARPHRD_SIT     776

struct doctor {
	doctor_fn fn;
	void *arg;
	unsigned failed;
};

static void say(struct doctor *d, enum doctor_result result, const char *what, const char *who,
		const char *fix, const char *fmt, ...) printf_like(6, 7);

static void say(struct doctor *d, enum doctor_result result, const char *what, const char *who,
		const char *fix, const char *fmt, ...)
{
	struct doctor_check c = {.what = what, .result = result, .fix = result ? fix : NULL};
	va_list args;

	snprintf(c.who, sizeof(c.who), "%s", who);
	va_start(args, fmt);
	vsnprintf(c.why, sizeof(c.why), fmt, args);
	va_end(args);
	d->failed += result == DOCTOR_FAIL;
	d->fn(d->arg, &c);
}

/* A number in a file, -1: none. */
static long number_in(const char *fmt, const char *name)
{
	char path[256], text[32];
	cleanup(file_close) FILE *f = NULL;

	snprintf(path, sizeof(path), fmt, name);
	f = fopen(path, "re");
	return f && fgets(text, sizeof(text), f) ? strtol(text, NULL, 10) : -1;
}

/* ---- interfaces ------------------------------------------------------------------------------ */

static int ask(const char *name, unsigned long request, struct ifreq *r)
{
	cleanup(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r->ifr_name, sizeof(r->ifr_name), "%.15s", name);
	return fd < 0 || ioctl(fd, request, r) ? -errno : 0;
}

static int ethtool(const char *name, void *data)
{
	struct ifreq r = {.ifr_data = data};

	return ask(name, SIOCETHTOOL, &r);
}

#define FEATURES_MOST 256

/* Whether a feature of this name is on: its number is its place among the strings. */
static bool feature_on(const char *name, const char *feature)
{
	cleanup(mem_free) struct ethtool_gstrings *s =
		calloc(1, sizeof(*s) + FEATURES_MOST * ETH_GSTRING_LEN);
	cleanup(mem_free) struct ethtool_gfeatures *f =
		calloc(1, sizeof(*f) + FEATURES_MOST / 32 * sizeof(f->features[0]));
	uint32_t i;

	if (!s || !f)
		return false;
	s->cmd = ETHTOOL_GSTRINGS;
	s->string_set = ETH_SS_FEATURES;
	f->cmd = ETHTOOL_GFEATURES;
	f->size = FEATURES_MOST / 32;
	if (ethtool(name, s) || ethtool(name, f))
		return false;
	for (i = 0; i < s->len && i < FEATURES_MOST; i++)
		if (!strcmp((const char *)s->data + i * ETH_GSTRING_LEN, feature))
			return f->features[i / 32].active >> (i & 31) & 1;
	return false;
}

static void offloads(struct doctor *d, const char *name)
{
	bool lro = feature_on(name, "rx-lro"), hw = feature_on(name, "rx-gro-hw");

	say(d, lro || hw ? DOCTOR_FAIL : DOCTOR_OK, "offloads", name,
	    "ethtool -K IFACE lro off rx-gro-hw off", "%s",
	    lro	 ? "LRO is on: packets that were merged cannot be forwarded"
	    : hw ? "GRO_HW is on: packets that were merged in hardware cannot be forwarded"
		 : "neither LRO nor GRO_HW");
}

/* At tc: datagrams of GUE that were merged on arrival cannot be taken apart. */
static void merged(struct doctor *d, const char *name)
{
	bool on = feature_on(name, "rx-udp-gro-forwarding") || feature_on(name, "rx-gro-list");

	say(d, on ? DOCTOR_WARN : DOCTOR_OK, "offloads", name,
	    "ethtool -K IFACE rx-udp-gro-forwarding off rx-gro-list off",
	    on ? "UDP is merged on arrival: packets in GUE are lost" : "UDP is not merged");
}

static void driver(struct doctor *d, const char *name)
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};

	if (!ethtool(name, &info) && !strcmp(info.driver, "veth"))
		say(d, DOCTOR_WARN, "veth", name,
		    "attach a program that passes everything to the other end, as `skep balance "
		    "backend` there",
		    "what leaves through the interface of arrival gets through only where the "
		    "other end has an XDP program");
}

static void xdp(struct doctor *d, const char *name, const char *fix)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, o);

	if (bpf_xdp_query((int)if_nametoindex(name), 0, &o))
		return;
	if (o.attach_mode == XDP_ATTACHED_NONE)
		say(d, DOCTOR_FAIL, "xdp", name, fix, "no program is attached");
	else if (o.attach_mode == XDP_ATTACHED_SKB)
		say(d, DOCTOR_WARN, "xdp", name,
		    "use a driver that has XDP, as most of 10 Gb/s and up",
		    "generic: the driver has no XDP of its own, each packet costs several times as "
		    "much");
	else
		say(d, DOCTOR_OK, "xdp", name, NULL, "native, in the driver");
}

static bool interface_there(struct doctor *d, const char *name)
{
	unsigned index = if_nametoindex(name);
	struct ifreq r = {0};
	bool up = !ask(name, SIOCGIFFLAGS, &r) && r.ifr_flags & IFF_RUNNING;

	if (!index)
		say(d, DOCTOR_FAIL, "interface", name, "name one that `ip link` lists",
		    "there is none");
	else
		say(d, up ? DOCTOR_OK : DOCTOR_FAIL, "interface", name,
		    "ip link set IFACE up, and look at its cable",
		    up ? "up" : "down, or without a carrier");
	return index;
}

/* ---- the host -------------------------------------------------------------------------------- */

static void forwarding(struct doctor *d)
{
	bool four = number_in("/proc/sys/net/ipv4/%s", "ip_forward") == 1;
	bool six = number_in("/proc/sys/net/ipv6/conf/%s/forwarding", "all") == 1;

	say(d, four ? DOCTOR_OK : DOCTOR_FAIL, "forwarding", "IPv4",
	    "sysctl -w net.ipv4.ip_forward=1, or set balance.nextHop: gateway",
	    four ? "on" : "off: the kernel looks up no routes for packets in XDP");
	say(d, six ? DOCTOR_OK : DOCTOR_WARN, "forwarding", "IPv6",
	    "sysctl -w net.ipv6.conf.all.forwarding=1",
	    six ? "on" : "off: backends with IPv6 addresses are not reached");
}

static void pins(struct doctor *d, const char *dir)
{
	struct statfs fs;

	if (!dir[0])
		say(d, DOCTOR_WARN, "pins", "", "set balance.pinDir",
		    "none: balancing ends with the agent");
	else if (statfs(dir, &fs) || fs.f_type != BPF_FS_MAGIC)
		say(d, DOCTOR_WARN, "pins", "", "mount -t bpf bpf /sys/fs/bpf, then start again",
		    "%.120s is not on a BPF file system: balancing ends with the agent", dir);
	else
		say(d, DOCTOR_OK, "pins", "", NULL, "%.120s", dir);
}

static bool mine(const struct config_addr *a)
{
	struct ifaddrs *list, *i;
	bool found = false;

	if (getifaddrs(&list))
		return true;
	for (i = list; i && !found; i = i->ifa_next) {
		const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
		const struct sockaddr_in *four = (const void *)i->ifa_addr;

		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && a->family == 4)
			found = !memcmp(&four->sin_addr, a->bytes, 4);
		else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6 && a->family == 6)
			found = !memcmp(&six->sin6_addr, a->bytes, 16);
	}
	freeifaddrs(list);
	return found;
}

static void source(struct doctor *d, const struct config_addr *a)
{
	char text[64];

	if (!a->family)
		return;
	say(d, mine(a) ? DOCTOR_OK : DOCTOR_WARN, "source", config_addr_text(a, text),
	    "set balance.source4 or source6 to an address of this host",
	    mine(a) ? "outer headers come from it"
		    : "not an address of this host: errors about outer packets get lost");
}

/* ---- backends -------------------------------------------------------------------------------- */

static void mtu(struct doctor *d, const struct doctor_backend *b, const char *who, unsigned way,
		unsigned arrival)
{
	unsigned head = b->addr.family == 4 ? 20 : 40;

	if (strcmp(b->mode, "ipip") != 0 || !way)
		return;
	say(d, way < arrival + head ? DOCTOR_WARN : DOCTOR_OK, "mtu", who,
	    "raise the MTU of the way to backends by the outer header, or lower it at clients",
	    way < arrival + head
		    ? "%u, less %u for the outer header: longer packets are answered with \"too big\""
		    : "%u: room for the outer header of %u",
	    way, head);
}

static void probe(struct doctor *d, const struct doctor_backend *b, const char *who,
		  const struct config_addr *from, unsigned way)
{
	unsigned head = b->addr.family == 4 ? 20 : 40;
	int rc = doctor_probe(b, from, 64);

	if (rc == -EOPNOTSUPP) {
		say(d, DOCTOR_OK, "unpacks", who, NULL, "not tried for mode %s", b->mode);
		return;
	}
	if (rc) {
		say(d, DOCTOR_FAIL, "unpacks", who,
		    "on the backend: `skep balance backend`, the service's address on lo, and "
		    "`skep balance doctor --backend` to look closer",
		    "a ping to the service's address in an outer header was not answered: %s",
		    strerror(-rc));
		return;
	}
	say(d, DOCTOR_OK, "unpacks", who, NULL,
	    "a ping to the service's address in an outer header was answered");
	way = min(way, DOCTOR_FRAME_MOST + head);
	rc = way ? doctor_probe(b, from, way - head) : 0;
	say(d, rc ? DOCTOR_FAIL : DOCTOR_OK, "path", who,
	    "a link on the way has a smaller MTU: set balance.mtu, or mtu of the route",
	    rc ? "an outer packet of %u bytes does not arrive" : "outer packets of %u bytes arrive",
	    way);
}

static void backend(struct doctor *d, const struct doctor_wish *w, const struct doctor_backend *b,
		    unsigned arrival)
{
	unsigned way = doctor_mtu(&b->addr);
	char who[64];

	config_addr_text(&b->addr, who);
	if (mine(&b->addr)) {
		say(d, DOCTOR_OK, "unpacks", who, NULL,
		    "this host: passed up without an outer header");
		return;
	}
	if (!way && w->routed) {
		say(d, DOCTOR_FAIL, "route", who, "ip route add ... to the backend",
		    "the host has no route to it");
		return;
	}
	mtu(d, b, who, way, arrival);
	probe(d, b, who, b->vip.family == 4 ? &w->source4 : &w->source6, way);
}

unsigned doctor_balancer(const struct doctor_wish *w, doctor_fn fn, void *arg)
{
	struct doctor d = {.fn = fn, .arg = arg};
	unsigned arrival = 1500;
	struct ifreq r;
	unsigned i;

	for (i = 0; i < w->n_interfaces; i++) {
		const char *name = w->interfaces[i];

		if (!interface_there(&d, name))
			continue;
		xdp(&d, name, "start the agent with balance.interfaces");
		driver(&d, name);
		offloads(&d, name);
		if (!ask(name, SIOCGIFMTU, &r))
			arrival = (unsigned)r.ifr_mtu;
	}
	if (w->routed)
		forwarding(&d);
	if (w->pins)
		pins(&d, w->pins);
	source(&d, &w->source4);
	source(&d, &w->source6);
	for (i = 0; i < w->n_backends; i++)
		backend(&d, w, &w->backends[i], arrival);
	return d.failed;
}

/* ---- at a backend ---------------------------------------------------------------------------- */

static bool tunnel_there(char *out, size_t room)
{
	struct if_nameindex *list = if_nameindex(), *i;
	struct ifreq r = {0};
	bool found = false;

	for (i = list; i && i->if_name && !found; i++) {
		found = !ask(i->if_name, SIOCGIFHWADDR, &r) &&
			(r.ifr_hwaddr.sa_family == ARPHRD_TUNNEL ||
			 r.ifr_hwaddr.sa_family == ARPHRD_TUNNEL6 ||
			 r.ifr_hwaddr.sa_family == ARPHRD_SIT);
		if (found)
			snprintf(out, room, "%.15s", i->if_name);
	}
	if_freenameindex(list);
	return found;
}

/* The kernel's device, our program, or another's at XDP. */
static void unpacker(struct doctor *d, const char *name)
{
	struct backend_seen s;
	char tunnel[16];

	if (tunnel_there(tunnel, sizeof(tunnel))) {
		say(d, DOCTOR_OK, "unpacks", name, NULL, "the kernel's device %s", tunnel);
	} else if (backend_look(name, &s)) {
		xdp(d, name, "skep balance backend --interface IFACE");
	} else {
		say(d, s.how == ATTACH_GENERIC ? DOCTOR_WARN : DOCTOR_OK, "unpacks", name,
		    "skep balance backend --hook tc: generic XDP costs more",
		    "at %s: %" PRIu64 " packets unpacked, %" PRIu64 " handed on, %" PRIu64
		    " cut short",
		    backend_how_text(s.how), s.unpacked, s.handed_on, s.dropped);
		if (s.how >= ATTACH_TCX)
			merged(d, name);
	}
}

/* Addresses of services: those on lo that are not the host's own loopback. */
static void services_on_lo(struct doctor *d)
{
	struct ifaddrs *list, *i;
	unsigned n = 0;

	if (getifaddrs(&list))
		return;
	for (i = list; i; i = i->ifa_next) {
		const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
		const struct sockaddr_in *four = (const void *)i->ifa_addr;

		if (!i->ifa_addr || strcmp(i->ifa_name, "lo") != 0)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			n += ntohl(four->sin_addr.s_addr) >> 24 != 127;
		else if (i->ifa_addr->sa_family == AF_INET6)
			n += !IN6_IS_ADDR_LOOPBACK(&six->sin6_addr) &&
			     !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
	}
	freeifaddrs(list);
	say(d, n ? DOCTOR_OK : DOCTOR_FAIL, "addresses", "lo",
	    "ip addr add VIP/32 dev lo, for each address of a service",
	    n ? "%u addresses of services" : "%u addresses of services: nothing is unpacked", n);
}

/* The stricter of "all" and the interface's own holds. */
static void reverse_path(struct doctor *d, const char *name)
{
	long all = number_in("/proc/sys/net/ipv4/conf/%s/rp_filter", "all");
	long own = number_in("/proc/sys/net/ipv4/conf/%s/rp_filter", name);

	say(d, max(all, own) == 1 ? DOCTOR_WARN : DOCTOR_OK, "rp_filter", name,
	    "sysctl -w net.ipv4.conf.IFACE.rp_filter=2 (all= too)",
	    max(all, own) == 1 ? "strict: clients whose way back leads elsewhere are dropped"
			       : "not strict");
}

static void arp(struct doctor *d, const char *name)
{
	long ignore = max(number_in("/proc/sys/net/ipv4/conf/%s/arp_ignore", "all"),
			  number_in("/proc/sys/net/ipv4/conf/%s/arp_ignore", name));

	say(d, ignore > 0 ? DOCTOR_OK : DOCTOR_WARN, "arp", name,
	    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
	    ignore > 0 ? "answers only for its own addresses"
		       : "answers for the services' addresses on lo: wrong where clients or "
			 "routers are on the same link");
}

unsigned doctor_backend(const struct doctor_wish *w, doctor_fn fn, void *arg)
{
	struct doctor d = {.fn = fn, .arg = arg};
	unsigned i;

	services_on_lo(&d);
	for (i = 0; i < w->n_interfaces; i++) {
		const char *name = w->interfaces[i];

		if (!interface_there(&d, name))
			continue;
		unpacker(&d, name);
		reverse_path(&d, name);
		arp(&d, name);
		offloads(&d, name);
	}
	return d.failed;
}
