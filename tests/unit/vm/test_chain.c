// SPDX-License-Identifier: Apache-2.0
/*
 * Programs of a tcx hook beside the kernel's: random ones come by links and without, beside others or not,
 * take each other's place, and go; the same are refused, and those that stand are in the same order.
 */
#include "vm/inside.h"
#include "vm/sides.h"

#include <sched.h>

#define TCX    46
#define F_ID   (1U << 5)
#define F_LINK (1U << 13)

#define CHAIN 8

static int fds[2][2 * CHAIN]; /* programs, and their links */

static uint32_t id_of(unsigned s, int i, bool link)
{
	struct bpf_prog_info prog = {0};
	struct bpf_link_info of_link = {0};
	union bpf_attr a;

	zeroed(a);
	a.info.bpf_fd = (uint32_t)fds[s][i];
	a.info.info_len = link ? sizeof(of_link) : sizeof(prog);
	a.info.info = link ? (uintptr_t)&of_link : (uintptr_t)&prog;
	if (fds[s][i] < 0 || call(s, BPF_OBJ_GET_INFO_BY_FD, &a))
		return 0;
	return link ? of_link.id : prog.id;
}

static long ask(unsigned s, unsigned cmd, union vm_attr *a)
{
	long rc;

	if (engines[s])
		return skep_bpf(engines[s], cmd, &a->a, sizeof(*a));
	rc = syscall(__NR_bpf, cmd, a, sizeof(*a));
	return rc < 0 ? -errno : rc;
}

/*
 * What stands at the hook, in its order: programs of fds[s][0..CHAIN) as digits, a letter where a link holds
 * one; then the hook's revision. Asked for @room of them, and said whether that was all.
 */
static void chain_text(unsigned s, uint32_t room, char out[64])
{
	uint32_t progs[CHAIN] = {0}, links[CHAIN] = {0}, none[2][CHAIN], n, i;
	union vm_attr a;
	char *end = out;
	int k;
	long rc;

	memset(none, 7, sizeof(none));
	zeroed(a);
	a.a.query.target_fd = 1;
	a.a.query.attach_type = TCX;
	a.a.query.prog_ids = (uintptr_t)progs;
	a.a.query.prog_attach_flags = (uintptr_t)none[0];
	a.link_ids = (uintptr_t)links;
	a.link_attach_flags = (uintptr_t)none[1];
	a.a.query.prog_cnt = room;
	rc = ask(s, BPF_PROG_QUERY, &a);
	n = a.a.query.prog_cnt;
	for (i = 0; i < min(n, room); i++)
		for (k = 0; k < CHAIN; k++)
			if (id_of(s, k, false) == progs[i])
				*end++ = (char)((links[i] ? 'a' : '0') + k);
	sprintf(end, " of %u: %ld, revision %llu, flags %x %x", n, rc,
		(unsigned long long)a.revision, n ? none[0][0] : 0, n ? none[1][0] : 0);
}

/* A descriptor or a number of what stands at @by, whether it is there or not. */
static uint32_t name(unsigned s, uint32_t flags, int by)
{
	if (by < 0)
		return 0;
	if (flags & F_LINK)
		by += CHAIN;
	return flags & F_ID ? id_of(s, by, by >= CHAIN) : (uint32_t)fds[s][by];
}

/* Link @i of program @i. */
static int chain_link(unsigned s, int i, uint32_t flags, int by, uint64_t revision)
{
	union vm_attr a;

	zeroed(a);
	a.a.link_create.prog_fd = (uint32_t)fds[s][i % CHAIN];
	a.a.link_create.target_ifindex = 1;
	a.a.link_create.attach_type = TCX;
	a.a.link_create.flags = flags;
	a.tcx_relative = name(s, flags, by);
	a.tcx_revision = revision;
	return (int)ask(s, BPF_LINK_CREATE, &a);
}

/* Program @i, or none where that is negative, comes without a link or goes. */
static int chain_prog(unsigned s, unsigned cmd, int i, uint32_t flags, int by, int old,
		      uint64_t revision)
{
	union vm_attr a;

	zeroed(a);
	a.a.target_fd = 1;
	a.a.attach_bpf_fd = i < 0 ? 0 : (uint32_t)fds[s][i];
	a.a.attach_type = TCX;
	a.a.attach_flags = flags;
	if (cmd == BPF_PROG_ATTACH && flags & BPF_F_REPLACE)
		a.a.replace_bpf_fd = (uint32_t)fds[s][old];
	a.relative_fd = name(s, flags, by);
	a.expected_revision = revision;
	return (int)ask(s, cmd, &a);
}

