/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.h: what the files of vm share: the engine, its objects, one call.
 */
#ifndef SKEP_VM_INSIDE_H
#define SKEP_VM_INSIDE_H

#include <pthread.h>
#include <sys/types.h>

#include <linux/btf.h>

#include "base/buf.h"
#include "vm/port.h"
#include "vm/uapi.h"
#include "vm/vm.h"

/* The kernel's, which user space headers lack. */
#define VM_ENOTSUPP 524

/* ---- objects (object.c, E1) ------------------------------------------------------------------ */

enum object_kind {
	OBJECT_MAP,
	OBJECT_PROG,
	OBJECT_BTF,
	OBJECT_LINK,
	OBJECT_STATS,
	OBJECT_PERF,
	OBJECT_KINDS
};

struct object {
	enum object_kind kind;
	uint32_t id;   /* 0: in no list (stats) */
	uint32_t refs; /* of slots, pins, links, programs, running calls; one of all callers' fds */
	uint32_t pins;
	bool handed; /* callers had descriptors when last asked */
	bool unused; /* no fd and no pin is left, and its kind was told */
	_Atomic bool
		narrow; /* callers may have descriptors of it that do not both read and write */
	int fd;		/* E1 */
	dev_t dev;
	ino_t ino;
	struct object *next; /* of its bucket */
};

struct object_table {
	struct object **v; /* by id */
	unsigned n, cap;
	uint32_t last_id;
};

#define OBJECT_BUCKETS 1024

/**
 * vm_object_add() - make @o known: an id and a file; one reference for the caller of this function.
 * @memfd: the file that stands for it, borrowed, or -1 for one of its own
 */
int vm_object_add(struct skep_engine *e, struct object *o, enum object_kind kind, int memfd);
void vm_object_get(struct skep_engine *e, struct object *o);
/* false: its last reference was put already. */
bool vm_object_get_live(struct skep_engine *e, struct object *o);
void vm_object_put(struct skep_engine *e, struct object *o);
struct object *vm_object_by_id(struct skep_engine *e, enum object_kind kind, uint32_t id);
/* The next behind @id; 0: none. */
uint32_t vm_object_next_id(struct skep_engine *e, enum object_kind kind, uint32_t id);
/* What an fd of this process stands for, with a reference, or NULL. */
struct object *vm_object_of_fd(struct skep_engine *e, int fd);
/* Another description of its file for a caller, close-on-exec. */
int vm_object_open(struct skep_engine *e, struct object *o, int mode);
void vm_object_pin(struct skep_engine *e, struct object *o, int by);
void vm_objects_done(struct skep_engine *e);

/* ---- engine (engine.c) ------------------------------------------------------------------------ */

struct pin {
	char *path;
	int file; /* what stands at the path; -1: nothing, it is a name */
	dev_t dev;
	ino_t ino;
	struct object *object;
};

struct attachment;
struct device;
struct tcx_hook;
struct timers;

struct skep_engine {
	struct skep_engine_options options;
	pthread_mutex_t lock; /* tables, references, pins */
	struct object_table tables[OBJECT_KINDS];
	struct object *buckets[OBJECT_BUCKETS];
	struct pin *pins;
	unsigned n_pins;
	pthread_mutex_t attach_lock;
	pthread_mutex_t link_lock; /* K2 of link.c; taken before the others */
	struct attachment *attachments;
	struct device *devices; /* device.c; under lock */
	struct vm_port *ports;
	pthread_rwlock_t ports_turn;  /* P1 of port.h; taken before lock */
	struct tcx_hook *tcx;	      /* tcx.c; under lock */
	_Atomic unsigned n_tcx;	      /* programs at all hooks */
	_Atomic uint32_t tcx_changes; /* of hooks, so far */
	_Atomic uint32_t stats;	      /* somebody wants run times */
	_Atomic uint64_t memory;      /* of all maps */
	struct map_objects map_objects;
	struct timers *timers;
	const struct vm_hooks *hooks; /* never NULL */
	uint64_t budget;	      /* instructions of an interpreted run */
	_Atomic unsigned made;	      /* objects since the last sweep for their sake */
	bool kernel_btf_asked;
	struct btf *kernel_btf;	       /* NULL: not asked for yet, or the kernel has none */
	_Atomic bool maps_shown;       /* some program reads struct bpf_map: all maps show it */
	int sockets;		       /* an epoll of all sockets in maps; -1: none yet */
	_Atomic uint64_t netns_cookie; /* 0: not asked for yet */
};

