// SPDX-License-Identifier: Apache-2.0
/*
 * trace.c: the capability trace: loads its objects, feeds the tables "connection" and "dns".
 *
 * The objects share ring, count and marks: the first one loaded makes them, the others reuse them.
 *
 *	tcp.bpf.c   TCP, and owners of sockets       required
 *	udp.bpf.c   UDP and DNS at the root cgroup   reported when missing
 *
 * X1  Hooks are attached before the scan, so no socket falls between.
 * X2  A hook that this kernel lacks is left out and reported; what remains works without it.
 */
#include "cap/ring.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>

#include "host/host.h"
#include "trace/conn.h"
#include "trace/dnslog.h"
#include "trace/names.h"
#include "trace/tcp.skel.h"
#include "trace/udp.skel.h"

#define NAMES_MAX  16384
#define FLOWS_READ 256

/* As the kernel maps an array: whole pages. */
#define SAMPLES_SIZE ((TRACE_SAMPLES * sizeof(struct trace_tcp) + 4095) & ~4095ul)

struct trace_spec {
	int64_t ring_kib, store_mib, dns_store_mib;
	int64_t connections, udp_idle;
};

static const struct conf_field fields[] = {
	{"ringKiB", CONF_INT, offsetof(struct trace_spec, ring_kib), 4, 1 << 20, "2048", NULL,
	 "ring between kernel and agent, KiB, rounded up to a power of two"},
	{"storeMiB", CONF_INT, offsetof(struct trace_spec, store_mib), 1, 1 << 20, "32", NULL,
	 "memory of the table connection, MiB"},
	{"dnsStoreMiB", CONF_INT, offsetof(struct trace_spec, dns_store_mib), 1, 1 << 20, "4", NULL,
	 "memory of the table dns, MiB"},
	{"connections", CONF_INT, offsetof(struct trace_spec, connections), 64, 1 << 22, "65536",
	 NULL, "connections followed at once"},
	{"udpIdleSeconds", CONF_INT, offsetof(struct trace_spec, udp_idle), 1, 86400, "30", NULL,
	 "silence after which a UDP flow has ended"},
};

struct trace {
	struct cap_env env;
	struct trace_spec spec;
	struct names *names;
	struct conn_table *conns;
	struct dnslog *dns;
	struct tcp_bpf *tcp;
	struct udp_bpf *udp;
	struct trace_tcp *samples; /* TRACE_SAMPLES of them */
	struct ring_buffer *ring;
	struct skep_err udp_error;
	uint64_t reported[TRACE_KINDS], refused;
	struct cap_counts counts; /* struct trace_count */
};

static void trace_close(void *cap)
{
	struct trace *t = cap;

	if (!t)
		return;
	ring_buffer__free(t->ring);
	if (t->samples)
		munmap(t->samples, SAMPLES_SIZE);
	udp_bpf__destroy(t->udp);
	tcp_bpf__destroy(t->tcp);
	dnslog_free(t->dns);
	conn_free(t->conns);
	names_free(t->names);
	cap_counts_done(&t->counts);
	free(t);
}

static int trace_open(void **out, const struct cap_env *env, struct skep_err *err)
{
	struct trace *t = calloc(1, sizeof(*t));
	int rc = t ? cap_counts_init(&t->counts, sizeof(struct trace_count)) : -ENOMEM;

	if (!rc)
		rc = names_open(&t->names, NAMES_MAX);
	if (rc) {
		trace_close(t);
		return skep_fail(err, rc, "no memory for trace");
	}
	t->env = *env;
	*out = t;
	return 0;
}

static int on_record(void *arg, void *data, size_t size)
{
	const struct trace_head *head = data;
	struct trace *t = arg;

	if (size >= sizeof(struct trace_dns) && head->kind == TRACE_DNS) {
		dnslog_event(t->dns, data);
	} else if (size >= sizeof(struct trace_tcp) && head->kind == TRACE_CLOSE) {
		conn_close(t->conns, data);
	} else {
		t->refused++;
		return 0;
	}
	t->reported[head->kind]++;
	return 0;
}

/* ---- loading -------------------------------------------------------------------------------- */

/* X2 */
static void choose(struct trace *t, struct tcp_bpf *b)
{
	bool lengths = host_btf_trace(t->env.host, "sock_recv_length");
	bool fexit = host_has(t->env.host, HOST_FEXIT);
	bool connect6 = fexit && host_btf_func(t->env.host, "tcp_v6_connect");

	bpf_program__set_autoload(b->progs.on_send, lengths);
	bpf_program__set_autoload(b->progs.on_recv, lengths);
	bpf_program__set_autoload(b->progs.on_accept, !lengths && fexit);
	bpf_program__set_autoload(b->progs.on_connect4, fexit);
	bpf_program__set_autoload(b->progs.on_connect6, connect6);
	bpf_program__set_autoattach(b->progs.sample, false);
	b->rodata->sees_connect = connect6;
}

