// SPDX-License-Identifier: Apache-2.0
/*
 * balance.c: the verb balance. get, describe and drain ask the agent; simulate and backend work here,
 * without one.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <jansson.h>

#include "balance/backend.h"
#include "balance/simulate.h"
#include "base/log.h"
#include "cli/balance.h"
#include "cli/balance_watch.h"
#include "cli/human.h"
#include "cli/resources.h"
#include "cli/table.h"
#include "cli/term.h"
#include "cli/verb.h"
#include "host/seam.h"

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void cell(struct table *t, const char *s)
{
	table_cell(t, TERM_PLAIN, s, strlen(s));
}

static void cell_number(struct table *t, int64_t n)
{
	char s[32];

	snprintf(s, sizeof(s), "%" PRId64, n);
	cell(t, s);
}

/* ---- get ------------------------------------------------------------------------------------- */

static int services_ask(const struct args *a, struct buf *answer, json_t **root,
			struct skep_err *err)
{
	struct client c = cli_client(a);
	int rc = client_call(&c, "GET", "/v1/balance/services", NULL, answer, err);

	if (rc)
		return rc;
	*root = json_loadb(answer->data, answer->len, 0, NULL);
	return json_is_array(json_object_get(*root, "services"))
		       ? 0
		       : skep_fail(err, -EPROTO, "the agent's answer has no services");
}

static void vips_join(const json_t *s, struct buf *b)
{
	const json_t *v;
	size_t i;

	buf_clear(b);
	json_array_foreach(json_object_get(s, "vips"), i, v)
		buf_fmt(b, "%s%s", i ? " " : "", json_string_value(v));
}

/* "2 down", "up"; "" where none is probed. */
static const char *health_sum(const json_t *s, char *out, size_t size)
{
	unsigned asked = 0, down = 0;
	const json_t *b, *h;
	size_t i;

	json_array_foreach(json_object_get(s, "backends"), i, b)
	{
		h = json_object_get(b, "health");
		asked += !!h;
		down += h && !json_is_true(json_object_get(h, "up"));
	}
	if (!down)
		return asked ? "up" : "";
	snprintf(out, size, "%u down", down);
	return out;
}

static const char *health_text(const json_t *b, char *out, size_t size)
{
	const json_t *h = json_object_get(b, "health");
	const char *reason = text(h, "reason");
	int64_t ejected = number(b, "ejectedSeconds");

	if (ejected) {
		snprintf(out, size, "SYNs not answered: tried again in %" PRId64 " s", ejected);
		return out;
	}
	if (!h)
		return "";
	if (!json_is_true(json_object_get(h, "asked")))
		return "not asked yet";
	snprintf(out, size, "%s%s%s%s", json_is_true(json_object_get(h, "up")) ? "up" : "down",
		 strcmp(text(h, "via"), "tunnel") ? "" : " by tunnel", *reason ? ": " : "", reason);
	return out;
}

static void service_row(struct table *t, const json_t *s)
{
	cleanup(buf_done) struct buf vips = {0};
	int64_t live = 0, packets = 0, connections = 0;
	const json_t *b;
	char part[64];
	size_t i;

	json_array_foreach(json_object_get(s, "backends"), i, b)
	{
		live += !strcmp(text(b, "state"), "live");
		packets += number(b, "packets");
		connections += number(b, "connections") + number(b, "connects");
	}
	vips_join(s, &vips);
	cell(t, text(s, "name"));
	cell(t, vips.data ? vips.data : "");
	snprintf(part, sizeof(part), "%" PRId64 "/%zu", live,
		 json_array_size(json_object_get(s, "backends")));
	cell(t, part);
	cell(t, health_sum(s, part, sizeof(part)));
	cell_number(t, connections);
	cell_number(t, packets);
}

