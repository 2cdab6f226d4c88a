// SPDX-License-Identifier: Apache-2.0
/*
 * R1  An interpreted run leaves nothing behind, however it ends: no spin lock held, no record of a ring
 *     reserved (records behind dynptrs are such), no memory kept. With a lock held it may not call helpers, so that
 *     none waits for the same lock.
 */
#include "vm/help.h"
#include "vm/shadow.h"

#include <linux/if_ether.h>
#include <sched.h>
#include <sys/mman.h>

/* ---- memory of a run ---------------------------------------------------------------------------- */

struct kept {
	struct kept *next;
	size_t size;
	uint8_t bytes[];
};

static bool keeps(const struct run *r, uint64_t addr, size_t size)
{
	const struct kept *k;

	for (k = r->kept; k; k = k->next)
		if (addr - (uintptr_t)k->bytes < k->size &&
		    size <= k->size - (addr - (uintptr_t)k->bytes))
			return true;
	return false;
}

static bool in_shown(const struct map *m, uint64_t addr, size_t size)
{
	uint64_t off = addr - (uintptr_t)m->shown;

	return off < sizeof(m->shown) && size <= sizeof(m->shown) - off;
}

/* The kernel's struct bpf_map, through a pointer to a map. */
static bool shows(struct run *r, uint64_t addr, size_t size)
{
	const struct prog *p = vm_run_prog(r);
	unsigned i;
	bool found = false;

	for (i = 0; !found && i < p->n_maps; i++)
		found = in_shown(p->maps[i]->map, addr, size);
	for (i = 0; !found && i < r->n_inner; i++)
		found = in_shown(r->inner[i], addr, size);
	if (!found)
		return r->shown && in_shown(r->shown, addr, size);
	vm_show_maps(r->vm.engine);
	return true;
}

static bool covers(struct vm_run *vm, uint64_t addr, size_t size, bool write)
{
	struct run *r = vm_run_of(vm);
	const struct prog *p = vm_run_prog(r);
	unsigned i;

	for (i = 0; i < p->n_maps; i++) {
		const struct map *m = p->maps[i]->map;

		if (map_covers(m, addr, size))
			return !write ||
			       (!(m->def.flags & BPF_F_RDONLY_PROG) && !map_is_lock(m, addr, size));
	}
	for (i = 0; i < r->n_inner; i++)
		if (map_covers(r->inner[i], addr, size))
			return !write || !map_is_lock(r->inner[i], addr, size);
	if (!write && shows(r, addr, size))
		return true;
	if (r->walked && map_covers(r->walked, addr, size))
		return !write || !map_is_lock(r->walked, addr, size);
	return keeps(r, addr, size);
}

void vm_run_init(struct run *r, struct skep_engine *e, struct call *c, struct prog *p)
{
	int cpu = sched_getcpu();

	memset(r, 0, sizeof(*r));
	r->prog = p = vm_prog_now(p);
	r->call = c;
	r->vm.engine = e;
	r->vm.code = &p->code;
	r->vm.covers = covers;
	r->vm.n_regions = REGION_FREE;
	map_cpu = cpu < 0 ? 0 : (unsigned)cpu % e->options.cpus;
	r->vm.jit.cpu = map_cpu;
}

void vm_run_region(struct run *r, unsigned i, const void *at, size_t size, bool writable)
{
	r->vm.regions[i] = (struct vm_region){(uintptr_t)at, (uintptr_t)at + size, writable};
}

static int lend(struct run *r, struct map *ring, const void *at, size_t size, bool writable)
{
	unsigned i;

	if (r->vm.code->jit)
		return 0;
	for (i = REGION_FREE; i < r->vm.n_regions; i++)
		if (!r->vm.regions[i].lo)
			break;
	if (i == VM_REGIONS)
		return -ENOSPC;
	vm_run_region(r, i, at, size, writable);
	r->rings[i] = ring;
	r->vm.n_regions = max(r->vm.n_regions, i + 1);
	return 0;
}

int vm_run_lend(struct run *r, const void *at, size_t size, bool writable)
{
	return lend(r, NULL, at, size, writable);
}

int vm_run_lend_record(struct run *r, struct map *ring, const void *at, size_t size)
{
	return lend(r, ring, at, size, true);
}

struct map *vm_run_record(const struct run *r, uint64_t at)
{
	unsigned i;

	for (i = REGION_FREE; at && i < r->vm.n_regions; i++)
		if (r->vm.regions[i].lo == at && r->rings[i])
			return r->rings[i];
	return NULL;
}

void vm_run_unlend(struct run *r, const void *at)
{
	unsigned i;

	for (i = REGION_FREE; i < r->vm.n_regions; i++)
		if (r->vm.regions[i].lo == (uintptr_t)at) {
			r->vm.regions[i] = (struct vm_region){0};
			r->rings[i] = NULL;
		}
}

/* A record that was neither submitted nor discarded would stop its ring for good. */
static bool leave_records(struct run *r)
{
	bool any = false;
	unsigned i;

	for (i = REGION_FREE; i < r->vm.n_regions; i++) {
		if (!r->rings[i])
			continue;
		any = true;
		if (map_ring_commit(r->rings[i], PTR(r->vm.regions[i].lo), 0, true))
			vm_ring_wake(r->rings[i]);
		vm_run_unlend(r, PTR(r->vm.regions[i].lo));
	}
	return any;
}

void *vm_run_keep(struct run *r, size_t size)
{
	struct kept *k = calloc(1, sizeof(*k) + size);

	if (!k)
		return NULL;
	k->size = size;
	k->next = r->kept;
	r->kept = k;
	return k->bytes;
}

