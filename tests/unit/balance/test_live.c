// SPDX-License-Identifier: Apache-2.0
/* What changes between two applies, by the program itself in the kernel: health, slow start, load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/simulate.h"
#include "frame.h"
#include "host/host.h"

#define FLOWS	   300
#define FLOWS_MAX  2000
#define BACKENDS   4
#define SECOND	   1000000000ULL
#define OPTIONS(o) "metadata: {name: web}\nspec:\n  vips: ['203.0.113.10:443/tcp']\n" o

struct world {
	struct simulate *sim;
	struct simulate_result out;
	char on[FLOWS_MAX][64]; /* backend of each flow */
	unsigned n;
	uint64_t now; /* boot ns, as the fleet is told */
};

static uint64_t seed = 11;

static unsigned random_below(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(seed >> 33) % n;
}

static void services(struct world *w, const char *options, unsigned backends)
{
	cleanup(buf_done) struct buf text = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	buf_fmt(&text, "apiVersion: skep/v1\nkind: Service\n%s  backends:\n", options);
	for (unsigned i = 1; i <= backends; i++)
		buf_fmt(&text, "    - {address: 10.0.0.%u}\n", i);
	if (config_read("test", text.data, text.len, &set, NULL, &err))
		fail_msg("%s", err.text);
	if (w->sim ? simulate_apply(w->sim, &set, &err) : simulate_open(&w->sim, &set, 1500, &err))
		fail_msg("%s", err.text);
	config_done(&set);
}

static const char *packet(struct world *w, unsigned flow, const char *flags)
{
	struct words words = {.n = 0};
	struct skep_err err = {""};
	char line[128], *save, *t;
	struct frame f;

	snprintf(line, sizeof(line), "4 198.51.100.7 > 203.0.113.10 tcp %u > 443 flags=%s",
		 1000 + flow, flags);
	for (t = strtok_r(line, " ", &save); t; t = strtok_r(NULL, " ", &save))
		words.list[words.n++] = t;
	assert_true(frame_build(&f, &words));
	if (simulate_packet(w->sim, f.data, f.size, &w->out, &err))
		fail_msg("%s", err.text);
	return w->out.backend;
}

static void begin(struct world *w, unsigned n)
{
	for (; n--; w->n++) {
		snprintf(w->on[w->n], 64, "%s", packet(w, w->n, "S"));
		assert_string_equal(packet(w, w->n, "A"), w->on[w->n]);
	}
}

static struct world *world_open(const char *options, unsigned backends)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->now = host_boot_now();
	services(w, options, backends);
	return w;
}

static void world_close(struct world *w)
{
	simulate_free(w->sim);
	free(w);
}

static struct config_addr address(unsigned backend)
{
	struct config_addr a = {.family = 4, .bytes = {10, 0, 0, (uint8_t)backend}};

	return a;
}

static unsigned on(const char *text)
{
	return (unsigned)atoi(strrchr(text, '.') + 1);
}

static void backend_is(struct world *w, unsigned backend, bool up)
{
	struct config_addr a = address(backend);

	fleet_health(simulate_fleet(w->sim), "web", &a, up, w->now);
}

static const struct fleet_backend *known(struct world *w, unsigned backend)
{
	struct config_addr a = address(backend);

	return fleet_backend_find(fleet_find(simulate_fleet(w->sim), "web"), &a);
}

static void flapping_moves_no_flow_of_the_living(void **state maybe_unused)
{
	struct world *w = world_open(OPTIONS("  health: {type: tcp}\n"), BACKENDS);
	bool up[BACKENDS + 1] = {false, true, true, true, true};

	begin(w, FLOWS);
	for (unsigned turn = 0; turn < 60; turn++) {
		unsigned b = 1 + random_below(2); /* 3 and 4 live for ever */

		up[b] = !up[b];
		backend_is(w, b, up[b]);
		if (turn % 3 == 0)
			fleet_tick(simulate_fleet(w->sim), w->now += SECOND);
		for (unsigned i = 0; i < FLOWS; i++) {
			const char *now = packet(w, i, "A");

			assert_true(up[on(now)]);
			if (on(w->on[i]) > 2)
				assert_string_equal(now, w->on[i]);
		}
		for (unsigned i = 0; i < 50; i++)
			assert_true(up[on(packet(w, 30000 + turn * 50 + i, "S"))]);
		/* who was moved off a dead one stays where it went while that lives */
		for (unsigned i = 0; i < FLOWS; i++)
			snprintf(w->on[i], 64, "%s", packet(w, i, "A"));
	}
	world_close(w);
}

