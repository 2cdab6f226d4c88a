// SPDX-License-Identifier: Apache-2.0
/*
 * For bench/ports:
 *
 *	ports send IFACE SECONDS	frames of 60 bytes, as fast as AF_PACKET takes them
 *	ports kernel OBJ IN OUT SECONDS	the object's `forward` in the kernel: IN's frames to OUT
 *	ports hold OBJ IFACE SECONDS	its `pass` there
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

#define BATCH 64
#define BYTES 60

static int flood(const char *iface, int seconds)
{
	uint8_t frame[BYTES] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(iface)};
	struct iovec v = {frame, sizeof(frame)};
	struct mmsghdr m[BATCH] = {0};
	time_t until = time(NULL) + seconds;
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)))
		return 1;
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	for (int i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
	while (time(NULL) < until)
		for (int i = 0; i < 64; i++)
			sendmmsg(fd, m, BATCH, 0);
	return 0;
}

static struct bpf_link *link_to(struct bpf_object *obj, const char *prog, unsigned ifindex)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, prog);

	return p ? bpf_program__attach_xdp(p, (int)ifindex) : NULL;
}

static int forward(const char *path, const char *in, const char *out, int seconds)
{
	uint32_t from = if_nametoindex(in), to = if_nametoindex(out);
	struct bpf_object *obj = bpf_object__open_file(path, NULL);

	if (!obj || bpf_object__load(obj) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "to"), &from, &to, 0) ||
	    !link_to(obj, "forward", from))
		return 1;
	sleep((unsigned)seconds);
	return 0;
}

/* A veth takes redirected frames only while its far end has a program too. */
static int hold(const char *path, const char *iface, int seconds)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);

	if (!obj || bpf_object__load(obj) || !link_to(obj, "pass", if_nametoindex(iface)))
		return 1;
	sleep((unsigned)seconds);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "send"))
		return flood(argv[2], atoi(argv[3]));
	if (argc == 6 && !strcmp(argv[1], "kernel"))
		return forward(argv[2], argv[3], argv[4], atoi(argv[5]));
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(argv[2], argv[3], atoi(argv[4]));
	return 2;
}
