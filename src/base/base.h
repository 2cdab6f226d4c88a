/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h: ownership and small arithmetic, included by every other file.
 *
 * Owning locals are declared with cleanup(fn) and handed over with take():
 *
 *	cleanup(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
 *	...
 *	*out = take_fd(fd);
 *
 * Not its business: errors (err.h), text (text.h), logging (log.h).
 */
#ifndef SKEP_BASE_BASE_H
#define SKEP_BASE_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define cleanup(fn)		      __attribute__((cleanup(fn)))
#define printf_like(f, a)	      __attribute__((format(printf, f, a)))
#define maybe_unused		      __attribute__((unused))
#define array_size(a)		      (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

/* Transfers ownership out of an owning local: the local becomes NULL and its cleanup does nothing. */
#define take(p)                            \
	({                                 \
		__typeof__(p) take_ = (p); \
		(p) = NULL;                \
		take_;                     \
	})

#define min(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;      \
	})
#define max(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ > b_ ? a_ : b_;      \
	})

static inline int take_fd(int *fd)
{
	int old = *fd;

	*fd = -1;
	return old;
}

/* For cleanup(): each takes the address of the owning local. */
static inline void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void mem_free(void *p)
{
	void *q;

	memcpy(&q, p, sizeof(q));
	free(q);
}

static inline void file_close(FILE **f)
{
	if (*f)
		fclose(*f);
	*f = NULL;
}

#endif
