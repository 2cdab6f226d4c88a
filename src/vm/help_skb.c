// SPDX-License-Identifier: Apache-2.0
/* Helpers on socket buffers. Offsets count from where the program's packet begins. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include "vm/help.h"

#define FAIL(e)	     ((uint64_t)(int64_t) - (e))
#define LEN_MAX	     16384U
#define CSUM_MANGLED 0xffff

/* ---- bytes -------------------------------------------------------------------------------------- */

HELPER_FN(skb_load_bytes)
{
	struct run *r = vm_run_now();
	uint32_t off = (uint32_t)b, n = (uint32_t)d;

	if (off <= INT32_MAX && vm_packet_copy(&r->pkt, off, PTR(c), n))
		return 0;
	memset(PTR(c), 0, n);
	return FAIL(EFAULT);
}

HELPER_FN(skb_load_bytes_relative)
{
	struct run *r = vm_run_now();
	struct packet *p = &r->pkt;
	uint32_t n = (uint32_t)d, off = (uint32_t)b, from = p->start;

	if (f == BPF_HDR_START_MAC && !r->l2)
		from -= r->mac;
	else if (f == BPF_HDR_START_NET && r->l2)
		from += ETH_HLEN;
	if (off > 0xffff || f > BPF_HDR_START_NET ||
	    (uint64_t)from + off + n > (uint64_t)p->start + p->len) {
		memset(PTR(c), 0, n);
		return FAIL(EFAULT);
	}
	memcpy(PTR(c), p->buf + from + off, n);
	return 0;
}

