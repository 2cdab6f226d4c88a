// SPDX-License-Identifier: Apache-2.0
#include "cli/object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cli/live.h"
#include "host/capture.h"
#include "host/host.h"
#include "host/value.h"

#define FRAME_ROOM   (64 << 10)
#define DUMP_MAX     65536 /* elements of one map */
#define VALUE_MAX    (1 << 20)
#define REPEAT_FRAME 64

static const char *const xdp_verdicts[] = {"XDP_ABORTED", "XDP_DROP",	  "XDP_PASS",
					   "XDP_TX",	  "XDP_REDIRECT", NULL};
static const char *const tc_verdicts[] = {
	"TC_ACT_OK",	 "TC_ACT_RECLASSIFY", "TC_ACT_SHOT",	 "TC_ACT_PIPE", "TC_ACT_STOLEN",
	"TC_ACT_QUEUED", "TC_ACT_REPEAT",     "TC_ACT_REDIRECT", "TC_ACT_TRAP", NULL};
static const char *const cgroup_verdicts[] = {"deny", "allow", NULL};

/* What becomes of a packet: which verdicts have names, and which let it out. */
static const struct kind {
	enum bpf_prog_type type;
	const char *const *verdicts;
	uint32_t out; /* bits by verdict */
} kinds[] = {
	{BPF_PROG_TYPE_XDP, xdp_verdicts, 1 << XDP_PASS | 1 << XDP_TX | 1 << XDP_REDIRECT},
	{BPF_PROG_TYPE_SCHED_CLS, tc_verdicts, 1 << 0 | 1 << 3 | 1 << 7},
	{BPF_PROG_TYPE_SCHED_ACT, tc_verdicts, 1 << 0 | 1 << 3 | 1 << 7},
	{BPF_PROG_TYPE_CGROUP_SKB, cgroup_verdicts, 1 << 1},
	{BPF_PROG_TYPE_SOCKET_FILTER, NULL, 0},
	{BPF_PROG_TYPE_LWT_IN, NULL, 0},
	{BPF_PROG_TYPE_LWT_OUT, NULL, 0},
	{BPF_PROG_TYPE_LWT_XMIT, NULL, 0},
	{BPF_PROG_TYPE_FLOW_DISSECTOR, NULL, 0},
};

struct session {
	const struct object_wish *wish;
	struct object_result *r;
	struct bpf_object *obj;
	struct bpf_program *prog;
	const struct kind *kind; /* NULL: takes no packets */
	struct capture *in, *out;
	uint8_t frame[FRAME_ROOM];
};

const char *object_verdict(const struct object_result *r, unsigned verdict, char buf[16])
{
	unsigned i;

	for (i = 0; r->verdict_names && r->verdict_names[i]; i++)
		if (i == verdict)
			return r->verdict_names[i];
	snprintf(buf, 16, "%d", (int)verdict);
	return buf;
}

void object_done(struct object_result *r)
{
	buf_done(&r->maps);
}

/* ---- loading -------------------------------------------------------------------------------- */

/* The last line that libbpf and the verifier said which is no frame around the verifier's log. */
static int refused(struct skep_err *err, int rc, const char *path)
{
	const char *log = host_bpf_log(), *at;
	size_t n = strlen(log);

	while (n && log[n - 1] == '\n')
		n--;
	if (!n)
		return skep_fail(err, rc, "%s: %s", path, strerror(-rc));
	fprintf(stderr, "%.*s\n", (int)n, log);
	if (rc == -EPERM && geteuid())
		return skep_fail(
			err, rc,
			"%s: the kernel loads programs for root alone; the engine (without --host) asks for no rights",
			path);
	at = strstr(log, "failed to load: ");
	return skep_fail(err, rc, "%s was refused%s", path, at ? " (the log is above)" : "");
}

static int pick(struct session *s, struct skep_err *err)
{
	cleanup(buf_done) struct buf names = {0};
	struct bpf_program *p;
	unsigned n = 0;

	bpf_object__for_each_program(p, s->obj)
	{
		if (s->wish->prog && strcmp(bpf_program__name(p), s->wish->prog))
			goto name;
		s->prog = p;
		n++;
	name:
		buf_fmt(&names, "%s%s", names.len ? ", " : "", bpf_program__name(p));
	}
	if (n == 1)
		return 0;
	if (s->wish->prog)
		return skep_fail(err, -ENOENT, "%s has no program %s; it has %s", s->wish->path,
				 s->wish->prog, names.len ? names.data : "none");
	if (!n)
		return skep_fail(err, -ENOENT, "%s has no program", s->wish->path);
	return skep_fail(err, -EINVAL, "%s has several programs, choose one with --prog: %s",
			 s->wish->path, names.data);
}

