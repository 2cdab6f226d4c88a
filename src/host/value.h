/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value.h: keys and values of maps as people write them: bytes to JSON through their BTF, and back.
 *
 * Not its business: how the bytes were got.
 */
#ifndef SKEP_HOST_VALUE_H
#define SKEP_HOST_VALUE_H

#include <bpf/btf.h>

#include "base/buf.h"
#include "base/err.h"

/**
 * host_value_json() - add the JSON of a value.
 * @btf:  of @type; may be NULL
 * @type: its BTF id; 0: unknown, then bytes are told as ["0x01","0xff"], as bpftool does
 * @size: bytes at @data; what does not reach is left out
 *
 * Integers are numbers, char arrays that hold text are strings, enums their names (numbers where they
 * have none), structs objects (members without a name are merged into the one around), pointers "0x...".
 */
void host_value_json(struct buf *out, const struct btf *btf, uint32_t type, const void *data,
		     size_t size);

/**
 * host_value_parse() - the bytes that @text stands for.
 * @out: @size bytes, all written
 *
 * "7", "-1", "0x1f" a number of 1, 2, 4 or 8 bytes, in this machine's order; "192.0.2.1" and
 * "2001:db8::1" addresses of 4 and 16 bytes, in the network's; "hex:0a 0b0c" any bytes, as many as
 * the size; "str:text" padded with zeros.
 *
 * Return: 0 or -EINVAL with what would fit.
 */
int host_value_parse(const char *text, void *out, size_t size, struct skep_err *err);

#endif