/* Link @i holds program @to from now on. */
static int chain_update(unsigned s, int i, int to)
{
	union vm_attr a;

	zeroed(a);
	a.a.link_update.link_fd = (uint32_t)fds[s][CHAIN + i];
	a.a.link_update.new_prog_fd = (uint32_t)fds[s][to];
	return (int)ask(s, BPF_LINK_UPDATE, &a);
}

static void drop(unsigned s, int i)
{
	if (fds[s][i] >= 0)
		close(fds[s][i]);
	fds[s][i] = -1;
}

/* Something random happens to program @i or its link. */
static void happen(int i, unsigned *seed)
{
	uint32_t flags = (rand_r(seed) & 3) << 3;
	int by = rand_r(seed) % (CHAIN + 1) - 1, at = CHAIN + i, rc[2];
	unsigned s, what = (unsigned)rand_r(seed) % 8, old = (unsigned)rand_r(seed) % CHAIN;
	uint64_t revision = rand_r(seed) % 8 ? 0 : (uint64_t)(rand_r(seed) % 4);

	flags |= rand_r(seed) % 4 ? 0 : F_LINK;
	flags |= rand_r(seed) % 4 ? 0 : F_ID;
	if (fds[KERNEL][at] >= 0 && rand_r(seed) % 4 == 0) {
		for (s = 0; s < 2; s++)
			drop(s, at);
		return;
	}
	if (what < 3 && rand_r(seed) % 3 == 0)
		flags = (flags & 0x18) % 0x18 | BPF_F_REPLACE;
	for (s = 0; s < 2; s++) {
		if (what == 0)
			rc[s] = chain_prog(s, BPF_PROG_ATTACH, i, 0, -1, 0, 0);
		else if (what < 3)
			rc[s] = chain_prog(s, BPF_PROG_ATTACH, i, flags, by, (int)old, revision);
		else if (what == 3)
			rc[s] = chain_prog(s, BPF_PROG_DETACH, i, 0, -1, 0, revision);
		else if (what == 4)
			rc[s] = chain_prog(s, BPF_PROG_DETACH, old % 2 ? -1 : i, flags, by, 0,
					   revision);
		else if (what == 5 && fds[s][at] >= 0)
			rc[s] = chain_update(s, i, (int)old);
		else
			rc[s] = chain_link(s, i, flags, by, revision);
	}
	assert_int_equal(min(rc[KERNEL], 0), min(rc[INTERPRETED], 0));
	for (s = 0; s < 2 && rc[s] > 0; s++) {
		drop(s, at);
		fds[s][at] = rc[s];
	}
}

static void open_programs(void)
{
	unsigned s;
	int i;

	for (s = 0; s < 2; s++)
		for (i = 0; i < CHAIN; i++) {
			struct code c = {.n = 0};

			add(&c, MOV(0, i), EXIT());
			fds[s][i] = load(s, BPF_PROG_TYPE_SCHED_CLS, &c);
			assert_true(fds[s][i] >= 0);
			fds[s][CHAIN + i] = -1;
		}
}

static void places_are_given_alike(void **state maybe_unused)
{
	char of_kernel[64], ours[64];
	unsigned round, s, seed = 7, full = 0;
	int i;

	open_programs();
	for (round = 0; round < 2000; round++) {
		uint32_t room = rand_r(&seed) % 4 ? CHAIN : (unsigned)rand_r(&seed) % 4;

		happen(rand_r(&seed) % CHAIN, &seed);
		chain_text(KERNEL, room, of_kernel);
		chain_text(INTERPRETED, room, ours);
		assert_string_equal(of_kernel, ours);
		full += strcspn(ours, " ") > CHAIN / 2;
	}
	assert_true(full > 100);
	for (i = 0; i < 2 * CHAIN; i++)
		for (s = 0; s < 2; s++) {
			if (i < CHAIN)
				chain_prog(s, BPF_PROG_DETACH, i, 0, -1, 0, 0);
			drop(s, i);
		}
}

