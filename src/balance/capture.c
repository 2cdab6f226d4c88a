// SPDX-License-Identifier: Apache-2.0
/* Captures through simulate.c. A file of its own: libpcap and libbpf both define struct bpf_insn. */
#include "balance/simulate.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pcap/pcap.h>

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

static int packets_run(struct simulate *s, pcap_t *in, pcap_dumper_t *dump, bool json,
		       struct buf *b, struct skep_err *err)
{
	struct simulate_result *r = calloc(1, sizeof(*r));
	struct pcap_pkthdr *head;
	const u_char *data;
	uint64_t n = 0;
	int rc = r ? 0 : -ENOMEM, got;

	while (!rc && (got = pcap_next_ex(in, &head, &data)) == 1) {
		rc = simulate_packet(s, data, head->caplen, r, err);
		if (rc) {
			skep_note(err, rc, "packet %" PRIu64, n + 1);
			break;
		}
		line_add(b, ++n, r, json);
		if (!dump)
			continue;
		head->len = head->caplen = (bpf_u_int32)r->size;
		pcap_dump((u_char *)dump, head, r->frame);
	}
	if (!rc && got == PCAP_ERROR)
		rc = skep_fail(err, -EINVAL, "packet %" PRIu64 ": %s", n + 1, pcap_geterr(in));
	free(r);
	return rc;
}

static void pcap_done(pcap_t **p)
{
	if (*p)
		pcap_close(*p);
}

static int capture_run(struct simulate *s, const struct simulate_file *f, struct buf *b,
		       struct skep_err *err)
{
	char why[PCAP_ERRBUF_SIZE] = "";
	cleanup(pcap_done) pcap_t *in = pcap_open_offline(f->in, why);
	pcap_dumper_t *dump = NULL;
	int rc;

	if (!in)
		return skep_fail(err, -EINVAL, "%s", why);
	if (pcap_datalink(in) != DLT_EN10MB)
		return skep_fail(err, -EINVAL, "%s: expected Ethernet frames, found %s", f->in,
				 pcap_datalink_val_to_name(pcap_datalink(in)));
	if (f->out) {
		dump = pcap_dump_open(in, f->out);
		if (!dump)
			return skep_fail(err, -EIO, "%s", pcap_geterr(in));
	}
	rc = packets_run(s, in, dump, f->json, b, err);
	if (dump)
		pcap_dump_close(dump);
	return rc ? skep_note(err, rc, "%s", f->in) : 0;
}

static int file_read(const char *path, struct buf *b, struct skep_err *err)
{
	cleanup(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char part[65536];
	ssize_t n = 0;

	if (fd < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	while ((n = read(fd, part, sizeof(part))) > 0)
		buf_add(b, part, (size_t)n);
	if (n < 0)
		return skep_fail(err, -errno, "%s: %s", path, strerror(errno));
	return buf_ok(b) ? 0 : -ENOMEM;
}

int simulate_pcap(const struct simulate_file *f, struct buf *b, struct skep_err *err)
{
	cleanup(config_done) struct config_set set = {0};
	cleanup(buf_done) struct buf text = {0};
	struct simulate *s = NULL;
	int rc = file_read(f->services, &text, err);

	if (!rc)
		rc = config_read(f->services, text.data ? text.data : "", text.len, &set, err);
	if (!rc)
		rc = simulate_open(&s, &set, 1500, err);
	if (!rc)
		rc = capture_run(s, f, b, err);
	simulate_free(s);
	return rc;
}
