// SPDX-License-Identifier: Apache-2.0
/*
 * diff N [SEED]: N random programs, each run by the kernel, the interpreter and the JIT; what they
 * leave must be the same bytes. A program that differs is printed, with the seed that makes it alone.
 * `diff --engine ...` asks no kernel: the interpreter takes its place, for machines that are emulated.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "gen.h"
#include "isa/table.h"
#include "vm/vm.h"

#define SHOWN	 5  /* differing programs */
#define LOG_EACH 50 /* programs: one whose text is compared */

struct count {
	unsigned run, refused, too_long, differ[2], jitted, left;
	unsigned lines, other_lines; /* of text */
	unsigned used[ISA_OPS];
	uint64_t ns[3];
};

/* The same value for both: the kernel's map, and a copy for the engine. */
struct stage {
	int map; /* -1: there is no kernel to ask */
	struct gen_value *kernel, *mine;
	struct __sk_buff *skb;
	uint8_t *data; /* below 4 GiB */
};

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static long bpf(unsigned cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

#ifndef MAP_32BIT /* a hint serves as well */
#define MAP_32BIT 0
#endif
#define LOW ((void *)0x10000000)

static int kernel_open(struct stage *s)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = sizeof(struct gen_value),
		.max_entries = 1,
		.map_flags = BPF_F_MMAPABLE,
	};

	s->map = (int)bpf(BPF_MAP_CREATE, &attr);
	if (s->map < 0)
		return -errno;
	s->kernel = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s->map, 0);
	return s->kernel == MAP_FAILED ? -errno : 0;
}

static int stage_open(struct stage *s, bool engine)
{
	static struct gen_value interpreted;
	int rc = engine ? 0 : kernel_open(s);
	uint8_t *low;

	if (rc)
		return rc;
	if (engine) {
		s->map = -1;
		s->kernel = &interpreted;
	}
	low = mmap(LOW, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		   0);
	if (low == MAP_FAILED)
		return -errno;
	s->mine = (void *)low;
	s->skb = (void *)(low + 4096);
	s->data = low + 4096 + sizeof(*s->skb);
	s->skb->data = (uint32_t)(uintptr_t)s->data;
	s->skb->data_end = s->skb->data + GEN_PACKET;
	return 0;
}

static int load(const struct stage *s, const struct gen_program *p, unsigned level, char *log,
		size_t log_size)
{
	struct bpf_insn insns[GEN_MAX];
	union bpf_attr attr = {
		.prog_type = p->packet ? BPF_PROG_TYPE_SCHED_CLS : BPF_PROG_TYPE_SYSCALL,
		.prog_flags = p->packet ? 0 : BPF_F_SLEEPABLE,
		.insns = (uintptr_t)insns,
		.insn_cnt = p->n,
		.license = (uintptr_t) "GPL",
		.log_level = level,
		.log_buf = (uintptr_t)log,
		.log_size = (uint32_t)log_size,
	};

	isa_encode(p->insns, p->n, insns);
	for (unsigned i = 0; i < p->n; i++)
		if (p->insns[i].op == ISA_LDDW_MAP_VALUE)
			insns[i].imm = s->map;
	return (int)bpf(BPF_PROG_LOAD, &attr);
}

static int run_kernel(const struct stage *s, const struct gen_program *p, uint32_t *r0)
{
	union bpf_attr attr = {0};
	int fd, rc;

	do /* a signal, that of a stop too, makes the verifier give up */
		fd = load(s, p, 0, NULL, 0);
	while (fd < 0 && errno == EAGAIN);
	if (fd < 0)
		return -errno;
	*s->kernel = p->value;
	attr.test.prog_fd = (uint32_t)fd;
	if (p->packet) {
		attr.test.data_in = (uintptr_t)p->data;
		attr.test.data_size_in = GEN_PACKET;
	}
	rc = bpf(BPF_PROG_TEST_RUN, &attr) ? -errno : 0;
	*r0 = attr.test.retval;
	close(fd);
	return rc;
}

/* ---- the engine's halves --------------------------------------------------------------------- */

