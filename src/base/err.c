// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <stdarg.h>

/* Verifiers and libraries say things in lines; a reason is one. */
static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ')
			*s = ' ';
}

int skep_fail(struct skep_err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	if (err) {
		va_start(ap, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, ap);
		va_end(ap);
		one_line(err->text);
	}
	return rc;
}

int skep_note(struct skep_err *err, int rc, const char *fmt, ...)
{
	struct skep_err old;
	va_list ap;
	size_t n;

	if (!err)
		return rc;
	old = *err;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	n = strlen(err->text);
	snprintf(err->text + n, sizeof(err->text) - n, ": %s",
		 old.text[0] ? old.text : strerror(-rc));
	return rc;
}
