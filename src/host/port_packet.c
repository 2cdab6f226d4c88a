// SPDX-License-Identifier: Apache-2.0
/*
 * AF_PACKET: frames of an interface beside the kernel's stack, in batches of system calls.
 *
 *	recvmmsg --> [virtio_net_hdr][frame of the pool]      sendmmsg <-- [zeros][frame of the pool]
 *
 * The kernel takes VLAN tags out of frames and leaves checksums of local senders to hardware that a veth
 * does not have; both are put back, as a program would find them on a wire.
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

#include "host/port_inside.h"

#define BUFFER (8 << 20) /* of the socket, each way */
#define BATCH  VM_PORT_BATCH
#define TAG    4U /* bytes of a VLAN tag */

union control {
	struct cmsghdr align;
	uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

struct packet_port {
	uint8_t *bufs[BATCH]; /* of the pool, to receive into */
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec in_v[BATCH][2], out_v[BATCH][2];
	struct virtio_net_hdr heads[BATCH], none;
	union control control[BATCH];
	unsigned n_out;
	uint64_t long_ones;
	uint64_t dropped; /* by the socket, as told so far */
};

/* ---- opening ------------------------------------------------------------------------------------ */

static int refused(struct skep_err *err, const struct port *p, int error)
{
	if (error == EPERM)
		return skep_fail(err, -EPERM,
				 "AF_PACKET needs CAP_NET_RAW, or a network namespace of one's own "
				 "(unshare -rn)");
	if (error == ENETDOWN)
		return skep_fail(err, -ENETDOWN, "interface %s is down", p->spec.device);
	return skep_fail(err, -error, "AF_PACKET on %s: %s", p->spec.device, strerror(error));
}

static int set_options(int fd)
{
	const int on = 1, size = BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
	if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)))
		return -errno;
	return 0;
}

static void lay_out(struct packet_port *own)
{
	unsigned i;

	for (i = 0; i < BATCH; i++) {
		own->in_v[i][0] = (struct iovec){&own->heads[i], sizeof(own->heads[i])};
		own->in[i].msg_hdr = (struct msghdr){
			.msg_iov = own->in_v[i], .msg_iovlen = 2, .msg_control = &own->control[i]};
		own->out_v[i][0] = (struct iovec){&own->none, sizeof(own->none)};
		own->out[i].msg_hdr = (struct msghdr){.msg_iov = own->out_v[i], .msg_iovlen = 2};
	}
}

static int packet_open(struct port *p, struct skep_err *err)
{
	struct packet_port *own = p->own = calloc(1, sizeof(*own));
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int rc = own ? port_device(p, err) : -ENOMEM;

	if (rc)
		return rc;
	p->mode = "AF_PACKET";
	lay_out(own);
	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return refused(err, p, errno);
	rc = set_options(p->fd);
	if (rc)
		return refused(err, p, -rc);
	to.sll_ifindex = (int)p->device;
	return bind(p->fd, (struct sockaddr *)&to, sizeof(to)) ? refused(err, p, errno) : 0;
}

static void packet_close(struct port *p)
{
	fd_close(&p->fd);
	free(p->own);
}

/* ---- frames that come --------------------------------------------------------------------------- */

