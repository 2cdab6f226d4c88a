// SPDX-License-Identifier: Apache-2.0
#include "balance/why.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>

#include "balance/balance.skel.h"
#include "balance/inside.h"
#include "balance/reason.h"
#include "host/host.h"

#define FRAME_MAX (65536 + 256)

struct why {
	struct balance_bpf *bpf;
	const struct maps *maps;
	uint8_t in[FRAME_MAX], out[FRAME_MAX];
};

/* One run. */
struct run {
	struct balance_told told;
	uint32_t verdict;
	size_t in, out;
};

/* What the person could do about it. */
static const char *const advice[BALANCE_COUNTS] = {
	[BALANCE_FOREIGN] =
		"no service has this address: `skep balance get` lists those that there are",
	[BALANCE_UNSERVED] =
		"add this port and protocol to the service's vips, or let the host answer",
	[BALANCE_TOO_BIG_TOLD] = "raise the MTU of the way to the backends by the outer header, or "
				 "lower it at clients",
	[BALANCE_TOO_BIG] = "raise the MTU of the way to the backends by the outer header",
	[BALANCE_FRAGMENT] =
		"the first fragment must come first; avoid fragments: lower the MTU at "
		"the client",
	[BALANCE_NO_BACKEND] = "give the service a backend with a weight above 0",
	[BALANCE_NO_ROUTE] = "add a route to the backend, and switch forwarding on: sysctl "
			     "net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	[BALANCE_NO_NEIGHBOUR] =
		"the agent has asked for the next hop's link address: try again in a second; if it "
		"stays, the backend is down or on another link",
	[BALANCE_NO_ROOM] = "the driver leaves no room in front of packets: use another driver, or "
			    "generic XDP",
};

/* ---- the copy of the program ----------------------------------------------------------------- */