static int map_samples(struct trace *t, struct tcp_bpf *b)
{
	void *at = mmap(NULL, SAMPLES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_map__fd(b->maps.samples), 0);

	if (at == MAP_FAILED)
		return -errno;
	t->samples = at;
	return 0;
}

static int load_tcp(struct trace *t, struct skep_err *err)
{
	struct tcp_bpf *b = tcp_bpf__open();
	int rc;

	if (!b)
		return skep_fail(err, -errno, "open tcp.bpf.o: %s", strerror(errno));
	choose(t, b);
	b->rodata->ring_quarter = cap_ring_bytes(t->spec.ring_kib) / 4;
	bpf_map__set_max_entries(b->maps.ring, cap_ring_bytes(t->spec.ring_kib));
	bpf_map__set_max_entries(b->maps.tcps, (uint32_t)t->spec.connections);
	rc = tcp_bpf__load(b);
	if (!rc)
		rc = map_samples(t, b);
	if (!rc)
		rc = tcp_bpf__attach(b);
	if (rc) {
		tcp_bpf__destroy(b);
		return skep_fail(err, rc, "load tcp.bpf.o: %s: %s", strerror(-rc), host_bpf_log());
	}
	t->tcp = b;
	return 0;
}

static int share_maps(struct udp_bpf *b, const struct tcp_bpf *with)
{
	int rc = bpf_map__reuse_fd(b->maps.ring, bpf_map__fd(with->maps.ring));

	if (!rc)
		rc = bpf_map__reuse_fd(b->maps.count, bpf_map__fd(with->maps.count));
	if (!rc)
		rc = bpf_map__reuse_fd(b->maps.marks, bpf_map__fd(with->maps.marks));
	return rc;
}

static int attach_udp(struct udp_bpf *b, const char *cgroup)
{
	cleanup(fd_close) int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	b->links.on_create = bpf_program__attach_cgroup(b->progs.on_create, fd);
	b->links.on_egress = bpf_program__attach_cgroup(b->progs.on_egress, fd);
	b->links.on_ingress = bpf_program__attach_cgroup(b->progs.on_ingress, fd);
	return b->links.on_create && b->links.on_egress && b->links.on_ingress ? 0 : -errno;
}

static int load_udp(struct trace *t, struct skep_err *err)
{
	const char *cgroup = host_cgroup2(t->env.host);
	struct udp_bpf *b;
	int rc;

	if (!cgroup[0])
		return skep_fail(err, -ENOENT, "no cgroup2 mount");
	b = udp_bpf__open();
	if (!b)
		return skep_fail(err, -errno, "open udp.bpf.o: %s", strerror(errno));
	b->rodata->ring_quarter = t->tcp->rodata->ring_quarter;
	bpf_map__set_max_entries(b->maps.flows, (uint32_t)t->spec.connections);
	rc = share_maps(b, t->tcp);
	if (!rc)
		rc = udp_bpf__load(b);
	if (!rc)
		rc = attach_udp(b, cgroup);
	if (rc) {
		udp_bpf__destroy(b);
		return skep_fail(err, rc, "load udp.bpf.o: %s: %s", strerror(-rc), host_bpf_log());
	}
	t->udp = b;
	return 0;
}

/* Reads the records of sockets older than the agent. */
static int scan_tcps(struct trace *t)
{
	cleanup(fd_close) int fd = bpf_iter_create(bpf_link__fd(t->tcp->links.scan));
	struct trace_tcp found[32];
	ssize_t n, i;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, found, sizeof(found))) > 0)
		for (i = 0; i < n / (ssize_t)sizeof(found[0]); i++)
			conn_scan(t->conns, &found[i]);
	return n < 0 ? -errno : 0;
}

static int open_tables(struct trace *t, struct skep_err *err)
{
	int rc = 0;

	if (!t->conns)
		rc = conn_open(&t->conns, &t->env, t->names, (size_t)t->spec.store_mib << 20,
			       (unsigned)t->spec.connections, err);
	if (!rc && !t->dns)
		rc = dnslog_open(&t->dns, &t->env, t->names, (size_t)t->spec.dns_store_mib << 20,
				 err);
	return rc;
}

