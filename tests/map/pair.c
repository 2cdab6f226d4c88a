// SPDX-License-Identifier: Apache-2.0
/* pair.c: one map_def as two maps, and keys and values from numbers. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "diff.h"

unsigned host_cpus;

long kernel_bpf(int cmd, const void *attr, size_t size)
{
	long rc = syscall(__NR_bpf, cmd, attr, size);

	return rc < 0 ? -errno : rc;
}

static long available_mb(void)
{
	cleanup(file_close) FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld kB", &kb) == 1)
			break;
	return kb / 1024;
}

void memory_careful(void)
{
	cleanup(file_close) FILE *f = fopen("/proc/self/oom_score_adj", "we");

	if (!f || fputs("1000", f) < 0 || fflush(f)) {
		printf("Bail out! cannot set oom_score_adj\n");
		exit(1);
	}
}

void memory_wait(void)
{
	for (unsigned i = 0; available_mb() < 1024; i++) {
		if (i == 100) {
			printf("Bail out! less than 1 GB of memory is available\n");
			exit(1);
		}
		usleep(100000);
	}
}

/* struct value { struct bpf_spin_lock lock; unsigned rest[...]; }: the kernel finds the lock by its name. */
static int lock_btf(uint32_t value_size, uint32_t *key_id, uint32_t *value_id)
{
	struct btf *btf = btf__new_empty();
	int u32 = btf__add_int(btf, "unsigned int", 4, 0), lock, rest;
	const void *raw;
	uint32_t size;
	int fd;

	lock = btf__add_struct(btf, "bpf_spin_lock", 4);
	btf__add_field(btf, "val", u32, 0, 0);
	rest = btf__add_array(btf, u32, u32, value_size / 4 - 1);
	*key_id = u32;
	*value_id = btf__add_struct(btf, "value", value_size);
	btf__add_field(btf, "lock", lock, 0, 0);
	btf__add_field(btf, "rest", rest, 32, 0);
	raw = btf__raw_data(btf, &size);
	fd = bpf_btf_load(raw, size, NULL);
	btf__free(btf);
	return fd;
}

