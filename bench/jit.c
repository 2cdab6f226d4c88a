// SPDX-License-Identifier: Apache-2.0
/*
 * jit.c: the same bytecode compiled by the kernel and by us, in one run: time per run of each program
 * of jit.bpf.c without that of an empty one, medians of rounds that alternate; what compiling took; and
 * the interpreter. Needs root.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <math.h>
#include <sys/mman.h>
#include <time.h>

#include "bench/jit.skel.h"
#include "jit/jit.h"
#include "vm/vm.h"

#define ROUNDS	   9
#define PACKET	   1500
#define SAMPLE_NS  2000000.0
#define COMPILES   41
#define BUDGET	   (1ULL << 40)
#define EVERY_PROG 32

struct subject {
	const char *name;
	int fd;
	struct isa_insn *insns;
	unsigned n;
	struct verify_proof *proof;
	struct jit_code *code;
	unsigned repeat;
	double kernel[ROUNDS], ours[ROUNDS], interp[ROUNDS], compile;
	uint64_t executed;
};

static struct subject subjects[EVERY_PROG];
static unsigned n_subjects;
static unsigned char packet[PACKET], *low;
static struct xdp_md ctx;

static double clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Of this thread alone: for what is compared with a target, not with a peer in the same run. */
static double cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(const double *v, unsigned n)
{
	double sorted[COMPILES];

	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return sorted[n / 2];
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

/* Ethernet, IPv4, TCP, and behind them what looks like a log. */
static void packet_make(void)
{
	static const unsigned char head[] = {
		2,    0,    0,	  0, 0,	 1, 2, 0, 0,  0, 0,    2,    8,	 0, 0x45, 0, 5,	   0xce,
		0,    1,    0x40, 0, 64, 6, 0, 0, 10, 0, 0,    1,    10, 0, 0,	  2, 0x1f, 0x90,
		0xc3, 0x50, 0,	  0, 0,	 1, 0, 0, 0,  2, 0x50, 0x10, 1,	 0, 0,	  0, 0,	   0,
	};
	uint64_t seed = 88172645463325252ULL;
	unsigned i;

	for (i = 0; i < PACKET; i++) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		packet[i] = i % 7 == 6	     ? ' '
			    : seed % 16 == 0 ? (unsigned char)(seed >> 32)
			    : seed % 4	     ? (unsigned char)('a' + (seed >> 32) % 26)
					     : (unsigned char)('0' + (seed >> 32) % 10);
	}
	memcpy(packet, head, sizeof(head));
	low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		   0);
	if (low == MAP_FAILED)
		die("packet", strerror(errno));
	memcpy(low, packet, PACKET);
	ctx = (struct xdp_md){.data = (uint32_t)(uintptr_t)low,
			      .data_end = (uint32_t)(uintptr_t)low + PACKET,
			      .ingress_ifindex = 1};
}

static double run_kernel(const struct subject *s, unsigned repeat, uint32_t *result)
{
	unsigned char out[PACKET + 256];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = PACKET,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = (int)repeat);

	if (bpf_prog_test_run_opts(s->fd, &o))
		die(s->name, strerror(errno));
	*result = o.retval;
	return o.duration;
}

static double run_ours(const struct subject *s, unsigned repeat, uint32_t *result)
{
	struct jit_run run = {0};
	double start = now_ns();
	unsigned i;

	for (i = 0; i < repeat; i++)
		*result = (uint32_t)jit_enter(s->code, &run, (uintptr_t)&ctx);
	return (now_ns() - start) / repeat;
}

static double run_interp(struct subject *s, unsigned repeat, uint32_t *result)
{
	static struct vm_run run;
	struct vm_code code = {.insns = s->insns, .n_insns = s->n, .proof = s->proof};
	double start = cpu_ns();
	unsigned i;

	run = (struct vm_run){.code = &code, .n_regions = 2, .budget = BUDGET};
	run.regions[0] = (struct vm_region){(uintptr_t)&ctx, (uintptr_t)(&ctx + 1), false};
	run.regions[1] = (struct vm_region){ctx.data, ctx.data_end, true};
	for (i = 0; i < repeat; i++)
		*result = (uint32_t)vm_interp(&run, &code, 0, (uintptr_t)&ctx, 0, 0, 0, 0);
	if (run.fault)
		die(s->name, run.err.text);
	s->executed = (BUDGET - run.budget) / repeat;
	return (cpu_ns() - start) / repeat;
}

static int compile(struct subject *s, struct jit_code **out, struct skep_err *err)
{
	struct jit_input in = {.insns = s->insns, .n_insns = s->n, .proof = s->proof};

	return jit_compile(out, &in, err);
}

static void prepare(struct subject *s, const struct bpf_program *prog)
{
	struct skep_err err = {""};

	s->name = bpf_program__name(prog);
	s->fd = bpf_program__fd(prog);
	s->n = (unsigned)bpf_program__insn_cnt(prog);
	s->insns = calloc(s->n, sizeof(*s->insns));
	if (!s->insns || isa_decode(bpf_program__insns(prog), s->n, s->insns, &err) ||
	    verify_structure(&s->proof, s->insns, s->n, &err) || compile(s, &s->code, &err))
		die(s->name, err.text);
}

