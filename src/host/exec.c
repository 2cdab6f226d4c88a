// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c: a command and its children whose bpf(2) an engine answers, without root and unmodified.
 *
 *	skep exec ----- fork ----> child.c: no_new_privs, filter (trap.c), exec
 *	    |                          |
 *	    |<--- listener ------------+---> the command, its threads, its children
 *	    |                                        |
 *	notify.c <---- bpf, epoll_ctl, perf_event_open, statfs ... each waits for its answer
 *	    |  target.c: its memory, descriptors, paths
 *	    v
 *	vm_bpf(engine) ---> descriptors: memfds put into the caller, to be mapped, passed, closed there
 *
 * The filter is the kernel's: it holds for static binaries, raw system calls, other languages, and
 * whatever the command executes. It is no sandbox: the command has its user's rights.
 *
 * X1  Nothing of the command's is believed. Lengths are checked by vm before memory is taken; a
 *     descriptor is the engine's only by the inode behind it.
 * X2  A notification's thread may die at any time and its number be another's. What was read is used
 *     only if the notification stood afterwards; nothing is written unless it stands. So what a lookup reads,
 *     which changes nothing, needs no look of its own.
 * X3  A call that was taken is answered once: only death interrupts it (WAIT_KILLABLE_RECV), so no
 *     signal handler makes the kernel ask again for what was done.
 * X4  A call that may take long is answered beside the others.
 * X5  The end of this process ends the command (PR_SET_PDEATHSIG); what survives it gets ENOSYS.
 */
#include "host/exec.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "host/inside.h"
#include "host/port.h"

struct exec {
	const struct host_exec *what;
	pid_t child;
	int socket; /* to the child, until it is the command */
	int signals;
	int listener;
	struct skep_engine *engine;
	struct notify *notify;
	struct ports *ports;
	pthread_t mover; /* of their frames */
	int stop;	 /* eventfd that ends it; -1: there is none */
};

/* ---- signals ---------------------------------------------------------------------------------*/
/* Those that are handed on. Stops stay the terminal's and the shell's matter. */
static void forwarded(sigset_t *out)
{
	static const int not [] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGABRT,
				   SIGSYS,  SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT};

	sigfillset(out);
	for (size_t i = 0; i < array_size(not ); i++)
		sigdelset(out, not [i]);
}

/* What the terminal sent, it sent to the command too. */
static void forward(const struct exec *x, const struct signalfd_siginfo *s)
{
	if (s->ssi_signo != SIGCHLD && s->ssi_code <= 0)
		kill(x->child, (int)s->ssi_signo);
}

/* A shell that suspends itself stops alone: stop too, so that whoever waits for us learns of it. */
static void stop_too(const struct exec *x)
{
	if (getpgid(x->child) == getpgrp())
		return;
	raise(SIGSTOP);
	kill(x->child, SIGCONT);
}

/* Bury the dead. Return: the command's status, -1 while it lives. */
static int reap(const struct exec *x)
{
	siginfo_t s = {0};
	int status = -1;

	while (!waitid(P_ALL, 0, &s, WEXITED | WSTOPPED | WNOHANG) && s.si_pid) {
		if (s.si_pid == x->child && s.si_code == CLD_STOPPED)
			stop_too(x);
		else if (s.si_pid == x->child)
			status = s.si_code == CLD_EXITED ? s.si_status : 128 + s.si_status;
		s.si_pid = 0;
	}
	return status;
}

static int await_command(const struct exec *x)
{
	struct signalfd_siginfo s;
	int status = reap(x);

	while (status < 0) {
		if (read(x->signals, &s, sizeof(s)) == sizeof(s))
			forward(x, &s);
		else if (errno != EINTR)
			return HOST_EXEC_FAILED;
		status = reap(x);
	}
	return status;
}

/* ---- beginning -------------------------------------------------------------------------------*/
/* Others must not wait for descriptors to close that we only inherited. */
static void let_go(int socket)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	if (socket > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)socket - 1, 0);
	close_range((unsigned)socket + 1, ~0U, 0);
}

/* An object of the engine's is a descriptor here. */
static void more_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static int start(struct exec *x, struct skep_err *err)
{
	pid_t parent = getpid();
	sigset_t mask, before;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return skep_note(err, -errno, "socketpair");
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	forwarded(&mask);
	sigprocmask(SIG_BLOCK, &mask, &before);
	x->child = fork();
	if (!x->child) {
		close(pair[0]); /* or it would never end when ours does */
		child_run(x->what, pair[1], parent, &before);
	}
	close(pair[1]);
	x->socket = pair[0];
	if (x->child < 0)
		return skep_note(err, -errno, "fork");
	let_go(x->socket);
	more_files();
	x->signals = signalfd(-1, &mask, SFD_CLOEXEC);
	return x->signals < 0 ? skep_note(err, -errno, "signalfd") : 0;
}

