// SPDX-License-Identifier: Apache-2.0
/*
 * Links of a tcx hook beside the kernel's: random ones come, beside others or not, and go; the same are
 * refused, and those that stand are in the same order.
 */
#include "vm/sides.h"

#include <sched.h>

#define TCX    46
#define F_ID   (1U << 5)
#define F_LINK (1U << 13)

#define CHAIN 8

static int fds[2][2 * CHAIN]; /* programs, and their links */

/* Which of the programs of fds[s][0..CHAIN) stand at the hook, in their order, as digits. */
static void chain_text(unsigned s, char out[CHAIN + 1])
{
	uint32_t ids[CHAIN] = {0}, n, i, k;
	union bpf_attr a;

	zeroed(a);
	a.query.target_fd = 1;
	a.query.attach_type = TCX;
	a.query.prog_ids = (uintptr_t)ids;
	a.query.prog_cnt = CHAIN;
	assert_int_equal(call(s, BPF_PROG_QUERY, &a), 0);
	n = a.query.prog_cnt;
	for (i = 0; i < n; i++)
		for (k = 0; k < CHAIN; k++) {
			struct bpf_prog_info info = {0};

			zeroed(a);
			a.info.bpf_fd = (uint32_t)fds[s][k];
			a.info.info_len = sizeof(info);
			a.info.info = (uintptr_t)&info;
			assert_int_equal(call(s, BPF_OBJ_GET_INFO_BY_FD, &a), 0);
			if (info.id == ids[i])
				out[i] = (char)('0' + k);
		}
	out[n] = 0;
}

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

/* Link @i of program @i: beside @by, by descriptor or number, whether it is there or not. */
static int chain_link(unsigned s, int i, uint32_t flags, int by)
{
	union bpf_attr a;

	zeroed(a);
	a.link_create.prog_fd = (uint32_t)fds[s][i % CHAIN];
	a.link_create.target_ifindex = 1;
	a.link_create.attach_type = TCX;
	a.link_create.flags = flags;
	if (by >= 0 && flags & F_LINK)
		by += CHAIN;
	if (by >= 0)
		a.link_create.target_btf_id =
			flags & F_ID ? id_of(s, by, by >= CHAIN) : (uint32_t)fds[s][by];
	return (int)call(s, BPF_LINK_CREATE, &a);
}

static void drop(unsigned s, int i)
{
	if (fds[s][i] >= 0)
		close(fds[s][i]);
	fds[s][i] = -1;
}

/* Something random happens to link @i. */
static void happen(int i, unsigned *seed)
{
	uint32_t flags = (rand_r(seed) & 3) << 3;
	int by = rand_r(seed) % (CHAIN + 1) - 1, at = CHAIN + i, rc[2];
	unsigned s;

	flags |= rand_r(seed) % 4 ? 0 : F_LINK;
	flags |= rand_r(seed) % 4 ? 0 : F_ID;
	if (fds[KERNEL][at] >= 0 && rand_r(seed) % 4 == 0) {
		for (s = 0; s < 2; s++)
			drop(s, at);
		return;
	}
	for (s = 0; s < 2; s++)
		rc[s] = chain_link(s, i, flags, by);
	if (rc[KERNEL] < 0 || rc[INTERPRETED] < 0)
		assert_int_equal(rc[KERNEL], rc[INTERPRETED]);
	for (s = 0; s < 2 && rc[s] >= 0; s++) {
		drop(s, at);
		fds[s][at] = rc[s];
	}
}

static void places_are_given_alike(void **state maybe_unused)
{
	char of_kernel[CHAIN + 1], ours[CHAIN + 1];
	unsigned round, s, seed = 7, full = 0;
	int i;

	for (s = 0; s < 2; s++)
		for (i = 0; i < CHAIN; i++) {
			struct code c = {.n = 0};

			add(&c, MOV(0, i), EXIT());
			fds[s][i] = load(s, BPF_PROG_TYPE_SCHED_CLS, &c);
			assert_true(fds[s][i] >= 0);
			fds[s][CHAIN + i] = -1;
		}
	for (round = 0; round < 3000; round++) {
		happen(rand_r(&seed) % CHAIN, &seed);
		chain_text(KERNEL, of_kernel);
		chain_text(INTERPRETED, ours);
		assert_string_equal(of_kernel, ours);
		full += strlen(ours) > CHAIN / 2;
	}
	assert_true(full > 100);
	for (i = 0; i < 2 * CHAIN; i++)
		for (s = 0; s < 2; s++)
			drop(s, i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(places_are_given_alike)};

	if (unshare(CLONE_NEWNET)) /* its lo has the number 1 */
		return 1;
	return cmocka_run_group_tests_name("vm: tcx chains beside the kernel's", tests,
					   open_engines, close_engines);
}
