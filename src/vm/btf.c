// SPDX-License-Identifier: Apache-2.0
/*
 * BTF: kept as it came; known of it is where each type begins, so that sizes of keys and values and
 * names of functions can be asked.
 *
 * T1  After a load every type lies inside the data, every name inside the strings, every reference
 *     below the number of types. Chains of references are followed at most DEPTH long.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "vm/inside.h"

#define SIZE_MAX_BTF (16U << 20)
#define DEPTH	     32

struct btf {
	struct object obj;
	uint8_t *data; /* as loaded: header, types, strings */
	uint32_t size;
	const struct btf_type **types; /* from 1 */
	uint32_t n_types;
	const char *strings;
	uint32_t strings_len;
};

struct object *vm_btf_object(struct btf *b)
{
	return &b->obj;
}

struct btf *vm_btf_of(struct object *o)
{
	return container_of(o, struct btf, obj);
}

static unsigned kind(const struct btf_type *t)
{
	return BTF_INFO_KIND(t->info);
}

/* Bytes behind a type's head, or -1 for a kind that nobody knows. */
static long extra(const struct btf_type *t)
{
	long n = BTF_INFO_VLEN(t->info);

	switch (kind(t)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * (long)sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * (long)sizeof(struct btf_enum);
	case BTF_KIND_FUNC_PROTO:
		return n * (long)sizeof(struct btf_param);
	case BTF_KIND_DATASEC:
		return n * (long)sizeof(struct btf_var_secinfo);
	case BTF_KIND_ENUM64:
		return n * (long)sizeof(struct btf_enum64);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

static bool refers(unsigned k)
{
	switch (k) {
	case BTF_KIND_PTR:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FUNC_PROTO:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
	case BTF_KIND_TYPE_TAG:
		return true;
	default:
		return false;
	}
}

static int bad(struct vm_log *log, uint32_t id, const char *why)
{
	if (id)
		buf_fmt(&log->text, "[%u] %s\n", id, why);
	else
		buf_fmt(&log->text, "%s\n", why);
	return -EINVAL;
}

static bool name_ok(const struct btf *b, uint32_t off)
{
	return off < b->strings_len;
}

/* References and names of members (T1). */
static int check_inner(struct vm_log *log, const struct btf *b, uint32_t id)
{
	const struct btf_type *t = b->types[id];
	const struct btf_array *a = (const void *)(t + 1);
	const struct btf_member *m = (const void *)(t + 1);
	const struct btf_param *p = (const void *)(t + 1);
	const struct btf_var_secinfo *s = (const void *)(t + 1);
	unsigned i, n = BTF_INFO_VLEN(t->info);

	switch (kind(t)) {
	case BTF_KIND_ARRAY:
		if (a->type > b->n_types || a->index_type > b->n_types || !a->type)
			return bad(log, id, "Invalid elem");
		break;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		for (i = 0; i < n; i++)
			if (!m[i].type || m[i].type > b->n_types || !name_ok(b, m[i].name_off))
				return bad(log, id, "Invalid member");
		break;
	case BTF_KIND_FUNC_PROTO:
		for (i = 0; i < n; i++)
			if (p[i].type > b->n_types || !name_ok(b, p[i].name_off))
				return bad(log, id, "Invalid arg");
		break;
	case BTF_KIND_DATASEC:
		for (i = 0; i < n; i++)
			if (!s[i].type || s[i].type > b->n_types ||
			    kind(b->types[s[i].type]) != BTF_KIND_VAR)
				return bad(log, id, "Not a VAR kind member");
		break;
	}
	return 0;
}

static int check_types(struct vm_log *log, const struct btf *b)
{
	uint32_t id;
	int rc = 0;

	for (id = 1; !rc && id <= b->n_types; id++) {
		const struct btf_type *t = b->types[id];

		if (!name_ok(b, t->name_off))
			rc = bad(log, id, "Invalid name_offset");
		else if (refers(kind(t)) && t->type > b->n_types)
			rc = bad(log, id, "Invalid type_id");
		else
			rc = check_inner(log, b, id);
	}
	return rc;
}

static int index_types(struct vm_log *log, struct btf *b, const uint8_t *at, uint32_t len)
{
	uint32_t off = 0, cap = len / sizeof(struct btf_type);

	b->types = calloc(cap + 1, sizeof(*b->types));
	if (!b->types)
		return -ENOMEM;
	while (off < len) {
		const struct btf_type *t = (const void *)(at + off);
		long more;

		if (len - off < sizeof(*t))
			return bad(log, b->n_types + 1, "meta_left is too small");
		more = extra(t);
		if (more < 0)
			return bad(log, b->n_types + 1, "Invalid kind");
		if ((size_t)more > len - off - sizeof(*t))
			return bad(log, b->n_types + 1, "meta_left is too small");
		b->types[++b->n_types] = t;
		off += (uint32_t)sizeof(*t) + (uint32_t)more;
	}
	return 0;
}

static int check_sections(struct vm_log *log, const struct btf *b, const struct btf_header *h)
{
	uint32_t room;

	if (h->magic != BTF_MAGIC)
		return bad(log, 0, "Invalid magic");
	if (h->version != BTF_VERSION)
		return bad(log, 0, "Unsupported version"), -VM_ENOTSUPP;
	if (h->flags)
		return bad(log, 0, "Unsupported flags"), -VM_ENOTSUPP;
	if (h->hdr_len < sizeof(*h) || h->hdr_len > b->size)
		return bad(log, 0, "btf_header not found");
	room = b->size - h->hdr_len;
	if (!room)
		return bad(log, 0, "No data");
	if (h->type_off & 3)
		return bad(log, 0, "Unaligned type_off");
	if (h->type_off > room || h->type_len > room - h->type_off || h->str_off > room ||
	    h->str_len > room - h->str_off || h->type_off + h->type_len != h->str_off ||
	    h->str_off + h->str_len != room || h->type_off)
		return bad(log, 0, "Unsupported section found");
	if (!h->type_len)
		return bad(log, 0, "No type found");
	return 0;
}

static int parse(struct vm_log *log, struct btf *b)
{
	const struct btf_header *h = (const void *)b->data;
	int rc;

	if (b->size < sizeof(*h))
		return bad(log, 0, "btf_header not found");
	rc = check_sections(log, b, h);
	if (rc)
		return rc;
	b->strings = (const char *)b->data + h->hdr_len + h->str_off;
	b->strings_len = h->str_len;
	if (!h->str_len || b->strings[0] || b->strings[h->str_len - 1])
		return bad(log, 0, "Invalid string section");
	rc = index_types(log, b, b->data + h->hdr_len + h->type_off, h->type_len);
	return rc ? rc : check_types(log, b);
}

static void btf_done(struct btf *b)
{
	free(b->types);
	free(b->data);
	free(b);
}

static int load(struct call *c, struct vm_log *log, struct btf *b)
{
	b->data = malloc(b->size);
	if (!b->data)
		return -ENOMEM;
	if (vm_call_read(c, b->data, c->attr.a.btf, b->size))
		return -EFAULT;
	return parse(log, b);
}

static int load_logged(struct call *c, struct btf *b)
{
	const union bpf_attr *a = &c->attr.a;
	struct vm_log log;
	uint32_t true_size;
	int rc = vm_log_open(&log, a->btf_log_level, a->btf_log_buf, a->btf_log_size), failed;

	if (rc)
		return rc;
	rc = load(c, &log, b);
	failed = vm_log_close(&log, c, &true_size);
	if (failed)
		rc = failed;
	if (c->size >= offsetof(union vm_attr, btf_log_true_size) + 4 &&
	    vm_call_answer(c, offsetof(union vm_attr, btf_log_true_size), &true_size, 4))
		rc = -EFAULT;
	return rc;
}

long vm_btf_do_load(struct call *c)
{
	struct btf *b;
	long rc;

	if (c->attr.btf_flags & ~(uint32_t)VM_F_TOKEN_FD)
		return -EINVAL;
	if (c->attr.a.btf_size > SIZE_MAX_BTF)
		return -E2BIG;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->size = c->attr.a.btf_size;
	rc = load_logged(c, b);
	if (!rc)
		rc = vm_object_add(c->e, &b->obj, OBJECT_BTF, -1);
	if (rc) {
		btf_done(b);
		return rc;
	}
	rc = vm_call_hand(c, &b->obj, 2);
	vm_object_put(c->e, &b->obj);
	return rc;
}

void vm_btf_object_free(struct skep_engine *e maybe_unused, struct btf *b)
{
	btf_done(b);
}

static int info_copy(struct call *c, const struct btf *b, struct bpf_btf_info *info)
{
	uint64_t name = info->name;
	uint32_t room = info->name_len;

	info->id = b->obj.id;
	if (vm_call_write(c, info->btf, b->data, min(b->size, info->btf_size)))
		return -EFAULT;
	info->btf_size = b->size;
	info->kernel_btf = 0;
	info->name_len = 0;
	if (!name != !room)
		return -EINVAL;
	return name && vm_call_write(c, name, "", 1) ? -EFAULT : 0;
}

long vm_btf_info(struct call *c, struct btf *b)
{
	struct bpf_btf_info info = {0};
	uint32_t len = c->attr.a.info.info_len;
	uint64_t to = c->attr.a.info.info;
	int rc = vm_call_tail_zero(c, to, sizeof(info), len);

	if (rc)
		return rc;
	len = min(len, (uint32_t)sizeof(info));
	if (vm_call_read(c, &info, to, len))
		return -EFAULT;
	rc = info_copy(c, b, &info);
	if (rc)
		return rc;
	if (vm_call_write(c, to, &info, len))
		return -EFAULT;
	return vm_call_put(c, info.info_len, len);
}

/* ---- the kernel's ------------------------------------------------------------------------------- */

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"

static int read_whole(struct btf *b, const char *path)
{
	cleanup(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) || st.st_size <= 0 || st.st_size > INT32_MAX)
		return -ENOENT;
	b->data = malloc((size_t)st.st_size);
	if (!b->data)
		return -ENOMEM;
	while (b->size < (uint64_t)st.st_size) {
		n = read(fd, b->data + b->size, (size_t)st.st_size - b->size);
		if (n <= 0)
			return -EIO;
		b->size += (uint32_t)n;
	}
	return 0;
}

static struct btf *kernel_load(void)
{
	struct btf *b = calloc(1, sizeof(*b));
	struct vm_log log = {0};

	if (b && (read_whole(b, KERNEL_BTF) || parse(&log, b))) {
		btf_done(b);
		b = NULL;
	}
	buf_done(&log.text);
	return b;
}

const struct btf *vm_kernel_btf(struct skep_engine *e)
{
	pthread_mutex_lock(&e->attach_lock);
	if (!e->kernel_btf_asked)
		e->kernel_btf = kernel_load();
	e->kernel_btf_asked = true;
	pthread_mutex_unlock(&e->attach_lock);
	return e->kernel_btf;
}

const char *vm_kernel_func(struct skep_engine *e, uint32_t id)
{
	const struct btf *b = vm_kernel_btf(e);

	return b ? vm_btf_func_name(b, id) : NULL;
}

void vm_kernel_btf_done(struct skep_engine *e)
{
	if (e->kernel_btf)
		btf_done(e->kernel_btf);
}

/* ---- questions -------------------------------------------------------------------------------- */

/* The type behind typedefs, qualifiers and variables; NULL where there is none. */
static const struct btf_type *resolve(const struct btf *b, uint32_t id)
{
	unsigned depth;

	for (depth = 0; depth < DEPTH && id && id <= b->n_types; depth++) {
		const struct btf_type *t = b->types[id];

		switch (kind(t)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_CONST:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
		case BTF_KIND_VAR:
			id = t->type;
			break;
		default:
			return t;
		}
	}
	return NULL;
}

static long size_at(const struct btf *b, uint32_t id, unsigned depth)
{
	const struct btf_type *t = resolve(b, id);
	const struct btf_array *a;
	long each;

	if (!t || depth > DEPTH)
		return -EINVAL;
	switch (kind(t)) {
	case BTF_KIND_INT:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64:
	case BTF_KIND_FLOAT:
	case BTF_KIND_DATASEC:
		return t->size;
	case BTF_KIND_PTR:
		return 8;
	case BTF_KIND_ARRAY:
		a = (const void *)(t + 1);
		each = size_at(b, a->type, depth + 1);
		if (each < 0 || (each && a->nelems > UINT32_MAX / (uint64_t)each))
			return -EINVAL;
		return each * (long)a->nelems;
	default:
		return -EINVAL;
	}
}

long vm_btf_size(const struct btf *b, uint32_t id)
{
	return size_at(b, id, 0);
}

unsigned vm_btf_kind_of(const struct btf *b, uint32_t id)
{
	const struct btf_type *t = resolve(b, id);

	return t ? kind(t) : BTF_KIND_UNKN;
}

bool vm_btf_is_u32(const struct btf *b, uint32_t id)
{
	const struct btf_type *t = resolve(b, id);
	uint32_t bits;

	if (!t || kind(t) != BTF_KIND_INT)
		return false;
	bits = *(const uint32_t *)(t + 1);
	return BTF_INT_BITS(bits) == 32 && !BTF_INT_OFFSET(bits);
}

long vm_btf_find(const struct btf *b, const char *name, unsigned k)
{
	uint32_t id;

	for (id = 1; id <= b->n_types; id++)
		if (kind(b->types[id]) == k && !strcmp(b->strings + b->types[id]->name_off, name))
			return id;
	return -ENOENT;
}

const char *vm_btf_func_name(const struct btf *b, uint32_t id)
{
	if (!id || id > b->n_types || kind(b->types[id]) != BTF_KIND_FUNC)
		return NULL;
	return b->strings + b->types[id]->name_off;
}

/* The last few: all that shadows are made of. */
struct found {
	const char *name; /* a constant */
	uint32_t id;
};

long vm_btf_struct(struct skep_engine *e, const char *name)
{
	static __thread struct found cache[8];
	static __thread const struct btf *of;
	const struct btf *b = vm_kernel_btf(e);
	unsigned i;
	long id;

	if (of != b)
		memset(cache, 0, sizeof(cache));
	of = b;
	for (i = 0; i < array_size(cache) && cache[i].name; i++)
		if (!strcmp(cache[i].name, name))
			return cache[i].id;
	id = b ? vm_btf_find(b, name, BTF_KIND_STRUCT) : -ENOENT;
	if (id > 0 && i < array_size(cache))
		cache[i] = (struct found){name, (uint32_t)id};
	return id;
}

static bool find_member(const struct btf *b, uint32_t id, const char *path, uint32_t base,
			uint32_t out[2], unsigned depth)
{
	const struct btf_type *t = resolve(b, id);
	const struct btf_member *m = (const void *)(t + 1);
	size_t len = strcspn(path, ".");
	uint32_t i, off;

	if (!t || depth > DEPTH || (kind(t) != BTF_KIND_STRUCT && kind(t) != BTF_KIND_UNION))
		return false;
	for (i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		const char *name = b->strings + m[i].name_off;
		bool it = strlen(name) == len && !memcmp(name, path, len);

		off = base +
		      (BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m[i].offset) : m[i].offset) /
			      8;
		if (it && !path[len]) {
			out[0] = off;
			out[1] = (uint32_t)max(vm_btf_size(b, m[i].type), 0L);
			return true;
		}
		if ((it || !*name) &&
		    find_member(b, m[i].type, it ? path + len + 1 : path, off, out, depth + 1))
			return true;
	}
	return false;
}

