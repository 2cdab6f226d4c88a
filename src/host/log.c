/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include <bpf/libbpf.h>

#include "host/inside.h"

#define KEEP 16384

/* libbpf has one print hook a process, so there is one buffer: the last KEEP bytes said. */
static char said[KEEP + 1], told[KEEP + 1];
static size_t said_len;

static void keep(const char *text, size_t n)
{
	size_t drop;

	if (n > KEEP) {
		text += n - KEEP;
		n = KEEP;
	}
	drop = said_len + n > KEEP ? said_len + n - KEEP : 0;
	memmove(said, said + drop, said_len - drop);
	memcpy(said + said_len - drop, text, n);
	said_len += n - drop;
}

static int on_print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	cleanup(mem_free) char *text = NULL;
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vasprintf(&text, fmt, args);
	if (n > 0)
		keep(text, n);
	else
		text = NULL;
	return 0;
}

void host_bpf_keep(void)
{
	libbpf_set_print(on_print);
}

const char *host_bpf_log(void)
{
	memcpy(told, said, said_len);
	told[said_len] = '\0';
	said_len = 0;
	return told;
}