static int prepare(const struct stage *s, const struct gen_program *p, struct vm_code *code,
		   struct isa_insn *insns, struct skep_err *err)
{
	struct bpf_insn bytes[GEN_MAX];
	int rc;

	isa_encode(p->insns, p->n, bytes);
	rc = isa_decode(bytes, p->n, insns, err);
	if (rc)
		return rc;
	rc = verify_structure(&code->proof, insns, p->n, err);
	if (rc)
		return rc;
	for (unsigned i = 0; i < p->n; i++) {
		if (insns[i].op != ISA_LDDW_MAP_VALUE)
			continue;
		insns[i].op = ISA_LDDW;
		insns[i].src = 0;
		isa_set_imm64(&insns[i], (uintptr_t)s->mine + (uint32_t)insns[i + 1].imm);
	}
	code->insns = insns;
	code->n_insns = p->n;
	return 0;
}

static int run_code(const struct stage *s, const struct gen_program *p, const struct vm_code *code,
		    uint32_t *r0, struct skep_err *err)
{
	struct vm_run run = {
		.code = code,
		.regions = {{(uintptr_t)s->mine, (uintptr_t)(s->mine + 1), true},
			    {(uintptr_t)s->skb, (uintptr_t)(s->skb + 1), false},
			    {s->skb->data, s->skb->data_end, false}},
		.n_regions = p->packet ? 3 : 1,
		.budget = 10000000,
	};

	*s->mine = p->value;
	memcpy(s->data, p->data, GEN_PACKET);
	*r0 = (uint32_t)vm_code_run(&run, code, p->packet ? (uintptr_t)s->skb : 0);
	*err = run.err;
	return run.fault;
}

/* ---- what to say ----------------------------------------------------------------------------- */

static void show_program(const struct gen_program *p)
{
	char text[128];

	for (unsigned i = 0; i < p->n; i++) {
		if (p->insns[i].op == ISA_NONE)
			continue;
		isa_text(text, sizeof(text), &p->insns[i], i, NULL);
		printf("#   %3u: %s\n", i, text);
	}
}

static void show_difference(const char *who, const struct gen_value *want,
			    const struct gen_value *got, uint32_t r0, uint32_t mine)
{
	printf("# kernel r0 %x, %s r0 %x\n", r0, who, mine);
	for (unsigned i = 0; i < 10; i++)
		if (want->regs[i] != got->regs[i])
			printf("# r%u: kernel %016llx %s %016llx\n", i,
			       (unsigned long long)want->regs[i], who,
			       (unsigned long long)got->regs[i]);
	for (unsigned i = 0; i < GEN_SLOTS; i++)
		if (want->stack[i] != got->stack[i])
			printf("# stack %u: kernel %016llx %s %016llx\n", i,
			       (unsigned long long)want->stack[i], who,
			       (unsigned long long)got->stack[i]);
	for (unsigned i = 0; i < GEN_MEM; i++)
		if (want->mem[i] != got->mem[i])
			printf("# mem %u: kernel %02x %s %02x\n", i, want->mem[i], who,
			       got->mem[i]);
}

static void show_refusal(const struct stage *s, const struct gen_program *p, uint64_t seed, int rc)
{
	static char log[1 << 20];
	int fd = load(s, p, 1, log, sizeof(log));
	char *last = strstr(log, "\nprocessed ");

	if (fd >= 0)
		close(fd);
	if (last)
		*last = '\0';
	last = strrchr(log, '\n');
	printf("# the kernel refuses `diff 1 %llu`: %s: %s\n", (unsigned long long)seed,
	       strerror(-rc), last ? last + 1 : log);
}

static bool same(const char *who, const struct stage *s, const struct gen_program *p,
		 const struct vm_code *code, uint32_t r0, uint64_t seed, bool show)
{
	struct skep_err err;
	uint32_t mine;
	int fault = run_code(s, p, code, &mine, &err);

	if (!fault && mine == r0 && !memcmp(s->kernel, s->mine, sizeof(*s->mine)))
		return true;
	if (show) {
		printf("# `diff 1 %llu` differs: %s\n", (unsigned long long)seed,
		       fault ? err.text : who);
		show_program(p);
		show_difference(who, s->kernel, s->mine, r0, mine);
	}
	return false;
}

