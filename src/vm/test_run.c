// SPDX-License-Identifier: Apache-2.0
/*
 * BPF_PROG_TEST_RUN: a program on data that the caller gives.
 *
 *	ctx_in, data_in --> context, packet --> run, repeat times --> ctx_out, data_out, retval, duration
 *
 * R1  The packet is not put back between repeats, as in the kernel.
 * R2  Sizes, checks and their order are the kernel's: a packet and what the kernel puts around it fit
 *     one page.
 */
#include <linux/if_ether.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <time.h>

#include "vm/help.h"
#include "vm/shadow.h"

#define PAGE	   4096U
#define SKB_HEAD   64U	/* before a packet */
#define SKB_TAIL   320U /* behind it: struct skb_shared_info */
#define XDP_HEAD   256U
#define XDP_META   (XDP_HEAD - 40U) /* metadata at most: the frame's head stands there too */
#define FRAGS_MAX  17U
#define LIVE_BATCH 256U
#define LIVE_HEAD  112U /* before a live frame's headroom: struct xdp_page_head */
#define GSO_MAX	   65535U
#define GSO_SIZE   65536U

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* Runs it @repeat times; *duration is nanoseconds for each. */
static int repeat(struct run *r, const void *ctx, uint32_t times, uint32_t *retval,
		  uint32_t *duration)
{
	/* What others did meanwhile is not counted, as in the kernel; the clock costs a system call. */
	clockid_t clock = times > 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
	uint64_t from = now_ns(clock), spent;
	uint32_t i;
	int rc = 0;

	times = max(times, 1U);
	for (i = 0; !rc && i < times; i++)
		rc = vm_run_once(r, ctx, retval);
	spent = now_ns(clock) - from;
	vm_prog_count(r->vm.engine, r->prog, spent, times);
	*duration = (uint32_t)min(spent / times, (uint64_t)UINT32_MAX);
	return rc;
}

/* ---- contexts in and out ----------------------------------------------------------------------- */

/* *given: is there one at all? */
static int ctx_read(struct call *c, void *ctx, uint32_t size, bool *given)
{
	const union bpf_attr *a = &c->attr.a;
	int rc;

	memset(ctx, 0, size);
	*given = a->test.ctx_in || a->test.ctx_out;
	if (!a->test.ctx_in)
		return 0;
	rc = vm_call_tail_zero(c, a->test.ctx_in, size, a->test.ctx_size_in);
	return rc ? rc : vm_call_read(c, ctx, a->test.ctx_in, min(size, a->test.ctx_size_in));
}

static int ctx_write(struct call *c, const void *ctx, uint32_t size, bool given)
{
	const union bpf_attr *a = &c->attr.a;

	if (!given || !a->test.ctx_out)
		return 0;
	if (vm_call_write(c, a->test.ctx_out, ctx, min(size, a->test.ctx_size_out)) ||
	    vm_call_put(c, test.ctx_size_out, size))
		return -EFAULT;
	return size > a->test.ctx_size_out ? -ENOSPC : 0;
}

static bool zero(const void *ctx, size_t from, size_t to)
{
	const uint8_t *p = ctx;

	while (from < to && !p[from])
		from++;
	return from == to;
}

/* Data, retval and duration out. @more may be NULL. */
static int finish(struct call *c, const uint8_t *data, uint32_t len, const uint8_t *more,
		  uint32_t more_len, uint32_t retval, uint32_t duration)
{
	const union bpf_attr *a = &c->attr.a;
	uint32_t size = len + more_len, copy = size, linear;
	int rc = 0;

	if (a->test.data_size_out && copy > a->test.data_size_out) {
		copy = a->test.data_size_out;
		rc = -ENOSPC;
	}
	if (a->test.data_out && copy < more_len)
		return -ENOSPC;
	linear = copy - more_len; /* what is cut off is linear bytes, even if fragments follow */
	if (a->test.data_out && (vm_call_write(c, a->test.data_out, data, linear) ||
				 vm_call_write(c, a->test.data_out + linear, more, more_len)))
		return -EFAULT;
	if (vm_call_put(c, test.data_size_out, size) || vm_call_put(c, test.retval, retval) ||
	    vm_call_put(c, test.duration, duration))
		return -EFAULT;
	return rc;
}