static int trace_apply(void *cap, const void *spec, struct skep_err *err)
{
	struct trace *t = cap;
	int rc;

	if (t->tcp)
		return memcmp(&t->spec, spec, sizeof(t->spec))
			       ? skep_fail(err, -EBUSY, "trace: sizes take hold at the next start")
			       : 0;
	t->spec = *(const struct trace_spec *)spec;
	rc = open_tables(t, err);
	if (!rc)
		rc = load_tcp(t, err);
	if (rc)
		return rc;
	t->ring = ring_buffer__new(bpf_map__fd(t->tcp->maps.ring), on_record, t, NULL);
	if (!t->ring) {
		rc = -errno;
		tcp_bpf__destroy(take(t->tcp));
		return skep_fail(err, rc, "map trace's ring: %s", strerror(-rc));
	}
	load_udp(t, &t->udp_error); /* X2 */
	rc = scan_tcps(t);	    /* X1 */
	conn_scan_end(t->conns);
	return rc ? skep_fail(err, rc, "iterate over sockets: %s", strerror(-rc)) : 0;
}

/* ---- running -------------------------------------------------------------------------------- */

static unsigned trace_poll(void *cap)
{
	struct trace *t = cap;
	int n = t->ring ? ring_buffer__consume(t->ring) : 0;

	return n > 0 ? (unsigned)n : 0;
}

static int trace_fd(void *cap)
{
	struct trace *t = cap;

	return t->ring ? ring_buffer__epoll_fd(t->ring) : -1;
}

/* A flow that was silent long enough leaves the map, with its last counts. */
static void take_flow(struct trace *t, const struct trace_flow_key *key, struct trace_flow *f,
		      uint64_t now)
{
	bool idle = f->last + (uint64_t)t->spec.udp_idle * 1000000000ULL < now;

	if (idle)
		bpf_map_lookup_and_delete_elem(bpf_map__fd(t->udp->maps.flows), key, f);
	conn_flow(t->conns, key, f, idle);
}

static void sample_udp(struct trace *t, uint64_t now)
{
	struct trace_flow_key keys[FLOWS_READ];
	struct trace_flow flows[FLOWS_READ];
	int fd = bpf_map__fd(t->udp->maps.flows), rc;
	uint32_t n, i;
	uint64_t token = 0;
	bool first = true;

	do {
		n = FLOWS_READ;
		rc = bpf_map_lookup_batch(fd, first ? NULL : &token, &token, keys, flows, &n, NULL);
		if (rc && errno != ENOENT)
			return;
		for (i = 0; i < n; i++)
			take_flow(t, &keys[i], &flows[i], now);
		first = false;
	} while (!rc);
}

/* T7. Return: whether the program ran. */
static bool sample_part(struct trace *t, const uint64_t *sockets, uint32_t n)
{
	uint64_t args[1] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = args, .ctx_size_in = sizeof(args));
	uint32_t i;

	for (i = 0; i < n; i++) {
		memset(&t->samples[i], 0, sizeof(t->samples[i]));
		t->samples[i].cookie = sockets[i];
		t->samples[i].state = TCP_CLOSE;
	}
	t->tcp->bss->asked = n;
	if (bpf_prog_test_run_opts(bpf_program__fd(t->tcp->progs.sample), &opts))
		return false;
	for (i = 0; i < n; i++)
		if (t->samples[i].state != TCP_CLOSE)
			conn_sample(t->conns, &t->samples[i]);
	return true;
}

/* Return: whether all marked sockets were read. */
static bool sample_tcps(struct trace *t)
{
	int fd = bpf_map__fd(t->tcp->maps.tcps), rc;
	struct trace_mark marks[TRACE_SAMPLES];
	uint64_t sockets[TRACE_SAMPLES];
	uint32_t token, n;
	bool first = true;

	do {
		n = TRACE_SAMPLES;
		rc = bpf_map_lookup_batch(fd, first ? NULL : &token, &token, sockets, marks, &n,
					  NULL);
		if ((rc && errno != ENOENT) || (n && !sample_part(t, sockets, n)))
			return false;
		first = false;
	} while (!rc);
	return true;
}

static void trace_tick(void *cap, uint64_t boot_now)
{
	struct trace *t = cap;
	bool all;

	if (!t->tcp)
		return;
	conn_sample_begin(t->conns, boot_now);
	all = sample_tcps(t);
	if (t->udp)
		sample_udp(t, boot_now);
	conn_sample_end(t->conns, all);
	dnslog_tick(t->dns, boot_now);
}

static void sum_counts(struct trace *t, struct trace_count *sum)
{
	cap_counts_sum(&t->counts, t->tcp ? bpf_map__fd(t->tcp->maps.count) : -1, sum);
}

/* Of on_state only: a send or recv that was not seen names the owner the next time. */
static uint64_t missed(const struct trace *t)
{
	return t->tcp ? cap_misses(t->tcp->progs.on_state) : 0;
}

static uint64_t trace_lost(void *cap)
{
	struct trace *t = cap;
	struct conn_stat conns = {0};
	struct trace_count sum;
	uint64_t lost = t->refused;
	unsigned k;

	sum_counts(t, &sum);
	for (k = 0; k < TRACE_KINDS; k++)
		lost += sum.lost[k];
	if (t->conns)
		conn_count(t->conns, &conns);
	return lost + sum.flows_lost + sum.marks_lost + conns.refused + missed(t);
}