static void describe(struct session *s)
{
	enum bpf_prog_type type = bpf_program__type(s->prog);
	unsigned i;

	snprintf(s->r->prog, sizeof(s->r->prog), "%s", bpf_program__name(s->prog));
	snprintf(s->r->type, sizeof(s->r->type), "%s", libbpf_bpf_prog_type_str(type) ?: "unknown");
	for (i = 0; i < array_size(kinds); i++)
		if (kinds[i].type == type)
			s->kind = &kinds[i];
	s->r->has_packets = s->kind != NULL;
	s->r->verdict_names = s->kind ? s->kind->verdicts : NULL;
}

/* ---- settings ------------------------------------------------------------------------------- */

static const struct btf_var_secinfo *variable(const struct btf *btf, const struct bpf_map *map,
					      const char *name)
{
	const char *section = strrchr(bpf_map__name(map), '.');
	const struct btf_type *t, *var;
	struct btf_var_secinfo *v;
	int id, i;

	id = section ? btf__find_by_name_kind(btf, section, BTF_KIND_DATASEC) : -1;
	if (id < 0)
		return NULL;
	t = btf__type_by_id(btf, (uint32_t)id);
	for (i = 0, v = btf_var_secinfos(t); i < btf_vlen(t); i++, v++) {
		var = btf__type_by_id(btf, v->type);
		if (var && !strcmp(btf__name_by_offset(btf, var->name_off), name))
			return v;
	}
	return NULL;
}

/* Of globals, before the object is loaded: so .rodata may be set too. */
static int set_variable(struct session *s, const char *name, const char *text, struct skep_err *err)
{
	const struct btf *btf = bpf_object__btf(s->obj);
	const struct btf_var_secinfo *v;
	struct bpf_map *map;
	char number[16];
	size_t size;
	char *data;
	int rc;

	bpf_object__for_each_map(map, s->obj)
	{
		v = btf && bpf_map__is_internal(map) ? variable(btf, map, name) : NULL;
		if (!v)
			continue;
		data = (char *)bpf_map__initial_value(map, &size);
		if (!data || v->offset + v->size > size)
			break;
		rc = host_value_parse(live_value(s->wish->ports, text, number), data + v->offset,
				      v->size, err);
		return rc ? skep_note(err, rc, "--set %s", name) : 0;
	}
	return skep_fail(err, -ENOENT, "--set %s: there is no variable of that name", name);
}

static int set_element(struct session *s, const char *name, const char *key_text, const char *text,
		       struct skep_err *err)
{
	struct bpf_map *map = bpf_object__find_map_by_name(s->obj, name);
	cleanup(mem_free) void *key = NULL, *value = NULL;
	char number[16];
	size_t keys, values;
	int rc;

	if (!map)
		return skep_fail(err, -ENOENT, "--set %s: there is no map of that name", name);
	keys = bpf_map__key_size(map);
	values = bpf_map__value_size(map);
	key = calloc(1, keys + 1);
	value = calloc(1, values + 1);
	if (!key || !value)
		return -ENOMEM;
	rc = host_value_parse(key_text, key, keys, err);
	if (!rc)
		rc = host_value_parse(live_value(s->wish->ports, text, number), value, values, err);
	if (rc)
		return skep_note(err, rc, "--set %s", name);
	rc = bpf_map__update_elem(map, key, keys, value, values, BPF_ANY);
	return rc ? skep_fail(err, rc, "--set %s:%s: %s", name, key_text, strerror(-rc)) : 0;
}

bool object_is_set(const char *set)
{
	return strcspn(set, ":=") && strchr(set, '=');
}

/* "map:key=value" once the object is @loaded, "variable=value" before. */
static int set_one(struct session *s, const char *set, bool loaded, struct skep_err *err)
{
	cleanup(mem_free) char *text = strdup(set);
	char *key, *value;

	if (!text)
		return -ENOMEM;
	value = strchr(text, '=');
	assert(value);
	*value++ = '\0';
	key = strchr(text, ':');
	if (loaded != !!key)
		return 0;
	if (!key)
		return set_variable(s, text, value, err);
	*key++ = '\0';
	return set_element(s, text, key, value, err);
}

static int set_all(struct session *s, bool loaded, struct skep_err *err)
{
	unsigned i;
	int rc = 0;

	for (i = 0; !rc && i < s->wish->n_sets; i++)
		rc = set_one(s, s->wish->sets[i], loaded, err);
	return rc;
}

