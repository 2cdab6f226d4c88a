// SPDX-License-Identifier: Apache-2.0
/* Services and EndpointSlices of Kubernetes as kubectl prints them: what becomes of each file in kube/. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/config.h"

#define DIR "tests/unit/balance/kube/"

static void file_read(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "r");
	char part[4096];
	size_t n;

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	while ((n = fread(part, 1, sizeof(part), f)))
		buf_add(b, part, n);
	fclose(f);
	buf_str(b, "");
}

static void print(const struct config_set *set, struct buf *b)
{
	char text[64];
	uint32_t k;
	size_t i;

	for (i = 0; i < set->n; i++) {
		const struct config_service *s = set->services[i];

		buf_fmt(b, "%s %s%s%s%s affinity %d:", s->name, config_mode_text(s->opt->mode),
			s->opt->socket ? " at sockets" : "", s->opt->internal ? " local" : "",
			s->opt->hash ? " by source" : "", (int)s->opt->affinity_s);
		if (s->opt->external)
			buf_fmt(b, " external local, health at %d:", (int)s->opt->health_port);
		if (s->opt->node_port)
			buf_fmt(b, " node port %d/%d of IPv%d:", (int)s->opt->node_port,
				s->opt->node_proto, s->opt->node_family);
		if (s->opt->n_sources)
			buf_fmt(b, " from %u:", s->opt->n_sources);
		for (k = 0; k < s->n_vips; k++)
			buf_fmt(b, " %s", config_vip_text(&s->vips[k], text));
		buf_str(b, " ->");
		for (k = 0; k < s->n_backends; k++)
			buf_fmt(b, " %s:%d*%d", config_addr_text(&s->backends[k].addr, text),
				(int)s->backends[k].port, (int)s->backends[k].weight);
		buf_str(b, "\n");
	}
}

static void becomes(const char *file, const char *want)
{
	cleanup(buf_done) struct buf text = {0}, out = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	file_read(file, &text);
	if (config_read(file, text.data, text.len, &set, &out, &err))
		fail_msg("%s", err.text);
	print(&set, &out);
	assert_string_equal(out.data, want);
	config_done(&set);
}

static void each_port_of_a_service_is_one_of_ours_in_each_family(void **state maybe_unused)
{
	becomes(DIR "shop.yaml",
		"note: ConfigMap other is left out\n"
		"note: Service shop/db is headless: nothing to balance\n"
		"shop/front:http nat by source affinity 600: 10.96.12.7:80/tcp -> "
		"10.244.1.5:8080*1 10.244.2.9:8080*0\n"
		"shop/front:http/external nat by source affinity 600: external local, health at 31234: "
		"node port 30080/6 of IPv4: 192.0.2.44:80/tcp -> 10.244.1.5:8080*0 10.244.2.9:8080*0\n"
		"shop/front:http/balancer nat by source affinity 600: external local, health at 31234: "
		"from 1: 203.0.113.80:80/tcp -> 10.244.1.5:8080*0 10.244.2.9:8080*0\n"
		"shop/front:http/v6 nat by source affinity 600: [fd00:10:96::a12]:80/tcp -> "
		"fd00:10:244:1::5:8080*1\n"
		"shop/front:http/external/v6 nat by source affinity 600: external local, health at 31234: "
		"node port 30080/6 of IPv6: -> fd00:10:244:1::5:8080*0\n"
		"shop/front:quic nat by source affinity 600: 10.96.12.7:443/udp -> "
		"10.244.1.5:0*1 10.244.2.9:0*0\n"
		"shop/front:quic/external nat by source affinity 600: external local, health at 31234: "
		"node port 30443/17 of IPv4: 192.0.2.44:443/udp -> 10.244.1.5:443*0 10.244.2.9:443*0\n"
		"shop/front:quic/balancer nat by source affinity 600: external local, health at 31234: "
		"from 1: 203.0.113.80:443/udp -> 10.244.1.5:0*0 10.244.2.9:0*0\n"
		"shop/front:quic/v6 nat by source affinity 600: [fd00:10:96::a12]:443/udp ->\n"
		"shop/front:quic/external/v6 nat by source affinity 600: external local, health at 31234: "
		"node port 30443/17 of IPv6: ->\n");
}

static void ours_stand_beside_theirs_and_the_last_that_serve_are_used(void **state maybe_unused)
{
	becomes(DIR "mixed.yaml",
		"edge ipip affinity 0: 203.0.113.10:443/tcp -> 10.0.0.1:0*1\n"
		"default/kubernetes:443 nat affinity 0: 10.96.0.1:443/tcp -> 192.168.1.2:6443*1\n");
}

static void json_is_read_like_yaml(void **state maybe_unused)
{
	becomes(DIR "list.json",
		"kube-system/dns:dns gue affinity 0: 10.96.0.10:53/udp -> 10.244.0.2:0*1 "
		"10.244.0.3:0*1\n"
		"kube-system/dns:dns-tcp gue affinity 0: 10.96.0.10:53/tcp -> 10.244.0.2:0*1 "
		"10.244.0.3:0*1\n");
}

static void refused(const char *text, const char *why)
{
	struct config_set set = {0};
	struct skep_err err = {""};

	assert_int_equal(config_read("f.yaml", text, strlen(text), &set, NULL, &err), -EINVAL);
	if (!strstr(err.text, why))
		fail_msg("'%s' is not in '%s'", why, err.text);
	assert_null(set.services);
}

#define SERVICE(spec) \
	"apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: n}\nspec: " spec "\n"
#define OURS(name, spec) \
	"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: " name "}\nspec: " spec "\n"

static void a_port_that_the_mode_does_not_reach_is_noted(void **state maybe_unused)
{
	cleanup(buf_done) struct buf text = {0}, notes = {0};
	struct config_set set = {0};
	struct skep_err err = {""};
	char *mode;

	file_read(DIR "list.json", &text);
	for (mode = text.data; (mode = strstr(mode, "\"port\": 53, \"protocol\": \"UDP\"}"));)
		memcpy(strstr(mode, "53"), "54", 2);
	assert_int_equal(config_read("f", text.data, text.len, &set, &notes, &err), 0);
	assert_non_null(notes.data);
	assert_non_null(strstr(notes.data, "kube-system/dns:dns: pods listen on another port"));
	config_done(&set);
}

static void reads(const char *text, const char *want)
{
	cleanup(buf_done) struct buf out = {0};
	struct config_set set = {0};
	struct skep_err err = {""};

	if (config_read("f.yaml", text, strlen(text), &set, &out, &err))
		fail_msg("%s", err.text);
	print(&set, &out);
	assert_string_equal(out.data, want);
	config_done(&set);
}

static void
an_external_address_of_the_other_family_is_a_service_of_its_own(void **state maybe_unused)
{
	reads(SERVICE("{clusterIP: 10.0.0.1, externalIPs: ['2001:db8::9'], ports: [{port: 9}]}"),
	      "n/a:9 nat affinity 0: 10.0.0.1:9/tcp ->\n"
	      "n/a:9/v6 nat affinity 0: [2001:db8::9]:9/tcp ->\n");
}

static void ports_whose_long_names_begin_alike_are_two(void **state maybe_unused)
{
	reads(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 8, name: "
		      "metrics-of-the-front-a}, {port: 9, name: metrics-of-the-front-b}]}"),
	      "n/a:metrics-of-the-front-a nat affinity 0: 10.0.0.1:8/tcp ->\n"
	      "n/a:metrics-of-the-front-b nat affinity 0: 10.0.0.1:9/tcp ->\n");
}

static void a_policy_that_is_not_followed_is_noted(void **state maybe_unused)
{
	reads(SERVICE("{clusterIP: 10.0.0.1, internalTrafficPolicy: Local, ports: [{port: 9}]}"),
	      "note: Service n/a: internalTrafficPolicy Local is followed at sockets "
	      "(balance.cgroup) only, all endpoints serve\n"
	      "n/a:9 nat affinity 0: 10.0.0.1:9/tcp ->\n");
}

static void mistakes_are_told(void **state maybe_unused)
{
	refused(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 9, protocol: SCTP}]}"),
		"n/a:9: SCTP is not supported");
	refused(SERVICE("{clusterIP: 10.0.0.300, ports: [{port: 9}]}"), "is no address");
	refused(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 99999}]}"), "must be 1..65535");
	refused(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 9}], sessionAffinity: ClientIP, "
			"sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}"),
		"timeoutSeconds of ClientIP must be 1..86400");
	refused("apiVersion: v1\nkind: Service\nspec: {}\n", "f.yaml:1:1: Service: metadata.name");
	refused(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 9}]}") OURS("b", "{vip: 1}"),
		"f.yaml:9:8: spec: unknown key 'vip'");
	refused(SERVICE("{clusterIP: 10.0.0.1, ports: [{port: 9}]}")
			OURS("b", "{vips: ['10.0.0.1:9/tcp']}"),
		"10.0.0.1:9/tcp is of service");
	refused("apiVersion: v1\nkind: List\nitems: [[[{a: &b c}]]]\n", "f.yaml:1:1");
	refused("apiVersion: v1\nkind: [\n", "f.yaml:1:1");
}

static void where_sockets_are_served_they_are_for_sockets_too(void **state maybe_unused)
{
	config_sockets_set(true);
	becomes(DIR "list.json",
		"kube-system/dns:dns gue at sockets affinity 0: 10.96.0.10:53/udp -> "
		"10.244.0.2:0*1 10.244.0.3:0*1\n"
		"kube-system/dns:dns-tcp gue at sockets affinity 0: 10.96.0.10:53/tcp -> "
		"10.244.0.2:0*1 10.244.0.3:0*1\n");
	reads(SERVICE("{clusterIP: 10.0.0.1, internalTrafficPolicy: Local, ports: [{port: 9}]}"),
	      "n/a:9 nat at sockets local affinity 0: 10.0.0.1:9/tcp ->\n");
	config_sockets_set(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_port_of_a_service_is_one_of_ours_in_each_family),
		cmocka_unit_test(ours_stand_beside_theirs_and_the_last_that_serve_are_used),
		cmocka_unit_test(json_is_read_like_yaml),
		cmocka_unit_test(where_sockets_are_served_they_are_for_sockets_too),
		cmocka_unit_test(a_port_that_the_mode_does_not_reach_is_noted),
		cmocka_unit_test(an_external_address_of_the_other_family_is_a_service_of_its_own),
		cmocka_unit_test(ports_whose_long_names_begin_alike_are_two),
		cmocka_unit_test(a_policy_that_is_not_followed_is_noted),
		cmocka_unit_test(mistakes_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
