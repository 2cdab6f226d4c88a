// SPDX-License-Identifier: Apache-2.0
#include "balance/wanted.h"

/* ---- which ----------------------------------------------------------------------------------- */

static size_t find(const struct config_set *set, const char *name)
{
	size_t i;

	for (i = 0; i < set->n; i++)
		if (!strcmp(set->services[i]->name, name))
			return i;
	return SIZE_MAX;
}

/* A Service of Kubernetes has one of ours for each of its ports: NAMESPACE/NAME:PORT. */
static bool is_of(const struct config_service *s, const char *name, size_t n)
{
	return !strncmp(s->name, name, n) &&
	       (!s->name[n] || (s->name[n] == ':' && memchr(name, '/', n)));
}

/* ---- additions ------------------------------------------------------------------------------- */

/* Those given take the places of their namesakes, which take theirs: doing it twice undoes it. */
static void exchange(struct config_set *set, struct wanted_change *c)
{
	struct config_service *hold;
	size_t i;

	for (i = 0; i < c->with.n; i++) {
		if (c->place[i] == SIZE_MAX)
			continue;
		hold = set->services[c->place[i]];
		set->services[c->place[i]] = c->with.services[i];
		c->with.services[i] = hold;
	}
}

static int merge(struct config_set *set, struct wanted_change *c, struct skep_err *err)
{
	size_t fresh = 0, i;
	int rc;

	c->place = calloc(c->with.n + 1, sizeof(*c->place));
	if (!c->place)
		return -ENOMEM;
	for (i = 0; i < c->with.n; i++) {
		c->place[i] = find(set, c->with.services[i]->name);
		fresh += c->place[i] == SIZE_MAX;
	}
	rc = config_room(set, fresh);
	if (rc)
		return rc;
	exchange(set, c);
	for (i = 0; i < c->with.n; i++)
		if (c->place[i] == SIZE_MAX)
			set->services[set->n++] = c->with.services[i];
	rc = config_check(set, &c->with, err);
	if (rc) {
		set->n -= fresh;
		exchange(set, c);
	}
	return rc;
}

/* ---- removals -------------------------------------------------------------------------------- */

struct names {
	struct skep_err *err;
	const struct config_set *set;
	bool *out; /* by place in the set */
};

static int take_out(struct names *n, const char *name, size_t len)
{
	bool any = false;
	size_t i;

	for (i = 0; i < n->set->n; i++) {
		if (!is_of(n->set->services[i], name, len))
			continue;
		n->out[i] = any = true;
	}
	return any ? 0 : skep_fail(n->err, -ENOENT, "no service '%.*s'", (int)len, name);
}

/* "Service/web" or "service/web", one a line; what holds a line that is none is YAML. */
static bool are_names(const char *text, size_t len)
{
	return len > 8 && !strncasecmp(text, "service/", 8);
}

static int each_name(struct names *n, const char *text, size_t len)
{
	const char *p = text, *end;
	int rc = 0;

	for (; !rc && p < text + len; p = end + 1) {
		end = memchr(p, '\n', len - (size_t)(p - text)) ?: text + len;
		if (end == p)
			continue;
		if (!are_names(p, (size_t)(end - p)))
			return skep_fail(n->err, -EINVAL, "expected service/NAME, found '%.*s'",
					 (int)min(end - p, (ptrdiff_t)60), p);
		rc = take_out(n, p + 8, (size_t)(end - p) - 8);
	}
	return rc;
}

/* Those that stay, and behind the end of the set those that are out. */
static int part(struct config_set *set, const bool *out)
{
	struct config_service **all = calloc(set->n + 1, sizeof(*all));
	size_t i, n = 0;

	if (!all)
		return -ENOMEM;
	for (i = 0; i < set->n; i++)
		if (!out[i])
			all[n++] = set->services[i];
	*set = (struct config_set){.services = all, .n = n, .room = set->n};
	return (int)n;
}

static int take_all_out(struct config_set *set, struct wanted_change *c, const char *text,
			size_t len, struct skep_err *err)
{
	cleanup(mem_free) bool *out = calloc(set->n + 1, sizeof(*out));
	struct names n = {.err = err, .set = set, .out = out};
	int rc = out ? 0 : -ENOMEM;
	size_t i, at;

	if (!rc && are_names(text, len))
		rc = each_name(&n, text, len);
	for (i = 0; !rc && i < c->with.n; i++)
		rc = take_out(&n, c->with.services[i]->name, strlen(c->with.services[i]->name));
	if (rc)
		return rc;
	c->old = *set;
	rc = part(set, out);
	if (rc < 0) {
		c->old = (struct config_set){0};
		return rc;
	}
	for (i = 0, at = set->n; i < c->old.n; i++)
		if (out[i])
			set->services[at++] = c->old.services[i];
	return 0;
}

/* ---- changes --------------------------------------------------------------------------------- */

int wanted_change(struct config_set *set, struct wanted_change *c, enum cap_change change,
		  const char *file, const char *text, size_t len, struct buf *notes,
		  struct skep_err *err)
{
	int rc = 0;

	*c = (struct wanted_change){.change = change};
	if (change != CAP_DELETE || !are_names(text, len))
		rc = config_read(file, text, len, &c->with, notes, err);
	if (rc)
		return rc;
	if (change == CAP_MERGE) {
		rc = merge(set, c, err);
	} else if (change == CAP_DELETE) {
		rc = take_all_out(set, c, text, len, err);
	} else {
		c->old = *set;
		*set = c->with;
		c->with = (struct config_set){0};
	}
	if (rc) {
		free(c->place);
		config_done(&c->with);
	}
	return rc;
}

void wanted_keep(struct config_set *set, struct wanted_change *c)
{
	size_t i;

	if (c->change ==
	    CAP_MERGE) { /* namesakes that were replaced go; the others are in the set */
		for (i = 0; i < c->with.n; i++)
			if (c->place[i] == SIZE_MAX)
				c->with.services[i] = NULL;
	} else if (c->change == CAP_DELETE) {
		for (i = set->n; i < c->old.n; i++)
			config_service_drop(set->services[i]);
		free(take(c->old.services));
		c->old = (struct config_set){0};
	}
	free(c->place);
	config_done(&c->old);
	config_done(&c->with);
}

void wanted_undo(struct config_set *set, struct wanted_change *c)
{
	size_t i;

	if (c->change == CAP_MERGE) {
		for (i = 0; i < c->with.n; i++)
			set->n -= c->place[i] == SIZE_MAX;
		exchange(set, c);
	} else if (c->change == CAP_DELETE) {
		free(set->services);
		*set = c->old;
	} else {
		config_done(set);
		*set = c->old;
	}
	free(c->place);
	config_done(&c->with);
}
