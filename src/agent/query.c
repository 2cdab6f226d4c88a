// SPDX-License-Identifier: Apache-2.0
/*
 * The pipe carries a status line ("200\n") and the body. When it ends the child is reaped: by then
 * it has left its memory, so waitpid() does not wait.
 *
 * Q1. A query is on the list from queries_start() until its pipe has ended (or, never begun, its
 *     client has gone); a killed one stays until then.
 * Q2. The child closes every descriptor but its pipe and the standard three, and ends by _exit().
 */
#include "agent/query.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define CHILD_FD     3
#define FLUSH_BYTES  (64U << 10)
#define PENDING_MAX  (256U << 10) /* in the connection, before the pipe is left to fill */
#define KILL_GRACE_S 2

struct query {
	TAILQ_ENTRY(query) link;
	struct queries *all;
	struct http_conn *conn; /* NULL: gone */
	struct query_job *job;
	pid_t pid; /* 0: waiting */
	int fd;
	struct event *readable, *late;
	char status[4];
	unsigned n_status; /* bytes of the status line that have come */
};

struct queries {
	struct event_base *base;
	struct store *store;
	unsigned max, millisec;
	struct queries_stat stat;
	TAILQ_HEAD(, query) list; /* running and waiting, in the order they came */
};

/* ---- the child ----------------------------------------------------------------------------- */

static void send_all(struct query_out *o, const void *p, size_t n)
{
	const char *at = p;
	ssize_t sent;

	while (n) {
		sent = write(o->fd, at, n);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			_exit(1);
		at += sent;
		n -= (size_t)sent;
	}
}

static void out_flush(struct query_out *o)
{
	if (!o->began)
		send_all(o, "200\n", 4);
	o->began = true;
	send_all(o, o->b.data, o->b.len);
	o->sent += o->b.len;
	buf_clear(&o->b);
}

int query_out_more(struct query_out *o)
{
	if (!buf_ok(&o->b))
		return -ENOMEM;
	if (o->b.len >= FLUSH_BYTES)
		out_flush(o);
	return o->sent + o->b.len > QUERY_OUTPUT_MAX ? -E2BIG : 0;
}

static void out_error(struct query_out *o, int rc, const struct skep_err *err)
{
	const char *text = err->text[0] ? err->text : strerror(-rc);

	buf_clear(&o->b);
	buf_str(&o->b, "{\"error\":");
	buf_json(&o->b, text, strlen(text));
	buf_str(&o->b, "}\n");
	send_all(o, rc == -EINVAL ? "400\n" : "503\n", 4);
	send_all(o, o->b.data, o->b.len);
}

static void limit(int what, rlim_t most)
{
	struct rlimit old;

	if (getrlimit(what, &old) || old.rlim_max <= most)
		return;
	setrlimit(what, &(struct rlimit){most, most});
}

