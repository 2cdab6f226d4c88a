// SPDX-License-Identifier: Apache-2.0
/* Services as YAML: what is read, and where and why what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/balance.h"
#include "balance/config.h"

#define HEAD(name) "apiVersion: skep/v1\nkind: Service\nmetadata: {name: " name "}\nspec:\n"

static int read_text(const char *text, struct config_set *set, struct skep_err *err)
{
	err->text[0] = '\0';
	return config_read("f.yaml", text, strlen(text), set, NULL, err);
}

static void refused(const char *text, const char *why)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(read_text(text, &set, &err), -EINVAL);
	if (!strstr(err.text, why))
		fail_msg("'%s' is not in '%s'", why, err.text);
	assert_null(set.services);
}

static void a_service_is_read_with_all_it_has(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;
	char text[64];

	assert_int_equal(
		read_text(
			HEAD("web") "  vips: ['203.0.113.10:443/tcp', \"[2001:db8::1]:8000-8100/udp\", "
				    "'203.0.113.11:*/tcp']\n  backends:\n    - {address: 10.0.0.1, "
				    "weight: 7}\n    - address: fd00::2\n  hash: source\n"
				    "  drainSeconds: 60\n",
			&set, &err),
		0);
	assert_int_equal(set.n, 1);
	assert_string_equal(set.services[0]->name, "web");
	assert_int_equal(set.services[0]->n_vips, 3);
	assert_string_equal(config_vip_text(&set.services[0]->vips[0], text),
			    "203.0.113.10:443/tcp");
	assert_string_equal(config_vip_text(&set.services[0]->vips[1], text),
			    "[2001:db8::1]:8000-8100/udp");
	assert_string_equal(config_vip_text(&set.services[0]->vips[2], text), "203.0.113.11:*/tcp");
	assert_int_equal(set.services[0]->n_backends, 2);
	assert_int_equal(set.services[0]->backends[0].weight, 7);
	assert_int_equal(set.services[0]->backends[1].weight, 1);
	assert_string_equal(config_addr_text(&set.services[0]->backends[1].addr, text), "fd00::2");
	assert_int_equal(set.services[0]->opt->hash, 1);
	assert_int_equal(set.services[0]->opt->drain_s, 60);
	config_done(&set);
}

static void health_of_an_address_of_all_ports_needs_a_port(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	refused(HEAD("a") "  vips: ['10.0.0.1:*/tcp']\n  backends: [{address: 10.1.0.1}]\n"
			  "  health: {type: tcp}\n",
		"health.port is missing");
	assert_int_equal(read_text(HEAD("a") "  vips: ['10.0.0.1:*/tcp']\n  backends: [{address: "
					     "10.1.0.1}]\n  health: {type: tcp, port: 22}\n",
				   &set, &err),
			 0);
	config_done(&set);
}

static void probes_go_through_the_tunnel_where_they_can(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

#define VIA "  health: {type: tcp, via: tunnel}\n"
	refused(HEAD("a") "  vips: ['10.0.0.1:80/tcp']\n  backends: [{address: 'fd00::1'}]\n" VIA,
		"of the family of backend fd00::1");
	refused(HEAD("a") "  mode: nat\n  vips: ['10.0.0.1:80/tcp']\n"
			  "  backends: [{address: 10.1.0.1}]\n" VIA,
		"for modes ipip, gue and l2");
	refused(HEAD("a") "  vips: ['10.0.0.1:80/tcp']\n  backends: [{address: 10.1.0.1}]\n"
			  "  health: {type: script, command: 'true', via: tunnel}\n",
		"not for none or scripts");
	assert_int_equal(read_text(HEAD("a") "  vips: ['[fd00::9]:80/tcp', '10.0.0.1:80/tcp']\n"
					     "  backends: [{address: 10.1.0.1}]\n" VIA,
				   &set, &err),
			 0);
	assert_int_equal(set.services[0]->opt->health.via, 1);
	assert_ptr_equal(config_vip_of(set.services[0], 4), &set.services[0]->vips[1].addr);
	config_done(&set);
#undef VIA
}