/* ---- packets -------------------------------------------------------------------------------- */

static void count(struct object_result *r, uint32_t verdict)
{
	r->last = verdict;
	if (verdict < OBJECT_VERDICTS)
		r->verdicts[verdict]++;
	else
		r->others++;
}

static int run_packet(struct session *s, const struct capture_packet *p, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->data, .data_size_in = p->len,
		    .data_out = s->frame, .data_size_out = sizeof(s->frame),
		    .repeat = (int)s->wish->repeat);
	struct capture_packet came = *p;
	int rc = bpf_prog_test_run_opts(bpf_program__fd(s->prog), &opts);

	if (rc)
		return skep_fail(err, rc, "packet %llu of %u bytes: %s",
				 (unsigned long long)s->r->packets + 1, p->len, strerror(-rc));
	s->r->packets++;
	s->r->runs += s->wish->repeat;
	s->r->ns += (uint64_t)opts.duration * s->wish->repeat;
	count(s->r, opts.retval);
	if (!s->out || opts.retval > 31 || !(s->kind->out >> opts.retval & 1))
		return 0;
	came.data = s->frame;
	came.len = came.wire_len = opts.data_size_out;
	return capture_write(s->out, &came);
}

static int run_capture(struct session *s, struct skep_err *err)
{
	struct capture_packet p;
	int rc;

	while ((rc = capture_next(s->in, &p, err)) == 1) {
		rc = run_packet(s, &p, err);
		if (rc)
			return rc;
	}
	return rc;
}

static int run_bare(struct session *s, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int rc = bpf_prog_test_run_opts(bpf_program__fd(s->prog), &opts);

	if (rc)
		return skep_fail(err, rc, "programs of type %s cannot be run alone: %s", s->r->type,
				 strerror(-rc));
	s->r->packets = 1;
	count(s->r, opts.retval);
	return 0;
}

static int run_all(struct session *s, struct skep_err *err)
{
	static const uint8_t zeros[REPEAT_FRAME];
	const struct capture_packet blank = {
		.data = zeros, .len = sizeof(zeros), .wire_len = sizeof(zeros)};

	bool tc = bpf_program__type(s->prog) == BPF_PROG_TYPE_SCHED_CLS;

	if (s->wish->ports && !tc && bpf_program__type(s->prog) != BPF_PROG_TYPE_XDP)
		return skep_fail(err, -EINVAL,
				 "a port takes programs of type xdp or sched_cls, not %s",
				 s->r->type);
	if (s->wish->ports)
		return live_run(s->wish->ports, bpf_program__fd(s->prog), tc, s->wish->seconds,
				s->r, err);
	if (!s->kind)
		return run_bare(s, err);
	return s->in ? run_capture(s, err) : run_packet(s, &blank, err);
}

/* ---- maps ----------------------------------------------------------------------------------- */

static bool per_cpu(const struct bpf_map *map)
{
	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return true;
	default:
		return false;
	}
}

static void dump_value(const struct session *s, const struct bpf_map *map, const uint8_t *value,
		       struct buf *out)
{
	const struct btf *btf = bpf_object__btf(s->obj);
	uint32_t type = bpf_map__btf_value_type_id(map), size = bpf_map__value_size(map);
	size_t stride = ((size_t)size + 7) & ~7UL;
	int cpu, cpus = per_cpu(map) ? libbpf_num_possible_cpus() : 1;

	if (cpus > 1)
		buf_chr(out, '[');
	for (cpu = 0; cpu < cpus; cpu++) {
		if (cpu)
			buf_chr(out, ',');
		host_value_json(out, btf, type, value + (size_t)cpu * stride, size);
	}
	if (cpus > 1)
		buf_chr(out, ']');
}

static size_t value_bytes(const struct bpf_map *map)
{
	size_t size = bpf_map__value_size(map);

	return per_cpu(map) ? ((size + 7) & ~7UL) * (size_t)libbpf_num_possible_cpus() : size;
}

static void dump_elements(const struct session *s, const struct bpf_map *map, uint8_t *key,
			  uint8_t *value, struct buf *out)
{
	size_t keys = bpf_map__key_size(map), values = value_bytes(map);
	bool first = true;
	unsigned n;
	int rc;

	rc = bpf_map__get_next_key(map, NULL, key, keys);
	for (n = 0; !rc && n < DUMP_MAX; n++) {
		if (!bpf_map__lookup_elem(map, key, keys, value, values, 0)) {
			buf_str(out, first ? "{\"key\":" : ",{\"key\":");
			host_value_json(out, bpf_object__btf(s->obj), bpf_map__btf_key_type_id(map),
					key, keys);
			buf_str(out, ",\"value\":");
			dump_value(s, map, value, out);
			buf_chr(out, '}');
			first = false;
		}
		rc = bpf_map__get_next_key(map, key, key, keys);
	}
}

