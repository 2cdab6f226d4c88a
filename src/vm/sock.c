// SPDX-License-Identifier: Apache-2.0
/*
 * Sockets of callers in maps: known by their cookies, held open by nobody here.
 *
 *	a caller's fd --> a copy, for a moment --> its cookie --> the engine's epoll, under that cookie
 *
 * SK1  An epoll forgets what it watches when the last descriptor of it goes, so that fdinfo of the epoll
 *	tells which sockets there still are; nothing else could without holding them.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "vm/inside.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

struct socket {
	uint64_t cookie;
};

static int option(int fd, int what)
{
	int v = 0;
	socklen_t n = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, what, &v, &n) ? -errno : v;
}

static bool established(int fd)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof(peer);

	return !getpeername(fd, (struct sockaddr *)&peer, &n);
}

static bool tcp_usable(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) &&
	       (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_LISTEN);
}

/* Has it a port of its own? */
static bool bound(int fd)
{
	struct sockaddr_in6 a = {0};
	socklen_t n = sizeof(a);

	return !getsockname(fd, (struct sockaddr *)&a, &n) &&
	       a.sin6_port; /* where IPv4 has it too */
}

static bool is_inet(int fd)
{
	int family = option(fd, SO_DOMAIN);

	return family == AF_INET || family == AF_INET6;
}

/* For sockmaps and sockhashes. */
static int check_any(int fd)
{
	int family = option(fd, SO_DOMAIN), type = option(fd, SO_TYPE);
	bool ok = false;

	if (is_inet(fd) && type == SOCK_STREAM)
		ok = tcp_usable(fd);
	else if (is_inet(fd) && type == SOCK_DGRAM)
		ok = bound(fd);
	else if (family == AF_UNIX)
		ok = type == SOCK_DGRAM || (type == SOCK_STREAM && established(fd));
	return ok ? 0 : -EOPNOTSUPP;
}

/* For arrays of sockets that share a port: they do, and they are where packets find them. */
static int check_port(int fd)
{
	int protocol = option(fd, SO_PROTOCOL), type = option(fd, SO_TYPE);

	if ((protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) || !is_inet(fd) ||
	    (type != SOCK_STREAM && type != SOCK_DGRAM))
		return -VM_ENOTSUPP;
	if (option(fd, SO_REUSEPORT) <= 0 || !bound(fd))
		return -EINVAL;
	return type == SOCK_DGRAM || option(fd, SO_ACCEPTCONN) > 0 ? 0 : -EINVAL;
}

/* ---- which are still open (SK1) ---------------------------------------------------------------- */

static int epoll_of(struct skep_engine *e)
{
	int fd;

	pthread_mutex_lock(&e->attach_lock);
	if (e->sockets < 0)
		e->sockets = epoll_create1(EPOLL_CLOEXEC);
	fd = e->sockets;
	pthread_mutex_unlock(&e->attach_lock);
	return fd;
}

static int watch(struct skep_engine *e, int fd, uint64_t cookie)
{
	struct epoll_event ev = {.data.u64 = cookie};
	int ep = epoll_of(e);

	if (ep < 0)
		return -ENOMEM;
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) && errno != EEXIST ? -errno : 0;
}

static bool is_open(struct skep_engine *e, uint64_t cookie)
{
	char path[64], line[256];
	unsigned long long data;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", e->sockets);
	f = fopen(path, "re");
	if (!f)
		return true; /* nobody can tell */
	while (!found && fgets(line, sizeof(line), f)) {
		const char *at = strstr(line, "data:");

		found = at && sscanf(at + 5, "%llx", &data) == 1 && data == cookie;
	}
	fclose(f);
	return found;
}

bool vm_slot_alive(void *arg, struct map *m maybe_unused, void *object)
{
	return is_open(arg, ((const struct socket *)object)->cookie);
}

/* ---- slots --------------------------------------------------------------------------------------- */

void *vm_slot_socket(struct call *c, uint32_t map_type, int fd, int *rc)
{
	cleanup(fd_close) int copy = c->caller->fd_get(c->caller->arg, fd);
	cleanup(mem_free) struct socket *s = calloc(1, sizeof(*s));
	socklen_t n = sizeof(s->cookie);

	*rc = copy < 0 ? -EBADF : s ? 0 : -ENOMEM;
	if (!*rc && option(copy, SO_TYPE) < 0)
		*rc = -ENOTSOCK;
	if (!*rc)
		*rc = map_type == BPF_MAP_TYPE_REUSEPORT_SOCKARRAY ? check_port(copy)
								   : check_any(copy);
	if (!*rc && getsockopt(copy, SOL_SOCKET, SO_COOKIE, &s->cookie, &n))
		*rc = -errno;
	if (!*rc)
		*rc = watch(c->e, copy, s->cookie);
	return *rc ? NULL : take(s);
}

uint64_t vm_slot_cookie(const void *object)
{
	return ((const struct socket *)object)->cookie;
}