static void metrics_by_kind(struct trace *t, cap_count_fn fn, void *arg)
{
	static const char *const labels[TRACE_KINDS] = {"kind=\"close\"", "kind=\"dns\""};
	struct trace_count sum;

	sum_counts(t, &sum);
	cap_kinds_count(&(struct cap_kinds){.cap = "trace",
					    .labels = labels,
					    .n = TRACE_KINDS,
					    .sent = (const uint64_t *)sum.sent,
					    .reported = t->reported,
					    .lost = (const uint64_t *)sum.lost},
			fn, arg);
	fn(arg, "skep_trace_flow_datagrams_lost_total", CAP_COUNTER,
	   "Datagrams whose flow found the flow map full", "", (double)sum.flows_lost);
	fn(arg, "skep_trace_missed_total", CAP_COUNTER,
	   "State changes whose hook was busy on that CPU, hence lost", "", (double)missed(t));
	fn(arg, "skep_trace_marks_lost_total", CAP_COUNTER,
	   "Connections without an owner: the map of open ones was full", "",
	   (double)sum.marks_lost);
}

static void trace_metrics(void *cap, cap_count_fn fn, void *arg)
{
	struct trace *t = cap;
	struct dnslog_stat dns;
	struct conn_stat conns;

	if (!t->conns || !t->dns)
		return;
	metrics_by_kind(t, fn, arg);
	conn_count(t->conns, &conns);
	dnslog_count(t->dns, &dns);
	fn(arg, "skep_trace_connections", CAP_GAUGE, "Connections open", "", (double)conns.open);
	fn(arg, "skep_trace_refused_total", CAP_COUNTER, "Connections beyond the configured number",
	   "", (double)conns.refused);
	fn(arg, "skep_trace_vanished_total", CAP_COUNTER, "Connections that ended unseen", "",
	   (double)conns.vanished);
	fn(arg, "skep_trace_dns_malformed_total", CAP_COUNTER,
	   "Messages on port 53 that are no DNS", "", (double)dns.malformed);
	fn(arg, "skep_trace_dns_unanswered_total", CAP_COUNTER, "Questions without an answer", "",
	   (double)dns.unanswered);
}

/* ---- report --------------------------------------------------------------------------------- */

typedef void (*report_fn)(void *, const struct cap_report *);

static void say(report_fn fn, void *arg, const char *what, bool ready, const char *how,
		const char *fix)
{
	struct cap_report r = {.what = what, .ready = ready, .fix = ready ? NULL : fix};

	snprintf(r.how, sizeof(r.how), "%.*s", (int)sizeof(r.how) - 1, how);
	fn(arg, &r);
}

static void report_accept(struct trace *t, report_fn fn, void *arg)
{
	static const char what[] = "owner of accepted connections";

	if (t->tcp && t->tcp->links.on_recv)
		say(fn, arg, what, true, "tp_btf/sock_{send,recv}_length", NULL);
	else if (t->tcp && t->tcp->links.on_accept)
		say(fn, arg, what, true, "fexit/inet_csk_accept", NULL);
	else
		say(fn, arg, what, false, "taken to be the listener's process",
		    "a kernel with sock_recv_length (6.3) or with fexit");
}

static void trace_report(void *cap, report_fn fn, void *arg)
{
	struct trace *t = cap;

	say(fn, arg, "TCP connections", t->tcp != NULL,
	    t->tcp ? "tp_btf/inet_sock_set_state; iter/task_file"
		   : host_feature(t->env.host, HOST_TP_BTF)->reason,
	    host_feature(t->env.host, HOST_TP_BTF)->fix);
	report_accept(t, fn, arg);
	say(fn, arg, "UDP flows and DNS", t->udp != NULL,
	    t->udp ? "cgroup_skb and sock_create at the root cgroup" : t->udp_error.text,
	    host_feature(t->env.host, HOST_CGROUP_SKB)->fix);
	say(fn, arg, "connects that fail before a packet", t->tcp && t->tcp->links.on_connect4,
	    t->tcp && t->tcp->links.on_connect4 ? "fexit/tcp_v4_connect, tcp_v6_connect"
						: "needs fexit, which this kernel does not load",
	    host_feature(t->env.host, HOST_FEXIT)->fix);
}

const struct cap_ops trace_ops = {
	.name = "trace",
	.doc = "connections: who talks to whom, and DNS",
	.fields = fields,
	.n_fields = array_size(fields),
	.spec_size = sizeof(struct trace_spec),
	.open = trace_open,
	.apply = trace_apply,
	.poll = trace_poll,
	.fd = trace_fd,
	.tick = trace_tick,
	.count = trace_metrics,
	.lost = trace_lost,
	.report = trace_report,
	.close = trace_close,
};
