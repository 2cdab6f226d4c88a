// SPDX-License-Identifier: Apache-2.0
#include "vm/port.h"

#include <time.h>

#include "vm/port_inside.h"
#include "vm/run.h"

/* One program for a batch of frames. */
struct batch {
	struct run run;
	struct call call;
	struct xdp_md md;
	uint32_t meta; /* bytes of metadata before each */
};

/* ---- whose turn it is ------------------------------------------------------------------------ */

/* Rounds of the owner follow each other closely: who waits to write goes before the next. */
void vm_ports_init(struct skep_engine *e)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&e->ports_turn, &attr);
	pthread_rwlockattr_destroy(&attr);
}

void vm_ports_begin(struct skep_engine *e)
{
	pthread_rwlock_rdlock(&e->ports_turn);
}

/* The turn of who holds it ends. */
static void end_turn(struct skep_engine *e)
{
	struct vm_port *p;

	for (p = e->ports; p; p = p->next)
		vm_tc_forget(p);
	pthread_rwlock_unlock(&e->ports_turn);
}

void vm_ports_end(struct skep_engine *e)
{
	end_turn(e);
}

/* ---- which there are ------------------------------------------------------------------------ */

struct vm_port *vm_port_find(struct skep_engine *e, uint32_t ifindex)
{
	struct vm_port *p = e->ports;

	while (p && p->ifindex != ifindex)
		p = p->next;
	return p;
}

bool vm_port_is(struct skep_engine *e, uint32_t ifindex)
{
	bool is;

	pthread_mutex_lock(&e->lock);
	is = vm_port_find(e, ifindex) != NULL;
	pthread_mutex_unlock(&e->lock);
	return is;
}

int vm_port_add(struct skep_engine *e, struct vm_port *p)
{
	int rc = 0;

	pthread_rwlock_wrlock(&e->ports_turn);
	pthread_mutex_lock(&e->lock);
	if (vm_port_find(e, p->ifindex)) {
		rc = -EEXIST;
	} else {
		p->engine = e;
		p->next = e->ports;
		e->ports = p;
	}
	pthread_mutex_unlock(&e->lock);
	pthread_rwlock_unlock(&e->ports_turn);
	return rc;
}

void vm_port_remove(struct vm_port *p)
{
	struct skep_engine *e = p->engine;
	struct vm_port **at;

	if (!e)
		return;
	pthread_rwlock_wrlock(&e->ports_turn);
	pthread_mutex_lock(&e->lock);
	for (at = &e->ports; *at && *at != p; at = &(*at)->next)
		;
	if (*at)
		*at = p->next;
	pthread_mutex_unlock(&e->lock);
	pthread_rwlock_unlock(&e->ports_turn);
	p->engine = NULL;
}

bool vm_port_linked(const struct vm_port *p)
{
	struct prog *prog = vm_link_xdp(p->engine, p->ifindex);

	if (prog)
		vm_object_put(p->engine, &prog->obj);
	return prog || vm_tcx_any(p->engine, p->ifindex, VM_TCX_INGRESS);
}

/* ---- one frame ------------------------------------------------------------------------------- */

static void begin(struct batch *b, struct skep_engine *e, struct prog *prog)
{
	b->call = (struct call){.e = e, .caller = &vm_self};
	vm_run_init(&b->run, e, &b->call, prog);
	b->run.xdp = &b->md;
	b->run.l2 = true;
	vm_run_region(&b->run, REGION_CTX, &b->md, sizeof(b->md), true);
}

static uint32_t decide(struct batch *b, const struct vm_port *p, struct vm_frame *f,
		       uint32_t egress)
{
	struct packet *pkt = &b->run.pkt;
	uint32_t verdict;

	*pkt = (struct packet){.buf = f->buf,
			       .cap = VM_FRAME_SIZE - VM_FRAME_TAIL,
			       .start = f->start,
			       .meta = b->meta,
			       .len = f->len};
	b->md = (struct xdp_md){.ingress_ifindex = p->ifindex,
				.rx_queue_index = p->queue,
				.egress_ifindex = egress};
	b->run.redirect.ifindex = 0;
	b->run.redirect.flags = 0;
	b->run.redirect.map = NULL;
	vm_packet_sync(&b->run);
	if (vm_run_once(&b->run, &b->md, &verdict))
		verdict = XDP_ABORTED;
	f->start = pkt->start;
	f->len = pkt->len;
	return verdict;
}

