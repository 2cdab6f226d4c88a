// SPDX-License-Identifier: Apache-2.0
/*
 * load live ADDRESS PORT N SECONDS [hop|CPU]: N HTTP connections that are kept, a request on each in
 *	rounds, and one short connection after another between them; "hop" lets every round run on
 *	another CPU. At the end: "live N lost L moved M rounds R short S failed F of NAME=LOST/N ...".
 * load flood ADDRESS PORT RATE SECONDS: SYNs from addresses and ports that nobody has.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LIVE_MOST 1000

struct live {
	int fd;
	char name[16];
	bool lost;
};

static struct live live[LIVE_MOST];
static volatile sig_atomic_t ended;

static void on_end(int signal)
{
	ended = signal;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void cpu_set(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int dial(const struct sockaddr_in *to)
{
	struct timeval wait = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to))) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool ask(int fd, const char *how)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nConnection: %s\r\n\r\n",
			 how);

	return send(fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

/* The answer's body, the server's name; false: none came. */
static bool answer(int fd, char name[16])
{
	char in[2048];
	size_t n = 0;
	char *body;
	ssize_t got;

	while (n < sizeof(in) - 1) {
		got = recv(fd, in + n, sizeof(in) - 1 - n, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			fprintf(stderr, "no answer: %s\n", got ? strerror(errno) : "end");
			return false;
		}
		n += (size_t)got;
		in[n] = '\0';
		body = strstr(in, "\r\n\r\n");
		if (body && strchr(body + 4, '\n'))
			return sscanf(body + 4, "%15s", name) == 1;
	}
	return false;
}

static bool one_short(const struct sockaddr_in *to)
{
	int fd = dial(to);
	char name[16];
	bool ok;

	if (fd < 0)
		return false;
	ok = ask(fd, "close") && answer(fd, name);
	close(fd);
	return ok;
}

static unsigned round_all(int n)
{
	unsigned moved = 0;
	char name[16];
	int i;

	for (i = 0; i < n; i++)
		live[i].lost = live[i].lost || !ask(live[i].fd, "keep-alive");
	for (i = 0; i < n; i++) {
		if (live[i].lost)
			continue;
		live[i].lost = !answer(live[i].fd, name);
		moved += !live[i].lost && live[i].name[0] && strcmp(name, live[i].name) != 0;
		if (!live[i].lost)
			strcpy(live[i].name, name);
	}
	return moved;
}

static void tell(int n)
{
	int i, k, lost, all;

	for (i = 0; i < n; i++) {
		for (k = 0; k < i && strcmp(live[k].name, live[i].name) != 0; k++)
			;
		if (k < i)
			continue;
		for (k = i, lost = all = 0; k < n; k++) {
			all += !strcmp(live[k].name, live[i].name);
			lost += live[k].lost && !strcmp(live[k].name, live[i].name);
		}
		printf(" %s=%d/%d", live[i].name, lost, all);
	}
	printf("\n");
}

static int run_live(const struct sockaddr_in *to, int n, double seconds, const char *cpu)
{
	unsigned moved = 0, rounds = 0, shorts = 0, failed = 0, lost = 0;
	bool hop = cpu && !strcmp(cpu, "hop");
	double end;
	int i;

	if (cpu && !hop)
		cpu_set(atoi(cpu));
	for (i = 0; i < n; i++) {
		live[i].fd = dial(to);
		live[i].lost = live[i].fd < 0;
	}
	for (end = now() + seconds; now() < end && !ended; rounds++) {
		if (hop)
			cpu_set((int)(rounds & 1));
		moved += round_all(n);
		if (!rounds) {
			printf("begun\n");
			fflush(stdout);
		}
		for (i = 0; i < 10; i++, shorts++)
			failed += !one_short(to);
		usleep(20000);
	}
	moved += round_all(n);
	for (i = 0; i < n; i++)
		lost += live[i].lost;
	printf("live %d lost %u moved %u rounds %u short %u failed %u of", n, lost, moved, rounds,
	       shorts, failed);
	tell(n);
	return lost || moved || failed;
}

static uint16_t sum(const void *p, size_t n, uint32_t s)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons((uint16_t)~s);
}

static int run_flood(const struct sockaddr_in *to, unsigned rate, double seconds)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
	} p = {.ip = {.version = 4,
		      .ihl = 5,
		      .ttl = 64,
		      .protocol = IPPROTO_TCP,
		      .tot_len = htons(40),
		      .daddr = to->sin_addr.s_addr},
	       .tcp = {.doff = 5, .syn = 1, .window = htons(1024), .dest = to->sin_port}};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	double begin = now(), end = begin + seconds;
	unsigned sent = 0, i;

	while (now() < end && !ended) {
		for (i = 0; i < 64; i++, sent++) {
			p.ip.saddr = htonl(0x0b000000 | ((uint32_t)rand() & 0xffffff));
			p.tcp.source = htons((uint16_t)rand());
			p.tcp.seq = (uint32_t)rand();
			p.tcp.check = 0;
			p.tcp.check = sum(&p.tcp, 20,
					  (uint32_t)(uint16_t)~ntohs(sum(&p.ip.saddr, 8, 0)) + 26);
			sendto(fd, &p, 40, 0, (const struct sockaddr *)to, sizeof(*to));
		}
		while (sent > (now() - begin) * rate && now() < end)
			usleep(500);
	}
	printf("sent %u\n", sent);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};

	if (argc < 6 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || atoi(argv[4]) > 1000000)
		return 2;
	to.sin_port = htons((uint16_t)atoi(argv[3]));
	signal(SIGTERM, on_end);
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(argv[1], "live") && atoi(argv[4]) <= LIVE_MOST)
		return run_live(&to, atoi(argv[4]), atof(argv[5]), argv[6]);
	if (!strcmp(argv[1], "flood"))
		return run_flood(&to, (unsigned)atoi(argv[4]), atof(argv[5]));
	return 2;
}
