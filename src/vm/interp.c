// SPDX-License-Identifier: Apache-2.0
/*
 * interp.c: the interpreter: the reference of what programs do, and the way to run what nothing has
 * proved.
 *
 *	r0..r10, I --dispatch by I->op--> interp.def --> next
 *	                                     |
 *	              an address: this stack? else near where it was last? else others, maps? else fault
 *
 * N1  No access without a check (E2), helpers' results and packet pointers not excepted.
 * N2  Control stays in the program: decode and verify_structure saw every jump; what comes from a
 *     register (callx, callbacks) is looked up among the starts of functions.
 * N3  Frames lie one behind the other and are zero when first used, so a program reads nothing of this
 *     process; at most ISA_FRAMES of them per run, callbacks' included.
 * N4  The budget is exact: at every departure from a straight line its instructions are taken off.
 */
#include "vm/vm.h"

#include <endian.h>
#include <linux/filter.h>

__thread struct vm_run *vm_run_current;

/* ---- addresses ------------------------------------------------------------------------------- */

static inline bool in_region(const struct vm_region *g, uint64_t addr, size_t size, bool write)
{
	return addr - g->lo < g->hi - g->lo && size <= g->hi - addr && (g->writable || !write);
}

static inline bool hit_region(const struct vm_run *run, uint64_t addr, size_t size, bool write)
{
	return run->hit < run->n_regions && in_region(&run->regions[run->hit], addr, size, write);
}

static bool in_stacks(const struct vm_run *run, uint64_t addr, size_t size)
{
	for (const struct vm_stack *s = run->stack; s; s = s->outer)
		if (size <= s->live && addr - s->base <= s->live - size)
			return true;
	return false;
}

bool vm_access(struct vm_run *run, uint64_t addr, size_t size, bool write)
{
	if (!size || hit_region(run, addr, size, write))
		return true;
	for (unsigned i = 0; i < run->n_regions; i++) {
		if (in_region(&run->regions[i], addr, size, write)) {
			run->hit = i;
			return true;
		}
	}
	return in_stacks(run, addr, size) || (run->covers && run->covers(run, addr, size, write));
}

/*
 * Where the last access besides the stack was, for reads and for writes: @room bytes from @lo, at least
 * as many as the widest access, so that one comparison is enough. Only helpers change what may be
 * touched; after them it is the stack's first frame again, which may be touched always.
 */
struct near {
	uint64_t lo, room;
};

static bool far_access(struct vm_run *run, struct near *near, uint64_t addr, size_t size,
		       bool write)
{
	const struct vm_region *g;

	if (!vm_access(run, addr, size, write))
		return false;
	g = &run->regions[run->hit];
	if (hit_region(run, addr, size, write) && g->hi - g->lo >= sizeof(uint64_t))
		*near = (struct near){g->lo, g->hi - g->lo};
	return true;
}

/* ---- faults ---------------------------------------------------------------------------------- */

static unsigned pc_of(const struct vm_code *code, const struct isa_insn *i)
{
	return (unsigned)(i - code->insns);
}

/* The first fault stays: those of outer calls follow from it. */
__attribute__((cold)) static void fault(struct vm_run *run, const struct vm_code *code,
					const struct isa_insn *i, int rc, const char *why)
{
	char text[96];

	if (run->fault)
		return;
	run->fault = rc;
	run->fault_pc = pc_of(code, i);
	isa_text(text, sizeof(text), i, run->fault_pc, NULL);
	skep_fail(&run->err, rc, "insn %u: %s: %s", run->fault_pc, text, why);
}

__attribute__((cold)) static void bad_access(struct vm_run *run, const struct vm_code *code,
					     const struct isa_insn *i, uint64_t addr, size_t size)
{
	char why[96];

	snprintf(why, sizeof(why), "no such access to %zu byte%s at 0x%llx", size,
		 size == 1 ? "" : "s", (unsigned long long)addr);
	fault(run, code, i, -EFAULT, why);
}

__attribute__((cold)) static void misaligned(struct vm_run *run, const struct vm_code *code,
					     const struct isa_insn *i, uint64_t addr)
{
	char why[64];

	snprintf(why, sizeof(why), "atomic at 0x%llx, which is not aligned",
		 (unsigned long long)addr);
	fault(run, code, i, -EFAULT, why);
}

__attribute__((cold)) static void unresolved(struct vm_run *run, const struct vm_code *code,
					     const struct isa_insn *i)
{
	fault(run, code, i, -EINVAL, "no loader has resolved this");
}