void vm_port_pass(struct vm_port *p, struct vm_frame *f)
{
	int rc = p->ops->pass(p, f);

	if (!rc)
		p->count.passed++;
	else if (rc == -EOPNOTSUPP)
		p->count.unpassed++;
	else
		p->count.unsent++;
}

void vm_port_send(struct vm_port *p, struct vm_frame *f, bool keep)
{
	if (p->ops->send(p, f, keep))
		p->count.unsent++;
	else
		p->count.sent++;
}

/* The program that a slot of a devmap holds sees what leaves; only XDP_PASS lets it. */
static bool leaves(struct vm_port *from, struct vm_frame *f, uint32_t to, uint32_t prog_id)
{
	struct object *o = vm_object_by_id(from->engine, OBJECT_PROG, prog_id);
	struct batch b = {.meta = 0};
	uint32_t verdict;

	if (!o)
		return false;
	begin(&b, from->engine, vm_prog_of(o));
	verdict = decide(&b, from, f, to);
	vm_object_put(from->engine, o);
	return verdict == XDP_PASS;
}

static void send_to(struct vm_port *from, struct vm_frame *f, const struct bpf_devmap_val *to,
		    bool keep)
{
	struct vm_port *p =
		vm_port_find(from->engine, to->ifindex); /* P1: ports do not change now */

	if (!p)
		from->count.astray++;
	else if (to->bpf_prog.id && !leaves(from, f, to->ifindex, to->bpf_prog.id))
		from->count.drop++;
	else
		vm_port_send(p, f, keep);
}

struct crowd {
	struct vm_port *from;
	struct vm_frame *frame;
	uint32_t except;
};

static void send_each(const struct crowd *c, const struct bpf_devmap_val *to)
{
	struct vm_frame copy = *c->frame;

	if (to->ifindex && to->ifindex != c->except)
		send_to(c->from, &copy, to, true);
}

static struct bpf_devmap_val target_of(const struct map *m, const void *value)
{
	struct bpf_devmap_val to = {0};

	memcpy(&to, value, m->def.value_size);
	return to;
}

static void broadcast(struct vm_port *from, struct vm_frame *f, struct map *m, uint64_t flags)
{
	struct crowd c = {from, f, flags & BPF_F_EXCLUDE_INGRESS ? from->ifindex : 0};
	struct bpf_devmap_val to;
	uint32_t key;
	void *value;
	int rc;

	for (rc = map_sys_next_key(m, NULL, &key); !rc; rc = map_sys_next_key(m, &key, &key)) {
		value = map_lookup(m, &key);
		if (!value)
			continue;
		to = target_of(m, value);
		send_each(&c, &to);
	}
}

/* What no XDP program kept: through tc to the stack. */
static void up(struct vm_port *p, struct vm_frame *f)
{
	if (vm_tc_ingress(p, f))
		vm_port_pass(p, f);
}

static void redirect(const struct batch *b, struct vm_port *from, struct vm_frame *f)
{
	struct bpf_devmap_val to = {.ifindex = b->run.redirect.ifindex};
	struct map *m = b->run.redirect.map;
	uint32_t key = (uint32_t)b->run.redirect.key;
	void *value;

	if (!m) {
		send_to(from, f, &to, false);
		return;
	}
	if (m->def.type == BPF_MAP_TYPE_CPUMAP) {
		up(from, f); /* all CPUs lead to the same stack */
		return;
	}
	if (b->run.redirect.flags & BPF_F_BROADCAST) {
		broadcast(from, f, m, b->run.redirect.flags);
		return;
	}
	value = m->def.type == BPF_MAP_TYPE_XSKMAP ? NULL : map_lookup(m, &key);
	if (value)
		to = target_of(m, value);
	send_to(from, f, &to, false);
}

