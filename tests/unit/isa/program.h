/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.h: for tests: programs as text, one instruction a line, "\n" or ";" between them.
 */
#ifndef SKEP_TESTS_PROGRAM_H
#define SKEP_TESTS_PROGRAM_H

#include "isa/isa.h"

#define PROGRAM_MAX 512

struct program {
	struct isa_insn insns[PROGRAM_MAX];
	unsigned n;
};

static struct program program(const char *text)
{
	struct program p = {.n = 0};
	struct skep_err err;
	char line[128];
	size_t len;
	int n;

	for (; *text; text += len + (text[len] != '\0')) {
		len = strcspn(text, ";\n");
		snprintf(line, sizeof(line), "%.*s", (int)len, text);
		if (!line[strspn(line, " \t")])
			continue;
		n = p.n + 2 > PROGRAM_MAX ? -1 : isa_parse(line, &p.insns[p.n], &err);
		if (n < 0) {
			fprintf(stderr, "%s\n", err.text);
			abort();
		}
		p.n += (unsigned)n;
	}
	return p;
}

#endif
