// SPDX-License-Identifier: Apache-2.0
#include "vm/shadow.h"

#include <stdatomic.h>

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

/* ---- maps: the first bytes of struct map ---------------------------------------------------------- */

static struct shadow over(struct skep_engine *e, const char *structure, struct map *m)
{
	struct shadow s = {.btf = vm_kernel_btf(e)};
	long type = s.btf ? vm_btf_struct(e, structure) : -ENOENT;

	if (type > 0 && vm_btf_size(s.btf, (uint32_t)type) <= (long)sizeof(m->shown)) {
		s.type = (uint32_t)type;
		s.at = m->shown;
	}
	return s;
}

static uint32_t power_of_two(uint32_t n)
{
	return n < 2 ? 1 : 1U << (32 - __builtin_clz(n - 1));
}

/* What stands behind struct bpf_map in those that the kernel's own tests read. */
static void show_kind(struct skep_engine *e, struct map *m)
{
	const struct map_def *d = &m->def;
	uint32_t value = (d->value_size + 7) & ~7U, key = (d->key_size + 7) & ~7U;
	bool each_cpu =
		d->type == BPF_MAP_TYPE_PERCPU_HASH || d->type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
	struct shadow s;

	switch (d->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PROG_ARRAY:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_CGROUP_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
		s = over(e, "bpf_array", m);
		vm_shadow_set(&s, "elem_size", value);
		vm_shadow_set(&s, "index_mask", power_of_two(d->max_entries) - 1);
		break;
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		s = over(e, "bpf_htab", m);
		vm_shadow_set(&s, "n_buckets", power_of_two(d->max_entries));
		vm_shadow_set(
			&s, "elem_size",
			(uint64_t)vm_btf_size(s.btf, (uint32_t)vm_btf_struct(e, "htab_elem")) +
				key + (each_cpu ? 8 : value));
		break;
	}
}

static void show_map(struct vm_map *m)
{
	const struct map_def *d = &m->map->def;
	struct shadow s = over(m->engine, "bpf_map", m->map);

	if (!s.at)
		return;
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
	show_kind(m->engine, m->map);
}

void vm_show_map(struct vm_map *m)
{
	if (m->engine->maps_shown)
		show_map(m);
}

void vm_show_maps(struct skep_engine *e)
{
	static pthread_mutex_t walking = PTHREAD_MUTEX_INITIALIZER;
	struct object *o;
	uint32_t id = 0;
	bool shown;

	pthread_mutex_lock(&walking); /* who comes second returns when all are shown */
	shown = atomic_exchange(&e->maps_shown, true);
	while (!shown && (id = vm_object_next_id(e, OBJECT_MAP, id))) {
		o = vm_object_by_id(e, OBJECT_MAP, id);
		if (!o)
			continue;
		show_map(container_of(o, struct vm_map, obj));
		vm_object_put(e, o);
	}
	pthread_mutex_unlock(&walking);
}

void *vm_shadow_map(struct run *r, struct vm_map *m)
{
	r->shown = m->map;
	show_map(m);
	return vm_kernel_btf(m->engine) ? m->map : NULL;
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
