/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture.h: packets from and to capture files (pcap, and pcapng to read), through libpcap.
 *
 * Not its business: live interfaces, what packets mean.
 */
#ifndef SKEP_HOST_CAPTURE_H
#define SKEP_HOST_CAPTURE_H

#include <time.h>

#include "base/base.h"
#include "base/err.h"

#define CAPTURE_PACKET_MAX 65535

struct capture_packet {
	const uint8_t *data; /* borrowed until the next call */
	uint32_t len;	     /* captured */
	uint32_t wire_len;
	struct timespec time;
};

struct capture;

/**
 * capture_open() - read a file; "-" is the standard input.
 *
 * Return: 0; -ENOENT and the like with the path in @err; -EINVAL for what is no capture of Ethernet
 * frames (bare IP packets get an Ethernet header of zeros, as XDP and tc programs expect one).
 */
int capture_open(struct capture **out, const char *path, struct skep_err *err);

/** capture_next() - Return: 1; 0 at the end; -EBADMSG where the file is damaged. */
int capture_next(struct capture *c, struct capture_packet *packet, struct skep_err *err);

/** capture_create() - write a file of Ethernet frames with times in ns; "-" is the standard output. */
int capture_create(struct capture **out, const char *path, struct skep_err *err);
int capture_write(struct capture *c, const struct capture_packet *packet);

/** capture_close() - Return: 0, or -EIO and the like where not all could be written. */
int capture_close(struct capture *c);

#endif
