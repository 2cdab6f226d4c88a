// SPDX-License-Identifier: Apache-2.0
/* The way to a backend, tried: for doctor.c. */
#include "balance/doctor.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "balance/why.h"

#define WAIT_MS 700

union address {
	struct sockaddr any;
	struct sockaddr_in four;
	struct sockaddr_in6 six;
};

static socklen_t address_of(union address *out, const struct config_addr *a, uint16_t port)
{
	memset(out, 0, sizeof(*out));
	if (a->family == 4) {
		out->four.sin_family = AF_INET;
		out->four.sin_port = htons(port);
		memcpy(&out->four.sin_addr, a->bytes, 4);
		return sizeof(out->four);
	}
	out->six.sin6_family = AF_INET6;
	out->six.sin6_port = htons(port);
	memcpy(&out->six.sin6_addr, a->bytes, 16);
	return sizeof(out->six);
}

unsigned doctor_mtu(const struct config_addr *a)
{
	bool six = a->family == 6;
	cleanup(fd_close) int fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(int);
	union address to;
	int mtu = 0;

	if (fd < 0 || connect(fd, &to.any, address_of(&to, a, 9)))
		return 0;
	if (getsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP,
		       six ? 24 /* IPV6_MTU */ : 14 /* IP_MTU */, &mtu, &size))
		return 0;
	return (unsigned)mtu;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* An echo reply to our @id from @vip, IP header first. */
static bool is_answer(const uint8_t *p, ssize_t n, const struct config_addr *vip, uint16_t id)
{
	size_t head = vip->family == 4 ? 20 : 40;

	if (n < (ssize_t)head + 8 || p[head + 4] != id >> 8 || p[head + 5] != (id & 255))
		return false;
	if (vip->family == 4)
		return p[9] == IPPROTO_ICMP && p[20] == 0 && !memcmp(p + 12, vip->bytes, 4);
	return p[6] == IPPROTO_ICMPV6 && p[40] == 129 && !memcmp(p + 8, vip->bytes, 16);
}

/* Before any filter of the host sees it: a reverse path filter may drop what comes from a VIP. */
static int answer_wait(int fd, const struct config_addr *vip, uint16_t id)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t end = now_ms() + WAIT_MS, left;
	uint8_t in[128];
	ssize_t n;

	while ((left = end - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = recv(fd, in, sizeof(in), MSG_DONTWAIT);
		if (n > 0 && is_answer(in, n, vip, id))
			return 0;
	}
	return -ETIMEDOUT;
}

int doctor_probe(const struct doctor_backend *b, const struct config_addr *source, unsigned size)
{
	static uint16_t id;
	bool six = b->vip.family == 6, outer6 = b->addr.family == 6;
	unsigned head = six ? 48 : 28;
	cleanup(fd_close) int in = -1, out = -1;
	struct why_packet p = {.src = *source, .dst = b->vip, .echo = true, .proto = IPPROTO_ICMP};
	uint8_t frame[DOCTOR_FRAME_MOST + 128];
	union address to;
	socklen_t len;
	size_t n;

	if (strcmp(b->mode, "ipip") != 0 || source->family != b->vip.family ||
	    size > DOCTOR_FRAME_MOST)
		return -EOPNOTSUPP;
	id = id ? (uint16_t)(id + 1) : (uint16_t)getpid();
	p.sport = id;
	p.payload = (uint16_t)(size > head ? size - head : 0);
	n = why_frame(&p, frame);
	in = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(six ? ETH_P_IPV6 : ETH_P_IP));
	out = socket(outer6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC,
		     six ? IPPROTO_IPV6 : IPPROTO_IPIP);
	if (in < 0 || out < 0)
		return -errno;
	len = address_of(&to, &b->addr, 0);
	if (sendto(out, frame + 14, n - 14, 0, &to.any, len) < 0)
		return -errno;
	return answer_wait(in, &b->vip, id);
}