bool vm_btf_member(const struct btf *b, uint32_t id, const char *path, uint32_t *off,
		   uint32_t *size)
{
	const struct btf_type *t = resolve(b, id);
	uint32_t out[2];

	if (!t || !find_member(b, id, path, 0, out, 0) || out[0] > t->size ||
	    out[1] > t->size - out[0])
		return false;
	*off = out[0];
	*size = out[1];
	return true;
}

/* ---- functions --------------------------------------------------------------------------------- */

bool vm_btf_func_is_global(const struct btf *b, uint32_t id)
{
	return vm_btf_func_name(b, id) && BTF_INFO_VLEN(b->types[id]->info) == BTF_FUNC_GLOBAL;
}

static bool value_same(const struct btf *a, uint32_t ida, const struct btf *b, uint32_t idb,
		       bool pointee)
{
	const struct btf_type *x = resolve(a, ida), *y = resolve(b, idb);

	if (!x || !y)
		return !x && !y && !ida == !idb;
	if (kind(x) != kind(y))
		return false;
	switch (kind(x)) {
	case BTF_KIND_PTR:
		return pointee || value_same(a, x->type, b, y->type, true);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_FWD:
		return !strcmp(a->strings + x->name_off, b->strings + y->name_off);
	default:
		return vm_btf_size(a, ida) == vm_btf_size(b, idb);
	}
}

