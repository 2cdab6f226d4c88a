// SPDX-License-Identifier: Apache-2.0
/*
 * port_tc.c: sched_cls programs at a port, as tcx runs them.
 *
 *	XDP_PASS, no XDP --> ingress chain --> the stack        from the stack, bpf_redirect()
 *	                       |  SHOT: gone                      --> egress chain --> send()
 *	                       '  REDIRECT: egress chain of another port, or its ingress chain
 *
 * A chain is run until a program decides: OK, SHOT or REDIRECT; UNSPEC and what is unknown ask the next,
 * and behind the last is OK. XDP_TX and XDP_REDIRECT leave below the egress chain, as in the kernel.
 *
 * T4  A port takes what stands at its hooks when a frame first needs it, and keeps it for the turn unless some
 *     hook changes: the frames behind take no lock. Nothing is kept between turns, where nobody might come
 *     to let it go.
 */
#include <linux/if_ether.h>

#include "vm/port.h"
#include "vm/port_inside.h"
#include "vm/run.h"
#include "vm/help.h"

#define DEPTH_MAX 4 /* redirections of a frame by tc */

enum { TC_NEXT = -1, TC_OK = 0, TC_SHOT = 2, TC_REDIRECT = 7 };

struct tc {
	struct run run;
	struct call call;
	struct __sk_buff skb;
	struct vm_port *port;
	struct vm_frame *frame;
	uint32_t ifindex; /* of a redirection */
	uint64_t flags;
};

/* By eth_type_trans(), but nobody here knows the device's own address: what is for one is for us. */
static uint32_t packet_type(const uint8_t *eth)
{
	static const uint8_t all[ETH_ALEN] = {255, 255, 255, 255, 255, 255};

	if (!(eth[0] & 1))
		return 0;
	return memcmp(eth, all, ETH_ALEN) ? 2 : 1;
}

static void describe(struct tc *t, bool egress)
{
	const uint8_t *eth = t->frame->buf + t->frame->start;
	uint16_t proto;

	memcpy(&proto, eth + 2 * ETH_ALEN, sizeof(proto));
	t->skb = (struct __sk_buff){
		.pkt_type = egress ? 4 : packet_type(eth),
		.protocol = proto,
		.ifindex = t->port->ifindex,
		.ingress_ifindex = egress ? 0 : t->port->ifindex,
		.wire_len = t->frame->len,
		.gso_segs = 1,
	};
}

/* bpf_clone_redirect(): the bytes are shared, so no egress chain may touch them. */
static int clone_to(struct run *r, uint32_t ifindex, uint64_t flags)
{
	struct tc *t = container_of(r, struct tc, run);
	struct vm_port *to = vm_port_find(t->port->engine, ifindex);
	struct vm_frame copy = *t->frame;

	copy.start = r->pkt.start;
	copy.len = r->pkt.len;
	if (!to || flags & BPF_F_INGRESS)
		return -EINVAL;
	vm_port_send(to, &copy, true);
	return 0;
}

static int run_one(struct tc *t, struct prog *p)
{
	struct skep_engine *e = t->port->engine;
	uint64_t from = e->stats ? vm_port_clock() : 0;
	uint32_t verdict;

	t->call = (struct call){.e = e, .caller = &vm_self};
	vm_run_init(&t->run, e, &t->call, p);
	t->run.skb = &t->skb;
	t->run.l2 = true;
	t->run.clone = clone_to;
	t->skb.sk = &t->run.sock;
	t->run.pkt = (struct packet){.buf = t->frame->buf,
				     .cap = VM_FRAME_SIZE - VM_FRAME_TAIL,
				     .start = t->frame->start,
				     .len = t->frame->len};
	vm_run_region(&t->run, REGION_CTX, &t->skb, sizeof(t->skb), true);
	vm_run_region(&t->run, REGION_SOCK, &t->run.sock, sizeof(t->run.sock), false);
	vm_packet_sync(&t->run);
	if (vm_run_once(&t->run, &t->skb, &verdict))
		verdict = TC_SHOT;
	if (from)
		vm_prog_count(e, p, vm_port_clock() - from, 1);
	vm_help_forget(&t->run);
	t->frame->start = t->run.pkt.start;
	t->frame->len = t->run.pkt.len;
	t->ifindex = t->run.redirect.ifindex;
	t->flags = t->run.redirect.flags;
	return (int)verdict;
}

static void let_go(struct skep_engine *e, struct vm_chain *c)
{
	while (c->n)
		vm_object_put(e, &c->progs[--c->n]->obj);
	c->taken = false;
}

void vm_tc_forget(struct vm_port *p)
{
	let_go(p->engine, &p->chains[0]);
	let_go(p->engine, &p->chains[1]);
}

static const struct vm_chain *chain_of(struct vm_port *p, bool egress)
{
	struct vm_chain *c = &p->chains[egress];

	if (c->taken && c->change == p->engine->tcx_changes)
		return c;
	let_go(p->engine, c);
	c->n = vm_tcx_programs(p->engine, p->ifindex, egress ? VM_TCX_EGRESS : VM_TCX_INGRESS,
			       c->progs, &c->change);
	c->taken = true;
	return c;
}

static bool decides(int verdict)
{
	return verdict == TC_OK || verdict == TC_SHOT || verdict == TC_REDIRECT;
}

static int run_chain(struct tc *t, bool egress)
{
	const struct vm_chain *c = chain_of(t->port, egress);
	int verdict = TC_NEXT;
	unsigned i;

	if (!c->n)
		return TC_OK;
	describe(t, egress);
	for (i = 0; i < c->n && !decides(verdict); i++)
		verdict = run_one(t, c->progs[i]);
	if (!decides(verdict))
		verdict = TC_OK;
	t->port->count.tc[verdict]++;
	return verdict;
}

static void redirect(struct vm_port *from, struct vm_frame *f, uint32_t ifindex, uint64_t flags,
		     unsigned depth);

/* Does the frame go on where it was going? */
static bool goes_on(struct vm_port *p, struct vm_frame *f, bool egress, unsigned depth)
{
	struct tc t = {.port = p, .frame = f};
	unsigned cpu = map_cpu;
	int verdict;

	if (!p->engine->n_tcx || f->len < ETH_HLEN)
		return true;
	verdict = run_chain(&t, egress);
	map_cpu = cpu;
	if (verdict == TC_REDIRECT)
		redirect(p, f, t.ifindex, t.flags, depth + 1);
	return verdict == TC_OK;
}

static void redirect(struct vm_port *from, struct vm_frame *f, uint32_t ifindex, uint64_t flags,
		     unsigned depth)
{
	struct vm_port *to = vm_port_find(from->engine, ifindex); /* P1 */

	if (!to || depth > DEPTH_MAX)
		from->count.astray++;
	else if (!goes_on(to, f, !(flags & BPF_F_INGRESS), depth))
		return;
	else if (flags & BPF_F_INGRESS)
		vm_port_pass(to, f);
	else
		vm_port_send(to, f, false);
}

bool vm_tc_ingress(struct vm_port *p, struct vm_frame *f)
{
	return goes_on(p, f, false, 0);
}

void vm_port_leave(struct vm_port *p, struct vm_frame *f)
{
	if (goes_on(p, f, true, 0))
		vm_port_send(p, f, false);
}
