/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake.h: a host that can do everything, and one capability with the tables of guard and trace, so
 * that the agent runs without root and without BPF. Included by one test each.
 */
#ifndef SKEP_TESTS_AGENT_FAKE_H
#define SKEP_TESTS_AGENT_FAKE_H

#include <fcntl.h>
#include <time.h>

#include "cap/cap.h"
#include "host/host.h"
#include "store/store.h"

/* ---- host ---------------------------------------------------------------------------------- */

struct host {
	int nothing;
};

static struct host fake_host;
static const struct host_feature fake_feature = {.name = "fake", .use = "tests", .ready = true};

int host_open(struct host **out, maybe_unused struct skep_err *err)
{
	*out = &fake_host;
	return 0;
}

void host_free(maybe_unused struct host *h)
{
}

bool host_has(maybe_unused struct host *h, maybe_unused enum host_feature_id id)
{
	return true;
}

const struct host_feature *host_feature(maybe_unused struct host *h,
					maybe_unused enum host_feature_id id)
{
	return &fake_feature;
}

const char *host_kernel(maybe_unused const struct host *h)
{
	return "0.0-fake";
}

const char *host_cgroup2(maybe_unused const struct host *h)
{
	return "";
}

bool host_btf_func(maybe_unused struct host *h, maybe_unused const char *name)
{
	return true;
}

bool host_btf_trace(maybe_unused struct host *h, maybe_unused const char *name)
{
	return true;
}

const char *host_bpf_log(void)
{
	return "";
}

uint64_t host_boot_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

int64_t host_wall(uint64_t boot_ns)
{
	return (int64_t)boot_ns;
}

/* ---- tables -------------------------------------------------------------------------------- */

#define COLUMN(id, name, type, doc) PROCESS_##id,
enum process_column {
#include "guard/process.def"
};
#undef COLUMN
#define COLUMN(id, name, type, doc) CONNECTION_##id,
enum connection_column {
#include "trace/connection.def"
};
#undef COLUMN
#define COLUMN(id, name, type, doc) {#name, STORE_##type, doc},
static const struct store_column process_columns[] = {
#include "guard/process.def"
};
static const struct store_column connection_columns[] = {
#include "trace/connection.def"
};
static const struct store_column dns_columns[] = {
#include "trace/dns.def"
};
#undef COLUMN

static const struct store_def process_def = {"process", "programs", process_columns,
					     array_size(process_columns)};
static const struct store_def connection_def = {"connection", "connections", connection_columns,
						array_size(connection_columns)};
static const struct store_def dns_def = {"dns", "questions", dns_columns, array_size(dns_columns)};

/* ---- the capability ------------------------------------------------------------------------ */

struct fake_spec {
	int64_t size;
	bool fail;
};

static const struct conf_field fake_fields[] = {
	{.key = "size",
	 .type = CONF_INT,
	 .offset = offsetof(struct fake_spec, size),
	 .least = 1,
	 .most = 1000,
	 .preset = "8",
	 .doc = "MiB"},
	{.key = "fail",
	 .type = CONF_BOOL,
	 .offset = offsetof(struct fake_spec, fail),
	 .preset = "false",
	 .doc = "refuse to load"},
};

struct fake {
	struct cap_env env;
	struct store_table *process, *connection, *dns;
	uint64_t appended;
	int64_t size;
	const char *container; /* of the processes to come */
};

static struct fake fake;

static int fake_open(void **out, const struct cap_env *env, struct skep_err *err)
{
	int rc;

	memset(&fake, 0, sizeof(fake));
	fake.env = *env;
	rc = store_table_add(env->store, &process_def, 1 << 20, &fake.process, err);
	if (!rc)
		rc = store_table_add(env->store, &connection_def, 1 << 20, &fake.connection, err);
	if (!rc)
		rc = store_table_add(env->store, &dns_def, 1 << 20, &fake.dns, err);
	*out = &fake;
	return rc;
}