static void time_compile(struct subject *s)
{
	double t[COMPILES];
	struct jit_code *c;
	unsigned i;

	for (i = 0; i < COMPILES; i++) {
		double start = cpu_ns();

		if (compile(s, &c, NULL))
			die(s->name, "does not compile");
		t[i] = cpu_ns() - start;
		jit_free(c);
	}
	s->compile = median(t, COMPILES);
}

static void same_result(struct subject *s)
{
	uint32_t kernel, ours, interp;

	memcpy(low, packet, PACKET);
	run_kernel(s, 1, &kernel);
	run_ours(s, 1, &ours);
	memcpy(low, packet, PACKET);
	run_interp(s, 1, &interp);
	if (kernel != ours || kernel != interp) {
		fprintf(stderr, "%s: kernel %#x, compiled %#x, interpreted %#x\n", s->name, kernel,
			ours, interp);
		exit(1);
	}
}

static void measure(struct subject *s)
{
	uint32_t r;
	unsigned i;

	same_result(s);
	s->repeat = (unsigned)(SAMPLE_NS / (run_ours(s, 1000, &r) + 1)) + 1;
	for (i = 0; i < ROUNDS; i++) {
		s->kernel[i] = run_kernel(s, s->repeat, &r);
		s->ours[i] = run_ours(s, s->repeat, &r);
		s->interp[i] = run_interp(s, s->repeat / 16 + 1, &r);
	}
	time_compile(s);
}

/* Of the rounds, each without the empty program: what else the machine does hits both. */
static double median_ratio(const struct subject *s, double ours0, double kernel0)
{
	double r[ROUNDS];
	unsigned i;

	for (i = 0; i < ROUNDS; i++)
		r[i] = (s->ours[i] - ours0) / (s->kernel[i] - kernel0);
	return median(r, ROUNDS);
}

static void report(const struct subject *empty)
{
	double k0 = median(empty->kernel, ROUNDS), o0 = median(empty->ours, ROUNDS);
	double log_sum = 0, worst = 0;
	unsigned i, n = 0;

	printf("%8s %12s %10s %10s %9s %9s  %s\n", "ratio", "kernel ns", "ours ns", "interp",
	       "compile", "of target", "program; interp: ns an instruction, compile: us");
	for (i = 0; i < n_subjects; i++) {
		const struct subject *s = &subjects[i];
		double k = median(s->kernel, ROUNDS), o = median(s->ours, ROUNDS), ratio;

		ratio = s == empty ? o / k : median_ratio(s, o0, k0);
		printf("%8.3f %12.1f %10.1f %10.2f %9.1f %9.2f  %s (%u)\n", ratio, k, o,
		       median(s->interp, ROUNDS) / (double)s->executed, s->compile / 1e3,
		       s->compile / (10000 + 15.0 * s->n), s->name, s->n);
		if (s == empty)
			continue;
		log_sum += log(ratio);
		worst = max(worst, ratio);
		n++;
	}
	printf("%8.3f  geometric mean of %u, run time / kernel's (without the empty program)\n",
	       exp(log_sum / n), n);
	printf("%8.3f  the worst\n", worst);
}

/* A long one: the bodies of all, one behind the other, as often as fits. */
static void compile_long(void)
{
	struct subject s = {.name = "long"};
	struct jit_code *c;
	double first;
	unsigned i, k;

	s.insns = calloc(60000, sizeof(*s.insns));
	if (!s.insns)
		die("long", "no memory");
	while (s.n < 50000)
		for (i = 0; i < n_subjects; i++)
			for (k = 0; k < subjects[i].n && subjects[i].proof->n_funcs == 1; k++)
				s.insns[s.n++] = subjects[i].insns[k].op == ISA_EXIT
							 ? (struct isa_insn){.op = ISA_MOV64_K}
							 : subjects[i].insns[k];
	s.insns[s.n++] = (struct isa_insn){.op = ISA_EXIT};
	if (verify_structure(&s.proof, s.insns, s.n, NULL))
		die("long", "structure");
	first = cpu_ns();
	if (compile(&s, &c, NULL))
		die(s.name, "does not compile");
	first = cpu_ns() - first;
	jit_free(c);
	time_compile(&s);
	printf("%8.3f  compile of %u instructions / (10 us + 15 ns each): %.1f ns each; the first, which "
	       "takes the memory, %.1f\n",
	       s.compile / (10000 + 15.0 * s.n), s.n, s.compile / s.n, first / s.n);
	verify_free(s.proof);
	free(s.insns);
}

int main(void)
{
	struct jit_bench_bpf *obj = jit_bench_bpf__open_and_load();
	struct subject *empty = NULL;
	struct bpf_program *prog;
	unsigned i;

	if (!obj)
		die("load", strerror(errno));
	packet_make();
	bpf_object__for_each_program(prog, obj->obj)
	{
		struct subject *s = &subjects[n_subjects++];

		prepare(s, prog);
		measure(s);
		if (!strcmp(s->name, "empty"))
			empty = s;
	}
	report(empty);
	compile_long();
	for (i = 0; i < n_subjects; i++) {
		jit_free(subjects[i].code);
		verify_free(subjects[i].proof);
		free(subjects[i].insns);
	}
	jit_bench_bpf__destroy(obj);
	return 0;
}
