// SPDX-License-Identifier: Apache-2.0
#include "balance/reap.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "balance/balance.skel.h"
#include "balance/maps.h"
#include "balance/reap.skel.h"
#include "balance/socket.h"
#include "host/host.h"

/* Looks after a backend went: who chose it just before may connect just after the first. */
#define LOOKS 3

struct answer {
	uint32_t ended, failed;
};

struct reap {
	int fd; /* to the child */
	pid_t child;
	uint64_t gone, ended, failed;
	unsigned looks; /* still to be asked for */
	bool diag;	/* the child ends sockets by netlink */
	bool everywhere;
};

/* ---- the child: one socket ------------------------------------------------------------------- */

struct request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
};

static int diag_ask(const struct request *r)
{
	cleanup(fd_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[256];
	} answer;

	if (fd < 0 || send(fd, r, sizeof(*r), 0) < 0 ||
	    recv(fd, &answer, sizeof(answer), 0) < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) ||
	    answer.head.nlmsg_type != NLMSG_ERROR)
		return -EIO;
	return answer.error.error;
}

static int diag_end(const struct balance_stale *s)
{
	struct request r = {
		.head = {.nlmsg_len = sizeof(r),
			 .nlmsg_type = SOCK_DESTROY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.body = {.sdiag_family = s->family == 6 ? AF_INET6 : AF_INET,
			 .sdiag_protocol = s->proto,
			 .idiag_states = ~0U,
			 .id = {.idiag_sport = s->local_port, .idiag_dport = s->remote_port}},
	};

	memcpy(r.body.id.idiag_src, s->local, 16);
	memcpy(r.body.id.idiag_dst, s->remote, 16);
	r.body.id.idiag_cookie[0] = (uint32_t)s->cookie;
	r.body.id.idiag_cookie[1] = (uint32_t)(s->cookie >> 32);
	return diag_ask(&r);
}

/* A socket that does not exist cannot be found; without the option nothing is looked for. */
static bool diag_works(void)
{
	struct balance_stale none = {.family = 4, .proto = IPPROTO_TCP, .cookie = ~1ULL};

	none.local[0] = none.remote[0] = htonl(INADDR_LOOPBACK);
	none.local_port = none.remote_port = htons(1);
	return diag_end(&none) == -ENOENT;
}

/* ---- the child: all namespaces --------------------------------------------------------------- */

static void look_at(int link, struct answer *a)
{
	cleanup(fd_close) int it = bpf_iter_create(link);
	struct balance_stale s[64];
	ssize_t n, i;

	while (it >= 0 && (n = read(it, s, sizeof(s))) > 0) {
		for (i = 0; i < n / (ssize_t)sizeof(*s); i++) {
			bool ended = s[i].ended || !diag_end(&s[i]);

			a->ended += ended;
			a->failed += !ended;
		}
	}
}

struct seen {
	ino_t *list;
	size_t n, room;
};

static bool seen_add(struct seen *s, ino_t ino)
{
	size_t i;
	void *more;

	for (i = 0; i < s->n; i++)
		if (s->list[i] == ino)
			return false;
	if (s->n == s->room) {
		more = reallocarray(s->list, s->room * 2 + 16, sizeof(*s->list));
		if (!more)
			return false;
		s->list = more;
		s->room = s->room * 2 + 16;
	}
	s->list[s->n++] = ino;
	return true;
}

/* U1: each namespace that some process is in, once; without CAP_SYS_ADMIN only the agent's own. */
static void look_everywhere(const int *links, struct answer *a)
{
	DIR *proc = opendir("/proc");
	struct seen seen = {0};
	struct dirent *e;
	struct stat st;
	char path[64];
	int ns;

	if (!stat("/proc/self/ns/net", &st) && seen_add(&seen, st.st_ino)) {
		look_at(links[0], a);
		look_at(links[1], a);
	}
	while (proc && (e = readdir(proc))) {
		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/ns/net", e->d_name);
		if (stat(path, &st) || !seen_add(&seen, st.st_ino))
			continue;
		ns = open(path, O_RDONLY | O_CLOEXEC);
		if (ns >= 0 && !setns(ns, CLONE_NEWNET)) {
			look_at(links[0], a);
			look_at(links[1], a);
		}
		fd_close(&ns);
	}
	if (proc)
		closedir(proc);
	free(seen.list);
}

/* What it keeps: namespaces, ending sockets, /proc of others, iterators. */
static void privileges_drop(void)
{
	static const unsigned kept[] = {CAP_SYS_ADMIN,	     CAP_NET_ADMIN, CAP_SYS_PTRACE,
					CAP_DAC_READ_SEARCH, CAP_BPF,	    CAP_PERFMON};
	bool have[array_size(kept)];
	unsigned i;

	if (capng_get_caps_process())
		return;
	for (i = 0; i < array_size(kept); i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, kept[i]);
	capng_clear(CAPNG_SELECT_BOTH);
	for (i = 0; i < array_size(kept); i++)
		if (have[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i]);
	capng_apply(CAPNG_SELECT_CAPS);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void child_run(int fd, const int links[2])
{
	struct answer a;
	int keep[3] = {fd, links[0], links[1]}, i;
	char word;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "skep-reap");
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_IGN);
	for (i = 0; i < 3; i++) /* to 3, 4, 5 by way of places above */
		keep[i] = fcntl(keep[i], F_DUPFD_CLOEXEC, 100);
	for (i = 0; i < 3; i++)
		dup2(keep[i], 3 + i);
	close_range(6, ~0U, 0);
	privileges_drop();
	while (recv(3, &word, 1, 0) == 1) {
		a = (struct answer){0};
		look_everywhere((int[]){4, 5}, &a);
		if (send(3, &a, sizeof(a), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

/* ---- load ------------------------------------------------------------------------------------ */

static int maps_share(struct reap_bpf *b, const struct maps *maps, const struct sockets *sockets)
{
	int rc = bpf_map__reuse_fd(b->maps.peers, sockets_map(sockets, "peers"));

	if (!rc)
		rc = bpf_map__reuse_fd(b->maps.ends, sockets_map(sockets, "ends"));
	if (!rc)
		rc = bpf_map__reuse_fd(b->maps.backends, bpf_map__fd(maps->bpf->maps.backends));
	return rc;
}

static int fork_child(struct reap *r, struct reap_bpf *b, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, o);
	cleanup(fd_close) int tcp =
		bpf_link_create(bpf_program__fd(b->progs.tcp), 0, BPF_TRACE_ITER, &o);
	cleanup(fd_close) int udp =
		bpf_link_create(bpf_program__fd(b->progs.udp), 0, BPF_TRACE_ITER, &o);
	int pair[2];

	if (tcp < 0 || udp < 0)
		return skep_fail(err, -EOPNOTSUPP, "iterators over sockets: %s", strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return skep_fail(err, -errno, "socketpair: %s", strerror(errno));
	r->child = fork();
	if (!r->child) {
		close(pair[0]);
		child_run(pair[1], (int[]){tcp, udp});
	}
	close(pair[1]);
	r->fd = pair[0];
	return r->child < 0 ? skep_fail(err, -errno, "fork: %s", strerror(errno)) : 0;
}

int reap_open(struct reap **out, struct host *host, const struct maps *maps,
	      const struct sockets *sockets, struct skep_err *err)
{
	struct reap *r = calloc(1, sizeof(*r));
	struct reap_bpf *b = reap_bpf__open();
	int rc = r && b ? 0 : -ENOMEM;

	if (!rc) {
		r->fd = r->child = -1;
		b->rodata->can_end = host_btf_func(host, "bpf_sock_destroy");
		r->diag = !b->rodata->can_end;
		r->everywhere = !capng_get_caps_process() &&
				capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
		if (r->diag && !diag_works())
			rc = skep_fail(err, -EOPNOTSUPP,
				       "the kernel has neither bpf_sock_destroy() nor "
				       "SOCK_DESTROY");
	}
	if (!rc)
		rc = maps_share(b, maps, sockets);
	if (!rc) {
		rc = reap_bpf__load(b);
		if (rc)
			skep_fail(err, rc, "load reap.bpf.o: %s: %s", strerror(-rc),
				  host_bpf_log());
	}
	if (!rc)
		rc = fork_child(r, b, err);
	reap_bpf__destroy(b);
	if (rc)
		reap_free(r);
	else
		*out = r;
	return rc;
}

void reap_free(struct reap *r)
{
	if (!r)
		return;
	fd_close(&r->fd);
	if (r->child > 0)
		waitpid(r->child, NULL, 0);
	free(r);
}

const char *reap_how(const struct reap *r)
{
	if (!r->everywhere)
		return "in this network namespace only: others need CAP_SYS_ADMIN";
	return r->diag ? "SOCK_DESTROY of netlink" : "bpf_sock_destroy()";
}

void reap_tick(struct reap *r, uint64_t gone)
{
	struct answer a;

	while (recv(r->fd, &a, sizeof(a), MSG_DONTWAIT) == sizeof(a)) {
		r->ended += a.ended;
		r->failed += a.failed;
	}
	if (gone != r->gone)
		r->looks = LOOKS;
	r->gone = gone;
	if (r->looks && send(r->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		r->looks--;
}

void reap_count(const struct reap *r, cap_count_fn fn, void *arg)
{
	fn(arg, "skep_balance_socket_destroyed_total", CAP_COUNTER,
	   "Sockets ended because their backend was gone", "", (double)r->ended);
	fn(arg, "skep_balance_socket_undestroyed_total", CAP_COUNTER,
	   "Attempts to end one that failed", "", (double)r->failed);
}
