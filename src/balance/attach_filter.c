// SPDX-License-Identifier: Apache-2.0
/*
 * attach_filter.c: a program at tc of kernels that know no links there (before 6.6): a filter of clsact.
 *
 * Ours is known by its place and handle. The qdisc stays when the filter goes: others may use it.
 */
#include "balance/attach.h"

#include <bpf/libbpf.h>

#define PRIORITY 1
#define HANDLE	 0x736b6570 /* "skep" */

int attach_filter_make(int ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, o, .prog_fd = prog, .handle = HANDLE, .priority = PRIORITY,
		    .flags = BPF_TC_F_REPLACE);
	int rc = bpf_tc_hook_create(&hook);

	return rc && rc != -EEXIST ? rc : bpf_tc_attach(&hook, &o);
}

uint32_t attach_filter_find(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, o, .handle = HANDLE, .priority = PRIORITY);

	return bpf_tc_query(&hook, &o) ? 0 : o.prog_id;
}

void attach_filter_end(int ifindex, uint32_t prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, o, .handle = HANDLE, .priority = PRIORITY);
	uint32_t now = attach_filter_find(ifindex);

	if (now && (!prog || now == prog))
		bpf_tc_detach(&hook, &o);
}
