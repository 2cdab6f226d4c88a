// SPDX-License-Identifier: Apache-2.0
/*
 * Wanted state: to the capability that reads it, and into the state file.
 *
 * What was applied whole is one row; each change since is another, in their order, and names the
 * generation of the whole that it is a change of: a crash between the two leaves changes of an older
 * generation, which mean nothing. Drains are rows of their own.
 */
#include "agent/inside.h"

#include <jansson.h>
#include <time.h>

#include "base/log.h"
#include "store/store.h"

#define WHOLE	    "Resources"
#define CHANGE	    "Change"
#define DRAIN	    "Drain"
#define CHANGES_MAX 100000

/* The capability that reads resources; today there is one. */
static struct agent_cap *reader(struct agent *a)
{
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap && a->caps[i].ops->kind)
			return &a->caps[i];
	return NULL;
}

/* ---- keeping --------------------------------------------------------------------------------- */

struct names {
	char **list;
	size_t n;
};

static void names_done(struct names *n)
{
	size_t i;

	for (i = 0; i < n->n; i++)
		free(n->list[i]);
	free(n->list);
}

static int on_name(void *arg, const char *name, const char *json maybe_unused)
{
	struct names *n = arg;
	void *more = reallocarray(n->list, n->n + 1, sizeof(*n->list));

	if (!more)
		return -ENOMEM;
	n->list = more;
	n->list[n->n] = strdup(name);
	return n->list[n->n++] ? 0 : -ENOMEM;
}

static void changes_forget(struct agent *a)
{
	cleanup(names_done) struct names n = {0};
	size_t i;

	if (state_each(a->state, CHANGE, on_name, &n, NULL))
		return;
	for (i = 0; i < n.n; i++)
		state_put(a->state, CHANGE, n.list[i], NULL, NULL);
}

/* Drains of backends that are there no more. */
static void drains_forget(struct agent *a, const struct agent_cap *c)
{
	cleanup(names_done) struct names n = {0};
	size_t i;

	if (state_each(a->state, DRAIN, on_name, &n, NULL))
		return;
	for (i = 0; i < n.n; i++) {
		char *space = strchr(n.list[i], ' ');

		if (space)
			*space = '\0';
		if (!space || !c->ops->drained(c->cap, n.list[i], space + 1)) {
			if (space)
				*space = ' ';
			state_put(a->state, DRAIN, n.list[i], NULL, NULL);
		}
	}
}

static int keep(struct agent *a, const struct agent_cap *c, enum cap_change change,
		const char *text, size_t len, struct skep_err *err)
{
	cleanup(buf_done) struct buf json = {0};
	char name[32];
	int rc;

	buf_fmt(&json,
		"{\"generation\":%u,\"change\":%d,\"text\":", a->generation + (change == CAP_WHOLE),
		(int)change);
	buf_json(&json, text, len);
	buf_str(&json, "}");
	if (!buf_ok(&json))
		return -ENOMEM;
	if (change == CAP_WHOLE) {
		rc = state_put(a->state, WHOLE, c->ops->name, json.data, err);
		if (rc)
			return rc;
		a->generation++;
		if (a->changes)
			changes_forget(a);
		a->changes = 0;
		return 0;
	}
	snprintf(name, sizeof(name), "%010u", a->changes);
	rc = state_put(a->state, CHANGE, name, json.data, err);
	a->changes += !rc;
	return rc;
}

int resources_apply(struct agent *a, enum cap_change change, const char *file, const char *text,
		    size_t len, bool dry, struct buf *said, struct skep_err *err)
{
	struct agent_cap *c = reader(a);
	int rc;

	if (!c)
		return skep_fail(err, -EOPNOTSUPP, "no capability of this agent reads resources");
	if (change != CAP_WHOLE && a->changes == CHANGES_MAX)
		return skep_fail(err, -ENOSPC,
				 "%u changes since the last whole state: apply a whole one",
				 a->changes);
	rc = c->ops->resources(c->cap, change, file, text, len, dry, said, err);
	if (rc || dry || !a->state)
		return rc;
	rc = keep(a, c, change, text, len, err);
	drains_forget(a, c);
	return rc ? skep_note(err, rc, "it holds, but not beyond this agent") : 0;
}

