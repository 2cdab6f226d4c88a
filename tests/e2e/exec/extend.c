// SPDX-License-Identifier: Apache-2.0
/* Programs that stand for functions of another: what the kernel makes of them is what is printed. */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct bpf_object *target;
static int target_fd;

static void run(const char *when)
{
	char packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);
	int rc = bpf_prog_test_run_opts(target_fd, &o);

	printf("%s: %d (%d)\n", when, (int)o.retval, rc);
}

/* The extension @prog alone, for @func of the target. NULL: refused. */
static struct bpf_object *load(const char *path, const char *prog, const char *func, int *fd)
{
	struct bpf_object *o = bpf_object__open(path);
	struct bpf_program *p;
	int rc;

	bpf_object__for_each_program(p, o)
		bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), prog));
	p = bpf_object__find_program_by_name(o, prog);
	rc = bpf_program__set_attach_target(p, target_fd, func);
	if (!rc)
		rc = bpf_object__load(o);
	printf("%s for %s: %d\n", prog, func, rc);
	*fd = bpf_program__fd(p);
	if (!rc)
		return o;
	bpf_object__close(o);
	return NULL;
}

static void counted(struct bpf_object *o)
{
	unsigned zero = 0;
	unsigned long long n = 0;

	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(o, "calls"), &zero, &n);
	printf("counted %llu\n", n);
}

/* Link infos name the target. */
static void show(int link)
{
	struct bpf_link_info info = {0};
	struct bpf_prog_info of = {0};
	unsigned len = sizeof(info), of_len = sizeof(of);

	bpf_obj_get_info_by_fd(link, &info, &len);
	bpf_obj_get_info_by_fd(target_fd, &of, &of_len);
	printf("link type %u attach %u target %d btf %u\n", info.type, info.tracing.attach_type,
	       info.tracing.target_obj_id == of.id, info.tracing.target_btf_id);
}

static void ran(void)
{
	struct bpf_prog_info of = {0};
	unsigned len = sizeof(of);

	bpf_obj_get_info_by_fd(target_fd, &of, &len);
	printf("ran %llu\n", (unsigned long long)of.run_cnt);
}

/* The kernel forgets at once; the engine looks when it is asked for ids. */
static void drop(int link)
{
	unsigned id = 0;

	close(link);
	bpf_link_get_next_id(0, &id);
}

static int sys(int rc)
{
	return rc < 0 ? -errno : 0;
}

int main(int argc, char **argv)
{
	struct bpf_object *a, *b, *c;
	int fa, fb, fc, la, lb, lc, none, stats;

	if (argc < 3)
		return 2;
	setlinebuf(stdout);
	libbpf_set_print(NULL);
	target = bpf_object__open(argv[1]);
	if (!target || bpf_object__load(target))
		return 1;
	target_fd = bpf_program__fd(bpf_object__find_program_by_name(target, "target"));
	run("alone");

	a = load(argv[2], "instead", "first", &fa);
	if (!a)
		return 3;
	b = load(argv[2], "other", "second", &fb);
	load(argv[2], "instead", "hidden", &none);
	load(argv[2], "instead", "second", &none);
	load(argv[2], "instead", "nowhere", &none);
	la = bpf_raw_tracepoint_open(NULL, fa);
	run("first replaced");
	show(la);
	printf("again: %d\n", sys(bpf_raw_tracepoint_open(NULL, fa)));
	lb = bpf_raw_tracepoint_open(NULL, fb);
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	run("both replaced");
	ran();
	close(stats);
	counted(a);
	counted(b);
	printf("update %d detach %d\n", sys(bpf_link_update(la, fb, NULL)),
	       sys(bpf_link_detach(la)));
	drop(la);
	run("second alone");
	c = load(argv[2], "instead", "first", &fc);
	lc = bpf_raw_tracepoint_open(NULL, fc);
	printf("third attached: %d\n", lc >= 0);
	run("both again");
	{
		LIBBPF_OPTS(bpf_link_create_opts, o, .target_btf_id = 1);

		printf("for what is no function: %d\n", sys(bpf_link_create(fa, target_fd, 0, &o)));
	}
	close(lb);
	drop(lc);
	bpf_object__close(a);
	bpf_object__close(b);
	bpf_object__close(c);
	a = load(argv[2], "all", "target", &fa);
	la = bpf_raw_tracepoint_open(NULL, fa);
	run("all of it");
	drop(la);
	run("alone again");
	bpf_object__close(a);
	bpf_object__close(target);
	return 0;
}