HELPER_FN(skb_store_bytes)
{
	struct run *r = vm_run_now();

	if (f & ~(uint64_t)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return FAIL(EINVAL);
	if ((uint32_t)b > INT32_MAX || !vm_packet_store(&r->pkt, (uint32_t)b, PTR(c), (uint32_t)d))
		return FAIL(EFAULT);
	if (f & BPF_F_INVALIDATE_HASH)
		r->skb->hash = 0;
	return 0;
}

HELPER_FN(skb_pull_data)
{
	struct run *r = vm_run_now();

	if ((uint32_t)b > r->pkt.len)
		return FAIL(ENOMEM);
	vm_packet_sync(r);
	return 0;
}

/* ---- sizes --------------------------------------------------------------------------------------- */

HELPER_FN(skb_change_head)
{
	struct run *r = vm_run_now();
	uint32_t room = (uint32_t)b;

	if (c || (uint64_t)r->pkt.len + room > LEN_MAX)
		return FAIL(EINVAL);
	if (vm_packet_shift(&r->pkt, 0, (int)room))
		return FAIL(ENOMEM);
	vm_packet_sync(r);
	return 0;
}

HELPER_FN(skb_change_tail)
{
	struct run *r = vm_run_now();
	struct packet *p = &r->pkt;
	uint32_t len = (uint32_t)b, least = r->l2 ? ETH_HLEN : 0;

	if (c || len > LEN_MAX || len < least)
		return FAIL(EINVAL);
	if (p->start + len > p->cap)
		return FAIL(ENOMEM);
	if (len > p->len)
		memset(p->buf + p->start + p->len, 0, len - p->len);
	p->len = len;
	vm_packet_sync(r);
	return 0;
}

static uint32_t network_header_len(const struct run *r)
{
	switch (ntohs((uint16_t)r->skb->protocol)) {
	case ETH_P_IP:
		return 20;
	case ETH_P_IPV6:
		return 40;
	default:
		return 0;
	}
}

HELPER_FN(skb_adjust_room)
{
	struct run *r = vm_run_now();
	int32_t by = (int32_t)b;
	uint32_t head = network_header_len(r), size = by < 0 ? -(uint32_t)by : (uint32_t)by;
	uint32_t off = r->l2 ? ETH_HLEN : 0, rest = r->pkt.len - off;

	if (d & ~0x1ffULL || c > BPF_ADJ_ROOM_MAC)
		return FAIL(c > BPF_ADJ_ROOM_MAC ? VM_ENOTSUPP : EINVAL);
	if (size > 0xfff)
		return FAIL(EFAULT);
	if (!head)
		return FAIL(VM_ENOTSUPP);
	if (c == BPF_ADJ_ROOM_NET)
		off += head;
	if (by < 0 ? size >= rest || rest - size < head : r->pkt.len + size > LEN_MAX)
		return FAIL(VM_ENOTSUPP);
	if (vm_packet_shift(&r->pkt, off, by))
		return FAIL(ENOMEM);
	vm_packet_sync(r);
	return 0;
}

/* IPv4's header becomes as long as IPv6's, or the other way round; what stands in it is the program's. */
HELPER_FN(skb_change_proto)
{
	struct run *r = vm_run_now();
	uint32_t from = r->skb->protocol, to = (uint16_t)b, four = htons(ETH_P_IP),
		 six = htons(ETH_P_IPV6);
	int by = from == four ? 20 : -20;

	if (c)
		return FAIL(EINVAL);
	if (!(from == four && to == six) && !(from == six && to == four))
		return FAIL(VM_ENOTSUPP);
	if (vm_packet_shift(&r->pkt, r->l2 ? ETH_HLEN : 0, by))
		return FAIL(ENOMEM);
	r->skb->protocol = to;
	r->skb->hash = 0;
	vm_packet_sync(r);
	return 0;
}

HELPER_FN(skb_change_type)
{
	struct __sk_buff *skb = vm_run_now()->skb;

	if (skb->pkt_type > PACKET_OTHERHOST || b > PACKET_OTHERHOST)
		return FAIL(EINVAL);
	skb->pkt_type = (uint32_t)b;
	return 0;
}

/* ---- VLANs: the outermost tag stands beside the packet -------------------------------------------- */

/* The tag that stands beside goes into the packet, or the other way round. */
static int tag_in(struct run *r)
{
	uint8_t tag[4];

	if (vm_packet_shift(&r->pkt, 12, 4))
		return -ENOMEM;
	memcpy(tag, &(uint16_t){(uint16_t)r->skb->vlan_proto}, 2);
	memcpy(tag + 2, &(uint16_t){htons((uint16_t)r->skb->vlan_tci)}, 2);
	vm_packet_store(&r->pkt, 12, tag, 4);
	return 0;
}

static bool is_vlan(uint16_t proto)
{
	return proto == htons(ETH_P_8021Q) || proto == htons(ETH_P_8021AD);
}

HELPER_FN(skb_vlan_push)
{
	struct run *r = vm_run_now();
	uint16_t proto = (uint16_t)b;

	if (!is_vlan(proto))
		proto = htons(ETH_P_8021Q);
	if (r->skb->vlan_present && tag_in(r))
		return FAIL(ENOMEM);
	if (r->skb->vlan_present)
		r->skb->protocol = r->skb->vlan_proto;
	r->skb->vlan_present = 1;
	r->skb->vlan_tci = (uint16_t)c;
	r->skb->vlan_proto = proto;
	vm_packet_sync(r);
	return 0;
}

/* What is then the outermost tag of the packet stands beside it. */
static void tag_out(struct run *r)
{
	uint16_t proto, tci, next;

	r->skb->vlan_present = r->skb->vlan_tci = r->skb->vlan_proto = 0;
	if (!vm_packet_copy(&r->pkt, 12, &proto, 2) || !is_vlan(proto) ||
	    !vm_packet_copy(&r->pkt, 14, &tci, 2) || !vm_packet_copy(&r->pkt, 16, &next, 2))
		return;
	if (vm_packet_shift(&r->pkt, 12, -4))
		return;
	r->skb->protocol = next;
	r->skb->vlan_present = 1;
	r->skb->vlan_tci = ntohs(tci);
	r->skb->vlan_proto = proto;
}

HELPER_FN(skb_vlan_pop)
{
	struct run *r = vm_run_now();

	if (!r->skb->vlan_present)
		tag_out(r);
	tag_out(r);
	vm_packet_sync(r);
	return 0;
}

/* ---- checksums ------------------------------------------------------------------------------------- */

static uint32_t add(uint32_t a, uint32_t b)
{
	a += b;
	return a + (a < b);
}

static uint16_t fold(uint32_t v)
{
	v = (v & 0xffff) + (v >> 16);
	v = (v & 0xffff) + (v >> 16);
	return (uint16_t)~v;
}

static uint32_t sum(const uint8_t *p, uint32_t n, uint32_t seed)
{
	uint32_t w;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&w, p, 4);
		seed = add(seed, w);
	}
	w = 0;
	memcpy(&w, p, n);
	return add(seed, w);
}

HELPER_FN(csum_diff)
{
	uint32_t from = (uint32_t)b, to = (uint32_t)d, v = (uint32_t)f;

	if (from && to)
		v = add(sum(PTR(c), to, v), ~sum(PTR(a), from, 0));
	else if (to)
		v = sum(PTR(c), to, v);
	else if (from)
		v = ~sum(PTR(a), from, ~v);
	return (uint16_t)~fold(v);
}