static int dump_map(const struct session *s, const struct bpf_map *map)
{
	cleanup(mem_free) uint8_t *key = calloc(1, bpf_map__key_size(map) + 1);
	cleanup(mem_free) uint8_t *value = calloc(1, value_bytes(map) + 1);
	struct buf *out = &s->r->maps;

	if (!key || !value)
		return -ENOMEM;
	if (out->len)
		buf_chr(out, ',');
	buf_json(out, bpf_map__name(map), strlen(bpf_map__name(map)));
	buf_str(out, ":[");
	if (bpf_map__key_size(map))
		dump_elements(s, map, key, value, out);
	buf_chr(out, ']');
	return buf_ok(out) ? 0 : -ENOMEM;
}

static bool listed(const char *list, const char *name)
{
	size_t n = strlen(name), len;

	if (!strcmp(list, "all"))
		return true;
	for (; *list; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		if (len == n && !memcmp(list, name, n))
			return true;
	}
	return false;
}

static int dump_maps(struct session *s, struct skep_err *err)
{
	struct bpf_map *map;
	unsigned found = 0;
	int rc = 0;

	bpf_object__for_each_map(map, s->obj)
	{
		if (rc || !listed(s->wish->dump, bpf_map__name(map)))
			continue;
		found++;
		rc = dump_map(s, map);
	}
	if (!rc && !found && strcmp(s->wish->dump, "all"))
		return skep_fail(err, -ENOENT, "--dump %s: there is no map of that name",
				 s->wish->dump);
	return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void info(struct session *s)
{
	struct bpf_prog_info i = {0};
	uint32_t len = sizeof(i);

	if (bpf_obj_get_info_by_fd(bpf_program__fd(s->prog), &i, &len))
		return;
	s->r->insns = i.xlated_prog_len / 8;
	s->r->jited_bytes = i.jited_prog_len;
	s->r->run_cnt = i.run_cnt;
	s->r->run_ns = i.run_time_ns;
}

static int open_captures(struct session *s, struct skep_err *err)
{
	int rc = 0;

	if ((s->wish->in || s->wish->out) && !s->kind)
		return skep_fail(err, -EINVAL, "programs of type %s take no packets", s->r->type);
	if (s->wish->in)
		rc = capture_open(&s->in, s->wish->in, err);
	if (!rc && s->wish->out)
		rc = capture_create(&s->out, s->wish->out, err);
	return rc;
}

static int load(struct session *s, struct skep_err *err)
{
	int rc;

	if (access(s->wish->path, R_OK))
		return skep_fail(err, -errno, "%s: %s", s->wish->path, strerror(errno));
	s->obj = bpf_object__open_file(s->wish->path, NULL);
	if (!s->obj) {
		fputs(host_bpf_log(), stderr);
		return skep_fail(err, -EINVAL, "%s is no BPF object that can be loaded",
				 s->wish->path);
	}
	rc = pick(s, err);
	if (rc)
		return rc;
	describe(s);
	rc = set_all(s, false, err);
	if (rc)
		return rc;
	rc = bpf_object__load(s->obj);
	if (rc)
		return refused(err, rc, s->wish->path);
	return set_all(s, true, err);
}

static int work(struct session *s, struct skep_err *err)
{
	cleanup(fd_close) int stats = -1;
	int rc = load(s, err), written;

	if (!rc)
		rc = open_captures(s, err);
	if (!rc && s->wish->stats)
		stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	if (!rc)
		rc = run_all(s, err);
	written = capture_close(take(s->out));
	if (!rc && written)
		rc = skep_fail(err, written, "%s: %s", s->wish->out, strerror(-written));
	if (!rc)
		info(s);
	if (!rc && s->wish->dump)
		rc = dump_maps(s, err);
	return rc;
}

int object_run(const struct object_wish *wish, struct object_result *r, struct skep_err *err)
{
	struct session *s = calloc(1, sizeof(*s));
	int rc;

	memset(r, 0, sizeof(*r));
	if (!s)
		return -ENOMEM;
	s->wish = wish;
	s->r = r;
	r->stats = wish->stats;
	host_bpf_keep();
	rc = work(s, err);
	capture_close(s->in);
	capture_close(s->out);
	bpf_object__close(s->obj);
	free(s);
	if (rc)
		object_done(r);
	return rc;
}