int resources_drain(struct agent *a, const char *service, const char *backend, bool on,
		    int64_t seconds, struct skep_err *err)
{
	struct agent_cap *c = reader(a);
	char name[400], json[64];
	int rc;

	if (!c || !c->ops->drain)
		return skep_fail(err, -EOPNOTSUPP, "balance did not load");
	rc = c->ops->drain(c->cap, service, backend, on, seconds, err);
	if (rc || !a->state)
		return rc;
	snprintf(name, sizeof(name), "%s %s", service, backend);
	snprintf(json, sizeof(json), "{\"until\":%lld}",
		 seconds < 0 ? -1LL : (long long)(time(NULL) + seconds));
	rc = state_put(a->state, DRAIN, name, on ? json : NULL, err);
	return rc ? skep_note(err, rc, "it holds, but not beyond this agent") : 0;
}

/* ---- start ----------------------------------------------------------------------------------- */

struct start {
	struct agent *agent;
	struct agent_cap *cap;
};

static void again(const struct agent_cap *c, enum cap_change change, const json_t *text)
{
	struct skep_err err = {""};

	if (!json_is_string(text))
		log_warn("%s: the wanted state that was kept cannot be read", c->ops->name);
	else if (c->ops->resources(c->cap, change, "kept state", json_string_value(text),
				   json_string_length(text), false, NULL, &err))
		log_warn("%s: %s", c->ops->name, err.text);
}

static int on_change(void *arg, const char *name, const char *json)
{
	struct start *s = arg;
	json_t *root = json_loads(json, 0, NULL);
	int64_t generation = json_integer_value(json_object_get(root, "generation"));

	s->agent->changes = (uint32_t)strtoul(name, NULL, 10) + 1;
	if (generation == s->agent->generation)
		again(s->cap, (enum cap_change)json_integer_value(json_object_get(root, "change")),
		      json_object_get(root, "text"));
	json_decref(root);
	return 0;
}

static int on_drain(void *arg, const char *name, const char *json)
{
	cleanup(mem_free) char *service = strdup(name);
	char *space = service ? strchr(service, ' ') : NULL;
	json_t *root = json_loads(json, 0, NULL);
	int64_t until = json_integer_value(json_object_get(root, "until"));
	const struct start *s = arg;
	struct skep_err err = {""};

	json_decref(root);
	if (!space)
		return 0;
	*space = '\0';
	if (until >= 0)
		until = max(until - (int64_t)time(NULL), (int64_t)0);
	if (s->cap->ops->drain(s->cap->cap, service, space + 1, true, until, &err))
		log_info("a drain is over: %s", err.text);
	return 0;
}

void resources_start(struct agent *a)
{
	struct agent_cap *c = reader(a);
	struct start s = {a, c};
	cleanup(mem_free) char *json = NULL;
	struct skep_err err = {""};
	json_t *root;

	if (!c || !a->state)
		return;
	if (!state_get(a->state, WHOLE, c->ops->name, &json, &err)) {
		root = json_loads(json, JSON_DECODE_ANY, NULL);
		if (json_is_object(root))
			a->generation =
				(uint32_t)json_integer_value(json_object_get(root, "generation"));
		again(c, CAP_WHOLE, json_is_object(root) ? json_object_get(root, "text") : root);
		json_decref(root);
	}
	if (state_each(a->state, CHANGE, on_change, &s, &err) ||
	    state_each(a->state, DRAIN, on_drain, &s, &err))
		log_warn("%s: %s", c->ops->name, err.text);
	drains_forget(a, c);
}
