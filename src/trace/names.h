/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h: address -> the name that this host last looked it up by, per network namespace.
 *
 * A fixed number of entries, taken at open (those never used take no memory); when all are in use
 * the one that went longest without being put or found makes room.
 *
 * Not its business: DNS messages (dns.h). Put the name that was asked for, not the end of a CNAME
 * chain: that is what people know the peer by.
 */
#ifndef SKEP_TRACE_NAMES_H
#define SKEP_TRACE_NAMES_H

#include "base/base.h"

#define NAMES_TEXT_MAX 256
#define NAMES_LEAST_NS 600000000000ULL /* a connection may outlive the TTL of its name */

struct names;

/** names_open() - @max: entries, 1 to 1 << 24. Return: 0, -EINVAL or -ENOMEM. */
int names_open(struct names **out, unsigned max);
void names_free(struct names *n);

/**
 * names_put() - @name was looked up and gave this address; an older name of it is replaced.
 * @netns:  inode of the network namespace that asked
 * @family: AF_INET (4 bytes at @addr) or AF_INET6 (16); others are left out
 * @name:   copied, cut at NAMES_TEXT_MAX - 1 bytes
 * @ttl:    seconds; the entry lives so long, but at least NAMES_LEAST_NS
 * @now:    ns of CLOCK_BOOTTIME
 */
void names_put(struct names *n, uint32_t netns, uint8_t family, const void *addr, const char *name,
	       uint32_t ttl, uint64_t now);

/**
 * names_find() - IPv6 addresses that map an IPv4 one (::ffff:a.b.c.d) find that one's name.
 *
 * Return: borrowed until the next names_put(); NULL where there is none, or it is too old.
 */
const char *names_find(struct names *n, uint32_t netns, uint8_t family, const void *addr,
		       uint64_t now);

unsigned names_count(const struct names *n);

#endif
