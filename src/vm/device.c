// SPDX-License-Identifier: Apache-2.0
/*
 * Programs that netlink attached to an interface: no link holds them, they stay until they are taken
 * off or the engine ends. The order of the checks is that of the kernel's dev_xdp_attach().
 *
 * D1  An interface has at most one XDP program, by netlink or by a link.
 */
#include <linux/if_link.h>
#include <net/if.h>

#include "vm/inside.h"

struct device {
	uint32_t ifindex;
	uint8_t mode; /* XDP_ATTACHED_ */
	struct prog *prog;
	struct device *next;
};

#define MODES (uint32_t)(XDP_FLAGS_SKB_MODE | XDP_FLAGS_DRV_MODE | XDP_FLAGS_HW_MODE)

static struct device **find(struct skep_engine *e, uint32_t ifindex)
{
	struct device **at = &e->devices;

	while (*at && (*at)->ifindex != ifindex)
		at = &(*at)->next;
	return at;
}

struct prog *vm_device_xdp(struct skep_engine *e, uint32_t ifindex)
{
	const struct device *d = *find(e, ifindex);

	return d ? d->prog : NULL;
}

static int check_flags(const struct prog *new, const struct prog *old, uint32_t flags)
{
	if (flags & ~(uint32_t)XDP_FLAGS_MASK || __builtin_popcount(flags & MODES) > 1)
		return -EINVAL;
	if (old && !(flags & XDP_FLAGS_REPLACE))
		return -EINVAL;
	return flags & XDP_FLAGS_HW_MODE && new ? -EINVAL : 0; /* it was loaded for no device */
}

/* The lock is held. */
static int may_change(const struct device *d, const struct prog *new, const struct prog *old,
		      uint32_t flags, uint8_t mode, const char **why)
{
	const struct prog *now = d && d->mode == mode ? d->prog : NULL;

	*why = "Active program does not match expected";
	if ((flags & XDP_FLAGS_REPLACE) && now != old)
		return -EEXIST;
	if (!new)
		return 0;
	*why = "XDP program already attached";
	if ((flags & XDP_FLAGS_UPDATE_IF_NOEXIST) && now)
		return -EBUSY;
	*why = "Native and generic XDP can't be active at the same time";
	return d && d->mode != mode ? -EEXIST : 0;
}

/* The lock is held. *was: to be put without it. */
static void change(struct device **at, struct device *spare, struct prog *new, struct prog **was)
{
	struct device *d = *at;

	if (d) {
		*was = d->prog;
		*at = d->next;
		free(d);
	}
	if (!new) {
		free(spare);
		return;
	}
	new->obj.refs++;
	spare->prog = new;
	spare->next = *at;
	*at = spare;
}

static uint8_t mode_of(uint32_t flags)
{
	if (flags & XDP_FLAGS_HW_MODE)
		return XDP_ATTACHED_HW;
	return flags & XDP_FLAGS_SKB_MODE ? XDP_ATTACHED_SKB : XDP_ATTACHED_DRV;
}

static int replace(struct skep_engine *e, uint32_t ifindex, struct prog *new, struct prog *old,
		   uint32_t flags, const char **why)
{
	uint8_t mode = mode_of(flags);
	struct device *spare = calloc(1, sizeof(*spare));
	struct prog *was = NULL;
	int rc;

	if (!spare)
		return -ENOMEM;
	spare->ifindex = ifindex;
	spare->mode = mode;
	pthread_mutex_lock(&e->lock);
	*why = "Can't replace active BPF XDP link";
	rc = vm_link_xdp_on(e, ifindex) ? -EBUSY
					: may_change(*find(e, ifindex), new, old, flags, mode, why);
	if (!rc && (new || (*find(e, ifindex) && (*find(e, ifindex))->mode == mode)))
		change(find(e, ifindex), spare, new, &was);
	else
		free(spare);
	pthread_mutex_unlock(&e->lock);
	if (was)
		vm_object_put(e, &was->obj);
	return rc;
}

/* A program of XDP behind the caller's descriptor; a negative one is none. */
static int prog_of(struct skep_engine *e, const struct vm_caller *caller, int fd, struct prog **out)
{
	cleanup(fd_close) int ours = -1;
	struct object *o;

	*out = NULL;
	if (fd < 0)
		return 0;
	ours = caller->fd_get(caller->arg, fd);
	if (ours < 0)
		return -EBADF;
	o = vm_object_of_fd(e, ours);
	if (o && o->kind == OBJECT_PROG && vm_prog_of(o)->type == BPF_PROG_TYPE_XDP) {
		*out = vm_prog_of(o);
		return 0;
	}
	if (o)
		vm_object_put(e, o);
	return -EINVAL;
}

int vm_xdp_attach(struct skep_engine *e, const struct vm_caller *caller, uint32_t ifindex, int fd,
		  int expected_fd, uint32_t flags, const char **why)
{
	struct prog *new = NULL, *old = NULL;
	char name[IF_NAMESIZE];
	int rc = 0;

	*why = NULL;
	if (!vm_port_is(e, ifindex) && !if_indextoname(ifindex, name))
		return -ENODEV;
	rc = prog_of(e, caller, fd, &new);
	if (!rc && flags & XDP_FLAGS_REPLACE)
		rc = prog_of(e, caller, expected_fd, &old);
	if (!rc)
		rc = check_flags(new, old, flags);
	vm_sweep(e); /* a link that nobody holds any more is in nobody's way */
	if (!rc)
		rc = replace(e, ifindex, new, old, flags, why);
	if (new)
		vm_object_put(e, &new->obj);
	if (old)
		vm_object_put(e, &old->obj);
	return rc;
}

void vm_xdp_query(struct skep_engine *e, uint32_t ifindex, struct vm_xdp *out)
{
	const struct device *d;

	pthread_mutex_lock(&e->lock);
	*out = (struct vm_xdp){0};
	d = *find(e, ifindex);
	if (d)
		*out = (struct vm_xdp){d->prog->obj.id, d->mode};
	else
		vm_link_xdp_info(e, ifindex, out);
	pthread_mutex_unlock(&e->lock);
}

void vm_devices_done(struct skep_engine *e)
{
	while (e->devices) {
		struct device *d = e->devices;

		e->devices = d->next;
		vm_object_put(e, &d->prog->obj);
		free(d);
	}
}