/* ---- XDP ---------------------------------------------------------------------------------------- */

static bool is_live(const union bpf_attr *a)
{
	return a->test.flags & BPF_F_TEST_XDP_LIVE_FRAMES;
}

static int xdp_check(const union bpf_attr *a, const struct prog *p)
{
	if (p->attach_type == BPF_XDP_DEVMAP || p->attach_type == BPF_XDP_CPUMAP)
		return -EINVAL;
	if (a->test.flags & ~(uint32_t)BPF_F_TEST_XDP_LIVE_FRAMES ||
	    p->flags & VM_F_XDP_DEV_BOUND_ONLY)
		return -EINVAL;
	if (is_live(a))
		return a->test.batch_size > LIVE_BATCH ? -E2BIG : 0;
	return a->test.batch_size ? -EINVAL : 0;
}

/* It is all in one page. */
static int live_check(const union bpf_attr *a, uint32_t meta, uint32_t linear)
{
	uint32_t most = PAGE - (XDP_HEAD - meta) - LIVE_HEAD - SKB_TAIL;

	return is_live(a) && a->test.data_size_in > min(linear, most) ? -EINVAL : 0;
}

static int xdp_device(struct skep_engine *e, const struct xdp_md *md)
{
	char name[IF_NAMESIZE];

	if (md->egress_ifindex || (!md->ingress_ifindex && md->rx_queue_index))
		return -EINVAL;
	if (!md->ingress_ifindex)
		return 0;
	if (!vm_port_is(e, md->ingress_ifindex) && !if_indextoname(md->ingress_ifindex, name))
		return -ENODEV;
	return md->rx_queue_index ? -EINVAL : 0;
}

static int xdp_ctx(struct call *c, struct xdp_md *md, bool *given, uint32_t *meta, uint32_t *linear)
{
	const union bpf_attr *a = &c->attr.a;
	int rc = ctx_read(c, md, sizeof(*md), given);

	*linear = a->test.data_size_in;
	if (rc || !*given)
		return rc;
	if (md->data_meta || md->data_end > a->test.data_size_in || md->data > md->data_end ||
	    (is_live(a) && (a->test.data_out || a->test.ctx_out)))
		return -EINVAL;
	*meta = md->data;
	if (*meta & 3 || *meta > 255 || *meta > XDP_META)
		return -EINVAL;
	*linear = md->data_end;
	if (live_check(a, *meta, *linear) || a->test.data_size_in - *meta < ETH_HLEN)
		return -EINVAL;
	return xdp_device(c->e, md);
}

static int xdp_more(struct call *c, struct packet *p, uint32_t linear)
{
	uint32_t n = c->attr.a.test.data_size_in - linear;

	if (!n)
		return 0;
	if (n > FRAGS_MAX * PAGE)
		return -ENOMEM;
	p->more_cap = (n + PAGE - 1) / PAGE * PAGE;
	p->more = calloc(1, p->more_cap);
	if (!p->more)
		return -ENOMEM;
	p->more_len = n;
	return vm_call_read(c, p->more, c->attr.a.test.data_in + linear, n);
}

static int xdp_packet(struct call *c, struct run *r, uint32_t meta, uint32_t linear)
{
	struct packet *p = &r->pkt;
	int rc;

	linear = min(linear, PAGE - (XDP_HEAD - meta) - SKB_TAIL);
	rc = vm_packet_open(p);
	if (rc)
		return rc;
	p->cap = PAGE - SKB_TAIL;
	p->start = XDP_HEAD;
	p->meta = meta;
	p->len = linear - min(meta, linear);
	if (vm_call_read(c, p->buf + XDP_HEAD - meta, c->attr.a.test.data_in, linear))
		return -EFAULT;
	return xdp_more(c, p, linear);
}

