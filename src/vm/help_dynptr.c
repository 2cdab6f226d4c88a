// SPDX-License-Identifier: Apache-2.0
/* Dynptrs to memory, records and packets. */
#include "vm/dynptr.h"
#include "vm/kfunc.h"

#define FAIL(e) ((uint64_t)(int64_t) - (e))
#define CHUNK	256

static enum dynptr_kind kind(const struct dynptr *p)
{
	return (p->size & ~DYN_RDONLY) >> DYN_KIND;
}

static uint32_t size_of(const struct dynptr *p)
{
	return p->size & DYN_SIZE;
}

static bool of_packet(const struct dynptr *p)
{
	return kind(p) == DYN_SKB || kind(p) == DYN_XDP;
}

static bool fits(const struct dynptr *p, uint32_t off, uint32_t n)
{
	return off <= size_of(p) && n <= size_of(p) - off;
}

/* What interpreted code says is behind a dynptr is looked at again. */
static bool usable(const struct dynptr *p, uint32_t off, uint32_t n, bool write)
{
	struct run *r = vm_run_now();

	return r->vm.code->jit || !n || vm_access(&r->vm, p->at + p->off + off, n, write);
}

static uint64_t make(uint64_t to, uint64_t at, uint32_t size, enum dynptr_kind k)
{
	*(struct dynptr *)PTR(to) = (struct dynptr){at, size | (uint32_t)k << DYN_KIND, 0};
	return 0;
}

static uint64_t make_null(uint64_t to, int rc)
{
	memset(PTR(to), 0, sizeof(struct dynptr));
	return FAIL(rc);
}

HELPER_FN(dynptr_from_mem)
{
	if ((uint32_t)b > DYN_SIZE)
		return make_null(d, E2BIG);
	return c ? make_null(d, EINVAL) : make(d, a, (uint32_t)b, DYN_LOCAL);
}

/* ---- packets ----------------------------------------------------------------------------------- */

static bool writes_packets(uint32_t type)
{
	return type == BPF_PROG_TYPE_SCHED_CLS || type == BPF_PROG_TYPE_SCHED_ACT ||
	       type == BPF_PROG_TYPE_LWT_XMIT || type == BPF_PROG_TYPE_SK_SKB;
}

KFUNC_FN(dynptr_from_skb)
{
	struct run *r = vm_run_now();
	struct dynptr *p = PTR(c);

	if (b)
		return make_null(c, EINVAL);
	make(c, a, r->pkt.len + r->pkt.more_len, DYN_SKB);
	if (!writes_packets(vm_run_prog(r)->type))
		p->size |= DYN_RDONLY;
	return 0;
}

KFUNC_FN(dynptr_from_xdp)
{
	struct run *r = vm_run_now();

	return b ? make_null(c, EINVAL) : make(c, a, r->pkt.len + r->pkt.more_len, DYN_XDP);
}

static uint64_t packet_bytes(const struct dynptr *p, uint32_t off, void *mem, uint32_t n,
			     bool store)
{
	struct packet *pkt = &vm_run_now()->pkt;
	uint32_t at = p->off + off;

	if (kind(p) == DYN_XDP && (at > 0xffff || n > 0xffff))
		return FAIL(EFAULT);
	if (store ? vm_packet_store(pkt, at, mem, n) : vm_packet_copy(pkt, at, mem, n))
		return 0;
	if (kind(p) == DYN_XDP)
		return FAIL(EINVAL);
	if (!store)
		memset(mem, 0, n);
	return FAIL(EFAULT);
}

/* ---- reading and writing ----------------------------------------------------------------------- */

static uint64_t get(const struct dynptr *p, uint32_t off, void *to, uint32_t n)
{
	if (!p->at)
		return FAIL(EINVAL);
	if (!fits(p, off, n))
		return FAIL(E2BIG);
	if (of_packet(p))
		return packet_bytes(p, off, to, n, false);
	if (!usable(p, off, n, false))
		return FAIL(EINVAL);
	memmove(to, PTR(p->at + p->off + off), n);
	return 0;
}

static uint64_t put(const struct dynptr *p, uint32_t off, void *from, uint32_t n, uint64_t flags)
{
	bool skb = kind(p) == DYN_SKB;

	if (!p->at || p->size & DYN_RDONLY)
		return FAIL(EINVAL);
	if (!fits(p, off, n))
		return FAIL(E2BIG);
	if (flags & ~(uint64_t)(skb ? BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH : 0))
		return FAIL(EINVAL);
	if (of_packet(p))
		return packet_bytes(p, off, from, n, true);
	if (!usable(p, off, n, true))
		return FAIL(EINVAL);
	memmove(PTR(p->at + p->off + off), from, n);
	return 0;
}

HELPER_FN(dynptr_read)
{
	return f ? FAIL(EINVAL) : get(PTR(c), (uint32_t)d, PTR(a), (uint32_t)b);
}

HELPER_FN(dynptr_write)
{
	return put(PTR(a), (uint32_t)b, PTR(c), (uint32_t)d, f);
}

