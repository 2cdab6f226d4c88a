// SPDX-License-Identifier: Apache-2.0
#include "cli/live.h"

#include <bpf/bpf.h>
#include <inttypes.h>
#include <net/if.h>
#include <signal.h>
#include <sys/signalfd.h>

struct links {
	int fds[PORT_MAX];
	unsigned n;
};

static void links_done(struct links *l)
{
	while (l->n)
		close(l->fds[--l->n]);
}

/* What Debian's headers do not have yet. */
#define TCX_INGRESS ((enum bpf_attach_type)46)

static int link_all(struct links *l, struct ports *ports, int prog, bool tc, struct skep_err *err)
{
	struct port_view v;
	int fd;

	while (ports_view(ports, l->n, &v)) {
		fd = bpf_link_create(prog, (int)v.ifindex, tc ? TCX_INGRESS : BPF_XDP, NULL);
		if (fd < 0)
			return skep_fail(err, fd, "port %s: the program cannot be attached: %s",
					 v.name, strerror(-fd));
		l->fds[l->n++] = fd;
	}
	return 0;
}

static void add_up(struct ports *ports, bool tc, struct object_result *r)
{
	struct port_view v;
	unsigned i, act;

	for (i = 0; ports_view(ports, i, &v); i++) {
		r->packets += v.count->received;
		for (act = 0; tc && act < array_size(v.count->tc); act++)
			r->verdicts[act] += v.count->tc[act];
		if (tc)
			continue;
		r->verdicts[XDP_ABORTED] += v.count->aborted;
		r->verdicts[XDP_DROP] += v.count->drop;
		r->verdicts[XDP_PASS] += v.count->pass;
		r->verdicts[XDP_TX] += v.count->tx;
		r->verdicts[XDP_REDIRECT] += v.count->redirect;
	}
}

int live_run(struct ports *ports, int prog, bool tc, unsigned seconds, struct object_result *r,
	     struct skep_err *err)
{
	cleanup(links_done) struct links links = {.n = 0};
	cleanup(fd_close) int stop = -1;
	sigset_t ends;
	int rc;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	stop = signalfd(-1, &ends, SFD_CLOEXEC);
	if (stop < 0)
		return skep_note(err, -errno, "signalfd");
	rc = link_all(&links, ports, prog, tc, err);
	if (!rc)
		rc = ports_run(ports, stop, seconds, err);
	add_up(ports, tc, r);
	return rc;
}

const char *live_value(struct ports *ports, const char *text, char buf[16])
{
	struct port_view v;
	uint32_t ifindex;
	unsigned i;

	if (!ports || text[0] != '@')
		return text;
	ifindex = if_nametoindex(text + 1);
	for (i = 0; ports_view(ports, i, &v); i++)
		if (!strcmp(v.name, text + 1))
			ifindex = v.ifindex;
	if (!ifindex)
		return text;
	snprintf(buf, 16, "%u", ifindex);
	return buf;
}

/* ---- what the ports did --------------------------------------------------------------------- */

void live_json(struct ports *ports, struct buf *out)
{
	const char *comma = "";
	struct port_view v;
	unsigned i;

	buf_chr(out, '[');
	for (i = 0; ports_view(ports, i, &v); i++) {
		buf_fmt(out, "%s{\"name\":", comma);
		buf_json(out, v.name, strlen(v.name));
		buf_str(out, ",\"device\":");
		buf_json(out, v.device, strlen(v.device));
		buf_fmt(out,
			",\"mode\":\"%s\",\"ifindex\":%u,\"received\":%" PRIu64
			",\"bytes\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"passed\":%" PRIu64,
			v.mode, v.ifindex, v.count->received, v.count->bytes, v.count->sent,
			v.count->passed);
		buf_fmt(out,
			",\"lost\":%" PRIu64 ",\"unsent\":%" PRIu64 ",\"unpassed\":%" PRIu64
			",\"astray\":%" PRIu64 "}",
			v.lost, v.count->unsent, v.count->unpassed, v.count->astray);
		comma = ",";
	}
	buf_chr(out, ']');
}

static void say(struct buf *out, uint64_t n, const char *what)
{
	if (n)
		buf_fmt(out, ", %" PRIu64 " %s", n, what);
}

void live_text(struct ports *ports, struct buf *out)
{
	struct port_view v;
	unsigned i;

	for (i = 0; ports_view(ports, i, &v); i++) {
		buf_fmt(out, "port %s (%s%s%s, ifindex %u): %" PRIu64 " in, %" PRIu64 " out",
			v.name, v.mode, v.device[0] ? " " : "", v.device, v.ifindex,
			v.count->received, v.count->sent);
		say(out, v.count->passed, "passed to the stack");
		say(out, v.count->unpassed, "passed, but no stack is behind");
		say(out, v.count->astray, "redirected to what is no port");
		say(out, v.count->unsent, "could not leave");
		say(out, v.lost, "lost before they came in");
		buf_chr(out, '\n');
	}
}