/* The checksum at @off, changed by what changed. */
static uint64_t replace(uint32_t off, uint64_t from, uint64_t to, uint64_t flags, bool mangled)
{
	struct run *r = vm_run_now();
	uint32_t diff;
	uint16_t csum;

	if (off > 0xffff || off & 1 || !vm_packet_copy(&r->pkt, off, &csum, 2))
		return FAIL(EFAULT);
	if (mangled && !(flags & BPF_F_MARK_ENFORCE) && !csum)
		return 0;
	switch (flags & BPF_F_HDR_FIELD_MASK) {
	case 0:
		if (from)
			return FAIL(EINVAL);
		diff = (uint32_t)to;
		break;
	case 2:
		diff = add((uint16_t)~from, (uint16_t)to);
		break;
	case 4:
		diff = add(~(uint32_t)from, (uint32_t)to);
		break;
	default:
		return FAIL(EINVAL);
	}
	csum = fold(add(diff, (uint16_t)~csum));
	if (mangled && !csum)
		csum = CSUM_MANGLED;
	vm_packet_store(&r->pkt, off, &csum, 2);
	return 0;
}

HELPER_FN(l3_csum_replace)
{
	if (f & ~(uint64_t)BPF_F_HDR_FIELD_MASK)
		return FAIL(EINVAL);
	return replace((uint32_t)b, c, d, f, false);
}

HELPER_FN(l4_csum_replace)
{
	if (f & ~(uint64_t)(BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_PSEUDO_HDR |
			    BPF_F_HDR_FIELD_MASK | 1 << 7))
		return FAIL(EINVAL);
	return replace((uint32_t)b, c, d, f, f & BPF_F_MARK_MANGLED_0);
}

HELPER_FN(csum_update)
{
	return FAIL(VM_ENOTSUPP); /* no packet here has a checksum of all its bytes */
}

HELPER_FN(csum_level)
{
	if (b == BPF_CSUM_LEVEL_QUERY)
		return FAIL(EACCES);
	return b > BPF_CSUM_LEVEL_RESET ? FAIL(EINVAL) : 0;
}

/* ---- what belongs to a packet ------------------------------------------------------------------------ */

HELPER_FN(get_hash_recalc)
{
	struct run *r = vm_run_now();
	uint32_t h = 2166136261, i; /* FNV-1a over the addresses and ports */

	if (r->skb->hash)
		return r->skb->hash;
	for (i = r->l2 ? 26 : 12; i < min(r->pkt.len, r->l2 ? 38U : 24U); i++)
		h = (h ^ r->pkt.buf[r->pkt.start + i]) * 16777619;
	r->skb->hash = h;
	return h;
}

HELPER_FN(set_hash)
{
	vm_run_now()->skb->hash = (uint32_t)b;
	return 0;
}

HELPER_FN(set_hash_invalid)
{
	vm_run_now()->skb->hash = 0;
	return 0;
}

HELPER_FN(get_cgroup_classid)
{
	return 0;
}

HELPER_FN(get_route_realm)
{
	return 0;
}

HELPER_FN(skb_cgroup_id)
{
	return 0;
}

HELPER_FN(skb_ancestor_cgroup_id)
{
	return 0;
}

HELPER_FN(skb_cgroup_classid)
{
	return 0;
}

HELPER_FN(skb_under_cgroup)
{
	const struct map *m = PTR(b);

	if (m->def.type != BPF_MAP_TYPE_CGROUP_ARRAY)
		return FAIL(EINVAL);
	if ((uint32_t)c >= m->def.max_entries)
		return FAIL(E2BIG);
	return map_slots(PTR(b))[(uint32_t)c] ? 0 : FAIL(EAGAIN);
}

HELPER_FN(skb_get_xfrm_state)
{
	memset(PTR(c), 0, (uint32_t)d);
	return FAIL(EINVAL);
}

HELPER_FN(skb_set_tstamp)
{
	enum { REALTIME, MONOTONIC, TAI };
	struct __sk_buff *skb = vm_run_now()->skb;
	uint16_t protocol = ntohs((uint16_t)skb->protocol);
	uint32_t type = (uint32_t)c;

	if (protocol != ETH_P_IP && protocol != ETH_P_IPV6)
		return FAIL(EOPNOTSUPP);
	if (type > TAI || (type != REALTIME && !b))
		return FAIL(EINVAL);
	skb->tstamp = b;
	skb->tstamp_type = (uint8_t)type;
	return 0;
}

HELPER_FN(get_socket_cookie)
{
	return 0;
}

HELPER_FN(get_socket_uid)
{
	return 65534; /* of nobody: the packet has no socket that is anyone's */
}

static bool ecn4(struct packet *p, uint32_t off)
{
	uint8_t tos;
	uint16_t csum;

	if (!vm_packet_copy(p, off + 1, &tos, 1) || !vm_packet_copy(p, off + 10, &csum, 2) ||
	    !(tos & 3))
		return false;
	if ((tos & 3) == 3)
		return true;
	csum = fold(add(add((uint16_t)~csum, (uint16_t)~htons(tos)), htons(tos | 3)));
	tos |= 3;
	vm_packet_store(p, off + 1, &tos, 1);
	vm_packet_store(p, off + 10, &csum, 2);
	return true;
}

