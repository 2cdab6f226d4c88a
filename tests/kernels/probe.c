/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: every feature of host as a line of JSON, then one line with the time it all took and the
 * memory it left resident.
 */
#include <stdio.h>

#include "host/host.h"
#include "base/buf.h"

static void add(struct buf *b, const char *key, const char *value)
{
	buf_fmt(b, ",\"%s\":", key);
	buf_json(b, value, strlen(value));
}

static void print_feature(const struct host_feature *f, double ms)
{
	struct buf b = {};

	buf_str(&b, "{\"name\":");
	buf_json(&b, f->name, strlen(f->name));
	buf_fmt(&b, ",\"ready\":%s,\"ms\":%.2f", f->ready ? "true" : "false", ms);
	if (!f->ready) {
		add(&b, "reason", f->reason);
		add(&b, "fix", f->fix);
	}
	printf("%s}\n", b.data);
	buf_done(&b);
}

static long resident_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long total = 0, pages = 0;

	if (f && fscanf(f, "%ld %ld", &total, &pages) != 2)
		pages = 0;
	if (f)
		fclose(f);
	return pages * (getpagesize() / 1024);
}

int main(void)
{
	struct skep_err err = {};
	struct host *h = NULL;
	uint64_t begin = host_boot_now();
	long before = resident_kib();

	if (host_open(&h, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (int i = 0; i < HOST_FEATURE_COUNT; i++) {
		uint64_t at = host_boot_now();
		const struct host_feature *f = host_feature(h, i);

		print_feature(f, (host_boot_now() - at) / 1e6);
	}
	printf("{\"kernel\":\"%s\",\"cgroup2\":\"%s\",\"ms\":%.1f,\"kib_before\":%ld,\"kib_after\":%ld}\n",
	       host_kernel(h), host_cgroup2(h), (host_boot_now() - begin) / 1e6, before,
	       resident_kib());
	host_free(h);
	return 0;
}