/* ---- one call (bpf.c) ------------------------------------------------------------------------- */

struct call {
	struct skep_engine *e;
	const struct vm_caller *caller;
	uint64_t uattr;
	unsigned size;
	union vm_attr attr;
};

/* The call that this thread answers; NULL outside. */
extern __thread struct call *vm_calling;

int vm_call_read(struct call *c, void *dst, uint64_t src, size_t n);
/* Both in one system call where that is possible. */
int vm_call_read2(struct call *c, void *const dst[2], const uint64_t src[2], const size_t n[2]);
int vm_call_write(struct call *c, uint64_t dst, const void *src, size_t n);
/* An address that a program came by: checked whoever calls. @c: NULL where nobody does. */
int vm_user_read(struct call *c, void *dst, uint64_t src, size_t n);
int vm_user_write(struct call *c, uint64_t dst, const void *src, size_t n);
/* Whether the caller is this process. */
bool vm_call_here(const struct call *c);
/* Into the caller's attr at @offset. */
int vm_call_answer(struct call *c, size_t offset, const void *src, size_t n);
/* Refuse what a caller knows and we do not: bytes from @known to @size must be zero. */
int vm_call_tail_zero(struct call *c, uint64_t addr, size_t known, size_t size);
/* A NUL-terminated string of less than @cap bytes; its length. -EFAULT, -E2BIG (cut: @cap - 1). */
long vm_call_string(struct call *c, char *dst, uint64_t src, size_t cap);
/* The object of a caller's fd, with a reference. -EBADF, -EINVAL where it is another kind. */
int vm_call_object(struct call *c, int fd, enum object_kind kind, struct object **out);
/* The same for any kind, and how the caller's fd was opened (O_ACCMODE). */
int vm_call_any(struct call *c, int fd, struct object **out, int *mode);
/* A new fd of @o for the caller. */
long vm_call_hand(struct call *c, struct object *o, int mode);
uint32_t vm_call_uid(struct call *c);
/* A name as the kernel checks it: [A-Za-z0-9_.]*, terminated. Its length or -EINVAL. */
int vm_name_copy(char dst[BPF_OBJ_NAME_LEN], const char src[BPF_OBJ_NAME_LEN]);

#define vm_call_put(c, field, value)                                                     \
	({                                                                               \
		__typeof__((c)->attr.a.field) put_ = (value);                            \
		vm_call_answer(c, offsetof(union bpf_attr, field), &put_, sizeof(put_)); \
	})

/* ---- logs (log.c) -------------------------------------------------------------------------------- */

/* What a loader is told, as the kernel's verifier tells it. */
struct vm_log {
	uint32_t level, size;
	uint64_t to;
	struct buf text;
};

/* -EINVAL for what the kernel refuses. */
int vm_log_open(struct vm_log *l, uint32_t level, uint64_t to, uint32_t size);
/* Copies it out; *true_size is what would have fitted all. 0, -EFAULT, -ENOSPC. */
int vm_log_close(struct vm_log *l, struct call *c, uint32_t *true_size);

/* ---- pins (pin.c) ------------------------------------------------------------------------------ */

long vm_pin_do_pin(struct call *c);
long vm_pin_do_get(struct call *c);
/* Let go of what files held that are removed. */
void vm_pin_sweep(struct skep_engine *e);
void vm_pin_done(struct pin *p); /* all but its object */

struct wake {
	_Atomic int fd;	 /* eventfd of who polls; -1: nobody did */
	uint64_t reader; /* where the reader stood when last looked; 0: it had nothing to read */
};

/* ---- maps (map.c) ------------------------------------------------------------------------------ */

struct btf;
struct prog;

struct vm_map {
	struct object obj;
	struct map_objects objects; /* the map's def points here: container_of leads back */
	struct skep_engine *engine;
	struct map *map;
	struct map_def inner; /* of what it holds, when it holds maps */
	struct wake wake;     /* of a ring */
	char name[BPF_OBJ_NAME_LEN];
	struct btf *btf; /* NULL: none */
	uint32_t btf_key, btf_value;
	size_t bytes;
	struct {
		uint32_t
			type; /* of all programs in it and of those that call through it; 0: none yet */
		bool compiled;	  /* compiled code jumps through it */
		bool interpreted; /* a program without a compiled entry is or was in it */
	} progs;		  /* of a prog array */
};

