// SPDX-License-Identifier: Apache-2.0
/*
 * Iterators that programs open, ask and close, and which lie in the program's own memory.
 *
 * KI1  What an iterator had to allocate belongs to the run (run.h, vm_run_keep()), which finds it by its
 *	address and frees it at its end.
 */
#include "vm/kfunc.h"

#define FAIL(e) ((uint64_t)(int64_t) - (e))

/* ---- numbers ----------------------------------------------------------------------------------- */

struct num {
	int32_t now, end; /* now: one before the next */
};

KFUNC_FN(iter_num_new)
{
	struct num *it = PTR(a);
	int32_t start = (int32_t)b, end = (int32_t)c;

	*it = (struct num){0};
	if (start > end)
		return FAIL(EINVAL);
	if ((int64_t)end - start > ISA_LOOPS_MAX)
		return FAIL(E2BIG);
	*it = (struct num){(int32_t)((uint32_t)start - 1), end};
	return 0;
}

KFUNC_FN(iter_num_next)
{
	struct num *it = PTR(a);
	int32_t next = (int32_t)((uint32_t)it->now + 1);

	if (next >= it->end) {
		*it = (struct num){0};
		return 0;
	}
	it->now = next;
	return (uintptr_t)&it->now;
}

KFUNC_FN(iter_num_destroy)
{
	*(struct num *)PTR(a) = (struct num){0};
	return 0;
}

/* ---- bits -------------------------------------------------------------------------------------- */

#define WORDS_MAX 511U

struct bits {
	uint64_t words; /* one of them, or where more lie */
	uint32_t n;	/* bits */
	int32_t now;
};

static uint64_t read_words(void *to, uint64_t from, uint32_t n)
{
	struct run *r = vm_run_now();

	if (!r->vm.code->jit && !vm_access(&r->vm, from, n, false))
		return FAIL(EFAULT);
	return (uint64_t)(int64_t)vm_help_read_any(to, from, n);
}

KFUNC_FN(iter_bits_new)
{
	struct bits *it = PTR(a);
	uint32_t n = (uint32_t)c;
	uint64_t rc;
	void *more;

	*it = (struct bits){.now = -1};
	if (!b || !n)
		return FAIL(EINVAL);
	if (n > WORDS_MAX)
		return FAIL(E2BIG);
	if (n == 1) {
		rc = read_words(&it->words, b, 8);
		it->n = rc ? 0 : 64;
		return rc;
	}
	more = vm_run_keep(vm_run_now(), n * 8);
	if (!more)
		return FAIL(ENOMEM);
	rc = read_words(more, b, n * 8);
	if (rc) {
		vm_run_drop(vm_run_now(), more);
		return rc;
	}
	*it = (struct bits){(uintptr_t)more, n * 64, -1};
	return 0;
}

/* The words of @it, however it came to be (KF1). */
static const uint64_t *words_of(const struct bits *it)
{
	if (it->n == 64)
		return &it->words;
	if (!it->n || it->n > (vm_run_kept(vm_run_now(), it->words) & ~(size_t)7) * 8)
		return NULL;
	return PTR(it->words);
}

static int64_t next_bit(const uint64_t *words, uint32_t n, uint32_t from)
{
	uint64_t word;

	while (from < n) {
		word = words[from / 64] >> from % 64;
		if (word)
			return from + __builtin_ctzll(word);
		from = (from / 64 + 1) * 64;
	}
	return n;
}

KFUNC_FN(iter_bits_next)
{
	struct bits *it = PTR(a);
	const uint64_t *words = words_of(it);

	if (!words || it->now >= (int32_t)it->n)
		return 0;
	it->now = (int32_t)next_bit(words, it->n, (uint32_t)(it->now + 1));
	return it->now < (int32_t)it->n ? (uintptr_t)&it->now : 0;
}

KFUNC_FN(iter_bits_destroy)
{
	struct bits *it = PTR(a);

	if (it->n > 64)
		vm_run_drop(vm_run_now(), PTR(it->words));
	it->n = 0;
	return 0;
}
