// SPDX-License-Identifier: Apache-2.0
#include "balance/samples.h"

#include <bpf/libbpf.h>

#include "balance/balance.skel.h"
#include "balance/reason.h"
#include "host/host.h"
#include "store/store.h"

enum column {
#define COLUMN(id, name, type, doc) COL_##id,
#include "balance/packet.def"
#undef COLUMN
	COLUMNS
};

static const struct store_column columns[] = {
#define COLUMN(id, col, kind, text) {#col, STORE_##kind, text},
#include "balance/packet.def"
#undef COLUMN
};

static const struct store_def def = {
	.name = "packet",
	.doc = "samples of packets that the load balancer saw, while `skep balance packets` asks",
	.columns = columns,
	.n_columns = COLUMNS,
};

struct samples {
	struct maps *maps;
	const struct fleet *fleet;
	const struct attach *links;
	unsigned n_links;
	struct store_table *table;
	const struct cap_env *env;
	struct ring_buffer *ring;
	uint64_t until; /* boot ns; 0: none are taken */
	int64_t rate;
	int64_t last; /* time of the last row: each has another, so that readers can go on behind it */
};

int samples_table(struct store_table **out, const struct cap_env *env, struct skep_err *err)
{
	return env->store ? store_table_add(env->store, &def, 4 << 20, out, err) : 0;
}

static void hex(char *out, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
}

static struct config_addr addr_of(uint8_t family, const void *bytes)
{
	struct config_addr a = {.family = family};

	memcpy(a.bytes, bytes, family == 4 ? 4 : 16);
	return a;
}

static struct store_cell port_of(const struct balance_sample *e, uint32_t shift)
{
	uint16_t port = __builtin_bswap16((uint16_t)(e->ports >> shift));

	return e->ports ? STORE_NUM(port) : STORE_NONE;
}

/* The kernel is not asked: the agent may open no socket. */
static const char *interface_of(const struct samples *s, uint32_t ifindex)
{
	unsigned i;

	for (i = 0; i < s->n_links; i++)
		if ((uint32_t)s->links[i].ifindex == ifindex)
			return s->links[i].name;
	return NULL;
}

/* @e: checked for its size alone; a service or backend may have gone since. */
static void row_add(struct samples *s, const struct balance_sample *e)
{
	const struct fleet_service *service =
		e->service ? fleet_by_stat(s->fleet, e->service) : NULL;
	const struct balance_backend *b =
		e->backend < s->maps->size.backends ? &s->maps->backends[e->backend] : NULL;
	char from[64], to[64], backend[64], frame[2 * BALANCE_SAMPLE_BYTES];
	struct store_cell c[COLUMNS] = {0};
	struct config_addr a = addr_of(e->family, &e->flow[0]), z = addr_of(e->family, &e->flow[2]);
	uint32_t n = min(e->size, (uint32_t)BALANCE_SAMPLE_BYTES);
	uint64_t row = 0;

	s->last = max(host_wall(e->at), s->last + 1);
	c[COL_TIME] = STORE_NUM(s->last);
	c[COL_SERVICE] = STORE_STRZ(service ? service->want->name : NULL);
	if (e->backend && b && b->family) {
		struct config_addr dst = addr_of(b->family, b->dst);

		c[COL_BACKEND] = STORE_STRZ(config_addr_text(&dst, backend));
	}
	c[COL_REASON] = STORE_STRZ(reason_name(e->reason));
	c[COL_VERDICT] = STORE_STRZ(reason_verdict(e->action));
	c[COL_PROTO] = STORE_NUM(e->proto);
	c[COL_SOURCE] = STORE_STRZ(config_addr_text(&a, from));
	c[COL_SOURCE_PORT] = port_of(e, 0);
	c[COL_DESTINATION] = STORE_STRZ(config_addr_text(&z, to));
	c[COL_DESTINATION_PORT] = port_of(e, 16);
	c[COL_INTERFACE] = STORE_STRZ(interface_of(s, e->ifindex));
	c[COL_SIZE] = STORE_NUM(e->size);
	hex(frame, e->data, n);
	c[COL_FRAME] = STORE_TEXT(frame, 2 * n);
	store_append(s->table, c, &row);
	if (s->env->emit)
		s->env->emit(s->env->emit_arg, "balance.packet", s->table, &row);
	store_close(s->table, &row);
}

static int on_sample(void *arg, void *data, size_t size)
{
	struct samples *s = arg;

	if (s->until && s->table && size >= sizeof(struct balance_sample))
		row_add(s, data);
	return 0;
}

int samples_open(struct samples **out, struct maps *m, const struct fleet *t,
		 const struct attach *links, unsigned n_links, struct store_table *table,
		 const struct cap_env *env, struct skep_err *err)
{
	struct samples *s = calloc(1, sizeof(*s));

	if (!s)
		return skep_fail(err, -ENOMEM, "no memory for samples");
	*s = (struct samples){.maps = m,
			      .fleet = t,
			      .links = links,
			      .n_links = n_links,
			      .table = table,
			      .env = env};
	s->ring = ring_buffer__new(bpf_map__fd(m->bpf->maps.samples), on_sample, s, NULL);
	if (!s->ring) {
		free(s);
		return skep_fail(err, -errno, "the ring of samples: %s", strerror(errno));
	}
	samples_poll(s); /* an earlier agent's */
	*out = s;
	return 0;
}

void samples_free(struct samples *s)
{
	if (!s)
		return;
	s->maps->bpf->bss->sample_every = 0;
	ring_buffer__free(s->ring);
	free(s);
}

int samples_want(struct samples *s, int64_t rate, int64_t seconds, uint64_t boot_now,
		 struct skep_err *err)
{
	if (rate < 0 || rate > SAMPLES_RATE_MAX || seconds < 1 || seconds > SAMPLES_SECONDS_MAX)
		return skep_fail(err, -EINVAL,
				 "samples: a rate of 0 to %d a second, for 1 to %d seconds",
				 SAMPLES_RATE_MAX, SAMPLES_SECONDS_MAX);
	if (rate && !s->maps->bpf->rodata->can_sample)
		return skep_fail(err, -EOPNOTSUPP, "samples of packets need Linux 5.18 or later");
	if (rate && s->until > boot_now)
		rate = max(rate, s->rate); /* of several who ask */
	else
		s->until = 0;
	s->rate = rate;
	s->until = rate ? max(s->until, boot_now + (uint64_t)seconds * 1000000000U) : 0;
	s->maps->bpf->bss->sample_every = rate ? 1000000000U / (uint64_t)rate : 0;
	return 0;
}

unsigned samples_poll(struct samples *s)
{
	int n = ring_buffer__consume(s->ring);

	return n < 0 ? 0 : (unsigned)n;
}

void samples_tick(struct samples *s, uint64_t boot_now)
{
	if (!s->until || boot_now < s->until)
		return;
	samples_poll(s);
	s->maps->bpf->bss->sample_every = 0;
	s->until = 0;
}

uint64_t samples_lost(const struct samples *s)
{
	return s->maps->bpf->bss->unsampled;
}
