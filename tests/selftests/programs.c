// SPDX-License-Identifier: Apache-2.0
/*
 * programs.c: programs of BPF objects that say in their BTF what they are to return, loaded and test-run.
 *
 *	programs OBJECT... count|N
 *
 * The declaration tags are those of the kernel's selftests (progs/bpf_misc.h); what has no `success` or
 * no `retval` is no case.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <stdarg.h>

#include "cases.h"

#define PROGRAMS_MAX 4096
#define TAG(name)    "comment:test_" name

struct program {
	const char *object;
	char *name;
	int retval;
	unsigned flags;
	bool success, has_retval, elsewhere;
};

static struct program programs[PROGRAMS_MAX];
static unsigned n_programs;

static bool starts(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

static unsigned flag_of(const char *text)
{
	static const struct {
		const char *name;
		unsigned flag;
	} flags[] = {
		{"BPF_F_STRICT_ALIGNMENT", BPF_F_STRICT_ALIGNMENT},
		{"BPF_F_ANY_ALIGNMENT", BPF_F_ANY_ALIGNMENT},
		{"BPF_F_TEST_RND_HI32", BPF_F_TEST_RND_HI32},
		{"BPF_F_TEST_STATE_FREQ", BPF_F_TEST_STATE_FREQ},
		{"BPF_F_SLEEPABLE", BPF_F_SLEEPABLE},
		{"BPF_F_XDP_HAS_FRAGS", BPF_F_XDP_HAS_FRAGS},
		{"BPF_F_TEST_REG_INVARIANTS", BPF_F_TEST_REG_INVARIANTS},
	};

	for (unsigned i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strcmp(text, flags[i].name))
			return flags[i].flag;
	return (unsigned)strtoul(text, NULL, 0);
}

/* Names of the selftests' header that stand in __retval() as they are. */
static int number(const char *text)
{
	if (!strcmp(text, "INT_MIN"))
		return -2147483647 - 1;
	if (!strcmp(text, "POINTER_VALUE"))
		return 0xbadcafe;
	return (int)strtoll(text, NULL, 0);
}

static void read_tag(struct program *p, const char *tag)
{
	if (!strcmp(tag, TAG("expect_success"))) {
		p->success = true;
	} else if (starts(tag, TAG("retval="))) {
		p->retval = number(strchr(tag, '=') + 1);
		p->has_retval = true;
	} else if (starts(tag, TAG("prog_flags="))) {
		p->flags |= flag_of(strchr(tag, '=') + 1);
	} else if (starts(tag, TAG("arch="))) {
		p->elsewhere = strcmp(strchr(tag, '=') + 1, "X86_64") != 0;
	}
}

/* Every tag of the function in the object's BTF. */
static void read_tags(const struct btf *btf, struct program *p)
{
	int func = btf__find_by_name_kind(btf, p->name, BTF_KIND_FUNC);

	for (unsigned i = 1; func > 0 && i < btf__type_cnt(btf); i++) {
		const struct btf_type *t = btf__type_by_id(btf, i);

		if (btf_is_decl_tag(t) && (int)t->type == func &&
		    btf_decl_tag(t)->component_idx == -1)
			read_tag(p, btf__str_by_offset(btf, t->name_off));
	}
}

static void find_programs(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *prog;

	if (!object) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return;
	}
	bpf_object__for_each_program(prog, object)
	{
		struct program p = {.object = path, .name = strdup(bpf_program__name(prog))};

		read_tags(bpf_object__btf(object), &p);
		if (p.success && p.has_retval && !p.elsewhere && n_programs < PROGRAMS_MAX)
			programs[n_programs++] = p;
	}
	bpf_object__close(object);
}

static bool is_auxiliary(const struct btf *btf, const char *name)
{
	int func = btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);

	for (unsigned i = 1; func > 0 && i < btf__type_cnt(btf); i++) {
		const struct btf_type *t = btf__type_by_id(btf, i);

		if (btf_is_decl_tag(t) && (int)t->type == func &&
		    !strcmp(btf__str_by_offset(btf, t->name_off), TAG("auxiliary")))
			return true;
	}
	return false;
}

/* The program alone, with those that it needs. */
static struct bpf_program *choose(struct bpf_object *object, const struct program *p)
{
	struct bpf_program *prog, *found = NULL;

	bpf_object__for_each_program(prog, object)
	{
		const char *name = bpf_program__name(prog);
		bool it = !strcmp(name, p->name);

		if (it)
			found = prog;
		bpf_program__set_autoload(prog, it || is_auxiliary(bpf_object__btf(object), name));
	}
	bpf_program__set_flags(found, bpf_program__flags(found) | p->flags);
	return found;
}

static int test_run(const struct program *p, struct bpf_program *prog)
{
	unsigned char in[64] = {0}, back[256] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .repeat = 1);

	if (bpf_program__type(prog) != BPF_PROG_TYPE_SYSCALL) {
		opts.data_in = in;
		opts.data_size_in = sizeof(in);
		opts.data_out = back;
		opts.data_size_out = sizeof(back);
	} else {
		opts.repeat = 0;
	}
	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts)) {
		printf("test run: errno %d, %s\n", errno, strerror(errno));
		return 1;
	}
	if ((int)opts.retval == p->retval || p->retval == 0xbadcafe)
		return 0;
	printf("returned %d, expected %d\n", (int)opts.retval, p->retval);
	return 1;
}

static int say(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[512];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	if (strstr(line, "failed") && !strstr(line, "BEGIN PROG LOAD LOG"))
		fputs(line, stderr);
	return 0;
}

static int program_run(unsigned n)
{
	const struct program *p = &programs[n];
	struct bpf_object *object;
	struct bpf_program *prog;
	int rc;

	libbpf_set_print(say);
	object = bpf_object__open_file(p->object, NULL);
	prog = choose(object, p);
	rc = bpf_object__load(object);
	if (rc) {
		printf("load: errno %d, %s\n", -rc, strerror(-rc));
		return 1;
	}
	return test_run(p, prog);
}

static const char *program_name(unsigned n)
{
	static char name[256];
	const char *slash = strrchr(programs[n].object, '/');

	snprintf(name, sizeof(name), "%s %s", slash ? slash + 1 : programs[n].object,
		 programs[n].name);
	return name;
}

int main(int argc, char **argv)
{
	libbpf_set_print(NULL);
	for (int i = 1; i < argc - 1; i++)
		find_programs(argv[i]);
	return cases_main(argv[argc - 1], n_programs, program_name, program_run);
}
