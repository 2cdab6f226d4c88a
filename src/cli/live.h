/* SPDX-License-Identifier: Apache-2.0 */
/*
 * live.h: `skep run OBJ --port`: one program on the frames of ports, until somebody or a clock ends it.
 *
 * Not its business: opening ports (host/port.h), loading the object.
 */
#ifndef SKEP_CLI_LIVE_H
#define SKEP_CLI_LIVE_H

#include "cli/object.h"
#include "host/port.h"

/**
 * live_run() - link the program to every port, move frames, count what it decided.
 *
 * Ends at SIGINT, SIGTERM, after @seconds (0: never), or when all captures are read.
 */
int live_run(struct ports *ports, int prog, bool tc, unsigned seconds, struct object_result *r,
	     struct skep_err *err);

/**
 * live_value() - "@NAME" as the number of the ifindex of port NAME, or of that interface.
 * @buf: of the answer, where it differs from @text
 *
 * Return: the text to go on with, @text itself where it names none.
 */
const char *live_value(struct ports *ports, const char *text, char buf[16]);

void live_json(struct ports *ports, struct buf *out);
void live_text(struct ports *ports, struct buf *out);

#endif
