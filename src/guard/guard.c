// SPDX-License-Identifier: Apache-2.0
/*
 * guard.c: the capability guard: loads process.bpf.c, feeds the table "process".
 *
 * G1  Programs are attached before the scan, so a process is either scanned or reported, or both;
 *     process.c makes one of it.
 * G2  When the ring lost events, the next tick scans again: nothing lives on that is dead, nothing
 *     is missing that lives; what ended meanwhile ends without an exit code.
 */
#include "cap/ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "guard/process.h"
#include "guard/process.skel.h"
#include "host/host.h"
#include "who/who.h"

struct guard_spec {
	int64_t ring_kib;
	int64_t store_mib;
};

static const struct conf_field fields[] = {
	{"ringKiB", CONF_INT, offsetof(struct guard_spec, ring_kib), 4, 1 << 20, "2048", NULL,
	 "ring between kernel and agent, KiB, rounded up to a power of two"},
	{"storeMiB", CONF_INT, offsetof(struct guard_spec, store_mib), 1, 1 << 20, "32", NULL,
	 "memory of the table process, MiB"},
};

struct guard {
	struct cap_env env;
	struct guard_spec spec;
	struct process_table *processes;
	struct process_bpf *bpf;
	struct ring_buffer *ring;
	uint64_t lost_seen; /* G2 */
	uint64_t scans, refused;
	struct cap_counts counts; /* struct guard_count */
};

static void guard_close(void *cap)
{
	struct guard *g = cap;

	if (!g)
		return;
	if (g->ring)
		who_source(g->env.who, NULL, NULL);
	ring_buffer__free(g->ring);
	process_bpf__destroy(g->bpf);
	process_free(g->processes);
	cap_counts_done(&g->counts);
	free(g);
}

static int guard_open(void **out, const struct cap_env *env, struct skep_err *err)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (!g || cap_counts_init(&g->counts, sizeof(struct guard_count))) {
		guard_close(g);
		return skep_fail(err, -ENOMEM, "no memory for guard");
	}
	g->env = *env;
	*out = g;
	return 0;
}

static int on_record(void *arg, void *data, size_t size)
{
	struct guard *g = arg;

	if (process_event(g->processes, data, size))
		g->refused++;
	return 0;
}

static int load(struct process_bpf **out, const struct guard_spec *spec, struct skep_err *err)
{
	struct process_bpf *bpf = process_bpf__open();
	int rc;

	if (!bpf)
		return skep_fail(err, -errno, "open process.bpf.o: %s", strerror(errno));
	bpf->rodata->agent_pid = (uint32_t)getpid();
	bpf->rodata->ring_quarter = cap_ring_bytes(spec->ring_kib) / 4;
	bpf_map__set_max_entries(bpf->maps.ring, cap_ring_bytes(spec->ring_kib));
	rc = process_bpf__load(bpf);
	if (!rc)
		rc = process_bpf__attach(bpf);
	if (rc) {
		process_bpf__destroy(bpf);
		return skep_fail(err, rc, "load process.bpf.o: %s: %s", strerror(-rc),
				 host_bpf_log());
	}
	*out = bpf;
	return 0;
}

static int scan(struct guard *g, struct skep_err *err)
{
	struct guard_task tasks[32];
	cleanup(fd_close) int fd = bpf_iter_create(bpf_link__fd(g->bpf->links.scan));
	ssize_t n, i;

	if (fd < 0)
		return skep_fail(err, -errno, "iterate over tasks: %s", strerror(errno));
	process_scan_begin(g->processes);
	while ((n = read(fd, tasks, sizeof(tasks))) > 0)
		for (i = 0; i < n / (ssize_t)sizeof(tasks[0]); i++)
			process_scan_task(g->processes, &tasks[i]);
	if (n < 0)
		return skep_fail(err, -errno, "iterate over tasks: %s", strerror(errno));
	if (!g->scans)
		process_scan_proc(g->processes, host_cgroup2(g->env.host));
	process_scan_end(g->processes);
	g->scans++;
	return 0;
}

static unsigned guard_poll(void *cap)
{
	struct guard *g = cap;
	int n = g->ring ? ring_buffer__consume(g->ring) : 0;

	return n > 0 ? (unsigned)n : 0;
}

static void news(void *arg)
{
	guard_poll(arg);
}