static int get(const struct args *a, struct skep_err *err)
{
	static const struct table_column layout[] = {
		{"SERVICE"}, {"ADDRESSES", .flex = true},    {"LIVE", .right = true},
		{"HEALTH"},  {"CONNECTIONS", .right = true}, {"PACKETS", .right = true},
	};
	cleanup(table_done) struct table *t = NULL;
	cleanup(buf_done) struct buf answer = {0}, out = {0};
	struct term term = term_look();
	json_t *root = NULL;
	const json_t *s;
	size_t i;
	int rc = services_ask(a, &answer, &root, err);

	if (!rc && a->set[OPTION_JSON])
		rc = term_flush(&answer);
	else if (!rc)
		rc = table_open(&t, layout, array_size(layout));
	if (!rc && t) {
		json_array_foreach(json_object_get(root, "services"), i, s) service_row(t, s);
		rc = table_print(t, term.width, term.colour, &out);
	}
	json_decref(root);
	return rc ? rc : term_flush(&out);
}

/* ---- describe -------------------------------------------------------------------------------- */

static void backend_row(struct table *t, const json_t *b)
{
	struct human h;
	char share[16], health[80];

	cell(t, text(b, "address"));
	cell(t, text(b, "state"));
	cell(t, health_text(b, health, sizeof(health)));
	cell(t, text(b, "mode"));
	cell_number(t, number(b, "weight"));
	snprintf(share, sizeof(share), "%.0f%%",
		 100 * json_real_value(json_object_get(b, "share")));
	cell(t, share);
	cell_number(t, number(b, "connections") + number(b, "connects"));
	cell_number(t, number(b, "synRetransmits"));
	cell_number(t, number(b, "packets"));
	cell(t, human_bytes(&h, number(b, "bytes")));
	cell_number(t, number(b, "entries"));
}

static void sockets_line(const json_t *s, struct buf *out)
{
	int64_t connects = 0, sockets = 0;
	const json_t *b;
	size_t i;

	json_array_foreach(json_object_get(s, "backends"), i, b)
	{
		connects += number(b, "connects");
		sockets += number(b, "sockets");
	}
	buf_fmt(out,
		"at sockets: %" PRId64 " connects, %" PRId64 " open, %" PRId64
		" refused without a backend\n",
		connects, sockets, number(s, "refused"));
}

static int describe_one(const json_t *s, const struct term *term, struct buf *out)
{
	static const struct table_column layout[] = {
		{"BACKEND"},
		{"STATE"},
		{"HEALTH", .flex = true},
		{"MODE"},
		{"WEIGHT", .right = true},
		{"SHARE", .right = true},
		{"CONNECTIONS", .right = true},
		{"AGAIN", .right = true}, /* SYNs */
		{"PACKETS", .right = true},
		{"BYTES", .right = true},
		{"ENTRIES", .right = true},
	};
	cleanup(table_done) struct table *t = NULL;
	cleanup(buf_done) struct buf vips = {0};
	const json_t *x;
	const char *key;
	size_t i;
	int rc = table_open(&t, layout, array_size(layout));

	if (rc)
		return rc;
	vips_join(s, &vips);
	buf_fmt(out, "%s: %s, by %s, ring of %" PRId64 " slots, %s\n", text(s, "name"),
		vips.data ? vips.data : "", text(s, "hash"), number(s, "slots"),
		json_is_true(json_object_get(s, "settled")) ? "settled"
							    : "older connections have entries");
	json_array_foreach(json_object_get(s, "backends"), i, x) backend_row(t, x);
	rc = table_print(t, term->width, term->colour, out);
	json_array_foreach(json_object_get(s, "backends"), i, x) if (*text(x, "quicId"))
		buf_fmt(out, "QUIC server id %s: %s\n", text(x, "quicId"), text(x, "address"));
	if (json_is_true(json_object_get(s, "socket")))
		sockets_line(s, out);
	json_object_foreach((json_t *)json_object_get(s, "dropped"), key, x)
		buf_fmt(out, "%s: %" PRId64 " packets\n", key, (int64_t)json_integer_value(x));
	return rc;
}

static int describe(const struct args *a, struct skep_err *err)
{
	const char *want = a->n_operands > 1 ? a->operands[1] : NULL;
	cleanup(buf_done) struct buf answer = {0}, out = {0};
	struct term term = term_look();
	json_t *root = NULL;
	const json_t *s;
	size_t i;
	int rc = services_ask(a, &answer, &root, err);

	json_array_foreach(json_object_get(root, "services"), i, s)
	{
		if (rc || (want && strcmp(want, text(s, "name")) != 0))
			continue;
		if (a->set[OPTION_JSON]) {
			cleanup(mem_free) char *dump = json_dumps(s, JSON_COMPACT);

			buf_fmt(&out, "%s\n", dump ? dump : "");
		} else {
			buf_str(&out, out.len ? "\n" : "");
			rc = describe_one(s, &term, &out);
		}
	}
	json_decref(root);
	if (!rc && want && !out.len)
		return skep_fail(err, -ENOENT, "no service '%s'", want);
	return rc ? rc : term_flush(&out);
}

