// SPDX-License-Identifier: Apache-2.0
/*
 * Loading a program:
 *
 *	insns --> decode --> structure (verify) --> resolve: maps, helpers --> compile, where proved (E3)
 *	            |             |                      |
 *	            +-------------+----------------------+--> the loader's log: why not
 *
 * L1  A program holds a reference to each of its maps, to its BTF, and to what it extends.
 * L2  What infos show is what was loaded, with the ids of maps in place of fds.
 * L3  The list of its maps only grows, where it lies.
 * L4  A call of what compiled code has no answer to (poison, a pointer into the kernel) leaves the
 *     program to the interpreter.
 * L5  Calls in code that constants show to be dead are replaced: they may name what is not here.
 */
#include <fcntl.h>
#include <time.h>

#include "isa/helper.h"
#include "vm/help.h"
#include "vm/inside.h"
#include "vm/kfunc.h"
#include "vm/shadow.h"

#define INSNS_MAX  1000000
#define MAPS_MAX   64
#define MAPS_BOUND 64  /* by BPF_PROG_BIND_MAP */
#define INFO_MAX   252 /* bytes of a caller's record of func_info, line_info ... */

static const uint32_t flags_known = BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT |
				    BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE | BPF_F_TEST_RND_HI32 |
				    BPF_F_XDP_HAS_FRAGS | VM_F_XDP_DEV_BOUND_ONLY |
				    VM_F_TEST_REG_INVARIANTS | VM_F_TOKEN_FD;

/* One load under way. */
struct load {
	struct call *c;
	struct prog *p;
	struct vm_log log;
	struct bpf_insn *insns; /* as they came */
	unsigned n;
	struct skep_err err;
};

#define say(l, ...) buf_fmt(&(l)->log.text, __VA_ARGS__)

