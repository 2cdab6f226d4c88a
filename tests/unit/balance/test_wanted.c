// SPDX-License-Identifier: Apache-2.0
/* What is wanted after wholes, merges and deletes, kept and undone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "balance/wanted.h"

static struct config_set set;

static void order_is(const char *want)
{
	cleanup(buf_done) struct buf b = {0};

	for (size_t i = 0; i < set.n; i++)
		buf_fmt(&b, "%s%s", i ? " " : "", set.services[i]->name);
	assert_string_equal(b.data ? b.data : "", want);
}

/* Services of ours, "a b c"; each has the address of its letter. */
static void ours(struct buf *b, const char *names)
{
	for (; *names; names++)
		if (*names != ' ')
			buf_fmt(b,
				"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: %c}\n"
				"spec: {vips: ['10.0.0.%d:80/tcp']}\n",
				*names, *names);
}

static void kubes(struct buf *b, const char *name, const char *ports)
{
	buf_fmt(b,
		"---\napiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: ns}\n"
		"spec: {clusterIP: 10.1.0.%zu, ports: [",
		name, strlen(name));
	for (; *ports; ports++)
		buf_fmt(b, "{name: %c, port: %d},", *ports, *ports);
	buf_str(b, "]}\n");
}

static int change(struct wanted_change *c, enum cap_change how, const struct buf *text)
{
	struct skep_err err = {""};

	return wanted_change(&set, c, how, "f", text->data, text->len, NULL, &err);
}

/* First undone, then kept. */
static void changes(enum cap_change how, struct buf *text, const char *want)
{
	cleanup(buf_done) struct buf before = {0};
	struct wanted_change c;

	for (size_t i = 0; i < set.n; i++)
		buf_fmt(&before, "%s%s", i ? " " : "", set.services[i]->name);
	assert_int_equal(change(&c, how, text), 0);
	order_is(want);
	wanted_undo(&set, &c);
	order_is(before.data ? before.data : "");
	assert_int_equal(change(&c, how, text), 0);
	wanted_keep(&set, &c);
	order_is(want);
	buf_done(text);
	*text = (struct buf){0};
}

static void services_keep_their_places_and_new_ones_stand_at_the_end(void **state maybe_unused)
{
	struct buf b = {0};

	ours(&b, "c a e");
	changes(CAP_WHOLE, &b, "c a e");
	ours(&b, "z a d");
	changes(CAP_MERGE, &b, "c a e z d");
	buf_str(&b, "service/a\nservice/z\n");
	changes(CAP_DELETE, &b, "c e d");
	ours(&b, "d");
	changes(CAP_DELETE, &b, "c e");
	ours(&b, "e f c");
	changes(CAP_WHOLE, &b, "e f c");
	buf_str(&b, "# nothing\n");
	changes(CAP_WHOLE, &b, "");
}

static void a_change_that_is_wrong_changes_nothing(void **state maybe_unused)
{
	struct wanted_change c;
	struct buf b = {0};

	ours(&b, "a b");
	changes(CAP_WHOLE, &b, "a b");
	buf_str(&b, "service/none\n");
	assert_int_equal(change(&c, CAP_DELETE, &b), -ENOENT);
	order_is("a b");
	buf_clear(&b);
	/* an address that another has */
	buf_str(&b, "apiVersion: skep/v1\nkind: Service\nmetadata: {name: x}\n"
		    "spec: {vips: ['10.0.0.97:80/tcp']}\n");
	assert_int_equal(change(&c, CAP_MERGE, &b), -EINVAL);
	order_is("a b");
	buf_done(&b);
	config_done(&set);
}

static void a_service_of_kubernetes_that_is_merged_is_all_of_it(void **state maybe_unused)
{
	struct buf b = {0};

	ours(&b, "a");
	kubes(&b, "web", "xyz");
	kubes(&b, "we", "x");
	changes(CAP_WHOLE, &b, "a ns/web:x ns/web:y ns/web:z ns/we:x");
	kubes(&b, "web", "wy");
	changes(CAP_MERGE, &b, "a ns/web:y ns/we:x ns/web:w");
	kubes(&b, "we", "v");
	changes(CAP_MERGE, &b, "a ns/web:y ns/web:w ns/we:v");
	buf_str(&b, "service/ns/web\n");
	changes(CAP_DELETE, &b, "a ns/we:v");
	config_done(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_keep_their_places_and_new_ones_stand_at_the_end),
		cmocka_unit_test(a_change_that_is_wrong_changes_nothing),
		cmocka_unit_test(a_service_of_kubernetes_that_is_merged_is_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
