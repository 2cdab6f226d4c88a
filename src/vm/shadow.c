// SPDX-License-Identifier: Apache-2.0
#include "vm/shadow.h"

struct shadow vm_shadow(struct run *r, const char *structure)
{
	struct shadow s = {.btf = vm_kernel_btf(r->vm.engine)};
	long type = s.btf ? vm_btf_struct(r->vm.engine, structure) : -ENOENT;

	if (type > 0) {
		s.type = (uint32_t)type;
		s.at = vm_run_keep(r, (size_t)vm_btf_size(s.btf, s.type));
	}
	return s;
}

void vm_shadow_bytes(struct shadow *s, const char *member, const void *bytes, size_t n)
{
	uint32_t off, size;

	if (s->at && vm_btf_member(s->btf, s->type, member, &off, &size))
		memcpy(s->at + off, bytes, min(n, (size_t)size));
}

void vm_shadow_set(struct shadow *s, const char *member, uint64_t value)
{
	vm_shadow_bytes(s, member, &value, sizeof(value));
}

void *vm_shadow_map(struct run *r, struct vm_map *m)
{
	const struct map_def *d = &m->map->def;
	struct shadow s = vm_shadow(r, "bpf_map");

	vm_shadow_set(&s, "map_type", d->type);
	vm_shadow_set(&s, "key_size", d->key_size);
	vm_shadow_set(&s, "value_size", d->value_size);
	vm_shadow_set(&s, "max_entries", d->max_entries);
	vm_shadow_set(&s, "map_extra", d->extra);
	vm_shadow_set(&s, "map_flags", d->flags);
	vm_shadow_set(&s, "id", m->obj.id);
	vm_shadow_set(&s, "numa_node", UINT32_MAX);
	vm_shadow_set(&s, "btf_key_type_id", m->btf_key);
	vm_shadow_set(&s, "btf_value_type_id", m->btf_value);
	vm_shadow_set(&s, "usercnt.counter", 1);
	vm_shadow_set(&s, "refcnt.counter", m->obj.refs);
	vm_shadow_set(&s, "frozen", m->map->frozen);
	vm_shadow_bytes(&s, "name", m->name, sizeof(m->name));
	r->map_at = (uintptr_t)s.at;
	r->map_of = m->map;
	return s.at;
}

void *vm_shadow_prog(struct run *r, const struct prog *p)
{
	struct shadow s = vm_shadow(r, "bpf_prog"), aux = vm_shadow(r, "bpf_prog_aux");

	vm_shadow_set(&aux, "id", p->obj.id);
	vm_shadow_set(&aux, "used_map_cnt", p->n_maps);
	vm_shadow_set(&aux, "func_info_cnt", p->n_funcs);
	vm_shadow_set(&aux, "nr_linfo", p->n_lines);
	vm_shadow_set(&aux, "attach_btf_id", p->attach_btf_id);
	vm_shadow_set(&aux, "load_time", p->load_time);
	vm_shadow_set(&aux, "verified_insns", p->n_insns);
	vm_shadow_set(&aux, "prog", (uintptr_t)s.at);
	vm_shadow_bytes(&aux, "name", p->name, sizeof(p->name));
	vm_shadow_set(&s, "type", p->type);
	vm_shadow_set(&s, "expected_attach_type", p->attach_type);
	vm_shadow_set(&s, "len", p->n_insns);
	vm_shadow_set(&s, "aux", (uintptr_t)aux.at);
	vm_shadow_bytes(&s, "tag", p->tag, sizeof(p->tag));
	return s.at;
}