static inline struct vm_map *vm_map_of(const struct map *m)
{
	return container_of((struct map_objects *)m->def.objects, struct vm_map, objects);
}

/* What storage belongs to (a task, a file), by its descriptor's inode. */
struct stat;
uint64_t vm_map_inode_key(const struct stat *st);

/*
 * @p is going to call through this prog array, or to stand in it. Both have to be of one type, and what
 * compiled code jumps to has to be compiled. Return: 0, -EINVAL.
 */
int vm_map_progs_caller(struct skep_engine *e, struct vm_map *m, const struct prog *p);
int vm_map_progs_member(struct skep_engine *e, struct vm_map *m, const struct prog *p);

long vm_map_do_create(struct call *c);
long vm_map_do_lookup(struct call *c);
long vm_map_do_update(struct call *c);
long vm_map_do_delete(struct call *c);
long vm_map_do_next_key(struct call *c);
long vm_map_do_lookup_delete(struct call *c);
long vm_map_do_freeze(struct call *c);
long vm_map_do_lookup_batch(struct call *c);
long vm_map_do_lookup_delete_batch(struct call *c);
long vm_map_do_update_batch(struct call *c);
long vm_map_do_delete_batch(struct call *c);
long vm_map_info(struct call *c, struct vm_map *m);
void vm_map_free(struct skep_engine *e, struct vm_map *m);
void vm_map_unused(struct skep_engine *e, struct vm_map *m);

/* ---- sockets in maps (sock.c) ------------------------------------------------------------------- */

/* What stands for a caller's socket in a map; freed with free(). NULL and *rc where it does not fit. */
void *vm_slot_socket(struct call *c, uint32_t map_type, int fd, int *rc);
uint64_t vm_slot_cookie(const void *object);
bool vm_slot_alive(void *arg, struct map *m, void *object);

/* ---- waking who polls (wake.c) ------------------------------------------------------------------ */

/* A helper that map_ring_commit(), map_ring_output() or map_ring_drain() told to: somebody may sleep. */
void vm_ring_wake(struct map *m);

/* ---- perf buffers (perf.c) ---------------------------------------------------------------------- */

void vm_perf_free(struct object *o);
struct wake *vm_perf_wake(struct object *o);
/* Where its reader stands, from 1, if there is something to read; else 0. */
uint64_t vm_perf_pending(const struct object *o);
/* One record into the buffer in slot @key of a perf event array. -ENOENT, -EINVAL, -ENOSPC, -E2BIG. */
long vm_perf_output(struct skep_engine *e, struct map *m, uint32_t key, const void *data,
		    uint32_t n);

/* ---- BTF (btf.c) ------------------------------------------------------------------------------- */

struct btf_fields {
	struct map_fields fields;
	bool any;
};

long vm_btf_do_load(struct call *c);
long vm_btf_info(struct call *c, struct btf *b);
void vm_btf_object_free(struct skep_engine *e, struct btf *b);
/* @b's object; its id is what infos show. */
struct object *vm_btf_object(struct btf *b);
struct btf *vm_btf_of(struct object *o);
/* Size of a value of type @id, typedefs followed; -EINVAL for what has none. */
long vm_btf_size(const struct btf *b, uint32_t id);
unsigned vm_btf_kind_of(const struct btf *b, uint32_t id); /* typedefs and qualifiers followed */
bool vm_btf_is_u32(const struct btf *b, uint32_t id);
void vm_btf_find_fields(const struct btf *b, uint32_t id, struct btf_fields *out);
/* The same of a structure of the kernel's, remembered. */
long vm_btf_struct(struct skep_engine *e, const char *name);
/* Where in it a member lies, by its path ("a.b"; names of anonymous members are left out). */
bool vm_btf_member(const struct btf *b, uint32_t id, const char *path, uint32_t *off,
		   uint32_t *size);
/* -ENOENT: no type of that name and kind. */
long vm_btf_find(const struct btf *b, const char *name, unsigned kind);
const char *vm_btf_func_name(const struct btf *b, uint32_t id); /* NULL: no function */
bool vm_btf_func_is_global(const struct btf *b, uint32_t id);
/* Do both functions take and return the same? */
bool vm_btf_func_same(const struct btf *a, uint32_t ida, const struct btf *b, uint32_t idb);

/*
 * The kernel's own, which libbpf finds functions and types in: read when first asked for. NULL: this kernel
 * shows none.
 */