static int guard_apply(void *cap, const void *spec, struct skep_err *err)
{
	struct guard *g = cap;
	const struct guard_spec *want = spec;
	struct process_bpf *bpf = NULL;
	struct ring_buffer *ring;
	int rc;

	if (g->bpf)
		return memcmp(&g->spec, want, sizeof(*want))
			       ? skep_fail(err, -EBUSY,
					   "guard: ringKiB and storeMiB take hold at "
					   "the next start")
			       : 0;
	if (!g->processes) {
		rc = process_open(&g->processes, &g->env, (size_t)want->store_mib << 20, err);
		if (rc)
			return rc;
	}
	rc = load(&bpf, want, err);
	if (rc)
		return rc;
	ring = ring_buffer__new(bpf_map__fd(bpf->maps.ring), on_record, g, NULL);
	if (!ring) {
		process_bpf__destroy(bpf);
		return skep_fail(err, -errno, "map guard's ring: %s", strerror(errno));
	}
	g->bpf = bpf;
	g->ring = ring;
	g->spec = *want;
	who_source(g->env.who, news, g);
	return scan(g, err); /* G1 */
}

static int guard_fd(void *cap)
{
	struct guard *g = cap;

	return g->ring ? ring_buffer__epoll_fd(g->ring) : -1;
}

static void sum_counts(struct guard *g, struct guard_count *sum)
{
	cap_counts_sum(&g->counts, g->bpf ? bpf_map__fd(g->bpf->maps.count) : -1, sum);
}

static uint64_t missed(const struct guard *g)
{
	return g->bpf ? cap_misses(g->bpf->progs.on_fork) + cap_misses(g->bpf->progs.on_exec) +
				cap_misses(g->bpf->progs.on_exit)
		      : 0;
}

static uint64_t guard_lost(void *cap)
{
	struct guard *g = cap;
	struct guard_count sum;

	sum_counts(g, &sum);
	return sum.lost[GUARD_FORK] + sum.lost[GUARD_EXEC] + sum.lost[GUARD_EXIT] + g->refused +
	       missed(g);
}

static void guard_tick(void *cap, uint64_t boot_now maybe_unused)
{
	struct guard *g = cap;
	uint64_t lost = guard_lost(g);

	if (lost == g->lost_seen || !g->bpf)
		return;
	g->lost_seen = lost;
	guard_poll(g); /* who began before the loss must be known to be missed */
	scan(g, NULL); /* G2; a failure is tried again after the next loss */
}

static void guard_metrics(void *cap, cap_count_fn fn, void *arg)
{
	static const char *const labels[] = {"kind=\"fork\"", "kind=\"exec\"", "kind=\"exit\""};
	struct guard *g = cap;
	struct guard_count sum;

	if (!g->processes)
		return;
	sum_counts(g, &sum);
	cap_kinds_count(&(struct cap_kinds){.cap = "guard",
					    .labels = labels,
					    .n = GUARD_KINDS,
					    .sent = (const uint64_t *)sum.sent,
					    .reported = process_reported(g->processes),
					    .lost = (const uint64_t *)sum.lost},
			fn, arg);
	fn(arg, "skep_guard_missed_total", CAP_COUNTER,
	   "Events whose hook was busy on that CPU, hence lost", "", (double)missed(g));
	fn(arg, "skep_guard_scans_total", CAP_COUNTER, "Scans of all processes", "",
	   (double)g->scans);
}

static void guard_report(void *cap, void (*fn)(void *, const struct cap_report *), void *arg)
{
	struct guard *g = cap;
	struct cap_report r = {.what = "processes", .ready = g->bpf != NULL};

	if (r.ready) {
		snprintf(r.how, sizeof(r.how), "tp_btf/sched_process_{fork,exec,exit}; iter/task");
	} else {
		snprintf(r.how, sizeof(r.how), "%s",
			 host_feature(g->env.host, HOST_TP_BTF)->reason);
		r.fix = host_feature(g->env.host, HOST_TP_BTF)->fix;
	}
	fn(arg, &r);
}

const struct cap_ops guard_ops = {
	.name = "guard",
	.doc = "processes: who runs what, from exec to exit",
	.fields = fields,
	.n_fields = array_size(fields),
	.spec_size = sizeof(struct guard_spec),
	.open = guard_open,
	.apply = guard_apply,
	.poll = guard_poll,
	.fd = guard_fd,
	.tick = guard_tick,
	.count = guard_metrics,
	.lost = guard_lost,
	.report = guard_report,
	.close = guard_close,
};
