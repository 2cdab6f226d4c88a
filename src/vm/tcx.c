// SPDX-License-Identifier: Apache-2.0
/*
 * tcx.c: the programs of tcx hooks in their order, as the kernel's bpf_mprog has them.
 *
 *	hook (an interface, ingress or egress): program of a link | program | program of a link ...
 *
 * T1  A hook is there while something stands at it. Its revision begins with 1 and counts changes.
 * T2  A program stands once at a hook. Who stands there without a link is held by the hook.
 * T3  All of it changes under the engine's lock; tcx_changes then counts, by which ports know that what
 *     they took before is out of date.
 */
#include "vm/inside.h"

struct entry {
	struct prog *prog;
	const struct link *link; /* NULL: none */
};

struct tcx_hook {
	uint32_t ifindex, type;
	uint64_t revision;
	unsigned n;
	struct entry v[VM_TCX_MAX];
	struct tcx_hook *next;
};

/* Beside which a new one is to stand; all NULL: none is named. */
struct named {
	struct object *object; /* with a reference */
	struct entry entry;
};

/* ---- hooks --------------------------------------------------------------------------------------- */

static struct tcx_hook **find(struct skep_engine *e, uint32_t ifindex, uint32_t type)
{
	struct tcx_hook **h = &e->tcx;

	while (*h && ((*h)->ifindex != ifindex || (*h)->type != type))
		h = &(*h)->next;
	return h;
}

static struct tcx_hook *find_or_make(struct skep_engine *e, const struct vm_tcx *w)
{
	struct tcx_hook **h = find(e, w->ifindex, w->hook);

	if (*h)
		return *h;
	*h = calloc(1, sizeof(**h));
	if (*h)
		**h = (struct tcx_hook){.ifindex = w->ifindex, .type = w->hook, .revision = 1};
	return *h;
}

/* T1, T3 */
static void changed(struct skep_engine *e, struct tcx_hook *h, int by)
{
	h->revision++;
	e->n_tcx += (unsigned)by;
	e->tcx_changes++;
}

static void trim(struct skep_engine *e, struct tcx_hook *h)
{
	struct tcx_hook **at = find(e, h->ifindex, h->type);

	if (h->n)
		return;
	*at = h->next;
	free(h);
}

static void take_out(struct skep_engine *e, struct tcx_hook *h, unsigned at)
{
	memmove(&h->v[at], &h->v[at + 1], (--h->n - at) * sizeof(h->v[0]));
	changed(e, h, -1);
}

/* ---- places, as numbers that the kernel uses: -1 is before the first ----------------------------- */

static int exactly(const struct tcx_hook *h, const struct prog *p, const struct link *l)
{
	unsigned i;

	for (i = 0; i < h->n; i++)
		if (h->v[i].prog == p)
			return h->v[i].link == l ? (int)i : -EBUSY;
	return -ENOENT;
}

/* Of the one that is named; @none where none is. */
static int beside(const struct tcx_hook *h, const struct entry *named, int by, int none)
{
	unsigned i;

	for (i = 0; named->prog && i < h->n; i++)
		if (h->v[i].prog == named->prog && (!named->link || h->v[i].link == named->link))
			return (int)i + by;
	return named->prog ? -ENOENT : none;
}

#define NOWHERE (-ERANGE)

/* Two wishes for a place have to be for the same one. */
static int agree(int at, int place)
{
	if (place < -1)
		return place;
	return at >= -1 && at != place ? -ERANGE : place;
}

/* @at: where else it has to be, or NOWHERE. @otherwise: where nothing is wished. */
static int place(const struct tcx_hook *h, uint32_t *flags, const struct entry *named, int at,
		 int otherwise)
{
	if (*flags & VM_F_BEFORE)
		at = agree(at, beside(h, named, -1, -1));
	if (at < -1 && *flags & VM_F_BEFORE)
		return at;
	if (*flags & VM_F_AFTER)
		at = agree(at, beside(h, named, 1, (int)h->n));
	if (at < -1 && *flags & VM_F_AFTER)
		return at;
	if (at >= -1)
		return at;
	if (named->prog || *flags)
		return -EINVAL;
	*flags = VM_F_AFTER;
	return otherwise;
}

/* The link or program that the caller names. */
static int name(struct call *c, const struct vm_tcx *w, uint32_t type, struct named *out)
{
	enum object_kind kind = w->flags & VM_F_LINK ? OBJECT_LINK : OBJECT_PROG;
	struct prog *p;
	int rc = 0;

	if (!(w->flags & (VM_F_LINK | VM_F_ID)) && !w->fd_or_id)
		return 0;
	if (w->flags & VM_F_ID)
		out->object = vm_object_by_id(c->e, kind, w->fd_or_id);
	else if (!w->fd_or_id)
		rc = -EINVAL;
	else
		rc = vm_call_object(c, (int)w->fd_or_id, kind, &out->object);
	if (rc || !out->object)
		return rc ? rc : -ENOENT;
	if (kind == OBJECT_PROG) {
		out->entry.prog = vm_prog_of(out->object);
	} else {
		out->entry.link = vm_link_of(out->object);
		p = vm_link_prog(c->e, out->entry.link);
		out->entry.prog = p; /* only compared */
		vm_object_put(c->e, &p->obj);
	}
	return type && out->entry.prog->type != type ? -EINVAL : 0;
}

