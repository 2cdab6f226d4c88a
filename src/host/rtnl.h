/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnl.h: netlink of a command, where it is about programs on interfaces (rtnl.c).
 *
 * Not its business: which programs there are (vm), which calls come here (trap.c).
 */
#ifndef SKEP_HOST_RTNL_H
#define SKEP_HOST_RTNL_H

#include <linux/netlink.h>

#include "host/inside.h"

#define RTNL_ERRORS 64U /* answers under way */

struct rtnl_error {
	uint64_t socket; /* inode */
	uint32_t seq;
	int error; /* -errno, 0 */
	struct nlmsghdr of;
	const char *why; /* NULL: not told */
};

/* Of one engine; calls come one after the other. */
struct rtnl {
	struct skep_engine *engine;
	struct rtnl_error errors[RTNL_ERRORS];
	unsigned next;
};

/*
 * Each returns false where the kernel is to go on with the call, else true with its result in *rc.
 * @head: it has a struct msghdr (sendmsg, recvmsg), not a buffer (sendto, recvfrom)
 */
bool rtnl_socket(struct target *t, const struct seccomp_data *call, long *rc);
bool rtnl_send(struct rtnl *r, const struct vm_caller *c, const struct seccomp_data *call,
	       bool head, long *rc);
bool rtnl_receive(const struct rtnl *r, const struct vm_caller *c, const struct seccomp_data *call,
		  bool head, long *rc);

#endif