static void a_hook_is_full_alike(void **state maybe_unused)
{
	union vm_attr a;
	unsigned s, n;

	for (n = 0; n < 65; n++) {
		int rc[2], prog[2];
		struct code c = {.n = 0};

		add(&c, MOV(0, (int)n), EXIT());
		for (s = 0; s < 2; s++) {
			prog[s] = load(s, BPF_PROG_TYPE_SCHED_CLS, &c);
			zeroed(a);
			a.a.target_fd = 1;
			a.a.attach_bpf_fd = (uint32_t)prog[s];
			a.a.attach_type = TCX;
			rc[s] = (int)ask(s, BPF_PROG_ATTACH, &a);
			close(prog[s]);
		}
		if (rc[KERNEL] != rc[INTERPRETED])
			fail_msg("the %u.: kernel %d, engine %d", n + 1, rc[KERNEL],
				 rc[INTERPRETED]);
	}
	assert_int_equal(chain_prog(KERNEL, BPF_PROG_DETACH, -1, 0, -1, 0, 0),
			 chain_prog(INTERPRETED, BPF_PROG_DETACH, -1, 0, -1, 0, 0));
	for (n = 0; n < 65; n++)
		assert_int_equal(chain_prog(KERNEL, BPF_PROG_DETACH, -1, n ? 0 : 8, -1, 0, 0),
				 chain_prog(INTERPRETED, BPF_PROG_DETACH, -1, n ? 0 : 8, -1, 0, 0));
}

/* ---- at a port ------------------------------------------------------------------------------------ */

static unsigned sent;

static int send_it(struct vm_port *p maybe_unused, struct vm_frame *f maybe_unused,
		   bool keep maybe_unused)
{
	sent++;
	return 0;
}

static const struct vm_port_ops ops = {.send = send_it};
static uint8_t bytes[VM_FRAME_SIZE];

static void leave(struct vm_port *p)
{
	struct vm_frame f = {.buf = bytes, .start = VM_FRAME_HEAD, .len = 64};

	vm_port_leave(p, &f);
}

static int egress(unsigned cmd, int prog)
{
	union vm_attr a;

	zeroed(a);
	a.a.target_fd = 1;
	a.a.attach_bpf_fd = (uint32_t)prog;
	a.a.attach_type = VM_TCX_EGRESS;
	return (int)ask(INTERPRETED, cmd, &a);
}

static void a_frame_takes_no_lock_and_meets_what_came_just_now(void **state maybe_unused)
{
	struct skep_engine *e = engines[INTERPRETED];
	struct vm_port port = {.ops = &ops, .ifindex = 1};
	int next = prog_new(e, BPF_PROG_TYPE_SCHED_CLS, MOV(0, -1), EXIT()),
	    shot = prog_new(e, BPF_PROG_TYPE_SCHED_CLS, MOV(0, 2), EXIT());
	uint32_t id = 0;

	sent = 0;
	fds[INTERPRETED][0] = shot;
	id = id_of(INTERPRETED, 0, false);
	assert_int_equal(vm_port_add(e, &port), 0);
	assert_int_equal(egress(BPF_PROG_ATTACH, next), 0);
	vm_ports_begin(e);
	leave(&port);
	alarm(10); /* for ever, where a lock is taken */
	pthread_mutex_lock(&e->lock);
	leave(&port);
	pthread_mutex_unlock(&e->lock);
	alarm(0);
	assert_int_equal(sent, 2);
	assert_int_equal(egress(BPF_PROG_ATTACH, shot), 0);
	leave(&port);
	assert_int_equal(sent, 2);
	assert_int_equal(egress(BPF_PROG_DETACH, shot), 0);
	close(shot);
	vm_ports_end(e); /* nothing is kept */
	assert_int_not_equal(next_id(e, BPF_PROG_GET_NEXT_ID, id - 1), id);
	vm_ports_begin(e);
	leave(&port);
	vm_ports_end(e);
	assert_int_equal(sent, 3);
	assert_int_equal(egress(BPF_PROG_DETACH, next), 0);
	close(next);
	vm_port_remove(&port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_given_alike),
		cmocka_unit_test(a_hook_is_full_alike),
		cmocka_unit_test(a_frame_takes_no_lock_and_meets_what_came_just_now),
	};

	if (unshare(CLONE_NEWNET)) /* its lo has the number 1 */
		return 1;
	return cmocka_run_group_tests_name("vm: tcx chains beside the kernel's", tests,
					   open_engines, close_engines);
}