HELPER_FN(dynptr_data)
{
	const struct dynptr *p = PTR(a);
	uint32_t off = (uint32_t)b, n = (uint32_t)c;

	if (!p->at || !fits(p, off, n) || p->size & DYN_RDONLY || of_packet(p) ||
	    !usable(p, off, n, false))
		return 0;
	return p->at + p->off + off;
}

/* Where these bytes lie in one piece, else a copy of them in @room; 0 without either. */
static uint64_t slice(const struct dynptr *p, uint32_t off, void *room, uint32_t n)
{
	const struct packet *pkt = &vm_run_now()->pkt;
	uint32_t at = p->off + off;

	if (!p->at || !fits(p, off, n))
		return 0;
	if (!of_packet(p))
		return usable(p, off, n, false) ? p->at + p->off + off : 0;
	if (at <= pkt->len && n <= pkt->len - at)
		return (uintptr_t)(pkt->buf + pkt->start + at);
	if (!room || packet_bytes(p, off, room, n, false))
		return 0;
	return (uintptr_t)room;
}

static uint64_t slice_rdwr(const struct dynptr *p, uint32_t off, void *room, uint32_t n)
{
	return p->size & DYN_RDONLY ? 0 : slice(p, off, room, n);
}

KFUNC_FN(dynptr_slice)
{
	return slice(PTR(a), (uint32_t)b, PTR(c), (uint32_t)d);
}

KFUNC_FN(dynptr_slice_rdwr)
{
	return slice_rdwr(PTR(a), (uint32_t)b, PTR(c), (uint32_t)d);
}

/* From one to the other in pieces. */
static uint64_t copy(const struct dynptr *to, uint32_t to_off, const struct dynptr *from,
		     uint32_t from_off, uint32_t n)
{
	uint8_t bytes[CHUNK];
	uint64_t rc = 0;
	uint32_t done, step;

	if (!fits(to, to_off, n) || !fits(from, from_off, n))
		return FAIL(E2BIG);
	for (done = 0; !rc && done < n; done += step) {
		step = min(n - done, (uint32_t)CHUNK);
		rc = get(from, from_off + done, bytes, step);
		if (!rc)
			rc = put(to, to_off + done, bytes, step, 0);
	}
	return rc;
}

KFUNC_FN(dynptr_copy)
{
	const struct dynptr *to = PTR(a), *from = PTR(c);
	uint32_t n = (uint32_t)f;
	uint64_t src = slice(from, (uint32_t)d, NULL, n);
	uint64_t dst = slice_rdwr(to, (uint32_t)b, NULL, n);

	if (src && dst) {
		if (usable(to, (uint32_t)b, of_packet(to) ? 0 : n, true))
			memmove(PTR(dst), PTR(src), n);
		return 0;
	}
	if (src)
		return put(to, (uint32_t)b, PTR(src), n, 0);
	if (dst)
		return get(from, (uint32_t)d, PTR(dst), n);
	return copy(to, (uint32_t)b, from, (uint32_t)d, n);
}

KFUNC_FN(dynptr_memset)
{
	const struct dynptr *p = PTR(a);
	uint32_t off = (uint32_t)b, n = (uint32_t)c, done, step;
	uint8_t bytes[CHUNK];
	uint64_t rc = 0;

	if (p->size & DYN_RDONLY)
		return FAIL(EINVAL);
	if (!fits(p, off, n))
		return FAIL(E2BIG);
	memset(bytes, (uint8_t)d, sizeof(bytes));
	for (done = 0; !rc && done < n; done += step) {
		step = min(n - done, (uint32_t)CHUNK);
		rc = put(p, off + done, bytes, step, 0);
	}
	return rc;
}

/* ---- dynptrs themselves ------------------------------------------------------------------------ */

KFUNC_FN(dynptr_adjust)
{
	struct dynptr *p = PTR(a);
	uint32_t start = (uint32_t)b, end = (uint32_t)c;

	if (!p->at || start > end)
		return FAIL(EINVAL);
	if (end > size_of(p))
		return FAIL(ERANGE);
	p->off += start;
	p->size = (p->size & ~DYN_SIZE) | (end - start);
	return 0;
}

KFUNC_FN(dynptr_is_null)
{
	return !((const struct dynptr *)PTR(a))->at;
}

KFUNC_FN(dynptr_is_rdonly)
{
	const struct dynptr *p = PTR(a);

	return p->at && p->size & DYN_RDONLY;
}

KFUNC_FN(dynptr_size)
{
	const struct dynptr *p = PTR(a);

	return p->at ? size_of(p) : (uint32_t)-EINVAL;
}

KFUNC_FN(dynptr_clone)
{
	const struct dynptr p = *(const struct dynptr *)PTR(a);

	memset(PTR(b), 0, sizeof(p));
	if (!p.at)
		return FAIL(EINVAL);
	memcpy(PTR(b), &p, sizeof(p));
	return 0;
}
