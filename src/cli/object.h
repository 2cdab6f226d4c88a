/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.h: `skep run OBJ`: a BPF object on packets, in the engine or in the kernel, unattached.
 *
 * Not its business: which host answers (the caller chose it), options.
 */
#ifndef SKEP_CLI_OBJECT_H
#define SKEP_CLI_OBJECT_H

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"

struct ports;

#define OBJECT_VERDICTS 32

/* What is wanted; strings are borrowed, NULL where nothing was said. */
struct object_wish {
	const char *path;
	const char *prog;	 /* NULL: the only one */
	const char *in, *out;	 /* captures */
	const char *const *sets; /* object_is_set(), in their order */
	unsigned n_sets;
	const char *dump; /* "a,b" or "all" */
	unsigned repeat;  /* of each packet, at least 1 */
	bool stats;
	struct ports *ports; /* run it on their frames instead; NULL: none */
	unsigned seconds;    /* so long; 0: until a signal */
};

struct object_result {
	char prog[64], type[32];
	bool has_packets; /* the program's type takes packets */
	uint64_t packets;
	uint64_t runs, ns; /* of all packets and repetitions */
	bool stats;
	uint64_t verdicts[OBJECT_VERDICTS], others;
	const char *const *verdict_names; /* NULL-terminated; NULL: numbers */
	uint32_t last;			  /* return value of the last run */
	uint32_t insns, jited_bytes;
	uint64_t run_cnt, run_ns; /* with stats */
	struct buf maps;	  /* JSON members: "name":[{"key":..,"value":..},..],... */
};

/* Is it "map:key=value" or "variable=value"? What these name and hold is not looked at. */
bool object_is_set(const char *set);

/**
 * object_run() - load @wish->path, run it on each packet, look at its maps.
 *
 * Without a capture one frame of 64 zero bytes is run. Frames that the program lets through (XDP_PASS,
 * XDP_TX, XDP_REDIRECT; TC_ACT_OK and the like) are written to @wish->out as they came out.
 *
 * Return: 0 with *@r to be given to object_done(); -errno with the reason, a refusal with the
 * verifier's words.
 */
int object_run(const struct object_wish *wish, struct object_result *r, struct skep_err *err);
void object_done(struct object_result *r);

/** object_verdict() - the name of a verdict, or its number in @buf. */
const char *object_verdict(const struct object_result *r, unsigned verdict, char buf[16]);

#endif
