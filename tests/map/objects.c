// SPDX-License-Identifier: Apache-2.0
/* objects.c: programs, maps and others that values are fds of: fitting ones, wrong ones, no fd at all. */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "diff.h"

#define OBJECTS 16

/* An object in the kernel and what the engine holds for it. */
static struct object {
	int fd;
	uint32_t what, id;
	struct map *map;
} objects[OBJECTS];
static unsigned n_objects;

struct map_def object_inner_def = {.type = BPF_MAP_TYPE_HASH,
				   .key_size = 4,
				   .value_size = 8,
				   .max_entries = 16,
				   .fields = {-1, -1}};

static void add_prog(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	int fd = bpf_prog_load(type, "object", "GPL", insns, 2, &opts);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		abort();
	objects[n_objects++] = (struct object){
		fd, OBJECT_PROG | (uint32_t)type << 8 | (uint32_t)attach << 16, info.id, NULL};
}

static void add_map(struct map_def def)
{
	struct bpf_map_info info = {};
	__u32 size = sizeof(info);
	struct object o = {.what = OBJECT_MAP};

	def.cpus = host_cpus;
	o.fd = kernel_create(&def, -1, false);
	if (o.fd < 0 || bpf_obj_get_info_by_fd(o.fd, &info, &size))
		abort();
	o.id = info.id;
	if (map_create(&o.map, &def, NULL))
		o.map = NULL;
	/* one element, so that lookups through the outer map find something */
	for (uint32_t key = 0; key < 3; key++) {
		uint64_t value[2] = {o.id * 1000 + key};

		bpf_map_update_elem(o.fd, &key, value, 0);
		if (o.map)
			map_sys_update(o.map, &key, value, 0);
	}
	objects[n_objects++] = o;
}

static void add_other(uint32_t what, int fd)
{
	objects[n_objects++] = (struct object){fd, what, 0, NULL};
}

static int software_event(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof(attr),
				       .config = PERF_COUNT_SW_BPF_OUTPUT};

	return syscall(__NR_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
}

void objects_open(void)
{
	struct map_def other = object_inner_def;

	add_prog(BPF_PROG_TYPE_SCHED_CLS, 0);
	add_prog(BPF_PROG_TYPE_SCHED_CLS, 0);
	add_prog(BPF_PROG_TYPE_XDP, 0);
	add_map(object_inner_def);
	add_map(object_inner_def);
	other.max_entries = 32; /* hashes of another size fit, arrays do not */
	add_map(other);
	other.value_size = 16;
	add_map(other);
	other.type = BPF_MAP_TYPE_LRU_HASH;
	add_map(other);
	add_prog(BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP);
	add_prog(BPF_PROG_TYPE_XDP, BPF_XDP_CPUMAP);
	add_other(OBJECT_OTHER, open("/dev/null", O_RDONLY | O_CLOEXEC));
	add_other(OBJECT_EVENT, software_event());
}

int object_inner_fd(void)
{
	return objects[3].fd;
}

int object_fd(uint64_t seed)
{
	uint32_t n = seed % (n_objects + 2);

	return n < n_objects ? objects[n].fd : n == n_objects ? -1 : 987654;
}

/* Which type of program the first one was: the others must be alike. */
static uint32_t array_prog_type;

void objects_forget(void)
{
	array_prog_type = 0;
}

static void *get_prog(const struct object *o, int *rc)
{
	uint32_t type = o->what >> 8; /* and how it attaches */

	if ((o->what & 0xff) != OBJECT_PROG || (array_prog_type && array_prog_type != type)) {
		*rc = -EINVAL;
		return NULL;
	}
	array_prog_type = type;
	return (void *)o;
}

static bool is_redirect(uint32_t type)
{
	return type == BPF_MAP_TYPE_DEVMAP || type == BPF_MAP_TYPE_DEVMAP_HASH ||
	       type == BPF_MAP_TYPE_CPUMAP;
}

/* The programs that may run at a map's targets. */
static uint32_t redirects_to(uint32_t type)
{
	uint32_t attach = type == BPF_MAP_TYPE_CPUMAP ? BPF_XDP_CPUMAP : BPF_XDP_DEVMAP;

	return OBJECT_PROG | BPF_PROG_TYPE_XDP << 8 | attach << 16;
}

static void *object_get(void *arg maybe_unused, struct map *map, int fd, int *rc)
{
	const struct object *o = NULL;

	for (unsigned i = 0; i < n_objects; i++)
		if (objects[i].fd == fd)
			o = &objects[i];
	if (map->def.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) {
		*rc = -EBADF; /* that is what no event is called */
		return o && o->what == OBJECT_EVENT ? (void *)o : NULL;
	}
	if (map->def.type == BPF_MAP_TYPE_XSKMAP) {
		*rc = o ? -ENOTSOCK : -EBADF;
		return NULL;
	}
	*rc = o ? -EINVAL : -EBADF;
	if (!o)
		return NULL;
	if (is_redirect(map->def.type))
		return o->what == redirects_to(map->def.type) ? (void *)o : NULL;
	if (map->def.type == BPF_MAP_TYPE_PROG_ARRAY)
		return get_prog(o, rc);
	if (o->what != OBJECT_MAP || !o->map || !map_same_shape(o->map, map->def.inner))
		return NULL;
	return o->map;
}

static void object_put(void *arg maybe_unused, struct map *map maybe_unused, void *o maybe_unused)
{
}

static uint64_t object_id(void *arg maybe_unused, struct map *map maybe_unused, void *object)
{
	for (unsigned i = 0; i < n_objects; i++)
		if (object == &objects[i] || object == objects[i].map)
			return objects[i].id;
	return 0;
}

const struct map_objects diff_objects = {object_get, object_put, object_id, NULL};
