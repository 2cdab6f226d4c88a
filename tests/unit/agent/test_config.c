// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/config.h"
#include "fake.h"

#define HEAD "apiVersion: skep/v1\nkind: Agent\nspec:\n"

static char path[] = "/tmp/skep-config-XXXXXX";
static struct skep_err err;

static int read_config(const char *text, const struct agent_options *more,
		       struct agent_config **out)
{
	struct agent_options o = more ? *more : (struct agent_options){.log_json = -1};
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
	o.config = path;
	memset(&err, 0, sizeof(err));
	return agent_config_read(out, &o, &err);
}

static void options_win_over_the_file_and_the_file_over_presets(maybe_unused void **state)
{
	const struct agent_options o = {.listen = "off", .log_json = 1};
	const struct agent_spec *s;
	struct agent_config *c;

	assert_int_equal(read_config(HEAD "  listen: 127.0.0.1:1\n  socket: /a\n", &o, &c), 0);
	s = agent_config_spec(c);
	assert_string_equal(s->listen, "off");
	assert_string_equal(s->socket, "/a");
	assert_string_equal(s->state_dir, "/var/lib/skep");
	assert_int_equal(s->log, LOG_JSON);
	assert_true(s->sandbox);
	assert_int_equal(s->limits.processes, 65536);
	agent_config_free(c);
}

static void each_capability_has_its_part(maybe_unused void **state)
{
	const struct fake_spec *s;
	struct agent_config *c;

	assert_int_equal(read_config(HEAD "  guard: {size: 12}\n  logLevel: debug\n", NULL, &c), 0);
	s = agent_config_cap(c, 0);
	assert_int_equal(s->size, 12);
	assert_false(s->fail);
	assert_int_equal(agent_config_level(c), LOG_LEVEL_DEBUG);
	agent_config_free(c);
	assert_int_equal(read_config(HEAD "  guard: {size: 0}\n", NULL, &c), -EINVAL);
	assert_non_null(strstr(err.text, ":4:17: spec.guard.size: expected 1..1000, found '0'"));
}

static void what_needs_a_restart_stays_as_it_was(maybe_unused void **state)
{
	struct agent_config *old, *new;

	assert_int_equal(read_config(HEAD "  socket: /a\n  guard: {size: 2}\n", NULL, &old), 0);
	assert_int_equal(
		read_config(HEAD "  socket: /b\n  guard: {size: 3}\n  log: json", NULL, &new), 0);
	assert_true(agent_config_keep(new, old));
	assert_string_equal(agent_config_spec(new)->socket, "/a");
	assert_int_equal(agent_config_spec(new)->log, LOG_JSON);
	assert_false(agent_config_keep(new, old));
	agent_config_keep_cap(new, old, 0);
	assert_int_equal(((const struct fake_spec *)agent_config_cap(new, 0))->size, 2);
	agent_config_free(old);
	agent_config_free(new);
}

static void only_loopback_addresses_are_listened_on(maybe_unused void **state)
{
	static const char *const bad[] = {"0.0.0.0:7070", "192.168.1.1:80",  "127.0.0.1",
					  "127.0.0.1:",	  "127.0.0.1:65536", "127.0.0.1:7x",
					  "[::]:80",	  ":7070",	     "on"};
	struct agent_addr addr;
	unsigned i;

	for (i = 0; i < array_size(bad); i++) {
		err.text[0] = '\0';
		assert_int_equal(agent_listen_parse(bad[i], &addr, &err), -EINVAL);
		assert_true(err.text[0]);
	}
	assert_int_equal(agent_listen_parse("[::1]:7070", &addr, &err), 0);
	assert_true(addr.v6);
	assert_int_equal(addr.port, 7070);
	assert_int_equal(agent_listen_parse("localhost:0", &addr, &err), 0);
	assert_false(addr.v6 || addr.off);
	assert_int_equal(agent_listen_parse("", &addr, &err), 0);
	assert_true(addr.off);
}

static void an_option_too_long_is_refused(maybe_unused void **state)
{
	struct agent_options o = {.log_json = -1};
	struct agent_config *c;
	char text[200];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	o.socket = text;
	assert_int_equal(read_config(HEAD "  log: text", &o, &c), -EINVAL);
	assert_string_equal(err.text, "--socket: expected at most 103 bytes, found 199");
}

static void a_file_too_large_is_refused(maybe_unused void **state)
{
	static char text[CONF_INPUT_MAX + 100];
	struct agent_config *c;

	memset(text, '#', sizeof(text) - 1);
	assert_int_equal(read_config(text, NULL, &c), -EINVAL);
	assert_non_null(strstr(err.text, "expected at most 1048576 bytes"));
}

static void the_reference_is_a_configuration(maybe_unused void **state)
{
	cleanup(buf_done) struct buf b = {0};
	struct agent_config *c;

	assert_int_equal(agent_config_print(&b), 0);
	assert_int_equal(read_config(b.data, NULL, &c), 0);
	assert_string_equal(agent_config_spec(c)->listen, "127.0.0.1:7070");
	agent_config_free(c);
}

static int begin(maybe_unused void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int end(maybe_unused void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_win_over_the_file_and_the_file_over_presets),
		cmocka_unit_test(each_capability_has_its_part),
		cmocka_unit_test(what_needs_a_restart_stays_as_it_was),
		cmocka_unit_test(only_loopback_addresses_are_listened_on),
		cmocka_unit_test(an_option_too_long_is_refused),
		cmocka_unit_test(a_file_too_large_is_refused),
		cmocka_unit_test(the_reference_is_a_configuration),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
