/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.h: the engine from the inside: bpf(2) for whoever calls, and running programs.
 *
 *	bpf(2) attr --> bpf.c --> map.c, prog.c, btf.c, link.c: objects with ids and fds
 *	                             |
 *	          insns --> isa_decode --> verify --> resolve (maps, helpers) --> JIT or as they are
 *	                                                                           |
 *	TEST_RUN, ports, hooks --> context of the program type --> vm_run_prog() <-+
 *
 * Contexts are the UAPI's own structs; packets lie below 4 GiB, so that the 32-bit data and data_end of
 * struct xdp_md and __sk_buff are the pointers themselves and no access needs rewriting.
 *
 * E1  An object lives as long as a caller's fd, a mapping, a pin, a map's slot or a link holds it. Its
 *     fd is a memfd; the engine's own description holds a write lease only when no other is open, which
 *     is how it learns that the last one went.
 * E2  Interpreted programs touch their stack, context, packet, what helpers gave them, and values of
 *     maps; each access is checked. Anything else ends the run with a fault, never the process.
 * E3  What is not proved is not compiled, unless the engine was opened with `unsafe`.
 */
#ifndef SKEP_VM_VM_H
#define SKEP_VM_VM_H

#include "jit/jit.h"
#include "map/map.h"
#include "skep/engine.h"

struct vm_who {
	uint32_t pid, tid, uid, gid;
	char comm[16];
};

/*
 * The caller of a bpf(2): this process, or one whose calls are answered for it. Addresses in attr are
 * the caller's, fds too.
 */
struct vm_caller {
	/* Copy from and to the caller's memory; 0 or -EFAULT. */
	int (*read)(void *arg, void *dst, uint64_t src, size_t n);
	int (*write)(void *arg, uint64_t dst, const void *src, size_t n);
	/* A descriptor here for the caller's fd, close-on-exec; the vm closes it. -EBADF. */
	int (*fd_get)(void *arg, int fd);
	/* Give @fd (of this process; still owned by the vm) to the caller. Returns the caller's number. */
	int (*fd_put)(void *arg, int fd, int flags);
	/* Who that is; NULL: this process. */
	void (*who)(void *arg, struct vm_who *who);
	/*
	 * open(2) of a path as the caller sees it; @dir: its descriptor or AT_FDCWD. Ours, or -errno.
	 * NULL: pins are names only, no files.
	 */
	int (*open)(void *arg, int dir, const char *path, int flags, unsigned mode);
	void *arg;
};

/** vm_bpf() - skep_bpf() for any caller. Returns what the system call would, or -errno. */
long vm_bpf(struct skep_engine *e, const struct vm_caller *caller, unsigned cmd, uint64_t attr,
	    unsigned size);

/* This process: its addresses are checked by the kernel, which takes two system calls and more. */
extern const struct vm_caller vm_self;
/* The same, believed: for who passes addresses of its own variables, as libbpf does. */
extern const struct vm_caller vm_own;

/**
 * vm_sweep() - let go of objects whose callers closed their last descriptor (E1).
 *
 * Questions about ids sweep by themselves; who answers for other processes calls it now and then,
 * and when one of them ends. Costs two system calls an object.
 */
void vm_sweep(struct skep_engine *e);

/* What XDP program an interface has. */
struct vm_xdp {
	uint32_t prog_id; /* 0: none */
	uint8_t mode;	  /* XDP_ATTACHED_DRV, XDP_ATTACHED_SKB, XDP_ATTACHED_NONE */
};

/**
 * vm_xdp_attach() - what netlink's IFLA_XDP asks for: attach, replace, take off.
 * @fd: the caller's; negative: take off
 * @expected_fd: what is to be there, with XDP_FLAGS_REPLACE
 *
 * It stays until it is taken off. *why: the kernel's words for a refusal, or NULL. Return: 0, -ENODEV, -EBADF, -EINVAL, -EBUSY, -EEXIST as the kernel.
 */
int vm_xdp_attach(struct skep_engine *e, const struct vm_caller *caller, uint32_t ifindex, int fd,
		  int expected_fd, uint32_t flags, const char **why);
void vm_xdp_query(struct skep_engine *e, uint32_t ifindex, struct vm_xdp *out);

/** vm_unpin() - what unlink(2) of a pin's path is. Return: 0 or -ENOENT. */
int vm_unpin(struct skep_engine *e, const char *path);

/* What programs do that somebody outside has to know. Members may be NULL; called on any thread. */
struct vm_hooks {
	/* bpf_trace_printk() said a line, with its newline; or a fault ended a program. */
	void (*trace)(void *arg, const char *line, size_t len);
	void *arg;
};

/** vm_set_hooks() - before programs run; @hooks is borrowed. */
void vm_set_hooks(struct skep_engine *e, const struct vm_hooks *hooks);

/**
 * vm_wake_fd() - the eventfd that the ring or perf buffer behind @fd, ours, signals.
 *
 * Made when first asked for and borrowed: it lives as long as the map and is never read, so watch it
 * edge-triggered. Return: it; -EBADF (no object of this engine), -EPERM (one that has no ring).
 */