/* W1: counters are its own, and small: what is not found is not counted. */
static bool own(const char *name)
{
	static const char *const names[] = {"counts", "totals", "sent", "told"};
	size_t i;

	for (i = 0; i < array_size(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int share(struct balance_bpf *b, const struct maps *m)
{
	struct bpf_map *map, *theirs;
	int rc = 0;

	bpf_object__for_each_map(map, b->obj)
	{
		if (rc || bpf_map__is_internal(map))
			continue;
		theirs = bpf_object__find_map_by_name(m->bpf->obj, bpf_map__name(map));
		rc = own(bpf_map__name(map)) ? bpf_map__set_max_entries(map, 1)
					     : bpf_map__reuse_fd(map, bpf_map__fd(theirs));
	}
	return rc;
}

int why_open(struct why **out, const struct maps *m, struct skep_err *err)
{
	struct why *w = calloc(1, sizeof(*w));
	int rc;

	if (!w)
		return -ENOMEM;
	w->maps = m;
	w->bpf = balance_bpf__open();
	if (!w->bpf) {
		free(w);
		return skep_fail(err, -ENOMEM, "open balance.bpf.o: %s", strerror(errno));
	}
	memcpy(w->bpf->rodata, m->bpf->rodata, sizeof(*w->bpf->rodata));
	w->bpf->rodata->telling = w->bpf->rodata->asking = 1;
	rc = share(w->bpf, m);
	if (!rc)
		rc = balance_bpf__load(w->bpf);
	if (rc) {
		why_free(w);
		return skep_fail(err, rc, "load balance.bpf.o to ask it: %s: %s", strerror(-rc),
				 host_bpf_log());
	}
	*out = w;
	return 0;
}

void why_free(struct why *w)
{
	if (!w)
		return;
	balance_bpf__destroy(w->bpf);
	free(w);
}

/* The interface of arrival counts for routes; some cannot be named to the kernel: then none is. */
static int run(struct why *w, const struct why_packet *p, int ifindex, struct run *r,
	       struct skep_err *err)
{
	struct xdp_md ctx = {.ingress_ifindex = (uint32_t)ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = w->in, .data_out = w->out,
		    .data_size_out = sizeof(w->out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));
	int told = bpf_map__fd(w->bpf->maps.told), rc;
	const struct balance_told nothing = {0};
	uint32_t zero = 0;

	r->in = o.data_size_in = (uint32_t)why_frame(p, w->in);
	ctx.data_end = o.data_size_in;
	bpf_map_update_elem(told, &zero, &nothing, BPF_ANY);
	rc = ifindex ? bpf_prog_test_run_opts(bpf_program__fd(w->bpf->progs.balance), &o) : -EINVAL;
	if (rc == -EINVAL || rc == -ENODEV) {
		o.ctx_in = NULL;
		o.ctx_size_in = 0;
		o.data_size_out = sizeof(w->out);
		rc = bpf_prog_test_run_opts(bpf_program__fd(w->bpf->progs.balance), &o);
	}
	if (rc)
		return skep_fail(err, rc, "BPF_PROG_TEST_RUN: %s", strerror(-rc));
	bpf_map_lookup_elem(told, &zero, &r->told);
	r->verdict = o.retval;
	r->out = o.data_size_out;
	return 0;
}

static void dir_close(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void step(struct buf *b, const char *what, const char *fmt, ...) printf_like(3, 4);

static void step(struct buf *b, const char *what, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_fmt(b, "%s{\"what\":\"%s\",\"text\":", b->len ? "," : "", what);
	buf_json(b, text, n > 0 ? strlen(text) : 0);
	buf_chr(b, '}');
}

static const char *backend_text(const struct maps *m, uint32_t id, char *out)
{
	struct config_addr a = {0};

	if (!id || id >= m->size.backends || !m->backends[id].family)
		return "none";
	a.family = m->backends[id].family;
	memcpy(a.bytes, m->backends[id].dst, 16);
	return config_addr_text(&a, out);
}

static const char *state_text(uint8_t state)
{
	static const char *const names[] = {"?", "live", "draining", "gone"};

	return state < array_size(names) ? names[state] : "?";
}

/* From sysfs: the sandbox leaves the agent no socket to ask with. */
static const char *interface_name(uint32_t ifindex, char out[32])
{
	cleanup(dir_close) DIR *dir = opendir("/sys/class/net");
	char path[300], number[16];
	struct dirent *e;

	snprintf(out, 32, "interface %u", ifindex);
	while (dir && (e = readdir(dir))) {
		cleanup(file_close) FILE *f = NULL;

		snprintf(path, sizeof(path), "/sys/class/net/%s/ifindex", e->d_name);
		f = e->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (f && fgets(number, sizeof(number), f) &&
		    strtoul(number, NULL, 10) == (unsigned long)ifindex) {
			snprintf(out, 32, "%.16s", e->d_name);
			break;
		}
	}
	return out;
}

static void interface_tell(struct buf *b, int ifindex)
{
	char name[32];

	step(b, "interface", "%s", interface_name((uint32_t)ifindex, name));
}

static void filter_tell(struct buf *b, const struct maps *m, const struct why_packet *p)
{
	uint32_t bit = maps_filter_bit(p->dst.family, p->dst.bytes);
	char text[64];

	step(b, "address", "%s: %s", config_addr_text(&p->dst, text),
	     m->state->filter[bit / 64] >> (bit & 63) & 1
		     ? "its bit in the filter is set, so it is looked up"
		     : "its bit in the filter is not set: no address of a service");
}

static void service_tell(struct buf *b, const struct fleet_service *s)
{
	char text[64];
	uint32_t i, live = 0;

	for (i = 0; i < s->n; i++)
		live += s->backends[i].state == BALANCE_LIVE;
	step(b, "service", "%s (%s%s), %u of %u backends live", s->want->name,
	     s->want->n_vips ? config_vip_text(&s->want->vips[0], text) : "",
	     s->want->n_vips > 1 ? " and others" : "", live, s->n);
}

static void slot_tell(struct buf *b, const struct maps *m, const struct balance_told *t)
{
	const struct balance_service *v = &m->services[t->instance];
	struct balance_slot slot = m->rings[t->slot];
	uint32_t was = slot.was & ~BALANCE_LOOK;
	char one[64], two[64];

	step(b, "slot", "%u of %u, chosen by %s", t->slot - v->ring, 1U << v->ring_log,
	     v->flags & BALANCE_BY_SOURCE ? "the client's address"
					  : "addresses, ports and protocol");
	if (!(slot.was & BALANCE_LOOK))
		step(b, "ring", "%s, and never another since the slot is settled: no state is kept",
		     backend_text(m, slot.now, one));
	else if (slot.now == was)
		step(b, "ring", "%s; it has changed, so older flows may have entries",
		     backend_text(m, slot.now, one));
	else
		step(b, "ring", "%s for flows that begin, %s for those without an entry",
		     backend_text(m, slot.now, one), backend_text(m, was, two));
}

/* The entry in the flow's two buckets, 0: none. */
static uint64_t entry_find(const struct maps *m, uint64_t hash)
{
	uint32_t at[2] = {balance_bucket1(hash, m->size.bucket_log),
			  balance_bucket2(hash, m->size.bucket_log)};
	unsigned i, w;

	for (i = 0; i < 2; i++)
		for (w = 0; w < BALANCE_WAYS; w++) {
			uint64_t e = m->flows[at[i]].entry[w];

			if (BALANCE_ENTRY_TAG(e) == (uint32_t)hash && BALANCE_ENTRY_BACKEND(e) &&
			    !(e & 1))
				return e;
		}
	return 0;
}

static void entry_tell(struct buf *b, const struct maps *m, const struct balance_told *t)
{
	uint64_t e = entry_find(m, t->hash);
	char text[64];

	if (!(m->rings[t->slot].was & BALANCE_LOOK))
		return;
	if (e)
		step(b, "entry", "%s, last used about %u s ago, %s: %s",
		     backend_text(m, BALANCE_ENTRY_BACKEND(e), text),
		     (uint32_t)((uint64_t)balance_entry_age(e, fleet_units()) * 43 / 10),
		     BALANCE_ENTRY_CONFIRMED(e) ? "confirmed" : "of one packet so far",
		     t->entry ? "it decides" : "its backend is gone, the ring decides");
	else
		step(b, "entry", "none%s",
		     t->record == BALANCE_RECORDED ? "; this packet would leave one"
		     : t->record == BALANCE_FULL
			     ? "; there is no room for one, so the flow goes to the older backend"
			     : "");
}

static void backend_tell(struct buf *b, const struct maps *m, uint32_t id,
			 const struct fleet_service *s)
{
	uint32_t i, weight = 0;
	char text[64];

	for (i = 0; s && i < s->n; i++)
		if (s->backends[i].id == id)
			weight = s->backends[i].wanted;
	step(b, "backend", "%s, %s, weight %u", backend_text(m, id, text),
	     state_text(m->backends[id].state), weight);
}

static void hop_tell(struct buf *b, const struct balance_backend *r, uint32_t reason)
{
	const uint8_t *m = r->hop_dst;
	char name[32] = "";

	if (r->hop_ifindex)
		interface_name(r->hop_ifindex, name);
	if (reason == BALANCE_HERE)
		step(b, "next hop", "none: the backend is this host");
	else if (r->hop_flags & BALANCE_HOP_REFLECT)
		step(b, "next hop", "back to the link address that the packet came from");
	else if (reason == BALANCE_NO_ROUTE)
		step(b, "next hop", "the host has no route, or does not forward");
	else if (reason == BALANCE_NO_NEIGHBOUR)
		step(b, "next hop", "its link address is not known");
	else
		step(b, "next hop", "%02x:%02x:%02x:%02x:%02x:%02x%s%s, %s", m[0], m[1], m[2], m[3],
		     m[4], m[5], *name ? " on " : "", name,
		     r->hop_flags & BALANCE_HOP_FIXED ? "the gateway of the configuration"
						      : "by the host's routes");
	if (r->hop_mtu)
		step(b, "mtu", "%u bytes to the backend, outer header included", r->hop_mtu);
}

/* How the packet leaves, read from what came out (W2). */
static void outer_tell(struct buf *b, const struct why *w, const struct run *r)
{
	const uint8_t *ip = w->out + 14;
	bool six = ip[0] >> 4 == 6;
	uint8_t proto = six ? ip[6] : ip[9];
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	const char *how;

	if (r->out < 14 + 40)
		return;
	inet_ntop(six ? AF_INET6 : AF_INET, ip + (six ? 8 : 12), src, sizeof(src));
	inet_ntop(six ? AF_INET6 : AF_INET, ip + (six ? 24 : 16), dst, sizeof(dst));
	if (r->out > r->in && (proto == IPPROTO_IPIP || proto == IPPROTO_IPV6))
		how = "behind another IP header";
	else if (r->out > r->in)
		how = proto == IPPROTO_UDP ? "behind UDP (GUE)" : "with an IP option";
	else
		how = memcmp(ip, w->in + 14, r->in - 14)
			      ? "its addresses rewritten"
			      : "as it came, to the backend's link address";
	step(b, "leaves", "%s: %s > %s, %zu bytes", how, src, dst, r->out - 14);
}

static void steps_tell(struct buf *b, struct why *w, struct fleet *t, const struct why_packet *p,
		       const struct run *r, int ifindex)
{
	const struct fleet_service *s = r->told.service ? fleet_by_stat(t, r->told.service) : NULL;
	const struct maps *m = w->maps;

	interface_tell(b, ifindex);
	filter_tell(b, m, p);
	if (s)
		service_tell(b, s);
	if (r->told.instance && r->told.slot < m->size.slots) {
		slot_tell(b, m, &r->told);
		entry_tell(b, m, &r->told);
	}
	if (r->told.backend && r->told.backend < m->size.backends) {
		backend_tell(b, m, r->told.backend, s);
		hop_tell(b, &m->backends[r->told.backend], r->told.reason);
	}
	if (r->told.reason == BALANCE_FORWARDED)
		outer_tell(b, w, r);
}

/* A flow that begins may go elsewhere than one that goes on. */
static int other_tell(struct why *w, const struct why_packet *p, int ifindex, const struct run *r,
		      struct buf *b, struct skep_err *err)
{
	struct why_packet q = *p;
	struct run other = {0};
	char text[64];
	int rc;

	if (p->proto != IPPROTO_TCP || p->echo || p->about || r->told.reason != BALANCE_FORWARDED)
		return 0;
	q.syn = !p->syn || p->ack;
	q.ack = !q.syn;
	rc = run(w, &q, ifindex, &other, err);
	if (!rc && other.told.backend != r->told.backend)
		step(b, q.syn ? "begins" : "goes on", "a %s of these ends would go to %s",
		     q.syn ? "connection that begins" : "connection that lives",
		     backend_text(w->maps, other.told.backend, text));
	return rc;
}

int why_tell(struct why *w, struct fleet *t, const struct why_packet *p, int ifindex,
	     struct buf *out, struct skep_err *err)
{
	cleanup(buf_done) struct buf steps = {0};
	const struct fleet_service *s;
	struct run r = {0};
	char text[64];
	int rc = run(w, p, ifindex, &r, err);

	if (rc)
		return rc;
	steps_tell(&steps, w, t, p, &r, ifindex);
	rc = other_tell(w, p, ifindex, &r, &steps, err);
	if (rc || r.told.reason >= BALANCE_REASONS)
		return rc ? rc : skep_fail(err, -EPROTO, "the program told no reason");
	s = r.told.service ? fleet_by_stat(t, r.told.service) : NULL;
	buf_fmt(out, "{\"verdict\":\"%s\",\"reason\":\"%s\",\"doc\":\"%s\",\"reaches\":%s",
		reason_verdict(r.verdict), reason_name(r.told.reason), reason_doc(r.told.reason),
		r.verdict >= 3 || r.told.reason == BALANCE_HERE ? "true" : "false");
	if (s) {
		buf_str(out, ",\"service\":");
		buf_json(out, s->want->name, strlen(s->want->name));
	}
	if (r.told.backend)
		buf_fmt(out, ",\"backend\":\"%s\"", backend_text(w->maps, r.told.backend, text));
	buf_fmt(out, ",\"entry\":%s,\"steps\":[%s]", r.told.entry ? "true" : "false",
		steps.data ? steps.data : "");
	if (advice[r.told.reason])
		buf_fmt(out, ",\"advice\":\"%s\"", advice[r.told.reason]);
	buf_str(out, "}\n");
	return buf_ok(out) && buf_ok(&steps) ? 0 : -ENOMEM;
}
