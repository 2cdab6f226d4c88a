// SPDX-License-Identifier: Apache-2.0
/*
 * Each flow keeps its backend: a model beside the program itself in the kernel. Backends come and go,
 * agents restart, floods fill a small table, hours pass; all by chance, from fixed seeds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include "balance/inside.h"
#include "frame.h"
#include "host/host.h"

#define FLOWS	 60
#define BACKENDS 6
#define LOG	 6 /* 512 entries */
#define FLOW_S	 3600
#define SEEDS	 2
#define UNIT_NS	 (1ULL << BALANCE_UNIT)
#define IDLE	 800 /* units; below FLOW_S */

struct flow {
	unsigned port, idle;
	struct config_addr to;
	bool nat;
};

struct world {
	struct maps maps;
	struct fleet *fleet;
	struct fleet_way way;
	const char *modes[2]; /* chance takes one each time */
	struct flow flow[FLOWS];
	unsigned ports;
	uint64_t now; /* boot ns, as the fleet is told */
	uint64_t seed;
};

static unsigned below(struct world *w, unsigned n)
{
	w->seed = w->seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(w->seed >> 33) % n;
}

static void apply(struct world *w, const char *mode, const unsigned weight[BACKENDS],
		  unsigned listed)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_fmt(&text,
		"apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n"
		"  drainSeconds: 86400\n  mode: %s\n  vips: ['203.0.113.10:443/tcp']\n  backends:\n",
		mode);
	for (unsigned i = 0; i < BACKENDS; i++)
		if (listed >> i & 1)
			buf_fmt(&text, "    - {address: 10.0.0.%u, weight: %u}\n", i + 1,
				weight[i]);
	assert_int_equal(config_read("test", text.data, text.len, &set, NULL, &err), 0);
	if (fleet_apply(w->fleet, &set, w->now, false, NULL, NULL, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

static void apply_all(struct world *w, const char *mode, unsigned listed)
{
	static const unsigned one[BACKENDS] = {1, 1, 1, 1, 1, 1};

	apply(w, mode, one, listed);
}

static void agent_starts(struct world *w)
{
	struct skep_err err = {""};

	fleet_free(w->fleet);
	w->fleet = NULL;
	if (fleet_open(&w->fleet, &w->maps, &w->way, &err))
		fail_msg("%s", err.text);
	w->maps.adopted = true;
}

static struct world *world_open(uint64_t seed, const char *one, const char *other)
{
	static const struct maps_size size = {.services = 64,
					      .backends = 1024,
					      .slots = 1 << 16,
					      .vips = 64,
					      .bucket_log = LOG,
					      .nat_log = 12};
	struct world *w = calloc(1, sizeof(*w));
	struct skep_err err = {""};

	assert_non_null(w);
	w->seed = seed;
	w->modes[0] = one;
	w->modes[1] = other;
	w->now = host_boot_now();
	w->way = (struct fleet_way){.hop_flags = BALANCE_HOP_FIXED,
				    .gateway = {2, 0, 0, 0, 0, 2},
				    .mtu = 1500,
				    .flow_s = FLOW_S};
	config_addr_read("192.0.2.1", 9, &w->way.source4);
	if (maps_open(&w->maps, &size, NULL, true, &err))
		fail_msg("%s", err.text);
	agent_starts(w);
	return w;
}

static void world_close(struct world *w)
{
	fleet_free(w->fleet);
	maps_done(&w->maps);
	free(w);
}

/* Where a packet goes; id 0: nowhere. */
static uint32_t packet(struct world *w, unsigned port, const char *flags)
{
	struct words words = {.n = 0};
	struct balance_told told = {0};
	char line[128], *save, *t;
	uint8_t out[2048];
	uint32_t zero = 0;
	struct frame f;

	snprintf(line, sizeof(line), "4 198.51.%u.7 > 203.0.113.10 tcp %u > 443 flags=%s",
		 port / 60000, 1 + port % 60000, flags);
	for (t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		words.list[words.n++] = t;
	assert_true(frame_build(&f, &words));
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f.data, .data_size_in = (uint32_t)f.size,
		    .data_out = out, .data_size_out = sizeof(out));
	assert_int_equal(bpf_prog_test_run_opts(w->maps.prog, &o), 0);
	assert_int_equal(bpf_map_lookup_elem(w->maps.told, &zero, &told), 0);
	return told.reason == BALANCE_FORWARDED ? told.backend : 0;
}

static void begin(struct world *w, struct flow *f)
{
	const struct balance_backend *b;
	unsigned tries = 100; /* a translated one may be refused (A2) */

	do {
		f->port = w->ports++ % 7000000;
		b = &w->maps.backends[packet(w, f->port, "S")];
	} while (!b->family && --tries);
	assert_int_equal(b->family, 4);
	f->idle = 0;
	f->to = (struct config_addr){.family = 4};
	memcpy(f->to.bytes, b->dst, 4);
	f->nat = b->mode == BALANCE_NAT;
}

static void goes_on(struct world *w, struct flow *f)
{
	const struct balance_backend *b = &w->maps.backends[packet(w, f->port, "A")];

	f->idle = 0;
	assert_memory_equal(b->dst, f->to.bytes, 4);
	assert_int_equal(b->mode == BALANCE_NAT, f->nat);
}

static void all_begin(struct world *w)
{
	for (unsigned i = 0; i < FLOWS; i++) {
		begin(w, &w->flow[i]);
		goes_on(w, &w->flow[i]);
	}
}

static void all_go_on(struct world *w)
{
	for (unsigned i = 0; i < FLOWS; i++)
		goes_on(w, &w->flow[i]);
}

static void flood(struct world *w, unsigned n)
{
	while (n--)
		packet(w, w->ports++ % 7000000, "S");
}

/* So much time passes: entries are older, and the agent's clock is further. */
static void passes(struct world *w, unsigned units)
{
	for (unsigned i = 0; i < BALANCE_WAYS << LOG; i++) {
		__u64 *e = &w->maps.flows[i / BALANCE_WAYS].entry[i % BALANCE_WAYS];

		if (BALANCE_ENTRY_BACKEND(*e))
			*e = balance_entry(BALANCE_ENTRY_TAG(*e), BALANCE_ENTRY_BACKEND(*e),
					   BALANCE_ENTRY_TIME(*e) - units,
					   !!BALANCE_ENTRY_CONFIRMED(*e), *e & 1);
	}
	for (unsigned i = 0; i < FLOWS; i++)
		w->flow[i].idle += units;
	w->now += units * UNIT_NS;
	fleet_tick(w->fleet, w->now);
	fleet_tick(w->fleet, w->now += 1000000000);
}

/* Entries as packets leave them that come while the sweep is at work and the clock goes on a unit. */
static void a_sweep_keeps_what_is_used_while_it_runs(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");

	apply_all(w, "ipip", 1);
	apply_all(w, "ipip", 6);
	all_begin(w);
	for (unsigned i = 0; i < BALANCE_WAYS << LOG; i++) {
		__u64 *e = &w->maps.flows[i / BALANCE_WAYS].entry[i % BALANCE_WAYS];

		if (*e)
			*e = balance_entry(BALANCE_ENTRY_TAG(*e), BALANCE_ENTRY_BACKEND(*e),
					   fleet_units() + 2, 1, *e & 1);
	}
	fleet_sweep(w->fleet, w->now);
	flood(w, 4000);
	all_go_on(w);
	world_close(w);
}

static void a_change_of_mode_moves_no_flow(void **state maybe_unused)
{
	struct world *w = world_open(1, "nat", "ipip");

	apply_all(w, "nat", 7);
	all_begin(w);
	apply_all(w, "ipip", 7);
	all_go_on(w);
	agent_starts(w);
	all_go_on(w);
	for (unsigned i = 0; i < FLOWS / 2; i++)
		begin(w, &w->flow[i]);
	apply_all(w, "nat", 6);
	all_go_on(w);
	apply_all(w, "ipip", 15);
	all_go_on(w);
	world_close(w);
}

/* A backend that drains in mode nat gets flows where the table is full (B3), and is listed again. */
static void a_translated_flow_stays_when_its_backend_is_listed_otherwise(void **state maybe_unused)
{
	struct world *w = world_open(1, "nat", "ipip");

	apply_all(w, "nat", 7);
	apply_all(w, "ipip", 3);
	flood(w, 4000);
	all_begin(w);
	apply_all(w, "ipip", 7);
	all_go_on(w);
	world_close(w);
}

/* Long after boot: the next agent does not know when the ring changed. */
static void slots_do_not_settle_when_an_agent_starts(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");

	w->now += 2 * FLOW_S * 1000000000ULL;
	apply_all(w, "ipip", 3);
	all_begin(w);
	apply_all(w, "ipip", 15);
	agent_starts(w);
	passes(w, 1);
	all_go_on(w);
	world_close(w);
}

static void slots_do_not_settle_soon_after_a_full_table(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");

	apply_all(w, "ipip", 3);
	all_begin(w);
	apply_all(w, "ipip", 15);
	passes(w, IDLE);
	flood(w, 4000);
	all_go_on(w);
	passes(w, 20);
	passes(w, 20);
	all_go_on(w);
	world_close(w);
}

/* One packet now and then: an entry that waits for its second packet is not forgotten before. */
static void slow_flows_stay_when_slots_settle(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");

	apply_all(w, "ipip", 3);
	all_begin(w);
	apply_all(w, "ipip", 15);
	passes(w, 0);
	passes(w, IDLE);
	all_go_on(w);
	passes(w, 30);
	passes(w, 30);
	assert_true(fleet_first(w->fleet)->merged);
	all_go_on(w);
	world_close(w);
}

/* Few SYNs for long: there is always room, made of entries that wait for their second packet. */
static void a_trickle_of_syns_moves_nobody(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");

	apply_all(w, "ipip", 3);
	all_begin(w);
	apply_all(w, "ipip", 15);
	passes(w, 0);
	passes(w, IDLE - 140);
	all_go_on(w);
	for (unsigned i = 0; i < 60; i++) {
		flood(w, 15);
		passes(w, 3);
	}
	assert_int_equal(w->maps.state->full, 0);
	passes(w, 5);
	all_go_on(w);
	world_close(w);
}

static void change(struct world *w)
{
	unsigned weight[BACKENDS], listed = 1 + below(w, (1 << BACKENDS) - 1), i;

	for (i = 0; i < BACKENDS; i++)
		weight[i] = below(w, 4) ? 1 + below(w, 3) : 0;
	while (!(listed >> i & 1))
		i = below(w, BACKENDS);
	weight[i] = 1;
	apply(w, w->modes[below(w, 2)], weight, listed);
}

static void something_happens(struct world *w, bool hours)
{
	switch (below(w, 6)) {
	case 0:
	case 1:
		change(w);
		break;
	case 2:
		agent_starts(w);
		break;
	case 3:
		flood(w, below(w, 800));
		break;
	default:
		passes(w, hours ? below(w, below(w, 4) ? 5 : 400) : 0);
	}
}

static void history(uint64_t seed, const char *one, const char *other, bool hours)
{
	struct world *w = world_open(seed, one, other);

	change(w);
	all_begin(w);
	for (unsigned round = 0; round < 150; round++) {
		something_happens(w, hours);
		for (unsigned i = 0; i < FLOWS; i++) {
			struct flow *f = &w->flow[i];

			if (f->idle < IDLE && below(w, 10)) {
				if (below(w, 2))
					goes_on(w, f);
				continue;
			}
			begin(w, f);
			goes_on(w, f);
		}
	}
	world_close(w);
}

static void no_flow_moves_whatever_happens(void **state maybe_unused)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		history(seed, "ipip", "gue", true);
}

static void no_flow_moves_when_modes_change_too(void **state maybe_unused)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		history(seed, "ipip", "nat", false);
}