static struct kept **find_kept(struct run *r, uint64_t at)
{
	struct kept **k = &r->kept;

	while (*k && (uintptr_t)(*k)->bytes != at)
		k = &(*k)->next;
	return k;
}

size_t vm_run_kept(const struct run *r, uint64_t at)
{
	const struct kept *k = *find_kept((struct run *)r, at);

	return k ? k->size : 0;
}

void vm_run_drop(struct run *r, const void *at)
{
	struct kept **place = find_kept(r, (uintptr_t)at), *k = *place;

	if (!k)
		return;
	*place = k->next;
	free(k);
}

__attribute__((cold, noinline)) static void leave_all(struct run *r)
{
	if (r->lock) {
		map_spin_unlock(PTR(r->lock));
		r->lock = 0;
		vm_help_fault(r, -EDEADLK, "it ended with a spin lock held");
	}
	if (leave_records(r))
		vm_help_fault(r, -EBUSY, "it ended with a record reserved");
	while (r->kept)
		vm_run_drop(r, r->kept->bytes);
	r->vm.n_regions = REGION_FREE;
}

/* R1: nothing is left behind. Who ends well has left nothing. */
static inline void leave(struct run *r)
{
	if (r->lock || r->kept || r->vm.n_regions != REGION_FREE)
		leave_all(r);
}

/* bpf_throw() ended it, and was no mistake. */
static void catch (struct run *r, uint32_t *retval)
{
	r->thrown = false;
	if (r->vm.fault != -ECANCELED)
		return;
	r->vm.fault = 0;
	*retval = (uint32_t)r->cookie;
}

/* Whoever listens to what programs say is told why one was ended. */
static void tell_fault(const struct run *r)
{
	const struct vm_hooks *h = r->vm.engine->hooks;
	char line[sizeof(r->vm.err.text) + 64];
	int n = snprintf(line, sizeof(line), "program %s (id %u) ended: %s\n", r->prog->name,
			 r->prog->obj.id, r->vm.err.text);

	if (h->trace)
		h->trace(h->arg, line, min((size_t)n, sizeof(line) - 1));
}

int vm_run_once(struct run *r, const void *ctx, uint32_t *retval)
{
	r->vm.jit.tail_calls = 0;
	r->vm.budget = r->vm.engine->budget;
	r->vm.fault = 0;
	r->n_inner = 0;
	*retval = (uint32_t)vm_code_run(&r->vm, &r->prog->code, (uintptr_t)ctx);
	if (r->thrown)
		catch (r, retval);
	leave(r);
	if (r->vm.fault)
		tell_fault(r);
	return r->vm.fault;
}

void vm_run_callback(struct run *r, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3)
{
	r->vm.budget = r->vm.engine->budget;
	vm_code_call(&r->vm, &r->prog->code, func, r1, r2, r3);
	leave(r);
	if (r->vm.fault)
		tell_fault(r);
}

/* ---- packets ------------------------------------------------------------------------------------ */

int vm_packet_open(struct packet *p)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	void *at;

#ifdef MAP_32BIT
	at = mmap(NULL, PACKET_BUF, PROT_READ | PROT_WRITE, flags | MAP_32BIT, -1, 0);
#else
	uintptr_t hint = 0x10000000;

	do {
		at = mmap((void *)hint, PACKET_BUF, PROT_READ | PROT_WRITE,
			  flags | MAP_FIXED_NOREPLACE, -1, 0);
		hint += 16 * PACKET_BUF;
	} while (at == MAP_FAILED && hint < 0xf0000000);
#endif
	if (at == MAP_FAILED)
		return -ENOMEM;
	p->buf = at;
	p->cap = PACKET_BUF;
	return 0;
}

void vm_packet_close(struct packet *p)
{
	if (p->buf)
		munmap(p->buf, PACKET_BUF);
	free(p->more);
	p->buf = p->more = NULL;
}

bool vm_packet_copy(struct packet *p, uint32_t off, void *to, uint32_t n)
{
	uint32_t first;

	if ((uint64_t)off + n > (uint64_t)p->len + p->more_len)
		return false;
	first = off < p->len ? min(n, p->len - off) : 0;
	memcpy(to, p->buf + p->start + off, first);
	if (n > first)
		memcpy((uint8_t *)to + first, p->more + (off + first - p->len), n - first);
	return true;
}

bool vm_packet_store(struct packet *p, uint32_t off, const void *from, uint32_t n)
{
	uint32_t first;

	if ((uint64_t)off + n > (uint64_t)p->len + p->more_len)
		return false;
	first = off < p->len ? min(n, p->len - off) : 0;
	memmove(p->buf + p->start + off, from, first);
	if (n > first)
		memmove(p->more + (off + first - p->len), (const uint8_t *)from + first, n - first);
	return true;
}

int vm_packet_shift(struct packet *p, uint32_t off, int by)
{
	uint8_t *data = p->buf + p->start;

	if (off > p->len)
		return -ENOMEM;
	if (by >= 0) {
		if ((uint32_t)by > p->start - p->low)
			return -ENOMEM;
		memmove(data - by, data, off);
		memset(data - by + off, 0, (uint32_t)by);
	} else {
		if ((uint32_t)-by > p->len - off)
			return -ENOMEM;
		memmove(data - by, data, off);
	}
	p->start = (uint32_t)((int)p->start - by);
	p->len = (uint32_t)((int)p->len + by);
	p->meta = 0;
	return 0;
}