static void told(const char *from, const char *to, bool noted)
{
	cleanup(buf_done) struct buf said = {0};
	struct config_set a = {0}, b = {0};
	struct skep_err err;
	char text[256];

	snprintf(text, sizeof(text), HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n%s", from);
	assert_int_equal(read_text(text, &a, &err), 0);
	snprintf(text, sizeof(text), HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n%s", to);
	assert_int_equal(read_text(text, &b, &err), 0);
	config_diff(a.services[0], b.services[0], &said);
	assert_true(buf_ok(&said));
	assert_int_equal(!!strstr(said.data, "note: live connections without an entry"), noted);
	config_done(&a);
	config_done(&b);
}

static void another_way_to_choose_is_told_to_move_connections(void **state maybe_unused)
{
	told("", "  hash: source\n", true);
	told("  affinitySeconds: 60\n", "", true);
	told("  hash: source\n", "  affinitySeconds: 60\n", false);
	told("", "  drainSeconds: 60\n", false);
}

static void one_document_leaves_nothing_to_the_next(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(read_text(HEAD("a") "  vips: ['10.0.0.1:1/tcp', '10.0.0.1:2/tcp']\n"
					     "  backends: [{address: 10.1.0.1, weight: 9}]\n"
					     "  hash: source\n---\n" HEAD(
						     "b") "  vips: ['10.0.0.1:3/tcp']\n"
							  "  backends: [{address: 10.1.0.1}]\n",
				   &set, &err),
			 0);
	assert_int_equal(set.n, 2);
	assert_int_equal(set.services[1]->n_vips, 1);
	assert_int_equal(set.services[1]->backends[0].weight, 1);
	assert_int_equal(set.services[1]->opt->hash, 0);
	config_done(&set);
}

static void a_backend_without_a_mode_has_the_service_s(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(
		read_text(HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n"
				    "  backends: [{address: 10.1.0.1}, {address: 10.1.0.2, "
				    "mode: ipip}]\n",
			  &set, &err),
		0);
	assert_int_equal(set.services[0]->backends[0].mode, BALANCE_IPIP);
	assert_int_equal(set.services[0]->backends[1].mode, BALANCE_IPIP);
	config_done(&set);
}

static void health_and_algorithm_are_read_and_have_defaults(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(
		read_text(
			HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n  algorithm: leastConnections\n"
				  "  slowStartSeconds: 30\n  health: {type: http, path: /long/well, "
				  "host: a.example, status: 204, intervalSeconds: 2, rise: 1}\n"
				  "---\n" HEAD("b") "  vips: ['10.0.0.1:2/tcp']\n"
						    "  health: {path: /ok}\n"
						    "---\n" HEAD("b") "  vips: ['10.0.0.1:2/tcp']\n"
								      "  health: {path: /ok}\n",
			&set, &err),
		-EINVAL);
	assert_int_equal(
		read_text(
			HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n  algorithm: leastConnections\n"
				  "  slowStartSeconds: 30\n  health: {type: http, path: /long/well, "
				  "host: a.example, status: 204, intervalSeconds: 2, rise: 1}\n"
				  "---\n" HEAD("b") "  vips: ['10.0.0.1:2/tcp']\n"
						    "  health: {path: /ok}\n",
			&set, &err),
		0);
	assert_int_equal(set.services[0]->opt->algorithm, CONFIG_LEAST_CONNECTIONS);
	assert_int_equal(set.services[0]->opt->health.type, CONFIG_HEALTH_HTTP);
	assert_int_equal(set.services[0]->opt->health.status, 204);
	assert_int_equal(set.services[0]->opt->health.fall, 3);
	assert_int_equal(set.services[0]->opt->slow_start_s, 30);
	assert_int_equal(set.services[1]->opt->health.type, CONFIG_HEALTH_NONE);
	for (size_t i = 3; i < sizeof(set.services[1]->opt->health.path); i++)
		assert_int_equal(set.services[1]->opt->health.path[i], 0);
	config_done(&set);
	refused(HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n  health: {type: script}\n", "command");
	refused(HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n  health: {type: dns}\n", "name");
	refused(HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n  health: {type: ping}\n",
		"expected none, tcp, http");
	refused(HEAD("a") "  vips: ['10.0.0.1:1/tcp']\n"
			  "  health: {type: tcp, timeoutSeconds: 9}\n",
		"longer than");
}

static void mistakes_have_their_place(void **state maybe_unused)
{
	refused(HEAD("a") "  vips: ['10.0.0.300:1/tcp']\n", "f.yaml:5:10: spec.vips[0]");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp', '10.0.0.3:0/tcp']\n", "spec.vips[1]");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/sctp']\n", "expected ADDRESS:PORTS");
	refused(HEAD("a") "  vips: ['2001:db8::1:1/tcp']\n", "expected ADDRESS:PORTS");
	refused(HEAD("a") "  vips: ['[10.0.0.1]:1/tcp']\n", "expected ADDRESS:PORTS");
	refused(HEAD("a") "  vips: ['10.0.0.3:9-8/tcp']\n", "spec.vips[0]");
	refused(HEAD("a") "  vips: ['10.0.0.3:65536/tcp']\n", "spec.vips[0]");
	refused(HEAD("a") "  vips: []\n", "neither vips nor nodePort");
	refused(HEAD("a") "  vips: []\n  sourceRanges: [10.0.0.1/8]\n", "sourceRanges[0]");
	refused(HEAD("a") "  vips: []\n  sourceRanges: [10.0.0.0/33]\n", "sourceRanges[0]");
	refused(HEAD("a") "  vips: []\n  sourceRanges: [10.0.0.0/]\n", "sourceRanges[0]");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  synCookieRate: 5\n", "is for synCookies");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  mode: nat\n  backends: [{address: fd00::1}]\n",
		"make a service for each family");
	refused(HEAD("a") "  vips: 10.0.0.3\n", "expected a list of 0 to 256");
	refused(HEAD("a") "  backends: []\n", "neither vips nor nodePort");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  backends: [{weight: 1}]\n",
		"spec.backends[0]: 'address' is missing");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  backends:\n    - {address: 1.2.3}\n",
		"f.yaml:7:17: spec.backends[0].address: expected an IPv4 or IPv6 address");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  backends: [{address: 1.2.3.4, wight: 1}]\n",
		"did you mean 'weight'");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  backends: [{address: 1.2.3.4, weight: 1001}]\n",
		"expected 0..1000");
	refused(HEAD("a") "  vips: ['[2001:db8::1]:1/tcp']\n  mode: option\n  backends: [{address: 1.2.3.4}]\n",
		"mode option leads no packet for [2001:db8::1]:1/tcp there");
	refused(HEAD("'a b'") "  vips: ['10.0.0.3:1/tcp']\n", "metadata.name");
}

