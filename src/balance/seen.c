// SPDX-License-Identifier: Apache-2.0
/* seen.c: what the balancer shows of itself: the API's answer, metrics, reports. */
#include "balance/self.h"

#include <inttypes.h>

#include "balance/reason.h"
#include "host/host.h"

static const char *state_name(const struct fleet_backend *b)
{
	if (b->listed && b->down)
		return "down";
	if (b->state == BALANCE_DRAINING && b->passive.until && b->wanted && !b->drained)
		return "ejected";
	return b->state == BALANCE_LIVE	      ? "live"
	       : b->state == BALANCE_DRAINING ? "draining"
					      : "gone";
}

static void health_add(const struct health_state *h, const struct config_health *c, struct buf *out)
{
	if (!h)
		return;
	buf_fmt(out,
		",\"health\":{\"via\":\"%s\",\"up\":%s,\"asked\":%s,\"us\":%u,\"probes\":%" PRIu64
		",\"failures\":%" PRIu64 ",\"reason\":",
		c->via ? "tunnel" : "straight", h->up ? "true" : "false",
		h->asked ? "true" : "false", h->us, h->probes, h->failures);
	buf_json(out, h->reason, strlen(h->reason));
	buf_str(out, "}");
}

static void backend_add(struct balance *b, const struct fleet_service *s,
			const struct fleet_backend *x, struct buf *out)
{
	struct balance_sent sent = maps_sent(&b->maps, x->id);
	struct maps_again again = maps_again(&b->maps, x->id);
	uint64_t now = host_boot_now();
	const char *was = fleet_was(s, x);
	char addr[64];

	buf_fmt(out,
		"{\"address\":\"%s\",\"weight\":%u,\"mode\":\"%s\",\"state\":\"%s\",\"packets\":%" PRIu64
		",\"bytes\":%" PRIu64 ",\"connections\":%" PRIu64 ",\"synRetransmits\":%" PRIu64
		",\"resets\":%" PRIu64 ",\"entries\":%u",
		config_addr_text(&x->addr, addr), x->wanted, config_mode_text(x->mode),
		state_name(x), (uint64_t)sent.packets, (uint64_t)sent.bytes, (uint64_t)sent.flows,
		again.syns, again.resets, fleet_flows(b->fleet, x->id));
	if (x->passive.until > now)
		buf_fmt(out, ",\"ejectedSeconds\":%" PRIu64,
			(x->passive.until - now) / 1000000000 + 1);
	if (was)
		buf_fmt(out, ",\"was\":\"%s\"", was);
	if (s->want->opt->quic)
		buf_fmt(out, ",\"quicId\":\"%08x\"", __builtin_bswap32(config_quic_id(&x->addr)));
	buf_fmt(out, ",\"busy\":%u,\"share\":%.2f,\"drained\":%s", fleet_busy(b->fleet, x->id),
		(double)x->factor / FLEET_FACTOR_ONE, x->drained ? "true" : "false");
	health_add(health_get(b->health, s->want->name, &x->addr), &s->want->opt->health, out);
	if (s->want->opt->socket && b->sockets)
		sockets_show(b->sockets, x->id, out);
	buf_str(out, "}");
}

static void service_add(struct balance *b, const struct fleet_service *s, struct buf *out)
{
	const struct balance_counts *c = &b->maps.counts[s->stat];
	char text[64];
	uint32_t i;

	buf_str(out, "{\"name\":");
	buf_json(out, s->want->name, strlen(s->want->name));
	buf_str(out, ",\"vips\":[");
	for (i = 0; i < s->want->n_vips; i++)
		buf_fmt(out, "%s\"%s\"", i ? "," : "", config_vip_text(&s->want->vips[i], text));
	if (s->want->opt->socket && b->sockets)
		buf_fmt(out, "],\"socket\":true,\"refused\":%" PRIu64,
			sockets_refused(b->sockets, s->stat));
	else
		buf_str(out, "],\"socket\":false");
	buf_fmt(out, ",\"hash\":\"%s\",\"slots\":%u,\"settled\":%s,\"backends\":[",
		s->want->opt->hash ? "source" : "flow", 1U << s->log, s->look ? "false" : "true");
	for (i = 0; i < s->n; i++) {
		buf_str(out, i ? "," : "");
		backend_add(b, s, &s->backends[i], out);
	}
	buf_str(out, "],\"dropped\":{");
	for (i = 1, text[0] = '\0'; i < BALANCE_REASONS; i++) {
		if (!c->packets[i])
			continue;
		buf_fmt(out, "%s\"%s\":%" PRIu64, text, reason_name(i), (uint64_t)c->packets[i]);
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
			b->links[i].how == ATTACH_GENERIC ? "false" : "true");
	buf_fmt(out,
		"],\"nextHop\":\"%s\",\"source4\":\"%s\",\"source6\":\"%s\",\"mtu\":%u,"
		"\"pinned\":%s,\"pins\":",
		hops[b->spec.next_hop], four, six, b->way.mtu, b->pinned ? "true" : "false");
	buf_json(out, b->spec.pins, strlen(b->spec.pins));
	buf_str(out, "}");
}

