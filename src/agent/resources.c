// SPDX-License-Identifier: Apache-2.0
/* Wanted state: to the capability that reads it, and into the state file. */
#include "agent/inside.h"

#include <jansson.h>

#include "base/log.h"
#include "store/store.h"

#define STATE_KIND "Resources"

/* The capability that reads resources; today there is one. */
static struct agent_cap *reader(struct agent *a)
{
	unsigned i;

	for (i = 0; i < a->n_caps; i++)
		if (a->caps[i].cap && a->caps[i].ops->kind)
			return &a->caps[i];
	return NULL;
}

static int keep(struct agent *a, const struct agent_cap *c, const char *text, size_t len,
		struct skep_err *err)
{
	cleanup(buf_done) struct buf json = {0};

	if (!a->state)
		return 0;
	buf_json(&json, text, len);
	if (!buf_ok(&json))
		return -ENOMEM;
	return state_put(a->state, STATE_KIND, c->ops->name, json.data, err);
}

int resources_apply(struct agent *a, const char *file, const char *text, size_t len, bool dry,
		    struct buf *said, struct skep_err *err)
{
	struct agent_cap *c = reader(a);
	int rc;

	if (!c)
		return skep_fail(err, -EOPNOTSUPP, "no capability of this agent reads resources");
	rc = c->ops->resources(c->cap, file, text, len, dry, said, err);
	if (rc || dry)
		return rc;
	rc = keep(a, c, text, len, err);
	return rc ? skep_note(err, rc, "it holds, but not beyond this agent") : 0;
}

void resources_start(struct agent *a)
{
	struct agent_cap *c = reader(a);
	cleanup(mem_free) char *json = NULL;
	struct skep_err err = {""};
	json_t *text;

	if (!c || !a->state || state_get(a->state, STATE_KIND, c->ops->name, &json, &err))
		return;
	text = json_loads(json, JSON_DECODE_ANY, NULL);
	if (!json_is_string(text))
		log_warn("%s: the wanted state that was kept cannot be read", c->ops->name);
	else if (c->ops->resources(c->cap, "kept state", json_string_value(text),
				   json_string_length(text), false, NULL, &err))
		log_warn("%s: %s", c->ops->name, err.text);
	json_decref(text);
}