static const struct btf_type *proto_of(const struct btf *b, uint32_t id)
{
	const struct btf_type *t = vm_btf_func_name(b, id) ? resolve(b, b->types[id]->type) : NULL;

	return t && kind(t) == BTF_KIND_FUNC_PROTO ? t : NULL;
}

bool vm_btf_func_same(const struct btf *a, uint32_t ida, const struct btf *b, uint32_t idb)
{
	const struct btf_type *x = proto_of(a, ida), *y = proto_of(b, idb);
	const struct btf_param *p, *q;
	unsigned i, n;

	if (!x || !y || BTF_INFO_VLEN(x->info) != BTF_INFO_VLEN(y->info))
		return false;
	if (!value_same(a, x->type, b, y->type, false))
		return false;
	p = (const void *)(x + 1);
	q = (const void *)(y + 1);
	n = BTF_INFO_VLEN(x->info);
	for (i = 0; i < n; i++)
		if (!value_same(a, p[i].type, b, q[i].type, false))
			return false;
	return true;
}

static bool is_kptr(const struct btf *b, const struct btf_type *t)
{
	const char *tag;

	if (kind(t) != BTF_KIND_PTR || !t->type || t->type > b->n_types ||
	    kind(b->types[t->type]) != BTF_KIND_TYPE_TAG)
		return false;
	tag = b->strings + b->types[t->type]->name_off;
	return !strcmp(tag, "kptr") || !strcmp(tag, "kptr_untrusted") || !strcmp(tag, "kptr_ref") ||
	       !strcmp(tag, "percpu_kptr");
}

