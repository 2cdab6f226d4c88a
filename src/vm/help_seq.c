// SPDX-License-Identifier: Apache-2.0
/* What iterators write: text and bytes for who reads them. */
#include "vm/help.h"

#define FAIL(e)	 ((uint64_t)(int64_t) - (e))
#define ARGS_MAX 12
#define TEXT_MAX 32768

/* The file that the program was given, and nothing else. */
static struct buf *seq_of(struct run *r, uint64_t at)
{
	return at && at == r->seq_at ? r->seq : NULL;
}

static uint64_t add(struct run *r, struct buf *to, const void *bytes, size_t n)
{
	if (n > r->seq_room - to->len) {
		r->seq_over = true;
		return FAIL(EOVERFLOW);
	}
	buf_add(to, bytes, n);
	return 0;
}

HELPER_FN(seq_printf)
{
	struct run *r = vm_run_now();
	struct buf *to = seq_of(r, a);
	char *text;
	uint64_t rc;
	int n;

	if (!to || f % 8 || f / 8 > ARGS_MAX || (f && !d))
		return FAIL(EINVAL);
	text = malloc(TEXT_MAX);
	if (!text)
		return FAIL(ENOMEM);
	n = vm_help_format(text, TEXT_MAX, PTR(b), (uint32_t)c, PTR(d), (unsigned)(f / 8));
	rc = n < 0 ? (uint64_t)(int64_t)n : add(r, to, text, min((size_t)n, TEXT_MAX - 1UL));
	free(text);
	return rc;
}

HELPER_FN(seq_write)
{
	struct run *r = vm_run_now();
	struct buf *to = seq_of(r, a);

	return to ? add(r, to, PTR(b), (uint32_t)c) : FAIL(EINVAL);
}

/* Types of the kernel's are not printed here. */
HELPER_FN(seq_printf_btf)
{
	return FAIL(EOPNOTSUPP);
}
