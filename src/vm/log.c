// SPDX-License-Identifier: Apache-2.0
#include "vm/inside.h"

#define LEVELS 0xf /* two of verbosity, statistics, fixed */
#define FIXED  8   /* keep the beginning; without it the end */

int vm_log_open(struct vm_log *l, uint32_t level, uint64_t to, uint32_t size)
{
	*l = (struct vm_log){.level = level, .size = size, .to = to};
	if (size > UINT32_MAX >> 2 || !to != !size || (to && !level) || level & ~(uint32_t)LEVELS)
		return -EINVAL;
	return 0;
}

int vm_log_close(struct vm_log *l, struct call *c, uint32_t *true_size)
{
	size_t len = l->text.len + 1, skip = 0, n = min(len, (size_t)l->size);
	int rc = 0;

	*true_size = l->level ? (uint32_t)len : 0;
	if (l->to && l->level) {
		if (!(l->level & FIXED) && len > l->size)
			skip = len - l->size;
		if (n > 1 && vm_call_write(c, l->to, l->text.data + skip, n - 1))
			rc = -EFAULT;
		if (!rc && vm_call_write(c, l->to + n - 1, "", 1))
			rc = -EFAULT;
		if (!rc && len > l->size)
			rc = -ENOSPC;
	}
	buf_done(&l->text);
	return rc;
}