static int xdp_go(struct call *c, struct run *r, const struct xdp_md *in, bool given)
{
	struct xdp_md md = {.ingress_ifindex = in->ingress_ifindex ? in->ingress_ifindex : 1,
			    .rx_queue_index = in->rx_queue_index};
	struct xdp_md out = *in;
	struct packet *p = &r->pkt;
	uint32_t retval = 0, duration;
	int rc;

	r->xdp = &md;
	r->l2 = true;
	vm_run_region(r, REGION_CTX, &md, sizeof(md), true);
	vm_packet_sync(r);
	rc = repeat(r, &md, c->attr.a.test.repeat, &retval, &duration);
	if (rc)
		return rc;
	out.data = p->meta;
	out.data_end = p->meta + p->len;
	rc = finish(c, p->buf + p->start - p->meta, p->len + p->meta, p->more, p->more_len, retval,
		    duration);
	return rc ? rc : ctx_write(c, &out, sizeof(out), given);
}

/* What becomes of the frames is seen at the ports. */
static int xdp_live(struct call *c, struct run *r, const struct xdp_md *in)
{
	const union bpf_attr *a = &c->attr.a;
	const struct packet *p = &r->pkt;
	struct vm_live live = {
		.ifindex = in->ingress_ifindex ? in->ingress_ifindex : 1,
		.data = p->buf + p->start,
		.meta = p->meta,
		.len = p->len,
		.times = max(a->test.repeat, 1U),
	};
	uint64_t from = now_ns(CLOCK_MONOTONIC);
	int rc = vm_port_live(c->e, r->prog, &live);
	uint64_t each = (now_ns(CLOCK_MONOTONIC) - from) / live.times;

	if (rc)
		return rc;
	return finish(c, live.data - live.meta, live.len + live.meta, NULL, 0, 0,
		      (uint32_t)min(each, (uint64_t)UINT32_MAX));
}

static int run_xdp(struct call *c, struct run *r)
{
	uint32_t meta = 0, linear;
	struct xdp_md md;
	bool given;
	int rc = xdp_check(&c->attr.a, r->prog);

	if (!rc)
		rc = xdp_ctx(c, &md, &given, &meta, &linear);
	if (!rc)
		rc = live_check(&c->attr.a, meta, linear);
	if (!rc && c->attr.a.test.data_size_in - meta < ETH_HLEN)
		rc = -EINVAL;
	if (!rc)
		rc = xdp_packet(c, r, meta, linear);
	if (rc)
		return rc;
	return is_live(&c->attr.a) ? xdp_live(c, r, &md) : xdp_go(c, r, &md, given);
}

/* ---- socket buffers -------------------------------------------------------------------------------- */

#define BEHIND(field) (offsetof(struct __sk_buff, field) + sizeof(((struct __sk_buff *)0)->field))
#define AT(field)     offsetof(struct __sk_buff, field)

static int skb_check(const struct __sk_buff *in, uint32_t len)
{
	if (!zero(in, 0, AT(mark)) || !zero(in, BEHIND(mark), AT(priority)) ||
	    !zero(in, BEHIND(ifindex), AT(cb)) || !zero(in, BEHIND(cb), AT(tstamp)) ||
	    !zero(in, BEHIND(gso_segs), AT(gso_size)) ||
	    !zero(in, BEHIND(gso_size), AT(hwtstamp)) || !zero(in, BEHIND(hwtstamp), sizeof(*in)))
		return -EINVAL;
	if (in->wire_len && (in->wire_len < len || in->wire_len > GSO_SIZE))
		return -EINVAL;
	return in->gso_segs > GSO_MAX ? -EINVAL : 0;
}

/* As eth_type_trans() sees it on a device without an address of its own. */
static uint32_t packet_type(const uint8_t *eth)
{
	static const uint8_t none[ETH_ALEN], all[ETH_ALEN] = {255, 255, 255, 255, 255, 255};

	if (!memcmp(eth, none, ETH_ALEN))
		return 0;
	if (eth[0] & 1)
		return memcmp(eth, all, ETH_ALEN) ? 2 : 1;
	return 3;
}

static int skb_sock(struct run *r, struct __sk_buff *skb, const uint8_t *net, uint32_t len)
{
	switch (ntohs((uint16_t)skb->protocol)) {
	case ETH_P_IP:
		if (len < sizeof(struct iphdr))
			return -EINVAL;
		skb->family = r->sock.family = AF_INET;
		memcpy(&r->sock.src_ip4, net + offsetof(struct iphdr, saddr), 4);
		memcpy(&r->sock.dst_ip4, net + offsetof(struct iphdr, daddr), 4);
		break;
	case ETH_P_IPV6:
		if (len < sizeof(struct ip6_hdr))
			return -EINVAL;
		skb->family = r->sock.family = AF_INET6;
		memcpy(r->sock.src_ip6, net + offsetof(struct ip6_hdr, ip6_src), 16);
		memcpy(r->sock.dst_ip6, net + offsetof(struct ip6_hdr, ip6_dst), 16);
		break;
	}
	return 0;
}

