// SPDX-License-Identifier: Apache-2.0
/* balance_packets.c: samples of packets: asked for again and again, since the agent stops when nobody does. */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "cli/balance.h"
#include "cli/human.h"
#include "cli/rows.h"
#include "cli/term.h"
#include "host/capture.h"

#define ROWS	  10000
#define LEASE_S	  5
#define LOOK_MS	  500
#define FRAME_MAX 128
#define RATE	  10
#define RATE_MAX  250

/* As sql_add() asks for them. */
enum column {
	TIME,
	SERVICE,
	BACKEND,
	REASON,
	VERDICT,
	PROTO,
	SOURCE,
	SOURCE_PORT,
	DESTINATION,
	DESTINATION_PORT,
	INTERFACE,
	SIZE,
	FRAME
};

struct packets {
	const struct args *args;
	struct client client;
	struct capture *out; /* NULL: none is written */
	int64_t last;	     /* time of the last one printed */
	struct buf text;
};

static const char *word(const struct rows *r, size_t row, size_t column)
{
	return json_string_value(rows_get(r, row, column)) ?: "-";
}

static void end_add(struct buf *b, const struct rows *r, size_t row, size_t column)
{
	const json_t *port = rows_get(r, row, column + 1);
	const char *addr = word(r, row, column);
	bool six = strchr(addr, ':');

	buf_fmt(b, json_is_integer(port) && six ? "[%s]" : "%s", addr);
	if (json_is_integer(port))
		buf_fmt(b, ":%" JSON_INTEGER_FORMAT, json_integer_value(port));
}

static const char *proto_text(int64_t proto, char out[8])
{
	snprintf(out, 8, "%" PRId64, proto);
	return proto == 6 ? "tcp" : proto == 17 ? "udp" : proto == 1 || proto == 58 ? "icmp" : out;
}

static void line_add(struct buf *b, const struct rows *r, size_t row)
{
	struct human h;
	char proto[8];

	buf_fmt(b, "%s  %-12s %-8s %s ",
		human_clock(&h, json_integer_value(rows_get(r, row, TIME))), word(r, row, REASON),
		word(r, row, VERDICT),
		proto_text(json_integer_value(rows_get(r, row, PROTO)), proto));
	end_add(b, r, row, SOURCE);
	buf_str(b, " > ");
	end_add(b, r, row, DESTINATION);
	buf_fmt(b, "  %s to %s, %" JSON_INTEGER_FORMAT " bytes at %s\n", word(r, row, SERVICE),
		word(r, row, BACKEND), json_integer_value(rows_get(r, row, SIZE)),
		word(r, row, INTERFACE));
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
}

static int frame_write(struct capture *out, const struct rows *r, size_t row)
{
	int64_t ns = json_integer_value(rows_get(r, row, TIME));
	const json_t *hex = rows_get(r, row, FRAME);
	const char *s = json_string_value(hex) ?: "";
	size_t n = min(json_string_length(hex) / 2, (size_t)FRAME_MAX), i;
	struct capture_packet p = {.time = {ns / 1000000000, ns % 1000000000}};
	uint8_t bytes[FRAME_MAX];

	for (i = 0; i < n; i++)
		bytes[i] = (uint8_t)(nibble(s[2 * i]) << 4 | nibble(s[2 * i + 1]));
	p.data = bytes;
	p.len = (uint32_t)n;
	p.wire_len = (uint32_t)json_integer_value(rows_get(r, row, SIZE));
	return capture_write(out, &p);
}

static void quoted_add(struct buf *sql, const char *column, const char *value)
{
	const char *c;

	if (!value)
		return;
	buf_fmt(sql, " and %s = '", column);
	for (c = value; *c; c++)
		buf_add(sql, *c == '\'' ? "''" : c, *c == '\'' ? 2 : 1);
	buf_str(sql, "'");
}

static void sql_add(const struct packets *p, struct buf *sql)
{
	const struct args *a = p->args;

	buf_fmt(sql,
		"select time, service, backend, reason, verdict, proto, source, source_port, destination, "
		"destination_port, interface, size, frame from packet where time > %" PRId64,
		p->last);
	quoted_add(sql, "service", a->n_operands > 1 ? a->operands[1] : NULL);
	quoted_add(sql, "reason", a->set[OPTION_REASON] ? a->text[OPTION_REASON] : NULL);
	buf_str(sql, " order by time");
}

/* Take what came since the last look. */
static int look(struct packets *p, struct skep_err *err)
{
	cleanup(rows_done) struct rows r = {0};
	cleanup(buf_done) struct buf sql = {0};
	size_t i;
	int rc;

	sql_add(p, &sql);
	if (!buf_ok(&sql))
		return -ENOMEM;
	rc = rows_query(&p->client, sql.data, ROWS, &r, err);
	for (i = 0; !rc && i < rows_count(&r); i++) {
		p->last = json_integer_value(rows_get(&r, i, TIME));
		if (p->args->set[OPTION_JSON])
			rows_json(&r, i, &p->text);
		else
			line_add(&p->text, &r, i);
		if (p->out)
			rc = frame_write(p->out, &r, i);
	}
	return rc ? rc : term_flush(&p->text);
}

static int want(const struct packets *p, int64_t rate, struct skep_err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	char target[96];

	snprintf(target, sizeof(target), "/v1/balance/samples?rate=%" PRId64 "&seconds=%d", rate,
		 LEASE_S);
	return client_call(&p->client, "POST", target, "", &answer, err);
}

/* Readable when somebody wants us to end: a capture is finished first. */
static int ends_open(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	return signalfd(-1, &ends, SFD_CLOEXEC);
}

static int follow(struct packets *p, struct skep_err *err)
{
	cleanup(fd_close) int ends = ends_open();
	struct pollfd end_asked = {.fd = ends, .events = POLLIN};
	const struct args *a = p->args;
	int64_t rate = a->set[OPTION_RATE] ? a->num[OPTION_RATE] : RATE;
	int64_t end = a->set[OPTION_SECONDS] ? human_now() + a->num[OPTION_SECONDS] * 1000000000
					     : INT64_MAX;
	int rc = want(p, rate, err);

	while (!rc && human_now() < end && !poll(&end_asked, 1, LOOK_MS)) {
		rc = look(p, err);
		if (!rc && human_now() < end)
			rc = want(p, rate, err);
	}
	return rc;
}

int balance_packets(const struct args *a, struct skep_err *err)
{
	struct packets p = {.args = a, .client = cli_client(a), .last = human_now()};
	int rc = 0, written;

	if (a->n_operands > 2) {
		skep_fail(err, 0, "expected: skep balance packets [SERVICE]");
		return CLI_USAGE;
	}
	if (a->set[OPTION_RATE] && a->num[OPTION_RATE] > RATE_MAX) {
		skep_fail(err, 0, "--rate: expected 1..%d, found %" PRId64, RATE_MAX,
			  a->num[OPTION_RATE]);
		return CLI_USAGE;
	}
	if (a->set[OPTION_OUT])
		rc = capture_create(&p.out, a->text[OPTION_OUT], err);
	if (!rc)
		rc = follow(&p, err);
	buf_done(&p.text);
	written = capture_close(p.out);
	return rc || !written
		       ? rc
		       : skep_fail(err, written, "%s: %s", a->text[OPTION_OUT], strerror(-written));
}