static uint64_t now_boot(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- attributes --------------------------------------------------------------------------------- */

/* Types whose hook has to be named at load time. */
int vm_prog_check_attach(uint32_t type, uint32_t attach)
{
	switch (type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_SK_LOOKUP:
	case VM_PROG_TYPE_NETFILTER:
		return vm_attach_prog_type(attach) == type ? 0 : -EINVAL;
	case BPF_PROG_TYPE_SK_REUSEPORT:
		return attach == BPF_SK_REUSEPORT_SELECT ||
				       attach == BPF_SK_REUSEPORT_SELECT_OR_MIGRATE
			       ? 0
			       : -EINVAL;
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_EXT:
		return attach ? -EINVAL : 0;
	default:
		return 0;
	}
}

/* What a loader that names no hook means. */
static uint32_t attach_default(const union bpf_attr *a)
{
	if (a->expected_attach_type)
		return a->expected_attach_type;
	switch (a->prog_type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
		return BPF_CGROUP_INET_SOCK_CREATE;
	case BPF_PROG_TYPE_SK_REUSEPORT:
		return BPF_SK_REUSEPORT_SELECT;
	default:
		return 0;
	}
}

static bool by_btf(uint32_t type)
{
	return type == BPF_PROG_TYPE_TRACING || type == BPF_PROG_TYPE_LSM ||
	       type == BPF_PROG_TYPE_STRUCT_OPS || type == BPF_PROG_TYPE_EXT;
}

static int check_target(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	struct object *o;
	int rc;

	if (a->attach_prog_fd) {
		rc = vm_call_object(l->c, (int)a->attach_prog_fd, OBJECT_PROG, &o);
		if (rc)
			return -EINVAL;
		if (a->prog_type != BPF_PROG_TYPE_TRACING && a->prog_type != BPF_PROG_TYPE_EXT) {
			vm_object_put(l->c->e, o);
			return -EINVAL;
		}
		l->p->attach_prog = vm_prog_of(o);
	}
	if (a->attach_btf_id && !by_btf(a->prog_type))
		return -EINVAL;
	l->p->attach_btf_id = a->attach_btf_id;
	if (a->prog_type == BPF_PROG_TYPE_EXT && l->p->attach_prog)
		l->p->run_type = l->p->attach_prog->type;
	return vm_prog_check_attach(a->prog_type, l->p->attach_type);
}

static bool license_is_gpl(const char *s)
{
	static const char *const all[] = {
		"GPL",		"GPL v2",	"GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};
	unsigned i;

	for (i = 0; i < array_size(all); i++)
		if (!strcmp(s, all[i]))
			return true;
	return false;
}

static int read_insns(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	char license[128];

	l->n = a->insn_cnt;
	l->insns = calloc(l->n, sizeof(*l->insns));
	l->p->xlated = calloc(l->n, sizeof(*l->insns));
	l->p->code.insns = calloc(l->n, sizeof(*l->p->code.insns));
	l->p->maps = calloc(MAPS_MAX + MAPS_BOUND, sizeof(struct vm_map *));
	if (!l->p->maps || !l->insns || !l->p->xlated || !l->p->code.insns)
		return -ENOMEM;
	if (vm_call_read(l->c, l->insns, a->insns, l->n * sizeof(*l->insns)))
		return -EFAULT;
	if (vm_call_string(l->c, license, a->license, sizeof(license)) < 0)
		return -EFAULT;
	l->p->gpl = license_is_gpl(license);
	memcpy(l->p->xlated, l->insns, l->n * sizeof(*l->insns));
	l->p->n_insns = l->p->code.n_insns = l->n;
	return 0;
}

static int check_attr(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	struct prog *p = l->p;
	int rc;

	if (a->prog_flags & ~flags_known)
		return -EINVAL;
	if (!a->insn_cnt || a->insn_cnt > INSNS_MAX)
		return -E2BIG;
	p->type = p->run_type = a->prog_type;
	p->attach_type = attach_default(a);
	p->flags = a->prog_flags;
	p->sleepable = a->prog_flags & BPF_F_SLEEPABLE;
	p->uid = vm_call_uid(l->c);
	p->load_time = now_boot();
	rc = check_target(l);
	if (!rc)
		rc = read_insns(l);
	if (rc)
		return rc;
	if (a->prog_ifindex)
		return -EINVAL;
	if (!p->type || p->type >= VM_PROG_TYPES)
		return -EINVAL;
	rc = vm_name_copy(p->name, a->prog_name);
	return rc < 0 ? rc : 0;
}

/* ---- BTF of functions and lines ------------------------------------------------------------------ */

/* @cnt records of @rec bytes from the caller's @from, each cut or filled up to @want bytes. */
static int read_records(struct load *l, void **out, uint64_t from, uint32_t cnt, uint32_t rec,
			uint32_t least, uint32_t want)
{
	uint8_t *all;
	uint32_t i;
	int rc = 0;

	if (rec < least || rec > INFO_MAX || rec % 4 || cnt > INT32_MAX / want)
		return -EINVAL;
	all = calloc(cnt, want);
	if (!all)
		return -ENOMEM;
	for (i = 0; !rc && i < cnt; i++) {
		uint64_t at = from + (uint64_t)i * rec;

		rc = vm_call_tail_zero(l->c, at, want, rec);
		if (!rc && vm_call_read(l->c, all + (size_t)i * want, at, min(rec, want)))
			rc = -EFAULT;
	}
	*out = all;
	return rc;
}

static int read_funcs(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	struct prog *p = l->p;
	void *all = NULL;
	uint32_t i;
	int rc;

	if (!a->func_info_cnt)
		return 0;
	rc = read_records(l, &all, a->func_info, a->func_info_cnt, a->func_info_rec_size, 8,
			  sizeof(*p->funcs));
	p->funcs = all;
	if (rc)
		return rc;
	p->n_funcs = a->func_info_cnt;
	for (i = 0; i < p->n_funcs; i++) {
		if (i ? p->funcs[i].insn_off <= p->funcs[i - 1].insn_off : p->funcs[i].insn_off) {
			say(l, "wrong insn offset %u of func info record %u\n",
			    p->funcs[i].insn_off, i);
			return -EINVAL;
		}
		if (!vm_btf_func_name(p->btf, p->funcs[i].type_id)) {
			say(l, "invalid type id %u in func info\n", p->funcs[i].type_id);
			return -EINVAL;
		}
	}
	return 0;
}

static int read_lines(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	struct prog *p = l->p;
	void *all = NULL;
	uint32_t i;
	int rc;

	if (!a->line_info_cnt)
		return 0;
	rc = read_records(l, &all, a->line_info, a->line_info_cnt, a->line_info_rec_size, 16,
			  sizeof(*p->lines));
	p->lines = all;
	if (rc)
		return rc;
	p->n_lines = a->line_info_cnt;
	for (i = 0; i < p->n_lines; i++) {
		uint32_t off = p->lines[i].insn_off;

		if ((i && off <= p->lines[i - 1].insn_off) || off >= l->n) {
			say(l, "Invalid line_info[%u].insn_off:%u (prev_offset:%u prog->len:%u)\n",
			    i, off, i ? p->lines[i - 1].insn_off : 0, l->n);
			return -EINVAL;
		}
	}
	return 0;
}

static int read_btf(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	struct object *o;
	int rc;

	if (!a->func_info_cnt && !a->line_info_cnt)
		return 0;
	rc = vm_call_object(l->c, (int)a->prog_btf_fd, OBJECT_BTF, &o);
	if (rc)
		return rc;
	l->p->btf = vm_btf_of(o); /* L1 */
	rc = read_funcs(l);
	return rc ? rc : read_lines(l);
}

/* The functions that BTF names are those that the program has. */
static int check_funcs(struct load *l)
{
	const struct verify_proof *proof = l->p->code.proof;
	unsigned i;

	if (!l->p->n_funcs)
		return 0;
	if (l->p->n_funcs != proof->n_funcs) {
		say(l, "number of funcs in func_info doesn't match number of subprogs\n");
		return -EINVAL;
	}
	for (i = 0; i < proof->n_funcs; i++) {
		if (l->p->funcs[i].insn_off != proof->funcs[i].start) {
			say(l,
			    "func_info BTF section doesn't match subprog layout in BPF program\n");
			return -EINVAL;
		}
	}
	return 0;
}

/* ---- resolving -------------------------------------------------------------------------------------- */

/* Runs look at the list without a lock (L3). */
static int hold_map(struct load *l, struct vm_map *m, unsigned most)
{
	struct prog *p = l->p;
	unsigned i;

	for (i = 0; i < p->n_maps; i++)
		if (p->maps[i] == m)
			return 0;
	if (p->n_maps >= most) {
		say(l, "The total number of maps per program has reached the limit of %u\n", most);
		return -E2BIG;
	}
	vm_object_get(l->c->e, &m->obj); /* L1 */
	p->maps[p->n_maps] = m;
	__atomic_store_n(&p->n_maps, p->n_maps + 1, __ATOMIC_RELEASE);
	return 0;
}

static int check_map(struct load *l, const struct vm_map *m)
{
	const struct map_fields *f = &m->map->def.fields;

	if (f->spin_lock >= 0 && l->p->type == BPF_PROG_TYPE_SOCKET_FILTER) {
		say(l, "socket filter progs cannot use bpf_spin_lock yet\n");
		return -EINVAL;
	}
	if (f->spin_lock >= 0 && vm_is_tracing(l->p->type)) {
		say(l, "tracing progs cannot use bpf_spin_lock yet\n");
		return -EINVAL;
	}
	if (f->timer >= 0 && vm_is_tracing(l->p->type)) {
		say(l, "tracing progs cannot use bpf_timer yet\n");
		return -EINVAL;
	}
	return 0;
}

static int map_fd_of(struct load *l, const struct isa_insn *i, int *fd)
{
	const union bpf_attr *a = &l->c->attr.a;

	*fd = i->imm;
	if (i->op != ISA_LDDW_MAP_IDX && i->op != ISA_LDDW_MAP_IDX_VALUE)
		return 0;
	if (!a->fd_array) {
		say(l, "fd_idx without fd_array is invalid\n");
		return -EPROTO;
	}
	return vm_call_read(l->c, fd, a->fd_array + (uint64_t)(uint32_t)i->imm * 4, 4);
}

/* The address of the only value of an array, for global variables. */
static int value_address(struct load *l, const struct map *m, uint32_t off, uint64_t *addr)
{
	if (m->def.type != BPF_MAP_TYPE_ARRAY) {
		say(l, "no direct value access support for this map type\n");
		return -EINVAL;
	}
	if (m->def.max_entries != 1 || off >= m->def.value_size) {
		say(l, "invalid access to map value pointer, value_size=%u off=%u\n",
		    m->def.value_size, off);
		return m->def.max_entries != 1 ? -VM_ENOTSUPP : -EINVAL;
	}
	*addr = m->areas[0].base + m->areas[0].skip + off;
	return 0;
}

static int use_map(struct load *l, unsigned pc, struct vm_map *m)
{
	struct isa_insn *i = &l->p->code.insns[pc];
	bool value = i->op == ISA_LDDW_MAP_VALUE || i->op == ISA_LDDW_MAP_IDX_VALUE;
	uint64_t addr = (uintptr_t)m->map;
	uint32_t off = (uint32_t)i[1].imm;
	int rc = check_map(l, m);

	if (!rc && value)
		rc = value_address(l, m->map, off, &addr);
	if (!rc && !value && off) {
		say(l, "unrecognized bpf_ld_imm64 insn\n");
		rc = -EINVAL;
	}
	if (!rc)
		rc = hold_map(l, m, MAPS_MAX);
	if (rc)
		return rc;
	l->p->xlated[pc].src_reg = value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD; /* L2 */
	l->p->xlated[pc].imm = (int32_t)m->obj.id;
	i->op = ISA_LDDW;
	i->src = 0;
	isa_set_imm64(i, addr);
	return 0;
}

static int resolve_map(struct load *l, unsigned pc)
{
	struct isa_insn *i = &l->p->code.insns[pc];
	struct object *o;
	int fd, rc = map_fd_of(l, i, &fd);

	if (rc)
		return rc;
	rc = vm_call_object(l->c, fd, OBJECT_MAP, &o);
	if (rc) {
		say(l,
		    rc == -EBADF ? "fd %d is not pointing to valid bpf_map\n"
				 : "fd %d is not a bpf_map\n",
		    fd);
		return rc;
	}
	rc = use_map(l, pc, container_of(o, struct vm_map, obj));
	vm_object_put(l->c->e, o);
	return rc;
}

/*
 * What libbpf writes over instructions that this kernel cannot run, each a call of no helper: a CO-RE
 * relocation that failed, a map that was not made, a kernel function that is not there. They stand
 * behind a test of the program's. Who gets there nevertheless ends with a fault (L4).
 */
static bool is_poison(int id)
{
	return id == 0xbad2310 || (id >= 2001000000 && id < 2003000000);
}

static int resolve_helper(struct load *l, unsigned pc)
{
	int id = l->p->code.insns[pc].imm;
	const struct isa_helper *h = isa_helper(id);

	if (is_poison(id))
		return 0;
	if (!h) {
		say(l, "%u: invalid func unknown#%d\n", pc, id);
		return -EINVAL;
	}
	if (!vm_help_allowed(l->p, (unsigned)id)) {
		say(l, "%u: unknown func bpf_%s#%d\n", pc, h->name, id);
		return -EINVAL;
	}
	if (vm_help_gpl_only((unsigned)id) && !l->p->gpl) {
		say(l, "cannot call GPL-restricted function from non-GPL compatible program\n");
		return -EINVAL;
	}
	return 0;
}

/*
 * Of the kernel's BTF, by its id; of modules nothing is here. Id 0 is what a loader leaves where it found none:
 * an error only for who gets there (L4).
 */
static int resolve_kfunc(struct load *l, unsigned pc)
{
	struct isa_insn *i = &l->p->code.insns[pc];
	const char *name = NULL;
	int row;

	if (!i->imm && !i->off) {
		i->imm = -1;
		return 0;
	}
	if (!i->off)
		name = vm_kernel_func(l->c->e, (uint32_t)i->imm);
	if (!name) {
		say(l, "kernel function btf_id %d is not here\n", i->imm);
		return -EINVAL;
	}
	row = vm_kfunc_find(name);
	if (row < 0 || !vm_kfunc_allowed(l->p, row)) {
		say(l,
		    row < 0 ? "kernel function %s is not here\n"
			    : "calling kernel function %s is not allowed\n",
		    name);
		return row < 0 ? -EINVAL : -EACCES;
	}
	if (!l->p->gpl) {
		say(l, "cannot call kernel function from non-GPL compatible program\n");
		return -EINVAL;
	}
	i->imm = row;
	return 0;
}

static int resolve_one(struct load *l, unsigned pc)
{
	const struct isa_insn *i = &l->p->code.insns[pc];

	switch (i->op) {
	case ISA_LDDW_BTF_ID:
		say(l, "%u: variable btf_id %d is the kernel's; there is none here\n", pc, i->imm);
		return -EINVAL;
	case ISA_CALL:
		return resolve_helper(l, pc);
	case ISA_CALL_KFUNC:
		return resolve_kfunc(l, pc);
	default:
		return 0;
	}
}

static bool names_map(const struct isa_insn *i)
{
	return i->op == ISA_LDDW_MAP_FD || i->op == ISA_LDDW_MAP_VALUE ||
	       i->op == ISA_LDDW_MAP_IDX || i->op == ISA_LDDW_MAP_IDX_VALUE;
}

/* Values that neither the program nor a caller can change any more. */
static bool read_constant(void *arg, uint64_t addr, unsigned size, uint64_t *value)
{
	const struct prog *p = arg;
	unsigned i;

	for (i = 0; i < p->n_maps; i++) {
		const struct map *m = p->maps[i]->map;

		if (!m->frozen || !(m->def.flags & BPF_F_RDONLY_PROG) || !map_covers(m, addr, size))
			continue;
		memcpy(value, PTR(addr), size);
		return true;
	}
	return false;
}

/* What is behind tests that are decided may ask for what is not here; it is left out (L5). */
static int leave_out_dead(struct load *l)
{
	cleanup(mem_free) bool *dead = calloc(l->n, sizeof(*dead));
	struct isa_insn *i;
	unsigned pc;
	int rc;

	if (!dead)
		return -ENOMEM;
	rc = verify_dead(dead, l->p->code.insns, l->n, read_constant, l->p);
	for (pc = 0; !rc && pc < l->n; pc++) {
		i = &l->p->code.insns[pc];
		if (dead[pc] && (i->op == ISA_CALL || i->op == ISA_CALL_KFUNC))
			*i = (struct isa_insn){.op = ISA_MOV64_K};
	}
	return rc;
}

static int resolve(struct load *l)
{
	unsigned pc;
	int rc = 0;

	for (pc = 0; !rc && pc < l->n; pc++)
		if (names_map(&l->p->code.insns[pc]))
			rc = resolve_map(l, pc);
	if (!rc)
		rc = leave_out_dead(l);
	for (pc = 0; !rc && pc < l->n; pc++)
		rc = resolve_one(l, pc);
	return rc;
}

/* ---- compiling ------------------------------------------------------------------------------------------ */

/* The kernel guards reads through such pointers, and unwinds; compiled code here does neither (L4). */
static bool interpreter_only(const struct prog *p)
{
	const struct isa_insn *i;
	unsigned pc;

	for (pc = 0; pc < p->n_insns; pc++) {
		i = &p->code.insns[pc];
		if (i->op == ISA_CALL && i->imm == BPF_FUNC_get_current_task_btf)
			return true;
		if (i->op >= ISA_LD_ABS8 && i->imm < 0) /* from a header on */
			return true;
		if (i->op == ISA_CALL_KFUNC && i->imm >= 0 && vm_kfunc_interpreted(i->imm))
			return true;
	}
	return false;
}

static bool may_compile(const struct skep_engine *e, const struct prog *p)
{
	if (e->options.interpret || interpreter_only(p))
		return false;
	return e->options.unsafe || p->code.proof->memory_safe; /* E3 */
}

static void describe(struct jit_map *out, const struct map *m)
{
	*out = (struct jit_map){.map = (uintptr_t)m, .max_entries = m->def.max_entries};
	if (m->def.type == BPF_MAP_TYPE_PROG_ARRAY) {
		out->kind = JIT_PROG_ARRAY;
		out->values = map_slots((struct map *)m);
		return;
	}
	if (m->def.type != BPF_MAP_TYPE_ARRAY && m->def.type != BPF_MAP_TYPE_PERCPU_ARRAY) {
		out->kind = JIT_CALLED;
		out->lookup = map_lookup_of(m);
		return;
	}
	out->kind = m->def.type == BPF_MAP_TYPE_ARRAY ? JIT_ARRAY : JIT_PERCPU_ARRAY;
	out->cpu_stride = m->areas[0].bytes / m->def.cpus;
	out->values = (void *)(m->areas[0].base + m->areas[0].skip);
	out->stride = m->areas[0].stride;
}

static void compile(struct prog *p)
{
	struct jit_map *maps = calloc(p->n_maps + 1, sizeof(*maps));
	struct jit_input in = {.insns = p->code.insns,
			       .n_insns = p->n_insns,
			       .proof = p->code.proof,
			       .helpers = vm_helpers,
			       .n_helpers = vm_n_helpers,
			       .kfuncs = vm_kfuncs,
			       .n_kfuncs = vm_n_kfuncs,
			       .maps = maps};
	struct skep_err err;
	unsigned i;

	for (i = 0; maps && i < p->n_maps; i++) {
		uint32_t type = p->maps[i]->map->def.type;

		/* Maps of maps take the helper: it notes what the program was given. */
		if (type != BPF_MAP_TYPE_ARRAY_OF_MAPS && type != BPF_MAP_TYPE_HASH_OF_MAPS &&
		    (type == BPF_MAP_TYPE_PROG_ARRAY || map_lookup_of(p->maps[i]->map)))
			describe(&maps[in.n_maps++], p->maps[i]->map);
	}
	if (!jit_compile(&p->code.jit, &in, &err))
		p->target.entry = jit_target_entry(p->code.jit);
	free(maps);
}

void vm_prog_compile(struct skep_engine *e, struct prog *p)
{
	if (may_compile(e, p))
		compile(p);
}

/* Through prog arrays that hold interpreted programs only the interpreter finds its way (L4). */
static int join_arrays(struct load *l)
{
	struct prog *p = l->p;
	unsigned i;

	for (i = 0; i < p->n_maps; i++) {
		struct vm_map *m = p->maps[i];

		if (m->map->def.type != BPF_MAP_TYPE_PROG_ARRAY ||
		    !vm_map_progs_caller(l->c->e, m, p))
			continue;
		if (!p->code.jit)
			return -EINVAL;
		jit_free(take(p->code.jit));
		p->target.entry = NULL;
		i = UINT32_MAX; /* again, as one that is interpreted */
	}
	return 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

static bool may_sleep(const struct prog *p)
{
	switch (p->type) {
	case BPF_PROG_TYPE_TRACING:
		return p->attach_type == BPF_TRACE_FENTRY || p->attach_type == BPF_TRACE_FEXIT ||
		       p->attach_type == BPF_MODIFY_RETURN || p->attach_type == BPF_TRACE_ITER;
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_LSM:
	case BPF_PROG_TYPE_KPROBE:
	case BPF_PROG_TYPE_STRUCT_OPS:
		return true;
	default:
		return false;
	}
}

static int check_type(struct load *l)
{
	const struct prog *p = l->p;

	if (p->type == BPF_PROG_TYPE_SYSCALL && !p->sleepable) {
		say(l, "Syscall programs can only be sleepable\n");
		return -EINVAL;
	}
	if (p->sleepable && !may_sleep(p)) {
		say(l, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can "
		       "be sleepable\n");
		return -EINVAL;
	}
	if (by_btf(p->type) && !p->attach_btf_id) {
		say(l, "Tracing programs must provide btf_id\n");
		return -EINVAL;
	}
	if (p->type == BPF_PROG_TYPE_EXT)
		return vm_extend_check(p, p->attach_prog, p->attach_btf_id, &l->log.text);
	if (p->type == BPF_PROG_TYPE_STRUCT_OPS) {
		say(l, "programs of this type replace parts of a kernel; there is none here\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

static int translate(struct load *l)
{
	struct prog *p = l->p;
	int rc = isa_decode(l->insns, l->n, p->code.insns, &l->err);

	if (!rc)
		rc = verify_structure(&p->code.proof, p->code.insns, l->n, &l->err);
	if (rc) {
		say(l, "%s\n", l->err.text);
		return rc;
	}
	vm_prog_tag(p, l->insns, l->n);
	rc = check_funcs(l);
	if (!rc)
		rc = resolve(l);
	if (!rc)
		rc = check_type(l);
	p->code.helpers = vm_helpers_checked;
	p->code.n_helpers = vm_n_helpers;
	p->code.kfuncs = vm_kfuncs_checked;
	p->code.n_kfuncs = vm_n_kfuncs;
	if (!rc)
		vm_prog_compile(l->c->e, p);
	if (!rc && p->code.jit && vm_peeks(p))
		vm_show_maps(l->c->e);
	if (!rc)
		rc = join_arrays(l);
	if (!rc)
		say(l,
		    "processed %u insns (limit 1000000) max_states_per_insn 0 total_states 0 "
		    "peak_states 0 mark_read 0\n",
		    l->n);
	return rc;
}

static int translate_logged(struct load *l)
{
	const union bpf_attr *a = &l->c->attr.a;
	uint32_t true_size;
	int rc = vm_log_open(&l->log, a->log_level, a->log_buf, a->log_size), failed;

	if (rc)
		return rc;
	rc = read_btf(l);
	if (!rc)
		rc = translate(l);
	failed = vm_log_close(&l->log, l->c, &true_size);
	if (failed)
		rc = failed;
	if (l->c->size >= offsetof(union vm_attr, log_true_size) + 4 &&
	    vm_call_answer(l->c, offsetof(union vm_attr, log_true_size), &true_size, 4))
		rc = -EFAULT;
	return rc;
}

long vm_prog_do_load(struct call *c)
{
	struct load l = {.c = c, .p = calloc(1, sizeof(*l.p))};
	long rc;

	if (!l.p)
		return -ENOMEM;
	rc = check_attr(&l);
	if (!rc)
		rc = translate_logged(&l);
	if (!rc)
		rc = vm_object_add(c->e, &l.p->obj, OBJECT_PROG, -1);
	free(l.insns);
	if (rc) {
		vm_prog_free(c->e, l.p);
		return rc;
	}
	rc = vm_call_hand(c, &l.p->obj, O_RDWR);
	vm_object_put(c->e, &l.p->obj);
	return rc;
}

void vm_prog_free(struct skep_engine *e, struct prog *p)
{
	unsigned i;

	vm_extend_free(e, p);
	for (i = 0; i < p->n_maps; i++)
		vm_object_put(e, &p->maps[i]->obj);
	if (p->btf)
		vm_object_put(e, vm_btf_object(p->btf));
	if (p->attach_prog)
		vm_object_put(e, &p->attach_prog->obj);
	jit_free(p->code.jit);
	verify_free(p->code.proof);
	free(p->code.insns);
	free(p->xlated);
	free(p->maps);
	free(p->funcs);
	free(p->lines);
	free(p);
}

int vm_prog_get(struct call *c, int fd, struct prog **out)
{
	struct object *o;
	int rc = vm_call_object(c, fd, OBJECT_PROG, &o);

	if (!rc)
		*out = vm_prog_of(o);
	return rc;
}

static int bind_map(struct call *c, struct prog *p, struct vm_map *m)
{
	struct load l = {.c = c, .p = p};
	int rc;

	pthread_mutex_lock(&c->e->attach_lock);
	rc = hold_map(&l, m, MAPS_MAX + MAPS_BOUND);
	pthread_mutex_unlock(&c->e->attach_lock);
	buf_done(&l.log.text);
	return rc;
}

long vm_prog_do_bind_map(struct call *c)
{
	struct object *o;
	struct prog *p;
	int rc;

	if (c->attr.a.prog_bind_map.flags)
		return -EINVAL;
	rc = vm_prog_get(c, (int)c->attr.a.prog_bind_map.prog_fd, &p);
	if (rc)
		return rc;
	rc = vm_call_object(c, (int)c->attr.a.prog_bind_map.map_fd, OBJECT_MAP, &o);
	if (!rc) {
		rc = bind_map(c, p, container_of(o, struct vm_map, obj));
		vm_object_put(c->e, o);
	}
	vm_object_put(c->e, &p->obj);
	return rc;
}
