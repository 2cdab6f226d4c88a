// SPDX-License-Identifier: Apache-2.0
/*
 * sock: small servers and clients whose every call is known, for balance_socket.bats.
 *
 *	serve NAME ADDRESS PORT...     TCP and UDP: "NAME" to who connects, "NAME" for each datagram
 *	tcp ADDRESS PORT               connect, print the server's name and getpeername()
 *	udp ADDRESS PORT               the same of a connected datagram socket, and recvfrom()'s source
 *	talk N ADDRESS PORT...         one socket, not connected: N datagrams to each; names and sources
 *	chat ADDRESS PORT              one socket, not connected: 30 datagrams in 3 seconds
 *	hold tcp|udp ADDRESS PORT      connect, print, then wait for the socket's end and print that
 *	storm SECONDS ADDRESS PORT     connects, reads the name, closes, over and over: how many failed
 *	bind tcp|udp ADDRESS PORT      prints what bind() said
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

union addr {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static socklen_t address(union addr *a, const char *text, const char *port)
{
	memset(a, 0, sizeof(*a));
	if (strchr(text, ':')) {
		a->six.sin6_family = AF_INET6;
		a->six.sin6_port = htons((unsigned short)atoi(port));
		inet_pton(AF_INET6, text, &a->six.sin6_addr);
		return sizeof(a->six);
	}
	a->four.sin_family = AF_INET;
	a->four.sin_port = htons((unsigned short)atoi(port));
	inet_pton(AF_INET, text, &a->four.sin_addr);
	return sizeof(a->four);
}

static const char *text(const union addr *a)
{
	static char out[2][80];
	static int n;
	char ip[64];

	n = !n;
	if (a->any.sa_family == AF_INET6)
		snprintf(out[n], 80, "[%s]:%u",
			 inet_ntop(AF_INET6, &a->six.sin6_addr, ip, sizeof(ip)),
			 ntohs(a->six.sin6_port));
	else
		snprintf(out[n], 80, "%s:%u", inet_ntop(AF_INET, &a->four.sin_addr, ip, sizeof(ip)),
			 ntohs(a->four.sin_port));
	return out[n];
}

static const char *problem(void)
{
	return errno ? strerrorname_np(errno) : "end";
}

static int open_socket(const union addr *a, int type)
{
	struct timeval tv = {.tv_sec = 5};
	int fd = socket(a->any.sa_family, type, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

/* ---- servers --------------------------------------------------------------------------------- */

static void listen_on(struct pollfd *p, const char *addr, const char *port, int type)
{
	union addr a;
	socklen_t size = address(&a, addr, port);
	int one = 1;

	p->fd = socket(a.any.sa_family, type, 0);
	p->events = POLLIN;
	setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(p->fd, &a.any, size) || (type == SOCK_STREAM && listen(p->fd, 1024))) {
		perror(addr);
		exit(1);
	}
}

static int serve(const char *name, char **list, int n)
{
	struct pollfd p[32];
	union addr from;
	char buf[512];
	int i, c;

	for (i = 0; i < n; i += 2) {
		listen_on(&p[i], list[i], list[i + 1], SOCK_STREAM);
		listen_on(&p[i + 1], list[i], list[i + 1], SOCK_DGRAM);
	}
	while (poll(p, (nfds_t)n, -1) > 0) {
		for (i = 0; i < n; i++) {
			socklen_t size = sizeof(from);

			if (!p[i].revents)
				continue;
			if (i & 1) {
				if (recvfrom(p[i].fd, buf, sizeof(buf), 0, &from.any, &size) >= 0)
					sendto(p[i].fd, name, strlen(name), 0, &from.any, size);
				continue;
			}
			c = accept(p[i].fd, NULL, NULL); /* stays open: the client ends it */
			if (c >= 0 && write(c, name, strlen(name)) < 0)
				perror("write");
			if (c >= 1000)
				for (c = 64; c < 1000; c++)
					close(c);
		}
	}
	return 1;
}

/* ---- clients --------------------------------------------------------------------------------- */