void seen_show(void *cap, struct buf *out)
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

static void health_count(const struct health_state *h, const char *labels, cap_count_fn fn,
			 void *arg)
{
	if (!h)
		return;
	fn(arg, "skep_balance_backend_up", CAP_GAUGE,
	   "Whether a backend that is probed is up, 1 or 0", labels, h->up);
	fn(arg, "skep_balance_probes_total", CAP_COUNTER, "Health probes of a backend", labels,
	   (double)h->probes);
	fn(arg, "skep_balance_probe_failures_total", CAP_COUNTER, "Those that failed", labels,
	   (double)h->failures);
	fn(arg, "skep_balance_probe_seconds", CAP_GAUGE, "What the last probe took", labels,
	   h->us / 1e6);
}

static void service_count(struct balance *b, const struct fleet_service *s, cap_count_fn fn,
			  void *arg)
{
	char labels[320];
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		struct balance_sent sent = maps_sent(&b->maps, s->backends[i].id);
		struct maps_again again = maps_again(&b->maps, s->backends[i].id);

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
		fn(arg, "skep_balance_syn_retransmits_total", CAP_COUNTER,
		   "Those that came again: the backend had not answered", labels,
		   (double)again.syns);
		fn(arg, "skep_balance_resets_total", CAP_COUNTER,
		   "Connections that a backend of mode nat refused", labels, (double)again.resets);
		fn(arg, "skep_balance_backend_ejected", CAP_GAUGE,
		   "Whether a backend gets no new connections because it did not answer, 1 or 0",
		   labels, s->backends[i].passive.until > 0);
		health_count(health_get(b->health, s->want->name, &s->backends[i].addr), labels, fn,
			     arg);
	}
	if (s->want->opt->socket && b->sockets)
		sockets_count(b->sockets, s, fn, arg);
	for (i = 1; i < BALANCE_REASONS; i++) {
		if (!b->maps.counts[s->stat].packets[i])
			continue;
		snprintf(labels, sizeof(labels), "service=\"%s\",reason=\"%s\"", s->want->name,
			 reason_name(i));
		fn(arg, "skep_balance_packets_total", CAP_COUNTER, "Packets not forwarded", labels,
		   (double)b->maps.counts[s->stat].packets[i]);
	}
}

void seen_count(void *cap, cap_count_fn fn, void *arg)
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
		snprintf(labels, sizeof(labels), "service=\"\",reason=\"%s\"", reason_name(i));
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

void seen_report(void *cap, void (*fn)(void *, const struct cap_report *), void *arg)
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
		at += (size_t)snprintf(
			r.how + at, sizeof(r.how) - at, "%sxdp%s on %s", i ? ", " : "",
			b->links[i].how == ATTACH_GENERIC ? " (generic)" : "", b->links[i].name);
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
	if (health_dead(b->health)) {
		r = (struct cap_report){.what = "health probes"};
		snprintf(r.how, sizeof(r.how), "the prober has ended: backends stay as they are");
		r.fix = "restart the agent; packets go on meanwhile";
		fn(arg, &r);
	}
	if (b->tunnel || b->untunneled[0]) {
		r = (struct cap_report){.what = "probes through the tunnel", .ready = b->tunnel};
		snprintf(r.how, sizeof(r.how), "%.159s",
			 b->tunnel ? "tc of the interfaces" : b->untunneled);
		r.fix = b->tunnel
				? NULL
				: "Linux with tc and BPF (CONFIG_NET_CLS_BPF); probes go straight";
		fn(arg, &r);
	}
	if (node_health_trouble(b->node_health)) {
		r = (struct cap_report){.what = "health check node ports"};
		snprintf(r.how, sizeof(r.how), "%s", node_health_trouble(b->node_health));
		r.fix = "who has that port? ss -ltnp; it is tried again every second";
		fn(arg, &r);
	}
	r = (struct cap_report){.what = "tables that outlive the agent", .ready = b->pinned};
	snprintf(r.how, sizeof(r.how), "%.85s%s%.55s", b->pinned ? b->spec.pins : b->unpinned,
		 b->anew[0] ? "; made anew: " : "", b->anew);
	r.fix = b->pinned ? NULL : "mount -t bpf bpf /sys/fs/bpf, or set balance.pinDir";
	fn(arg, &r);
}
