// SPDX-License-Identifier: Apache-2.0
#include "balance/wanted.h"

/* ---- names ----------------------------------------------------------------------------------- */

/* What a service was read from: of a Service of Kubernetes NAMESPACE/NAME, of one of ours its name. */
static size_t owner_length(const struct config_service *s)
{
	return s->kube ? strcspn(s->name, ":") : strlen(s->name);
}

static bool is_of(const struct config_service *s, const char *name, size_t n)
{
	return !strncmp(s->name, name, n) && (!s->name[n] || n == owner_length(s));
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct config_service *const *)a)->name,
		      (*(struct config_service *const *)b)->name);
}

static int by_owner(const void *a, const void *b)
{
	const struct config_service *x = *(struct config_service *const *)a;
	const struct config_service *y = *(struct config_service *const *)b;
	size_t n = owner_length(x), k = owner_length(y);
	int rc = strncmp(x->name, y->name, min(n, k));

	return rc || n == k ? rc : n < k ? -1 : 1;
}

/* Its place in @sorted, by name or by owner; NULL: none. */
static struct config_service **find(const struct config_set *sorted, struct config_service *s,
				    int (*by)(const void *, const void *))
{
	return sorted->n ? bsearch(&s, sorted->services, sorted->n, sizeof(s), by) : NULL;
}

/* ---- a set of the same services -------------------------------------------------------------- */

/* Who has a list but not the services in it. */
static void list_free(struct config_set *list)
{
	free(list->services);
	*list = (struct config_set){0};
}

static int list_copy(struct config_set *to, const struct config_set *from)
{
	*to = (struct config_set){0};
	if (config_room(to, from->n))
		return -ENOMEM;
	if (from->n)
		memcpy(to->services, from->services, from->n * sizeof(*from->services));
	to->n = from->n;
	return 0;
}

/* The services of @from in an order of their own. */
static int list_sorted(struct config_set *to, const struct config_set *from,
		       int (*by)(const void *, const void *))
{
	int rc = list_copy(to, from);

	if (!rc && to->n)
		qsort(to->services, to->n, sizeof(*to->services), by);
	return rc;
}

/* ---- changes --------------------------------------------------------------------------------- */

/*
 * @set: what was there, each in its place or its fresh namesake, without those that are @out; then the
 * fresh that have no namesake. @sorted: the fresh by name; @placed: as many, all false.
 */
static void exchange(struct config_set *set, struct wanted_change *c,
		     const struct config_set *sorted, bool *placed, const bool *out)
{
	struct config_service *s, **at;
	size_t i;

	for (i = 0; i < c->before.n; i++) {
		s = c->before.services[i];
		at = find(sorted, s, by_name);
		if (at) {
			set->services[set->n++] = *at;
			placed[at - sorted->services] = true;
		} else if (!out[i]) {
			set->services[set->n++] = s;
		}
		if (at || out[i])
			c->gone.services[c->gone.n++] = s;
	}
	for (i = 0; i < c->fresh.n; i++)
		if (!placed[find(sorted, c->fresh.services[i], by_name) - sorted->services])
			set->services[set->n++] = c->fresh.services[i];
}

/* On failure @set is as it was. */
static int change_make(struct config_set *set, struct wanted_change *c, const bool *out)
{
	cleanup(mem_free) bool *placed = calloc(c->fresh.n + 1, sizeof(*placed));
	cleanup(list_free) struct config_set sorted = {0};
	struct config_set all = {0};
	int rc = placed ? list_sorted(&sorted, &c->fresh, by_name) : -ENOMEM;

	if (!rc)
		rc = config_room(&c->gone, set->n);
	if (!rc)
		rc = config_room(&all, set->n + c->fresh.n);
	if (rc)
		return rc;
	c->before = *set;
	*set = all;
	exchange(set, c, &sorted, placed, out);
	return 0;
}

static int whole(struct config_set *set, struct wanted_change *c)
{
	struct config_set all;
	int rc = list_copy(&c->gone, set);

	if (!rc)
		rc = list_copy(&all, &c->fresh);
	if (rc)
		return rc;
	c->before = *set;
	*set = all;
	return 0;
}

static int merge(struct config_set *set, struct wanted_change *c, struct skep_err *err)
{
	cleanup(mem_free) bool *out = calloc(set->n + 1, sizeof(*out));
	cleanup(list_free) struct config_set owners = {0};
	struct config_service **at;
	int rc = out ? list_sorted(&owners, &c->fresh, by_owner) : -ENOMEM;
	size_t i;

	for (i = 0; !rc && i < set->n; i++) {
		at = set->services[i]->kube ? find(&owners, set->services[i], by_owner) : NULL;
		out[i] = at && (*at)->kube;
	}
	if (!rc)
		rc = change_make(set, c, out);
	return rc ? rc : config_check(set, &c->fresh, err);
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

static int delete (struct config_set *set, struct wanted_change *c, const char *text, size_t len,
		   struct skep_err *err)
{
	cleanup(mem_free) bool *out = calloc(set->n + 1, sizeof(*out));
	struct names n = {.err = err, .set = set, .out = out};
	int rc = out ? 0 : -ENOMEM;
	size_t i;

	if (!rc && are_names(text, len))
		rc = each_name(&n, text, len);
	for (i = 0; !rc && i < c->fresh.n; i++)
		rc = take_out(&n, c->fresh.services[i]->name, strlen(c->fresh.services[i]->name));
	config_done(&c->fresh); /* they were names */
	return rc ? rc : change_make(set, c, out);
}

/* ---- all of it ------------------------------------------------------------------------------- */

int wanted_change(struct config_set *set, struct wanted_change *c, enum cap_change change,
		  const char *file, const char *text, size_t len, struct buf *notes,
		  struct skep_err *err)
{
	int rc = 0;

	*c = (struct wanted_change){.before = *set};
	if (change != CAP_DELETE || !are_names(text, len))
		rc = config_read(file, text, len, &c->fresh, notes, err);
	if (rc)
		return rc;
	if (change == CAP_MERGE)
		rc = merge(set, c, err);
	else if (change == CAP_DELETE)
		rc = delete (set, c, text, len, err);
	else
		rc = whole(set, c);
	if (rc)
		wanted_undo(set, c);
	return rc;
}

void wanted_keep(struct config_set *set maybe_unused, struct wanted_change *c)
{
	config_done(&c->gone);
	list_free(&c->before);
	list_free(&c->fresh);
}

void wanted_undo(struct config_set *set, struct wanted_change *c)
{
	if (set->services != c->before.services)
		list_free(set);
	*set = c->before;
	list_free(&c->gone);
	config_done(&c->fresh);
}
