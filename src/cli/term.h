/* SPDX-License-Identifier: Apache-2.0 */
/*
 * term.h: what the standard output is, and how wide text stands on it.
 *
 * skep writes UTF-8, whatever the locale says; term_init() makes the width tables match.
 */
#ifndef SKEP_CLI_TERM_H
#define SKEP_CLI_TERM_H

#include "base/base.h"
#include "base/buf.h"

struct term {
	bool tty;
	bool colour;	/* a terminal, no NO_COLOR, TERM is not dumb */
	unsigned width; /* columns; 0: no limit, because it is no terminal */
};

/* What a piece of text says, not how it looks. */
enum term_style { TERM_PLAIN, TERM_HEAD, TERM_GOOD, TERM_BAD, TERM_DIM };

/** term_init() - make wcwidth(3) speak UTF-8. Once, before anything else here. */
void term_init(void);

/** term_look() - look at the standard output now (COLUMNS goes before the kernel's answer). */
struct term term_look(void);

/** term_width() - columns that @n bytes of UTF-8 take; what cannot be shown counts as one. */
unsigned term_width(const char *s, size_t n);

/**
 * term_add() - add text cut to @most columns, "…" in the last one where it was cut.
 *
 * Control characters and bytes that are no UTF-8 become U+FFFD: nothing a row holds can steer the
 * terminal. Return: columns added.
 */
unsigned term_add(struct buf *b, const char *s, size_t n, unsigned most);

/** term_paint() - begin a style, TERM_PLAIN ends it. Adds nothing without @colour. */
void term_paint(struct buf *b, bool colour, enum term_style style);

/** term_wrap() - add @text in lines of @width columns, each begun by @indent blanks but the first. */
void term_wrap(struct buf *b, const char *text, unsigned indent, unsigned width);

/**
 * term_flush() - write @b to the standard output and empty it.
 *
 * Return: 0; -EPIPE where nobody reads any more; -errno; -ENOMEM where @b is incomplete.
 */
int term_flush(struct buf *b);

#endif