static void unname(struct call *c, struct named *n)
{
	if (n->object)
		vm_object_put(c->e, n->object);
}

/* ---- coming -------------------------------------------------------------------------------------- */

static void insert(struct skep_engine *e, struct tcx_hook *h, const struct vm_tcx *w, int at,
		   uint32_t flags)
{
	if (at != (int)h->n && flags & VM_F_BEFORE)
		at++;
	memmove(&h->v[at + 1], &h->v[at], (h->n++ - (unsigned)at) * sizeof(h->v[0]));
	h->v[at] = (struct entry){w->prog, w->link};
	changed(e, h, 1);
}

/* The lock is held. *gone: whom the hook held. */
static int attach(struct skep_engine *e, struct tcx_hook *h, const struct vm_tcx *w,
		  const struct entry *named, int rc, struct prog **gone)
{
	uint32_t flags = w->flags;
	int at = NOWHERE;

	if (w->revision && w->revision != h->revision)
		return -ESTALE;
	if (exactly(h, w->prog, NULL) != -ENOENT)
		return -EEXIST; /* T2 */
	if (rc)
		return rc;
	if (flags & BPF_F_REPLACE)
		at = exactly(h, w->old, w->link);
	else if (h->n == VM_TCX_MAX)
		return -ERANGE;
	if (flags & BPF_F_REPLACE && at < 0)
		return at;
	at = place(h, &flags, named, at, (int)h->n);
	if (at < -1)
		return at;
	if (!w->link)
		w->prog->obj.refs++; /* T2 */
	if (!(flags & BPF_F_REPLACE)) {
		insert(e, h, w, at, flags);
		return 0;
	}
	*gone = h->v[at].prog;
	h->v[at].prog = w->prog;
	changed(e, h, 0);
	return 0;
}

int vm_tcx_attach(struct call *c, const struct vm_tcx *w)
{
	struct named named = {0};
	struct prog *gone = NULL;
	struct tcx_hook *h;
	int rc = name(c, w, w->prog->type, &named);

	vm_sweep(c->e); /* a link that nobody holds any more is in nobody's way */
	pthread_mutex_lock(&c->e->lock);
	h = find_or_make(c->e, w);
	rc = h ? attach(c->e, h, w, &named.entry, rc, &gone) : -ENOMEM;
	if (h)
		trim(c->e, h);
	pthread_mutex_unlock(&c->e->lock);
	unname(c, &named);
	if (gone)
		vm_object_put(c->e, &gone->obj);
	return rc;
}

/* ---- going --------------------------------------------------------------------------------------- */

static int detach(struct skep_engine *e, struct tcx_hook *h, const struct vm_tcx *w,
		  const struct entry *named, int rc, struct prog **gone)
{
	uint32_t flags = w->flags;
	int at = NOWHERE;

	if (w->revision && w->revision != h->revision)
		return -ESTALE;
	if (rc)
		return rc;
	if (w->prog)
		at = exactly(h, w->prog, NULL);
	if (w->prog && at < 0)
		return at;
	at = place(h, &flags, named, at, (int)h->n);
	if (at < -1)
		return at;
	if (at == VM_TCX_MAX) /* the kernel does not find the last of a full hook by its place */
		return -ERANGE;
	at = at < 0 ? 0 : min(at, (int)h->n - 1);
	if (h->v[at].link)
		return -EBUSY;
	*gone = h->v[at].prog;
	take_out(e, h, (unsigned)at);
	return 0;
}

int vm_tcx_detach(struct call *c, const struct vm_tcx *w)
{
	struct named named = {0};
	struct prog *gone = NULL;
	struct tcx_hook *h;
	int rc = name(c, w, w->prog ? w->prog->type : BPF_PROG_TYPE_UNSPEC, &named);

	vm_sweep(c->e);
	pthread_mutex_lock(&c->e->lock);
	h = *find(c->e, w->ifindex, w->hook);
	if (!h)
		rc = -ENOENT;
	else if (w->flags & BPF_F_REPLACE)
		rc = -EINVAL;
	else
		rc = detach(c->e, h, w, &named.entry, rc, &gone);
	if (h)
		trim(c->e, h);
	pthread_mutex_unlock(&c->e->lock);
	unname(c, &named);
	if (gone)
		vm_object_put(c->e, &gone->obj);
	return rc;
}

