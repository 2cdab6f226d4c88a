// SPDX-License-Identifier: Apache-2.0
/* Helpers on XDP frames, and redirection. */
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <net/if.h>

#include "vm/help.h"

#define FRAME_HEAD 40U /* the kernel keeps so much before a frame for itself */
#define META_MAX   255
#define EACH_MORE  4096 /* bytes of one fragment */

#define FAIL(e) ((uint64_t)(int64_t) - (e))

/* Apart, so that the way without metadata keeps no registers. */
__attribute__((cold, noinline)) static uint64_t move_head(struct run *r, uint32_t start)
{
	struct packet *p = &r->pkt;

	memmove(p->buf + start - p->meta, p->buf + p->start - p->meta, p->meta);
	p->len += p->start - start;
	p->start = start;
	vm_packet_sync(r);
	return 0;
}

HELPER_FN(xdp_adjust_head)
{
	struct run *r = vm_run_now();
	struct packet *p = &r->pkt;
	int64_t start = (int64_t)p->start + (int32_t)b;

	if (start < (int64_t)p->low + FRAME_HEAD + p->meta ||
	    start > (int64_t)p->start + p->len - ETH_HLEN)
		return FAIL(EINVAL);
	if (p->meta)
		return move_head(r, (uint32_t)start);
	p->len += p->start - (uint32_t)start;
	p->start = (uint32_t)start;
	vm_packet_sync(r);
	return 0;
}

/* Frames of more than one page grow and shrink at their last fragment. */
static int adjust_more(struct packet *p, int32_t by)
{
	if (by >= 0) {
		uint32_t last = p->more_len % EACH_MORE ? p->more_len % EACH_MORE : EACH_MORE;

		if ((uint32_t)by > EACH_MORE - last)
			return -EINVAL;
		memset(p->more + p->more_len, 0, (uint32_t)by);
		p->more_len += (uint32_t)by;
		return 0;
	}
	if ((int64_t)p->len + p->more_len + by < ETH_HLEN)
		return -EINVAL;
	if ((uint32_t)-by <= p->more_len) {
		p->more_len -= (uint32_t)-by;
		return 0;
	}
	p->len -= (uint32_t)-by - p->more_len;
	p->more_len = 0;
	return 0;
}

HELPER_FN(xdp_adjust_tail)
{
	struct run *r = vm_run_now();
	struct packet *p = &r->pkt;
	int64_t len = (int64_t)p->len + (int32_t)b;
	int rc = 0;

	if (p->more_len)
		rc = adjust_more(p, (int32_t)b);
	else if (p->start + len > p->cap || len < ETH_HLEN)
		rc = -EINVAL;
	else {
		if (len > p->len)
			memset(p->buf + p->start + p->len, 0, (size_t)(len - p->len));
		p->len = (uint32_t)len;
	}
	if (!rc)
		vm_packet_sync(r);
	return (uint64_t)(int64_t)rc;
}

HELPER_FN(xdp_adjust_meta)
{
	struct run *r = vm_run_now();
	struct packet *p = &r->pkt;
	int64_t meta = (int64_t)p->meta - (int32_t)b;

	if (meta > (int64_t)p->start - p->low - FRAME_HEAD || meta < 0)
		return FAIL(EINVAL);
	if (meta & 3 || meta > META_MAX)
		return FAIL(EACCES);
	p->meta = (uint32_t)meta;
	vm_packet_sync(r);
	return 0;
}

HELPER_FN(xdp_get_buff_len)
{
	const struct packet *p = &vm_run_now()->pkt;

	return p->len + p->more_len;
}

static uint64_t bytes(uint32_t off, uint32_t n, void *mem, bool store)
{
	struct packet *p = &vm_run_now()->pkt;

	if (off > 0xffff || n > 0xffff)
		return FAIL(EFAULT);
	return (store ? vm_packet_store(p, off, mem, n) : vm_packet_copy(p, off, mem, n))
		       ? 0
		       : FAIL(EINVAL);
}

HELPER_FN(xdp_load_bytes)
{
	return bytes((uint32_t)b, (uint32_t)d, PTR(c), false);
}