static int skb_make(struct call *c, struct run *r, const struct __sk_buff *in, bool given,
		    struct __sk_buff *skb)
{
	const uint8_t *eth = r->pkt.buf + r->pkt.start;
	uint32_t size = r->pkt.len;
	char name[IF_NAMESIZE];
	uint16_t proto;
	int rc;

	if (in->ifindex > 1 && !if_indextoname(in->ifindex, name))
		return -ENODEV;
	memcpy(&proto, eth + 12, 2);
	*skb = (struct __sk_buff){.pkt_type = packet_type(eth), .protocol = proto};
	rc = skb_sock(r, skb, eth + ETH_HLEN, size - ETH_HLEN);
	if (!r->l2) {
		r->pkt.start += ETH_HLEN;
		r->pkt.len -= ETH_HLEN;
		r->mac = ETH_HLEN;
	}
	if (!rc)
		rc = skb_check(in, r->pkt.len);
	if (rc)
		return rc;
	skb->mark = in->mark;
	skb->priority = in->priority;
	skb->ingress_ifindex = in->ingress_ifindex;
	skb->ifindex = in->ifindex ? in->ifindex : 1;
	skb->tstamp = in->tstamp;
	memcpy(skb->cb, in->cb, sizeof(skb->cb));
	if (given)
		skb->wire_len = in->wire_len ? in->wire_len : r->pkt.len;
	skb->gso_segs = in->gso_segs;
	skb->gso_size = in->gso_size;
	skb->hwtstamp = in->hwtstamp;
	skb->sk = &r->sock;
	return c->attr.a.test.flags & ~(uint32_t)BPF_F_TEST_SKB_CHECKSUM_COMPLETE ? -EINVAL : 0;
}

static void skb_back(struct __sk_buff *out, const struct __sk_buff *skb)
{
	out->mark = skb->mark;
	out->priority = skb->priority;
	out->ingress_ifindex = skb->ingress_ifindex;
	out->ifindex = skb->ifindex;
	out->tstamp = skb->tstamp;
	memcpy(out->cb, skb->cb, sizeof(out->cb));
	out->wire_len = skb->wire_len;
	out->gso_segs = skb->gso_segs;
	out->hwtstamp = skb->hwtstamp;
}

static int skb_packet(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	int rc;

	if (a->test.flags & ~(uint32_t)BPF_F_TEST_SKB_CHECKSUM_COMPLETE || a->test.cpu ||
	    a->test.batch_size || a->test.data_size_in < ETH_HLEN ||
	    a->test.data_size_in > PAGE - SKB_HEAD - SKB_TAIL)
		return -EINVAL;
	rc = vm_packet_open(&r->pkt);
	if (rc)
		return rc;
	/* More room than the kernel's, which would get more when asked. */
	r->pkt.start = PACKET_BUF / 4;
	r->pkt.len = a->test.data_size_in;
	return vm_call_read(c, r->pkt.buf + r->pkt.start, a->test.data_in, r->pkt.len);
}

static int skb_go(struct call *c, struct run *r, struct __sk_buff *in, bool given)
{
	struct packet *p = &r->pkt;
	struct __sk_buff skb;
	uint32_t retval = 0, duration;
	int rc = skb_make(c, r, in, given, &skb);

	if (rc)
		return rc;
	r->skb = &skb;
	vm_run_region(r, REGION_CTX, &skb, sizeof(skb), true);
	vm_run_region(r, REGION_SOCK, &r->sock, sizeof(r->sock), false);
	vm_packet_sync(r);
	rc = repeat(r, &skb, c->attr.a.test.repeat, &retval, &duration);
	if (rc)
		return rc;
	if (!r->l2) {
		p->start -= ETH_HLEN;
		p->len += ETH_HLEN;
		memset(p->buf + p->start, 0, ETH_HLEN);
	}
	skb_back(in, &skb);
	rc = finish(c, p->buf + p->start, p->len, NULL, 0, retval, duration);
	return rc ? rc : ctx_write(c, in, sizeof(*in), given);
}