__attribute__((cold)) static void not_func(struct vm_run *run, const struct vm_code *code,
					   const struct isa_insn *i, uint64_t addr)
{
	char why[64];

	snprintf(why, sizeof(why), "0x%llx is no function", (unsigned long long)addr);
	fault(run, code, i, -EFAULT, why);
}

/* ---- calls ----------------------------------------------------------------------------------- */

#define SPENT "the budget of instructions is spent"

/* Does @addr stand for a function of @code, as LDDW_FUNC makes them? */
static bool is_func(const struct vm_code *code, uint64_t addr)
{
	uint64_t at = addr - (uintptr_t)code->insns;

	return at % sizeof(*code->insns) == 0 && at / sizeof(*code->insns) < code->n_insns &&
	       verify_func_at(code->proof, (unsigned)(at / sizeof(*code->insns)));
}

int vm_tail_call(struct vm_run *run, const struct vm_code *next)
{
	if (run->jit.tail_calls >= ISA_TAIL_MAX)
		return -ELOOP;
	run->jit.tail_calls++;
	run->tail = next;
	return 0;
}

/* Offsets from the network or the link header: where that is; 0 outside. */
static uint64_t header_at(const struct vm_run *run, int32_t off, unsigned size)
{
	uint64_t at = off >= SKF_NET_OFF ? run->net + (uint64_t)(off - SKF_NET_OFF)
					 : run->mac + (uint64_t)(off - SKF_LL_OFF);

	return off >= SKF_LL_OFF && at >= run->mac && at + size <= run->end ? at : 0;
}

static uint64_t read_net(uint64_t at, unsigned size)
{
	uint64_t v = 0;

	for (unsigned n = 0; n < size; n++)
		v = v << 8 | ((const uint8_t *)(uintptr_t)at)[n];
	return v;
}

/*
 * LD_ABS and LD_IND: @off into the packet of the __sk_buff at @ctx, in host order.
 * Returns 0; 1: outside the packet; -EFAULT.
 */
