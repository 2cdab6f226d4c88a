// SPDX-License-Identifier: Apache-2.0
/* cgroup_parse() on any path. */
#include "base/text.h"
#include "who/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Terminated within its room, and printable. */
static void check(const char *s, size_t room)
{
	size_t n = strnlen(s, room), i, len;

	if (n == room)
		abort();
	for (i = 0; i < n; i += len) {
		len = text_utf8(s + i, n - i);
		if (!len)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cgroup_facts facts;
	char path[4097] = "/";

	size = min(size, sizeof(path) - 2);
	memcpy(path + 1, data, size);
	path[size + 1] = '\0';
	cgroup_parse(path, &facts);
	check(facts.runtime, sizeof(facts.runtime));
	check(facts.container, sizeof(facts.container));
	check(facts.pod_uid, sizeof(facts.pod_uid));
	check(facts.unit, sizeof(facts.unit));
	check(facts.leaf, sizeof(facts.leaf));
	return 0;
}