const struct btf *vm_kernel_btf(struct skep_engine *e);
const char *vm_kernel_func(struct skep_engine *e, uint32_t id); /* NULL: no function */
void vm_kernel_btf_done(struct skep_engine *e);

/* ---- programs (prog.c, prog_info.c) ------------------------------------------------------------- */

struct prog {
	struct jit_target target; /* first: prog arrays' slots point here */
	struct object obj;
	struct vm_code code;
	uint32_t type, attach_type, flags, ifindex;
	char name[BPF_OBJ_NAME_LEN];
	uint8_t tag[BPF_TAG_SIZE];
	bool gpl, sleepable;
	uint32_t uid;
	uint64_t load_time;
	struct bpf_insn *xlated; /* as infos show it: map ids instead of fds */
	unsigned n_insns;
	struct vm_map **maps;
	unsigned n_maps;
	struct btf *btf;
	struct bpf_func_info *funcs;
	unsigned n_funcs;
	struct bpf_line_info *lines;
	unsigned n_lines;
	uint32_t attach_btf_id;
	struct prog *attach_prog;
	bool attached;	   /* as an extension, once: from then on it has to be said where to */
	uint32_t run_type; /* type, or what it extends is of */
	struct extension *extensions; /* extend.c */
	struct prog *joined;	      /* what runs in its stead, NULL: nothing (J3) */
	struct prog *joins;	      /* all that were made; of a join: the next */
	struct prog *of;	      /* this is a join of that program's */
	_Atomic uint64_t run_ns, run_cnt;
};

static inline struct prog *vm_prog_of(struct object *o)
{
	return container_of(o, struct prog, obj);
}

/* What runs of it: itself, or joined with its extensions. */
static inline struct prog *vm_prog_now(struct prog *p)
{
	struct prog *j = __atomic_load_n(&p->joined, __ATOMIC_ACQUIRE);

	return j ? j : p;
}

/* Runs of @p, or of a join of it, where somebody wants them counted. */
static inline void vm_prog_count(const struct skep_engine *e, struct prog *p, uint64_t ns,
				 uint32_t runs)
{
	if (!e->stats)
		return;
	p = p->of ? p->of : p;
	p->run_ns += ns;
	p->run_cnt += runs;
}

/* What to hold while code of it may run. */
static inline struct object *vm_prog_object(struct prog *p)
{
	return p->of ? &p->of->obj : &p->obj;
}

long vm_prog_do_load(struct call *c);
long vm_prog_do_bind_map(struct call *c);
long vm_prog_info(struct call *c, struct prog *p);
void vm_prog_free(struct skep_engine *e, struct prog *p);
void vm_prog_tag(struct prog *p, const struct bpf_insn *insns, unsigned n);
int vm_prog_get(struct call *c, int fd, struct prog **out);
/* Where that is allowed; what does not compile is interpreted. */
void vm_prog_compile(struct skep_engine *e, struct prog *p);
/* -EINVAL or 0: may a program of that type be loaded for that hook? */
int vm_prog_check_attach(uint32_t type, uint32_t attach);

/* ---- extensions (extend.c) ------------------------------------------------------------------------ */

/* May @p stand for the function @btf_id of @target? 0, or -EINVAL with the reason. */
int vm_extend_check(const struct prog *p, const struct prog *target, uint32_t btf_id,
		    struct buf *log);
/* Which of its functions that is. -EINVAL. */
int vm_extend_find(const struct prog *target, uint32_t btf_id, unsigned *func);
/* The caller holds both while it stands. -EBUSY: another does. */
int vm_extend_add(struct skep_engine *e, struct prog *target, unsigned func, struct prog *by);
void vm_extend_remove(struct skep_engine *e, struct prog *target, unsigned func);
void vm_extend_free(struct skep_engine *e, struct prog *p);

/* ---- links and attachments (link.c, attach.c) ----------------------------------------------------- */

long vm_link_do_create(struct call *c);
long vm_link_do_update(struct call *c);
long vm_link_do_detach(struct call *c);
long vm_link_do_raw_tp(struct call *c);
long vm_link_do_iter(struct call *c);
struct link;
long vm_link_info(struct call *c, struct link *l);
void vm_link_free(struct skep_engine *e, struct link *l);
struct link *vm_link_of(struct object *o);
uint32_t vm_link_type(const struct link *l);
/* With a reference. */
struct prog *vm_link_prog(struct skep_engine *e, const struct link *l);
long vm_link_do_task_fd(struct call *c);
/* A port, or an interface of this machine. */
bool vm_link_device(struct skep_engine *e, uint32_t ifindex);
/* The program on that interface, by a link or by netlink, with a reference, or NULL. */
struct prog *vm_link_xdp(struct skep_engine *e, uint32_t ifindex);
/* The lock is held: does a link hold one there, which? */
bool vm_link_xdp_on(struct skep_engine *e, uint32_t ifindex);
void vm_link_xdp_info(struct skep_engine *e, uint32_t ifindex, struct vm_xdp *out);

