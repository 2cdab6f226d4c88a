// SPDX-License-Identifier: Apache-2.0
/*
 * attach_filter.c: a program at tc of kernels that know no links there (before 6.6): a filter of clsact.
 *
 * Ours is known by its place and handle. The qdisc stays when the filter goes: others may use it.
 */
#include "balance/attach.h"

#include <bpf/libbpf.h>

/* By hook. */
static const struct {
	enum bpf_tc_attach_point point;
	uint32_t priority, handle;
} filters[] = {
	[ATTACH_TC] = {BPF_TC_INGRESS, 1, 0x736b6570}, /* "skep" */
	[ATTACH_PROBES_IN] = {BPF_TC_INGRESS, 1, 0x736b7062},
	[ATTACH_PROBES_OUT] = {BPF_TC_EGRESS, 0xbfff, 0x736b7062},
};

int attach_filter_make(int ifindex, enum attach_hook hook, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = ifindex, .attach_point = filters[hook].point);
	LIBBPF_OPTS(bpf_tc_opts, o, .prog_fd = prog, .handle = filters[hook].handle,
		    .priority = filters[hook].priority, .flags = BPF_TC_F_REPLACE);
	int rc = bpf_tc_hook_create(&at);

	return rc && rc != -EEXIST ? rc : bpf_tc_attach(&at, &o);
}

uint32_t attach_filter_find(int ifindex, enum attach_hook hook)
{
	LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = ifindex, .attach_point = filters[hook].point);
	LIBBPF_OPTS(bpf_tc_opts, o, .handle = filters[hook].handle,
		    .priority = filters[hook].priority);

	return bpf_tc_query(&at, &o) ? 0 : o.prog_id;
}

void attach_filter_end(int ifindex, enum attach_hook hook, uint32_t prog)
{
	LIBBPF_OPTS(bpf_tc_hook, at, .ifindex = ifindex, .attach_point = filters[hook].point);
	LIBBPF_OPTS(bpf_tc_opts, o, .handle = filters[hook].handle,
		    .priority = filters[hook].priority);
	uint32_t now = attach_filter_find(ifindex, hook);

	if (now && (!prog || now == prog))
		bpf_tc_detach(&at, &o);
}