static int run_skb(struct call *c, struct run *r)
{
	struct __sk_buff in;
	bool given;
	int rc = skb_packet(c, r);

	r->l2 = r->prog->type == BPF_PROG_TYPE_SCHED_CLS ||
		r->prog->type == BPF_PROG_TYPE_SCHED_ACT;
	if (!rc)
		rc = ctx_read(c, &in, sizeof(in), &given);
	return rc ? rc : skb_go(c, r, &in, given);
}

/* ---- flow dissector ----------------------------------------------------------------------------------- */

static uint16_t clamp(uint16_t v, uint32_t lo, uint32_t hi)
{
	return (uint16_t)(v < lo ? lo : v > hi ? hi : v);
}

static int flow_go(struct call *c, struct run *r, const struct bpf_flow_keys *in, bool given)
{
	struct bpf_flow_keys keys = {.nhoff = ETH_HLEN, .thoff = ETH_HLEN, .flags = in->flags};
	struct __sk_buff skb = {.flow_keys = &keys};
	uint32_t retval = 0, duration;
	int rc;

	memcpy(&keys.n_proto, r->pkt.buf + r->pkt.start + 12, 2);
	skb.protocol = keys.n_proto;
	r->skb = &skb;
	r->l2 = true;
	vm_run_region(r, REGION_CTX, &skb, sizeof(skb), true);
	vm_run_region(r, REGION_KEYS, &keys, sizeof(keys), true);
	vm_packet_sync(r);
	rc = repeat(r, &skb, c->attr.a.test.repeat, &retval, &duration);
	if (rc)
		return rc;
	keys.nhoff = clamp(keys.nhoff, ETH_HLEN, r->pkt.len);
	keys.thoff = clamp(keys.thoff, keys.nhoff, r->pkt.len);
	rc = finish(c, (const uint8_t *)&keys, sizeof(keys), NULL, 0, retval, duration);
	return rc ? rc : ctx_write(c, in, sizeof(*in), given);
}

static int run_flow(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	struct bpf_flow_keys in;
	bool given;
	int rc;

	if (a->test.flags || a->test.cpu || a->test.batch_size || a->test.data_size_in < ETH_HLEN ||
	    a->test.data_size_in > PAGE)
		return -EINVAL;
	rc = vm_packet_open(&r->pkt);
	r->pkt.len = a->test.data_size_in;
	if (!rc)
		rc = vm_call_read(c, r->pkt.buf, a->test.data_in, r->pkt.len);
	if (!rc)
		rc = ctx_read(c, &in, sizeof(in), &given);
	if (!rc && (!zero(&in, 0, offsetof(struct bpf_flow_keys, flags)) ||
		    !zero(&in, offsetof(struct bpf_flow_keys, flags) + 4, sizeof(in))))
		rc = -EINVAL;
	return rc ? rc : flow_go(c, r, &in, given);
}

/* ---- socket lookup ------------------------------------------------------------------------------------- */

static int lookup_check(const struct bpf_sk_lookup *in)
{
	size_t end = offsetof(struct bpf_sk_lookup, local_port) + 4;

	if (in->sk || !zero(in, end, sizeof(*in)))
		return -EINVAL;
	if (in->local_port > UINT16_MAX)
		return -ERANGE;
	return in->family == AF_INET || in->family == AF_INET6 ? 0 : -EAFNOSUPPORT;
}

static int run_lookup(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	struct bpf_sk_lookup in, ctx;
	uint32_t retval = 0, duration;
	bool given;
	int rc;

	if (a->test.flags || a->test.cpu || a->test.batch_size || a->test.data_in ||
	    a->test.data_size_in || a->test.data_out || a->test.data_size_out)
		return -EINVAL;
	rc = ctx_read(c, &in, sizeof(in), &given);
	if (rc || !given)
		return rc ? rc : -EINVAL;
	rc = lookup_check(&in);
	if (rc)
		return rc;
	ctx = in;
	vm_run_region(r, REGION_CTX, &ctx, sizeof(ctx), true);
	rc = repeat(r, &ctx, a->test.repeat, &retval, &duration);
	if (rc)
		return rc;
	rc = finish(c, NULL, 0, NULL, 0, retval, duration);
	return rc ? rc : ctx_write(c, &in, sizeof(in), given);
}