/* ---- drain, simulate, backend ---------------------------------------------------------------- */

static int drain(const struct args *a, struct skep_err *err)
{
	cleanup(buf_done) struct buf target = {0}, answer = {0};
	struct client c = cli_client(a);

	if (a->n_operands != 3 || (a->set[OPTION_CANCEL] && a->set[OPTION_TIMEOUT])) {
		skep_fail(err, 0,
			  "expected: skep balance drain SERVICE BACKEND [--timeout SECONDS | "
			  "--cancel]");
		return CLI_USAGE;
	}
	buf_str(&target, "/v1/balance/drain?service=");
	client_escape(&target, a->operands[1]);
	buf_str(&target, "&backend=");
	client_escape(&target, a->operands[2]);
	buf_fmt(&target, "&on=%d&seconds=%" PRId64, !a->set[OPTION_CANCEL],
		a->set[OPTION_TIMEOUT] ? a->num[OPTION_TIMEOUT] : -1);
	if (!buf_ok(&target))
		return -ENOMEM;
	return client_call(&c, "POST", target.data, "", &answer, err);
}

static int simulate(const struct args *a, struct skep_err *err)
{
	cleanup(resources_done) struct resources r = {{0}};
	struct simulate_file f = {
		.name = RESOURCES_NAME,
		.in = a->text[OPTION_IN],
		.out = a->text[OPTION_OUT],
		.json = a->set[OPTION_JSON],
	};
	const struct skep_engine_options options = {.unsafe = true}; /* it is our own program */
	bool kernel = a->set[OPTION_HOST] && !strcmp(a->text[OPTION_HOST], "kernel");
	cleanup(buf_done) struct buf out = {0};
	struct skep_engine *engine = NULL;
	int rc;

	if (!a->text[OPTION_RESOURCES] || !f.in) {
		skep_fail(err, 0, "expected: skep balance simulate -f services.yaml --in a.pcap");
		return CLI_USAGE;
	}
	rc = resources_read(&r, a, err);
	f.services = r.text.data;
	f.size = r.text.len;
	if (!rc && !kernel)
		rc = skep_engine_open(&engine, &options);
	host_use(engine);
	if (!rc)
		rc = simulate_pcap(&f, &out, err);
	if (rc)
		resources_place(&r, err);
	host_use(NULL);
	skep_engine_free(engine);
	return rc ? rc : term_flush(&out);
}

static enum backend_hook hook_of(const struct args *a)
{
	if (!a->set[OPTION_HOOK])
		return BACKEND_ANY;
	return strcmp(a->text[OPTION_HOOK], "tc") ? BACKEND_XDP : BACKEND_TC;
}

static int backend(const struct args *a, struct skep_err *err)
{
	struct backend_options o = {
		.interface = a->text[OPTION_INTERFACE],
		.hook = hook_of(a),
		.gue_port = (uint16_t)a->num[OPTION_GUE_PORT],
		.pins = a->set[OPTION_PIN_DIR] ? a->text[OPTION_PIN_DIR] : BACKEND_PINS,
	};
	struct backend *b;
	int rc;

	if (!o.interface) {
		skep_fail(err, 0, "expected: skep balance backend --interface NAME");
		return CLI_USAGE;
	}
	if (a->set[OPTION_GUE_PORT] &&
	    (a->num[OPTION_GUE_PORT] < 1 || a->num[OPTION_GUE_PORT] > 65535)) {
		skep_fail(err, 0, "--gue-port: expected 1..65535, found %" PRId64,
			  a->num[OPTION_GUE_PORT]);
		return CLI_USAGE;
	}
	rc = backend_open(&b, &o, err);
	if (rc)
		return rc;
	log_line(backend_second(b) ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "%s", backend_how(b));
	backend_wait(b);
	backend_free(b);
	return 0;
}