static void find_field(const struct btf *b, uint32_t type, uint32_t off, struct btf_fields *out)
{
	const struct btf_type *t = resolve(b, type);
	struct map_fields *f = &out->fields;
	const char *name;

	if (!t)
		return;
	if (is_kptr(b, t) && f->n_kptrs < array_size(f->kptrs)) {
		f->kptrs[f->n_kptrs++] = off;
		out->any = true;
	}
	if (kind(t) != BTF_KIND_STRUCT)
		return;
	name = b->strings + t->name_off;
	if (!strcmp(name, "bpf_spin_lock") && t->size == sizeof(struct bpf_spin_lock))
		f->spin_lock = (int)off;
	else if (!strcmp(name, "bpf_timer") && t->size == sizeof(struct bpf_timer))
		f->timer = (int)off;
	else
		return;
	out->any = true;
}

void vm_btf_find_fields(const struct btf *b, uint32_t id, struct btf_fields *out)
{
	const struct btf_type *t = resolve(b, id);
	const struct btf_var_secinfo *s;
	const struct btf_member *m;
	unsigned i, n;

	if (!t)
		return;
	n = BTF_INFO_VLEN(t->info);
	m = (const void *)(t + 1);
	s = (const void *)(t + 1);
	if (kind(t) == BTF_KIND_STRUCT)
		for (i = 0; i < n; i++)
			find_field(b, m[i].type,
				   (BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m[i].offset)
							    : m[i].offset) /
					   8,
				   out);
	if (kind(t) == BTF_KIND_DATASEC)
		for (i = 0; i < n; i++)
			find_field(b, s[i].type, s[i].offset, out);
}
