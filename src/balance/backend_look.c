// SPDX-License-Identifier: Apache-2.0
/* backend_look.c: whether a program of ours unpacks at an interface, and what it has counted. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include "balance/backend.h"
#include "balance/balance.h"
#include "balance/maps.h"
#include "host/host.h"

#define MAPS_MOST  8
#define PROGS_MOST 64

/* The program's map "did"; -1: it is not ours. */
static int did_of(uint32_t prog)
{
	uint32_t maps[MAPS_MOST], size, i;
	struct bpf_prog_info info = {.nr_map_ids = MAPS_MOST, .map_ids = (uintptr_t)maps};
	cleanup(fd_close) int fd = bpf_prog_get_fd_by_id(prog);

	size = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) || strcmp(info.name, "unpack") != 0)
		return -1;
	for (i = 0; i < min(info.nr_map_ids, (uint32_t)MAPS_MOST); i++) {
		cleanup(fd_close) int map = bpf_map_get_fd_by_id(maps[i]);
		struct bpf_map_info m = {0};

		size = sizeof(m);
		if (map >= 0 && !bpf_obj_get_info_by_fd(map, &m, &size) && !strcmp(m.name, "did") &&
		    m.max_entries == BALANCE_DID)
			return take_fd(&map);
	}
	return -1;
}

static bool seen(uint32_t prog, enum attach_how how, struct backend_seen *out)
{
	cleanup(fd_close) int did = prog ? did_of(prog) : -1;

	if (did < 0)
		return false;
	*out = (struct backend_seen){
		.how = how,
		.unpacked = maps_sum(did, BALANCE_DID_UNPACK),
		.handed_on = maps_sum(did, BALANCE_DID_HAND_ON),
		.dropped = maps_sum(did, BALANCE_DID_DROP),
	};
	return true;
}

static bool seen_tcx(int ifindex, struct backend_seen *out)
{
	uint32_t ids[PROGS_MOST] = {0}, i;
	LIBBPF_OPTS(bpf_prog_query_opts, o, .prog_ids = ids, .prog_cnt = PROGS_MOST);

	if (bpf_prog_query_opts(ifindex, ATTACH_TYPE_TCX, &o))
		return false;
	for (i = 0; i < min(o.prog_cnt, (uint32_t)PROGS_MOST); i++)
		if (seen(ids[i], ATTACH_TCX, out))
			return true;
	return false;
}

int backend_look(const char *interface, struct backend_seen *out)
{
	int ifindex = (int)if_nametoindex(interface);
	LIBBPF_OPTS(bpf_xdp_query_opts, o);

	if (!ifindex)
		return -ENODEV;
	host_bpf_keep(); /* libbpf tells of qdiscs that there are none of */
	if (!bpf_xdp_query(ifindex, 0, &o) &&
	    (seen(o.drv_prog_id, ATTACH_NATIVE, out) || seen(o.skb_prog_id, ATTACH_GENERIC, out)))
		return 0;
	if (seen_tcx(ifindex, out) ||
	    seen(attach_filter_find(ifindex, ATTACH_TC), ATTACH_FILTER, out))
		return 0;
	return -ENOENT;
}