static int balance(const struct args *a, struct skep_err *err)
{
	static const struct {
		const char *name;
		int (*run)(const struct args *a, struct skep_err *err);
	} what[] = {
		{"get", get},
		{"describe", describe},
		{"drain", drain},
		{"why", balance_why},
		{"plan", balance_plan},
		{"doctor", balance_doctor},
		{"simulate", simulate},
		{"backend", backend},
		{"watch", balance_watch},
		{"packets", balance_packets},
	};
	size_t i;

	for (i = 0; i < array_size(what); i++)
		if (!strcmp(what[i].name, a->operands[0]))
			return what[i].run(a, err);
	return CLI_USAGE;
}

const struct verb verb_balance = {
	.name = "balance",
	.doc = "services and their backends: look, drain, try, be a backend",
	.text = "get lists services, describe SERVICE shows one with its backends, drain SERVICE "
		"BACKEND gives a backend no new connections, until --cancel, and after --timeout "
		"none at all; apply and a restart leave that so. watch prints what changes: "
		"services, states of backends, and of those that drain the connections left.\n\n"
		"why PACKET tells what would become of a packet: the balancer's program runs on it "
		"once, on the tables that hold, and each decision is told; nothing is sent, counted or "
		"changed. Exit code 0: it reaches a backend or is answered; 1: it does not.\n\n"
		"plan -f FILE applies a file in imagination and tells how many slots and live "
		"connections that would touch.\n\n"
		"packets prints samples of packets as the balancer sees them, and what became of each: of each "
		"reason and CPU at most --rate a second, so that what is seldom is seen among what is frequent. "
		"--out FILE also writes them as a capture: the first 128 bytes, as they left or stayed. "
		"Samples are taken only while somebody asks.\n\n"
		"doctor looks at what stands in the way of balancing here: interfaces, XDP, offloads, "
		"forwarding, pins, and of each backend the route, its MTU and a ping in an outer header; "
		"with --backend --interface NAME at what a backend needs. Exit code 1: something failed.\n\n"
		"simulate sends the packets of a capture through the balancer's program and tables "
		"of their own, attached nowhere, and prints for each: number, verdict, reason, "
		"service, backend. It runs in the engine, or with --host kernel (root) in the kernel, and needs no agent.\n\n"
		"backend makes this host a backend until it is told to stop: packets that a balancer "
		"sent to an address of this host are unpacked where they hold a packet for another "
		"address of this host. The addresses of services must stand on an interface here, "
		"as on lo. It is XDP that does it, or tc with --hook tc and where the driver has no XDP, "
		"its MTU is too large for it or another program has its place. Killed it unpacks on "
		"until the next one takes over; on SIGTERM and SIGINT it stops.",
	.operand = {.name = "WHAT",
		    .doc = "get, describe [SERVICE], drain SERVICE BACKEND, watch [SERVICE], "
			   "packets [SERVICE], why PACKET, plan, doctor, simulate or backend",
		    .choices = "get|describe|drain|watch|packets|why|plan|doctor|simulate|backend",
		    .required = true,
		    .most = 3},
	.options = {OPTION_RESOURCES, OPTION_IN, OPTION_OUT, OPTION_HOST, OPTION_INTERFACE,
		    OPTION_GUE_PORT, OPTION_HOOK, OPTION_PIN_DIR, OPTION_BACKEND, OPTION_CANCEL,
		    OPTION_TIMEOUT, OPTION_INTERVAL, OPTION_SECONDS, OPTION_RATE, OPTION_REASON,
		    OPTION_JSON, OPTION_SOCKET},
	.examples =
		{
			{"skep balance drain web 10.0.0.3 --timeout 600", "before maintenance"},
			{"skep balance watch web", "when may it be switched off?"},
			{"skep balance why 'tcp 198.51.100.7:40000 > 203.0.113.10:443'",
			 "where this packet would go, and why"},
			{"skep balance packets web --out web.pcap",
			 "what comes, and what becomes of it"},
			{"skep balance simulate -f services.yaml --in a.pcap --out b.pcap",
			 "what would become of these packets"},
			{"sudo skep balance backend --interface eth0", "on a backend"},
		},
	.run = balance,
};