/* "12: (bf) r1 = r2    ; R1=..." against the same instruction in our words. */
static void compare_line(const struct gen_program *p, char *line, uint64_t seed, struct count *c)
{
	char text[128], *end;
	unsigned pc, code;
	int at = 0;

	if (sscanf(line, "%u: (%2x) %n", &pc, &code, &at) < 2 || !at || pc >= p->n ||
	    p->insns[pc].op == ISA_LDDW_MAP_VALUE) /* the kernel prints its address */
		return;
	end = strstr(line, " ; ");
	end = end ? end : line + strlen(line);
	while (end > line && end[-1] == ' ')
		end--;
	*end = '\0';
	isa_text(text, sizeof(text), &p->insns[pc], pc, NULL);
	c->lines++;
	if (!strcmp(text, line + at))
		return;
	if (c->other_lines++ < SHOWN)
		printf("# `diff 1 %llu`, %u: the kernel says '%s', here '%s'\n",
		       (unsigned long long)seed, pc, line + at, text);
}

/* The kernel's log of a program names every instruction that it visits. */
static void compare_text(const struct stage *s, const struct gen_program *p, uint64_t seed,
			 struct count *c)
{
	static char log[16 << 20];
	int fd;

	log[0] = '\0';
	fd = load(s, p, 2, log, sizeof(log));
	if (fd >= 0)
		close(fd);
	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		compare_line(p, line, seed, c);
}

static void count_used(struct count *c, const struct gen_program *p)
{
	for (unsigned i = 0; i < p->n; i++)
		c->used[p->insns[i].op]++;
}

static void run_jit(const struct stage *s, const struct gen_program *p, struct vm_code *code,
		    uint32_t r0, uint64_t seed, struct count *c)
{
	struct jit_input in = {
		.insns = code->insns, .n_insns = code->n_insns, .proof = code->proof};
	uint64_t begun = now();

	if (jit_compile(&code->jit, &in, NULL)) {
		c->left++;
		return;
	}
	c->jitted++;
	c->differ[1] += !same("jit", s, p, code, r0, seed, c->differ[1] < SHOWN);
	c->ns[2] += now() - begun;
	jit_free(code->jit);
}

/* What the kernel makes of it, and whether that is worth comparing with. */
static bool ask_kernel(const struct stage *s, const struct gen_program *p, uint64_t seed,
		       uint32_t *r0, struct count *c)
{
	uint64_t begun = now();
	int rc = run_kernel(s, p, r0);

	c->ns[0] += now() - begun;
	if (rc == -E2BIG || rc == -EFAULT) /* too many instructions, too many ways to go */
		c->too_long++;
	else if (rc && c->refused++ < SHOWN)
		show_refusal(s, p, seed, rc);
	if (!rc && seed % LOG_EACH == 0)
		compare_text(s, p, seed, c);
	return !rc;
}

static void run_interpreter(const struct stage *s, const struct gen_program *p,
			    const struct vm_code *code, uint32_t *r0, uint64_t seed,
			    struct count *c)
{
	uint64_t begun = now();
	struct skep_err err;

	if (s->map >= 0)
		c->differ[0] += !same("interpreter", s, p, code, *r0, seed, c->differ[0] < SHOWN);
	else if (run_code(s, p, code, r0, &err))
		c->differ[0]++;
	else
		*s->kernel = *s->mine;
	c->ns[1] += now() - begun;
}

static void one(const struct stage *s, uint64_t seed, struct count *c)
{
	static struct gen_program p;
	static struct isa_insn insns[GEN_MAX];
	struct vm_code code = {.insns = NULL};
	struct skep_err err = {""};
	uint32_t r0 = 0;

	gen_program(&p, seed);
	if (s->map >= 0 && !ask_kernel(s, &p, seed, &r0, c))
		return;
	c->run++;
	count_used(c, &p);
	if (prepare(s, &p, &code, insns, &err)) {
		c->differ[0]++;
		printf("# `diff 1 %llu`: the kernel runs it, here: %s\n", (unsigned long long)seed,
		       err.text);
	} else {
		run_interpreter(s, &p, &code, &r0, seed, c);
		run_jit(s, &p, &code, r0, seed, c);
	}
	verify_free(code.proof);
}

