// SPDX-License-Identifier: Apache-2.0
/* Captures through simulate.c. */
#include "balance/simulate.h"

#include <inttypes.h>

#include "host/capture.h"

static void line_add(struct buf *b, uint64_t n, const struct simulate_result *r, bool json)
{
	if (!json) {
		buf_fmt(b, "%" PRIu64 "\t%s\t%s\t%s\t%s\n", n, r->verdict, r->reason,
			r->service[0] ? r->service : "-", r->backend[0] ? r->backend : "-");
		return;
	}
	buf_fmt(b, "{\"packet\":%" PRIu64 ",\"verdict\":\"%s\",\"reason\":\"%s\"", n, r->verdict,
		r->reason);
	if (r->service[0]) {
		buf_str(b, ",\"service\":");
		buf_json(b, r->service, strlen(r->service));
	}
	if (r->backend[0])
		buf_fmt(b, ",\"backend\":\"%s\"", r->backend);
	buf_str(b, "}\n");
}

static int packets_run(struct simulate *s, struct capture *in, struct capture *out, bool json,
		       struct buf *b, struct skep_err *err)
{
	cleanup(mem_free) struct simulate_result *r = calloc(1, sizeof(*r));
	struct capture_packet p;
	uint64_t n = 0;
	int rc = -ENOMEM;

	while (r && (rc = capture_next(in, &p, err)) == 1) {
		rc = simulate_packet(s, p.data, p.len, r, err);
		if (rc)
			return skep_note(err, rc, "packet %" PRIu64, n + 1);
		line_add(b, ++n, r, json);
		if (!out)
			continue;
		p.data = r->frame;
		p.len = p.wire_len = (uint32_t)r->size;
		capture_write(out, &p);
	}
	return rc;
}

static int capture_run(struct simulate *s, const struct simulate_file *f, struct buf *b,
		       struct skep_err *err)
{
	struct capture *in = NULL, *out = NULL;
	int rc = capture_open(&in, f->in, err), written;

	if (!rc && f->out)
		rc = capture_create(&out, f->out, err);
	if (!rc)
		rc = packets_run(s, in, out, f->json, b, err);
	capture_close(in);
	written = capture_close(out);
	return rc || !written ? rc : skep_fail(err, written, "%s: %s", f->out, strerror(-written));
}

int simulate_pcap(const struct simulate_file *f, struct buf *b, struct skep_err *err)
{
	cleanup(config_done) struct config_set set = {0};
	struct simulate *s = NULL;
	int rc = config_read(f->name, f->services, f->size, &set, NULL, err);

	if (!rc)
		rc = simulate_open(&s, &set, 1500, err);
	if (!rc)
		rc = capture_run(s, f, b, err);
	simulate_free(s);
	return rc;
}