HELPER_FN(xdp_store_bytes)
{
	return bytes((uint32_t)b, (uint32_t)d, PTR(c), true);
}

/* ---- redirection ---------------------------------------------------------------------------------- */

enum { TC_SHOT = 2, TC_REDIRECT = 7 };

HELPER_FN(redirect)
{
	struct run *r = vm_run_now();

	if (b & ~(uint64_t)(r->xdp ? 0 : BPF_F_INGRESS))
		return r->xdp ? XDP_ABORTED : TC_SHOT;
	r->redirect.ifindex = (uint32_t)a;
	r->redirect.flags = b;
	r->redirect.map = NULL;
	return r->xdp ? XDP_REDIRECT : TC_REDIRECT;
}

HELPER_FN(redirect_peer)
{
	struct run *r = vm_run_now();

	if (b)
		return TC_SHOT;
	r->redirect.ifindex = (uint32_t)a;
	r->redirect.flags = b;
	r->redirect.map = NULL;
	return TC_REDIRECT;
}

HELPER_FN(redirect_neigh)
{
	struct run *r = vm_run_now();
	uint32_t len = (uint32_t)c;

	if ((len && len < sizeof(struct bpf_redir_neigh)) || d)
		return TC_ACT_SHOT;
	r->redirect.ifindex = (uint32_t)a;
	r->redirect.flags = 0;
	r->redirect.map = NULL;
	return TC_ACT_REDIRECT;
}

HELPER_FN(redirect_map)
{
	struct run *r = vm_run_now();
	struct map *m = PTR(a);
	uint32_t key = (uint32_t)b;
	bool dev = m->def.type == BPF_MAP_TYPE_DEVMAP || m->def.type == BPF_MAP_TYPE_DEVMAP_HASH;
	uint64_t actions = XDP_ABORTED | XDP_DROP | XDP_PASS | XDP_TX;
	uint64_t known = actions | (dev ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : 0);

	if (c & ~known)
		return XDP_ABORTED;
	r->redirect.map = NULL;
	if (!(c & BPF_F_BROADCAST) && !map_lookup(m, &key))
		return c & actions;
	r->redirect.map = m;
	r->redirect.key = key;
	r->redirect.flags = c;
	return XDP_REDIRECT;
}

HELPER_FN(clone_redirect)
{
	char name[IF_NAMESIZE];

	if (c & ~(uint64_t)BPF_F_INGRESS)
		return FAIL(EINVAL);
	if (vm_run_now()->clone)
		return (uint64_t)(int64_t)vm_run_now()->clone(vm_run_now(), (uint32_t)b, c);
	return if_indextoname((unsigned)b, name) ? 0 : FAIL(EINVAL);
}

/* All forward here, but there is no table of routes: nothing leads anywhere. */
HELPER_FN(fib_lookup)
{
	const struct bpf_fib_lookup *p = PTR(b);

	if ((uint32_t)c < sizeof(*p))
		return FAIL(EINVAL);
	if (d & ~(uint64_t)(BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_OUTPUT | 4 | 8 | 16 | 32))
		return FAIL(EINVAL);
	if (p->family != 2 && p->family != 10)
		return FAIL(EAFNOSUPPORT);
	if (!vm_link_device(vm_run_now()->vm.engine, p->ifindex))
		return FAIL(ENODEV);
	return BPF_FIB_LKUP_RET_NOT_FWDED;
}

HELPER_FN(check_mtu)
{
	struct run *r = vm_run_now();
	uint32_t *mtu = PTR(c), most = 65536, len = r->pkt.len + r->pkt.more_len;
	char name[IF_NAMESIZE];

	if (f & ~(uint64_t)BPF_MTU_CHK_SEGS || (f && (r->xdp || (int32_t)d || *mtu)))
		return FAIL(EINVAL);
	if (b && !if_indextoname((unsigned)b, name))
		return FAIL(ENODEV);
	if (*mtu)
		len = *mtu + ETH_HLEN;
	*mtu = most;
	return (int64_t)len + (int32_t)d > (int64_t)most + ETH_HLEN ? BPF_MTU_CHK_RET_FRAG_NEEDED
								    : 0;
}
