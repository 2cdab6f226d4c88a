/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h: a reason in words beside an errno.
 *
 * Functions return 0 (or a count) or -errno. Where errno alone cannot tell an operator what to do,
 * the last parameter is a struct skep_err on the caller's stack (it may be NULL).
 */
#ifndef SKEP_BASE_ERR_H
#define SKEP_BASE_ERR_H

#include "base/base.h"

struct skep_err {
	char text[512]; /* one sentence, no newline, always terminated */
};

/**
 * skep_fail() - say why, and return the error.
 * @err: filled unless NULL; longer text is cut
 * @rc:  -errno
 *
 * Return: @rc, so that a function can end in `return skep_fail(err, -EINVAL, "...")`.
 */
int skep_fail(struct skep_err *err, int rc, const char *fmt, ...) printf_like(3, 4);

/**
 * skep_note() - put where it happened before the reason that a callee gave.
 * @err: "reason" becomes "where: reason"; an empty one becomes "where: strerror(-rc)"
 *
 * Return: @rc.
 */
int skep_note(struct skep_err *err, int rc, const char *fmt, ...) printf_like(3, 4);

#endif
