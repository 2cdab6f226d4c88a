// SPDX-License-Identifier: Apache-2.0
#include "cli/term.h"

#include <limits.h>
#include <locale.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "base/text.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */
#define ELLIPSIS    "\xe2\x80\xa6" /* U+2026 */

void term_init(void)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
}

static unsigned columns_of_terminal(void)
{
	struct winsize ws;
	const char *env = getenv("COLUMNS");
	int n = env ? atoi(env) : 0;

	if (n <= 0 && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws))
		n = ws.ws_col;
	return n > 0 ? (unsigned)n : 80;
}

struct term term_look(void)
{
	struct term t = {.tty = isatty(STDOUT_FILENO)};
	const char *name = getenv("TERM"), *plain = getenv("NO_COLOR");

	if (t.tty) {
		t.width = columns_of_terminal();
		t.colour = name && strcmp(name, "dumb") && !(plain && *plain);
	}
	return t;
}

/* One character: its length, and its columns; 0 where it must not reach a terminal. */
static unsigned character(const char *s, size_t n, unsigned *columns)
{
	unsigned len = text_utf8(s, n);
	mbstate_t state = {0};
	wchar_t c;
	int w = 1;

	if (len && mbrtowc(&c, s, len, &state) == len)
		w = wcwidth(c);
	*columns = w < 0 ? 1 : (unsigned)w;
	return w < 0 ? 0 : len;
}

unsigned term_width(const char *s, size_t n)
{
	unsigned width = 0, columns, len;
	size_t i = 0;

	while (i < n) {
		len = character(s + i, n - i, &columns);
		width += columns;
		i += len ? len : 1;
	}
	return width;
}

unsigned term_add(struct buf *b, const char *s, size_t n, unsigned most)
{
	bool cut = term_width(s, n) > most;
	unsigned room = cut && most ? most - 1 : most, width = 0, columns, len;
	size_t i = 0;

	while (i < n) {
		len = character(s + i, n - i, &columns);
		if (width + columns > room)
			break;
		if (len)
			buf_add(b, s + i, len);
		else
			buf_str(b, REPLACEMENT);
		width += columns;
		i += len ? len : 1;
	}
	if (cut && most) {
		buf_str(b, ELLIPSIS);
		width++;
	}
	return width;
}

void term_paint(struct buf *b, bool colour, enum term_style style)
{
	static const char *const codes[] = {
		[TERM_PLAIN] = "\033[0m", [TERM_HEAD] = "\033[1m", [TERM_GOOD] = "\033[32m",
		[TERM_BAD] = "\033[31m",  [TERM_DIM] = "\033[2m",
	};

	if (colour)
		buf_str(b, codes[style]);
}

void term_wrap(struct buf *b, const char *text, unsigned indent, unsigned width)
{
	unsigned room = width > indent + 20 ? width - indent : 20, at = 0, w;
	size_t n;

	if (!width)
		room = UINT_MAX;
	while (*text) {
		text += strspn(text, " ");
		n = strcspn(text, " ");
		w = term_width(text, n);
		if (at && at + 1 + w > room) {
			buf_fmt(b, "\n%*s", (int)indent, "");
			at = 0;
		} else if (at) {
			buf_chr(b, ' ');
			at++;
		}
		at += term_add(b, text, n, UINT_MAX);
		text += n;
	}
}

int term_flush(struct buf *b)
{
	size_t done = 0;
	ssize_t n;

	while (done < b->len) {
		n = write(STDOUT_FILENO, b->data + done, b->len - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (!buf_ok(b))
		return -ENOMEM;
	buf_clear(b);
	return 0;
}