uint32_t vm_link_id(const struct link *l);

/* ---- tcx hooks (tcx.c) ------------------------------------------------------------------------------ */

/* Who is to come to a hook, or to go. */
struct vm_tcx {
	uint32_t ifindex, hook;	  /* VM_TCX_INGRESS, VM_TCX_EGRESS */
	struct prog *prog;	  /* NULL: whom the place names (detach) */
	struct link *link;	  /* that holds it there; NULL: the hook does */
	struct prog *old;	  /* that it replaces, with BPF_F_REPLACE */
	uint32_t flags, fd_or_id; /* BPF_F_BEFORE, BPF_F_AFTER, BPF_F_ID, BPF_F_LINK; beside whom */
	uint64_t revision;	  /* that the hook has to have; 0: any */
};

/* -ESTALE, -EEXIST, -ENOENT, -EBUSY, -ERANGE, -EINVAL as the kernel. */
int vm_tcx_attach(struct call *c, const struct vm_tcx *w);
int vm_tcx_detach(struct call *c, const struct vm_tcx *w);
long vm_tcx_query(struct call *c);
/* The link lets go; nothing where it does not stand. */
void vm_tcx_drop(struct skep_engine *e, const struct link *l);
/* The lock is held: the link holds @p there from now on. -EEXIST, -ENOENT. */
int vm_tcx_swap(struct skep_engine *e, const struct link *l, struct prog *p);
/* The programs in their order, each with a reference. *change: e->tcx_changes that goes with them. */
unsigned vm_tcx_programs(struct skep_engine *e, uint32_t ifindex, uint32_t hook,
			 struct prog *out[VM_TCX_MAX], uint32_t *change);
bool vm_tcx_any(struct skep_engine *e, uint32_t ifindex, uint32_t hook);
void vm_tcx_done(struct skep_engine *e);

/* ---- interfaces (device.c) ------------------------------------------------------------------------- */

/* The lock is held. Borrowed; NULL: none. */
struct prog *vm_device_xdp(struct skep_engine *e, uint32_t ifindex);
void vm_devices_done(struct skep_engine *e);

long vm_attach_do_attach(struct call *c);
long vm_attach_do_detach(struct call *c);
long vm_attach_do_query(struct call *c);
void vm_attach_done(struct skep_engine *e);
uint32_t vm_attach_prog_type(uint32_t attach_type);
/* The id of the cgroup that a caller's fd is; -EBADF where it is none. */
int vm_attach_cgroup(struct call *c, int fd, uint64_t *id);
bool vm_attach_is_cgroup(uint32_t prog_type);
int vm_attach_check(const struct prog *p, uint32_t attach_type);

/* ---- ports (port.c) ------------------------------------------------------------------------------- */

bool vm_port_is(struct skep_engine *e, uint32_t ifindex);
void vm_ports_init(struct skep_engine *e);

/* A frame, and how often it comes in. */
struct vm_live {
	uint32_t ifindex; /* of the port */
	const uint8_t *data;
	uint32_t meta; /* bytes before @data */
	uint32_t len;
	uint32_t times;
};

/*
 * Runs @p on each frame and obeys it, as if the port had brought them. 0; -EOPNOTSUPP: there are no
 * ports, or none that stands for this interface.
 */
int vm_port_live(struct skep_engine *e, struct prog *p, const struct vm_live *l);

/* ---- timers (help_timer.c) -------------------------------------------------------------------------- */

int vm_timers_open(struct skep_engine *e);
void vm_timers_stop(struct skep_engine *e);
void vm_timers_free(struct skep_engine *e);
/* A value goes: struct map_objects' drop. */
void vm_timer_drop(void *arg, struct map *m, void *value);
/* A map goes, or nobody can reach it any more. Puts programs. */
void vm_timers_of_map(struct skep_engine *e, const struct vm_map *m);

/* ---- test runs (test_run.c) ------------------------------------------------------------------------ */

long vm_test_do_run(struct call *c);

#endif