/* ---- raw tracepoints, system calls --------------------------------------------------------------------- */

static int run_raw_tp(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	uint64_t args[12] = {0};
	uint32_t retval = 0;
	int rc;

	if (a->test.data_in || a->test.data_out || a->test.ctx_out || a->test.duration ||
	    a->test.repeat || a->test.batch_size || a->test.ctx_size_in > sizeof(args))
		return -EINVAL;
	if (!(a->test.flags & BPF_F_TEST_RUN_ON_CPU) && a->test.cpu)
		return -EINVAL;
	if (vm_call_read(c, args, a->test.ctx_in, a->test.ctx_size_in))
		return -EFAULT;
	if (a->test.flags & BPF_F_TEST_RUN_ON_CPU) {
		if (a->test.cpu >= c->e->options.cpus)
			return -ENXIO;
		map_cpu = r->vm.jit.cpu = a->test.cpu;
	}
	vm_run_region(r, REGION_CTX, args, a->test.ctx_size_in, true);
	rc = vm_run_once(r, args, &retval);
	vm_prog_count(r->vm.engine, r->prog, 0, 1);
	return rc ? rc : vm_call_put(c, test.retval, retval);
}

static int run_syscall(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	uint32_t size = a->test.ctx_size_in, retval = 0;
	cleanup(mem_free) uint8_t *ctx = NULL;
	int rc;

	if (a->test.data_in || a->test.data_out || a->test.ctx_out || a->test.duration ||
	    a->test.repeat || a->test.flags || a->test.batch_size || size > UINT16_MAX)
		return -EINVAL;
	ctx = calloc(1, size + 8);
	if (!ctx)
		return -ENOMEM;
	if (vm_call_read(c, ctx, a->test.ctx_in, size))
		return -EFAULT;
	vm_run_region(r, REGION_CTX, ctx, size, true);
	rc = vm_run_once(r, ctx, &retval);
	vm_prog_count(r->vm.engine, r->prog, 0, 1);
	if (rc)
		return rc;
	if (vm_call_put(c, test.retval, retval))
		return -EFAULT;
	return vm_call_write(c, a->test.ctx_in, ctx, size);
}

/* ---- netfilter ------------------------------------------------------------------------------------------ */

enum { NFPROTO_IPV4 = 2, NFPROTO_IPV6 = 10, NF_INET_LOCAL_OUT = 3 }; /* of <linux/netfilter.h> */

/* The kernel's struct nf_hook_state, as callers give it. */
struct hook_state {
	uint8_t hook, pf;
	uint64_t in, out, sk, net, okfn;
};

static int nf_state(struct call *c, struct hook_state *st)
{
	struct hook_state in;
	bool given;
	int rc = ctx_read(c, &in, sizeof(in), &given);

	*st = (struct hook_state){.hook = NF_INET_LOCAL_OUT, .pf = NFPROTO_IPV4};
	if (rc || !given)
		return rc;
	if (in.in || in.out || in.net || in.sk || in.okfn ||
	    (in.pf != NFPROTO_IPV4 && in.pf != NFPROTO_IPV6))
		return -EINVAL;
	*st = in;
	return 0;
}

/* Behind its link header, if the hook is one where packets come in with one. */
static int nf_packet(struct call *c, struct run *r, const struct hook_state *st, uint16_t *protocol)
{
	struct packet *p = &r->pkt;
	uint16_t want = htons(st->pf == NFPROTO_IPV4 ? ETH_P_IP : ETH_P_IPV6);
	int rc = vm_packet_open(p);

	p->start = PACKET_BUF / 4;
	p->len = c->attr.a.test.data_size_in;
	if (!rc)
		rc = vm_call_read(c, p->buf + p->start, c->attr.a.test.data_in, p->len);
	*protocol = want;
	if (rc || st->hook == NF_INET_LOCAL_OUT)
		return rc;
	if (p->len < ETH_HLEN + sizeof(struct iphdr))
		return -EINVAL;
	memcpy(protocol, p->buf + p->start + 12, 2);
	if (*protocol != htons(ETH_P_IP) && *protocol != htons(ETH_P_IPV6))
		return -EPROTO;
	if (*protocol != want ||
	    (st->pf == NFPROTO_IPV6 && p->len < ETH_HLEN + sizeof(struct ip6_hdr)))
		return -EINVAL;
	p->start += ETH_HLEN;
	p->len -= ETH_HLEN;
	r->mac = ETH_HLEN;
	return 0;
}

