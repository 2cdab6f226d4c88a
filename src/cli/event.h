/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h: server-sent events taken apart, and an event as one line for people.
 */
#ifndef SKEP_CLI_EVENT_H
#define SKEP_CLI_EVENT_H

#include "base/base.h"
#include "base/buf.h"
#include "cli/term.h"

#include <jansson.h>

/* One event of the stream as it is put together from lines. */
struct event_parser {
	char name[64];
	struct buf data;
};

/**
 * event_line() - take the next line of a stream.
 *
 * Return: true when an event is complete: p->name and p->data hold it until event_next().
 */
bool event_line(struct event_parser *p, const char *line, size_t n);
void event_next(struct event_parser *p);
void event_parser_done(struct event_parser *p);

/**
 * event_print() - add one event as a line.
 * @event: the row with "event" and "at"
 */
void event_print(const json_t *event, const struct term *term, struct buf *b);

#endif