static int packet_read(struct vm_run *run, uint64_t ctx, int32_t off, unsigned size, uint64_t *out)
{
	const struct __sk_buff *skb = (const void *)(uintptr_t)ctx;
	uint64_t data, end, at = off < 0 ? header_at(run, off, size) : 0;

	if (at)
		return *out = read_net(at, size), 0;
	if (!vm_access(run, ctx, offsetof(struct __sk_buff, napi_id), false))
		return -EFAULT;
	data = skb->data;
	end = skb->data_end;
	if (off < 0 || end < data || size > end - data || (uint64_t)off > end - data - size)
		return 1;
	if (!vm_access(run, data + (uint64_t)off, size, false))
		return -EFAULT;
	*out = read_net(data + (uint64_t)off, size);
	return 0;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* What a local call puts aside. */
struct frame {
	const struct vm_code *code;
	const struct isa_insn *back; /* where it goes on */
	uint64_t kept[4];	     /* r6 to r9 */
	uint32_t loops;		     /* may_goto's, left */
};

struct machine {
	uint8_t stack[ISA_FRAMES * ISA_STACK] __attribute__((aligned(16)));
	struct frame frames[ISA_FRAMES];
	unsigned depth, deepest;
	struct vm_stack area;
};

static uint64_t push(struct vm_run *run, struct machine *m)
{
	run->frames++;
	m->depth++;
	if (m->depth > m->deepest) {
		memset(m->stack + (m->depth - 1) * ISA_STACK, 0, ISA_STACK);
		m->deepest = m->depth;
	}
	m->area.live = m->depth * ISA_STACK;
	return m->area.live;
}

static uint64_t pop(struct vm_run *run, struct machine *m)
{
	run->frames--;
	m->depth--;
	m->area.live = m->depth * ISA_STACK;
	return m->area.live;
}

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define I i
#define D r[i->dst]
#define S r[i->src]

#define DISPATCH() goto *labels[i->op]

#define FAULT(what)       \
	{                 \
		what;     \
		goto out; \
	}

/* N4: bytes of instructions since @from, this one included. */
#define ACCOUNT()                                                               \
	{                                                                       \
		left -= (const char *)i - (const char *)from + (int)sizeof(*i); \
		if (unlikely(left < 0))                                         \
			goto spent;                                             \
	}

/* In a fuzzer the program's jumps are coverage: it reads this section besides its own. */
#ifdef SKEP_FUZZ
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t edges[1 << 16];
#define EDGE(to) \
	edges[((uintptr_t)(i - code->insns) * 31 + (uintptr_t)((to)-code->insns)) & 0xffff]++
#else
#define EDGE(to) ((void)0)
#endif

#define GO(to)              \
	{                   \
		ACCOUNT();  \
		EDGE(to);   \
		i = (to);   \
		from = i;   \
		DISPATCH(); \
	}

#define JUMP(n) GO(i + 1 + (n))

#define FORGET()                                 \
	near[false] = near[true] = (struct near) \
	{                                        \
		base, ISA_STACK                  \
	}

/* Own frames, then what is near, then all the rest. */
#define CHECK(addr, size, write)                                           \
	if ((addr)-base > live - (size) &&                                 \
	    unlikely((addr)-near[write].lo > near[write].room - (size)) && \
	    unlikely(!far_access(run, &near[write], addr, size, write)))   \
	FAULT(bad_access(run, code, i, addr, size))

#define LOAD(type, wide)                                           \
	{                                                          \
		type v;                                            \
		u = S + (uint64_t)(int64_t)i->off;                 \
		CHECK(u, sizeof(v), false)                         \
		memcpy(&v, (const void *)(uintptr_t)u, sizeof(v)); \
		D = (uint64_t)(wide)v;                             \
	}

#define STORE(type, value)                                   \
	{                                                    \
		type v = (type)(value);                      \
		u = D + (uint64_t)(int64_t)i->off;           \
		CHECK(u, sizeof(v), true)                    \
		memcpy((void *)(uintptr_t)u, &v, sizeof(v)); \
	}

/* p8 to p64 point to the checked and aligned operand. */
#define ALIGNED(type, reg, write)                  \
	u = (reg) + (uint64_t)(int64_t)i->off;     \
	CHECK(u, sizeof(type), write)              \
	if (unlikely(u % sizeof(type)))            \
		FAULT(misaligned(run, code, i, u)) \
	p = (void *)(uintptr_t)u;

#define p8  ((uint8_t *)p)
#define p16 ((uint16_t *)p)
#define p32 ((uint32_t *)p)
#define p64 ((uint64_t *)p)

#define CMPXCHG(ptr, expected, value)                                                 \
	__atomic_compare_exchange_n(ptr, &(expected), value, false, __ATOMIC_SEQ_CST, \
				    __ATOMIC_SEQ_CST);                                \
	r[0] = (expected)

/* Helpers see the run as it stands, may call back into it, and may end it or ask for a tail call. */
#define HELPER(table, n, what)                                               \
	{                                                                    \
		if (unlikely((uint32_t)i->imm >= (n) || !(table)[i->imm]))   \
			FAULT(fault(run, code, i, -EINVAL, "no such " what)) \
		ACCOUNT();                                                   \
		from = i + 1;                                                \
		if (unlikely(!left))                                         \
			goto spent;                                          \
		run->code = code;                                            \
		run->budget = bounded ? (uint64_t)left / sizeof(*i) : 0;     \
		r[0] = (table)[i->imm](r[1], r[2], r[3], r[4], r[5]);        \
		FORGET();                                                    \
		if (bounded)                                                 \
			left = (int64_t)(run->budget * sizeof(*i));          \
		if (unlikely(run->fault))                                    \
			goto out;                                            \
		if (unlikely(run->tail))                                     \
			goto tail;                                           \
	}

#define ENTER(to)                                                                                 \
	{                                                                                         \
		if (unlikely(run->frames >= ISA_FRAMES))                                          \
			FAULT(fault(run, code, i, -E2BIG, "the call stack is too deep"))          \
		m.frames[m.depth] = (struct frame){code, i + 1, {r[6], r[7], r[8], r[9]}, loops}; \
		live = push(run, &m);                                                             \
		r[10] = base + live;                                                              \
		loops = ISA_LOOPS_MAX;                                                            \
		GO(to)                                                                            \
	}

#define LEAVE()             \
	{                   \
		ACCOUNT();  \
		goto leave; \
	}

#define PACKET(size, off)                                                 \
	{                                                                 \
		rc = packet_read(run, r[6], (int32_t)(off), size, &r[0]); \
		if (rc < 0)                                               \
			FAULT(bad_access(run, code, i, r[6], size))       \
		if (rc) {                                                 \
			r[0] = 0;                                         \
			LEAVE()                                           \
		}                                                         \
	}

static uint64_t execute(struct vm_run *run, const struct vm_code *code, const struct isa_insn *i,
			uint64_t *args)
{
	static const void *const labels[ISA_OPS] = {
		[ISA_NONE] = &&none,
		[ISA_NEVER] = &&none,
#define INSN(id, code, src, off, imm, text) [ISA_##id] = &&do_##id,
#include "isa/insn.def"
#undef INSN
	};
	struct machine m;
	struct near near[2];
	const bool bounded = run->budget;
	const uint64_t base = (uintptr_t)m.stack;
	uint64_t r[16] = {[1] = args[0], args[1], args[2], args[3], args[4]};
	uint64_t live, u;
	int64_t left = INT64_MAX;
	const struct isa_insn *from = i;
	uint32_t loops = ISA_LOOPS_MAX, w;
	void *p;
	int rc;

	m.depth = m.deepest = 0;
	m.area = (struct vm_stack){base, 0, run->stack};
	run->stack = &m.area;
	if (bounded)
		left = (int64_t)(min(run->budget, (uint64_t)INT64_MAX / sizeof(*i)) * sizeof(*i));
	live = push(run, &m);
	r[10] = base + live;
	FORGET();
	DISPATCH();

#define DO(id, ...)            \
	do_##id : __VA_ARGS__; \
	i++;                   \
	DISPATCH();
#include "vm/interp.def"
#undef DO

tail:
	code = take(run->tail);
	if (code->jit) {
		run->code = code;
		r[0] = jit_enter(code->jit, &run->jit, r[1]);
		goto leave;
	}
	i = from = code->insns;
	loops = ISA_LOOPS_MAX;
	DISPATCH();
leave:
	live = pop(run, &m);
	if (!m.depth)
		goto end;
	code = m.frames[m.depth].code;
	i = from = m.frames[m.depth].back;
	memcpy(&r[6], m.frames[m.depth].kept, sizeof(m.frames[0].kept));
	loops = m.frames[m.depth].loops;
	r[10] = base + live;
	DISPATCH();
none:
	fault(run, code, i, -EINVAL, "no instruction");
	goto out;
spent:
	fault(run, code, i, -ELOOP, SPENT);
out:
	r[0] = 0;
end:
	run->frames -= m.depth;
	run->stack = m.area.outer;
	run->budget = bounded && left > 0 ? (uint64_t)left / sizeof(*i) : 0;
	if (bounded && !run->budget && run->stack) /* 0 would be read as unbounded by who called */
		fault(run, code, i, -ELOOP, SPENT);
	return r[0];
}

uint64_t vm_interp(struct vm_run *run, const struct vm_code *code, unsigned pc, uint64_t r1,
		   uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5)
{
	struct vm_run *before = vm_run_current;
	uint64_t args[] = {r1, r2, r3, r4, r5}, r0;

	if (run->frames >= ISA_FRAMES) {
		fault(run, code, &code->insns[pc], -E2BIG, "the call stack is too deep");
		return 0;
	}
	vm_run_current = run;
	r0 = execute(run, code, &code->insns[pc], args);
	vm_run_current = before;
	return r0;
}

uint64_t vm_call(struct vm_run *run, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
		 uint64_t r4, uint64_t r5)
{
	const struct vm_code *code = run->code;
	const struct isa_insn *insn = (const void *)(uintptr_t)func;
	uint64_t r0;

	if (code->jit)
		return jit_call(&run->jit, insn, r1, r2, r3, r4, r5);
	if (!is_func(code, func)) {
		not_func(run, code, code->insns, func);
		return 0;
	}
	r0 = vm_interp(run, code, pc_of(code, insn), r1, r2, r3, r4, r5);
	run->code = code;
	return r0;
}

uint64_t vm_code_run(struct vm_run *run, const struct vm_code *code, uint64_t ctx)
{
	uint64_t r0;

	run->outer = vm_run_current;
	run->code = code;
	vm_run_current = run;
	if (code->jit)
		r0 = jit_enter(code->jit, &run->jit, ctx);
	else
		r0 = vm_interp(run, code, 0, ctx, 0, 0, 0, 0);
	vm_run_current = run->outer;
	return r0;
}

uint64_t vm_code_call(struct vm_run *run, const struct vm_code *code, uint64_t func, uint64_t r1,
		      uint64_t r2, uint64_t r3)
{
	uint64_t r0;

	run->outer = vm_run_current;
	run->code = code;
	vm_run_current = run;
	r0 = vm_call(run, func, r1, r2, r3, 0, 0);
	vm_run_current = run->outer;
	return r0;
}