static int explain(const struct child_word *w, struct skep_err *err)
{
	int rc = -w->error;

	switch (w->stage) {
	case CHILD_ROOT:
		return skep_note(err, rc, "--root: user and mount namespaces");
	case CHILD_TRAP:
		if (rc == -EBUSY)
			return skep_fail(err, rc,
					 "another program already answers system calls "
					 "here: skep exec cannot be nested");
		if (rc == -EINVAL)
			return skep_fail(err, rc,
					 "this kernel cannot hand system calls over "
					 "(seccomp user notification, Linux 5.19 or newer)");
		return skep_note(err, rc, "seccomp");
	default:
		return rc;
	}
}

static int hear_listener(struct exec *x, struct skep_err *err)
{
	struct child_word word;

	if (child_hear(x->socket, &word, &x->listener))
		return skep_fail(err, -ECHILD, "the child ended before it was the command");
	if (word.stage != CHILD_READY)
		return explain(&word, err);
	return x->listener < 0 ? skep_fail(err, -EPROTO, "no listener came") : 0;
}

/* ---- ports -----------------------------------------------------------------------------------*/
static void *move_frames(void *arg)
{
	struct exec *x = arg;

	ports_run(x->ports, x->stop, PORTS_STAY, NULL);
	return NULL;
}

/* All signals are blocked by now, so none goes to the thread. */
static int open_ports(struct exec *x, struct skep_err *err)
{
	int rc;

	if (!x->what->n_ports)
		return 0;
	rc = ports_open(&x->ports, x->engine, x->what->ports, x->what->n_ports, err);
	if (rc)
		return rc;
	x->stop = eventfd(0, EFD_CLOEXEC);
	rc = x->stop < 0 ? -errno : -pthread_create(&x->mover, NULL, move_frames, x);
	if (!rc)
		return 0;
	fd_close(&x->stop);
	return skep_note(err, rc, "a thread for the ports");
}

static void close_ports(struct exec *x)
{
	if (x->stop >= 0) {
		eventfd_write(x->stop, 1);
		pthread_join(x->mover, NULL);
		fd_close(&x->stop);
	}
	ports_free(take(x->ports));
}

static int serve(struct exec *x, struct skep_err *err)
{
	int rc = skep_engine_open(&x->engine, &x->what->engine);

	if (rc)
		return skep_note(err, rc, "the engine");
	rc = open_ports(x, err);
	if (rc)
		return rc;
	rc = notify_open(&x->notify, x->listener, x->engine, x->child);
	if (rc)
		return skep_note(err, rc, "answering system calls");
	x->listener = -1;
	return write(x->socket, "", 1) == 1 ? 0 : skep_note(err, -errno, "the child");
}

/* The socket closes at exec. Return: 0, or HOST_EXEC_NOT_FOUND, HOST_EXEC_CANNOT. */
static int executed(const struct exec *x, struct skep_err *err)
{
	cleanup(fd_close) int none = -1;
	struct child_word word;

	if (child_hear(x->socket, &word, &none))
		return 0;
	skep_fail(err, 0, "%s: %s", x->what->argv[0], strerror(word.error));
	return word.error == ENOENT ? HOST_EXEC_NOT_FOUND : HOST_EXEC_CANNOT;
}

static void exec_done(struct exec *x)
{
	fd_close(&x->socket); /* a child that waits for us goes */
	fd_close(&x->listener);
	fd_close(&x->signals);
	close_ports(x);
	if (!notify_free(x->notify))
		skep_engine_free(x->engine);
}

int host_exec(const struct host_exec *what, struct skep_err *err)
{
	cleanup(exec_done) struct exec x = {
		.what = what, .child = -1, .socket = -1, .signals = -1, .listener = -1, .stop = -1};
	int rc = start(&x, err), status;

	if (!rc)
		rc = hear_listener(&x, err);
	if (!rc)
		rc = serve(&x, err);
	if (rc) {
		fd_close(&x.socket);
		if (x.child > 0)
			waitpid(x.child, NULL, 0);
		return HOST_EXEC_FAILED;
	}
	rc = executed(&x, err);
	status = await_command(&x);
	return rc ? rc : status;
}