int kernel_create(const struct map_def *def, int inner_fd, bool locks)
{
	union bpf_attr attr = {};
	cleanup(fd_close) int btf = -1;

	attr.map_type = def->type;
	attr.key_size = def->key_size;
	attr.value_size = def->value_size;
	attr.max_entries = def->max_entries;
	attr.map_flags = def->flags;
	attr.map_extra = def->extra;
	if (inner_fd >= 0)
		attr.inner_map_fd = inner_fd;
	if (locks) {
		btf = lock_btf(def->value_size, &attr.btf_key_type_id, &attr.btf_value_type_id);
		attr.btf_fd = btf;
	}
	return kernel_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

int pair_open(struct pair *p, const struct lane *lane, const struct map_def *def, uint32_t space)
{
	struct skep_err err = {};
	int rc;

	*p = (struct pair){.lane = lane, .def = *def, .fd = -1, .space = space};
	objects_forget();
	if (lane->objects)
		p->def.objects = &diff_objects;
	if (lane->objects == OBJECT_MAP)
		p->def.inner = &object_inner_def;
	p->def.cpus = host_cpus;
	p->def.fields = (struct map_fields){.spin_lock = lane->locks ? 0 : -1, .timer = -1};
	p->fd = kernel_create(&p->def, lane->objects == OBJECT_MAP ? object_inner_fd() : -1,
			      lane->locks);
	rc = map_create(&p->ours, &p->def, &err);
	if (p->fd < 0 || rc) {
		differ(p, "create", p->fd < 0 ? p->fd : 0, rc);
		return -1;
	}
	p->sys_size = map_sys_value_size(p->ours);
	if (p->sys_size > SYS_ROOM)
		return !failed(p, "a value of %u bytes is too large for this test", p->sys_size);
	if (lane->evicts || lane->program == BLOOM)
		p->model = calloc(space, sizeof(*p->model));
	if (lane->program == RING || lane->program == DRAIN)
		p->ring = ring_open(p);
	return prog_open(p);
}

void pair_close(struct pair *p)
{
	prog_close(p);
	ring_close(p->ring);
	if (p->ours)
		map_free(p->ours);
	fd_close(&p->fd);
	free(p->model);
	p->ours = NULL;
	p->ring = NULL;
	p->model = NULL;
}

static uint64_t mix(uint64_t n)
{
	struct rng r = {n};

	return rng_next(&r);
}

/* Prefixes that often contain one another; now and then one that is too long. */
static void prefix(const struct pair *p, uint32_t n, uint8_t *room)
{
	static const uint8_t bytes[] = {0x00, 0x80, 0xc0, 0xff};
	uint32_t data = p->def.key_size - 4;
	uint64_t h = mix(n);
	uint32_t bits = mix(h) % 97 ? (h >> 40) % (data * 8 + 1) : data * 8 + 1;

	memcpy(room, &bits, 4);
	for (uint32_t i = 0; i < data; i++)
		room[4 + i] = i < 6 ? bytes[h >> (i * 2) & 3] : h >> 32;
}

const void *pair_key(const struct pair *p, uint32_t n, uint8_t *room)
{
	uint32_t size = p->def.key_size;

	if (n == KEY_NONE)
		return NULL;
	if (p->lane->lpm) {
		prefix(p, n, room);
		return room;
	}
	memset(room, 0, KEY_MAX);
	memcpy(room, &n, 4);
	for (uint32_t i = 4; i < size; i++)
		room[i] = mix(n) >> (i % 7);
	return room;
}

/* Where to redirect to: loopback or nowhere, a queue's length; with a program, mostly none. */
static void target(const struct pair *p, uint32_t seed, uint8_t *value, size_t size)
{
	static const uint32_t lengths[] = {0, 1, 64, 192, 16384, 16385};
	uint32_t number = seed % 6 ? 1 : 0;
	int fd = mix(seed) % 3 ? 0 : object_fd(mix(seed) >> 8);

	if (p->def.type == BPF_MAP_TYPE_CPUMAP)
		number = lengths[seed % 6];
	memcpy(value, &number, 4);
	if (size >= 8)
		memcpy(value + 4, &fd, 4);
}

void pair_value(const struct pair *p, const struct op *op, uint8_t *value, size_t size)
{
	struct rng r = {op->seed};

	if (p->lane->program == BLOOM) { /* few values, so that some are in */
		memset(value, 0, size);
		memcpy(value, &(uint32_t){op->seed % p->space}, min(size, (size_t)4));
		return;
	}
	for (size_t i = 0; i < size; i += 8) {
		uint64_t v = rng_next(&r);

		memcpy(value + i, &v, min(size - i, (size_t)8));
	}
	if (p->lane->objects == OBJECT_TARGET) {
		target(p, op->seed, value, size);
		return;
	}
	if (p->lane->objects && size >= 4)
		memcpy(value, &(int){object_fd(op->seed)}, 4);
}

bool bloom_put(struct pair *p, const struct op *op, long kernel, long ours)
{
	if (!kernel)
		p->model[op->seed % p->space] = 1;
	return differ(p, "result", kernel, ours);
}

bool bloom_wrong(struct pair *p, const struct op *op, long kernel, long ours)
{
	bool in = p->model[op->seed % p->space];

	if (in || (kernel && kernel != -ENOENT) || (ours && ours != -ENOENT))
		return differ(p, in ? "a value that is in" : "result", kernel, ours);
	p->looks++;
	p->hits[0] += kernel != 0; /* the fewer are found the better */
	p->hits[1] += ours != 0;
	return false;
}

bool failed(struct pair *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
	return true;
}

static const char *errno_text(long rc, char *room, size_t n)
{
	const char *name = rc < 0 ? strerrorname_np((int)-rc) : NULL;

	snprintf(room, n, "%ld%s%s", rc,
		 name	      ? " -"
		 : rc == -524 ? " -ENOTSUPP"
			      : "",
		 name ? name : "");
	return room;
}

bool differ(struct pair *p, const char *what, long kernel, long ours)
{
	char k[64], o[64];

	return kernel != ours &&
	       failed(p, "%s: kernel %s, engine %s", what, errno_text(kernel, k, sizeof(k)),
		      errno_text(ours, o, sizeof(o)));
}

bool differ_bytes(struct pair *p, const char *what, const void *kernel, const void *ours, size_t n)
{
	const uint8_t *k = kernel, *o = ours;
	char text[2][3 * 24 + 1];
	size_t i = 0, from;

	if (!n || !memcmp(k, o, n))
		return false;
	while (k[i] == o[i])
		i++;
	from = i & ~(size_t)7;
	for (size_t j = 0; j < 24; j++) {
		bool in = from + j < n;

		snprintf(text[0] + 3 * j, 4, in ? "%02x " : "   ", in ? k[from + j] : 0);
		snprintf(text[1] + 3 * j, 4, in ? "%02x " : "   ", in ? o[from + j] : 0);
	}
	return failed(p, "%s: byte %zu of %zu; from %zu\n#     kernel %s\n#     engine %s", what, i,
		      n, from, text[0], text[1]);
}