static struct entry *entry_of(struct skep_engine *e, const struct link *l, struct tcx_hook **hook)
{
	struct tcx_hook *h;
	unsigned i;

	for (h = e->tcx; h; h = h->next)
		for (i = 0; i < h->n; i++)
			if (h->v[i].link == l) {
				*hook = h;
				return &h->v[i];
			}
	return NULL;
}

void vm_tcx_drop(struct skep_engine *e, const struct link *l)
{
	struct tcx_hook *h = NULL;
	struct entry *at;

	pthread_mutex_lock(&e->lock);
	at = entry_of(e, l, &h);
	if (at) {
		take_out(e, h, (unsigned)(at - h->v));
		trim(e, h);
	}
	pthread_mutex_unlock(&e->lock);
}

int vm_tcx_swap(struct skep_engine *e, const struct link *l, struct prog *p)
{
	struct tcx_hook *h = NULL;
	struct entry *at = entry_of(e, l, &h);

	if (!at)
		return -ENOENT;
	if (at->prog == p)
		return 0;
	if (exactly(h, p, l) != -ENOENT)
		return -EEXIST;
	at->prog = p;
	changed(e, h, 0);
	return 0;
}

void vm_tcx_done(struct skep_engine *e)
{
	struct tcx_hook *h;
	unsigned i;

	while ((h = e->tcx)) {
		e->tcx = h->next;
		for (i = 0; i < h->n; i++)
			if (!h->v[i].link)
				vm_object_put(e, &h->v[i].prog->obj);
		free(h);
	}
}

/* ---- questions ------------------------------------------------------------------------------------ */

unsigned vm_tcx_programs(struct skep_engine *e, uint32_t ifindex, uint32_t hook,
			 struct prog *out[VM_TCX_MAX], uint32_t *change)
{
	const struct tcx_hook *h;
	unsigned n, i;

	pthread_mutex_lock(&e->lock);
	h = *find(e, ifindex, hook);
	n = h ? h->n : 0;
	for (i = 0; i < n; i++) {
		out[i] = h->v[i].prog;
		out[i]->obj.refs++;
	}
	*change = e->tcx_changes;
	pthread_mutex_unlock(&e->lock);
	return n;
}

bool vm_tcx_any(struct skep_engine *e, uint32_t ifindex, uint32_t hook)
{
	bool any;

	pthread_mutex_lock(&e->lock);
	any = *find(e, ifindex, hook) != NULL;
	pthread_mutex_unlock(&e->lock);
	return any;
}

struct answer {
	uint64_t revision;
	uint32_t n, progs[VM_TCX_MAX], links[VM_TCX_MAX];
};

static void look(struct skep_engine *e, uint32_t ifindex, uint32_t hook, struct answer *out)
{
	const struct tcx_hook *h;
	unsigned i;

	pthread_mutex_lock(&e->lock);
	h = *find(e, ifindex, hook);
	out->revision = h ? h->revision : 1;
	out->n = h ? h->n : 0;
	for (i = 0; i < out->n; i++) {
		out->progs[i] = h->v[i].prog->obj.id;
		out->links[i] = h->v[i].link ? vm_link_id(h->v[i].link) : 0;
	}
	pthread_mutex_unlock(&e->lock);
}

/* Into one of the caller's arrays, which may be none. */
static int give(struct call *c, uint64_t to, const uint32_t *what, uint32_t n)
{
	return to ? vm_call_write(c, to, what, n * sizeof(*what)) : 0;
}

long vm_tcx_query(struct call *c)
{
	static const uint32_t flags[VM_TCX_MAX];
	const union bpf_attr *a = &c->attr.a;
	uint32_t room = a->query.prog_cnt;
	struct answer is;

	if (!vm_link_device(c->e, a->query.target_fd))
		return -ENODEV;
	if (a->query.query_flags || a->query.attach_flags)
		return -EINVAL;
	vm_sweep(c->e);
	look(c->e, a->query.target_fd, a->query.attach_type, &is);
	if (vm_call_put(c, query.attach_flags, 0) ||
	    (c->size >= offsetof(union vm_attr, revision) + sizeof(is.revision) &&
	     vm_call_answer(c, offsetof(union vm_attr, revision), &is.revision, 8)) ||
	    vm_call_put(c, query.prog_cnt, is.n))
		return -EFAULT;
	if (!room || !a->query.prog_ids || !is.n)
		return 0;
	if (give(c, a->query.prog_ids, is.progs, min(room, is.n)) ||
	    give(c, a->query.prog_attach_flags, flags, min(room, is.n)) ||
	    give(c, c->attr.link_ids, is.links, min(room, is.n)) ||
	    give(c, c->attr.link_attach_flags, flags, min(room, is.n)))
		return -EFAULT;
	return room < is.n ? -ENOSPC : 0;
}
