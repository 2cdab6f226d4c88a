/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uapi.h: what bpf(2) gained since the oldest UAPI header that we build with (6.1).
 */
#ifndef SKEP_VM_UAPI_H
#define SKEP_VM_UAPI_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VM_TOKEN_CREATE = 36,
	VM_CMDS,

	VM_MAP_TYPE_CGRP_STORAGE = 32,
	VM_MAP_TYPE_ARENA = 33,

	VM_PROG_TYPE_NETFILTER = 32,
	VM_PROG_TYPES,

	VM_STRUCT_OPS = 44,
	VM_NETFILTER,
	VM_TCX_INGRESS,
	VM_TCX_EGRESS,
	VM_TRACE_UPROBE_MULTI,
	VM_CGROUP_UNIX_CONNECT,
	VM_CGROUP_UNIX_SENDMSG,
	VM_CGROUP_UNIX_RECVMSG,
	VM_CGROUP_UNIX_GETPEERNAME,
	VM_CGROUP_UNIX_GETSOCKNAME,
	VM_NETKIT_PRIMARY,
	VM_NETKIT_PEER,
	VM_TRACE_KPROBE_SESSION,

	VM_LINK_NETFILTER = 10,
	VM_LINK_TCX = 11,
	VM_LINK_UPROBE_MULTI = 12,
	VM_LINK_NETKIT = 13,
	VM_LINK_SOCKMAP = 14,

	VM_F_TOKEN_FD = 1 << 16,	   /* map_flags, prog_flags */
	VM_F_XDP_DEV_BOUND_ONLY = 1 << 6,  /* prog_flags */
	VM_F_TEST_REG_INVARIANTS = 1 << 7, /* prog_flags */
	VM_F_PATH_FD = 1 << 14,		   /* file_flags */
	VM_F_PREORDER = 1 << 6,		   /* attach_flags, from here on */
	VM_F_BEFORE = 1 << 3,
	VM_F_AFTER = 1 << 4,
	VM_F_ID = 1 << 5,
	VM_F_LINK = 1 << 13,
};

/* Helpers; names as the header's, so that tables of helpers can be written by name. */
#define BPF_FUNC_cgrp_storage_get    210
#define BPF_FUNC_cgrp_storage_delete 211

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

/* The attributes of a call: the header's, and the fields that came behind. */
union vm_attr {
	union bpf_attr a;
	struct {
		uint8_t map_create_[offsetof(union bpf_attr, map_extra) + 8];
		int32_t value_type_btf_obj_fd, map_token_fd;
	};
	struct {
		uint8_t prog_load_[offsetof(union bpf_attr, core_relo_rec_size) + 4];
		uint32_t log_true_size;
		int32_t prog_token_fd;
		uint32_t fd_array_cnt;
	};
	struct {
		uint8_t obj_[offsetof(union bpf_attr, file_flags) + 4];
		int32_t path_fd;
	};
	struct {
		uint8_t attach_[offsetof(union bpf_attr, replace_bpf_fd) + 4];
		uint32_t relative_fd;
		uint64_t expected_revision;
	};
	struct {
		uint8_t query_[offsetof(union bpf_attr, query.prog_attach_flags) + 8];
		uint64_t link_ids, link_attach_flags, revision;
	};
	struct {
		uint8_t raw_tp_[offsetof(union bpf_attr, raw_tracepoint.prog_fd) + 8];
		uint64_t raw_tp_cookie;
	};
	struct {
		uint8_t btf_load_[offsetof(union bpf_attr, btf_log_level) + 4];
		uint32_t btf_log_true_size, btf_flags;
		int32_t btf_token_fd;
	};
	struct {
		uint8_t link_create_[offsetof(union bpf_attr, link_create.target_btf_id)];
		uint32_t netfilter[4];
	};
	struct {
		uint8_t link_create2_[offsetof(union bpf_attr, link_create.target_btf_id)];
		uint64_t uprobe_multi[5];
		uint32_t uprobe_multi_flags, uprobe_multi_pid;
	};
	struct {
		uint8_t link_create3_[offsetof(union bpf_attr, link_create.target_btf_id)];
		uint32_t tcx_relative, tcx_pad;
		uint64_t tcx_revision;
	};
	struct {
		uint32_t token_flags, token_bpffs_fd;
	};
	uint8_t bytes[152];
};

_Static_assert(sizeof(union vm_attr) == 152, "as long as Linux 6.14's");
_Static_assert(offsetof(union vm_attr, prog_token_fd) == 144, "behind log_true_size");
_Static_assert(offsetof(union vm_attr, tcx_revision) == 24, "aligned");
_Static_assert(offsetof(union vm_attr, uprobe_multi_pid) == 60, "the last of link_create");

/* bpf_map_info of Linux 6.12 ends where ours does; bpf_btf_info and bpf_prog_info did not grow. */

#endif
