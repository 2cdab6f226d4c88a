// SPDX-License-Identifier: Apache-2.0
/*
 * insns.c: the eBPF programs of the kernel's lib/test_bpf.c, run by `skep run --hex`.
 *
 *	insns SKEP --interp|--jit count|N
 *
 * The table with its expectations is the kernel's; what it names of the kernel stands in
 * selftest_kernel.h. Programs of classic BPF, and those that are to be refused, are no cases.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include </usr/include/linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_vlan.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "selftest_kernel.h"
#include "test_bpf.h"

#define RUNS_MAX 2048

/* A test on one of its data. */
struct run {
	struct bpf_test *test;
	unsigned sub;
};

static struct run runs[RUNS_MAX];
static unsigned n_runs;
static char *skep, *mode;

static void hex(char *to, const void *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[((const unsigned char *)data)[i] >> 4];
		*to++ = digits[((const unsigned char *)data)[i] & 15];
	}
	*to = '\0';
}

/* The program as one line. */
static char *program_hex(struct bpf_test *t)
{
	const struct bpf_insn *insns = t->u.insns_int;
	unsigned n = MAX_INSNS;
	char *line;

	if (t->fill_helper) {
		if (t->fill_helper(t))
			return NULL;
		insns = t->u.ptr.insns;
		n = t->u.ptr.len;
	} else {
		while (n && !insns[n - 1].code && !insns[n - 1].imm)
			n--;
	}
	line = malloc(n * sizeof(*insns) * 2 + 1);
	hex(line, insns, n * sizeof(*insns));
	return line;
}

static char *memory_hex(const struct run *r)
{
	size_t n = (size_t)r->test->test[r->sub].data_size;
	unsigned char *memory = calloc(1, n + MAX_DATA);
	char *text = malloc(2 * n + 1);

	memcpy(memory, r->test->data, MAX_DATA);
	hex(text, memory, n);
	free(memory);
	return text;
}

/* Gives @line to the command on its standard input and returns what it says. */
static void ask(const char *memory, const char *line, char *answer, int size)
{
	FILE *program = tmpfile(), *said;
	char *command;

	fprintf(program, "%s\n", line);
	fflush(program);
	rewind(program);
	dup2(fileno(program), 0);
	if (asprintf(&command, "%s run --hex %s %s 2>&1", skep, mode, memory) < 0)
		abort();
	said = popen(command, "r");
	answer[0] = '\0';
	if (said && fgets(answer, size, said))
		answer[strcspn(answer, "\n")] = '\0';
	pclose(said);
}

/*
 * The module's programs pass no verifier. One that the engine refuses is no case when bpf(2) of the
 * kernel refuses it in the same words.
 */
static bool kernel_refuses(const char *why, const char *line)
{
	static char log[65536];
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .log_level = 1, .log_buf = log,
		    .log_size = sizeof(log));
	size_t n = strlen(line) / (2 * sizeof(struct bpf_insn));
	struct bpf_insn *insns = calloc(n, sizeof(*insns));
	char words[256];

	for (size_t i = 0; i < n * sizeof(*insns); i++)
		sscanf(line + 2 * i, "%2hhx", (unsigned char *)insns + i);
	if (sscanf(why, "skep: insn %*u: %255[^(]", words) != 1 &&
	    sscanf(why, "skep: %255[^(]", words) != 1)
		return false;
	words[strcspn(words, "(")] = '\0';
	while (words[0] && words[strlen(words) - 1] == ' ')
		words[strlen(words) - 1] = '\0';
	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "", "GPL", insns, n, &opts) < 0 &&
	       strstr(log, words);
}

static int insns_run(unsigned n)
{
	const struct run *r = &runs[n];
	uint32_t expected = r->test->test[r->sub].result;
	char *line = program_hex(r->test), answer[512], *end;

	if (!line) {
		puts("no program");
		return 1;
	}
	ask(memory_hex(r), line, answer, sizeof(answer));
	if (answer[0] && (uint32_t)strtoull(answer, &end, 16) == expected && !*end)
		return 0;
	if (kernel_refuses(answer, line)) {
		printf("bpf(2) refuses it: %s\n", answer);
		return CASE_NONE;
	}
	printf("expected %x, got %s\n", expected, answer);
	return 1;
}

static const char *insns_name(unsigned n)
{
	return runs[n].test->descr;
}

static void find_runs(struct bpf_test *t)
{
	if ((t->aux & TEST_TYPE_MASK) != INTERNAL || t->aux & FLAG_EXPECTED_FAIL)
		return;
	for (unsigned sub = 0; sub < MAX_SUBTESTS && n_runs < RUNS_MAX; sub++) {
		if (sub && !t->test[sub].data_size && !t->test[sub].result)
			break;
		runs[n_runs++] = (struct run){t, sub};
	}
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	skep = argv[1];
	mode = argv[2];
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		find_runs(&tests[i]);
	return cases_main(argv[3], n_runs, insns_name, insns_run);
}