/* Bytes of address space in use. */
static size_t address_space(void)
{
	cleanup(file_close) FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	if (!f || fscanf(f, "%lu", &pages) != 1)
		return 0;
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void child_limits(unsigned millisec)
{
	size_t space = address_space();

#ifndef __SANITIZE_ADDRESS__ /* its shadow alone is terabytes */
	if (space)
		limit(RLIMIT_AS, space + QUERY_MEMORY_MAX);
#endif
	(void)space;
	limit(RLIMIT_CPU, millisec / 1000 + 1);
	limit(RLIMIT_CORE, 0);
}

static void child_signals(void)
{
	static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	sigset_t none;
	unsigned i;

	for (i = 0; i < array_size(handled); i++)
		signal(handled[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child(const struct queries *q, const struct query_job *job, int fd,
			    pid_t parent)
{
	struct query_out o = {.fd = CHILD_FD, .millisec = q->millisec};
	struct skep_err err = {0};
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	if (fd != CHILD_FD && dup2(fd, CHILD_FD) < 0)
		_exit(1);
	close_range(CHILD_FD + 1, ~0U, 0);
	child_signals();
	child_limits(q->millisec);
	rc = job->run(job, q->store, &o, &err);
	if (!rc && !buf_ok(&o.b))
		rc = -ENOMEM;
	if (rc && !o.began)
		out_error(&o, rc, &err);
	else if (!rc)
		out_flush(&o);
	_exit(rc && o.began);
}

/* ---- the parent ---------------------------------------------------------------------------- */

static void start_waiting(struct queries *q);

static void query_free(struct query *x)
{
	TAILQ_REMOVE(&x->all->list, x, link);
	if (x->readable)
		event_free(x->readable);
	if (x->late)
		event_free(x->late);
	if (x->fd >= 0)
		close(x->fd);
	free(x->job);
	free(x);
}

static void query_kill(struct query *x)
{
	kill(x->pid, SIGKILL);
	x->all->stat.killed++;
	event_add(x->readable, NULL); /* to see the pipe end (Q1) */
}

/* The pipe has ended: answer what is still to be answered, reap, let the next one in. */
static void query_end(struct query *x)
{
	struct queries *q = x->all;
	struct http_conn *c = x->conn;
	bool begun = x->n_status == sizeof(x->status);
	int status = 1;

	while (waitpid(x->pid, &status, 0) < 0 && errno == EINTR)
		;
	q->stat.running--;
	query_free(x);
	if (c && begun)
		http_end(c, WIFEXITED(status) && !WEXITSTATUS(status));
	else if (c && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL &&
		 WTERMSIG(status) != SIGXCPU)
		http_error(c, 500, "the query failed: %s", strsignal(WTERMSIG(status)));
	else if (c)
		http_error(c, 503, "the query was ended: it took too long");
	start_waiting(q);
}

/* The first four bytes are the status line. Return: bytes of it in @p. */
static size_t status_take(struct query *x, const char *p, size_t n)
{
	size_t part = min(n, sizeof(x->status) - x->n_status);

	memcpy(x->status + x->n_status, p, part);
	x->n_status += (unsigned)part;
	if (part && x->n_status == sizeof(x->status) && x->conn)
		http_stream(x->conn,
			    x->status[0] == '2'	  ? 200
			    : x->status[0] == '4' ? 400
						  : 503,
			    "application/json");
	return part;
}

static void on_readable(evutil_socket_t fd, maybe_unused short what, void *arg)
{
	static char bytes[FLUSH_BYTES];
	struct query *x = arg;
	size_t head;
	ssize_t n;

	n = read(fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		query_end(x);
		return;
	}
	head = status_take(x, bytes, (size_t)n);
	if (!x->conn)
		return;
	http_chunk(x->conn, bytes + head, (size_t)n - head);
	if (http_pending(x->conn) > PENDING_MAX)
		event_del(x->readable);
}

static void on_drained(void *arg)
{
	struct query *x = arg;

	if (x->pid)
		event_add(x->readable, NULL);
}

static void on_gone(void *arg)
{
	struct query *x = arg;

	x->conn = NULL;
	if (x->pid) {
		query_kill(x);
	} else {
		x->all->stat.waiting--;
		query_free(x);
	}
}

static void on_late(maybe_unused evutil_socket_t fd, maybe_unused short what, void *arg)
{
	query_kill(arg);
}

static int query_fork(struct query *x)
{
	struct timeval late = {.tv_sec = x->all->millisec / 1000 + KILL_GRACE_S};
	cleanup(fd_close) int in = -1;
	pid_t parent = getpid();
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	x->fd = fds[0];
	in = fds[1];
	fcntl(x->fd, F_SETFL, O_NONBLOCK);
	x->readable = event_new(x->all->base, x->fd, EV_READ | EV_PERSIST, on_readable, x);
	x->late = evtimer_new(x->all->base, on_late, x);
	if (!x->readable || !x->late)
		return -ENOMEM;
	x->pid = fork();
	if (!x->pid)
		child(x->all, x->job, in, parent);
	if (x->pid < 0) {
		x->pid = 0;
		return -errno;
	}
	event_add(x->readable, NULL);
	event_add(x->late, &late);
	return 0;
}

static struct query *first_waiting(struct queries *q)
{
	struct query *x;

	TAILQ_FOREACH(x, &q->list, link)
	if (!x->pid)
		return x;
	return NULL;
}

static void start_waiting(struct queries *q)
{
	struct http_conn *c;
	struct query *x;
	int rc;

	while (q->stat.running < q->max && (x = first_waiting(q))) {
		q->stat.waiting--;
		rc = query_fork(x);
		if (!rc) {
			q->stat.running++;
			q->stat.started++;
			continue;
		}
		c = x->conn;
		query_free(x);
		http_error(c, 503, "cannot start a query: %s", strerror(-rc));
	}
}

void queries_start(struct queries *q, struct http_conn *c, struct query_job *job)
{
	struct query *x = q->stat.waiting < QUERY_WAITING_MAX ? calloc(1, sizeof(*x)) : NULL;

	if (!x) {
		q->stat.refused++;
		free(job);
		http_error(c, 429, "%u queries run and %u wait already", q->stat.running,
			   q->stat.waiting);
		return;
	}
	x->all = q;
	x->conn = c;
	x->job = job;
	x->fd = -1;
	TAILQ_INSERT_TAIL(&q->list, x, link);
	q->stat.waiting++;
	http_watch(c, on_drained, on_gone, x);
	start_waiting(q);
}

int queries_open(struct queries **out, struct event_base *base, struct store *s, unsigned most,
		 unsigned millisec)
{
	struct queries *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->base = base;
	q->store = s;
	q->max = most;
	q->millisec = millisec;
	TAILQ_INIT(&q->list);
	*out = q;
	return 0;
}

void queries_free(struct queries *q)
{
	struct query *x;

	if (!q)
		return;
	while ((x = TAILQ_FIRST(&q->list))) {
		if (x->conn)
			http_watch(x->conn, NULL, NULL, NULL);
		if (x->pid) {
			kill(x->pid, SIGKILL);
			waitpid(x->pid, NULL, 0);
		}
		query_free(x);
	}
	free(q);
}

const struct queries_stat *queries_stat(const struct queries *q)
{
	return &q->stat;
}
