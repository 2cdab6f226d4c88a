// SPDX-License-Identifier: Apache-2.0
/* A TAP interface: what the kernel's stack sends into it comes in, what leaves the stack receives. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "host/port_inside.h"

struct tap {
	uint64_t long_ones;
	uint8_t *spare; /* a frame of our own, read into next */
	uint8_t rest[65536 - VM_FRAME_MAX];
};

static int set_up(const char *name)
{
	cleanup(fd_close) int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_flags = 0};

	memcpy(r.ifr_name, name, strlen(name));
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r))
		return -errno;
	r.ifr_flags |= IFF_UP;
	return ioctl(s, SIOCSIFFLAGS, &r) ? -errno : 0;
}

static int create(struct port *p, struct skep_err *err)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	const char *name = p->spec.device;

	p->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (p->fd < 0)
		return skep_fail(err, -errno, "/dev/net/tun: %s", strerror(errno));
	memcpy(r.ifr_name, name, strlen(name));
	if (!ioctl(p->fd, TUNSETIFF, &r))
		return 0;
	switch (errno) {
	case EPERM:
		return skep_fail(err, -EPERM,
				 "a TAP needs CAP_NET_ADMIN, or a network namespace of one's own "
				 "(unshare -rn)");
	case EBUSY:
		return skep_fail(err, -EBUSY, "TAP %s is in other hands", name);
	case EINVAL:
		return skep_fail(err, -EINVAL, "there is an interface %s that is no TAP", name);
	default:
		return skep_fail(err, -errno, "TAP %s: %s", name, strerror(errno));
	}
}

static int tap_open(struct port *p, struct skep_err *err)
{
	struct tap *own = p->own = calloc(1, sizeof(*own));
	int rc;

	if (!own)
		return -ENOMEM;
	p->mode = "TAP";
	rc = create(p, err);
	if (!rc) {
		rc = set_up(p->spec.device);
		if (rc)
			skep_fail(err, rc, "cannot set %s up: %s", p->spec.device, strerror(-rc));
	}
	return rc ? rc : port_device(p, err);
}

static void tap_close(struct port *p)
{
	fd_close(&p->fd);
	free(p->own);
}

/* One frame into @buf. 0: none waits; 1; -EMSGSIZE: one that was too long is gone. */
static int read_one(struct port *p, uint8_t *buf, uint32_t *len)
{
	struct tap *own = p->own;
	struct iovec v[2] = {{buf + VM_FRAME_HEAD, VM_FRAME_MAX}, {own->rest, sizeof(own->rest)}};
	ssize_t n = readv(p->fd, v, 2);

	if (n <= 0)
		return 0;
	*len = (uint32_t)n;
	return n > VM_FRAME_MAX ? -EMSGSIZE : 1;
}

static int tap_receive(struct port *p, struct vm_frame *frames, struct skep_err *err maybe_unused)
{
	struct tap *own = p->own;
	int n = 0, rc = 1;
	uint32_t len;

	while (n < (int)VM_PORT_BATCH && rc) {
		if (!own->spare)
			own->spare = port_pool_take(p->pool);
		rc = own->spare ? read_one(p, own->spare, &len) : 0;
		own->long_ones += rc < 0;
		if (rc != 1)
			continue;
		frames[n++] = (struct vm_frame){
			.buf = take(own->spare), .start = VM_FRAME_HEAD, .len = len};
	}
	return n;
}

static int tap_send(struct port *p, struct vm_frame *f, bool keep maybe_unused)
{
	return write(p->fd, f->buf + f->start, f->len) < 0 ? -errno : 0;
}

static uint64_t tap_lost(struct port *p)
{
	return ((struct tap *)p->own)->long_ones;
}

const struct port_ops port_tap_ops = {
	.open = tap_open,
	.close = tap_close,
	.receive = tap_receive,
	.send = tap_send,
	.lost = tap_lost,
	.frames = 1,
};