int vm_wake_fd(struct skep_engine *e, int fd);

/** vm_wake_again() - signal anew the rings that hold what nobody consumed: what level-triggering is. */
void vm_wake_again(struct skep_engine *e);

/**
 * vm_perf_open() - perf_event_open(2) of the events that BPF programs write to.
 * @attr: the caller's struct perf_event_attr
 *
 * Return: the caller's descriptor; -EOPNOTSUPP (another event: ask the kernel), -EINVAL, -EFAULT.
 */
long vm_perf_open(struct skep_engine *e, const struct vm_caller *caller, uint64_t attr);

/**
 * vm_perf_map() - the caller is about to map so many bytes of what vm_perf_open() gave.
 *
 * Return: 0; -EBADF (@fd, of this process, is something else); -EINVAL (as the kernel), -ENOMEM.
 */
int vm_perf_map(struct skep_engine *e, int fd, size_t length);

/** vm_is_perf() - did vm_perf_open() give @fd of this process? */
bool vm_is_perf(struct skep_engine *e, int fd);

/* Helpers, by BPF_FUNC number; NULL: not here. */
typedef uint64_t vm_helper(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
extern vm_helper *const vm_helpers[];
extern const unsigned vm_n_helpers;

/* A program ready to run. */
struct vm_code {
	struct isa_insn *insns; /* resolved: LDDW holds addresses, CALL's imm a helper's number */
	unsigned n_insns;
	struct verify_proof *proof;
	struct jit_code *jit;	   /* NULL: interpreted */
	vm_helper *const *helpers; /* by CALL's imm: vm_helpers; others in tests */
	unsigned n_helpers;
	vm_helper *const *kfuncs; /* by CALL_KFUNC's imm, as resolved */
	unsigned n_kfuncs;
};

struct vm_region {
	uint64_t lo, hi;
	bool writable;
};

#define VM_REGIONS 32

/* The frames of one vm_interp(); of nested ones, the innermost first. */
struct vm_stack {
	uint64_t base, live; /* [base, base + live) are frames in use */
	struct vm_stack *outer;
};

/* One run of a program on one thread. Helpers find theirs with vm_running(). */
struct vm_run {
	struct jit_run jit; /* first: the run register of compiled code points here */
	const struct vm_code *code;
	struct skep_engine *engine;
	struct vm_region
		regions[VM_REGIONS]; /* what interpreted code may touch besides its stack */
	unsigned n_regions, hit;
	/* Asked for addresses outside regions: values of maps. */
	bool (*covers)(struct vm_run *run, uint64_t addr, size_t size, bool write);
	uint64_t budget; /* instructions left; 0 at the start: unbounded. Interpreted code only */
	struct vm_stack *stack;
	unsigned frames;	    /* in use on all of these stacks, at most ISA_FRAMES */
	const struct vm_code *tail; /* by vm_tail_call(): continue there */
	int fault;		    /* -errno of a refused access, endless loop ... */
	unsigned fault_pc;
	struct skep_err err;
	uint64_t mac, net, end; /* of the packet: where its headers begin, and it ends */
	struct vm_run *outer;	/* of the run this one interrupts */
};

extern __thread struct vm_run *vm_run_current;

/** vm_running() - of this thread; NULL outside. */
static inline struct vm_run *vm_running(void)
{
	return vm_run_current;
}

/**
 * vm_interp() - run decoded code from instruction @pc on, with r1 to r5.
 *
 * Return: r0. A fault sets run->fault, fault_pc and err, and returns 0.
 */
uint64_t vm_interp(struct vm_run *run, const struct vm_code *code, unsigned pc, uint64_t r1,
		   uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5);

/** vm_call() - a program's callback from a helper: @func as LDDW_FUNC loaded it. */
uint64_t vm_call(struct vm_run *run, uint64_t func, uint64_t r1, uint64_t r2, uint64_t r3,
		 uint64_t r4, uint64_t r5);

/**
 * vm_tail_call() - for the helper of that name in interpreted code: when it has returned, @next takes
 * the frame of the function that called it, with the same r1; callers of that function get its r0.
 *
 * Return: 0, -ELOOP after ISA_TAIL_MAX of them, and the program goes on.
 */
int vm_tail_call(struct vm_run *run, const struct vm_code *next);

/** vm_code_run() - from the start: compiled where it is, else interpreted. */
uint64_t vm_code_run(struct vm_run *run, const struct vm_code *code, uint64_t ctx);

/** vm_code_call() - a function of it from outside of any run: @func as its LDDW_FUNC loaded it. */
uint64_t vm_code_call(struct vm_run *run, const struct vm_code *code, uint64_t func, uint64_t r1,
		      uint64_t r2, uint64_t r3);

/** vm_access() - may the running program touch these bytes (for helpers' arguments)? */
bool vm_access(struct vm_run *run, uint64_t addr, size_t size, bool write);

#endif
