/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h: one run of a program from where helpers see it: context, packet, what it holds.
 */
#ifndef SKEP_VM_RUN_H
#define SKEP_VM_RUN_H

#include <linux/if_ether.h>

#include "vm/inside.h"

/* A packet: linear bytes with room on both sides, and maybe more bytes that do not lie behind. */
struct packet {
	uint8_t *buf; /* below 4 GiB */
	uint32_t cap; /* of buf: data may grow up to there */
	uint32_t low; /* and down to here */
	uint32_t start, len, meta;
	uint8_t *more;
	uint32_t more_len, more_cap;
};

#define PACKET_BUF (128U << 10)

enum { REGION_CTX, REGION_PACKET, REGION_SOCK, REGION_KEYS, REGION_FREE };

#define RUN_INNER 8

struct kept;

struct run {
	struct vm_run vm;
	struct prog *prog;
	struct call *call;
	struct xdp_md *xdp;    /* NULL: no such context */
	struct __sk_buff *skb; /* likewise */
	struct packet pkt;
	uint32_t
		mac; /* offset of the link header from the packet's start, when there is one before */
	bool l2;     /* the packet begins with its link header */
	struct bpf_sock sock;
	struct map *inner[RUN_INNER]; /* that lookups in maps of maps gave it */
	unsigned n_inner;
	struct {
		uint32_t ifindex;
		uint64_t flags, key;
		struct map *map;
	} redirect; /* what the last bpf_redirect*() asked for */
	/* bpf_clone_redirect(), where frames can go; NULL: nowhere. */
	int (*clone)(struct run *r, uint32_t ifindex, uint64_t flags);
	int retval; /* bpf_set_retval() */
	struct {
		bool set;
		uint64_t flags; /* of bpf_skb_set_tunnel_key() */
		struct bpf_tunnel_key key;
		uint32_t opt_len;
		uint8_t opt[256];
	} tunnel;
	struct map *rings[VM_REGIONS];	 /* of the region: it is a record of that ring's */
	uint64_t lock;			 /* the spin lock that interpreted code holds; 0: none */
	struct map *storages[RUN_INNER]; /* that hold something of this run's socket */
	unsigned n_storages;
	void *local[2]; /* bpf_get_local_storage(): of all CPUs, of one */
	const struct map *local_of[2];
	uint64_t skb_at;    /* the packet as netfilter programs see it; 0: not such a run */
	struct map *shown;  /* the map that an iterator is given */
	struct map *walked; /* whose elements an iterator is given */
	struct buf *seq;    /* what it writes to; NULL: no iterator */
	uint64_t seq_at;    /* what it knows it by */
	size_t seq_room;    /* for all that is written so far and for one object */
	bool seq_over;
	struct kept *kept; /* memory that kfuncs took for it */
	bool thrown;	   /* by bpf_throw(), */
	uint64_t cookie;   /* with that */
};

static inline struct run *vm_run_of(struct vm_run *vm)
{
	return container_of(vm, struct run, vm);
}

static inline struct run *vm_run_now(void)
{
	return vm_run_of(vm_running());
}

/* The program that runs now, after tail calls too. */
static inline struct prog *vm_run_prog(const struct run *r)
{
	return container_of((struct vm_code *)r->vm.code, struct prog, code);
}

/* @c: NULL where nobody asked: a timer. */
void vm_run_init(struct run *r, struct skep_engine *e, struct call *c, struct prog *p);
void vm_run_region(struct run *r, unsigned i, const void *at, size_t size, bool writable);
/* A region that a helper gave, and its end. Compiled code needs none. */
int vm_run_lend(struct run *r, const void *at, size_t size, bool writable);
/* The same for a record that was reserved in @ring. */
int vm_run_lend_record(struct run *r, struct map *ring, const void *at, size_t size);
/* The ring that it was reserved in, NULL for what is no such record. Interpreted code only. */
struct map *vm_run_record(const struct run *r, uint64_t at);
void vm_run_unlend(struct run *r, const void *at);
/* Memory, zeroed, until it is dropped or the run ends (R1). NULL without. */
void *vm_run_keep(struct run *r, size_t size);
void vm_run_drop(struct run *r, const void *at); /* what it does not keep is ignored */
/* How much lies at @at; 0: nothing that it keeps. */
size_t vm_run_kept(const struct run *r, uint64_t at);
/* Runs it once. A fault of interpreted code is -EFAULT and the like, with the reason in r->vm.err. */
int vm_run_once(struct run *r, const void *ctx, uint32_t *retval);

/* The same for a callback of the program's: @func as its LDDW_FUNC loaded it. */
void vm_run_callback(struct run *r, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3);

int vm_packet_open(struct packet *p);
void vm_packet_close(struct packet *p);
/*
 * After the packet moved: the context's pointers and what the program may touch. Each costs a call of
 * bpf_xdp_adjust_head() as much as all the rest of it: loads from headers are of socket buffers alone, and
 * only interpreted code asks for regions.
 */
static inline void vm_packet_sync(struct run *r)
{
	const struct packet *p = &r->pkt;
	uint32_t data = (uint32_t)(uintptr_t)(p->buf + p->start);

	if (r->xdp) {
		r->xdp->data = data;
		r->xdp->data_end = data + p->len;
		r->xdp->data_meta = data - p->meta;
	} else if (r->skb) {
		r->skb->data = data;
		r->skb->data_end = data + p->len;
		r->skb->data_meta = data - p->meta;
		r->skb->len = p->len;
		r->vm.mac = data - (r->l2 ? 0 : r->mac);
		r->vm.net = data + (r->l2 ? ETH_HLEN : 0);
		r->vm.end = data + p->len;
	}
	if (!r->prog->code.jit) /* else all that it calls is compiled too */
		r->vm.regions[REGION_PACKET] =
			(struct vm_region){data - p->meta, (uint64_t)data + p->len, true};
}
/* @n bytes from @off of linear data and more; false outside. */
bool vm_packet_copy(struct packet *p, uint32_t off, void *to, uint32_t n);
bool vm_packet_store(struct packet *p, uint32_t off, const void *from, uint32_t n);
/* Opens or closes a gap of @by bytes at @off by moving what is before it. */
int vm_packet_shift(struct packet *p, uint32_t off, int by);

#endif