static void with_too_few_up_all_are_used(void **state maybe_unused)
{
	struct world *w =
		world_open(OPTIONS("  health: {type: tcp, panicPercent: 50}\n"), BACKENDS);
	bool used[BACKENDS + 1] = {false};

	backend_is(w, 1, false);
	backend_is(w, 2, false);
	for (unsigned i = 0; i < 100; i++)
		assert_true(on(packet(w, i, "S")) > 2);
	backend_is(w, 3, false);
	for (unsigned i = 0; i < 200; i++)
		used[on(packet(w, 1000 + i, "S"))] = true;
	for (unsigned b = 1; b <= BACKENDS; b++)
		assert_true(used[b]);
	world_close(w);
}

static void a_drain_lasts_through_applies_and_ends_when_told(void **state maybe_unused)
{
	struct world *w = world_open(OPTIONS(""), BACKENDS);
	struct config_addr a = address(1);
	struct skep_err err = {""};

	begin(w, FLOWS);
	assert_int_equal(fleet_drain(simulate_fleet(w->sim), "web", &a, true, 0, w->now, &err), 0);
	services(w, OPTIONS("  hash: flow\n  drainSeconds: 7\n"), BACKENDS);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_string_equal(packet(w, i, "A"), w->on[i]);
	for (unsigned i = 0; i < 100; i++)
		assert_true(on(packet(w, 5000 + i, "S")) != 1);
	assert_int_equal(fleet_drain(simulate_fleet(w->sim), "web", &a, true, w->now + 5 * SECOND,
				     w->now, &err),
			 0);
	fleet_tick(simulate_fleet(w->sim), w->now += 6 * SECOND);
	for (unsigned i = 0; i < FLOWS; i++) {
		const char *now = packet(w, i, "A");

		assert_true(on(now) != 1);
		if (on(w->on[i]) != 1)
			assert_string_equal(now, w->on[i]);
	}
	world_close(w);
}

static void a_backend_that_came_up_starts_slowly(void **state maybe_unused)
{
	struct world *w =
		world_open(OPTIONS("  slowStartSeconds: 60\n  health: {type: tcp}\n"), BACKENDS);
	unsigned early = 0, late = 0;

	assert_int_equal(known(w, 1)->factor, FLEET_FACTOR_ONE);
	backend_is(w, 1, false);
	backend_is(w, 1, true);
	fleet_tick(simulate_fleet(w->sim), w->now += 3 * SECOND);
	for (unsigned i = 0; i < 400; i++)
		early += on(packet(w, i, "S")) == 1;
	for (unsigned s = 0; s < 70; s++)
		fleet_tick(simulate_fleet(w->sim), w->now += SECOND);
	assert_int_equal(known(w, 1)->factor, FLEET_FACTOR_ONE);
	for (unsigned i = 0; i < 400; i++)
		late += on(packet(w, 20000 + i, "S")) == 1;
	assert_true(early < 30);
	assert_in_range(late, 70, 130);
	world_close(w);
}

static void connections_of_backends_meet(void **state maybe_unused)
{
	struct world *w = world_open(OPTIONS("  algorithm: leastConnections\n"), 2);
	unsigned count[BACKENDS + 1] = {0}, renewed = 0;
	uint32_t ring = 0;

	begin(w, 400);
	services(w, OPTIONS("  algorithm: leastConnections\n"), 3);
	for (unsigned step = 0; step < 40; step++) {
		begin(w, 30);
		fleet_tick(simulate_fleet(w->sim), w->now += 5 * SECOND / 2);
		renewed += fleet_find(simulate_fleet(w->sim), "web")->ring != ring;
		ring = fleet_find(simulate_fleet(w->sim), "web")->ring;
	}
	for (unsigned i = 0; i < w->n; i++) {
		assert_string_equal(packet(w, i, "A"), w->on[i]); /* none has moved */
		count[on(w->on[i])]++;
	}
	print_message("# %u, %u and %u connections; the ring was renewed %u times in 40 looks\n",
		      count[1], count[2], count[3], renewed);
	for (unsigned b = 1; b <= 3; b++)
		assert_in_range(count[b], w->n / 3 * 88 / 100, w->n / 3 * 112 / 100);
	assert_true(renewed < 35);
	world_close(w);
}