/* What the sender left to hardware. */
static void finish_checksum(struct vm_frame *f, const struct virtio_net_hdr *h)
{
	uint8_t *data = f->buf + f->start, *end = data + f->len, *at = data + h->csum_start;
	uint8_t *field = at + h->csum_offset;
	uint32_t sum = 0;

	if (!(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || field + 2 > end)
		return;
	for (; at + 2 <= end; at += 2)
		sum += (uint32_t)at[0] << 8 | at[1];
	if (at < end)
		sum += (uint32_t)at[0] << 8;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
	if (!sum)
		sum = 0xffff;
	field[0] = (uint8_t)(sum >> 8);
	field[1] = (uint8_t)sum;
}

static void put_tag(struct vm_frame *f, const struct tpacket_auxdata *aux)
{
	uint16_t type =
		aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETH_P_8021Q;
	uint16_t tag[2] = {htons(type), htons(aux->tp_vlan_tci)};

	if (f->len < 2 * ETH_ALEN || !(aux->tp_status & TP_STATUS_VLAN_VALID))
		return;
	memmove(f->buf + f->start - TAG, f->buf + f->start, 2 * ETH_ALEN);
	f->start -= TAG;
	f->len += TAG;
	memcpy(f->buf + f->start + 2 * ETH_ALEN, tag, sizeof(tag));
}

static const struct tpacket_auxdata *aux_of(struct msghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);

	if (!c || c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
		return NULL;
	return (const void *)CMSG_DATA(c);
}

/* False: a frame that no program sees, too long or none. */
static bool understand(struct packet_port *own, unsigned i, struct vm_frame *f)
{
	const struct tpacket_auxdata *aux = aux_of(&own->in[i].msg_hdr);
	unsigned head = sizeof(own->heads[i]), len = own->in[i].msg_len;

	if (own->in[i].msg_hdr.msg_flags & MSG_TRUNC || len < head + ETH_HLEN) {
		own->long_ones++;
		return false;
	}
	*f = (struct vm_frame){.buf = own->bufs[i], .start = VM_FRAME_HEAD, .len = len - head};
	finish_checksum(f, &own->heads[i]);
	if (aux)
		put_tag(f, aux);
	return true;
}

static unsigned stock(struct port *p)
{
	struct packet_port *own = p->own;
	unsigned i;

	for (i = 0; i < BATCH; i++) {
		if (!own->bufs[i])
			own->bufs[i] = port_pool_take(p->pool);
		if (!own->bufs[i])
			break;
		own->in_v[i][1] = (struct iovec){own->bufs[i] + VM_FRAME_HEAD, VM_FRAME_MAX};
		own->in[i].msg_hdr.msg_controllen = sizeof(own->control[i]);
	}
	return i;
}

static int packet_receive(struct port *p, struct vm_frame *frames, struct skep_err *err)
{
	struct packet_port *own = p->own;
	int came = recvmmsg(p->fd, own->in, stock(p), MSG_DONTWAIT, NULL), n = 0, i;

	if (came < 0 && (errno == EAGAIN || errno == EINTR || errno == ENETDOWN))
		return 0;
	if (came < 0)
		return skep_fail(err, -errno, "%s: %s", p->spec.device, strerror(errno));
	for (i = 0; i < came; i++) {
		if (!understand(own, (unsigned)i, &frames[n]))
			continue;
		own->bufs[i] = NULL;
		n++;
	}
	return n;
}

/* ---- frames that leave --------------------------------------------------------------------------- */

static void packet_flush(struct port *p)
{
	struct packet_port *own = p->own;
	unsigned at = 0, i;
	int n;

	while (at < own->n_out) {
		n = sendmmsg(p->fd, own->out + at, own->n_out - at, MSG_DONTWAIT);
		if (n > 0) {
			at += (unsigned)n;
			continue;
		}
		at++; /* the first of them could not leave: too long, no room, interface down */
		p->vm.count.sent--;
		p->vm.count.unsent++;
	}
	for (i = 0; i < own->n_out; i++)
		port_pool_give(p->pool, own->out_v[i][1].iov_base);
	own->n_out = 0;
}

static int packet_send(struct port *p, struct vm_frame *f, bool keep)
{
	struct packet_port *own = p->own;
	struct vm_frame copy;

	if (own->n_out == BATCH)
		packet_flush(p);
	if (keep && !port_copy(p, f, &copy))
		return -ENOBUFS;
	if (keep)
		f = &copy;
	own->out_v[own->n_out++][1] = (struct iovec){f->buf + f->start, f->len};
	f->taken = true;
	return 0;
}

static uint64_t packet_lost(struct port *p)
{
	struct packet_port *own = p->own;
	struct tpacket_stats s = {0};
	socklen_t len = sizeof(s);

	if (!getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &s, &len))
		own->dropped += s.tp_drops; /* the kernel forgets them when told */
	return own->dropped + own->long_ones;
}

const struct port_ops port_packet_ops = {
	.open = packet_open,
	.close = packet_close,
	.receive = packet_receive,
	.send = packet_send,
	.flush = packet_flush,
	.lost = packet_lost,
	.frames = 2 * BATCH,
};