static bool ecn6(struct packet *p, uint32_t off)
{
	uint8_t v;

	if (!vm_packet_copy(p, off + 1, &v, 1) || !(v & 0x30))
		return false;
	v |= 0x30;
	return vm_packet_store(p, off + 1, &v, 1);
}

HELPER_FN(skb_ecn_set_ce)
{
	struct run *r = vm_run_now();
	uint32_t off = r->l2 ? ETH_HLEN : 0, head = network_header_len(r);

	if (!head || r->pkt.len < off + head)
		return 0;
	return head == 20 ? ecn4(&r->pkt, off) : ecn6(&r->pkt, off);
}

/* ---- tunnels: what is set for the way out is what is there on the way in ----------------------------- */

#define TUNNEL_SET                                                                          \
	(BPF_F_TUNINFO_IPV6 | BPF_F_ZERO_CSUM_TX | BPF_F_DONT_FRAGMENT | BPF_F_SEQ_NUMBER | \
	 TUNNEL_NO_KEY)
#define TUNNEL_NO_KEY	(1U << 4)
#define TUNNEL_OPT_MAX	255
#define TUNNEL_OLD(end) (size == offsetof(struct bpf_tunnel_key, end))

static bool tunnel_size_ok(uint32_t size)
{
	return size == sizeof(struct bpf_tunnel_key) || TUNNEL_OLD(local_ipv6) ||
	       TUNNEL_OLD(tunnel_label) || TUNNEL_OLD(remote_ipv6[1]);
}

HELPER_FN(skb_set_tunnel_key)
{
	struct run *r = vm_run_now();
	struct bpf_tunnel_key *k = &r->tunnel.key;
	uint32_t size = (uint32_t)c;

	if (d & ~(uint64_t)TUNNEL_SET || !tunnel_size_ok(size))
		return FAIL(EINVAL);
	memset(&r->tunnel, 0, sizeof(r->tunnel));
	memcpy(k, PTR(b), size);
	if ((!(d & BPF_F_TUNINFO_IPV6) && k->tunnel_label) || k->tunnel_ext) {
		memset(&r->tunnel, 0, sizeof(r->tunnel));
		return FAIL(EINVAL);
	}
	r->tunnel.set = true;
	r->tunnel.flags = d;
	return 0;
}

/* Of the way in the sender is the remote side: the addresses change places, IPv6's do not. */
static void tunnel_key(const struct run *r, struct bpf_tunnel_key *k)
{
	const struct bpf_tunnel_key *from = &r->tunnel.key;

	*k = *from;
	k->tunnel_ext = 0;
	if (r->tunnel.flags & BPF_F_TUNINFO_IPV6) {
		memcpy(k->remote_ipv6, from->local_ipv6, 16);
		memcpy(k->local_ipv6, from->remote_ipv6, 16);
		return;
	}
	memset(k->remote_ipv6, 0, 16);
	memset(k->local_ipv6, 0, 16);
	k->remote_ipv4 = from->local_ipv4;
	k->local_ipv4 = from->remote_ipv4;
}

static uint64_t get_tunnel_key(const struct run *r, void *to, uint32_t size, uint64_t flags)
{
	struct bpf_tunnel_key k;

	if (!r->tunnel.set || flags & ~(BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS))
		return FAIL(EINVAL);
	if ((r->tunnel.flags ^ flags) & BPF_F_TUNINFO_IPV6)
		return FAIL(EPROTO);
	if (!tunnel_size_ok(size) || (TUNNEL_OLD(remote_ipv6[1]) && flags & BPF_F_TUNINFO_IPV6))
		return FAIL(EINVAL);
	tunnel_key(r, &k);
	memcpy(to, &k, size);
	return 0;
}

HELPER_FN(skb_get_tunnel_key)
{
	uint64_t rc = get_tunnel_key(vm_run_now(), PTR(b), (uint32_t)c, d);

	if (rc)
		memset(PTR(b), 0, (uint32_t)c);
	return rc;
}

HELPER_FN(skb_set_tunnel_opt)
{
	struct run *r = vm_run_now();
	uint32_t size = (uint32_t)c;

	if (!r->tunnel.set || size % 4)
		return FAIL(EINVAL);
	if (size > TUNNEL_OPT_MAX)
		return FAIL(ENOMEM);
	memcpy(r->tunnel.opt, PTR(b), size);
	r->tunnel.opt_len = size;
	return 0;
}

HELPER_FN(skb_get_tunnel_opt)
{
	const struct run *r = vm_run_now();
	uint32_t size = (uint32_t)c, n = r->tunnel.opt_len;

	memset(PTR(b), 0, size);
	if (!n)
		return FAIL(ENOENT);
	if (size < n)
		return FAIL(ENOMEM);
	memcpy(PTR(b), r->tunnel.opt, n);
	return n;
}