static void obey(const struct batch *b, struct vm_port *p, struct vm_frame *f, uint32_t verdict)
{
	switch (verdict) {
	case XDP_DROP:
		p->count.drop++;
		break;
	case XDP_PASS:
		p->count.pass++;
		up(p, f);
		break;
	case XDP_TX:
		p->count.tx++;
		vm_port_send(p, f, false);
		break;
	case XDP_REDIRECT:
		p->count.redirect++;
		redirect(b, p, f);
		break;
	default:
		p->count.aborted++;
	}
}

uint64_t vm_port_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void run_batch(struct vm_port *p, struct prog *prog, struct vm_frame *frames, unsigned n,
		      uint32_t meta)
{
	uint64_t from = p->engine->stats ? vm_port_clock() : 0;
	struct batch b = {.meta = meta};
	unsigned i;

	begin(&b, p->engine, prog);
	for (i = 0; i < n; i++)
		obey(&b, p, &frames[i], decide(&b, p, &frames[i], 0));
	if (from)
		vm_prog_count(p->engine, prog, vm_port_clock() - from, n);
}

void vm_port_receive(struct vm_port *p, struct vm_frame *frames, unsigned n)
{
	struct prog *prog = vm_link_xdp(p->engine, p->ifindex);
	unsigned cpu = map_cpu, i;

	p->count.received += n;
	for (i = 0; i < n; i++)
		p->count.bytes += frames[i].len;
	if (!prog) {
		for (i = 0; i < n; i++)
			up(p, &frames[i]);
		return;
	}
	run_batch(p, prog, frames, n, 0);
	map_cpu = cpu;
	vm_object_put(p->engine, &prog->obj);
}

/* ---- frames that a caller made ----------------------------------------------------------------- */

#define LOOPBACK 1U

static int send_nowhere(struct vm_port *p maybe_unused, struct vm_frame *f maybe_unused,
			bool keep maybe_unused)
{
	return -EOPNOTSUPP;
}

static int pass_nowhere(struct vm_port *p maybe_unused, struct vm_frame *f maybe_unused)
{
	return -EOPNOTSUPP;
}

static void fill(struct vm_frame *frames, unsigned n, const struct vm_live *l)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		frames[i].start = VM_FRAME_HEAD;
		frames[i].len = l->len;
		memcpy(frames[i].buf + VM_FRAME_HEAD - l->meta, l->data - l->meta,
		       l->len + l->meta);
	}
}

/* One batch at most. Return: frames, -errno. */
static int live_batch(struct skep_engine *e, struct prog *p, const struct vm_live *l,
		      struct vm_port *nowhere, uint32_t left)
{
	struct vm_frame frames[VM_PORT_BATCH];
	struct vm_port *port = vm_port_find(e, l->ifindex);
	struct vm_port *lender = port ? port : e->ports;
	unsigned n;

	if (!lender || !lender->ops->lend || (!port && l->ifindex != LOOPBACK))
		return -EOPNOTSUPP;
	n = lender->ops->lend(lender, frames, min(left, VM_PORT_BATCH));
	if (!n)
		return -ENOMEM;
	fill(frames, n, l);
	run_batch(port ? port : nowhere, p, frames, n, l->meta);
	lender->ops->settle(lender, frames, n);
	return (int)n;
}

int vm_port_live(struct skep_engine *e, struct prog *p, const struct vm_live *l)
{
	static const struct vm_port_ops ops = {send_nowhere, pass_nowhere, NULL, NULL};
	struct vm_port nowhere = {.ops = &ops, .ifindex = LOOPBACK, .engine = e};
	unsigned cpu = map_cpu;
	uint32_t left = l->times;
	int n = 0;

	while (left && n >= 0) {
		pthread_rwlock_wrlock(&e->ports_turn);
		n = live_batch(e, p, l, &nowhere, left);
		vm_tc_forget(&nowhere);
		end_turn(e);
		left -= (uint32_t)max(n, 0);
	}
	map_cpu = cpu;
	return min(n, 0);
}
