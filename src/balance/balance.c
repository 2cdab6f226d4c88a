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
#include "balance/self.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "host/host.h"

/* ---- life ------------------------------------------------------------------------------------ */

static int balance_open(void **out, const struct cap_env *env, struct skep_err *err)
{
	struct balance *b = calloc(1, sizeof(*b));

	if (!b)
		return skep_fail(err, -ENOMEM, "no memory for balance");
	b->env = *env;
	b->probe4 = b->probe6 = -1;
	*out = b;
	return happened_open(&b->table, env, err) ?: samples_table(&b->packets, env, err);
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
	node_health_free(take(b->node_health));
	samples_free(take(b->samples));
	tunnel_free(take(b->tunnel));
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

static const uint8_t hops[] = {0, BALANCE_HOP_FIXED, BALANCE_HOP_REFLECT}; /* by next_hop */

static void way_set(struct balance *b, const struct balance_spec *s)
{
	memset(&b->way, 0, sizeof(b->way));
	b->way.hop_flags = hops[s->next_hop];
	memcpy(b->way.gateway, s->gateway, 6);
	b->way.mtu = (uint16_t)s->mtu;
	b->way.flow_s = (uint32_t)s->flow_s;
	sources_find(b, s);
	node_find(s);
	config_sockets_set(s->cgroup[0]);
	config_packets_set(s->n_interfaces);
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
		struct attach_wish w = {
			.name = s->interfaces[i], .prog = b->maps.prog, .pins = pins};

		rc = attach_open(&b->links[i], &w, err);
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

/* Without it probes go straight, and the report says so. */
static void tunnel_make(struct balance *b, const struct balance_spec *s)
{
	const char(*names)[ATTACH_NAME] = s->interfaces;
	struct skep_err why = {""};

	if (!s->tunnel || !s->n_interfaces)
		tunnel_forget(names, s->n_interfaces);
	else if (tunnel_open(&b->tunnel, names, s->n_interfaces, (uint16_t)s->gue_port, &why))
		snprintf(b->untunneled, sizeof(b->untunneled), "%.159s", why.text);
}

static int gateway_check(const struct balance_spec *s, struct skep_err *err)
{
	static const uint8_t none[sizeof(s->gateway)];

	if (hops[s->next_hop] == BALANCE_HOP_FIXED && !memcmp(s->gateway, none, sizeof(none)))
		return skep_fail(err, -EINVAL,
				 "balance: nextHop gateway needs the gateway's link address: set "
				 "balance.gateway");
	return 0;
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
	rc = gateway_check(want, err);
	if (rc)
		return rc;
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
		rc = samples_open(&b->samples, &b->maps, b->fleet, b->links, b->n_links, b->packets,
				  &b->env, err);
	if (!rc)
		rc = node_health_open(&b->node_health, err);
	if (!rc)
		tunnel_make(b, want);
	if (!rc)
		rc = health_open(&b->health, tunnel_table(b->tunnel), on_health, b, err);
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
		for (k = 0; k < set->services[i]->n_backends && !rc; k++)
			rc = backend_check(b, set->services[i], &set->services[i]->backends[k],
					   err);
	return rc;
}

/* Services at sockets need a cgroup; others need interfaces. */
static int check_place(const struct balance *b, const struct config_set *set, struct skep_err *err)
{
	size_t i;

	for (i = 0; i < set->n; i++) {
		const struct config_service *s = set->services[i];

		if (s->opt->socket && !b->sockets)
			return skep_fail(err, -EINVAL,
					 "service '%s' is for sockets: set balance.cgroup in the "
					 "agent's configuration, \"/\" is every process",
					 s->name);
		if (s->opt->health.via && !(b->spec.tunnel && b->spec.n_interfaces))
			return skep_fail(
				err, -EINVAL,
				"service '%s' has health.via tunnel: set balance.interfaces and "
				"balance.tunnelProbes in the agent's configuration",
				s->name);
		if (!s->opt->socket && !b->spec.n_interfaces)
			return skep_fail(err, -EINVAL,
					 "service '%s': balance has no interfaces: set "
					 "balance.interfaces in the agent's configuration",
					 s->name);
	}
	return 0;
}

static void states_changed(struct balance *b)
{
	health_sync(b->health, b->fleet);
	node_health_sync(b->node_health, b->fleet);
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
		states_changed(b);
	return rc;
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
	int rc = config_read("resources", text, len, &set, NULL, err);

	if (!rc)
		rc = check_sources(b, &set, err);
	return rc ? rc : fleet_plan(b->fleet, &set, host_boot_now(), out, err);
}

/* @text: "RATE SECONDS" */
static int samples_ask(struct balance *b, const char *text, struct buf *out, struct skep_err *err)
{
	int64_t rate, seconds;
	int rc;

	if (sscanf(text, "%" SCNd64 " %" SCNd64, &rate, &seconds) != 2)
		return skep_fail(err, -EINVAL, "samples: a rate and seconds");
	rc = samples_want(b->samples, rate, seconds, host_boot_now(), err);
	if (!rc)
		buf_fmt(out, "{\"rate\":%" PRId64 ",\"seconds\":%" PRId64 "}\n", rate, seconds);
	return rc;
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
	if (!strcmp(question, "samples"))
		return samples_ask(b, text, out, err);
	if (strcmp(question, "why") != 0)
		return skep_fail(err, -EINVAL, "no question '%.20s'", question);
	rc = why_read(text, &p, err);
	return rc ? rc : why_tell(b->why, b->fleet, &p, b->links[0].ifindex, out, err);
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
	fleet_passive(b->fleet, boot_now, on_health, b);
	clients_ask(b);
	deny_tick(b);
	samples_tick(b->samples, boot_now);
	node_health_sync(b->node_health, b->fleet);
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

	if (!b->fleet)
		return 0;
	return health_poll(b->health, b->fleet, host_boot_now()) + samples_poll(b->samples);
}

static int balance_fd(void *cap)
{
	return health_fd(((struct balance *)cap)->health);
}

static uint64_t balance_lost(void *cap)
{
	struct balance *b = cap;

	return b->samples ? samples_lost(b->samples) : 0;
}

const struct cap_ops balance_ops = {
	.name = "balance",
	.doc = "load balancer: packets to services' addresses go to their backends",
	.fields = settings_fields,
	.n_fields = SETTINGS_N,
	.spec_size = sizeof(struct balance_spec),
	.kind = "Service",
	.open = balance_open,
	.apply = balance_apply,
	.resources = balance_resources,
	.show = seen_show,
	.drain = balance_drain,
	.drained = balance_drained,
	.ask = balance_ask,
	.poll = balance_poll,
	.fd = balance_fd,
	.tick = balance_tick,
	.count = seen_count,
	.lost = balance_lost,
	.report = seen_report,
	.close = balance_close,
};