/* A process of the name; it lives where @code is negative. Emits as guard does. */
static inline void fake_process(const char *comm, int64_t pid, int64_t time, int code)
{
	struct store_cell cells[array_size(process_columns)] = {0};
	uint64_t row = 0;

	cells[PROCESS_TIME] = STORE_NUM(time);
	cells[PROCESS_PID] = STORE_NUM(pid);
	cells[PROCESS_STARTED] = STORE_NUM(time);
	cells[PROCESS_COMM] = STORE_STRZ(comm);
	cells[PROCESS_EXE] = STORE_STRZ("/bin/true");
	cells[PROCESS_ARGV] = STORE_STRZ("true 'a \"b'");
	cells[PROCESS_SERVICE] = STORE_STRZ(comm);
	cells[PROCESS_CONTAINER] = STORE_STRZ(fake.container);
	cells[PROCESS_ORIGIN] = STORE_STRZ("exec");
	store_append(fake.process, cells, &row);
	if (fake.env.emit)
		fake.env.emit(fake.env.emit_arg, "process.exec", fake.process, &row);
	if (code >= 0) {
		store_set(fake.process, &row, PROCESS_ENDED, STORE_NUM(time + 5));
		store_set(fake.process, &row, PROCESS_EXIT_CODE, STORE_NUM(code));
		if (fake.env.emit)
			fake.env.emit(fake.env.emit_arg, "process.exit", fake.process, &row);
	}
	store_close(fake.process, &row);
	fake.appended++;
}

static inline void fake_connection(const char *direction, const char *service, const char *remote,
				   int64_t remote_pid, int64_t sent, int64_t received)
{
	bool out = !strcmp(direction, "out");
	struct store_cell cells[array_size(connection_columns)] = {0};

	cells[CONNECTION_TIME] = STORE_NUM(1);
	cells[CONNECTION_PROTO] = STORE_STRZ("tcp");
	cells[CONNECTION_DIRECTION] = STORE_STRZ(direction);
	cells[CONNECTION_STATE] = STORE_STRZ("ESTABLISHED");
	cells[CONNECTION_ORIGIN] = STORE_STRZ("event");
	cells[CONNECTION_SERVICE] = STORE_STRZ(service);
	cells[CONNECTION_REMOTE_SERVICE] = STORE_STRZ(remote);
	cells[CONNECTION_REMOTE_ADDR] = STORE_STRZ("192.0.2.1");
	cells[CONNECTION_LOCAL_PORT] = STORE_NUM(out ? 40000 : 80);
	cells[CONNECTION_REMOTE_PORT] = STORE_NUM(out ? 80 : 40000);
	cells[CONNECTION_BYTES_SENT] = STORE_NUM(sent);
	cells[CONNECTION_BYTES_RECEIVED] = STORE_NUM(received);
	cells[CONNECTION_RTT_US] = STORE_NUM(41);
	if (remote_pid)
		cells[CONNECTION_REMOTE_PID] = STORE_NUM(remote_pid);
	store_append(fake.connection, cells, NULL);
}

static int fake_apply(maybe_unused void *cap, const void *spec, struct skep_err *err)
{
	const struct fake_spec *s = spec;

	if (s->fail)
		return skep_fail(err, -EPERM, "the fake was told to fail");
	fake.size = s->size;
	return 0;
}

static unsigned fake_poll(maybe_unused void *cap)
{
	return 0;
}

static int fake_fd(maybe_unused void *cap)
{
	return -1;
}

static void fake_tick(maybe_unused void *cap, maybe_unused uint64_t now)
{
}

static void fake_count(maybe_unused void *cap, cap_count_fn fn, void *arg)
{
	fn(arg, "skep_guard_events_total", CAP_COUNTER, "Events.", "kind=\"exec\"",
	   (double)fake.appended);
	fn(arg, "skep_guard_lost_total", CAP_COUNTER, "Lost.", "", 3);
	fn(arg, "skep_guard_events_total", CAP_COUNTER, "Events.", "kind=\"exit\"", 1);
	fn(arg, "skep_guard_size", CAP_GAUGE, "Size.", "", (double)fake.size);
}

static uint64_t fake_lost(maybe_unused void *cap)
{
	return 3;
}

static void fake_report(maybe_unused void *cap, void (*fn)(void *arg, const struct cap_report *r),
			void *arg)
{
	fn(arg, &(struct cap_report){.what = "processes", .ready = true, .how = "by hand"});
}

static void fake_close(maybe_unused void *cap)
{
}

static const struct cap_ops fake_ops = {
	.name = "guard",
	.doc = "a fake",
	.fields = fake_fields,
	.n_fields = array_size(fake_fields),
	.spec_size = sizeof(struct fake_spec),
	.open = fake_open,
	.apply = fake_apply,
	.poll = fake_poll,
	.fd = fake_fd,
	.tick = fake_tick,
	.count = fake_count,
	.lost = fake_lost,
	.report = fake_report,
	.close = fake_close,
};

const struct cap_ops *const cap_all[] = {&fake_ops, NULL};

#endif
