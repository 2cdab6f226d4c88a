// SPDX-License-Identifier: Apache-2.0
/*
 * Frames of a capture come in as fast as they are taken, once a program is linked; what leaves goes to
 * another capture.
 */
#include <time.h>

#include "host/capture.h"
#include "host/port_inside.h"

#define NS 1000000000ULL

struct pcap {
	struct capture *in, *out;
	uint64_t long_ones;
	int failed; /* writing: -errno */
};

static int pcap_open(struct port *p, struct skep_err *err)
{
	struct pcap *own = p->own = calloc(1, sizeof(*own));
	int rc = 0;

	if (!own)
		return -ENOMEM;
	p->mode = "capture";
	if (p->spec.device[0])
		rc = capture_open(&own->in, p->spec.device, err);
	if (!rc && p->spec.second[0])
		rc = capture_create(&own->out, p->spec.second, err);
	return rc;
}

static void pcap_close(struct port *p)
{
	struct pcap *own = p->own;

	if (!own)
		return;
	capture_close(own->in);
	capture_close(own->out);
	free(own);
}

static bool fill(struct port *p, struct vm_frame *f, const struct capture_packet *packet)
{
	uint8_t *buf = port_pool_take(p->pool);

	if (!buf)
		return false;
	*f = (struct vm_frame){.buf = buf,
			       .start = VM_FRAME_HEAD,
			       .len = packet->len,
			       .time = (uint64_t)packet->time.tv_sec * NS +
				       (uint64_t)packet->time.tv_nsec};
	memcpy(buf + VM_FRAME_HEAD, packet->data, packet->len);
	return true;
}

static int pcap_receive(struct port *p, struct vm_frame *frames, struct skep_err *err)
{
	struct pcap *own = p->own;
	struct capture_packet packet;
	int n = 0, rc = 0;

	if (own->in && !vm_port_linked(&p->vm))
		return 0;
	while (own->in && n < (int)VM_PORT_BATCH) {
		rc = capture_next(own->in, &packet, err);
		if (rc != 1)
			break;
		if (packet.len > VM_FRAME_MAX || packet.len < 14)
			own->long_ones++;
		else if (fill(p, &frames[n], &packet))
			n++;
	}
	if (n)
		return n;
	return rc < 0 ? rc : -ENODATA;
}

static int pcap_send(struct port *p, struct vm_frame *f, bool keep maybe_unused)
{
	struct pcap *own = p->own;
	struct capture_packet packet = {
		.data = f->buf + f->start,
		.len = f->len,
		.wire_len = f->len,
		.time = {.tv_sec = (time_t)(f->time / NS), .tv_nsec = (long)(f->time % NS)}};

	if (!own->out)
		return -ENOTCONN;
	if (!f->time)
		clock_gettime(CLOCK_REALTIME, &packet.time);
	if (!own->failed)
		own->failed = capture_write(own->out, &packet);
	return own->failed;
}

static int pcap_finish(struct port *p)
{
	struct pcap *own = p->own;
	int rc = capture_close(take(own->out));

	return own->failed ? own->failed : rc;
}

static uint64_t pcap_lost(struct port *p)
{
	return ((struct pcap *)p->own)->long_ones;
}

const struct port_ops port_pcap_ops = {
	.open = pcap_open,
	.close = pcap_close,
	.receive = pcap_receive,
	.send = pcap_send,
	.finish = pcap_finish,
	.lost = pcap_lost,
};
