// SPDX-License-Identifier: Apache-2.0
/* Live flows through changes, floods and a full table, by the program itself in the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include "balance/simulate.h"
#include "frame.h"
#include "host/host.h"

#define FLOWS	 300
#define BACKENDS 12

struct world {
	struct simulate *sim;
	unsigned weight[BACKENDS + 1]; /* by last byte of the address; 0: drains */
	bool listed[BACKENDS + 1];
	char on[FLOWS][64]; /* backend of each flow, "" none */
	unsigned port[FLOWS];
	struct simulate_result out;
};

static uint64_t seed = 7;

static unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static void services(struct world *w)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_str(&text, "apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  vips: "
		       "['203.0.113.10:443/tcp']\n  backends:\n");
	for (unsigned i = 1; i <= BACKENDS; i++)
		if (w->listed[i])
			buf_fmt(&text, "    - {address: 10.0.0.%u, weight: %u}\n", i, w->weight[i]);
	assert_int_equal(config_read("test", text.data, text.len, &set, NULL, &err), 0);
	if (w->sim ? simulate_apply(w->sim, &set, &err) : simulate_open(&w->sim, &set, 1500, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

static const char *packet(struct world *w, unsigned port, const char *flags)
{
	char line[128], *save, *t;
	struct words words = {.n = 0};
	struct skep_err err = {""};
	struct frame f;

	snprintf(line, sizeof(line), "4 198.51.100.%u > 203.0.113.10 tcp %u > 443 flags=%s",
		 1 + port / 60000, 1 + port % 60000, flags);
	for (t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		words.list[words.n++] = t;
	assert_true(frame_build(&f, &words));
	if (simulate_packet(w->sim, f.data, f.size, &w->out, &err))
		fail_msg("%s", err.text);
	return w->out.backend;
}

static void begin(struct world *w, unsigned flow)
{
	w->port[flow] = random_below(600000);
	snprintf(w->on[flow], 64, "%s", packet(w, w->port[flow], "S"));
	assert_string_equal(packet(w, w->port[flow], "A"), w->on[flow]);
	assert_true(w->listed[atoi(strrchr(w->on[flow], '.') + 1)]);
	assert_true(w->weight[atoi(strrchr(w->on[flow], '.') + 1)] > 0);
}

static struct world *world_open(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	for (unsigned i = 1; i <= 4; i++) {
		w->listed[i] = true;
		w->weight[i] = 1;
	}
	services(w);
	for (unsigned i = 0; i < FLOWS; i++)
		begin(w, i);
	return w;
}

static void world_close(struct world *w)
{
	simulate_free(w->sim);
	free(w);
}

static void all_are_where_they_were(struct world *w)
{
	for (unsigned i = 0; i < FLOWS; i++)
		assert_string_equal(packet(w, w->port[i], "A"), w->on[i]);
}

static void change(struct world *w)
{
	unsigned i = 1 + random_below(BACKENDS), alive = 0;

	w->listed[i] = random_below(3) != 0;
	w->weight[i] = random_below(4) ? 1 + random_below(5) : 0;
	for (unsigned k = 1; k <= BACKENDS; k++)
		alive += w->listed[k] && w->weight[k];
	if (!alive) {
		w->listed[1] = true;
		w->weight[1] = 1;
	}
	services(w);
}

static void no_flow_moves_whatever_changes(void **state maybe_unused)
{
	struct world *w = world_open();

	for (unsigned round = 0; round < 60; round++) {
		change(w);
		all_are_where_they_were(w);
		for (unsigned i = 0; i < 15; i++)
			begin(w, random_below(FLOWS));
	}
	all_are_where_they_were(w);
	world_close(w);
}

/* 100,000 SYNs on a table of 32,768: none of the living is moved, nor any that begin meanwhile. */
static void a_flood_of_syns_moves_nobody(void **state maybe_unused)
{
	struct world *w = world_open();

	w->listed[5] = w->listed[6] = true;
	w->weight[5] = w->weight[6] = 3;
	w->weight[1] = 0;
	services(w);
	for (unsigned i = 0; i < FLOWS / 2; i++)
		begin(w, i);
	for (unsigned i = 0; i < 100000; i++) {
		packet(w, 600000 + i * 5, "S");
		if (i % 1000 == 0) {
			unsigned flow = i / 1000;

			/* where the table is full a new flow may go to the backend that drains */
			w->port[flow] = 300000 + i;
			snprintf(w->on[flow], 64, "%s", packet(w, w->port[flow], "S"));
			assert_string_equal(packet(w, w->port[flow], "A"), w->on[flow]);
		}
	}
	assert_true(simulate_maps(w->sim)->state->full > 1000);
	all_are_where_they_were(w);
	world_close(w);
}

static void flows_keep_their_backend_while_slots_settle(void **state maybe_unused)
{
	struct world *w = world_open();
	struct fleet *f = simulate_fleet(w->sim);
	uint64_t now = host_boot_now();

	w->weight[1] = 0;
	services(w);
	all_are_where_they_were(w); /* each has an entry now */
	fleet_tick(f, now);
	assert_true(fleet_first(f)->look);
	assert_false(fleet_first(f)->merged);
	fleet_tick(f, now + 3700 * 1000000000ULL);
	assert_true(fleet_first(f)->merged);
	all_are_where_they_were(w);
	for (unsigned i = 0; i < 50; i++)
		begin(w, i);
	all_are_where_they_were(w);
	world_close(w);
}

static void a_state_that_does_not_fit_leaves_the_old_one(void **state maybe_unused)
{
	struct world *w = world_open();
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};
	uint32_t active = simulate_maps(w->sim)->state->active;

	for (unsigned i = 0; i < 5000; i++)
		buf_fmt(&text,
			"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: s%u}\nspec:\n  "
			"vips: ['10.9.%u.%u:80/tcp']\n  backends: [{address: 10.0.0.1}]\n",
			i, i >> 8, i & 255);
	assert_int_equal(config_read("test", text.data, text.len, &set, NULL, &err), 0);
	assert_int_equal(simulate_apply(w->sim, &set, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "no room"));
	assert_int_equal(simulate_maps(w->sim)->state->active, active);
	all_are_where_they_were(w);
	set.n = 3000; /* the places were given back */
	assert_int_equal(simulate_apply(w->sim, &set, &err), 0);
	packet(w, 5, "S");
	assert_string_equal(w->out.reason, "foreign");
	set.n = 5000;
	config_done(&set);
	services(w);
	begin(w, 0);
	world_close(w);
}

static void removed_backends_give_their_places_back(void **state maybe_unused)
{
	struct world *w = world_open();
	struct fleet *f = simulate_fleet(w->sim);
	struct config_set none = {0};
	struct skep_err err;

	for (unsigned i = 0; i < 3000; i++) { /* more than there are places for backends */
		assert_int_equal(simulate_apply(w->sim, &none, &err), 0);
		if (i % 500 == 0)
			for (unsigned k = 1; k < 4; k++)
				fleet_tick(f, (i * 4ULL + k) * 1000000000);
		services(w);
	}
	begin(w, 0);
	world_close(w);
}

static void a_syn_that_comes_again_is_told_of_its_backend(void **state maybe_unused)
{
	struct world *w = world_open();
	struct maps *m = simulate_maps(w->sim);
	uint64_t before = 0, after = 0;

	for (uint32_t id = 1; id < 64; id++)
		before += maps_again(m, id).syns;
	packet(w, 700, "S");
	packet(w, 700, "A");
	packet(w, 701, "S");
	packet(w, 700, "S");
	for (uint32_t id = 1; id < 64; id++)
		after += maps_again(m, id).syns;
	assert_int_equal(after - before, 1);
	world_close(w);
}

static void the_verifier_looks_at_100000_instructions_at_most(void **state maybe_unused)
{
	struct world *w = world_open();
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(simulate_maps(w->sim)->prog, &info, &size), 0);
	assert_in_range(info.verified_insns, 1, 100000);
	print_message("# %u instructions processed\n", info.verified_insns);
	world_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_flow_moves_whatever_changes),
		cmocka_unit_test(a_flood_of_syns_moves_nobody),
		cmocka_unit_test(flows_keep_their_backend_while_slots_settle),
		cmocka_unit_test(a_state_that_does_not_fit_leaves_the_old_one),
		cmocka_unit_test(removed_backends_give_their_places_back),
		cmocka_unit_test(a_syn_that_comes_again_is_told_of_its_backend),
		cmocka_unit_test(the_verifier_looks_at_100000_instructions_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