/* What the kernel has no program for: other pseudo loads, calls out, callx. */
static bool beyond(unsigned op)
{
	switch (op) {
	case ISA_NONE:
	case ISA_NEVER:
	case ISA_CALL:
	case ISA_CALL_KFUNC:
	case ISA_CALL_REG:
	case ISA_LDDW_MAP_FD:
	case ISA_LDDW_BTF_ID:
	case ISA_LDDW_FUNC:
	case ISA_LDDW_MAP_IDX:
	case ISA_LDDW_MAP_IDX_VALUE:
		return true;
	default:
		return false;
	}
}

static unsigned unused(const struct count *c)
{
	unsigned n = 0;

	for (unsigned op = 0; op < ISA_OPS; op++) {
		if (beyond(op) || c->used[op])
			continue;
		printf("# never made: %s\n", isa_name(op));
		n++;
	}
	return n;
}

static int summary(const struct count *c, unsigned n)
{
	bool kernel = !c->refused && c->too_long <= n / 1000, interp = !c->differ[0],
	     jit = !c->differ[1];
	bool all = n < 10000 || !unused(c);

	printf("%s 1 - the kernel accepts all of %u programs (%u refused, %u too long to verify)\n",
	       kernel ? "ok" : "not ok", n, c->refused, c->too_long);
	printf("%s 2 - the interpreter agrees with the kernel on %u programs (%u differ)\n",
	       interp ? "ok" : "not ok", c->run, c->differ[0]);
	if (c->jitted)
		printf("%s 3 - the JIT agrees with the kernel on %u programs (%u differ, %u left to the interpreter)\n",
		       jit ? "ok" : "not ok", c->jitted, c->differ[1], c->left);
	else
		printf("ok 3 - the JIT agrees with the kernel # SKIP this build has no JIT\n");
	printf("%s 4 - the programs use every instruction\n", all ? "ok" : "not ok");
	printf("%s 5 - text is the kernel's in %u lines of its log (%u differ)\n",
	       c->other_lines ? "not ok" : "ok", c->lines, c->other_lines);
	printf("# microseconds a program: kernel %.1f, interpreter %.1f, JIT %.1f\n1..5\n",
	       (double)c->ns[0] / n / 1e3, (double)c->ns[1] / n / 1e3, (double)c->ns[2] / n / 1e3);
	return kernel && interp && jit && all && !c->other_lines ? 0 : 1;
}

/* Without a kernel: the JIT beside the interpreter. */
static int summary_engine(const struct count *c)
{
	printf("%s 1 - the interpreter runs all of %u programs (%u faults)\n",
	       c->differ[0] ? "not ok" : "ok", c->run, c->differ[0]);
	printf("%s 2 - the JIT agrees with the interpreter on %u programs (%u differ, %u left)\n1..2\n",
	       c->differ[1] || !c->jitted ? "not ok" : "ok", c->jitted, c->differ[1], c->left);
	return c->differ[0] || c->differ[1] || !c->jitted;
}

int main(int argc, char **argv)
{
	static struct count c;
	bool engine = argc > 1 && !strcmp(argv[1], "--engine");
	struct stage s;
	uint64_t seed;
	unsigned n;
	int rc = stage_open(&s, engine);

	argc -= engine;
	argv += engine;
	n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 20000;
	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	setlinebuf(stdout);
	if (rc) {
		printf("1..0 # SKIP the kernel gives no map: %s\n", strerror(-rc));
		return rc == -EPERM ? 0 : 1;
	}
	for (unsigned i = 0; i < n; i++)
		one(&s, seed + i, &c);
	return engine ? summary_engine(&c) : summary(&c, n);
}
