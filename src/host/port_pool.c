// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include "host/port_inside.h"

/* Below 4 GiB, since a packet's address is a 32-bit field of its context. */
static void *map_low(size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *at;

#ifdef MAP_32BIT
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_32BIT, -1, 0);
#else
	uintptr_t hint = 0x20000000;

	do {
		at = mmap((void *)hint, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE,
			  -1, 0);
		hint += 0x4000000;
	} while (at == MAP_FAILED && hint + bytes < 0xf0000000);
#endif
	return at == MAP_FAILED ? NULL : at;
}

int port_pool_open(struct pool *p, uint32_t n)
{
	uint32_t i;

	p->free = calloc(n, sizeof(*p->free));
	if (!p->free)
		return -ENOMEM;
	p->base = map_low((size_t)n * VM_FRAME_SIZE);
	if (!p->base)
		return -ENOMEM;
	p->n = p->n_free = n;
	for (i = 0; i < n; i++)
		p->free[i] = n - 1 - i;
	return 0;
}

void port_pool_done(struct pool *p)
{
	if (p->base)
		munmap(p->base, (size_t)p->n * VM_FRAME_SIZE);
	free(p->free);
	*p = (struct pool){0};
}