/* What the context points to lives as long as one run. */
static int nf_once(struct run *r, const struct hook_state *st, uint16_t protocol, uint32_t *retval)
{
	struct shadow state = vm_shadow(r, "nf_hook_state"), skb = vm_shadow(r, "sk_buff");
	const uint64_t ctx[] = {(uintptr_t)state.at, (uintptr_t)skb.at};

	vm_shadow_set(&state, "hook", st->hook);
	vm_shadow_set(&state, "pf", st->pf);
	vm_shadow_set(&skb, "len", r->pkt.len);
	vm_shadow_set(&skb, "protocol", protocol);
	vm_shadow_set(&skb, "data", (uintptr_t)(r->pkt.buf + r->pkt.start));
	r->skb_at = (uintptr_t)skb.at;
	vm_run_region(r, REGION_CTX, ctx, sizeof(ctx), false);
	vm_packet_sync(r);
	return vm_run_once(r, ctx, retval);
}

static int run_netfilter(struct call *c, struct run *r)
{
	const union bpf_attr *a = &c->attr.a;
	uint32_t retval = 0, i, times = max(a->test.repeat, 1U);
	uint64_t from;
	struct hook_state st;
	uint16_t protocol;
	int rc;

	if (a->test.flags || a->test.cpu || a->test.batch_size ||
	    a->test.data_size_in < sizeof(struct iphdr) ||
	    a->test.data_size_in > PAGE - SKB_HEAD - SKB_TAIL)
		return -EINVAL;
	rc = nf_state(c, &st);
	if (!rc)
		rc = nf_packet(c, r, &st, &protocol);
	from = now_ns(CLOCK_MONOTONIC);
	for (i = 0; !rc && i < times; i++)
		rc = nf_once(r, &st, protocol, &retval);
	from = now_ns(CLOCK_MONOTONIC) - from;
	vm_prog_count(r->vm.engine, r->prog, from, times);
	return rc ? rc
		  : finish(c, NULL, 0, NULL, 0, retval,
			   (uint32_t)min(from / times, (uint64_t)UINT32_MAX));
}

/* ---- all of them -------------------------------------------------------------------------------------- */

static int run_type(struct call *c, struct run *r)
{
	switch (r->prog->type) {
	case BPF_PROG_TYPE_XDP:
		return run_xdp(c, r);
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_LWT_IN:
	case BPF_PROG_TYPE_LWT_OUT:
	case BPF_PROG_TYPE_LWT_XMIT:
	case BPF_PROG_TYPE_LWT_SEG6LOCAL:
		return run_skb(c, r);
	case BPF_PROG_TYPE_FLOW_DISSECTOR:
		return run_flow(c, r);
	case BPF_PROG_TYPE_SK_LOOKUP:
		return run_lookup(c, r);
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
		return run_raw_tp(c, r);
	case BPF_PROG_TYPE_SYSCALL:
		return run_syscall(c, r);
	case VM_PROG_TYPE_NETFILTER:
		return run_netfilter(c, r);
	default:
		return -VM_ENOTSUPP;
	}
}

long vm_test_do_run(struct call *c)
{
	const union bpf_attr *a = &c->attr.a;
	unsigned cpu = map_cpu;
	struct prog *p;
	struct run r;
	int rc;

	if (!a->test.ctx_size_in != !a->test.ctx_in || !a->test.ctx_size_out != !a->test.ctx_out)
		return -EINVAL;
	rc = vm_prog_get(c, (int)a->test.prog_fd, &p);
	if (rc)
		return rc;
	vm_run_init(&r, c->e, c, p);
	rc = run_type(c, &r);
	vm_help_forget(&r);
	vm_packet_close(&r.pkt);
	map_cpu = cpu;
	vm_object_put(c->e, &p->obj);
	return rc;
}