#define PASSIVE OPTIONS("  health: {passivePercent: 30, intervalSeconds: 1, passiveSeconds: 5}\n")

static char told[256]; /* "down 2 up 2 " */

static void on_passive(void *arg maybe_unused, const char *service, const struct config_addr *a,
		       bool up, const char *reason)
{
	size_t n = strlen(told);

	assert_string_equal(service, "web");
	assert_true(up || strstr(reason, "SYNs were not answered"));
	snprintf(told + n, sizeof(told) - n, "%s %u ", up ? "up" : "down", a->bytes[3]);
}

static void passive(struct world *w, uint64_t seconds)
{
	w->now += seconds * SECOND;
	fleet_passive(simulate_fleet(w->sim), w->now, on_passive, NULL);
}

/* So many SYNs, of which those to backends of @mute come again twice. Return: backends that got some. */
static unsigned syns(struct world *w, unsigned from, unsigned n, unsigned mute)
{
	unsigned got = 0, b, i;

	for (i = 0; i < n; i++) {
		b = on(packet(w, from + i, "S"));
		got |= 1U << b;
		if (mute >> b & 1) {
			packet(w, from + i, "S");
			packet(w, from + i, "S");
		}
	}
	return got;
}

static void
who_does_not_answer_is_ejected_keeps_its_flows_and_is_tried_again(void **state maybe_unused)
{
	struct world *w = world_open(PASSIVE, BACKENDS);

	told[0] = '\0';
	begin(w, FLOWS);
	passive(w, 2); /* the first look begins */
	assert_int_equal(syns(w, 3000, 200, 1 << 2), 0x1e);
	passive(w, 1);
	assert_string_equal(told, "down 2 ");
	assert_int_equal(syns(w, 4000, 200, 0), 0x1a);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_string_equal(packet(w, i, "A"), w->on[i]);
	passive(w, 4);
	assert_string_equal(told, "down 2 ");
	passive(w, 1);
	assert_string_equal(told, "down 2 up 2 ");
	assert_int_equal(syns(w, 5000, 200, 0), 0x1e);
	for (unsigned i = 0; i < FLOWS; i++)
		assert_string_equal(packet(w, i, "A"), w->on[i]);
	/* a look at what is well, and one at too few */
	passive(w, 2);
	syns(w, 6000, 200, 0);
	passive(w, 1);
	syns(w, 6300, 8, 0x1e);
	passive(w, 1);
	assert_string_equal(told, "down 2 up 2 ");
	world_close(w);
}

static void at_most_half_are_ejected_at_once(void **state maybe_unused)
{
	struct world *w = world_open(PASSIVE, BACKENDS);

	told[0] = '\0';
	passive(w, 2);
	syns(w, 0, 400, 0x1e);
	passive(w, 1);
	assert_string_equal(told, "down 1 down 2 ");
	assert_int_equal(syns(w, 1000, 200, 0), 0x18);
	world_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flapping_moves_no_flow_of_the_living),
		cmocka_unit_test(with_too_few_up_all_are_used),
		cmocka_unit_test(a_drain_lasts_through_applies_and_ends_when_told),
		cmocka_unit_test(a_backend_that_came_up_starts_slowly),
		cmocka_unit_test(connections_of_backends_meet),
		cmocka_unit_test(who_does_not_answer_is_ejected_keeps_its_flows_and_is_tried_again),
		cmocka_unit_test(at_most_half_are_ejected_at_once),
	};

	if (geteuid()) {
		print_message("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
