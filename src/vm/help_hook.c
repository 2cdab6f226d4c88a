// SPDX-License-Identifier: Apache-2.0
/*
 * Helpers of hooks that nothing here reaches: programs that call them load, attach, and are never run. Whoever
 * runs one nevertheless (through a program array) is told so.
 */
#include "vm/help.h"

#define NEVER(name)                                    \
	HELPER_FN(name)                                \
	{                                              \
		return (uint64_t)(int64_t)-EOPNOTSUPP; \
	}

/* Messages and streams of sockmaps. */
NEVER(sk_redirect_map)
NEVER(sk_redirect_hash)
NEVER(msg_redirect_map)
NEVER(msg_redirect_hash)
NEVER(msg_apply_bytes)
NEVER(msg_cork_bytes)
NEVER(msg_pull_data)
NEVER(msg_push_data)
NEVER(msg_pop_data)
NEVER(sk_select_reuseport)

/* Events and calls of sockets. */
NEVER(sock_map_update)
NEVER(sock_hash_update)
NEVER(sock_ops_cb_flags_set)
NEVER(load_hdr_opt)
NEVER(store_hdr_opt)
NEVER(reserve_hdr_opt)
NEVER(setsockopt)
NEVER(getsockopt)
NEVER(bind)

/* Sysctls, remote controls. */
NEVER(sysctl_get_name)
NEVER(sysctl_get_current_value)
NEVER(sysctl_get_new_value)
NEVER(sysctl_set_new_value)
NEVER(rc_repeat)
NEVER(rc_keydown)
NEVER(rc_pointer_rel)

/* Functions, events and tasks of the kernel. */
NEVER(get_func_arg)
NEVER(get_func_ret)
NEVER(get_func_arg_cnt)
NEVER(override_return)
NEVER(perf_prog_read_value)
NEVER(read_branch_records)
NEVER(skb_output)
NEVER(xdp_output)
NEVER(bprm_opts_set)
NEVER(ima_inode_hash)
NEVER(ima_file_hash)
NEVER(tcp_send_ack)

HELPER_FN(get_branch_snapshot)
{
	return (uint64_t)(int64_t)(c ? -EINVAL : -ENOENT);
}

HELPER_FN(sock_from_file)
{
	return 0;
}

HELPER_FN(find_vma)
{
	return (uint64_t)(int64_t)(f ? -EINVAL : -ENOENT);
}

/* Routes into segments: there are none here. */
HELPER_FN(lwt_push_encap)
{
	return (uint64_t)(int64_t)-EINVAL;
}

HELPER_FN(lwt_seg6_store_bytes)
{
	return (uint64_t)(int64_t)-EINVAL;
}

HELPER_FN(lwt_seg6_adjust_srh)
{
	return (uint64_t)(int64_t)-EINVAL;
}

HELPER_FN(lwt_seg6_action)
{
	return (uint64_t)(int64_t)-EINVAL;
}
