// SPDX-License-Identifier: Apache-2.0
#include "balance/simulate.h"

#include <bpf/bpf.h>

#include "balance/reason.h"
#include "host/host.h"

struct simulate {
	struct maps maps;
	struct fleet *fleet;
};

int simulate_open(struct simulate **out, const struct config_set *set, unsigned mtu,
		  struct skep_err *err)
{
	static const struct maps_size size = {4096, 4096, 1 << 19, 16384, 12};
	struct fleet_way way = {
		.hop_flags = BALANCE_HOP_FIXED,
		.gateway = {2, 0, 0, 0, 0, 2},
		.mtu = (uint16_t)mtu,
		.flow_s = 3600,
	};
	struct simulate *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	config_addr_read("192.0.2.1", 9, &way.source4);
	config_addr_read("2001:db8::1", 11, &way.source6);
	rc = maps_open(&s->maps, &size, NULL, true, err);
	if (!rc)
		rc = fleet_open(&s->fleet, &s->maps, &way, err);
	if (!rc)
		rc = simulate_apply(s, set, err);
	if (rc)
		simulate_free(s);
	else
		*out = s;
	return rc;
}

void simulate_free(struct simulate *s)
{
	if (!s)
		return;
	fleet_free(s->fleet);
	maps_done(&s->maps);
	free(s);
}

int simulate_apply(struct simulate *s, const struct config_set *set, struct skep_err *err)
{
	return fleet_apply(s->fleet, set, host_boot_now(), false, NULL, NULL, err);
}

struct fleet *simulate_fleet(struct simulate *s)
{
	return s->fleet;
}

struct maps *simulate_maps(struct simulate *s)
{
	return &s->maps;
}

static void backend_text(const struct simulate *s, uint32_t id, char *out)
{
	const struct balance_backend *r = &s->maps.backends[id];
	struct config_addr a = {.family = r->family};

	if (!id || id >= s->maps.size.backends)
		return;
	memcpy(a.bytes, r->dst, 16);
	config_addr_text(&a, out);
}

int simulate_packet(struct simulate *s, const void *frame, size_t size, struct simulate_result *out,
		    struct skep_err *err)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (uint32_t)size,
		    .data_out = out->frame, .data_size_out = sizeof(out->frame));
	const struct fleet_service *service;
	struct balance_told told = {0};
	uint32_t zero = 0;

	if (size < 14 || size > sizeof(out->frame) - 256)
		return skep_fail(err, -EMSGSIZE, "a frame of %zu bytes: expected 14..%zu", size,
				 sizeof(out->frame) - 256);
	if (bpf_prog_test_run_opts(s->maps.prog, &o))
		return skep_fail(err, -errno, "BPF_PROG_TEST_RUN: %s", strerror(errno));
	bpf_map_lookup_elem(s->maps.told, &zero, &told);
	out->verdict = reason_verdict(o.retval);
	out->reason = reason_name(told.reason);
	service = told.service ? fleet_by_stat(s->fleet, told.service) : NULL;
	out->service = service ? service->want->name : "";
	out->backend[0] = '\0';
	if (told.backend)
		backend_text(s, told.backend, out->backend);
	out->mode = s->maps.backends[told.backend].mode;
	out->entry = told.entry;
	out->ns = o.duration;
	out->size = o.data_size_out;
	return 0;
}
