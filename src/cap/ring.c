// SPDX-License-Identifier: Apache-2.0
#include "cap/ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

uint32_t cap_ring_bytes(int64_t kib)
{
	uint32_t bytes = 4096;

	while (bytes < kib * 1024 && bytes < 1U << 30)
		bytes *= 2;
	return bytes;
}

int cap_counts_init(struct cap_counts *c, size_t bytes)
{
	int cpus = libbpf_num_possible_cpus();

	assert(bytes % sizeof(uint64_t) == 0);
	*c = (struct cap_counts){.n = bytes / sizeof(uint64_t)};
	if (cpus > 0)
		c->each = calloc((size_t)cpus, bytes);
	c->cpus = c->each ? (unsigned)cpus : 0;
	return c->each ? 0 : -ENOMEM;
}

void cap_counts_done(struct cap_counts *c)
{
	free(c->each);
}

void cap_counts_sum(const struct cap_counts *c, int map_fd, void *out)
{
	uint64_t *sum = out;
	uint32_t zero = 0;
	unsigned cpu;
	size_t i;

	memset(sum, 0, c->n * sizeof(*sum));
	if (map_fd < 0 || bpf_map_lookup_elem(map_fd, &zero, c->each))
		return;
	for (cpu = 0; cpu < c->cpus; cpu++)
		for (i = 0; i < c->n; i++)
			sum[i] += c->each[cpu * c->n + i];
}

uint64_t cap_misses(const struct bpf_program *p)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &len) ? 0 : info.recursion_misses;
}

static void count(const struct cap_kinds *k, const char *what, const char *help,
		  const uint64_t *values, cap_count_fn fn, void *arg)
{
	char name[64];
	unsigned i;

	snprintf(name, sizeof(name), "skep_%s_%s_total", k->cap, what);
	for (i = 0; i < k->n; i++)
		fn(arg, name, CAP_COUNTER, help, k->labels[i], (double)values[i]);
}

void cap_kinds_count(const struct cap_kinds *k, cap_count_fn fn, void *arg)
{
	count(k, "sent", "Events the kernel half produced", k->sent, fn, arg);
	count(k, "events", "Events that reached the tables", k->reported, fn, arg);
	count(k, "lost", "Events that found the ring full", k->lost, fn, arg);
}
