// SPDX-License-Identifier: Apache-2.0
/* balance_doctor.c: what stands in the way of balancing here, or of being a backend. */
#include "cli/balance.h"

#include <fcntl.h>
#include <jansson.h>
#include <sched.h>

#include "balance/doctor.h"
#include "cli/term.h"

#define BACKENDS_MOST	256
#define INTERFACES_MOST 16

struct doctor_view {
	struct buf out;
	bool json;
	unsigned counts[3];
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void check_print(void *arg, const struct doctor_check *c)
{
	static const char *const names[] = {"ok", "warn", "FAIL"};
	static const char *const words[] = {"ok", "warn", "fail"};
	struct doctor_view *v = arg;

	v->counts[c->result]++;
	if (v->json) {
		buf_fmt(&v->out, "{\"result\":\"%s\",\"what\":\"%s\",\"who\":\"%s\",\"why\":",
			words[c->result], c->what, c->who);
		buf_json(&v->out, c->why, strlen(c->why));
		if (c->fix) {
			buf_str(&v->out, ",\"fix\":");
			buf_json(&v->out, c->fix, strlen(c->fix));
		}
		buf_str(&v->out, "}\n");
		return;
	}
	buf_fmt(&v->out, "%-5s %-11s %-16s %s\n", names[c->result], c->what, c->who, c->why);
	if (c->fix)
		buf_fmt(&v->out, "%-5s %-11s %-16s to do: %s\n", "", "", "", c->fix);
}

/* ---- what the agent knows -------------------------------------------------------------------- */

static json_t *ask(const struct args *a, const char *target, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	struct client c = cli_client(a);
	json_t *root;

	if (client_call(&c, "GET", target, NULL, &answer, err))
		return NULL;
	root = json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL);
	if (!root)
		skep_fail(err, -EPROTO, "the agent's answer to %s is no JSON", target);
	return root;
}

/* Interfaces and routes are looked at where the agent stands. */
static int namespace_join(const struct args *a, struct skep_err *err)
{
	json_t *status = ask(a, "/v1/status", err);
	cleanup(fd_close) int fd = -1;
	char path[64];

	if (!status)
		return -ENOTCONN;
	snprintf(path, sizeof(path), "/proc/%lld/ns/net",
		 (long long)json_integer_value(
			 json_object_get(json_object_get(status, "agent"), "pid")));
	json_decref(status);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return skep_fail(err, -EPERM, "enter the agent's network namespace: %s",
				 strerror(errno));
	return 0;
}

static void addr_take(const char *s, struct config_addr *a)
{
	memset(a, 0, sizeof(*a));
	if (*s)
		config_addr_read(s, strlen(s), a);
}

/* "203.0.113.10:443/tcp", "[2001:db8::10]:443/tcp". */
static void vip_take(const char *s, struct config_addr *a)
{
	const char *colon = strrchr(s, ':');

	memset(a, 0, sizeof(*a));
	if (colon && s[0] == '[')
		config_addr_read(s + 1, (size_t)(colon - s) - 2, a);
	else if (colon)
		config_addr_read(s, (size_t)(colon - s), a);
}

/* Each backend once, with an address of a service that can be pinged from here. */
static unsigned backends_take(const json_t *root, struct doctor_backend *out)
{
	const json_t *s, *b;
	unsigned n = 0, k;
	size_t i, j;

	json_array_foreach(json_object_get(root, "services"), i, s)
	{
		json_array_foreach(json_object_get(s, "backends"), j, b)
		{
			struct doctor_backend *x = &out[n];

			if (n == BACKENDS_MOST || !strcmp(text(b, "state"), "gone"))
				continue;
			addr_take(text(b, "address"), &x->addr);
			vip_take(json_string_value(json_array_get(json_object_get(s, "vips"), 0))
					 ?: "",
				 &x->vip);
			x->mode = text(b, "mode");
			for (k = 0; k < n && memcmp(&out[k].addr, &x->addr, sizeof(x->addr)); k++)
				;
			n += k == n;
		}
	}
	return n;
}

static int balancer(const struct args *a, struct doctor_view *v, struct skep_err *err)
{
	json_t *root = ask(a, "/v1/balance/services", err);
	cleanup(mem_free) struct doctor_backend *list = calloc(BACKENDS_MOST + 1, sizeof(*list));
	const char *names[INTERFACES_MOST];
	struct doctor_wish w = {.interfaces = names, .backends = list};
	const json_t *way = json_object_get(root, "way"), *x;
	size_t i;
	int rc;

	if (!root || !list)
		return root ? -ENOMEM : -ENOTCONN;
	json_array_foreach(json_object_get(way, "interfaces"), i,
			   x) if (w.n_interfaces < INTERFACES_MOST) names[w.n_interfaces++] =
		text(x, "name");
	w.pins = text(way, "pins");
	w.routed = !strcmp(text(way, "nextHop"), "route");
	addr_take(text(way, "source4"), &w.source4);
	addr_take(text(way, "source6"), &w.source6);
	w.n_backends = backends_take(root, list);
	rc = namespace_join(a, err);
	if (!rc && !w.n_interfaces)
		rc = skep_fail(err, -EINVAL,
			       "the agent balances on no interface: set balance.interfaces");
	else if (!rc)
		doctor_balancer(&w, check_print, v);
	json_decref(root);
	return rc;
}

int balance_doctor(const struct args *a, struct skep_err *err)
{
	struct doctor_view v = {.json = a->set[OPTION_JSON]};
	const char *name = a->text[OPTION_INTERFACE];
	const struct doctor_wish w = {.interfaces = &name, .n_interfaces = 1};
	int rc = 0;

	if (a->set[OPTION_BACKEND] && !name) {
		skep_fail(err, 0, "expected: skep balance doctor --backend --interface NAME");
		return CLI_USAGE;
	}
	if (a->set[OPTION_BACKEND])
		doctor_backend(&w, check_print, &v);
	else
		rc = balancer(a, &v, err);
	if (!rc && !v.json)
		buf_fmt(&v.out, "%u ok, %u to look at, %u failed\n", v.counts[DOCTOR_OK],
			v.counts[DOCTOR_WARN], v.counts[DOCTOR_FAIL]);
	rc = rc ? rc : term_flush(&v.out);
	buf_done(&v.out);
	return rc ? rc : v.counts[DOCTOR_FAIL] ? CLI_FAILED : CLI_OK;
}