static void what_two_services_cannot_share_is_refused(void **state maybe_unused)
{
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n---\n" HEAD(
			"a") "  vips: ['10.0.0.3:2/tcp']\n",
		"two services have the name 'a'");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n---\n" HEAD(
			"b") "  vips: ['10.0.0.3:1/tcp']\n",
		"10.0.0.3:1/tcp is of service");
	refused(HEAD("a") "  vips: ['10.0.0.3:5-9/tcp']\n---\n" HEAD("b") "  vips: "
									  "['10.0.0.3:9-12/tcp']\n",
		"is of service");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  backends: [{address: 1.2.3.4}, {address: "
			  "1.2.3.4}]\n",
		"backend 1.2.3.4 stands twice");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  externalTrafficPolicy: Local\n  nodePort: 30000\n"
			  "  healthCheckNodePort: 30000\n",
		"healthCheckNodePort is the nodePort");
	refused(HEAD("a") "  vips: ['10.0.0.3:1/tcp']\n  healthCheckNodePort: 30001\n",
		"healthCheckNodePort is for externalTrafficPolicy: Local");
}

static void one_port_may_stand_in_a_range_of_another(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(read_text(HEAD("a") "  vips: ['10.0.0.3:*/tcp']\n---\n" HEAD(
					   "b") "  vips: ['10.0.0.3:443/tcp']\n",
				   &set, &err),
			 0);
	config_done(&set);
}

static void nothing_is_a_wanted_state_too(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(read_text("", &set, &err), 0);
	assert_int_equal(set.n, 0);
	config_done(&set);
}

static void what_is_of_packets_alone_is_noted_where_none_pass(void **state maybe_unused)
{
	static const char text[] =
		HEAD("a") "  vips: ['10.0.0.3:443/tcp']\n  socket: true\n  quic: true\n"
			  "  limits: {source: 3}\n---\n" HEAD("b") "  vips: ['10.0.0.4:443/tcp']\n";
	struct config_set set = {0};
	struct skep_err err;

	for (int packets = 1; packets >= 0; packets--) {
		cleanup(buf_done) struct buf notes = {0};

		config_packets_set(packets);
		assert_int_equal(config_read("f", text, strlen(text), &set, &notes, &err), 0);
		config_done(&set);
		if (packets)
			assert_int_equal(notes.len, 0);
		else
			assert_string_equal(
				notes.data,
				"note: service 'a': quic, limits: of packets alone, and "
				"the agent has no interfaces (balance.interfaces)\n");
	}
	config_packets_set(true);
}

/* Ten thousand services are of a few kinds. */
static void services_that_are_alike_share_their_options(void **state maybe_unused)
{
	struct config_set set = {0};
	struct skep_err err;

	assert_int_equal(
		read_text(
			HEAD("a") "  quic: true\n  vips: ['10.0.0.3:1/udp']\n---\n" HEAD(
				"b") "  quic: true\n  vips: ['10.0.0.3:2/udp']\n---\n" HEAD("c") "  vips: ['10.0.0.3:3/udp']\n",
			&set, &err),
		0);
	assert_ptr_equal(set.services[0]->opt, set.services[1]->opt);
	assert_ptr_not_equal(set.services[1]->opt, set.services[2]->opt);
	config_done(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_service_is_read_with_all_it_has),
		cmocka_unit_test(health_of_an_address_of_all_ports_needs_a_port),
		cmocka_unit_test(probes_go_through_the_tunnel_where_they_can),
		cmocka_unit_test(another_way_to_choose_is_told_to_move_connections),
		cmocka_unit_test(one_document_leaves_nothing_to_the_next),
		cmocka_unit_test(a_backend_without_a_mode_has_the_service_s),
		cmocka_unit_test(health_and_algorithm_are_read_and_have_defaults),
		cmocka_unit_test(mistakes_have_their_place),
		cmocka_unit_test(what_two_services_cannot_share_is_refused),
		cmocka_unit_test(one_port_may_stand_in_a_range_of_another),
		cmocka_unit_test(nothing_is_a_wanted_state_too),
		cmocka_unit_test(what_is_of_packets_alone_is_noted_where_none_pass),
		cmocka_unit_test(services_that_are_alike_share_their_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