static void apply_text(struct world *w, const char *text)
{
	struct config_set set = {0};
	struct skep_err err = {""};

	if (config_read("test", text, strlen(text), &set, NULL, &err) ||
	    fleet_apply(w->fleet, &set, w->now, false, NULL, NULL, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

#define SERVICE(name, vips, backend)                                                          \
	"apiVersion: skep/v1\nkind: Service\nmetadata: {name: " name "}\nspec: {vips: [" vips \
	"], backends: [{address: " backend "}]}\n"

static void a_service_may_be_split_while_no_agent_runs(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");
	uint32_t one, other;

	apply_text(w, SERVICE("web", "'203.0.113.10:443/tcp', '203.0.113.11:443/tcp'", "10.0.0.1"));
	one = packet(w, 1000, "S");
	assert_true(one);
	agent_starts(w);
	apply_text(w, SERVICE("web", "'203.0.113.11:443/tcp'", "10.0.0.1") "---\n" SERVICE(
			      "more", "'203.0.113.10:443/tcp'", "10.0.0.2"));
	other = packet(w, 2000, "S");
	assert_true(other && other != one);
	assert_int_equal(w->maps.backends[other].dst[0], htonl(0x0a000002));
	agent_starts(w);
	apply_text(w, SERVICE("web", "'203.0.113.10:443/tcp'", "10.0.0.2"));
	world_close(w);
}

static unsigned entries(int map)
{
	struct balance_key4 k, *last = NULL;
	unsigned n = 0;

	while (!bpf_map_get_next_key(map, last, &k)) {
		last = &k;
		n++;
	}
	return n;
}

/* A batch of entries that ends half-way. */
static void addresses_that_do_not_fit_leave_nothing_behind(void **state maybe_unused)
{
	struct world *w = world_open(1, "ipip", "ipip");
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};
	uint32_t one;

	apply_text(w, SERVICE("web", "'203.0.113.10:443/tcp'", "10.0.0.1"));
	one = packet(w, 1000, "S");
	for (unsigned i = 0; i < 50; i++) /* two entries each, of 64 */
		buf_fmt(&text, SERVICE("s%u", "'198.18.0.%u:443/tcp'", "10.0.0.1") "---\n", i, i);
	buf_str(&text, SERVICE("web", "'203.0.113.10:443/tcp'", "10.0.0.2"));
	assert_int_equal(config_read("test", text.data, text.len, &set, NULL, &err), 0);
	assert_int_equal(fleet_apply(w->fleet, &set, w->now, false, NULL, NULL, &err), -ENOSPC);
	assert_int_equal(entries(w->maps.vip4), 2);
	assert_int_equal(packet(w, 2000, "S"), one);
	apply_text(w, SERVICE("web", "'203.0.113.10:443/tcp'", "10.0.0.1") "---\n" SERVICE(
			      "more", "'203.0.113.11:443/tcp'", "10.0.0.1"));
	assert_int_equal(packet(w, 3000, "S"), one);
	assert_int_equal(entries(w->maps.vip4), 4);
	config_done(&set);
	world_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sweep_keeps_what_is_used_while_it_runs),
		cmocka_unit_test(a_change_of_mode_moves_no_flow),
		cmocka_unit_test(a_translated_flow_stays_when_its_backend_is_listed_otherwise),
		cmocka_unit_test(slots_do_not_settle_when_an_agent_starts),
		cmocka_unit_test(slots_do_not_settle_soon_after_a_full_table),
		cmocka_unit_test(slow_flows_stay_when_slots_settle),
		cmocka_unit_test(a_service_may_be_split_while_no_agent_runs),
		cmocka_unit_test(addresses_that_do_not_fit_leave_nothing_behind),
		cmocka_unit_test(a_trickle_of_syns_moves_nobody),
		cmocka_unit_test(no_flow_moves_whatever_happens),
		cmocka_unit_test(no_flow_moves_when_modes_change_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
