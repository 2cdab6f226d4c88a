/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h: strings of strangers made safe, once, where they enter.
 *
 * Names in Linux are bytes. What the kernel reports (paths, argv, comm) passes text_escape() or
 * text_argv() on its way in, so everything behind (tables, terminal, JSON, page) holds printable
 * UTF-8 without control characters.
 */
#ifndef SKEP_BASE_TEXT_H
#define SKEP_BASE_TEXT_H

#include "base/base.h"

/**
 * text_utf8() - length of the valid, printable UTF-8 character at @s.
 *
 * Return: 1 to 4, or 0 where the bytes are no UTF-8 (overlong, surrogate, cut short), a C0/C1
 * control, DEL, or a character that reorders text (U+202A..E, U+2066..9).
 */
unsigned text_utf8(const char *s, size_t n);

/**
 * text_escape() - copy bytes, escaping like `ls -b`: \n \t \r \\ and \xNN.
 * @dst: @cap bytes, always terminated; a sequence that does not fit is left out whole
 *
 * Return: length of @dst without the NUL.
 */
size_t text_escape(char *dst, size_t cap, const char *src, size_t n);

/**
 * text_argv() - an argument vector as one line that a shell would read back as the same vector.
 * @args: arguments one behind the other, each ended by a NUL (the last one may lack it)
 *
 * Plain words stay bare, others stand in '...', and those with control characters or bytes that
 * are no UTF-8 in $'...'.
 *
 * Return: length of @dst without the NUL; cut at @cap.
 */
size_t text_argv(char *dst, size_t cap, const char *args, size_t n);

/** text_ipv4() - "192.0.2.1" and its NUL from an address in network byte order. Return: length. */
size_t text_ipv4(char dst[16], const uint8_t addr[4]);

#endif
