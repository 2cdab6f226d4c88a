// SPDX-License-Identifier: Apache-2.0
#include "cli/balance_watch.h"

#include <inttypes.h>
#include <jansson.h>
#include <time.h>
#include <unistd.h>

#include "cli/human.h"
#include "cli/term.h"

struct watch {
	const struct args *args;
	const char *only; /* a service, NULL: all */
	json_t *seen; /* {"SERVICE BACKEND[ (was MODE)]": "state"} of the last look; NULL before the first */
	struct buf out;
};

static void watch_done(struct watch *w)
{
	json_decref(w->seen);
	buf_done(&w->out);
}

static void say(struct watch *w, const char *service, const char *backend, const char *state,
		int64_t left)
{
	char at[32];
	time_t now = time(NULL);
	json_t *o;

	if (!w->args->set[OPTION_JSON]) {
		strftime(at, sizeof(at), "%H:%M:%S", localtime(&now));
		buf_fmt(&w->out, "%s  %s %s %s", at, service, backend, state);
		if (left >= 0)
			buf_fmt(&w->out, ", %" PRId64 " connections left", left);
		buf_str(&w->out, "\n");
		return;
	}
	o = json_pack("{s:I, s:s, s:s, s:s}", "at", (json_int_t)human_now(), "service", service,
		      "backend", backend, "state", state);
	if (left >= 0)
		json_object_set_new(o, "left", json_integer(left));
	cleanup(mem_free) char *text = json_dumps(o, JSON_COMPACT);

	buf_fmt(&w->out, "%s\n", text ? text : "");
	json_decref(o);
}

/* A state in words; of one that drains with the connections left, so that their number is news too. */
static void backend_look(struct watch *w, json_t *now, const char *service, const json_t *b)
{
	const char *addr = json_string_value(json_object_get(b, "address")) ?: "";
	const char *state = json_string_value(json_object_get(b, "state")) ?: "";
	int64_t left =
		strcmp(state, "draining") ? -1 : json_integer_value(json_object_get(b, "entries"));
	const char *mode = json_string_value(json_object_get(b, "was")), *last;
	char key[512], name[96], value[64];

	snprintf(name, sizeof(name), mode ? "%.60s (was %.20s)" : "%.60s", addr, mode);
	snprintf(key, sizeof(key), "%s %s", service, name);
	snprintf(value, sizeof(value), "%s %" PRId64, state, left);
	last = json_string_value(json_object_get(w->seen, key));
	if (!last || strcmp(last, value) != 0)
		say(w, service, name, state, left);
	json_object_set_new(now, key, json_string(value));
}

static void gone_say(struct watch *w, const json_t *now)
{
	const char *key, *space;
	json_t *value;
	char service[256];

	json_object_foreach(w->seen, key, value)
	{
		space = strchr(key, ' ');
		if (json_object_get(now, key) || !space)
			continue;
		snprintf(service, sizeof(service), "%.*s", (int)(space - key), key);
		say(w, service, space + 1, "removed", -1);
	}
}

static int look(struct watch *w, const struct client *c, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	int rc = client_call(c, "GET", "/v1/balance/services", NULL, &answer, err);
	json_t *root, *now, *s, *b;
	const char *name;
	size_t i, k;

	if (rc)
		return rc;
	root = json_loadb(answer.data, answer.len, 0, NULL);
	now = json_object();
	json_array_foreach(json_object_get(root, "services"), i, s)
	{
		name = json_string_value(json_object_get(s, "name")) ?: "";
		if (w->only && strcmp(w->only, name) != 0)
			continue;
		json_array_foreach(json_object_get(s, "backends"), k, b)
			backend_look(w, now, name, b);
	}
	gone_say(w, now);
	json_decref(w->seen);
	w->seen = now;
	json_decref(root);
	return term_flush(&w->out);
}

int balance_watch(const struct args *a, struct skep_err *err)
{
	cleanup(watch_done) struct watch w = {.args = a,
					      .only = a->n_operands > 1 ? a->operands[1] : NULL};
	unsigned interval = a->set[OPTION_INTERVAL] ? (unsigned)a->num[OPTION_INTERVAL] : 1;
	time_t end = a->set[OPTION_SECONDS] ? time(NULL) + a->num[OPTION_SECONDS] : 0;
	struct client c = cli_client(a);
	int rc = look(&w, &c, err);

	if (!rc && w.only && !json_object_size(w.seen))
		return skep_fail(err, -ENOENT, "no service '%s' with backends", w.only);
	while (!rc && (!end || time(NULL) < end)) {
		sleep(interval);
		rc = look(&w, &c, err);
	}
	return rc;
}
