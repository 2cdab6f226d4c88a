// SPDX-License-Identifier: Apache-2.0
#include "balance/backend.h"

#include <bpf/bpf.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <signal.h>

#include "balance/attach.h"
#include "balance/backend.skel.h"
#include "host/host.h"

static void address_add(int map, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *six = (const void *)sa;
	const struct sockaddr_in *four = (const void *)sa;
	uint32_t key[4] = {0}, one = 1;

	if (sa->sa_family == AF_INET)
		memcpy(key, &four->sin_addr, 4);
	else if (sa->sa_family == AF_INET6)
		memcpy(key, &six->sin6_addr, 16);
	else
		return;
	bpf_map_update_elem(map, key, &one, BPF_ANY);
}

/* Addresses that came; those that went stay until the end: the host itself refuses their packets. */
static void addresses_read(int map)
{
	struct ifaddrs *list, *i;

	if (getifaddrs(&list))
		return;
	for (i = list; i; i = i->ifa_next)
		if (i->ifa_addr)
			address_add(map, i->ifa_addr);
	freeifaddrs(list);
}

static void wait_for_end(int map)
{
	struct timespec second = {.tv_sec = 1};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (sigtimedwait(&set, NULL, &second) < 0)
		addresses_read(map);
}

int backend_run(const char *interface, uint16_t gue_port, struct skep_err *err)
{
	struct backend_bpf *b = backend_bpf__open();
	struct attach link = {.fd = -1};
	int rc = b ? 0 : -errno;

	if (b && gue_port)
		b->rodata->gue_port = gue_port;
	if (b)
		rc = backend_bpf__load(b);
	if (rc) {
		backend_bpf__destroy(b);
		return skep_fail(err, rc, "load backend.bpf.o: %s: %s", strerror(-rc),
				 host_bpf_log());
	}
	addresses_read(bpf_map__fd(b->maps.local));
	rc = attach_open(&link, interface, bpf_program__fd(b->progs.unpack), NULL, err);
	if (!rc)
		wait_for_end(bpf_map__fd(b->maps.local));
	attach_done(&link);
	backend_bpf__destroy(b);
	return rc;
}