static int connected(const char *addr, const char *port, int type, char *name)
{
	union addr a, peer, from = {0};
	socklen_t size = address(&a, addr, port);
	int fd = open_socket(&a, type);
	ssize_t n;

	if (connect(fd, &a.any, size)) {
		printf("%s\n", problem());
		return -1;
	}
	if (type == SOCK_DGRAM && send(fd, "?", 1, 0) != 1) {
		printf("send %s\n", problem());
		return -1;
	}
	size = sizeof(from);
	n = recvfrom(fd, name, 63, 0, &from.any, &size);
	if (n < 0) {
		printf("recv %s\n", problem());
		return -1;
	}
	name[n] = '\0';
	size = sizeof(peer);
	getpeername(fd, &peer.any, &size);
	printf("%s %s", name, text(&peer));
	if (type == SOCK_DGRAM)
		printf(" %s", text(&from));
	printf("\n");
	fflush(stdout);
	return fd;
}

static int talk(int n, int pause_ms, char **list, int words)
{
	union addr a, from;
	char name[64];
	int fd = -1, i, k;

	for (k = 0; k < n; k++)
		for (i = 0; i < words; i += 2) {
			socklen_t size = address(&a, list[i], list[i + 1]);
			ssize_t got;

			if (fd < 0)
				fd = open_socket(&a, SOCK_DGRAM);
			if (sendto(fd, "?", 1, 0, &a.any, size) != 1) {
				printf("%s\n", problem());
				return 1;
			}
			size = sizeof(from);
			got = recvfrom(fd, name, 63, 0, &from.any, &size);
			name[got > 0 ? got : 0] = '\0';
			printf("%s %s\n", got > 0 ? name : problem(), text(&from));
			usleep((useconds_t)pause_ms * 1000);
		}
	return 0;
}

static int hold(int type, const char *addr, const char *port)
{
	struct timeval tv = {.tv_sec = 60};
	char name[64];
	int fd = connected(addr, port, type, name);
	ssize_t n;

	if (fd < 0)
		return 1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	errno = 0;
	n = recv(fd, name, sizeof(name), 0);
	printf("%s\n", n > 0 ? "data" : problem());
	return 0;
}

static int storm(int seconds, const char *addr, const char *port)
{
	time_t until = time(NULL) + seconds;
	unsigned long good = 0, bad = 0;
	struct linger off = {1, 0};
	union addr a;
	socklen_t size = address(&a, addr, port);
	char name[64];
	int fd;

	while (time(NULL) < until) {
		fd = open_socket(&a, SOCK_STREAM);
		if (connect(fd, &a.any, size) || read(fd, name, sizeof(name)) <= 0)
			bad++;
		else
			good++;
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
		close(fd);
	}
	printf("good %s failed %lu\n", good > 100 ? "many" : "few", bad);
	return 0;
}

static int bind_to(int type, const char *addr, const char *port)
{
	union addr a;
	socklen_t size = address(&a, addr, port);
	int fd = open_socket(&a, type);

	errno = 0;
	printf("%s\n", bind(fd, &a.any, size) ? problem() : "bound");
	return 0;
}

static int kind(const char *s)
{
	return strcmp(s, "udp") ? SOCK_STREAM : SOCK_DGRAM;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 3 ? argv[1] : "";
	char name[64];

	if (!strcmp(verb, "serve") && argc % 2)
		return serve(argv[2], argv + 3, argc - 3);
	if (!strcmp(verb, "tcp") || !strcmp(verb, "udp"))
		return connected(argv[2], argv[3], kind(verb), name) < 0;
	if (!strcmp(verb, "talk"))
		return talk(atoi(argv[2]), 0, argv + 3, argc - 3);
	if (!strcmp(verb, "chat"))
		return talk(30, 100, argv + 2, 2);
	if (!strcmp(verb, "hold") && argc > 4)
		return hold(kind(argv[2]), argv[3], argv[4]);
	if (!strcmp(verb, "storm") && argc > 4)
		return storm(atoi(argv[2]), argv[3], argv[4]);
	if (!strcmp(verb, "bind") && argc > 4)
		return bind_to(kind(argv[2]), argv[3], argv[4]);
	fprintf(stderr, "sock: see the head of its source\n");
	return 2;
}
